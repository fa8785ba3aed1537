"""Transformers: encoder and decoder layers, stacks of them, and both together."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from tracec.errors import ArgumentError, ShapeError
from tracec.functions import full, triu
from tracec.ir.dtype import DType
from tracec.nn import functional as F
from tracec.nn import init
from tracec.nn.containers import ModuleList
from tracec.nn.dropout import Dropout
from tracec.nn.linear import Linear
from tracec.nn.module import Module
from tracec.nn.multihead import MultiheadAttention
from tracec.nn.normalization import LayerNorm
from tracec.record.tensor import Tensor

Activation = str | Callable[[Tensor], Tensor]


def _activation(given: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(given, str):
        return given
    if given not in ("relu", "gelu"):
        raise ArgumentError(f"activation should be relu/gelu, not {given}", hint="or give a function")
    return F.relu if given == "relu" else F.gelu


class _Layer(Module):
    """What encoder and decoder layers share: attention and feed-forward blocks, with a sum and a norm around each.

    Args:
        d_model: Last size of inputs and results.
        nhead: Heads of the attention.
        dim_feedforward: Width between the two linear layers.
        dropout: Probability of dropping an element, in training.
        activation: ``relu``, ``gelu``, or a function; between the two linear layers.
        layer_norm_eps: Added to variances.
        batch_first: Inputs are ``(N, L, d_model)`` instead of ``(L, N, d_model)``.
        norm_first: Whether norms come before the blocks instead of behind the sums.
        bias: Whether linear layers and norms have biases.
        device: Where the parameters live.
        dtype: Their element type.
    """

    attentions: tuple[str, ...] = ()

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        for name in self.attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, **made))
        self.linear1 = Linear(d_model, dim_feedforward, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **made)
        self.norm_first = norm_first
        blocks = range(1, len(self.attentions) + 2)
        for k in blocks:
            setattr(self, f"norm{k}", LayerNorm(d_model, eps=layer_norm_eps, **made))
        for k in blocks:
            setattr(self, f"dropout{k}", Dropout(dropout))
        self.activation = _activation(activation)

    def _around(self, norm: Module, x: Tensor, block: Callable[..., Tensor], *options: Any, **hint: Any) -> Tensor:
        """A block, with its sum and norm."""
        found: Tensor
        if self.norm_first:
            found = x + block(norm(x), *options, **hint)
        else:
            found = norm(x + block(x, *options, **hint))
        return found

    # The blocks have PyTorch's names and arguments: layers that are made of these put others for them.
    def _sa_block(
        self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool = False
    ) -> Tensor:
        """Self-attention, with its dropout."""
        return self._attended(
            self.self_attn, self.dropout1, x, x,
            attn_mask=attn_mask, key_padding_mask=key_padding_mask, is_causal=is_causal,
        )  # fmt: skip

    def _attended(self, attention: Module, dropout: Module, x: Tensor, to: Tensor, **options: Any) -> Tensor:
        found: Tensor = dropout(attention(x, to, to, **options, need_weights=False)[0])
        return found

    def _fed_forward(self, x: Tensor, dropout: Module) -> Tensor:
        found: Tensor = dropout(self.linear2(self.dropout(self.activation(self.linear1(x)))))
        return found


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward block; options as `TransformerDecoderLayer`.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.1; ``norm_first`` as Xiong et al., "On Layer
    Normalization in the Transformer Architecture", 2020.
    """

    attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """One layer.

        Args:
            src: Shape ``(L, N, d_model)``, ``(N, L, d_model)`` if ``batch_first``, or ``(L, d_model)``.
            src_mask: Who must not look where; see `MultiheadAttention`.
            src_key_padding_mask: Positions that are ignored.
            is_causal: A hint that ``src_mask``, which must be there, is causal.
        """
        x = self._around(self.norm1, src, self._sa_block, src_mask, src_key_padding_mask, is_causal=is_causal)
        return self._around(self.norm2, x, self._ff_block)

    def _ff_block(self, x: Tensor) -> Tensor:
        """The two linear layers, with their dropout."""
        return self._fed_forward(x, self.dropout2)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to a memory, and a feed-forward block.

    Args:
        d_model: Last size of inputs and results.
        nhead: Heads of the attention.
        dim_feedforward: Width between the two linear layers.
        dropout: Probability of dropping an element, in training.
        activation: ``relu``, ``gelu``, or a function; between the two linear layers.
        layer_norm_eps: Added to variances.
        batch_first: Inputs are ``(N, L, d_model)`` instead of ``(L, N, d_model)``.
        norm_first: Whether norms come before the blocks instead of behind the sums.
        bias: Whether linear layers and norms have biases.
        device: Where the parameters live.
        dtype: Their element type.

    Source: as `TransformerEncoderLayer`.
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """One layer.

        Args:
            tgt: Shape ``(L, N, d_model)``, ``(N, L, d_model)`` if ``batch_first``, or ``(L, d_model)``.
            memory: What the encoder gave, likewise with a length of its own.
            tgt_mask: Who must not look where; see `MultiheadAttention`.
            memory_mask: Who must not look where in the memory.
            tgt_key_padding_mask: Positions that are ignored.
            memory_key_padding_mask: Positions of the memory that are ignored.
            tgt_is_causal: A hint that ``tgt_mask``, which must be there, is causal.
            memory_is_causal: A hint that ``memory_mask``, which must be there, is causal.
        """
        x = self._around(self.norm1, tgt, self._sa_block, tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        x = self._around(
            self.norm2, x, self._mha_block, memory, memory_mask, memory_key_padding_mask, memory_is_causal
        )  # fmt: skip
        return self._around(self.norm3, x, self._ff_block)

    def _mha_block(
        self,
        x: Tensor,
        mem: Tensor,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool = False,
    ) -> Tensor:
        """Attention to the memory, with its dropout."""
        return self._attended(
            self.multihead_attn, self.dropout2, x, mem,
            attn_mask=attn_mask, key_padding_mask=key_padding_mask, is_causal=is_causal,
        )  # fmt: skip

    def _ff_block(self, x: Tensor) -> Tensor:
        """The two linear layers, with their dropout."""
        return self._fed_forward(x, self.dropout3)


class _Stack(Module):
    """Copies of a layer, one after the other."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm


class TransformerEncoder(_Stack):
    """A stack of encoder layers.

    Args:
        encoder_layer: The layer that is copied.
        num_layers: How many copies there are.
        norm: Applied to the result.
        enable_nested_tensor: Taken as in PyTorch, with no effect: padding is computed like the rest.
        mask_check: Taken as in PyTorch, with no effect.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """All layers; arguments as `TransformerEncoderLayer`'s."""
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=bool(is_causal), src_key_padding_mask=src_key_padding_mask)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(_Stack):
    """A stack of decoder layers.

    Args:
        decoder_layer: The layer that is copied.
        num_layers: How many copies there are.
        norm: Applied to the result.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """All layers; arguments as `TransformerDecoderLayer`'s."""
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder, and a decoder that attends to what it gives.

    Args:
        d_model: Last size of inputs and results.
        nhead: Heads of the attention.
        num_encoder_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder.
        dim_feedforward: Width between the two linear layers of a layer.
        dropout: Probability of dropping an element, in training.
        activation: ``relu``, ``gelu``, or a function.
        custom_encoder: An encoder to take instead.
        custom_decoder: A decoder to take instead.
        layer_norm_eps: Added to variances.
        batch_first: Inputs are ``(N, L, d_model)`` instead of ``(L, N, d_model)``.
        norm_first: Whether norms come before the blocks instead of behind the sums.
        bias: Whether linear layers and norms have biases.
        device: Where the parameters live.
        dtype: Their element type.

    Source: Vaswani et al., "Attention Is All You Need", 2017.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        options: Any = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        layout: Any = {"batch_first": batch_first, "norm_first": norm_first, "bias": bias, **made}

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made)

        if custom_encoder is None:
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*options, **layout), num_encoder_layers, norm())
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*options, **layout), num_decoder_layers, norm())
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """What the decoder makes of the target and the encoded source.

        Args:
            src: Shape ``(S, N, d_model)``, ``(N, S, d_model)`` if ``batch_first``, or ``(S, d_model)``.
            tgt: Shape ``(T, N, d_model)``, likewise.
            src_mask: Who must not look where in the source; see `MultiheadAttention`.
            tgt_mask: Likewise in the target.
            memory_mask: Likewise from target to source.
            src_key_padding_mask: Positions of the source that are ignored.
            tgt_key_padding_mask: Positions of the target that are ignored.
            memory_key_padding_mask: Positions of the encoded source that are ignored.
            src_is_causal: A hint that ``src_mask`` is causal.
            tgt_is_causal: A hint that ``tgt_mask`` is causal.
            memory_is_causal: A hint that ``memory_mask`` is causal.

        Returns:
            The target's shape.

        Raises:
            ShapeError: source and target do not fit.
        """
        batch = 0 if self.batch_first else 1
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            self._refuse(src, tgt, f"the feature number of src and tgt must be equal to d_model, {self.d_model}")
        if src.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            self._refuse(src, tgt, "the batch number of src and tgt must be equal")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        found: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return found

    def _refuse(self, src: Tensor, tgt: Tensor, why: str) -> None:
        raise ShapeError(f"Transformer: src of shape {tuple(src.shape)} and tgt of shape {tuple(tgt.shape)}", hint=why)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: DType | None = None) -> Tensor:
        """A causal mask of shape ``(sz, sz)``: 0 where a position may look, minus infinity at those behind it."""
        return triu(full((sz, sz), -math.inf, device=device, dtype=dtype), 1)
