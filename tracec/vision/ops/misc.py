"""Layers that models of several kinds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and scales stay as they are: buffers, of which nothing is trained.

    Args:
        num_features: Channels.
        eps: Added to the variance.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", tracec.ones(num_features))
        self.register_buffer("bias", tracec.zeros(num_features))
        self.register_buffer("running_mean", tracec.zeros(num_features))
        self.register_buffer("running_var", tracec.ones(num_features))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        # A batch norm that was trained counted its batches.
        if isinstance(state_dict, Mapping):
            state_dict.pop(f"{prefix}num_batches_tracked", None)  # type: ignore[attr-defined]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """The input, ``(N, C, H, W)``, less the mean, over the deviation, scaled and moved."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.weight)}, eps={self.eps})"


class SqueezeExcitation(nn.Module):
    """Channels, each scaled by what all of them say on average. Source: Hu et al., 2017.

    Args:
        input_channels: How many there are.
        squeeze_channels: How many numbers stand for all of them between.
        activation: Makes what is between.
        scale_activation: Makes what gives the scales.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[..., nn.Module] = nn.ReLU,
        scale_activation: Callable[..., nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, x: Tensor) -> Tensor:
        """The scaled channels, ``(N, C, H, W)``."""
        return x * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))


class StochasticDepth(nn.Module):
    """Samples that are zero now and then, and scaled up otherwise, while training. Source: Huang et al., 2016.

    Args:
        p: How often.
        mode: ``row``: each sample by itself; ``batch``: all of them or none.

    Raises:
        ArgumentError: it is no probability, or the mode is not known.
    """

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        if not 0 <= p <= 1 or mode not in ("row", "batch"):
            raise ArgumentError(f"StochasticDepth: p={p!r}, mode={mode!r}", hint="0 to 1, and row or batch")
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        """The input, with samples left out."""
        if not self.training or self.p == 0:
            return x
        count = x.shape[0] if self.mode == "row" else 1
        kept = tracec.rand((count, *[1] * (x.ndim - 1)), dtype=x.dtype, device=x.device) < 1 - self.p
        return x * kept.to(x.dtype) / max(1 - self.p, 1e-12)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class Permute(nn.Module):
    """Axes in another order.

    Args:
        dims: The order.
    """

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """The input with its axes in the order."""
        return x.permute(*self.dims)


__all__ = ["FrozenBatchNorm2d", "Permute", "SqueezeExcitation", "StochasticDepth"]
