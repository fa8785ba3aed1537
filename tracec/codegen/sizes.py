"""Sizes that vary from call to call, as names in the text of kernels: what a name stands for is given at each call."""

from __future__ import annotations

import re
from typing import Any

from tracec.ir.extent import Extent, formula_key

_NAME = re.compile(r"\b(size|real)_(\d+)(?=L?\b)")


class Table:
    """The numbers with formulas that a program's text names.

    Attributes:
        sizes: Their values, where they are integers.
        reals: And where they are floats.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.reals: list[float] = []
        self._known: dict[Any, str] = {}

    def write(self, x: Any) -> str:
        """The name of a number."""
        key = type(x), formula_key(x)
        known = self._known.get(key)
        if known is None:
            whole = isinstance(x, Extent)
            values: list[Any] = self.sizes if whole else self.reals
            known = self._known[key] = f"{'size' if whole else 'real'}_{len(values)}"
            values.append(x)
        return known


def names_in(text: str) -> list[tuple[str, str]]:
    """The names in a text: ``size`` or ``real``, and the number."""
    return sorted(set(_NAME.findall(text)), key=lambda name: (name[0], int(name[1])))
