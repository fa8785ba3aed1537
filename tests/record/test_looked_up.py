"""What operations look up from call to call: views of subscripts, shapes, numbers as arrays, places of lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tracec.errors import AxisError, ShapeError, TracecError
from tracec.ops.arrays import broadcast

KEYS: list[Any] = [
    0, -1, 2, (1, 2), (slice(1, 3), 0), (slice(None, None, 2), slice(-2, None)), ..., None, (None, 1), (..., 0),
    (slice(0, 0),), slice(5, 9), (0, None, ..., slice(1, None)), True, False, (True, 1), np.int64(1), (0, slice(0, 1)),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_subscript_gives_the_same_each_time(key: Any) -> None:
    array = np.arange(12.0).reshape(3, 4)
    for _ in range(3):
        base = tracec.from_numpy(array.copy())
        leaf = tracec.from_numpy(array.copy()).requires_grad_()
        np.testing.assert_array_equal(base[key].numpy(), array[key])
        leaf[key].sum().backward()
        chosen = np.zeros_like(array)
        chosen[key] = 1
        np.testing.assert_array_equal(leaf.grad.numpy(), chosen)  # type: ignore[union-attr]
        base[key].add_(1)
        copies = bool in map(type, key if isinstance(key, tuple) else (key,))
        np.testing.assert_array_equal(base.numpy(), array if copies else array + chosen)


def test_subscripts_that_are_equal_and_mean_others() -> None:
    x = tracec.arange(6.0).reshape(2, 3)
    for _ in range(2):
        assert x[1].shape == (3,) and x[True].shape == (1, 2, 3) and x[0].tolist() == [0, 1, 2]
        assert x[False].shape == (0, 2, 3) and x[0, 1].item() == 1.0 and x[slice(0, 1, None)].shape == (1, 3)
        with pytest.raises(AxisError):
            x[2]
        with pytest.raises(TracecError):
            x[1.0]


def test_a_subscript_of_what_was_spread_from_a_number() -> None:
    x = tracec.zeros(3, 4)
    assert x[1].shape == (4,)
    spread = tracec.tensor(2.0).expand(3, 4)
    for _ in range(2):
        x[1] += 1
        assert spread[1].tolist() == [2.0] * 4
    assert x.sum().item() == 8.0


def test_shapes_that_are_equal_and_given_otherwise() -> None:
    x = tracec.arange(6)
    for _ in range(2):
        assert x.view(2, -1).shape == x.view((2, 3)).shape == x.reshape(-1, np.int64(3)).shape == (2, 3)
        with pytest.raises(TypeError):
            x.view(2.0, 3)
        with pytest.raises(ShapeError):
            x.view(4, -1)


def test_numbers_that_are_equal_and_others() -> None:
    x = tracec.tensor([1.0, -1.0])
    for _ in range(2):
        for zero in (0.0, -0.0):
            assert np.signbit((x * zero).numpy()).tolist() == np.signbit(x.numpy() * zero).tolist()
        assert (x + 1).dtype == (x + True).dtype == tracec.float32
        assert (tracec.tensor([1]) * 2).dtype is tracec.int64 and (tracec.tensor([1]) * 2.0).dtype is tracec.float32
        assert np.isnan((x * float("nan")).numpy()).all() and (x * 3.0).tolist() == [3.0, -3.0]


def test_a_number_is_not_what_a_result_is_written_into() -> None:
    for _ in range(2):
        y = tracec.where(tracec.tensor(True), 3.0, tracec.tensor(1.0))
        y.add_(1)
        assert y.item() == 4.0


def test_gradients_of_constants_are_memory_of_their_own() -> None:
    for _ in range(2):
        x = tracec.tensor(3.0, requires_grad=True)
        (x * 2.0 + 1.0).backward()
        assert x.grad.item() == 2.0  # type: ignore[union-attr]
        x.grad.zero_()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("own", "shape"), [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 3), (0, 3)), ((2, 1, 3), (4, 2, 5, 3))]
)
@pytest.mark.parametrize("order", "CF")
def test_arrays_are_spread_as_numpy_does(own: tuple[int, ...], shape: tuple[int, ...], order: Any) -> None:
    x = np.asarray(np.random.default_rng(0).standard_normal(own), order=order)
    found, want = broadcast(np, x, shape), np.broadcast_to(x, shape)
    np.testing.assert_array_equal(found, want)
    assert not found.flags.writeable and (not found.size or np.shares_memory(found, x))


def test_an_operations_line_is_that_of_its_expression() -> None:
    x = tracec.ones(3, requires_grad=True)
    y = (
        x.sin()
        +
        x.cos()
    )  # fmt: skip
    line = y.grad_fn.source.line
    assert [f.source.line - line for f, _ in y.grad_fn.next_functions] == [0, 2]
    assert y.grad_fn.source.text == "x.sin()"
