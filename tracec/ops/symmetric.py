"""Factors of symmetric matrices that need not be definite: A = P L D Lᵀ Pᵀ, D of blocks of one or two rows.

The form is LAPACK's (``sytrf``, ``hetrf``): D and L in one lower triangle; a pivot p > 0 says that its row was
exchanged with row p, and two pivots -p that a block of two rows begins, whose second was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracec.errors import DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import Shape, TensorType
from tracec.ops.base import primitive
from tracec.ops.families import all_batched, check_same_dtype
from tracec.ops.matrices import check_matrices, pack_arrays, packed_type

_NO_GRADIENT = not_differentiable("a form for solving alone; linalg.solve and linalg.inv have gradients")
#: The ratio of elements below which a block of two rows grows less than two steps of one.
_ALPHA = (1 + math.sqrt(17)) / 8


def ldl_shapes(a: Any) -> tuple[Shape, Shape]:
    """Shapes of L and D in one, and of the pivots."""
    n = a.shape[-1]
    return (n, n), (n,)


def _ldl_type(a: TensorType, *, hermitian: bool = False) -> TensorType:
    check_matrices(a, square=True)
    return packed_type(a, ldl_shapes(a))


def _on_host(xp: Any, x: Any) -> Any:
    # Which rows to exchange depends on single elements; a GPU would be waited for at every step.
    return x if xp is np else x.get()


def _ldl_eager(xp: Any, a: Any, *, hermitian: bool) -> Any:
    found = np.tril(_on_host(xp, a))
    pivots = np.zeros(a.shape[:-1], a.dtype)
    for place in np.ndindex(a.shape[:-2]):
        _factor(found[place], pivots[place], hermitian and a.dtype.kind == "c")
    return xp.asarray(pack_arrays(np, (found, pivots), a.shape[:-2]))


def _size(x: Any) -> Any:
    return np.abs(x.real) + np.abs(x.imag)


def _factor(a: Any, pivots: Any, hermitian: bool) -> None:
    """Factor a lower triangle in place.

    Source: Bunch, Kaufman, "Some Stable Methods for Calculating Inertia …", 1977, algorithm A.
    """
    n, k = len(a), 0
    while k < n:
        at, two = _pivot(a, k)
        second = k + 1 if two else k
        if at != second:
            _exchange(a, k, second, at, two, hermitian)
        if hermitian:
            a[k, k], a[second, second] = a[k, k].real, a[second, second].real
        rest = slice(second + 1, n)
        block = a[k : second + 1, k : second + 1]
        whole = np.tril(block, -1) + _turned(np.tril(block, -1), hermitian) + np.diag(np.diag(block))
        if block.any():
            columns = np.linalg.solve(whole.T, a[rest, k : second + 1].T).T
            a[rest, rest] -= np.tril(columns @ _turned(a[rest, k : second + 1], hermitian))
            a[rest, k : second + 1] = columns
        pivots[k : second + 1] = -(at + 1) if two else at + 1
        k = second + 1


def _turned(x: Any, hermitian: bool) -> Any:
    return np.conj(x.T) if hermitian else x.T


def _pivot(a: Any, k: int) -> tuple[int, bool]:
    """The row to exchange with, and whether a block of two rows comes next."""
    below = _size(a[k + 1 :, k])
    largest = below.max(initial=0)
    here = _size(a[k, k])
    if not max(here, largest) > 0 or here >= _ALPHA * largest:
        return k, False
    at = k + 1 + int(below.argmax())
    row = max(_size(a[at, k:at]).max(), _size(a[at + 1 :, at]).max(initial=0))
    if here >= _ALPHA * largest * (largest / row):
        return k, False
    return at, _size(a[at, at]) < _ALPHA * row


def _exchange(a: Any, k: int, i: int, j: int, two: bool, hermitian: bool) -> None:
    """Exchange rows and columns i < j of what is left, from k on, where its lower triangle is kept."""
    a[j + 1 :, [i, j]] = a[j + 1 :, [j, i]]
    between, across = a[i + 1 : j, i].copy(), a[j, i + 1 : j].copy()
    a[j, i + 1 : j] = np.conj(between) if hermitian else between
    a[i + 1 : j, i] = np.conj(across) if hermitian else across
    a[i, i], a[j, j] = a[j, j], a[i, i]
    if hermitian:
        a[j, i] = np.conj(a[j, i])
    if two:
        a[i, k], a[j, k] = a[j, k], a[i, k]


ldl: Operator = primitive(
    "ldl",
    family="linalg",
    type_rule=_ldl_type,
    eager=_ldl_eager,
    vjp=_NO_GRADIENT,
    jvp=_NO_GRADIENT,
    batch=lambda inputs, batched, size, **params: ldl(inputs[0], **params),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="L below D in one triangle, and the pivots, packed; the lower triangle is read.",
    samples=(
        Sample((Arg((1, 1), low=1),)),
        Sample((Arg((3, 5, 5), dt.float64),)),
        Sample((Arg((2, 3, 3), dt.complex128),), {"hermitian": True}),
        Sample((Arg((4, 4), dt.complex128),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


def _ldl_solve_type(a: TensorType, pivots: TensorType, b: TensorType, *, hermitian: bool = False) -> TensorType:
    check_matrices(a, square=True)
    check_same_dtype((a, b))
    if pivots.dtype is not dt.int32:
        raise DTypeError(f"pivots are int32, {pivots.dtype.name} given", hint="give what ldl_factor gave")
    if not (a.shape[:-1] == pivots.shape == b.shape[:-1]):
        raise ShapeError(
            f"shapes {a.shape}, {pivots.shape} and {b.shape} are no equations", hint="equal leading axes, equal rows"
        )
    return b


def _ldl_solve_eager(xp: Any, a: Any, pivots: Any, b: Any, *, hermitian: bool) -> Any:
    a, pivots, found = _on_host(xp, a), _on_host(xp, pivots), _on_host(xp, b).copy()
    for place in np.ndindex(a.shape[:-2]):
        _solve(a[place], pivots[place], found[place], hermitian and a.dtype.kind == "c")
    return xp.asarray(found)


def _solve(a: Any, pivots: Any, x: Any, hermitian: bool) -> None:
    """Solve in place: L and D from the first block to the last, then Lᵀ back."""
    n, k, blocks = len(a), 0, []
    while k < n:
        second = min(k + 1, n - 1) if pivots[k] < 0 else k
        blocks.append((k, second, abs(int(pivots[second])) - 1))
        k = second + 1
    for k, second, at in blocks:
        x[[second, at]] = x[[at, second]]
        x[second + 1 :] -= a[second + 1 :, k : second + 1] @ x[k : second + 1]
        block = np.tril(a[k : second + 1, k : second + 1])
        whole = block + _turned(np.tril(block, -1), hermitian)
        x[k : second + 1] = np.linalg.solve(whole, x[k : second + 1]) if second > k else x[k] / whole[0]
    for k, second, at in reversed(blocks):
        x[k : second + 1] -= _turned(a[second + 1 :, k : second + 1], hermitian) @ x[second + 1 :]
        x[[second, at]] = x[[at, second]]


ldl_solve: Operator = primitive(
    "ldl_solve",
    family="linalg",
    type_rule=_ldl_solve_type,
    eager=_ldl_solve_eager,
    vjp=_NO_GRADIENT,
    jvp=_NO_GRADIENT,
    batch=lambda inputs, batched, size, **params: ldl_solve(*all_batched(inputs, batched, size), **params),
    lower=HostCall(),
    arity=3,
    promotion="none",
    doc="X of A X = B, where A is the matrix whose L, D and pivots are given.",
    samples=(
        Sample((Arg((2, 2), diagonal=3), Arg((2,), dt.int32, 1, 3), Arg((2, 2)))),
        Sample((Arg((3, 4, 4), dt.float64, diagonal=3), Arg((3, 4), dt.int32, 1, 5), Arg((3, 4, 2), dt.float64))),
        Sample((Arg((3, 3), dt.complex128, diagonal=3), Arg((3,), dt.int32, 3, 4), Arg((3, 2), dt.complex128))),
        Sample((Arg((2, 0, 0)), Arg((2, 0), dt.int32), Arg((2, 0, 3)))),
    ),
)
