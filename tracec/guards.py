"""What a compiled function's behaviour hangs on, besides the values in its tensors.

A specialisation is chosen by a key, made from the arguments' structure, tensor types and Python values,
and by guards over what the function reads from around it: closure cells, globals, its object, and the
plain attributes of the modules and optimisers found there.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tracec.record.tensor import Tensor

PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MISSING = object()
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
        key.append((value.dtype, value.shape, value.device, value.requires_grad))
    elif isinstance(value, PLAIN):
        key.append((type(value), repr(value) if isinstance(value, float) else value))
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
        return type(now) is type(self.value) and isinstance(now, PLAIN) and now == self.value

    def __str__(self) -> str:
        now = self.now()
        return f"{self.name}: {_short(self.value)} -> {'missing' if now is _MISSING else _short(now)}"


def _label(key: Any) -> str:
    """A dictionary's key for reading; a tensor among them is not printed whole."""
    return repr(key) if isinstance(key, PLAIN) else type(key).__name__


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} object"


def environment(fn: Callable[..., Any], arguments: Iterable[Any]) -> list[Guard]:
    """Guards over what a function can read: its cells, defaults, globals, and the objects found there."""
    walker = _Walker()
    owner = getattr(fn, "__self__", None)
    function = getattr(fn, "__func__", fn)
    if not isinstance(function, types.FunctionType):  # a Module or another callable object
        owner, function = fn, type(fn).__call__
    if owner is not None:
        walker.visit("self", owner)
        forward = getattr(type(owner), "forward", None)
        if isinstance(forward, types.FunctionType):
            walker.function(forward)
    if isinstance(function, types.FunctionType):
        walker.function(function)
    for k, value in enumerate(arguments):
        walker.visit(f"argument {k}", value)
    return walker.guards


class _Walker:
    def __init__(self) -> None:
        self.guards: list[Guard] = []
        self._seen: set[int] = set()
        self._alive: list[Any] = []  # ids in _seen stay taken

    def function(self, fn: types.FunctionType) -> None:
        """The cells, defaults and named globals of a function, and of functions nested in it."""
        if id(fn) in self._seen:
            return
        self._seen.add(id(fn))
        self._alive.append(fn)
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            self.read(name, cell, None, value)
        for name in _names(fn.__code__):
            if name in fn.__globals__:
                self.read(name, fn.__globals__, name, fn.__globals__[name])
        for k, value in enumerate(fn.__defaults__ or ()):
            self.visit(f"default {k}", value)

    def read(self, name: str, holder: Any, key: Any, value: Any) -> None:
        """Guard a place, then what lies behind it."""
        if isinstance(value, types.ModuleType):
            return
        self.guards.append(Guard(name, holder, key, value))
        self.visit(name, value)

    def visit(self, name: str, value: Any) -> None:
        """Guard what an object holds, where it is one that programs change: modules, optimisers, containers."""
        if isinstance(value, (*PLAIN, Tensor, type)) or id(value) in self._seen:
            return
        if isinstance(value, types.FunctionType):
            if not value.__module__.startswith("tracec."):
                self.function(value)
            return
        self._seen.add(id(value))
        self._alive.append(value)
        if isinstance(value, Mapping):
            if isinstance(value, dict) and len(value) <= 256:
                for k, item in value.items():
                    self.read(f"{name}[{_label(k)}]", value, k, item)
        elif isinstance(value, list):
            if len(value) <= 256:
                for k, item in enumerate(value):
                    self.read(f"{name}[{k}]", value, k, item)
        elif isinstance(value, tuple):
            for k, item in enumerate(value):
                self.visit(f"{name}[{k}]", item)
        elif isinstance(value, types.MethodType):
            self.visit(name, value.__self__)
        elif type(value).__module__ == "tracec.compile":  # its own books change with every call
            self.visit(name, value.fn)
        elif hasattr(value, "__dict__") and not isinstance(value, types.BuiltinFunctionType):
            attributes = value.__dict__
            if isinstance(attributes, dict):
                for k, item in list(attributes.items()):
                    self.read(f"{name}.{k}", attributes, k, item)


def _names(code: types.CodeType) -> list[str]:
    """Global names that a function's code, and the code nested in it, may read; not the attributes it reads."""
    names = [i.argval for i in dis.get_instructions(code) if i.opname in _GLOBAL_READS]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return list(dict.fromkeys(names))
