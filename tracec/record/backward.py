"""Reverse mode over operations that ran: ``backward`` and ``grad``, on arrays or through the operators.

Every operation knows its pullback, a graph derived once for its operands' types by `tracec.transform.vjp.gradients` and
kept. `ArrayEngine` runs these graphs on the saved values. With ``create_graph``, or while a recorder is at work,
`RecordedEngine` runs them through the operators, so that what they do is remembered and recorded in turn, at the source
line of the forward operation.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec import ops
from tracec.errors import GradientError
from tracec.ir.operator import OPERATORS
from tracec.ops.arrays import SILENT
from tracec.record.backend import module, number_on, on, to_device
from tracec.record.call import find_call
from tracec.record.cell import new_tensor
from tracec.record.deferred import ACTIVE, copied, fill, pulled, settled
from tracec.record.dispatch import apply, finish
from tracec.record.engine import Engine, through_line
from tracec.record.meta import MetaArray
from tracec.record.passages import Passage
from tracec.record.refusal import refuse
from tracec.record.restore import restored, unpacked
from tracec.record.rules import calls_of, compute
from tracec.record.saved import Packed
from tracec.record.state import STATE
from tracec.record.steps import Steps
from tracec.record.tape import Operation

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def backward(
    roots: Sequence[Tensor],
    seeds: Sequence[Tensor | None],
    targets: Sequence[Tensor] | None,
    retain: bool,
    create: bool,
    gather: bool,
    ends: frozenset[Any] = frozenset(),
) -> list[Tensor | None]:
    """Go back from some tensors.

    Args:
        roots: What is differentiated.
        seeds: The gradient of each; None stands for 1, for tensors of one element.
        targets: What to differentiate by; None means every leaf.
        retain: Keep the saved values for another time.
        create: Remember how the gradients are computed.
        gather: Add what is found to ``grad`` of leaves.
        ends: Operations that are not gone through.

    Returns:
        One gradient for each of ``targets``; None where there is none. Empty where ``gather`` is set.

    Raises:
        GradientError: there is nothing to go back from, or the values have been freed.
    """
    before = STATE.grad, STATE.gathering
    recorded = create or STATE.recorder is not None or bool(STATE.duals)
    run: Engine = RecordedEngine(create) if recorded else ArrayEngine()
    try:
        STATE.grad, STATE.gathering = create, gather and targets is None
        return run.go(roots, seeds, targets, retain, gather, ends)
    finally:
        STATE.grad, STATE.gathering = before


class ArrayEngine(Engine):
    """Gradients are arrays; nothing is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self._given: set[int] = set()
        self._alive: list[Any] = []

    def ones(self, root: Any) -> Any:
        return module(root._device).ones_like(root._array)

    def pull(self, operation: Operation, g: Any) -> Sequence[Any]:
        pullback = operation.pullback
        if isinstance(pullback, Passage):
            return pullback.arrays(operation, g)
        saved = operation.saved or ()
        if Packed in map(type, saved):
            saved = [v.unpacked()._array if type(v) is Packed else v for v in saved]
        if pullback.run is not None:
            g = settled(g)
            return pullback.run([*map(settled, saved), g if g.flags.c_contiguous else g.copy()])
        back = operation.call.back
        if back is not None and operation.beside is not None and not ACTIVE:
            gone = SILENT.copy().run(back, pullback, saved, operation.beside, g)
            if gone is not None:
                return gone
        constants = pullback.constant_arrays() if pullback.constants else ()
        device = operation.call.type.device
        if device == "meta":
            return [MetaArray.of(n.type) for n in pullback.graph.outputs]
        if ACTIVE:
            with on(device):
                values = [*saved, g, *constants]
                pulled(calls_of(pullback), values)
                return [to_device(values[i], device) for i in pullback.outputs]
        if device == "cpu":
            if pullback.steps is None:
                pullback.steps = Steps(pullback.graph)
            constants = pullback.steps.constants
            found: list[Any] = SILENT.copy().run(pullback.steps.run, [*saved, g])
        else:
            with on(device):
                constants = [number_on(c, device) for c in constants]
                found = pullback.compute(module(device), [*saved, g, *constants])
        if constants:  # which are kept
            found = [g.copy() if any(g is c for c in constants) else g for g in found]
        return found

    def add(self, a: Any, b: Any) -> Any:
        if ACTIVE:
            return apply(ops.add, (new_tensor(a), new_tensor(b)), {})._array
        if isinstance(a, np.ndarray):
            return np.asarray(ops.add.eager(np, a, b))
        if type(a) is MetaArray:
            return a.copy()
        xp = module("cuda")
        return xp.asarray(ops.add.eager(xp, a, b))

    def give(self, g: Any) -> Tensor:
        # Gradients share memory with each other and with saved values; tensors that users see must not.
        if g.base is not None or id(g) in self._given:
            g = copied(g)
        self._given.add(id(g))
        self._alive.append(g)
        return new_tensor(g)

    def take(self, g: Tensor) -> Any:
        self._given.add(id(g._array))
        self._alive.append(g._array)
        return g._array

    def gather(self, leaf: Any, g: Any) -> None:
        if leaf._grad is None:
            given = self.give(g)
            array = laid_like(given._array, leaf._array)
            leaf._grad = given if array is given._array else new_tensor(array)
        else:
            storage, array = leaf._grad._storage, leaf._grad._array
            storage.about_to_change()
            fill(array, self.add(array, g))


class RecordedEngine(Engine):
    """Gradients are tensors, computed through the operators."""

    def __init__(self, create: bool) -> None:
        super().__init__()
        self.create = create
        self._given: set[int] = set()

    def ones(self, root: Any) -> Any:
        return ops.full(1, root._shape, root.dtype, str(root._device))

    def pull(self, operation: Operation, g: Any) -> Sequence[Any]:
        recorder = STATE.recorder
        pullback = operation.pullback
        inside = recorder is None or recorder.includes(operation.recorder)
        # Operations that need no values, views among them, go back anywhere; programs run where nothing is recorded.
        if not inside and (pullback.needs or operation.call.op.family == "compiled"):
            refuse(
                f"backward: goes back through {operation.operator}, which ran before the recorded function",
                hint="compute the whole of what is differentiated inside of the compiled function",
                where=through_line(operation),
            )
        if isinstance(pullback, Passage):
            return pullback.tensors(operation, g)
        if pullback.run is not None:
            found = None if operation.double_backward is None else operation.double_backward(g)
            if found is None:
                raise GradientError(
                    "backward: gradients of gradients go through a compiled function only where it changes nothing "
                    "and as long as what it read is as it was",
                    hint="compile the function that takes the gradient, or call this one before it is compiled",
                    where=through_line(operation),
                )
            return found
        values = [self._saved(operation, k) for k in range(len(pullback.needs))]
        return compute(pullback, [*values, g], operation.source)

    def _saved(self, operation: Operation, k: int) -> Tensor:
        """A saved value as a tensor: known to the recorder, moving as it did, and with its history."""
        assert operation.saved is not None
        value = operation.saved[k]
        known = None if operation.nodes is None else operation.nodes[k]
        moves = None if operation.tangents is None else operation.tangents[k]
        made = unpacked(value, moves) if type(value) is Packed else restored(value, operation.readers[k], known, moves)
        if self.create:
            i = operation.pullback.needs[k]
            made._history = operation.edges[i] if i < len(operation.edges) else operation
        return made

    def add(self, a: Any, b: Any) -> Any:
        return apply(OPERATORS["add"], (a, b), {})

    def give(self, g: Any) -> Tensor:
        if g._steps or id(g._storage) in self._given:
            g = own(g)
        self._given.add(id(g._storage))
        self.results.setdefault(("alive", id(g._storage)), g)
        return g  # type: ignore[no-any-return]

    def take(self, g: Tensor) -> Any:
        self._given.add(id(g._storage))
        self.results.setdefault(("alive", id(g._storage)), g)
        return g

    def gather(self, leaf: Any, g: Any) -> None:
        before = leaf.grad
        if before is None:
            given = self.give(g)
            array = laid_like(given._array, leaf._array)
            leaf.grad = given if array is given._array else own(given, array)
        elif self.create:
            leaf.grad = before + g
        else:
            before.add_(g)


def own(x: Any, array: Any = None) -> Tensor:
    """The same value in memory of its own: that of an array which holds it, or else row by row."""
    call = find_call(OPERATORS["reshape"], (x,), {"shape": x._shape})
    return finish(call, (x,), [x._array], copied(x._array) if array is None else array)


def laid_like(g: Any, like: Any) -> Any:
    """A gradient that lies in memory as its leaf's elements do, row by row where those leave gaps."""
    if g.strides == like.strides:
        return g
    order = sorted(range(like.ndim), key=lambda axis: -like.strides[axis])
    if like.flags.c_contiguous or not like.transpose(order).flags.c_contiguous:
        return g if g.flags.c_contiguous else copied(g)
    if g.transpose(order).flags.c_contiguous:
        return g
    return settled(g).transpose(order).copy().transpose(sorted(range(like.ndim), key=order.__getitem__))


def keep(operation: Operation, x: Any) -> None:
    """Hand the gradient that reaches an operation to the tensor that it made."""
    operation.keeps = weakref.ref(x)
