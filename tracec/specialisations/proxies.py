"""Proxies in the places of numbers, arrays and lists that change from call to call, while a function is recorded."""

from __future__ import annotations

import functools
import sys
import types
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tracec.ir.extent import is_varying
from tracec.ir.forks import undone
from tracec.ir.number import observe, value_of
from tracec.ir.types import Shape
from tracec.record.elements import Elements
from tracec.record.numbers import Numbers
from tracec.record.opaque import opaque
from tracec.record.structure import ITEMS, Slots, aspects
from tracec.record.tensor import Tensor
from tracec.specialisations.append_only import changed_unseen, contents, to_grow
from tracec.specialisations.calls import aware
from tracec.specialisations.digests import named_in
from tracec.specialisations.draws import Drawing, Draws, drawing, functions, is_generator
from tracec.specialisations.effects import plain_number
from tracec.specialisations.environment import Environment
from tracec.specialisations.guards import places_of
from tracec.specialisations.identities import identities_seen
from tracec.specialisations.impure import calls_seen, told, watch_files, within
from tracec.specialisations.keys import AsSize, Flattener, Layouts, flatten, is_flattened, is_of_tensor
from tracec.specialisations.leaving import made_plain
from tracec.specialisations.places import MISSING, Kind, Place, refill
from tracec.specialisations.printed import Stream
from tracec.specialisations.scalars import Scalars
from tracec.specialisations.shims import scheduling, shim_for
from tracec.specialisations.watching import FIRST, Watch, is_number

#: Builtins that tell objects from one another.
_IDENTITIES: dict[str, Callable[[Any], Any]] = {"id": id, "hash": hash}


class Proxies:
    """Numbers in the places of those that are watched, while a function is recorded.

    Args:
        watch: What is watched.
        surroundings: What the function reads around it.
        key: The key of the call, in which watched arguments are marked.
        layouts: Tells which objects among the arguments are taken apart.
    """

    def __init__(self, watch: Watch, surroundings: Environment, key: Any, layouts: Layouts | None = None) -> None:
        self._layouts = layouts
        self._watch = watch
        self._surroundings = surroundings
        self._key = key
        #: Position in the key, or identity of a place → the size, with its formula, that an int there is taken for.
        self._sizes: dict[Hashable, Any] = {}
        self._positions = {k for k in watch.positions if k < len(key) and is_number(key[k]) and key[k][1] is None}
        self._put: list[tuple[Place, Any, Any]] = []
        self.sources: list[Hashable] = []
        #: The recording depends on what was not noted: an append-only list was read after all, or a name asked for.
        self.is_void = False
        self._growing: list[Any] = []
        self._lengths: dict[int, int] = {}
        #: The tensors in places that are watched: arguments behind those of the call.
        found = surroundings.present()
        self.tensors = [] if found is None else found[1]
        self._ids = {id(t) for t in self.tensors}

    @property
    def has_numbers(self) -> bool:
        """Whether any number is watched."""
        return bool(self._positions or self._surroundings.watched)

    def run(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], numbers: Numbers) -> Any:
        """Call a function that reads Numbers where numbers are watched.

        Args:
            fn: The function.
            args: Its arguments.
            kwargs: Its keyword arguments.
            numbers: The recording's numbers.
        """
        watch_files()
        try:
            with undone(self._restore):
                args, kwargs = self._put_all(args, kwargs, numbers)
                names = (n for code in self._surroundings.codes for n in named_in(code))
                identities = identities_seen(self._surroundings.functions, self._surroundings.compare)
                with calls_seen(names, self._surroundings.reading), identities:
                    out = fn(*args, **kwargs)
        except BaseException:
            self._grow()
            made_plain(None, self._surroundings.changes(), self._surroundings)
            raise
        self._grow()
        return out

    def _grow(self) -> None:
        """Give lists what was added to those that stood in for them."""
        for growing in self._growing:
            original = growing.original
            growing.is_read = growing.is_read or changed_unseen(growing)
            more = growing.added
            if growing.is_read and len(original) == self._lengths[id(original)]:
                more = contents(growing)  # what was added may have been replaced
                refill(original, more)
            else:
                original.extend(more)
            self._surroundings.added[id(original)] = more
            if growing.is_read:
                self.is_void = True
                self._watch.never_grow(original)
        self._growing.clear()

    def shapes(self, of_key: Sequence[Shape] | None, arguments: Sequence[Tensor], count: int) -> list[Shape] | None:
        """Shapes of all arguments with symbols for sizes that vary.

        Args:
            of_key: Those of what has sizes in the key: arguments of the call, then what is in places; None for none.
            arguments: Arguments of the call, then the tensors in places that are watched.
            count: How many of them are arguments of the call.
        """
        if of_key is None:
            return None
        found: list[Shape] = []
        rest, places = iter(of_key), list(self._watch.sized.values())
        own = len(self._key) - len(places)
        for k, part in enumerate(self._key[:own]):
            if type(part) is AsSize:
                (self._sizes[k],) = next(rest)
            elif is_of_tensor(part):
                found.append(next(rest))
        found += [t._array.shape for t in arguments[count:]]
        for place, part in zip(places, self._key[own:], strict=True):
            if type(part) is AsSize:
                (self._sizes[place.identity],) = next(rest)
            elif is_of_tensor(part):
                shape, now = next(rest), place.now()
                at = next((k for k in range(count, len(arguments)) if arguments[k] is now), None)
                if at is not None:
                    found[at] = shape
        return found

    def scalars(self, numbers: Numbers) -> Scalars | None:
        """What a program is to be given of the recording's numbers; None where none is watched."""
        self._watch.note(self.sources, numbers)
        if not (self.sources or numbers.scalars or numbers.draws):
            return None
        return Scalars(numbers.all_conditions(), tuple(numbers.scalars), Draws(numbers.draws))

    @property
    def arrays_change(self) -> bool:
        """Whether arrays of NumPy's that the function reads are known to change."""
        return self._watch.arrays_change

    def _put_all(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], numbers: Numbers
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        positions = self._positions | {k for k, size in self._sizes.items() if type(k) is int and is_varying(size)}
        if positions:

            def stands_in(at: int, value: Any, name: str) -> Any:
                if at in self._sizes:
                    return opaque(self._sizes[at])
                return self._number(at, name, value, numbers)

            walk = _Substitution(positions, FIRST, stands_in, self._layouts)
            names = self._surroundings.argument_names[: len(args)]
            args = [walk.visit(v, name) for name, v in zip(names, args, strict=True)]
            kwargs = {k: walk.named(v, k) for k, v in kwargs.items()}
            self._put += walk.put
        args = [drawing(v) or v if is_generator(v) else v for v in args]
        kwargs = {k: drawing(v) or v if is_generator(v) else v for k, v in kwargs.items()}
        for _, original, places in self._surroundings.growing:
            growing = to_grow(original)
            self._growing.append(growing)
            self._lengths[id(original)] = len(original)
            for place in places:
                self._replace(place, original, growing)
        arrays = self._arrays()
        for guard in self._surroundings.watched:
            kind, place, value = guard.kind, guard.place, guard.now()
            assert kind is not None
            if kind.is_tensor:
                continue
            if kind.is_array:
                if self._is_alone(value, arrays, place):
                    self._replace(place, value, self._elements(value, place))
                continue
            if kind.sized:
                found = opaque(self._sizes.get(place.identity, value))
            elif kind.is_structure:
                found = self._within(kind, place, guard.name, value, numbers, arrays)
            else:
                found = self._stand_in(kind, place.identity, guard.name, value, numbers)
            if found is not value:
                self._replace(place, value, found)
        self._tell()
        self._install_shims()  # of what tells by now: a module that stands in for another has its functions
        return args, kwargs

    def _arrays(self) -> Mapping[int, int]:
        """How often each array is in places that are watched."""
        found: list[Any] = []
        for guard in self._surroundings.watched:
            if guard.kind is not None and guard.kind.is_array:
                found.append(guard.now())
            elif guard.kind is not None and guard.kind.is_structure:
                guard.kind.take(guard.now(), [], [], found)
        return Counter(map(id, found))

    def _is_alone(self, array: Any, arrays: Mapping[int, int], place: Place) -> bool:
        """Whether an array is in one place only: what is in several is compared with itself, and looked into."""
        if arrays[id(array)] == 1 and not self._surroundings.knows(array):
            return True
        self._looked_into(place)
        return False

    def _elements(self, array: Any, place: Place) -> Elements:
        return Elements(array, None, functools.partial(self._looked_into, place))

    def _looked_into(self, place: Place) -> None:
        """Note that the array in a place, which may be another one next time, counts."""
        self.is_void = True
        self._watch.never(place)

    def _learn(self, name: str) -> bool:
        """Note that the function asks a module for a name; whether what is there is guarded next time."""
        new = name not in self._surroundings.names and self._watch.name(name)
        self.is_void = self.is_void or new
        return new

    def _install_shims(self) -> None:
        """Put in place of functions in C those that ask Numbers."""
        for place in self._surroundings.named:
            value, name = place.now(), place.key
            found = shim_for(place, value) or told(value) or drawing(value)
            if value is MISSING and name in _IDENTITIES:
                found = self._identity(_IDENTITIES[name], name)
            elif value is MISSING:
                found = found or self._surroundings.by_name.stand_in(name, self._learn)
            if found is not None:
                self._replace(place, value, found)
        for generator in self._surroundings.generators:
            for place in places_of(generator, self._surroundings.guards):
                self._replace(place, generator, Drawing(generator))
        for function in self._surroundings.functions:
            code = aware(function)
            if code is not function.__code__:
                self._replace(Place(Slots(function, ("__code__",)), "__code__"), function.__code__, code)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, Stream):
                for place in places_of(stream.original, self._surroundings.guards):
                    self._replace(place, stream.original, stream.kept())

    def _tell(self) -> None:
        """Put in place of functions that library code calls those that tell what is read, or take Numbers."""
        for place, value, stand_in in (*within(), *functions(), *scheduling()):
            self._replace(place, value, stand_in)

    def _identity(self, function: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
        """A function that notes where it goes by the address of an object that may be another one at the next call."""
        around, others = self._surroundings, self._ids

        def run(x: Any) -> Any:
            own = function is id or type(x).__hash__ in (object.__hash__, Tensor.__hash__)
            known = x._storage in around.captured and id(x) not in others if isinstance(x, Tensor) else around.knows(x)
            if own and not known and not isinstance(x, (type, types.FunctionType, types.BuiltinFunctionType)):
                observe(f"the address of an object, {name}")
            return function(plain_number(x))

        return run

    def _replace(self, place: Place, value: Any, stand_in: Any) -> None:
        self._put.append((place, value, stand_in))
        place.put(stand_in)

    def _number(self, source: Hashable, name: str, value: Any, numbers: Numbers) -> Any:
        self.sources.append(source)
        if self._watch.takes(source):
            return numbers.number(value_of(value), name)
        numbers.note(numbers.symbol(name), value_of(value))
        return value

    def _stand_in(self, kind: Kind, source: Hashable, name: str, value: Any, numbers: Numbers) -> Any:
        if kind.type is not tuple:
            return self._number(source, name, value, numbers)
        items = [
            self._number((source, k), f"{name}[{k}]", item, numbers) if part is int or part is float else item
            for k, (item, part) in enumerate(zip(value, kind.parts, strict=True))
        ]
        return tuple(items)

    def _within(
        self, kind: Kind, place: Place, name: str, value: Any, numbers: Numbers, arrays: Mapping[int, int]
    ) -> Any:  # fmt: skip
        """A structure with Numbers for its numbers that are watched, and with arrays that were not looked into."""
        found: list[Any] = []
        kind.take(value, [], [], found)
        alone = all(self._is_alone(a, arrays, place) for a in found)
        if not kind.varying and not (found and alone):
            return value
        walk = _Substitution(
            kind.varying, 1, lambda at, x, called: self._number((place.identity, at), called, x, numbers),
            kind.layouts, (lambda a: self._elements(a, place)) if alone else None,
        )  # fmt: skip
        found = walk.visit(value, name)
        self._put += walk.put
        return found

    def _restore(self) -> None:
        """Put back what was there; what the function has put there itself is left."""
        while self._put:
            place, value, stand_in = self._put[-1]
            now = place.now()
            if now is stand_in and value is MISSING:
                del place.holder[place.key]
            elif now is stand_in:
                place.put(value)
                self._surroundings.stood[place.identity] = stand_in
            else:  # be it with what was there
                self._surroundings.written.add(place.identity)
            self._put.pop()


class _Substitution:
    """Walks arguments as `tracec.specialisations.keys.flatten` does, and puts Numbers at positions of the key.

    Args:
        positions: The positions.
        at: Position of what comes next.
        number: The Number for a position, a value and how the user would write it.
        layouts: Tells which objects are taken apart.
        lend: What is put in place of an array; None leaves them.
    """

    def __init__(
        self, positions: Iterable[int], at: int, number: Callable[[int, Any, str], Any], layouts: Layouts | None,
        lend: Callable[[Any], Any] | None = None,
    ) -> None:  # fmt: skip
        self._lend = lend
        self._flattener = None if layouts is None else Flattener(layouts)
        self.put: list[tuple[Place, Any, Any]] = []
        self._positions = frozenset(positions)
        self._at = at
        self._number = number

    def named(self, value: Any, name: str) -> Any:
        """An argument given by name, which stands before it in the key."""
        self._at += 1
        return self.visit(value, name)

    def visit(self, value: Any, name: str = "") -> Any:
        """An argument, or part of one; lists and dictionaries are changed themselves."""
        at = self._at
        self._at += 1
        if at in self._positions:
            return self._number(at, value, name)
        if self._lend is not None and type(value) is np.ndarray:
            return self._lend(value)
        if type(value) is tuple or (isinstance(value, tuple) and hasattr(value, "_fields")):
            found = [self.visit(v, f"{name}[{k}]") for k, v in enumerate(value)]
            if all(a is b for a, b in zip(found, value, strict=True)):
                return value
            return type(value)(*found) if hasattr(value, "_fields") else tuple(found)
        if type(value) is list or type(value) is dict:
            self._items(value, name)
        elif isinstance(value, Tensor) and value.is_composite:
            key: list[Hashable] = []
            flatten(value, [], key, [])
            self._at += len(key) - 1
        elif self._flattener is not None and is_flattened(value, self._flattener.layouts):
            for aspect in aspects(value) if self._flattener.meets(value) is None else ():
                self._items(aspect.of(value), name, aspect is not ITEMS)
        return value

    def _items(self, holder: Any, name: str, are_attributes: bool = False) -> None:
        for k in list(range(len(holder)) if isinstance(holder, (list, deque)) else holder):
            item = holder[k]
            made = self.visit(item, f"{name}.{k}" if are_attributes else f"{name}[{k!r}]")
            if made is not item:
                place = Place(holder, k)
                self.put.append((place, item, made))
                place.put(made)
