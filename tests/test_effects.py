"""What functions do to Python objects around them: compiled calls leave what eager ones do, aliasing included."""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field

import numpy as np
import pytest

import tracec as T
from tests.effects import State, X, agree, seen
from tracec import nn


def counter(s, x):
    s.steps += 1
    return x * s.steps


def running_mean(s, x):
    s.buffer = 0.9 * s.buffer + 0.1 * x
    return s.buffer * 2


def hidden(s, x):
    h = T.zeros(3) if s.last is None else s.last
    s.last = T.tanh(h + x)
    return s.last


def decay(s, x):
    s.rate *= 0.9
    return x * s.rate


def pair(s, x):
    s.pair = (s.pair[0] + 1, s.pair[1] + 0.5)
    return x * s.pair[0] - s.pair[1]


def flag(s, x):
    s.flag = not s.flag
    return x if s.flag else -x


def new_attribute(s, x):
    s.extra = x + 1
    s.count = getattr(s, "count", 0) + 1
    return x


def fill_dict(s, x):
    s.table["x"] = x * 2
    s.table["n"] = s.table.get("n", 0) + 1
    return s.table["x"]


def result_kept(s, x):
    s.last = x * 2
    return s.last


def result_kept_in_two_places(s, x):
    y = x * 2
    s.last, s.inner["same"], s.table["y"] = y, y, [y]
    return {"y": y, "z": [y]}


def same_list_in_two_places(s, x):
    made = [x + 1, 5]
    s.last, s.inner["same"] = made, made
    return made


def returned_object(s, x):
    s.table["x"] = x
    return s.table, s.log


def argument_kept(s, x):
    s.last = x
    return x + 1


def view_kept(s, x):
    y = x * 2
    s.last = y[1:]
    return y


def deleted(s, x):
    if "gone" in s.table:
        del s.table["gone"]
    else:
        s.table["gone"] = x
    return x * 2


def reordered(s, x):
    s.table.setdefault("a", 1)
    s.table.setdefault("b", 2)
    first = next(iter(s.table))
    s.table[first] = s.table.pop(first)
    return x * len(s.table)


def replaced_list(s, x):
    s.log = [x.sum(), "a", (1, x)]
    return x


def changed_items(s, x):
    s.inner["list"][0] += 1
    s.inner["list"][1][0] = x * 2
    return x * s.inner["list"][0]


def bounded_list(s, x):
    s.log[:] = [x * 2, *s.log[:1]]
    return x


def added_to_set(s, x):
    s.names.add("b")
    return x * len(s.names)


def nested(s, x):
    s.last = {"a": [x, {"b": (x * 2, s.steps)}], "c": {1, 2}, "d": deque([x], maxlen=4)}
    s.steps += 1
    return x


def written_tensor_and_state(s, x):
    s.buffer.add_(x)
    s.steps += 1
    return s.buffer.clone()


def read_after_write(s, x):
    s.steps += 2
    y = x * s.steps
    s.steps -= 1
    return y


def swapped(s, x):
    s.last, s.buffer = s.buffer, x * 1
    return x


def number_from_tensor(s, x):
    s.rate = x.sum().item()
    return x


def condition(s, x):
    s.steps += 1
    if s.steps % 3 == 0:
        s.log = [s.steps]
    return x * 2


CASES = {
    counter: 2, running_mean: 2, hidden: 3, decay: 2, pair: 2, flag: 3, new_attribute: 4, fill_dict: 4,
    result_kept: 3, result_kept_in_two_places: 4, same_list_in_two_places: None, returned_object: 4, argument_kept: 4,
    view_kept: 4, deleted: 5, reordered: 5, replaced_list: None, changed_items: 4, bounded_list: None,
    added_to_set: 3, nested: None, written_tensor_and_state: 2, read_after_write: 2, swapped: 3,
    number_from_tensor: 3, condition: 6,
}  # fmt: skip


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_state_is_left_as_eagerly(function):
    agree(function, most=CASES[function])


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_verified_calls_leave_it_once(function):
    eager, other = State(), State()
    compiled = T.compile(lambda x: function(other, x), verify=True)
    for k in range(5):
        x = X * (k + 1)
        want = seen((function(eager, x), eager))
        assert seen((compiled(x), other)) == want, f"call {k}"


def test_what_is_written_is_what_was_there():
    s = State()
    compiled = T.compile(lambda x, n: setattr(s, "rate", n) or x * n)
    for n in (1.5, 1.5, 3.0, 0.5, 1.5, 1.5, 0.5, 0.5, 3.0):
        compiled(X, n)
        assert s.rate == n
    compiled = T.compile(lambda x, log: log.__setitem__(0, 2.0) or x * log[1])
    for k in (2.0, 2.0, 3.0, 4.0, 2.0, 5.0):
        log = [k, k]
        compiled(X, log)
        assert log == [2.0, k]


def test_arguments_are_changed():
    def function(log, table, x):
        log[0] = x * 2
        log.append(x.sum())
        table["y"] = x + 1
        table.pop("gone", None)
        return x, log

    compiled = T.compile(function)
    for k in range(5):
        given = [[[1, 2], {"gone": k}], [[1, 2], {"gone": k}]]
        outs = [f(*args, X * k) for f, args in zip((function, compiled), given, strict=True)]
        assert outs[1][1] is given[1][0]
        assert seen((outs[0], given[0])) == seen((outs[1], given[1]))
    shared = [1, 2]
    other = [1, 2]
    function(other, {"gone": shared}, X)
    compiled(shared, {"gone": shared}, X)
    assert seen(shared) == seen(other)


counted = 0


def test_globals_and_cells():
    total = 0.0
    seen_last = None

    def function(x):
        global counted, last_seen
        nonlocal total, seen_last
        counted += 1
        total += 0.5
        seen_last = last_seen = x * counted
        return x * total

    compiled = T.compile(function)
    for k in range(1, 8):
        out = compiled(X)
        assert counted == k and total == 0.5 * k
        np.testing.assert_allclose(out.numpy(), X.numpy() * total)
        np.testing.assert_allclose(seen_last.numpy(), X.numpy() * k)
        assert last_seen is seen_last
    assert len(compiled.explain().recordings) <= 3
    del globals()["last_seen"]


@dataclass
class Settings:
    rate: float = 0.5
    history: list = field(default_factory=list)


def test_dataclasses_slots_and_classes():
    class Slotted:
        __slots__ = ("last", "steps")
        total = 0

        def __init__(self):
            self.steps = 0

    def function(s, x):
        s.settings.rate *= 0.5
        s.settings.history = [x]
        s.slotted.steps += 1
        s.slotted.last = x * s.slotted.steps
        type(s.slotted).total += 1
        s.made = Settings(s.slotted.steps * 1.0, [x])
        return x * type(s.slotted).total + s.settings.rate

    def make():
        class Own(Slotted):
            __slots__ = ()
            total = 0

        s = State()
        s.settings, s.slotted = Settings(), Own()
        return s

    agree(function, calls=8, make=make)


def test_kinds_of_dictionaries():
    def make():
        s = State()
        s.ordered, s.default = OrderedDict(a=1), defaultdict(list)
        return s

    def function(s, x):
        s.ordered["n"] = s.ordered.get("n", 0) + 1
        s.default["k"] = [x]
        s.fresh = OrderedDict(b=x, a=1)
        return x * s.ordered["n"]

    agree(function, calls=6, make=make)


def test_modules_keep_what_they_are_given():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.register_buffer("mean", T.zeros(3))
            self.calls = 0
            self.hidden = None

        def forward(self, x):
            h = T.zeros(3) if self.hidden is None else self.hidden
            self.hidden = T.tanh(self.linear(x) + h).detach()
            self.mean = 0.9 * self.mean + 0.1 * x
            self.calls += 1
            return self.hidden * self.calls + self.mean

    T.manual_seed(0)
    eager = Net()
    other = Net()
    other.load_state_dict(eager.state_dict())
    compiled = T.compile(other)
    for k in range(8):
        np.testing.assert_allclose(compiled(X * k).detach().numpy(), eager(X * k).detach().numpy(), rtol=1e-4)
        np.testing.assert_allclose(other.mean.numpy(), eager.mean.numpy(), rtol=1e-5)
        assert other.calls == eager.calls and "mean" in other.state_dict()
    assert len(compiled.explain().recordings) <= 3


def test_gradients_go_back_through_what_is_kept():
    def function(s, x):
        s.last = (x * s.weight) ** 2
        return s.last.sum()

    eager, other = State(), State()
    eager.weight, other.weight = (T.tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))
    compiled = T.compile(lambda x: function(other, x))
    for k in range(1, 5):
        function(eager, X * k)
        compiled(X * k)
        for s in (eager, other):
            s.last.sum().backward()
        np.testing.assert_allclose(other.weight.grad.numpy(), eager.weight.grad.numpy(), rtol=1e-5)


def test_an_exception_leaves_what_was_changed_until_then():
    def function(s, x, fail):
        s.steps += 1
        s.log.append(s.steps)
        if fail:
            raise KeyError("half way")
        return x * s.steps

    eager, other = State(), State()
    compiled = T.compile(lambda x, fail: function(other, x, fail))
    for fail in (False, True, False, True, True, False, False):
        for run, s in ((lambda x, f: function(eager, x, f), eager), (compiled, other)):
            try:
                run(X, fail)
            except KeyError:
                assert fail
            assert type(s.steps) is int and all(type(n) is int for n in s.log) and type(s.log) is list
        assert seen(eager) == seen(other)


def test_warming_up_leaves_nothing_behind():
    s = State()

    def function(x):
        s.steps += 1
        s.log.append(x)
        s.last = x
        return x * s.steps

    compiled = T.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled.warmup(X)
    assert s.steps == 0 and s.log == [] and s.last is None
    for k in range(1, 5):
        assert compiled(X).tolist() == (X * k).tolist() and s.steps == k and len(s.log) == k


def test_lowering_leaves_nothing_behind():
    s = State()

    def function(x):
        s.steps += 1
        return x * s.steps

    T.compile(function).lower(X)
    assert s.steps == 0


def test_a_container_that_holds_itself_and_is_kept_runs_eagerly():
    s = State()

    def function(x):
        made = [x]
        made.append(made)
        s.last = made
        return x

    compiled = T.compile(function)
    compiled(X)
    with pytest.warns(RuntimeWarning, match="makes a container that holds itself"):
        compiled(X)
    assert s.last[1] is s.last


def test_objects_that_cannot_be_made_again_run_eagerly():
    class Thing:
        def __del__(self):
            pass

    s = State()

    def function(x):
        s.last = Thing()
        return x

    compiled = T.compile(function)
    compiled(X)
    with pytest.warns(RuntimeWarning, match="an object of type Thing that it may have made"):
        compiled(X)
    first = s.last
    compiled(X)
    assert s.last is not first


def test_a_hundred_steps_take_two_recordings():
    agree(counter, calls=100, most=2)
    agree(hidden, calls=50, most=3)
    agree(decay, calls=100, most=2)


def test_data_written_by_augmented_assignment_is_compiled():
    def made(wrap):
        w, mean = nn.Parameter(T.ones(3)), T.zeros(3)

        def step(x):
            w.grad = None
            loss = (w * x).sin().sum()
            loss.backward()
            w.data -= 0.1 * w.grad.data
            mean.data[1:] *= 0.5
            mean.data += 0.5 * w.data
            return loss

        return w, mean, wrap(step)

    w, mean, step = made(lambda f: f)
    v, other, compiled = made(T.compile)
    memory = v.data_ptr()
    for k in range(4):
        x = T.arange(3.0) + k
        T.testing.assert_close(compiled(x), step(x))
        T.testing.assert_close(v.data, w.data)
        T.testing.assert_close(other, mean)
    assert v.data_ptr() == memory and "compiled, 3 hits" in compiled.explain()
