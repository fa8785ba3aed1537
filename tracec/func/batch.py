"""vmap: a function of one example as a function of many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tracec.errors import ArgumentError
from tracec.functions import cat
from tracec.functions.common import fail
from tracec.ir.extent import plain, whole
from tracec.record.batching import Batching
from tracec.record.random import get_rng_state, set_rng_state
from tracec.record.tensor import Tensor
from tracec.record.write import copy_into
from tracec.utils._pytree import TreeSpec, broadcast_to_leaves, tree_flatten, tree_unflatten

Dims = Any


def vmap(
    func: Callable[..., Any],
    in_dims: Dims = 0,
    out_dims: Dims = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that does for many examples at once what a function does for one.

    Args:
        func: A function that returns tensors, in trees.
        in_dims: The axis along which the examples lie in each tensor of the arguments; None for one that is the same
            for all. An int for all arguments, or a tree over them, which may stop early.
        out_dims: The axis to lay the results along; an int, or a tree over the results. None for a result that is
            the same for all examples.
        randomness: What random numbers do: ``error`` refuses them, ``different`` draws for each example, ``same``
            draws once for all.
        chunk_size: How many examples to compute at once; None for all.

    Returns:
        A function of the same arguments. Keyword arguments are the same for all examples.

    Raises:
        ArgumentError: (here or when it is called) axes do not fit the arguments or results, sizes along them differ,
            or a result is no tensor.
        RecordError: the function asks for a value that differs between examples, or for random numbers.
    """
    if randomness not in ("error", "different", "same"):
        fail(
            ArgumentError,
            f"vmap: Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}",
            "use one of them",
        )
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size <= 0):
        fail(
            ArgumentError,
            f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})",
            "give the number of examples to compute at once",
        )
    name = getattr(func, "__name__", type(func).__name__)

    @functools.wraps(func, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        dims = _input_dims(name, in_dims, leaves, spec)
        size = _size(name, leaves, dims)

        def some(tensors: Sequence[Any]) -> Any:
            return func(*tree_unflatten(tensors, spec), **kwargs)

        if chunk_size is None or chunk_size >= size:
            found = _all_at_once(name, some, leaves, dims, size, out_dims, randomness)
        else:
            found = _in_chunks(name, some, leaves, dims, size, out_dims, randomness, chunk_size)
        results, out_spec, _ = found
        return tree_unflatten(results, out_spec)

    return run


Found = tuple[list[Tensor], TreeSpec, list[int | None]]


def _all_at_once(
    name: str, func: Callable[[Sequence[Any]], Any], leaves: Sequence[Any], dims: Sequence[int | None], size: int,
    out_dims: Dims, randomness: str,
) -> Found:  # fmt: skip
    """Run a function of a list for all examples: the results, their structure, and the axes that they lie along."""
    whole = [x if d is None else x.movedim(d, 0) for x, d in zip(leaves, dims, strict=True)]
    level = Batching(size, randomness)
    with level:
        given = [x if d is None else level.example(x) for x, d in zip(whole, dims, strict=True)]
        results, spec = tree_flatten(func(given))
        axes = _output_dims(name, out_dims, results, spec)
        many = [_result(name, level, x, axis) for x, axis in zip(results, axes, strict=True)]
        changed = [
            (x, level.node_of(one))
            for x, one, d in zip(whole, given, dims, strict=True)
            if d is not None and level.changed(one, x)
        ]
    for x, value in changed:
        copy_into(x, value, "vmap")
    return [x if axis is None else _moved(name, x, axis) for x, axis in zip(many, axes, strict=True)], spec, axes


def _in_chunks(
    name: str, func: Callable[[Sequence[Any]], Any], leaves: Sequence[Any], dims: Sequence[int | None], size: int,
    out_dims: Dims, randomness: str, chunk_size: int,
) -> Found:  # fmt: skip
    state = get_rng_state() if randomness == "same" else None
    parts: list[Found] = []
    for start in range(0, size, chunk_size):
        count = min(chunk_size, size - start)
        if state is not None:
            set_rng_state(state)
        chosen = [x if d is None else x.narrow(d, start, count) for x, d in zip(leaves, dims, strict=True)]
        parts.append(_all_at_once(name, func, chosen, dims, count, out_dims, randomness))
    _, spec, axes = parts[0]
    results = [
        parts[0][0][k] if axis is None else cat([found[k] for found, _, _ in parts], dim=axis)
        for k, axis in enumerate(axes)
    ]
    return results, spec, axes


def map_examples(
    name: str, func: Callable[[Tensor], list[Tensor]], x: Tensor, chunk_size: int | None, randomness: str = "error"
) -> list[Tensor]:
    """A function of one tensor for all examples along axis 0; the results lie along axis 0."""
    size = x.shape[0]

    def of_list(tensors: Sequence[Any]) -> Any:
        return func(tensors[0])

    if chunk_size is None or chunk_size >= size:
        return _all_at_once(name, of_list, [x], [0], size, 0, randomness)[0]
    return _in_chunks(name, of_list, [x], [0], size, 0, randomness, chunk_size)[0]


def _input_dims(name: str, in_dims: Dims, leaves: Sequence[Any], spec: TreeSpec) -> list[int | None]:
    """The axis of each leaf of the arguments, counted from the front."""
    told = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple, list)):
        fail(
            ArgumentError,
            f"{told}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
            f"got: {type(in_dims)}.",
            "give an int, or one for each argument",
        )
    if not leaves:
        fail(ArgumentError, f"{told}: got no inputs", "map over at least one tensor")
    found = broadcast_to_leaves(in_dims, spec)
    if found is None:
        fail(
            ArgumentError,
            f"{told}: in_dims is not compatible with the structure of `inputs`. in_dims has structure "
            f"{tree_flatten(in_dims)[1]} but inputs has structure {spec}.",
            "give one axis, or None, for each argument",
        )
    return [_input_dim(told, x, d) for x, d in zip(leaves, found, strict=True)]


def _input_dim(told: str, x: Any, d: Any) -> int | None:
    if d is None:
        return None
    if not isinstance(d, int):
        fail(
            ArgumentError,
            f"{told}: Got in_dim={d} for an input but in_dim must be either an integer dimension or None.",
            "give an int or None",
        )
    if not isinstance(x, Tensor):
        fail(
            ArgumentError,
            f"{told}: Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap over non-Tensor "
            "arguments",
            "use None as the respective in_dim",
        )
    if not -x.ndim <= d < x.ndim:
        fail(
            ArgumentError,
            f"{told}: Got in_dim={d} for some input, but that input is a Tensor of dimensionality {x.ndim} so expected "
            f"in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}.",
            "name one of the tensor's axes",
        )
    return d % x.ndim


def _size(name: str, leaves: Sequence[Any], dims: Sequence[int | None]) -> int:
    """The number of examples."""
    sizes = [whole(x._shape[d]) for x, d in zip(leaves, dims, strict=True) if d is not None]
    if not sizes:
        fail(
            ArgumentError,
            f"vmap({name}, ...)(<inputs>): at least one input must be mapped over, all in_dims are None",
            "call the function itself, or give an in_dim",
        )
    if any(n != sizes[0] for n in sizes[1:]):
        fail(
            ArgumentError,
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{list(map(plain, sizes))} for the mapped dimension",
            "map over axes of one size",
        )
    return sizes[0]


def _output_dims(name: str, out_dims: Dims, results: Sequence[Any], spec: TreeSpec) -> list[int | None]:
    """The axis of each result."""
    for x in results:
        if not isinstance(x, Tensor):
            fail(
                ArgumentError,
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}.",
                "return tensors only",
            )
    found = broadcast_to_leaves(out_dims, spec)
    if found is None and spec.is_leaf() and isinstance(out_dims, (tuple, list)) and len(out_dims) == 1:
        found = list(out_dims)
    if found is None or not all(d is None or isinstance(d, int) for d in found):
        fail(
            ArgumentError,
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of "
            f"`outputs`. out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {spec}.",
            "give one axis for each result",
        )
    return list(found)


def _result(name: str, level: Batching, x: Tensor, axis: int | None) -> Any:
    if axis is not None:
        return level.whole(x)
    if level.is_batched(x):
        fail(
            ArgumentError,
            f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None",
            "give an axis to lay the results along",
        )
    return x


def _moved(name: str, x: Tensor, axis: int) -> Tensor:
    if not -x.ndim <= axis < x.ndim:
        fail(
            ArgumentError,
            f"vmap({name}, ...): out_dim={axis} is out of range for a result that has {x.ndim} dimensions with the one "
            "of examples",
            f"name an axis from -{x.ndim} to {x.ndim - 1}",
        )
    return x if axis in (0, -x.ndim) else x.movedim(0, axis)
