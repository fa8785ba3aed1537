"""NVRTC without a GPU: machine code, resources, batches, the cache, and what is said when it cannot."""

from __future__ import annotations

import builtins
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tracec.errors import CompileError
from tracec.runtime import nvrtc

pytest.importorskip("cupy")

TWICE = """// twice: map
#include <cuda_fp16.h>

__device__ float helper(float x) { return x + x; }

extern "C" __global__ void __launch_bounds__(256)
twice(const float *__restrict__ x, float *__restrict__ y) {
  __shared__ float tile[32];
  tile[threadIdx.x % 32] = helper(x[threadIdx.x]);
  __syncthreads();
  y[threadIdx.x] = tile[31 - threadIdx.x % 32];
}
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "sm_90a"])
def test_compiles(arch: str) -> None:
    cubin = nvrtc.compile_cuda(TWICE, arch)
    assert cubin.image[:4] == b"\x7fELF" and len(cubin.image) % 8 == 0
    assert cubin.resources.shared_bytes >= 128  # some architectures keep a kilobyte for themselves
    assert 0 < cubin.resources.registers <= 32
    assert cubin.resources.spill_bytes == 0


def test_spills_are_counted() -> None:
    body = "".join(f"  float a{i} = x[{i} * n];\n" for i in range(200))
    body += "  for (int r = 0; r < n; ++r) {\n" + "".join(
        f"    a{i} = a{i} * a{(i * 7 + 3) % 200} + 1;\n" for i in range(200)
    )
    source = (
        'extern "C" __global__ void __launch_bounds__(1024) spills(const float *x, float *y, int n) {\n'
        + body + "  }\n" + "".join(f"  y[{i} * n] = a{i};\n" for i in range(200)) + "}\n"
    )  # fmt: skip
    assert nvrtc.compile_cuda(source, "sm_90").resources.spill_bytes > 0


def test_several_sources_are_compiled_together(monkeypatch: pytest.MonkeyPatch) -> None:
    programs: list[str] = []
    compile_one = nvrtc._compile
    monkeypatch.setattr(nvrtc, "PROGRAMS", 2)
    monkeypatch.setattr(nvrtc, "_compile", lambda s, arch: (programs.append(s), compile_one(s, arch))[1])
    sources = [TWICE.replace("twice", f"twice{n}") for n in range(5)]
    cubins = nvrtc.compile_sources(sources, "sm_90")
    assert len(programs) == 2
    assert [list(c.functions) for c in cubins] == [[f"twice{n}"] for n in range(5)]
    assert cubins[0].image == cubins[2].image != cubins[1].image
    assert all(f"twice{n}".encode() in c.image for n, c in enumerate(cubins))


def test_machine_code_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = nvrtc.compile_cuda(TWICE, "sm_90")
    monkeypatch.setattr(nvrtc, "_compile", lambda *_: pytest.fail("compiled again"))
    again = nvrtc.compile_cuda(TWICE.replace("// twice: map", "// twice, from another line"), "sm_90")
    assert (again.image, again.resources) == (first.image, first.resources)


def test_damaged_entries_are_made_again(tmp_path: Path) -> None:
    first = nvrtc.compile_cuda(TWICE, "sm_90")
    for file in (tmp_path / "cache").glob("*.cubin"):
        file.write_bytes(file.read_bytes()[:-100])
    assert nvrtc.compile_cuda(TWICE, "sm_90").image == first.image


def test_unknown_architecture() -> None:
    with pytest.raises(
        CompileError, match=r"(?s)architecture 'sm_12' is unknown to NVRTC \d+\.\d+.*use one of .*sm_80"
    ):
        nvrtc.compile_cuda(TWICE, "sm_12")


def test_failure_shows_the_lines() -> None:
    with pytest.raises(CompileError) as raised:
        nvrtc.compile_cuda(TWICE.replace("helper(x[", "helped(x["), "sm_90")
    text = str(raised.value)
    assert "twice does not compile for sm_90" in text
    assert 'identifier "helped" is undefined' in text
    assert ">    9 |   tile[threadIdx.x % 32] = helped(x[threadIdx.x]);" in text


def test_failure_in_a_batch_names_the_source() -> None:
    sources = [TWICE.replace("twice", f"twice{n}") for n in range(4)]
    sources[2] = sources[2].replace("helper(x[", "helped(x[")
    with pytest.raises(CompileError, match="twice2 does not compile"):
        nvrtc.compile_sources(sources, "sm_90")


def test_missing_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cupy"):
            raise ImportError("No module named 'cupy'")
        return real(name, *args, **kwargs)

    nvrtc._nvrtc.cache_clear()
    nvrtc._version.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CompileError, match=r'(?s)CuPy cannot be imported.*pip install "tracec\[cuda\]"'):
        nvrtc.compile_cuda(TWICE, "sm_90")


def test_missing_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    from cupy.cuda import nvrtc as library

    def missing() -> None:
        raise RuntimeError("libnvrtc.so.13: cannot open shared object file")

    nvrtc._nvrtc.cache_clear()
    nvrtc._version.cache_clear()
    monkeypatch.setattr(library, "getVersion", missing)
    with pytest.raises(CompileError, match=r"(?s)NVRTC cannot be loaded \(libnvrtc.*nvidia-cuda-nvrtc"):
        nvrtc.compile_cuda(TWICE, "sm_90")


def test_log() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a' for 'sm_90'
ptxas info    : Function properties for a
ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size, 128 bytes smem
ptxas info    : Compiling entry function 'b' for 'sm_90'
ptxas info    : Function properties for b
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
"""
    assert nvrtc.parse_log(log) == {"a": nvrtc.Resources(40, 20, 128, 16), "b": nvrtc.Resources(8, 0, 0, 0)}


def test_what_is_not_reported_on_is_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of programs that are compiled at one time are sometimes lost."""
    compile_one, lost = nvrtc._compile, [True, True]

    def losing(source: str, arch: str) -> tuple[bytes, str]:
        image, log = compile_one(source, arch)
        return image, "" if lost and lost.pop() else log

    monkeypatch.setattr(nvrtc, "_compile", losing)
    sources = [TWICE.replace("twice", f"lost{n}") for n in range(3)]
    assert all(c.resources.registers > 0 for c in nvrtc.compile_sources(sources, "sm_90"))
    assert not lost
    monkeypatch.setattr(nvrtc, "_compile", lambda source, arch: (compile_one(source, arch)[0], ""))
    with pytest.raises(CompileError, match="no report on what never takes"):
        nvrtc.compile_sources([TWICE.replace("twice", "never")], "sm_90")


def knows(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], archs: tuple[int, ...]) -> None:
    """An NVRTC of another version."""
    fake = SimpleNamespace(getVersion=lambda: version, getSupportedArchs=lambda: archs)
    monkeypatch.setattr(nvrtc, "_nvrtc", lambda: fake)
    monkeypatch.setattr(nvrtc, "_version", lambda: version)


@pytest.mark.parametrize(
    ("arch", "archs", "found"),
    [
        ("sm_89", (75, 80, 86, 87, 89, 90), "sm_89"),
        ("sm_121", (75, 80, 90, 100, 120), "sm_120"),
        ("sm_103", (75, 90, 100, 101, 120), "sm_100"),
        ("sm_88", (75, 80, 86, 87, 89, 90), "sm_86"),  # not what a system on a chip runs
        ("sm_130", (75, 90, 100, 120), "sm_130"),  # no code of another generation runs on it
        ("sm_61", (75, 90), "sm_61"),
    ],
)  # fmt: skip
def test_what_is_compiled_for_a_gpu(
    arch: str, archs: tuple[int, ...], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows(monkeypatch, (12, 8), archs)
    assert nvrtc.nearest_arch(arch) == found


def test_without_a_compiler_a_gpu_is_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise CompileError("nvrtc: cannot be loaded")

    monkeypatch.setattr(nvrtc, "_nvrtc", none)
    assert nvrtc.nearest_arch("sm_89") == "sm_89"


def test_gpus_that_are_too_old_or_too_new_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    knows(monkeypatch, (13, 0), (75, 80, 120))
    with pytest.raises(
        CompileError, match=r"(?s)'sm_70' is unknown to NVRTC 13\.0.*sm_75, sm_80, sm_120; \"tracec\[cuda12"
    ):
        nvrtc.check_arch("sm_70")
    with pytest.raises(
        CompileError, match=r"(?s)'sm_130' is unknown to NVRTC 13\.0.*; a newer NVRTC may compile for it"
    ):
        nvrtc.check_arch("sm_130")
    knows(monkeypatch, (12, 9), (50, 61, 70, 75, 120))
    nvrtc.check_arch("sm_70")
    # Threads of a warp that wait for each other would wait for ever.
    with pytest.raises(
        CompileError, match=r"(?s)kernels run on sm_70 and later, not on sm_61.*use one of sm_70, sm_75"
    ):
        nvrtc.check_arch("sm_61")
