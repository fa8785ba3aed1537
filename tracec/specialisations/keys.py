"""Keys of calls: what a specialisation depends on of the arguments, as one hashable value.

Arguments are flattened as pytrees. A tensor counts by type, shape, strides, device and whether gradients go on from it;
a plain value by type and value; any other object by identity. Values in watched places are flattened in the same way.
"""

from __future__ import annotations

import types
from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from tracec.ir.classes import is_one_of, is_singular
from tracec.ir.types import Shape
from tracec.record.layouts import dense_order
from tracec.record.structure import ITEMS, Layout, aspects, is_data_class, items_of, layout_of
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor
from tracec.specialisations.origins import of_library

PLAIN = (bool, int, float, complex, str, bytes, type(None))
#: Identities of these: a metaclass may leave its classes without a hash.
EXACT = frozenset(map(id, PLAIN))


def is_all(value: Any) -> bool:
    """Whether a number or text is all that there is to an object of a class of the user's."""
    return isinstance(value, Enum) or not getattr(value, "__dict__", None)


def tensor_key(x: Tensor) -> tuple[Any, ...]:
    """What a specialisation depends on of a tensor that it is given: all but its values and its identity."""
    array = x._array
    if x._parent is None and x._history is None:
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


def is_flattened(value: Any, layouts: Layouts) -> bool:
    """Whether an object is taken apart."""
    if layouts(type(value)) is None:
        return False
    if isinstance(value, types.FunctionType):
        return not (value.__dict__ or of_library(value.__module__) or of_library(value.__globals__.get("__name__")))
    return not isinstance(value, (set, frozenset)) or all(isinstance(v, PLAIN) for v in value)


class Flattener:
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
    return layout_of(cls) if is_data_class(cls) and not is_one_of(cls, (list, dict)) else None


def flatten(
    value: Any, tensors: list[Tensor], key: list[Hashable], kept: list[Any], flattener: Flattener | None = None
) -> None:
    """Take a nested argument apart.

    Args:
        value: Tensors, plain values, and lists, tuples and dictionaries of them; any other object counts
            by identity.
        tensors: Receives the tensors, in order.
        key: Receives what the specialisation depends on.
        kept: Receives objects whose identity is in the key, so that they stay alive with it.
        flattener: Tells which other objects are taken apart too.
    """
    if isinstance(value, Tensor):
        if value.is_composite:
            key.append((type(value), value.form()))
            for part in value.inner():
                flatten(part, tensors, key, kept, flattener)
            return
        tensors.append(value)
        key.append(tensor_key(value))
    elif isinstance(value, PLAIN) and (id(type(value)) in EXACT or (is_all(value) and is_singular(type(value)))):
        # The digits of 0.0 tell its sign, and those of NaN are equal to others.
        digits = isinstance(value, complex) or (isinstance(value, float) and not (value and value == value))
        key.append((type(value), repr(value) if digits else value))
    elif is_sequence(value):
        key.append((type(value), len(value)))
        for item in value:
            flatten(item, tensors, key, kept, flattener)
    elif type(value) is dict:
        key.append((dict, tuple(value), *map(type, value)))  # 1, 1.0 and True are one key
        for item in value.values():
            flatten(item, tensors, key, kept, flattener)
    elif type(value) is slice:
        parts: list[Hashable] = []  # apart: nothing stands in for its numbers
        for item in (value.start, value.stop, value.step):
            flatten(item, tensors, parts, kept)
        key.append((slice, *parts))
    elif type(value) is range:
        key.append((range, value.start, value.stop, value.step))
    elif isinstance(value, np.generic):
        key.append((type(value), value.tobytes()))
    elif flattener is not None and flattener.arrays is not None and type(value) is np.ndarray:
        key.append((np.ndarray, *array_key(value), flattener.meets(value)))
        flattener.arrays.append(value)
    elif flattener is not None and is_flattened(value, flattener.layouts):
        _open(value, tensors, key, kept, flattener)
    else:
        key.append(identity_key(value))
        kept.append(value)


def is_sequence(value: Any) -> bool:
    """Whether a value counts item by item: a list, a tuple or a named tuple."""
    if type(value) is list or type(value) is tuple:
        return True
    return isinstance(value, tuple) and hasattr(value, "_fields") and is_singular(type(value))


def identity_key(value: Any) -> tuple[Any, int]:
    """The part of a key for an object that counts by identity."""
    cls = type(value)
    return (cls if is_singular(cls) else _STRANGE), id(value)


#: In place of a class that is no key.
_STRANGE = "a class whose metaclass tells what it is equal to"


def _open(value: Any, tensors: list[Tensor], key: list[Hashable], kept: list[Any], flattener: Flattener) -> None:
    """Take an object apart."""
    met = flattener.meets(value)
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
            flatten(item, tensors, key, kept, flattener)
    if isinstance(value, defaultdict):
        form.append(id(value.default_factory))
        kept.append(value.default_factory)
    key[at] = tuple(form)


def array_key(array: Any) -> tuple[Any, ...]:
    """What a specialisation depends on of an array of NumPy's that it is given."""
    return array.dtype.str, array.shape, array.strides


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
            order = dense_order(shape, strides, dtype.itemsize)
            if order is not None:
                part = (cls, dtype, tuple(n if n < 2 else None for n in shape), order, *rest)
        parts.append(part)
    return tuple(parts), tuple(shapes)
