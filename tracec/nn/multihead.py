"""Multi-head attention as a module."""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentError
from tracec.functions import empty, transpose
from tracec.functions.multihead import multi_head_attention_forward
from tracec.ir.dtype import DType
from tracec.nn import init
from tracec.nn.linear import Linear
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.tensor import Tensor


class NonDynamicallyQuantizableLinear(Linear):
    """`Linear`, under the name that PyTorch prints for the last projection of an attention."""


class MultiheadAttention(Module):
    """Attention of several heads between projections of the inputs.

    Args:
        embed_dim: Last size of queries and results, E.
        num_heads: Heads, which E is divided among.
        dropout: Probability of dropping a weight, in training.
        bias: Whether the projections have biases.
        add_bias_kv: Add a learned key and value to every sequence.
        add_zero_attn: Add a key and a value of zeros.
        kdim: Last size of keys, if not E.
        vdim: Last size of values, if not E.
        batch_first: Inputs are ``(N, L, E)`` instead of ``(L, N, E)``.
        device: Where the parameters live.
        dtype: Their element type.

    Attributes:
        in_proj_weight: Weights of query, key and value below each other, shape ``(3 E, E)``; None where key or value
            have another size, and then ``q_proj_weight``, ``k_proj_weight`` and ``v_proj_weight`` are there.
        in_proj_bias: Shape ``(3 E,)``.
        out_proj: The last projection.
        bias_k: Shape ``(1, 1, E)``, or None; likewise ``bias_v``.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads:
            raise ArgumentError(
                f"MultiheadAttention: embed_dim={embed_dim}, num_heads={num_heads}",
                hint="both are positive, and embed_dim must be divisible by num_heads",
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        shapes = {
            "q_proj_weight": (embed_dim, embed_dim),
            "k_proj_weight": (embed_dim, self.kdim),
            "v_proj_weight": (embed_dim, self.vdim),
            "in_proj_weight": (3 * embed_dim, embed_dim),
        }
        for name, shape in shapes.items():
            used = self._qkv_same_embed_dim == (name == "in_proj_weight")
            self.register_parameter(name, Parameter(empty(shape, device=device, dtype=dtype)) if used else None)
        in_bias = Parameter(empty(3 * embed_dim, device=device, dtype=dtype)) if bias else None
        self.register_parameter("in_proj_bias", in_bias)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            made = Parameter(empty(1, 1, embed_dim, device=device, dtype=dtype)) if add_bias_kv else None
            self.register_parameter(name, made)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for w in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if w is not None:
                init.xavier_uniform_(w)
        for b in (self.in_proj_bias, self.out_proj.bias):
            if b is not None:
                init.zeros_(b)
        for b in (self.bias_k, self.bias_v):
            if b is not None:
                init.xavier_normal_(b)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            query: Shape ``(L, N, E)``, ``(N, L, E)`` if ``batch_first``, or ``(L, E)``.
            key: Shape ``(S, N, kdim)``, likewise.
            value: Shape ``(S, N, vdim)``, likewise.
            key_padding_mask: Shape ``(N, S)`` or ``(S,)``: True where a key is ignored, or floats that are added.
            need_weights: Whether the weights are given back; faster without.
            attn_mask: Shape ``(L, S)`` or ``(N * num_heads, L, S)``: True where a query must not look, or floats that
                are added.
            average_attn_weights: Whether the weights are averaged over the heads.
            is_causal: A hint that ``attn_mask``, which must be there, is causal.

        Returns:
            The result, laid out as the query, and the weights ``(N, L, S)``, ``(N, num_heads, L, S)`` if not
            averaged, or None.
        """
        swapped = self.batch_first and query.ndim == 3
        if swapped:
            # What is one tensor stays one, so that it is projected at once.
            made = {id(x): transpose(x, 0, 1) for x in (query, key, value)}
            query, key, value = made[id(query)], made[id(key)], made[id(value)]
        out, weights = multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (transpose(out, 0, 1) if swapped else out), weights
