"""Objects that keep state in memory of C code, where no attribute, slot or item shows it: no guard can cover them."""

from __future__ import annotations

import threading
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from typing import Any

import numpy as np

from tracec.ir.classes import is_heap_type, is_singular

#: Modules of C classes whose instances never change, or are made of others that are looked at.
_FIXED = ("builtins", "datetime", "decimal", "functools", "operator", "re", "_struct", "types", "typing", "zoneinfo")
#: Builtin classes whose instances change, besides those that are looked at otherwise.
_CHANGING = (types.CoroutineType, types.AsyncGeneratorType, types.FrameType, types.TracebackType)
#: Classes whose instances are looked at otherwise, and those that never change.
_SEEN = (
    OrderedDict, defaultdict, deque, types.SimpleNamespace, types.ModuleType, type, np.dtype, np.ufunc, np.generic,
    np.random.Generator, np.random.RandomState,
)  # fmt: skip
_LOCKS: Any = (type(threading.Lock()), type(threading.RLock()))


def keeps_in_c(value: Any) -> bool:
    """Whether an object may keep what no guard tells of."""
    cls: Any = type(value)
    if not is_singular(cls):
        return _keeps_in_c(cls)
    found = _KNOWN.get(cls)
    if found is None:
        found = _KNOWN[cls] = _keeps_in_c(cls)
    return found


#: What is known of classes, which live no longer for it.
_KNOWN: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def _keeps_in_c(cls: Any) -> bool:
    if issubclass(cls, _CHANGING):
        return True
    if issubclass(cls, (*_SEEN, BaseException)):
        return False
    written = [base for base in cls.__mro__ if is_heap_type(base)]
    base = next(base for base in cls.__mro__ if not is_heap_type(base))
    if base is not object:
        return base.__module__ not in _FIXED
    members = {k for c in written for k, v in c.__dict__.items() if isinstance(v, types.MemberDescriptorType)}
    special = [n for n, at in (("__dict__", cls.__dictoffset__), ("__weakref__", cls.__weakrefoffset__)) if at]
    probe: Any = type("Probe", (), {"__slots__": (*(f"a{k}" for k in range(len(members))), *special)})
    return bool(cls.__module__ not in _FIXED and cls.__basicsize__ > probe.__basicsize__)


def is_lock(value: Any) -> bool:
    """Whether an object is a lock, of which `held` tells."""
    return isinstance(value, _LOCKS)


def held(lock: Any) -> str:
    """Whether a lock is held; of one that counts, also by whom and how often."""
    return repr(lock).partition(" at ")[0]


#: Methods that operators, loops and builtins call.
_UNNAMED = ("__len__", "__getitem__", "__contains__", "__bool__", "__iter__", "__next__", "__int__", "__float__")


def asked_of(value: Any, names: set[str]) -> list[str]:
    """Those of some names that are methods of an object, by which what it keeps is read, or may be without a name."""
    named = sorted(n for n in names if not n.startswith("__") and hasattr(type(value), n))
    return named or [n for n in _UNNAMED if hasattr(type(value), n)]
