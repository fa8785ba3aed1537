"""Memory that is exchanged in a recorded function: ``x.data = value``.

Eagerly a tensor looks at the value's memory from then on. The memory of a tensor from outside has to stay where it is,
since programs find it there, so it is given the value's elements instead. That is the same as long as nobody sees that
there are two: neither is written while the other is in use, and the value's memory does not leave the function.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from tracec.record.cell import Storage
from tracec.record.refusal import refuse


class Exchanged:
    """Memory of tensors from outside, and that of the values it was given for good."""

    def __init__(self) -> None:
        self._pairs: weakref.WeakKeyDictionary[Storage, list[weakref.ref[Storage]]] = weakref.WeakKeyDictionary()

    def note(self, outside: Storage, value: Storage) -> None:
        """Memory from outside now stands for the memory of a value."""
        self._pairs.setdefault(outside, []).append(weakref.ref(value))
        self._pairs.setdefault(value, []).append(weakref.ref(outside))

    def check(self, storages: Iterable[Storage]) -> None:
        """Refuse to write into memory, or to give it away, while what stands for it, or it stands for, is in use.

        Raises:
            RecordError: it is.
        """
        for storage in storages:
            if any(other() is not None for other in self._pairs.get(storage, ())):
                refuse(
                    "data: a tensor was given the memory of another one, and a compiled function would change only one",
                    hint="write into the tensor: x.data.copy_(value)",
                )
