"""Windows and fold: values against PyTorch, aliasing, errors. Lowering and derivatives are in the table tests."""

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import check_second_derivatives, typed
from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.kernel import Load, Var
from tracec.ops.window import fold, window_offsets, windows


def infer(op, *types, **params):
    return op.infer(types, op.bind(params))


def test_windows_are_a_read_only_view():
    x = np.arange(30.0).reshape(5, 6)
    found = windows.eager(np, x, size=(2, 3), stride=(3, 1), dilation=(1, 2))
    assert found.shape == (2, 2, 2, 3)
    assert np.shares_memory(found, x) and not found.flags.writeable
    assert found[1, 1].tolist() == [[19, 21, 23], [25, 27, 29]]


def test_windows_of_a_strided_array():
    x = np.arange(60.0).reshape(6, 10)[::2, ::-3].T
    params = {"size": (2, 2), "stride": (1, 1), "dilation": (2, 1)}
    same = windows.eager(np, np.ascontiguousarray(x), **params)
    np.testing.assert_array_equal(windows.eager(np, x, **params), same)


@pytest.mark.parametrize(
    "sizes, size, stride, dilation",
    [((7, 5), (3, 2), (1, 1), (1, 1)), ((9, 8), (2, 3), (2, 3), (3, 1)), ((6, 6), (2, 2), (2, 2), (1, 1))],
)
def test_fold_and_windows_agree_with_torch(sizes, size, stride, dilation):
    torch = pytest.importorskip("torch")
    options = {"kernel_size": size, "stride": stride, "dilation": dilation}
    x = np.random.default_rng(0).normal(size=(2, 3, *sizes))
    found = windows.eager(np, x, size=size, stride=stride, dilation=dilation)
    unfolded = torch.nn.functional.unfold(torch.tensor(x), **options)
    columns = found.transpose(0, 1, 4, 5, 2, 3).reshape(unfolded.shape)
    np.testing.assert_array_equal(columns, unfolded.numpy())
    back = fold.eager(np, found, shape=sizes, stride=stride, dilation=dilation)
    expected = torch.nn.functional.fold(unfolded, sizes, **options)
    np.testing.assert_allclose(back, expected.numpy(), rtol=1e-12)


def test_fold_is_the_transpose_of_windows_again_and_again():
    x = np.random.default_rng(0).normal(size=(2, 7, 6))
    params = {"stride": (2, 1), "dilation": (1, 2)}
    check_second_derivatives(windows, [x], size=(3, 2), **params)
    w = windows.eager(np, x, size=(3, 2), **params).copy()
    check_second_derivatives(fold, [w], shape=(7, 6), **params)


def test_fold_sums_16_bit_floats_in_float32():
    x = np.full((3, 3), 0.1, dt.bfloat16.numpy)
    found = fold.eager(np, x, shape=(5,), stride=(1,), dilation=(1,))
    assert found.dtype == dt.bfloat16.numpy
    assert found[2] == (3 * x[0, 0].astype(np.float32)).astype(dt.bfloat16.numpy)


def test_fold_of_windows_side_by_side_visits_each_element_once():
    types, params = (typed(3, 4, 2, 2),), {"shape": (6, 8), "stride": (2, 2), "dilation": (1, 1)}
    assert fold.lower.extents(types, **params) == (1, 1)
    load = lambda k, index: Load("x", ix.flatten(index, types[0].shape), dt.float32)  # noqa: E731
    index = (Var("i", 6), Var("j", 8))
    element = fold.lower.element(load, index, (ix.Const(0), ix.Const(0)), typed(6, 8), types, **params)
    assert isinstance(element, Load)  # no condition is left around it


@pytest.mark.parametrize(
    "op, type_, params, error, text",
    [
        (
            windows, typed(4, 5), {"size": (2, 6), "stride": (1, 1), "dilation": (1, 1)}, ShapeError,
            "windows: window (2, 6) does not fit in spatial sizes (4, 5) (spatial axis 1: window 6, size 5)\n"
            "  hint: pad the input, or use a smaller window or dilation",
        ),
        (
            windows, typed(4), {"size": (2, 2), "stride": (1, 1), "dilation": (1, 1)}, ShapeError,
            "windows: a window (2, 2) over 2 axes does not fit a tensor of shape (4,)\n"
            "  hint: give one window size for each trailing axis to slide over",
        ),
        (
            windows, typed(4), {"size": (2,), "stride": (0,), "dilation": (1,)}, ArgumentError,
            "windows: stride=(0,) does not fit 1 spatial axes\n"
            "  hint: give 1 integers of at least 1, one for each spatial axis",
        ),
        (
            fold, typed(4, 2), {"shape": (6,), "stride": (1,), "dilation": (1,)}, ShapeError,
            "fold: (4, 2) holds (4,) windows of size (2,), but shape (6,) has (5,) (spatial axis 0: 4 vs 5)\n"
            "  hint: pass the shape, stride and dilation that the windows were taken with",
        ),
        (
            fold, typed(4), {"shape": (6,), "stride": (1,), "dilation": (1,)}, ShapeError,
            "fold: shape (4,) does not hold windows over 1 axes\n"
            "  hint: the operand ends in 1 window counts and 1 window sizes",
        ),
        (
            fold, typed(5, 2, dtype=dt.bool_), {"shape": (6,), "stride": (1,), "dilation": (1,)}, DTypeError,
            "fold: takes numbers, bool given\n  hint: cast it to a number type",
        ),
    ],
)  # fmt: skip
def test_errors(op, type_, params, error, text):
    with pytest.raises(error) as caught:
        infer(op, type_, **params)
    assert said(caught.value) == text


@pytest.mark.parametrize(
    "lead, shape, size, stride, dilation, low",
    [
        ((2, 3), (9, 7), (3, 3), (2, 2), (1, 1), (1, 1)),
        ((2,), (9, 7), (3, 2), (1, 1), (2, 1), (1, 0)),
        ((), (20,), (5,), (2,), (1,), (2,)),
        ((2, 2), (5, 6, 7), (2, 3, 3), (1, 2, 1), (1, 1, 2), (0, 1, 1)),
        ((0, 3), (9, 7), (3, 3), (2, 2), (1, 1), (1, 1)),
    ],
)
def test_elements_of_windows_that_overlap_are_added_in_the_order_of_their_offsets(
    lead, shape, size, stride, dilation, low
):  # fmt: skip
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (*lead, *shape)).astype(np.float32)
    params = {"size": size, "stride": stride, "dilation": dilation, "low": low, "high": low}
    out = ops.max_windows.eager(np, x, **params)
    at = ops.max_windows_at.eager(np, x, out, **params)
    ct = rng.standard_normal(out.shape).astype(np.float32)
    expected = np.zeros((*lead, *(s + a + b for s, a, b in zip(shape, low, low, strict=True))), np.float32)
    for offset in np.ndindex(*size):
        here = window_offsets(offset, out.shape[len(lead) :], stride, dilation)
        expected[(..., *here)] += np.where(at == np.ravel_multi_index(offset, size), ct, 0)
    inside = expected[(..., *(slice(a, a + s) for a, s in zip(low, shape, strict=True)))]
    found = ops.fold_at.eager(np, ct, at, shape=shape, **params)
    assert found.tobytes() == np.ascontiguousarray(inside).tobytes()
    # A window without elements has the number of its elements for an offset, and adds nothing.
    if at.size:
        at.flat[0] = np.prod(size)
        less = ops.fold_at.eager(np, ct, at, shape=shape, **params)
        assert np.isclose(found.sum() - less.sum(), ct.flat[0], atol=1e-4)
