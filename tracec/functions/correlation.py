"""How variables vary together."""

from __future__ import annotations

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import cast, check_ndim, check_tensor, fail, one_integer, reshaped
from tracec.functions.diagonals import diagonal
from tracec.functions.linalg import matmul
from tracec.ir import dtype as dt
from tracec.record.method import tensor_method
from tracec.record.promote import result_type_of
from tracec.record.tensor import Tensor


@tensor_method
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables, which are rows, over observations, which are columns.

    Args:
        input: A matrix, or the observations of one variable as a vector or a scalar; numbers. The covariance of
            complex ones conjugates the second.
        correction: What the number of observations is lessened by before dividing.
        fweights: How often each observation counts; integers.
        aweights: How much each observation weighs; floats.

    Returns:
        A symmetric matrix, or a scalar for one variable. NaN or infinite where no observations are left to divide by.

    Raises:
        DTypeError: the input is bool, or weights have the wrong kind of dtype.
        ShapeError: the input has more than two axes, or there is not one weight for each observation.
        ArgumentError: a weight is negative.
    """
    check_ndim("cov", input, (0, 1, 2), "a matrix, whose rows are variables")
    correction = one_integer("cov", correction, "correction")
    if input.dtype is dt.bool_:
        fail(DTypeError, "cov: takes numbers, input is bool", "cast it to a number type")
    x = input if input.ndim == 2 else reshaped(input, (1, input.numel()))
    count = x.shape[1]
    _check_weights("fweights", fweights, count, "ui", "integers")
    _check_weights("aweights", aweights, count, "f", "floats")
    x = cast(x, result_type_of(x, 1.0))
    if fweights is None or aweights is None:
        weights = fweights if aweights is None else aweights
    else:
        weights = ops.mul(fweights, aweights)
    if weights is None:
        middle = ops.div(ops.sum(x, axes=(1,), keepdims=True), count)
        total: Tensor | float = float(count)
        divisor: Tensor | float = max(count - correction, 0)
    else:
        weights = reshaped(weights, (count,))
        all_weights = ops.sum(weights, axes=(0,), keepdims=False)
        if not bool(all_weights.detach()):
            fail(ArgumentError, "cov: the weights sum to zero", "give one that is positive")
        total = all_weights
        middle = ops.div(ops.sum(ops.mul(x, weights), axes=(1,), keepdims=True), total)
        lessened: Tensor | float = correction
        if aweights is not None and correction:
            heavy = ops.mul(weights, aweights)
            lessened = ops.div(ops.mul(ops.sum(heavy, axes=(0,), keepdims=False), correction), total)
        divisor = ops.maximum(ops.sub(total, lessened), 0)
    off = ops.sub(x, middle)
    other = off if weights is None else ops.mul(off, weights)
    found = ops.div(matmul(off, cast(other, off.dtype).mH), divisor)
    return found if input.ndim == 2 and input.shape[0] != 1 else reshaped(found, ())


def _check_weights(what: str, weights: Tensor | None, count: int, kinds: str, words: str) -> None:
    if weights is None:
        return
    check_tensor("cov", weights, what)
    if weights.ndim > 1 or weights.numel() != count:
        fail(
            ShapeError,
            f"cov: {what} of shape {tuple(weights.shape)} for {count} observations",
            "one weight for each observation, as a vector",
        )
    if weights.dtype.kind not in kinds:
        fail(DTypeError, f"cov: {what} are {words}, {weights.dtype.name} given", "cast them")
    if bool((weights.detach() < 0).any()):
        fail(ArgumentError, f"cov: {what} cannot be negative", "give weights of 0 or more")


@tensor_method
def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of variables, which are rows, over observations: 1 on the diagonal."""
    check_ndim("corrcoef", input, (0, 1, 2), "a matrix, whose rows are variables")
    c = cov(input)
    if not c.ndim:
        return ops.div(c, c)
    spread = ops.sqrt(diagonal(c).real)
    n = spread.shape[0]
    scaled = ops.div(ops.div(c, reshaped(spread, (n, 1))), spread)
    if scaled.dtype.is_complex:
        return ops.view_as_complex(_limited(ops.view_as_real(scaled)))
    return _limited(scaled)


def _limited(x: Tensor) -> Tensor:
    return ops.minimum(ops.maximum(x, -1.0), 1.0)
