"""Shapes, scattering, sorting and searching against NumPy; what aliases, what is written, what compiles."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracec
from tracec import errors

X = np.array([[3.0, -1.0, 2.0, 2.0], [0.5, 2.5, -1.0, 3.0], [2.0, 2.0, 0.0, -4.0]])
I = np.array([[0, 2, 1, 0], [2, 2, 0, 1]])  # noqa: E741


def made(*arrays: np.ndarray) -> list[Any]:
    return [tracec.from_numpy(a.copy()) for a in arrays]


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12, atol=1e-14)


# Against NumPy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["sum", "prod", "amax", "amin", "mean"])
@pytest.mark.parametrize("own", [True, False])
def test_scatter_reduce(reduce, own):
    x, i, src = made(X, I, X[:2] * 2 + 1)
    found = x.scatter_reduce(0, i, src, reduce, include_self=own)
    places: dict[tuple[int, int], list[float]] = {}
    for row, column in np.ndindex(2, 4):
        places.setdefault((I[row, column], column), []).append(X[row, column] * 2 + 1)
    expected = X.copy()
    function = {"sum": np.sum, "prod": np.prod, "amax": np.max, "amin": np.min, "mean": np.mean}[reduce]
    for at, values in places.items():
        expected[at] = function(values + [X[at]] * own)
    same(found, expected)
    assert not np.shares_memory(found.numpy(), x.numpy())


def test_gradients_of_scattered_extremes_are_shared():
    x = tracec.tensor([5.0, 1.0], requires_grad=True)
    src = tracec.tensor([5.0, 2.0, 5.0, 2.0], requires_grad=True)
    x.scatter_reduce(0, tracec.tensor([0, 1, 0, 1]), src, "amax").backward(tracec.tensor([3.0, 4.0]))
    same(x.grad, [1.0, 0.0])
    same(src.grad, [1.0, 2.0, 1.0, 2.0])


def test_order():
    (x,) = made(X)
    same(x.sort(1).values, np.sort(X, 1))
    same(x.sort(0, descending=True).values, -np.sort(-X, 0))
    same(tracec.msort(x), np.sort(X, 0))
    same(x.sort(1).indices, np.argsort(X, 1, kind="stable"))
    same(x.topk(2, 1).values, -np.sort(-X, 1)[:, :2])
    same(x.kthvalue(2, 0).values, np.sort(X, 0)[1])
    same(x.median(1).values, np.sort(X, 1)[:, 1])
    same(x.median(), np.sort(X.ravel())[5])
    same(x.mode(1).values, [2.0, -1.0, 2.0])
    same(x.cummax(1).values, np.maximum.accumulate(X, 1))
    same(x.cummin(0).values, np.minimum.accumulate(X, 0))
    same(x.gather(1, x.cummax(1).indices), np.maximum.accumulate(X, 1))
    holes = tracec.tensor([[1.0, float("nan"), 3.0], [2.0, 0.0, 1.0]])
    same(holes.median(1).values, [np.nan, 1.0])
    same(holes.nanmedian(1).values, [1.0, 1.0])
    same(holes.cummax(1).values, [[1.0, np.nan, np.nan], [2.0, 2.0, 2.0]])


def test_unique():
    for array in (X.round(), X.astype(np.int64), X > 0, X[:0], X[0, 0]):
        x = tracec.from_numpy(np.array(array))
        values, inverse, counts = x.unique(return_inverse=True, return_counts=True)
        expected = np.unique(array, return_inverse=True, return_counts=True)
        same(values, expected[0])
        same(inverse, expected[1].reshape(np.shape(array)))
        same(counts, expected[2])
        assert inverse.dtype is counts.dtype is tracec.int64 and values.dtype is x.dtype
    rows = np.array([[1, 2], [0, 3], [1, 2], [0, 1]])
    for axis in (0, 1):
        values, inverse = tracec.unique(tracec.from_numpy(rows), dim=axis, return_inverse=True)
        expected = np.unique(rows, axis=axis, return_inverse=True)
        same(values, expected[0])
        same(inverse, expected[1].ravel())
    runs = tracec.unique_consecutive(tracec.tensor([1, 1, 2, 2, 1]), return_inverse=True, return_counts=True)
    assert [r.tolist() for r in runs] == [[1, 2, 1], [0, 0, 1, 1, 2], [2, 2, 1]]


@given(
    st.lists(st.integers(-5, 5), max_size=20), st.lists(st.integers(-6, 6), max_size=8),
    st.booleans(), st.sampled_from([np.int64, np.float64, np.int32]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_searching_is_numpys(steps, values, right, dtype):
    steps, values = np.array(sorted(steps), dtype), np.array(values, dtype)
    found = tracec.searchsorted(*made(steps, values), right=right)
    assert found.dtype is tracec.int64
    same(found, np.searchsorted(steps, values, "right" if right else "left"))
    same(tracec.bucketize(*made(values, steps), right=right), found.numpy())
    same(tracec.isin(*made(values, steps)), np.isin(values, steps))


def test_counting():
    numbers, weights = np.array([3, 0, 3, 1]), np.array([0.5, 1.0, 2.0, -1.0])
    same(tracec.bincount(*made(numbers)), np.bincount(numbers))
    same(tracec.bincount(*made(numbers, weights), minlength=6), np.bincount(numbers, weights, 6))
    (x,) = made(X)
    same(x.histc(5, -2, 2), np.histogram(X, 5, (-2, 2))[0])
    same(x.histogram(4).hist, np.histogram(X, 4)[0])
    same(x.histogram(4).bin_edges, np.histogram(X, 4)[1])
    same(tracec.histogram(x, 3, weight=x * x, density=True).hist, np.histogram(X, 3, weights=X * X, density=True)[0])
    hist, edges = tracec.histogramdd(x[:, :2], [2, 3])
    expected = np.histogramdd(X[:, :2], [2, 3])
    same(hist, expected[0])
    for a, b in zip(edges, expected[1], strict=True):
        same(a, b)


def test_arranging():
    (x,) = made(X)
    same(tracec.roll(x, (1, -2), (0, 1)), np.roll(X, (1, -2), (0, 1)))
    same(tracec.roll(x, 5), np.roll(X, 5))
    for k in range(-1, 5):
        same(tracec.rot90(x, k), np.rot90(X, k))
    same(x.flip(0, 1), X[::-1, ::-1])
    same(tracec.tile(x, (2, 1, 2)), np.tile(X, (2, 1, 2)))
    same(x.repeat_interleave(tracec.tensor([2, 0, 1]), 0), np.repeat(X, [2, 0, 1], 0))
    same(tracec.repeat_interleave(tracec.tensor([2, 0, 1])), [0, 0, 2])
    same(x.unfold(1, 2, 1), np.lib.stride_tricks.sliding_window_view(X, 2, 1))
    same(x.as_strided((2, 3), (5, 1), 1), np.lib.stride_tricks.as_strided(X.ravel()[1:], (2, 3), (40, 8)))
    same(tracec.column_stack([x[0], x.T]), np.column_stack([X[0], X.T]))
    same(tracec.dstack([x, x]), np.dstack([X, X]))
    same(tracec.take_along_dim(x, tracec.from_numpy(I[:, :1]) - 3, 0), np.take_along_axis(X, I[:, :1] - 3, 0))
    assert tracec.broadcast_shapes((2, 1), 3, (1, 1)) == (2, 3)
    assert tracec.combinations(tracec.tensor([1, 2, 3])).tolist() == [[1, 2], [1, 3], [2, 3]]
    assert tracec.cartesian_prod(tracec.tensor([1, 2]), tracec.tensor([3, 4])).tolist() == [
        [1, 3],
        [1, 4],
        [2, 3],
        [2, 4],
    ]
    with pytest.warns(UserWarning, match="indexing='ij'"):
        tracec.meshgrid(x[0], x[1])


# Memory ------------------------------------------------------------------------------------------------

VIEWS = {
    "unfold": lambda x: x.unfold(1, 2, 2),
    "overlapping": lambda x: x.unfold(0, 2, 1)[0],
    "as_strided": lambda x: x.as_strided((2, 2), (4, 1), 1),
    "of a view": lambda x: x[1:].as_strided((2,), (4,)),
    "transposed": lambda x: x.T.as_strided((3,), (4,), 1),
    "bits": lambda x: x.view(tracec.int64),
    "bytes": lambda x: x.view(tracec.uint8),
    "split": lambda x: x.split((1, 3), 1)[1],
    "hsplit": lambda x: x.hsplit(2)[1],
    "diagonal": lambda x: x.diagonal(1),
    "unbind": lambda x: x.unbind(1)[2],
    "narrow": lambda x: x.narrow(1, -2, 1),
    "movedim": lambda x: x.movedim(0, 1),
    "atleast": lambda x: tracec.atleast_3d(x),
    "squeeze": lambda x: x[:1].squeeze(0),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("compiled", [False, True])
def test_views_are_written_through(name, compiled):
    def write(x):
        VIEWS[name](x).fill_(1)
        return x * 2

    x, expected = made(X, X)
    view = VIEWS[name](x)
    assert np.shares_memory(view.numpy(), x.numpy())
    array = expected.numpy()
    VIEWS[name](tracec.from_numpy(array)).numpy()[...] = 1
    f = tracec.compile(write) if compiled else write
    for _ in range(2):
        (x,) = made(X)
        same(f(x), array * 2)
        same(x, array)


@pytest.mark.parametrize("name", ["unfold", "overlapping", "as_strided", "of a view", "transposed"])
def test_gradients_go_through_writes_into_views(name):
    x, new = (t.requires_grad_() for t in made(X, X[0, :1]))
    whole = x * 1
    VIEWS[name](whole)[...] = new * 3
    (whole * whole).sum().backward()
    held = np.zeros_like(X)
    VIEWS[name](tracec.from_numpy(held)).numpy()[...] = 1
    same(x.grad, np.where(held, 0, 2 * X))
    same(new.grad, 2 * 9 * X[0, :1] * held.sum())


def test_strides_over_a_part_of_memory_that_requires_grad():
    whole = tracec.arange(8.0)
    part = whole[2:6].requires_grad_()
    part.as_strided((2, 2), (1, 2)).sum().backward()
    assert part.grad.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert part.as_strided((2,), (1,), 6).tolist() == [6.0, 7.0]
    with pytest.raises(NotImplementedError, match="gradients cannot be told"):
        part.as_strided((3,), (1,), 4)


COPIES = {
    "repeat": lambda x: x.repeat(1, 1),
    "tile": lambda x: x.tile(1),
    "repeat_interleave": lambda x: x.repeat_interleave(1, 1),
    "roll": lambda x: x.roll(0, 0),
    "roll round": lambda x: x.roll(12),
    "rot90": lambda x: x.rot90(4),
    "flip": lambda x: x.flip(()),
    "cat": lambda x: tracec.cat([x]),
    "scatter": lambda x: x.scatter(0, tracec.zeros(0, dtype=tracec.int64), x),
    "index_add": lambda x: x.index_add(0, tracec.zeros(0, dtype=tracec.int64), x[:0]),
    "select_scatter": lambda x: x.select_scatter(x[0], 0, 0),
    "take": lambda x: x.take(tracec.arange(12)),
    "narrow_copy": lambda x: x.narrow_copy(0, 0, 3),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_copies(name):
    (x,) = made(X)
    COPIES[name](x).zero_()
    same(x, X)


IN_PLACE = {
    "index_add_": (0, I[0, :2], X[:2]),
    "index_copy_": (0, I[0, :2], X[1:]),
    "index_fill_": (1, I[0], -7.0),
    "index_put_": ((I[0], I[1]), X[0]),
    "index_reduce_": (0, I[0, :2], X[1:], "prod"),
    "put_": (I, X[:2]),
    "scatter_": (0, I, X[:2]),
    "scatter_add_": (0, I, X[:2]),
    "scatter_reduce_": (0, I, X[:2], "amin"),
    "masked_fill_": (X > 0, 5.0),
    "masked_scatter_": (X > 0, X * 2),
    "tril_": (),
    "triu_": (1,),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    def tensors(v: Any) -> Any:
        return (
            tuple(map(tensors, v)) if isinstance(v, tuple) else tracec.from_numpy(v) if isinstance(v, np.ndarray) else v
        )

    args = tensors(IN_PLACE[name])
    (x,) = made(X)
    expected = getattr(x, name[:-1])(*args)
    assert getattr(x, name)(*args) is x
    same(x, expected.numpy())
    assert not np.array_equal(x.numpy(), X)
    part = tracec.zeros(3, 9, dtype=tracec.float64)
    part[:, 2:6] = tracec.from_numpy(X)
    getattr(part[:, 2:6], name)(*args)
    same(part[:, 2:6], x.numpy())
    assert part[:, 6:].count_nonzero() == 0


def test_fill_diagonal():
    assert tracec.zeros(5, 2).fill_diagonal_(3, wrap=True).tolist() == [[3, 0], [0, 3], [0, 0], [3, 0], [0, 3]]
    assert tracec.zeros(2, 2, 2).fill_diagonal_(1).nonzero().tolist() == [[0, 0, 0], [1, 1, 1]]
    with pytest.raises(errors.ShapeError):
        tracec.zeros(2, 3, 2).fill_diagonal_(1)


def test_out():
    (x,) = made(X)
    values, places = tracec.empty(0, dtype=tracec.float64), tracec.empty(0, dtype=tracec.int64)
    found = tracec.sort(x, 1, out=(values, places))
    assert found.values is values
    same(values, np.sort(X, 1))
    into = tracec.empty(0, dtype=tracec.float64)
    for result, expected in (
        (tracec.gather(x, 1, tracec.from_numpy(I), out=into), np.take_along_axis(X[:2], I, 1)),
        (tracec.take(x, tracec.from_numpy(I), out=tracec.empty(0, dtype=tracec.float64)), X.ravel()[I]),
        (tracec.where(x > 0, x, 0.0, out=tracec.empty(3, 4, dtype=tracec.float64)), np.where(X > 0, X, 0)),
        (tracec.nonzero(x > 2, out=tracec.empty(0, dtype=tracec.int64)), np.argwhere(X > 2)),
        (tracec.stack([x, x], out=tracec.empty(0, dtype=tracec.float64)), np.stack([X, X])),
    ):
        same(result, expected)


# Compiled ----------------------------------------------------------------------------------------------

COMPILED = {
    "scatter": lambda x, i: (
        x.scatter(0, i, x * 2), x.scatter_reduce(0, i, x, "prod"), x.index_reduce(1, i[0], x, "mean"),
    ),
    "gather": lambda x, i: (
        x.take(i - 3), x.take_along_dim(i - 2, 0), x.index_put((i[0], i[1]), x[0], accumulate=True),
    ),
    "order": lambda x, i: (x.topk(2), x.mode(1), x.nanmedian(0), x.cummax(1), x.cummin(0), x.kthvalue(2)),
    "search": lambda x, i: (tracec.searchsorted(x[0].sort().values, x), tracec.isin(x, x[1]), x.histc(4, -3, 3)),
    "masks": lambda x, i: (
        x.masked_scatter(x > 0, x * 3), tracec.where(x > 0, x, 1), tracec.nonzero_static(x > 1, size=4),
    ),
    "views": lambda x, i: (
        x.unfold(1, 2, 1) * 2, x.as_strided((2, 2), (1, 4)) + 1, x.roll(1, 1), x.view(tracec.int64) + 1,
    ),
    "counts": lambda x, i: (x.repeat_interleave(i[0, 1:], 0, output_size=3), x.slice_scatter(x[:1] * 2, 0, 1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPILED)
def test_compiled(name):
    """No value is asked for, so that one program serves all calls."""
    f = COMPILED[name]
    compiled = tracec.compile(f)
    for seed in range(3):
        array = np.random.default_rng(seed).permutation(12).reshape(3, 4) - 5.5
        for found, expected in zip(flat(compiled(*made(array, I))), flat(f(*made(array, I))), strict=True):
            assert found.dtype is expected.dtype
            same(found, expected.numpy())


def flat(found: Any) -> list[Any]:
    return [t for r in found for t in flat(r)] if isinstance(found, (tuple, list)) else [found]


def test_compiled_gradients():
    def f(x, i):
        y = x.scatter_reduce(0, i, x * 2, "amax").cummax(1).values
        return (y.unfold(1, 2, 1).sum(2) * y.sort(1).values[:, 1:]).sum() + x.scatter_reduce(0, i, x, "prod").sum()

    compiled = tracec.compile(f)
    for _ in range(2):
        ours, theirs = (x.requires_grad_() for x in made(X, X))
        index = tracec.from_numpy(I)
        compiled(ours, index).backward()
        f(theirs, index).backward()
        same(ours.grad, theirs.grad.numpy())


BATCHED = {
    "pick": lambda x, i: x[i[0]] * x[i].sum(),
    "write": lambda x, i: x.clone().index_fill_(0, i, 7.0).masked_fill_(x > 1, 0.0),
    "assign": lambda x, i: assigned(x * 1, i),
    "reduce": lambda x, i: x.scatter_reduce(0, i[None], x[:1, :2] * 2, "amax").index_reduce(0, i, x[:2], "prod"),
    "order": lambda x, i: x.cummax(1).values + x.sort(1).values + x.median(0).values,
    "views": lambda x, i: x.unfold(1, 2, 1).sum(2) + x.as_strided((2, 1), (1, 4)).sum(),
}


def assigned(x: Any, i: Any) -> Any:
    x[i[0]] = x[i[1]] * 2
    x[:, i] += 1.0
    x[x > 0] = -1.0
    return x


@pytest.mark.parametrize("name", BATCHED)
def test_batched(name):
    f = BATCHED[name]
    arrays, index = np.stack([X, X[::-1] + 0.5, X * 2]), np.array([[0, 2], [1, 0], [2, 1]])
    xs, rows = made(arrays, index)
    expected = np.stack([f(*made(a, i)).numpy() for a, i in zip(arrays, index, strict=True)])
    same(tracec.func.vmap(f)(xs, rows), expected)
    (weights,) = made(np.cos(np.arange(expected[0].size)).reshape(expected[0].shape))
    grads = tracec.func.vmap(tracec.func.grad(lambda x, i: (f(x, i) * weights).sum()))(xs, rows)
    for grad, a, i in zip(grads, arrays, index, strict=True):
        x, at = made(a, i)
        (f(x.requires_grad_(), at) * weights).sum().backward()
        same(grad, x.grad.numpy())


DECIDING = {
    "nonzero": lambda x: x.clamp(min=0).nonzero().float().sum(0),
    "unique": lambda x: x.round().unique(return_counts=True),
    "masked_select": lambda x: x.masked_select(x > 0) * 2,
    "mask": lambda x: x[x > 0].sum() + x[(x > 0).any(1)].sum(),
    "repeat_interleave": lambda x: x.repeat_interleave((x[0] > 0).long() + 1, 1),
    "bincount": lambda x: (x.abs() * 3).long().flatten().bincount(),
    "histc": lambda x: x.histc(4),
}


@pytest.mark.parametrize("name", DECIDING)
def test_shapes_that_hang_on_values_are_right_at_every_call(name):
    f = DECIDING[name]
    compiled = tracec.compile(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in (*range(4), *range(4)):
            (x,) = made(np.random.default_rng(seed).standard_normal((3, 4)))
            for found, expected in zip(flat(compiled(x)), flat(f(x)), strict=True):
                assert found.shape == expected.shape
                same(found, expected.numpy())
    assert compiled.explain().specialisations[0].hits >= 4


def test_compiled_functions_check_positions_at_every_call():
    compiled = tracec.compile(lambda x, i: (x.gather(0, i), x.index_add(0, i[0, :1], x[:1])))
    x, good, bad = made(X, I, I + 3)
    for _ in range(2):
        compiled(x, good)
        with pytest.raises(IndexError, match="gather: index 5 is out of bounds"):
            compiled(x, bad)
    scattering = tracec.compile(lambda x, mask, source: x.masked_scatter(mask, source))
    scattering(x, x > 2, x[0])
    with pytest.raises(RuntimeError, match="masked_scatter: 4 elements of source for 12 places"):
        scattering(x, x > -9, x[0])
