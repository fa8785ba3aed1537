"""What a function reads around it: cells, globals, attributes, defaults, other tensors."""

from __future__ import annotations

import functools
import threading

import tracec
from tests.footguns.harness import footgun, tensor, whole

factor = 1.0
table = None


@footgun
def closure_number(wrap):

    def make():
        m = 1.0

        def setm(v):
            nonlocal m
            m = v

        @wrap
        def f(x):
            return x * m

        return (f, setm)

    f, s = make()
    found = []
    for v in (1.0, 1.0, 2.0, 3.0, 1.0):
        s(v)
        found.append(f(tensor(3)))
    return found


@footgun
def global_number(wrap):
    global factor
    f = wrap(lambda x: x * factor)
    found = []
    for v in (1.0, 1.0, 2.0, 1, True, 1.0, -0.0, 0.0):
        factor = v
        found.append(f(tensor(3)))
    return found


@footgun
def global_in_helper(wrap):
    global factor

    def helper(x):
        return x + factor

    f = wrap(lambda x: helper(x))
    found = []
    for v in (1.0, 1.0, 2.0, 1):
        factor = v
        found.append(f(tensor(3)))
    return found


@footgun
def class_attr(wrap):

    class A:
        k = 2.0

        def __call__(self, x):
            return x * self.k

    a = A()
    f = wrap(a)
    found = [f(tensor(3)), f(tensor(3))]
    A.k = 3.0
    found.append(f(tensor(3)))
    return found


@footgun
def inst_attr_of_new_name(wrap):

    class A:
        k = 2.0

        def __call__(self, x):
            return x * self.k

    a = A()
    f = wrap(a)
    found = [f(tensor(3)), f(tensor(3))]
    a.k = 3.0
    found.append(f(tensor(3)))
    return found


@footgun
def hasattr_flag(wrap):

    class A:
        def __call__(self, x):
            return x * 2 if getattr(self, "flag", False) else x

    a = A()
    f = wrap(a)
    found = [f(tensor(3)), f(tensor(3))]
    a.flag = True
    found.append(f(tensor(3)))
    return found


@footgun
def slots_attr(wrap):

    class A:
        __slots__ = ("k",)

        def __init__(self):
            self.k = 2.0

        def __call__(self, x):
            return x * self.k

    a = A()
    f = wrap(a)
    found = [f(tensor(3)), f(tensor(3))]
    a.k = 3.0
    found.append(f(tensor(3)))
    return found


@footgun
def method_calls_method(wrap):

    class A:
        def __init__(s):
            s.h = H()

        @property
        def p(s):
            return s.h.k

        def inner(s, x):
            return x * s.p

        def run(s, x):
            return s.inner(x)

    class H:
        k = 1.0

    a = A()
    f = wrap(a.run)
    found = [f(tensor(3)), f(tensor(3))]
    a.h.k = 3.0
    found.append(f(tensor(3)))
    H.k = 9.0
    found.append(f(tensor(3)))
    a2 = H()
    a2.k = 11.0
    a.h = a2
    found.append(f(tensor(3)))
    return found


@footgun
def default_dtype(wrap):
    f = wrap(lambda x: (x + 1.5, tracec.ones(3), x / 2))
    found = []
    try:
        for d in (tracec.float32, tracec.float64, tracec.float32):
            tracec.set_default_dtype(d)
            o = f(tracec.tensor([1, 2, 3]))
            found += [str(v.dtype) for v in o]
    finally:
        tracec.set_default_dtype(tracec.float32)
    return found


@footgun
def functools_partial(wrap):
    items = [1.0]
    f = wrap(functools.partial(lambda items, x: x * items[0], items))
    found = [f(tensor(3)), f(tensor(3))]
    items[0] = 3.0
    found.append(f(tensor(3)))
    return found


@footgun
def wrapped_decorator(wrap):

    class S:
        pass

    s = S()
    s.k = 1.0

    def deco(fn):

        @functools.wraps(fn)
        def run(*a):
            return fn(*a) * s.k

        return run

    f = wrap(deco(lambda x: x + 1))
    found = [f(tensor(3)), f(tensor(3))]
    s.k = 3.0
    found.append(f(tensor(3)))
    return found


@footgun
def param_data_swap_before(wrap):
    w = tensor(3)
    f = wrap(lambda x: w * x)
    found = [f(tensor(3))]
    w.data = tensor(3, seed=5)
    found.append(f(tensor(3)))
    w.data = tensor(3, seed=6)
    found += [f(tensor(3)), f(tensor(3, seed=1))]
    return found


@footgun
def global_tensor_rebound(wrap):
    global table
    table = tensor(3)
    f = wrap(lambda x: table * x)
    found = [f(tensor(3)), f(tensor(3))]
    table = tensor(3, seed=4)
    found.append(f(tensor(3)))
    return found


@footgun
def captured_tensor_as_argument(wrap):
    w = tensor(3)
    f = wrap(lambda x: x * w)
    found = [f(w), f(tensor(3, seed=2)), f(w), f(tensor(3, seed=3))]
    return found


@footgun
def captured_tensors_exchanged_as_arguments(wrap):
    w, v = (tensor(3), tensor(3, seed=1))

    def f(x):
        x.add_(1)
        return w * 2 + v

    f = wrap(f)
    return [f(w), f(v), f(w), f(v), f(tensor(3))]


@footgun
def index_of_closed_over_table(wrap):
    table = tensor(5, 2)
    f = wrap(lambda i: table[i - 1])
    found = []
    for i in ([1, 2], [5, 1], [6, 1], [0, 2], [-5, 1], [3, 3]):
        try:
            found.append(f(tracec.tensor(i)))
        except IndexError as e:
            found.append(e.message)
    return found


@footgun(eager="reads another thread")
def threads_that_are_started(wrap):
    log = []

    def f(x):
        thread = threading.Thread(target=log.append, args=(len(log),))
        thread.start()
        thread.join()
        return x * 2

    f = wrap(f)
    return [f(whole(3, seed=k)) for k in range(5)], log
