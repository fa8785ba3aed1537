"""Layers that find out at their first call how many channels or features they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec.errors import ArgumentError, RuleMissingError, ShapeError
from tracec.functions import zeros
from tracec.functions.common import integers
from tracec.ir.dtype import DType, int64
from tracec.nn import batchnorm, convolution
from tracec.nn.linear import Linear
from tracec.nn.module import Module
from tracec.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from tracec.record.mode import no_grad
from tracec.record.state import STATE
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


class LazyModuleMixin(Module):
    """Makes a module lazy: `initialize_parameters` is called with the arguments of its first call.

    A class names it before the module's class, makes `UninitializedParameter`s, and gives them their shapes in
    ``initialize_parameters``. After that the module becomes one of the class ``cls_to_become``, if there is one.
    """

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._initialize_hook = self.register_forward_pre_hook(_initialize, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters and buffers shapes and first values, from the arguments of a call."""
        raise RuleMissingError(
            f"initialize_parameters is not implemented for {type(self).__name__}",
            hint="define initialize_parameters(self, ...), which takes what forward takes",
        )

    def has_uninitialized_params(self) -> bool:
        """Whether shapes of parameters or buffers are not known yet."""
        return any(is_lazy(t) for t in (*self._parameters.values(), *self._buffers.values()))


def _initialize(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    # A compiled function is recorded as if the parameters had been there before.
    recorder, STATE.recorder = STATE.recorder, None
    try:
        module.initialize_parameters(*args, **kwargs)
    finally:
        STATE.recorder = recorder
    if module.has_uninitialized_params():
        raise ArgumentError(
            f"{type(module).__name__}: initialize_parameters left parameters uninitialized",
            hint="materialize() each of them there",
        )
    module._initialize_hook.remove()
    del module._initialize_hook
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become


class LazyLinear(LazyModuleMixin, Linear):
    """`Linear`, whose ``in_features`` is the last size of its first input.

    Args:
        out_features: Last size of the result.
        bias: Whether there is a bias.
        device: Where the parameters live.
        dtype: Their element type.
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: DType | None = None) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.bias = UninitializedParameter(device=device, dtype=dtype) if bias else None

    def reset_parameters(self) -> None:
        """Draw the first values again, where there are any."""
        if not self.has_uninitialized_params() and self.in_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take ``in_features`` from an input."""
        if not input.ndim:
            raise ShapeError("LazyLinear: the input is a scalar", hint="it is (..., in_features)")
        self.in_features = input.shape[-1]
        if self.has_uninitialized_params():
            _materialize(self, weight=(self.out_features, self.in_features), bias=(self.out_features,))
            self.reset_parameters()


def _materialize(module: Module, **shapes: tuple[int, ...]) -> None:
    with no_grad():
        for name, shape in shapes.items():
            tensor = getattr(module, name)
            if is_lazy(tensor):
                tensor.materialize(shape)


class _LazyChannels(LazyModuleMixin, convolution._Conv):
    """What lazy convolutions share: ``in_channels`` is the number of channels of the first input."""

    def _wait(self, out_channels: int, bias: bool, device: Any, dtype: DType | None) -> None:
        """Have parameters whose shapes are to come."""
        (out_channels,) = integers(type(self).__name__, (out_channels,), "out_channels")
        if out_channels % self.groups:
            raise ArgumentError(
                f"{type(self).__name__}: {out_channels} output channels do not divide into {self.groups} groups",
                hint="groups divides them",
            )
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.bias = UninitializedParameter(device=device, dtype=dtype) if bias else None

    def reset_parameters(self) -> None:
        """Draw the first values again, where there are any."""
        if not self.has_uninitialized_params() and self.in_channels:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take ``in_channels`` from an input."""
        name, n = type(self).__name__, self.spatial
        if input.ndim not in (n + 1, n + 2):
            raise ShapeError(
                f"{name}: expected {n + 1}D (unbatched) or {n + 2}D (batched) input (got {input.ndim}D input)",
                hint="it is (N, C, ...) or (C, ...)",
            )
        channels = input.shape[-n - 1]
        if channels % self.groups:
            raise ArgumentError(
                f"{name}: {channels} input channels do not divide into {self.groups} groups", hint="groups divides them"
            )
        self.in_channels = channels
        if self.has_uninitialized_params():
            first, second = (channels, self.out_channels) if self.transposed else (self.out_channels, channels)
            _materialize(self, weight=(first, second // self.groups, *self.kernel_size), bias=(self.out_channels,))
            self.reset_parameters()


class _LazyConv(_LazyChannels, convolution._Conv):
    """A lazy convolution.

    Args:
        out_channels: Channels of the result.
        kernel_size: Sizes of the window.
        stride: Steps between windows.
        padding: Elements on both sides, or ``"same"`` or ``"valid"``.
        dilation: Steps between the elements of a window.
        groups: Blocks of channels that do not mix.
        bias: Whether there is a bias.
        padding_mode: What is padded with: ``zeros``, ``reflect``, ``replicate`` or ``circular``.
        device: Where the parameters live.
        dtype: Their element type.
    """

    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._wait(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, convolution.Conv1d):
    """`Conv1d`, whose ``in_channels`` is that of its first input."""

    cls_to_become = convolution.Conv1d


class LazyConv2d(_LazyConv, convolution.Conv2d):
    """`Conv2d`, whose ``in_channels`` is that of its first input."""

    cls_to_become = convolution.Conv2d


class LazyConv3d(_LazyConv, convolution.Conv3d):
    """`Conv3d`, whose ``in_channels`` is that of its first input."""

    cls_to_become = convolution.Conv3d


class _LazyConvTranspose(_LazyChannels, convolution._ConvTranspose):
    """A lazy transposed convolution.

    Args:
        out_channels: Channels of the result.
        kernel_size: Sizes of the window.
        stride: Steps between windows.
        padding: So much is cut off from the result.
        output_padding: Added to one side of the result.
        groups: Blocks of channels that do not mix.
        bias: Whether there is a bias.
        dilation: Steps between the elements of a window.
        padding_mode: Only ``zeros``.
        device: Where the parameters live.
        dtype: Their element type.
    """

    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode)
        self._wait(out_channels, bias, device, dtype)


class LazyConvTranspose1d(_LazyConvTranspose, convolution.ConvTranspose1d):
    """`ConvTranspose1d`, whose ``in_channels`` is that of its first input."""

    cls_to_become = convolution.ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, convolution.ConvTranspose2d):
    """`ConvTranspose2d`, whose ``in_channels`` is that of its first input."""

    cls_to_become = convolution.ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, convolution.ConvTranspose3d):
    """`ConvTranspose3d`, whose ``in_channels`` is that of its first input."""

    cls_to_become = convolution.ConvTranspose3d


class _LazyNorm(LazyModuleMixin, batchnorm._Norm):
    """What lazy norms share: ``num_features`` is the number of channels of the first input.

    Args:
        eps: Added to the variance.
        momentum: Share of a batch in the kept statistics.
        affine: Whether there is a weight.
        track_running_stats: Whether statistics are kept for use outside of training.
        device: Where the parameters live.
        dtype: Their element type.
        bias: Whether there is a bias too.
    """

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        # With nothing to keep, the module's own class makes nothing of the wrong size.
        super().__init__(0, eps, momentum, False, False, bias=bias)
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            self.bias = UninitializedParameter(device=device, dtype=dtype) if bias else None
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = zeros((), dtype=int64, device=device)

    def reset_parameters(self) -> None:
        """Set everything to what it was at first, where there is anything."""
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take ``num_features`` from an input."""
        self._check_input_dim(input)
        self.num_features = input.shape[self._channel_axis(input)]
        if self.has_uninitialized_params():
            names = ("weight", "bias", "running_mean", "running_var")
            _materialize(self, **dict.fromkeys(names, (self.num_features,)))
            self.reset_parameters()


class LazyBatchNorm1d(_LazyNorm, batchnorm.BatchNorm1d):
    """`BatchNorm1d`, whose ``num_features`` is the number of channels of its first input."""

    cls_to_become = batchnorm.BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, batchnorm.BatchNorm2d):
    """`BatchNorm2d`, whose ``num_features`` is the number of channels of its first input."""

    cls_to_become = batchnorm.BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, batchnorm.BatchNorm3d):
    """`BatchNorm3d`, whose ``num_features`` is the number of channels of its first input."""

    cls_to_become = batchnorm.BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, batchnorm.InstanceNorm1d):
    """`InstanceNorm1d`, whose ``num_features`` is the number of channels of its first input."""

    cls_to_become = batchnorm.InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, batchnorm.InstanceNorm2d):
    """`InstanceNorm2d`, whose ``num_features`` is the number of channels of its first input."""

    cls_to_become = batchnorm.InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, batchnorm.InstanceNorm3d):
    """`InstanceNorm3d`, whose ``num_features`` is the number of channels of its first input."""

    cls_to_become = batchnorm.InstanceNorm3d
