"""Numbers and tensors that change from call to call become inputs, so that one recording serves all their values.

A number that a function reads is first a constant: a guard, or part of the call's key. When a call fails by that number
alone, its place is watched from then on (what TorchDynamo calls automatic dynamic): the next recording reads a `Number`
there, which notes what is asked of it, and the program gets the number, and what Python computes from it, as inputs. A
number that escapes into C code all the same, twice, is a constant again: one recording for each value.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tracec.record.numbers import Numbers
from tracec.record.tensor import Tensor
from tracec.specialisations.append_only import can_grow, grew, reads_past
from tracec.specialisations.effects import ALL, Effect, plain_number
from tracec.specialisations.environment import Environment
from tracec.specialisations.guards import Contents, Guard, is_of_array
from tracec.specialisations.keys import Layouts, as_size, tensor_key
from tracec.specialisations.places import Kind, Place, common_kind, kind_of, same
from tracec.specialisations.scalars import symbols_in

#: Recordings of a number that escaped before it is taken as it is.
_TRIES = 2
#: What a group of an optimiser's parameters holds once there is a scheduler for it, and what schedulers change in it.
_SCHEDULED = frozenset(("params", "lr", "initial_lr"))
_RATES = ("lr", "momentum")
#: Names that a function may ask modules for before it is taken to ask for ever new ones.
_MOST_NAMES = 32
#: Where the first argument is in the key of a call: behind the modes of the thread and the number of arguments.
FIRST = 8


class Watch:
    """What one compiled function watches.

    Args:
        layouts: Tells which objects in places are taken apart.

    Attributes:
        kinds: Identity of a place → what may be there.
        positions: Positions, in the keys of calls, of arguments that are watched.
        names: What the function asked modules for by names that its code does not show.
        arrays_change: An array of NumPy's that it reads was another one at another call, or held something else.
    """

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        self.kinds: dict[Hashable, Kind] = {}
        self.positions: list[int] = []
        self.names: set[str] = set()
        self.arrays_change = False
        self._before: list[list[int]] = []
        self._escapes: Counter[Hashable] = Counter()
        #: Places of tensors that have been of several sizes, and of ints that are taken for sizes.
        self.sized: dict[Hashable, Place] = {}
        #: Identity of a place → how the user would write it.
        self._called: dict[Hashable, str] = {}
        #: Positions, in the keys of calls, of ints that are.
        self.sized_at: set[int] = set()
        self._places: dict[Hashable, Place] = {}
        self._never: set[Hashable] = set()
        self._grown: Counter[tuple[int, bool]] = Counter()
        self._alive: list[Any] = []  # so that identities stay taken
        self._stopped = False

    def stop(self) -> None:
        """Watch nothing: a function that keeps its results would keep what stands in for numbers."""
        self._stopped = True

    def name(self, name: str) -> bool:
        """Take a name for one that the function's code shows, from now on; whether there are not too many."""
        if len(self.names) < _MOST_NAMES:
            self.names.add(name)
        return name in self.names

    def place(self, place: Place, kind: Kind | None) -> None:
        """Watch a place from now on."""
        if kind is not None and place.identity not in self._never:
            known = self.kinds.get(place.identity)
            if kind.is_tensor and known is not None and known != kind and known.of_any_size == kind.of_any_size:
                self.sized[place.identity] = place
            if kind.type is int and place.identity in self.sized:
                kind = Kind(int, sized=True)
            self._places[place.identity] = place
            joined = kind.joined(known)
            self.kinds[place.identity] = (
                joined.of_any_size if place.identity in self.sized and kind.is_tensor else joined
            )
            self._alive.append(place)

    def foresee(self, environment: Environment) -> bool:
        """Watch what is known to change before it does: the rates of an optimiser that a scheduler was made for.

        Args:
            environment: What a function reads.

        Returns:
            Whether there was something that was not watched before.
        """
        if self._stopped:
            return False
        before = len(self.kinds)
        for guard in environment.guards:
            if isinstance(guard, Contents) and type(guard.holder) is dict and guard.holder.keys() >= _SCHEDULED:
                for key in _RATES if "max_momentum" in guard.holder else _RATES[:1]:
                    place = Place(guard.holder, key)
                    if type(place.now()) is float and place.identity not in self.kinds:
                        self._called[place.identity] = guard.item(key)
                        self.place(place, Kind(float))
        return len(self.kinds) > before

    def never_grow(self, container: Any) -> None:
        """Take a list that is read as it is."""
        self._never.add(id(container))
        self.kinds.pop(id(container), None)

    def never(self, place: Place) -> None:
        """Watch a place no more whose array is looked into."""
        self._never.add(place.identity)
        self.kinds.pop(place.identity, None)
        self._alive.append(place)

    def written(self, effects: Sequence[Effect], values: Sequence[Any], environment: Environment) -> bool:
        """Watch the places that a function left tensors and numbers in: the next call reads these.

        Args:
            effects: What it left.
            values: The values.
            environment: What it read, as that was before.

        Returns:
            Whether a list has grown again, so that what was recorded for its contents will not serve another call.
        """
        grows = False
        contents = {id(g.holder): g for g in environment.guards if isinstance(g, Contents)}
        for effect, value in zip(effects, values, strict=True):
            if effect.key is ALL and (before := contents.get(id(effect.holder))) is not None:
                grows = self._grows(effect.holder, before.values, environment, own=True) or grows
            if effect.place is not None:
                self.place(effect.place, kind_of(value if type(value) is list else plain_number(value), self._layouts))
        return grows

    def learn(self, key: Any, keys: Iterable[Any], environments: Iterable[Environment]) -> None:
        """Watch what differs by value alone between a call that nothing serves and those that were recorded.

        Args:
            key: The call's key.
            keys: Those of calls that were recorded.
            environments: What those of the same key read.
        """
        if self._stopped:
            return
        # Without the sizes behind, of which there were fewer, or none, when the others were entered.
        own, most = len(key) - len(self.sized), len(key)
        for environment in environments:
            for guard in (*environment.guards, *environment.names_gained()):
                if not guard.holds():
                    if isinstance(guard, Contents):
                        self._grows(guard.holder, guard.values, environment, own=False)
                    if is_of_array(guard):
                        self.arrays_change = True
                    for place, before, now in _differences(guard):
                        if type(before) is np.ndarray:
                            self.arrays_change = True
                        self._called[place.identity] = guard.change().name
                        self.place(place, common_kind(before, now, self._layouts))
        keys = list(keys)
        self.arrays_change = self.arrays_change or any(_has_other_arrays(key, other) for other in keys)
        more = {k for x in keys if own <= len(x) <= most for k in _other_numbers(key[:own], x[:own])}
        if not more <= {*self.positions}:
            self._before.append(self.positions)
            self.positions = sorted({*self.positions, *more})

    def _grows(self, container: Any, before: Sequence[Any], environment: Environment, own: bool) -> bool:
        """Whether a list has grown again; it is taken for one that is not read then, until it is.

        Args:
            container: What may be a list.
            before: What it held.
            environment: What the function reads, and its code.
            own: Whether the function has added to it, rather than others between calls.
        """
        if not can_grow(container) or id(container) in self._never or not grew(before, container):
            return False
        self._grown[id(container), own] += 1
        self._alive.append(container)
        if self._grown[id(container), own] == 1:  # once may have been to set something up
            return False
        if any(map(reads_past, environment.codes)):
            self._never.add(id(container))
            return False
        self.kinds[id(container)] = Kind(type(container))
        return True

    def key(self, whole: tuple[Hashable, ...]) -> tuple[tuple[Hashable, ...], list[Any]]:
        """A call's key without the values of numbers that are watched, and these; and what counts as size in places."""
        sizes = [_sized(place.now()) for place in self.sized.values()]
        key, numbers = (whole, []) if not self.positions else _without(whole, self.positions, self.sized_at)
        return (*key, *sizes) if sizes else key, numbers

    @property
    def names_of_sizes(self) -> list[str]:
        """How the user would write what the last parts of a call's key are sizes of."""
        return [self._called.get(identity, "a size that is read") for identity in self.sized]

    def older_keys(self, whole: tuple[Hashable, ...]) -> Iterator[tuple[tuple[Hashable, ...], list[Any]]]:
        """The same for what was recorded while fewer numbers were watched."""
        for positions in reversed(self._before):
            yield _without(whole, positions)

    def takes(self, what: Hashable) -> bool:
        """Whether a place, or position, is read as a number that may be another one."""
        return self._escapes[what] < _TRIES

    def note(self, sources: Sequence[Hashable], numbers: Numbers) -> None:
        """Learn what a recording asked of its numbers.

        Args:
            sources: For each symbol its place or position.
            numbers: The recording's numbers.
        """
        escaped: set[int] = set()
        for condition in numbers.all_conditions():
            if not isinstance(condition.value, (bool, type)):
                escaped |= symbols_in(condition.expression)
        for source in {sources[k] for k in escaped if k < len(sources)}:
            self._escapes[source] += 1
            if self._escapes[source] == _TRIES:
                self._take_for_size(source)

    def _take_for_size(self, source: Hashable) -> None:
        """Let an int that is asked for be as a size is: a symbol that counts in the key of a call."""
        if type(source) is int:
            self.sized_at.add(source)
        elif (place := self._places.get(source)) is not None and self.kinds.get(source) == Kind(int):
            self.sized[source], self.kinds[source] = place, Kind(int, sized=True)


class SetupCalls:
    """Calls that set something up: they were recorded, and what was recorded was not kept.

    Args:
        watch: What is watched.
        alike: Of a key what it shares with those of other calls that set the same up: all but sizes of tensors.

    Attributes:
        calls: Keys of such calls, and the objects whose identity is in them; the latest ones.
    """

    def __init__(self, watch: Watch, alike: Callable[[Any], Any]) -> None:
        self.calls: dict[tuple[Hashable, ...], list[Any]] = {}
        self._watch, self._alike = watch, alike

    def add(self, whole: tuple[Hashable, ...], kept: list[Any]) -> None:
        """Enter a call."""
        self.calls[whole] = kept
        if len(self.calls) > _MOST_SETUP_CALLS:
            del self.calls[next(iter(self.calls))]

    def knows(self, key: Hashable) -> bool:
        """Whether there was a call like those of that key; the objects in it are let go."""
        kind = self._alike(key)
        found = [whole for whole in self.calls if self._alike(self._watch.key(whole)[0]) == kind]
        for whole in found:
            self.calls[whole] = []
        return bool(found)


_MOST_SETUP_CALLS = 16


def _differences(guard: Guard | Contents) -> Iterable[tuple[Place, Any, Any]]:
    """The places of a guard whose values are others, with what was and what is there."""
    if isinstance(guard, Guard):
        return [(guard.place, guard.value, guard.now())]
    if not isinstance(guard.holder, (dict, list, deque)):
        return []
    found = [(Place(guard.holder, k), before) for k, before in guard.items()]
    return [(place, before, now) for place, before in found if not same(now := place.now(), before)]


def is_number(part: Any) -> bool:
    """Whether a part of a key is a number."""
    return type(part) is tuple and len(part) == 2 and (part[0] is int or part[0] is float)


def _has_other_arrays(key: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether an array of NumPy's among the arguments of one call is another one in those of another."""
    return any(a != b and _is_of_array(a) and _is_of_array(b) for a, b in zip(key, other, strict=False))


def _is_of_array(part: Any) -> bool:
    return type(part) is tuple and len(part) > 1 and part[0] is np.ndarray


def _sized(x: Any) -> Any:
    """What a call depends on of what is in a place of tensors of several sizes, or of ints that are taken for sizes."""
    if type(x) is int:
        return as_size(x)
    return tensor_key(x) if isinstance(x, Tensor) and not x.is_composite else type(x)


def _other_numbers(key: Sequence[Any], other: Sequence[Any]) -> list[int]:
    """The positions at which two keys have other numbers, where they differ in nothing else."""
    differ = [k for k, (a, b) in enumerate(zip(key, other, strict=True)) if a != b]
    both = all(is_number(key[k]) and is_number(other[k]) and key[k][0] is other[k][0] for k in differ)
    return differ if both else []


def _without(
    whole: tuple[Hashable, ...], positions: Iterable[int], sized: Container[int] = ()
) -> tuple[tuple[Hashable, ...], list[Any]]:
    """A key without the values of the numbers at positions, and these; ints at some of them are taken for sizes."""
    parts: list[Any] = list(whole)
    numbers = []
    for k in positions:
        if k < len(parts) and is_number(parts[k]):
            kind, value = parts[k]
            if k in sized and kind is int:
                parts[k] = as_size(value)
                continue
            numbers.append(kind(value))
            parts[k] = kind, None
    return tuple(parts), numbers
