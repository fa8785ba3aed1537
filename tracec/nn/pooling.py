"""Pooling as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec import functions as F
from tracec.errors import ArgumentError
from tracec.functions.common import per_axis
from tracec.nn.module import Module
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


class _MaxPool(Module):
    """What max pools share; arguments as of `MaxPool2d`."""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def _options(self) -> tuple[Any, ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window over one axis; arguments as of `MaxPool2d`."""

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, L)`` to ``(N, C, L')``."""
        return F.max_pool1d(input, *self._options())


class MaxPool2d(_MaxPool):
    """The largest element of each window over two axes, of ``(N, C, H, W)`` or ``(C, H, W)``.

    Args:
        kernel_size: Sizes of the window, ``(height, width)`` or one number for both; so with the sizes below.
        stride: Steps between windows; the window's sizes by default.
        padding: Minus infinity on both sides; at most half of the window.
        dilation: Steps between the elements of a window.
        return_indices: Also give where the elements stand, in row-major order, as `MaxUnpool2d` takes it.
        ceil_mode: Also take windows that begin inside and end outside.
    """

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.max_pool2d(input, *self._options())


class MaxPool3d(_MaxPool):
    """The largest element of each window over three axes; arguments as of `MaxPool2d`."""

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, D, H, W)`` to ``(N, C, D', H', W')``."""
        return F.max_pool3d(input, *self._options())


class _MaxUnpool(Module):
    """What the reverses of max pools share.

    Args:
        kernel_size: Sizes of the window of the pooling.
        stride: Its steps; the window's sizes by default.
        padding: Its padding.
    """

    spatial: int

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        name, n = type(self).__name__, self.spatial
        self.kernel_size = per_axis(name, kernel_size, n, "kernel_size")
        self.stride = self.kernel_size if stride is None else per_axis(name, stride, n, "stride")
        self.padding = per_axis(name, padding, n, "padding")

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """`MaxPool1d` undone: values put where they came from, with zeros around."""

    spatial = 1

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Shape ``(N, C, L')`` to ``(N, C, L)``; ``output_size`` chooses among the sizes that pool to the input's."""
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpool):
    """`MaxPool2d` undone: values put where they came from, with zeros around."""

    spatial = 2

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Shape ``(N, C, H', W')`` to ``(N, C, H, W)``."""
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(_MaxUnpool):
    """`MaxPool3d` undone: values put where they came from, with zeros around."""

    spatial = 3

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Shape ``(N, C, D', H', W')`` to ``(N, C, D, H, W)``."""
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class _AvgPool(Module):
    """What average pools share; arguments as of `AvgPool2d`."""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def _options(self) -> tuple[Sizes, Sizes, Sizes, bool, bool]:
        return self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window over one axis; arguments as of `AvgPool2d`, without ``divisor_override``."""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        kernel = per_axis("AvgPool1d", kernel_size, 1, "kernel_size")
        step = None if stride is None else per_axis("AvgPool1d", stride, 1, "stride")
        pads = per_axis("AvgPool1d", padding, 1, "padding")
        super().__init__(kernel, step, pads, ceil_mode, count_include_pad)
        del self.divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, L)`` to ``(N, C, L')``."""
        return F.avg_pool1d(input, *self._options())


class AvgPool2d(_AvgPool):
    """The mean of each window over two axes, of ``(N, C, H, W)`` or ``(C, H, W)``.

    Args:
        kernel_size: Sizes of the window, ``(height, width)`` or one number for both; so with the sizes below.
        stride: Steps between windows; the window's sizes by default.
        padding: Zeros on both sides; at most half of the window.
        ceil_mode: Also take windows that begin inside and end outside.
        count_include_pad: Whether padding counts among the elements.
        divisor_override: What is divided by instead of the number of elements.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.avg_pool2d(input, *self._options(), divisor_override=self.divisor_override)


class AvgPool3d(_AvgPool):
    """The mean of each window over three axes; arguments as of `AvgPool2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, D, H, W)`` to ``(N, C, D', H', W')``."""
        return F.avg_pool3d(input, *self._options(), divisor_override=self.divisor_override)


class _LPPool(Module):
    """What power-average pools share.

    Args:
        norm_type: The power p of ``(sum of x^p)^(1/p)``.
        kernel_size: Sizes of the window.
        stride: Steps between windows; the window's sizes by default.
        ceil_mode: Also take windows that begin inside and end outside.
    """

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def _options(self) -> tuple[float, Sizes, Sizes | None, bool]:
        return self.norm_type, self.kernel_size, self.stride, self.ceil_mode

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The p-norm of each window over one axis."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, L)`` to ``(N, C, L')``."""
        return F.lp_pool1d(input, *self._options())


class LPPool2d(_LPPool):
    """The p-norm of each window over two axes."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.lp_pool2d(input, *self._options())


class LPPool3d(_LPPool):
    """The p-norm of each window over three axes."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, D, H, W)`` to ``(N, C, D', H', W')``."""
        return F.lp_pool3d(input, *self._options())


class _FractionalMaxPool(Module):
    """What fractional max pools share.

    Args:
        kernel_size: Sizes of the window.
        output_size: How many windows along each axis; this or ``output_ratio``.
        output_ratio: How many for each element of the input, between 0 and 1.
        return_indices: Also give where the elements stand.
        _random_samples: Numbers from 0 to 1 that the windows lie by; drawn at each call by default.

    Raises:
        ArgumentError: neither or both of output_size and output_ratio are given, or the ratio is not between 0 and 1.

    Source: Graham, "Fractional Max-Pooling", 2014.
    """

    spatial: int

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name, n = type(self).__name__, self.spatial
        if (output_size is None) == (output_ratio is None):
            raise ArgumentError(
                f"{name}: output_size={output_size} and output_ratio={output_ratio}", hint="give one of the two"
            )
        self.kernel_size = per_axis(name, kernel_size, n, "kernel_size")
        self.return_indices = return_indices
        self.output_size = None if output_size is None else per_axis(name, output_size, n, "output_size")
        self.output_ratio = output_ratio
        if output_ratio is not None:
            ratios = (output_ratio,) * n if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
            if len(ratios) != n or not all(0 < r < 1 for r in ratios):
                raise ArgumentError(
                    f"{name}: output_ratio={output_ratio} is not between 0 and 1", hint=f"give one ratio or {n}"
                )
            self.output_ratio = ratios
        self.register_buffer("_random_samples", _random_samples)

    def _options(self) -> tuple[Any, ...]:
        drawn = self._random_samples
        return self.kernel_size, self.output_size, self.output_ratio, self.return_indices, drawn


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of windows that lie at random over two axes."""

    spatial = 2

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.fractional_max_pool2d(input, *self._options())


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest element of windows that lie at random over three axes."""

    spatial = 3

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, D, H, W)`` to ``(N, C, D', H', W')``."""
        return F.fractional_max_pool3d(input, *self._options())


class _Adaptive(Module):
    """What adaptive pools share.

    Args:
        output_size: How many windows along each axis, or one number for all of them; None keeps a size.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The mean of so many windows over one axis."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, L)`` to ``(N, C, output_size)``."""
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """The mean of so many windows over two axes, of ``(N, C, H, W)`` or ``(C, H, W)``.

    Args:
        output_size: Sizes of the result, ``(height, width)`` or one number for both; None keeps an axis.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, H, W)`` to ``(N, C, *output_size)``."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_Adaptive):
    """The mean of so many windows over three axes; None keeps an axis."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, D, H, W)`` to ``(N, C, *output_size)``."""
        return F.adaptive_avg_pool3d(input, self.output_size)


class _AdaptiveMax(_Adaptive):
    """What adaptive max pools share; with ``return_indices`` they also give where the elements stand."""

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest element of so many windows over one axis."""

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, L)`` to ``(N, C, output_size)``."""
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The largest element of so many windows over two axes; None keeps an axis.

    Args:
        output_size: Sizes of the result, ``(height, width)`` or one number for both; None keeps an axis.
        return_indices: Also give where the elements stand.
    """

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, H, W)`` to ``(N, C, *output_size)``."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """The largest element of so many windows over three axes; None keeps an axis."""

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, D, H, W)`` to ``(N, C, *output_size)``."""
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)
