"""Lists, dictionaries, sets and arrays that a function reads, changed in between."""

from __future__ import annotations

import numpy as np

import tracec
from tests.footguns.harness import footgun, tensor


@footgun
def list_appended(wrap):
    factors = [1.0]

    def f(x):
        for v in factors:
            x = x * v
        return x

    f = wrap(f)
    found = []
    for v in (2.0, 3.0, 4.0):
        found.append(f(tensor(3)))
        found.append(f(tensor(3)))
        factors.append(v)
    return found


@footgun
def dict_added(wrap):
    d = {"a": 1.0}

    def f(x):
        for v in d.values():
            x = x * v
        return x

    f = wrap(f)
    found = []
    for v in (2.0, 3.0, 4.0):
        found.append(f(tensor(3)))
        found.append(f(tensor(3)))
        d[str(v)] = v
    return found


@footgun
def dict_key_order(wrap):
    d = {"a": 2.0, "b": 1.0}

    def f(x):
        for v in d.values():
            x = x * v + v
        return x

    f = wrap(f)
    found = [f(tensor(3)), f(tensor(3))]
    v = d.pop("a")
    d["a"] = v
    found.append(f(tensor(3)))
    return found


@footgun
def set_in_closure(wrap):
    s = {1}
    f = wrap(lambda x: x * 2 if 5 in s else x)
    found = [f(tensor(3)), f(tensor(3))]
    s.add(5)
    found.append(f(tensor(3)))
    return found


@footgun
def nested_config(wrap):

    class C:
        pass

    cfg = C()
    cfg.opt = {"a": [1.0, {"z": 2.0}]}
    f = wrap(lambda x: x * cfg.opt["a"][1]["z"])
    found = [f(tensor(3)), f(tensor(3))]
    cfg.opt["a"][1]["z"] = 5.0
    found.append(f(tensor(3)))
    return found


@footgun(eager="asks for the value of a tensor (array")
def numpy_captured(wrap):
    a = np.ones(3, np.float32)
    f = wrap(lambda x: x * tracec.from_numpy(a))
    found = []
    for i in range(3):
        a[:] = i
        found.append(f(tensor(3)))
    return found


@footgun
def numpy_captured_scalar(wrap):
    a = np.ones(3, np.float32)
    f = wrap(lambda x: x * a[0])
    found = []
    for i in range(3):
        a[:] = i
        found += [f(tensor(3)), f(tensor(3, seed=1))]
    return found


@footgun
def numpy_captured_float(wrap):
    a = np.ones(3, np.float32)
    f = wrap(lambda x: x * float(a[0]))
    found = []
    for i in range(3):
        a[:] = i
        found += [f(tensor(3)), f(tensor(3, seed=1))]
    return found


@footgun(eager="asks for the value of a tensor (array")
def numpy_captured_mul(wrap):
    a = np.ones(3, np.float32)
    f = wrap(lambda x: x * a)
    found = []
    for i in range(3):
        a[:] = i
        found.append(f(tensor(3)))
    return found


@footgun
def list_of_numbers_captured(wrap):
    a = [1.0, 2.0, 3.0]
    f = wrap(lambda x: x * tracec.tensor(a))
    found = []
    for i in range(3):
        a[1] = float(i)
        found += [f(tensor(3)), f(tensor(3, seed=1))]
    return found


@footgun(eager="asks for the value of a tensor (array")
def index_with_numpy(wrap):
    a = np.array([0, 1])
    f = wrap(lambda x: x[a])
    found = []
    for i in range(3):
        a[1] = i
        found.append(f(tensor(3)))
    return found


@footgun
def index_with_list(wrap):
    a = [0, 1]
    f = wrap(lambda x: x[a])
    found = []
    for i in range(3):
        a[1] = i
        found += [f(tensor(3)), f(tensor(3, seed=1))]
    return found


@footgun(eager="takes from an iterator")
def iterator_captured(wrap):
    it = iter(range(100))
    f = wrap(lambda x: x * next(it))
    return [f(tensor(3)) for _ in range(4)]


@footgun
def kwonly_defaults(wrap):

    def mk():

        def f(x, *, k=[1.0]):  # noqa: B006
            return x * k[0]

        return f

    g = mk()
    f = wrap(g)
    found = [f(tensor(3)), f(tensor(3))]
    g.__kwdefaults__["k"][0] = 5.0
    found.append(f(tensor(3)))
    return found


@footgun
def default_mutable(wrap):

    def g(x, k=[1.0]):  # noqa: B006
        return x * k[0]

    f = wrap(g)
    found = [f(tensor(3)), f(tensor(3))]
    g.__defaults__[0][0] = 5.0
    found.append(f(tensor(3)))
    return found
