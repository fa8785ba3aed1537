"""Transformers over patches of images. Source: Dosovitskiy et al., "An image is worth 16 × 16 words", 2020."""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError, ShapeError
from tracec.vision.models.registry import model, no_bias
from tracec.vision.ops.misc import MLP

_norm = functools.partial(nn.LayerNorm, eps=1e-6)


class _MLP(MLP):
    def __init__(self, width: int, between: int, dropout: float) -> None:
        super().__init__(width, [between, width], activation_layer=nn.GELU, dropout=dropout)
        for layer in (self[0], self[3]):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)


class EncoderBlock(nn.Module):
    """Attention, and two linear layers, each after a norm; and what goes past them.

    Args:
        num_heads: Of the attention.
        hidden_dim: Numbers of each place.
        mlp_dim: Numbers between the linear layers.
        dropout: How often numbers are left out.
        attention_dropout: How often places are left out of the attention.
    """

    def __init__(self, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.ln_1 = _norm(hidden_dim)
        self.self_attention = nn.MultiheadAttention(hidden_dim, num_heads, dropout=attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = _norm(hidden_dim)
        self.mlp = _MLP(hidden_dim, mlp_dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Places, ``(N, L, hidden_dim)``."""
        normed = self.ln_1(x)
        seen, _ = self.self_attention(normed, normed, normed, need_weights=False)
        x = self.dropout(seen) + x
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Blocks of attention over places that know where they are.

    Args:
        seq_length: How many places there are.
        num_layers: How many blocks.
        num_heads: Of the attention.
        hidden_dim: Numbers of each place.
        mlp_dim: Numbers between linear layers.
        dropout: How often numbers are left out.
        attention_dropout: How often places are left out of the attention.
    """

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(tracec.randn(1, seq_length, hidden_dim) * 0.02)
        self.dropout = nn.Dropout(dropout)
        how = (num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
        self.layers = nn.Sequential(OrderedDict((f"encoder_layer_{k}", EncoderBlock(*how)) for k in range(num_layers)))
        self.ln = _norm(hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Places, ``(N, L, hidden_dim)``."""
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """A transformer over the patches of images, and one place more for their class.

    Args:
        image_size: Height and width of images.
        patch_size: Height and width of patches.
        num_layers: How many blocks.
        num_heads: Of the attention.
        hidden_dim: Numbers of each place.
        mlp_dim: Numbers between linear layers.
        dropout: How often numbers are left out.
        attention_dropout: How often places are left out of the attention.
        num_classes: How many numbers come out.

    Raises:
        ArgumentError: images are not made of whole patches.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ArgumentError(
                f"VisionTransformer: image_size={image_size}, patch_size={patch_size}", hint="the one divides the other"
            )
        self.image_size, self.patch_size, self.hidden_dim = image_size, patch_size, hidden_dim
        self.conv_proj = nn.Conv2d(3, hidden_dim, patch_size, patch_size)
        self.class_token = nn.Parameter(tracec.zeros(1, 1, hidden_dim))
        places = (image_size // patch_size) ** 2 + 1
        self.seq_length = places
        self.encoder = Encoder(places, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
        head = nn.Linear(hidden_dim, num_classes)
        self.heads = nn.Sequential(OrderedDict(head=head))
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / (3 * patch_size**2)))
        nn.init.zeros_(head.weight)
        no_bias(head)
        no_bias(self.conv_proj)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, image_size, image_size)`` to ``(N, num_classes)``."""
        if tuple(x.shape[-2:]) != (self.image_size, self.image_size):
            raise ShapeError(
                f"VisionTransformer: images of shape {tuple(x.shape)} for image_size={self.image_size}",
                hint="resize them, or make the model with image_size=…",
            )
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        token = self.class_token.expand(x.shape[0], -1, -1)
        return self.heads(self.encoder(tracec.cat([token, patches], 1))[:, 0])


def _vit(patch: int, layers: int, heads: int, width: int, kwargs: dict[str, Any]) -> VisionTransformer:
    how = {"image_size": 224, "num_layers": layers, "num_heads": heads, "hidden_dim": width, "mlp_dim": 4 * width}
    return VisionTransformer(**{"patch_size": patch, **how, **kwargs})


@model
def vit_b_16(**kwargs: Any) -> VisionTransformer:
    """A `VisionTransformer` of 12 blocks over patches of 16; takes what that takes."""
    return _vit(16, 12, 12, 768, kwargs)


@model
def vit_b_32(**kwargs: Any) -> VisionTransformer:
    """A `VisionTransformer` of 12 blocks over patches of 32; takes what that takes."""
    return _vit(32, 12, 12, 768, kwargs)


@model
def vit_l_16(**kwargs: Any) -> VisionTransformer:
    """A `VisionTransformer` of 24 blocks over patches of 16; takes what that takes."""
    return _vit(16, 24, 16, 1024, kwargs)


@model
def vit_l_32(**kwargs: Any) -> VisionTransformer:
    """A `VisionTransformer` of 24 blocks over patches of 32; takes what that takes."""
    return _vit(32, 24, 16, 1024, kwargs)


@model
def vit_h_14(**kwargs: Any) -> VisionTransformer:
    """A `VisionTransformer` of 32 blocks over patches of 14; takes what that takes."""
    return _vit(14, 32, 16, 1280, kwargs)
