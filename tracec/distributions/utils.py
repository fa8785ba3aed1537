"""What distributions are written with: parameters of one shape, probabilities and log odds, sums over events."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from tracec import functions as fn
from tracec.errors import ArgumentError
from tracec.ir.dtype import DType
from tracec.record.limits import finfo
from tracec.record.tensor import Tensor, get_default_dtype

#: Euler's constant, the mean of a Gumbel variable.
EULER = 0.57721566490153286061


class lazy_property:
    """A parameter that follows from others, where it was not given itself.

    It is computed when it is asked for, each time: PyTorch keeps it, and then a graph of gradients as well.
    """

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else self.wrapped(instance)


def broadcast_all(*values: Any) -> list[Tensor]:
    """Numbers and tensors as tensors of one shape.

    Raises:
        ArgumentError: one is neither; PyTorch raises no TypeError here.
    """
    like = next((v for v in values if isinstance(v, Tensor)), None)
    made = []
    for v in values:
        if not isinstance(v, (Tensor, int, float)):
            raise ArgumentError(
                f"distributions: parameters are numbers or tensors, {type(v).__name__} given", hint="give a tensor"
            )
        if not isinstance(v, Tensor):
            dtype = like.dtype if like is not None and like.dtype.is_floating_point else get_default_dtype()
            v = fn.tensor(v, dtype=dtype, device="cpu" if like is None else like.device)
        made.append(v)
    return list(fn.broadcast_tensors(*made)) if len(made) > 1 else made


def eps_of(x: Tensor) -> float:
    """The distance from 1 to the next number of a tensor's type."""
    return finfo(x.dtype).eps


def tiny_of(x: Tensor) -> float:
    """The smallest positive number of full precision of a tensor's type."""
    return finfo(x.dtype).tiny


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept away from 0 and 1, whose logarithms are finite."""
    eps = eps_of(probs)
    return fn.clamp(probs, min=eps, max=1 - eps)


def open_uniform(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform numbers that are neither 0 nor 1, in a tensor's type and place."""
    drawn = fn.rand(shape, dtype=like.dtype, device=like.device)
    return fn.clamp(drawn, min=eps_of(like) / 2, max=1 - eps_of(like) / 2)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log odds, or, along the last axis, of logarithms of weights."""
    return fn.sigmoid(logits) if is_binary else fn.softmax(logits, dim=-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log odds of probabilities, or their logarithms; of 0 and 1 those of the nearest numbers beside them."""
    p = clamp_probs(probs)
    return fn.log(p) - fn.log1p(-p) if is_binary else fn.log(p)


def one_of(name: str, probs: Any, logits: Any) -> None:
    """Refuse both or neither of two ways to say it.

    Raises:
        ArgumentError: both are given, or neither.
    """
    if (probs is None) == (logits is None):
        raise ArgumentError(f"{name}: either `probs` or `logits` must be specified, but not both.")


def along_first(values: Tensor, batch_shape: Sequence[int], expand: bool) -> Tensor:
    """Values along a first axis, before those of a batch."""
    values = fn.reshape(values, (-1, *(1,) * len(batch_shape)))
    return values.expand(values.shape[0], *batch_shape) if expand else values


def sum_rightmost(x: Tensor, count: int) -> Tensor:
    """The sum over the last axes."""
    return fn.sum(x, dim=tuple(range(-count, 0))) if count else x


# By PyTorch's names, for distributions that programs make.
_sum_rightmost = sum_rightmost


def _standard_normal(shape: Sequence[int], dtype: DType, device: Any) -> Tensor:
    """Normal numbers of mean 0 and variance 1."""
    return fn.randn(tuple(shape), dtype=dtype, device=device)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements on and below a diagonal, row by row.

    Raises:
        ArgumentError: there is no such diagonal.
    """
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ArgumentError(f"tril_matrix_to_vec: diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = fn.tril_indices(n, n, diag, device=mat.device)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The lower triangular matrix whose elements on and below a diagonal these are, row by row.

    Raises:
        ArgumentError: no matrix has so many.
    """
    count = vec.shape[-1]
    n = round((-(1 + 2 * diag) + math.sqrt((1 + 2 * diag) ** 2 + 8 * count + 4 * abs(diag) * (diag + 1))) / 2)
    if n < 1 or fn.tril_indices(n, n, diag).shape[1] != count:
        raise ArgumentError(
            f"vec_to_tril_matrix: the size of last dimension is {count}, which is none of a lower triangular part"
        )
    rows, columns = fn.tril_indices(n, n, diag, device=vec.device)
    matrix = fn.zeros((*vec.shape[:-1], n, n), dtype=vec.dtype, device=vec.device)
    matrix[..., rows, columns] = vec
    return matrix
