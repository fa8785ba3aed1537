"""Python numbers as operands while a function is recorded: inputs of its graph, tensors of no dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.expression import Expression, every_part, operation, sizes_in
from tracec.ir.extent import as_real, fixed
from tracec.ir.extent import plain as plain_size
from tracec.ir.graph import topological
from tracec.ir.node import constant, current_source, is_input, made_from
from tracec.ir.number import Float, Integer, Number, Watcher, escaped, is_watched, number, plain, value_of
from tracec.ir.operator import OPERATORS
from tracec.ir.types import TensorType
from tracec.record.backend import module, number_on, on
from tracec.record.cell import new_tensor
from tracec.record.state import STATE

if TYPE_CHECKING:
    from tracec.record.recorder import Recorder
    from tracec.record.tensor import Tensor


class Scalar(NamedTuple):
    """An input of a graph that is a number.

    Attributes:
        expression: What it is.
        type: Its element type and device.
    """

    expression: Expression
    type: TensorType


class Numbers(Watcher):
    """Watches the Numbers of a recording, and makes them inputs where tensors meet them.

    Args:
        recorder: Whose they are.

    Attributes:
        scalars: The inputs, and the tensor that stands for each among the recorder's arguments.
        late: Those that depend on values of nodes, and the tensor that stands for each.
        nodes: Symbol → the node whose value it is, of those that the function asked a tensor for.
        draws: The calls of generators that symbols stand for, in order.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.scalars: dict[Scalar, Tensor] = {}
        self.late: dict[Scalar, Tensor] = {}
        self.nodes: dict[int, Any] = {}
        self.draws: list[Any] = []
        self._known: dict[Any, Number] = {}
        self._settled: set[Expression] = set()
        self._recorder = recorder

    @property
    def mixes(self) -> bool:  # type: ignore[override]
        """Whether sizes that vary are computed with as Numbers are."""
        return self._recorder.gives_numbers

    def of(self, node: Any, value: int | float) -> Number:
        """The value of a node, as a number that is another one at each call."""
        found = self._known.get(node)
        if found is None:
            found = self._known[node] = self.number(value, f"value {len(self.symbols)} (made at {node.source})")
            self.nodes[found.expression.value] = node
        return found

    def enter(self, scalar: Scalar, tensor: Tensor) -> None:
        """Make what is known when the program runs an input of the graph, which a tensor stands for."""
        self.scalars[scalar] = tensor
        self._recorder.arguments = (*self._recorder.arguments, tensor)

    def asked_by(self, expression: Expression) -> tuple[int, ...]:
        """The symbols of an expression that are values of nodes."""
        return tuple(e.value for e in every_part(expression) if e.kind == "symbol" and e.value in self.nodes)

    def note(self, expression: Expression, value: Any) -> None:
        """Learn that the function went by an expression: by a condition, or a decision where it depends on nodes."""
        asked = self.asked_by(expression)
        if not asked and not any(e.kind == "symbol" for e in every_part(expression)):  # it depends on sizes alone
            for size in sizes_in(expression):
                fixed(size)
        elif not asked:
            super().note(expression, value)
        elif expression not in self._settled:
            self._settled.add(expression)
            self._recorder.decide_by(expression, asked, value)

    def settle(self, expression: Expression) -> None:
        """Learn that an expression is computed with; one that Python may refuse is tried before anything is written."""
        if self.asked_by(expression) and not all(e.kind in _NEVER_REFUSED for e in every_part(expression)):
            self.note(operation("computed", expression), True)

    def node(self, x: Number, type_: TensorType) -> Any:
        """The input that a Number is where it is used as a value of that type."""
        if self.asked_by(x.expression):
            return self._inside(x, type_)
        return self._recorder.node_of(self._given(Scalar(x.expression, type_), x.value))

    def _given(self, scalar: Scalar, value: Any) -> Tensor:
        found = self.scalars.get(scalar)
        if found is None:
            found = new_tensor(array_of(value, scalar.type))
            self.enter(scalar, found)
        return found

    def _inside(self, x: Number, type_: TensorType) -> Any:
        """A number computed from values of nodes: beside them where that is as Python does it, or else an input."""
        parts = every_part(x.expression)
        whole = len(parts) > 1
        here = all(self.nodes[k].device == type_.device for k in self.asked_by(x.expression))
        if not here or (whole and not (type(x) is Float and all(e.kind in _NEVER_REFUSED for e in parts))):
            return self._late(x, type_)
        with made_from(current_source(), "of a number"):
            found: dict[Expression, Any] = {}
            for e in every_part(x.expression):
                found[e] = self._part(e, [found[o] for o in e.operands], type_, whole)
            return OPERATORS["cast"](found[x.expression], dtype=type_.dtype)

    def _late(self, x: Number, type_: TensorType) -> Any:
        """An input that is known when the values are that it depends on."""
        if not any(map(is_input, topological(self.nodes[k] for k in self.asked_by(x.expression)))):
            return constant(escaped(x), type_)
        self.note(operation("computed", x.expression), True)
        scalar = Scalar(x.expression, type_)
        found = self.late.get(scalar)
        if found is None:
            found = self.late[scalar] = new_tensor(array_of(x.value, type_))
            found._storage.is_known = True
        return self._recorder.node_of(found)

    def _part(self, e: Expression, operands: list[Any], type_: TensorType, whole: bool) -> Any:
        """A part of an expression, as a float64 where there are several: Python computes so."""
        exact = TensorType(dt.float64, (), type_.device)
        if e.kind == "constant":
            return constant(as_real(e.value), exact)
        if e.kind != "symbol":
            return OPERATORS[_NEVER_REFUSED[e.kind]](*operands)
        node = self.nodes.get(e.value)
        if node is None:
            return self.node(number(0.0, e, self), exact)
        node = node if not node.shape else OPERATORS["reshape"](node, shape=())
        return OPERATORS["cast"](node, dtype=dt.float64) if whole else node


#: What Python computes of any floats, and the operators that do.
_NEVER_REFUSED = {"symbol": "", "constant": "", "+": "add", "-": "sub", "*": "mul", "neg": "neg", "abs": "abs"}


def array_of(value: Any, type_: TensorType) -> Any:
    """A number as an array of no dimensions.

    Raises:
        ArgumentError: an integer is too large.
    """
    if type_.device == "cpu":
        return scalar(value, type_.dtype)
    with on(type_.device):
        return module(type_.device).asarray(number_on(scalar(value, type_.dtype), type_.device))


def scalar(value: Any, dtype: DType) -> Any:
    """A Python scalar as an array of no dimensions."""
    kind = type(value)
    if kind is Float or kind is Integer:
        value = value.value
    value = plain_size(value)
    if dtype.kind in "ui" and type(value) is int:
        try:
            # Wraps around where the type is narrower, as PyTorch does.
            return np.array(value).astype(dtype.numpy)
        except OverflowError:
            raise ArgumentError(f"the number {value} does not fit in {dtype.name}", hint="use a float") from None
    return np.array(value, dtype.numpy)


def watched_here(x: Any) -> Any:
    """A Number that the recorder at work watches, a plain number for others; NumPy's floats are taken for Python's."""
    if type(x.value) is np.float64:
        x = x.item()
    return x if STATE.recorder is not None and is_watched(x) else plain(x)


def constant_of(x: Number, dtype: DType | None, device: str) -> Tensor:
    """What the operator ``constant`` makes of a Number: a tensor of no dimensions that is an input.

    Raises:
        ArgumentError: it does not fit the element type.
    """
    chosen = dtype or dt.of_scalar(x.value)
    if chosen.kind in "iu":
        info = np.iinfo(chosen.numpy)
        if not int(info.min) <= x <= int(info.max):
            raise ArgumentError(
                f"constant: the number {value_of(x)} does not fit in {chosen.name}",
                hint=f"it holds integers from {info.min} to {info.max}",
            )
    type_ = TensorType(chosen, (), device)
    made = new_tensor(array_of(x.value, type_))
    made._is_constant = True
    if STATE.inference:
        made._is_inference = True
    STATE.recorder.hold(made, x.watcher.node(x, type_))  # type: ignore[union-attr, attr-defined]
    return made
