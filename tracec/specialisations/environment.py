"""What a function can read besides its arguments, found by walking from the function, and guards that it is as it was.

The walk (`tracec.specialisations.walker`) follows cells, globals, defaults and the attributes of what it finds, as far
as the names in the function's code can lead. Each place is guarded: by identity where that suffices, all of those with
one check in C (`tracec.runtime.identity_guards`), else by value.
"""

from __future__ import annotations

import os
import types
from collections import deque
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from operator import is_
from typing import Any

import numpy as np

from tracec.record.printing import OPTIONS, PrintOptions
from tracec.record.structure import Slots, children, is_data
from tracec.record.tensor import Tensor, own_attributes
from tracec.runtime.identity_guards import IdentityGuard
from tracec.specialisations.births import Births
from tracec.specialisations.by_name import ByName
from tracec.specialisations.digests import Digest, text_options
from tracec.specialisations.draws import Draws, source_of
from tracec.specialisations.effects import ARGUMENTS, MORE, Effect, Given, effects_of
from tracec.specialisations.forming import make_keys_plain
from tracec.specialisations.guard_list import AnyGuard, GuardList
from tracec.specialisations.guards import Contents, Guard, digest_guard, forms_of, places_of
from tracec.specialisations.holders import Fixed
from tracec.specialisations.keys import Layouts
from tracec.specialisations.places import MISSING, Kind, refill, same
from tracec.specialisations.walker import Walker

#: What the variables of the process are kept in.
_VARIABLES = getattr(os.environ, "_data", None)


def _is_the_same(a: Any, b: Any) -> bool:
    """Whether a place holds what it held; of all items of a container, the very same ones."""
    if a is b:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(map(is_, a.values(), b.values()))
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(is_, a, b))
    return same(a, b)


class Environment:
    """What a function can read besides its arguments: its cells, defaults, globals, and the objects found there.

    Args:
        fn: The function.
        arguments: Its arguments by name, whose attributes it can read too.
        watched: Identities of places, and the kinds of what may be there.
        layouts: Tells which objects among the arguments are taken apart.
        beyond: What is known already, and left out.
        names: Attributes that it asks for besides those that code shows.

    Attributes:
        fn: The function.
        guards: What was there.
        captured: Memory that tensors found there look at; those among the arguments do not count.
        functions: The user's functions found there.
        codes: Their code.
        generators: Generators of Python's and NumPy's that it can reach, those of the modules first.
        tensors: Names of tensors found there, by identity.
        watched: The places whose value may be another one next time, each once.
        keeps: Whether functions are found there that keep their results.
        keeps_each: Whether some keep one for each of what they are given.
        named: Places of the globals, or builtins, and cells that the user's functions name.
        argument_names: The names of its arguments.
        takes_containers: Lists and dictionaries are among the arguments.
        has_keys: Dictionaries, or sets, were found that have other things than numbers and texts as keys.
        given: Identity of a list, dictionary or other object among the arguments that is taken apart → where it is.
        given_parts: The same of dictionaries of attributes.
        held: Where those are that can be changed, and what they held.
        asked: How the function asks for values of tensors, as far as what these look like depends on more.
        keyed: Which tensors among the arguments dictionaries that were found have as keys.
        compares: What it compares by identity, in words, though that may be another object at each call.
        births: Tells what the function made, once it has been recorded.
        names: Of attributes that the user's functions name.
        reading: Functions that it finds, be it in an object, which read what no guard tells of, and what they read.
        by_name: What it asks of modules by names that its code does not show.
        sharing: How the tensors that the function was given, and those in places that are watched, share memory.
    """

    sharing: tuple[Hashable, ...] = ()
    keyed: tuple[int, ...] = ()
    compares: str | None = None
    asked: Set[str] = frozenset()
    _known: set[int]

    def __init__(
        self, fn: Callable[..., Any], arguments: Mapping[str, Any], watched: Mapping[Hashable, Kind] | None = None,
        layouts: Layouts | None = None, beyond: Environment | None = None, names: Set[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.births = Births()
        self.fn = fn
        walker = Walker(watched or {}, names)
        if beyond is not None:
            walker.seen |= beyond._known
        walker.visit("self", fn)
        self.captured = frozenset(walker.captured)
        self.argument_names = tuple(arguments)
        for k, (name, value) in enumerate(arguments.items()):
            walker.argument(name, (k,), value, layouts)
        self.guards = walker.guards
        self.given, self.given_parts, self.held = walker.given, walker.given_parts, walker.held
        self._one, self._fixed = walker.one, [*walker.fixed, *walker.reached()]
        self._opened = walker.opened
        walker.settle_growing()
        walker.settle_named()
        self.takes_containers = bool(walker.given or walker.fixed)
        self._begin_lists(walker)
        self._take_code(walker)
        self._take_generators(walker)
        self._known, self._alive = walker.seen, walker.alive
        self.tensors, self._with_attributes = walker.tensors, walker.with_attributes
        self.watched = tuple(walker.found.values())
        #: Whether nothing is taken from around the arguments, nor of their lists and dictionaries.
        self.is_all = not (self.watched or self.takes_containers)
        self._weak, self._unseen = walker.lost(), walker.unseen
        self._files = [(name, where, where()) for name, where in walker.files]
        self._besides, self._large, self._keys = walker.besides, walker.large, walker.keys
        self.has_keys = bool(walker.keys)
        self._lacking = tuple(walker.lacking.values())
        self._checks = GuardList((*walker.guards, *walker.besides, *self._lacking))

    def _begin_lists(self, walker: Walker) -> None:
        """Note lists that the function only adds to, all places that hold them, and what it does to these places."""
        self.growing = [(name, x, places_of(x, self.guards)) for name, x in walker.growing.values()]
        self._grown = {id(x): list(x) for _, x, _ in self.growing}
        #: Identity of such a list → what a function that was recorded has added to it.
        self.added: dict[int, list[Any]] = {}
        #: Identities of places in which a number was watched that a function that was recorded has written to.
        self.written: set[Hashable] = set()
        #: Identities of those that it has not → what stood there for the number.
        self.stood: dict[Hashable, Any] = {}

    def _take_code(self, walker: Walker) -> None:
        """Take the code that was found, and the names in it."""
        self.reading = walker.reading
        self.names = frozenset(walker.attribute_names)
        self.by_name = ByName(walker.of_modules, walker.lacking, self.knows)
        self.named = walker.named
        self.functions: tuple[types.FunctionType, ...] = tuple(walker.functions)
        self.codes = tuple(f.__code__ for f in self.functions)
        self.keeps, self.keeps_each = walker.keeps, walker.keeps_each

    def _take_generators(self, walker: Walker) -> None:
        """Take random generators, with the states that they are in before the call, and iterators."""
        self.generators = tuple({id(g): g for g in walker.generators}.values())
        self._sources = tuple(map(source_of, self.generators))
        self._iterators = walker.iterators
        self._states = [source.get() for source in self._sources]

    def guard_print_options(self, asked: Set[str]) -> None:
        """Guard the options by which tensors and arrays are printed: the function turned out to print them.

        Args:
            asked: How it asked for values.
        """
        if "print" in asked - self.asked:
            for name, value in Slots(OPTIONS, tuple(PrintOptions.__annotations__)).items():
                self._checks.add(Guard(f"print options, {name}", Slots(OPTIONS), name, value))
        if "numpy" in asked - self.asked:
            self._checks.add(digest_guard("NumPy's print options", np, text_options))
        self.asked = self.asked | asked

    def guard_module_names(self) -> None:
        """Guard the attributes of modules that the function asked for by computed names."""
        for guard in self.by_name.guards.values():
            self._checks.add(guard)

    def is_like(self, other: Environment) -> bool:
        """Whether numbers and tensors are taken from the same places as in another call, and share memory as there."""
        places = [[(g.place.identity, g.kind) for g in e.watched] for e in (self, other)]
        return places[0] == places[1] and self.sharing == other.sharing

    @property
    def identity_guards(self) -> Sequence[IdentityGuard] | None:
        """Guards by identity that cover all that was read; None where some of it can be checked by value alone."""
        return self._checks.identities if self.is_all else None

    def fails(self) -> AnyGuard | None:
        """The first guard that does not hold."""
        return self._checks.fails()

    def present(self) -> tuple[list[Any], list[Tensor]] | None:
        """The numbers and the tensors in the places that are watched; None where there is something else."""
        numbers: list[Any] = []
        tensors: list[Tensor] = []
        arrays: list[Any] = []
        for guard in self.watched:
            now, kind = guard.now(), guard.kind
            assert kind is not None
            if kind.is_structure:
                if not kind.take(now, tensors, numbers, arrays):
                    return None
                continue
            if kind.is_tensor:
                if not kind.holds(now):
                    return None
                tensors.append(now)
                continue
            if kind.is_array:
                if not kind.holds(now):
                    return None
                arrays.append(now)
                continue
            found = kind.numbers(now)
            if found is None:
                return None
            numbers += found
        if arrays and (len({*map(id, arrays)}) < len(arrays) or any(map(self.knows, arrays))):
            return None  # one in several places may be compared with itself
        return numbers, tensors

    def knows_address(self, address: int) -> bool:
        """Whether an object that was there before the call lies at an address."""
        return address in self._known

    def knows(self, value: Any) -> bool:
        """Whether an object was there before the call; lists and dictionaries among the arguments do not count."""
        return id(value) in self._known

    def alias(self, roots: Sequence[Any]) -> bool:
        """Whether lists and dictionaries among the arguments are other ones of each other, or of those reached besides.

        Args:
            roots: The arguments.
        """
        symbols = {ARGUMENTS: roots}
        found = {id(Given(path).find(symbols)) for path in self.given.values()}
        if len(found) != len(self.given) or not self._known.isdisjoint(found):
            return True
        if any(Given(a).find(symbols) is not Given(b).find(symbols) for a, b in self._one):
            return True
        return any(Given(path).find(symbols) is not value for path, value in self._fixed)

    def has_as_keys(self, tensors: Sequence[Tensor]) -> bool:
        """Whether of the tensors among the arguments the same are keys; an optimiser's state has the parameters'."""
        keys = self._keys
        for t in tensors:  # a step is given none of them, and this is asked at each call
            if id(t) in keys:
                return self.as_keys(tensors) == self.keyed
        return not self.keyed

    def as_keys(self, tensors: Sequence[Tensor]) -> tuple[int, ...]:
        """Which tensors among the arguments dictionaries have as keys, or sets hold: identities, with positions."""
        return tuple(n for k, t in enumerate(tensors) if id(t) in self._keys for n in (k, id(t)))

    def used_up(self, draws: Draws) -> str | None:
        """What the function changed, or used up, that cannot be done again; asked when it has run.

        Args:
            draws: What it has drawn that is drawn again.
        """
        if self._iterators:
            return f"takes from an iterator, {self._iterators[0]}"
        if self._weak:
            return f"goes by what only a weak reference is known to keep, {self._weak[0]}"
        if not draws.explain(self._sources, self._states):
            return "draws numbers from Python's or NumPy's generators"
        for name, where, before in self._files:
            if where() != before:
                return f"writes to a file, {name}"
        if self._unseen:
            return f"reads {self._unseen[0]}"
        if any(isinstance(g, Contents) and g.holder is _VARIABLES and g.changed() for g in self.guards):
            return "changes variables of the process"
        if self._large:
            return f"reads {self._large[0]}, of more bytes than can be compared at each call"
        for kept in (*self._opened, *self._besides):
            if isinstance(kept.holder, Fixed) and not kept.holds():
                return f"changes {kept.name}"
        for guard in self.guards:
            if isinstance(guard, Guard) and isinstance(guard.holder, Digest) and not guard.holds():
                return f"changes {guard.holder.kind}, {guard.name}"
        return next((f"changes {g.name}" for g in self.by_name.guards.values() if not g.holds()), None)

    def changes(self) -> list[tuple[Effect, Any]]:
        """What the function changed, and what is there now."""
        found: dict[Any, tuple[Effect, Any]] = {}
        for guard in (*self.guards, *self.names_gained()):
            if self._is_changed(guard):
                make_keys_plain(guard.holder)
                for effect, value in effects_of(guard, self.written, self.stood):
                    found.setdefault(effect.identity, (effect, value))
        for name, grown, _ in self.growing:
            if self.added.get(id(grown)):
                found[id(grown)] = Effect(name, grown, MORE), self.added[id(grown)]
        for path, contents in self.held:
            if self._is_changed(contents):
                make_keys_plain(contents.holder)
                for effect, value in effects_of(contents, self.written, self.stood, Given(path)):
                    found[effect.identity] = effect, value
        return list(found.values())

    def names_gained(self) -> Iterator[Guard]:
        """Guards on names that modules have and lacked, where one guard tells of many."""
        for lacking in self._lacking:
            yield from () if lacking.holds() else lacking.gained()

    def guard_missing_attributes(self, lacking: Iterable[tuple[Tensor, str]]) -> None:
        """Guard that tensors from outside still lack the attributes that the function found missing."""
        for x, name in lacking:
            guard = Guard(f"{self.tensors.get(id(x), 'a tensor')}.{name}", x.__dict__, name, MISSING)
            if id(x) in self._with_attributes and guard.holds():
                self._checks.add(guard)

    def guard_tensor_forms(self, but: Container[int]) -> None:
        """Guard the metadata of tensors from outside, but for some that are guarded otherwise."""
        for identity, (name, x, _) in self._with_attributes.items():
            for form in forms_of(name, x) if identity not in but else ():
                self._checks.add(form)

    def gained(self) -> str | None:
        """The name of an attribute that a tensor from outside has got by the function."""
        for name, x, before in self._with_attributes.values():
            for k in own_attributes(x).keys() - before.keys():
                return f"{name}.{k}"
        return None

    def undo_later(self, changes: Sequence[tuple[Effect, Any]]) -> str | None:
        """Undo what was changed since these changes were found.

        Returns:
            The name of something that was; None where nothing was.
        """
        now = self.changes()
        if len(now) == len(changes) and all(
            a.identity == b.identity and _is_the_same(x, y) for (a, x), (b, y) in zip(now, changes, strict=True)
        ):
            return None
        before = {effect.identity: value for effect, value in changes}
        name = next((e.name for e, x in now if not _is_the_same(x, before.get(e.identity, MISSING))), "its state")
        for guard in (*self.guards, *self.names_gained(), *(contents for _, contents in self.held)):
            if guard.changed():
                guard.put_back()
        for effect, value in changes:
            if effect.key is not MORE:
                effect.apply(self.holder_of(effect), value)
        return name

    def holder_of(self, effect: Effect) -> Any:
        """What the function has changed; its place may hold something else by now."""
        if not isinstance(effect.holder, Given):
            return effect.holder
        return next(c.holder for path, c in self.held if path is effect.holder.path)

    def _is_changed(self, guard: Guard | Contents) -> bool:
        if guard.changed():
            return True
        if not self.written:
            return False
        if isinstance(guard, Guard):
            return guard.place.identity in self.written
        return any((id(guard.holder), k) in self.written for k, _ in guard.items())

    def let_go(self) -> None:
        """Forget what was in the arguments of the call that was recorded."""
        self.held, self._opened, self.functions, self._with_attributes = [], [], (), {}

    def watch(self, functions: Sequence[Callable[..., Any]]) -> Callable[[], str | None]:
        """What tells what functions, which were made by now, have changed since."""
        further = [Environment(fn, {}, beyond=self) for fn in functions]
        before = self._left()

        def changed() -> str | None:
            found = next((e.name for env in further for e, _ in env.changes()), None)
            if found is None:
                now = self._left()
                found = next((e.name for e, value in self.changes() if now[e.identity] != before.get(e.identity)), None)
            return found

        return changed

    def _left(self) -> dict[Any, Any]:
        """What the function has changed so far: by place, the identities of what is there, and in that."""
        return {effect.identity: list(self._inside(value, set())) for effect, value in self.changes()}

    def _inside(self, value: Any, seen: set[int]) -> Iterator[int]:
        several = isinstance(value, (tuple, set, frozenset, deque))
        if self.knows(value) or id(value) in seen or not (several or is_data(value)):
            yield id(value)
            return
        seen.add(id(value))
        for part in value if several else children(value):
            yield from self._inside(part, seen)

    def compare(self, what: str) -> None:
        """Note that the function compares by identity what may be another object at each call."""
        self.compares = self.compares or what

    def states(self) -> list[Any]:
        """The states of the generators that it can reach."""
        return [source.get() for source in self._sources]

    def put_back(self) -> None:
        """Let what the function changed, or set up, be as it was; iterators stay where they are."""
        for _, grown, _ in self.growing:
            refill(grown, self._grown[id(grown)])
        for guard in (*self.guards, *self.names_gained(), *(contents for _, contents in self.held)):
            if guard.changed():
                guard.put_back()
        for source, before in zip(self._sources, self._states, strict=True):
            if repr(source.get()) != repr(before):
                source.set(before)
