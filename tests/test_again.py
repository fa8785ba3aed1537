"""Functions that no program stands in for: what they compute is compiled in parts, and nothing of it shows."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.again import again, without_values
from tests.codegen.emulated import needs_compiler
from tests.footguns import harness
from tests.footguns.harness import FOOTGUNS, as_it_is
from tests.random_programs.check import operator_by_operator, outcome, script, shrunk
from tests.random_programs.generate import program
from tracec import nn
from tracec.record import deferred
from tracec.specialisations.again import _Segment

for path in sorted((Path(__file__).parent / "footguns").glob("[!_]*.py")):
    if path.stem != "harness" and not path.stem.startswith("test_"):
        import_module(f"tests.footguns.{path.stem}")


@pytest.fixture(autouse=True)
def _seen():
    with without_values():
        yield


def numbers(*shape: int, seed: int = 0) -> Any:
    return tracec.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def compiled_parts(function: Any) -> int:
    return int(function._again.compiled)


# All that is known to go wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("one", FOOTGUNS, ids=lambda f: f.name)
def test_footguns(one):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracec.manual_seed(0)
        expected = list(harness._observed(one.run(as_it_is)))
        tracec.manual_seed(0)
        found = list(harness._observed(one.run(again)))
    assert len(found) == len(expected)
    for k, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert harness._same(a, b, max(one.rounded, 3e-7)), f"observation {k}: eager {a!r}, compiled {b!r}"


@pytest.mark.parametrize("first", range(0, 75, 25))
def test_random_programs(first):
    made: list[Any] = []

    def kept(fn: Any) -> Any:
        made.append(again(fn))
        return made[-1]

    with operator_by_operator():
        for seed in range(first, first + 25):
            found = outcome(program(seed), kept)
            assert found.difference is None, f"{seed}: {found.difference}\n{script(shrunk(program(seed), again))}"
    assert sum(map(compiled_parts, made)) > 0.3 * sum(f._again.others for f in made)


# What is compiled -------------------------------------------------------------------------------------


def test_a_function_that_reads_the_clock_runs_compiled_and_says_so():
    def function(x):
        assert time.time() > 0
        return (x @ x).relu().softmax(-1), x.t() + 1

    compiled, x = tracec.compile(function), numbers(7, 7)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RuntimeWarning)
        for k in range(8):
            for a, b in zip(compiled(x * k), function(x * k), strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
                assert a.stride() == b.stride()
    assert len(said) == 1 and "reads the clock" in str(said[0].message)
    text = str(compiled.explain())
    assert "recorded again at each call and compared: in 6 calls" in text and " segments ran as " in text
    assert "  a part of 10 operations, " in text and ".py:" in text and ": ran 4 times" in text
    assert compiled_parts(compiled) >= 4


class Step:
    """Training of a small model with a step that draws from Python's generator, or reads the clock."""

    def __init__(self, draws: bool) -> None:
        tracec.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(5, 9, bias=False), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 3)
        )
        self.optimizer = tracec.optim.AdamW(self.model.parameters(), lr=0.01)
        self.draw = random.Random(3).random if draws else time.time
        self.losses: list[float] = []

    def __call__(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        scale = self.draw() if self.draw is not time.time else self.draw() * 0 + 1
        loss = F.cross_entropy(self.model(x) * scale, y)
        loss.backward()
        self.losses.append(float(loss))
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss


@pytest.mark.parametrize("draws", [False, True])
def test_a_train_step(draws):
    eager, step = Step(draws), Step(draws)
    compiled = again(step.__call__)
    for k in range(9):
        x, y = numbers(8, 5, seed=k), tracec.arange(8) % 3
        tracec.manual_seed(k)
        expected = eager(x, y)
        tracec.manual_seed(k)
        found = compiled(x, y)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(step.losses, eager.losses, rtol=1e-5)
    for a, b in zip(step.model.state_dict().values(), eager.model.state_dict().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
    assert compiled_parts(compiled) >= 8
    assert sum(s.program is not None for s in compiled._again._known.values()) <= 4  # numbers became inputs


def test_numbers_that_change_become_inputs_and_keep_their_signs():
    def function(x, factor):
        return ((x + 1) * factor).copysign(x * 0 + factor), x * factor

    compiled, x = again(function), numbers(5)
    for factor in (2.0, 2.0, 3.0, -0.0, 0.0, float("inf"), 1.5, 2.5):
        for a, b in zip(compiled(x, factor), function(x, factor), strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()
    assert len(compiled._again._known) <= 4


def test_threads_that_change_other_numbers_lose_none(monkeypatch):
    """A number that is no input, and is another one, would be that of another call."""
    monkeypatch.setattr("tracec.specialisations.again._MOST_NUMBERS", 99)

    def form(changed: int) -> Any:
        return SimpleNamespace(rows=[], numbers=[np.float32(k == changed) for k in range(8)])

    def lift(k: int) -> None:
        together.wait()
        segment.lift(form(k))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            for _ in range(200):
                segment, together = _Segment(form(-1)), threading.Barrier(8)
                list(threads.map(lift, range(8)))
                assert set(segment.lifted) == {*range(8)}
    finally:
        sys.setswitchinterval(before)


def test_what_is_not_worth_while_runs_eagerly(monkeypatch):
    monkeypatch.setattr("tracec.specialisations.again._SMALLEST", 1 << 16)
    small, large = again(lambda x: (x * 2 + 1).relu() - 1), again(lambda x: (x * 2 + 1).relu() - 1)
    for k in range(5):
        small(numbers(8, seed=k)), large(numbers(1 << 15, seed=k))
    assert "calls run eagerly now, since what they compute is small" in small._again.describe()[0]
    assert compiled_parts(large) == 3 and not compiled_parts(small)
    monkeypatch.setattr("tracec.specialisations.again._FRUITLESS", 6)
    shapes = again(lambda x: (x * 2 + 1).relu() - 1)
    for k in range(20):
        shapes(numbers(1 << 15, k + 1))
    assert "since few come again" in shapes._again.describe()[0] and shapes._again.calls == 6


def test_what_nobody_holds_is_no_result_of_a_part():
    compiled, x = again(lambda x: [(x * 2 + 1).relu(), (x * 3).relu()][0]), numbers(9)
    graphs, build = [], compiled._again._build
    compiled._again._build = lambda graph, replaces: graphs.append(graph) or build(graph, replaces)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(x).numpy(), (x * 2 + 1).relu().numpy())
    assert [len(graph.outputs) for graph in graphs] == [1]


def test_in_the_background():
    compiled = again(lambda x, k: (x * 2 + k).relu() - 1, background=True)
    for k in (1.0, 1.0, 1.0, 2.0, 2.0):
        x = numbers(7, seed=int(k))
        np.testing.assert_allclose(compiled(x, k).numpy(), compiled.fn(x, k).numpy(), rtol=1e-6)
        compiled.wait()
    assert compiled_parts(compiled) == 1  # then another number came, which had to become an input first
    for k in (2.0, 3.0, 4.0):
        np.testing.assert_allclose(compiled(x, k).numpy(), compiled.fn(x, k).numpy(), rtol=1e-6)
        compiled.wait()
    assert compiled_parts(compiled) == 4


@pytest.mark.parametrize("background", [False, True])
def test_a_part_that_cannot_be_compiled_is_told_once(background):
    compiled = again(lambda x: (x * 2).relu() - 1, background=background)
    compiled._again._build = lambda graph, replaces: 1 / 0
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for k in range(5):
            assert compiled(numbers(3, seed=k)).tolist() == compiled.fn(numbers(3, seed=k)).tolist()
            compiled.wait()
    told = "a part could not be compiled, and runs operation by operation: ZeroDivisionError"
    assert [told in str(w.message) for w in said] == [True]
    assert not compiled_parts(compiled)


@pytest.mark.parametrize(("error", "seen"), [(RuntimeError, RuntimeWarning), (KeyboardInterrupt, KeyboardInterrupt)])
def test_a_part_that_cannot_be_compiled_is_computed_all_the_same(error, seen):
    kept, met = [], []

    def function(x):
        kept.append((x * 2 + 1).relu() - 1)
        try:
            return kept[-1].sum().item()
        except seen:  # a warning, which is an error here
            met.append(seen)
            kept.append(kept[-1] * 3)
            return kept[-1].tolist()

    def fails(graph, replaces):
        raise error("no compiler")

    compiled, x = again(function), numbers(9)
    compiled._again._build = fails
    for _ in range(4):
        kept.clear()
        with suppress(seen):
            compiled(x)
        expected = ((x * 2 + 1).relu() - 1).numpy()
        for k, y in enumerate(kept):
            np.testing.assert_array_equal(y.numpy(), expected * 3**k)
    assert len(met) == (1 if error is RuntimeError else 3) and not deferred.ACTIVE


def test_a_function_with_too_many_specialisations_runs_compiled():
    compiled = tracec.compile(lambda x, text: (x * 2 + len(text)).relu() - 1, max_specializations=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(9):
            x = numbers(4, seed=k)
            np.testing.assert_allclose(compiled(x, "a" * k).numpy(), (x * 2 + k).relu().numpy() - 1, rtol=1e-6)
    assert compiled_parts(compiled) >= 2


@needs_compiler
def test_in_the_emulator():
    def function(x):
        x += 1
        return (x * 2).sum(0), x.softmax(0)

    compiled = again(function, target="cuda", launcher="emulator")
    a, b = numbers(6, 3), numbers(6, 3)
    for _ in range(5):
        for p, q in zip(compiled(a), function(b), strict=True):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert compiled_parts(compiled)


# What does not show -----------------------------------------------------------------------------------


def both(function: Any, *makers: Any, calls: int = 5, rounded: float = 1e-6) -> Any:
    """Compare a function's results and what it leaves in its arguments with an eager run; the compiled function."""
    compiled = again(function)
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

    compiled = again(function)
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

    compiled = again(function)
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
    compiled = again(lambda x: ((x @ weight).tanh() * x).exp())
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

    compiled, x = again(function), numbers(4)
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

    compiled, x = again(function), numbers(3)
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
    compiled = again(lambda x: ((x * 2 + 1).relu() - x).softmax(0))
    thread.start()
    begun.wait()
    for k in range(20):
        x = numbers(9, seed=k)
        np.testing.assert_allclose(compiled(x).numpy(), compiled.fn(x).numpy(), rtol=1e-6)
    done.set()
    thread.join()
    assert compiled_parts(compiled) == 18 and len(compiled._again._known) == 1


def test_random_numbers_are_those_of_an_eager_run():
    def function(x):
        return F.dropout(x + tracec.randn(4, 4), 0.5), tracec.randperm(9), tracec.get_rng_state()

    compiled, x = again(function), numbers(4, 4)
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
    assert compiled_parts(compiled) and not inner._again.calls


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
    compiled = again(chosen)
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
