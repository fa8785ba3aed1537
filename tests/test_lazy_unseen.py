"""Nothing that is put off shows: memory that others see, writes, views, gradients, errors, threads, forks."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.lazy import compiled_parts, lazily, numbers, without_values
from tracec.record import deferred


@pytest.fixture(autouse=True)
def _seen():
    with without_values():
        yield


def both(function: Any, *makers: Any, calls: int = 5, rounded: float = 1e-6) -> Any:
    """Compare a function's results and what it leaves in its arguments with an eager run; the compiled function."""
    compiled = lazily(function)
    for _ in range(calls):
        mine, theirs = [m() for m in makers], [m() for m in makers]
        found, expected = compiled(*mine), function(*theirs)
        for a, b in zip((*found, *mine), (*expected, *theirs), strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rounded)
            assert not isinstance(a, tracec.Tensor) or a.stride() == b.stride()
    return compiled


def test_an_array_of_numpy_that_is_written_between():
    def function(a):
        x = tracec.from_numpy(a)
        y = x * 2
        a[0] = 7
        z = x + y
        x += 1
        seen = a.copy()
        return y, z, seen

    both(function, lambda: np.arange(4, dtype=np.float32))


def test_memory_that_was_given_to_numpy_before():
    def function(x, a):
        y = x * 2
        a[...] = -1
        x.add_(5)
        return y, a.copy(), x * 1

    def pair():
        x = numbers(3)
        return x, x.numpy()

    compiled = lazily(function)
    for _ in range(4):
        for a, b in zip(compiled(*pair()), function(*pair()), strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_writes_through_views():
    def function(x):
        y = x * 1
        y[1:].mul_(2)
        y.t()[0] += 3
        y.view(-1)[::3] = 5
        z = y[:, 1].clone()
        y.zero_()
        x[2, 0:2] = z[:2]
        return y, z, x.t() * 2

    compiled = both(function, lambda: numbers(3, 4))
    assert compiled_parts(compiled)


def test_memory_from_outside_that_is_looked_at_in_several_ways():
    base = numbers(4, 4)
    row = base[1]

    def function(x):
        x += 1
        row.add_(x[0])
        return row * 2, base.sum(0), x.t().contiguous()

    compiled = lazily(function)
    found = [[np.array(t) for t in compiled(base)] for _ in range(4)]
    kept = np.array(base)
    base.copy_(numbers(4, 4))
    for each in found:
        for a, b in zip(each, function(base), strict=True):
            np.testing.assert_array_equal(a, np.asarray(b))
    np.testing.assert_array_equal(kept, base.numpy())


def test_two_tensors_are_exchanged():
    def function(x, y):
        kept = x.clone()
        x.copy_(y)
        y.copy_(kept)
        return x + y, x - y

    assert compiled_parts(both(function, lambda: numbers(3), lambda: numbers(3, seed=1)))


def test_gradients_that_go_on_after_the_call():
    weight = numbers(3, 3).requires_grad_()
    compiled = lazily(lambda x: ((x @ weight).tanh() * x).exp())
    for k in range(5):
        x = numbers(3, 3, seed=k)
        compiled(x).sum().backward()
        found, weight.grad = weight.grad, None
        ((x @ weight).tanh() * x).exp().sum().backward()
        np.testing.assert_allclose(found.numpy(), weight.grad.numpy(), rtol=1e-5)
        weight.grad = None
    assert compiled_parts(compiled) >= 3


def test_what_is_kept_of_the_middle():
    kept = []

    def function(x):
        y = x * 3
        kept.append(y[1])
        z = (y + 1).relu()
        kept.append({"z": z})
        return z.sum()

    compiled, x = lazily(function), numbers(4)
    for k in range(5):
        compiled(x)
        np.testing.assert_array_equal(kept[2 * k].numpy(), (x * 3)[1].numpy())
        np.testing.assert_array_equal(kept[2 * k + 1]["z"].numpy(), (x * 3 + 1).relu().numpy())
    assert compiled_parts(compiled)


def test_an_error_in_the_middle_leaves_what_was_written():
    def function(x, fails):
        x += 1
        y = x * 2
        if fails:
            raise KeyError("no")
        return y

    compiled, x = lazily(function), numbers(3)
    expected = x.numpy().copy()
    for k in range(6):
        expected += 1
        if k % 2:
            with pytest.raises(KeyError):
                compiled(x, True)
        else:
            np.testing.assert_array_equal(compiled(x, False).numpy(), expected * 2)
        np.testing.assert_array_equal(x.numpy(), expected)
    assert not deferred.ACTIVE


def test_errors_that_hang_on_values_come_where_they_do_eagerly():
    def function(x, indices):
        try:
            found = tracec.linalg.inv(x * 0)
        except tracec.linalg.LinAlgError:
            found = x * 2 + 1
        try:
            rows = F.embedding(indices + 2, x)
        except IndexError:
            rows = x * 3
        return found, rows

    both(function, lambda: numbers(3, 3), lambda: tracec.tensor([1, 2]))


def test_another_thread_asks_for_values():
    def function(x):
        y = (x * 2 + 1).relu()
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.extend([y.tolist(), (y + 1).tolist()]))
        thread.start()
        thread.join()
        return np.array(seen), y - 1

    both(function, lambda: numbers(5))


def test_who_asks_while_another_thread_computes_waits():
    begun, go = threading.Event(), threading.Event()

    def slowly(steps):
        begun.set()
        assert go.wait(60)

    x = tracec.ones(3)
    with deferred.Deferred(lambda steps: None):
        x * 3  # where the elements of the result lie is known from here on
    with deferred.Deferred(slowly):
        y = x * 3
        thread = threading.Thread(target=lambda: deferred.settled(y._array))
        thread.start()
        assert begun.wait(60)
        threading.Timer(0.1, go.set).start()
        deferred.settled(y._array)
        assert go.is_set() and y._array.tolist() == [3.0, 3.0, 3.0]
        thread.join()


def test_a_program_of_another_thread_sees_what_was_written():
    inner = tracec.compile(lambda y: y * 2)
    inner(numbers(3)), inner(numbers(3))

    def function(x):
        x += 1
        y = (x * 3).relu()
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.extend([inner(x), inner(y)]))
        thread.start()
        thread.join()
        return *seen, y - 1

    both(function, lambda: numbers(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_the_values():
    def function(x):
        y = (x * 3).relu() + 1
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writes, repr((y + 1).tolist()).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        with os.fdopen(reads, "rb") as end:
            os.close(writes)
            return np.array(eval(end.read())), y * 2

    assert compiled_parts(both(function, lambda: numbers(3)))


def test_another_thread_writes_what_was_read():
    def function(x):
        y = x * 3
        thread = threading.Thread(target=lambda: x.add_(1))
        thread.start()
        thread.join()
        return y, x * 2

    both(function, lambda: numbers(3))


def test_what_other_threads_do_meanwhile_changes_nothing():
    done, begun = threading.Event(), threading.Event()

    def others():
        while not done.is_set():
            (numbers(5) * 2 + 1).sum().item()
            begun.set()

    thread = threading.Thread(target=others)
    compiled = lazily(lambda x: ((x * 2 + 1).relu() - x).softmax(0))
    thread.start()
    begun.wait()
    for k in range(20):
        x = numbers(9, seed=k)
        np.testing.assert_allclose(compiled(x).numpy(), compiled.fn(x).numpy(), rtol=1e-6)
    done.set()
    thread.join()
    assert compiled_parts(compiled) == 18 and len(compiled._lazy._known) == 1


def test_random_numbers_are_those_of_an_eager_run():
    def function(x):
        return F.dropout(x + tracec.randn(4, 4), 0.5), tracec.randperm(9), tracec.get_rng_state()

    compiled, x = lazily(function), numbers(4, 4)
    for k in range(5):
        tracec.manual_seed(k)
        expected = [*function(x), tracec.rand(2)]
        tracec.manual_seed(k)
        for a, b in zip([*compiled(x), tracec.rand(2)], expected, strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()
    assert compiled_parts(compiled)


def test_hooks_and_retained_gradients():
    def function(x):
        seen = []
        x = x.clone().requires_grad_()
        y = x * 2
        y.retain_grad()
        x.register_hook(lambda g: seen.append(g * 1) or g * 3)
        (y.tanh() * x).sum().backward()
        return y.grad, x.grad, *seen

    assert compiled_parts(both(function, lambda: numbers(4)))


def test_transforms_and_loops_inside():
    def function(x):
        a = tracec.func.vmap(lambda row: (row * 2).sum() + x.sum())(x + 1)
        b = tracec.func.jvp(lambda v: (v * a).exp(), (x * 1,), (x + 2,))[1]
        c, ys = tracec.func.scan(lambda c, v: (c + v, c * v), x[0] * 2, x)
        return a, b, c, ys, tracec.func.grad(lambda v: (v**3).sum())(b)

    both(function, lambda: numbers(3, 3))


def test_compiled_functions_inside_become_part_of_it():
    inner = tracec.compile(lambda x: (x + 1).relu() * 2)
    inner(numbers(4)), inner(numbers(4))
    compiled = both(lambda x: (inner(x * 2) - 1, x.sum()), lambda: numbers(4))
    assert compiled_parts(compiled) and not inner._lazy.calls


def test_loops_without_end_are_computed_in_parts(monkeypatch):
    monkeypatch.setattr(deferred, "MOST_STEPS", 50)

    def function(x):
        for _ in range(60):
            x = (x * 1.01 + 0.1).sin()
        return x, x * 2

    assert compiled_parts(both(function, lambda: numbers(6))) > 5


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (1, 1), (2, 1, 3)])
@pytest.mark.parametrize("dtype", [tracec.float64, tracec.bfloat16, tracec.int32, tracec.bool, tracec.complex64])
def test_shapes_and_types(shape, dtype):
    def function(x):
        y = x.transpose(0, -1) if x.ndim else x
        z = y.clone()
        z |= y == y if dtype is tracec.bool else y
        return z.contiguous(), y.reshape(-1), (y == z).sum(), x.unsqueeze(0).expand(3, *x.shape) * x

    def added(x):
        y = x.transpose(0, -1) if x.ndim else x
        z = y.clone()
        z += y
        return z.contiguous(), y.reshape(-1) * 2, (y == z).sum(), x.unsqueeze(0).expand(3, *x.shape) * x

    chosen = function if dtype is tracec.bool else added
    compiled = lazily(chosen)
    for k in range(4):
        x = (tracec.arange(max(1, int(np.prod(shape)))) + k)[: int(np.prod(shape))].reshape(shape).to(dtype)
        for a, b in zip(compiled(x), chosen(x), strict=True):
            assert a.dtype is b.dtype and a.stride() == b.stride() and a.tolist() == b.tolist()


def test_elements_lie_where_they_do_eagerly():
    def function(x, weight):
        x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
        y = x.flip(0).cumsum(1) * x.t().contiguous().t()
        z = F.conv1d(y[None], weight).transpose(1, 2)
        (z.sort(1)[0].logsumexp(2) + z.flip(1).sum(2)).sum().backward()
        y, z = y.detach(), z.detach()
        return x.grad, weight.grad, y, z, z * 2, (y.t() + 1).relu(), x.grad.flip(1) * 3

    compiled = both(function, lambda: numbers(4, 9), lambda: numbers(6, 4, 2), rounded=2e-5)
    assert compiled_parts(compiled)
