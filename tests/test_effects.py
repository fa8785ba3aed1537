"""What functions do to Python objects around them: compiled calls leave what eager ones do, aliasing included."""

from __future__ import annotations

import warnings
from collections import deque

import numpy as np
import pytest

import tracec as T

X = T.tensor([1.0, -2.0, 3.0])


def seen(value, known=None):
    """A value for comparing: tensors by values, containers by contents, what is met twice by the number it has."""
    known = {} if known is None else known
    if isinstance(value, (bool, int, float, str, bytes, type(None), type)):
        return type(value).__name__, repr(value)
    if id(value) in known:
        return "again", known[id(value)][0]
    known[id(value)] = len(known), value
    if isinstance(value, T.Tensor):
        return type(value).__name__, value.dtype.name, np.round(value.detach().numpy(), 4).tolist(), value.requires_grad
    if isinstance(value, dict):
        return type(value).__name__, [(seen(k, known), seen(v, known)) for k, v in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, sorted(map(repr, value))
    if isinstance(value, (list, tuple, deque)):
        return type(value).__name__, [seen(v, known) for v in value]
    if callable(value) and not hasattr(value, "__dict__"):
        return "callable", repr(value)
    attributes = dict(getattr(value, "__dict__", {}))
    for name in getattr(type(value), "__slots__", ()):
        if hasattr(value, name):
            attributes[name] = getattr(value, name)
    shown = {k: v for k, v in attributes.items() if not k.startswith("_compiled")}
    return type(value).__name__, [(k, seen(v, known)) for k, v in shown.items()]


class State:
    """What functions of these tests change."""

    def __init__(self):
        self.steps = 0
        self.rate = 0.5
        self.last = None
        self.log = []
        self.table = {}
        self.names = {"a"}
        self.queue = deque([1, 2], maxlen=3)
        self.pair = (0, 0.0)
        self.buffer = T.zeros(3)
        self.inner = {"list": [1, [2]], "same": None}
        self.flag = False


def agree(function, calls=6, most=None, make=State, compiles=True):
    """A function of a state and x leaves and gives, compiled, what it does eagerly, over calls."""
    eager, other = make(), make()
    with warnings.catch_warnings():
        warnings.simplefilter("error" if compiles else "ignore")
        compiled = T.compile(lambda x: function(other, x))
        for k in range(calls):
            x = X * (k + 1)
            want = seen((function(eager, x), eager))
            assert seen((compiled(x), other)) == want, f"call {k}"
    text = str(compiled.explain())
    if most is not None:
        assert len(compiled.explain().recordings) <= most, text
    if compiles:
        assert "eager:" not in text, text
    return compiled


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


def test_a_hundred_steps_take_two_recordings():
    agree(counter, calls=100, most=2)
    agree(hidden, calls=50, most=3)
    agree(decay, calls=100, most=2)
