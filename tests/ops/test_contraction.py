"""Matrix products: accumulation, integer support, memory layouts, derivatives, errors."""

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import build, check_second_derivatives, inputs, run, typed
from tracec.errors import DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ops.contraction import dot


@pytest.mark.parametrize("dtype", [dt.float16, dt.bfloat16])
def test_16_bit_floats_are_summed_in_float32(dtype):
    ones = np.ones((1, 4096), dtype.numpy)
    found = dot.eager(np, ones, ones.T)
    assert found.dtype == dtype.numpy and float(found[0, 0]) == 4096


@pytest.mark.parametrize("dtype", [dt.int8, dt.uint8, dt.int64, dt.uint32])
def test_integers_multiply_in_their_own_type(dtype):
    a, b = np.arange(6, dtype=dtype.numpy).reshape(2, 3), np.full((3, 1), 100, dtype.numpy)
    found = dot.eager(np, a, b)
    expected = (np.array([[3], [12]]) * 100).astype(dtype.numpy)
    assert found.dtype == dtype.numpy and (found == expected).all()


def test_any_memory_layout_gives_the_same_values():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4, 6)), rng.normal(size=(3, 6, 5))
    expected = np.einsum("bmk,bkn->bmn", a, b)
    apart = np.zeros((3, 4, 6, 2))
    apart[..., 0] = a
    reversed_ = np.ascontiguousarray(b[:, ::-1])[:, ::-1]
    columns = np.asfortranarray(a)
    for left in (a, apart[..., 0], columns):
        for right in (b, reversed_, np.ascontiguousarray(b.swapaxes(1, 2)).swapaxes(1, 2)):
            np.testing.assert_allclose(dot.eager(np, left, right), expected, rtol=1e-12)
    shared = np.broadcast_to(b[0], b.shape)
    np.testing.assert_allclose(dot.eager(np, a, shared), a @ b[0], rtol=1e-12)


def test_nothing_to_sum_gives_zeros():
    assert dot.eager(np, np.ones((2, 0)), np.ones((0, 3))).tolist() == [[0.0] * 3] * 2


def test_second_derivatives():
    rng = np.random.default_rng(0)
    check_second_derivatives(dot, [rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))])


def test_a_batched_left_operand_of_a_plain_matrix_stays_one_product():
    a, b = inputs(np.ones((5, 2, 3)), np.ones((3, 4)))
    batched = dot.batch((a, b), (True, False), 5)
    assert batched.op.name == "reshape" and batched.inputs[0].op is dot and batched.inputs[0].shape == (10, 4)
    assert (run([batched], {a: np.ones((5, 2, 3)), b: np.ones((3, 4))})[0] == 3).all()


@pytest.mark.parametrize(
    "a, b, error, text",
    [
        (
            typed(2, 3), typed(4, 5), ShapeError,
            "dot: shapes (2, 3) and (4, 5) do not multiply (axis 1 of the first: 3, axis 0 of the second: 4)\n"
            "  hint: the last axis of the first operand is summed against the last but one of the second",
        ),
        (
            typed(2, 2, 3), typed(3, 3, 5), ShapeError,
            "dot: shapes (2, 2, 3) and (3, 3, 5) are stacks of different shapes, (2,) and (3,)\n"
            "  hint: expand the leading axes of one operand to those of the other",
        ),
        (
            typed(3), typed(3, 5), ShapeError,
            "dot: shapes (3,) and (3, 5) are not both matrices or stacks of matrices\n"
            "  hint: reshape vectors to (1, K) on the left or (K, 1) on the right",
        ),
        (
            typed(2, 3), typed(3, 5, dtype=dt.float16), DTypeError,
            "dot: operands have dtypes f32 and f16\n  hint: cast one to the other's dtype",
        ),
        (
            typed(2, 3, dtype=dt.bool_), typed(3, 5, dtype=dt.bool_), DTypeError,
            "dot: takes numbers, bool given\n  hint: cast it to a number type",
        ),
    ],
)  # fmt: skip
def test_errors(a, b, error, text):
    nodes = inputs(np.zeros(a.shape, a.dtype.numpy), np.zeros(b.shape, b.dtype.numpy))
    with pytest.raises(error) as caught:
        build(dot, *nodes)
    caught.value.where = None
    assert said(caught.value) == text
