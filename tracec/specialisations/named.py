"""Objects that need more guards where the user's code names certain attributes, known when all code was found."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracec.record.tensor import Tensor
from tracec.specialisations.digests import derived, forgets_soon, hits
from tracec.specialisations.guards import Guard, digest_guard
from tracec.specialisations.holders import NameOf
from tracec.specialisations.kept_in_c import asked_of, held, is_lock

#: What a program may replace in a library.
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, type, types.MethodDescriptorType, np.ufunc)
#: Attributes of classes and functions that are in no dictionary, or that few look at; those that are texts.
_OF_WHAT_IS_WRITTEN = ("__abstractmethods__", "__annotations__")
_TEXTS = ("__doc__", "__module__", "__name__", "__qualname__")


class Named:
    """What was found, and the names that code uses.

    Attributes:
        names: Names of attributes.
        in_c: Objects that keep in memory of C code what no attribute tells.
        of_library: The library's classes.
        written: The user's classes and functions.
        cached: Functions that keep their results.
    """

    def __init__(self) -> None:
        self.names: set[str] = {"forward", "__call__"}
        self.in_c: list[tuple[str, Any]] = []
        self.of_library: list[type] = []
        self.written: list[tuple[str, Any]] = []
        self.cached: list[tuple[str, Any]] = []

    def unseen(self) -> list[str]:
        """What is read that no guard can tell of."""
        asked = ((name, x, asked_of(x, self.names)) for name, x in self.in_c if not is_lock(x))
        return [f"what a {type(x).__name__} keeps, {name}.{how[0]}" for name, x, how in asked if how]

    def digests(self) -> Iterator[Guard]:
        """Guards on what one plain value tells of."""
        for name, value in self.in_c:
            if is_lock(value) and asked_of(value, self.names):
                yield digest_guard(name, value, held)
        for name, cached in self.cached:
            if "cache_info" in self.names or forgets_soon(cached):
                yield digest_guard(f"how often results kept by {name} were found", cached, hits)
        if "__subclasses__" in self.names:
            for name, cls in self.written:
                if isinstance(cls, type):
                    yield digest_guard(f"classes derived from {name}", cls, derived)
        for attribute in (k for k in _TEXTS if k in self.names):
            for name, x in self.written:
                yield Guard(f"{name}.{attribute}", NameOf(x), attribute, getattr(x, attribute, None))
        for attribute in _OF_WHAT_IS_WRITTEN:
            if attribute in self.names and self.written:
                values = [x for _, x in self.written]
                yield digest_guard(
                    f"{attribute} of {self.written[0][0]}, or of others", values, functools.partial(_all, attribute)
                )

    def replaced(self, is_own: Callable[[types.FunctionType], bool]) -> Iterator[tuple[str, types.FunctionType]]:
        """The user's functions in place of methods of the library's classes that functions name, with their names.

        Args:
            is_own: Tells whether a function is the user's.
        """
        found: set[int] = set()
        while True:  # they may name others, and reach other classes
            new = [
                (f"{cls.__name__}.{k}", fn)
                for cls in (Tensor, *self.of_library)
                for k in self.names & cls.__dict__.keys()
                if isinstance(fn := cls.__dict__[k], types.FunctionType) and id(fn) not in found and is_own(fn)
            ]
            if not new:
                return
            found |= {id(fn) for _, fn in new}
            yield from new

    def methods(self) -> Iterator[Guard]:
        """Guards on those methods of the library's classes that the user's functions name."""
        for cls in (Tensor, *self.of_library):
            for k in sorted(self.names & cls.__dict__.keys()):
                if isinstance(cls.__dict__[k], FUNCTIONS):
                    yield Guard(f"{cls.__name__}.{k}", cls.__dict__, k, cls.__dict__[k], owner=cls)


def _all(attribute: str, values: list[Any]) -> str:
    return repr([getattr(x, attribute, None) for x in values])
