"""The autograd engine: gradients flow from results back to leaves, through each operation once.

Operations are visited in reverse topological order; the gradients that reach one are added up before it is gone
through. What a gradient is (an array, or a tensor whose own computation is recorded), and how pullbacks run on it, the
two engines of `tracec.record.backward` decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracec.errors import ArgumentTypeError, GradientError, ShapeError
from tracec.ir.operator import OPERATORS
from tracec.ir.source import caller
from tracec.record.cell import Cell
from tracec.record.deferred import settled
from tracec.record.dispatch import apply
from tracec.record.hooked import all_hooked, hooked
from tracec.record.passages import Parts
from tracec.record.recorder import Recorder
from tracec.record.state import STATE
from tracec.record.tape import NodeHooks, Operation, edge_of, leading_to, order_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


class Engine:
    """One backward pass.

    Attributes:
        flow: Operation or leaf → the gradient that has reached it so far.
        results: Operation or leaf → the gradient that it was asked for.
    """

    def __init__(self) -> None:
        self.flow: dict[Any, Any] = {}
        self.results: dict[Any, Any] = {}

    def go(
        self, roots: Sequence[Any], seeds: Sequence[Any], targets: Sequence[Any] | None, retain: bool, gather: bool,
        ends: frozenset[Any] = frozenset(),
    ) -> list[Any]:  # fmt: skip
        """Run the pass; see `tracec.record.backward.backward`."""
        starts = [edge_of(r) for r in roots]
        for root, start, seed in zip(roots, starts, seeds, strict=True):
            self._check_root(root, start)
            self._add(start, self.seed(root, seed))
        wanted = None if targets is None else [edge_of(t) for t in targets]
        self._visit(order_of(starts), wanted, retain, ends)
        for leaf, g in self.flow.items():
            if leaf._hooks and isinstance(STATE.recorder, Recorder):
                STATE.recorder.hooked.append(leaf)
            self.results[leaf] = self._hooked(leaf._hooks, g)
        if gather:
            self._gather_all(targets if targets is not None else list(self.flow))
            return []
        return [None if w not in self.results else self.give(self.results[w]) for w in wanted or ()]

    def _visit(
        self, order: list[Operation], wanted: Sequence[Any] | None, retain: bool, ends: frozenset[Any]
    ) -> None:  # fmt: skip
        """Go through operations from the last to the first; where targets are wanted, those alone that lead to any."""
        path = None if wanted is None else leading_to(order, wanted)
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
                    operation.saved = operation.beside = operation.double_backward = None

    def _gather_all(self, leaves: Sequence[Any]) -> None:
        """Add the gradients that were found to ``grad`` of leaves, and call what waits for that."""
        for leaf in leaves:
            g = self.results.get(edge_of(leaf))
            if g is not None:
                self.gather(leaf, g)
                for hook in list((leaf._gathered_hooks or {}).values()):
                    hook(leaf)

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
                where=through_line(operation),
            )
        if pullback.error is not None:
            error = pullback.error
            raise GradientError(error.message, hint=error.hint, where=through_line(operation))
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
            error.add_note(f"Error detected in {operation.name()}, {through_line(operation)}")
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
                where=through_line(operation),
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


def through_line(operation: Operation) -> str:
    """Where an operation was made, and where gradients go back through it, for errors."""
    name, source = getattr(operation.pullback, "through", None) or (operation.operator, operation.source)
    through = f"through {name}"
    made = f", made at {source}" if source else ""
    line = caller()
    return f"{through}{made}; at {line}" if line else f"{through}{made}"
