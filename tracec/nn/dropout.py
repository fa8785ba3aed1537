"""Dropouts as modules."""

from __future__ import annotations

from tracec.errors import ArgumentError
from tracec.nn import functional as F
from tracec.nn.module import Module
from tracec.record.tensor import Tensor


class _Dropout(Module):
    """What dropouts share.

    Args:
        p: Probability of an element to be zeroed.
        inplace: Write the result into the input.

    Raises:
        ArgumentError: p is not a probability.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ArgumentError(f"{type(self).__name__}: p={p} is not a probability", hint="give a number from 0 to 1")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, each element zeroed with probability p, the others divided by 1 - p.

    Args:
        p: The probability, from 0 to 1.
        inplace: Write the result into the input.

    Raises:
        ArgumentError: p is not a probability.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input's shape."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """In training, whole channels of (N, C, L) zeroed.

    Args:
        p: The probability, from 0 to 1.
        inplace: Write the result into the input.

    Raises:
        ArgumentError: p is not a probability.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input's shape."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """In training, whole channels of (N, C, H, W) zeroed.

    Args:
        p: The probability, from 0 to 1.
        inplace: Write the result into the input.

    Raises:
        ArgumentError: p is not a probability.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input's shape."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """In training, whole channels of (N, C, D, H, W) zeroed.

    Args:
        p: The probability, from 0 to 1.
        inplace: Write the result into the input.

    Raises:
        ArgumentError: p is not a probability.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input's shape."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """In training, elements set to what `SELU` saturates at; mean and variance are kept."""

    def forward(self, input: Tensor) -> Tensor:
        """The input's shape."""
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels."""

    def forward(self, input: Tensor) -> Tensor:
        """The input's shape."""
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
