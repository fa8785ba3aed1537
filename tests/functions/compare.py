"""Running one function with tracec and with torch, and comparing values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tracec

torch = pytest.importorskip("torch")

Spec = tuple[int, ...] | np.ndarray
NUMBERS = (bool, int, float, complex)


class Library:
    """Names of a library, those of its ``nn.functional`` included: losses are meant as they are there."""

    def __init__(self, module: Any, functional: Any) -> None:
        self.module, self.functional = module, functional

    def __getattr__(self, name: str) -> Any:
        found = None if name.endswith(("_loss", "_div", "_entropy")) else getattr(self.module, name, None)
        return found if found is not None else getattr(self.functional, name)


TRACEC = Library(tracec, tracec.nn.functional)
TORCH = Library(torch, torch.nn.functional)


def arrays_of(specs: Sequence[Spec], low: float, high: float) -> list[np.ndarray]:
    """Arrays as given, and random ones for shapes."""
    rng = np.random.default_rng(0)
    return [s if isinstance(s, np.ndarray) else rng.uniform(low, high, s) for s in specs]


def flat(result: Any) -> list[Any]:
    """The tensors of a result, named tuples and lists taken apart."""
    return [t for r in result for t in flat(r)] if isinstance(result, (tuple, list)) else [result]


def run(library: Library, make: Callable[[np.ndarray], Any], f: Callable[..., Any], arrays: list[np.ndarray]) -> Any:
    """Values and gradients of a function, as arrays."""
    inputs = [make(a.copy()) for a in arrays]
    for x in inputs:
        if x.is_floating_point() or x.is_complex():
            x.requires_grad_()
    outputs = flat(f(library, *inputs))
    loss = None
    for k, out in enumerate(outputs):
        if isinstance(out, NUMBERS) or not out.requires_grad:
            continue
        # Different weights for the elements, so that no gradient cancels.
        weights = make(np.cos(np.arange(out.numel(), dtype=np.float64) + k).reshape(tuple(out.shape)))
        weighted = out * weights.to(out.dtype)
        term = (weighted.real - 0.7 * weighted.imag if out.is_complex() else weighted).sum()
        loss = term if loss is None else loss + term
    if loss is not None:
        loss.backward()
    values = [out if isinstance(out, NUMBERS) else out.detach().resolve_conj().numpy() for out in outputs]
    dtypes = [None if isinstance(out, NUMBERS) else repr(out.dtype).split(".")[1] for out in outputs]
    return values, dtypes, [None if x.grad is None else x.grad.resolve_conj().numpy() for x in inputs]


def agree(
    f: Callable[..., Any],
    *specs: Spec,
    low: float = -2.0,
    high: float = 2.0,
    rtol: float = 1e-9,
    atol: float = 1e-10,
    none_is_zeros: bool = False,
) -> None:
    """Assert that a function gives the same values, dtypes and gradients with both libraries.

    Args:
        f: The function, of a library and tensors.
        *specs: Arrays, or shapes of random ones.
        low: Smallest of the random numbers.
        high: Largest.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        none_is_zeros: Whether one library may have a gradient of zeros where the other has none.
    """
    arrays = arrays_of(specs, low, high)
    ours = run(TRACEC, tracec.from_numpy, f, arrays)
    theirs = run(TORCH, torch.from_numpy, f, arrays)
    assert ours[1] == theirs[1]
    for a, b in zip(ours[0], theirs[0], strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    for a, b in zip(ours[2], theirs[2], strict=True):
        if none_is_zeros and (a is None) != (b is None):
            assert not np.any(a if b is None else b)
        elif a is None or b is None:
            assert a is b
        else:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
