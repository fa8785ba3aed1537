"""Lists and deques that functions add to and change: what is added, whatever they hold, and every way to read them."""

from __future__ import annotations

import bisect
import copy
import heapq
import json
import pickle
from collections import deque

import numpy as np
import pytest

import tracec as T
from tests.effects import State, X, agree, seen
from tracec.utils._pytree import tree_map


def appended(s, x):
    y = x * 2
    s.log.append(y)
    s.queue.append(y.sum().item())
    s.log += [s.steps]
    s.log.extend((x, "a"))
    s.inner["same"] = s.log
    return y, s.log


def appended_and_read(s, x):
    s.log.append(x)
    return x * len(s.log)


def appended_and_popped(s, x):
    s.log.append(x * 2)
    if len(s.log) > 2:
        s.log.pop(0)
    return x


READS = [
    list, tuple, sum, len, bool, sorted, repr, reversed, lambda log: log[0], lambda log: 1.0 in log,
    lambda log: [*log], lambda log: [0.0] + log, lambda log: log + [0.0], lambda log: log == [1.0], lambda log: log * 2,
    lambda log: [].extend(log), lambda log: log.pop(), lambda log: log.clear(), lambda log: log.insert(0, 2.0),
    lambda log: log.reverse(), lambda log: log.sort(), lambda log: log.__setitem__(0, 3.0), lambda log: log.copy(),
    lambda log: log.index(1.0), lambda log: np.array(log), lambda log: max(log),
    lambda log: [v + 1 for v in log],
    lambda log: list(zip(log, log, strict=True)), lambda log: (lambda *a: a)(*log), lambda log: "".join(map(str, log)),
]  # fmt: skip


@pytest.mark.parametrize("function", [appended, appended_and_read, appended_and_popped], ids=lambda f: f.__name__)
def test_lists_that_grow(function):
    agree(function, calls=8, most=3 if function is appended else None)


@pytest.mark.parametrize("read", READS)
def test_every_read_of_a_list_that_grows_is_seen(read):
    def function(s, x):
        s.log.append(1.0)
        if s.flag:
            read(s.log)
        return x * (len(s.log) if s.flag else 1.0)

    eager, other = State(), State()
    compiled = T.compile(lambda x: function(other, x))
    for k in range(7):
        eager.flag = other.flag = k > 3
        assert seen((function(eager, X), eager)) == seen((compiled(X), other)), f"call {k}"


def test_a_list_that_grows_in_two_places():
    def make():
        s = State()
        s.inner["same"] = s.log
        return s

    def function(s, x):
        s.log.append(x)
        s.inner["same"].append(x * 2)
        return x

    agree(function, calls=5, most=3, make=make)


def test_a_list_that_is_in_a_tuple_as_well():
    def make():
        s = State()
        s.pair = (s.log, 1)
        return s

    def function(s, x):
        s.log.append(x)
        s.pair[0].append(x * 2)
        return x

    agree(function, calls=4, make=make)


def test_lists_in_places_that_change_are_changed():
    def function(s, x):
        s.log.append(s.steps)
        s.log = s.log[-2:]
        s.table["list"] = [x, [1, x]]
        s.table["list"][1].append(2)
        s.inner["same"] = s.table["list"]
        return x

    agree(function, calls=8, compiles=False)


def test_one_list_given_twice():
    def function(a, b, x):
        a.append(x)
        return len(b)

    compiled = T.compile(function)
    for _ in range(3):
        a, b = [1], [1]
        assert compiled(a, b, X) == 1 and len(a) == 2 and len(b) == 1
        a = [1]
        assert compiled(a, a, X) == 2 and len(a) == 2


def test_what_a_function_adds_to_a_list_and_then_replaces():
    def made(wrap):
        items = []

        def f(x):
            items.append(x)
            items[-1] = x * 2
            return x + 1

        return wrap(f), items

    (eager, expected), (compiled, found) = made(lambda f: f), made(T.compile)
    for k in range(6):
        eager(T.full((2,), float(k)))
        compiled(T.full((2,), float(k)))
    assert [v.tolist() for v in found] == [v.tolist() for v in expected]


class Trainer:
    """A step of a model, and what others note of it between the calls."""

    def __init__(self):
        self.weight = T.ones(3, requires_grad=True)
        self.optimizer = T.optim.SGD([self.weight], lr=0.1)
        self.losses, self.log = [], {"train": [], "queue": deque(maxlen=3)}
        self.best = 100.0

    def step(self, x):
        self.optimizer.zero_grad()
        loss = (self.weight * x).square().sum()
        loss.backward()
        self.optimizer.step()
        return loss


def note(trainer, loss):
    trainer.losses.append(loss.item())
    trainer.log["train"].append((len(trainer.losses), loss.detach()))
    trainer.log["queue"].append(loss.item())
    trainer.best = min(trainer.best, loss.item())


def test_what_is_noted_between_calls_does_not_matter_to_a_step():
    eager, other = Trainer(), Trainer()
    step = T.compile(other.step)
    for k in range(9):
        if k == 6:  # a new epoch
            eager.losses.clear(), other.losses.clear()
        for trainer, call in ((eager, eager.step), (other, step)):
            note(trainer, call(X / (k + 1)))
        np.testing.assert_allclose(other.losses, eager.losses, rtol=1e-5)
        np.testing.assert_allclose(other.log["queue"], eager.log["queue"], rtol=1e-5)
        assert [n for n, _ in other.log["train"]] == [n for n, _ in eager.log["train"]]
    assert "3 specialisations" in repr(step), step.explain()


def test_a_list_that_others_add_to_and_a_function_reads_at_last():
    values = []

    def function(x, read):
        return x * sum(values) if read else x + 1

    compiled = T.compile(function)
    for k in range(10):
        values.append(float(k))
        read = k in (4, 5, 7)
        assert compiled(X, read).tolist() == function(X, read).tolist(), f"call {k}"


@pytest.mark.parametrize("read", READS[:20])
def test_every_read_of_a_list_that_others_add_to_is_seen(read):
    def function(s, x):
        if s.flag:
            read(s.log)
        return x * (len(s.log) if s.flag else 1.0)

    eager, other = State(), State()
    compiled = T.compile(lambda x: function(other, x))
    for k in range(8):
        eager.log.append(1.0 + k), other.log.append(1.0 + k)
        eager.flag = other.flag = k > 4
        assert seen((function(eager, X), eager)) == seen((compiled(X), other)), f"call {k}"


def test_a_list_that_others_add_to_is_given_as_it_is():
    log = []

    @T.compile
    def function(x):
        return x * 2, log

    for k in range(6):
        log.append(k)
        y, given = function(X)
        assert given is log and type(log) is list and log == list(range(k + 1)) and y.tolist() == (X * 2).tolist()


def under_autocast(log):
    with T.autocast("cpu"):
        return T.cat([*log, log[0].bfloat16()]).dtype, T.vstack(log).dtype


def matched(log):
    match log:
        case [first, *_]:
            return first
    return None


ANSWERS = {
    "type": lambda log: type(log) is list,
    "class": lambda log: log.__class__ in (list, tuple),
    "name of its type": lambda log: type(log).__name__,
    "match": matched,
    "pickle": lambda log: pickle.loads(pickle.dumps(log)),
    "deepcopy": copy.deepcopy,
    "json": lambda log: json.dumps([len(x) for x in log]),
    "tree": lambda log: tree_map(lambda t: t * 2, log),
    "stack": lambda log: T.stack(log).sum(),
    "vmap": lambda log: T.func.vmap(lambda many: sum(many))(log),
    "autocast": under_autocast,
    "norm": T.nn.utils.get_total_norm,
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("own", [False, True], ids=["others add to it", "it adds to it"])
@pytest.mark.filterwarnings("ignore:.*recorded again at each call:RuntimeWarning")
def test_what_stands_in_for_a_list_is_taken_for_one(name, own):
    def run(wrap):
        log, found = [], []

        def function(x, ask):
            if own:
                log.append(x * 2)
            return ANSWERS[name](log) if ask else x + 1

        function = wrap(function)
        for k in range(7):
            x = T.full((2,), float(k))
            if not own:
                log.append(x * 3)
            found.append(seen(function(x, k > 3)))
        return found, seen(log), type(log)

    assert run(T.compile) == run(lambda f: f)


@pytest.mark.parametrize("push", [heapq.heappush, bisect.insort, list.append], ids=lambda f: f.__name__)
def test_what_code_in_c_adds_to_a_list_is_kept(push):
    def run(wrap):
        queue, found = [], []

        def function(x):
            push(queue, 3.0)
            return x + 1

        function = wrap(function)
        for k in range(6):
            queue.append(float(k) + 10)
            found.append((function(X).tolist(), list(queue)))
        return found

    assert run(T.compile) == run(lambda f: f)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    "read",
    [lambda log: list.__len__(log), lambda log: list.__getitem__(log, -1), lambda log: [*list.__iter__(log)][-1]],
    ids=["len", "getitem", "iter"],
)
def test_methods_of_the_class_itself_read_what_a_list_holds(read, own):
    def run(wrap):
        log, found = [], []

        def function(x):
            if own:
                log.append(float(len(found)))
            return x + read(log)

        function = wrap(function)
        for k in range(7):
            if not own:
                log.append(float(k))
            found.append(function(X).tolist())
        return found

    assert run(T.compile) == run(lambda f: f)
