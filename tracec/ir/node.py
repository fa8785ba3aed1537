"""A node of the graph: an operator applied to nodes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tracec.errors import TracecError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio, as_real
from tracec.ir.operator import OPERATORS, Arithmetic, Operator, Params, building, leave_building
from tracec.ir.source import Place, Source, caller, user_frame
from tracec.ir.types import Shape, TensorType


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Node(Arithmetic):
    """An immutable value of the graph. Two nodes are equal when they are the same object; `cse` merges equals.

    Attributes:
        op: The operator; ``input`` and ``constant`` are operators too.
        inputs: Operands.
        params: Parameters, in the operator's order.
        type: dtype, shape and device of the result.
        source: The user's line that made it.
        origin: What made it, where that is not the user: ``vjp of sin``, ``rule double_negation``.
    """

    op: Operator
    inputs: tuple[Node, ...]
    params: Params
    type: TensorType
    source: Source | None = None
    origin: str = ""

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def device(self) -> str:
        return self.type.device

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    def param(self, name: str) -> Any:
        """The parameter of that name."""
        for key, value in self.params:
            if key == name:
                return value
        raise KeyError(f"{self.op.name} has no parameter {name}")

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """The same node over other operands of the same types."""
        return self if all(a is b for a, b in zip(inputs, self.inputs, strict=True)) else replace(self, inputs=inputs)

    def __repr__(self) -> str:
        return f"<{self.op.name}: {self.type}>"

    @staticmethod
    def _apply_operator(op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> Node:
        return apply(op, inputs, params)


class _Context(threading.local):
    inside: bool = False
    source: Source | None = None
    origin: str = ""


_context = _Context()


class made_from:
    """Within, new nodes carry this source line and origin, and operand-free operators build nodes."""

    def __init__(self, source: Source | None, origin: str = "") -> None:
        self._now = True, source, origin
        self._before: tuple[bool, Source | None, str] = (False, None, "")
        self._building = building(apply)

    def __enter__(self) -> None:
        self._before = _context.inside, _context.source, _context.origin
        _context.inside, _context.source, _context.origin = self._now
        self._building.__enter__()

    def __exit__(self, *_: object) -> None:
        self._building.__exit__()
        _context.inside, _context.source, _context.origin = self._before


class originating:
    """Within, new nodes that users' lines make have this origin."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._before = ""

    def __enter__(self) -> None:
        self._before, _context.origin = _context.origin, self._origin

    def __exit__(self, *_: object) -> None:
        _context.origin = self._before


def leave_contexts() -> None:
    """Leave all of `made_from`, `originating` and `building` that this thread is in, after an interrupt."""
    _context.inside, _context.source, _context.origin = False, None, ""
    leave_building()


def current_source() -> Source | None:
    """The line that new nodes carry: that of `made_from`, else the user's innermost one."""
    return _context.source if _context.inside else caller()


def current_place() -> Source | Place | None:
    """The same, where it may be worked out later in which line it is."""
    if _context.inside:
        return _context.source
    frame = user_frame()
    return None if frame is None else (frame.f_code, frame.f_lasti)


def current_origin() -> str:
    return _context.origin


def apply(op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> Node:
    """Build a node. A Python scalar among the operands becomes a constant of the first node's dtype."""
    if op.name == "constant":
        return constant(params["value"], op.infer((), op.bind(params)))
    like = next((x for x in inputs if isinstance(x, Node) and x.dtype is not dt.bool_), None)
    like = like or next((x for x in inputs if isinstance(x, Node)), None)
    nodes = tuple(x if isinstance(x, Node) else constant(x, like.type if like else None) for x in inputs)
    bound = op.bind(params)
    try:
        type_ = op.infer(tuple(n.type for n in nodes), bound)
    except TracecError as error:
        if error.where is None and (line := current_source()) is not None:
            error.where = f"{op.name}({', '.join(str(n.type) for n in nodes)})    at {line}"
        raise
    return Node(op, nodes, bound, type_, current_source(), _context.origin)


def constant(value: bool | int | float | complex, like: TensorType | DType | None = None) -> Node:
    """A scalar known when the graph is made, shape ``()``, printed in place as ``f32(2.0)``."""
    dtype = like.dtype if isinstance(like, TensorType) else like or dt.of_scalar(value)
    device = like.device if isinstance(like, TensorType) else "cpu"
    if isinstance(value, (Extent, Ratio)) and dtype.kind in "fiu" and (dtype.kind == "f" or isinstance(value, Extent)):
        number: Any = as_real(value) if dtype.kind == "f" else value
    else:
        number = {"f": float, "b": bool, "c": complex}.get(dtype.kind, int)(value)
        if dtype.kind in "iu":
            number = _wrapped(number, dtype)
    return Node(OPERATORS["constant"], (), (("value", number),), TensorType(dtype, (), device))


def _wrapped(number: int, dtype: DType) -> int:
    """An integer as elements of a type hold it: they wrap around."""
    bits = 8 * dtype.itemsize
    number &= (1 << bits) - 1
    return number - (1 << bits) if dtype.kind == "i" and number >> (bits - 1) else number


def input_node(type_: TensorType, name: str = "", source: Source | None = None) -> Node:
    """A value that is given from outside."""
    return Node(OPERATORS["input"], (), (("name", name),), type_, source)


def is_constant(node: Node) -> bool:
    return node.op.name == "constant"


def is_input(node: Node) -> bool:
    return node.op.name == "input"
