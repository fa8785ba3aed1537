"""What the table cannot tell of elementwise operators: edges, PyTorch's choices at them, and messages."""

from __future__ import annotations

import itertools
import math
import threading

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import build, gradients, inputs, run, typed
from tracec import ops
from tracec.errors import DeviceError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.node import constant, input_node, is_constant, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.types import TensorType

INF, NAN = math.inf, math.nan


def array(*values, dtype=np.float64):
    return np.array(values, dtype)


def slopes(op, *arrays):
    """The gradient of the sum of an operator's results, for each operand."""
    nodes = inputs(*arrays)
    out = build(op, *nodes)
    ones = build(ops.ones_like, out)
    found = gradients(out, ones, nodes)
    return run(found, dict(zip(nodes, arrays, strict=True)))


# Silence ----------------------------------------------------------------------------------------------


def test_eager_rules_are_silent_and_leave_errstate_alone():
    before = np.geterr()
    zero = array(0.0)
    with np.errstate(all="raise"):
        assert ops.div.eager(np, array(1.0), zero)[0] == INF
        assert np.isnan(ops.log.eager(np, array(-1.0)))[0]
        assert ops.exp.eager(np, array(1e4))[0] == INF
        assert ops.cast.eager(np, array(1e9), dtype=dt.float16)[0] == INF
        with pytest.raises(FloatingPointError):
            np.divide(1.0, zero)
    assert np.geterr() == before


def test_eager_rules_are_silent_in_other_threads():
    found = []
    thread = threading.Thread(target=lambda: found.append(ops.div.eager(np, array(1.0), array(0.0))[0]))
    thread.start()
    thread.join()
    assert found == [INF]


# Values at the edges ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, units", [(np.float64, 2.0), (np.float32, 2.0)])
def test_erf_is_accurate_and_whole(dtype, units):
    x = np.concatenate([np.linspace(-7, 7, 40001), np.geomspace(1e-30, 1, 300), [0.0, INF, -INF]]).astype(dtype)
    exact = np.array([math.erf(v) for v in x.tolist()])
    found = ops.erf.eager(np, x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=units * np.finfo(dtype).eps)
    assert np.isnan(ops.erf.eager(np, array(NAN, dtype=dtype)))[0]
    assert np.signbit(ops.erf.eager(np, array(-0.0, dtype=dtype)))[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_of_many_elements_is_that_of_each(dtype):
    x = np.random.default_rng(0).normal(0, 1, (3, 40_000)).astype(dtype)
    x[0, :5] = [NAN, np.inf, -np.inf, -1.0, 1.0]
    found = ops.erf.eager(np, x.T)
    assert found.shape == (40_000, 3) and ops.erf.eager(np, x[:, :0]).shape == (3, 0)
    some = [(0, k) for k in range(9)] + [(2, 39_000 + k) for k in range(9)]  # the last ones are in another part
    assert all(ops.erf.eager(np, x[at]).tobytes() == found.T[at].tobytes() for at in some)


def test_sigmoid_is_accurate_far_out():
    x = array(-700.0, -40.0, 0.0, 40.0, 700.0)
    np.testing.assert_allclose(
        ops.sigmoid.eager(np, x), [math.exp(-700), math.exp(-40) / (1 + math.exp(-40)), 0.5, 1.0, 1.0], rtol=1e-15
    )
    ends = ops.sigmoid.eager(np, np.array([-np.inf, -0.0, 0.0, np.inf, NAN], np.float32))
    assert ends[:4].tolist() == [0.0, 0.5, 0.5, 1.0] and np.isnan(ends[4]) and ends.dtype == np.float32


def test_round_goes_to_the_even_one():
    assert ops.round.eager(np, array(0.5, 1.5, 2.5, -0.5, -1.5)).tolist() == [0, 2, 2, 0, -2]


def test_division_rounds_down_and_the_remainder_has_the_sign_of_the_divisor():
    x, y = array(7, -7, 7, -7, 5, dtype=np.int64), array(3, 3, -3, -3, 0, dtype=np.int64)
    assert ops.floor_div.eager(np, x, y).tolist() == [2, -3, -3, 2, 0]
    assert ops.remainder.eager(np, x, y).tolist() == [1, 2, -2, -1, 0]
    assert ops.remainder.eager(np, array(-1.0, 1.0), array(INF, -INF)).tolist() == [INF, -INF]


def test_negative_powers_of_integers_are_rounded_towards_zero():
    x, y = array(1, -1, -1, 2, -3, 0, dtype=np.int32), array(-2, -2, -3, -1, -2, -1, dtype=np.int32)
    assert ops.pow.eager(np, x, y).tolist() == [1, 1, -1, 0, 0, 0]


@pytest.mark.parametrize("op", [ops.maximum, ops.minimum])
def test_extremes_carry_nan(op):
    assert np.isnan(op.eager(np, array(NAN, 1.0, NAN), array(1.0, NAN, NAN))).all()


def test_bools_make_a_lattice():
    x, y = array(0, 0, 1, 1, dtype=bool), array(0, 1, 0, 1, dtype=bool)
    assert ops.add.eager(np, x, y).tolist() == ops.bitwise_or.eager(np, x, y).tolist() == [0, 1, 1, 1]
    assert ops.mul.eager(np, x, y).tolist() == ops.bitwise_and.eager(np, x, y).tolist() == [0, 0, 0, 1]
    assert ops.bitwise_not.eager(np, x).tolist() == [1, 1, 0, 0]


# Gradients at the edges -------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [*range(-5, 9), math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_powers_of_numbers_of_either_sign(power, dtype):
    special = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, -1e-30, -1e30]
    x = np.concatenate([special, np.random.default_rng(0).standard_normal(200) * 3]).astype(dtype)
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), float(power)).astype(dtype)
    found = ops.pow.eager(np, x, np.array(power, dtype))
    np.testing.assert_allclose(found, expected, rtol=2 * np.finfo(dtype).eps)
    assert (np.signbit(found) == np.signbit(expected))[~np.isnan(expected)].all()


def test_powers_of_zero_have_gradients():
    base, power = slopes(ops.pow, array(0.0, 0.0, 0.0, 2.0), array(0.0, 1.0, 2.0, 0.0))
    assert base.tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(power, [0, 0, 0, math.log(2)])


@pytest.mark.parametrize("power, expected", [(0.0, [0, 0, 0]), (1.0, [1, 1, 1]), (2.0, [-4, 0, 4]), (3.0, [12, 0, 12])])
def test_a_constant_power_has_a_plain_gradient(power, expected):
    assert slopes(lambda x: ops.pow(x, power), array(-2.0, 0.0, 2.0))[0].tolist() == expected


@pytest.mark.parametrize("op, left", [(ops.maximum, [0, 0.5, 1]), (ops.minimum, [1, 0.5, 0])])
def test_equal_ones_share_the_gradient(op, left):
    x, y = slopes(op, array(1.0, 2.0, 3.0), array(2.0, 2.0, 2.0))
    assert x.tolist() == left
    assert y.tolist() == [1 - v for v in left]


def test_corners_have_the_gradient_zero():
    assert slopes(ops.abs, array(-2.0, 0.0, 2.0))[0].tolist() == [-1, 0, 1]
    assert [g.tolist() for g in slopes(ops.atan2, array(0.0), array(0.0))] == [[0], [0]]


def test_where_stops_a_nan_on_the_side_not_chosen():
    (grad,) = slopes(lambda x: ops.where(ops.gt(x, 0.0), ops.log(x), 0.0), array(-1.0, 2.0))
    assert grad.tolist() == [0, 0.5]


@pytest.mark.parametrize("op", [ops.floor, ops.ceil, ops.round, ops.trunc, ops.sign])
def test_steps_have_the_gradient_zero(op):
    assert slopes(op, array(-1.3, 0.2))[0].tolist() == [0, 0]


# Nodes ------------------------------------------------------------------------------------------------


def test_no_gradient_is_built_for_constants_and_integers():
    x = input_node(typed(3))
    with made_from(None):
        assert ops.mul.vjp(x, x, x, constant(2.0, x.type))[1] is None
        condition = input_node(typed(3, dtype=dt.bool_))
        assert ops.where.vjp(x, x, condition, x, x)[0] is None


def test_constants_are_spread():
    with made_from(None):
        filled = ops.full(3, (2, 3), dt.float32)
        assert filled.op is OPERATORS["expand"] and filled.type == typed(2, 3)
        assert is_constant(filled.inputs[0]) and filled.inputs[0].param("value") == 3.0
        assert is_constant(ops.full(3, (), dt.int32))
        assert is_constant(ops.constant(value=2, dtype=dt.float32))
        assert ops.zeros_like(filled).type == filled.type
    on_gpu = input_node(TensorType(dt.float16, (4,), "cuda:0"))
    assert ops.ones_like(on_gpu).type == on_gpu.type


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (2, 1), (2, 3), (1, 1)])
def test_unbroadcast_sums_over_the_copies(shape):
    (x,) = inputs(np.zeros((2, 3)))
    value = np.arange(6.0).reshape(2, 3)
    (found,) = run([build(ops.unbroadcast, x, shape)], {x: value})
    axes = tuple(a for a in range(2) if a < 2 - len(shape) or shape[a - 2 + len(shape)] == 1)
    np.testing.assert_array_equal(found, value.sum(axis=axes, keepdims=True).reshape(shape))


# Messages ---------------------------------------------------------------------------------------------


def message(error, op, *types, **params):
    with pytest.raises(error) as caught:
        op.infer(types, op.bind(params))
    return said(caught.value)


def test_messages():
    f32, i64, flag = typed(4), typed(4, dtype=dt.int64), typed(4, dtype=dt.bool_)
    assert message(DTypeError, ops.sin, i64) == (
        "sin: takes floats and complex numbers, i64 given\n  hint: cast it to a floating dtype first"
    )
    assert message(DTypeError, ops.sub, flag, flag) == (
        "sub: takes numbers, bool given\n  hint: cast it to a number type"
    )
    assert message(DTypeError, ops.shift_left, f32, f32) == (
        "shift_left: takes integers, f32 given\n  hint: cast it to an integer dtype first"
    )
    assert message(DTypeError, ops.add, f32, i64) == (
        "add: operands have dtypes f32 and i64\n  hint: cast one to the other's dtype"
    )
    assert message(ShapeError, ops.add, f32, typed(3)) == (
        "add: shapes (4,) and (3,) do not broadcast (axis 0: 4 vs 3)\n  hint: reshape or slice one operand"
    )
    assert message(DTypeError, ops.where, f32, f32, f32) == (
        "where: the condition has dtype f32\n  hint: compare it with something, e.g. x != 0"
    )
    assert message(DeviceError, ops.add, f32, TensorType(dt.float32, (4,), "cuda:0")) == (
        "add: operands live on cpu and cuda:0\n  hint: move them to one with .to(...)"
    )


@pytest.mark.parametrize(
    "dtype", [dt.float16, dt.bfloat16, dt.float32, dt.float64, dt.int8, dt.uint16, dt.int64, dt.bool_]
)
def test_many_choices_are_numpys_to_the_last_bit(dtype):
    rng = np.random.default_rng(0)
    shape, size = (40, 50), dtype.numpy.itemsize
    x, y = (rng.integers(0, 256, (40, 50 * size), dtype=np.uint8) for _ in range(2))
    x, y = (a.view(dtype.numpy) if dtype is not dt.bool_ else a > 99 for a in (x, y))
    numbers = np.zeros((), dtype.numpy), np.ones((), dtype.numpy)
    choices = x, y, *numbers, -numbers[0] if dtype.kind == "f" else numbers[0], x[:1], np.asfortranarray(y), x[:, ::-1]
    choices += np.broadcast_to(y[:, :1], shape), np.broadcast_to(x[0], shape), np.repeat(y, 2, 1)[:, ::2]
    condition = rng.integers(0, 2, shape).astype(bool)
    for a, b in itertools.product(choices, repeat=2):
        found, expected = ops.where.eager(np, condition, a, b), np.where(condition, a, b)
        assert found.tobytes() == expected.tobytes()
        assert (found.dtype, found.strides, found.base) == (expected.dtype, expected.strides, None)
