"""What the table cannot tell of reductions: zeros, ties, NaN, precision and messages."""

from __future__ import annotations

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import build, gradients, inputs, run, typed
from tracec import ops
from tracec.errors import AxisError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ops import reduction
from tracec.ops.few import sum_of_few, sum_of_lines
from tracec.plan.prepare import decompose

NAN = np.nan


def slope(op, value, **params):
    (x,) = inputs(value)
    out = build(op, x, **params)
    return run(gradients(out, build(ops.ones_like, out), [x]), {x: value})[0]


LINES = [
    ((3, 5008), (1,)), ((3, 5008), (0, 1)), ((4096,), (0,)), ((16, 32, 5, 7), (0, 2, 3)), ((5, 6016, 3), (1, 2)),
    ((300, 17), (1,)), ((2, 64, 100), (0, 2)), ((1, 4096, 1), (1, 2)),
]  # fmt: skip


@pytest.mark.parametrize("shape, axes", LINES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_of_lines_are_those_of_pairs(shape, axes, dtype, keepdims):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    found = sum_of_lines(x, axes, keepdims)
    expected = x.astype(np.float64).sum(axis=axes, keepdims=keepdims)
    assert found.dtype == dtype and found.shape == expected.shape and found.base is None
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-13 * x.size**2)
    assert np.asarray(ops.sum.eager(np, x, axes=axes, keepdims=keepdims)).tobytes() == found.tobytes()


def test_lines_of_other_kinds_are_left_to_numpy():
    x = np.ones((3, 5003))
    for given, axes in [(x, (0,)), (x.T, (0,)), (x[:, ::2], (1,)), (x, (1,)), (x.astype(np.int32), (1,)), (x, ())]:
        assert sum_of_lines(given, axes, False) is None
    x[1, 7], x[2, 9] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        assert str(ops.sum.eager(np, x[:, :5000].copy(), axes=(1,), keepdims=False)) == "[5000.   inf   nan]"


def test_sums_of_many_ones_are_their_number():
    x = np.ones(1 << 23, np.float32)
    assert ops.sum.eager(np, x, axes=(0,), keepdims=False) == 1 << 23


@pytest.mark.parametrize("axes", [(1,), (0, 1), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("zeros", [0, 1, 2, 5])
def test_the_gradient_of_a_product_is_the_product_of_the_others(axes, zeros):
    rng = np.random.default_rng(zeros)
    value = rng.uniform(0.5, 2, (2, 3, 4))
    value.reshape(-1)[rng.permutation(value.size)[:zeros]] = 0
    expected = np.empty_like(value)
    for at in np.ndindex(*value.shape):
        others = value.copy()
        others[at] = 1
        expected[at] = others.prod(axis=axes, keepdims=True)[tuple(0 if a in axes else i for a, i in enumerate(at))]
    np.testing.assert_allclose(slope(ops.prod, value, axes=axes), expected)


@pytest.mark.parametrize("op", [ops.max, ops.min])
def test_equal_ones_share_the_gradient(op):
    sign = 1 if op is ops.max else -1
    value = sign * np.array([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]])
    assert slope(op, value, axes=(1,)).tolist() == [[0, 0.5, 0.5], [1, 0, 0]]


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, dt.bfloat16.numpy])
def test_the_first_extreme_is_found_and_nan_before_all(name, dtype):
    op, sign = getattr(ops, name), 1 if name == "argmax" else -1
    value = (sign * np.array([[1.0, 3, 3, 0], [NAN, 9, 9, NAN], [1, NAN, 9, NAN], [2, 2, 2, 2]])).astype(dtype)
    expected = [1, 0, 1, 0]
    assert op.eager(np, value, axis=1, keepdims=False).tolist() == expected
    (x,) = inputs(value)
    (written_out,) = evaluate(decompose(Graph((x,), (build(op, x, axis=1),))), [value])
    assert written_out.tolist() == expected


@pytest.mark.parametrize("op", [ops.max, ops.min])
def test_extremes_carry_nan(op):
    assert np.isnan(op.eager(np, np.array([1.0, NAN, 2.0]), axes=(0,), keepdims=False))


def test_narrow_floats_are_summed_in_float32():
    for dtype in (dt.float16, dt.bfloat16):
        found = ops.sum.eager(np, np.ones(3000, dtype.numpy), axes=(0,), keepdims=False)
        # In the type itself the sum would stick at 2048 or 256.
        assert found.dtype == dtype.numpy and abs(float(found) - 3000) <= 8


def test_nothing_sums_to_zero_and_multiplies_to_one():
    empty = np.zeros((2, 0))
    assert ops.sum.eager(np, empty, axes=(1,), keepdims=False).tolist() == [0, 0]
    assert ops.prod.eager(np, empty, axes=(1,), keepdims=True).tolist() == [[1], [1]]


def message(error, op, *types, **params):
    with pytest.raises(error) as caught:
        op.infer(types, op.bind(params))
    return said(caught.value)


def test_messages():
    assert message(ShapeError, ops.max, typed(3, 0), axes=(1,)) == (
        "max: shape (3, 0) has nothing to reduce (axis 1 has size 0)\n  hint: there is no identity to give"
    )
    assert message(ShapeError, ops.argmin, typed(0), axis=0) == (
        "argmin: shape (0,) has nothing to reduce (axis 0 has size 0)\n  hint: there is no identity to give"
    )
    assert message(AxisError, ops.sum, typed(3, 4), axes=(-1,)) == (
        "sum: axis -1 is out of range for shape (3, 4)\n  hint: count axes from the front, from 0 to 1"
    )
    assert message(AxisError, ops.sum, typed(3, 4), axes=(1, 0)) == (
        "sum: axes (1, 0) are not distinct and in order\n  hint: name each axis once, in order"
    )
    assert message(DTypeError, ops.sum, typed(3, dtype=dt.bool_), axes=(0,)) == (
        "sum: takes numbers, bool given\n  hint: cast it to a number type"
    )
    assert message(AxisError, ops.argmax, typed(), axis=0) == (
        "argmax: axis 0 is out of range for shape ()\n  hint: a scalar has no axes: reshape it to (1,)"
    )


@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_neighbours_are_reduced_as_many_are(count, dtype):
    x = np.random.default_rng(count).integers(-9, 9, (40, 50, count)).astype(dtype)
    for keepdims in (False, True):
        found = ops.sum.eager(np, x, axes=(2,), keepdims=keepdims)
        assert found.base is None and found.tobytes() == x.sum(2, keepdims=keepdims).tobytes()  # integers: exact
        for name in ("argmax", "argmin"):
            for values in (x, np.where(x == 3, np.nan, x), np.where(x < 5, -np.inf, x)):
                found = getattr(ops, name).eager(np, values, axis=2, keepdims=keepdims)
                expected = getattr(np, name)(values, 2, keepdims=keepdims)
                assert found.dtype == np.int64 and found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_windows_are_summed_offset_by_offset_as_they_are_by_numpy(dtype, monkeypatch):
    x = np.random.default_rng(0).integers(-9, 9, (3, 40, 50)).astype(dtype)
    taken = []
    monkeypatch.setattr(reduction, "sum_of_few", lambda *args: taken.append(1) or sum_of_few(*args))
    for size, stride, dilation in (((3, 3), (1, 1), (1, 1)), ((2, 2), (2, 2), (1, 1)), ((2, 3), (2, 1), (3, 2))):
        windows = ops.windows.eager(np, x, size=size, stride=stride, dilation=dilation)
        for keepdims in (False, True):
            found = ops.sum.eager(np, windows, axes=(3, 4), keepdims=keepdims)
            assert found.base is None and found.tobytes() == windows.sum((3, 4), keepdims=keepdims).tobytes()
    assert len(taken) == 6
    # Neither large windows, nor few, nor elements that come in another order.
    for size in ((9, 9), (36, 8)):
        windows = ops.windows.eager(np, x, size=size, stride=(1, 1), dilation=(1, 1))
        assert ops.sum.eager(np, windows, axes=(3, 4), keepdims=False).shape == windows.shape[:3]
    turned = ops.windows.eager(np, x.T, size=(2, 2), stride=(1, 1), dilation=(1, 1))
    assert ops.sum.eager(np, turned, axes=(3, 4), keepdims=False).tobytes() == turned.sum((3, 4)).tobytes()
    assert len(taken) == 6
