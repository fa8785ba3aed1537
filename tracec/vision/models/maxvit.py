"""Convolutions, attention within windows, and attention over a grid of far places, in turn.

Source: Tu et al., "MaxViT", 2022.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.errors import ArgumentError, ShapeError
from tracec.vision.models.registry import model, no_bias
from tracec.vision.models.swin_transformer import relative_places
from tracec.vision.ops.misc import Conv2dNormActivation, SqueezeExcitation, StochasticDepth

Layer = Callable[..., nn.Module]


def _halved(size: Sequence[int]) -> tuple[int, int]:
    """What a convolution of stride 2 leaves."""
    height, width = size
    return (height + 1) // 2, (width + 1) // 2


class _MBConv(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, stride: int, drop: float, ratios: tuple[float, float], norm: Layer, act: Layer
    ) -> None:
        super().__init__()
        self.proj: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            shrink = [nn.AvgPool2d(3, stride, 1)] if stride == 2 else []
            self.proj = nn.Sequential(*shrink, nn.Conv2d(inputs, outputs, 1))
        between, squeezed = (int(outputs * ratio) for ratio in ratios)
        self.stochastic_depth: nn.Module = StochasticDepth(drop, "row") if drop else nn.Identity()
        how: Any = {"activation_layer": act, "norm_layer": norm, "inplace": None}
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            pre_norm=norm(inputs),
            conv_a=Conv2dNormActivation(inputs, between, 1, **how),
            conv_b=Conv2dNormActivation(between, between, 3, stride, groups=between, **how),
            squeeze_excitation=SqueezeExcitation(between, squeezed, activation=nn.SiLU),
            conv_c=nn.Conv2d(between, outputs, 1),
        )
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """The image after the block, and what goes past it."""
        return self.proj(x) + self.stochastic_depth(self.layers(x))


class RelativePositionalMultiHeadAttention(nn.Module):
    """Attention within groups of places, of which each two know how they lie to each other.

    Args:
        feat_dim: Channels.
        head_dim: Channels of each head.
        max_seq_len: How many places a group has, those of a square.
    """

    def __init__(self, feat_dim: int, head_dim: int, max_seq_len: int) -> None:
        super().__init__()
        if feat_dim % head_dim:
            raise ArgumentError(f"MaxVit: {feat_dim} channels, head_dim={head_dim}", hint="the one divides the other")
        side = round(max_seq_len**0.5)
        self.n_heads, self.head_dim, self.max_seq_len = feat_dim // head_dim, head_dim, max_seq_len
        self.to_qkv = nn.Linear(feat_dim, 3 * feat_dim)
        # Of all channels, not of each head's: so were the published weights trained.
        self.scale_factor = feat_dim**-0.5
        self.merge = nn.Linear(feat_dim, feat_dim)
        table = tracec.zeros((2 * side - 1) ** 2, self.n_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", tracec.tensor(relative_places(side, side), dtype=tracec.int64))

    def forward(self, x: Tensor) -> Tensor:
        """What places see, ``(N, groups, max_seq_len, feat_dim)``."""
        parts = self.to_qkv(x).unflatten(-1, (3, self.n_heads, self.head_dim)).permute(3, 0, 1, 4, 2, 5)
        queries, keys, values = parts.unbind(0)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        scores = queries @ (keys * self.scale_factor).transpose(-2, -1) + bias
        return self.merge((F.softmax(scores, -1) @ values).transpose(2, 3).flatten(3))


class _Partition(nn.Module):
    """Attention and two linear layers over windows, or over a grid of as many places as a window has.

    Args:
        channels: Of the image.
        head_dim: Of each head of the attention.
        side: Of a group of places.
        grid: Whether a group's places are as far apart as possible; else next to each other.
        widening: How many times as many numbers are between the linear layers.
        drops: How often numbers after the attention, after the linear layers, and either as a whole are left out.
        act: Makes an activation.
    """

    def __init__(
        self,
        channels: int,
        head_dim: int,
        side: int,
        grid: bool,
        widening: int,
        drops: tuple[float, float, float],
        act: Layer,
    ) -> None:
        super().__init__()
        self.side, self.grid = side, grid
        attention = RelativePositionalMultiHeadAttention(channels, head_dim, side**2)
        self.attn_layer = nn.Sequential(nn.LayerNorm(channels), attention, nn.Dropout(drops[0]))
        first, second = nn.Linear(channels, channels * widening), nn.Linear(channels * widening, channels)
        self.mlp_layer = nn.Sequential(nn.LayerNorm(channels), first, act(), second, nn.Dropout(drops[1]))
        self.stochastic_dropout = StochasticDepth(drops[2], "row")

    def forward(self, x: Tensor) -> Tensor:
        """The image, ``(N, channels, H, W)``."""
        count, channels, height, width = x.shape
        if height % self.side or width % self.side:
            raise ShapeError(
                f"MaxVit: {height} by {width} pixels in groups of {self.side} by {self.side}",
                hint="images are of the size that the model was made for: MaxVit(input_size=…)",
            )
        # (N, C, rows, p, columns, q): of windows p and q are within; of the grid rows and columns are.
        down, right = (self.side,) * 2 if not self.grid else (height // self.side, width // self.side)
        split = x.view(count, channels, height // down, down, width // right, right)
        order = (0, 3, 5, 2, 4, 1) if self.grid else (0, 2, 4, 3, 5, 1)
        apart = split.permute(*order)
        y = apart.reshape(count, -1, self.side**2, channels)
        y = y + self.stochastic_dropout(self.attn_layer(y))
        y = y + self.stochastic_dropout(self.mlp_layer(y))
        back = tuple(int(k) for k in np.argsort(order))
        return y.view(apart.shape).permute(*back).reshape(x.shape)


class MaxVit(nn.Module):
    """Stages of convolutions and both kinds of attention, each half as large as the one before.

    Args:
        input_size: Height and width of images.
        stem_channels: Of the first convolutions.
        partition_size: The side of windows and of grids.
        block_channels: Of each stage.
        block_layers: How many layers each stage has.
        head_dim: Channels of each head of the attention.
        stochastic_depth_prob: How often the last layer's parts are left out while training; those before less.
        norm_layer: Makes a norm for so many channels.
        activation_layer: Makes an activation.
        squeeze_ratio: Numbers that say how channels are scaled, as a share of the block's output.
        expansion_ratio: How many times as many channels are within convolutions.
        mlp_ratio: How many times as many numbers are between the linear layers.
        mlp_dropout: How often numbers after them are left out.
        attention_dropout: How often numbers after the attention are.
        num_classes: How many numbers come out.

    Raises:
        ArgumentError: a stage's image is not made of whole windows.
    """

    def __init__(
        self,
        input_size: Sequence[int],
        stem_channels: int,
        partition_size: int,
        block_channels: Sequence[int],
        block_layers: Sequence[int],
        head_dim: int,
        stochastic_depth_prob: float,
        norm_layer: Layer | None = None,
        activation_layer: Layer = nn.GELU,
        squeeze_ratio: float = 0.25,
        expansion_ratio: float = 4,
        mlp_ratio: int = 4,
        mlp_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        norm = norm_layer or functools.partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        act, size = activation_layer, _halved(input_size)
        for k, _ in enumerate(block_channels):
            size = _halved(size)
            if size[0] % partition_size or size[1] % partition_size:
                raise ArgumentError(
                    f"MaxVit: input_size={tuple(input_size)} makes stage {k} {size[0]} by {size[1]}",
                    hint=f"each stage's height and width are multiples of partition_size={partition_size}",
                )
        plain: Any = {"norm_layer": None, "activation_layer": None}
        first = Conv2dNormActivation(3, stem_channels, 3, 2, norm_layer=norm, activation_layer=act, inplace=None)
        self.stem = nn.Sequential(first, Conv2dNormActivation(stem_channels, stem_channels, 3, **plain))
        self.partition_size = partition_size
        drops = iter(np.linspace(0, stochastic_depth_prob, sum(block_layers)).tolist())
        self.blocks, inputs = nn.ModuleList(), stem_channels
        for width, count in zip(block_channels, block_layers, strict=True):
            layers = nn.ModuleList()
            for k in range(count):
                drop = next(drops)
                more = (mlp_ratio, (attention_dropout, mlp_dropout, drop), act)
                ratios = (expansion_ratio, squeeze_ratio)
                parts: OrderedDict[str, nn.Module] = OrderedDict(
                    MBconv=_MBConv(width if k else inputs, width, 1 if k else 2, drop, ratios, norm, act),
                    window_attention=_Partition(width, head_dim, partition_size, False, *more),
                    grid_attention=_Partition(width, head_dim, partition_size, True, *more),
                )
                layers.append(nn.ModuleDict({"layers": nn.Sequential(parts)}))
            self.blocks.append(nn.ModuleDict({"layers": layers}))
            inputs = width
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LayerNorm(inputs),
            nn.Linear(inputs, inputs),
            nn.Tanh(),
            nn.Linear(inputs, num_classes, bias=False),
        )
        for part in self.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(part.weight, std=0.02)
                no_bias(part)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, *input_size)`` to ``(N, num_classes)``."""
        x = self.stem(x)
        for block in self.blocks:
            for layer in block["layers"]:
                x = layer["layers"](x)
        return self.classifier(x)


@model
def maxvit_t(**kwargs: Any) -> MaxVit:
    """The smallest `MaxVit`; takes what that takes."""
    how: dict[str, Any] = {"stem_channels": 64, "block_channels": [64, 128, 256, 512], "block_layers": [2, 2, 5, 2]}
    how |= {"head_dim": 32, "stochastic_depth_prob": 0.2, "partition_size": 7, "input_size": (224, 224)}
    return MaxVit(**{**how, **kwargs})
