"""Kernels on every rung of their ladders compute what the interpreter computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.codegen import kernels as k
from tests.codegen.emulated import Emulated, emulate, needs_compiler
from tests.codegen.small_clusters import small_blocks
from tests.codegen.test_cuda_values import CASES, check
from tracec.codegen import cuda_map, cuda_stripe_share
from tracec.codegen.cuda import render_kernel
from tracec.codegen.cuda_ladder import FIRST, LADDERS, Rung, ladder, on_rung, rung
from tracec.errors import CompileError
from tracec.ir.kernel import Kernel
from tracec.ir.room import room_of
from tracec.runtime.cache import LEADING_COMMENTS

#: Small kernels, and where they are odd: rows with a rest, columns and stripes that threads do not divide.
KERNELS: dict[str, list[Kernel]] = {
    "rows": [k.softmax(3, 250), k.softmax(2, 514, "bf16"), k.softmax(1, 257, "f64"), k.row_sum(2, 1001, "f16")],
    "looped rows": [k.row_sum(2, 20001, "f64"), k.reread(2, 2049), k.row_sum(3, 5000)],
    "rows of clusters": [k.softmax(2, 1023), k.layer_norm(2, 2052), k.held(2, 1032, "bf16", 2, kept=True)],
    "held rows": [k.held(2, 1028, loads=2, top=False), k.held(1, 1031, "f16"), k.running(2, 1025)],
    "columns": [k.column_softmax(70, 33), k.column_softmax(65, 36), k.column_sum(150, 40, "bf16", 2)],
    "maps": [k.chain(1027), k.gelu(1000, "f16"), k.broadcast(5, 64, "bf16")],
    "stripes": [
        k.stripes(2, 3, 130, sums=2), k.stripes(3, 5, 258, "bf16", missing=4), k.stripes(2, 4, 132, in_place=True),
        k.stripes(1, 3, 257, "f16", sums=2, missing=1),
    ],
}  # fmt: skip


@contextmanager
def small() -> Iterator[None]:
    """Within, blocks, and what their threads keep, are small."""
    with small_blocks(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_map, "MANY_BLOCKS", 0)
        patch.setattr(cuda_stripe_share, "RESIDENT", {})
        patch.setattr(cuda_stripe_share, "WORDS", {32: 8, 64: 6})
        yield


def candidates(kernels: Sequence[Kernel]) -> tuple[list[Kernel], list[int]]:
    """Kernels, and the rungs on which they are written as on none before."""
    found: list[tuple[Kernel, int]] = []
    with room_of("sm_90"):
        for kernel in kernels:
            known: set[str] = set()
            for number in range(len(ladder(kernel.shape))):
                source = LEADING_COMMENTS.sub("", render_kernel(kernel, rung=number).source)
                found += [(kernel, number)] * (source not in known)
                known.add(source)
    return [kernel for kernel, _ in found], [number for _, number in found]


def emulated(kernels: Sequence[Kernel]) -> list[Emulated]:
    """Kernels on all of their rungs but the first, which other tests have."""
    found = [(kernel, n) for kernel, n in zip(*candidates(kernels), strict=True) if n]
    return emulate([kernel for kernel, _ in found], rungs=[n for _, n in found])


@needs_compiler
@pytest.mark.parametrize("name", KERNELS)
def test_values(name: str) -> None:
    with small():
        found = emulated(KERNELS[name])
        assert len(found) >= len(KERNELS[name])
        schedules = [e.schedule for one in found for kernel in one.program.kernels for e in kernel.entries]
        assert any("in shared memory" in s for s in schedules) or name not in ("stripes", "rows of clusters")
        for one in found:
            check(one, ["random"])


@needs_compiler
@pytest.mark.slow
def test_values_of_all_cases() -> None:
    for one in emulated(list(CASES.values())):
        check(one, ["random"])


def test_stripes_have_what_they_keep_in_shared_memory_where_it_has_room() -> None:
    """Of 8191 elements next to two sums of columns; where there is less room, they are as on the rung before."""
    kernel = k.stripes(2, 3, 8191, sums=2)
    number = next(n for n, r in enumerate(ladder("stripe")) if r.kept == 0)
    with room_of("sm_90"):
        (entry,) = render_kernel(kernel, rung=number).entries
    assert entry.shared_bytes == 2 * 8192 * 4 and "in shared memory" in entry.schedule
    with room_of("sm_75"):
        (entry,) = render_kernel(kernel, rung=number).entries
    assert entry.shared_bytes == 0


def test_a_rung_holds_within_and_says_what_is_less() -> None:
    less = Rung(kept=50, pack=8)
    with on_rung(less):
        assert rung() is less
    assert rung() is FIRST and str(FIRST) == ""
    assert str(less) == "50% of the registers for what is kept, packs of 8 bytes"
    kernel = render_kernel(CASES["chain"], rung=1)
    assert (
        kernel.less == "50% of the loads at a time"
        and f"// since registers would be spilled: {kernel.less}\n" in kernel.source
    )


def test_every_ladder_begins_with_the_first_way_and_has_no_rung_twice() -> None:
    for rungs in LADDERS.values():
        assert rungs[0] == FIRST and len({*rungs}) == len(rungs)
    assert ladder("transpose") == (FIRST,)


def test_a_way_that_there_is_no_place_for_is_the_one_before_it() -> None:
    """A row that registers have place for, and shared memory has not."""
    kernel = k.softmax(2, 24576)
    with room_of("sm_86"):
        every = [render_kernel(kernel, rung=n).source for n in range(len(ladder("row")))]
        with on_rung(Rung(kept=0)), pytest.raises(CompileError, match="a block has"):
            render_kernel(k.softmax(2, 1 << 16))
    assert len({*every}) > 1 and every[-1] == every[-2]
