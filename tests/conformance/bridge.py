"""From PyTorch's world to tracec's and back: values, dtypes, functions."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import torch

import tracec


class Missing(Exception):
    """tracec has nothing of that name."""


class Unusable(Exception):
    """A sample holds something that cannot be given to tracec, as a sparse tensor."""


def name_of(dtype: Any) -> str:
    """PyTorch's name of a dtype of either world."""
    return str(dtype).rpartition(".")[2]


def dotted(path: str) -> Any:
    """What tracec has under a name such as ``nn.functional.relu``."""
    found: Any = tracec
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise Missing(f"tracec has no {path}") from None
    return found


class Translation:
    """Values of one sample as tracec's; the same tensor twice stays the same tensor twice.

    Attributes:
        leaves: Pairs of tensors that require grad, PyTorch's first.
    """

    def __init__(self) -> None:
        self.leaves: list[tuple[Any, Any]] = []
        self._known: dict[int, Any] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, torch.Size):
            return tuple(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self, value))
        if isinstance(value, (list, tuple)):
            return type(value)(map(self, value))
        if isinstance(value, dict):
            return {k: self(v) for k, v in value.items()}
        if isinstance(value, slice):
            return slice(self(value.start), self(value.stop), self(value.step))
        if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
            return dotted(name_of(value))
        if isinstance(value, torch.device):
            return tracec.device(str(value))
        if isinstance(value, torch.Generator):
            raise Unusable("a generator of PyTorch's")
        if isinstance(value, torch.nn.Module):
            return dotted(f"nn.{type(value).__name__}")()
        return translated_function(value) if callable(value) and not isinstance(value, type) else value

    def _tensor(self, value: Any) -> Any:
        if id(value) in self._known:
            return self._known[id(value)]
        if value.layout != torch.strided:
            raise Unusable(f"layout {value.layout}")
        whole = value.untyped_storage().nbytes() // max(value.element_size(), 1)
        if 0 < value.numel() < whole and not value.is_conj() and not value.is_neg():  # a look at a part of some memory
            memory = tracec.from_numpy(to_numpy(value.detach().as_strided((whole,), (1,), 0)).copy())
            made = memory.as_strided(tuple(value.shape), value.stride(), value.storage_offset()).detach()
        else:
            made = tracec.from_numpy(to_numpy(value).copy())
        if value.requires_grad:
            made.requires_grad_()
            self.leaves.append((value, made))
        self._known[id(value)] = made
        return made


def to_numpy(value: Any) -> Any:
    """A tensor of either world as a NumPy array."""
    value = value.detach()
    if not isinstance(value, torch.Tensor):
        return np.asarray(value.cpu().numpy())
    value = value.resolve_conj().resolve_neg()
    if value.dtype is torch.bfloat16:
        return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy(force=True)


def function_of(info: Any) -> Callable[..., Any]:
    """The function of tracec that stands for an entry of PyTorch's operator database.

    Raises:
        Missing: there is none.
    """
    if info.name in ("H", "T", "mT", "mH"):
        return lambda x: getattr(x, info.name)
    if _is_test_code(info.op) or isinstance(info.op, functools.partial):
        return translated_function(info.op)
    if not info.name.startswith("__"):
        try:
            found = dotted(info.name)
            if callable(found):
                return found  # type: ignore[no-any-return]
        except Missing:
            if "." in info.name:
                raise
    if not hasattr(tracec.Tensor, info.name):
        raise Missing(f"tracec has no {info.name}")
    return lambda x, *args, **kwargs: getattr(x, info.name)(*args, **kwargs)


def _is_test_code(f: Any) -> bool:
    module = getattr(f, "__module__", None) or ""
    return isinstance(f, types.FunctionType) and (module.startswith("torch.testing") or f.__name__ == "<lambda>")


def translated_function(f: Any) -> Any:
    """A function of PyTorch's as tracec's: by name, or code of its test suite with ``torch`` meaning tracec."""
    if isinstance(f, functools.partial):
        return functools.partial(translated_function(f.func), *f.args, **f.keywords)
    if _is_test_code(f):
        return _with_tracec(f)
    name = getattr(f, "__name__", "")
    for prefix in ("", "nn.functional", "linalg", "special", "fft", "Tensor"):
        owner = functools.reduce(getattr, prefix.split(".") if prefix else [], torch)
        if name and getattr(owner, name, None) is f:
            return dotted(f"{prefix}.{name}".lstrip("."))
    return f


def _with_tracec(f: types.FunctionType) -> types.FunctionType:
    def seeded(op: Any, *args: Any, **kwargs: Any) -> Any:
        tracec.manual_seed(42)
        return op(*args, **kwargs)

    names = {**f.__globals__, "torch": tracec, "wrapper_set_seed": seeded, "F": tracec.nn.functional}
    cells = tuple(types.CellType(_cell(c.cell_contents)) for c in f.__closure__ or ())
    made = types.FunctionType(f.__code__, names, f.__name__, f.__defaults__, cells)
    made.__kwdefaults__ = f.__kwdefaults__
    return made


def _cell(value: Any) -> Any:
    return tracec if value is torch else translated_function(value) if callable(value) else value


def tensors_in(value: Any) -> Iterator[Any]:
    """Tensors and plain values of a result, in order."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    else:
        yield value
