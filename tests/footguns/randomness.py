"""Random numbers: seeds, generators, state."""

from __future__ import annotations

import random

import numpy as np

import tracec
from tests.footguns.harness import footgun, tensor, whole
from tracec import nn
from tracec.utils.checkpoint import checkpoint

F = nn.functional


@footgun
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


@footgun
def python_random(wrap):
    random.seed(0)
    f = wrap(lambda x: x * random.random())
    return [f(tensor(3)) for _ in range(4)]


@footgun
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


@footgun
def generator_as_argument(wrap):
    f = wrap(lambda x, g: x + tracec.rand(3, generator=g))
    a, b = (tracec.Generator().manual_seed(k) for k in (1, 2))
    return [f(whole(3), g) for g in (a, a, b, a, b, b)] + [a.get_state(), b.get_state()]


@footgun
def generator_closure_swapped(wrap):
    g = tracec.Generator().manual_seed(3)
    f = wrap(lambda x: x + tracec.rand(3, generator=g))
    found = [f(whole(3)), f(whole(3))]
    g = tracec.Generator().manual_seed(4)
    return found + [f(whole(3)), f(whole(3)), g.get_state()]


@footgun
def generator_as_attribute_replaced_and_seeded(wrap):
    class A:
        def __init__(s):
            s.g = tracec.Generator().manual_seed(3)

        def __call__(s, x):
            return F.dropout(x, 0.5) + tracec.randint(0, 9, (3,), generator=s.g)

    a = A()
    f = wrap(a)
    found = [f(whole(3)), f(whole(3))]
    a.g.manual_seed(8)
    found += [f(whole(3))]
    a.g = tracec.Generator().manual_seed(8)
    found += [f(whole(3)), f(whole(3))]
    return found


@footgun
def generator_seeded_inside(wrap):
    g = tracec.Generator()

    def f(x):
        g.manual_seed(5)
        return x + tracec.rand(3, generator=g)

    f = wrap(f)
    return [f(whole(3)) for _ in range(3)] + [g.get_state(), g.initial_seed()]


@footgun
def generator_made_inside(wrap):
    def f(x):
        g = tracec.Generator().manual_seed(5)
        return x + tracec.rand(3, generator=g), tracec.rand(2, generator=g)

    f = wrap(f)
    return [f(whole(3)) for _ in range(3)]


@footgun
def seed_that_is_an_argument(wrap):
    def f(x, seed):
        tracec.manual_seed(seed)
        return x + tracec.rand(3)

    f = wrap(f)
    return [f(whole(3), k) for k in (1, 1, 2, 3, 1, 1)] + [tracec.rand(2)]


@footgun
def state_read_and_set_inside(wrap):
    def f(x):
        s = tracec.get_rng_state()
        a = tracec.rand(3)
        tracec.set_rng_state(s)
        return x + a, tracec.rand(3), s

    f = wrap(f)
    tracec.manual_seed(1)
    return [f(whole(3)) for _ in range(3)] + [tracec.get_rng_state()]


@footgun
def state_forked_inside(wrap):
    def f(x):
        a = tracec.rand(3)
        with tracec.random.fork_rng():
            b = tracec.rand(3)
        return x + a, b, tracec.rand(3)

    f = wrap(f)
    tracec.manual_seed(1)
    return [f(whole(3)) for _ in range(3)] + [tracec.get_rng_state()]


@footgun
def state_forked_around(wrap):
    f = wrap(lambda x: x + tracec.rand(3))
    tracec.manual_seed(1)
    found = []
    for _ in range(3):
        with tracec.random.fork_rng():
            found.append(f(whole(3)))
        found.append(f(whole(3)))
    return found


@footgun
def dropout_in_one_branch(wrap):
    f = wrap(lambda x: F.dropout(x, 0.5) if x.sum() > 0 else x * tracec.randint(0, 5, (3,)))
    tracec.manual_seed(1)
    return [f(whole(3, seed=k)) for k in range(8)] + [tracec.rand(2)]


@footgun
def branch_on_a_random_number(wrap):
    f = wrap(lambda x: x * 2 if tracec.rand(()) < 0.5 else x * 3 + tracec.rand(()))
    tracec.manual_seed(1)
    return [f(whole(3, seed=k)) for k in range(12)] + [tracec.rand(2)]


@footgun
def loop_as_long_as_random_numbers_say(wrap):
    def f(x):
        n = 0
        while tracec.rand(()) < 0.6:
            x = x + tracec.randint(0, 3, (3,))
            n += 1
        return x, n

    f = wrap(f)
    tracec.manual_seed(1)
    return [f(whole(3, seed=k)) for k in range(12)] + [tracec.rand(2)]


@footgun
def exception_after_a_draw(wrap):
    on = [False]

    def f(x):
        y = x + tracec.rand(3)
        if on[0]:
            raise ValueError
        return y

    f = wrap(f)
    tracec.manual_seed(1)
    found = []
    for k in (0, 0, 1, 0, 1, 0):
        on[0] = bool(k)
        try:
            found.append(f(whole(3)))
        except ValueError:
            found.append("V")
    return found + [tracec.rand(2)]


@footgun
def state_saved_and_set_again(wrap):
    f = wrap(lambda x: F.dropout(x, 0.5))
    tracec.manual_seed(1)
    f(whole(9))
    f(whole(9))
    s = tracec.get_rng_state()
    a = [f(whole(9)), f(whole(9))]
    tracec.set_rng_state(s)
    return a + [f(whole(9)), f(whole(9))]


@footgun
def mask_of_dropout_in_gradients(wrap):
    w = whole(9, g=True)
    f = wrap(lambda x: F.dropout(x * w, 0.5))
    tracec.manual_seed(1)
    found = []
    for k in range(4):
        w.grad = None
        y = f(whole(9, seed=k))
        y.sum().backward()
        found += [y.detach(), w.grad.clone()]
    return found


@footgun
def dropout_in_a_checkpoint(wrap):
    w = whole(9, g=True)
    f = wrap(lambda x: checkpoint(lambda x: F.dropout(x * w, 0.5) * x, x, use_reentrant=False))
    tracec.manual_seed(1)
    found = []
    for k in range(4):
        w.grad = None
        y = f(whole(9, seed=k))
        y.sum().backward()
        found += [y.detach(), w.grad.clone()]
    return found + [tracec.rand(2)]


@footgun
def two_functions_draw_in_turn(wrap):
    f = wrap(lambda x: x + tracec.rand(3))
    g = wrap(lambda x: x * tracec.rand(3))
    tracec.manual_seed(1)
    return [(f if k % 3 else g)(whole(3)) for k in range(9)] + [tracec.rand(1)]


@footgun
def draw_that_nothing_uses(wrap):
    def f(x):
        tracec.rand(3)
        return x * 2

    f = wrap(f)
    tracec.manual_seed(1)
    return [f(whole(3)) for k in range(3)] + [tracec.rand(1)]


@footgun
def drawn_in_place(wrap):
    def f(x):
        x.uniform_().bernoulli_(0.5)
        return x

    f = wrap(f)
    tracec.manual_seed(1)
    return [f(whole(3)) for k in range(3)]
