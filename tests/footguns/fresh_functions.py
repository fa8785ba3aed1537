"""Functions, methods and containers that are other ones at each call, and the variables that they share."""

from __future__ import annotations

import functools
from collections import deque

from tests.footguns.harness import footgun, whole


class Counted:
    def __init__(self, k=0.0):
        self.k = k

    def times(self, x):
        self.k += 1
        self.y = x * self.k
        return self.y


def counter(k):
    def times(x):
        nonlocal k
        k += 1
        return x * k

    return times, lambda: k


@footgun
def fresh_functions(wrap):
    f, found = wrap(lambda x, g: g(x)), []
    for k in range(5):
        b, (times, count) = whole(3, seed=k), counter(float(k))
        found += [f(whole(3), lambda x, b=b: x * b), f(b, times), count(), f(b, times), count()]
        found += [f(b, lambda x: x + b), f(b, lambda x, k=k: x * k)]  # noqa: B023
    return found


@footgun
def functions_that_share_a_variable(wrap):
    def made(k, share):
        def double():
            nonlocal k
            k *= 2

        def over(k):
            return lambda x: x * k

        return double, (lambda x: x * k) if share else over(k)

    def f(x, double, times):
        double()
        return times(x)

    f = wrap(f)
    return [f(whole(3), *made(float(k), s)) for k in (2, 3, 4) for s in (True, False, True, True, False, False)]


@footgun
def function_that_may_share_a_variable_with_the_compiled_one(wrap):
    v = 1.0

    def own():
        nonlocal v
        v += 1

    def others():
        u = 1.0

        def other():
            nonlocal u
            u += 1

        return other

    def f(x, change):
        change()
        return x * v

    f = wrap(f)
    return [*(f(whole(3), c) for c in (own, others(), others(), own, others(), own, own)), v]


@footgun
def variable_that_a_function_may_lack(wrap):
    def made(bound):
        def g(x):
            try:
                return x * k
            except NameError:
                return x

        if bound:
            k = 3.0
        return g

    f = wrap(lambda x, g: g(x))
    return [f(whole(3), made(b)) for b in (False, True, False, True, True, False)]


@footgun
def methods_and_partial_functions(wrap):
    f, found = wrap(lambda x, g: g(x)), []
    for k in range(6):
        one = Counted(float(k))
        found += [f(whole(3), one.times), one.k, one.y, f(whole(3), one.times), one.k]
        partial = functools.partial(lambda a, x, b: x * a + b, float(k), b=whole(3, seed=k))
        found += [f(whole(3), partial), partial.args, partial.keywords]
    return found


@footgun
def sets_and_deques(wrap):
    known = {"a"}

    def f(x, names, items):
        if names is not known:
            names.add("q")
        items.append(items[-1] * 2)
        items.popleft()
        return x * len(names) + sum(items)

    f, found = wrap(f), []
    window = deque([whole(3, seed=k) for k in range(3)], maxlen=3)
    for k in range(6):
        names, items = ({"a"} if k % 2 else known), deque([whole(3, seed=k), whole(3)], maxlen=4)
        found += [f(whole(3), names, items), len(names), list(items), items.maxlen]
        window.append(whole(3, seed=k))
        found += [f(whole(3), {"a"}, window), list(window)]
    return found
