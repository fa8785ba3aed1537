"""Scalar expressions of kernels as source text, for any target that a `Dialect` describes.

The renderer knows the grammar of expressions and C's precedence; everything that differs between
targets is a table: types, operations, casts, literals.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio
from tracec.ir.index import bounds
from tracec.ir.kernel import Call, Const, Div, Expr, Linear, Load, Mod, Ref, Var, parts

# C's precedence: a larger number binds tighter.
ANY, TERNARY, OR, XOR, AND, EQUALITY, RELATION, SHIFT, SUM, PRODUCT, UNARY, ATOM = range(12)


@dataclass(frozen=True, slots=True)
class Operation:
    """How an operation is written.

    Attributes:
        text: A format string over the operands, ``{0} + {1}``.
        level: How tightly the result binds.
        operands: How tightly each operand must bind to go without parentheses; `ANY` for those not listed.
    """

    text: str
    level: int = ATOM
    operands: tuple[int, ...] = ()


def function(name: str, arity: int = 1) -> Operation:
    """``name({0}, {1}, …)``."""
    return Operation(f"{name}({', '.join(f'{{{i}}}' for i in range(arity))})")


def infix(sign: str, level: int) -> Operation:
    """``{0} sign {1}``, associating to the left."""
    return Operation(f"{{0}} {sign} {{1}}", level, (level, level + 1))


def prefix(sign: str) -> Operation:
    """``sign{0}``; a prefix of a prefix is put in parentheses, so that ``--x`` cannot come about."""
    return Operation(f"{sign}{{0}}", UNARY, (ATOM,))


def conversion(type_name: str) -> Operation:
    """``(type){0}``."""
    return Operation(f"({type_name}){{0}}", UNARY, (ATOM,))


IDENTITY = Operation("{0}", ATOM, (ATOM,))


@dataclass(frozen=True, slots=True)
class Dialect:
    """A target's scalar language, as tables.

    Attributes:
        name: ``c`` or ``cuda``.
        types: The type of a value of each dtype, in memory and in registers.
        index: The type of loop variables and positions.
        operations: (operation, dtype) → how it is written. The dtype is that of the first operand, for
            ``select`` that of the result.
        casts: (from, to) → how it is written. Pairs that are missing are written ``(type)x``.
        suffixes: What follows a literal of a dtype, ``f`` for float32.
        infinity: +inf of each floating dtype.
        nan: NaN of each floating dtype.
        load: How an element is read, ``{0}[{1}]``.
        loads: How it is read for some dtypes.
        reserved: Words that no identifier may be.
    """

    name: str
    types: Mapping[DType, str]
    index: str
    operations: Mapping[tuple[str, DType], Operation]
    casts: Mapping[tuple[DType, DType], Operation]
    suffixes: Mapping[DType, str]
    infinity: Mapping[DType, str]
    nan: Mapping[DType, str]
    load: Operation = field(default=Operation("{0}[{1}]"))
    loads: Mapping[DType, Operation] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()

    def operation(self, name: str, dtype: DType) -> Operation:
        """The entry of an operation; KeyError names what the table lacks."""
        found = self.operations.get((name, dtype))
        if found is None:
            raise KeyError(f"dialect {self.name} cannot write {name} of {dtype}")
        return found

    def cast(self, source: DType, target: DType) -> Operation:
        """The entry of a conversion."""
        if source is target:
            return IDENTITY
        return self.casts.get((source, target)) or conversion(self.types[target])

    def identifier(self, name: str) -> str:
        """An IR name as an identifier of the target."""
        clean = re.sub(r"\W", "_", name.removeprefix("%"))
        return f"{clean}_" if clean in self.reserved or keyword.iskeyword(clean) or clean[:1].isdigit() else clean

    def literal(self, value: bool | int | float, dtype: DType) -> str:
        """A constant; negative ones come with their sign."""
        if dtype.kind == "b":
            return "1" if value else "0"
        if isinstance(value, (Extent, Ratio)):
            if dtype.itemsize == 2 and dtype.kind == "f":
                return self.cast(dt.float32, dtype).text.format(f"({self.types[dt.float32]}){value}")
            return str(value) if dtype is dt.int64 else f"(({self.types[dtype]}){value})"
        if dtype.kind == "f":
            return self._float(float(value), dtype)
        number = int(value)
        bits = 8 * dtype.itemsize
        if dtype.kind == "i" and bits >= 32 and number == -(2 ** (bits - 1)):
            # The most negative integer has no literal of its own: 2**63 does not fit.
            suffix = self.suffixes.get(dtype, "")
            return f"(-{2 ** (bits - 1) - 1}{suffix} - 1{suffix})"
        return f"{number}{self.suffixes.get(dtype, '')}"

    def _float(self, value: float, dtype: DType) -> str:
        if dtype.itemsize == 2:
            return self.cast(dt.float32, dtype).text.format(self._float(value, dt.float32))
        if math.isnan(value):
            return self.nan[dtype]
        if math.isinf(value):
            return self.infinity[dtype] if value > 0 else f"-{self.infinity[dtype]}"
        with np.errstate(over="ignore"):
            narrowed = dtype.numpy.type(value)
        if np.isinf(narrowed):
            return self._float(math.copysign(math.inf, value), dtype)
        return f"{narrowed!s}{self.suffixes.get(dtype, '')}"


Written = tuple[str, int]


class ExpressionWriter:
    """Writes expressions in a dialect.

    Args:
        dialect: The target's tables.
        names: Replaces identifiers: IR name of a `Var`, `Ref` or buffer → text that binds as an atom.
    """

    def __init__(self, dialect: Dialect, names: Mapping[str, str] | None = None) -> None:
        self.dialect = dialect
        self.names = dict(names or {})

    def name(self, name: str) -> str:
        """A variable's or buffer's identifier."""
        known = self.names.get(name)
        return known if known is not None else self.dialect.identifier(name)

    def write(self, expr: Expr, level: int = ANY) -> str:
        """The text of an expression, in parentheses where it binds less tightly than ``level``."""
        return _wrap(self._written(expr), level)

    def convert(self, expr: Expr, dtype: DType, level: int = ANY) -> str:
        """The text of an expression, converted to ``dtype`` where it has another."""
        written = self._written(expr)
        if expr.dtype is dtype:
            return _wrap(written, level)
        return _wrap(_apply(self.dialect.cast(expr.dtype, dtype), (written,)), level)

    def _written(self, root: Expr) -> Written:
        # Iterative: fused chains may be deeper than Python's stack. Operands come before their users.
        done: dict[int, Written] = {}
        stack: list[tuple[Expr, bool]] = [(root, False)]
        while stack:
            expr, ready = stack.pop()
            if id(expr) in done:
                continue
            below = parts(expr)
            if ready or not below:
                done[id(expr)] = self._one(expr, tuple(done[id(p)] for p in below))
            else:
                stack.append((expr, True))
                stack.extend((p, False) for p in below)
        return done[id(root)]

    def _one(self, expr: Expr, operands: tuple[Written, ...]) -> Written:
        dialect = self.dialect
        match expr:
            case Const(value, dtype):
                text = dialect.literal(value, dtype)
                return text, PRODUCT if text.startswith("-") else ATOM
            case Var(name, _) | Ref(name, _):
                return self.name(name), ATOM
            case Linear(terms, offset):
                return self._linear([(t.dtype, c) for t, c in terms], operands, offset)
            case Div(value, by) | Mod(value, by):
                return self._divide(isinstance(expr, Div), value, by, operands[0])
            case Load(buffer, _, dtype):
                load = dialect.loads.get(dtype, dialect.load)
                return _apply(load, ((self.name(buffer), ATOM), operands[0]))
            case Call("cast", (x,), dtype):
                return _apply(dialect.cast(x.dtype, dtype), operands)
            case Call(op, args, dtype):
                key = dtype if op == "select" or not args else args[0].dtype
                return _apply(dialect.operation(op, key), operands)

    def _linear(self, terms: list[tuple[DType, int]], operands: tuple[Written, ...], offset: int) -> Written:
        text = ""
        for (dtype, coefficient), operand in zip(terms, operands, strict=True):
            if dtype is dt.bool_:
                operand = _apply(self.dialect.cast(dtype, dt.int64), (operand,))
            if dtype is not dt.int64:
                operand = _apply(conversion(self.dialect.index), (operand,))
            size = abs(coefficient)
            term = _wrap(operand, PRODUCT) if size == 1 else f"{size} * {_wrap(operand, UNARY)}"
            if size == 1 and operand[1] <= PRODUCT and text and coefficient < 0:
                term = _wrap(operand, UNARY)
            text = _join(text, term, coefficient < 0)
        if offset or not text:
            text = _join(text, str(abs(offset)), offset < 0)
        level = SUM if len(terms) + bool(offset) > 1 or text.startswith("-") else PRODUCT
        return text, level

    def _divide(self, quotient: bool, value: Expr, by: int, operand: Written) -> Written:
        if value.dtype is not dt.int64:
            operand = _apply(conversion(self.dialect.index), (operand,))
        known = bounds(value)
        if known is not None and known[0] >= 0:
            return _apply(infix("/" if quotient else "%", PRODUCT), (operand, (str(by), ATOM)))
        entry = self.dialect.operation("floor_div" if quotient else "remainder", dt.int64)
        return _apply(entry, (operand, (self.dialect.literal(by, dt.int64), ATOM)))


def _wrap(written: Written, level: int) -> str:
    text, own = written
    return f"({text})" if own < level else text


def _apply(operation: Operation, operands: tuple[Written, ...]) -> Written:
    needed = operation.operands
    texts = (_wrap(w, needed[i] if i < len(needed) else ANY) for i, w in enumerate(operands))
    if operation is IDENTITY:
        return operands[0]
    return operation.text.format(*texts), operation.level


def _join(text: str, term: str, negative: bool) -> str:
    if not text:
        return f"-{term}" if negative else term
    return f"{text} {'-' if negative else '+'} {term}"


Table = dict[tuple[str, DType], Operation]


def table(names: str, dtypes: Iterable[DType], build: Callable[[str, DType], Operation]) -> Table:
    """An entry for each of the space-separated operations and each dtype."""
    kinds = tuple(dtypes)
    return {(name, dtype): build(name, dtype) for name in names.split() for dtype in kinds}


INTS = tuple(d for d in dt.IN_KERNELS if d.kind in "iu")
SMALL_INTS = tuple(d for d in INTS if d.itemsize < 4)
FLOATS = (dt.float32, dt.float64)

_ARITHMETIC = {"add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT)}
_BITWISE = {
    "bitwise_and": ("&", AND),
    "bitwise_or": ("|", OR),
    "bitwise_xor": ("^", XOR),
}
_COMPARE = {
    "eq": ("==", EQUALITY), "ne": ("!=", EQUALITY), "lt": ("<", RELATION),
    "le": ("<=", RELATION), "gt": (">", RELATION), "ge": (">=", RELATION),
}  # fmt: skip


def c_like_operations(types: Mapping[DType, str]) -> Table:
    """What every C-like dialect writes alike: arithmetic, comparisons, bits, ``select``.

    Dialects add the functions (``exp``, ``maximum``, ``floor_div``, …). Arithmetic on integers narrower
    than int is narrowed again, since C computes it in int.
    """
    found: Table = {}
    for name, (sign, level) in _ARITHMETIC.items():
        for d in (*FLOATS, *INTS):
            found[name, d] = _narrowed(infix(sign, level), d, types)
    found |= {("div", d): infix("/", PRODUCT) for d in FLOATS}
    found |= {("neg", d): _narrowed(prefix("-"), d, types) for d in (*FLOATS, *INTS)}
    for name, (sign, level) in _COMPARE.items():
        found |= {(name, d): infix(sign, level) for d in (*FLOATS, *INTS, dt.bool_)}
    for name, (sign, level) in _BITWISE.items():
        found |= {(name, d): infix(sign, level) for d in (*INTS, dt.bool_)}
    found |= {("bitwise_not", d): _narrowed(prefix("~"), d, types) for d in INTS}
    found["bitwise_not", dt.bool_] = prefix("!")
    found |= {("logical_not", d): prefix("!") for d in (*FLOATS, *INTS, dt.bool_)}
    # On booleans these are the lattice's operations, as in NumPy.
    lattice = {"add": "bitwise_or", "maximum": "bitwise_or", "mul": "bitwise_and", "minimum": "bitwise_and"}
    found |= {(name, dt.bool_): found[bits, dt.bool_] for name, bits in lattice.items()}
    choose = Operation("{0} ? {1} : {2}", TERNARY, (OR, OR, TERNARY))
    found |= {("select", d): choose for d in dt.IN_KERNELS}
    return found


def _narrowed(operation: Operation, dtype: DType, types: Mapping[DType, str]) -> Operation:
    if dtype not in SMALL_INTS:
        return operation
    return Operation(f"({types[dtype]})({operation.text})", UNARY, operation.operands)
