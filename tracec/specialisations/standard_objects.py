"""The part of a walk that is about objects of Python's and NumPy's own classes, each looked into in its own way.

What they hold is behind no attribute: views lead to dictionaries, caches to functions, generators have a state, and
files go on as they are used.
"""

from __future__ import annotations

import abc
import array
import contextvars
import functools
import gc
import inspect
import io
import logging
import operator
import random
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec.ir.classes import is_iterator, is_one_of, is_singular
from tracec.record.structure import Slots
from tracec.specialisations.digests import Books, elements, is_memory
from tracec.specialisations.draws import NUMPY, PYTHON
from tracec.specialisations.guards import Contents, digest_guard
from tracec.specialisations.holders import Current, Local
from tracec.specialisations.kept_in_c import keeps_in_c
from tracec.specialisations.modules import Modules
from tracec.specialisations.origins import referred, tell_of
from tracec.specialisations.places import Place

_TAKES_MORE = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_VIEWS: Any = (type({}.keys()), type({}.values()), type({}.items()))
#: Bytes of an array that are looked at in each call.
MOST = 1 << 26


class StandardObjects(Modules, abc.ABC):
    """Visits what such objects lead to, and notes of the others what a program has to know."""

    def __init__(self) -> None:
        super().__init__()
        self.generators: list[Any] = [PYTHON, NUMPY]
        self.iterators: list[str] = []
        #: Whether there are functions that keep their results, and such that keep one for each of what they are given.
        self.keeps = self.keeps_each = False
        #: Identities of what is held where nothing can stand in for it.
        self.stuck: set[int] = set()
        #: Arrays of more bytes than are looked at in each call.
        self.large: list[str] = []
        #: Weak references in what the user's functions reach.
        self.weak: list[tuple[str, Callable[[], Any]]] = []
        #: Files that can be written and not read, and what tells where one is.
        self.files: list[tuple[str, Callable[[], int]]] = []
        #: How many objects of the library the walk is within.
        self._inside = 0

    def standard(self, name: str, value: Any) -> bool:
        """Look into an object of such a class; tells whether it is one."""
        return (
            self._leads_on(name, value)
            or self._source(name, value)
            or self._with_books(name, value)
            or self._outside(name, value)
        )

    def _leads_on(self, name: str, value: Any) -> bool:
        """Visit what a getter, view, reference or variable of a context or thread leads to; tells whether it is one."""
        if isinstance(value, (operator.attrgetter, operator.methodcaller)):
            named = value.__reduce__()[1]
            self._named.names |= {part for one in named if isinstance(one, str) for part in one.split(".")}
        elif isinstance(value, types.MappingProxyType):
            for of in gc.get_referents(value):
                self.visit(name, of)
        elif isinstance(value, _VIEWS):
            self.visit(name, gc.get_referents(value.mapping)[0])
        elif is_one_of(type(value), weakref.ProxyTypes):
            self.weak += [] if self._inside else [(name, referred(value))]
        elif isinstance(value, weakref.ref):
            self.weak += [] if self._inside else [(name, value)]
        elif isinstance(value, contextvars.ContextVar):
            now = Place(Current(value), "").now()
            self.read(f"{name}.get()", Current(value), "", now)
        elif isinstance(value, threading.local):
            self._local(name, value)
        else:
            return False
        return True

    def _source(self, name: str, value: Any) -> bool:
        """Guard the bytes of an array, or note a generator of random numbers; tells whether it is one."""
        if isinstance(value, (np.ndarray, bytearray, array.array, memoryview)):
            if (len(value) if isinstance(value, (bytearray, array.array)) else value.nbytes) > MOST:
                self.large.append(name)
            else:
                self.digest(name, value, elements)
        elif isinstance(value, random.SystemRandom):
            self.unseen.append(f"random bytes of the system, {name}")
        elif isinstance(value, (np.random.Generator, np.random.RandomState, random.Random)):
            self.generators.append(value)
        else:
            return False
        return True

    def _with_books(self, name: str, value: Any) -> bool:
        """Visit the function of one that keeps its results, or is compiled; tells whether it is one."""
        if isinstance(value, functools._lru_cache_wrapper):
            self.keeps, self.keeps_each = True, self.keeps_each or _takes_something(value.__wrapped__)
            self.digest(f"results kept by {name}", value, Books())
            self._named.cached.append((name, value))
            self.visit(name, value.__wrapped__)
        elif type(value).__module__ == "tracec.compiled":  # its own books change with every call
            self.visit(name, value.fn)
        else:
            return False
        return True

    def _outside(self, name: str, value: Any) -> bool:
        """Note what changes as it is used: loggers, files, iterators and queues; tells whether it is one."""
        if isinstance(value, logging.Logger):  # its handlers change as they work
            for key in ("level", "disabled", "parent"):
                self.read(f"{name}.{key}", value.__dict__, key, value.__dict__[key])
            self.read("logging.disable", vars(value.manager), "_disable", vars(value.manager)["_disable"])
        elif is_iterator(value):
            if (
                where := tell_of(value) if is_singular(type(value)) and isinstance(value, io.IOBase) else None
            ) is not None:
                self.files.append((name, where))
            elif all(value is not s for s in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
                self.iterators.append(name)
        elif type(value).__module__ == "_queue":  # nothing tells what is in it
            self.unseen.append(f"a queue, {name}")
        else:
            return False
        return True

    def hidden(self, name: str, value: Any) -> None:
        """Guard what an object keeps besides its attributes."""
        if is_memory(value):
            self.digest(name, value, elements)
        elif keeps_in_c(value):
            self._named.in_c.append((name, value))
        elif isinstance(value, BaseException):
            self.read(f"{name}.args", Slots(value), "args", value.args)

    def lost(self) -> list[str]:
        """Names of weak references to what no place that is guarded keeps; asked when all was walked."""
        return [name for name, ref in self.weak if (value := ref()) is not None and id(value) not in self.seen]

    def digest(self, name: str, value: Any, tell: Callable[[Any], str | bytes]) -> None:
        """Guard what is told of an object."""
        self.guards.append(digest_guard(name, value, tell))

    def _local(self, name: str, value: threading.local) -> None:
        """Guard the attributes that an object has in the present thread."""
        holder = Local(value)
        self.guards.append(Contents(name, ".{}", holder, tuple(holder), tuple(holder.values())))
        self.stuck.update(map(id, holder.values()))
        for key, item in holder.items():
            self.visit(f"{name}.{key}", item)
        self.visit(type(value).__name__, type(value))


def _takes_something(fn: Any) -> bool:
    """Whether a function takes arguments, as far as is known."""
    code = getattr(fn, "__code__", None)
    return code is None or bool(code.co_argcount or code.co_kwonlyargcount or code.co_flags & _TAKES_MORE)
