"""Gradients by name, functions with derivatives of one's own, and what surrounds them."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.autograd import grad_mode
from tracec.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from tracec.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError, name_missing
from tracec.ir.forks import imported
from tracec.record import backward as reverse_mode
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor

if TYPE_CHECKING:
    from tracec.autograd import anomaly_mode, forward_ad, function, functional, graph, profiler, variable
    from tracec.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
    from tracec.autograd.function import Function
    from tracec.autograd.gradcheck import gradcheck, gradgradcheck
    from tracec.autograd.variable import Variable

#: What is imported when it is first asked for: attribute → module, and name in it (empty: the module itself).
_LATER = {
    "Function": ("function", "Function"),
    "Variable": ("variable", "Variable"),
    "anomaly_mode": ("anomaly_mode", ""),
    "detect_anomaly": ("anomaly_mode", "detect_anomaly"),
    "forward_ad": ("forward_ad", ""),
    "function": ("function", ""),
    "functional": ("functional", ""),
    "gradcheck": ("gradcheck", "gradcheck"),
    "gradgradcheck": ("gradcheck", "gradgradcheck"),
    "graph": ("graph", ""),
    "profiler": ("profiler", ""),
    "set_detect_anomaly": ("anomaly_mode", "set_detect_anomaly"),
    "variable": ("variable", ""),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise name_missing(sys.modules[__name__], name)
    path, inner = _LATER[name]
    found = imported(f"tracec.autograd.{path}")
    value = getattr(found, inner) if inner else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


class _Package(types.ModuleType):
    """This package; ``gradcheck`` stays the function when the module of that name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "gradcheck" and isinstance(value, types.ModuleType):
            value = value.gradcheck
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def _list(value: Any) -> list[Any]:
    return [value] if isinstance(value, Tensor) or value is None else list(value)


def _tensors(name: str, what: str, value: Any) -> list[Tensor]:
    """One tensor or several: a list, the values of a dictionary, what ``module.parameters()`` goes through."""
    many = isinstance(value, Iterable) and not isinstance(value, (Tensor, np.ndarray))
    given = [value] if not many else list(value.values() if isinstance(value, Mapping) else value)
    for x in given:
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(
                f"{name}: {what} must be tensors, {type(x).__name__} given", hint="give a tensor, or a list of them"
            )
    return given


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
    reverse_mode.backward(
        roots,
        _seeds(roots, grad_tensors, "backward"),
        None if inputs is None else _list(inputs),
        create_graph if retain_graph is None else retain_graph,
        create_graph,
        gather=True,
    )


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Iterable[Tensor] | dict[Any, Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """The gradients of some tensors with respect to others; ``grad`` of no tensor changes.

    Args:
        outputs: What is differentiated.
        inputs: What to differentiate by: a tensor, several, or a dictionary of them.
        grad_outputs: Gradients of the outputs; None for tensors of one element.
        retain_graph: Keep what is needed to go back another time; by default what ``create_graph`` says.
        create_graph: Remember how gradients are computed, so that they can be differentiated.
        only_inputs: PyTorch's older argument; True.
        allow_unused: Give None for an input that the outputs do not depend on, instead of an error.
        is_grads_batched: The gradients of the outputs are many, along a first axis; so are those of the inputs.
        materialize_grads: Give zeros for such an input.

    Returns:
        A tuple of one gradient for each input; a dictionary, where the inputs are one.

    Raises:
        ArgumentError: there are no inputs.
        GradientError: an input does not require grad or is not used, or the graph was used up before.
    """
    roots, given = _tensors("grad", "outputs", outputs), _tensors("grad", "inputs", inputs)
    # Of tensors that are made of others, gradients are those of their elements.
    by = [x.inner()[0] if x.is_composite else x for x in given]
    _check_flags(only_inputs, allow_unused, materialize_grads)
    if not given:
        raise ArgumentError(
            "grad: `inputs` argument to `grad()` cannot be empty",
            hint="an iterator, as parameters() gives, ends with its first use",
        )
    if any(edge_of(x) is None for x in by):
        raise GradientError(
            "grad: one of the differentiated Tensors does not require grad",
            hint="set requires_grad=True before computing the outputs",
        )
    seeds = _seeds(roots, grad_outputs, "grad")
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        found = _of_many(roots, seeds, by, retain, create_graph)
    else:
        found = reverse_mode.backward(roots, seeds, by, retain, create_graph, gather=False)
    unused = next((k for k, g in enumerate(found) if g is None), None)
    if materialize_grads:
        size = (len(seeds[0]),) if is_grads_batched else ()
        found = [x.new_zeros(*size, *x.shape) if g is None else g for x, g in zip(by, found, strict=True)]
    elif not allow_unused and unused is not None:
        raise GradientError(
            f"grad: the differentiated Tensor at index {unused} appears to not have been used in the graph",
            hint="set allow_unused=True if this is the desired behavior",
        )
    each = tuple(x.with_data(g) if x.is_composite and g is not None else g for x, g in zip(given, found, strict=True))
    return dict(zip(inputs, each, strict=True)) if isinstance(inputs, dict) else each


def _check_flags(only_inputs: bool, allow_unused: bool | None, materialize_grads: bool) -> None:
    if not only_inputs:
        raise ArgumentError(
            "grad: only_inputs argument is deprecated and must be True",
            hint="use backward() to add to grad of other leaves",
        )
    if materialize_grads and allow_unused is False:
        raise ArgumentError(
            "grad: Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False.",
            hint="leave allow_unused out",
        )


def _of_many(roots: list[Any], seeds: list[Any], by: list[Any], retain: bool, create: bool) -> list[Any]:
    """Gradients for many gradients of the outputs at once."""
    from tracec.func import vmap  # with the first call: most programs have none

    for root, seed in zip(roots, seeds, strict=True):
        if seed is None or tuple(seed.shape[1:]) != tuple(root.shape):
            raise ShapeError(
                "grad: with is_grads_batched=True a gradient has the output's shape behind a first axis, "
                f"{None if seed is None else tuple(seed.shape)} given for {tuple(root.shape)}",
                hint="stack the gradients along a first axis",
            )
    used: list[int] = []

    def back(*each: Any) -> list[Any]:
        found = reverse_mode.backward(roots, list(each), by, retain, create, gather=False)
        used[:] = [k for k, g in enumerate(found) if g is not None]
        return [found[k] for k in used]

    many = vmap(back)(*seeds)
    by_position = dict(zip(used, many, strict=True))
    return [by_position.get(k) for k in range(len(by))]


def _seeds(roots: list[Any], given: Any, name: str) -> list[Any]:
    seeds = [None] * len(roots) if given is None else _list(given)
    if len(seeds) != len(roots):
        raise ArgumentError(
            f"{name}: {len(seeds)} gradients for {len(roots)} tensors", hint="give one for each, or None"
        )
    return seeds


__all__ = [
    "Function", "Variable", "anomaly_mode", "backward", "detect_anomaly", "enable_grad", "forward_ad", "function",
    "functional", "grad", "grad_mode", "gradcheck", "gradgradcheck", "graph", "inference_mode", "is_grad_enabled",
    "no_grad", "profiler", "set_detect_anomaly", "set_grad_enabled", "set_multithreading_enabled", "variable",
]  # fmt: skip
