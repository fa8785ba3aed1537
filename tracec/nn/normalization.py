"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec import functions as F
from tracec.errors import ArgumentError
from tracec.functions.common import integers
from tracec.ir.dtype import DType
from tracec.nn.batchnorm import register_affine, reset_affine
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.tensor import Tensor


class LayerNorm(Module):
    """The trailing axes normalised to zero mean and unit variance.

    Args:
        normalized_shape: Sizes of these axes, or the size of the last one.
        eps: Added to the variance.
        elementwise_affine: Whether there is a weight.
        bias: Whether there is a bias too.
        device: Where the parameters live.
        dtype: Their element type.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        given = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        shape = integers(type(self).__name__, given, "normalized_shape")
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        made = Parameter(F.ones(shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", made)
        made = Parameter(F.zeros(shape, device=device, dtype=dtype)) if elementwise_affine and bias else None
        self.register_parameter("bias", made)

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(..., *normalized_shape)`` to the same."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """The trailing axes divided by the root of their mean square.

    Args:
        normalized_shape: Sizes of these axes, or the size of the last one.
        eps: Added to the mean square; the dtype's resolution by default.
        elementwise_affine: Whether there is a weight.
        device: Where the weight lives.
        dtype: Its element type.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        given = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        shape = integers(type(self).__name__, given, "normalized_shape")
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        made = Parameter(F.ones(shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", made)

    def reset_parameters(self) -> None:
        """Set the weight to ones."""
        reset_affine(self.weight, None)

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(..., *normalized_shape)`` to the same."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Groups of channels of each example normalised to zero mean and unit variance.

    Args:
        num_groups: Number of groups.
        num_channels: Number of channels.
        eps: Added to the variance.
        affine: Whether there is a weight for each channel.
        device: Where the parameters live.
        dtype: Their element type.
        bias: Whether there is a bias for each channel too.

    Raises:
        ArgumentError: the channels do not divide into groups.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        num_groups, num_channels = integers("GroupNorm", (num_groups, num_channels), "groups and channels")
        if num_groups < 1 or num_channels % num_groups:
            raise ArgumentError(
                f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups",
                hint="num_groups divides num_channels",
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        register_affine(self, num_channels, affine, bias, device, dtype)

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, num_channels, ...)`` to the same."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Elements divided by a power of the mean of squares of the channels around.

    Args:
        size: How many channels count.
        alpha: Factor of the mean.
        beta: The power.
        k: Added to the mean.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, ...)`` to the same."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
