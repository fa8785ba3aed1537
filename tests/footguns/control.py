"""Exceptions, nesting, recursion, threads, values that are asked for, positions out of range."""

from __future__ import annotations

import threading

import tracec
from tests.footguns.harness import footgun, tensor
from tracec import nn

F = nn.functional


@footgun
def exception_first(wrap):
    w = tensor(3)
    boom = [True]

    def f(x):
        w.add_(1)
        if boom[0]:
            raise ValueError("boom")
        return w * x

    f = wrap(f)
    found = []
    for b in (True, True, False, False, True, False):
        boom[0] = b
        try:
            found.append(f(tensor(3)))
        except ValueError:
            found.append("V")
        found.append(w.clone())
    return found


@footgun
def exception_shape(wrap):
    w = tensor(3)

    def f(x):
        w.add_(1)
        return w * x

    f = wrap(f)
    found = []
    for n in (3, 4, 3, 4, 3):
        try:
            found.append(f(tensor(n)))
        except Exception as e:
            found.append(type(e).__name__)
        found.append(w.clone())
    return found


@footgun
def nested_compiled(wrap):
    g = wrap(lambda x: x * 2)
    w = tensor(3, g=True)
    f = wrap(lambda x: g(x) + g(w))
    found = []
    for i in range(3):
        w.grad = None
        y = f(tensor(3, seed=i))
        y.sum().backward()
        found += [y.detach(), w.grad.clone(), g(tensor(3, seed=i))]
    return found


@footgun
def nested_compiled_state(wrap):

    class S:
        k = 1.0

    s = S()
    s.k = 1.0
    g = wrap(lambda x: x * s.k)
    f = wrap(lambda x: g(x) + 1)
    found = []
    for k in (1.0, 1.0, 2.0, 1.0):
        s.k = k
        found.append(f(tensor(3)))
    return found


@footgun
def recursive(wrap):

    def fact(x, n):
        return x if n == 0 else f(x * n, n - 1)

    f = wrap(fact)
    found = []
    for n in (3, 3, 2, 4):
        found.append(f(tensor(3), n))
    return found


@footgun(eager="returns an object of type generator")
def generator_fn(wrap):

    def f(x):
        for i in range(3):
            yield (x * i)

    f = wrap(f)
    found = []
    for i in range(3):
        found += list(f(tensor(3, seed=i)))
    return found


@footgun
def threads(wrap):
    w = tensor(64, 64)
    f = wrap(lambda x: tracec.tanh(x @ w) @ w)
    out = {}

    def run(k):
        out[k] = [f(tensor(100, 64, seed=k * 10 + i)) for i in range(10)]

    ts = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    return [o for k in sorted(out) for o in out[k]]


@footgun
def item_branch(wrap):
    f = wrap(lambda x: x * 2 if x.sum() > 0 else x * 3)
    return [f(tensor(3, seed=i)) for i in range(6)]


@footgun
def embedding_oob(wrap):
    m = nn.Embedding(5, 3)
    with tracec.no_grad():
        m.weight.copy_(tensor(5, 3))
    f = wrap(m)
    found = []
    for i in ([0, 1], [4, 2], [0, 5], [1, 1], [0, -1], [-6, 0], [10**9, 0], [0, 1]):
        try:
            found.append(f(tracec.tensor(i)))
        except IndexError as e:
            found.append(type(e).__name__)
    return found


@footgun
def index_oob(wrap):
    f = wrap(lambda x, i: x[i])
    found = []
    for i in ([0, 1], [4, 2], [0, 5], [1, 1], [0, -1], [-6, 0]):
        try:
            found.append(f(tensor(5, 2), tracec.tensor(i)))
        except IndexError as e:
            found.append(type(e).__name__)
    return found


@footgun(rounded=1e-6)
def crossent_oob(wrap):
    f = wrap(lambda x, i: F.cross_entropy(x, i))
    found = []
    for i in ([0, 1], [2, 2], [0, 3], [-1, 1], [0, -100]):
        try:
            found.append(f(tensor(2, 3), tracec.tensor(i)))
        except Exception as e:
            found.append(type(e).__name__)
    return found


@footgun
def gather_oob(wrap):
    f = wrap(lambda x, i: tracec.gather(x, 1, i))
    found = []
    for i in ([[0, 1]], [[2, 2]], [[0, 3]], [[-1, 1]]):
        try:
            found.append(f(tensor(2, 3), tracec.tensor(i)))
        except Exception as e:
            found.append(type(e).__name__)
    return found


@footgun
def scatter_oob(wrap):
    added = tensor(1, 2)
    f = wrap(lambda x, i: x.clone().scatter_add_(1, i, added))
    found = []
    for i in ([[0, 1]], [[2, 2]], [[0, 3]], [[-1, 1]]):
        try:
            found.append(f(tensor(2, 3), tracec.tensor(i)))
        except Exception as e:
            found.append(type(e).__name__)
    return found


@footgun
def onehot_oob(wrap):
    if not hasattr(F, "one_hot"):
        return []
    f = wrap(lambda i: F.one_hot(i, 3))
    found = []
    for i in ([0, 1], [2, 2], [0, 3], [1, 1]):
        try:
            found.append(f(tracec.tensor(i)))
        except Exception as e:
            found.append(type(e).__name__)
    return found


@footgun
def take_idxselect_oob(wrap):
    f = wrap(lambda x, i: (tracec.index_select(x, 0, i), tracec.take(x, i)))
    found = []
    for i in ([0, 1], [4, 2], [0, 5], [1, 1]):
        try:
            found += list(f(tensor(5), tracec.tensor(i)))
        except Exception as e:
            found.append(type(e).__name__)
    return found


@footgun(eager="returns x[i]")
def index_computed_from_floats(wrap):
    f = wrap(lambda x, k: (x[x.argmax()], x[(x * k).long().sum().clamp(0, 3)], x[x.sort()[1]]))
    found = []
    for i in range(3):
        found += list(f(tensor(4, seed=i), 2.0))
    return found


@footgun
def a_flag_turned_beside_a_decision(wrap):
    class State:
        on = True

    state = State()
    state.on = True

    def f(x):
        y = x if (x > 0).any() else -x
        state.on = not state.on
        return y * 2

    f = wrap(f)
    found = []
    for sign in (1, 1, 1, -1, 1, 1, -1, -1):
        found += [f(tensor(3).abs() * sign), state.on]
    return found
