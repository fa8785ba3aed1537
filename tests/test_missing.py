"""What is not there: names, devices, compilers, folders. An error says what to do, or one warning and a way around."""

from __future__ import annotations

import shutil
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
from tests.failures import caught, check_form, warned
from tracec import build
from tracec.errors import DeviceError
from tracec.runtime import nvrtc
from tracec.runtime.cache import DiskCache

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

# Names -----------------------------------------------------------------------------------------------------


def test_unknown_names(golden):
    class Net(tracec.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = tracec.nn.Linear(2, 2)

    x, net = tracec.ones(3), Net()
    mistakes = {
        "module": lambda T: T.this_name_does_not_exist,
        "near": lambda T: T.sotfmax,
        "nn": lambda T: T.nn.CrossEntorpyLoss,
        "functional": lambda T: T.nn.functional.cross_entorpy,
        "optim": lambda T: T.optim.RMSprp,
        "tensor": lambda T: x.this_name_does_not_exist,
        "tensor near": lambda T: x.sigmiod(),
        "method of PyTorch's": lambda T: x.q_scale(),
        "function of PyTorch's": lambda T: T.lobpcg,
        "layer": lambda T: net.encodr,
    }
    found = []
    for name, mistake in mistakes.items():
        error = check_form(caught(tracec, mistake, []))
        assert isinstance(error, AttributeError)
        found.append(f"# {name}\n{error}")
    assert "\n\n".join(found) == golden
    assert not hasattr(x, "sigmiod") and not hasattr(tracec.nn, "Liner")
    with pytest.raises(ImportError):
        from tracec import this_name_does_not_exist  # noqa: F401


# Devices ---------------------------------------------------------------------------------------------------

ON_CUDA: dict[str, Callable[[], Any]] = {
    "ones": lambda *_: tracec.ones(3, device="cuda"),
    "tensor": lambda: tracec.tensor([1.0], device="cuda"),
    "randn": lambda: tracec.randn(3, device="cuda"),
    "arange": lambda: tracec.arange(3, device="cuda:0"),
    "to": lambda: tracec.ones(3).to("cuda"),
    "cuda": lambda: tracec.ones(3).cuda(),
    "compiled": lambda: tracec.compile(lambda x: x.to("cuda"))(tracec.ones(3)),
}


def fake_cupy(count: Callable[[], int]) -> Any:
    runtime = types.SimpleNamespace(getDeviceCount=count)
    return types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))


def no_driver() -> int:
    raise RuntimeError("cudaErrorInsufficientDriver: too old\nsecond line")


@pytest.mark.parametrize("missing", ["cupy", "driver", "device"])
def test_no_cuda(missing, monkeypatch, golden):
    cupy = {"cupy": None, "driver": fake_cupy(no_driver), "device": fake_cupy(lambda: 0)}[missing]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    found = []
    for name, ask in ON_CUDA.items():
        error = check_form(caught(tracec, lambda T, ask=ask: ask(), []))
        assert isinstance(error, DeviceError)
        found.append(f"# {name}\n{error}")
    assert "\n\n".join(found) == golden
    assert tracec.ones(3).sum().item() == 3.0


def a_release(count: Callable[[], int] = lambda: 1, **told: Any) -> Any:
    """CuPy of a release of CUDA, on a driver and a GPU of others."""
    driver, runtime, capability, archs = (told[n] for n in ("driver", "runtime", "capability", "archs"))
    found = fake_cupy(count)
    found.__version__ = told.get("version", "14.2.0")
    found.cuda.runtime.driverGetVersion, found.cuda.runtime.runtimeGetVersion = lambda: driver, lambda: runtime
    found.cuda.Device = lambda index: types.SimpleNamespace(compute_capability=capability)
    found.cuda.nvrtc = types.SimpleNamespace(
        getSupportedArchs=lambda: archs, getVersion=lambda: (runtime // 1000, runtime % 1000 // 10)
    )
    return found


#: What does not go together, and what does.
RELEASES: dict[str, dict[str, Any]] = {
    "no driver": {"driver": 0, "runtime": 13020, "count": no_driver},
    "an old driver": {"driver": 12040, "runtime": 13020, "count": no_driver},
    "a very old driver": {"driver": 11080, "runtime": 12090, "count": no_driver},
    "a GPU that CUDA 13 leaves out": {"driver": 13000, "runtime": 13020, "capability": "61"},
    "CuPy 13": {"driver": 12040, "runtime": 12060, "version": "13.6.0", "archs": (50, 75, 90)},
    "an old GPU with CUDA 12": {"driver": 12040, "runtime": 12060, "capability": "61", "archs": (50, 75, 90)},
}


def test_releases_that_do_not_go_together(monkeypatch, golden):
    found = []
    for name, told in RELEASES.items():
        fake = a_release(**({"capability": "75", "archs": (75, 80, 90)} | told))
        monkeypatch.setitem(sys.modules, "cupy", fake)
        if name == "an old GPU with CUDA 12":
            assert tracec.cuda.is_available()
            continue
        assert not tracec.cuda.is_available()
        error = check_form(caught(tracec, ON_CUDA["ones"], []))
        assert isinstance(error, DeviceError)
        found.append(f"# {name}\n{error}")
    assert "\n\n".join(found) == golden


def test_unknown_devices(golden):
    mistakes = [
        lambda T: T.ones(3, device="tpu"),
        lambda T: T.ones(3).to("gpu"),
        lambda T: T.tensor(1.0, device=3.5),
        lambda T: T.device("cuda:x"),
        lambda T: T.ones(3).to("mps"),
        lambda T: T.device("xpu:0"),
    ]
    assert "\n\n".join(str(check_form(caught(tracec, m, []))) for m in mistakes) == golden


# The compiler ----------------------------------------------------------------------------------------------


def double(x: Any) -> Any:
    return tracec.sin(x) * 2


def test_compiling_what_cannot_be_compiled(golden):
    lowered = tracec.compile(double).lower(tracec.ones(3))
    mistakes: list[Callable[[Any], Any]] = [
        lambda T: T.compile(42),
        lambda T: T.compile(double, target="tpu"),
        lambda T: T.compile(double, disable=["fusion"]),
        lambda T: T.compile(double).lower(T.ones(3), target="tpu"),
        lambda T: T.compile(double).lower(T.ones(3), target="cuda", arch="hopper"),
        lambda T: T.compile(double).lower(T.ones(3), target="cuda", arch=90),
        lambda T: T.trace(42),
        lambda T: lowered.stages["assembly"],
        lambda T: lowered.run(T.ones(4)),
        lambda T: lowered.kernels[0].cubin(),
    ]
    assert "\n\n".join(str(check_form(caught(tracec, m, []))) for m in mistakes) == golden


def test_an_unknown_architecture():
    pytest.importorskip("cupy")
    lowered = tracec.compile(double).lower(tracec.ones(3), target="cuda", arch="sm_1")
    error = check_form(caught(tracec, lambda T: lowered.kernels[0].cubin(), []))
    assert error.message.startswith("nvrtc: architecture 'sm_1' is unknown to NVRTC ")
    assert error.hint.startswith("use one of sm_")


def no_library() -> None:
    raise RuntimeError("cannot open libnvrtc.so.13")


def fake_cuda() -> Any:
    """CuPy without NVIDIA's wheel: the module can be imported, its library cannot be loaded."""
    return types.SimpleNamespace(nvrtc=types.SimpleNamespace(getVersion=no_library))


@pytest.mark.parametrize("missing", ["cupy", "nvrtc"])
def test_no_compiler_for_cuda(missing, monkeypatch, tmp_path, golden):
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "cupy", None if missing == "cupy" else types.ModuleType("cupy"))
    monkeypatch.setitem(sys.modules, "cupy.cuda", None if missing == "cupy" else fake_cuda())
    nvrtc._nvrtc.cache_clear()
    nvrtc._version.cache_clear()
    try:
        lowered = tracec.compile(double).lower(tracec.ones(3), target="cuda")
        assert "__global__" in lowered.kernels[0].source
        error = check_form(caught(tracec, lambda T: lowered.kernels[0].cubin(), []))
        assert str(error) == golden
    finally:
        nvrtc._nvrtc.cache_clear()
        nvrtc._version.cache_clear()


def train_a_little() -> None:
    """Compiled results, gradients and updates, which must be right with or without a compiler."""
    w, x = tracec.ones(3, requires_grad=True), tracec.arange(3.0)

    @tracec.compile
    def step(x):
        loss = (w * x).sin().sum()
        loss.backward()
        with tracec.no_grad():
            w.sub_(w.grad * 0.5)
        w.grad = None
        return loss

    compiled = tracec.compile(double)
    expected = np.ones(3)
    for _ in range(3):
        np.testing.assert_allclose(step(x).item(), np.sin(expected * [0, 1, 2]).sum(), rtol=1e-5)
        expected = expected - 0.5 * np.cos(expected * [0, 1, 2]) * [0, 1, 2]
        np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(compiled(x).numpy(), 2 * np.sin([0, 1, 2]), rtol=1e-6)


@pytest.mark.parametrize("way", ["TRACEC_CC", "PATH"])
def test_without_a_compiler_one_warning_and_the_same_results(way, monkeypatch, tmp_path, golden):
    monkeypatch.setattr(build, "_warned_fallback", False)
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRACEC_CC", raising=False)
    monkeypatch.setenv(way, "/no/such/compiler")
    assert "\n".join(warned(train_a_little)) == golden


@needs_gcc
def test_a_cache_that_cannot_be_written_gives_one_warning_and_the_same_results(monkeypatch, tmp_path, golden):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.delenv("TRACEC_CC", raising=False)
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(blocked / "cache"))
    (text,) = warned(train_a_little)
    assert text.replace(str(tmp_path), "/tmp") == golden


@needs_gcc
def test_a_damaged_cache_entry_is_made_again(monkeypatch, tmp_path):
    monkeypatch.delenv("TRACEC_CC", raising=False)
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    assert warned(train_a_little) == []
    objects = sorted(tmp_path.glob("*.so"))
    assert objects
    for path in objects:
        path.unlink()  # its pages are in use by this process
        path.write_bytes(b"\x7fELF" + b"0" * 5000)
    assert warned(train_a_little) == []
    # One for each of the two functions; the part that all programs share is loaded once in a process.
    assert sum(DiskCache(tmp_path).read(path.stem, "so") is not None for path in objects) >= 2


def test_a_dump_that_cannot_be_written_gives_a_warning(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("TRACEC_DUMP", str(blocked / "dump"))
    (text,) = (t for t in warned(lambda: tracec.compile(double)(tracec.ones(3))) if "TRACEC_DUMP" in t)
    assert text.startswith(f"RuntimeWarning: TRACEC_DUMP: cannot write to {blocked / 'dump'}: ")
    assert text.endswith("# test_missing.py")
