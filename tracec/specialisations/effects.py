"""What a function does to Python objects around it, done again at each call: attributes, globals, lists, dictionaries.

When a function was recorded, what it left in the places that it can reach is compared with what was there. Each
difference is an effect: something that is put where something else was. What is put may hold tensors and numbers of
the call, so it is part of what the program gives, as results are; objects that were there before stay the same ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio, plain
from tracec.ir.number import Float, Integer, value_of
from tracec.record.cell import Cell
from tracec.record.opaque import Opaque, unwrapped
from tracec.record.recording import is_number
from tracec.record.structure import Aspect, Slots, aspects, children, is_data, made_again, setter
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
    """A set or deque.

    Attributes:
        make: Makes it of its items.
        items: These.
    """

    make: Callable[[list[Any]], Any]
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
    assert isinstance(form, Named)
    name, inner = form.number, rebuilder(form.inner)

    def make(parts: Parts) -> Any:
        made = parts.named[name] = inner(parts)
        return made

    return make


class Former:
    """Puts forms in place of what is not made anew at each call.

    Args:
        known: Whether an object was there before the call.
        given: Identity of a list or dictionary among the arguments → where it is.
    """

    def __init__(self, known: Callable[[Any], bool], given: Mapping[int, tuple[Any, ...]]) -> None:
        self._known = known
        self._given = given
        self._made: dict[int, tuple[int, Any]] = {}
        self._repeated: set[int] = set()
        #: A dictionary was met that has something as a key that may be another thing in the next call.
        self.has_keys = False

    def count(self, value: Any) -> None:
        """Note the containers that values have in common; asked of all values before any is formed."""
        if isinstance(value, Growing):
            return
        if id(value) in self._made:
            self._repeated.add(id(value))
            return
        if self._is_made(value):
            self._made[id(value)] = len(self._made), value
            for part in _parts_of(value):
                self.count(part)

    def form(self, value: Any, inside: tuple[int, ...] = ()) -> Any:
        """A value with forms in it.

        Raises:
            RecursionError: it holds itself.
        """
        if isinstance(value, Growing):
            return Kept(value.original)
        if id(value) in self._given:
            return Given(self._given[id(value)])
        if not self._is_made(value):
            plain = isinstance(value, (Cell, Form)) or is_number(value) or not self._known(value)
            return value if plain else Kept(value)
        if id(value) in inside:
            raise RecursionError("holds itself")
        number = self._made[id(value)][0]
        if id(value) in self._repeated:
            if number < 0:
                return Again(-number - 1)
            self._made[id(value)] = -number - 1, value
        found = self._formed(value, (*inside, id(value)))
        return Named(number, found) if id(value) in self._repeated else found

    def _formed(self, value: Any, inside: tuple[int, ...]) -> Any:
        cls: Any = type(value)
        if isinstance(value, deque):
            most = value.maxlen
            return Filled(lambda items: cls(items, most), [self.form(v, inside) for v in value])
        if isinstance(value, (set, frozenset)):
            return Filled(cls, [self.form(v, inside) for v in value])
        if isinstance(value, tuple):
            parts = [self.form(v, inside) for v in value]
            return cls(*parts) if hasattr(cls, "_fields") else cls(parts)
        if isinstance(value, dict):
            self.note_keys(value)
        return made_again(value, (self.form(v, inside) for v in children(value)))

    def note_keys(self, keys: Iterable[Any]) -> None:
        """Note whether any of these keys may be another one in the next call."""
        self.has_keys = self.has_keys or not all(map(self._is_fixed, keys))

    def _is_fixed(self, key: Any) -> bool:
        if isinstance(key, (*PLAIN, type, Enum, DType)):
            return True
        if isinstance(key, (tuple, frozenset)):
            return all(map(self._is_fixed, key))
        return self._known(key) and not isinstance(key, Cell) and id(key) not in self._given

    def _is_made(self, value: Any) -> bool:
        """Whether a value is a container that the function has made."""
        if is_number(value) or id(value) in self._given or self._known(value):
            return False
        if isinstance(value, (tuple, set, frozenset, deque)):
            return True
        return is_data(value) and not isinstance(value, Form)


def _parts_of(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, set, frozenset, deque)) else children(value)


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
    """

    effects: tuple[Effect, ...]

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


_STAND_INS = (Integer, Float, Opaque, Extent, Ratio)


def plain_number(value: Any) -> Any:
    """A number as Python has it; anything else as it is."""
    return plain(unwrapped(value_of(value)))


def purged(value: Any, is_known: Callable[[Any], bool], seen: set[int] | None = None) -> Any:
    """A value with no Number in it; containers that the function has made are changed themselves, tuples replaced."""
    if type(value) in _STAND_INS:
        return plain_number(value)
    if isinstance(value, Growing):
        return value.original
    seen = set() if seen is None else seen
    if isinstance(value, Cell) or id(value) in seen or is_known(value):
        return value
    if isinstance(value, tuple):
        parts = [purged(v, is_known, seen) for v in value]
        if all(a is b for a, b in zip(parts, value, strict=True)):
            return value
        cls: Any = type(value)
        return cls(*parts) if hasattr(cls, "_fields") else cls(parts)
    seen.add(id(value))
    if isinstance(value, deque):
        _purge(value, enumerate(list(value)), is_known, seen)
    elif isinstance(value, set):
        if any(type(v) in _STAND_INS for v in value):
            refill(value, [plain_number(v) for v in value])
    elif is_data(value):
        for aspect in aspects(value):
            holder = aspect.of(value)
            _purge(
                holder, enumerate(list(holder)) if isinstance(holder, list) else list(holder.items()), is_known, seen
            )
    return value


def _purge(
    holder: Any, items: Iterable[tuple[Any, Any]], is_known: Callable[[Any], bool], seen: set[int]
) -> None:  # fmt: skip
    """Let a container hold no Number; no method of its class is called."""
    write = setter(holder)
    for key, value in items:
        if (plain := purged(value, is_known, seen)) is not value:
            write(holder, key, plain)
