"""Modules that hold modules."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tracec.errors import ArgumentTypeError, AxisError
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter


def _position(name: str, index: Any, size: int) -> int:
    i = operator.index(index)
    if not -size <= i < size:
        raise AxisError(f"{name}: index {i} is out of range for {size} modules", hint=f"use -{size} to {size - 1}")
    return i % size


class _Numbered(Module):
    """Modules named by their positions."""

    def _put(self, modules: Iterable[Module]) -> None:
        self._modules.clear()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def _all(self) -> list[Any]:
        return list(self._modules.values())

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._of(self._all()[index])
        return self._all()[_position(type(self).__name__, index, len(self))]

    def _of(self, modules: list[Module]) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[_position(type(self).__name__, index, len(self))]
        self._modules.pop(name) if module is None else setattr(self, name, module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        gone = names[index] if isinstance(index, slice) else [names[_position(type(self).__name__, index, len(names))]]
        self._rename([m for n, m in self._modules.items() if n not in gone])

    def _rename(self, modules: list[Any]) -> None:
        self._put(modules)

    def append(self, module: Module) -> Any:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before the one at a position."""
        every = self._all()
        every.insert(index, module)
        self._put(every)
        return self


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
            self._put(args)

    def _of(self, modules: list[Module]) -> Sequential:
        return type(self)(dict(zip([n for n, m in self._modules.items() if m in modules], modules, strict=True)))

    def _rename(self, modules: list[Any]) -> None:
        # Names that the user gave stay; numbers close up.
        if all(n.isdigit() for n in self._modules):
            self._put(modules)
        else:
            kept = {n: m for n, m in self._modules.items() if m in modules}
            self._modules.clear()
            self._modules.update(kept)

    def forward(self, input: Any) -> Any:
        """The last module's result."""
        for module in self._modules.values():
            assert module is not None
            input = module(input)
        return input


class ModuleList(_Numbered):
    """A list of modules that count as parts of the module that holds it.

    Args:
        modules: The modules.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self._put(modules or ())

    def _of(self, modules: list[Module]) -> ModuleList:
        return type(self)(modules)

    def __iadd__(self, modules: Iterable[Module]) -> Any:
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
        for key, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[key] = module


class ParameterList(Module):
    """A list of parameters that belong to the module that holds it.

    Args:
        values: Parameters, or tensors that are made parameters.
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int) -> Any:
        return list(self._parameters.values())[_position("ParameterList", index, len(self))]

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), value if isinstance(value, Parameter) else Parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end."""
        for value in values:
            self.append(value)
        return self


class ParameterDict(Module):
    """A dictionary of parameters that belong to the module that holds it.

    Args:
        values: Parameters by name, or tensors that are made parameters.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        for key, value in (values or {}).items():
            self[key] = value

    def __getitem__(self, key: str) -> Any:
        return self._parameters[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise ArgumentTypeError(f"ParameterDict: a name is text, {type(key).__name__} given", hint="use str(key)")
        self._parameters.pop(key, None)
        self.register_parameter(key, value if isinstance(value, Parameter) else Parameter(value))

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: object) -> bool:
        return key in self._parameters

    def keys(self) -> Any:
        """The names."""
        return self._parameters.keys()

    def values(self) -> Any:
        """The parameters."""
        return self._parameters.values()

    def items(self) -> Any:
        """The parameters with their names."""
        return self._parameters.items()
