"""Places that a function reads: how they are read and written, and of what kind the values there may be.

A place is a holder (a dictionary, list, cell, object with slots, or class) and a key. What a place holds is compared
by value; a place that is watched may hold any value of a kind: an int, a float, a tensor of one type.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from tracec.ir.classes import is_one_of
from tracec.ir.number import Watcher
from tracec.record.structure import Slots, remover, setter
from tracec.record.tensor import Tensor
from tracec.specialisations.keys import (
    EXACT,
    PLAIN,
    Flattener,
    Layouts,
    array_key,
    flatten,
    made_here,
    tensor_key,
    without_sizes,
)

MISSING = object()


class Place(NamedTuple):
    """Where something is read.

    Attributes:
        holder: The dictionary, list, cell, object with slots or class.
        key: Its key there.
    """

    holder: Any
    key: Any

    @property
    def identity(self) -> Hashable:
        """Tells places from one another."""
        owner = self.holder.owner if isinstance(self.holder, Slots) else self.holder
        return id(owner), self.key

    def now(self) -> Any:
        """What it holds; `MISSING` where there is nothing."""
        try:
            if isinstance(self.holder, types.CellType):
                return self.holder.cell_contents
            return self.holder[self.key]
        except (KeyError, IndexError, ValueError):
            return MISSING

    def put(self, value: Any) -> None:
        """Let it hold something else, or nothing, for `MISSING`; nobody is asked or told."""
        holder = self.holder
        if value is MISSING:
            self._clear()
        elif isinstance(holder, types.CellType):
            holder.cell_contents = value
        else:
            setter(holder)(holder, self.key, value)

    def _clear(self) -> None:
        if isinstance(self.holder, types.CellType):
            del self.holder.cell_contents
        else:
            remover(self.holder)(self.holder, self.key)


class Kind(NamedTuple):
    """What a watched place may hold.

    Attributes:
        type: The type.
        parts: Of a tuple of plain values its items: a type for a number that is watched, anything else for an item by
            value. Of a tensor what `tensor_key` gives. Of an array its element type and how it lies in memory. Of
            other structures what `flatten` gives. Of a number nothing.
        varying: Of a structure the positions in ``parts`` of numbers that are watched.
        sized: It is a kind of tensors of any sizes, or of ints taken for sizes; those of a call are in its key.
    """

    type: type
    parts: tuple[Any, ...] = ()
    varying: tuple[int, ...] = ()
    sized: bool = False

    @property
    def of_any_size(self) -> Kind:
        """The kind of tensors that differ from those of this kind in sizes alone."""
        return self if self.sized else Kind(self.type, without_sizes((self.parts,))[0], sized=True)

    def numbers(self, value: Any) -> tuple[Any, ...] | None:
        """The numbers in a value of this kind; None for values of another kind."""
        if type(value) is not self.type or self.is_array:
            return None
        if self.type is not tuple:
            return () if self.sized else (value,)
        items: Any = value
        if len(items) != len(self.parts):
            return None
        found = []
        for item, part in zip(items, self.parts, strict=True):
            if part is int or part is float:
                if type(item) is not part:
                    return None
                found.append(item)
            elif not same(item, part):
                return None
        return tuple(found)

    def holds(self, value: Any) -> bool:
        """Whether a value is of this kind."""
        if self.is_tensor:
            if not isinstance(value, Tensor) or value.is_composite:
                return False
            key = tensor_key(value)
            return without_sizes((key,))[0] == self.parts if self.sized else key == self.parts
        if self.is_structure:
            return self.take(value, [], [])
        if self.is_array:
            return type(value) is self.type and array_key(value) == self.parts
        return self.numbers(value) is not None

    @property
    def is_array(self) -> bool:
        """Whether it is a kind of NumPy's arrays or scalars, which are not looked into."""
        return issubclass(self.type, (np.ndarray, np.generic))

    @property
    def is_structure(self) -> bool:
        """Whether it is a kind of nested lists, tuples and dictionaries, whose tensors may be others."""
        return bool(self.parts) and type(self.parts[0]) is _Structure

    @property
    def layouts(self) -> Layouts | None:
        """Gives the layout of a class whose instances in it are taken apart."""
        return self.parts[0].layouts if self.is_structure else None

    def take(self, value: Any, tensors: list[Tensor], numbers: list[Any], arrays: list[Any] | None = None) -> bool:
        """Whether a value is of this kind of structure; its tensors, numbers and arrays are taken out of it then."""
        if type(value) is not self.type:
            return False
        found: list[Tensor] = []
        parts: list[Hashable] = [self.parts[0]]
        flatten(value, found, parts, [], Flattener(self.parts[0].layouts, [] if arrays is None else arrays))
        if len(parts) != len(self.parts):
            return False
        of_numbers: list[Any] = [parts[k] for k in self.varying]
        for k in self.varying:
            parts[k] = self.parts[k] if _is_number(parts[k], self.parts[k][0]) else None
        if tuple(parts) != self.parts:
            return False
        tensors += found
        numbers += [cls(number) for cls, number in of_numbers]
        return True

    def joined(self, other: Kind | None) -> Kind:
        """The kind of what is of this kind of structure or of another that differs from it in numbers alone."""
        if other is None or not (self.is_structure and other.is_structure) or len(self.parts) != len(other.parts):
            return self
        varying = tuple(sorted({*self.varying, *other.varying}))
        parts = [list(self.parts[1:]), list(other.parts[1:])]
        for k in varying:
            for some in parts:
                some[k - 1] = (some[k - 1][0], None) if isinstance(some[k - 1], tuple) else some[k - 1]
        if parts[0] != parts[1]:
            return self
        return Kind(self.type, (self.parts[0], *parts[0]), varying)

    @property
    def is_tensor(self) -> bool:
        """Whether it is a kind of tensors."""
        return issubclass(self.type, Tensor)

    def stand_in(self, value: Any, name: str, watcher: Watcher) -> Any:
        """A value of this kind with Numbers for its numbers."""
        if self.type is not tuple:
            return watcher.number(value, name)
        return tuple(
            watcher.number(item, f"{name}[{k}]") if part is int or part is float else item
            for k, (item, part) in enumerate(zip(value, self.parts, strict=True))
        )


def same(now: Any, before: Any) -> bool:
    """Whether nothing tells two values from each other: they are one, or plain and equal."""
    return now is before or (type(now) is type(before) and id(type(now)) in EXACT and repr(now) == repr(before))


def common_kind(before: Any, now: Any, layouts: Layouts | None = None) -> Kind | None:
    """The kind of two values of a place, where it may be watched for others of that kind.

    Args:
        before: One value.
        now: The other one.
        layouts: Tells which objects are taken apart; those that functions make to hold several values, if not given.
    """
    layouts = layouts or made_here
    if type(before) is not type(now) or before is MISSING:
        return None
    if type(now) is int or type(now) is float:
        return Kind(type(now))
    if isinstance(now, Tensor) and not now.is_composite:
        return Kind(type(now), tensor_key(now))
    if type(now) is np.ndarray or isinstance(now, np.generic):
        return Kind(type(now), array_key(now)) if array_key(before) == array_key(now) else None
    if type(now) is tuple and len(before) == len(now) and all(isinstance(x, PLAIN) for x in (*before, *now)):
        parts = tuple(
            type(a) if type(a) is type(b) and type(a) in (int, float) else a for a, b in zip(before, now, strict=True)
        )
        kind = Kind(tuple, parts)
        return kind if kind.numbers(now) else None
    if is_one_of(type(now), (list, tuple, dict)) or layouts(type(now)) is not None:
        first = _Structure(layouts)
        keys: list[list[Hashable]] = [[first], [first]]
        try:
            for value, key in zip((before, now), keys, strict=True):
                flatten(value, [], key, first.kept, Flattener(layouts, []))
        except RecursionError:  # it holds itself
            return None
        return _structure(type(now), *keys)
    return None


def _structure(cls: type, before: list[Any], now: list[Any]) -> Kind | None:
    """The kind of two structures, which may differ in numbers."""
    if len(before) != len(now):
        return None
    varying = [k for k, (a, b) in enumerate(zip(before, now, strict=True)) if a != b]
    if not all(_is_number(before[k], int) or _is_number(before[k], float) for k in varying):
        return None
    if not all(_is_number(now[k], before[k][0]) for k in varying):
        return None
    for k in varying:
        now[k] = now[k][0], None
    return Kind(cls, tuple(now), tuple(varying))


def _is_number(part: Any, cls: type) -> bool:
    return type(part) is tuple and len(part) == 2 and part[0] is cls


class _Structure:
    """The first part of the kind of a structure: keeps the objects alive that are known in it by identity."""

    def __init__(self, layouts: Layouts) -> None:
        self.kept: list[Any] = []
        self.layouts = layouts


def kind_of(value: Any, layouts: Layouts | None = None) -> Kind | None:
    """The kind that a value is of by itself."""
    return common_kind(value, value, layouts)


def refill(holder: Any, items: Any) -> None:
    """Give a container other items; no method of its class is called."""
    if isinstance(holder, (dict, Slots)):
        for key in list(holder):
            remover(holder)(holder, key)
        for key, item in items.items():
            setter(holder)(holder, key, item)
    elif isinstance(holder, list):
        list.__setitem__(holder, slice(None), items)
    elif isinstance(holder, deque):
        holder.clear()
        holder.extend(items)
    else:
        holder.clear()
        holder.update(items)
