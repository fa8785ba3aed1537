"""Side effects of a function on Python objects (attributes, globals, lists, dictionaries), replayed at each call.

When a function was recorded, what it left in the places that it can reach is compared with what was there. Each
difference is an effect: something that is put where something else was. What is put may hold tensors and numbers of
the call, so it is part of what the program gives, as results are; objects that were there before stay the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tracec.ir.extent import plain
from tracec.ir.number import value_of
from tracec.record.elements import Elements
from tracec.record.opaque import unwrapped
from tracec.record.structure import (
    Aspect,
    Slots,
)
from tracec.specialisations.draws import Drawing
from tracec.specialisations.guards import Contents, Guard
from tracec.specialisations.places import MISSING, Place, refill

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
        grads: Tensors whose ``grad`` the last values become, which others may share; see `Replay`.
    """

    effects: tuple[Effect, ...]
    classes: frozenset[type] = frozenset()
    grads: tuple[Any, ...] = ()

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
    if type(value) is Elements:
        return value.array
    return value.generator if type(value) is Drawing else plain(unwrapped(value_of(value)))
