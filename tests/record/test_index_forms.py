"""Indices of every form, drawn at random: read, written and differentiated as NumPy and PyTorch do."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracec
from tests.record.indices import given_to, keys, shapes
from tracec.errors import RecordError
from tracec.ir import evaluate

try:
    import torch
except ImportError:
    torch = None

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
CASES = shapes().flatmap(lambda shape: st.tuples(st.just(shape), keys(shape)))
NUMPY_CASES = shapes().flatmap(lambda shape: st.tuples(st.just(shape), keys(shape, like_numpy=True)))
WAYS = st.sampled_from(["number", "whole", "row", "longer", "one"])


def filled(shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.arange(np.prod(shape), dtype=np.float64).reshape(shape))


def value_for(shape: tuple[int, ...], how: str) -> Any:
    """What to write where an index reads that shape."""
    whole = np.asarray(-1.0 - filled(shape))
    if how == "number":
        return -1.5
    if how == "row":
        return np.asarray(whole[0]) if shape and shape[0] else whole
    if how == "longer":
        return whole[None, None]
    return whole if how == "whole" else np.asarray(whole[tuple(slice(0, 1) for _ in shape)])


@given(NUMPY_CASES, WAYS)
@QUICK
def test_numpy_reads_and_writes_the_same(case, how):
    shape, key = case
    array, x = filled(shape), tracec.from_numpy(filled(shape))
    try:
        expected = array[given_to(key, np.asarray)]
    except IndexError:
        with pytest.raises(IndexError):
            x[given_to(key, tracec.from_numpy)]
        return
    found = x[given_to(key, tracec.from_numpy)]
    assert tuple(found.shape) == expected.shape
    np.testing.assert_array_equal(found.numpy(), expected)
    value = value_for(expected.shape, how)
    array[given_to(key, np.asarray)] = value[0, 0] if how == "longer" else value
    x[given_to(key, tracec.from_numpy)] = tracec.from_numpy(value) if isinstance(value, np.ndarray) else value
    np.testing.assert_array_equal(x.numpy(), array)


def outcome(library: Any, make: Any, shape: Any, key: Any, how: str) -> list[np.ndarray] | type[Exception]:
    """Arrays that a library gives for reading, writing or differentiating, or the exception's type."""
    x = make(filled(shape))
    key = given_to(key, make)
    try:
        found = x[key]
        value = value_for(tuple(found.shape), how)
        if how == "number":
            x[key] = value
            return [found.numpy().copy(), x.numpy()]
        x.requires_grad_()
        given = make(np.asarray(value)).requires_grad_()
        whole = x * 1
        whole[key] = given
        (
            (whole * make(np.asarray(np.cos(filled(shape))))).sum()
            + (x[key] * make(np.asarray(np.sin(filled(tuple(found.shape)))))).sum()
        ).backward()
        grads = [np.zeros(tuple(t.shape)) if t.grad is None else t.grad.numpy() for t in (x, given)]
        return [whole.detach().numpy(), *grads]
    except IndexError:
        return IndexError
    except RuntimeError:
        return RuntimeError


@pytest.mark.skipif(torch is None, reason="needs torch")
@given(CASES, WAYS)
@QUICK
def test_pytorch_reads_writes_and_differentiates_the_same(case, how):
    shape, key = case
    theirs = outcome(torch, torch.from_numpy, shape, key, how)
    if not isinstance(theirs, type):
        places = torch.from_numpy(filled(shape))[given_to(key, torch.from_numpy)]
        if places.unique().numel() != places.numel() and how != "number":
            return  # PyTorch gives overwritten values a gradient
    ours = outcome(tracec, tracec.from_numpy, shape, key, how)
    assert isinstance(ours, type) == isinstance(theirs, type) and (ours == theirs if isinstance(ours, type) else True)
    for a, b in zip(ours, theirs, strict=True) if isinstance(ours, list) else ():
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@given(CASES, WAYS)
@QUICK
def test_what_is_recorded_computes_the_same(case, how):
    shape, key = case
    parts = key if isinstance(key, tuple) else (key,)
    key = tuple(np.array(k, np.int64) if isinstance(k, list) else k for k in parts)
    arrays = [k for k in key if isinstance(k, np.ndarray)]
    if any(k.dtype == bool for k in arrays) or any(isinstance(k, bool) for k in key):
        return  # how many elements masks choose is read off their values
    try:
        value = value_for(tuple(tracec.from_numpy(filled(shape))[given_to(key, tracec.from_numpy)].shape), how)
    except IndexError:
        return

    def read_and_write(x, value, *tensors):
        left = iter(tensors)
        found = x[given_to(key, lambda _: next(left))]
        written = x.clone()
        left = iter(tensors)
        written[given_to(key, lambda _: next(left))] = value
        return found, written

    args = [tracec.from_numpy(np.asarray(a)) for a in (filled(shape), value, *arrays)]
    graph = tracec.trace(read_and_write, *args)
    # The graph with other elements and other positions.
    moved = [np.array(m) for m in (args[0].numpy() * 2, np.asarray(value) - 1.0, *map(np.flip, arrays))]
    found = evaluate(graph, [moved[int(n.param("name")[3:])] for n in graph.inputs])
    for a, b in zip(found, read_and_write(*map(tracec.from_numpy, moved)), strict=True):
        np.testing.assert_array_equal(a, b.numpy())


def test_a_tensor_of_no_axes_is_an_integer():
    x = tracec.arange(24.0).reshape(2, 3, 4)
    row = x[tracec.tensor(1)]
    row.zero_()
    assert x[1].sum().item() == 0 and x[tracec.tensor(0), :, [1, 2]].shape == (3, 2)
    assert x[tracec.tensor(1, dtype=tracec.int8)].shape == (3, 4)
    assert x[:, tracec.tensor(1) :].shape == (2, 2, 4) and x[slice(tracec.tensor([1]), None)].shape == (1, 3, 4)


@pytest.mark.parametrize("at", [0, 1, -1])
def test_compiled_functions_do_not_ask_for_positions(at):
    def f(x, i, j):
        y = x.clone()
        y[i] = y[i] * 2 + x[j].sum()
        y[i, :, j] += 1
        return y, x[i] + 0, x[i, ..., j] + 0, x[i, j[:2], [0, 1]], x[j, :, i]

    compiled = tracec.compile(f)
    x = tracec.arange(24.0).reshape(2, 3, 4)
    for shift in (0, 1):
        i, j = tracec.tensor(at), tracec.tensor([0, 1, 1 - shift])
        for a, b in zip(compiled(x, i, j), f(x, i, j), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert "compiled," in compiled.explain()


def test_what_a_compiled_function_copies_is_not_taken_for_a_look():
    def write(x, i):
        x[i].add_(1)

    def read(x, i):
        row = x[i]
        x.zero_()
        return row + 1

    for f in (write, read):
        x, i = tracec.ones(2, 3), tracec.tensor(1)
        with pytest.raises(RecordError, match=r"index with int\(i\)"):
            tracec.compile(f, fullgraph=True)(x, i)
        assert x.tolist() == [[1.0] * 3] * 2
        compiled, y = tracec.compile(f), tracec.ones(2, 3)
        with pytest.warns(
            RuntimeWarning, match=r"x\[i\], where i is a tensor of no dimensions.*; .* is recorded again"
        ):
            found = [(str(compiled(y, i)), y.tolist()) for _ in range(3)]
        assert found == [(str(f(x, i)), x.tolist()) for _ in range(3)]
    # What is returned is a look, as it is eagerly.
    x, take = tracec.ones(2, 3), tracec.compile(lambda x, i: x[i])
    with pytest.warns(RuntimeWarning, match="a view of other memory; such a function is recorded again"):
        rows = [take(x, tracec.tensor(1)) for _ in range(3)]
    x.zero_()
    assert [row.tolist() for row in rows] == [[0.0] * 3] * 3


def test_masks_without_a_look_at_their_values():
    def f(x, mask, row):
        x = x.clone()
        x[mask] = row
        x[:, ~mask[0]] = 7.0
        x[mask[:, 0]] = row + 1
        return x

    compiled = tracec.compile(f)
    row = tracec.tensor([5.0])
    for seed in range(3):
        x = tracec.from_numpy(np.random.default_rng(seed).standard_normal((3, 4)))
        expected = f(x, x > 0, row.double())
        if seed:
            np.testing.assert_array_equal(compiled(x, x > 0, row.double()).numpy(), expected.numpy())


@pytest.mark.filterwarnings("error")
def test_deprecated_forms_warn():
    x = tracec.arange(6).reshape(2, 3)
    with pytest.warns(UserWarning, match="uint8"):
        assert x[tracec.tensor([1, 0], dtype=tracec.uint8)].shape == (1, 3)
    with pytest.warns(UserWarning, match="a list of indices is read as a tuple"):
        assert x[[[0, 1], [2, 0]]].tolist() == [2, 3]
    with pytest.warns(UserWarning, match="a list of indices is read as a tuple"):
        assert x[[0, slice(None)]].shape == (3,)


def test_element_types_on_assignment():
    x = tracec.zeros(4, dtype=tracec.int64)
    x[0], x[[1]], x[x == 0] = 2.7, -2.7, tracec.tensor(3.9)
    assert x.tolist() == [2, -2, 3, 3]
    x[:2] = tracec.tensor([1.5, 2.5])
    assert x.tolist() == [1, 2, 3, 3]
    with pytest.raises(RuntimeError, match=r"source and destination dtypes match, got int64 .* float32"):
        x[[0, 1]] = tracec.tensor([2.5, 3.5])
    small = tracec.zeros(2, dtype=tracec.uint8)
    small[0] = -1
    assert small.tolist() == [255, 0]
    with pytest.raises(RuntimeError):
        small[0] = 300
    with pytest.raises(RuntimeError):
        x[0] = float("nan")
    with pytest.raises(TypeError):
        x[0] = "a"


@pytest.mark.parametrize(
    "key",
    [np.True_, 1.0, {}, object(), 1j, tracec.tensor([1], dtype=tracec.int16), [0.5]],
    ids=lambda key: type(key).__name__,
)
def test_what_is_no_index(key):
    with pytest.raises(IndexError):
        tracec.zeros(2, 3)[key]
    with pytest.raises(TypeError):
        tracec.zeros(2, 3)["a"]


def test_protocols():
    x = tracec.tensor([3, 4])
    assert operator.index(x[:1]) == 3 and 4 in x and 5 not in x and [int(v) for v in x] == [3, 4]
    for wrong in (x, tracec.tensor(1.0)):
        with pytest.raises(TypeError, match="only integer tensors of a single element"):
            operator.index(wrong)
