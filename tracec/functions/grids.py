"""Grids, products and choices of vectors' elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from itertools import combinations as choices
from itertools import combinations_with_replacement as choices_again
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import (
    check_choice,
    check_ndim,
    check_room,
    check_tensor,
    expanded,
    fail,
    integers,
    reshaped,
    table,
)
from tracec.functions.joining import stack
from tracec.ir import dtype as dt
from tracec.ir.source import warn
from tracec.record.tensor import Tensor


def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of a grid: each vector along its own axis, expanded over the others.

    Args:
        *tensors: Vectors of one dtype; a scalar is a vector of one element.
        indexing: ``ij``: the first vector along the first axis. ``xy``: along the second, as in pictures. PyTorch
            means to change the default, which is ``ij``, and warns where nothing is said.
    """
    if indexing is None:
        warn(
            "meshgrid: in an upcoming release, it will be required to pass the indexing argument; indexing='ij' is "
            "what it is now",
            UserWarning,
        )
        indexing = "ij"
    check_choice("meshgrid", "indexing", indexing, ("ij", "xy"))
    vectors = _vectors("meshgrid", tensors)
    swapped = indexing == "xy" and len(vectors) > 1
    order = [1, 0, *range(2, len(vectors))] if swapped else list(range(len(vectors)))
    shape = tuple(vectors[i].numel() for i in order)
    result = []
    for i, v in enumerate(vectors):
        at = order.index(i)
        own = tuple(s if a == at else 1 for a, s in enumerate(shape))
        result.append(expanded(reshaped(v, own), shape))
    return tuple(result)


def _vectors(name: str, tensors: tuple[Any, ...]) -> list[Tensor]:
    first = tensors[0] if len(tensors) == 1 else None
    given = list(first) if isinstance(first, (tuple, list)) else list(tensors)
    if not given:
        fail(ArgumentError, f"{name}: expects a non-empty TensorList", "give at least one vector")
    for i, t in enumerate(given):
        check_ndim(name, t, (0, 1), "a vector", f"tensor {i}")
        if t.dtype is not given[0].dtype:
            fail(
                ArgumentError,
                f"{name}: expects all tensors to have the same dtype, {given[0].dtype.name} and {t.dtype.name} given",
                "cast them to one",
            )
    return given


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of an element of each vector, a row for each; of one vector, the vector."""
    for i, t in enumerate(tensors):
        check_ndim("cartesian_prod", t, (1,), "a vector", f"tensor {i}")
    vectors = _vectors("cartesian_prod", tensors)
    if len(vectors) == 1:
        return vectors[0]
    return stack([reshaped(g, (g.numel(),)) for g in meshgrid(*vectors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, a row for each, in the order of their positions.

    Args:
        input: A vector.
        r: How many are chosen.
        with_replacement: An element may be chosen several times.

    Raises:
        ShapeError: the input is no vector.
        ArgumentError: ``r`` is negative.
    """
    check_tensor("combinations", input)
    if input.ndim != 1:
        fail(ShapeError, f"combinations: expect a 1D vector, but got shape {list(input.shape)}", "flatten it")
    (r,) = integers("combinations", (r,), "r")
    if r < 0:
        fail(ArgumentError, f"combinations: expect a non-negative number, but got {r}", "give 0 or more")
    if r == 0:
        return ops.full(False if input.dtype is dt.bool_ else 0, (0,), input.dtype, str(input.device)).clone()
    n = input.numel()
    many = n + r - 1 if with_replacement and n else n
    # Of a count with so many digits the first ones say enough.
    count = math.comb(many, r) if min(r, many - r) < 64 else 1 << 64
    check_room("combinations", count * r * (8 + input.dtype.itemsize))
    choose = choices_again if with_replacement else choices
    flat = chain.from_iterable(choose(range(n), r) if count else ())
    places = np.fromiter(flat, np.int64, count * r).reshape(count, r)
    return ops.index(input, table(places, dt.int64, input), axes=(0,))
