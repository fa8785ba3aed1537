"""Normalisation by channel: batch norms and instance norms, which may keep statistics."""

from __future__ import annotations

from typing import Any

from tracec import functions as F
from tracec.errors import ShapeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class _Norm(Module):
    """What norms by channel share: parameters, and statistics kept for use outside of training.

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
        register_affine(self, num_features, affine, bias, device, dtype)
        for name, make in (("running_mean", F.zeros), ("running_var", F.ones)):
            self.register_buffer(name, make(num_features, device=device, dtype=dtype) if track_running_stats else None)
        count = F.zeros((), dtype=dt.int64, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)

    def _check_input_dim(self, input: Tensor) -> None:
        """Refuse inputs that have another number of axes."""

    def _channel_axis(self, input: Tensor) -> int:
        return 1

    _version = 2

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        # States of before version 2 have no count of batches; the one that is here stays.
        key = f"{prefix}num_batches_tracked"
        if (local_metadata.get("version") or 1) < 2 and self.num_batches_tracked is not None:
            state_dict.setdefault(key, self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def reset_running_stats(self) -> None:
        """Set the kept statistics to what they were at first."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set everything to what it was at first."""
        self.reset_running_stats()
        reset_affine(self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Norm):
    """What batch norms share; arguments and attributes as of any norm by channel."""

    allowed: tuple[int, ...]

    def forward(self, input: Tensor) -> Tensor:
        """Each channel normalised over all other axes: by the batch in training, else by what was kept."""
        self._check_input_dim(input)
        momentum: Any = self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            with no_grad():
                self.num_batches_tracked.add_(1)
                if momentum is None:
                    momentum = 1.0 / self.num_batches_tracked.to(dt.float32)
        # Outside of training by what was kept, also where keeping has been turned off since.
        reads = self.track_running_stats or not self.training
        kept = (self.running_mean, self.running_var) if reads else (None, None)
        by_batch = self.training or kept[0] is None
        share = 0.0 if momentum is None else momentum
        return F.batch_norm(input, *kept, self.weight, self.bias, by_batch, share, self.eps)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in self.allowed:
            dims = " or ".join(map(str, self.allowed))
            raise ShapeError(
                f"{type(self).__name__}: expected {dims}D input (got {input.ndim}D input, shape {tuple(input.shape)})",
                hint="channels are axis 1",
            )


class BatchNorm1d(_BatchNorm):
    """Batch norm of ``(N, C)`` or ``(N, C, L)``; arguments as of `BatchNorm2d`."""

    allowed = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch norm of ``(N, C, H, W)``: each channel normalised over all other axes.

    Args:
        num_features: Number of channels, C.
        eps: Added to the variance.
        momentum: Share of a batch in the kept statistics; None for the mean over all batches.
        affine: Whether there is a weight.
        track_running_stats: Whether statistics are kept, to normalise by outside of training.
        device: Where the parameters live.
        dtype: Their element type.
        bias: Whether there is a bias, where there is a weight.

    Attributes:
        weight: Shape ``(C,)``, ones at first.
        bias: Shape ``(C,)``, zeros at first.
        running_mean: Mean kept, shape ``(C,)``, zeros at first; likewise ``running_var``, ones at first.
        num_batches_tracked: Number of batches seen in training, int64.

    Raises:
        ShapeError: the input has other axes or channels, or a channel one value only in training.
    """

    allowed = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch norm of ``(N, C, D, H, W)``; arguments as of `BatchNorm2d`."""

    allowed = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch norm of ``(N, C, ...)`` over all processes of a group; here there is one process.

    Args:
        num_features: Number of channels.
        eps: Added to the variance.
        momentum: Share of a batch in the kept statistics; None keeps the mean over all batches.
        affine: Whether there is a weight.
        track_running_stats: Whether statistics are kept for use outside of training.
        process_group: Kept as an attribute; with one process, every group is this process.
        device: Where the parameters live.
        dtype: Their element type.
        bias: Whether there is a bias too.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ShapeError(
                f"SyncBatchNorm: expected at least 2D input (got {input.ndim}D input, shape {tuple(input.shape)})",
                hint="channels are axis 1",
            )

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with every batch norm in it replaced by one of this class, which has the same tensors."""
        made = module
        if isinstance(module, _BatchNorm):
            made = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats,
                process_group, bias=module.bias is not None,
            )  # fmt: skip
            made._parameters.update(module._parameters)
            made._buffers.update(module._buffers)
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made


class _InstanceNorm(_Norm):
    """What instance norms share.

    Args:
        num_features: Number of channels.
        eps: Added to the variance.
        momentum: Share of a batch in the kept statistics.
        affine: Whether there is a weight for each channel.
        track_running_stats: Whether statistics are kept for use outside of training.
        device: Where the parameters live.
        dtype: Their element type.
        bias: Whether there is a bias for each channel too.
    """

    spatial: int
    momentum: float

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
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """``(N, num_features, ...)`` or ``(num_features, ...)`` to the same shape."""
        self._check_input_dim(input)
        x = input.unsqueeze(0) if self._channel_axis(input) == 0 else input
        if self.affine and x.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: input of shape {tuple(input.shape)} has {x.shape[1]} channels",
                hint=f"num_features is {self.num_features}",
            )
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, self.momentum, self.eps,
        )  # fmt: skip
        return y.squeeze(0) if x is not input else y

    def _check_input_dim(self, input: Tensor) -> None:
        n = self.spatial
        if input.ndim not in (n + 1, n + 2):
            raise ShapeError(
                f"{type(self).__name__}: expected {n + 1}D or {n + 2}D input (got {input.ndim}D input, shape "
                f"{tuple(input.shape)})",
                hint="it is (N, C, ...) or (C, ...)",
            )

    def _channel_axis(self, input: Tensor) -> int:
        return input.ndim - self.spatial - 1


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each example normalised over its places, ``(N, C, L)`` or ``(C, L)``."""

    spatial = 1


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each example normalised over its places, ``(N, C, H, W)`` or ``(C, H, W)``.

    Args:
        num_features: Number of channels, C.
        eps: Added to the variance.
        momentum: Share of a batch in the kept statistics; None for the mean over all batches.
        affine: Whether there are a weight and a bias; there are none by default.
        track_running_stats: Whether statistics are kept; they are not by default.
        device: Where the parameters live.
        dtype: Their element type.
        bias: Whether there is a bias, where there is a weight.
    """

    spatial = 2


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each example normalised over its places, ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    spatial = 3


def register_affine(module: Module, channels: int, weight: bool, bias: bool, device: Any, dtype: DType | None) -> None:
    """A weight of ones and a bias of zeros, as far as they are asked for."""
    made = Parameter(F.ones(channels, device=device, dtype=dtype)) if weight else None
    module.register_parameter("weight", made)
    made = Parameter(F.zeros(channels, device=device, dtype=dtype)) if weight and bias else None
    module.register_parameter("bias", made)


def reset_affine(weight: Parameter | None, bias: Parameter | None) -> None:
    """Set a weight to ones and a bias to zeros, as far as they are there."""
    with no_grad():
        if weight is not None:
            weight.fill_(1)
        if bias is not None:
            bias.zero_()
