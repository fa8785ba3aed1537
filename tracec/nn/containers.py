"""Modules that hold modules."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tracec.errors import ArgumentError, ArgumentTypeError, AxisError
from tracec.nn.module import Module

S = TypeVar("S", bound="_Numbered")


def position(name: str, index: Any, size: int, what: str = "modules") -> int:
    """A position counted from the front."""
    i = operator.index(index)
    if not -size <= i < size:
        raise AxisError(f"{name}: index {i} is out of range for {size} {what}", hint=f"use -{size} to {size - 1}")
    return i % size


class _Numbered(Module):
    """Modules in order, named by their positions where nothing else is said."""

    def _every(self) -> list[Any]:
        return list(self._modules.values())

    def _renumber(self, modules: Iterable[Any]) -> None:
        every = list(modules)
        self._modules.clear()
        for i, module in enumerate(every):
            self.add_module(str(i), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._every())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._sliced(list(self._modules.items())[index])
        return self._every()[position(type(self).__name__, index, len(self))]

    def _sliced(self, items: list[tuple[str, Any]]) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, list(self._modules)[position(type(self).__name__, index, len(self))], module)

    def __delitem__(self, index: Any) -> None:
        every = self._every()
        if isinstance(index, slice):
            del every[index]
        else:
            del every[position(type(self).__name__, index, len(every))]
        self._renumber(every)

    def append(self: S, module: Module) -> S:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Add modules at the end."""
        if not isinstance(modules, Iterable):
            raise ArgumentTypeError(
                f"{type(self).__name__}.extend: {type(modules).__name__} is no sequence of modules", hint="give a list"
            )
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: S, index: int, module: Module) -> S:
        """Put a module before the one at a position."""
        every = self._every()
        every.insert(index, module)
        self._renumber(every)
        return self

    def pop(self, key: int | slice = -1) -> Any:
        """Take the module at a position out, or those of a slice."""
        found = self[key]
        del self[key]
        return found


class Sequential(_Numbered):
    """Modules called one after the other, each with the result of the one before.

    Args:
        *args: Modules, or one dictionary of modules by name.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self._renumber(args)

    def _sliced(self, items: list[tuple[str, Any]]) -> Sequential:
        return type(self)(dict(items))

    def insert(self, index: int, module: Module) -> Sequential:
        """Put a module before the one at a position."""
        if not -len(self) <= index <= len(self):
            raise AxisError(
                f"Sequential.insert: index {index} is out of range for {len(self)} modules",
                hint=f"use {-len(self)} to {len(self)}",
            )
        return super().insert(index, module)

    def __add__(self, other: Sequential) -> Sequential:
        _check_sequential("+", other)
        return Sequential(*self, *other)

    def __iadd__(self, other: Sequential) -> Sequential:
        _check_sequential("+=", other)
        return self.extend(other)

    def __mul__(self, other: int) -> Sequential:
        return Sequential(*(list(self) * _times(other)))

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Sequential:
        return self.extend(list(self) * (_times(other) - 1))

    def forward(self, input: Any) -> Any:
        """The last module's result."""
        for module in self._modules.values():
            input = module(input)  # type: ignore[misc]
        return input


def _check_sequential(sign: str, other: Any) -> None:
    if not isinstance(other, Sequential):
        raise ArgumentError(f"Sequential {sign}: {type(other).__name__} is no Sequential", hint="wrap it in one")


def _times(n: Any) -> int:
    if not isinstance(n, int):
        raise ArgumentTypeError(f"Sequential *: {type(n).__name__} is no integer", hint="give how many times")
    if n < 1:
        raise ArgumentError(f"Sequential *: {n} times", hint="give 1 or more")
    return n


class ModuleList(_Numbered):
    """A list of modules that count as parts of the module that holds it.

    Args:
        modules: The modules.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _sliced(self, items: list[tuple[str, Any]]) -> ModuleList:
        return type(self)([module for _, module in items])

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        # Neighbours that print the same are printed once, with their number.
        lines = []
        start = 0
        for text, same in itertools.groupby(repr(module) for module in self):
            count = len(list(same))
            name = f"({start})" if count == 1 else f"({start}-{start + count - 1})"
            lines.append(f"{name}: " + ("" if count == 1 else f"{count} x ") + text.replace("\n", "\n  "))
            start += count
        return f"{self._get_name()}()" if not lines else f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """A dictionary of modules that count as parts of the module that holds it.

    Args:
        modules: Modules by name.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take all modules out."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take a module out."""
        return self._modules.pop(key)

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def items(self) -> Any:
        """The modules with their names."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or replace those of the same names."""
        if not isinstance(modules, (Mapping, ModuleDict, Iterable)):
            raise ArgumentTypeError(
                f"ModuleDict.update: {type(modules).__name__} has no names with modules", hint="give a dictionary"
            )
        for key, module in modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules:
            self[key] = module
