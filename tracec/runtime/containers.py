"""Whether many containers hold the very same objects as before: one crossing from Python, given a compiler."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tracec.runtime.cpu import host

#: Fewer containers are looked at in Python: the helper is not worth loading.
_FEW = 8
#: As in ``host.c``.
_KEYS_AND_VALUES, _ITEMS, _SIZE = range(3)


class Held(Protocol):
    """What a container held.

    Attributes:
        holder: A dictionary, list or set.
        keys: The keys of a dictionary.
        values: Its values.
    """

    @property
    def holder(self) -> Any: ...

    @property
    def keys(self) -> tuple[Any, ...] | None: ...

    @property
    def values(self) -> tuple[Any, ...]: ...


H = TypeVar("H", bound=Held)


def quickly(all_held: Sequence[H]) -> tuple[Callable[[], bool] | None, list[H]]:
    """A function that tells whether containers hold what they held, and those that it does not look at.

    Args:
        all_held: The containers, and what they held.

    Returns:
        The function, or None, and the rest.
    """
    chosen = [h for h in all_held if _kind(h) is not None]
    helper = host() if len(chosen) > _FEW else None
    if helper is None:
        return None, list(all_held)
    found: list[Any] = []
    for h in chosen:
        if h.keys is None:
            found += h.values
        else:
            found += [x for pair in zip(h.keys, h.values, strict=True) for x in pair]
    looks = struct.pack(f"{3 * len(chosen)}q", *(n for h in chosen for n in (id(h.holder), _kind(h), len(h.values))))
    addresses = struct.pack(f"{len(found)}q", *map(id, found))
    holds = helper.holds
    alive = chosen, found  # addresses stay theirs

    def same(alive: Any = alive) -> bool:
        return holds(looks, addresses)

    return same, [h for h in all_held if _kind(h) is None]


def _kind(held: Held) -> int | None:
    """How the helper looks at a container; None where it does not, as at sets that are not empty."""
    cls = type(held.holder)
    if cls is dict:
        return _KEYS_AND_VALUES
    if cls is list:
        return _ITEMS
    return _SIZE if cls is set and not held.values else None
