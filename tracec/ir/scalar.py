"""Index and scalar expressions of kernels, as data; `tracec.ir.kernel` has the loops around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.exact import VARIATES


@dataclass(frozen=True, slots=True)
class Const:
    """A literal; 0.0 and -0.0 are two."""

    value: bool | int | float
    dtype: DType = dt.int64

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Const) or (self.value, self.dtype) != (other.value, other.dtype):
            return False
        return self.dtype.kind != "f" or repr(self.value) == repr(other.value)


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
#: element)`` of i64 the u32 random bits of an element, a function of the target that `tracec.ops.random` defines;
#: ``normal_variate`` and its like, of a random word, are the formulas of `tracec.ir.exact`, ``bitcast`` gives
#: the bits of a number as another type, ``rounded_mul`` is a product that no compiler fuses with a sum, and
#: ``short_exp`` an exp that is up to 2⁻¹⁷ of itself off, for results of 16 bits.
SCALAR_OPS: dict[str, int] = {
    **dict.fromkeys(("neg", "abs", "sign", "exp", "expm1", "log", "log1p", "sin", "cos", "tan"), 1),
    **dict.fromkeys(("asin", "acos", "atan", "sinh", "cosh", "tanh", "erf", "sqrt", "rsqrt", "sigmoid"), 1),
    **dict.fromkeys(("exp2", "log2", "log10", "asinh", "acosh", "atanh"), 1),
    **dict.fromkeys(("floor", "ceil", "round", "trunc", "isnan", "logical_not", "bitwise_not", "cast"), 1),
    **dict.fromkeys(("add", "sub", "mul", "div", "pow", "maximum", "minimum", "atan2", "floor_div", "remainder"), 2),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "bitwise_and", "bitwise_or", "bitwise_xor"), 2),
    **dict.fromkeys(("shift_left", "shift_right", "mulhi", "fmod", "copysign", "hypot", "nextafter", "logaddexp"), 2),
    **dict.fromkeys((*VARIATES, "bitcast", "short_exp"), 1),
    "rounded_mul": 2,
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


def subexpressions(expr: Expr) -> Iterator[Expr]:
    """An expression and everything in it, outer ones first."""
    stack = [expr]
    while stack:
        e = stack.pop()
        yield e
        stack.extend(reversed(parts(e)))
