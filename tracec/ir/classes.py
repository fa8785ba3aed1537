"""Which class an object is of, whatever a metaclass of the user's says of equality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def is_one_of(cls: Any, classes: Iterable[Any]) -> bool:
    """Whether a class is one of several; ``in`` would ask its metaclass."""
    return id(cls) in map(id, classes)


#: ``Py_TPFLAGS_HEAPTYPE``
_HEAP_TYPE = 1 << 9


def is_heap_type(cls: type) -> bool:
    """Whether a class was made while the program ran, as Python code makes them: such a one can be changed."""
    return bool(cls.__flags__ & _HEAP_TYPE)


def is_singular(cls: Any) -> bool:
    """Whether a class is equal to itself alone, so that it can be a key: its metaclass has not another ``__eq__``."""
    meta: Any = type(cls)
    return meta is type or (meta.__eq__ is type.__eq__ and meta.__hash__ is type.__hash__)


def is_iterator(value: Any) -> bool:
    """Whether an object is an iterator; classes that are no keys, the abstract class cannot be asked of."""
    if is_singular(type(value)):
        return isinstance(value, Iterator)
    return hasattr(type(value), "__next__") and hasattr(type(value), "__iter__")
