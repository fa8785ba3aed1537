"""Functions with an inverse and a derivative, of each element by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.record.tensor import Tensor


class Transform:
    """A function of numbers.

    Attributes:
        domain: What may be given.
        codomain: What comes out.
        sign: 1 where it rises, -1 where it falls.
    """

    domain: Constraint = constraints.real
    codomain: Constraint = constraints.real
    sign: int = 1

    def __init__(self, cache_size: int = 0) -> None:
        """Make the function.

        Args:
            cache_size: PyTorch's argument; an inverse is always computed.
        """

    def __call__(self, x: Tensor) -> Tensor:
        """The function's value."""
        raise NotImplementedError

    def inv(self, y: Tensor) -> Tensor:
        """The number whose value this is."""
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm of the absolute derivative, where x is given and y comes out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ExpTransform(Transform):
    """``exp(x)``."""

    codomain = constraints.positive

    def __call__(self, x: Tensor) -> Tensor:
        return fn.exp(x)

    def inv(self, y: Tensor) -> Tensor:
        return fn.log(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class AffineTransform(Transform):
    """``loc + scale x``.

    Args:
        loc: What is added.
        scale: What is multiplied by.
        event_dim: PyTorch's argument; the axes of a value are summed over by the distribution.
        cache_size: PyTorch's argument; an inverse is always computed.
    """

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale = loc, scale

    @property
    def sign(self) -> int:  # type: ignore[override]
        return 1 if float(fn.as_tensor(self.scale).min()) > 0 else -1

    def __call__(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x  # type: ignore[no-any-return]

    def inv(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale  # type: ignore[no-any-return]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.scale, Tensor):
            return fn.log(fn.abs(self.scale)).expand(x.shape)  # type: ignore[no-any-return]
        return fn.full_like(x, math.log(abs(self.scale)))


class SigmoidTransform(Transform):
    """``1 / (1 + exp(-x))``."""

    codomain = constraints.unit_interval

    def __call__(self, x: Tensor) -> Tensor:
        return fn.sigmoid(x)

    def inv(self, y: Tensor) -> Tensor:
        return fn.log(y) - fn.log1p(-y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -fn.softplus(-x) - fn.softplus(x)


class TanhTransform(Transform):
    """``tanh(x)``."""

    codomain = constraints.interval(-1.0, 1.0)

    def __call__(self, x: Tensor) -> Tensor:
        return fn.tanh(x)

    def inv(self, y: Tensor) -> Tensor:
        return fn.atanh(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # log(1 - tanh(x)²), written so that large x lose nothing.
        return 2.0 * (math.log(2.0) - x - fn.softplus(-2.0 * x))


class PowerTransform(Transform):
    """``x ** exponent`` of positive numbers.

    Args:
        exponent: The exponent.
        cache_size: PyTorch's argument; an inverse is always computed.
    """

    domain = constraints.positive
    codomain = constraints.positive

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.exponent = exponent

    def __call__(self, x: Tensor) -> Tensor:
        return x**self.exponent  # type: ignore[no-any-return]

    def inv(self, y: Tensor) -> Tensor:
        return y ** (1 / self.exponent)  # type: ignore[no-any-return]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return fn.log(fn.abs(self.exponent * y / x))


class ComposeTransform(Transform):
    """Several functions, one after the other.

    Args:
        parts: The functions, the first one to be applied first.
        cache_size: PyTorch's argument; an inverse is always computed.
    """

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.parts = list(parts)

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        return self.parts[-1].codomain if self.parts else constraints.real

    @property
    def sign(self) -> int:  # type: ignore[override]
        return math.prod(part.sign for part in self.parts)

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def inv(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total = fn.zeros_like(x)
        for part in self.parts:
            after = part(x)
            total = total + part.log_abs_det_jacobian(x, after)
            x = after
        return total
