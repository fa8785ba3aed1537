"""Pooling as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec import functions as F
from tracec.nn.module import Module
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


class _MaxPool(Module):
    """What max pools share.

    Args:
        kernel_size: Sizes of the window.
        stride: Steps between windows; the window's sizes by default.
        padding: Minus infinity on both sides.
        dilation: Steps between the elements of a window.
        return_indices: Also give where the elements stand.
        ceil_mode: Also take windows that begin inside and end outside.
    """

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
    """The largest element of each window over one axis."""

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, L)`` to ``(N, C, L')``."""
        return F.max_pool1d(input, *self._options())


class MaxPool2d(_MaxPool):
    """The largest element of each window over two axes."""

    def forward(self, input: Tensor) -> Any:
        """Shape ``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.max_pool2d(input, *self._options())


class _AvgPool(Module):
    """What average pools share.

    Args:
        kernel_size: Sizes of the window.
        stride: Steps between windows; the window's sizes by default.
        padding: Zeros on both sides.
        ceil_mode: Also take windows that begin inside and end outside.
        count_include_pad: Divide by the count of elements with the padding's.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def _options(self) -> tuple[Sizes, Sizes, Sizes, bool, bool]:
        return self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window over one axis."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, L)`` to ``(N, C, L')``."""
        return F.avg_pool1d(input, *self._options())


class AvgPool2d(_AvgPool):
    """The mean of each window over two axes; ``divisor_override`` is divided by instead of the count."""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, H, W)`` to ``(N, C, H', W')``."""
        return F.avg_pool2d(input, *self._options(), divisor_override=self.divisor_override)


class _Adaptive(Module):
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
    """The mean of so many windows over two axes; None keeps an axis."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, H, W)`` to ``(N, C, *output_size)``."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool2d(_Adaptive):
    """The largest element of so many windows over two axes; None keeps an axis."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, H, W)`` to ``(N, C, *output_size)``."""
        return F.adaptive_max_pool2d(input, self.output_size)
