"""Products of many matrices, in the cheapest order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import check_ndim, fail, reshaped
from tracec.record.autocast import LOWER, under_autocast
from tracec.record.tensor import Tensor


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two matrices or more, in the order of multiplying that takes the fewest operations.

    The first tensor may be a vector, which is a row, and the last one, which is a column.

    Raises:
        ShapeError: neighbours do not multiply, or one between is no matrix.
    """
    return _chain("linalg.multi_dot", tensors)


@under_autocast(LOWER)
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices, in the order of multiplying that takes the fewest operations."""
    for m in matrices:
        check_ndim("chain_matmul", m, (2,), "a matrix", "each of the matrices")
    if len(matrices) == 1:
        return matrices[0]
    return _chain("chain_matmul", matrices)


def _chain(name: str, tensors: Sequence[Tensor]) -> Tensor:
    if len(tensors) < 2:
        fail(ArgumentError, f"{name}: expected at least 2 tensors but got {len(tensors)}", "one is its own product")
    given = list(tensors)
    for k, x in enumerate(given):
        ends = k in (0, len(given) - 1)
        check_ndim(name, x, (1, 2) if ends else (2,), "a matrix, or a vector at an end", f"tensor {k}")
        if x.dtype is not given[0].dtype:
            fail(
                DTypeError,
                f"{name}: tensor 0 is {given[0].dtype.name}, tensor {k} is {x.dtype.name}",
                "cast them to one dtype",
            )
    result = (tuple(given[0].shape[:-1])) + (tuple(given[-1].shape[1:]) if given[-1].ndim == 2 else ())
    if given[0].ndim == 1:
        given[0] = reshaped(given[0], (1, given[0].shape[0]))
    if given[-1].ndim == 1:
        given[-1] = reshaped(given[-1], (given[-1].shape[0], 1))
    for k, (a, b) in enumerate(pairwise(given)):
        if a.shape[1] != b.shape[0]:
            fail(
                ShapeError,
                f"{name}: tensors {k} and {k + 1} with shapes {list(tensors[k].shape)} and "
                f"{list(tensors[k + 1].shape)} cannot be multiplied",
                "the columns of one are as many as the rows of the next",
            )
    split = _best_splits([given[0].shape[0], *(x.shape[1] for x in given)])
    return reshaped(_product_between(given, split, 0, len(given) - 1), result)


def _best_splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split each chain of matrices; matrix k has ``sizes[k]`` rows and ``sizes[k + 1]`` columns.

    Source: Cormen et al., "Introduction to Algorithms", 3rd edition, section 15.2.
    """
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    split = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], split[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return split


def _product_between(matrices: Sequence[Tensor], split: dict[tuple[int, int], int], first: int, last: int) -> Tensor:
    if first == last:
        return matrices[first]
    k = split[first, last]
    return ops.dot(_product_between(matrices, split, first, k), _product_between(matrices, split, k + 1, last))
