"""Indexing reads and writes what PyTorch's and NumPy's does."""

import numpy as np
import pytest

import tracec
from tracec.errors import AxisError, ShapeError

torch = pytest.importorskip("torch")

READS = [
    0, -1, slice(None), slice(1, 3), slice(None, None, 2), slice(-2, None), slice(5, 2), Ellipsis, None,
    (0, 1), (0, 1, 2), (slice(None), 1), (Ellipsis, 0), (0, Ellipsis), (None, 0), (slice(None), None, 1),
    (Ellipsis, None), (slice(1, None, 2), Ellipsis, slice(None, None, 3)), (None, Ellipsis, None),
    [0, 2], [-1, 0, -1], ([0, 1], [1, 2]), ([[0, 1], [1, 0]],), (slice(None), [0, 2]), (Ellipsis, [1, 1]),
    ([0, 1], slice(None), [1, 2]), (0, slice(None), [1, 2]), (slice(None), [0, 1], [2, 3]), ([0], None, [1]),
    (slice(None), [2, 0], slice(1, 3)), ([[0], [1]], [1, 2]), (1, [0, 2]), (None, [0, 1]),
    (slice(0, 0),), ([],),
]  # fmt: skip


def pair(shape=(2, 3, 4)):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return tracec.from_numpy(array.copy()), torch.from_numpy(array.copy())


def convert(key, lib):
    if isinstance(key, tuple):
        return tuple(convert(k, lib) for k in key)
    return lib.tensor(key, dtype=lib.int64) if isinstance(key, list) else key


@pytest.mark.parametrize("key", READS, ids=str)
def test_read(key):
    x, y = pair()
    if key == [0, 2]:
        key = [0, 1]
    ours, theirs = x[convert(key, tracec)], y[convert(key, torch)]
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert (ours.numpy() == theirs.numpy()).all()


@pytest.mark.parametrize("key", READS, ids=str)
@pytest.mark.parametrize("how", ["scalar", "tensor", "row"])
def test_write(key, how):
    if key == [0, 2]:
        key = [0, 1]
    results = []
    for lib, x in zip((tracec, torch), pair(), strict=True):
        k = convert(key, lib)
        shape = tuple(x[k].shape)
        n = int(np.prod(shape))
        full = lib.arange(100, 100 + n, dtype=lib.float32).reshape(shape)
        value = -1.5 if how == "scalar" else full if how == "tensor" else full[:1] if shape else full
        x[k] = value
        results.append(x)
    assert (results[0].numpy() == results[1].numpy()).all()


@pytest.mark.parametrize(
    "make", [lambda x: x > 5, lambda x: x[:, :, 0] > 3, lambda x: x[:, 0, 0] >= 0], ids=["3", "2", "1"]
)
def test_masks(make):
    results = []
    for _, x in zip((tracec, torch), pair(), strict=True):
        mask = make(x)
        read = x[mask]
        x[mask] = 0.5
        x[~mask] = x[~mask] * 2
        results.append((read, x))
    for ours, theirs in zip(*results, strict=True):
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert (ours.numpy() == theirs.numpy()).all()


def test_mask_beside_a_slice_and_an_integer():
    results = []
    for lib, x in zip((tracec, torch), pair(), strict=True):
        mask = lib.tensor([True, False, True])
        x[0, mask] += 10
        results += [x[:, mask, 1], x[1, mask], x]
    for ours, theirs in zip(results[:3], results[3:], strict=True):
        assert (ours.numpy() == theirs.numpy()).all()


def test_arrays_lists_and_zero_dimensional_tensors():
    x, _ = pair()
    assert x[np.array([1, 0])].shape == (2, 3, 4)
    assert x[[1, 0]].shape == (2, 3, 4)
    assert x[[True, False]].shape == (1, 3, 4)
    assert x[tracec.tensor(1)].shape == (3, 4)
    assert (x[tracec.tensor(-1)].numpy() == x[1].numpy()).all()
    assert x[np.int64(1)].shape == (3, 4)
    i = tracec.tensor([0, 1], dtype=tracec.int32)
    assert (x[i, i].numpy() == x.numpy()[[0, 1], [0, 1]]).all()


@pytest.mark.parametrize("key", [5, (0, -4), (0, 0, 0, 0), [0, 2], "a", 1.5, (Ellipsis, Ellipsis, 0)], ids=str)
def test_errors(key, golden):
    x, _ = pair()
    with pytest.raises((IndexError, TypeError)) as error:
        x[key]
    assert str(error.value) == golden


def test_index_of_a_scalar(golden):
    with pytest.raises(AxisError) as error:
        tracec.tensor(1.0)[0]
    assert str(error.value) == golden


def test_negative_steps_are_refused(golden):
    with pytest.raises(ValueError) as error:
        tracec.arange(4)[::-1]
    assert str(error.value) == golden


def test_wrong_mask(golden):
    with pytest.raises(AxisError) as error:
        tracec.arange(4)[tracec.tensor([True])]
    assert str(error.value) == golden


def test_values_that_do_not_fit(golden):
    x, _ = pair()
    with pytest.raises(ShapeError) as error:
        x[0] = tracec.ones(5)
    assert str(error.value) == golden("slice")
    with pytest.raises(ShapeError) as error:
        x[[0, 1]] = tracec.ones(5)
    assert str(error.value) == golden("positions")


def test_gradients_of_indexing():
    for lib in (tracec, torch):
        x = lib.arange(6, dtype=lib.float32).reshape(2, 3).clone().requires_grad_()
        y = x[:, [0, 0, 2]] * 2
        z = y.sum() + x[0, 1:].sum() + x[x > 2].sum() * 3
        z.backward()
        if lib is tracec:
            ours = x.grad
    assert (ours.numpy() == x.grad.numpy()).all()


def test_further_ellipses_skip_nothing_more():
    # As PyTorch: they may stand where nothing but them follows, or where the first one skips nothing.
    x, array = pair()
    for key, same in (
        ((Ellipsis, Ellipsis), (Ellipsis,)),
        ((Ellipsis, 0, Ellipsis), (Ellipsis, 0)),
        ((0, Ellipsis, Ellipsis), (0,)),
        ((Ellipsis, None, Ellipsis), (Ellipsis, None)),
        ((0, Ellipsis, 1, Ellipsis, 2), (0, 1, 2)),
    ):
        np.testing.assert_array_equal(x[key].numpy(), array[same])
    x[..., 0, ...] = 7.0
    assert (x[..., 0] == 7).all()
    with pytest.raises(IndexError, match="single ellipsis"):
        x[..., ..., 0] = 1.0
