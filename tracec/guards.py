"""What a compiled function's behaviour hangs on, besides the values in its tensors.

A specialisation is chosen by a key, made from the arguments' structure, tensor types and Python values,
and by guards over what the function reads from around it: closure cells, globals, its object, and the
plain attributes of the modules and optimisers found there.
"""

from __future__ import annotations

import dis
import functools
import logging
import random
import sys
import types
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import is_ as _is
from typing import Any, NamedTuple

import numpy as np

from tracec.ir.dtype import DType
from tracec.record.call import Call
from tracec.record.cell import Storage
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor

PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MISSING = object()
#: What is read with ``get``: dictionaries, and those of classes.
_MAPPINGS = (dict, types.MappingProxyType)
_GLOBAL_READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def flatten(value: Any, tensors: list[Tensor], key: list[Hashable], kept: list[Any]) -> None:
    """Take a nested argument apart.

    Args:
        value: Tensors, plain values, and lists, tuples and dictionaries of them; any other object counts
            by identity.
        tensors: Receives the tensors, in order.
        key: Receives what the specialisation hangs on.
        kept: Receives objects whose identity is in the key, so that they stay alive with it.
    """
    if isinstance(value, Tensor):
        tensors.append(value)
        array = value._array
        if value._base is None and value._history is None:
            way = True if value._requires_grad else None
        else:
            edge = edge_of(value)
            way = None if edge is None else edge is value
        # Strides tell whether a reshape is a view; the way, whether gradients end here, go on, or do neither.
        key.append((type(value), array.dtype, array.shape, array.strides, value._device, way))
    elif isinstance(value, PLAIN):
        key.append((type(value), repr(value) if isinstance(value, (float, complex)) else value))
    elif type(value) in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        key.append((type(value), len(value)))
        for item in value:
            flatten(item, tensors, key, kept)
    elif type(value) is dict:
        key.append((dict, tuple(value)))
        for item in value.values():
            flatten(item, tensors, key, kept)
    else:
        key.append((type(value), id(value)))
        kept.append(value)


def steps_key(step: Call) -> Hashable:
    """What tells one view step from another."""
    return step.op.name, step.params, step.types


class Change(NamedTuple):
    """Something that is otherwise than it was.

    Attributes:
        name: How the user would write it.
        before: What it was.
        now: What it is.
        where: File and line where it is read; None where that is not known.
    """

    name: str
    before: str
    now: str
    where: str | None = None

    def __str__(self) -> str:
        place = f" (read at {self.where})" if self.where else ""
        return f"{self.name}: {self.before} -> {self.now}{place}"


@dataclass(frozen=True, slots=True)
class Guard:
    """Something read while recording, and what it was.

    Attributes:
        name: How the user would write it: ``self.training``.
        holder: The dictionary, cell or list that it is read from.
        key: Its key there.
        value: What it was; compared by identity, then by equality for plain values.
    """

    name: str
    holder: Any
    key: Any
    value: Any

    def now(self) -> Any:
        """What it is at present."""
        try:
            if isinstance(self.holder, types.CellType):
                return self.holder.cell_contents
            return self.holder[self.key]
        except (KeyError, IndexError, ValueError):
            return _MISSING

    def holds(self) -> bool:
        now = self.now()
        if now is self.value:
            return True
        return type(now) is type(self.value) and isinstance(now, PLAIN) and repr(now) == repr(self.value)

    def change(self) -> Change:
        """What it was and is."""
        now = self.now()
        return Change(self.name, *_told_apart(self.value, now))


def _label(key: Any) -> str:
    """A dictionary's key for reading; a tensor among them is not printed whole."""
    return repr(key) if isinstance(key, PLAIN) else type(key).__name__


def short(value: Any) -> str:
    """A value for reading; of a tensor, of what is long, or is known by its address, the type."""
    text = str(value._type) if isinstance(value, Tensor) else repr(value)
    return text if len(text) <= 60 and " at 0x" not in text else f"{type(value).__name__} object"


def _told_apart(before: Any, now: Any) -> tuple[str, str]:
    """Two values for reading, of which one may be missing."""
    first, second = ("missing" if v is _MISSING else short(v) for v in (before, now))
    return first, f"another {second}" if first == second else second


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a dictionary, list, class or set held: also what is added to it is noticed.

    Attributes:
        name: How the user would write it.
        form: How the user would write an item of it, as ``.{}`` or ``[{}]``.
        holder: The container.
        keys: Its keys; None for lists.
        values: Its values.
    """

    name: str
    form: str
    holder: Any
    keys: tuple[Any, ...] | None
    values: tuple[Any, ...]

    @property
    def now(self) -> Any:
        """Its present values."""
        return self.holder if self.keys is None else self.holder.values()

    def holds(self) -> bool:
        if len(self.holder) != len(self.values):
            return False
        return all(map(_same, self.now, self.values)) and all(map(_same, self.holder, self.keys or ()))

    def item(self, key: Any) -> str:
        """How the user would write an item."""
        return self.name + self.form.format(_label(key) if "[" in self.form else key)

    def change(self) -> Change:
        """What was and is of the first item that differs, or of the number or the order of items."""
        if isinstance(self.holder, (set, frozenset)):
            return Change(self.name, *_told_apart(set(self.values), self.holder))
        if self.keys is None and len(self.holder) != len(self.values):
            return Change(self.name, f"{len(self.values)} items", f"{len(self.holder)} items")
        keys = range(len(self.values)) if self.keys is None else self.keys
        before = dict(zip(keys, self.values, strict=True))
        now = dict(enumerate(self.holder)) if self.keys is None else self.holder
        for key in (*before, *(k for k in now if k not in before)):
            was, is_ = before.get(key, _MISSING), now.get(key, _MISSING)
            if was is _MISSING or is_ is _MISSING or not _same(is_, was):
                return Change(self.item(key), *_told_apart(was, is_))
        return Change(f"order of {self.name}", *_told_apart(list(before), list(now)))


def _same(now: Any, before: Any) -> bool:
    return now is before or (type(now) is type(before) and isinstance(now, PLAIN) and repr(now) == repr(before))


class _Slots:
    """The attributes of an object that keeps them in slots, as a mapping."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self.owner, name)
        except AttributeError:
            raise KeyError(name) from None


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

    Attributes:
        guards: What was there.
        captured: Memory that tensors found there look at; those among the arguments do not count.
        codes: The user's functions found there.
        tensors: Names of tensors found there, by identity.
    """

    def __init__(self, fn: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        walker = _Walker()
        walker.visit("self", fn)
        self.captured = frozenset(walker.captured)
        for name, value in arguments.items():
            walker.visit(name, value)
        self.guards = walker.guards
        self.codes = tuple(walker.codes)
        self.tensors = walker.tensors
        self._sources = walker.sources
        self._iterators = walker.iterators
        self._states = [state() for state in self._sources]
        reads = [g for g in self.guards if isinstance(g, Guard)]
        self._named = [(g.holder, g.key, g.value, g) for g in reads if type(g.holder) in _MAPPINGS]
        self._cells = [(g.holder, g.value, g) for g in reads if type(g.holder) is types.CellType]
        self._others = [g for g in reads if type(g.holder) not in (*_MAPPINGS, types.CellType)]
        self._contents = [g for g in self.guards if isinstance(g, Contents)]
        # All containers at once, in a few calls: a large model has hundreds.
        self._holders = [c.holder for c in self._contents]
        self._sizes = list(map(len, self._holders))
        self._items = [c.now for c in self._contents if c.values]
        self._values = [v for c in self._contents for v in c.values]
        self._keyed = [c.holder for c in self._contents if c.keys and "[" in c.form]
        self._keys = [k for c in self._contents if c.keys and "[" in c.form for k in c.keys]
        #: Attributes of one object are all: common among small functions, and checked in fewer steps.
        one = len(self._contents) == 1 and not self._keyed
        self._only = (self._holders[0], self._contents[0].now, self._values) if one else None

    def fails(self) -> Guard | Contents | None:
        """The first guard that does not hold."""
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
        if not self._holders or self._same_contents():
            return None
        return next((c for c in self._contents if not c.holds()), None)

    def _same_contents(self) -> bool:
        """Whether all containers hold the very same objects."""
        if self._only is not None:
            holder, items, values = self._only
            return len(holder) == len(values) and all(map(_is, items, values))
        return (
            list(map(len, self._holders)) == self._sizes
            and all(map(_is, chain.from_iterable(self._items), self._values))
            and all(map(_is, chain.from_iterable(self._keyed), self._keys))
        )

    def changed(self) -> str | None:
        """What the function changed, or used up, that tensors do not show; asked when it has run."""
        if self._iterators:
            return f"takes from an iterator, {self._iterators[0]}"
        if any(repr(state()) != repr(before) for state, before in zip(self._sources, self._states, strict=True)):
            return "draws numbers from Python's or NumPy's generators"
        guard = self.fails()
        return None if guard is None else f"changes Python state, {guard.change()}"


class _Walker:
    def __init__(self) -> None:
        self.guards: list[Guard | Contents] = []
        self.captured: set[Storage] = set()
        self.tensors: dict[int, str] = {}
        self.sources: list[Callable[[], Any]] = [random.getstate, np.random.get_state]
        self.iterators: list[str] = []
        self.codes: list[types.CodeType] = []
        self._seen: set[int] = set()
        self._alive: list[Any] = []  # ids in _seen stay taken

    def function(self, fn: types.FunctionType) -> None:
        """The cells, defaults and named globals of a function, and of functions nested in it."""
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            self.read(name, cell, None, value)
        # A decorator of the library wears the name and module of what it decorates.
        own = not _of_library(fn.__globals__.get("__name__"))
        if own:
            self.codes.append(fn.__code__)
        for name in _names(fn.__code__) if own else ():
            if name in fn.__globals__:
                self.read(name, fn.__globals__, name, fn.__globals__[name])
        for k, value in enumerate((*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values())):
            self.visit(f"default {k}", value)

    def read(self, name: str, holder: Any, key: Any, value: Any) -> None:
        """Guard a place, then what lies behind it."""
        if isinstance(value, types.ModuleType):
            return
        self.guards.append(Guard(name, holder, key, value))
        self.visit(name, value)

    def visit(self, name: str, value: Any) -> None:
        """Guard what an object holds, where it is one that programs change: modules, optimisers, containers."""
        if isinstance(value, Tensor):
            self.captured.add(value._storage)
            self.tensors.setdefault(id(value), name)
            return
        if isinstance(value, (*PLAIN, DType, types.BuiltinFunctionType, types.ModuleType)) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._alive.append(value)
        if isinstance(value, types.FunctionType):
            if not _of_library(value.__module__):
                self.function(value)
        elif isinstance(value, types.MethodType):
            self.visit(name, value.__func__)
            self.visit(name, value.__self__)
        elif isinstance(value, functools.partial):
            self.visit(name, value.func)
            self._container(name, "[{}]", list(value.args))
            self._container(name, "[{}]", value.keywords)
        elif isinstance(value, (dict, list, tuple)):
            self._container(name, "[{}]", value)
        elif isinstance(value, (set, frozenset)):
            self.guards.append(Contents(name, "[{}]", value, None, tuple(value)))
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

    def _container(self, name: str, form: str, value: Any) -> None:
        """Guard all items of a dictionary or list; a tuple's stay as they are."""
        if len(value) > MOST:
            return
        named = isinstance(value, dict)
        values = tuple(value.values() if named else value)
        contents = Contents(name, form, value, tuple(value) if named else None, values)
        if not isinstance(value, tuple):
            self.guards.append(contents)
        for k, item in zip(value if named else range(len(values)), values, strict=True):
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
                if hasattr(value, slot) and slot not in ("__dict__", "__weakref__"):
                    self.read(f"{name}.{slot}", _Slots(value), slot, getattr(value, slot))
        self.visit(type(value).__name__, type(value))

    def _class(self, name: str, cls: type) -> None:
        """Guard the attributes of a class and the bases of it that the user has written, and what its methods read."""
        for base in cls.__mro__:
            if base is not cls:
                self.visit(base.__name__, base)
        if _of_library(cls.__module__) or not cls.__flags__ & _HEAP_TYPE:
            return
        items = {k: v for k, v in cls.__dict__.items() if not k.startswith("__") or k == "__call__"}
        self.guards += [Guard(f"{name}.{k}", cls.__dict__, k, v) for k, v in items.items()]
        for k, v in items.items():
            for found in (v.fget, v.fset) if isinstance(v, property) else (getattr(v, "__func__", v),):
                self.visit(f"{name}.{k}", found)


#: Containers and arrays of more items are not looked into.
MOST = 4096
#: ``Py_TPFLAGS_HEAPTYPE``: classes that a program can change.
_HEAP_TYPE = 1 << 9


def _of_library(module: str | None) -> bool:
    top = (module or "").partition(".")[0]
    return top != "__main__" and (top in ("tracec", "numpy") or top in sys.stdlib_module_names)


def _names(code: types.CodeType) -> list[str]:
    """Global names that a function's code, and the code nested in it, may read; not the attributes it reads."""
    names = [i.argval for i in dis.get_instructions(code) if i.opname in _GLOBAL_READS]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return list(dict.fromkeys(names))
