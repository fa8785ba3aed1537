"""L-BFGS: quasi-Newton steps from the last differences of parameters and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions import cat, zeros_like
from tracec.functions import sum as total
from tracec.functions.common import one_integer
from tracec.optim.line_search import Point, strong_wolfe
from tracec.optim.optimizer import Optimizer, as_reals
from tracec.optim.options import check_numbers, check_option
from tracec.record.mode import enable_grad, no_grad
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tensor import Tensor

Closure = Callable[[], Any]
#: Iterations times steps remembered, above which a compiled function runs it eagerly: so much is written out.
MOST_WRITTEN_OUT = 128
#: Curvature along a step below which it says nothing.
_LEAST_CURVATURE = 1e-10


class LBFGS(Optimizer):
    """Newton's steps with an inverse Hessian that is estimated from the last steps, with or without a line search.

    ``step`` needs a closure that computes the loss and its gradients, and calls it several times. In a compiled
    function its decisions are those of a tree, as of any Python code, and the calls until the history is full are
    recorded each. One of many iterations over a long history runs eagerly there: then it is the closure to compile.

    Args:
        params: Tensors to optimise; one group only.
        lr: Length of a step, or where the line search begins.
        max_iter: Iterations in one ``step``.
        max_eval: Calls of the closure in one ``step``; by default 1.25 ``max_iter``.
        tolerance_grad: The largest element of the gradient at which it is done.
        tolerance_change: The change of the loss, or of a parameter, at which it is done.
        history_size: Number of steps that are remembered.
        line_search_fn: ``strong_wolfe`` or None.

    Raises:
        ArgumentError: there are several groups, or the line search is unknown.

    Source: Nocedal, Wright, "Numerical Optimization", 2nd edition, 2006, algorithms 7.4 and 7.5.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_option("LBFGS", "lr", lr)
        max_iter = one_integer("LBFGS", max_iter, "max_iter")
        max_eval = max_iter * 5 // 4 if max_eval is None else one_integer("LBFGS", max_eval, "max_eval")
        check_numbers("LBFGS", tolerance_grad=tolerance_grad, tolerance_change=tolerance_change)
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(
                f"LBFGS: line_search_fn={line_search_fn!r} is not supported", hint="only 'strong_wolfe' or None"
            )
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ArgumentError(
                "LBFGS: doesn't support per-parameter options (parameter groups)", hint="give one list of tensors"
            )
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def step(self, closure: Closure | None = None) -> Any:
        """Iterate.

        Args:
            closure: Computes the loss and its gradients anew.

        Returns:
            What the closure gave first.

        Raises:
            ArgumentTypeError: there is no closure.
        """
        if closure is None:
            raise ArgumentTypeError("LBFGS: step needs a closure", hint="one that computes loss and gradients anew")
        group = self.param_groups[0]
        if STATE.recorder is not None and group["max_iter"] * group["history_size"] > MOST_WRITTEN_OUT:
            refuse(
                f"LBFGS: a step of up to {group['max_iter']} iterations, each over up to {group['history_size']} steps "
                "before, is too long for a graph",
                hint="compile the closure and call step outside, or choose a shorter history_size or max_iter",
            )
        with no_grad():
            return self._iterate(closure)

    def _iterate(self, closure: Closure) -> Any:
        group = self.param_groups[0]
        state = self.state[self._params[0]]
        first, g = self._evaluated(closure)
        loss, calls = _number(first), 1
        state["func_evals"] = state.get("func_evals", 0) + 1
        if _largest(g) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] = state.get("n_iter", 0) + 1
            d = self._direction(g)
            state["d"], state["prev_flat_grad"], state["prev_loss"] = d, g, loss
            lr = _number(group["lr"])
            t = min(1.0, 1.0 / total(abs(g)).item()) * lr if state["n_iter"] == 1 else lr
            slope = _dot(g, d)
            if slope > -group["tolerance_change"]:
                break
            before = loss
            last = iteration == group["max_iter"]
            loss, g, t, more = self._moved(closure, d, t, Point(0.0, loss, g, slope), last)
            state["t"] = t
            calls += more
            state["func_evals"] += more
            small = _largest(d) * abs(t) <= group["tolerance_change"] or abs(loss - before) < group["tolerance_change"]
            if calls >= group["max_eval"] or _largest(g) <= group["tolerance_grad"] or small:
                break
        return first

    def _moved(
        self, closure: Closure, d: Tensor, t: float, start: Point, last: bool
    ) -> tuple[float, Tensor, float, int]:
        """Move along a direction: the loss and its gradient there, how far, and how often the closure was called."""
        origin = [p.clone() for p in self._params]

        def at(step: float) -> Point:
            self._place(origin, d, step)
            value, g = self._evaluated(closure)
            return Point(step, _number(value), g, _dot(g, d))

        if self.param_groups[0]["line_search_fn"] is not None:
            found, calls = strong_wolfe(at, start, t, _largest(d))
            self._place(origin, d, found.t)
            return found.loss, found.gradient, found.t, calls
        if last:  # nobody would look at the loss
            self._place(origin, d, t)
            return start.loss, start.gradient, t, 0
        found = at(t)
        return found.loss, found.gradient, t, 1

    def _direction(self, g: Tensor) -> Tensor:
        """The gradient times the estimate of the inverse Hessian, downwards, by the two-loop recursion."""
        state = self.state[self._params[0]]
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -g
        self._remember(g - state["prev_flat_grad"], state["d"] * state["t"])
        changes, steps, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        q: Tensor = -g
        along: list[float] = []
        for y, s, r in zip(reversed(changes), reversed(steps), reversed(inverse), strict=True):
            along.append(_dot(s, q) * r)
            q = q - y * along[-1]
        q = q * _number(state["H_diag"])
        for y, s, r, a in zip(changes, steps, inverse, reversed(along), strict=True):
            q = q + s * (a - _dot(y, q) * r)
        return q

    def _remember(self, y: Tensor, s: Tensor) -> None:
        """Keep the change of the gradient over a step, where it curves upwards."""
        state, most = self.state[self._params[0]], self.param_groups[0]["history_size"]
        curvature = _dot(y, s)
        if curvature <= _LEAST_CURVATURE:
            return
        for kept, new in ((state["old_dirs"], y), (state["old_stps"], s), (state["ro"], 1.0 / curvature)):
            kept.append(new)
            del kept[:-most]
        state["H_diag"] = curvature / _dot(y, y)

    def _evaluated(self, closure: Closure) -> tuple[Any, Tensor]:
        """What the closure gives, and the gradients as one vector."""
        with enable_grad():
            loss = closure()
        parts = [(zeros_like(p) if p.grad is None else p.grad).detach() for p in self._params]
        return loss, cat([as_reals(g).reshape(-1) for g in parts])

    def _place(self, origin: list[Tensor], d: Tensor, t: float) -> None:
        """Put the parameters where a step leads."""
        at = 0
        for p, start in zip(map(as_reals, self._params), map(as_reals, origin), strict=True):
            p.copy_(start + d[at : at + p.numel()].reshape(p.shape) * t)
            at += p.numel()


def _number(x: Any) -> float:
    """A number; not of an exact type, so that one that stands in for others serves."""
    return x.item() if isinstance(x, Tensor) else x  # type: ignore[no-any-return]


def _dot(a: Tensor, b: Tensor) -> float:
    return total(a * b).item()  # type: ignore[no-any-return]


def _largest(x: Tensor) -> float:
    return abs(x).max().item()  # type: ignore[no-any-return]
