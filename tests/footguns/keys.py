"""Objects as keys of dictionaries, and what tells of their identity."""

from __future__ import annotations

import tracec
from tests.footguns.harness import footgun, whole
from tests.footguns.objects import Plain


@footgun
def key_that_is_equal_by_value(wrap):
    class Keyed:
        def __init__(self, x, k):
            self.x, self.k = x, k

        def __eq__(self, other):
            return self.k == other.k

        def __hash__(self):
            return hash(self.k)

    memo = {Keyed(None, 2): 5.0}
    f = wrap(lambda b: b.x * memo.get(b, 1.0))
    return [f(Keyed(whole(3, seed=k), k % 3)) for k in range(7)]


@footgun
def key_that_is_the_object(wrap):
    a, b = Plain(whole(3)), Plain(whole(3, seed=1))
    memo = {b: 5.0}
    f = wrap(lambda o: o.x * memo.get(o, 1.0))
    found = [f(a), f(Plain(whole(3, seed=2))), f(b), f(Plain(whole(3))), f(b), f(a)]
    memo[a] = 3.0
    return [*found, f(a), f(b), f(Plain(whole(3)))]


@footgun(eager="gives something as a key of a dictionary")
def object_that_becomes_a_key(wrap):
    memo = {}

    def f(o):
        memo[o] = o.x * 2
        return memo[o] + 1

    f, given = wrap(f), [Plain(whole(3, seed=k)) for k in range(5)]
    return [*(f(o) for o in given), len(memo), *(memo[o] for o in given)]


@footgun(eager="the address of an object, id")
def address_of_an_object(wrap):
    known = Plain(whole(3))
    factors = {id(known): 4.0}
    f = wrap(lambda o: o.x * factors.get(id(o), 1.0))
    others = [Plain(whole(3, seed=k)) for k in range(4)]
    return [f(o) for o in (known, *others, known)]


@footgun
def keys_of_dictionaries_that_are_equal_but_of_other_types(wrap):
    f = wrap(lambda d: sum(k * v for k, v in d.items()))
    i = tracec.tensor([1, 2])
    return [f({key: i}) for key in (1, True, 1.0, 1, 1.0, True)]
