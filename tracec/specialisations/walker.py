"""The walk from a function to all that it can read: cells, globals, defaults, and the objects that are found there.

An over-approximation by names: of an object those attributes are read that any code found so far names.
"""

from __future__ import annotations

import abc
import functools
import sys
import types
import weakref
from collections import deque
from collections.abc import Hashable, Mapping, Set
from dataclasses import replace
from typing import Any

from tracec.ir.classes import is_heap_type, is_one_of
from tracec.ir.dtype import DType
from tracec.record.cell import Storage
from tracec.record.recording import hooks_of
from tracec.record.state import PROCESS
from tracec.record.structure import Slots, slot_names
from tracec.record.tensor import Tensor, own_attributes
from tracec.specialisations.append_only import can_grow
from tracec.specialisations.digests import (
    NO_NAMES,
    Names,
    context,
    names_of,
    registered,
    size,
)
from tracec.specialisations.guards import Contents, Guard, places_of
from tracec.specialisations.holders import AttributesOf, BasesOf, ClassOf, CodeOf
from tracec.specialisations.impure import reads
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.origins import is_of_library, of_library
from tracec.specialisations.places import MISSING, Kind, Place
from tracec.specialisations.standard_objects import StandardObjects


class Walker(StandardObjects):
    """Finds what a function can read, and notes what there is to guard.

    Args:
        watched: Identities of places, and the kinds of what may be there.
        names: Attributes that it asks for besides those that code shows.
    """

    def __init__(self, watched: Mapping[Hashable, Kind], names: Set[str] = frozenset()) -> None:
        super().__init__()
        self._named.names |= names
        #: Identity of a place → the guard of a place that is watched.
        self.found: dict[Hashable, Guard] = {}
        self.named: list[Place] = []
        self._watched = watched
        self.captured: set[Storage] = set()
        self.functions: list[types.FunctionType] = []
        #: What no program changes: globals that are not there, builtins mostly, and the classes of objects.
        self.besides: list[Guard] = []
        self.growing: dict[int, tuple[str, Any]] = {}
        #: Identities of keys of dictionaries, and of what is in sets.
        self.keys: set[int] = set()
        #: Identity of a tensor → its name, the tensor, and what a program has set on it.
        self.with_attributes: dict[int, tuple[str, Tensor, dict[str, Any]]] = {}
        #: Functions, or the code of those in Python, that read what no guard tells of, and what they read.
        self.reading: dict[Any, str] = {}

    def function(self, fn: types.FunctionType) -> None:
        """The cells, defaults and named globals of a function, and of functions nested in it."""
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            self.seen.add(id(cell))
            self.alive.append(cell)
            self.named.append(Place(cell, None))
            self.read(name, cell, None, Place(cell, None).now(), names_of(fn.__code__))
        if _is_own(fn):
            self._named.written.append((fn.__name__, fn))
            self.besides.append(Guard(f"code of {fn.__name__}", CodeOf(fn), "", CodeOf(fn)[""]))
        if fn.__globals__.get("__name__") == "functools" and "registry" in fn.__dict__:
            self.visit(f"{fn.__name__}.registry", fn.__dict__["registry"])  # what goes by types; it fills a cache too
        elif _is_own(fn) or not str(fn.__module__).startswith("tracec."):
            self._container(fn.__name__, ".{}", fn.__dict__)
        if _is_own(fn):
            self.named_by(fn)
        defaults = (*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values())
        self.stuck.update(map(id, defaults))
        for k, value in enumerate(defaults):
            self.visit(f"default {k}", value)
        if fn.__kwdefaults__:
            self._container(f"defaults of {fn.__name__}", "[{}]", fn.__kwdefaults__)

    def named_by(self, fn: types.FunctionType) -> None:
        """The globals and modules that a function of the user's names."""
        self.functions.append(fn)
        names = names_of(fn.__code__)
        self._named.names |= names.attributes
        for name in dict.fromkeys((*names.globals, *names.written)):
            self.named.append(Place(fn.__globals__, name))
            if name in fn.__globals__:
                self.read(name, fn.__globals__, name, fn.__globals__[name], names)
            elif name in names.written:
                self.read(name, fn.__globals__, name, MISSING)
            else:
                self.besides.append(Guard(name, fn.__globals__, name, MISSING))
                if name not in _REPLACED:
                    own: dict[str, Any] = getattr(fn, "__builtins__", {})
                    self.besides.append(Guard(name, own, name, own.get(name, MISSING)))
        for name in names.modules:
            if name in sys.modules:
                self.module(name, sys.modules[name], names)

    def read(self, name: str, holder: Any, key: Any, value: Any, names: Names = NO_NAMES) -> None:
        """Guard a place, then what lies behind it; of a module, what is named of it."""
        if isinstance(value, types.ModuleType):
            self.guards.append(Guard(name, holder, key, value))
            self.module(name, value, names)
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
            self.argument(guard.name, (guard.place,), guard.value, kind.layouts)
        return kind

    def visit(self, name: str, value: Any) -> None:
        """Guard what an object holds, where it is one that programs change: modules, optimisers, containers."""
        if isinstance(value, Tensor):
            self._tensor(name, value)
            return
        if isinstance(value, types.ModuleType):
            self.module_as_value(name, value)
            return
        if value is sys.modules:
            self.unseen.append(f"the interpreter, {name}")
            return
        if (what := reads(value)) is not None:
            self.reading[getattr(value, "__code__", value)] = what
        if isinstance(value, (DType, types.BuiltinFunctionType)) or value is MISSING:
            return
        if isinstance(value, PLAIN) and not is_heap_type(type(value)):
            return
        if id(value) in self.seen:
            return
        self.seen.add(id(value))
        self.alive.append(value)
        if can_grow(value) and id(value) in self._watched:
            self.growing[id(value)] = name, value
        elif self._callable(name, value):
            pass
        elif isinstance(value, (dict, list, tuple, set, frozenset, deque)):
            self._container(name, "[{}]", value)
            if is_heap_type(type(value)):
                self._object(name, value)
        elif self.standard(name, value):
            pass
        elif isinstance(value, type):
            self._class(name, value)
        else:
            self.hidden(name, value)
            self._object(name, value)

    def _tensor(self, name: str, value: Tensor) -> None:
        """Note a tensor from outside, what a program has set on it, and its hooks; of a composite what it holds."""
        if value.is_composite:
            self._container(name, ".{}", value.__dict__)
            return
        self.captured.add(value._storage)
        if id(value) not in self.with_attributes:
            own = own_attributes(value)
            self.with_attributes[id(value)] = name, value, own
            for k, v in own.items():
                self.read(f"{name}.{k}", value.__dict__, k, v)
        self.tensors.setdefault(id(value), name)
        self._kind_of_tensor(value)
        for hook in hooks_of(value):
            self.visit(f"hook of {name}", hook)

    def _callable(self, name: str, value: Any) -> bool:
        """Visit what a function, a method or a partial one calls and holds; tells whether it is one."""
        if isinstance(value, types.FunctionType):
            if not is_of_library(value):
                self.function(value)
            elif "__wrapped__" in value.__dict__:  # what it decorates may wear a name of the library's
                self.visit(name, value.__dict__["__wrapped__"])
        elif isinstance(value, types.MethodType):
            self.visit(name, value.__func__)
            self.visit(name, value.__self__)
        elif isinstance(value, functools.partial):
            self.stuck.update(map(id, (*value.args, *value.keywords.values())))
            if (what := reads(value.func)) is not None:  # C code calls it
                self.unseen.append(what)
            self.visit(name, value.func)
            self._container(name, "[{}]", list(value.args))
            self._container(name, "[{}]", value.keywords)
        else:
            return False
        return True

    def settle_named(self) -> None:
        """Guard what the user's functions name; asked when all was walked."""
        for replacement in PROCESS.replaced:
            if isinstance(replacement.value, types.FunctionType) and _is_own(replacement.value):
                self.visit(replacement.name, replacement.value)
        self.settle_modules()
        for name, fn in self._named.replaced(_is_own):
            self.visit(name, fn)
        self.guards += self._named.digests()
        self.besides += self._named.methods()
        self.unseen += self._named.unseen()

    def settle_growing(self) -> None:
        """Guard the contents of lists that nothing can stand in for after all."""
        for identity, (name, value) in list(self.growing.items()):
            if identity in self.stuck or not places_of(value, self.guards):
                del self.growing[identity]
                self.seen.discard(identity)
                self._watched = {k: v for k, v in self._watched.items() if k != identity}
                self.visit(name, value)

    def _container(self, name: str, form: str, value: Any) -> None:
        """Guard all items of a dictionary or list; a tuple's stay as they are."""
        named = isinstance(value, dict)
        for key in value if named or isinstance(value, (set, frozenset)) else ():
            if not isinstance(key, PLAIN):
                self.keys.add(id(key))
                self.visit(f"a key of {name}", key)
        values = tuple(value.values() if named else value)
        contents = Contents(name, form, value, tuple(value) if named else None, values)
        if not isinstance(value, (dict, list)):
            self.stuck.update(map(id, value))
        if isinstance(value, (set, frozenset)):
            self.guards.append(contents)
        elif not isinstance(value, tuple):
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
        if is_heap_type(type(value)):
            self.besides.append(Guard(f"{name}.__class__", ClassOf(value), "__class__", type(value)))
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            own = any(is_one_of(c, _WEAK) for c in type(value).__mro__) or not of_library(type(value).__module__)
            self._inside += not own
            self._container(name, ".{}", attributes)
            self._inside -= not own
            if is_heap_type(type(value)) and attributes is value.__dict__:
                self.besides.append(Guard(f"{name}.__dict__", AttributesOf(value), "__dict__", attributes))
        watched = getattr(type(value), "_watched", None)
        if isinstance(watched, dict):  # what modules of the library share
            self.visit(f"hooks of every {type(value).__name__}", watched)
        slots = Slots(value, slot_names(type(value)))
        for slot in slot_names(type(value)):
            self.read(f"{name}.{slot}", slots, slot, Place(slots, slot).now())
        self.visit(type(value).__name__, type(value))

    def _class(self, name: str, cls: type) -> None:
        """Guard the attributes of a class and the bases of it that the user has written, and what its methods read."""
        for base in cls.__mro__:
            if base is not cls:
                self.visit(base.__name__, base)
        if type(cls) is not type:
            self.visit(type(cls).__name__, type(cls))
        if cls.__module__ == "decimal":
            self.digest("decimal.getcontext()", sys.modules["decimal"], context)
        if (of_library(cls.__module__) and cls.__module__ != "builtins") or not is_heap_type(cls):
            self._named.of_library += [cls] if str(cls.__module__).startswith("tracec.") else []
            return
        self._named.written.append((name, cls))
        self.besides.append(Guard(f"{name}.__mro__", BasesOf(cls), "__mro__", cls.__mro__))
        if isinstance(cls, abc.ABCMeta):
            self.digest(f"classes registered with {name}", cls, registered)
        self.digest(name, cls.__dict__, size)
        items = {
            k: v for k, v in cls.__dict__.items() if k[:2] != "__" or k == "__match_args__" or isinstance(v, _METHODS)
        }
        for k, v in items.items():
            guard = Guard(f"{name}.{k}", cls.__dict__, k, v, owner=cls)
            self.guards.append(replace(guard, kind=self.kind(guard)))
        for k, v in items.items():
            for found in (v.fget, v.fset) if isinstance(v, property) else (getattr(v, "__func__", v),):
                self.visit(f"{name}.{k}", found)


def _is_own(fn: types.FunctionType) -> bool:
    """Whether a function is the user's; a decorator of the library wears the name and module of what it decorates."""
    return not of_library(fn.__globals__.get("__name__"))


#: Builtins in whose place are others while a function is recorded.
_REPLACED = ("print", "input")
#: What of a class's attributes that Python gives a meaning to is looked into.
_METHODS = (types.FunctionType, property, classmethod, staticmethod)
_WEAK = (weakref.WeakValueDictionary, weakref.WeakKeyDictionary, weakref.WeakSet)
