"""What several models are made of."""

from __future__ import annotations

import tracec.nn.functional as F
from tracec import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """The normed image, ``(N, C, H, W)``."""
        last = x.permute(0, 2, 3, 1)
        return F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


__all__ = ["LayerNorm2d"]
