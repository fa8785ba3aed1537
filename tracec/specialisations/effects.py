"""What a function does to Python objects around it, done again at each call: attributes, globals, lists, dictionaries.

When a function was recorded, what it left in the places that it can reach is compared with what was there. Each
difference is an effect: something that is put where something else was. What is put may hold tensors and numbers of
the call, so it is part of what the program gives, as results are; objects that were there before stay the same ones.
"""

from __future__ import annotations

import functools
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio, plain
from tracec.ir.number import Float, Integer, value_of
from tracec.record.backend import Device
from tracec.record.cell import Cell
from tracec.record.deferred import seen_by_others
from tracec.record.elements import Elements, looked_into
from tracec.record.opaque import Opaque, unwrapped
from tracec.record.recording import is_number
from tracec.record.structure import (
    Aspect,
    Mould,
    Slots,
    aspects,
    children,
    is_data,
    is_plain_class,
    made_again,
    setter,
    tuple_maker,
)
from tracec.specialisations.growing import Growing
from tracec.specialisations.guards import Contents, Guard
from tracec.specialisations.places import MISSING, PLAIN, Place, refill

#: Among the symbols of a call, its arguments: those by position, then those by name.
ARGUMENTS = -1


class Form:
    """Stands for a value that is made, or found, at each call; see `Parts`."""


class Kept(Form):
    """An object that was there before the call."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Given(Form):
    """A list or dictionary that may be another one at each call.

    Attributes:
        path: Position of the argument that it is in, or the place that it is in, then keys.
    """

    def __init__(self, path: tuple[Any, ...]) -> None:
        self.path = path

    def find(self, symbols: Mapping[int, Any]) -> Any:
        """The one of a call."""
        root, *keys = self.path
        found = root.now() if isinstance(root, Place) else symbols[ARGUMENTS][root]
        for key in keys:
            found = key.of(found) if type(key) is Aspect else found[key]
        return found


class Again(Form):
    """A container that was made before, under that number."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True)
class Named(Form):
    """A container that is made once, and is found again under a number.

    Attributes:
        number: The number.
        inner: What it is.
    """

    number: int
    inner: Any


@dataclass(frozen=True)
class Filled(Form):
    """A set, a deque, or a tuple with attributes.

    Attributes:
        make: Makes it of its items.
        items: These.
    """

    make: Callable[[list[Any]], Any]
    items: list[Any]


@dataclass(frozen=True)
class Moulded(Form):
    """An object of a class that functions do not make to hold several values only, or one that holds itself.

    Attributes:
        empty: Makes it without its parts.
        fill: Gives it these.
        items: These.
    """

    empty: Callable[[], Any]
    fill: Callable[[Any, Iterator[Any]], None]
    items: list[Any]


class Parts:
    """The tensors and numbers of a call, in order, that values are made of.

    Args:
        parts: These.
        symbols: The call's symbols.
    """

    def __init__(self, parts: Iterator[Any], symbols: Mapping[int, Any]) -> None:
        self._parts = parts
        self.symbols = symbols
        self.named: dict[int, Any] = {}

    def __iter__(self) -> Parts:
        return self

    def __next__(self) -> Any:
        return next(self._parts)


Maker = Callable[[Any], Any]


def form_maker(form: Form, rebuilder: Callable[[Any], Maker]) -> Maker:
    """How a form's value is made of the parts of a call."""
    if isinstance(form, Kept):
        value = form.value
        return lambda parts: value
    if isinstance(form, Given):
        find = form.find
        return lambda parts: find(parts.symbols)
    if isinstance(form, Again):
        number = form.number
        return lambda parts: parts.named[number]
    if isinstance(form, Filled):
        fill, items = form.make, rebuilder(form.items)
        return lambda parts: fill(items(parts))
    if isinstance(form, Moulded):
        return _moulder(form, rebuilder, None)
    assert isinstance(form, Named)
    if isinstance(form.inner, Moulded):
        return _moulder(form.inner, rebuilder, form.number)
    name, inner = form.number, rebuilder(form.inner)

    def make(parts: Parts) -> Any:
        made = parts.named[name] = inner(parts)
        return made

    return make


def _moulder(form: Moulded, rebuilder: Callable[[Any], Maker], name: int | None) -> Maker:
    empty, fill, inner = form.empty, form.fill, [rebuilder(v) for v in form.items]

    def make(parts: Parts) -> Any:
        made = empty()
        if name is not None:  # it may hold itself
            parts.named[name] = made
        fill(made, iter([part(parts) for part in inner]))
        return made

    return make


#: Objects within objects that are made anew.
_DEEPEST = 100


class Former:
    """Puts forms in place of what is not made anew at each call.

    Args:
        known: Whether an object was there before the call.
        new: Whether an object came to be in it.
        given: Identity of a list or dictionary among the arguments → where it is.

    Attributes:
        classes: Those of objects that are made anew, of containers and the like aside.
    """

    def __init__(
        self, known: Callable[[Any], bool], new: Callable[[Any], bool], given: Mapping[int, tuple[Any, ...]]
    ) -> None:
        self._known = known
        self._new = new
        self._given = given
        self._made: dict[int, tuple[int, Any]] = {}
        self._repeated: set[int] = set()
        self._cyclic: set[int] = set()
        self.classes: set[type] = set()
        #: A dictionary was met that has something as a key that may be another thing in the next call.
        self.has_keys = False
        #: A list or dictionary was met that holds itself, with no object between.
        self.holds_itself = False

    def count(self, value: Any) -> None:
        """Note the containers that values have in common; asked of all values before any is formed."""
        if isinstance(value, Growing):
            return
        if type(value) is Elements and value.tensor is None:
            looked_into(value)
        if id(value) in self._made:
            self._repeated.add(id(value))
            return
        if self._has_grad(value):
            self.count(value._grad)
        if self._is_made(value):
            self._made[id(value)] = len(self._made), value
            if is_new_object(value, self._new) and not (isinstance(value, tuple) or is_data(value)):
                self.classes.add(type(value))
            for part in _parts_of(value):
                self.count(part)

    def form(self, value: Any, inside: tuple[int, ...] = ()) -> Any:
        """A value with forms in it.

        Raises:
            RecursionError: it is a tuple, set or deque that holds itself, or nested too deep.
        """
        if isinstance(value, Growing):
            return Kept(value.original)
        if id(value) in self._given:
            return Given(self._given[id(value)])
        if self._has_grad(value):
            return Filled(_with_grad, [value, value._grad])
        if not self._is_made(value):
            plain = isinstance(value, (Cell, Form)) or is_number(value) or not self._known(value)
            return value if plain else Kept(value)
        number = self._made[id(value)][0]
        if len(inside) > _DEEPEST:
            raise RecursionError("is nested too deep")
        if id(value) in inside:
            if isinstance(value, (tuple, set, frozenset, deque)):
                raise RecursionError("holds itself")
            self._cyclic.add(id(value))
            between = [type(self._made[k][1]) for k in inside[inside.index(id(value)) :]]
            self.holds_itself = self.holds_itself or all(cls in (list, dict, tuple) for cls in between)
            return Again(number if number >= 0 else -number - 1)
        if id(value) in self._repeated:
            if number < 0:
                return Again(-number - 1)
            self._made[id(value)] = -number - 1, value
        found = self._formed(value, (*inside, id(value)))
        if id(value) not in self._repeated:
            return found
        return Named(number, found)

    def _formed(self, value: Any, inside: tuple[int, ...]) -> Any:
        cls: Any = type(value)
        if cls is Elements:
            return Filled(_array_of, [value.tensor])
        if isinstance(value, deque):
            most = value.maxlen
            return Filled(lambda items: cls(items, most), [self.form(v, inside) for v in value])
        if isinstance(value, (set, frozenset)):
            return Filled(cls, [self.form(v, inside) for v in value])
        if isinstance(value, tuple):
            return tuple_maker(value)([self.form(v, inside) for v in value])
        if isinstance(value, dict) and not all(map(self._is_fixed, value)):
            if cls in (dict, OrderedDict, defaultdict) and all(map(self._can_be_key, value)):
                return Filled(_keyed(value), [self.form(v, inside) for v in (*value, *value.values())])
            self.has_keys = True
        parts = [self.form(v, inside) for v in children(value)]
        if is_data(value) and id(value) not in self._cyclic:
            return made_again(value, iter(parts))
        mould = Mould(value)
        return Moulded(mould.empty, mould.fill, parts)

    def note_keys(self, keys: Iterable[Any]) -> None:
        """Note whether any of these keys may be another one in the next call."""
        self.has_keys = self.has_keys or not all(map(self._is_fixed, keys))

    def _is_fixed(self, key: Any) -> bool:
        if isinstance(key, (*PLAIN, type, Enum, DType)):
            return True
        if isinstance(key, (tuple, frozenset)):
            return all(map(self._is_fixed, key))
        return self._known(key) and not isinstance(key, Cell) and id(key) not in self._given

    def _can_be_key(self, key: Any) -> bool:
        return self._is_fixed(key) or isinstance(key, Cell) or (self._is_made(key) and not isinstance(key, tuple))

    def _has_grad(self, value: Any) -> bool:
        """Whether a value is a leaf that the function has made and computed gradients of."""
        return isinstance(value, Cell) and value._requires_grad and value._grad is not None and self._new(value)

    def _is_made(self, value: Any) -> bool:
        """Whether a value is a container that the function has made."""
        if is_number(value) or id(value) in self._given or self._known(value):
            return False
        if type(value) is Elements:
            return value.tensor is not None
        if isinstance(value, (tuple, set, frozenset, deque)):
            return True
        return not isinstance(value, (Form, *AS_THEY_ARE)) and (is_data(value) or is_new_object(value, self._new))


_STAND_INS = (Integer, Float, Opaque, Extent, Ratio, Elements)
#: Tensors, and what is the same thing in every call.
AS_THEY_ARE = (Cell, DType, Device, Enum)


def is_new_object(value: Any, new: Callable[[Any], bool]) -> bool:
    """Whether a value is an object of the user's that a function made, of a class that was there before the call.

    Args:
        value: The value.
        new: Whether an object came to be in the call.
    """
    cls = type(value)
    if cls in _STAND_INS or isinstance(value, AS_THEY_ARE):
        return False
    return is_plain_class(cls) and new(value) and not new(cls) and not weakref.getweakrefcount(value)


def _parts_of(value: Any) -> list[Any]:
    if type(value) is Elements:
        return []
    if isinstance(value, (tuple, set, frozenset, deque)):
        return list(value)
    return [*value, *children(value)] if isinstance(value, dict) else children(value)


def _array_of(parts: list[Any]) -> Any:
    return seen_by_others(parts[0]._array)


def _with_grad(parts: list[Any]) -> Any:
    leaf, leaf._grad = parts
    return leaf


def _keyed(value: dict[Any, Any]) -> Callable[[list[Any]], Any]:
    """What makes a dictionary like another one, of its keys and then its values."""
    count = len(value)
    empty: Callable[[], Any] = type(value)
    if isinstance(value, defaultdict):
        empty = functools.partial(defaultdict, value.default_factory)

    def make(parts: list[Any]) -> Any:
        made = empty()
        made.update(zip(parts[:count], parts[count:], strict=True))
        return made

    return make


@dataclass(frozen=True)
class Effect:
    """Something that a function leaves behind.

    Attributes:
        name: How the user would write the place.
        holder: The container or other holder, or the form of it.
        key: What is put there: the item of that key; `ALL` for all items, `MORE` for further items.
        deleted: The item is taken away.
        place: The place, of an item that is put.
    """

    name: str
    holder: Any
    key: Any
    deleted: bool = False
    place: Place | None = None

    @property
    def identity(self) -> Any:
        """Tells what is changed."""
        if isinstance(self.holder, Given):
            owner: Hashable = tuple(p.identity if isinstance(p, Place) else p for p in self.holder.path)
        else:
            owner = id(self.holder.owner if isinstance(self.holder, Slots) else self.holder)
        return owner, id(self.key) if isinstance(self.key, (_All, _More)) else self.key

    def find(self, symbols: Mapping[int, Any]) -> Any:
        """The holder in a call."""
        return self.holder.find(symbols) if isinstance(self.holder, Given) else self.holder

    def apply(self, holder: Any, value: Any) -> None:
        """Do it again."""
        if self.key is ALL:
            refill(holder, value)
        elif self.key is MORE:
            holder.extend(value)
        elif self.deleted:
            Place(holder, self.key).put(MISSING)
        else:
            Place(holder, self.key).put(value)


class _All:
    """In place of a key: all items."""


ALL = _All()


class _More:
    """In place of a key: further items."""


MORE = _More()


@dataclass(frozen=True)
class Effects:
    """All that a function leaves behind; its results come first among what its program gives, then these values.

    Attributes:
        effects: In the order of the places.
        classes: Those of the objects that are put there, of containers aside.
    """

    effects: tuple[Effect, ...]
    classes: frozenset[type] = frozenset()

    def apply(self, made: Any, symbols: Mapping[int, Any]) -> Any:
        """Do all of it again, and give the results."""
        out, values = made
        holders = [effect.find(symbols) for effect in self.effects]  # before anything is put in their places
        for effect, holder, value in zip(self.effects, holders, values, strict=True):
            effect.apply(holder, value)
        return out


def effects_of(
    guard: Guard | Contents, written: Container[Hashable], stood: Mapping[Hashable, Any], holder: Any = None
) -> list[tuple[Effect, Any]]:
    """What was changed in a place or container, and the values that are there now.

    Args:
        guard: The place or container, as it was.
        written: Identities of places that are known to have been written to.
        stood: Identities of places that were not → what stood there for a number that may be another one.
        holder: The form of the container, where it is not the same one at each call.
    """
    if isinstance(guard, Guard):
        place = guard.place
        now = place.now()
        return [(Effect(guard.name, place.holder, place.key, now is MISSING, place), None if now is MISSING else now)]
    container = guard.holder
    target = container if holder is None else holder
    identity = id(container)
    if not isinstance(container, (dict, Slots)):
        return [(Effect(guard.name, target, ALL), [stood.get((identity, k), v) for k, v in enumerate(container)])]
    before = dict(guard.items())
    changed = [k for k, v in container.items() if k not in before or before[k] is not v or (identity, k) in written]
    gone = [k for k in before if k not in container]
    order = [k for k in before if k in container] + [k for k in container if k not in before]
    if order != list(container):
        return [(Effect(guard.name, target, ALL), {k: stood.get((identity, k), v) for k, v in container.items()})]
    deleted = [(Effect(guard.item(k), target, k, True), None) for k in gone]
    places = [(k, Place(container, k) if holder is None else None) for k in changed]
    return [*deleted, *((Effect(guard.item(k), target, k, False, p), container[k]) for k, p in places)]


def plain_number(value: Any) -> Any:
    """A number as Python has it; anything else as it is."""
    return plain(unwrapped(value_of(value)))


class Purge:
    """Leaves no Number in what a function gives, or has changed.

    Args:
        known: Whether an object was there before the call.
        new: Whether an object came to be in it.
    """

    def __init__(self, known: Callable[[Any], bool], new: Callable[[Any], bool]) -> None:
        self._known, self._new = known, new
        self._seen: set[int] = set()
        self._found: list[Any] = []

    def __call__(self, value: Any) -> Any:
        """The value with none in it; containers that the function has made are changed themselves, tuples replaced."""
        made = self._plain(value)
        while self._found:
            found = self._found.pop()
            if isinstance(found, deque):
                self._purge(found, enumerate(list(found)))
            elif isinstance(found, set):
                if any(type(v) in _STAND_INS for v in found):
                    refill(found, [plain_number(v) for v in found])
            else:
                for aspect in aspects(found):
                    holder = aspect.of(found)
                    if isinstance(holder, dict) and any(type(k) in _STAND_INS for k in holder):
                        refill(holder, {plain_number(k): v for k, v in holder.items()})
                    self._purge(holder, enumerate(list(holder)) if isinstance(holder, list) else list(holder.items()))
        return made

    def _plain(self, value: Any) -> Any:
        if type(value) in _STAND_INS:
            return plain_number(value)
        if type(value) is Elements:
            return value.array
        if isinstance(value, Growing):
            return value.original
        if isinstance(value, Cell) or id(value) in self._seen or self._known(value):
            return value
        if isinstance(value, tuple):
            parts = [self._plain(v) for v in value]
            same = all(a is b for a, b in zip(parts, value, strict=True))
            return value if same else tuple_maker(value)(parts)
        self._seen.add(id(value))
        if isinstance(value, (deque, set)) or is_data(value) or is_new_object(value, self._new):
            self._found.append(value)
        return value

    def _purge(self, holder: Any, items: Iterable[tuple[Any, Any]]) -> None:
        """Let a container hold no Number; no method of its class is called."""
        write = setter(holder)
        for key, value in items:
            if (plain := self._plain(value)) is not value:
                write(holder, key, plain)
