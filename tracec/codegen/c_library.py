"""Library calls: matrix products through BLAS, stable sorting, selection by rank."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from typing import Any

from tracec.codegen.c_cost import condition
from tracec.codegen.c_dialect import TYPES
from tracec.codegen.c_source import Function, Head, Parameter, Statement, plain_call, value
from tracec.codegen.render import render_template
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import chosen, is_varying, plain
from tracec.ir.plan import LibraryCall, Plan
from tracec.ir.types import TensorType, contiguous_strides, numel

#: Multiplications from which a product is shared among threads.
MIN_PARALLEL = 500_000
#: Multiplications that a tile should have, more where all cores have a tile; a product has at most `MAX_TILES` of them.
TILE = 32_000_000
MAX_TILES = 64
#: Of the machine, whatever part of it the process may use: how a product is cut stays the same.
CORES = os.cpu_count() or 1
#: Sums of so many products read operands that no cache holds: there a tile below so many multiplications for each
#: element that it packs, or half of the whole's where that is less, is mostly packing.
LONG, LEAST_REUSE = 1 << 10, 64


@dataclass(frozen=True, slots=True)
class BatchLoop:
    """A loop over an axis of matrices: its extent, and how far each operand moves."""

    var: str
    extent: int
    a: int
    b: int
    c: int


@dataclass(frozen=True, slots=True)
class Product:
    """A batch of matrix products, cut into tiles that do not depend on the number of threads.

    Attributes:
        type: C's element type.
        routine: Member of ``struct tracec_lib``.
        batch: Loops over matrices.
        m, n, k: Sizes.
        tile_m, tile_n: Sizes of a tile.
        trans_a, trans_b: CBLAS's words, 111 or 112.
        lda, ldb: Leading dimensions.
        a, b: Offsets of the first elements.
        a_step, b_step: How far the operands move from one row (column) of the result to the next.
        collapse: Loops to share among threads; 0 for none.
        where: The condition under which they are, as words of the pragma.
    """

    type: str
    routine: str
    batch: tuple[BatchLoop, ...]
    m: int
    n: int
    k: int
    tile_m: int
    tile_n: int
    trans_a: int
    trans_b: int
    lda: int
    ldb: int
    a: int
    b: int
    a_step: int
    b_step: int
    collapse: int
    where: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """The places of the elements of lines that have ranks next to each other, all of them for a sort.

    Attributes:
        name: The function's name.
        type: C's element type.
        key_type: The type of keys, unsigned integers whose order is that of the elements.
        key_bits: Its bits.
        float_type: The float whose bits are a key's; empty where elements are integers.
        element: An element ``x`` as such a float.
        infinity: Its bits of infinity.
        signed: Whether integers have a sign.
        descending: Whether elements fall.
        place: The type of places.
        outer, n, inner: Sizes before, along and after the axis.
        start, count: The ranks.
        shared: Whether lines are shared among threads.
        digit: Bits that keys are told apart by at a time,
        short_digit: and where there are few of them,
        few: fewer than so many.
        looked_at: Keys by which a range is guessed; an eighth of them where a line is short,
        fewest: and none where it has fewer elements,
        errs: and by how many of their standard deviations it is larger.
    """

    name: str
    type: str
    key_type: str
    key_bits: int
    float_type: str
    element: str
    infinity: str
    signed: bool
    descending: bool
    place: str
    outer: int
    n: int
    inner: int
    start: int
    count: int
    shared: bool
    digit: int = 11
    short_digit: int = 8
    few: int = 4096
    looked_at: int = 1024
    fewest: int = 512
    errs: int = 3

    @property
    def bins(self) -> int:
        """Values of a digit."""
        return 1 << self.digit


def routine(plan: Plan, step: LibraryCall) -> Function:
    """The C function that runs a library call of these parameters.

    Raises:
        KeyError: the routine is not one that this target has.
    """
    params = dict(step.params)
    if step.routine == "gemm":
        return _gemm(params)
    if step.routine == "argsort":
        source = plan.values[step.inputs[0]].type
        return _ranked(source, **params, start=0, count=source.shape[params["axis"]])
    if step.routine == "ranked":
        return _ranked(plan.values[step.inputs[0]].type, **params)
    raise KeyError(f"the C target has no routine {step.routine}")


def call(plan: Plan, step: LibraryCall, name: str) -> Statement:
    """The call in the entry."""
    values = [value(plan, v) for v in (*step.inputs, step.output)]
    if step.routine == "gemm":
        return plain_call(name, "lib", *values, blas=True)
    return plain_call(name, *values)


def tiles(m: int, n: int, k: int) -> tuple[int, int]:
    """The size of a tile: the longer side is halved, as every tile packs its part of both operands."""
    tile_m, tile_n, count = m, n, 1
    work, least = m * n * k, min(LEAST_REUSE, _reuse(m, n) / 2)
    # Halves are rounded up, so that tiles may be a little larger than they would be.
    target = max(min(TILE, work // 4), work // max(CORES, 2)) * 5 // 4
    while tile_m * tile_n * k > target and count < MAX_TILES and max(tile_m, tile_n) >= 64:
        smaller = (_half(tile_m), tile_n) if tile_m >= tile_n else (tile_m, _half(tile_n))
        if k >= LONG and _reuse(*smaller) < least:
            break
        tile_m, tile_n = smaller
        count *= 2
    return tile_m, tile_n


def _reuse(m: int, n: int) -> float:
    """Multiplications of a tile for each element of the operands that it packs."""
    return m * n / max(m + n, 1)


def _tile(axis: int, many: int, m: int, n: int, k: int) -> int:
    """The size of a tile along rows or columns: all, where there is little to do or many matrices are shared."""
    whole = many * m * n * k < MIN_PARALLEL or many >= 16
    return (m, n)[axis] if whole else tiles(m, n, k)[axis]


def _half(size: int) -> int:
    return (size // 2 + 15) // 16 * 16


def _gemm(params: dict[str, Any]) -> Function:
    batch, m, n, k = params["batch"], params["m"], params["n"], params["k"]
    dtype: DType = params["dtype"]
    strides = contiguous_strides((*batch, m * n))[:-1]
    loops = tuple(
        BatchLoop(f"q{i}", extent, a, b, c)
        for i, (extent, a, b, c) in enumerate(zip(batch, params["a_batch"], params["b_batch"], strides, strict=True))
        if extent != 1
    )
    many, work = numel(batch), numel(batch) * m * n * k
    shared = is_varying(work) or work >= MIN_PARALLEL
    tile_m, tile_n = (chosen("tile", functools.partial(_tile, axis), many, m, n, k) for axis in (0, 1))
    trans_a, trans_b = bool(params["trans_a"]), bool(params["trans_b"])
    name = "gemm_" + _digest(*sorted(params.items(), key=lambda p: p[0]))
    product = Product(
        TYPES[dtype], "sgemm" if dtype is dt.float32 else "dgemm", loops, m, n, k, tile_m, tile_n,
        112 if trans_a else 111, 112 if trans_b else 111, params["lda"], params["ldb"],
        params["a_offset"], params["b_offset"],
        1 if trans_a else params["lda"], params["ldb"] if trans_b else 1,
        len(loops) + 2 if shared else 0, condition(work, MIN_PARALLEL),
    )  # fmt: skip
    pointer = f"{TYPES[dtype]} *"
    head = Head(name, (
        Parameter("const struct tracec_lib *", "lib"), Parameter(f"const {pointer}", "a"),
        Parameter(f"const {pointer}", "b"), Parameter(pointer, "c"),
    ))  # fmt: skip
    return Function(head, render_template("c/gemm.j2", g=product))


def _ranked(x: TensorType, axis: int, descending: bool, start: int, count: int) -> Function:
    outer, n, inner = numel(x.shape[:axis]), x.shape[axis], numel(x.shape[axis + 1 :])
    dtype, bits = x.dtype, 64 if x.dtype.itemsize == 8 else 32
    name = f"ranked_{_digest(dtype.short, outer, n, inner, start, count, descending)}"
    key_type, infinity = ("unsigned long", "0x7ff0000000000000ul") if bits == 64 else ("unsigned", "0x7f800000u")
    view = Ranked(
        name, TYPES[dtype], key_type, bits, TYPES[dtype.compute] if dtype.kind == "f" else "",
        f"f32_from_{dtype.short}(x)" if dtype.itemsize == 2 else "x", infinity, dtype.kind == "i", descending,
        "long" if is_varying(n) or n >= 1 << 31 else "int", outer, n, inner, start, count,
        plain(outer * inner) > 1 and plain(outer * n * inner) >= 1 << 13,
    )  # fmt: skip
    head = Head(name, (Parameter(f"const {TYPES[dtype]} *", "x"), Parameter("long *", "y")))
    before = render_template("c/ranked_parts.j2", s=view)
    return Function(head, render_template("c/ranked.j2", s=view), before=before, asks=True)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
