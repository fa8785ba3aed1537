"""Sizes that vary from call to call, as names in the text of kernels: what a name stands for is given at each call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tracec.ir.extent import Extent, formula_key

_NAME = re.compile(r"\b(size|real)_(\d+)\b")


@dataclass(frozen=True, slots=True)
class Name:
    """What stands for a number in a text.

    Attributes:
        kind: ``size`` for an integer, ``real`` for a float.
        number: Its place among those of its kind.
    """

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}_{self.number}"


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
            known = self._known[key] = str(Name("size" if whole else "real", len(values)))
            values.append(x)
        return known


def names_in(text: str) -> tuple[Name, ...]:
    """The names in a text, floats first."""
    found = {(kind, int(number)) for kind, number in _NAME.findall(text)}
    return tuple(Name(kind, number) for kind, number in sorted(found))
