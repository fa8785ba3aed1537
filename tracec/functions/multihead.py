"""Multi-head attention, with all of its projections."""

from __future__ import annotations

import math
from typing import NamedTuple, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.attention import scaled_dot_product_attention
from tracec.functions.common import check_floating, check_tensor, fail, filled, one_integer, reshaped
from tracec.functions.convolution import linear
from tracec.functions.dropout import dropout
from tracec.functions.joining import cat
from tracec.functions.linalg import matmul
from tracec.functions.shape import between, transpose
from tracec.functions.softmax import softmax
from tracec.functions.splitting import chunk
from tracec.record.tensor import Tensor

_NAME = "multi_head_attention_forward"


class _Sizes(NamedTuple):
    """Sizes of an attention: batch, heads, and positions that attend and that are attended to."""

    batch: int
    heads: int
    queries: int
    keys: int


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads between projections of the inputs.

    Args:
        query: Shape ``(L, N, E)`` or ``(L, E)``, floating.
        key: Shape ``(S, N, E)`` or ``(S, E)``; with separate weights its last size may be another.
        value: Likewise.
        embed_dim_to_check: E.
        num_heads: Heads, which E is divided among.
        in_proj_weight: The weights of query, key and value below each other, shape ``(3 E, E)``.
        in_proj_bias: Likewise, shape ``(3 E,)``.
        bias_k: A key that is added to every sequence, shape ``(1, 1, E)``.
        bias_v: Its value.
        add_zero_attn: Add a key and a value of zeros.
        dropout_p: Probability of dropping a weight, in training.
        out_proj_weight: Shape ``(E, E)``.
        out_proj_bias: Shape ``(E,)``.
        training: Whether weights are dropped.
        key_padding_mask: Shape ``(N, S)`` or ``(S,)``: True where a key is ignored, or floats that are added.
        need_weights: Whether the weights are given back; faster without.
        attn_mask: Shape ``(L, S)`` or ``(N * heads, L, S)``: True where a query must not look, or floats that are
            added.
        use_separate_proj_weight: Take the three weights that follow instead of ``in_proj_weight``.
        q_proj_weight: Shape ``(E, E)``.
        k_proj_weight: Shape ``(E, key's last size)``.
        v_proj_weight: Shape ``(E, value's last size)``.
        static_k: Projected keys to take instead, shape ``(N * heads, S, E / heads)``.
        static_v: Projected values to take instead.
        average_attn_weights: Whether the weights are averaged over the heads.
        is_causal: A hint that ``attn_mask``, which must be there, is causal.

    Returns:
        Shape ``(L, N, E)`` or ``(L, E)``, and the weights ``(N, L, S)``, ``(N, heads, L, S)`` if not averaged, or None.

    Raises:
        ShapeError: sizes do not fit.
        ArgumentError: arguments contradict each other.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.
    """
    _check(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    single = query.ndim == 2
    if single:
        query, key, value = _batched(query, key, value)
        if key_padding_mask is not None:
            key_padding_mask = reshaped(key_padding_mask, (1, *key_padding_mask.shape))
    if is_causal and attn_mask is None:
        fail(ArgumentError, f"{_NAME}: is_causal without attn_mask", "it is a hint about the mask: give both")
    sizes = _Sizes(query.shape[1], num_heads, query.shape[0], key.shape[0])
    masks = _masks(attn_mask, key_padding_mask, sizes, query)
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias, separate)
    k, v = _with_biases(k, v, bias_k, bias_v)
    q, k, v = (_heads(x, sizes) for x in (q, k, v))
    k, v = _given(static_k, k, sizes, "static_k"), _given(static_v, v, sizes, "static_v")
    if add_zero_attn:
        k, v = (cat([x, filled(0.0, x, (*x.shape[:2], 1, x.shape[3]))], 2) for x in (k, v))
    mask = _merged(masks, k.shape[2])
    p, causal = dropout_p if training else 0.0, is_causal and key_padding_mask is None
    mixed, weights = _attended(q, k, v, mask, p, causal, need_weights)
    rows = reshaped(ops.transpose(mixed, perm=(2, 0, 1, 3)), tuple(query.shape))
    out = linear(rows, out_proj_weight, out_proj_bias)
    if weights is not None and average_attn_weights:
        weights = ops.div(ops.sum(weights, axes=(1,)), num_heads)
    if single:
        out = reshaped(out, (out.shape[0], out.shape[2]))
        weights = None if weights is None else reshaped(weights, tuple(weights.shape[1:]))
    return out, weights


def _batched(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs with a batch of one; what is one tensor stays one."""
    made = {id(x): reshaped(x, (x.shape[0], 1, x.shape[1])) for x in (query, key, value)}
    return made[id(query)], made[id(key)], made[id(value)]


def _check(query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, separate: bool) -> None:
    for what, x in (("query", query), ("key", key), ("value", value)):
        check_floating(_NAME, x, what)
    if one_integer(_NAME, heads, "num_heads") < 1:
        fail(ArgumentError, f"{_NAME}: num_heads={heads} is not positive", "give 1 or more")
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)}"
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        fail(ShapeError, f"{_NAME}: {shapes}", "all three are (length, batch, width), or (length, width)")
    if query.shape[-1] != width or width % heads:
        fail(ShapeError, f"{_NAME}: {shapes} for embed_dim {width} and {heads} heads", "heads divide query's last size")
    same = slice(0, -1) if separate else slice(None)
    if key.shape[same] != value.shape[same] or (query.ndim == 3 and query.shape[1] != key.shape[1]):
        fail(ShapeError, f"{_NAME}: {shapes} do not fit", "key and value have one shape, and query's batch")


def _projected(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    separate: tuple[Tensor | None, ...] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    if bias is not None and tuple(bias.shape) != (3 * query.shape[2],):
        fail(
            ShapeError,
            f"{_NAME}: in_proj_bias has shape {tuple(bias.shape)}, not ({3 * query.shape[2]},)",
            "those of query, key and value below each other",
        )
    biases = (None,) * 3 if bias is None else chunk(bias, 3)
    if separate is not None:
        if any(w is None for w in separate):
            fail(ArgumentError, f"{_NAME}: separate weights are asked for and not given", "give q, k and v_proj_weight")
        q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), separate, biases, strict=True))  # type: ignore[arg-type]
        return q, k, v
    if weight is None:
        fail(ArgumentError, f"{_NAME}: in_proj_weight is missing", "give it, or use_separate_proj_weight")
    if query is key and key is value:
        # One product for all three.
        q, k, v = chunk(linear(query, weight, bias), 3, -1)
        return q, k, v
    parts = chunk(weight, 3)
    if key is value:
        width = query.shape[-1]
        both = linear(
            key, between(weight, 0, width, 3 * width), None if bias is None else between(bias, 0, width, 3 * width)
        )
        k, v = chunk(both, 2, -1)
        return linear(query, parts[0], biases[0]), k, v
    q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), parts, biases, strict=True))
    return q, k, v


def _with_biases(k: Tensor, v: Tensor, bias_k: Tensor | None, bias_v: Tensor | None) -> tuple[Tensor, Tensor]:
    """Keys and values, each with one more behind."""
    if (bias_k is None) != (bias_v is None):
        fail(ArgumentError, f"{_NAME}: only one of bias_k and bias_v is given", "give both or none")
    if bias_k is None or bias_v is None:
        return k, v
    check_tensor(_NAME, bias_k, "bias_k")
    check_tensor(_NAME, bias_v, "bias_v")
    width = (1, *k.shape[1:])
    return cat([k, ops.expand(bias_k, shape=width)]), cat([v, ops.expand(bias_v, shape=width)])


def _attended(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float, causal: bool, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """What the queries get of the values, and with which weights, if those are asked for."""
    if not need_weights:
        return scaled_dot_product_attention(q, k, v, None if causal else mask, p, causal), None
    scores = matmul(ops.mul(q, 1.0 / math.sqrt(q.shape[3])), transpose(k, 2, 3))
    weights = dropout(softmax(scores if mask is None else ops.add(scores, mask), -1), p)
    return matmul(weights, v), weights


def _heads(x: Tensor, sizes: _Sizes) -> Tensor:
    """Shape (length, batch, heads * width) as (batch, heads, length, width)."""
    apart = reshaped(x, (x.shape[0], sizes.batch, sizes.heads, x.shape[2] // sizes.heads))
    return ops.transpose(apart, perm=(1, 2, 0, 3))


def _given(static: Tensor | None, made: Tensor, sizes: _Sizes, what: str) -> Tensor:
    if static is None:
        return made
    width = made.shape[3]
    if static.ndim != 3 or static.shape[0] != sizes.batch * sizes.heads or static.shape[2] != width:
        fail(
            ShapeError,
            f"{_NAME}: {what} has shape {tuple(static.shape)}",
            f"it is ({sizes.batch * sizes.heads}, S, {width}) here",
        )
    return reshaped(static, (sizes.batch, sizes.heads, static.shape[1], width))


def _masks(attn: Tensor | None, padding: Tensor | None, sizes: _Sizes, like: Tensor) -> list[Tensor]:
    """The masks as what is added to scores of shape (batch, heads, queries, keys)."""
    found = []
    for what, mask in (("attn_mask", attn), ("key_padding_mask", padding)):
        if mask is not None:
            check_tensor(_NAME, mask, what)
    if attn is not None:
        attn = _added("attn_mask", attn, like)
        shapes = {
            (sizes.queries, sizes.keys): (1, 1),
            (sizes.batch * sizes.heads, sizes.queries, sizes.keys): sizes[:2],
        }
        lead = shapes.get(tuple(attn.shape))
        if lead is None:
            _refuse_mask("attn_mask", attn, " or ".join(map(str, shapes)))
        found.append(reshaped(attn, (*lead, sizes.queries, sizes.keys)))
    if padding is not None:
        padding = _added("key_padding_mask", padding, like)
        if tuple(padding.shape) != (sizes.batch, sizes.keys):
            _refuse_mask("key_padding_mask", padding, str((sizes.batch, sizes.keys)))
        found.append(reshaped(padding, (sizes.batch, 1, 1, sizes.keys)))
    return found


def _refuse_mask(what: str, mask: Tensor, wanted: str) -> NoReturn:
    fail(ShapeError, f"{_NAME}: {what} has shape {tuple(mask.shape)}", f"it should be {wanted} here")


def _added(what: str, mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype.kind == "b":
        return ops.where(mask, -math.inf, filled(0.0, like, (1,) * mask.ndim))
    if not mask.dtype.is_floating_point:
        fail(DTypeError, f"{_NAME}: {what} is {mask.dtype.name}", "masks are bool, or floats that are added")
    return mask


def _merged(masks: list[Tensor], keys: int) -> Tensor | None:
    """The sum of the masks; keys that were added behind are seen by all."""
    total = None
    for mask in masks:
        more = keys - mask.shape[3]
        if more:
            mask = ops.pad(mask, low=(0, 0, 0, 0), high=(0, 0, 0, more), value=0.0)
        total = mask if total is None else ops.add(total, mask)
    return total
