"""Reverse mode as transforms of functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, GradientError, ShapeError
from tracec.func.batch import map_examples
from tracec.func.common import (
    Argnums,
    arguments_named,
    check_floating,
    check_real,
    entered,
    goes_on,
    gradients_on,
    left,
    split_aux,
    tensors_of,
    with_replaced,
)
from tracec.functions import eye
from tracec.functions.common import fail
from tracec.record.backward import backward
from tracec.record.state import STATE
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor
from tracec.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten


class Pulled:
    """A function's results at some place, and the way back from them.

    Args:
        name: The transform.
        func: The function.
        primals: Trees of tensors: its arguments.
        has_aux: Whether it gives a second result that is not differentiated.
        kwargs: Further arguments.

    Attributes:
        outputs: The tensors that are differentiated.
        spec: The structure that they make.
        aux: The second result.
        inputs: What is differentiated by.
        further: Whether gradients outside depend on this.
    """

    def __init__(
        self, name: str, func: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool, kwargs: Any = None
    ) -> None:
        leaves, spec = tensors_of(name, "Thing passed to transform API", primals)
        again = name != "grad_and_value" or any(edge_of(x) is not None for x in leaves)
        with gradients_on(as_written=again) as outside:
            self.inputs = [entered(name, x, outside) for x in leaves]
            out, aux = split_aux(name, func(*tree_unflatten(self.inputs, spec), **(kwargs or {})), has_aux)
        found, self.spec = tree_flatten(out)
        for x in found:
            if not isinstance(x, Tensor):
                what = "a Tensor" if name == "grad_and_value" else "only tensors"
                fail(
                    ArgumentError,
                    f"{name}: Expected f(*args) to return {what}, got {type(x)}",
                    "return tensors, or other results as aux",
                )
        self.outputs: list[Tensor] = found
        tensors = [x for x in tree_flatten(aux)[0] if isinstance(x, Tensor)]
        self.further = outside and goes_on([*self.outputs, *tensors], self.inputs)
        self.aux = tree_map(lambda x: left(x, self.further), aux)

    def results(self) -> list[Tensor]:
        """The results as they are outside."""
        return [left(x, self.further) for x in self.outputs]

    def back(self, seeds: Sequence[Tensor | None], retain: bool) -> list[Tensor]:
        """The gradients of the inputs, given those of the outputs; None stands for 1."""
        used = [k for k, x in enumerate(self.outputs) if edge_of(x) is not None]
        create = STATE.grad and (self.further or any(s is not None and edge_of(s) is not None for s in seeds))
        roots, given = [self.outputs[k] for k in used], [seeds[k] for k in used]
        found = backward(roots, given, self.inputs, retain or create, create, False)
        return [
            ops.zeros_like(x.detach()) if g is None else left(g, create)
            for g, x in zip(found, self.inputs, strict=True)
        ]


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """A function's result, and the function from its gradient to those of the arguments.

    Args:
        func: A function of tensors, in trees.
        *primals: Its arguments.
        has_aux: It returns a pair, the second of which is not differentiated.

    Returns:
        The result and ``vjp_fn``, and with ``has_aux`` the second result. ``vjp_fn`` takes gradients in the result's
        structure and gives a tuple of one tree for each argument.

    Raises:
        ArgumentError: an argument or a result is no tensor, or the structure of the gradients is another.
        ShapeError: a gradient has another shape than its result.
    """
    pulled = Pulled("vjp", func, primals, has_aux)
    _, spec = tree_flatten(primals)

    def vjp_fn(*cotangents: Any, retain_graph: bool = True) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        seeds = _matching(given, pulled)
        return tree_unflatten(pulled.back(seeds, retain_graph), spec)

    out = tree_unflatten(pulled.results(), pulled.spec)
    return (out, vjp_fn, pulled.aux) if has_aux else (out, vjp_fn)


def _matching(cotangents: Any, pulled: Pulled) -> list[Tensor | None]:
    """Gradients of the results, checked."""
    seeds, spec = tensors_of("vjp", "cotangents", cotangents)
    if spec != pulled.spec:
        fail(
            ArgumentError,
            "vjp: Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
            f"function. cotangents: {spec}, primal output: {pulled.spec}",
            "give one gradient for each result",
        )
    for k, (seed, out) in enumerate(zip(seeds, pulled.outputs, strict=True)):
        if seed.shape != out.shape:
            fail(
                ShapeError,
                f"vjp: Mismatch in shape: grad_output[{k}] has a shape of {seed.shape} and output[{k}] has a shape of "
                f"{out.shape}",
                "a gradient has the shape of its result",
            )
    return list(seeds)


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that gives the gradient of a function of one number as result, and that result.

    Args:
        func: A function whose result, or first result, is a tensor of no dimensions.
        argnums: Positions of the arguments to differentiate by; an int, or a tuple.
        has_aux: It returns a pair, the second of which is not differentiated.

    Returns:
        A function of the same arguments that gives gradients, in the structure of the argument or as a tuple for
        several, and the value; with ``has_aux`` the value and the second result as a pair.

    Raises:
        ArgumentError: when it is called, the function gives no tensor of no dimensions.
    """

    @functools.wraps(func, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        name = "grad_and_value"
        positions = arguments_named(name, args, argnums)
        pulled = _of_arguments(name, func, args, positions, has_aux, kwargs)
        if not pulled.spec.is_leaf():
            kind = pulled.spec.type
            fail(
                ArgumentError,
                f"{name}(f)(*args): Expected f(*args) to return a Tensor, got {kind}",
                "return one tensor, or set has_aux=True for a pair",
            )
        (out,) = pulled.outputs
        if out.ndim:
            fail(
                ArgumentError,
                f"{name}(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with {out.ndim} dims.",
                "take the sum or mean, or use vjp or jacrev",
            )
        check_floating(name, out)
        (value,) = pulled.results()
        grads = _by_argument(pulled.back([None], False), args, positions, argnums)
        return (grads, (value, pulled.aux)) if has_aux else (grads, value)

    return run


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that gives the gradient of a function of one number as result.

    With ``has_aux`` it gives the gradients and the second result.

    Args:
        func: A function whose result, or first result, is a tensor of no dimensions.
        argnums: Positions of the arguments to differentiate by; an int, or a tuple.
        has_aux: It returns a pair, the second of which is not differentiated.

    Returns:
        A function of the same arguments; see `grad_and_value`, which gives the value too.
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return run


def value_and_grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """`grad_and_value` in the other order: the value, or it and the second result as a pair, then the gradients."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return value, grads

    return run


def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that gives the Jacobian of a function, computed row by row of results: for few results.

    Args:
        func: A function of tensors.
        argnums: Positions of the arguments to differentiate by; an int, or a tuple.
        has_aux: It returns a pair, the second of which is not differentiated.
        chunk_size: How many rows to compute at once; None for all.

    Returns:
        A function of the same arguments. For each result it gives, for each tensor of the arguments, a tensor of the
        result's shape followed by the argument's, in the results' structure of the argument's; with ``has_aux`` and
        the second result.
    """

    @functools.wraps(func, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        positions = arguments_named("jacrev", args, argnums)
        pulled = _of_arguments("jacrev", func, args, positions, has_aux, kwargs)
        for what, tensors in (("inputs", pulled.inputs), ("outputs", pulled.outputs)):
            for x in tensors:
                check_real("jacrev", x, what)
        blocks = []
        for k, out in enumerate(pulled.outputs):
            rows = _rows(pulled, k, chunk_size)
            shaped = [r.reshape(*out.shape, *x.shape) for r, x in zip(rows, pulled.inputs, strict=True)]
            blocks.append(_by_argument(shaped, args, positions, argnums))
        found = tree_unflatten(blocks, pulled.spec)
        return (found, pulled.aux) if has_aux else found

    return run


def _rows(pulled: Pulled, k: int, chunk_size: int | None) -> list[Tensor]:
    """For each input the gradients of every element of one result."""
    out = pulled.outputs[k]
    check_floating("jacrev", out)
    count = out.numel()
    basis = eye(count, dtype=out.dtype, device=out.device).reshape(count, *out.shape)
    if edge_of(out) is None:
        return [ops.full(0.0, (count, *x.shape), x.dtype, str(x.device)) for x in pulled.inputs]

    def back(seed: Tensor) -> list[Tensor]:
        return pulled.back([seed if i == k else ops.zeros_like(o) for i, o in enumerate(pulled.outputs)], True)

    return map_examples("jacrev", back, basis, chunk_size)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """A function's result at some place, and the linear function that it is like there.

    The second one takes tangents of the arguments and gives those of the results, as `jvp` does, without running
    the function again: the way back from the results is linear in their gradients, and its own transpose leads
    forward.

    Args:
        func: A function of tensors, in trees.
        *primals: Where.

    Raises:
        ArgumentError: tangents have another structure than the arguments.
        ShapeError: a tangent has another shape.
    """
    leaves, spec = tensors_of("linearize", "Thing passed to transform API", primals)
    pulled = Pulled("linearize", func, primals, False)
    used = [k for k, x in enumerate(pulled.outputs) if edge_of(x) is not None]
    with gradients_on():
        seeds = [ops.zeros_like(pulled.outputs[k].detach()).requires_grad_() for k in used]
        roots: list[Any] = [pulled.outputs[k] for k in used]
        pulls = backward(roots, seeds, pulled.inputs, True, True, False)

    def jvp_fn(*tangents: Any) -> Any:
        given, structure = tensors_of("linearize", "tangents", tangents)
        check_tangents("linearize", leaves, spec, given, structure)
        pairs = [(p, t) for p, t in zip(pulls, given, strict=True) if p is not None and edge_of(p) is not None]
        create = STATE.grad and (pulled.further or any(edge_of(t) is not None for _, t in pairs))
        moved = backward([p for p, _ in pairs], [t for _, t in pairs], seeds, True, create, False)
        by_output = dict(zip(used, moved, strict=True))
        found = []
        for k, out in enumerate(pulled.outputs):
            t = by_output.get(k)
            found.append(ops.zeros_like(out.detach()) if t is None else left(t, create))
        return tree_unflatten(found, pulled.spec)

    return tree_unflatten(pulled.results(), pulled.spec), jvp_fn


def check_tangents(
    name: str, primals: Sequence[Tensor], spec: TreeSpec, tangents: Sequence[Tensor], structure: TreeSpec
) -> None:
    """Refuse tangents that are not like what moves.

    Raises:
        ArgumentError: they have another structure.
        ShapeError: one has another shape.
    """
    if spec != structure:
        fail(
            ArgumentError,
            f"{name}: Expected primals and tangents to have the same python structure. Got primals with structure "
            f"{spec} and tangents with structure {structure}",
            "give one tangent for each tensor",
        )
    for x, t in zip(primals, tangents, strict=True):
        if x.shape != t.shape:
            fail(
                ShapeError,
                f"{name}: Trying to set a forward gradient that has a different size than that of the original Tensor, "
                f"this is not supported. Tensor is of size {list(x.shape)} while the given forward gradient is of size "
                f"{list(t.shape)}.",
                "a tangent has the shape of what moves",
            )
        if not x.dtype.is_differentiable:
            fail(GradientError, f"{name}: a tensor of dtype {x.dtype.name} cannot move", "cast it with .float()")


def _of_arguments(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], positions: tuple[int, ...], has_aux: bool, kwargs: Any
) -> Pulled:
    """The function as one of the arguments that are differentiated by."""

    def of(*chosen: Any) -> Any:
        return func(*with_replaced(args, positions, chosen), **kwargs)

    return Pulled(name, of, tuple(args[i] for i in positions), has_aux)


def _by_argument(found: Sequence[Any], args: Sequence[Any], positions: Sequence[int], argnums: Argnums) -> Any:
    """A value for each tensor of some arguments, in their structure; that of a single one is given bare."""
    _, spec = tree_flatten(tuple(args[i] for i in positions))
    trees = tree_unflatten(found, spec)
    return trees[0] if isinstance(argnums, int) else trees
