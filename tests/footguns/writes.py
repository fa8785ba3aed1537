"""What a function changes in Python: counters, lists, dictionaries, attributes."""

from __future__ import annotations

import tracec
from tests.footguns.harness import footgun, tensor
from tracec import nn


@footgun
def counter_incremented(wrap):

    class A:
        n = 0

        def __call__(s, x):
            s.n += 1
            return x * s.n

    a = A()
    f = wrap(a)
    return [f(tensor(3)) for _ in range(5)] + [a.n]


@footgun
def counter_closure(wrap):
    n = 0

    def f(x):
        nonlocal n
        n += 1
        return x * 2

    f = wrap(f)
    found = [f(tensor(3)) for _ in range(5)]
    return found + [n]


@footgun
def list_append_inside(wrap):
    log = []

    def f(x):
        y = x * 2
        log.append(y)
        return y

    f = wrap(f)
    found = [f(tensor(3, seed=i)) for i in range(4)]
    return found + [len(log)] + log


@footgun
def attr_tensor_set(wrap):

    class A:
        h = None

        def __call__(s, x):
            s.h = x if s.h is None else s.h * 0.5 + x
            return s.h * 2

    a = A()
    f = wrap(a)
    found = []
    for i in range(5):
        found.append(f(tensor(3, seed=i)))
        found.append(a.h)
    return found


@footgun
def attr_tensor_set_mod(wrap):

    class A(nn.Module):
        def __init__(s):
            super().__init__()
            s.register_buffer("h", tracec.zeros(3))

        def forward(s, x):
            s.h = s.h * 0.5 + x
            return s.h * 2

    a = A()
    f = wrap(a)
    found = []
    for i in range(5):
        found.append(f(tensor(3, seed=i)))
        found.append(a.h)
    return found


@footgun
def dict_cache_write(wrap):
    cache = {}

    def f(x):
        cache["last"] = x * 2
        return x + 1

    f = wrap(f)
    found = []
    for i in range(4):
        found.append(f(tensor(3, seed=i)))
        found.append(cache["last"])
    return found


@footgun
def arg_dict_write(wrap):

    def f(d):
        d["y"] = d["x"] * 2
        return d["y"] + 1

    f = wrap(f)
    found = []
    for i in range(4):
        d = {"x": tensor(3, seed=i)}
        found.append(f(d))
        found.append(d.get("y", "MISSING"))
    return found


@footgun
def arg_list_append(wrap):

    def f(x, items):
        items.append(x * 2)
        return x + 1

    f = wrap(f)
    found = []
    for i in range(4):
        items = []
        found.append(f(tensor(3, seed=i), items))
        found.append(len(items))
    return found


@footgun
def lazy_setup(wrap):

    class A:
        w = None

        def __call__(s, x):
            if s.w is None:
                s.w = tensor(3)
            return x * s.w

    a = A()
    f = wrap(a)
    return [f(tensor(3, seed=i)) for i in range(4)]
