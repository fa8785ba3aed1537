"""What tests of effects share: a state that functions change, and its comparison with what they do eagerly."""

from __future__ import annotations

import warnings
from collections import deque

import numpy as np

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
        assert "no program:" not in text, text
    return compiled
