"""Attention."""

from __future__ import annotations

import itertools
import math

from tracec import ops
from tracec.errors import ShapeError
from tracec.functions.arranging import repeat_interleave
from tracec.functions.common import check_floating, check_probability, fail, iota
from tracec.functions.dropout import dropout
from tracec.functions.joining import cat
from tracec.functions.linalg import matmul
from tracec.functions.shape import narrow, transpose
from tracec.ir import dtype as dt
from tracec.ir.extent import is_varying
from tracec.record.autocast import LOWER, under_autocast
from tracec.record.tensor import Tensor

#: Queries of a part of causal attention, at least, and how many parts there are at most.
_LEAST_PART, _MOST_PARTS = 128, 4


@under_autocast(LOWER)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``softmax(query @ key.T * scale + mask) @ value``.

    Args:
        query: Shape ``(..., L, E)``, floating.
        key: Shape ``(..., S, E)``.
        value: Shape ``(..., S, V)``.
        attn_mask: Broadcasts to ``(..., L, S)``; bool says who may be attended to, a float is added.
        dropout_p: Probability of dropping a weight.
        is_causal: Position i attends to positions 0 to i only, as far as ``attn_mask`` lets it.
        scale: ``1 / sqrt(E)`` by default.
        enable_gqa: Heads (axis -3) of key and value each serve several of the query's.

    Returns:
        Shape ``(..., L, V)``. A row that may attend to nothing is zero.

    Raises:
        ShapeError: sizes do not fit.

    Causal attention of many positions is computed in parts of the queries, each with the keys that they see.

    Source: Vaswani et al., "Attention Is All You Need", 2017, eq. 1.
    """
    _check(query, key, value, attn_mask)
    check_probability("scaled_dot_product_attention", dropout_p)
    if enable_gqa:
        _check_groups(query, key, value)
        key, value = (repeat_interleave(x, query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    factor = 1.0 / math.sqrt(query.shape[-1] or 1) if scale is None else scale
    parts = _parts(query.shape[-2], key.shape[-2]) if is_causal else 1
    if parts == 1:
        return _attended(query, key, value, attn_mask, dropout_p, 0 if is_causal else None, factor)
    edges = [-(-query.shape[-2] * k // parts) for k in range(parts + 1)]
    found = []
    for first, last in itertools.pairwise(edges):
        own = narrow(query, -2, first, last - first)
        keys, values = (narrow(x, -2, 0, last) for x in (key, value))
        mask = None if attn_mask is None else _part_of(attn_mask, first, last)
        found.append(_attended(own, keys, values, mask, dropout_p, first, factor))
    return cat(found, -2)


def _parts(rows: int, columns: int) -> int:
    """In how many parts of the queries causal attention is computed.

    The queries of one see no key behind its own last one: with p parts, (p + 1) / 2p of all scores are computed.
    """
    if is_varying((rows, columns)) or rows != columns:
        return 1
    return max(1, min(rows // _LEAST_PART, _MOST_PARTS))


def _part_of(mask: Tensor, first: int, last: int) -> Tensor:
    """What a mask says of some queries and the keys that they see."""
    if mask.ndim > 1 and mask.shape[-2] != 1:
        mask = narrow(mask, -2, first, last - first)
    return narrow(mask, -1, 0, last) if mask.ndim and mask.shape[-1] != 1 else mask


def _attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float, first: int | None, factor: float
) -> Tensor:
    """Attention of some queries, the ``first`` of which is that number among all, if it is causal."""
    scores = ops.mul(matmul(query, transpose(key, -2, -1)), factor)
    rows, columns = scores.shape[-2:]
    if mask is not None and mask.dtype is dt.bool_:
        scores = ops.where(mask, scores, -math.inf)
    elif mask is not None:
        scores = ops.add(scores, mask)
    if first is not None:
        place = iota((rows, 1), 0, dt.int64, scores)
        place = ops.add(place, first) if first else place
        scores = ops.where(ops.ge(place, iota((1, columns), 1, dt.int64, scores)), scores, -math.inf)
    weights = _softmax(scores, safe=mask is not None)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    return matmul(weights, value)


def _softmax(x: Tensor, safe: bool) -> Tensor:
    """Softmax over the last axis; if ``safe``, zeros where every element is minus infinity."""
    if not x.numel():  # nothing is attended to
        return x
    return ops.softmax(x, axes=(x.ndim - 1,), safe=safe)


def _check_groups(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Refuse heads that cannot be shared out."""
    if min(query.ndim, key.ndim, value.ndim) < 3 or any(
        not x.shape[-3] or query.shape[-3] % x.shape[-3] for x in (key, value)
    ):
        shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)}"
        fail(
            ShapeError,
            f"scaled_dot_product_attention: {shapes} with enable_gqa",
            "the number of heads (axis -3) of query is a multiple of that of key and value",
        )


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> None:
    name = "scaled_dot_product_attention"
    for what, t in (("query", query), ("key", key), ("value", value)):
        check_floating(name, t, what)
        if t.ndim < 2:
            fail(ShapeError, f"{name}: {what} of shape {tuple(t.shape)} has no positions", "it is (..., length, width)")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        fail(
            ShapeError,
            f"{name}: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} do not fit",
            "query and key share their last size, key and value the one before",
        )
