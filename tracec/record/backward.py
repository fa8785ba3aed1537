"""Gradients of operations that ran: from results back to leaves, each operation once.

Every operation knows its pullback, a graph derived once for its operands' types by
`tracec.transform.vjp.gradients` and kept. Going back runs these graphs on the saved values; with
``create_graph``, or while a recorder is at work, it runs them through the operators, so that what they do is
remembered and recorded in turn, at the forward operation's source line.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentTypeError, GradientError, ShapeError
from tracec.ir.operator import OPERATORS
from tracec.ir.source import caller
from tracec.ops.arrays import SILENT
from tracec.record.backend import module, number_on, on, to_device
from tracec.record.call import find_call
from tracec.record.cell import Cell, new_tensor
from tracec.record.deferred import ACTIVE, copied, fill, pulled, settled
from tracec.record.dispatch import apply, finish
from tracec.record.hooked import all_hooked, hooked
from tracec.record.meta import MetaArray
from tracec.record.recorder import Recorder
from tracec.record.refusal import refuse
from tracec.record.restore import restored, unpacked
from tracec.record.rules import calls_of, compute
from tracec.record.saved import Packed
from tracec.record.state import STATE
from tracec.record.steps import Steps
from tracec.record.tape import NodeHooks, Operation, Parts, Passage, edge_of, leading_to, order_of

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
    run: _Walk = _Recorded(create) if recorded else _Plain()
    try:
        STATE.grad, STATE.gathering = create, gather and targets is None
        return run.go(roots, seeds, targets, retain, gather, ends)
    finally:
        STATE.grad, STATE.gathering = before


class _Walk:
    """One way back. What a gradient is, an array or a tensor, is up to the subclasses."""

    def __init__(self) -> None:
        self.flow: dict[Any, Any] = {}
        self.results: dict[Any, Any] = {}

    def go(
        self, roots: Sequence[Any], seeds: Sequence[Any], targets: Sequence[Any] | None, retain: bool, gather: bool,
        ends: frozenset[Any] = frozenset(),
    ) -> list[Any]:  # fmt: skip
        starts = [edge_of(r) for r in roots]
        for root, start, seed in zip(roots, starts, seeds, strict=True):
            self._check_root(root, start)
            self._add(start, self.seed(root, seed))
        order = order_of(starts)
        wanted = None if targets is None else [edge_of(t) for t in targets]
        path = leading_to(order, wanted) if wanted is not None else None
        wanted_set = set(wanted or ())
        while order:
            operation = order.pop()
            g = self.flow.pop(operation, None)
            if g is None:
                continue
            if operation.hooks or operation.keeps is not None:
                g = self._observe(operation, g)
            if operation in wanted_set and not isinstance(g, Parts):
                self.results[operation] = g
            if (path is None or operation in path) and (not ends or operation not in ends):
                self._through(operation, g, path, wanted_set)
                if not retain:
                    operation.saved = operation.again = None
        for leaf, g in self.flow.items():
            if leaf._hooks and isinstance(STATE.recorder, Recorder):
                STATE.recorder.hooked.append(leaf)
            self.results[leaf] = self._hooked(leaf._hooks, g)
        if gather:
            for t in targets if targets is not None else list(self.flow):
                g = self.results.get(edge_of(t))
                if g is not None:
                    self.gather(t, g)
                    for hook in list((t._gathered_hooks or {}).values()):
                        hook(t)
            return []
        return [None if w not in self.results else self.give(self.results[w]) for w in wanted or ()]

    def _check_root(self, root: Any, start: Any) -> None:
        if start is None:
            raise GradientError(
                "backward: element 0 of tensors does not require grad and does not have a grad_fn",
                hint="set requires_grad=True on a tensor that it is computed from, outside of tracec.no_grad()",
            )

    def _through(self, operation: Operation, g: Any, path: Any, wanted: Any) -> None:
        """Hand an operation's gradient to its operands."""
        pullback, anomaly = operation.pullback, STATE.anomaly
        if operation.freed:
            raise GradientError(
                "backward: trying to go backward through the graph a second time, but the saved intermediate values "
                "of the graph have already been freed",
                hint="specify retain_graph=True in the first call",
                where=_through_line(operation),
            )
        if pullback.error is not None:
            error = pullback.error
            raise GradientError(error.message, hint=error.hint, where=_through_line(operation))
        hooks = operation.node_hooks
        if hooks is not None:
            g = self._before(hooks, g)
        found = self.pull(operation, g) if not anomaly else self._watched(operation, g)
        gives = pullback.gives
        grads = found if gives is None else [None if position is None else found[position] for position in gives]
        if hooks is not None:
            grads = self._after(hooks, list(grads), g)
        if anomaly and STATE.check_nan:
            self._search(operation, grads)
        for edge, grad in zip(operation.edges, grads, strict=True):
            if edge is not None and grad is not None and (path is None or edge in path or edge in wanted):
                if edge in self.flow or type(grad) is Parts:
                    self._add(edge, grad)
                else:
                    self.flow[edge] = grad

    def _add(self, edge: Any, g: Any) -> None:
        before = self.flow.get(edge)
        if before is not None and isinstance(g, Parts):
            g = Parts({**before, **{k: self.add(before[k], v) if k in before else v for k, v in g.items()}})
        elif before is not None:
            g = self.add(before, g)
        self.flow[edge] = g

    def _before(self, hooks: NodeHooks, g: Any) -> Any:
        """The gradients of the results as the user's hooks change them."""
        for hook in list(hooks.before.values()):
            if (changed := all_hooked(hook, self._shown(g))) is not None:
                taken = {k: self.take(v) for k, v in enumerate(changed) if v is not None}
                g = Parts(taken) if isinstance(g, Parts) else taken[0]
        return g

    def _after(self, hooks: NodeHooks, grads: list[Any], g: Any) -> list[Any]:
        """The gradients of the operands as the user's hooks change them."""
        for hook in list(hooks.after.values()):
            shown = tuple(None if x is None else self.give(x) for x in grads)
            if (changed := all_hooked(hook, shown, self._shown(g))) is not None:
                grads = [None if x is None else self.take(x) for x in changed]
        return grads

    def _shown(self, g: Any) -> tuple[Any, ...]:
        if not isinstance(g, Parts):
            return (self.give(g),)
        return tuple(self.give(g[k]) if k in g else None for k in range(max(g, default=-1) + 1))

    def _watched(self, operation: Operation, g: Any) -> Sequence[Any]:
        """`pull`, whose errors tell where the operation went forward."""
        try:
            return self.pull(operation, g)
        except Exception as error:
            error.add_note(f"Error detected in {operation.name()}, {_through_line(operation)}")
            raise

    def _search(self, operation: Operation, grads: Sequence[Any]) -> None:
        """Refuse gradients that have become NaN."""
        for k, grad in enumerate(grads):
            if grad is None or isinstance(grad, Parts):
                continue
            array = settled(getattr(grad, "_array", grad))
            if array.dtype.kind in "iub" or not bool((array != array).any()):
                continue
            raise GradientError(
                f"backward: Function '{operation.name()}' returned nan values in its {k}th output.",
                hint="its forward operation is the one to look at",
                where=_through_line(operation),
            )

    def _observe(self, operation: Operation, g: Any) -> Any:
        if operation.hooks:
            g = self._hooked(operation.hooks, g)
        keeper = operation.keeps() if operation.keeps is not None else None
        if keeper is not None:
            keeper._grad = self.give(g)
        return g

    def _hooked(self, hooks: Any, g: Any) -> Any:
        for hook in list((hooks or {}).values()):
            g = self.take(hooked(hook, self.give(g)))
        return g

    def seed(self, root: Any, seed: Any) -> Any:
        """The gradient to start with."""
        if seed is None:
            if root._array.size != 1:
                raise GradientError(
                    f"backward: grad can be implicitly created only for scalar outputs, this one has shape "
                    f"{tuple(root._shape)}",
                    hint="give a gradient, or take the sum or mean first",
                )
            if root._array.dtype.kind == "c":
                raise GradientError(
                    f"backward: grad can be implicitly created only for real scalar outputs but got {root.dtype!r}",
                    hint="give a gradient, or take the real part or the size first",
                )
            return self.ones(root)
        if not isinstance(seed, Cell):
            raise ArgumentTypeError(
                f"backward: a gradient is a tensor or None, {type(seed).__name__} given",
                hint="make a tensor with tracec.tensor(...)",
            )
        if seed._shape != root._shape:
            raise ShapeError(
                f"backward: the gradient has shape {tuple(seed._shape)}, the output {tuple(root._shape)}",
                hint="a gradient has the shape of its output",
            )
        if seed._array.dtype != root._array.dtype:
            seed = apply(OPERATORS["cast"], (seed,), {"dtype": root.dtype})
        return self.take(seed)

    def ones(self, root: Any) -> Any:
        """A gradient of ones."""
        raise NotImplementedError

    def pull(self, operation: Operation, g: Any) -> Sequence[Any]:
        raise NotImplementedError

    def add(self, a: Any, b: Any) -> Any:
        raise NotImplementedError

    def give(self, g: Any) -> Tensor:
        """The gradient as a tensor with memory of its own."""
        raise NotImplementedError

    def take(self, g: Tensor) -> Any:
        """What a tensor is as a gradient here."""
        raise NotImplementedError

    def gather(self, leaf: Any, g: Any) -> None:
        """Add to a leaf's ``grad``."""
        raise NotImplementedError


class _Plain(_Walk):
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


class _Recorded(_Walk):
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
                where=_through_line(operation),
            )
        if isinstance(pullback, Passage):
            return pullback.tensors(operation, g)
        if pullback.run is not None:
            found = None if operation.again is None else operation.again(g)
            if found is None:
                raise GradientError(
                    "backward: gradients of gradients go through a compiled function only where it changes nothing "
                    "and as long as what it read is as it was",
                    hint="compile the function that takes the gradient, or call this one before it is compiled",
                    where=_through_line(operation),
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


def _through_line(operation: Operation) -> str:
    name, source = getattr(operation.pullback, "through", None) or (operation.operator, operation.source)
    through = f"through {name}"
    made = f", made at {source}" if source else ""
    line = caller()
    return f"{through}{made}; at {line}" if line else f"{through}{made}"


def keep(operation: Operation, x: Any) -> None:
    """Hand the gradient that reaches an operation to the tensor that it made."""
    operation.keeps = weakref.ref(x)
