"""Memory that others than tensors may see: NumPy arrays over it, and other libraries that were given it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from tracec.record.backend import is_array
from tracec.record.changes import ALONE, Changes
from tracec.record.meta import MetaArray

#: Such memory of NumPy's, by the number of its array.
_SEEN_BY_OTHERS: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
#: Addresses of such memory on GPUs; what is given away at one of them later is taken to be seen, too.
_SEEN_ON_GPUS: set[int] = set()


def root(array: Any) -> Any:
    """The memory that an array looks at: NumPy's array that has it, or CuPy's block."""
    if not isinstance(array, (np.ndarray, np.generic)):
        return array.whole if type(array) is MetaArray else array.data.mem
    while (base := array.base) is not None:
        if type(base) is not np.ndarray:
            base = getattr(base, "base", None)  # what as_strided puts between
            if type(base) is not np.ndarray:
                break
        array = base
    return array


def seen_by_others(array: Any) -> Any:
    """Note that another library may read and write an array's memory from here on; the array."""
    if type(array) is np.ndarray:
        owner = root(array)
        if id(owner) not in _SEEN_BY_OTHERS:  # entering it takes much longer
            _SEEN_BY_OTHERS[id(owner)] = owner
            if id(owner) in ALONE:
                Changes.count += 1
    elif is_array(array):
        _SEEN_ON_GPUS.add(root(array).ptr)
    return array


def is_seen(array: Any) -> bool:
    """Whether others than tensors may look at an array's memory."""
    if isinstance(array, np.ndarray):
        return bool(_SEEN_BY_OTHERS) and id(root(array)) in _SEEN_BY_OTHERS
    return bool(_SEEN_ON_GPUS) and type(array) is not MetaArray and root(array).ptr in _SEEN_ON_GPUS


def any_is_seen() -> bool:
    """Whether there is such memory at all."""
    return bool(_SEEN_BY_OTHERS or _SEEN_ON_GPUS)
