"""Attention."""

from __future__ import annotations

import math

from tracec import ops
from tracec.errors import ShapeError
from tracec.functions.arranging import repeat_interleave
from tracec.functions.common import check_floating, check_probability, fail, iota
from tracec.functions.dropout import dropout
from tracec.functions.linalg import matmul
from tracec.functions.shape import transpose
from tracec.ir import dtype as dt
from tracec.record.autocast import LOWER, under_autocast
from tracec.record.tensor import Tensor


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

    Source: Vaswani et al., "Attention Is All You Need", 2017, eq. 1.
    """
    _check(query, key, value, attn_mask)
    check_probability("scaled_dot_product_attention", dropout_p)
    if enable_gqa:
        _check_groups(query, key, value)
        key, value = (repeat_interleave(x, query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = ops.mul(matmul(query, transpose(key, -2, -1)), factor)
    rows, columns = scores.shape[-2:]
    if attn_mask is not None and attn_mask.dtype is dt.bool_:
        scores = ops.where(attn_mask, scores, -math.inf)
    elif attn_mask is not None:
        scores = ops.add(scores, attn_mask)
    if is_causal:
        seen = ops.ge(iota((rows, 1), 0, dt.int64, scores), iota((1, columns), 1, dt.int64, scores))
        scores = ops.where(seen, scores, -math.inf)
    weights = _softmax(scores, safe=attn_mask is not None)
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
