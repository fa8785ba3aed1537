"""Compiled functions called from several threads, from within each other, and interrupted at any moment."""

from __future__ import annotations

import gc
import random
import re
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.record import random as record_random
from tracec.record.state import STATE
from tracec.runtime import cublas
from tracec.specialisations import segments


@pytest.fixture(autouse=True)
def switch_often():
    """Threads take turns every few bytecodes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work, count: int = 6):
    """Run something in several threads that start at once, with the number of each; what they give."""
    ready = threading.Barrier(count)

    def run(k: int):
        ready.wait()
        return work(k)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# Several threads ------------------------------------------------------------------------------------------------


def test_one_function_in_many_threads_with_the_same_and_other_shapes():
    w = tracec.arange(12.0).reshape(3, 4) / 10

    def f(x, scale):
        return (tracec.tanh(x @ w) * scale).softmax(-1).sum(0), x.shape[0]

    compiled = tracec.compile(f)

    def work(k):
        rng = np.random.default_rng(k)
        for step in range(40):
            x = tracec.tensor(rng.standard_normal((1 + (k + step) % 3, 3)).astype(np.float32))
            got, want = compiled(x, 2.0), f(x, 2.0)
            np.testing.assert_allclose(got[0].numpy(), want[0].numpy(), rtol=1e-5)
            assert got[1] == want[1]
        return True

    assert all(together(work))
    for rows in (1, 2, 3):  # while one thread recorded, all others may have made all of their calls
        compiled(tracec.ones(rows, 3), 2.0)
    assert len(compiled.explain().specialisations) == 3


def test_results_of_one_thread_are_not_those_of_another():
    # Large results come from the pool, intermediate values from arenas: no call may see another's.
    compiled = tracec.compile(lambda x: ((x * 2).cumsum(0) + 1, (x + 1).sum(1)))
    base = tracec.ones(300, 200)
    compiled(base), compiled(base)

    def work(k):
        kept = []
        for step in range(12):
            value = float(k * 100 + step)
            kept.append((value, compiled(tracec.full((300, 200), value))))
        return all(bool((a[-1] == 2 * v * 300 + 1).all()) and bool((b == (v + 1) * 200).all()) for v, (a, b) in kept)

    assert all(together(work))


def test_modes_are_those_of_each_thread():
    w = tracec.ones(3, requires_grad=True)

    def f(x):
        return (x * w).sum()

    compiled = tracec.compile(f)

    def work(k):
        for _ in range(30):
            x = tracec.full((3,), float(k))
            if k % 3 == 0:
                with tracec.no_grad():
                    y = compiled(x)
                assert not y.requires_grad
            elif k % 3 == 1:
                with tracec.autocast("cpu", dtype=tracec.bfloat16):
                    y = compiled(x)
            else:
                (gradient,) = tracec.autograd.grad(compiled(x), w)
                assert gradient.tolist() == [float(k)] * 3
                y = compiled(x)
            assert float(y) == 3.0 * k
        return True

    assert all(together(work))


def test_models_of_their_own_train_in_threads_as_they_do_alone():
    def train(seed):
        rng = np.random.default_rng(seed)
        w = tracec.tensor(rng.standard_normal((4, 4)).astype(np.float32), requires_grad=True)
        optimizer = tracec.optim.Adam([w], lr=0.05)

        @tracec.compile
        def step(x):
            optimizer.zero_grad()
            loss = tracec.tanh(x @ w).square().sum()
            loss.backward()
            optimizer.step()
            return loss

        x = tracec.tensor(rng.standard_normal((2, 4)).astype(np.float32))
        return [step(x).item() for _ in range(15)]

    alone = [train(k) for k in range(4)]
    np.testing.assert_allclose(together(train, 4), alone, rtol=2e-4)


def test_ways_of_a_tree_are_found_by_several_threads():
    def f(x):
        if x.sum() > 4:
            return x * 2
        if x[0] > 0:
            return x + 1
        return x - 1

    compiled = tracec.compile(f)

    def work(k):
        rng = random.Random(k)
        for _ in range(40):
            x = tracec.full((2,), rng.choice((-1.0, 1.0, 3.0)))
            assert compiled(x).tolist() == f(x).tolist()
        return True

    assert all(together(work))


@pytest.mark.filterwarnings("ignore:.*reads another thread:RuntimeWarning")
@pytest.mark.parametrize("mode", [None, "async"])
def test_a_function_that_waits_for_a_thread_which_calls_compiled_ones(mode):
    inner = tracec.compile(lambda x: x * 3, mode=mode)

    def outer(x):
        y = x + 1
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: inner(tracec.ones(2)).tolist()).result(timeout=20)
        return y * 2

    compiled = tracec.compile(outer, mode=mode)
    for _ in range(3):
        assert compiled(tracec.ones(2)).tolist() == [4.0, 4.0]


def test_what_another_thread_computes_for_a_function_is_no_constant():
    def f(x):
        with ThreadPoolExecutor(1) as pool:
            return x + pool.submit(lambda: x * 2).result()

    compiled = tracec.compile(f)
    with pytest.warns(RuntimeWarning, match="another thread"):
        found = [compiled(tracec.full((2,), v)).tolist() for v in (1.0, 2.0, 3.0)]
    assert found == [[3.0] * 2, [6.0] * 2, [9.0] * 2]


# Errors and interrupts -----------------------------------------------------------------------------------------------


def test_an_error_half_way_leaves_what_eager_code_leaves():
    def make():
        w = tracec.zeros(2)

        def f(x, how):
            w.add_(x)
            if how == "before":
                raise KeyError(how)
            w.mul_(2)
            y = w / 1
            if how == "after":
                raise KeyError(how)
            return y

        return w, f

    w, f = make()
    v, g = make()
    compiled = tracec.compile(g)
    for how in ("no", "before", "no", "after", "before", "no", "no", "after"):
        results = []
        for function in (f, compiled):
            try:
                results.append(function(tracec.ones(2), how).tolist())
            except KeyError:
                results.append("error")
        assert results[0] == results[1]
        assert w.tolist() == v.tolist()
        assert STATE.recorder is None and STATE.grad


class Stop(BaseException):
    """As an interrupt from the keyboard is."""


def interrupted(work, after: int, inside: str) -> bool:
    """Run something, and stop it in the middle: when so many lines of the library have run."""
    lines = 0

    def trace(frame, event, arg):
        nonlocal lines
        if inside not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            if lines == after:
                sys.settrace(None)
                raise Stop
        return trace

    sys.settrace(trace)
    try:
        work()
    except Stop:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("seed", range(16))
def test_an_interrupt_at_any_moment_leaves_nothing_broken(seed):
    rng = random.Random(seed)
    w = tracec.ones(3, requires_grad=True)
    state = {"on": True}

    def f(x):
        y = tracec.tanh(x * w).sum()
        if state["on"] and y > 100:
            return y * 2
        return y + tracec.rand(()) * 0

    compiled = tracec.compile(f)
    x = tracec.full((3,), 0.5)
    want = f(x).item()
    as_it_was = print, time.time, sys.stdout, bool
    stopped = 0
    for _ in range(6):
        after = int(10 ** rng.uniform(0.5, 4.6))
        stopped += interrupted(lambda: compiled(x), after, "tracec")
        assert STATE.recorder is None and STATE.grad and not STATE.gathering and STATE.devices == ()
        assert (print, time.time, sys.stdout, type(state["on"])) == as_it_was
        if rng.random() < 0.3:
            state["on"] = not state["on"]
    for _ in range(3):
        y = compiled(x)
        assert abs(y.item() - want) < 1e-6
        (gradient,) = tracec.autograd.grad(y, w)
        np.testing.assert_allclose(gradient.numpy(), (0.5 / np.cosh(0.5) ** 2) * np.ones(3), rtol=1e-5)
    # Another thread is not kept waiting by a lock that nobody will give back.
    assert together(lambda k: abs(compiled(x).item() - want) < 1e-6, 2) == [True, True]
    assert any(s.compiled for s in compiled.explain().specialisations)


def test_interrupted_steps_that_train_go_on():
    def make():
        w = tracec.tensor([1.0, -2.0, 3.0], requires_grad=True)
        optimizer = tracec.optim.SGD([w], lr=0.1, momentum=0.9)

        def step(x):
            optimizer.zero_grad()
            loss = (x * w).square().sum()
            loss.backward()
            optimizer.step()
            return loss

        return w, optimizer, step

    w, optimizer, step = make()
    compiled = tracec.compile(step)
    x = tracec.tensor([1.0, 0.5, 0.25])
    for after in (40, 400, 4000, 40000, 100, 150, 200, 250, 300):
        interrupted(lambda: compiled(x), after, "tracec")
        # From wherever it was left, steps go on as eager ones do from there.
        before = (
            w.detach().clone(),
            {k: v.clone() for k, v in optimizer.state[w].items() if isinstance(v, tracec.Tensor)},
        )
        v, other, eager = make()
        with tracec.no_grad():
            v.copy_(before[0])
        for name, value in before[1].items():
            other.state[v][name].copy_(value)
        v.grad = None if w.grad is None else w.grad.clone()
        assert abs(compiled(x).item() - eager(x).item()) < 1e-4 * abs(before[0].abs().sum().item() + 1)
        np.testing.assert_allclose(w.detach().numpy(), v.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_functions_that_are_gone_leave_no_books_behind():
    import weakref

    model = nn.Linear(3, 3)
    compiled = tracec.compile(model)
    x = tracec.ones(2, 3)
    compiled(x), compiled(x)
    reference = weakref.ref(model)
    del model, compiled
    gc.collect()
    assert reference() is None


def makes_at_once(monkeypatch, owner, name, ask):
    """What two askers get, of whom the second comes while something is being made for the first."""
    make, second = getattr(owner, name), []

    def slow(*args):
        if not second:
            second.append(None)  # it asks but once
            second[0] = ask()
        return make(*args)

    monkeypatch.setattr(owner, name, slow)
    return ask(), second[0]


def test_threads_that_come_at_once_get_one_handle_and_one_generator(monkeypatch):
    monkeypatch.setattr(cublas, "_new_handle", lambda stream: (id(object()), object()))
    monkeypatch.setattr(cublas, "_handles", {})
    first, second = makes_at_once(monkeypatch, cublas, "_new_handle", lambda: cublas.handle_of(0, 7))
    assert first == second
    monkeypatch.setattr(record_random, "_DEFAULT", {})
    first, second = makes_at_once(monkeypatch, record_random, "Generator", record_random.default_generator)
    assert first is second


def test_forms_of_calls_that_are_found_at_once_have_numbers_of_their_own():
    def call(params):
        return SimpleNamespace(form=0, op=SimpleNamespace(name="pretended"), params=params, types=(), type=None)

    class Slow:
        """Parameters that another thread asks beside."""

        def __hash__(self):
            segments._form_of(other)
            return 0

    one, other = call(Slow()), call("other")
    assert segments._form_of(one) != segments._form_of(other)


def test_attributes_of_a_thread_are_its_own():
    own = threading.local()
    own.factor = 2
    run = tracec.compile(lambda x: x * own.factor)

    def other():
        own.factor = 5
        return [run(tracec.ones(2)).tolist() for _ in range(3)]

    for _ in range(3):
        assert run(tracec.ones(2)).tolist() == [2, 2]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(other).result() == [[5, 5]] * 3
    assert run(tracec.ones(2)).tolist() == [2, 2]
    own.factor = 3
    assert run(tracec.ones(2)).tolist() == [3, 3]


def test_a_verified_function_is_called_by_a_thread_that_one_being_recorded_waits_for():
    """Each waited for the other: comparing with an eager run takes the turn of who records."""
    x, found = tracec.ones(3), []
    g = tracec.compile(lambda x: x * 3, verify=True)
    for _ in range(2):
        g(x)

    @tracec.compile
    def f(x):
        thread = threading.Thread(target=lambda: found.append(g(x)), daemon=True)
        thread.start()
        thread.join(20)
        return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert f(x).tolist() == [2.0] * 3
    assert [y.tolist() for y in found] == [[3.0] * 3]


@pytest.mark.parametrize("wait", ["warmup", "lower"])
def test_who_waits_for_a_thread_that_records_is_told(monkeypatch, wait):
    monkeypatch.setattr("tracec.recording_lock.LONG", 0.05)
    g = tracec.compile(lambda x: x * 3)
    x, said = tracec.ones(3), []

    @tracec.compile
    def f(x):
        thread = threading.Thread(target=getattr(g, wait), args=(tracec.ones(3),), daemon=True)
        thread.start()
        thread.join(0.3)
        said.append(thread)
        return x * 2

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        f(x)
        said[0].join(20)
    assert not said[0].is_alive()
    text = next(str(w.message) for w in warned if wait in str(w.message))
    assert re.fullmatch(
        rf"{wait} of \S*<lambda>: has waited 0 s for another thread, which records \S*f; where that one waits for this "
        "thread, neither goes on",
        text,
    )
