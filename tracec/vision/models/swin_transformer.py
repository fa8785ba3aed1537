"""Transformers whose places see those of their window, which moves by half from block to block.

Sources: Liu et al., "Swin Transformer", 2021, and "Swin Transformer V2", 2021.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.models.registry import model, no_bias
from tracec.vision.ops.misc import MLP, Permute, StochasticDepth

Layer = Callable[..., nn.Module]


def relative_places(height: int, width: int) -> np.ndarray:
    """Which row of a table of ``(2 height - 1) (2 width - 1)`` differences each two places of a window have.

    Args:
        height: Of the window.
        width: Alike.

    Returns:
        Of ``height * width`` places, ``(L, L)``.
    """
    rows, columns = (places.reshape(-1) for places in np.mgrid[:height, :width])
    down, right = (places[:, None] - places[None, :] for places in (rows, columns))
    return (down + height - 1) * (2 * width - 1) + right + width - 1


class PatchMerging(nn.Module):
    """Images half as large, of twice the channels; the second version's norm comes last.

    Args:
        dim: Channels.
        norm_layer: Makes a norm for so many channels.
    """

    norm_last = False

    def __init__(self, dim: int, norm_layer: Layer = nn.LayerNorm) -> None:
        super().__init__()
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer((2 if self.norm_last else 4) * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, H, W, dim)`` to ``(N, H / 2, W / 2, 2 dim)``, where odd sizes are rounded up."""
        x = F.pad(x, (0, 0, 0, x.shape[-2] % 2, 0, x.shape[-3] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = tracec.cat(corners, -1)
        return self.norm(self.reduction(x)) if self.norm_last else self.reduction(self.norm(x))


class PatchMergingV2(PatchMerging):
    """The second version's."""

    norm_last = True


class ShiftedWindowAttention(nn.Module):
    """Attention within windows, of which each two places know how they lie to each other.

    Args:
        dim: Channels.
        window_size: Height and width of windows.
        shift_size: How far windows are moved down and to the right; what they would see across the border is masked.
        num_heads: Of the attention.
        qkv_bias: Whether queries, keys and values have biases.
        proj_bias: Whether the last layer has one.
        attention_dropout: How often places are left out of the attention.
        dropout: How often numbers of the result are left out.

    Raises:
        ArgumentError: sizes are not of two axes, or heads don't divide the channels.
    """

    def __init__(
        self,
        dim: int,
        window_size: Sequence[int],
        shift_size: Sequence[int],
        num_heads: int,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(window_size) != 2 or len(shift_size) != 2 or dim % num_heads:
            raise ArgumentError(
                f"{type(self).__name__}: dim={dim}, window_size={window_size!r}, shift_size={shift_size!r}, "
                f"num_heads={num_heads}",
                hint="sizes are a height and a width, and num_heads divides dim",
            )
        self.window_size, self.shift_size, self.num_heads = list(window_size), list(shift_size), num_heads
        self.attention_dropout, self.dropout = attention_dropout, dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=proj_bias)
        self._make_table()
        places = tracec.tensor(relative_places(*self.window_size).reshape(-1), dtype=tracec.int64)
        self.register_buffer("relative_position_index", places)

    def _make_table(self) -> None:
        height, width = self.window_size
        table = tracec.zeros((2 * height - 1) * (2 * width - 1), self.num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))

    def _of_two_places(self, table: Tensor) -> Tensor:
        """The table's rows for each two places of a window, ``(num_heads, L, L)``."""
        count = math.prod(self.window_size)
        return table[self.relative_position_index].view(count, count, -1).permute(2, 0, 1)

    def get_relative_position_bias(self) -> Tensor:
        """What is added to the scores of each two places of a window, ``(1, num_heads, L, L)``."""
        return self._of_two_places(self.relative_position_bias_table)[None]

    def _qkv(self, x: Tensor) -> Tensor:
        return self.qkv(x)

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        return (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)

    def forward(self, x: Tensor) -> Tensor:
        """What places see, ``(N, H, W, dim)``."""
        count, height, width, channels = x.shape
        down, right = self.window_size
        x = F.pad(x, (0, 0, 0, -width % right, 0, -height % down))
        size = tuple(x.shape[1:3])
        # A window as large as the image sees all of it wherever it lies.
        shift = [0 if w >= s else moved for w, s, moved in zip(self.window_size, size, self.shift_size, strict=True)]
        if any(shift):
            x = x.roll((-shift[0], -shift[1]), (1, 2))
        windows = x.view(count, size[0] // down, down, size[1] // right, right, channels).transpose(2, 3)
        places = windows.reshape(-1, down * right, channels)
        parts = self._qkv(places).view(*places.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        scores = self._scores(queries, keys) + self.get_relative_position_bias()
        if any(shift):
            mask = self._mask(size, shift, x)
            scores = (scores.view(count, -1, *scores.shape[1:]) + mask[:, None]).view(scores.shape)
        weights = F.dropout(F.softmax(scores, -1), self.attention_dropout, self.training)
        seen = F.dropout(self.proj((weights @ values).transpose(1, 2).flatten(2)), self.dropout, self.training)
        x = seen.view(windows.shape).transpose(2, 3).reshape(x.shape)
        if any(shift):
            x = x.roll((shift[0], shift[1]), (1, 2))
        return x[:, :height, :width]

    def _mask(self, size: Sequence[int], shift: Sequence[int], like: Tensor) -> Tensor:
        """-100 for each two places of a window that lie on different sides of the border, ``(windows, L, L)``."""
        sides = []
        for length, window, moved in zip(size, self.window_size, shift, strict=True):
            k = np.arange(length)
            sides.append((k >= length - window).astype(int) + (k >= length - moved))
        (down, right), of_places = self.window_size, 3 * sides[0][:, None] + sides[1]
        split = of_places.reshape(size[0] // down, down, size[1] // right, right).swapaxes(1, 2)
        windows = split.reshape(-1, down * right)
        apart = windows[:, None, :] != windows[:, :, None]
        return tracec.tensor(np.where(apart, np.float32(-100), np.float32(0)), dtype=like.dtype, device=like.device)


class ShiftedWindowAttentionV2(ShiftedWindowAttention):
    """Attention by angles, with what a small network says of how places lie to each other; takes what that takes."""

    def __init__(self, dim: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(dim, *args, **kwargs)
        heads = self.num_heads
        self.logit_scale = nn.Parameter(tracec.full((heads, 1, 1), math.log(10.0)))
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 512), nn.ReLU(inplace=True), nn.Linear(512, heads, bias=False))
        if self.qkv.bias is not None:
            with tracec.no_grad():
                self.qkv.bias[dim : 2 * dim].zero_()

    def _make_table(self) -> None:
        steps = [8 * np.arange(1 - s, s, dtype=np.float32) / np.float32(max(s - 1, 1)) for s in self.window_size]
        places = np.stack(np.meshgrid(*steps, indexing="ij"), -1)[None]
        far = np.sign(places) * np.log2(np.abs(places) + 1) / np.float32(3)
        self.register_buffer("relative_coords_table", tracec.tensor(far))

    def get_relative_position_bias(self) -> Tensor:
        """What is added to the scores of each two places of a window, ``(1, num_heads, L, L)``."""
        table = self.cpb_mlp(self.relative_coords_table).view(-1, self.num_heads)
        return 16 * self._of_two_places(table)[None].sigmoid()

    def _qkv(self, x: Tensor) -> Tensor:
        bias: Tensor | None = self.qkv.bias
        if bias is not None:  # keys have none
            query, key, value = bias.chunk(3)
            bias = tracec.cat([query, tracec.zeros_like(key), value])
        return F.linear(x, self.qkv.weight, bias)

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        cosines = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).transpose(-2, -1)
        return cosines * self.logit_scale.clamp(max=math.log(100.0)).exp()


class SwinTransformerBlock(nn.Module):
    """Attention, and two linear layers; and what goes past them. The first version's norms come before them.

    Args:
        dim: Channels.
        num_heads: Of the attention.
        window_size: Height and width of windows.
        shift_size: How far windows are moved.
        mlp_ratio: How many times as many numbers are between the linear layers.
        dropout: How often numbers are left out.
        attention_dropout: How often places are left out of the attention.
        stochastic_depth_prob: How often each part is left out while training.
        norm_layer: Makes a norm for so many channels.
        attn_layer: Makes the attention.
    """

    attention: Layer = ShiftedWindowAttention

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: Sequence[int],
        shift_size: Sequence[int],
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.0,
        norm_layer: Layer = nn.LayerNorm,
        attn_layer: Layer | None = None,
    ) -> None:
        super().__init__()
        how: Any = {"attention_dropout": attention_dropout, "dropout": dropout}
        self.norm1 = norm_layer(dim)
        self.attn = (attn_layer or type(self).attention)(dim, window_size, shift_size, num_heads, **how)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.norm2 = norm_layer(dim)
        self.mlp = MLP(dim, [int(dim * mlp_ratio), dim], activation_layer=nn.GELU, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Places, ``(N, H, W, dim)``."""
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        return x + self.stochastic_depth(self.mlp(self.norm2(x)))


class SwinTransformerBlockV2(SwinTransformerBlock):
    """The second version's, whose norms come after what they norm."""

    attention = ShiftedWindowAttentionV2

    def forward(self, x: Tensor) -> Tensor:
        """Places, ``(N, H, W, dim)``."""
        x = x + self.stochastic_depth(self.norm1(self.attn(x)))
        return x + self.stochastic_depth(self.norm2(self.mlp(x)))


class SwinTransformer(nn.Module):
    """Stages of blocks over patches, each half as large as the one before.

    Args:
        patch_size: Height and width of patches.
        embed_dim: Channels of the first stage; each has twice those of the one before.
        depths: How many blocks each stage has.
        num_heads: Of the attention of each stage.
        window_size: Height and width of windows.
        mlp_ratio: How many times as many numbers are between the linear layers.
        dropout: How often numbers are left out.
        attention_dropout: How often places are left out of the attention.
        stochastic_depth_prob: How often the last block is left out while training; those before less.
        num_classes: How many numbers come out.
        norm_layer: Makes a norm for so many channels.
        block: Makes a block.
        downsample_layer: Makes what is between stages.
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        embed_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: Sequence[int],
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.1,
        num_classes: int = 1000,
        norm_layer: Layer | None = None,
        block: Layer | None = None,
        downsample_layer: Layer = PatchMerging,
    ) -> None:
        super().__init__()
        norm, block, patch = norm_layer or nn.LayerNorm, block or SwinTransformerBlock, tuple(patch_size)
        how: Any = {"mlp_ratio": mlp_ratio, "dropout": dropout, "attention_dropout": attention_dropout}
        layers: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(3, embed_dim, patch, patch), Permute([0, 2, 3, 1]), norm(embed_dim))
        ]
        last, done, dim = max(sum(depths) - 1, 1), 0, embed_dim
        for k, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            blocks = []
            for j in range(depth):
                shift = [w // 2 if j % 2 else 0 for w in window_size]
                drop = stochastic_depth_prob * (done + j) / last
                more: Any = {"stochastic_depth_prob": drop, "norm_layer": norm}
                blocks.append(block(dim, heads, window_size=window_size, shift_size=shift, **how, **more))
            layers.append(nn.Sequential(*blocks))
            done += depth
            if k + 1 < len(depths):
                layers.append(downsample_layer(dim, norm))
                dim *= 2
        self.features = nn.Sequential(*layers)
        self.norm = norm(dim)
        self.permute = Permute([0, 3, 1, 2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten(1)
        self.head = nn.Linear(dim, num_classes)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                no_bias(part)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        x = self.permute(self.norm(self.features(x)))
        return self.head(self.flatten(self.avgpool(x)))


def _swin(width: int, third: int, drop: float, kwargs: dict[str, Any], window: int = 7) -> SwinTransformer:
    heads = [width // 32 * 2**k for k in range(4)]
    how: dict[str, Any] = {"stochastic_depth_prob": drop, "window_size": [window, window], "patch_size": [4, 4]}
    return SwinTransformer(**{**how, "embed_dim": width, "depths": [2, 2, third, 2], "num_heads": heads, **kwargs})


_swin_v2 = functools.partial(_swin, window=8)
_SECOND: dict[str, Any] = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}


@model
def swin_t(**kwargs: Any) -> SwinTransformer:
    """The smallest `SwinTransformer`; takes what that takes."""
    return _swin(96, 6, 0.2, kwargs)


@model
def swin_s(**kwargs: Any) -> SwinTransformer:
    """A `SwinTransformer` of 50 million numbers; takes what that takes."""
    return _swin(96, 18, 0.3, kwargs)


@model
def swin_b(**kwargs: Any) -> SwinTransformer:
    """A `SwinTransformer` of 88 million numbers; takes what that takes."""
    return _swin(128, 18, 0.5, kwargs)


@model
def swin_v2_t(**kwargs: Any) -> SwinTransformer:
    """The smallest `SwinTransformer` of the second version; takes what that takes."""
    return _swin_v2(96, 6, 0.2, {**_SECOND, **kwargs})


@model
def swin_v2_s(**kwargs: Any) -> SwinTransformer:
    """A `SwinTransformer` of the second version, of 50 million numbers; takes what that takes."""
    return _swin_v2(96, 18, 0.3, {**_SECOND, **kwargs})


@model
def swin_v2_b(**kwargs: Any) -> SwinTransformer:
    """A `SwinTransformer` of the second version, of 88 million numbers; takes what that takes."""
    return _swin_v2(128, 18, 0.5, {**_SECOND, **kwargs})
