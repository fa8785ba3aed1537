"""Lists and deques that a function appends to and does not read: what it appends is an effect, whatever they hold.

While the function is recorded, a proxy stands in for such a list. It notes what is appended to it; any other use is
a read, and the recording is for the contents that the list had.
"""

from __future__ import annotations

import dis
from collections import deque
from collections.abc import Callable, Iterable
from itertools import pairwise
from types import CodeType
from typing import Any

from tracec.ir.classes import is_one_of


class AppendOnly:
    """What the lists and deques that stand in for others have in common.

    Attributes:
        original: What they stand in for.
        added: What was added, in order.
        is_read: They were used otherwise.
    """

    original: Any
    added: list[Any]
    is_read: bool
    #: Adds an item to the container itself.
    _add: Callable[[Any], None]

    def append(self, item: Any) -> None:
        """Add an item."""
        self.added.append(item)
        self._add(item)

    def extend(self, items: Iterable[Any]) -> None:
        """Add several."""
        for item in list(items):
            self.append(item)

    def __iadd__(self, items: Iterable[Any]) -> Any:
        self.extend(items)
        return self


def _reading(name: str, cls: type) -> Callable[..., Any]:
    function = getattr(cls, name)

    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.is_read = True
        return function(self, *args, **kwargs)

    return read


#: Methods that neither read nor write items.
_OTHER = {
    "__class__", "__class_getitem__", "__delattr__", "__dict__", "__dir__", "__doc__", "__getattribute__", "__init__",
    "__init_subclass__", "__module__", "__new__", "__setattr__", "__subclasshook__", "__weakref__", "__hash__",
    "append", "extend", "__iadd__",
}  # fmt: skip


def _added_to(self: Any, other: Any) -> Any:
    self.is_read = True
    return other + list(self) if isinstance(other, list) else NotImplemented


def _reduced(self: Any, protocol: Any) -> Any:
    """What pickles and copies it as what it stands in for."""
    self.is_read = True
    return type(self.original), ([*self], *_limit(self))


def _limit(container: Any) -> tuple[int, ...]:
    """The second argument of what makes such a container of its items: how many it holds at most."""
    return () if getattr(container, "maxlen", None) is None else (container.maxlen,)


def _kind(cls: type) -> type:
    names = [name for name in dir(cls) if name not in _OTHER and callable(getattr(cls, name))]
    methods: dict[str, Any] = {name: _reading(name, cls) for name in names}
    methods["__class__"] = property(lambda self: type(self.original))
    methods |= {"_add": cls.append, "__radd__": _added_to, "__reduce_ex__": _reduced}  # type: ignore[attr-defined]
    return type(f"AppendOnly{cls.__name__.capitalize()}", (AppendOnly, cls), methods)


_KINDS: dict[Any, Any] = {list: _kind(list), deque: _kind(deque)}


def reads_past(code: CodeType) -> bool:
    """Whether code names a method of the classes themselves, such as ``list.__len__``, which asks no list."""
    names = [(i.opname, i.argval) for i in dis.get_instructions(code)]
    kinds = {kind.__name__ for kind in _KINDS}
    if any(
        before[0].startswith("LOAD_") and before[1] in kinds and after[0] in ("LOAD_ATTR", "LOAD_METHOD")
        for before, after in pairwise(names)
    ):
        return True
    return any(isinstance(c, CodeType) and reads_past(c) for c in code.co_consts)


def can_grow(value: Any) -> bool:
    """Whether something can stand in for a container."""
    return is_one_of(type(value), _KINDS)


def to_grow(original: Any) -> Any:
    """What notes what is added to a list or deque."""
    cls = _KINDS[type(original)]
    made = cls(original, *_limit(original))
    made.original, made.added, made.is_read = original, [], False
    return made


def changed_unseen(growing: Any) -> bool:
    """Whether it holds other items than it was given: code in C may have put them there, as `heapq` does."""
    expected = [*growing.original, *growing.added]
    held = [*type(growing.original).__iter__(growing)]
    if type(growing.original) is deque and growing.maxlen is not None:
        expected = expected[len(expected) - len(held) :]
    return len(held) != len(expected) or any(a is not b for a, b in zip(held, expected, strict=True))


def contents(growing: Any) -> list[Any]:
    """The items, which does not count as a read."""
    before = growing.is_read
    found = list(growing)
    growing.is_read = before
    return found


def grew(before: Iterable[Any], now: Any) -> bool:
    """Whether a container holds what it held, and more."""
    held, holds = list(before), list(now)
    if type(now) is deque and now.maxlen is not None and len(holds) == now.maxlen and len(held) == now.maxlen:
        return any(all(a is b for a, b in zip(held[k:], holds, strict=False)) for k in range(1, len(held) + 1))
    return len(holds) > len(held) and all(a is b for a, b in zip(held, holds, strict=False))
