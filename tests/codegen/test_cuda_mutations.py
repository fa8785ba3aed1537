"""The emulator bites: take one barrier, test or term away from a kernel, and it says so, or the values are wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.emulated import Emulated, emulate, needs_compiler
from tests.codegen.small_clusters import small_blocks
from tests.codegen.test_cuda_values import arguments, compare
from tracec.codegen import cuda_rows, cuda_scan, cuda_scatter
from tracec.codegen.cuda import CudaKernel, render_kernel
from tracec.errors import EmulatorError
from tracec.ir.kernel import Kernel
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.interpreter import run_kernel

pytestmark = needs_compiler

#: A kernel of each family and schedule, with sizes that nothing divides.
KERNELS: dict[str, Kernel] = {
    "map": k.chain(257),
    "map of packs": k.chain(1028),
    "map of views": k.padded(5, 7),
    "map of a broadcast": k.broadcast(33, 31),
    "gather": k.gather(9, 20, 3),
    "row of a warp": k.row_sum(17, 33),
    "row of a block": k.row_sum(3, 5119),
    "row that is kept": k.batch_norm(5, 3, 300),
    "row in place": k.running(3, 5000),
    "column": k.column_shares(100, 33),
    "column in place": k.running(33, 100, "column"),
    "rows that are held": k.held(2, 2051, loads=2, top=False),
    "stripes of a warp": k.stripes(2, 11, 33, sums=2),
    "stripes of a block": k.stripes(2, 3, 1031),
    "stripes with an end": k.stripes(3, 21, 68, sums=2, missing=13),
    "stripes of a block with an end": k.stripes(3, 4, 1031, missing=2),
    "stripes of groups of warps with an end": k.stripes(3, 4, 512, sums=2, missing=5),
    "full": k.full_sum(5003),
    "transpose": k.transpose(2, 33, 65),
    "scan": k.scan(3, 4099, columns=2),
    "scatter": k.scatter(8, 5, 3),
    "scatter in any order": k.scatter(10, 5, 3, shape="atomic"),
    "product": k.dot(2, 33, 35, 37),
    "convolution": k.conv(2, 3, 17, 5),
}

_COMPARISON = re.compile(r"(?<=[(&|=?] )?\b[\w.]+(?: % \d+u?)? (<|>=|==|<=|>) [\w.]+")
_TERM = re.compile(r"\b\d+ \* (\w+) \+ ")
_LOOP = re.compile(r"(for \(.*?; \w+ < )(\d+)(u?; \+\+)")
_CLUSTER = re.compile(r"cluster_(arrive|wait|fence)\(\);")
_ACCESS = re.compile(r"\[|_pack<")


@dataclass(frozen=True)
class Mutation:
    """A change of a source.

    Attributes:
        family: The kernel's name in `KERNELS`.
        what: What is taken away.
        start: Where the changed text starts.
        old: What stands there.
        new: What comes in its place.
    """

    family: str
    what: str
    start: int
    old: str
    new: str

    def __call__(self, rendered: CudaKernel) -> CudaKernel:
        text = rendered.source
        shift = text.index("__global__") + self.start
        assert text[shift:].startswith(self.old) and self.old != self.new
        return replace(rendered, source=text[:shift] + self.new + text[shift + len(self.old) :])


def mutations(family: str, text: str) -> Iterator[Mutation]:
    """Every change of a kernel's text that must not go unnoticed."""
    start = 0
    every = text.splitlines(keepends=True)
    for line, behind in zip(every, [*every[1:], ""], strict=True):
        code = line.split("//")[0]
        if "__syncthreads();" in code:
            yield Mutation(family, "barrier", start + code.index("__syncthreads();"), "__syncthreads();", "")
        if "await_copies();" in code:
            yield Mutation(family, "wait for copies", start + code.index("await_copies();"), "await_copies();", "")
        for found in _CLUSTER.finditer(code):
            yield Mutation(family, "barrier of a cluster", start + found.start(), found[0], "")
        loop = _LOOP.search(code)
        if loop and int(loop[2]) > 1 and not behind.lstrip().startswith("forget("):  # which changes no value
            yield Mutation(family, "last turn", start + loop.start(2), loop[2], str(int(loop[2]) - 1))
        if "for (" not in code and ("if (" in code or "const bool" in code or " ? " in code):
            for found in _COMPARISON.finditer(code):
                always = "true" if found[1] in ("<", "==", "<=") or " ? " in code else "false"
                yield Mutation(family, "test", start + found.start(), found[0], always)
        if _ACCESS.search(code):
            for found in _TERM.finditer(code):
                if f"const int {found[1]} = 0;" not in text:
                    yield Mutation(family, "term", start + found.start(), found[0], "")
        start += len(line)


def all_mutations() -> list[Mutation]:
    found: list[Mutation] = []
    for number, (family, kernel) in enumerate(KERNELS.items()):
        source = render_kernel(replace(kernel, name=f"k0_{kernel.name}_{number:04}")).source
        text = source[source.index("__global__") :]
        # Of the first row of a stripe, what is loaded past its end is the second's, and nothing takes it.
        skipped = text.index("#pragma unroll 1") if kernel.shape == "stripe" else 0
        found += (m for m in mutations(family, text) if m.start >= skipped)
    return found


def wrong(one: Emulated, whole: bool = False) -> str:
    """What shows that a kernel is wrong; nothing where all is well.

    Args:
        one: The kernel.
        whole: Give it whole numbers, whose sums of any length have no rounding.
    """
    given = arguments(one.kernel)
    for array in given:  # the largest comes last, so that no maximum is the same without the last of its parts
        if array.dtype.kind == "f":
            array[...] = np.rint(2 * array) if whole else array
            array.reshape(-1)[-1:] = 9
    expected = [a.copy() for a in given]
    run_kernel(one.kernel, expected)
    for order in ORDERS:
        try:
            for want, have in zip(expected, one.run(given, order), strict=True):
                compare(one.kernel, want, have)
        except (EmulatorError, AssertionError) as error:
            return str(error)
    return ""


def test_every_mistake_is_found() -> None:
    made = all_mutations()
    for what, least in {"barrier": 8, "test": 15, "term": 10, "last turn": 10}.items():
        assert sum(m.what == what for m in made) >= least
    assert {m.family for m in made} == set(KERNELS)
    kernels = [KERNELS[m.family] for m in made]
    missed = []
    for mutation, one in zip(made, emulate(kernels, lambda n, rendered: made[n](rendered)), strict=True):
        if not wrong(one):
            source = one.program.kernels[0].source
            missed.append(f"{mutation}\n{source}")
    assert not missed, "\n".join([f"{len(missed)} of {len(made)} mistakes are not found:", *missed])


#: Rows that clusters of small blocks share: kept in registers, in shared memory, held there, and updated in place.
CLUSTERS: dict[str, Kernel] = {
    "kept": k.held(2, 1023, kept=True, top=False),
    "kept in packs": k.held(2, 1988, kept=True, top=False),
    "kept in shared memory": k.held(2, 521, "f64", kept=True, top=False),
    "held": k.held(2, 2047, loads=2, top=False),
    "held in registers": k.held(2, 3072, loads=2, top=False),
    "in place": k.running(2, 1029),
    "kept in its place": k.held(2, 1988, loads=2, kept=True, top=False),
}


def test_mistakes_of_clusters_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_rows, "LEAST_COST", 0)  # what takes the place of a load, whatever it costs
    with small_blocks():
        rendered = emulate(list(CLUSTERS.values()))
        made: list[Mutation] = []
        for family, one in zip(CLUSTERS, rendered, strict=True):
            assert not wrong(one), family
            (kernel,) = one.program.kernels
            assert "__cluster_dims__" in kernel.source
            made += mutations(family, kernel.source[kernel.source.index("__global__") :])
        assert sum(m.what == "barrier of a cluster" for m in made) >= 40
        kernels = [CLUSTERS[m.family] for m in made]

        def changed(number: int, rendered: CudaKernel) -> CudaKernel:
            return made[number](rendered)

        missed = [str(m) for m, one in zip(made, emulate(kernels, changed), strict=True) if not wrong(one)]
    assert not missed, "\n".join([f"{len(missed)} of {len(made)} mistakes are not found:", *missed])


#: Scans by blocks that wait for each other.
TURNS, TURNS_WIDE = k.scan(1, 16411), k.scan(1, 16411, "f64")
#: By a block that goes from tile to tile, and the last of them is not a whole one.
AHEAD = k.scan(2, 9220)
ASIDE = k.scan(2, 307, columns=17)
#: Positions that are sorted: each key's are a group and more, and most keys have none.
PLACED, ASIDE_OF_KEYS = k.scatter(1000, 5, 4), k.scatter(300, 2000, 1)
#: The same, so many that they are sorted by their digits.
BY_DIGITS = k.scatter(4200, 700, 1)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some windows in a scan of few tiles, some groups in a sum of few parts."""
    monkeypatch.setattr(cuda_scatter, "GROUP", 4)
    monkeypatch.setattr(cuda_scatter, "MOST_LOOKS", 1 << 16)
    monkeypatch.setattr(cuda_scan, "WINDOW", 8)
    monkeypatch.setattr(cuda_scan, "COLUMN_WINDOW", 8)


#: Mistakes that no pattern makes, and those in kernels whose loops end by a ``break``: not every change of theirs ends.
CHOSEN = {
    "first barrier of a product": (k.dot(1, 70, 71, 90), "__syncthreads();\n  int turn", "int turn"),
    "last barrier of a product": (k.dot(1, 70, 71, 90), "put(turn);\n    __syncthreads();", "put(turn);"),
    "turn of a product": (k.dot(1, 70, 71, 90), "turn ^= 1;", ""),
    "bound of a product": (k.dot(1, 70, 71, 90), "k < 90u", "k < 91u"),
    "bound of the sums": (k.dot(1, 70, 71, 90), "if (m >= 70u || n >= 71u) continue;", ""),
    "last column": (k.dot(1, 70, 71, 90), "n >= 71u", "n >= 70u"),
    "sums of parts": (k.dot(1, 64, 64, 8192), "split * ", "0u * "),
    "step of a shuffle": (k.row_sum(17, 33), "int step = 16", "int step = 8"),
    "step of a scan": (k.scan(3, 4099), "int step = 1; step < 32", "int step = 2; step < 32"),
    "turn of a scan": (TURNS, "turn = (unsigned)atomicAdd(board, 1ULL)", "turn = blockIdx.x"),
    "first barrier of a scan": (TURNS, "1ULL);\n  __syncthreads();", "1ULL);"),
    "barrier of the tile's sum": (TURNS, "= sum;\n    __syncthreads();", "= sum;"),
    "barrier of a window": (TURNS, "ends[warp] = carry;\n      __syncthreads();", "ends[warp] = carry;"),
    "barrier of the carry": (TURNS, "carries[warp] = carry;\n    __syncthreads();", "carries[warp] = carry;"),
    "carry at a window's end": (TURNS, "carry = mine;", ""),
    "wait of a scan": (TURNS, "while (word >> 32 == 0)", "while (false)"),
    "mark of a scan": (TURNS, "1ULL << 32 | parts[n]", "parts[n]"),
    "post of a tile": (TURNS, "post(tiles + piece * 1u, sum)", ""),
    "post of a window": (TURNS, "post(windows + window * 1u, sum)", ""),
    "end of a window": (TURNS, "since == 7u", "since == 6u"),
    "tiles of a scan": (TURNS, "thread < since", "thread + 1 < since"),
    "windows of a scan": (TURNS, "left < window", "left + 1 < window"),
    "barrier of a scan ahead": (AHEAD, "totals[warp] = sum;\n    __syncthreads();", "totals[warp] = sum;"),
    "sums of a scan's next tile": (AHEAD, "both[turn]", "both[0]"),
    "carry of a scan ahead": (AHEAD, "if (left == warp) before = carry;", ""),
    "wait for copies ahead": (AHEAD, "await_copies();\n    // Nothing", "// Nothing"),
    "thread of copies ahead": (
        AHEAD,
        "copy_ahead<16>(ahead + (part * 256u + thread)",
        "copy_ahead<16>(ahead + (part * 256u + (thread ^ 1))",
    ),
    "first copies ahead": (AHEAD, "next = 0;", "next = 4;"),
    "next copies ahead": (AHEAD, "next = tile + 4096u;", "next = tile;"),
    "end of copies ahead": (
        AHEAD,
        "chunk = next + warp * 512 + part * 128 + lane * 4;\n      if (chunk >= stop) continue;",
        "chunk = next + warp * 512 + part * 128 + lane * 4;",
    ),
    "clearing of a scan": (TURNS, "board[at] = 0", ""),
    "turn of a scan aside": (ASIDE, "turn = (unsigned)atomicAdd(board, 1ULL)", "turn = blockIdx.x"),
    "first barrier aside": (ASIDE, "1ULL);\n  __syncthreads();", "1ULL);"),
    "barrier of sums aside": (ASIDE, "= sum;\n  __syncthreads();", "= sum;"),
    "barrier of a window aside": (
        ASIDE,
        "ends[warp][lane] = carry;\n    __syncthreads();",
        "ends[warp][lane] = carry;",
    ),
    "barrier of the carry aside": (
        ASIDE,
        "carries[warp][lane] = carry;\n  __syncthreads();",
        "carries[warp][lane] = carry;",
    ),
    "rows aside": (ASIDE, "wanted < 34u ? wanted : 33u", "wanted"),
    "end aside": (ASIDE, "if (chunk >= stop || wanted", "if (wanted"),
    "last rows aside": (ASIDE, "chunk >= stop || wanted != row", "chunk >= stop"),
    "group aside": (ASIDE, "board + 1 + group * ", "board + 1 + 0 * "),
    "lane aside": (ASIDE, "+ lane * 1u", ""),
    "post aside": (ASIDE, "post(tiles + piece * 32u, sum)", ""),
    "window aside": (ASIDE, "post(windows + window * 32u, sum)", ""),
    "windows aside": (ASIDE, "left < window", "left + 1 < window"),
    "end of a window aside": (ASIDE, "since == 7u", "since == 6u"),
    "tiles aside": (ASIDE, "left < since", "left + 1 < since"),
    "shares aside": (
        ASIDE,
        "unsigned left = 0; left < 8; ++left) {\n    const float other = carries",
        "unsigned left = 1; left < 8; ++left) {\n    const float other = carries",
    ),
    "half a sum": (TURNS_WIDE, "n < words; ++n) board[n]", "n < 1; ++n) board[n]"),
    "order of positions": (PLACED, "__popc(equal & ((1u << lane) - 1))", "0"),
    "positions of lower keys": (PLACED, "start += lower[other]", "start += 0"),
    "positions of a key": (PLACED, "= to + __popc(equal);", "= to + 1;"),
    "positions of other warps": (PLACED, "start += one;", ""),
    "barrier of counts": (PLACED, "__syncthreads();\n  // Where each", "// Where each"),
    "barrier of places": (PLACED, "__syncthreads();\n  for (unsigned base", "for (unsigned base"),
    "counts at the start": (PLACED, "counts[warp][key] = 0;", ";"),
    "end of a key": (PLACED, "stop = starts[row + 1]", "stop = starts[row + 1] - 1"),
    "parts of a sum": (PLACED, "low = (first + 32u - 1) / 32u", "low = first / 32u"),
    "after the parts": (PLACED, "at = high * 32u;", "at = stop;"),
    "groups of parts": (PLACED, "turn == 1 ? low_group :", "turn == 1 ? low_group + 1 :"),
    "parts after groups": (PLACED, "turn == 2 && in_groups ? high_group * 4u", "turn == 2 && in_groups ? high"),
    "barrier of a group": (PLACED, "__syncthreads();\n  if (threadIdx.y", "if (threadIdx.y"),
    "parts of a group": (PLACED, "int other = 1; other < 4", "int other = 2; other < 4"),
    "first of equal keys": (ASIDE_OF_KEYS, "ranked[first - 1] == key", "false"),
    "end of equal keys": (ASIDE_OF_KEYS, "not_above(ranked, 300u, key) :", "first + 1 :"),
    "atomic addition": (k.scatter(100, 5, 4, shape="atomic"), "atomicAdd(&y[4 * q + j], w)", "y[4 * q + j] += w"),
    "barrier of starts": (BY_DIGITS, "counts[thread] = count;\n  __syncthreads();", "counts[thread] = count;"),
    "start of a key": (BY_DIGITS, "starts[first + n] = at;", ";"),
    "starts of many keys": (BY_DIGITS, "starts[keys[one] + n] = base + one;", "starts[keys[one] + n] = base;"),
    "last of a put": (k.scatter(1000, 5, 4, add=False), "order[stop - 1]", "order[first]"),
}


def test_chosen_mistakes_are_found() -> None:
    def broken(number: int, rendered: CudaKernel) -> CudaKernel:
        _, old, new = list(CHOSEN.values())[number]
        assert old in rendered.source
        return replace(rendered, source=rendered.source.replace(old, new))

    made = emulate([kernel for kernel, _, _ in CHOSEN.values()], broken)
    assert not [what for what, one in zip(CHOSEN, made, strict=True) if not wrong(one, whole=True)]


def test_without_mistakes_nothing_is_found() -> None:
    for family, one in zip(KERNELS, emulate(list(KERNELS.values())), strict=True):
        assert not wrong(one), family
    for what, one in zip(CHOSEN, emulate([kernel for kernel, _, _ in CHOSEN.values()]), strict=True):
        assert not wrong(one, whole=True), what
    assert np.isfinite(arguments(KERNELS["map"])[0]).all()
