"""Functions that loops and branches run, as graphs.

The function runs once, on values of its own, and what it does to them becomes a graph. Tensors from outside that it
reads become further operands; what it computes of those alone is computed once, outside. Where it stops gradients
(`detach`, `no_grad`), so does the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from tracec import ops
from tracec.errors import RecordError
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, current_source, input_node, is_constant, made_from
from tracec.ir.number import Number
from tracec.ir.source import caller
from tracec.ir.types import Shape, TensorType
from tracec.ops.loop_back import widened
from tracec.ops.loops import ScanParams
from tracec.ops.packing import take
from tracec.record.backend import module
from tracec.record.batching import Batching
from tracec.record.call import VIEWS, Call
from tracec.record.cell import Cell, Storage, new_tensor
from tracec.record.check import Requirement
from tracec.record.dispatch import tell
from tracec.record.numbers import array_of
from tracec.record.passages import Overwritten, Passage
from tracec.record.recorder import Recorder
from tracec.record.recording import Check
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of
from tracec.record.within import Within

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

_BITS = {1: dt.int8, 2: dt.int16, 4: dt.int32, 8: dt.int64}


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A function as a graph.

    Attributes:
        graph: From the function's arguments and the tensors from outside to its results.
        captured: The tensors from outside.
        states: States of random numbers that it draws from, and the graph's inputs and outputs for them: the inputs lie
            behind the arguments, the outputs behind the results.
        out: What the function returned, with example values.
        checks: Conditions on values within.
    """

    graph: Graph
    captured: tuple[Any, ...]
    states: tuple[Any, ...]
    out: Any
    checks: tuple[Check, ...]


def trace_body(
    name: str, fn: Callable[[Sequence[Any]], tuple[list[Any], Any]], types: Sequence[TensorType], arrays: Sequence[Any],
    hoist: bool = True, draws: bool = False, runs: bool = True,
) -> Traced:  # fmt: skip
    """Run a function on example values and write down what it does to them.

    Args:
        name: The loop or branch, for messages.
        fn: From the arguments, as tensors, to the tensors among its results and whatever else it returned.
        types: Types of the arguments.
        arrays: Example values for them.
        hoist: Whether what does not depend on the arguments is computed outside, once and in any case.
        draws: Whether it may draw random numbers.
        runs: Whether it runs on such values: where it does not, they need not be as it asks for.

    Raises:
        RecordError: the function has an effect that a graph has not.
    """
    recorder = BodyRecorder(name, hoist, draws)
    with recorder:
        recorder.tests = recorder.tests and runs
        examples = [recorder.example(t, a) for t, a in zip(types, arrays, strict=True)]
        results, out = fn(examples)
        recorder.check_history(results)
        outputs = [recorder.result(r) for r in results]
        outputs += [state._storage.node for state, *_ in recorder.states]
    used = set(topological((*outputs, *(c.node for c in recorder.checks))))
    captured = [(x, node) for x, node in recorder.captured() if node in used]
    states = tuple(state for state, *_ in recorder.states)
    inputs = (*recorder.arguments_, *(node for _, node, *_ in recorder.states), *(node for _, node in captured))
    graph = Graph(inputs, tuple(outputs), "body")
    return Traced(graph, tuple(x for x, _ in captured), states, out, tuple(recorder.checks))


def run_loop(loop: ScanParams, operands: Sequence[Any]) -> list[Any]:
    """The results of a loop over tensors."""
    count = len(loop.body.outputs) - loop.kept
    if STATE.grad and any(x.dtype.is_differentiable and edge_of(x) is not None for x in operands):
        loop = widened(loop)
    packed = ops.scan(*operands, **loop._asdict())
    return [take(packed, part) for part in loop.results.parts[:count]]


class BodyRecorder(Within, Recorder):
    """Writes down what a function does to its arguments; what it does to other tensors happens around it.

    Args:
        name: The loop or branch, for messages.
        hoist: Whether what does not depend on the arguments happens around it too.
        draws: Whether it may draw random numbers.

    Attributes:
        arguments_: The nodes of the arguments.
        states: States of random numbers that it draws from, their nodes, and what they were before.
    """

    def __init__(self, name: str, hoist: bool = True, draws: bool = False) -> None:
        super().__init__((), "body")
        self.hoist, self.draws = hoist, draws
        self.states: list[tuple[Any, Node, tuple[Any, Any, Any]]] = []
        self.label = name
        self.arguments_: list[Node] = []
        self._around: list[tuple[Any, Any, Any]] = []
        self._captured: dict[int, tuple[Any, Node]] = {}
        self._flowing: set[Node] = set()

    def __enter__(self) -> BodyRecorder:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        for state, _node, before in self.states:
            state._storage.recorder, state._storage.node, array = before
            state._storage.write(array)

    def example(self, type_: TensorType, array: Any) -> Tensor:
        """An argument, with an example value."""
        node = input_node(type_, "", current_source())
        made = new_tensor(array)
        made._storage.node, made._storage.recorder = node, self
        self._inside.add(made._storage)
        self.arguments_.append(node)
        if STATE.grad and type_.dtype.is_differentiable:
            made._requires_grad = True
            self._flowing.add(node)
        return made

    def shape_of(self, x: Cell) -> Shape:
        """The shape of a tensor, with what its sizes depend on."""
        if self.belongs(x):
            return self.node_of(x).shape
        with self.outside() as recorder:
            return x._array.shape if recorder is None or recorder.sizes is None else recorder.shape_of(x)  # type: ignore[no-any-return]

    def captured(self) -> list[tuple[Any, Node]]:
        """The tensors from outside, and their nodes."""
        return list(self._captured.values())

    # What ran -----------------------------------------------------------------------------------------

    def belongs(self, x: Any) -> bool:
        """Whether a tensor's value depends on the arguments."""
        return isinstance(x, Cell) and x._storage.recorder is self

    def record(self, call: Call, inputs: tuple[Any, ...], result: Cell, operation: Operation | None) -> None:
        """Write down an operation on the arguments; another one ran around the function."""
        tensors = [x for x in inputs if isinstance(x, Cell)]
        if self.hoist and tensors and not any(map(self.belongs, tensors)):
            with self.outside():
                tell(call, inputs, result, operation)  # type: ignore[arg-type]
            return
        edges = (None,) * len(inputs) if operation is None else operation.edges
        self._edges = edges
        super().record(call, inputs, result, operation)
        if operation is not None:
            self._flowing.add(result._storage.node)

    def _operands(self, call: Call, inputs: tuple[Any, ...]) -> tuple[Node, ...]:
        found = super()._operands(call, inputs)
        return tuple(self._stopped(n) if e is None else n for n, e in zip(found, self._edges, strict=True))

    def _operand(self, x: Any, type_: Any) -> Node:
        if not isinstance(x, Number):
            return super()._operand(x, type_)
        made = new_tensor(array_of(x.value, type_))
        watcher: Any = x.watcher
        watcher._recorder.hold(made, watcher.node(x, type_))
        return self.node_of(made)

    def hold(self, x: Cell, node: Node) -> None:
        """Enter a tensor that was made for a node: a literal, or a number of the recording around."""
        if is_constant(node):
            super().hold(x, node)
            return
        with self.outside() as recorder:
            recorder.hold(x, node)

    def number_of(self, x: Any, value: int | float) -> Any:
        """The value of a tensor, as a number."""
        if self.belongs(x):
            self.decide(x, None, "item")
        with self.outside() as recorder:
            find = getattr(recorder, "number_of", None)
            if find is not None:
                return find(x, value)
            if recorder is not None:
                recorder.decide(x, x._array, "item")
        return value

    def _stopped(self, node: Node) -> Node:
        """A value through which no gradient flows."""
        base = node
        while base.op.name in VIEWS:
            base = base.inputs[0]
        if base not in self._flowing or not node.dtype.is_floating_point:
            return node
        with made_from(node.source, "no gradient"):
            bits = ops.view_bits(node, dtype=_BITS[node.dtype.itemsize])
            stopped: Node = ops.view_bits(bits, dtype=node.dtype)
        return stopped

    def result(self, x: Any) -> Node:
        """The node of a result."""
        node = self.node_of(x)
        return node if not STATE.grad or edge_of(x) is not None else self._stopped(node)

    def node_of(self, x: Cell) -> Node:
        """The node of a tensor's present value; a tensor from outside becomes an operand."""
        if self.belongs(x):
            return super().node_of(x)
        with self.outside() as recorder:
            if recorder is not None:
                recorder.node_of(x)
        found = self._captured.get(id(x))
        if found is None:
            node = input_node(x._type, "", current_source())
            found = self._captured[id(x)] = x, node
            if STATE.grad and edge_of(x) is not None:
                self._flowing.add(node)
        return found[1]

    def known(self, x: Cell) -> tuple[Any, Any] | None:  # type: ignore[override]
        """To whom a value is known, and as what; see `tracec.record.restore.restored`."""
        if self.belongs(x):
            return self, self.node_of(x)
        with self.outside() as recorder:
            return None if recorder is None else recorder.known(x)

    def is_inside(self, x: Cell) -> bool:
        """Whether a tensor's memory was made within the function."""
        return self.belongs(x) or x._storage in self._inside

    def is_own(self, x: Any) -> bool:
        """Whether the function made a tensor."""
        return self.is_inside(x) or super().is_own(x)

    def shown(self, x: Cell) -> None:
        """A tensor's own text."""

    def carry(self, state: Any) -> None:
        """Take in a state of random numbers, which each run carries on to the next.

        Raises:
            RecordError: this is no loop, or one of one example.
        """
        storage = state._storage
        if storage.recorder is self:
            return
        if not self.draws:
            self._refuse("draws random numbers", "draw them before, or use tracec.func.scan")
        with self.outside() as recorder:
            if isinstance(recorder, Batching):
                self._refuse("draws random numbers, under vmap", "draw them before")
            if isinstance(recorder, BodyRecorder):
                recorder.carry(state)
            elif recorder is not None:
                recorder.node_of(state)
        node = input_node(storage.type, "", current_source())
        self.states.append((state, node, (storage.recorder, storage.node, storage.array.copy())))
        storage.recorder, storage.node = self, node

    # What a graph does not do -------------------------------------------------------------------------

    def check_history(self, results: Sequence[Any]) -> None:
        """Refuse ways back that are the user's own.

        Raises:
            RecordError: a result was made by an `autograd.Function`, or a hook waits for a gradient.
        """
        seen: set[Any] = {edge_of(x) for x, _ in self._captured.values()}
        waiting = [edge_of(r) for r in results]
        while waiting:
            edge = waiting.pop()
            if not isinstance(edge, Operation) or edge in seen:
                continue
            seen.add(edge)
            if isinstance(edge.pullback, Passage) and not isinstance(edge.pullback, Overwritten):
                self._refuse("calls an autograd.Function", "call it on the results, outside", edge.source)
            if edge.hooks or edge.node_hooks is not None or edge.keeps is not None:
                self._refuse("waits for gradients of tensors that it makes", "register hooks outside", edge.source)
            waiting += edge.edges

    def written(self, storage: Storage, value: Cell) -> tuple[Any, Any]:
        """What memory that is about to be given values is from then on.

        Raises:
            RecordError: the memory was there before.
        """
        if storage.recorder is self or storage in self._inside:
            return self, self.node_of(value)
        self._refuse("writes into a tensor from outside", "return the new value, and carry it from run to run")

    def decide(self, x: Any, array: Any, how: str) -> None:
        """Note that the function asked for values.

        Raises:
            RecordError: they depend on its arguments.
        """
        if self.belongs(x):
            self._refuse(
                f"asks for the value of a tensor ({how})",
                "choose with tracec.where or tracec.cond, or compute what it is asked for outside",
            )
        with self.outside() as recorder:
            if recorder is not None:
                recorder.decide(x, array, how)

    def check(self, x: Cell, requires: Requirement) -> None:
        """Note a condition on values: on what comes from outside, too, where the function may not run at all."""
        if self.belongs(x) or not self.hoist:
            self.checks.append(Check(self.node_of(x), requires))
            return
        with self.outside() as recorder:
            if recorder is not None:
                recorder.check(x, requires)

    def moved(self, x: Cell, device: Any, move: Any) -> Any:
        """A copy on another device.

        Raises:
            RecordError: it depends on the arguments.
        """
        module(str(device))
        if self.belongs(x):
            self._refuse(f"copies a tensor to {device}", "move tensors before")
        with self.outside():
            return move(x, device)

    def change_grad(self, x: Any, value: Any) -> None:
        """Refuse to assign ``grad`` of a tensor from outside."""
        if not self.is_own(x):
            self._refuse("assigns the grad of a tensor from outside", "use tracec.autograd.grad, and return gradients")

    def read_grad(self, x: Any) -> None:
        """Note that ``grad`` of a tensor is looked at."""
        if not self.is_own(x):
            with self.outside() as recorder:
                if recorder is not None:
                    recorder.read_grad(x)

    def change_flag(self, x: Any) -> None:
        """Refuse to change ``requires_grad`` of a tensor from outside."""
        if not self.is_own(x):
            self._refuse("changes requires_grad of a tensor from outside", "do so before")

    def _refuse(self, what: str, instead: str, source: Any = None) -> NoReturn:
        line = source or caller()
        raise RecordError(
            f"{self.label}: the function {what}", hint=instead, where=f"at {line}" if line is not None else None
        )
