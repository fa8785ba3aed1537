"""Boxes: rows of left, top, right and bottom."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tracec
from tracec import Tensor
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError


def _check(name: str, boxes: Any) -> None:
    if not isinstance(boxes, Tensor):
        raise ArgumentTypeError(f"{name}: boxes are a tensor, {type(boxes).__name__} given", hint="(N, 4)")
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ShapeError(f"{name}: boxes of shape {tuple(boxes.shape)}", hint="(N, 4)")


def box_area(boxes: Tensor) -> Tensor:
    """The areas of boxes, ``(N,)``.

    Args:
        boxes: ``(N, 4)``.
    """
    _check("box_area", boxes)
    left, top, right, bottom = boxes.unbind(-1)
    return (right - left) * (bottom - top)


def _shared(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of what each of N and each of M boxes have in common, and of what either has, ``(N, M)``."""
    first, second = one[:, None], other[None]
    sides = tracec.minimum(first[..., 2:], second[..., 2:]) - tracec.maximum(first[..., :2], second[..., :2])
    common = sides.clamp(min=0).prod(-1)
    return common, box_area(one)[:, None] + box_area(other)[None] - common


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """What boxes have in common as a share of what either has, ``(N, M)``.

    Args:
        boxes1: ``(N, 4)``.
        boxes2: ``(M, 4)``.
    """
    _check("box_iou", boxes1)
    _check("box_iou", boxes2)
    common, either = _shared(boxes1, boxes2)
    return common / either


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """`box_iou` less the share of the smallest box around both that neither has. Source: Rezatofighi et al., 2019."""
    _check("generalized_box_iou", boxes1)
    _check("generalized_box_iou", boxes2)
    common, either = _shared(boxes1, boxes2)
    first, second = boxes1[:, None], boxes2[None]
    around = tracec.maximum(first[..., 2:], second[..., 2:]) - tracec.minimum(first[..., :2], second[..., :2])
    hull = around.prod(-1)
    return common / either - (hull - either) / hull


def _apart(one: Tensor, other: Tensor, eps: float) -> Tensor:
    """The distance of boxes' middles as a share of the diagonal of the smallest box around both, both squared."""
    around = tracec.maximum(one[..., 2:], other[..., 2:]) - tracec.minimum(one[..., :2], other[..., :2])
    middles = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    return middles.square().sum(-1) / (around.square().sum(-1) + eps)


def _unlike(one: Tensor, other: Tensor, iou: Tensor, eps: float) -> Tensor:
    """How unlike boxes' shapes are, weighted by how well they fit."""
    angles = [((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1])).atan() for b in (one, other)]
    v = 4 / math.pi**2 * (angles[1] - angles[0]).square()
    return (v / (1 - iou + v + eps)).detach() * v


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """`box_iou` less how far apart middles are, ``(N, M)``. Source: Zheng et al., "Distance-IoU loss", 2019.

    Args:
        boxes1: ``(N, 4)``.
        boxes2: ``(M, 4)``.
        eps: Added to squares of diagonals.
    """
    return box_iou(boxes1, boxes2) - _apart(boxes1[:, None], boxes2[None], eps)


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """`distance_box_iou` less how unlike shapes are; takes what that takes."""
    iou = box_iou(boxes1, boxes2)
    one, other = boxes1[:, None], boxes2[None]
    return iou - _apart(one, other, eps) - _unlike(one, other, iou, eps)


def _loss(name: str, one: Tensor, other: Tensor, reduction: str, eps: float, kind: str) -> Tensor:
    """The loss of each box of one tensor to that of the other."""
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f"{name}: reduction={reduction!r}", hint="give 'none', 'mean' or 'sum'")
    _check(name, one)
    _check(name, other)
    one, other = (b if b.dtype in (tracec.float32, tracec.float64) else b.float() for b in (one, other))
    low, high = tracec.maximum(one[..., :2], other[..., :2]), tracec.minimum(one[..., 2:], other[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    either = box_area(one) + box_area(other) - common
    iou = common / (either + eps)
    if kind == "generalized":
        around = tracec.maximum(one[..., 2:], other[..., 2:]) - tracec.minimum(one[..., :2], other[..., :2])
        hull = around.prod(-1)
        loss = 1 - iou + (hull - either) / (hull + eps)
    else:
        loss = 1 - iou + _apart(one, other, eps)
        if kind == "complete":
            loss = loss + _unlike(one, other, iou, eps)
    if reduction == "mean" and loss.numel():
        return loss.mean()
    return loss if reduction == "none" else loss.sum()


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 less `generalized_box_iou` of each box and that at the same place.

    Args:
        boxes1: ``(N, 4)``.
        boxes2: Alike.
        reduction: ``none``, ``mean`` or ``sum``.
        eps: Added to areas.

    Raises:
        ArgumentError: the reduction is not known.
    """
    return _loss("generalized_box_iou_loss", boxes1, boxes2, reduction, eps, "generalized")


def distance_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 less `distance_box_iou` of each box and that at the same place; see `generalized_box_iou_loss`."""
    return _loss("distance_box_iou_loss", boxes1, boxes2, reduction, eps, "distance")


def complete_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 less `complete_box_iou` of each box and that at the same place; see `generalized_box_iou_loss`."""
    return _loss("complete_box_iou_loss", boxes1, boxes2, reduction, eps, "complete")


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """The numbers of boxes whose sides are both at least so long.

    Args:
        boxes: ``(N, 4)``.
        min_size: How long.
    """
    _check("remove_small_boxes", boxes)
    return ((boxes[..., 2:] - boxes[..., :2]) >= min_size).all(-1).nonzero()[:, 0]


def masks_to_boxes(masks: Tensor) -> Tensor:
    """The smallest boxes around masks, from the first to the last pixel; zeros around an empty one.

    Args:
        masks: Not zero where they are, ``(N, H, W)``.

    Returns:
        float32, ``(N, 4)``.

    Raises:
        ShapeError: there are more or fewer axes.
    """
    if not isinstance(masks, Tensor) or masks.ndim != 3:
        raise ShapeError(f"masks_to_boxes: masks of shape {tuple(getattr(masks, 'shape', ()))}", hint="(N, H, W)")
    if not masks.numel():
        return tracec.zeros(masks.shape[0], 4, device=masks.device)
    found = []
    for axis in (1, 2):  # over rows: columns; over columns: rows
        some = (masks != 0).any(axis)
        places = tracec.arange(some.shape[1], device=masks.device)
        first = tracec.where(some, places, some.shape[1]).amin(1)
        found.append((first * some.any(1), tracec.where(some, places, 0).amax(1)))
    (left, right), (top, bottom) = found
    return tracec.stack([left, top, right, bottom], 1).to(tracec.float32)


_FORMS = ("xyxy", "xywh", "cxcywh")


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Boxes in another form.

    Args:
        boxes: ``(N, 4)``.
        in_fmt: ``xyxy`` (left, top, right, bottom), ``xywh`` (left, top, width, height) or ``cxcywh`` (middle, width,
            height).
        out_fmt: Alike.

    Raises:
        ArgumentError: a form is not known.
    """
    _check("box_convert", boxes)
    if in_fmt not in _FORMS or out_fmt not in _FORMS:
        raise ArgumentError(f"box_convert: from {in_fmt!r} to {out_fmt!r}", hint=f"forms are {', '.join(_FORMS)}")
    if in_fmt == out_fmt:
        return boxes.clone()
    one, two = boxes[..., :2], boxes[..., 2:]
    if in_fmt == "xywh":
        two = one + two
    elif in_fmt == "cxcywh":
        one, two = one - 0.5 * two, one + 0.5 * two
    if out_fmt == "xywh":
        two = two - one
    elif out_fmt == "cxcywh":
        one, two = (one + two) / 2, two - one
    return tracec.cat([one, two], -1)


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes cut off at the border of an image.

    Args:
        boxes: ``(N, 4)``.
        size: The image's height and width.
    """
    _check("clip_boxes_to_image", boxes)
    height, width = size
    left, top, right, bottom = boxes.unbind(-1)
    columns, rows = (
        [n.clamp(0, most) for n in pair] for pair, most in (((left, right), width), ((top, bottom), height))
    )
    return tracec.stack([columns[0], rows[0], columns[1], rows[1]], -1)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """The numbers of boxes that are kept, the best first, where those that a better one covers go.

    Args:
        boxes: ``(N, 4)``.
        scores: How good each is, ``(N,)``.
        iou_threshold: How large a share makes it covered; see `box_iou`.

    Raises:
        ShapeError: there is not one score for each box.
    """
    _check("nms", boxes)
    if boxes.ndim != 2 or not isinstance(scores, Tensor) or tuple(scores.shape) != (len(boxes),):
        raise ShapeError(
            f"nms: boxes of shape {tuple(boxes.shape)} and scores of shape {tuple(getattr(scores, 'shape', ()))}",
            hint="(N, 4) and (N,)",
        )
    order = scores.argsort(descending=True, stable=True)
    covers = (box_iou(boxes[order], boxes[order]) > iou_threshold).cpu().numpy()
    left = np.ones(len(boxes), bool)
    kept = []
    for k in range(len(boxes)):  # each depends on all before it
        if left[k]:
            kept.append(k)
            left &= ~covers[k]
    return order[tracec.tensor(kept, dtype=tracec.int64, device=order.device)]


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """`nms` of each class by itself.

    Args:
        boxes: ``(N, 4)``.
        scores: How good each is, ``(N,)``.
        idxs: The class of each, ``(N,)``.
        iou_threshold: How large a share makes a box covered by a better one of its class.
    """
    _check("batched_nms", boxes)
    if not len(boxes):
        return tracec.zeros(0, dtype=tracec.int64, device=boxes.device)
    # Classes beside each other have nothing in common.
    apart = (boxes.max() - boxes.min() + 1) * idxs.to(boxes.dtype)
    return nms(boxes + apart[:, None], scores, iou_threshold)


__all__ = [
    "batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "complete_box_iou",
    "complete_box_iou_loss", "distance_box_iou", "distance_box_iou_loss", "generalized_box_iou",
    "generalized_box_iou_loss", "masks_to_boxes", "nms", "remove_small_boxes",
]  # fmt: skip
