"""What steps of optimisers are written with.

The step of one parameter is a formula over operators (`Update`), and so are the small tensors that depend on the number
of steps (`Schedule`). Eagerly each formula runs as one operation (`tracec.record.compositions`); in a program that is
recorded, and wherever else each operator is observed, it is applied to the tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracec import ops
from tracec.ir.number import calculate
from tracec.optim.options import is_set
from tracec.record.compositions import FusedUpdate
from tracec.record.conversion import at_hand
from tracec.record.tensor import Tensor

#: ``params`` (a list of tensors) and the options that hold for them.
Group = dict[str, Any]
#: What an optimiser remembers of one parameter, by name.
State = dict[str, Any]
#: Parameters that have gradients: each one, its gradient and its state.
Found = Sequence[tuple[Tensor, Tensor, State]]
#: Values by name: tensors, or nodes of a graph.
Named = dict[str, Any]


class Update:
    """The step of one parameter, for all parameters of a group.

    What is the same for many optimisers is done before the formula is asked: a gradient is turned where the goal is a
    maximum, and weights decay, as an L2 penalty or apart from the gradient.

    Args:
        formula: From a parameter, its gradient, its state (what of it is kept, by name), and numbers and small tensors
            by name to the new parameter and the new state.
    """

    def __init__(self, formula: Callable[..., tuple[Any, Named]]) -> None:
        self._formula = formula
        self._fused = FusedUpdate(self._flat)

    def __call__(
        self,
        group: Group,
        params: Found,
        kept: Sequence[str],
        numbers: Mapping[str, Any],
        scales: Sequence[Mapping[str, Tensor]] | None = None,
        **options: Any,
    ) -> None:
        """Write new values into parameters and their state.

        Args:
            group: Options; read are ``maximize``, ``weight_decay``, ``decoupled_weight_decay`` and, for that, ``lr``.
            params: The parameters.
            kept: Names of what in the state is of a parameter's shape, and gets new values.
            numbers: Numbers by name; tensors with no dimensions are taken too.
            scales: For each parameter small tensors by name.
            options: Keywords for the formula.
        """
        numbers, decay = dict(numbers), group.get("weight_decay", 0)
        if how := "" if not is_set(decay) else "apart" if group.get("decoupled_weight_decay") else "penalty":
            numbers["decay"] = 1.0 - group["lr"] * decay if how == "apart" else decay
        tensors = {k: v for k, v in numbers.items() if isinstance(v, Tensor)}
        plain = {k: v for k, v in numbers.items() if k not in tensors} if tensors else numbers
        each = [
            ([p, *map(state.__getitem__, kept)], [g, *tensors.values(), *(scales[k].values() if scales else ())])
            for k, (p, g, state) in enumerate(params)
        ]
        names = (*tensors, *(scales[0] if scales else ()), *plain)
        maximize = bool(group.get("maximize"))
        write(
            self._fused, each, [*plain.values()],
            kept=(*kept,), names=names, maximize=maximize, decay=how, **options,
        )  # fmt: skip

    def _flat(
        self, p: Any, *values: Any, kept: tuple[str, ...], names: tuple[str, ...], maximize: bool, decay: str,
        **options: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """The formula as `FusedUpdate` calls it, and what comes before it."""
        state, g = dict(zip(kept, values, strict=False)), values[len(kept)]
        by = dict(zip(names, values[len(kept) + 1 :], strict=True))
        if maximize:
            g = ops.neg(g)
        if decay == "penalty":
            g = g + p * by["decay"]
        elif decay == "apart":
            p = p * by["decay"]
        new, after = self._formula(p, g, state, by, **options)
        return (new, *map(after.__getitem__, kept))


class Schedule:
    """Small tensors that depend on how many steps a parameter has done.

    Parameters that are known to have done as many, and have the same in their state, share them.

    Args:
        formula: From the count of steps, what it reads of the state, and numbers by name to the tensors.
        gives: Their names.
        reads: Names of small tensors in the state.
    """

    def __init__(self, formula: Callable[..., Named], gives: Sequence[str], reads: Sequence[str] = ()) -> None:
        self._formula, self._gives, self._reads = formula, gives, reads
        self._fused = FusedUpdate(self._flat)

    def __call__(self, counts: Sequence[Tensor], params: Found, numbers: Mapping[str, Any]) -> list[Named]:
        """For each parameter the tensors by name.

        Args:
            counts: The counts of steps, as `counts` gives them.
            params: The parameters.
            numbers: Numbers by name.
        """
        known: dict[Any, Named] = {}
        found = []
        for k, (count, (_, _, state)) in enumerate(zip(counts, params, strict=True)):
            read = [in_precision(state[name], count) for name in self._reads] if self._reads else []
            values = (*map(at_hand, (count, *read)),)
            key: Any = k if None in values else (*values, count._array.dtype)
            if key not in known:
                known[key] = dict(zip(self._gives, self._computed([count, *read], numbers), strict=True))
            found.append(known[key])
        return found

    def _computed(self, read: list[Tensor], numbers: Mapping[str, Any]) -> Sequence[Tensor]:
        tensors = {k: v for k, v in numbers.items() if isinstance(v, Tensor)}
        plain = {k: v for k, v in numbers.items() if k not in tensors}
        operands, names = [*read, *tensors.values()], (*tensors, *plain)
        found = self._fused.values(operands, [*plain.values()], names=names)
        return self._flat(*operands, *plain.values(), names=names) if found is None else found

    def _flat(self, *values: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
        """The formula as `FusedUpdate` calls it."""
        read = 1 + len(self._reads)
        made = self._formula(*values[:read], dict(zip(names, values[read:], strict=True)))
        return (*map(made.__getitem__, self._gives),)


def write(
    new: FusedUpdate, each: Sequence[tuple[Sequence[Tensor], Sequence[Tensor]]], numbers: Sequence[Any], **options: Any
) -> None:  # fmt: skip
    """Give tensors new values, at once where that can be.

    Args:
        new: The values, of tensors, then numbers, and options.
        each: For each time what is written, and further tensors.
        numbers: Numbers behind those.
        options: What else the values depend on.
    """
    if not new.write(each, numbers, **options):
        for kept, read in each:
            for x, value in zip(kept, new.compose(*kept, *read, *numbers, **options), strict=True):
                x.copy_(value)


def keep(params: Found, scales: Sequence[Named], names: Sequence[str]) -> None:
    """Write small tensors into the state."""
    each = [
        ([*map(state.__getitem__, names)], [*map(made.__getitem__, names)])
        for (_, _, state), made in zip(params, scales, strict=True)
    ]
    write(_SECOND_HALF, each, ())


_SECOND_HALF = FusedUpdate(lambda *x: x[len(x) // 2 :])


def count(params: Found) -> None:
    """One step more in the state of each parameter."""
    write(_ONE_MORE, [([state["step"]], ()) for _, _, state in params], ())


_ONE_MORE = FusedUpdate(lambda count: (count + 1,))


def counts(params: Found) -> list[Tensor]:
    """One step more in the state of each parameter: the counts, in float64 for parameters of that precision.

    All of them come before what depends on them: small kernels of one kind run as one.
    """
    if _ONE_MORE.write([([state["step"]], ()) for _, _, state in params]):
        return [in_precision(state["step"], p) for p, _, state in params]
    return [counted(p, state) for p, _, state in params]


def counted(p: Tensor, state: State) -> Tensor:
    """One step more in a parameter's state: the count, in float64 for a parameter of that precision."""
    step: Tensor = state["step"] + 1
    state["step"].copy_(step)
    return in_precision(step, p)


def in_precision(x: Tensor, p: Tensor) -> Tensor:
    """A small tensor in float64 where a parameter is, or it goes with one that is."""
    return x.to(p.dtype) if p._array.dtype.itemsize == 8 else x


def bias_correction(step: Any, log_beta: Any) -> Any:
    """``1 - beta ** step``, of the logarithm of beta.

    Written with expm1: in float32, ``1 - 0.999`` has but four good digits.
    """
    return ops.neg(ops.expm1(step * log_beta))


def log_of(beta: float) -> float:
    """The logarithm of a weight of running estimates; of 0 one whose power is 0 in any precision."""
    return -1e3 if beta == 0 else calculate("math.log", beta)


def gradient(p: Tensor, g: Tensor, group: Group, *, decay: bool = True) -> Tensor:
    """The gradient to follow: turned where the goal is a maximum, plus the weight decay as an L2 penalty."""
    g = -g if group.get("maximize") else g
    weight_decay = group["weight_decay"]
    return g + p * weight_decay if decay and is_set(weight_decay) else g


def decayed(p: Tensor, group: Group) -> Tensor:
    """The parameter after weight decay that is decoupled from the gradient."""
    return p * (1.0 - group["lr"] * group["weight_decay"]) if is_set(group["weight_decay"]) else p
