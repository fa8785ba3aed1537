"""One module made with tracec and with torch, the state of one in the other: values, gradients, state, text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec

torch = pytest.importorskip("torch")


def leaves(x: Any) -> list[Any]:
    """The tensors of nested results."""
    if isinstance(x, (tuple, list)):
        return [t for part in x for t in leaves(part)]
    return [] if x is None else [x]


def state_into(ours: Any, theirs: Any) -> None:
    """Load the state of PyTorch's module; both have the same names, in the same order, and shapes."""
    state = theirs.state_dict()
    mine = ours.state_dict()
    assert list(mine) == list(state)
    assert [tuple(t.shape) for t in mine.values()] == [tuple(t.shape) for t in state.values()]
    ours.load_state_dict({name: tracec.from_numpy(t.numpy().copy()) for name, t in state.items()})


def _run(t: Any, module: Any, call: Callable[..., Any], arrays: list[np.ndarray]) -> tuple[list[Any], list[Any]]:
    inputs = [t.from_numpy(a.copy()) for a in arrays]
    for x in inputs:
        if x.is_floating_point():
            x.requires_grad_()
    outputs = leaves(call(t, module, *inputs))
    loss = 0
    for k, out in enumerate(outputs):
        if out.requires_grad:
            weights = np.cos(np.arange(out.numel(), dtype=np.float64) + k).reshape(tuple(out.shape))
            loss = loss + (out * t.from_numpy(weights).to(out.dtype)).sum()
    if not isinstance(loss, int):
        loss.backward()
    grads = [x.grad for x in inputs] + [p.grad for p in module.parameters()]
    return [o.detach().numpy() for o in outputs], [None if g is None else g.numpy() for g in grads]


def same(
    make: Callable[[Any], Any],
    *inputs: tuple[int, ...] | np.ndarray,
    call: Callable[..., Any] = lambda t, module, *inputs: module(*inputs),
    rtol: float = 1e-9,
    atol: float = 1e-10,
    check_repr: bool = True,
    none_is_zeros: bool = False,
) -> None:
    """Assert that a module is the same in both libraries.

    Args:
        make: Makes the module with a library.
        *inputs: Arrays, or shapes of random float64 ones.
        call: Runs it.
        rtol: Relative tolerance of values and gradients.
        atol: Absolute tolerance.
        check_repr: Whether both print the same.
        none_is_zeros: Whether one library may have a gradient of zeros where the other has none.
    """
    rng = np.random.default_rng(0)
    arrays = [x if isinstance(x, np.ndarray) else rng.normal(size=x) for x in inputs]
    torch.manual_seed(0)
    theirs, ours = make(torch).double(), make(tracec).double()
    if check_repr:
        assert repr(ours) == repr(theirs)
    state_into(ours, theirs)
    for mode in (True, False):
        theirs.train(mode).zero_grad()
        ours.train(mode).zero_grad()
        values, grads = _run(tracec, ours, call, arrays)
        wanted, wanted_grads = _run(torch, theirs, call, arrays)
        assert len(values) == len(wanted)
        for a, b in zip(values, wanted, strict=True):
            assert np.shape(a) == np.shape(b)
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
        for a, b in zip(grads, wanted_grads, strict=True):
            if none_is_zeros and (a is None) != (b is None):
                assert not np.any(a if b is None else b)
            elif a is None or b is None:
                assert a is b
            else:
                np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
