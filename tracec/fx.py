"""Marks for PyTorch's tracer of modules, which pass what they mark; there is no such tracer here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from tracec.errors import name_missing

T = TypeVar("T")


def wrap(fn_or_name: T) -> T:
    """The function, or its name, as it is: PyTorch's tracer would not look into it."""
    return fn_or_name


__all__ = ["wrap"]


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
