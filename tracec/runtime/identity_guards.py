"""Guards by identity, all checked by one C function: whether each place still holds the very object that it held.

Without a C compiler they are checked in Python. An object that is equal and not the same fails here; the guards by
value (`tracec.specialisations.guards`) then decide.
"""

from __future__ import annotations

import types
from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

from tracec.ir.classes import is_one_of
from tracec.runtime.cpu import host

#: As in ``host.c``.
_KEYS_AND_VALUES, _KEYS, _ITEMS, _SIZE, _CELL, _ENTRY, _ATTRIBUTE, _CLASS, _ATTRIBUTES, _BASES, _CODE = range(11)
#: Stands for what is not there.
NOTHING = object()
_COUNTED = (dict, list, tuple, set, frozenset, types.MappingProxyType)


class IdentityGuard(NamedTuple):
    """Somewhere that objects were found.

    Attributes:
        at: What is looked at.
        kind: How.
        size: How many items it has, where they are counted.
        found: The objects; a key before its value.
    """

    at: Any
    kind: int
    size: int
    found: tuple[Any, ...]


def held(holder: Any, keys: Sequence[Any] | None, values: Sequence[Any]) -> IdentityGuard | None:
    """What a dictionary or list held, in order; None for other containers that are not empty."""
    if type(holder) is dict and keys is not None:
        pairs = chain.from_iterable(zip(keys, values, strict=True))
        return IdentityGuard(holder, _KEYS_AND_VALUES, len(values), tuple(pairs))
    if type(holder) is list:
        return IdentityGuard(holder, _ITEMS, len(values), tuple(values))
    return None if values else count(holder, 0)


def names(holder: Any, keys: Sequence[Any]) -> IdentityGuard | None:
    """What keys a dictionary had, in order."""
    return IdentityGuard(holder, _KEYS, len(keys), tuple(keys)) if type(holder) is dict else None


def count(holder: Any, items: int) -> IdentityGuard | None:
    """How many items a container held; None where a class of the user's may say how many."""
    return IdentityGuard(holder, _SIZE, items, ()) if is_one_of(type(holder), _COUNTED) else None


def item(holder: Any, key: Any, value: Any) -> IdentityGuard | None:
    """What a cell held, or a dictionary or class under a name, or `NOTHING`; None for other holders."""
    if type(holder) is types.CellType:
        return IdentityGuard(holder, _CELL, 0, (value,))
    if type(key) is not str or not is_one_of(type(holder), (dict, types.MappingProxyType)):
        return None
    return IdentityGuard(holder, _ENTRY if type(holder) is dict else _ATTRIBUTE, 0, (key, value))


def class_of(value: Any) -> IdentityGuard:
    """What class an object had."""
    return IdentityGuard(value, _CLASS, 0, (type(value),))


def attributes_of(value: Any) -> IdentityGuard:
    """What dictionary an object kept its attributes in."""
    return IdentityGuard(value, _ATTRIBUTES, 0, (value.__dict__,))


def bases_of(cls: type) -> IdentityGuard:
    """What classes a class guards for attributes in."""
    return IdentityGuard(cls, _BASES, 0, ("__mro__", cls.__mro__))


def attribute(value: Any, name: str, now: Any) -> IdentityGuard:
    """What an object's attribute was, as it gives it."""
    return IdentityGuard(value, _BASES, 0, (name, now))


def code_of(function: types.FunctionType) -> IdentityGuard:
    """The code and the defaults of a function."""
    found = (function.__code__, function.__defaults__, function.__kwdefaults__)
    return IdentityGuard(function, _CODE, 0, tuple(NOTHING if x is None else x for x in found))


def unchanged(guards: Sequence[IdentityGuard]) -> Callable[[], bool]:
    """A function that tells whether the very same objects are found again."""
    if not guards:
        return lambda: True
    helper = host()
    if helper is None:
        return _in_python(guards)
    return helper.holds(*packed(guards), tuple(guards))


def packed(guards: Sequence[IdentityGuard]) -> tuple[bytes, bytes]:
    """Looks, and what they found, as the helper reads them: addresses, which stay theirs while the looks live."""
    found = [0 if x is NOTHING else id(x) for k in guards for x in k.found]
    rows = array("q", (n for k in guards for n in (id(k.at), k.kind, k.size)))
    return rows.tobytes(), array("q", found).tobytes()


def _in_python(guards: Sequence[IdentityGuard]) -> Callable[[], bool]:
    """All containers at once: a large model has hundreds."""
    sized = [k for k in guards if k.kind <= _SIZE]
    holders, sizes = [k.at for k in sized], [k.size for k in sized]
    others = [k for k in guards if k.kind > _SIZE]
    parts: list[Any] = []
    found: list[Any] = []
    for at, kind, _, items in sized:
        if kind == _KEYS_AND_VALUES:
            parts += at, at.values()
            found += *items[::2], *items[1::2]
        elif items:
            parts.append(at)
            found += items

    def same() -> bool:
        return (
            list(map(len, holders)) == sizes
            and all(map(is_, chain.from_iterable(parts), found))
            and all(map(_finds_again, others))
        )

    return same


def _finds_again(look: IdentityGuard) -> bool:
    at, kind, _, found = look
    if kind == _CLASS:
        return type(at) is found[0]
    if kind == _ATTRIBUTES:
        return at.__dict__ is found[0]
    if kind == _BASES:
        return getattr(at, found[0], None) is found[1]
    if kind == _CODE:
        return all(map(is_, code_of(at).found, found))
    try:
        return (at.cell_contents if kind == _CELL else at[found[0]]) is found[-1]
    except (KeyError, ValueError):
        return found[-1] is NOTHING
