"""Random indices of every form, for any library: tensors in them are NumPy arrays until a library takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st


def shapes(low: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of up to four axes, some of them empty."""
    return st.lists(st.integers(low, 4), max_size=4).map(tuple)


def _slices(n: int) -> st.SearchStrategy[slice]:
    bound = st.none() | st.integers(-n - 2, n + 2)
    return st.builds(slice, bound, bound, st.none() | st.integers(1, 3))


def _integers(n: int, dtype: Any = np.int64) -> st.SearchStrategy[np.ndarray]:
    """Integer arrays, in range."""
    ways = [(), (1,), (2,), (3,), (2, 1), (1, 3), (0,)] if n else [(0,), (0, 1)]
    return st.sampled_from(ways).flatmap(
        lambda shape: st.lists(
            st.integers(-n, max(n - 1, 0)), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))
        ).map(lambda v: np.array(v, dtype).reshape(shape))
    )


def _masks(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    count = int(np.prod(shape))
    return st.lists(st.booleans(), min_size=count, max_size=count).map(lambda v: np.array(v, bool).reshape(shape))


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, ...], like_numpy: bool = False) -> Any:
    """An index of a tensor of that shape; now and then one that is out of range or one too many.

    Args:
        draw: Given by hypothesis.
        shape: The tensor's shape.
        like_numpy: Only indices that NumPy reads the same way: no integer beside an array, no bools alone.
    """
    parts: list[Any] = []
    axis, dots = 0, False
    arrays = draw(st.booleans())
    left = draw(st.integers(0, len(shape) + 2))
    # Behind an ellipsis there is a part for each axis to the last.
    while axis < len(shape) if dots else left > 0:
        left -= 1
        n = shape[axis] if axis < len(shape) else 2
        kinds = ["slice", "slice", "none"] + ["integer"] * (not (like_numpy and arrays)) + ["dots"] * (not dots)
        if arrays:
            kinds += ["list", "array", "mask"] + ["bool"] * (not like_numpy)
        kind = draw(st.sampled_from(kinds))
        if kind == "dots":
            parts.append(Ellipsis)
            axis, dots = axis + draw(st.integers(0, max(len(shape) - axis, 0))), True
        elif kind in ("none", "bool"):
            parts.append(None if kind == "none" else draw(st.booleans() | st.booleans().map(np.array)))
        elif kind == "mask":
            over = shape[axis : axis + draw(st.integers(1, 2))] or (2,)
            parts.append(draw(_masks(over)))
            axis += len(over)
        else:
            parts.append(draw(_along(kind, n)))
            axis += 1
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def _along(kind: str, n: int) -> st.SearchStrategy[Any]:
    """A part for one axis of that size."""
    if kind == "slice":
        return _slices(n)
    if kind == "integer":
        return st.integers(-n - 1, n)
    if kind == "list":
        return st.lists(st.integers(-n, max(n - 1, 0)), min_size=n > 0, max_size=3 if n else 0)
    return st.sampled_from([np.int64, np.int32]).flatmap(lambda dtype: _integers(n, dtype))


def given_to(key: Any, make: Any) -> Any:
    """The index with its arrays as tensors that ``make`` makes."""
    if isinstance(key, tuple):
        return tuple(given_to(k, make) for k in key)
    return make(key.copy()) if isinstance(key, np.ndarray) else key
