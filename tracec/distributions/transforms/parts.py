"""Transforms of parts of values, and of their axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.transforms.base import Transform
from tracec.distributions.utils import sum_rightmost
from tracec.errors import ArgumentError
from tracec.record.tensor import Tensor


class IndependentTransform(Transform):
    """A transform some of whose batch axes are axes of one value, over which its determinant is summed.

    Args:
        base_transform: The transform.
        reinterpreted_batch_ndims: How many of the axes, from the right.
        cache_size: As every transform's.
    """

    def __init__(self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return IndependentTransform(self.base_transform, self.reinterpreted_batch_ndims, cache_size)

    @property
    def domain(self) -> Constraint:  # type: ignore[override]
        return constraints.independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        return constraints.independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return self.base_transform.bijective

    @property
    def sign(self) -> Any:
        return self.base_transform.sign

    def _call(self, x: Tensor) -> Tensor:
        self._check(x, self.domain)
        return self.base_transform(x)

    def _inverse(self, y: Tensor) -> Tensor:
        self._check(y, self.codomain)
        return self.base_transform.inv(y)

    def _check(self, x: Tensor, constraint: Constraint) -> None:
        if x.ndim < constraint.event_dim:
            raise ArgumentError("IndependentTransform: too few dimensions on input", hint=f"{constraint.event_dim}")

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return sum_rightmost(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return self.base_transform.inverse_shape(shape)

    def __repr__(self) -> str:
        return f"IndependentTransform({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ReshapeTransform(Transform):
    """Values of one shape as values of another.

    Args:
        in_shape: The shape of what is given.
        out_shape: The shape of what comes out.
        cache_size: As every transform's.

    Raises:
        ArgumentError: they hold different numbers of elements.
    """

    bijective = True

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int], cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ArgumentError(
                f"ReshapeTransform: in_shape {self.in_shape}, out_shape {self.out_shape} have different numbers of "
                "elements"
            )

    @property
    def domain(self) -> Constraint:  # type: ignore[override]
        return constraints.independent(constraints.real, len(self.in_shape))

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        return constraints.independent(constraints.real, len(self.out_shape))

    def _call(self, x: Tensor) -> Tensor:
        return fn.reshape(x, self.forward_shape(tuple(x.shape)))

    def _inverse(self, y: Tensor) -> Tensor:
        return fn.reshape(y, self.inverse_shape(tuple(y.shape)))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return fn.zeros(x.shape[: x.ndim - len(self.in_shape)], dtype=x.dtype, device=x.device)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return _exchanged(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return _exchanged(shape, self.out_shape, self.in_shape)


def _exchanged(shape: Sequence[int], ends: tuple[int, ...], into: tuple[int, ...]) -> tuple[int, ...]:
    cut = len(shape) - len(ends)
    if cut < 0:
        raise ArgumentError("ReshapeTransform: too few dimensions on input", hint=f"shapes end in {ends}")
    if tuple(shape[cut:]) != ends:
        raise ArgumentError(f"ReshapeTransform: shape mismatch: expected {tuple(shape[cut:])} but got {ends}")
    return (*shape[:cut], *into)


class _Pieces(Transform):
    """Several transforms, each of a piece along an axis."""

    def __init__(self, transforms: Sequence[Transform], dim: int, cache_size: int) -> None:
        if not transforms or not all(isinstance(t, Transform) for t in transforms):
            raise ArgumentError(f"{type(self).__name__}: takes a list of Transforms, {transforms!r} given")
        super().__init__(cache_size)
        self.transforms = [t.with_cache(cache_size) for t in transforms]
        self.dim = dim

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(t.bijective for t in self.transforms)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        raise NotImplementedError

    def _join(self, pieces: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError

    def _call(self, x: Tensor) -> Tensor:
        return self._join([t(piece) for t, piece in zip(self.transforms, self._split(x), strict=True)])

    def _inverse(self, y: Tensor) -> Tensor:
        return self._join([t.inv(piece) for t, piece in zip(self.transforms, self._split(y), strict=True)])


class CatTransform(_Pieces):
    """Transforms of pieces that lie one after the other along an axis.

    Args:
        tseq: The transforms.
        dim: The axis.
        lengths: Lengths of the pieces; by default 1 each.
        cache_size: As every transform's.

    Raises:
        ArgumentError: these are no transforms, or there are not as many lengths.
    """

    def __init__(
        self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0
    ) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ArgumentError(
                f"CatTransform: {len(self.lengths)} lengths of {len(self.transforms)} transforms", hint="one for each"
            )

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        """Length of all pieces together."""
        return sum(self.lengths)

    @property
    def domain(self) -> Constraint:  # type: ignore[override]
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != self.length:
            raise ArgumentError(
                f"CatTransform: shape {tuple(x.shape)} has no axis {self.dim} of length {self.length}",
                hint="the lengths add up to the axis's",
            )
        return fn.split(x, self.lengths, self.dim)

    def _join(self, pieces: Sequence[Tensor]) -> Tensor:
        return fn.cat(list(pieces), dim=self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found = []
        for t, a, b in zip(self.transforms, self._split(x), self._split(y), strict=True):
            each = t.log_abs_det_jacobian(a, b)
            found.append(sum_rightmost(each, self.event_dim - t.event_dim))
        dim = self.dim if self.dim < 0 else self.dim - x.ndim
        dim += self.event_dim
        if dim < 0:
            return fn.cat(found, dim=dim)
        total = found[0]
        for term in found[1:]:
            total = total + term
        return total


class StackTransform(_Pieces):
    """Transforms of pieces that lie beside each other along an axis, one at each place of it.

    Args:
        tseq: The transforms.
        dim: The axis.
        cache_size: As every transform's.

    Raises:
        ArgumentError: these are no transforms.
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)

    @property
    def domain(self) -> Constraint:  # type: ignore[override]
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self if self._cache_size == cache_size else StackTransform(self.transforms, self.dim, cache_size)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != len(self.transforms):
            raise ArgumentError(
                f"StackTransform: shape {tuple(x.shape)} has no axis {self.dim} of length {len(self.transforms)}",
                hint="one place for each transform",
            )
        return fn.unbind(x, self.dim)

    def _join(self, pieces: Sequence[Tensor]) -> Tensor:
        return fn.stack(list(pieces), dim=self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found = zip(self.transforms, self._split(x), self._split(y), strict=True)
        return self._join([t.log_abs_det_jacobian(a, b) for t, a, b in found])
