"""Loops over ``x[i]``: views made by those of another row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tracec.errors import AxisError
from tracec.record.call import CALLS
from tracec.record.indexing import _LOOKS, _ROWS


@pytest.fixture(autouse=True)
def _from_nothing() -> None:
    _LOOKS.clear()
    _ROWS.clear()


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 3), (1, 3), (7, 0)])
def test_rows_are_numpys(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    x = tracec.from_numpy(array.copy())
    for turned, other in ((x, array), (x.T, array.T), (x[::2], array[::2])):
        for i in range(-len(other), len(other)):
            assert np.array_equal(turned[i].numpy(), other[i]) and turned[i].shape == other[i].shape
        for i in (len(other), -len(other) - 1):
            with pytest.raises(AxisError):
                turned[i]


def test_rows_are_views() -> None:
    x = tracec.zeros(5, 2)
    for i in range(5):
        x[i].fill_(float(i))
    assert x.tolist() == [[float(i)] * 2 for i in range(5)]


def test_gradients_go_to_their_rows() -> None:
    x = tracec.zeros(5, 2, requires_grad=True)
    sum((x[i] * (i + 1)).sum() for i in range(5)).backward()  # type: ignore[union-attr]
    assert x.grad.tolist() == [[i + 1.0] * 2 for i in range(5)]  # type: ignore[union-attr]
    y = x * 1
    y[3] = tracec.ones(2, requires_grad=True)
    y[3].sum().backward()
    assert x.grad.tolist()[3] == [4.0, 4.0]  # type: ignore[union-attr]


def test_vmap_forward_mode_and_compiled_functions_see_them() -> None:
    x = tracec.arange(12.0).reshape(4, 3)
    [x[i] for i in range(4)]
    f = lambda x: sum(x[i] * (i + 1) for i in range(3))  # noqa: E731
    wanted = (x * tracec.tensor([1.0, 2.0, 3.0])).sum(1)
    assert tracec.vmap(f)(x).tolist() == wanted.tolist()
    value, moved = tracec.func.jvp(f, (x.T,), (tracec.ones(3, 4),))
    assert value.tolist() == wanted.tolist() and moved.tolist() == [6.0] * 4
    compiled = tracec.compile(f)
    assert [compiled(x.T).tolist() for _ in range(3)] == [wanted.tolist()] * 3


def test_a_loop_over_many_rows_keeps_the_calls_of_other_operators() -> None:
    """Working them out takes ten times as long as a view: 20,000 of them would drive all others out."""
    x = tracec.zeros(3000, 2)
    x[0], x[1]
    before: Any = dict(CALLS)
    for i in range(3000):
        x[i]
    assert before == CALLS
