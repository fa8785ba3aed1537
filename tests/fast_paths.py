"""What tests of the fast path of a call share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tracec


def numbers(*shape: int, seed: int = 0) -> Any:
    return tracec.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def settled(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The function compiled, and called until such calls take the fast path."""
    compiled = tracec.compile(fn)
    for _ in range(3):
        compiled(*args, **kwargs)
    assert is_short(compiled, *args, **kwargs)
    return compiled


def is_short(compiled: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether such a call takes the fast path."""
    return any(short.is_like(args, kwargs) for short in compiled._known.fast_paths)


def facts(x: Any) -> tuple[Any, ...]:
    return type(x), x.dtype, x.shape, x.stride(), x.requires_grad, x.is_leaf, x.is_inference(), x.device


def compare(compiled: Any, *args: Any, **kwargs: Any) -> None:
    """A call gives what the function does."""
    expected, found = compiled.fn(*args, **kwargs), compiled(*args, **kwargs)
    assert facts(found) == facts(expected)
    assert np.allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-6, equal_nan=True)
