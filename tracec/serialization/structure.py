"""Nested values as JSON, with tensors set apart under names; and back.

What JSON has no form for is an object with one key that says what it is: ``{"tuple": [...]}``, ``{"tensor": {...}}``.
Nothing in a file is ever called: what is read is made of the types that are listed here.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions import from_numpy
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.nn.parameter import Parameter
from tracec.record.backend import Device
from tracec.record.composite import Composite
from tracec.record.form import Layout, jagged, strided
from tracec.record.tensor import Size, Tensor

Array = np.ndarray[Any, np.dtype[Any]]
#: A tensor that was read, and where it was → where it is to be.
Placement = Callable[[Tensor, str], Tensor]


class Writer:
    """Takes a value apart.

    Attributes:
        arrays: Name → array of each tensor, as they are to be written.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self._names: dict[Any, str] = {}
        self._inside: list[int] = []

    def write(self, value: Any, path: str = "") -> Any:
        """The JSON of a value.

        Raises:
            ArgumentTypeError: there is no form for a part of it.
            ArgumentError: it holds itself.
        """
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, Composite):
            return self._composite(value, path)
        if isinstance(value, (Tensor, np.ndarray, np.generic)):
            return self._array(value, path)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, (float, complex, bytes, DType, Device, PurePath)):
            return _written(value)
        if id(value) in self._inside:
            raise ArgumentError(f"save: the value at {path or 'the top'} holds itself", hint="save its parts")
        self._inside.append(id(value))
        try:
            return self._container(value, path)
        finally:
            self._inside.pop()

    def _container(self, value: Any, path: str) -> Any:
        if type(value) is list:
            return [self.write(v, f"{path}.{k}") for k, v in enumerate(value)]
        if isinstance(value, argparse.Namespace):
            return {"namespace": self._items(vars(value), path)}
        for name, cls in _MAPPINGS.items():
            if type(value) is cls:
                return {name: self._items(value, path)}
        for name, cls in _SEQUENCES.items():
            if type(value) is cls:
                items: list[Any] = list(value)  # type: ignore[call-overload]
                return {name: [self.write(v, f"{path}.{k}") for k, v in enumerate(items)]}
        raise ArgumentTypeError(
            f"save: cannot write {'the value' if not path else path[1:]} of type {type(value).__name__}",
            hint="save the state_dict() of modules and optimizers; tensors, numbers, strings, lists and dicts",
        )

    def _items(self, mapping: Any, path: str) -> list[Any]:
        return [[self.write(k), self.write(v, f"{path}.{k}")] for k, v in mapping.items()]

    def _composite(self, value: Composite, path: str) -> Any:
        kind = next((k for k, (module, name) in _COMPOSITES.items() if _is_named(type(value), module, name)), None)
        if kind is None:
            type(value).refuse("save")
        described: Any = value.form()
        form = [str(x) if isinstance(x, Layout) else x for x in described]
        return {kind: [self.write(form), [self.write(t, f"{path}.{k}") for k, t in enumerate(value.inner())]]}

    def _array(self, value: Any, path: str) -> Any:
        if not isinstance(value, Tensor):
            return {"array" if isinstance(value, np.ndarray) else "number": self._named(np.asarray(value), path, value)}
        array = value.detach().cpu().resolve_conj().numpy()
        key = (id(value._storage), value._steps, value.dtype.name)  # looks at the same memory are written once
        described: dict[str, Any] = {"name": self._named(array, path, key)}
        if value.device != "cpu":
            described["device"] = str(value.device)
        if value.requires_grad:
            described["requires_grad"] = True
        if isinstance(value, Parameter):
            described["parameter"] = True
        return {"tensor": described}

    def _named(self, array: Array, path: str, key: Any) -> str:
        key = key if isinstance(key, tuple) else id(key)
        name = self._names.get(key)
        if name is None:
            name = wanted = path[1:] or "tensor"
            number = 1
            while name in self.arrays:
                number += 1
                name = f"{wanted}#{number}"
            self._names[key] = name
            self.arrays[name] = array
        return name


def _is_named(cls: type, module: str, name: str) -> bool:
    return (cls.__module__, cls.__name__) == (module, name)


#: Kinds of tensors that are made of others → where their class is, which is imported where there is one.
_COMPOSITES = {
    "sparse": ("tracec.sparse.coo", "SparseTensor"),
    "compressed": ("tracec.sparse.compressed", "CompressedTensor"),
    "nested": ("tracec.nested.jagged", "NestedTensor"),
}
_LAYOUTS = {str(layout): layout for layout in (strided, jagged)}
_MAPPINGS: dict[str, type] = {"dict": dict, "ordered": OrderedDict, "counter": Counter}
_SEQUENCES: dict[str, type] = {"tuple": tuple, "set": set, "frozenset": frozenset, "size": Size}


def _written(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, complex):
        return {"complex": [_written(value.real), _written(value.imag)]}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, DType):
        return {"dtype": value.name}
    return {"device" if isinstance(value, Device) else "path": str(value)}


class Reader:
    """Puts a value together.

    Args:
        arrays: Name → array, which the tensors share memory with.
        place: Where tensors go.
    """

    def __init__(self, arrays: dict[str, Array], place: Placement) -> None:
        self._arrays = arrays
        self._place = place
        self._tensors: dict[str, Tensor] = {}

    def read(self, value: Any) -> Any:
        """The value of a JSON.

        Raises:
            ArgumentError: it is not of this form.
        """
        if isinstance(value, list):
            return [self.read(v) for v in value]
        if not isinstance(value, dict):
            return value
        if len(value) != 1:
            raise ArgumentError("load: the description of the file's structure is damaged")
        ((kind, inner),) = value.items()
        try:
            return self._kinds[kind](self, inner)
        except KeyError as error:
            raise ArgumentError(f"load: the file's structure names {error}, which is not there") from None

    def _tensor(self, described: dict[str, Any]) -> Tensor:
        name = described["name"]
        if name not in self._tensors:
            self._tensors[name] = self._place(from_numpy(self._arrays[name]), described.get("device", "cpu"))
        made = self._tensors[name]
        if described.get("parameter"):
            return Parameter(made, requires_grad=described.get("requires_grad", False))
        made = made.detach()
        return made.requires_grad_() if described.get("requires_grad") else made

    def _composite(self, kind: str, described: Any) -> Any:
        module, name = _COMPOSITES[kind]
        form, parts = (self.read(part) for part in described)
        form = tuple(_LAYOUTS.get(x, x) if isinstance(x, str) else x for x in form)
        return getattr(importlib.import_module(module), name).made(form, tuple(parts))

    def _pairs(self, items: list[Any]) -> list[tuple[Any, Any]]:
        return [(self.read(k), self.read(v)) for k, v in items]

    _kinds: dict[str, Callable[[Reader, Any], Any]] = {
        "tensor": _tensor,
        "sparse": lambda self, described: self._composite("sparse", described),
        "compressed": lambda self, described: self._composite("compressed", described),
        "nested": lambda self, described: self._composite("nested", described),
        "array": lambda self, name: self._arrays[name].copy(),
        "number": lambda self, name: self._arrays[name][()],
        "float": lambda self, text: float(text),
        "complex": lambda self, parts: complex(*map(self.read, parts)),
        "bytes": lambda self, text: base64.b64decode(text),
        "dtype": lambda self, name: dt.by_name(name),
        "device": lambda self, name: Device(name),
        "path": lambda self, text: Path(text),
        "namespace": lambda self, items: argparse.Namespace(**dict(self._pairs(items))),
        "dict": lambda self, items: dict(self._pairs(items)),
        "ordered": lambda self, items: OrderedDict(self._pairs(items)),
        "counter": lambda self, items: Counter(dict(self._pairs(items))),
        "tuple": lambda self, items: tuple(map(self.read, items)),
        "set": lambda self, items: set(map(self.read, items)),
        "frozenset": lambda self, items: frozenset(map(self.read, items)),
        "size": lambda self, items: Size(items),
    }
