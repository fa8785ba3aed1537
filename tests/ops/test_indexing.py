"""Gathers and scatters against plain loops, duplicates, aliasing, derivatives, errors."""

from itertools import product

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import build, check_second_derivatives, gradients, inputs, run, typed
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.node import input_node
from tracec.ops import indexing
from tracec.ops.indexing import index, index_put, iota

# (shape of x, axes, shapes of the index arrays)
CASES = [
    ((5,), (0,), [(7,)]),
    ((5, 3), (0,), [(2, 4)]),
    ((4, 5, 3), (1,), [(6,)]),
    ((4, 5, 3), (0, 2), [(2, 1), (3,)]),
    ((4, 5), (0, 1), [(9,), (9,)]),
    ((4, 5), (1,), [()]),
    ((4, 5), (0, 1), [(), ()]),
    ((4, 5), (0,), [(0,)]),
    ((4, 0), (0,), [(3,)]),
]


def draw(shape, axes, shapes, seed=0):
    rng = np.random.default_rng(seed)
    at = [rng.integers(0, shape[axis], s) for axis, s in zip(axes, shapes, strict=True)]
    rest = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    return rng.normal(size=shape), rng.normal(size=np.broadcast_shapes(*shapes) + rest), at


def one_by_one(x, axes, at):
    """(position among the index arrays, multi-index into x)."""
    at = np.broadcast_arrays(*at)
    for where in product(*map(range, at[0].shape)):
        place = [slice(None)] * x.ndim
        for axis, a in zip(axes, at, strict=True):
            place[axis] = int(a[where])
        yield where, tuple(place)


@pytest.mark.parametrize("shape, axes, shapes", CASES)
def test_index_reads_element_by_element(shape, axes, shapes):
    x, v, at = draw(shape, axes, shapes)
    found = index.eager(np, x, *at, axes=axes)
    for where, place in one_by_one(x, axes, at):
        v[where] = x[place]
    assert isinstance(found, np.ndarray) and not np.shares_memory(found, x)
    np.testing.assert_array_equal(found, v)


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("shape, axes, shapes", CASES)
def test_index_put_writes_in_order(shape, axes, shapes, add):
    x, v, at = draw(shape, axes, shapes)
    expected, before = x.copy(), x.copy()
    for where, place in one_by_one(x, axes, at):
        expected[place] = expected[place] + v[where] if add else v[where]
    found = index_put.eager(np, x, v, *at, axes=axes, add=add)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(x, before)


def test_order_of_writes_does_not_hang_on_memory_layout():
    x, at = np.zeros(3), np.asfortranarray(np.array([[0, 1, 0], [0, 1, 2]]))
    v = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert index_put.eager(np, x, v, at, axes=(0,), add=False).tolist() == [3, 4, 5]
    assert index_put.eager(np, x, v[::-1], at[::-1], axes=(0,), add=False).tolist() == [2, 1, 5]


class LikeCupy:
    """NumPy under CuPy's name: takes the routes that CuPy takes."""

    __name__ = "cupy"

    def __getattr__(self, name):
        return getattr(np, name)


@pytest.mark.parametrize("seed", range(8))
def test_the_unordered_library_route_gives_the_same(seed):
    rng = np.random.default_rng(seed)
    count, rows, columns = (int(rng.integers(1, n)) for n in (60, 9, 4))
    at, values, base = rng.integers(0, rows, count), rng.normal(size=(count, columns)), np.zeros((rows, columns))
    for write in (indexing.add_rows, indexing.set_rows):
        ordered, unordered = base.copy(), base.copy()
        write(np, ordered, at, values)
        write(LikeCupy(), unordered, at, values)
        np.testing.assert_allclose(unordered, ordered, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.int8])
@pytest.mark.parametrize("function", [np.add, np.maximum, np.multiply])
@pytest.mark.parametrize("numbered", [1, 1 << 20])
def test_runs_of_every_length_are_reduced(dtype, function, numbered):
    rng = np.random.default_rng(0)
    lengths = np.array([1, 2, 3, indexing._TURNS - 1, indexing._TURNS, indexing._TURNS + 1, 200])
    at = rng.permutation(np.repeat(np.arange(len(lengths)), lengths)) * numbered
    values = rng.integers(-5, 6, (at.size, 3)).astype(dtype)
    held, found, starts = indexing.run_values(np, values, at, function)
    assert found.dtype == dtype and sorted(held[starts]) == [numbered * k for k in range(len(lengths))]
    for position, row in zip(held[starts], found, strict=True):
        assert row.tolist() == function.reduce(values[at == position], axis=0, dtype=dtype).tolist()


def test_positions_behind_the_last_one_are_not_mistaken_for_small_ones():
    rows = np.zeros((4, 2))
    indexing.add_rows(np, rows, np.array([-1, 0, 0]), np.ones((3, 2)))
    assert rows[:, 0].tolist() == [2, 0, 0, 1]


def test_adding_keeps_the_dtype_and_sums_16_bit_floats_in_float32():
    at = np.zeros(4096, np.int32)
    for dtype in (dt.float16, dt.bfloat16):
        for columns in ((), (2,)):
            values = np.ones((4096, *columns), dtype.numpy)
            found = index_put.eager(np, np.zeros((2, *columns), dtype.numpy), values, at, axes=(0,), add=True)
            assert found.dtype == dtype.numpy and (found[0] == 4096).all()
    small = np.full((3, 2), 100, np.int8)
    found = index_put.eager(np, np.zeros((1, 2), np.int8), small, at[:3], axes=(0,), add=True)
    assert found.dtype == np.int8 and found.tolist() == [[44, 44]]


@pytest.mark.parametrize("dtype", [dt.int8, dt.uint8, dt.int16, dt.uint16, dt.int32, dt.uint32, dt.int64, dt.uint64])
def test_every_integer_dtype_indexes(dtype):
    x, at = np.arange(8.0).reshape(4, 2), np.array([3, 0], dtype.numpy)
    assert index.eager(np, x, at, axes=(0,)).tolist() == [[6, 7], [0, 1]]
    assert index.eager(np, x, at % 2, axes=(1,)).tolist() == [[1, 3, 5, 7], [0, 2, 4, 6]]
    added = index_put.eager(np, x, np.ones((2, 2)), at, axes=(0,), add=True)
    assert added.tolist() == [[1, 2], [2, 3], [4, 5], [7, 8]]


@pytest.mark.parametrize("shape, axes, shapes", CASES)
def test_derivatives_close_over_the_two(shape, axes, shapes):
    x, v, at = draw(shape, axes, shapes)
    check_second_derivatives(index, [x, *at], axes=axes)
    check_second_derivatives(index_put, [x, v, *at], axes=axes, add=True)
    check_second_derivatives(index_put, [x, v, *at], axes=axes, add=False)


def test_overwritten_values_have_no_gradient():
    x, v, at = np.zeros(3), np.ones(4), np.array([1, 2, 1, 1])
    nodes = inputs(x, v, at)
    out = build(index_put, *nodes, axes=(0,), add=False)
    ct = input_node(out.type)
    dx, dv = run(gradients(out, ct, nodes[:2]), dict(zip((*nodes, ct), (x, v, at, np.array([5.0, 6, 7])), strict=True)))
    assert dx.tolist() == [5, 0, 0] and dv.tolist() == [0, 7, 0, 6]


def test_gathers_agree_with_torch():
    torch = pytest.importorskip("torch")
    x, v, at = draw((5, 4), (0,), [(3, 6)])
    tx, tv = (torch.tensor(a, requires_grad=True) for a in (x, v))
    places = torch.tensor(at[0])
    np.testing.assert_array_equal(index.eager(np, x, *at, axes=(0,)), tx[places].detach())
    out = tx.index_put((places,), tv, accumulate=True)
    np.testing.assert_allclose(index_put.eager(np, x, v, *at, axes=(0,), add=True), out.detach(), rtol=1e-12)


def test_iota_counts_along_its_axis():
    found = iota.eager(np, shape=(2, 3), axis=1, dtype=dt.bfloat16, device="cpu")
    assert found.dtype == dt.bfloat16.numpy and found.astype(int).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert iota.eager(np, shape=(2, 3), axis=0, dtype=dt.uint8, device="cpu").tolist() == [[0, 0, 0], [1, 1, 1]]
    assert (
        iota.infer((), iota.bind({"shape": (2,), "axis": 0, "dtype": dt.int64, "device": "cuda:0"})).device == "cuda:0"
    )


INTS = typed(4, dtype=dt.int64)


@pytest.mark.parametrize(
    "op, types, params, error, text",
    [
        (
            index, [typed(3, 2), INTS], {"axes": (0, 1)}, ArgumentError,
            "index: axes=(0, 1) do not name one axis for each of 1 index arrays\n"
            "  hint: give at least one index array, and the axes they index in rising order",
        ),
        (
            index, [typed(3, 2), INTS], {"axes": (2,)}, ArgumentError,
            "index: axes=(2,) are out of range for shape (3, 2)\n  hint: use axes from 0 to 1",
        ),
        (
            index, [typed(3, 2), typed(3, dtype=dt.bool_)], {"axes": (0,)}, DTypeError,
            "index: index array 0 has dtype bool\n"
            "  hint: positions are integers; for a mask use where, or its nonzero positions",
        ),
        (
            index, [typed(3, 2), INTS, typed(3, dtype=dt.int32)], {"axes": (0, 1)}, ShapeError,
            "index: shapes (4,) and (3,) do not broadcast (axis 0: 4 vs 3)\n  hint: reshape or slice one operand",
        ),
        (
            index_put, [typed(3, 2), typed(2), INTS], {"axes": (0,)}, ShapeError,
            "index_put: values have shape (2,), the positions in (3, 2) have shape (4, 2)\n"
            "  hint: expand the values to the shape that index would give",
        ),
        (
            index_put, [typed(3), typed(4, dtype=dt.float64), INTS], {"axes": (0,)}, DTypeError,
            "index_put: values have dtype f64, the tensor f32\n"
            "  hint: cast the values to the tensor's dtype",
        ),
        (
            index_put, [typed(3, dtype=dt.bool_), typed(4, dtype=dt.bool_), INTS], {"axes": (0,), "add": True},
            DTypeError, "index_put: takes numbers, bool given\n  hint: cast it to a number type",
        ),
        (
            iota, [], {"shape": (3,), "axis": 1, "dtype": dt.int64}, ArgumentError,
            "iota: axis 1 is out of range for shape (3,)\n  hint: name an axis of the shape, counted from 0",
        ),
        (
            iota, [], {"shape": (3,), "axis": 0, "dtype": dt.bool_}, DTypeError,
            "iota: coordinates cannot be bool\n  hint: use an integer or floating dtype",
        ),
    ],
)  # fmt: skip
def test_errors(op, types, params, error, text):
    with pytest.raises(error) as caught:
        op.infer(tuple(types), op.bind(params))
    assert said(caught.value) == text
