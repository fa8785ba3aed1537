"""Gradients by name, and switching them on and off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError, GradientError
from tracec.ir.source import caller
from tracec.record import backward as going_back
from tracec.record.tape import edge_of, enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from tracec.record.tensor import Tensor


def _list(value: Any) -> list[Any]:
    return [value] if isinstance(value, Tensor) or value is None else list(value)


def _tensors(name: str, what: str, value: Any) -> list[Tensor]:
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    for x in given:
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(
                f"{name}: {what} must be tensors, {type(x).__name__} given", hint="give a tensor, or a list of them"
            )
    return given


def _at() -> str | None:
    line = caller()
    return f"at {line}" if line else None


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of some tensors to ``grad`` of the leaves that they were computed from.

    Args:
        tensors: What is differentiated.
        grad_tensors: Their gradients; None for tensors of one element.
        retain_graph: Keep what is needed to go back another time; by default what ``create_graph`` says.
        create_graph: Remember how gradients are computed, so that they can be differentiated.
        inputs: Gather for these alone.

    Raises:
        GradientError: there is nothing to differentiate, or it was differentiated before.
    """
    roots = _tensors("backward", "tensors", tensors)
    going_back.backward(
        roots,
        _seeds(roots, grad_tensors, "backward"),
        None if inputs is None else _list(inputs),
        create_graph if retain_graph is None else retain_graph,
        create_graph,
        gather=True,
    )


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of some tensors with respect to others; ``grad`` of no tensor changes.

    Args:
        outputs: What is differentiated.
        inputs: What to differentiate by.
        grad_outputs: Gradients of the outputs; None for tensors of one element.
        retain_graph: Keep what is needed to go back another time; by default what ``create_graph`` says.
        create_graph: Remember how gradients are computed, so that they can be differentiated.
        allow_unused: Give None for an input that the outputs do not depend on, instead of an error.
        materialize_grads: Give zeros for such an input.

    Returns:
        One gradient for each input.

    Raises:
        GradientError: an input does not require grad or is not used, or the graph was used up before.
    """
    roots, by = _tensors("grad", "outputs", outputs), _tensors("grad", "inputs", inputs)
    if any(edge_of(x) is None for x in by):
        raise GradientError(
            "grad: one of the differentiated Tensors does not require grad",
            hint="set requires_grad=True before computing the outputs",
            where=_at(),
        )
    found = going_back.backward(
        roots,
        _seeds(roots, grad_outputs, "grad"),
        by,
        create_graph if retain_graph is None else retain_graph,
        create_graph,
        gather=False,
    )
    if materialize_grads:
        found = [x.detach() * 0 if g is None else g for x, g in zip(by, found, strict=True)]
    elif not allow_unused and any(g is None for g in found):
        raise GradientError(
            "grad: one of the differentiated Tensors appears to not have been used in the graph",
            hint="set allow_unused=True if this is the desired behavior",
            where=_at(),
        )
    return tuple(found)


def _seeds(roots: list[Any], given: Any, name: str) -> list[Any]:
    seeds = [None] * len(roots) if given is None else _list(given)
    if len(seeds) != len(roots):
        raise ArgumentError(
            f"{name}: {len(seeds)} gradients for {len(roots)} tensors", hint="give one for each, or None", where=_at()
        )
    return seeds


__all__ = [
    "backward", "enable_grad", "grad", "inference_mode", "is_grad_enabled", "no_grad", "set_grad_enabled",
]  # fmt: skip
