"""PyTorch's former name for weights from the network."""

from __future__ import annotations

from tracec.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
