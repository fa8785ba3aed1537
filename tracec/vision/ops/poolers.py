"""What boxes hold of images at several sizes: of the one that fits them.

Source: Lin et al., "Feature Pyramid Networks", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.ops.interpolated import rows_of
from tracec.vision.ops.roi import Levels, align, pair, with_images


class MultiScaleRoIAlign(nn.Module):
    """`roi_align` of each box at the size of images that fits the box's.

    Args:
        featmap_names: Which images are looked at.
        output_size: How many bins there are, down and to the right.
        sampling_ratio: As that of `roi_align`.
        canonical_scale: The side of a box that belongs to ``canonical_level``.
        canonical_level: How often images of that size were halved.

    Source: the paper, eq. 1.
    """

    def __init__(
        self,
        featmap_names: Sequence[str],
        output_size: int | Sequence[int],
        sampling_ratio: int,
        *,
        canonical_scale: int = 224,
        canonical_level: int = 4,
    ) -> None:
        super().__init__()
        self.featmap_names, self.output_size = list(featmap_names), pair(output_size)
        self.sampling_ratio = sampling_ratio
        self.canonical_scale, self.canonical_level = canonical_scale, canonical_level

    def forward(
        self, x: Mapping[str, Tensor], boxes: Sequence[Tensor], image_shapes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """What boxes hold, ``(K, C, *output_size)``.

        Args:
            x: Images by their names, ``(N, C, H, W)``, the largest first.
            boxes: Of each of the N images, ``(L, 4)``.
            image_shapes: Height and width of what boxes are measured in, of each of the N.

        Raises:
            ArgumentError: none of the images is to be looked at, or there are no sizes.
        """
        images = [image for name, image in x.items() if name in self.featmap_names]
        if not images or not image_shapes:
            raise ArgumentError(
                f"MultiScaleRoIAlign: images {list(x)} for {self.featmap_names}, and {len(image_shapes)} sizes",
                hint="an image of these names, and a size for each of the batch",
            )
        rows = with_images("MultiScaleRoIAlign", boxes)
        tallest = max(shape[0] for shape in image_shapes)
        scales = [2.0 ** round(math.log2(image.shape[-2] / tallest)) for image in images]
        levels = self._levels(images, rows, scales)
        return align(levels, rows, self.output_size, self.sampling_ratio, 0.0, 1.0).permute(0, 3, 1, 2)

    def _levels(self, images: Sequence[Tensor], rows: Tensor, scales: Sequence[float]) -> Levels:
        """All images' pixels in one, and where each box's are, so that one gather reads all."""
        least, most = int(-math.log2(scales[0])), int(-math.log2(scales[-1]))
        sides = rows[:, 3:] - rows[:, 1:3]
        near = (sides.prod(1).sqrt() / self.canonical_scale).log2() + self.canonical_level + 1e-6
        level = near.floor().clamp(least, most).nan_to_num(least).long() - least
        level = level.clamp(max=len(images) - 1)
        device, sizes = rows.device, [tuple(int(n) for n in image.shape[-2:]) for image in images]
        begins, done = [], 0
        for image, (height, width) in zip(images, sizes, strict=True):
            begins.append(done)
            done += image.shape[0] * height * width
        begin, tall, wide = (
            tracec.tensor(values, device=device)[level]
            for values in (begins, [size[0] for size in sizes], [size[1] for size in sizes])
        )
        scale = tracec.tensor(scales, dtype=rows.dtype, device=device)[level]
        # index_select, which takes no negative numbers
        number = tracec.arange(images[0].shape[0], device=device).index_select(0, rows[:, 0].long())
        pixels = tracec.cat([rows_of(image) for image in images])
        return Levels(pixels, begin + number * tall * wide, tall, wide, scale)

    def extra_repr(self) -> str:
        return (
            f"featmap_names={self.featmap_names}, output_size={self.output_size}, sampling_ratio={self.sampling_ratio}"
        )


__all__ = ["MultiScaleRoIAlign"]
