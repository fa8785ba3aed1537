"""Results and side effects as templates (`Form`): what of them is made anew at each call, and which objects stay.

Also takes the proxies out of what the recorded call itself returns.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Container, Iterable, Mapping
from enum import Enum
from typing import Any

from tracec.ir.classes import is_one_of
from tracec.ir.dtype import DType
from tracec.record.cell import Cell
from tracec.record.elements import Elements, looked_into
from tracec.record.recording import is_number
from tracec.record.seen import seen_by_others
from tracec.record.structure import Mould, aspects, children, is_data, made_again, setter, tuple_maker
from tracec.specialisations.append_only import AppendOnly
from tracec.specialisations.births import AS_THEY_ARE, is_new_object, is_stand_in
from tracec.specialisations.draws import Drawing
from tracec.specialisations.effects import Again, Filled, Form, Given, Kept, Moulded, Named, plain_number
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.places import refill

#: Objects within objects that are made anew.
_DEEPEST = 100


class Former:
    """Puts forms in place of what is not made anew at each call.

    Args:
        known: Whether an object was there before the call.
        new: Whether an object came to be in it.
        given: Identity of a list or dictionary among the arguments → where it is.
        same: Identities of tensors that are the same ones at the next call.

    Attributes:
        classes: Those of objects that are made anew, of containers and the like aside.
    """

    def __init__(
        self, known: Callable[[Any], bool], new: Callable[[Any], bool], given: Mapping[int, tuple[Any, ...]],
        same: Container[int] = (),
    ) -> None:  # fmt: skip
        self._known = known
        self._same = same
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
        if isinstance(value, AppendOnly):
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
        if isinstance(value, AppendOnly):
            return Kept(value.original)
        if type(value) is Drawing:
            return Kept(value.generator)
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
            self.holds_itself = self.holds_itself or all(is_one_of(cls, (list, dict, tuple)) for cls in between)
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
            if is_one_of(cls, (dict, OrderedDict, defaultdict)) and all(map(self._can_be_key, value)):
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
        if isinstance(key, Cell):
            return id(key) in self._same
        return self._known(key) and id(key) not in self._given

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


def make_keys_plain(holder: Any) -> None:
    """Let no key of a dictionary be a Number."""
    if isinstance(holder, dict) and any(map(is_stand_in, holder)):
        refill(holder, {plain_number(k): v for k, v in holder.items()})


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
                if any(map(is_stand_in, found)):
                    refill(found, [plain_number(v) for v in found])
            else:
                for aspect in aspects(found):
                    holder = aspect.of(found)
                    make_keys_plain(holder)
                    self._purge(holder, enumerate(list(holder)) if isinstance(holder, list) else list(holder.items()))
        return made

    def _plain(self, value: Any) -> Any:
        if is_stand_in(value):
            return plain_number(value)
        if type(value) is Elements:
            return value.array
        if isinstance(value, AppendOnly):
            return value.original
        if type(value) is Drawing:
            return value.generator
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
