"""Places that a function reads: how they are read and written, and what they hold where that may change.

A place is a holder (a dictionary, list, cell, object with slots, or class) and a key. What a place holds is compared
by value; a place that is watched may hold any value of a kind: an int, a float, a tensor of one type.
"""

from __future__ import annotations

import types
from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from tracec.ir.number import Watcher
from tracec.ir.types import Shape, contiguous_strides
from tracec.record.structure import (
    ITEMS,
    Layout,
    Slots,
    aspects,
    is_data_class,
    items_of,
    layout_of,
    remover,
    setter,
)
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor
from tracec.specialisations.origins import of_library

PLAIN = (bool, int, float, complex, str, bytes, type(None))
MISSING = object()


_EXACT = frozenset(PLAIN)


def is_all(value: Any) -> bool:
    """Whether a number or text is all that there is to an object of a class of the user's."""
    return isinstance(value, Enum) or not getattr(value, "__dict__", None)


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
            return type(value) is self.type and _array_key(value) == self.parts
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
        flatten(value, found, parts, [], Opener(self.parts[0].layouts, [] if arrays is None else arrays))
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
    return now is before or (type(now) is type(before) and type(now) in _EXACT and repr(now) == repr(before))


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
        return Kind(type(now), _array_key(now)) if _array_key(before) == _array_key(now) else None
    if type(now) is tuple and len(before) == len(now) and all(isinstance(x, PLAIN) for x in (*before, *now)):
        parts = tuple(
            type(a) if type(a) is type(b) and type(a) in (int, float) else a for a, b in zip(before, now, strict=True)
        )
        kind = Kind(tuple, parts)
        return kind if kind.numbers(now) else None
    if type(now) in (list, tuple, dict) or layouts(type(now)) is not None:
        first = _Structure(layouts)
        keys: list[list[Hashable]] = [[first], [first]]
        try:
            for value, key in zip((before, now), keys, strict=True):
                flatten(value, [], key, first.kept, Opener(layouts, []))
        except RecursionError:  # it holds itself
            return None
        return _structure(type(now), *keys)
    return None


def _array_key(array: Any) -> tuple[Any, ...]:
    return array.dtype.str, array.shape, array.strides


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


def tensor_key(x: Tensor) -> tuple[Any, ...]:
    """What a specialisation hangs on of a tensor that it is given: all but its values and its identity."""
    array = x._array
    if x._base is None and x._history is None:
        way: Any = True if x._requires_grad else None
        if way and (x._hooks or x._gathered_hooks):
            way = "hooks"
    else:
        edge = edge_of(x)
        way = None if edge is None else edge is x
    # Strides tell whether a reshape is a view; the way, whether gradients end here, go on, or do neither.
    key = type(x), array.dtype, array.shape, array.strides, x._device, way
    attributes = x.__dict__
    if len(attributes) > 2:  # its memory and its array
        for name in attributes:
            if name[0] != "_":
                return *key, _attributes(x)
    return key


def _attributes(x: Tensor) -> tuple[Any, ...]:
    """What a user has set on a tensor; of what is not plain nothing is known from one call to the next."""
    return tuple(
        (k, type(v), repr(v) if isinstance(v, PLAIN) else object()) for k, v in x.__dict__.items() if k[0] != "_"
    )


#: Gives the layout of a class whose instances are taken apart; None for those that count by identity.
Layouts = Callable[[type], Layout | None]


def opens(value: Any, layouts: Layouts) -> bool:
    """Whether an object is taken apart."""
    if layouts(type(value)) is None:
        return False
    if isinstance(value, types.FunctionType):
        return not (value.__dict__ or of_library(value.__module__) or of_library(value.__globals__.get("__name__")))
    return not isinstance(value, (set, frozenset)) or all(isinstance(v, PLAIN) for v in value)


class Opener:
    """Tells which objects are taken apart in one walk, each once.

    Args:
        layouts: Gives the layout of their classes.
        arrays: Receives NumPy's arrays, where these may be others; where it is None they count by identity.
    """

    def __init__(self, layouts: Layouts, arrays: list[Any] | None = None) -> None:
        self.layouts = layouts
        self.arrays = arrays
        self._met: dict[int, int] = {}

    def meets(self, value: Any) -> int | None:
        """The number of an object that was met before; None for another one, which is given a number."""
        found = self._met.get(id(value))
        if found is None:
            self._met[id(value)] = len(self._met)
        return found


def made_here(cls: type) -> Layout | None:
    """The layout of a class whose instances functions make to hold several values."""
    return layout_of(cls) if is_data_class(cls) and cls not in (list, dict) else None


def flatten(
    value: Any, tensors: list[Tensor], key: list[Hashable], kept: list[Any], opener: Opener | None = None
) -> None:
    """Take a nested argument apart.

    Args:
        value: Tensors, plain values, and lists, tuples and dictionaries of them; any other object counts
            by identity.
        tensors: Receives the tensors, in order.
        key: Receives what the specialisation hangs on.
        kept: Receives objects whose identity is in the key, so that they stay alive with it.
        opener: Tells which other objects are taken apart too.
    """
    if isinstance(value, Tensor):
        if value.is_composite:
            key.append((type(value), value.form()))
            for part in value.inner():
                flatten(part, tensors, key, kept, opener)
            return
        tensors.append(value)
        key.append(tensor_key(value))
    elif isinstance(value, PLAIN) and (type(value) in _EXACT or is_all(value)):
        # The digits of 0.0 tell its sign, and those of NaN are equal to others.
        digits = isinstance(value, complex) or (isinstance(value, float) and not (value and value == value))
        key.append((type(value), repr(value) if digits else value))
    elif type(value) in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        key.append((type(value), len(value)))
        for item in value:
            flatten(item, tensors, key, kept, opener)
    elif type(value) is dict:
        key.append((dict, tuple(value), *map(type, value)))  # 1, 1.0 and True are one key
        for item in value.values():
            flatten(item, tensors, key, kept, opener)
    elif type(value) is slice:
        parts: list[Hashable] = []  # apart: nothing stands in for its numbers
        for item in (value.start, value.stop, value.step):
            flatten(item, tensors, parts, kept)
        key.append((slice, *parts))
    elif type(value) is range:
        key.append((range, value.start, value.stop, value.step))
    elif isinstance(value, np.generic):
        key.append((type(value), value.tobytes()))
    elif opener is not None and opener.arrays is not None and type(value) is np.ndarray:
        key.append((np.ndarray, *_array_key(value), opener.meets(value)))
        opener.arrays.append(value)
    elif opener is not None and opens(value, opener.layouts):
        _open(value, tensors, key, kept, opener)
    else:
        key.append((type(value), id(value)))
        kept.append(value)


def _open(value: Any, tensors: list[Tensor], key: list[Hashable], kept: list[Any], opener: Opener) -> None:
    """Take an object apart."""
    met = opener.meets(value)
    if met is not None:
        key.append((type(value), ITEMS, met))
        return
    form: list[Any] = [type(value), ITEMS]
    if isinstance(value, (set, frozenset)):
        form += [(type(v), v) for v in value]
    elif isinstance(value, types.FunctionType):
        form.append(id(value.__code__))
        kept.append(value.__code__)
    key.append(())
    at = len(key) - 1
    for aspect in aspects(value):
        holder = aspect.of(value)
        if isinstance(holder, (list, deque)):
            form += (len(holder), getattr(holder, "maxlen", None))
        else:
            names = tuple(holder)
            form += (names, *map(type, names))
        for item in items_of(holder):
            flatten(item, tensors, key, kept, opener)
    if isinstance(value, defaultdict):
        form.append(id(value.default_factory))
        kept.append(value.default_factory)
    key[at] = tuple(form)


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


class AsSize(NamedTuple):
    """In a key: an int that is taken for a size, since it is asked for as one.

    Attributes:
        value: It; None for any.
    """

    value: int | None


def as_size(value: int) -> Hashable:
    """What a key has of an int that is taken for a size; small ones are as they are, as small sizes are."""
    return AsSize(value) if value > 1 else (int, value)


def is_of_tensor(part: Any) -> bool:
    """Whether a part of a key is that of a tensor."""
    return type(part) is tuple and len(part) == 6 and isinstance(part[0], type) and issubclass(part[0], Tensor)


def without_sizes(key: Any) -> tuple[tuple[Hashable, ...], tuple[Shape, ...]]:
    """A key without the sizes of its tensors, and these; what is taken for a size is as a shape of one axis."""
    parts: list[Hashable] = []
    shapes: list[Shape] = []
    for part in key:
        if type(part) is AsSize:
            shapes.append((part.value,))  # type: ignore[arg-type]
            part = AsSize(None)
        elif is_of_tensor(part):
            cls, dtype, shape, strides, *rest = part
            shapes.append(shape)
            order = _order(shape, strides, dtype.itemsize)
            if order is not None:
                part = (cls, dtype, tuple(n if n < 2 else None for n in shape), order, *rest)
        parts.append(part)
    return tuple(parts), tuple(shapes)


def _order(shape: Shape, strides: Shape, itemsize: int) -> tuple[int, ...] | None:
    """The order of axes in which elements lie one behind the other; None where they do not, or it is not clear."""
    if strides == tuple(n * itemsize for n in contiguous_strides(shape)):
        return tuple(range(len(shape)))
    if not all(n > 1 for n in shape):
        return None
    order = tuple(sorted(range(len(shape)), key=lambda a: -strides[a]))
    expected = contiguous_strides(tuple(shape[a] for a in order))
    return order if all(strides[a] == n * itemsize for a, n in zip(order, expected, strict=True)) else None
