"""Running sums and sorting."""

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import check_second_derivatives, typed
from tracec.errors import AxisError, DTypeError
from tracec.ir import dtype as dt
from tracec.ops.cumulative import argsort, cumsum


def test_cumsum_runs_from_either_end():
    x = np.array([[1, 2, 4], [8, 16, 32]])
    assert cumsum.eager(np, x, axis=1, reverse=False).tolist() == [[1, 3, 7], [8, 24, 56]]
    assert cumsum.eager(np, x, axis=1, reverse=True).tolist() == [[7, 6, 4], [56, 48, 32]]
    assert cumsum.eager(np, x, axis=0, reverse=True).tolist() == [[9, 18, 36], [8, 16, 32]]


def test_cumsum_keeps_the_dtype_and_sums_16_bit_floats_in_float32():
    assert cumsum.eager(np, np.full(3, 100, np.int8), axis=0, reverse=False).tolist() == [100, -56, 44]
    ones = np.ones(4096, dt.float16.numpy)
    found = cumsum.eager(np, ones, axis=0, reverse=False)
    assert found.dtype == np.float16 and found[-1] == 4096


@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum_derivatives(reverse):
    check_second_derivatives(cumsum, [np.random.default_rng(0).normal(size=(2, 5, 3))], axis=1, reverse=reverse)


@pytest.mark.parametrize(
    "descending, expected", [(False, [7, 8, 1, 4, 3, 0, 5, 2, 6]), (True, [2, 6, 0, 5, 3, 1, 4, 7, 8])]
)
def test_ties_stay_in_order_and_nan_is_the_largest(descending, expected):
    x = np.array([3, 1, np.nan, 2, 1, 3, np.nan, -0.0, 0.0])
    for dtype in dt.FLOATS:
        assert argsort.eager(np, x.astype(dtype.numpy), axis=0, descending=descending).tolist() == expected


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_argsort_agrees_with_torch(axis, descending):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 4, (5, 7, 3))
    expected = torch.argsort(torch.tensor(x), dim=axis, descending=descending, stable=True).numpy()
    found = argsort.eager(np, x, axis=axis, descending=descending)
    assert found.dtype == np.int64 and (found == expected).all()


def test_unsigned_and_bool_elements_sort():
    assert argsort.eager(np, np.array([3, 0, 255], np.uint8), axis=0, descending=True).tolist() == [2, 0, 1]
    assert argsort.eager(np, np.array([True, False, True]), axis=0, descending=False).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "op, type_, axis, error, text",
    [
        (cumsum, typed(2, 3), 2, AxisError,
         "cumsum: axis 2 is out of range for shape (2, 3)\n  hint: use an axis from 0 to 1"),
        (argsort, typed(), 0, AxisError,
         "argsort: axis 0 is out of range for shape ()\n  hint: reshape the scalar to shape (1,)"),
        (cumsum, typed(3, dtype=dt.bool_), 0, DTypeError,
         "cumsum: takes numbers, bool given\n  hint: cast it to a number type"),
    ],
)  # fmt: skip
def test_errors(op, type_, axis, error, text):
    with pytest.raises(error) as caught:
        op.infer((type_,), op.bind({"axis": axis}))
    assert said(caught.value) == text
