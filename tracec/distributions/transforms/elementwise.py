"""Transforms of each element by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.transforms.base import Transform
from tracec.distributions.utils import eps_of, sum_rightmost, tiny_of
from tracec.ir.types import broadcast_shapes
from tracec.record.tensor import Tensor

if TYPE_CHECKING:
    from tracec.distributions.distribution import Distribution


class _Rising(Transform):
    """A function of real numbers that rises, with no parameters."""

    domain: Constraint = constraints.real
    codomain: Constraint = constraints.real
    bijective = True
    sign = 1

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    __hash__ = Transform.__hash__


class ExpTransform(_Rising):
    """``exp(x)``."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return fn.exp(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return fn.log(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class SigmoidTransform(_Rising):
    """``1 / (1 + exp(-x))``, kept away from 0 and 1."""

    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        return fn.clamp(fn.sigmoid(x), min=tiny_of(x), max=1 - eps_of(x))

    def _inverse(self, y: Tensor) -> Tensor:
        y = fn.clamp(y, min=tiny_of(y), max=1 - eps_of(y))
        return fn.log(y) - fn.log1p(-y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -fn.softplus(-x) - fn.softplus(x)


class SoftplusTransform(_Rising):
    """``log(1 + exp(x))``."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return fn.softplus(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return fn.log(-fn.expm1(-y)) + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -fn.softplus(-x)


class TanhTransform(_Rising):
    """``tanh(x)``; ``cache_size=1`` keeps large x exact."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Tensor) -> Tensor:
        return fn.tanh(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return fn.atanh(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # log(1 - tanh(x)²), written so that large x lose nothing.
        return 2.0 * (math.log(2.0) - x - fn.softplus(-2.0 * x))


class AbsTransform(Transform):
    """``|x|``, whose inverse is the number itself."""

    domain = constraints.real
    codomain = constraints.positive

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbsTransform)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return fn.abs(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class PowerTransform(Transform):
    """``x ** exponent`` of positive numbers.

    Args:
        exponent: The exponent, a number or tensor, not 0.
        cache_size: As every transform's.
    """

    domain = constraints.positive
    codomain = constraints.positive
    bijective = True

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.exponent = exponent

    @property
    def sign(self) -> Any:
        return _sign_of(self.exponent)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PowerTransform) and _same(self.exponent, other.exponent)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return x**self.exponent

    def _inverse(self, y: Tensor) -> Tensor:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return fn.log(fn.abs(self.exponent * y / x))

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return broadcast_shapes(tuple(shape), _shape_of(self.exponent))

    inverse_shape = forward_shape


class AffineTransform(Transform):
    """``loc + scale x``.

    Args:
        loc: What is added, a number or tensor.
        scale: What is multiplied by, a number or tensor.
        event_dim: How many axes on the right make one value.
        cache_size: As every transform's.
    """

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def domain(self) -> Constraint:  # type: ignore[override]
        return constraints.independent(constraints.real, self._event_dim) if self._event_dim else constraints.real

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        return self.domain

    @property
    def sign(self) -> Any:
        return _sign_of(self.scale)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AffineTransform) or self._event_dim != other._event_dim:
            return False
        return _same(self.loc, other.loc) and _same(self.scale, other.scale)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.scale, Tensor):
            each = fn.log(fn.abs(self.scale)).expand(broadcast_shapes(tuple(x.shape), tuple(self.scale.shape)))
        else:
            each = fn.full_like(x, math.log(abs(self.scale)))
        return sum_rightmost(each, self._event_dim)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return broadcast_shapes(tuple(shape), _shape_of(self.loc), _shape_of(self.scale))

    inverse_shape = forward_shape


class CumulativeDistributionTransform(Transform):
    """The distribution function of a distribution: it makes its values uniform.

    Args:
        distribution: The distribution, of numbers.
        cache_size: As every transform's.
    """

    bijective = True
    codomain = constraints.unit_interval
    sign = 1

    def __init__(self, distribution: Distribution, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Constraint:  # type: ignore[override]
        return self.distribution.support

    def _call(self, x: Tensor) -> Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.distribution.log_prob(x)


def _sign_of(x: Any) -> Any:
    return fn.sign(x) if isinstance(x, Tensor) else (x > 0) - (x < 0)


def _shape_of(x: Any) -> tuple[int, ...]:
    return tuple(x.shape) if isinstance(x, Tensor) else ()


def _same(a: Any, b: Any) -> bool:
    """Whether two parameters, numbers or tensors, are equal everywhere."""
    return a is b or (_shape_of(a) == _shape_of(b) and bool(fn.all(fn.eq(fn.as_tensor(a), fn.as_tensor(b)))))
