"""Kernels that spill are written in another way, once: what is chosen, kept, told, and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.codegen.emulated import needs_compiler
from tests.doubles.driver import pretended
from tracec import build, spills
from tracec.codegen.cuda import CudaProgram, Rungs
from tracec.codegen.cuda_ladder import ladder
from tracec.runtime import emulator, nvrtc
from tracec.runtime.nvrtc import Cubin, Resources

SETTLED = build.settled
#: What a kernel's source says where it is not written as it would be at first.
LESS = "since registers would be spilled"


class Compiler:
    """Stands in for NVRTC.

    Args:
        spills: Source → bytes that it spills.

    Attributes:
        asked: Sources that it was given, call by call.
    """

    def __init__(self, spills: Callable[[str], int]) -> None:
        self.spills = spills
        self.asked: list[list[str]] = []

    def __call__(self, sources: Sequence[str], arch: str) -> tuple[Cubin, ...]:
        self.asked.append(list(sources))
        return tuple(Cubin(b"", {"f": Resources(64, self.spills(s), 0)}) for s in sources)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], int]], Compiler]:
    """Puts a compiler in NVRTC's place."""

    def put(spills: Callable[[str], int]) -> Compiler:
        made = Compiler(spills)
        monkeypatch.setattr(nvrtc, "compile_sources", made)
        monkeypatch.setattr(nvrtc, "source_key", lambda source, arch: f"{arch} {source}")
        return made

    return put


def lowered(function: Callable[..., Any], *arguments: Any) -> Any:
    return tracec.compile(function).lower(*arguments, target="cuda", arch="sm_90")


def softmax(x: Any) -> Any:
    return F.softmax(x, -1)


def written_by(program: CudaProgram, made: list[Rungs]) -> Callable[[Rungs], CudaProgram]:
    """Notes what is asked for; gives the same program, with the rung of each kernel in its source."""

    def write(rungs: Rungs) -> CudaProgram:
        made.append(dict(rungs))
        if not rungs:
            return program
        kernels = (replace(k, source=f"{k.source}// rung {rungs.get(k.name, 0)}\n") for k in program.kernels)
        return replace(program, kernels=tuple(kernels))

    return write


def rung_of(source: str) -> int:
    last = source.splitlines()[-1]
    return int(last.removeprefix("// rung ")) if last.startswith("// rung") else 0


def test_where_nothing_spills_all_is_as_it_was(compiler: Any) -> None:
    made = compiler(lambda source: 0)
    program, asked = lowered(softmax, tracec.zeros(4, 64)).built.program, []
    for _ in range(3):
        assert spills.without_spills(program, written_by(program, asked)) is program
    assert not asked and len(made.asked) == 1


@pytest.mark.parametrize(
    ("bytes_of", "chosen"),
    [
        ({0: 8}, 1),
        ({0: 8, 1: 8, 2: 4}, 3),
        (dict.fromkeys(range(20), 16), 0),  # none is better than the first
        ({n: 16 - (n == 3) for n in range(20)}, 3),  # all spill: the one that does least
    ],
)
def test_the_first_way_that_does_not_spill_is_taken_and_kept(
    compiler: Any, bytes_of: dict[int, int], chosen: int
) -> None:
    made = compiler(lambda source: bytes_of.get(rung_of(source), 0))
    program = lowered(softmax, tracec.zeros(4, 64)).built.program
    (kernel,) = program.kernels
    asked: list[Rungs] = []
    found = spills.without_spills(program, written_by(program, asked))
    assert rung_of(found.kernels[0].source) == chosen
    assert len(made.asked) <= len(ladder(kernel.ir.shape)) + 1
    asked.clear()
    made.asked.clear()
    again = spills.without_spills(program, written_by(program, asked))  # as another process does
    assert asked == ([{kernel.name: chosen}] if chosen else []) and not made.asked
    assert again == found


def test_what_was_kept_of_a_compiler_that_wrote_otherwise_is_tried_again(compiler: Any) -> None:
    made = compiler(lambda source: 8 * (rung_of(source) < 2))
    program, asked = lowered(softmax, tracec.zeros(4, 64)).built.program, []
    write = written_by(program, asked)
    spills.without_spills(program, write)
    made.asked.clear()

    def otherwise(rungs: Rungs) -> CudaProgram:
        found = write(rungs)
        return replace(found, kernels=tuple(replace(k, source=f"// new\n{k.source}") for k in found.kernels))

    assert rung_of(spills.without_spills(program, otherwise).kernels[0].source) == 2
    assert len(made.asked) == 1


def test_only_what_spills_is_written_in_another_way(compiler: Any, tmp_path: Path) -> None:
    compiler(lambda source: 8 * ("_row_" in source and LESS not in source))
    low = lowered(lambda x: (softmax(x), x.t().contiguous()), tracec.zeros(40, 64))
    first, then = low.built.program.kernels, low.settled.program.kernels
    assert [a == b for a, b in zip(first, then, strict=True)] == [k.ir.shape != "row" for k in first]
    assert "50% of the loads at a time" in low.stages["source"] and low.settled.plan is low.built.plan
    assert "written so that no registers are spilled" in low.report(tmp_path / "page.html").read_text()


@needs_compiler
@pytest.mark.parametrize("joined", [False, True])
def test_what_rides_on_others_is_launched_by_itself_where_no_other_way_does(compiler: Any, joined: bool) -> None:
    compiler(lambda source: 8 * ("_then_" in source and not (joined and LESS in source)))
    x = tracec.randn(700, 100)
    low = lowered(lambda x: (x.sum() + 1, x.sum(0)), x)
    assert any("_then_" in k.name for k in low.built.program.kernels)
    settled = low.settled
    assert [any("_then_" in k.name for k in settled.program.kernels)] == [joined]
    assert (len(settled.program.steps) == len(low.built.program.steps)) is joined
    found = emulator.load(settled.plan, settled.program)([x.numpy()])
    np.testing.assert_allclose(found[0], x.sum().numpy() + 1, rtol=1e-4, atol=1e-2)


@needs_compiler
def test_calls_run_what_was_settled_at_every_size(compiler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and maps that serve all sizes are written for each where they spill, and so are those that never do."""
    compiler(lambda source: 8 * (LESS not in source))
    before: list[Any] = []
    after: list[Any] = []

    def settled(built: Any) -> Any:
        before.extend(built.program.kernels)
        found = SETTLED(built)
        after.extend(found.program.kernels)
        return found

    with pretended():
        monkeypatch.setattr(build, "settled", settled)
        run = tracec.compile(lambda x: (F.softmax(x * 2, -1).sum(0), x.sum(1) + x.shape[0]))
        for rows, length in ((4, 33), (9, 300), (130, 700), (9, 300), (5, 1500)):
            x = tracec.randn(rows, length, device="cuda")
            for found, want in zip(run(x), run.fn(x), strict=True):
                np.testing.assert_allclose(found.cpu().numpy(), want.cpu().numpy(), rtol=1e-5, atol=1e-5)
        assert len(run.explain().recordings) == 2
    assert {k.serves_all for k in before} == {False, True}
    assert after and all(k.less for k in after)


def test_rows_that_spill_are_written_in_another_way() -> None:
    """With NVRTC: what is compiled is what is told, and no other way is tried again."""
    pytest.importorskip("cupy")
    length = 32768

    def norm(x: Any, w: Any, b: Any) -> Any:
        return F.layer_norm(x, (length,), w, b)

    arguments = tracec.zeros(9, length), tracec.zeros(length), tracec.zeros(length)
    low = lowered(norm, *arguments)
    (first,) = nvrtc.compile_sources([k.source for k in low.built.program.kernels], "sm_90")
    assert first.resources.spill_bytes
    (kernel,) = low.kernels
    assert kernel.resources.spill_bytes == 0 and LESS in kernel.source.splitlines()[1]
    assert low.stages["source"] == kernel.source
    asked: list[Rungs] = []
    program = low.built.program
    again = spills.without_spills(program, lambda rungs: (asked.append(rungs), low.built.written(rungs))[1])
    assert again == low.settled.program and len(asked) == 1
