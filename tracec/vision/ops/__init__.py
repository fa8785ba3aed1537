"""Functions of boxes that models and their losses need, under torchvision's names."""

from __future__ import annotations

from tracec.vision.ops.boxes import (
    batched_nms,
    box_area,
    box_convert,
    box_iou,
    clip_boxes_to_image,
    generalized_box_iou,
    nms,
)
from tracec.vision.ops.misc import FrozenBatchNorm2d

__all__ = [
    "FrozenBatchNorm2d", "batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image",
    "generalized_box_iou", "nms",
]  # fmt: skip
