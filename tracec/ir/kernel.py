"""Kernels: loop nests over index and scalar expressions, as data, independent of the target.

    kernel   ::= kernel NAME(buffers) { stmt* }
    stmt     ::= for VAR in EXTENT KIND { stmt* }     KIND: parallel | reduce | each | serial
               | let NAME: dtype = expr               a scalar, never assigned again
               | acc NAME: dtype = COMBINE            a running reduction, starts at the identity of COMBINE
               | update NAME <- expr                  NAME = COMBINE(NAME, expr)
               | scratch NAME: dtype[SIZE]            an array private to one iteration of the parallel loops
               | store BUFFER[index] = expr           or += for accumulating stores
    expr     ::= literal | VAR | NAME | BUFFER[index] | op(expr, ...)
    index    ::= 4*i + j + 3, with // and % where a view needs them; flat, in elements

A `parallel` loop's iterations are independent. A `reduce` loop feeds accumulators. An `each` loop runs
over the same range as a reduction before it and writes elements (the row of a softmax). A `serial`
loop's iterations follow each other (scans, ordered scatters).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracec.ir import dtype as dt
from tracec.ir import kernel_text
from tracec.ir.dtype import DType
from tracec.ir.source import Source
from tracec.ir.types import Shape, numel


@dataclass(frozen=True, slots=True)
class Const:
    """A literal."""

    value: bool | int | float
    dtype: DType = dt.int64


@dataclass(frozen=True, slots=True)
class Var:
    """A loop variable, an integer in ``[0, extent)``."""

    name: str
    extent: int

    @property
    def dtype(self) -> DType:
        return dt.int64


@dataclass(frozen=True, slots=True)
class Ref:
    """The value of a `Let` or `Acc` in scope, or of a kernel's scalar argument."""

    name: str
    dtype: DType


@dataclass(frozen=True, slots=True)
class Linear:
    """``sum(coefficient * term) + offset``; terms are `Var`, `Div`, `Mod`, `Ref`, `Load` or `Call` of integers."""

    terms: tuple[tuple[Expr, int], ...]
    offset: int

    @property
    def dtype(self) -> DType:
        return dt.int64


@dataclass(frozen=True, slots=True)
class Div:
    """Floor division of an index by a positive literal."""

    value: Expr
    by: int

    @property
    def dtype(self) -> DType:
        return dt.int64


@dataclass(frozen=True, slots=True)
class Mod:
    """Remainder, never negative, of an index by a positive literal."""

    value: Expr
    by: int

    @property
    def dtype(self) -> DType:
        return dt.int64


@dataclass(frozen=True, slots=True)
class Load:
    """An element of a buffer or scratch array."""

    buffer: str
    index: Expr
    dtype: DType


@dataclass(frozen=True, slots=True)
class Call:
    """A scalar operation of `SCALAR_OPS`. ``select(c, a, b)`` evaluates only the side that c chooses."""

    op: str
    args: tuple[Expr, ...]
    dtype: DType


Expr = Const | Var | Ref | Linear | Div | Mod | Load | Call

#: Scalar operations and how many operands each takes. The elementwise primitives go by their own name;
#: ``select`` is a lazy ``where``, ``mulhi`` the upper half of a 32×32-bit product, ``philox(seed, draw,
#: element)`` of i64 the u32 random bits of an element, a function of the target that `tracec.ops.random` defines.
SCALAR_OPS: dict[str, int] = {
    **dict.fromkeys(("neg", "abs", "sign", "exp", "expm1", "log", "log1p", "sin", "cos", "tan"), 1),
    **dict.fromkeys(("asin", "acos", "atan", "sinh", "cosh", "tanh", "erf", "sqrt", "rsqrt", "sigmoid"), 1),
    **dict.fromkeys(("exp2", "log2", "log10", "asinh", "acosh", "atanh"), 1),
    **dict.fromkeys(("floor", "ceil", "round", "trunc", "isnan", "logical_not", "bitwise_not", "cast"), 1),
    **dict.fromkeys(("add", "sub", "mul", "div", "pow", "maximum", "minimum", "atan2", "floor_div", "remainder"), 2),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "bitwise_and", "bitwise_or", "bitwise_xor"), 2),
    **dict.fromkeys(("shift_left", "shift_right", "mulhi", "fmod", "copysign", "hypot", "nextafter", "logaddexp"), 2),
    "select": 3,
    "philox": 3,
}

#: Combining operations of accumulators and the value each starts from.
COMBINES = ("add", "mul", "maximum", "minimum", "logaddexp")


def identity(combine: str, dtype: DType) -> bool | int | float:
    """The value that leaves every other unchanged under ``combine``."""
    if combine == "add":
        return 0.0 if dtype.kind == "f" else 0
    if combine == "mul":
        return 1.0 if dtype.kind == "f" else 1
    lowest = combine in ("maximum", "logaddexp")
    if dtype.kind == "f":
        return float("-inf") if lowest else float("inf")
    if dtype.kind == "b":
        return not lowest
    bits = 8 * dtype.itemsize
    if dtype.kind == "u":
        return 0 if lowest else (1 << bits) - 1
    return -(1 << bits - 1) if lowest else (1 << bits - 1) - 1


@dataclass(frozen=True, slots=True)
class Let:
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Acc:
    """Declares an accumulator; it starts at the identity of ``combine``.

    ``combine`` may carry NaN: ``maximum`` and ``minimum`` return NaN once an operand is NaN.
    """

    name: str
    combine: str
    dtype: DType


@dataclass(frozen=True, slots=True)
class Update:
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Scratch:
    """An array private to one iteration of the enclosing parallel loops; a row kept on chip."""

    name: str
    dtype: DType
    size: int


@dataclass(frozen=True, slots=True)
class Store:
    """Writes an element; the value is converted to the buffer's dtype. ``add`` accumulates."""

    buffer: str
    index: Expr
    value: Expr
    add: bool = False


@dataclass(frozen=True, slots=True)
class Loop:
    var: Var
    body: tuple[Stmt, ...]
    kind: str = "parallel"


Stmt = Let | Acc | Update | Scratch | Store | Loop


@dataclass(frozen=True, slots=True)
class Buffer:
    """A formal parameter of a kernel: contiguous memory.

    Attributes:
        name: Name in the body.
        dtype: Element type in memory; loads of 16-bit floats are widened by an explicit ``cast``.
        shape: Sizes, for readers and bounds checks; indices in the body are flat.
        role: ``in``, ``out`` or ``inout``.
    """

    name: str
    dtype: DType
    shape: Shape
    role: str

    @property
    def size(self) -> int:
        return numel(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Contraction:
    """Marks a kernel whose reduction is ``acc += a * b`` with a over (batch, m, k) and b over (batch, n, k).

    Attributes:
        batch: Names of the loops that both operands depend on.
        m: Loops that only ``a`` depends on.
        n: Loops that only ``b`` depends on.
        k: Reduced loops.
        a: First factor, a scalar expression over the loop variables.
        b: Second factor.
        acc: The accumulator's name; the epilogue is what follows the reduce loops in the body.
        op: ``dot``, ``conv``, ``conv_input_grad`` or ``conv_weight_grad``.
    """

    batch: tuple[str, ...]
    m: tuple[str, ...]
    n: tuple[str, ...]
    k: tuple[str, ...]
    a: Expr
    b: Expr
    acc: str
    op: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """A loop nest over formal buffers.

    Attributes:
        name: A C identifier, unique in its plan.
        shape: ``map``, ``row`` (reduces contiguous elements), ``column`` (reduces strided ones), ``full``,
            ``transpose``, ``scan``, ``scatter``, ``atomic`` (a scatter whose sums may be added up in any order),
            ``contraction``. It chooses the template, never the meaning.
        buffers: Formal parameters, in call order.
        body: Statements; the outermost are parallel loops, or reduce loops for ``full``.
        contraction: Set where shape is ``contraction``.
        sources: The user's lines that it computes.
        ops: Names of the operators fused in it, for readers.
    """

    name: str
    shape: str
    buffers: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    contraction: Contraction | None = None
    sources: tuple[Source, ...] = ()
    ops: tuple[str, ...] = ()

    def __str__(self) -> str:
        return kernel_text.format_kernel(self)


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement, outer ones first."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, Loop):
            yield from walk(stmt.body)


def parts(expr: Expr) -> tuple[Expr, ...]:
    """The direct operands of an expression."""
    match expr:
        case Linear(terms, _):
            return tuple(t for t, _ in terms)
        case Div(value, _) | Mod(value, _):
            return (value,)
        case Load(_, index, _):
            return (index,)
        case Call(_, args, _):
            return args
        case _:
            return ()


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that a statement holds itself."""
    match stmt:
        case Let(_, value) | Update(_, value):
            return (value,)
        case Store(_, index, value, _):
            return (index, value)
        case _:
            return ()


def subexpressions(expr: Expr) -> Iterator[Expr]:
    """An expression and everything in it, outer ones first."""
    stack = [expr]
    while stack:
        e = stack.pop()
        yield e
        stack.extend(reversed(parts(e)))
