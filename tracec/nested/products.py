"""Matrix products of nested tensors, and attention over them."""

from __future__ import annotations

from typing import Any

import tracec.functions as F
import tracec.nn.functional as NF
from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import fail, filled, iota
from tracec.ir import dtype as dt
from tracec.nested.jagged import NestedTensor, check_nested, handles
from tracec.record.tensor import Tensor


@handles("matmul", "bmm")
def matmul(input: Any, other: Any) -> Any:
    """Products along the last axes.

    Of a nested tensor and a matrix, or one matrix for each tensor of the list; and of two nested tensors along their
    ragged axis, which gives a dense one.

    Raises:
        ShapeError: others.
    """
    if isinstance(input, NestedTensor) and isinstance(other, NestedTensor):
        if input.is_cut_as(other) and input._axis == input.ndim - 1 and other._axis == other.ndim - 2:
            length = input._max_seqlen
            return F.matmul(input.padded(0.0, length), other.padded(0.0, length))
        _refuse(input, other)
    if not isinstance(input, NestedTensor) or not isinstance(other, Tensor) or input._axis == input.ndim - 1:
        _refuse(input, other)
    if other.ndim in (1, 2):
        found = F.matmul(input._data, other)
        return input.with_data(found)
    if other.ndim == input.ndim and other.shape[0] == input._sizes[0]:
        return input.unpadded(F.matmul(input.padded(0.0, input._max_seqlen), other))
    _refuse(input, other)


def _refuse(input: Any, other: Any) -> None:
    shapes = f"{tuple(input.shape)} and {tuple(other.shape)}" if hasattr(other, "shape") else type(other).__name__
    fail(ShapeError, f"matmul(): not supported between inputs of shapes {shapes}", NestedTensor.way_out)


@handles("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Attention within each tensor of the list: shapes ``(B, H, ragged, width)``.

    Args:
        query: A nested tensor.
        key: A nested tensor, cut alike or otherwise.
        value: A nested tensor, cut as ``key`` is.
        attn_mask: Only None is supported.
        dropout_p: How often a weight is left out.
        is_causal: Whether a place sees only those up to its own.
        scale: Factor of the scores; by default one over the root of the width.
        enable_gqa: Whether several heads of the query share one of key and value.
    """
    name = "scaled_dot_product_attention"
    for x, what in ((query, "query"), (key, "key"), (value, "value")):
        check_nested(name, x, what)
        if x.ndim != 4 or x._axis != 2:
            fail(ShapeError, f"{name}: {what} of shape {tuple(x.shape)}", "it is (B, H, ragged, width)")
    if attn_mask is not None:
        fail(ArgumentError, f"{name}: attn_mask with nested tensors", "leave it out, or use padded tensors")
    if not key.is_cut_as(value) or query._sizes[0] != key._sizes[0]:
        fail(ShapeError, f"{name}: key {tuple(key.shape)} and value {tuple(value.shape)}", "they are cut alike")
    rows, columns = query._max_seqlen, key._max_seqlen
    mask = _inside(key, columns)[:, None, None, :]
    if is_causal:
        i, j = iota((rows, 1), 0, dt.int64, key._places[0]), iota((1, columns), 1, dt.int64, key._places[0])
        mask = ops.bitwise_and(mask, ops.le(j, i))
    dense = NF.scaled_dot_product_attention(
        query.padded(0.0, rows), key.padded(0.0, columns), value.padded(0.0, columns), mask, dropout_p, False,
        scale=scale, enable_gqa=enable_gqa,
    )  # fmt: skip
    return query.unpadded(dense)


def _inside(x: NestedTensor, length: int) -> Tensor:
    """Which places of the padded tensors are elements, shape ``(tensors, length)``."""
    which, place = x.rows()
    no = filled(False, x._places[0], (x._sizes[0], length), dt.bool_)
    return F.index_put(no, (which, place), F.tensor(True, device=x.device))
