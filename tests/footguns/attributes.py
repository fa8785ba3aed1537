"""How objects hold their attributes: in dictionaries that are replaced or stored, in each other, by way of classes."""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.footguns.harness import footgun, whole
from tests.footguns.objects import Batch, Plain


@footgun
def attribute_and_method_of_a_kind_of_dictionary(wrap):
    class Settings(dict):
        def factor(self):
            return self["a"] * self.k

    d = Settings(a=2.0)
    d.k = 3.0
    f = wrap(lambda x: x * d.factor())
    found = [f(whole(3)), f(whole(3))]
    d.k = 5.0
    found += [f(whole(3)), f(whole(3))]
    Settings.factor = lambda self: 7.0
    return [*found, f(whole(3)), f(whole(3))]


@footgun
def class_of_an_object_that_changes(wrap):
    class Other(Plain):
        def __getattr__(self, name):
            return 3.0

    a = Plain(whole(3))
    f = wrap(lambda x: x * getattr(a, "k", 2.0))
    found = [f(whole(3)), f(whole(3))]
    a.__class__ = Other
    return [*found, f(whole(3)), f(whole(3))]


@footgun
def attributes_replaced_at_once(wrap):
    a = Plain(None)
    a.k = 2.0
    f = wrap(lambda x: x * a.k)
    found = [f(whole(3)), f(whole(3))]
    a.__dict__ = {"k": 5.0}
    return [*found, f(whole(3)), f(whole(3))]


@footgun(eager="changes o.__dict__")
def function_that_replaces_attributes_at_once(wrap):
    def f(o):
        o.__dict__ = {"x": o.x * 2}
        return o.x

    f, found = wrap(f), []
    for k in range(4):
        o = Plain(whole(3, seed=k))
        found += [f(o), sorted(vars(o)), o.x]
    return found


@footgun
def dictionary_of_attributes_that_is_stored(wrap):
    kept = {}

    def f(o):
        kept["of"] = vars(o)
        return o.x * 2

    f, found = wrap(f), []
    for k in range(5):
        o = Plain(whole(3, seed=k))
        found += [f(o), kept["of"] is vars(o)]
    return found


@footgun
def objects_that_hold_each_other(wrap):
    class Tree:
        def __init__(self, x, above=None):
            self.x, self.above, self.below = x, above, []

    def grown(k):
        root = Tree(whole(3, seed=k))
        root.below = [Tree(whole(3, seed=k + 1), root), Tree(whole(3, seed=k + 2), root)]
        return root

    f = wrap(lambda root: root.x + sum(t.x * t.above.x for t in root.below))
    return [f(grown(k)) for k in range(5)]


@footgun
def one_object_in_two_attributes(wrap):
    def f(b):
        b.x.x = b.x.x * 2
        return b.y.x

    f, found = wrap(f), []
    for k in range(5):
        one = Plain(whole(3, seed=k))
        found += [f(Batch(one, one)), f(Batch(Plain(whole(3, seed=k)), Plain(whole(3))))]
    return found


@footgun
def attribute_that_is_no_field(wrap):
    @dataclasses.dataclass
    class Extended:
        x: Any

        def __post_init__(self):
            self.twice = self.x * 2

    f = wrap(lambda x: Extended(x))
    return [f(whole(3, seed=k)).twice for k in range(4)]
