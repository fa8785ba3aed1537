"""PyTorch's way from functions to their gradients ahead of time, as programs reach into it for its settings."""

from __future__ import annotations

from tracec._functorch import config

__all__ = ["config"]
