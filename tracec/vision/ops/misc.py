"""Layers that models of several kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tracec
from tracec import Tensor, nn


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


__all__ = ["FrozenBatchNorm2d"]
