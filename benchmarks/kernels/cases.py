"""What is measured: for each family of kernels, functions in PyTorch's style that tracec and its peers run alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Sizes in bytes of the largest operand.
SWEEP = tuple(1 << p for p in (20, 22, 24, 26, 28, 30))
#: The size of most cases: on the GPU several times its cache; smaller in a rehearsal.
MIDDLE = 1 << 28
REHEARSED = 1 << 22
#: The size in the emulator, where other extents are also smaller.
EMULATED = 1 << 14
WIDTHS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8}

Operands = tuple["Operand", ...]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Operand:
    """A tensor that a function is given.

    Attributes:
        shape: Its shape.
        dtype: Its element type.
        below: Integers are drawn from 0 up to here.
        grad: Whether the function differentiates with respect to it.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    below: int = 0
    grad: bool = False

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * WIDTHS[self.dtype]


@dataclass(frozen=True)
class Case:
    """One function at one size.

    Attributes:
        family: The kernel shape that it is about.
        name: What it computes.
        operands: What it is given.
        make: From a module with PyTorch's names to the function.
        moved: Bytes that have to move, where they are not inputs read and outputs written once.
        exact: Whether float64 tells what is right; otherwise the same function run eagerly does, bit for bit.
        quick: Whether a quick run has it.
        any_order: Whether tracec may add up in any order, as others do.
    """

    family: str
    name: str
    operands: Operands
    make: Callable[[Any], Function]
    moved: int | None = None
    exact: bool = True
    quick: bool = False
    any_order: bool = False

    @property
    def title(self) -> str:
        shapes = ", ".join("×".join(map(str, o.shape)) for o in self.operands[:1])
        return f"{self.name} {shapes} {self.operands[0].dtype}"


def edge(usual: int, middle: int) -> int:
    """An extent that is the same for all sizes, but in a rehearsal."""
    return usual if middle >= REHEARSED else max(8, usual * middle // REHEARSED)


def count(nbytes: int, dtype: str) -> int:
    """How many elements have that many bytes."""
    return nbytes // WIDTHS[dtype]


# Functions ----------------------------------------------------------------------------------------------


def gelu_chain(xp: Any) -> Function:
    gelu = xp.nn.functional.gelu
    return lambda x, y: gelu(x * 1.1 + 0.1) * 0.5 + y


def with_gradient(function: Callable[[Any], Function], wrt: int = 1) -> Callable[[Any], Function]:
    """Forward and backward: the gradients of the first operands, given that of the result as the last one."""

    def make(xp: Any) -> Function:
        f = function(xp)
        return lambda *given: xp.autograd.grad(f(*given[:-1]), given[:wrt], given[-1])

    return make


def softmax(xp: Any) -> Function:
    return lambda x: xp.nn.functional.softmax(x, dim=-1)


def layer_norm(xp: Any) -> Function:
    return lambda x, w, b: xp.nn.functional.layer_norm(x, (x.shape[-1],), w, b)


def rms_norm(xp: Any) -> Function:
    return lambda x, w: xp.nn.functional.rms_norm(x, (x.shape[-1],), w)


def cross_entropy(xp: Any) -> Function:
    return lambda x, target: xp.nn.functional.cross_entropy(x, target)


def cross_entropy_both(xp: Any) -> Function:
    def function(x: Any, target: Any) -> Any:
        loss = xp.nn.functional.cross_entropy(x, target)
        return (loss.detach(), *xp.autograd.grad(loss, (x,)))

    return function


def embedding_gradient(xp: Any) -> Function:
    f = xp.nn.functional.embedding
    return lambda table, tokens, ct: xp.autograd.grad(f(tokens, table), (table,), ct)


def dropout(xp: Any) -> Function:
    return lambda x: xp.nn.functional.dropout(x, 0.1)


def adamw(xp: Any) -> Function:
    """One update of many parameters, written out so that moments and parameters are written in place."""

    def function(*given: Any) -> Any:
        n = len(given) // 4
        with xp.no_grad():
            for p, g, m, v in zip(given[:n], given[n : 2 * n], given[2 * n : 3 * n], given[3 * n :], strict=True):
                m.mul_(0.9).add_(g * 0.1)
                v.mul_(0.999).add_(g * g * 0.001)
                p.mul_(1 - 1e-5).sub_(m / (v.abs().sqrt() + 1e-8) * 1e-3)

    return function


# Cases ------------------------------------------------------------------------------------------------


def row_sum(xp: Any) -> Function:
    return lambda x: x.sum(-1)


def laid_out(xp: Any) -> Function:
    return lambda *xs: xp.cat([x.reshape(-1) * 0.5 for x in xs])


def layer_shapes(n: int, odd: int, pairs: int = 25) -> list[tuple[int, ...]]:
    """The shapes of biases and weights of so many elements, more or less."""
    width = max(math.isqrt(n // pairs) // 8 * 8, 8)
    return [s for k in range(pairs) for s in ((width + (odd if k == 0 else 0),), (width, width))]


def maps(middle: int) -> Iterator[Case]:
    """Elementwise kernels over sizes and element types."""
    for nbytes in [size for size in SWEEP if size <= 4 * middle] or [middle]:
        n = count(nbytes, "float32")
        quick = nbytes in (1 << 20, 1 << 24, middle)
        yield Case("map", "x*2 + 1", (Operand((n,)),), lambda xp: lambda x: x * 2 + 1, quick=quick)
    for dtype in ("float16", "bfloat16", "float64"):
        for nbytes in (middle >> 4, middle):
            operands = (Operand((count(nbytes, dtype),), dtype),)
            yield Case("map", "x*2 + 1", operands, lambda xp: lambda x: x * 2 + 1, quick=nbytes == middle)
    for dtype in ("float32", "float16"):
        n = count(middle, dtype)
        two = (Operand((n,), dtype), Operand((n,), dtype))
        yield Case("map", "gelu chain + y", two, gelu_chain, quick=True)
        odd = (Operand((n - 1,), dtype), Operand((n - 1,), dtype))
        yield Case("map", "x + y, odd length", odd, lambda xp: lambda x, y: x + y, quick=True)
        many = max(n >> 12, 1)
        rows = (Operand((many, 1 << 12), dtype), Operand((1 << 12,), dtype), Operand((many, 1), dtype))
        yield Case("map", "x*row + column", rows, lambda xp: lambda x, r, c: x * r + c, quick=dtype == "float32")
    for dtype in ("float32", "float16"):
        for odd in (0, 1):  # elements of the first bias: what comes behind begins at no multiple of a pack
            layers = tuple(Operand(s, dtype) for s in layer_shapes(count(middle, dtype), odd))
            name = f"{len(layers)} gradients times a number, one behind the other{', odd' * odd}"
            yield Case("map", name, layers, laid_out, quick=dtype == "float32")


def rows(middle: int) -> Iterator[Case]:
    """Reductions along rows of several lengths, and what is built of them, forward and backward."""
    for dtype in ("float32", "bfloat16"):
        for length in (64, 1024, 32768, 131072, 262144):
            x = Operand((max(count(middle, dtype) // length, 1), length), dtype)
            w = Operand((length,), dtype)
            grad, wgrad = Operand(x.shape, dtype, grad=True), Operand(w.shape, dtype, grad=True)
            target = Operand(x.shape[:1], "int64", below=length)
            usual = length == 1024
            quick = (dtype == "float32" and length < 1 << 18) or usual
            # The longest that a cluster of blocks keeps of float32.
            clustered = length == 1 << 18 and middle >= REHEARSED
            yield Case("row", "sum", (x,), row_sum, quick=quick)
            yield Case("row", "softmax", (x,), softmax, quick=quick or clustered or dtype == "float32")
            yield Case("row", "softmax forward + backward", (grad, x), with_gradient(softmax), quick=usual)
            yield Case("row", "layer norm", (x, w, w), layer_norm, quick=usual or clustered)
            backward = with_gradient(layer_norm, 3)
            yield Case("row", "layer norm forward + backward", (grad, wgrad, wgrad, x), backward, quick=usual)
            yield Case("row", "RMS norm", (x, w), rms_norm, quick=usual)
            yield Case("row", "RMS norm forward + backward", (grad, wgrad, x), with_gradient(rms_norm, 2), quick=usual)
            yield Case("row", "cross-entropy", (x, target), cross_entropy, quick=usual)
            yield Case(
                "row", "cross-entropy forward + backward", (grad, target), cross_entropy_both, quick=quick or clustered
            )


def reductions(middle: int) -> Iterator[Case]:
    """Reductions along columns and over everything."""
    n = count(middle, "float32")
    for width in (32, 1024, 65536):
        yield Case("column", "sum", (Operand((max(n // width, 1), width)),), lambda xp: lambda x: x.sum(0), quick=True)
    yield Case("column", "sum", (Operand((max(2 * n >> 10, 1), 1024), "bfloat16"),), lambda xp: lambda x: x.sum(0))
    for nbytes in (middle >> 8, middle):
        operands = (Operand((count(nbytes, "float32"),)),)
        yield Case("full", "sum", operands, lambda xp: lambda x: x.sum(), quick=nbytes == middle)
    yield Case("full", "sum", (Operand((2 * n,), "float16"),), lambda xp: lambda x: x.sum())


def movements(middle: int) -> Iterator[Case]:
    """Transposes, gathers, scatters."""
    for dtype in ("float32", "float16"):
        side = math.isqrt(count(middle, dtype)) // 64 * 64
        matrix = Operand((side, side), dtype)
        yield Case("transpose", "x.T", (matrix,), lambda xp: lambda x: x.T.contiguous(), quick=True)
        size = edge(1024, middle)
        batch = Operand((max(1, count(middle, dtype) >> 20), size, size), dtype)
        swap = lambda xp: lambda x: x.transpose(1, 2).contiguous()  # noqa: E731
        yield Case("transpose", "batched", (batch,), swap, quick=dtype == "float32")
    heads = Operand((count(middle, "float32") >> 21 or 1, edge(1024, middle), 16, 128), "float32")
    yield Case("transpose", "heads", (heads,), lambda xp: lambda x: x.transpose(1, 2).contiguous(), quick=True)
    for dtype in ("float32", "bfloat16"):
        table, tokens, width = edge(50304, middle), max(middle >> 12, 16), edge(1024, middle)
        size = WIDTHS[dtype]
        index = Operand((tokens,), "int64", below=table)
        weight, wgrad = Operand((table, width), dtype), Operand((table, width), dtype, grad=True)
        ct = Operand((tokens, width), dtype)
        lookup = lambda xp: lambda w, i: xp.nn.functional.embedding(i, w)  # noqa: E731
        # A row that is looked up twice may come from the cache: no more than the table has to be read.
        read = min(tokens, table) * width * size
        yield Case("gather", "embedding", (weight, index), lookup, tokens * (8 + width * size) + read, quick=True)
        moved = tokens * (8 + width * size) + table * width * size
        operands = (wgrad, index, ct)
        yield Case("scatter", "embedding gradient", operands, embedding_gradient, moved, quick=True)
        if dtype == "float32":
            name = "embedding gradient, any order"
            yield Case("scatter", name, operands, embedding_gradient, moved, quick=True, any_order=True)


def others(middle: int) -> Iterator[Case]:
    """Scans, sorts, selections, random numbers, optimisers."""
    n = count(middle, "float32")
    few = max(n >> 18, 1)
    for shape in ((max(n >> 16, 1), 1 << 16), (few, n // few), (n >> 10, 1 << 10), (n,)):
        yield Case("scan", "cumsum", (Operand(shape),), lambda xp: lambda x: x.cumsum(-1), quick=True)
    logarithms = lambda xp: lambda x: x.logcumsumexp(-1)  # noqa: E731
    yield Case("scan", "logcumsumexp", (Operand((n,)),), logarithms)
    down = lambda xp: lambda x: x.cumsum(0)  # noqa: E731
    yield Case("scan", "cumsum of columns", (Operand((n >> 10, 1 << 10)),), down, quick=True)
    for dtype in ("float64", "bfloat16", "int64"):
        operands = (Operand((count(middle, dtype),), dtype, below=3 if dtype == "int64" else 0),)
        yield Case("scan", "cumsum", operands, lambda xp: lambda x: x.cumsum(-1))
    for shape in ((max(n >> 12, 1), 1 << 10), (max(n >> 4, 1000),)):
        order = lambda xp: lambda x: tuple(xp.sort(x, dim=-1))  # noqa: E731
        yield Case("sort", "sort", (Operand(shape),), order, quick=True)
    largest = lambda xp: lambda x: tuple(xp.topk(x, min(50, x.shape[-1])))  # noqa: E731
    middles = lambda xp: lambda x: xp.kthvalue(x, x.shape[-1] // 2)[0]  # noqa: E731
    tokens = edge(50257, middle)
    for shape, dtype in (((64, tokens), "float32"), ((1, tokens), "bfloat16"), ((max(n >> 4, 1000),), "float32")):
        yield Case("select", "topk of 50", (Operand(shape, dtype),), largest, quick=True)
    for shape in ((max(n >> 12, 1), 1 << 12), (max(n >> 4, 1000),)):
        yield Case("select", "kthvalue", (Operand(shape),), middles)
    for dtype in ("float32", "bfloat16"):
        operands = (Operand((count(middle, dtype),), dtype),)
        yield Case("random", "dropout", operands, dropout, exact=False, quick=dtype == "float32")
    sizes = [(50304, 256), (1024, 256)] + [(1024, 256), (256,), (256, 1024), (1024,), (768, 256), (256,)] * 12
    sizes = [tuple(edge(extent, middle) for extent in size) for size in sizes]
    parts = tuple(Operand(size) for _ in range(4) for size in sizes)
    moved = sum(math.prod(size) for size in sizes) * 4 * 7
    yield Case("update", "AdamW, 74 parameters", parts, adamw, moved, quick=True)
    side = max(math.isqrt(middle // 16), 9)
    big = tuple(Operand((side, side)) for _ in range(4) for _ in range(4))
    yield Case("update", "AdamW, 4 parameters", big, adamw, 4 * side * side * 4 * 7, quick=True)


def cases(quick: bool, middle: int = MIDDLE) -> list[Case]:
    """All cases, or those of a quick run, one of each family first."""
    families = (maps, rows, reductions, movements, others)
    found = [c for family in families for c in family(middle) if c.quick or not quick]
    first: dict[str, Case] = {}
    for case in found:
        first.setdefault(case.family, case)
    return [*first.values(), *(c for c in found if c is not first[c.family])]


# Inputs -----------------------------------------------------------------------------------------------

_NOISE = 4_000_037


def noise() -> np.ndarray:
    """Normal numbers that inputs are cut out of; a prime number of them, so that rows differ."""
    return np.random.default_rng(0).standard_normal(_NOISE, dtype=np.float32)


def make_inputs(xp: Any, base: Any, operands: Sequence[Operand], dtypes: Any, offset: int) -> list[Any]:
    """Arrays for the operands, from the noise, starting at another place for every offset."""
    arrays = []
    for number, operand in enumerate(operands):
        size = math.prod(operand.shape)
        start = (offset * 65_537 + number * 7_919) % _NOISE
        values = xp.resize(xp.roll(base, -start), size)
        if operand.below:
            values = xp.abs(values * 1e6).astype(np.int64) % operand.below
        else:
            values = values.astype(dtypes[operand.dtype])
        arrays.append(values.reshape(operand.shape))
    return arrays
