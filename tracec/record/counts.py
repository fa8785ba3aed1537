"""How many elements of a mask hold: sizes that values decide, and the symbols that stand for them."""

from __future__ import annotations

from tracec.ir.extent import Symbol, is_varying, plain
from tracec.ir.graph import topological
from tracec.ir.node import Node, is_input

#: Elements of masks whose counts are so few that each has a program of its own.
FEW = 3
#: Counts below are no symbols: operators treat sizes of 0 and 1 otherwise (empty results, broadcasting).
_LEAST = 2


class Counts:
    """The symbols for counts of one function.

    Args:
        dynamic: Whether counts are symbols: True from the first call on, False never, None where they change.

    Attributes:
        vary: Whether counts were found to change from call to call, so that they are symbols in what is recorded; those
            in masks whose sizes vary always are.
        why_not: Why they are none nevertheless.
    """

    def __init__(self, dynamic: bool | None = None) -> None:
        self.vary = bool(dynamic)
        self.why_not: str | None = "dynamic=False" if dynamic is False else None
        self._symbols: dict[int, Symbol] = {}

    def symbol(self, k: int, value: int, mask: Node) -> Symbol | None:
        """What stands for a count; None where it is a plain number.

        Recordings of the same function share their symbols, so that what they have in common is seen to be equal.

        Args:
            k: How many counts the function has asked for before.
            value: The count.
            mask: What is counted in.
        """
        size = mask.type.size
        if self.why_not is not None or not (self.vary or is_varying(size)):
            return None
        if value < _LEAST or plain(size) <= FEW or not any(map(is_input, topological((mask,)))):
            return None
        return self._symbols.setdefault(k, Symbol(f"count({k})", value, _LEAST))

    def note(self, changed: bool) -> None:
        """Note whether a count was another one than before."""
        self.vary = self.vary or (changed and self.why_not is None)

    def refuse(self, why: str) -> None:
        """Let counts be plain numbers from now on."""
        self.why_not = why
