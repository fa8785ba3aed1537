"""Forward mode as transforms of functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, GradientError
from tracec.func.batch import map_examples
from tracec.func.common import (
    Argnums,
    arguments_named,
    check_floating,
    check_real,
    split_aux,
    tensors_of,
    with_replaced,
)
from tracec.func.reverse import check_tangents, jacrev
from tracec.functions import eye
from tracec.functions.common import cast, fail
from tracec.record.backward import own
from tracec.record.dual import DualLevel
from tracec.record.tensor import Tensor
from tracec.utils._pytree import TreeSpec, tree_unflatten


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> tuple[Any, ...]:
    """A function's result, and how it moves when the arguments do.

    Args:
        func: A function of tensors, in trees.
        primals: A tuple of its arguments.
        tangents: How they move; of their structure, shapes and dtypes.
        strict: Refuse results that do not depend on the arguments.
        has_aux: It returns a pair, the second of which is not differentiated.

    Returns:
        The result and its tangent, of one structure; with ``has_aux`` the second result too. A result that does not
        move has a tangent of zeros.

    Raises:
        ArgumentError: primals are no tuple, or the structures differ.
        ShapeError: a tangent has another shape than its argument.
        GradientError: an operation has no derivative.
    """
    if not isinstance(primals, tuple) or not primals:
        fail(
            ArgumentError,
            f"jvp: Expected primals to be a non-empty tuple, got {type(primals)}",
            "it should be valid to call f(*primals): give (x,) for one argument",
        )
    leaves, spec = tensors_of("jvp", "primals", primals)
    moved, structure = tensors_of("jvp", "tangents", tangents)
    check_tangents("jvp", leaves, spec, moved, structure)
    outputs, found, out_spec, aux = pushed("jvp", func, leaves, spec, list(moved), has_aux)
    if strict and any(t is None for t in found):
        fail(
            GradientError,
            "jvp: The output of f is independent of the inputs. This is not allowed with strict=True.",
            "leave strict out to get zeros",
        )
    whole = [ops.zeros_like(o.detach()) if t is None else t for o, t in zip(outputs, found, strict=True)]
    out, moves = tree_unflatten(outputs, out_spec), tree_unflatten(whole, out_spec)
    return (out, moves, aux) if has_aux else (out, moves)


def pushed(
    name: str, func: Callable[..., Any], leaves: list[Tensor], spec: TreeSpec, moved: list[Any], has_aux: bool
) -> tuple[list[Tensor], list[Tensor | None], TreeSpec, Any]:
    """A function's results and their tangents, as lists, with the results' structure and the second result.

    Args:
        name: The transform.
        func: The function.
        leaves: The tensors of its arguments.
        spec: The structure of its arguments.
        moved: The tensors' tangents; None for one that does not move.
        has_aux: Whether there is a second result.
    """
    with DualLevel() as level:
        given = []
        for x, t in zip(leaves, moved, strict=True):
            if t is not None:
                x = own(x)
                level.give(x, cast(t, x.dtype))
            given.append(x)
        out, aux = split_aux(name, func(*tree_unflatten(given, spec)), has_aux)
        outputs, out_spec = tensors_of(name, "Expected f(*primals) to return only tensors: results", out)
        return outputs, [level.tangent(x) for x in outputs], out_spec, aux


def jacfwd(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """The function that gives the Jacobian of a function, computed column by column of arguments: for few arguments.

    Args:
        func: A function of tensors.
        argnums: Positions of the arguments to differentiate by; an int, or a tuple.
        has_aux: It returns a pair, the second of which is not differentiated.
        randomness: What random numbers do; see `vmap`.

    Returns:
        What `jacrev` gives.
    """

    @functools.wraps(func, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        positions = arguments_named("jacfwd", args, argnums)
        chosen = tuple(args[i] for i in positions)
        leaves, spec = tensors_of("jacfwd", "Thing passed to transform API", chosen)
        known: list[Any] = []

        def of(*some: Any) -> Any:
            return func(*with_replaced(args, positions, some), **kwargs)

        def column(k: int, direction: Tensor) -> list[Tensor]:
            moved = [direction if i == k else None for i in range(len(leaves))]
            outputs, found, out_spec, aux = pushed("jacfwd", of, leaves, spec, moved, has_aux)
            for o in outputs:
                check_floating("jacfwd", o)
                check_real("jacfwd", o, "outputs")
            known[:] = [out_spec, [tuple(o.shape) for o in outputs], aux]
            return [ops.zeros_like(o.detach()) if t is None else t for o, t in zip(outputs, found, strict=True)]

        columns = []
        for k, x in enumerate(leaves):
            check_floating("jacfwd", x)
            check_real("jacfwd", x, "inputs")
            basis = eye(x.numel(), dtype=x.dtype, device=x.device).reshape(x.numel(), *x.shape)
            columns.append(map_examples("jacfwd", functools.partial(column, k), basis, None, randomness))
        out_spec, shapes, aux = known
        blocks = []
        for i, shape in enumerate(shapes):
            each = [c[i].movedim(0, -1).reshape(*shape, *x.shape) for c, x in zip(columns, leaves, strict=True)]
            trees = tree_unflatten(each, spec)
            blocks.append(trees[0] if isinstance(argnums, int) else trees)
        found = tree_unflatten(blocks, out_spec)
        return (found, aux) if has_aux else found

    return run


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function that gives the second derivatives of a function, forward over reverse."""
    return jacfwd(jacrev(func, argnums), argnums)
