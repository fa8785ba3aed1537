"""Helpers around training."""

from tracec.utils import data

__all__ = ["data"]
