"""The loss of NumPy's log probabilities against classes: each example's own is read, and no other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracec.ir.types import Shape
from tracec.record.compositions import AtOnce

_ADD: Any = np.add


def nll_loss_at_once(ignored: int, reduction: str, smoothing: float) -> AtOnce:
    """Of log probabilities (N, C, ...) or (C,), classes, and a weight of each class where they are given.

    What is kept: the probabilities' shape, where those stand that were read, which of them count (None where all do),
    their weights (None where there are none), and what the sum is multiplied by.
    """

    def forward(logp: Any, target: Any, *weights: Any) -> tuple[Any, Any]:
        shape, zero = _lines(logp.shape), logp.dtype.type(0)
        counts = target != ignored
        counts = None if counts.all() else counts.reshape(shape[0], shape[2])
        at = target.reshape(shape[0], shape[2]).astype(np.int64, copy=False)
        at = at if counts is None else np.where(counts, at, 0)
        place = _places(at, shape)
        loss = logp.reshape(-1).take(place)
        share = weights[0].take(at) if weights else None
        if share is not None:
            loss *= share
        if smoothing:
            lines = logp.reshape(shape)
            lines = lines * weights[0][:, None] if weights else lines
            loss *= logp.dtype.type(1.0 - smoothing)
            loss += _ADD.reduce(lines, axis=1) * logp.dtype.type(smoothing / shape[1])
        loss += zero  # a sum is not -0.0
        np.negative(loss, out=loss)
        if counts is not None:
            loss[~counts] = zero
        kept = logp.shape, place, counts, share
        if reduction == "none":
            return loss.reshape(target.shape), (*kept, None)
        total = _ADD.reduce(loss, axis=None)
        if reduction == "sum":
            return np.asarray(total), (*kept, None)
        every = _sum_of_shares(counts, share, loss)
        return np.asarray(total / every), (*kept, 1 / every)

    def back(
        ct: Any, kept: Any, wanted: Sequence[bool], logp: Any, target: Any, *others: Any
    ) -> list[Any] | None:  # fmt: skip
        weights = others[:-1]
        if any(wanted[1:]):
            return None  # of weights: as operators do
        shape, place, counts, share, factor = kept
        lines, zero = _lines(shape), ct.dtype.type(0)
        given = ct.reshape(place.shape) if ct.ndim else ct
        given = -given if factor is None else given * -factor
        if counts is not None:
            given = np.where(counts, given, zero)
        own = given if share is None else given * share
        if smoothing:
            each = given * ct.dtype.type(smoothing / lines[1])
            of = np.broadcast_to(each, place.shape)[:, None]
            of = of * weights[0][:, None] if weights else np.broadcast_to(of, lines)
            out = np.array(of, order="C").reshape(shape)
            out.reshape(-1)[place] += own * ct.dtype.type(1.0 - smoothing)
        else:
            out = np.zeros(shape, ct.dtype)
            out.reshape(-1)[place] = own
        return [out, None, *[None] * len(weights)]

    return AtOnce(forward, back)


def _lines(shape: Shape) -> Shape:
    """Examples, classes, and places of each."""
    return (1, shape[0], 1) if len(shape) == 1 else (shape[0], shape[1], math.prod(shape[2:]))


def _places(at: Any, shape: Shape) -> Any:
    """Where the elements of classes (N, places) stand among (N, classes, places), row by row."""
    place = np.arange(0, shape[0] * shape[1], shape[1])[:, None] + at
    if shape[2] > 1:
        place *= shape[2]
        place += np.arange(shape[2])
    return place


def _sum_of_shares(counts: Any, share: Any, loss: Any) -> Any:
    if share is None:
        return loss.dtype.type(loss.size if counts is None else np.count_nonzero(counts))
    return _ADD.reduce(share if counts is None else np.where(counts, share, loss.dtype.type(0)), axis=None)
