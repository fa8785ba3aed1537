"""Images in other sizes, channels and pixels exchanged, and patches, as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec.functions.common import check_number
from tracec.nn import functional as F
from tracec.nn.module import Module
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


class Upsample(Module):
    """A signal, image or volume in another size.

    Args:
        size: Sizes of the result's spatial axes; this or ``scale_factor``.
        scale_factor: What the sizes are multiplied by and rounded down.
        mode: As `interpolate` has it: ``nearest``, ``linear``, ``bilinear``, ``bicubic``, ``trilinear``, ….
        align_corners: Whether the centres of the elements at the corners meet, and not their outer edges.
        recompute_scale_factor: Whether the factor that positions are worked out with is that of the rounded sizes.
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        several = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,)
        for factor in several if scale_factor is not None else ():
            check_number(type(self).__name__, factor, "scale_factor")
        self.scale_factor: Any = None
        if scale_factor is not None:
            factors = tuple(map(float, several))
            self.scale_factor = factors if several is scale_factor else factors[0]
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, ...)`` to the same with other spatial sizes."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        given = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{given}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """An image in another size, by the nearest elements.

    Args:
        size: Sizes of the result; this or ``scale_factor``.
        scale_factor: What the sizes are multiplied by and rounded down.
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """An image in another size, linear in both axes, with the corners aligned.

    Args:
        size: Sizes of the result; this or ``scale_factor``.
        scale_factor: What the sizes are multiplied by and rounded down.
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """Channels made pixels: ``(*, C r², H, W)`` to ``(*, C, H r, W r)``, r being the factor."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(*, C r², H, W)`` to ``(*, C, H r, W r)``."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels made channels: ``(*, C, H r, W r)`` to ``(*, C r², H, W)``, r being the factor."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(*, C, H r, W r)`` to ``(*, C r², H, W)``."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channels dealt out: the first of each group, then the second of each, and so on."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, ...)`` to the same."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class _Patches(Module):
    """What taking patches and putting them back share.

    Args:
        kernel_size: Sizes of a patch.
        dilation: Steps between the elements of a patch.
        padding: Zeros on both sides.
        stride: Steps between patches.
    """

    def __init__(self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Unfold(_Patches):
    """Patches of images as columns."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, H, W)`` to ``(N, C KH KW, patches)``."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(_Patches):
    """Patches added up where `Unfold` took them from.

    Args:
        output_size: Sizes of the result.
        kernel_size: Sizes of a patch.
        dilation: Steps between the elements of a patch.
        padding: What was put on both sides before the patches were taken; it is cut off.
        stride: Steps between patches.
    """

    def __init__(
        self,
        output_size: Sizes,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C KH KW, patches)`` to ``(N, C, H, W)``."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
