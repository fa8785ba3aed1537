"""Random numbers: seeds, generators, state."""

from __future__ import annotations

import random

import numpy as np

import tracec
from tests.footguns.harness import footgun, tensor
from tracec import nn

F = nn.functional


@footgun(rounded=1e-6)
def random_seeded(wrap):
    f = wrap(lambda x: x + tracec.rand(3) + tracec.randn(3) + F.dropout(x, 0.5))
    found = []
    for s in (0, 0, 1):
        tracec.manual_seed(s)
        found += [f(tensor(3)), f(tensor(3)), tracec.rand(2)]
    return found


@footgun
def randperm_randint(wrap):
    f = wrap(lambda x: (x[tracec.randperm(5)], tracec.randint(0, 10, (4,))))
    found = []
    tracec.manual_seed(0)
    for _s in range(3):
        found += list(f(tensor(5)))
    return found


@footgun
def generator_obj(wrap):
    g = tracec.Generator()
    g.manual_seed(3)
    f = wrap(lambda x: x + tracec.rand(3, generator=g))
    return [f(tensor(3)) for _ in range(4)]


@footgun(eager="draws numbers from Python's or NumPy's generators")
def python_random(wrap):
    random.seed(0)
    f = wrap(lambda x: x * random.random())
    return [f(tensor(3)) for _ in range(4)]


@footgun(eager="draws numbers from Python's or NumPy's generators")
def numpy_random(wrap):
    rng = np.random.default_rng(0)
    f = wrap(lambda x: x * rng.random())
    return [f(tensor(3)) for _ in range(4)]


@footgun
def seed_inside(wrap):

    def f(x):
        tracec.manual_seed(5)
        return x + tracec.rand(3)

    f = wrap(f)
    return [f(tensor(3)) for _ in range(3)] + [tracec.rand(2)]
