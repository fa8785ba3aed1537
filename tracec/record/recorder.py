"""Recording: a Python run as one graph, with what it read and wrote.

While a recorder is active in a thread every operation runs at once and also becomes a node. A tensor from
outside is lifted: its memory becomes an input of the graph. What is written into memory from outside is an
output, and so is every gradient that a tensor from outside was given.

A tensor from outside that is a view is lifted by itself, so that a slice of a large data set does not
bring the whole of it along. When its memory is written, all of the memory has to be the input, and the
view's node is replaced by the view steps over it.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tracec.errors import ArgumentTypeError, RecordError
from tracec.ir.expression import Expression
from tracec.ir.expression import constant as kept
from tracec.ir.extent import Condition, noting, plain, symbolic
from tracec.ir.graph import Graph
from tracec.ir.node import Node, constant, current_origin, current_source, input_node
from tracec.ir.number import WATCH, Number
from tracec.ir.source import Source
from tracec.ir.types import Shape
from tracec.record.backend import META, module
from tracec.record.call import Call, call_node, view_call
from tracec.record.cell import Beside, Cell, Constant, Storage, type_of
from tracec.record.check import Requirement
from tracec.record.counts import Counts
from tracec.record.meta import MetaArray
from tracec.record.numbers import Numbers
from tracec.record.opaque import SIZED, Opaque
from tracec.record.outcome import Outcome
from tracec.record.outside import Outside
from tracec.record.recording import (
    Check,
    Counted,
    Decision,
    Lifted,
    Looked,
    Recording,
    Result,
    Seen,
    find_tensors,
    hooks_of,
)
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of
from tracec.record.unfolding import Unfolding

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


class Recorder(Outcome):
    """Writes down every operation that runs in this thread while it is active.

    Args:
        arguments: Tensors that the recorded function is given: inputs that are found by position.
        name: Name of the graph.
        sizes: Shapes of the arguments with formulas over the sizes that vary from call to call, if any do.
        counts: Symbols for how many elements of masks hold, where that varies.

    Attributes:
        sizes: The same by position, and shapes of arguments that were added.
        conditions: What comparing such sizes gave, and at which line: the recording is right where they hold.
        calls: Calls of operators over such sizes.
    """

    def __init__(
        self, arguments: Sequence[Tensor] = (), name: str = "graph", sizes: Sequence[Shape] | None = None,
        counts: Counts | None = None,
    ) -> None:  # fmt: skip
        self.arguments = tuple(arguments)
        self.name = name
        self.counts = counts
        self.sizes = None if sizes is None and counts is None else dict(enumerate(sizes or ()))
        self._counts: dict[Node, int] = {}
        self.conditions: dict[Condition, Source | None] = {}
        self.calls: dict[Any, Call] = {}
        self._noting: Any = nullcontext()
        self.decisions: list[Decision] = []
        self.checks: list[Check] = []
        #: Whether values are such as they are in the function's place, so that conditions on them hold.
        self.tests = True
        #: Whether a tensor is used that another thread made meanwhile.
        self.uses_others = False
        #: Whether a tensor is used that it made otherwise than by operations, of values that are baked in.
        self.uses_unseen = False
        self._begun = 0
        #: Leaves whose hooks were called.
        self.hooked: list[Cell] = []
        self.printed: list[Any] = []
        #: What was written to the standard streams, by name.
        self.text: dict[str, str] = {}
        #: The last thing that the function did and a graph cannot.
        self.refused: RecordError | None = None
        #: What decides on loops and branches of the function; None where an operation is all that they can be.
        self.unfolding: Unfolding | None = None
        self._looked: list[Node] = []
        self._counted: list[Expression] = []
        self._lifted: list[Lifted] = []
        self._seen: dict[int, Seen] = {}
        self._views: dict[Storage, dict[tuple[Call, ...], Node]] = {}
        self._whole: dict[Node, Node] = {}
        Outside.__init__(self)
        self._given: list[tuple[Any, Decision]] = []
        #: Memory of arrays that tensors were made of, how often it had been written then, and what it held.
        self._taken: list[tuple[Storage, int, Decision]] = []
        self._own: dict[int, weakref.ref[Cell]] = {}
        self.numbers = Numbers(self)
        #: Identity of an array of a tensor → what stands for it until it is looked into.
        self.lent: dict[int, Any] = {}
        #: Whether values that are asked for are given as Numbers, and arrays as what stands for them.
        self.gives_numbers = True
        #: Whether sizes that vary are given as plain numbers, which are as they are in this recording then.
        self.gives_plain_sizes = False
        #: Whether elements of arrays are taken for constants, where that can be.
        self.trusts_arrays = True
        #: Tensors, and names of attributes that they were found not to have.
        self.lacking: list[tuple[Any, str]] = []

    def __enter__(self) -> Recorder:
        if STATE.recorder is not None:
            raise RecordError("record: another recording is under way", hint="call the function as it is inside of it")
        self._begun = Beside.begin()
        STATE.recorder = self
        WATCH.watcher = self.numbers
        if self.sizes is not None:
            self._noting = noting(self._note)
            SIZED.add(self)
        self._noting.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        STATE.recorder = None
        Beside.end()
        WATCH.watcher = None
        self._noting.__exit__(None, None, None)
        SIZED.discard(self)

    # What ran -----------------------------------------------------------------------------------------

    def record(self, call: Call, inputs: tuple[Any, ...], result: Cell, operation: Operation | None) -> None:
        """Write down an operation that ran, and the nodes of the values that its gradients need."""
        if call.device is META and self._begun:  # what a loop or branch runs is told of as a whole
            _refuse_meta(call.op.name)
        if call.op.name == "constant":
            node = constant(dict(call.params)["value"], call.type)
        else:
            node = call_node(call, self._operands(call, inputs), current_source(), current_origin())
        storage = result._storage
        storage.node, storage.recorder = node, self
        self._inside.add(storage)
        if operation is not None:
            operation.recorder = self
            values = (*node.inputs, node)
            operation.nodes = [(self, values[i]) for i in operation.pullback.needs]

    def _operands(self, call: Call, inputs: tuple[Any, ...]) -> tuple[Node, ...]:
        return tuple(self._operand(x, t) for x, t in zip(inputs, call.types, strict=True))

    def _operand(self, x: Any, type_: Any) -> Node:
        if isinstance(x, Cell):
            return self.node_of(x)
        return self.numbers.node(x, type_) if isinstance(x, Number) else constant(x, type_)

    def node_of(self, x: Cell) -> Node:
        """The node of a tensor's present value; a tensor from outside is lifted."""
        storage = x._storage
        copied = storage.copied_from if storage.recorder is self else None
        if copied is not None and copied[0].version != copied[1]:
            refuse(
                "index: a compiled function cannot read x[i], where i is a tensor of no dimensions, once x was written",
                hint="clone() it before, or index with int(i)",
            )
        self._see(x)
        if storage.recorder is not self:
            if x._steps:
                return self._view_from_outside(x)
            self._lift(storage)
        assert storage.node is not None
        if not x._steps:
            return storage.node  # type: ignore[no-any-return]
        if x._node_of is not storage.node:
            x._node, x._node_of = _through(storage.node, x._steps), storage.node
        assert x._node is not None
        return x._node  # type: ignore[no-any-return]

    @property
    def used(self) -> frozenset[int]:
        """Identities of the tensors from outside that are computed with, arguments among them."""
        return frozenset((*self._seen, *map(id, self.arguments)))

    def _see(self, x: Cell) -> None:
        """Note that a tensor is used, and how it looks, where it is from outside."""
        if id(x) not in self._seen and not self.is_own(x) and not any(x is a for a in self.arguments):
            self._seen[id(x)] = Seen(weakref.ref(x), x._storage, self.required_grad(x), hooks_of(x))

    def reveal(self, x: Cell) -> None:
        """Note that the function goes by how a tensor views its memory, all of which is an input then."""
        self._see(x)
        if not self.is_inside(x) and x._storage.recorder is not self:
            self._lift(x._storage)

    def lack(self, x: Cell, name: str) -> None:
        """Note that a tensor has no attribute of that name."""
        self.lacking.append((x, name))

    def includes(self, recorder: Any) -> bool:
        """Whether what a recorder was told of is known here."""
        return recorder is self

    def known(self, x: Cell) -> tuple[Any, Any]:
        """To whom a value is known, and as what; see `tracec.record.restore.restored`."""
        return self, self.node_of(x)

    def shown(self, x: Cell) -> None:
        """A tensor's own text; None for that of its values."""

    def hold(self, x: Cell, node: Node) -> None:
        """Enter a tensor that was made for a node."""
        x._storage.node, x._storage.recorder = node, self
        self._inside.add(x._storage)

    def follow(self, x: Cell) -> None:
        """Note another view of memory that is known: the function's own, where the memory may be from outside."""
        self._own[id(x)] = weakref.ref(x)

    def looks(self) -> list[Cell]:
        """The function's own views of memory that is known, as far as they are there still."""
        return [t for reference in list(self._own.values()) if (t := reference()) is not None]

    def moved(self, x: Cell, device: Any, move: Any) -> Any:
        """A copy on another device.

        Raises:
            DeviceError: there is no such device.
            RecordError: there is; programs do not copy from one to another.
        """
        module(str(device))
        refuse(
            f"to: a copy from {x._device} to {device} cannot be part of a compiled function",
            hint="move tensors before the call",
        )

    def is_own(self, x: Any) -> bool:
        """Whether the recorded function made a tensor, be it over memory from outside."""
        reference = self._own.get(id(x))
        return self.is_inside(x) or (reference is not None and reference() is x)

    def check(self, x: Cell, requires: Requirement) -> None:
        """Note a condition on a tensor's values."""
        self.checks.append(Check(self.node_of(x), requires))

    def _view_from_outside(self, x: Cell) -> Node:
        known = self._views.setdefault(x._storage, {})
        for length in range(len(x._steps), -1, -1):
            start = known.get(x._steps[:length])
            if start is not None:
                return _through(start, x._steps[length:])
        lifted = self._add(x._storage, x, whole=False)
        known[x._steps] = lifted.node
        return lifted.node

    def _lift(self, storage: Storage) -> None:
        """Make memory from outside an input."""
        lifted = self._add(storage, None, whole=True)
        storage.node, storage.recorder = lifted.node, self
        for steps, node in self._views.pop(storage, {}).items():
            self._whole[node] = _through(lifted.node, steps)
        self._lifted = [v for v in self._lifted if v.node not in self._whole]

    def _add(self, storage: Storage, x: Cell | None, whole: bool) -> Lifted:
        """Note an input and how it is found again: as an argument, as a gradient, or by its memory."""
        position = next(
            (k for k, a in enumerate(self.arguments) if a._storage is storage and (whole or a._steps == x._steps)),  # type: ignore[union-attr]
            None,
        )
        if 0 < self._begun <= storage.beside:
            self.uses_others = True
        if position is None and storage.beside <= -self._begun < 0 and not storage.is_known:
            self.uses_unseen = True
        array = storage.array if x is None else x._array
        if type(array) is MetaArray and self._begun:
            _refuse_meta("input")
        name = "" if position is None else f"arg{position}"
        type_ = type_of(array)
        if self.sizes is not None and position in self.sizes:
            shape = self.sizes[position]
            if tuple(map(plain, shape)) == array.shape and not (whole and self.arguments[position]._steps):
                type_ = type_.with_shape(shape)
            else:  # the memory that an argument is a part of
                self.fix_sizes()
        node = input_node(type_, name, current_source())
        lifted = Lifted(node, storage, array, position, self.grad_of(storage), whole)
        self._lifted.append(lifted)
        return lifted

    def adopt(self, x: Cell, from_array: bool) -> None:
        """Take in a tensor that the function makes of Python's numbers, or of an array.

        Numbers are as they were when the function was recorded. So are the elements of an array, since all that these
        come from is as it was then; but it counts as a value that was asked for where others may tell that a tensor
        looks at its memory, which the outcome shows (`Outcome`).
        """
        storage = x._storage
        values = storage.array
        if type(values) is MetaArray:
            if self._begun:
                _refuse_meta("tensor")
            storage.node, storage.recorder = self._add(Constant(values), None, whole=True).node, self
            self._inside.add(storage)
            return
        if values.size and not from_array and (values == values.reshape(-1)[0]).all():
            first = constant(values.reshape(-1)[0].item(), type_of(values))
            storage.node = first if not values.ndim else _spread(first, values.shape)
        else:
            kept = Constant(values.copy())
            storage.node = self._add(kept, None, whole=True).node
        storage.recorder = self
        self._inside.add(storage)
        if from_array:
            self.decisions.append(Decision(storage.node, values.copy(), "array"))
            self._taken.append((storage, storage.version, self.decisions[-1]))

    # What was asked for -------------------------------------------------------------------------------

    def decide(self, x: Any, array: Any, how: str) -> None:
        """Note that the function asked for a tensor's values, and is given this array of them."""
        self.decisions.append(Decision(self.node_of(x), np.array(array), how))
        if how == "numpy":
            self._given.append((array, self.decisions[-1]))

    def count_of(self, mask: Any, total: Any, array: Any) -> int:
        """Note that the function asked how many elements of a mask hold.

        Args:
            mask: The mask.
            total: How many hold.
            array: The array of that.

        Returns:
            As many; with a symbol, where there may be another number at the next call.
        """
        of = self.node_of(mask)
        known = self._counts.get(of)
        if known is None:
            known = value = int(array)
            symbol = None if self.counts is None else self.counts.symbol(len(self._counts), value, of)
            self.decisions.append(Decision(self.node_of(total), np.array(array), "nonzero", size=symbol))
            if symbol is not None:
                known = symbolic(symbol, value)
            self._counts[of] = known
        return known

    def number_of(self, x: Any, value: int | float) -> Number:
        """The only element of a tensor, which may be another one at the next call."""
        return self.numbers.of(self.node_of(x), value)

    def decide_by(self, expression: Expression, symbols: Sequence[int], value: Any) -> None:
        """Note that the function went by what was computed from values of nodes."""
        nodes = tuple((k, self.numbers.nodes[k]) for k in symbols)
        self.decisions.append(Decision(nodes[0][1], value, "number", expression, nodes))

    def look_at(self, x: Any) -> Looked:
        """Note that a tensor is shown as it is now."""
        edge = edge_of(x)
        history = "" if edge is None or edge is x else getattr(edge, "name", lambda: "CopyBackwards")()
        self._looked.append(self.node_of(x))
        return Looked(len(self._looked) - 1, edge is x, history)

    def count(self, x: Number | Opaque) -> Counted:
        """Note that a number, or a size that varies, is shown."""
        self._counted.append(kept(x.number) if isinstance(x, Opaque) else x.expression)
        return Counted(len(self._counted) - 1)

    # What came out ------------------------------------------------------------------------------------

    def finish(self, out: Any, looks: int = 0) -> Recording:
        """The recording, given what the function returned.

        Args:
            out: Tensors, nested in lists, tuples and dictionaries; other values are kept as they are.
            looks: Of how many of the tensors, from the first on, all of the memory is given that they look at.
        """
        before = STATE.recorder
        try:
            STATE.recorder = self
            return self._recorded(out, looks)
        finally:
            STATE.recorder = before
            # Tensors live on; they need not keep the graph alive.
            for storage in (*(v.storage for v in self._lifted), *self._inside):
                storage.node = storage.recorder = storage.copied_from = None


def _refuse_meta(name: str) -> NoReturn:
    refuse(
        f"{name}: a compiled function cannot compute with tensors on 'meta', which have no elements",
        hint="give the model memory first: model.to_empty(device='cpu')",
    )


def _spread(node: Node, shape: Any) -> Node:
    call = view_call("expand", node.type, shape=tuple(shape))
    return call_node(call, (node,), current_source(), current_origin())


def _through(node: Node, steps: tuple[Call, ...]) -> Node:
    for call in steps:
        node = call_node(call, (node,), current_source(), current_origin())
    return node


def trace(fn: Any, *args: Any, **kwargs: Any) -> Graph:
    """The graph of one run of a function. (Of a matrix: the sum of its diagonal, as PyTorch's `trace`.)

    Args:
        fn: A function of tensors.
        *args: Its arguments, tensors among them possibly nested in lists, tuples and dictionaries.
        **kwargs: Its keyword arguments.

    Returns:
        The graph: inputs are the tensor arguments that the function reads, in the order in which it reads them, and
        the tensors from outside that it reads; outputs are its results, then what it writes. Tensors are left
        as they were.
    """
    if not callable(fn) and not isinstance(fn, Cell):
        raise ArgumentTypeError(f"trace: takes a callable, {type(fn).__name__} given", hint="trace the function itself")
    if isinstance(fn, Cell):
        return fn.trace()  # type: ignore[attr-defined, no-any-return]
    recorder = Recorder(find_tensors((args, kwargs)), name=getattr(fn, "__name__", "graph").strip("<>"))
    try:
        with recorder:
            out = fn(*args, **kwargs)
        return recorder.finish(out).graph
    finally:
        recorder.rollback()


__all__ = ["Decision", "Lifted", "Recorder", "Recording", "Result", "trace"]
