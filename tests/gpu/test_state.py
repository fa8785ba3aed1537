"""What compiled functions read, write and share on the device is as it is eagerly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import tracec
from tests.compiled_programs import programs, run_program
from tests.gpu.place import DEVICE, compiled, fetch, on_gpu, put, runs_compiled
from tracec import nn
from tracec.nn import functional as F

pytestmark = on_gpu


def address(tensor):
    """Where a tensor's memory is."""
    array = tensor._array
    return array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.filterwarnings("ignore:.*is recorded again at each call:RuntimeWarning")
@settings(max_examples=4)
@given(programs())
def test_random_programs_with_views_and_writes(program):
    run_program(program, DEVICE, compiled)


def test_an_argument_is_written_in_place():
    run = compiled(lambda x, y: x.mul_(2).add_(y))
    x, y = put(numbers(1000)), put(numbers(1000, seed=1))
    expected, place = fetch(x), address(x)
    for _ in range(3):
        assert run(x, y) is x
        expected = expected * 2 + fetch(y)
    np.testing.assert_allclose(fetch(x), expected, rtol=1e-6)
    assert address(x) == place and runs_compiled(run)


def test_a_write_through_a_view_is_seen_in_the_whole():
    def function(x, y):
        x[1:3] = y
        x.T[0].zero_()
        return x.sum()

    run = compiled(function)
    for call in range(3):
        x, y = put(numbers(4, 6, seed=call)), put(numbers(2, 6, seed=call + 9))
        expected = fetch(x)
        expected[1:3], expected[:, 0] = fetch(y), 0
        total = run(x, y)
        np.testing.assert_array_equal(fetch(x), expected)
        np.testing.assert_allclose(total.item(), expected.sum(dtype=np.float64), rtol=1e-5)
    assert runs_compiled(run)


def test_results_of_earlier_calls_stay_as_they_were():
    run = compiled(lambda x: (x.exp(), x.sum(-1), (x @ x.T)[0]))
    given_ = [numbers(33, 47, seed=call) for call in range(6)]
    results = [run(put(x)) for x in given_]
    for x, (a, b, c) in zip(given_, results, strict=True):
        np.testing.assert_allclose(fetch(a), np.exp(x), rtol=1e-5)
        np.testing.assert_allclose(fetch(b), x.sum(-1, dtype=np.float64), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(fetch(c), (x.astype(np.float64) @ x.T)[0], rtol=1e-4, atol=1e-4)


def test_two_tensors_are_exchanged():
    def exchange(x, y):
        held = x.clone()
        x.copy_(y)
        y.copy_(held)

    run = compiled(exchange)
    a, b = numbers(300), numbers(300, seed=1)
    x, y = put(a), put(b)
    for call in range(4):
        run(x, y)
        first, second = (b, a) if call % 2 == 0 else (a, b)
        np.testing.assert_array_equal(fetch(x), first)
        np.testing.assert_array_equal(fetch(y), second)


def test_parameters_and_optimizer_state_stay_where_they_are():
    tracec.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)).to(DEVICE)
    optimizer = tracec.optim.AdamW(net.parameters(), lr=1e-2)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def places():
        moments = [value for state in optimizer.state.values() for value in state.values()]
        return [address(t) for t in (*net.state_dict().values(), *moments)]

    run = compiled(step)
    x, y = put(numbers(16, 8)), put(np.arange(16) % 4)
    run(x, y)
    before, weights = places(), {key: fetch(value) for key, value in net.state_dict().items()}
    losses = [run(x, y).item() for _ in range(5)]
    assert places() == before and len(before) > 20
    assert all((fetch(value) != weights[key]).any() for key, value in net.state_dict().items())
    assert losses == sorted(losses, reverse=True) and runs_compiled(run)


def test_gradients_gathered_over_calls():
    weight = put(numbers(5, 3)).requires_grad_()

    def function(x):
        (x @ weight).square().sum().backward()

    run, total = compiled(function), 0.0
    for call in range(4):
        x = numbers(7, 5, seed=call)
        run(put(x))
        total = total + 2 * x.T @ (x @ fetch(weight))
    np.testing.assert_allclose(fetch(weight.grad), total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", ["transposed", "strided", "offset", "repeated"])
def test_arguments_that_are_looks_at_memory(how):
    looks = {
        "transposed": lambda x: x.T,
        "strided": lambda x: x[::2],
        "offset": lambda x: x[1:],
        "repeated": lambda x: x[:1].expand(6, 8),
    }
    run = compiled(lambda x: (x * 2 + 1).cumsum(0))
    for call in range(3):
        x = looks[how](put(numbers(6, 8, seed=call)))
        np.testing.assert_allclose(fetch(run(x)), (fetch(x) * 2 + 1).cumsum(0), rtol=1e-5, atol=1e-5)
    assert runs_compiled(run)
