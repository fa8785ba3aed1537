"""Which objects a function made while it was recorded: its program has to make such ones anew.

Told by the generations of the garbage collector: collection is off while recording, so that all that is young was made
by the function.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from enum import Enum
from typing import Any

from tracec.ir.classes import is_one_of
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio
from tracec.ir.number import Float, Integer
from tracec.record.backend import Device
from tracec.record.cell import Cell
from tracec.record.elements import Elements
from tracec.record.opaque import Opaque
from tracec.record.structure import is_plain_class
from tracec.specialisations.draws import Drawing
from tracec.specialisations.garbage import go_on, pause


class Births:
    """Tells which objects came to be meanwhile; only the young are looked at, since none grows old meanwhile.

    What the function itself has collected garbage after counts as older than the call.
    """

    def __init__(self) -> None:
        self._young: frozenset[int] | None = frozenset()

    def begin(self) -> None:
        """From here on."""
        self._young = None
        pause()  # to collect garbage would let them grow old
        gc.collect(0)

    def end(self) -> None:
        """Up to here."""
        self._young = frozenset()
        go_on()

    def has(self, value: Any) -> bool:
        """Whether an object came to be meanwhile; asked when the function has run."""
        if self._young is None:
            self._young = frozenset(map(id, gc.get_objects(0)))
        return id(value) in self._young


#: What stands for something else while a function is recorded.
STAND_INS = (Integer, Float, Opaque, Extent, Ratio, Elements, Drawing)
#: Tensors, and what is the same thing in every call.
AS_THEY_ARE = (Cell, DType, Device, Enum)


def is_stand_in(value: Any) -> bool:
    """Whether a value stands for something else while a function is recorded."""
    return is_one_of(type(value), STAND_INS)


def is_new_object(value: Any, new: Callable[[Any], bool]) -> bool:
    """Whether a value is an object of the user's that a function made, of a class that was there before the call.

    Args:
        value: The value.
        new: Whether an object came to be in the call.
    """
    cls = type(value)
    if is_stand_in(value) or isinstance(value, AS_THEY_ARE):
        return False
    return is_plain_class(cls) and new(value) and not new(cls) and not weakref.getweakrefcount(value)
