"""What users of tracing compilers have reported of what functions are given and give back, and of threads that call."""

from __future__ import annotations

import threading

import numpy as np

import tracec
from tests.footguns.harness import footgun, whole


@footgun
def numbers_that_are_equal_but_of_other_types(wrap):
    f = wrap(lambda x, n: x * n if isinstance(n, bool) else x / n)
    i = tracec.tensor([1, 2, 4])
    return [f(i, n) for n in (1, True, 1.0, np.float32(1), np.int64(1), 1, True, 1.0)]


@footgun
def tensor_of_no_dimensions_for_a_number(wrap):
    f = wrap(lambda x, n: x * n)
    half = whole(3).half()
    given = (2.0, tracec.tensor(2.0), 2.0, tracec.tensor(2.0), np.array(2.0), tracec.tensor(3.0), 3)
    return [f(half, n) for n in given]


@footgun
def results_given_back_as_arguments(wrap):
    f, h, found = wrap(lambda x, h: (h * 0.5 + x, h)), whole(3), []
    for k in range(5):
        h, before = f(whole(3, seed=k), h)
        found += [h, before]
    return found


@footgun
def memory_given_for_the_result(wrap):
    f, found = wrap(lambda x, out: tracec.add(x, 1, out=out)), []
    for k in range(3):
        out = tracec.empty(3)
        found += [f(whole(3, seed=k), out) is out, out]
    return found


@footgun
def list_that_is_given_and_returned(wrap):
    f, found = wrap(lambda items: items), []
    for k in range(3):
        items = [whole(3, seed=k)]
        found += [f(items) is items, items]
    return found


@footgun(unserved="it has more items at each call")
def list_from_outside_that_is_returned(wrap):
    kept = [whole(3)]
    f, found = wrap(lambda x: (kept, x * 2)), []
    for k in range(3):
        out, y = f(whole(3, seed=k))
        out.append(y)
        found += [out is kept, len(kept)]
    return found


@footgun
def list_that_is_returned_twice(wrap):
    def f(x):
        both = [x * 2]
        return both, both

    f, found = wrap(f), []
    for k in range(3):
        a, b = f(whole(3, seed=k))
        a.append(1)
        found += [a is b, b]
    return found


@footgun
def other_number_of_arguments(wrap):
    f = wrap(lambda *args, **kwargs: sum(args) * len(kwargs))
    a, b = whole(3), whole(3, seed=1)
    given = [
        ((a,), {}),
        ((a, b), {"k": 1}),
        ((a,), {"k": 1}),
        ((a, b), {"j": 1, "k": 2}),
        ((a, b), {"k": 1}),
        ((a,), {}),
    ]
    return [f(*args, **kwargs) for args, kwargs in given]


@footgun
def threads_of_other_modes(wrap):
    w = whole(3, g=True)
    f, found = wrap(lambda x: x * w), {}

    def work(k):
        with tracec.set_grad_enabled(k % 2 == 0):
            found[k] = [f(whole(3, seed=k)).requires_grad for _ in range(3)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return [found[k] for k in sorted(found)]


@footgun
def interrupted_half_way(wrap):
    s = whole(3)
    interrupts = [False]

    def f(x):
        s.add_(x)
        if interrupts[0]:
            raise KeyboardInterrupt
        return s * 2

    f, found = wrap(f), []
    for on in (False, False, True, False, True, False, False):
        interrupts[0] = on
        try:
            found.append(f(whole(3, seed=1)))
        except KeyboardInterrupt:
            found.append("interrupted")
        found.append(s.clone())
    return found


@footgun
def tensor_attribute_set_by_the_user(wrap):
    def f(x):
        return x * getattr(x, "scale", 1.0)

    f, found = wrap(f), []
    for k in (1.0, 1.0, 2.0, 2.0):
        x = whole(3)
        x.scale = k
        found.append(f(x))
    return [*found, f(whole(3))]


@footgun
def tensor_in_place_of_a_number_in_a_closure(wrap):
    by = 2.0
    f = wrap(lambda x: x * by)
    found = [f(whole(3)), f(whole(3))]
    by = tracec.tensor(3.0)
    found += [f(whole(3)), f(whole(3))]
    by = tracec.tensor(4.0, dtype=tracec.float64)
    found += [f(whole(3)), f(whole(3))]
    by = None
    by = 5
    return found + [f(whole(3)), f(whole(3))]
