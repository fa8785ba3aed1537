"""The part of the walk that goes through arguments, and structures in watched places: each part and its guards.

The parts themselves are in the key of a call. What is not flattened is visited as whatever else a function reaches.
"""

from __future__ import annotations

import abc
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracec.ir.classes import is_heap_type, is_iterator
from tracec.record.structure import ATTRIBUTES, ITEMS, THE_CELLS, aspects, attributes_of
from tracec.record.tensor import Tensor
from tracec.specialisations.guards import Contents, Guard, contents_of
from tracec.specialisations.holders import AttributesOf, ClassOf
from tracec.specialisations.keys import Layouts, is_flattened, is_sequence
from tracec.specialisations.named import Named
from tracec.specialisations.places import Place


class Arguments(abc.ABC):
    """Takes arguments apart as the keys of calls do; how anything else is visited is left to the class that walks."""

    def __init__(self) -> None:
        self.tensors: dict[int, str] = {}
        #: Identity of a list, dictionary or other object among the arguments that is taken apart → where it is.
        self.given: dict[int, tuple[Any, ...]] = {}
        #: The same of dictionaries of attributes.
        self.given_parts: dict[int, tuple[Any, ...]] = {}
        #: What those of them that can be changed hold, and where they are.
        self.held: list[tuple[tuple[Any, ...], Contents]] = []
        self._given: list[tuple[tuple[Any, ...], Any]] = []
        #: Classes, and dictionaries of attributes, of objects among the arguments that are taken apart.
        self.opened: list[Guard] = []
        #: Paths of arguments that are one list or dictionary, and of those that are one that is reached besides.
        self.one: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = []
        self.fixed: list[tuple[tuple[Any, ...], Any]] = []
        self.seen: set[int] = set()
        self.alive: list[Any] = []  # ids in `seen` stay taken
        self._named = Named()

    @abc.abstractmethod
    def visit(self, name: str, value: Any) -> None:
        """Guard what an object holds."""

    @abc.abstractmethod
    def named_by(self, fn: types.FunctionType) -> None:
        """Guard the globals and modules that a function of the user's names."""

    def argument(self, name: str, path: tuple[Any, ...], value: Any, layouts: Layouts | None = None) -> None:
        """Note what the parts of an argument hold; the parts themselves are in the key of the call.

        Args:
            name: How the user would write it.
            path: Position of the argument, or the place where it is, then keys.
            value: The argument.
            layouts: Tells which objects are taken apart.
        """
        if isinstance(value, Tensor):
            self.tensors.setdefault(id(value), name)
            self._kind_of_tensor(value)
            return
        if type(value) is np.ndarray and isinstance(path[0], Place):  # nobody has looked into it yet
            return
        if is_iterator(value):
            self.visit(name, value)
            return
        if isinstance(value, types.ModuleType):
            self.visit(name, value)
            return
        opened = layouts is not None and is_flattened(value, layouts)
        if isinstance(value, tuple) and type(value) is not tuple:
            self.visit(type(value).__name__, type(value))
        structured = opened or type(value) is dict or is_sequence(value)
        if not structured or id(value) in self.seen:
            self.visit(name, value)
            if structured and not isinstance(value, tuple):
                self.fixed.append((path, value))
        elif not self._is_given(path, value):
            if not opened:
                self._items(path, contents_of(name, "[{}]", value), layouts)
                return
            for at, contents in self._parts(name, path, value):
                self._items(at, contents, layouts)
            self._what_is_fixed(name, value)

    def reached(self) -> list[tuple[tuple[Any, ...], Any]]:
        """Those of what is taken apart that were reached otherwise too, be it later."""
        return [(path, value) for path, value in self._given if id(value) in self.seen]

    def _is_given(self, path: tuple[Any, ...], value: Any) -> bool:
        """Note where a structure or cell is; tells whether it is somewhere else among the arguments as well."""
        if isinstance(value, tuple):
            self.alive.append(value)
            return False
        if id(value) in self.given:
            self.one.append((self.given[id(value)], path))
            return True
        self.given[id(value)] = path
        self._given.append((path, value))
        return False

    def _parts(self, name: str, path: tuple[Any, ...], value: Any) -> Iterator[tuple[tuple[Any, ...], Contents]]:
        """What an object holds that is taken apart, and where; of a function also what it names."""
        if isinstance(value, types.FunctionType):
            self.named_by(value)
            self._shared_cells(path, value)
        elif isinstance(value, (set, frozenset)):
            self.held.append((path, contents_of(name, "[{}]", value)))
        for aspect in aspects(value):
            holder = aspect.of(value)
            if aspect is ATTRIBUTES:
                self.given_parts[id(holder)] = (*path, aspect)
            yield (*path, aspect), contents_of(name, "[{}]" if aspect is ITEMS else ".{}", holder)

    def _what_is_fixed(self, name: str, value: Any) -> None:
        """Depend on it that the class and the dictionary of an object that is taken apart are what they are."""
        if not is_heap_type(type(value)):
            return
        self.opened.append(Guard(f"{name}.__class__", ClassOf(value), "__class__", type(value)))
        if ATTRIBUTES in aspects(value):
            self.opened.append(Guard(f"{name}.__dict__", AttributesOf(value), "__dict__", attributes_of(value)))
        self.visit(type(value).__name__, type(value))

    def _shared_cells(self, path: tuple[Any, ...], fn: types.FunctionType) -> None:
        """Note which cells functions among the arguments have in common, among them and with those found before."""
        for name, cell in THE_CELLS.of(fn).items():
            self._is_given((*path, THE_CELLS, name), cell)

    def _items(self, path: tuple[Any, ...], contents: Contents, layouts: Layouts | None) -> None:
        """Note the items of an argument, and what they hold."""
        if not isinstance(contents.holder, tuple):
            self.held.append((path, contents))
        for k, item in contents.items():
            self.argument(contents.item(k), (*path, k), item, layouts)

    def _kind_of_tensor(self, value: Tensor) -> None:
        """What functions do to tensors of a class of the user's is the class's affair."""
        if type(value) is not Tensor:
            self.visit(type(value).__name__, type(value))
