"""A recording: a graph, and what its inputs and outputs stand for in the function that was run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tracec.ir.expression import Expression
from tracec.ir.extent import Symbol
from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.ir.number import Float, Integer
from tracec.ir.types import TensorType
from tracec.record.call import Call
from tracec.record.cell import Cell, Changes, Storage
from tracec.record.changes import ONE, holders_of_mark
from tracec.record.check import Requirement
from tracec.record.seen import is_seen
from tracec.record.structure import children, is_data
from tracec.record.tape import edge_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


class Decision(NamedTuple):
    """A value that the function asked for.

    Attributes:
        node: The node that was asked for.
        value: What it was, as an array.
        how: ``item``, ``bool``, ``numpy``, ``print``, ``nonzero``, …; ``number`` where an expression was asked for.
        expression: What was asked for, where that was computed from values that are numbers.
        symbols: The symbols in it that are values of nodes, and the nodes.
        size: The symbol that a count stands for as a size, where it may be another one at the next call.
    """

    node: Node
    value: Any
    how: str
    expression: Expression | None = None
    symbols: tuple[tuple[int, Node], ...] = ()
    size: Symbol | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes whose values are asked for."""
        return tuple(n for _, n in self.symbols) if self.symbols else (self.node,)

    def over(self, new: Callable[[Node], Node]) -> Decision:
        """The same with other nodes in place of its own."""
        return self._replace(node=new(self.node), symbols=tuple((k, new(n)) for k, n in self.symbols))


class Check(NamedTuple):
    """A condition on values that the function addressed memory, or chose classes, with, or computed from them.

    Attributes:
        node: The values.
        requires: What they have to be.
    """

    node: Node
    requires: Requirement


class Looked(NamedTuple):
    """A tensor that the function showed to somebody.

    Attributes:
        position: Its place among all of them.
        is_leaf: It required grad itself.
        history: Name of the operation that made it; empty where gradients do not go further.
    """

    position: int
    is_leaf: bool
    history: str


class Counted(NamedTuple):
    """A number that the function showed to somebody.

    Attributes:
        position: Its place among all of them.
    """

    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """An input of the graph: memory from outside of the function.

    Attributes:
        node: The input.
        storage: The memory.
        array: What of it is the input.
        argument: Position of the argument that it is, if it is one.
        grad_of: The tensor whose ``grad`` it is, if the function found it there.
        whole: All of the memory is the input; otherwise one view of it.
    """

    node: Node
    storage: Storage
    array: Any
    argument: int | None
    grad_of: Tensor | None
    whole: bool

    def find(self, arguments: Any) -> Any:
        """The array to give for this input in a call with other arguments."""
        if self.argument is not None:
            x = arguments[self.argument]
            return x._storage.array if self.whole else x._array
        if self.grad_of is not None and self.grad_of._grad is not None:
            x = self.grad_of._grad
            return x._storage.array if self.whole else x._array
        return self.storage.array if self.whole else self.array


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A tensor from outside that the function used.

    Attributes:
        tensor: The tensor.
        storage: The memory that it looked at.
        requires_grad: Whether it required grad.
        hooks: The hooks that it had.
        alone: Whether nobody else may view that memory.
    """

    tensor: weakref.ref[Any]
    storage: Storage
    requires_grad: bool
    hooks: tuple[Any, ...] = ()
    alone: bool = False

    def holds(self, but: Collection[Any] = ()) -> bool:
        """Whether it is as it was; of some tensors it does not count whether they require grad."""
        x = self.tensor()
        return x is None or (
            x._storage is self.storage
            and ((edge_of(x) is not None) == self.requires_grad or x in but)
            and hooks_of(x) == self.hooks
            and (not self.alone or (holders_of_mark(x) <= ONE and not is_seen(x._array)))
        )


class FoundGrad(NamedTuple):
    """A gradient that the function found.

    Attributes:
        storage: Its memory.
        steps: Its view steps over that.
        strides: How far its elements are apart, in bytes; None where that is as in the tensor that it belongs to.
    """

    storage: Storage
    steps: tuple[Call, ...]
    strides: tuple[int, ...] | None

    @staticmethod
    def of(x: Any) -> FoundGrad | None:
        """What there is of a tensor; None where it has no gradient."""
        grad = x._grad
        if grad is None:
            return None
        strides = grad._array.strides
        return FoundGrad(grad._storage, grad._steps, None if strides == x._array.strides else strides)


def hooks_of(x: Cell) -> tuple[Any, ...]:
    """What is called with the gradients of a leaf."""
    if x._hooks is None and x._gathered_hooks is None:
        return ()
    return (*(x._hooks or {}).values(), None, *(x._gathered_hooks or {}).values())


def marks_of(x: Cell) -> dict[str, Any]:
    """The attributes that users have set on a tensor."""
    return {k: v for k, v in x.__dict__.items() if k not in Cell.__annotations__}


class Surroundings:
    """The tensors from outside that a function used, arguments left out: those of another call are other tensors.

    Args:
        seen: The tensors as they were.
    """

    def __init__(self, seen: tuple[Seen, ...]) -> None:
        self.seen = seen
        self._checked = Changes.count

    def hold(self) -> bool:
        """Whether they view the memory, and carry the flags, that they did."""
        if self._checked != (count := Changes.count):
            if not all(s.holds() for s in self.seen):
                return False
            self._checked = count
        return True


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A tensor that the function returned.

    Attributes:
        tensor: The tensor.
        output: The graph's output that holds its value.
        lifted: The input whose memory it looks at, where that is memory from outside which was lifted whole.
        outside: It is a view of memory from outside.
        own: The function made it, be it over memory from outside.
        base: The tensor from outside that it is a view of for gradients, where the function made it as one.
        root: The tensor that the function made and it is such a view of, which is a result, too.
        version: How often the function wrote to its memory.
        steps: Its view steps over its memory.
        layout: Where its elements lie, or those of all of its memory if that is the output: strides, counted in
            elements, where it is the function's and not row by row.
        shared: It looks at a part of memory, or another result at the same, all of which is the output then.
        requires_grad: It was computed from tensors that require grad.
        argument: Position of an argument that looks at the same memory, where it is from outside: of one that it looks
            at a part of, if there is one.
        after: How many of its steps lead to that argument; None where it looks at no part of any.
        grad_of: The tensor whose ``grad`` it is, or looks at, where the function found that.
        leaf: The function made it, and gradients end at it.
        cls: Its class.
        marks: Attributes that users have set on it.
    """

    tensor: Tensor
    output: int
    lifted: int | None
    outside: bool
    own: bool
    base: Tensor | None
    root: Tensor | None
    version: int
    steps: tuple[Call, ...]
    layout: tuple[int, ...] | None
    shared: bool
    requires_grad: bool
    argument: int | None
    after: int | None
    grad_of: Tensor | None
    leaf: bool
    cls: type
    marks: Mapping[str, Any]

    @property
    def goes_by_memory(self) -> bool:
        """Whether it is a look of the function's own at all of an argument's memory, wherever the argument looks."""
        found = self.outside and self.own and self.base is None and self.grad_of is None
        return found and self.argument is not None and self.after is None


@dataclass(frozen=True, eq=False)
class Recording:
    """One run of a function.

    Attributes:
        graph: Inputs are the lifted memory; outputs are the results' values, then the final values of memory that
            was written, then new gradients.
        inputs: What each input is.
        out: What the function returned.
        results: The tensors in it.
        writes: Memory from outside that was written, with the output that holds its final value; each is
            among the inputs.
        counts: How often each was written.
        grads: Tensors from outside whose ``grad`` was assigned and is theirs alone, with the output, or None for set to
            None, and where the gradient's elements lie: strides, as a result's layout.
        flags: Leaves from outside that it left to require grad, or not to.
        grad_reads: Tensors whose ``grad`` was looked at before it was assigned, and what was found; None for none.
        decisions: Values that the function asked for, in order.
        surroundings: The tensors from outside that it used.
        checks: Conditions on values, in order.
        numbers: Numbers in what was returned, in order, as expressions; then those that were shown.
        asked: Symbols in them that are values of nodes, and the outputs that hold those.
        late: Inputs that are numbers computed from values that the function asked for: expression and type of each.
        looked: Outputs that hold the tensors that were shown.
        printed: What was printed, in order: objects with ``again(tensors, numbers)``, which are those that were
            shown.
    """

    graph: Graph
    inputs: tuple[Lifted, ...]
    out: Any
    results: tuple[Result, ...]
    writes: tuple[tuple[Storage, int], ...]
    grads: tuple[tuple[Tensor, int | None, tuple[int, ...] | None], ...]
    grad_reads: dict[Tensor, FoundGrad | None] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    surroundings: Surroundings = field(default_factory=lambda: Surroundings(()))
    checks: tuple[Check, ...] = ()
    numbers: tuple[Expression, ...] = ()
    asked: tuple[tuple[int, int], ...] = ()
    late: Mapping[Node, tuple[Expression, TensorType]] = field(default_factory=dict)
    looked: tuple[int, ...] = ()
    printed: tuple[Any, ...] = ()
    counts: tuple[int, ...] = ()
    flags: tuple[tuple[Tensor, bool], ...] = ()

    def donations(self) -> dict[int, int]:
        """Output → input whose memory may be overwritten with it: what is written takes the place of what was there."""
        position = {v.storage: i for i, v in enumerate(self.inputs) if v.whole}
        return {output: position[storage] for storage, output in self.writes if storage in position}


def is_number(value: Any) -> bool:
    """Whether this is a number that may be another one at the next call."""
    return type(value) is Integer or type(value) is Float


def find_tensors(value: Any) -> list[Any]:
    """The tensors in nested lists, tuples and dictionaries, in order."""
    return [part for part in _parts(value) if isinstance(part, Cell)]


def find_parts(value: Any) -> list[Any]:
    """The tensors and Numbers in nested lists, tuples and dictionaries, in order."""
    return list(_parts(value))


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Cell):
        yield from value.inner() if value.is_composite else (value,)  # type: ignore[attr-defined]
    elif is_number(value):
        yield value
    elif isinstance(value, tuple):
        for v in value:
            yield from _parts(v)
    elif is_data(value):
        for v in children(value):
            yield from _parts(v)
