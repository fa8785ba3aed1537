"""What a function can read besides its arguments, found by walking from the function, and whether it is as it was."""

from __future__ import annotations

import random
import types
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from operator import is_ as _is
from typing import Any

import numpy as np

from tracec.record.tensor import Tensor
from tracec.runtime.containers import quickly
from tracec.specialisations.digests import Digest
from tracec.specialisations.effects import ARGUMENTS, MORE, Effect, Given, effects_of
from tracec.specialisations.guards import Contents, Guard
from tracec.specialisations.places import Kind, Slots, refill
from tracec.specialisations.walker import Walker, places_of

#: What is read with ``get``: dictionaries, and those of classes.
_MAPPINGS = (dict, types.MappingProxyType)


class Environment:
    """What a function can read besides its arguments: its cells, defaults, globals, and the objects found there.

    Args:
        fn: The function.
        arguments: Its arguments by name, whose attributes it can read too.
        watched: Identities of places, and the kinds of what may be there.

    Attributes:
        guards: What was there.
        captured: Memory that tensors found there look at; those among the arguments do not count.
        codes: The user's functions found there.
        tensors: Names of tensors found there, by identity.
        watched: The places whose value may be another one next time, each once.
        keeps: Whether functions are found there that keep their results.
        names: The globals, or builtins, that the user's functions name, with the dictionaries that they look into.
        takes_containers: Lists and dictionaries are among the arguments.
        given: Identity of a list or dictionary among the arguments, whose items are arguments too → where it is, and
            what it held.
        sharing: How the tensors that the function was given, and those in places that are watched, share memory.
    """

    sharing: tuple[Hashable, ...] = ()

    def __init__(
        self, fn: Callable[..., Any], arguments: Mapping[str, Any], watched: Mapping[Hashable, Kind] | None = None
    ) -> None:
        walker = Walker(watched or {})
        walker.visit("self", fn)
        self.captured = frozenset(walker.captured)
        for k, (name, value) in enumerate(arguments.items()):
            walker.argument(name, (k,), value)
        self.guards = walker.guards
        self.given = walker.given
        self._one, self._fixed = walker.one, walker.fixed
        #: Lists that the function adds to, and all places that hold them.
        walker.settle_growing()
        self.growing = [(name, x, places_of(x, self.guards)) for name, x in walker.growing.values()]
        self._grown = {id(x): list(x) for _, x, _ in self.growing}
        #: Identity of such a list → what a function that was recorded has added to it.
        self.added: dict[int, list[Any]] = {}
        #: Identities of places in which a number was watched that a function that was recorded has written to.
        self.written: set[Hashable] = set()
        #: Identities of those that it has not → what stood there for the number.
        self.stood: dict[Hashable, Any] = {}
        self.takes_containers = bool(walker.given or walker.fixed)
        self._known = walker.seen
        self._alive = walker.alive
        self.watched = tuple(walker.found.values())
        self.names = walker.names
        self.codes = tuple(walker.codes)
        self.tensors = walker.tensors
        self._sources = walker.sources
        self._iterators = walker.iterators
        self._states = [state() for state in self._sources]
        reads = [g for g in self.guards if isinstance(g, Guard) and g.kind is None]
        self._named = [(g.holder, g.key, g.value, g) for g in reads if type(g.holder) in _MAPPINGS]
        self._cells = [(g.holder, g.value, g) for g in reads if type(g.holder) is types.CellType]
        self._others = [g for g in reads if type(g.holder) not in (*_MAPPINGS, types.CellType)]
        #: Of some containers only the number of items counts, which needs no text.
        counted = [g for g in self._others if isinstance(g.holder, Digest) and g.holder.counts and g.holds()]
        self._counted = [(g.holder.of, len(g.holder.of), g) for g in counted]
        others = {id(g) for g in counted}
        self._others = [g for g in self._others if id(g) not in others]
        #: Items of containers that may be otherwise in part are looked at one by one.
        partly = [g for g in self.guards if isinstance(g, Contents) and g.kinds]
        self._partly = [(c.holder, list(c.keys) if c.keys and "[" in c.form else None, c) for c in partly]
        for c in partly:
            fixed = [Guard(c.item(k), c.holder, k, v) for k, v in c.items() if k not in c.kinds]
            mapping = isinstance(c.holder, dict)
            self._named += [(g.holder, g.key, g.value, g) for g in fixed if mapping]
            self._others += [g for g in fixed if not mapping]
        self._contents = [g for g in self.guards if isinstance(g, Contents) and not g.kinds]
        self._absent = [(g.holder, g.key, g) for g in walker.absent]
        self._objects = [value for _, value in walker.objects]
        self._types = list(map(type, self._objects))
        self._object_names = [name for name, _ in walker.objects]
        self.keeps = walker.keeps
        # All containers at once: a large model has hundreds.
        self._quickly, rest = quickly(self._contents)
        self._holders = [c.holder for c in rest]
        self._sizes = list(map(len, self._holders))
        self._items = [c.now for c in rest if c.values]
        self._values = [v for c in rest for v in c.values]
        self._keyed = [c.holder for c in rest if c.keys and "[" in c.form]
        self._keys = [k for c in rest if c.keys and "[" in c.form for k in c.keys]
        #: Attributes of one object are all: common among small functions, and checked in fewer steps.
        one = len(self._contents) == len(rest) == 1 and not self._keyed
        self._only = (self._holders[0], rest[0].now, self._values) if one else None
        around = self._named or self._cells or self._counted or self._others or self._partly or self._contents
        self._nothing = not (around or self._absent or self._objects)

    def is_like(self, other: Environment) -> bool:
        """Whether what holds of what another call read holds of this one too."""
        places = [[(g.place.identity, g.kind) for g in e.watched] for e in (self, other)]
        return self.fails() is None and places[0] == places[1] and self.sharing == other.sharing

    def fails(self) -> Guard | Contents | None:
        """The first guard that does not hold."""
        if self._nothing:
            return None
        for holder, key, value, guard in self._named:
            if holder.get(key) is not value and not guard.holds():
                return guard
        for cell, value, guard in self._cells:
            try:
                if cell.cell_contents is value:
                    continue
            except ValueError:  # it is empty now
                pass
            if not guard.holds():
                return guard
        for holder, count, guard in self._counted:
            if len(holder) != count:
                return guard
        for other in self._others:
            if not other.holds():
                return other
        for scope, name, guard in self._absent:
            if name in scope:
                return guard
        if self._objects and not all(map(_is, map(type, self._objects), self._types)):
            for name, value, cls in zip(self._object_names, self._objects, self._types, strict=True):
                if type(value) is not cls:
                    return Guard(f"{name}.__class__", Slots(value), "__class__", cls)
        for container, keys, contents in self._partly:
            if len(container) != len(contents.values) or (keys is not None and list(container) != keys):
                return contents
        if not self._contents or self._same_contents():
            return None
        return next((c for c in self._contents if not c.holds()), None)

    def _same_contents(self) -> bool:
        """Whether all containers hold the very same objects."""
        if self._only is not None:
            holder, items, values = self._only
            return len(holder) == len(values) and all(map(_is, items, values))
        if self._quickly is not None and not self._quickly():
            return False
        return not self._holders or (
            list(map(len, self._holders)) == self._sizes
            and all(map(_is, chain.from_iterable(self._items), self._values))
            and all(map(_is, chain.from_iterable(self._keyed), self._keys))
        )

    def present(self) -> tuple[list[Any], list[Tensor]] | None:
        """The numbers and the tensors in the places that are watched; None where there is something else."""
        numbers: list[Any] = []
        tensors: list[Tensor] = []
        for guard in self.watched:
            now, kind = guard.now(), guard.kind
            assert kind is not None
            if kind.is_structure:
                if not kind.take(now, tensors):
                    return None
                continue
            if kind.is_tensor:
                if not kind.holds(now):
                    return None
                tensors.append(now)
                continue
            found = kind.numbers(now)
            if found is None:
                return None
            numbers += found
        return numbers, tensors

    def knows(self, value: Any) -> bool:
        """Whether an object was there before the call; lists and dictionaries among the arguments do not count."""
        return id(value) in self._known

    def alias(self, roots: Sequence[Any]) -> bool:
        """Whether lists and dictionaries among the arguments are other ones of each other, or of those reached besides.

        Args:
            roots: The arguments.
        """
        symbols = {ARGUMENTS: roots}
        found = {id(Given(path).find(symbols)) for path, _ in self.given.values()}
        if len(found) != len(self.given) or not self._known.isdisjoint(found):
            return True
        if any(Given(a).find(symbols) is not Given(b).find(symbols) for a, b in self._one):
            return True
        return any(Given(path).find(symbols) is not value for path, value in self._fixed)

    def used_up(self) -> str | None:
        """What the function changed, or used up, that cannot be done again; asked when it has run."""
        if self._iterators:
            return f"takes from an iterator, {self._iterators[0]}"
        if any(repr(state()) != repr(before) for state, before in zip(self._sources, self._states, strict=True)):
            return "draws numbers from Python's or NumPy's generators"
        for guard in self.guards:
            if isinstance(guard, Guard) and isinstance(guard.holder, Digest) and not guard.holds():
                return f"changes {guard.holder.kind}, {guard.name}"
        return None

    def changes(self) -> list[tuple[Effect, Any]]:
        """What the function changed, and what is there now."""
        found: dict[Any, tuple[Effect, Any]] = {}
        for guard in self.guards:
            if self._is_changed(guard):
                for effect, value in effects_of(guard, self.written, self.stood):
                    found.setdefault(effect.identity, (effect, value))
        for name, grown, _ in self.growing:
            if self.added.get(id(grown)):
                found[id(grown)] = Effect(name, grown, MORE), self.added[id(grown)]
        for path, contents in self.given.values():
            if self._is_changed(contents):
                for effect, value in effects_of(contents, self.written, self.stood, Given(path)):
                    found[effect.identity] = effect, value
        return list(found.values())

    def _is_changed(self, guard: Guard | Contents) -> bool:
        if guard.changed():
            return True
        if not self.written:
            return False
        if isinstance(guard, Guard):
            return guard.place.identity in self.written
        return any((id(guard.holder), k) in self.written for k, _ in guard.items())

    def put_back(self) -> None:
        """Let what the function changed, or set up, be as it was; iterators stay where they are."""
        for _, grown, _ in self.growing:
            refill(grown, self._grown[id(grown)])
        for guard in (*self.guards, *(contents for _, contents in self.given.values())):
            if guard.changed():
                guard.put_back()
        for state, restore, before in zip(self._sources, (random.setstate, np.random.set_state), self._states):  # noqa: B905
            if repr(state()) != repr(before):
                restore(before)
