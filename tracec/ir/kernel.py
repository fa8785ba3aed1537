"""Kernels: loop nests over index and scalar expressions, as data, independent of the target.

    kernel   ::= kernel NAME(buffers) { stmt* }
    stmt     ::= for VAR in EXTENT KIND { stmt* }     KIND: parallel | reduce | each | serial | share
               | let NAME: dtype = expr               a scalar, never assigned again
               | acc NAME: dtype = COMBINE            a running reduction, starts at the identity of COMBINE
               | update NAME <- expr                  NAME = COMBINE(NAME, expr)
               | scratch NAME: dtype[SIZE]            an array private to one iteration of the parallel loops
               | store BUFFER[index] = expr           or += for accumulating stores
    expr     ::= literal | VAR | NAME | BUFFER[index] | op(expr, ...)
    index    ::= 4*i + j + 3, with // and % where a view needs them; flat, in elements

A `parallel` loop's iterations are independent. A `reduce` loop feeds accumulators. An `each` loop runs
over the same range as a reduction before it and writes elements (the row of a softmax). A `serial`
loop's iterations follow each other (scans, ordered scatters). Those of a `share` loop are parted among the s
iterations of the one parallel loop around it: of n, each takes ⌈n/s⌉ that follow each other, and the last ones take
what is left. Perfectly nested share loops are parted as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tracec.ir import kernel_text
from tracec.ir.dtype import DType
from tracec.ir.scalar import COMBINES as COMBINES
from tracec.ir.scalar import SCALAR_OPS as SCALAR_OPS
from tracec.ir.scalar import Call as Call
from tracec.ir.scalar import Const as Const
from tracec.ir.scalar import Div as Div
from tracec.ir.scalar import Expr as Expr
from tracec.ir.scalar import Linear as Linear
from tracec.ir.scalar import Load as Load
from tracec.ir.scalar import Mod as Mod
from tracec.ir.scalar import Ref as Ref
from tracec.ir.scalar import Var as Var
from tracec.ir.scalar import identity as identity
from tracec.ir.scalar import parts as parts
from tracec.ir.scalar import subexpressions as subexpressions
from tracec.ir.source import Source
from tracec.ir.types import Shape, numel


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
        shape: ``map``, ``row`` (reduces contiguous elements), ``column`` (reduces strided ones), ``stripe`` (rows, and
            sums of the columns of each stripe of rows), ``full``, ``transpose``, ``scan``, ``scatter``, ``atomic`` (a
            scatter whose sums may be added up in any order), ``contraction``. It chooses the template, never the
            meaning.
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


def nested(variables: Sequence[Var], body: tuple[Stmt, ...], kind: str) -> tuple[Stmt, ...]:
    """Perfectly nested loops of one kind around a body; the bare body where there is no variable."""
    for v in reversed(variables):
        body = (Loop(v, body, kind),)
    return body


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement, outer ones first."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, Loop):
            yield from walk(stmt.body)


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that a statement holds itself."""
    match stmt:
        case Let(_, value) | Update(_, value):
            return (value,)
        case Store(_, index, value, _):
            return (index, value)
        case _:
            return ()
