"""Objects as structures: where instances of a class keep their state, so that it can be flattened and rebuilt.

The state of an instance lies in up to three places: its attributes, its slots, and its items, where its class is a kind
of dictionary or list. A class whose instances keep more than that (memory of C code, say) has no layout.
"""

from __future__ import annotations

import functools
import itertools
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from threading import local
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from tracec.ir.classes import is_heap_type, is_singular
from tracec.ir.number import value_of


class Slots:
    """The attributes of an object that it keeps in slots, as a mapping.

    Attributes:
        owner: The object.
    """

    def __init__(self, owner: Any, names: tuple[str, ...] = ()) -> None:
        self.owner = owner
        self._names = names

    def __getitem__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self.owner, name)
        except AttributeError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        object.__setattr__(self.owner, name, value)

    def __delitem__(self, name: str) -> None:
        object.__delattr__(self.owner, name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if self._holds(name))

    def __len__(self) -> int:
        return sum(map(self._holds, self._names))

    def __contains__(self, name: str) -> bool:
        return name in self._names and self._holds(name)

    def _holds(self, name: str) -> bool:
        try:
            object.__getattribute__(self.owner, name)
        except AttributeError:
            return False
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """What is in one; the default where nothing is."""
        try:
            return self[name]
        except KeyError:
            return default

    def values(self) -> list[Any]:
        """What is in those that hold something."""
        return [self[name] for name in self]

    def items(self) -> list[tuple[str, Any]]:
        """Their names, and what is in them."""
        return [(name, self[name]) for name in self]


class Cells(Slots):
    """What a function closes over, as a mapping."""

    def __init__(self, owner: Any) -> None:
        super().__init__(owner, owner.__code__.co_freevars)

    def _cell(self, name: str) -> types.CellType:
        found: types.CellType = self.owner.__closure__[self._names.index(name)]
        return found

    def __getitem__(self, name: str) -> Any:
        try:
            return self._cell(name).cell_contents
        except ValueError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        self._cell(name).cell_contents = value

    def __delitem__(self, name: str) -> None:
        del self._cell(name).cell_contents

    def _holds(self, name: str) -> bool:
        try:
            self._cell(name).cell_contents  # noqa: B018
        except ValueError:
            return False
        return True


class Partial(Slots):
    """What a partial function is made of, as a mapping."""

    def __init__(self, owner: Any) -> None:
        super().__init__(owner, ("func", "args", "keywords"))

    def __setitem__(self, name: str, value: Any) -> None:
        parts = {**dict(self.items()), name: value}
        self.owner.__setstate__((parts["func"], parts["args"], parts["keywords"], vars(self.owner) or None))


class Layout(NamedTuple):
    """Where instances of a class keep their state.

    Attributes:
        base: The builtin class that they are of: a kind of dictionary or list, or one that has no items.
        attributes: They have a dictionary of attributes.
        slots: Names of their slots.
    """

    base: Any
    attributes: bool
    slots: tuple[str, ...]


class Aspect:
    """One of the places that the state of an object lies in.

    Args:
        name: Its name.
        find: Gives the mapping, or list, of an object.
    """

    def __init__(self, name: str, find: Callable[[Any], Any]) -> None:
        self._name = name
        self.of = find

    def __repr__(self) -> str:
        return self._name


def attributes_of(value: Any) -> Any:
    """The dictionary of an object's attributes."""
    if issubclass(type(value), local):  # of a thread's own ones
        return local.__getattribute__(value, "__dict__")
    return object.__getattribute__(value, "__dict__")


def _slots_of(value: Any) -> Slots:
    layout = layout_of(type(value))
    return Slots(value, () if layout is None else layout.slots)


def _parts(*names: str) -> Aspect:
    return Aspect("parts", lambda value: Slots(value, names))


ITEMS = Aspect("items", lambda value: value)
ATTRIBUTES = Aspect("attributes", attributes_of)
SLOTS = Aspect("slots", _slots_of)
CELLS = Aspect("cells", Cells)
#: Not what is in the cells of a function: these themselves, which functions may have in common.
THE_CELLS = Aspect("the cells", lambda f: dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)))

#: The places that the state of objects of some classes of Python's own lies in.
_ASPECTS: dict[type, list[Aspect]] = {
    types.FunctionType: [CELLS, _parts("__defaults__", "__kwdefaults__")],
    types.MethodType: [_parts("__func__", "__self__")],
    functools.partial: [Aspect("parts", Partial)],
    deque: [ITEMS],
    set: [],
    frozenset: [],
}

#: Whose items are known, and what is not to be written anew where they are.
_ITEMS: dict[type, tuple[str, ...]] = {
    dict: ("__iter__", "__len__", "keys", "values", "items"),
    OrderedDict: ("__iter__", "__len__", "keys", "values", "items"),
    defaultdict: ("__iter__", "__len__", "keys", "values", "items"),
    list: ("__iter__", "__len__"),
}
_OFFSETS = {"__dict__": "__dictoffset__", "__weakref__": "__weakrefoffset__"}
_known: WeakKeyDictionary[type, Layout | None] = WeakKeyDictionary()


def layout_of(cls: Any) -> Layout | None:
    """Where instances of a class keep their state; None where that is not known."""
    if not is_singular(cls):
        return None
    try:
        return _known[cls]
    except KeyError:
        found = _known[cls] = _layout(cls)
        return found


def slot_names(cls: type) -> tuple[str, ...]:
    """The names of the slots of a class, as the interpreter knows them."""
    if not is_heap_type(cls):
        return ()
    found = (
        k for base in cls.__mro__[:-1] for k, v in base.__dict__.items() if isinstance(v, types.MemberDescriptorType)
    )
    return tuple(dict.fromkeys(found))


def _layout(cls: Any) -> Layout | None:
    if cls in _ITEMS or cls in _ASPECTS or cls is types.SimpleNamespace:
        return Layout(cls, bool(cls.__dictoffset__), ())
    heap = [base for base in cls.__mro__ if is_heap_type(base)]
    base = next(base for base in cls.__mro__ if base not in heap)
    if cls not in heap or base not in (object, types.SimpleNamespace, *_ITEMS) or issubclass(cls, type):
        return None
    written = {name for c in heap for name in c.__dict__}
    if not written.isdisjoint(("__del__", *_ITEMS.get(base, ()))):
        return None
    own = [c.__dict__["__dict__"] for c in heap if "__dict__" in c.__dict__]
    if not all(isinstance(v, types.GetSetDescriptorType) for v in own):
        return None
    slots = slot_names(cls)
    special = [name for name in ("__dict__", "__weakref__") if _adds(cls, base, _OFFSETS[name])]
    probe: Any = type("Probe", (base,), {"__slots__": (*(f"a{k}" for k in range(len(slots))), *special)})
    if probe.__basicsize__ != cls.__basicsize__ or cls.__itemsize__ != base.__itemsize__:
        return None  # C code keeps something there
    return Layout(base, bool(cls.__dictoffset__), slots)


def _adds(cls: type, base: type, offset: str) -> bool:
    return bool(getattr(cls, offset)) and not getattr(base, offset)


def is_data_class(cls: Any) -> bool:
    """Whether instances of a class are made to hold several values, and where they keep these is known."""
    if not (issubclass(cls, (dict, list, types.SimpleNamespace)) or hasattr(cls, "__dataclass_fields__")):
        return False
    return layout_of(cls) is not None


def is_data(value: Any) -> bool:
    """Whether an object is of such a class."""
    return is_data_class(type(value))


def is_plain_class(cls: Any) -> bool:
    """Whether instances of a class that Python code defines are no more than what is in their attributes and slots."""
    return is_heap_type(cls) and layout_of(cls) is not None


def aspects(value: Any) -> list[Aspect]:
    """The places that the state of an object lies in; none where its class has no layout."""
    layout = layout_of(type(value))
    if layout is None or type(value) in _ASPECTS:
        return _ASPECTS.get(type(value), [])
    found = [ITEMS] if layout.base in _ITEMS else []
    if layout.attributes:
        found.append(ATTRIBUTES)
    return [*found, SLOTS] if layout.slots else found


def children(value: Any) -> list[Any]:
    """All that an object of a class with a layout consists of, in order."""
    found: list[Any] = []
    for aspect in aspects(value):
        holder = aspect.of(value)
        found += items_of(holder)
    return found


def items_of(holder: Any) -> Iterable[Any]:
    """What a list, deque or mapping holds."""
    if isinstance(holder, list):
        return list.__iter__(holder)
    return holder if isinstance(holder, deque) else holder.values()


def made_again(value: Any, parts: Iterator[Any]) -> Any:
    """An object like another one, of other parts; no method of its class is called.

    Args:
        value: The object.
        parts: What is to be in the places of its children.
    """
    mould = Mould(value)
    made = mould.empty()
    mould.fill(made, parts)
    return made


def tuple_maker(value: tuple[Any, ...]) -> Callable[[Iterable[Any]], Any]:
    """What makes tuples of the class of one; no method of a class that Python code defines is called."""
    cls: Any = type(value)
    if cls is tuple:
        return tuple
    try:
        tuple.__new__(cls, value)
    except TypeError:  # C code checks what is in it
        return cls  # type: ignore[no-any-return]
    return lambda parts: tuple.__new__(cls, parts)


class Mould:
    """How objects like another one are made, of other parts; no method of their class is called.

    Args:
        value: The object, which is not kept.
    """

    def __init__(self, value: Any) -> None:
        cls: Any = type(value)
        layout = layout_of(cls)
        assert layout is not None
        self._class, self._new = cls, layout.base.__new__
        self._factory = value.default_factory if isinstance(value, defaultdict) else None
        self._fills = [_filler(aspect, aspect.of(value)) for aspect in aspects(value)]

    def empty(self) -> Any:
        """One that has no parts yet."""
        made = self._new(self._class)
        if self._factory is not None:
            made.default_factory = self._factory
        return made

    def fill(self, made: Any, parts: Iterator[Any]) -> None:
        """Give one its parts: what is to be in the places of its children."""
        for fill in self._fills:
            fill(made, parts)


def _filler(aspect: Aspect, like: Any) -> Callable[[Any, Iterator[Any]], None]:
    """What fills one aspect of an object as another one's is, with other parts."""
    find = aspect.of
    if isinstance(like, list):
        count = len(like)
        return lambda made, parts: list.extend(made, itertools.islice(parts, count))
    keys, write = tuple(map(value_of, like)), setter(like)
    if aspect is ATTRIBUTES and type(like) is dict:
        return lambda made, parts: find(made).update(zip(keys, parts))  # noqa: B905 (there are more parts)

    def fill(made: Any, parts: Iterator[Any]) -> None:
        holder = find(made)
        for key in keys:
            write(holder, key, next(parts))

    return fill


def setter(holder: Any) -> Callable[[Any, Any, Any], None]:
    """What puts an item into a mapping without a method of its class."""
    if isinstance(holder, OrderedDict):
        return OrderedDict.__setitem__
    if isinstance(holder, dict):
        return dict.__setitem__
    return list.__setitem__ if isinstance(holder, list) else type(holder).__setitem__


def remover(holder: Any) -> Callable[[Any, Any], None]:
    """What takes an item away from a mapping without a method of its class."""
    if isinstance(holder, OrderedDict):
        return OrderedDict.__delitem__
    return dict.__delitem__ if isinstance(holder, dict) else type(holder).__delitem__
