"""Values combined at positions, extremes so far, looks at memory: against loops, on the routes of both libraries."""

import numpy as np
import pytest

import tracec
from tests.ops.harness import check_second_derivatives
from tests.ops.test_indexing import LikeCupy
from tracec.autograd import gradgradcheck
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.ir import TensorType, input_node
from tracec.ir import dtype as dt
from tracec.ops.combining import index_combine
from tracec.ops.running import cummax, cummin
from tracec.ops.strided import as_strided, view_bits

LIBRARIES = [np, LikeCupy()]
FUNCTIONS = {"mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}


@pytest.mark.parametrize("combine", FUNCTIONS)
@pytest.mark.parametrize("xp", LIBRARIES, ids=["numpy", "cupy"])
@pytest.mark.parametrize("seed", range(4))
def test_index_combine_is_a_loop(combine, xp, seed):
    rng = np.random.default_rng(seed)
    x, v, at = rng.normal(size=(4, 3, 2)), rng.normal(size=(5, 4, 2)), rng.integers(0, 3, 5)
    v[0, 0, 0] = np.nan
    expected = x.copy()
    for k, position in enumerate(at):
        expected[:, position] = FUNCTIONS[combine](expected[:, position], v[k])
    found = index_combine.eager(xp, x, v, at, axes=(1,), combine=combine)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("xp", LIBRARIES, ids=["numpy", "cupy"])
@pytest.mark.parametrize("shape, axis", [((7,), 0), ((2, 11, 3), 1), ((5, 1), 1), ((3, 0), 1), ((0, 3), 1)])
def test_extremes_so_far_are_a_loop(xp, shape, axis):
    x = np.random.default_rng(0).integers(-5, 5, shape).astype(np.float64)
    x[x == -5] = np.nan
    for op, function in ((cummax, np.maximum), (cummin, np.minimum)):
        np.testing.assert_array_equal(op.eager(xp, x, axis=axis), function.accumulate(x, axis=axis))


@pytest.mark.parametrize("combine", FUNCTIONS)
def test_derivatives_of_derivatives(combine):
    reduce = {"mul": "prod", "maximum": "amax", "minimum": "amin"}[combine]
    rng = np.random.default_rng(1)
    x, v = (tracec.from_numpy(rng.normal(size=(n, 2))).requires_grad_() for n in (4, 6))
    at = tracec.tensor([0, 2, 2, 1, 0, 2])
    assert gradgradcheck(lambda x, v: x.index_reduce(0, at, v, reduce), (x, v))
    assert gradgradcheck(lambda x: x.cummax(1).values * x.cummin(0).values, (x,))


def test_derivatives_of_looks_close_over_themselves():
    x = np.random.default_rng(2).normal(size=(3, 4))
    check_second_derivatives(as_strided, [x], shape=(2, 3, 2), strides=(5, 1, 0), offset=1)


@pytest.mark.parametrize(
    "make, error",
    [
        (lambda x, v, i: index_combine(x, v, i, axes=(0,), combine="add"), ArgumentError),
        (lambda x, v, i: index_combine(x, x, i, axes=(0,), combine="mul"), ShapeError),
        (
            lambda x, v, i: index_combine(x, input_node(TensorType(dt.int64, (2,))), i, axes=(0,), combine="mul"),
            DTypeError,
        ),
        (lambda x, v, i: as_strided(x, shape=(2,), strides=(4,), offset=0), ShapeError),
        (lambda x, v, i: as_strided(x, shape=(2,), strides=(1, 1), offset=0), ShapeError),
        (lambda x, v, i: as_strided(x, shape=(2,), strides=(-1,), offset=3), ShapeError),
        (lambda x, v, i: view_bits(x, dtype=dt.float64), ShapeError),
    ],
)
def test_what_does_not_fit_is_refused(make, error):
    x, v, i = (input_node(TensorType(d, (n,))) for d, n in ((dt.float32, 3), (dt.float32, 2), (dt.int64, 2)))
    with pytest.raises(error) as caught:
        make(x, v, i)
    assert caught.value.hint
