"""The record of a primitive operator, and the table of all of them.

An operator is called like a function. What it does depends on what it is given: a `Node` builds a
node, a Tensor computes (and records), a pattern makes a bigger pattern. Types that take part offer a
static method ``_apply_operator(op, inputs, params)``. A call with no such argument (``iota(...)``)
goes to the innermost builder: nodes inside of `building`, tensors elsewhere.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracec.errors import ArgumentTypeError, DeviceError, TracecError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.types import TensorType

Params = tuple[tuple[str, Any], ...]
Apply = Callable[["Operator", tuple[Any, ...], Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class NotDifferentiable:
    """Stands where a derivative rule would: there is none, and this is why."""

    reason: str


def not_differentiable(reason: str) -> NotDifferentiable:
    """The explicit absence of a derivative rule."""
    return NotDifferentiable(reason)


@dataclass(frozen=True, slots=True)
class Arg:
    """How to draw one operand of a sample.

    Attributes:
        shape: Shape of the operand.
        dtype: Element type.
        low: Smallest value.
        high: Largest value (exclusive for integers).
        distinct: Draw values that keep a distance from each other, so that order does not depend on rounding.
        diagonal: Added to the diagonals of matrices: keeps them far from singular ones.
        symmetric: Draw symmetric matrices, of complex numbers Hermitian ones: the operator reads one triangle, and its
            derivatives are those along such changes.
    """

    shape: tuple[int, ...]
    dtype: DType = dt.float32
    low: float = -2.0
    high: float = 2.0
    distinct: bool = False
    diagonal: float = 0.0
    symmetric: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """Inputs that the table test drives an operator with.

    Attributes:
        args: The operands.
        params: The parameters.
    """

    args: tuple[Arg, ...]
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A primitive and all of its rules.

    Attributes:
        name: Name in IR text.
        family: ``elementwise``, ``reduction``, ``view``, ``contraction``, …
        type_rule: ``(*types, **params) -> TensorType``; raises a tracec error for operands that do not fit.
        eager: ``(xp, *arrays, **params) -> array`` where xp is numpy or cupy.
        vjp: ``(ct, out, *inputs, **params) -> one Node or None per input``, or `NotDifferentiable`, which may also
            stand for the gradient of one input.
        jvp: ``(tangents, out, *inputs, **params) -> Node``; a tangent is None where it is zero.
            None here means that it is derived from vjp, which is linear in ct, by transposing it.
        batch: ``(inputs, batched, size, **params) -> Node``; batched inputs carry the batch at axis 0, and so
            does the result.
        lower: How kernels compute it: one of the records of `tracec.ir.lower`.
        promotion: How Tensor operands of mixed dtypes meet: ``same`` (a common type), ``float`` (a common
            floating type), ``none`` (taken as they are).
        samples: Inputs for the table test.
        arity: Number of operands; None for any number.
    """

    name: str
    family: str
    type_rule: Callable[..., TensorType]
    eager: Callable[..., Any]
    vjp: Callable[..., tuple[Any, ...]] | NotDifferentiable
    jvp: Callable[..., Any] | NotDifferentiable | None
    batch: Callable[..., Any]
    lower: Any
    promotion: str
    samples: tuple[Sample, ...]
    arity: int | None
    doc: str = ""
    defaults: Params = ()

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        for x in inputs:
            apply: Apply | None = getattr(type(x), "_apply_operator", None)
            if apply is not None:
                return apply(self, inputs, params)
        return _state.builder(self, inputs, params)

    def bind(self, params: Mapping[str, Any]) -> Params:
        """The parameters in declared order, defaults filled in.

        Raises:
            ArgumentTypeError: a parameter is missing or unknown, or ``dtype`` is something else.
        """
        if len(params) > len(self.defaults) or not params.keys() <= {k for k, _ in self.defaults}:
            known = ", ".join(k for k, _ in self.defaults) or "none"
            unknown = ", ".join(sorted(params.keys() - {k for k, _ in self.defaults}))
            raise ArgumentTypeError(f"{self.name}: no parameter named {unknown}", hint=f"its parameters: {known}")
        bound = tuple((k, params.get(k, default)) for k, default in self.defaults)
        for k, value in bound:
            if value is inspect.Parameter.empty:
                raise ArgumentTypeError(f"{self.name}: parameter {k} is missing")
            if k == "dtype" and value is not None and not isinstance(value, DType):
                given = f"{value!r} of type {type(value).__name__}"
                raise ArgumentTypeError(f"{self.name}: {given} is no element type", hint="use e.g. tracec.float32")
        return bound

    def infer(self, types: tuple[TensorType, ...], params: Params) -> TensorType:
        """The type of the result; errors of the type rule come out with the operator's name in front."""
        if self.arity is not None and len(types) != self.arity:
            raise ArgumentTypeError(f"{self.name}: takes {self.arity} operands, {len(types)} given")
        for t in types:
            if t.device != types[0].device:
                devices = f"{types[0].device} and {t.device}"
                raise DeviceError(f"{self.name}: operands live on {devices}", hint="move them to one with .to(...)")
        try:
            return self.type_rule(*types, **dict(params))
        except TracecError as error:
            if not error.message.startswith(self.name + ":"):
                error.message = f"{self.name}: {error.message}"
            raise

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return OPERATORS.__getitem__, (self.name,)

    def __deepcopy__(self, memo: Any) -> Operator:
        return self


class Registry(dict[str, "Operator"]):
    """Operators by name.

    Attributes:
        load: Imports the modules of the operators that few programs use: called when a name is not there, and when
            all are asked for.
    """

    load: Callable[[], None] = staticmethod(lambda: None)

    def __missing__(self, name: str) -> Operator:
        self.load()
        if name in self:
            return self[name]
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The operator of a name."""
        try:
            return self[name]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        self.load()
        return super().__iter__()

    def values(self) -> Any:
        """All operators."""
        self.load()
        return super().values()

    def items(self) -> Any:
        """All names and operators."""
        self.load()
        return super().items()


OPERATORS = Registry()


def register(op: Operator) -> Operator:
    """Enter an operator in the table, its parameters' defaults read off its type rule."""
    signature = inspect.signature(op.type_rule)
    defaults = tuple(
        (p.name, p.default) for p in signature.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY
    )
    object.__setattr__(op, "defaults", defaults)
    if op.name in OPERATORS:
        raise ValueError(f"operator {op.name} is defined twice")
    OPERATORS[op.name] = op
    return op


class Arithmetic:
    """Python's arithmetic as calls of operators, so that rules and patterns read as maths."""

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return OPERATORS["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return OPERATORS["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return OPERATORS["sub"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return OPERATORS["sub"](other, self)

    def __mul__(self, other: Any) -> Any:
        return OPERATORS["mul"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return OPERATORS["mul"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return OPERATORS["div"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return OPERATORS["div"](other, self)

    def __pow__(self, other: Any) -> Any:
        return OPERATORS["pow"](self, other)

    def __neg__(self) -> Any:
        return OPERATORS["neg"](self)


def _no_builder(op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> Any:
    given = ", ".join(type(x).__name__ for x in inputs) or "nothing"
    raise ArgumentTypeError(f"{op.name}: takes tensors, {given} given", hint="make one with tracec.tensor(...)")


class _State(threading.local):
    builder: Apply = staticmethod(_no_builder)


_state = _State()


def set_default_builder(apply: Apply) -> None:
    """What an operator call with no tensor among its operands builds, outside of `building`."""
    _State.builder = staticmethod(apply)


class building:
    """Within, operator calls with no tensor among their operands go to ``apply``.

    A class, since what a generator does in the end may come late, where an interrupt leaves it half way.
    """

    def __init__(self, apply: Apply) -> None:
        self._apply = apply
        self._before: Apply | None = None

    def __enter__(self) -> None:
        self._before = _state.__dict__.get("builder")
        _state.builder = self._apply

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            _state.__dict__.pop("builder", None)
        else:
            _state.builder = self._before


def leave_building() -> None:
    """Leave all of `building` that this thread is in, after an interrupt."""
    _state.__dict__.pop("builder", None)
