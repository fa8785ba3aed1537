"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec import functions as F
from tracec.errors import ArgumentError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.tape import no_grad
from tracec.record.tensor import Tensor


class _BatchNorm(Module):
    """What batch norms share.

    Args:
        num_features: Number of channels.
        eps: Added to the variance.
        momentum: Share of a batch in the kept statistics; None keeps the mean over all batches.
        affine: Whether there is a weight.
        track_running_stats: Whether statistics are kept for use outside of training.
        device: Where the parameters live.
        dtype: Their element type.
        bias: Whether there is a bias too.

    Attributes:
        weight: Scale of each channel, ones at first.
        bias: Added to each channel, zeros at first.
        running_mean: Mean kept, zeros at first.
        running_var: Variance kept, ones at first.
        num_batches_tracked: Number of batches seen in training.
    """

    allowed: tuple[int, ...]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        _register_affine(self, num_features, affine, bias, device, dtype)
        for name, make in (("running_mean", F.zeros), ("running_var", F.ones)):
            self.register_buffer(name, make(num_features, device=device, dtype=dtype) if track_running_stats else None)
        count = F.zeros((), dtype=dt.int64, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Set the kept statistics to what they were at first."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set everything to what it was at first."""
        self.reset_running_stats()
        with no_grad():
            if self.weight is not None:
                self.weight.fill_(1)
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, input: Tensor) -> Tensor:
        """Each channel normalised over all other axes: by the batch in training, else by what was kept."""
        self._check(input)
        momentum: Any = self.momentum
        if self.training and self.num_batches_tracked is not None:
            with no_grad():
                self.num_batches_tracked.add_(1)
                if momentum is None:
                    momentum = 1.0 / self.num_batches_tracked.to(dt.float32)
        kept = (self.running_mean, self.running_var) if self.track_running_stats else (None, None)
        by_batch = self.training or kept[0] is None
        share = 0.0 if momentum is None else momentum
        return F.batch_norm(input, *kept, self.weight, self.bias, by_batch, share, self.eps)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.allowed:
            dims = " or ".join(map(str, self.allowed))
            raise ShapeError(
                f"{type(self).__name__}: expected {dims}D input (got {input.ndim}D input, shape {tuple(input.shape)})",
                hint="channels are axis 1",
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch norm of ``(N, C)`` or ``(N, C, L)``."""

    allowed = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch norm of ``(N, C, H, W)``."""

    allowed = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch norm of ``(N, C, D, H, W)``."""

    allowed = (5,)


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
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        made = Parameter(F.ones(shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", made)
        made = Parameter(F.zeros(shape, device=device, dtype=dtype)) if elementwise_affine and bias else None
        self.register_parameter("bias", made)

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        with no_grad():
            if self.weight is not None:
                self.weight.fill_(1)
            if self.bias is not None:
                self.bias.zero_()

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
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        made = Parameter(F.ones(shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", made)

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
        if num_groups < 1 or num_channels % num_groups:
            raise ArgumentError(
                f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups",
                hint="num_groups divides num_channels",
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        _register_affine(self, num_channels, affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, num_channels, ...)`` to the same."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class InstanceNorm2d(Module):
    """Each channel of each example normalised over its places, shape ``(N, C, H, W)``.

    Args:
        num_features: Number of channels.
        eps: Added to the variance.
        momentum: Without effect: no statistics are kept.
        affine: Whether there is a weight for each channel.
        track_running_stats: Only False is supported.
        device: Where the parameters live.
        dtype: Their element type.
        bias: Whether there is a bias for each channel too.

    Raises:
        ArgumentError: statistics are asked to be kept.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if track_running_stats:
            raise ArgumentError("InstanceNorm2d: track_running_stats is not supported", hint="leave it off")
        self.num_features, self.eps, self.momentum, self.affine = num_features, eps, momentum, affine
        self.track_running_stats = track_running_stats
        _register_affine(self, num_features, affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, num_features, H, W)`` to the same."""
        return F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats=False"
        )


def _register_affine(module: Module, channels: int, weight: bool, bias: bool, device: Any, dtype: DType | None) -> None:
    """A weight of ones and a bias of zeros, as far as they are asked for."""
    made = Parameter(F.ones(channels, device=device, dtype=dtype)) if weight else None
    module.register_parameter("weight", made)
    made = Parameter(F.zeros(channels, device=device, dtype=dtype)) if weight and bias else None
    module.register_parameter("bias", made)
