"""What a function can read besides its arguments, found by walking from the function, and whether it is as it was."""

from __future__ import annotations

import dis
import functools
import logging
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import is_ as _is
from typing import Any

import numpy as np

from tracec.effects import ARGUMENTS, MORE, Effect, Given, effects_of
from tracec.growing import can_grow
from tracec.guards import Contents, Guard
from tracec.ir.dtype import DType
from tracec.places import MISSING, PLAIN, Kind, Place, Slots, refill
from tracec.record.cell import Storage
from tracec.record.recording import hooks_of
from tracec.record.tensor import Tensor
from tracec.runtime.containers import quickly

#: What is read with ``get``: dictionaries, and those of classes.
_MAPPINGS = (dict, types.MappingProxyType)
_GLOBAL_READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_GLOBAL_WRITES = ("STORE_GLOBAL", "DELETE_GLOBAL")


class _Elements:
    """The elements of an array, as a mapping from nothing to their bytes."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, key: None) -> Any:
        return self.array.tobytes()


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
        self.growing = [(name, x, _places_of(x, self.guards)) for name, x in walker.growing.values()]
        self._grown = {id(x): list(x) for _, x, _ in self.growing}
        #: Identity of such a list → what a function that was recorded has added to it.
        self.added: dict[int, list[Any]] = {}
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
        #: Items of containers that may be otherwise in part are looked at one by one.
        partly = [g for g in self.guards if isinstance(g, Contents) and g.kinds]
        self._partly = [(c.holder, list(c.keys) if c.keys and "[" in c.form else None, c) for c in partly]
        for c in partly:
            fixed = [Guard(c.item(k), c.holder, k, v) for k, v in c.items() if k not in c.kinds]
            mapping = isinstance(c.holder, dict)
            self._named += [(g.holder, g.key, g.value, g) for g in fixed if mapping]
            self._others += [g for g in fixed if not mapping]
        self._contents = [g for g in self.guards if isinstance(g, Contents) and not g.kinds]
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
        self._nothing = not (self._named or self._cells or self._others or self._partly or self._contents)

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
        for other in self._others:
            if not other.holds():
                return other
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
            if isinstance(guard, Guard) and isinstance(guard.holder, _Elements) and not guard.holds():
                return f"changes an array, {guard.name}"
        return None

    def changes(self) -> list[tuple[Effect, Any]]:
        """What the function changed, and what is there now."""
        found: dict[Any, tuple[Effect, Any]] = {}
        for guard in self.guards:
            if guard.changed():
                for effect, value in effects_of(guard):
                    found.setdefault(effect.identity, (effect, value))
        for name, grown, _ in self.growing:
            if self.added.get(id(grown)):
                found[id(grown)] = Effect(name, grown, MORE), self.added[id(grown)]
        for path, contents in self.given.values():
            if contents.changed():
                for effect, value in effects_of(contents, Given(path)):
                    found[effect.identity] = effect, value
        return list(found.values())

    def put_back(self) -> None:
        """Let what the function changed, or set up, be as it was; iterators stay where they are."""
        for _, grown, _ in self.growing:
            refill(grown, self._grown[id(grown)])
        for guard in (*self.guards, *(contents for _, contents in self.given.values())):
            if not guard.holds():
                guard.put_back()
        for state, restore, before in zip(self._sources, (random.setstate, np.random.set_state), self._states):  # noqa: B905
            if repr(state()) != repr(before):
                restore(before)


class Walker:
    def __init__(self, watched: Mapping[Hashable, Kind]) -> None:
        self.guards: list[Guard | Contents] = []
        #: Identity of a place → the guard of a place that is watched.
        self.found: dict[Hashable, Guard] = {}
        self.names: list[tuple[dict[str, Any], str]] = []
        self._watched = watched
        self.captured: set[Storage] = set()
        self.tensors: dict[int, str] = {}
        self.sources: list[Callable[[], Any]] = [random.getstate, np.random.get_state]
        self.iterators: list[str] = []
        self.codes: list[types.CodeType] = []
        self.growing: dict[int, tuple[str, Any]] = {}
        #: Identities of what is held where nothing can stand in for it.
        self.stuck: set[int] = set()
        self.given: dict[int, tuple[tuple[Any, ...], Contents]] = {}
        #: Paths of arguments that are one list or dictionary, and of those that are one that is reached besides.
        self.one: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = []
        self.fixed: list[tuple[tuple[Any, ...], Any]] = []
        self.seen: set[int] = set()
        self.alive: list[Any] = []  # ids in `seen` stay taken

    def function(self, fn: types.FunctionType) -> None:
        """The cells, defaults and named globals of a function, and of functions nested in it."""
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            self.read(name, cell, None, Place(cell, None).now())
        # A decorator of the library wears the name and module of what it decorates.
        own = not _of_library(fn.__globals__.get("__name__"))
        if own:
            self.codes.append(fn.__code__)
        for name in _names(fn.__code__) if own else ():
            self.names.append((fn.__globals__, name))
            if name in fn.__globals__:
                self.read(name, fn.__globals__, name, fn.__globals__[name])
        for name in _names(fn.__code__, _GLOBAL_WRITES) if own else ():
            if name not in fn.__globals__:
                self.read(name, fn.__globals__, name, MISSING)
        defaults = (*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values())
        self.stuck.update(map(id, defaults))
        for k, value in enumerate(defaults):
            self.visit(f"default {k}", value)

    def read(self, name: str, holder: Any, key: Any, value: Any) -> None:
        """Guard a place, then what lies behind it."""
        if isinstance(value, types.ModuleType):
            return
        kind = self.kind(guard := Guard(name, holder, key, value))
        self.guards.append(guard if kind is None else replace(guard, kind=kind))
        if kind is None:
            self.visit(name, value)

    def kind(self, guard: Guard) -> Kind | None:
        """What a place may hold; None where that is what it holds alone."""
        identity = guard.place.identity
        kind = self._watched.get(identity)
        if kind is None or not kind.holds(guard.value):
            return None
        self.found.setdefault(identity, replace(guard, kind=kind))
        if isinstance(guard.value, Tensor):
            self.tensors.setdefault(id(guard.value), guard.name)
        if kind.is_structure:
            self.argument(guard.name, (guard.place,), guard.value)
        return kind

    def argument(self, name: str, path: tuple[Any, ...], value: Any) -> None:
        """Note what the parts of an argument hold; the parts themselves are in the key of the call.

        Args:
            name: How the user would write it.
            path: Position of the argument, or the place where it is, then keys.
            value: The argument.
        """
        if isinstance(value, Tensor):
            self.tensors.setdefault(id(value), name)
            return
        structured = type(value) in (list, tuple, dict) or (isinstance(value, tuple) and hasattr(value, "_fields"))
        if not structured or id(value) in self.seen:
            self.visit(name, value)
            if isinstance(value, (list, dict)) and structured:
                self.fixed.append((path, value))
            return
        self.alive.append(value)
        keys = tuple(value) if isinstance(value, dict) else None
        contents = Contents(name, "[{}]", value, keys, tuple(value.values() if isinstance(value, dict) else value))
        if not isinstance(value, tuple):
            if id(value) in self.given:
                self.one.append((self.given[id(value)][0], path))
                return
            self.given[id(value)] = path, contents
        for k, item in contents.items():
            self.argument(contents.item(k), (*path, k), item)

    def visit(self, name: str, value: Any) -> None:
        """Guard what an object holds, where it is one that programs change: modules, optimisers, containers."""
        if isinstance(value, Tensor) and value.is_composite:
            self._container(name, ".{}", value.__dict__)
            return
        if isinstance(value, Tensor):
            self.captured.add(value._storage)
            self.tensors.setdefault(id(value), name)
            for hook in hooks_of(value):
                self.visit(f"hook of {name}", hook)
            return
        if isinstance(value, (*PLAIN, DType, types.BuiltinFunctionType, types.ModuleType)) or value is MISSING:
            return
        if id(value) in self.seen:
            return
        self.seen.add(id(value))
        self.alive.append(value)
        if can_grow(value) and id(value) in self._watched:
            self.growing[id(value)] = name, value
            return
        if isinstance(value, types.FunctionType):
            if not _of_library(value.__module__):
                self.function(value)
        elif isinstance(value, types.MethodType):
            self.visit(name, value.__func__)
            self.visit(name, value.__self__)
        elif isinstance(value, functools.partial):
            self.stuck.update(map(id, (*value.args, *value.keywords.values())))
            self.visit(name, value.func)
            self._container(name, "[{}]", list(value.args))
            self._container(name, "[{}]", value.keywords)
        elif isinstance(value, (dict, list, tuple)):
            self._container(name, "[{}]", value)
        elif isinstance(value, (set, frozenset, deque)):
            self.guards.append(Contents(name, "[{}]", value, None, tuple(value)))
            self.stuck.update(map(id, value))
            for k, item in enumerate(value):
                self.visit(f"{name}[{k}]", item)
        elif isinstance(value, np.ndarray):
            if value.size <= MOST:
                elements = _Elements(value)
                self.guards.append(Guard(name, elements, None, elements[None]))
        elif isinstance(value, np.random.Generator):
            self.sources.append(lambda: value.bit_generator.state)
        elif isinstance(value, random.Random):
            self.sources.append(value.getstate)
        elif isinstance(value, logging.Logger):  # its handlers change as they work
            for key in ("level", "disabled"):
                self.guards.append(Guard(f"{name}.{key}", value.__dict__, key, value.__dict__[key]))
        elif isinstance(value, Iterator):
            self.iterators.append(name)
        elif type(value).__module__ == "tracec.compile":  # its own books change with every call
            self.visit(name, value.fn)
        elif isinstance(value, type):
            self._class(name, value)
        else:
            self._object(name, value)

    def settle_growing(self) -> None:
        """Guard the contents of lists that nothing can stand in for after all."""
        for identity, (name, value) in list(self.growing.items()):
            if identity in self.stuck or not _places_of(value, self.guards):
                del self.growing[identity]
                self.seen.discard(identity)
                self._watched = {k: v for k, v in self._watched.items() if k != identity}
                self.visit(name, value)

    def _container(self, name: str, form: str, value: Any) -> None:
        """Guard all items of a dictionary or list; a tuple's stay as they are."""
        if len(value) > MOST:
            return
        named = isinstance(value, dict)
        values = tuple(value.values() if named else value)
        contents = Contents(name, form, value, tuple(value) if named else None, values)
        if isinstance(value, tuple):
            self.stuck.update(map(id, value))
        else:
            kinds = {}
            for k, item in contents.items() if self._watched else ():
                kind = self.kind(Guard(contents.item(k), value, k, item))
                if kind is not None:
                    kinds[k] = kind
            contents = replace(contents, kinds=kinds)
            self.guards.append(contents)
        for k, item in contents.items():
            if k not in contents.kinds:
                self.visit(contents.item(k), item)

    def _object(self, name: str, value: Any) -> None:
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            self._container(name, ".{}", attributes)
        watched = getattr(type(value), "_watched", None)
        if isinstance(watched, dict):  # what modules of the library share
            self.visit(f"hooks of every {type(value).__name__}", watched)
        for cls in type(value).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if slot not in ("__dict__", "__weakref__"):
                    self.read(f"{name}.{slot}", Slots(value), slot, getattr(value, slot, MISSING))
        self.visit(type(value).__name__, type(value))

    def _class(self, name: str, cls: type) -> None:
        """Guard the attributes of a class and the bases of it that the user has written, and what its methods read."""
        for base in cls.__mro__:
            if base is not cls:
                self.visit(base.__name__, base)
        if _of_library(cls.__module__) or not cls.__flags__ & _HEAP_TYPE:
            return
        items = {k: v for k, v in cls.__dict__.items() if not k.startswith("__") or k == "__call__"}
        for k, v in items.items():
            guard = Guard(f"{name}.{k}", cls.__dict__, k, v, owner=cls)
            self.guards.append(replace(guard, kind=self.kind(guard)))
        for k, v in items.items():
            for found in (v.fget, v.fset) if isinstance(v, property) else (getattr(v, "__func__", v),):
                self.visit(f"{name}.{k}", found)


def _places_of(value: Any, guards: Sequence[Guard | Contents]) -> list[Place]:
    """The places that hold an object."""
    found = []
    for guard in guards:
        if isinstance(guard, Guard):
            found += [guard.place] if guard.value is value else []
        elif isinstance(guard.holder, (dict, list)):
            found += [Place(guard.holder, k) for k, item in guard.items() if item is value]
    return list({p.identity: p for p in found}.values())


#: Containers and arrays of more items are not looked into.
MOST = 4096
#: ``Py_TPFLAGS_HEAPTYPE``: classes that a program can change.
_HEAP_TYPE = 1 << 9


def _of_library(module: str | None) -> bool:
    top = (module or "").partition(".")[0]
    return top != "__main__" and (top in ("tracec", "numpy") or top in sys.stdlib_module_names)


def _names(code: types.CodeType, instructions: tuple[str, ...] = (*_GLOBAL_READS, *_GLOBAL_WRITES)) -> list[str]:
    """Global names that a function's code, and the code nested in it, may read or write; not those of attributes."""
    names = [i.argval for i in dis.get_instructions(code) if i.opname in instructions]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant, instructions)
    return list(dict.fromkeys(names))
