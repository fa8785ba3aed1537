"""Transforms to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.transforms.base import Transform
from tracec.distributions.utils import tiny_of
from tracec.errors import ArgumentError
from tracec.record.tensor import Tensor


class SoftmaxTransform(Transform):
    """Weights ``exp(x)`` over their sum, which is no bijection: `StickBreakingTransform` is one."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftmaxTransform)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return fn.softmax(x, dim=-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return fn.log(y)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return _with_axis("SoftmaxTransform", shape)

    inverse_shape = forward_shape


class StickBreakingTransform(Transform):
    """n - 1 log odds to n probabilities: each breaks its share off what is left of a stick of length 1."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StickBreakingTransform)

    __hash__ = Transform.__hash__

    @staticmethod
    def _parts_left(x: Tensor) -> Tensor:
        """How many parts there are to come, so that x = 0 makes all alike."""
        n = x.shape[-1]
        return fn.arange(n, 0, -1, dtype=x.dtype, device=x.device)

    def _call(self, x: Tensor) -> Tensor:
        share = fn.sigmoid(x - fn.log(self._parts_left(x)))
        left = fn.cumprod(1 - share, dim=-1)
        one = fn.ones_like(left[..., :1])
        return fn.cat([share, one], dim=-1) * fn.cat([one, left], dim=-1)

    def _inverse(self, y: Tensor) -> Tensor:
        share = y[..., :-1]
        left = fn.clamp(1 - fn.cumsum(share, dim=-1), min=tiny_of(y))
        return fn.log(share) - fn.log(left) + fn.log(self._parts_left(share))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        x = x - fn.log(self._parts_left(x))
        return fn.sum(-x + fn.logsigmoid(x) + fn.log(y[..., :-1]), dim=-1)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        shape = _with_axis("StickBreakingTransform", shape)
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        shape = _with_axis("StickBreakingTransform", shape)
        return (*shape[:-1], shape[-1] - 1)


def _with_axis(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) < 1:
        raise ArgumentError(f"{name}: too few dimensions on input", hint="give vectors")
    return tuple(shape)
