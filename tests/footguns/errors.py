"""Calls that raise half way: what they raise, and what they have written, set and drawn until then."""

from __future__ import annotations

import random

import numpy as np

import tracec
import tracec.nn.functional as F
from tests.footguns.harness import footgun, whole
from tracec import nn


def until(wrap, functions, calls):
    """What calls give or raise, and leave in what they are given and in generators; the same for each function."""
    found = []
    for function in functions:
        random.seed(0), np.random.seed(0), tracec.manual_seed(0)
        f = wrap(function)
        for make in calls:
            given = make()
            try:
                found.append(f(*given))
            except Exception as error:
                found += [type(error).__name__, str(error)]
            found += [given, random.random(), np.random.rand(), tracec.rand(1)]
    return found


def of_indices(*several):
    return [lambda k=k: (whole(5), tracec.tensor(k)) for k in several]


INDICES = of_indices([1, 2], [1, 2], [0, 4], [0, 7], [3, 3], [-9, 1], [2, 1])


@footgun
def index_out_of_range_between_draws(wrap):
    functions = [
        lambda x, i: tracec.rand(2) + x[i] + tracec.rand(2), lambda x, i: random.random() + x[i] + random.random(),
        lambda x, i: np.random.rand() + x[i] + np.random.rand(), lambda x, i: F.dropout(x, 0.5).gather(0, i),
        lambda x, i: tracec.take(x + random.gauss(0, 1), i) + tracec.randn(2),
        lambda x, i: F.one_hot(i, 5) + np.random.rand() + tracec.rand(1),
    ]  # fmt: skip
    return until(wrap, functions, INDICES)


@footgun
def index_out_of_range_between_writes(wrap):
    seen = {"calls": 0, "done": 0}

    def write(x, i):
        x.add_(1)
        seen["calls"] += 1
        y = x[i] * random.random()
        seen["done"] += 1
        x.mul_(2)
        return y, dict(seen)

    def scatter(x, i):
        x.mul_(2).scatter_(0, i, tracec.rand(1).item())
        return x.add_(1)

    return until(wrap, [write, scatter], INDICES)


@footgun
def index_that_is_computed_from_floats(wrap):
    def write(x, y):
        x.add_(1)
        z = x[(y * 8).long()] * tracec.rand(1)
        x.mul_(2)
        return z

    def decide(x, y):
        z = x[(y * 8).long()] + random.random()
        return z * 2 if z.sum() > -100 else z

    calls = [lambda k=k: (whole(5), tracec.tensor(k)) for k in ([0.25], [0.25], [0.5], [0.875], [0.0], [-1.0], [-0.5])]
    return until(wrap, [write, decide, lambda x, y: x[(y * 8).long()]], calls)


@footgun
def classes_and_embeddings_out_of_range(wrap):
    embedding = nn.Embedding(5, 2)
    with tracec.no_grad():
        embedding.weight.copy_(whole(5, 2))

    def loss(x, i):
        return F.cross_entropy(F.dropout(x.expand(2, 5) * 1.0, 0.5), i) * tracec.rand(1)

    return until(wrap, [loss, lambda x, i: F.dropout(embedding(i).detach() + x.sum(), 0.5)], INDICES)


@footgun(rounded=1e-6)  # what is multiplied and added is rounded once
def conditions_on_values_that_a_function_tests(wrap):
    def demand(x, i):
        y = x[:2] * random.random() + tracec.rand(1)
        assert (i < 5).all(), "too large"
        if i.min() < 0:
            raise ValueError(f"{i.min().item()} is below zero")
        return y + random.random()

    return until(wrap, [demand, lambda x, i: x * (random.random() / (i[1].item() - 3))], INDICES)


@footgun
def parameters_of_distributions_that_are_none(wrap):
    functions = [
        lambda x, w: tracec.multinomial(w, 2, replacement=True) + tracec.rand(1),
        lambda x, w: tracec.bernoulli(w) * random.random() + x.add_(1)[:2],
    ]
    weights = (
        [0.25, 0.5],
        [0.25, 0.5],
        [0.0, 1.0],
        [0.0, 0.0],
        [0.5, 1.0],
        [-1.0, 1.0],
        [float("nan"), 1.0],
        [0.5, 2.0],
    )
    return until(wrap, functions, [lambda w=w: (whole(5), tracec.tensor(w)) for w in weights])


@footgun
def matrices_that_have_no_factors(wrap):
    def solve(x, k):
        x.add_(1)
        y = tracec.linalg.cholesky(tracec.eye(2) * k) * tracec.rand(1)
        x.mul_(2)
        return y

    calls = [lambda k=k: (whole(5), tracec.tensor(k)) for k in (4.0, 4.0, 1.0, -1.0, 9.0)]
    return until(wrap, [solve, lambda x, k: tracec.linalg.inv(tracec.eye(2) * (k - 1)) + random.random()], calls)


@footgun
def lookups_out_of_range_of_many_sizes(wrap):
    def look(table, i):
        return table[i] * table[(table[:1] * 0 + i[0]).long()] + tracec.rand(1)

    sizes = ((5, 2), (5, 2), (6, 5), (7, 6), (7, 7), (9, 8), (9, 9), (4, 3), (4, 4), (12, 11))
    calls = [lambda n=n, k=k: (whole(n), tracec.tensor([0, k])) for n, k in sizes]
    calls += [lambda n=n, k=k: (whole(n), tracec.tensor([k, 0])) for n, k in sizes]
    return until(wrap, [look], calls)


@footgun
def going_back_once_more(wrap):
    w, found = whole(3, g=True), []
    functions = [
        lambda x: w * 2.0, lambda x: w * w, lambda x: (w * x).exp() + 1, lambda x: w.sum() * 1.0,
        lambda x: tracec.relu(w).view(3, 1), lambda x: tracec.stack([w * x, w]).unbind()[0],
    ]  # fmt: skip
    for f in map(wrap, functions):
        for _ in range(3):
            y = f(whole(3))
            found.append(str(y))
            for _ in range(2):
                try:
                    y.sum().backward()
                except Exception as error:
                    found += [type(error).__name__, str(error)]
    return [*found, w.grad]


@footgun
def going_back_from_what_a_function_went_back_from(wrap):
    w, found = whole(3, g=True), []

    def step(x):
        loss = (w * x).exp().sum()
        loss.backward()
        return loss

    step = wrap(step)
    for _ in range(3):
        loss = step(whole(3))
        found += [loss.grad_fn.name(), w.grad.clone()]
        try:
            loss.backward()
        except Exception as error:
            found += [type(error).__name__, str(error)]
    return found


@footgun(rounded=1e-6)  # as above
def values_that_distributions_do_not_have(wrap):
    D = tracec.distributions

    def scaled(s, v):
        return D.Normal(s * 0, s).log_prob(v)

    def chosen(s, v):
        return D.Categorical(tracec.softmax(v, 0)).log_prob((s * 4).floor().long())

    def drawn(s, v):
        low = D.Uniform(v, s).sample()
        return D.Geometric(tracec.clamp(s, max=1.0)).log_prob(low.floor()), low

    scales = (0.25, 0.5, 0.5, -1.0, 1.0, 0.75, 0.0, float("nan"), 0.5)
    sizes = (5, 5, 5, 5, 5, 3, 5, 5, 5)
    calls = [lambda s=s, n=n: (tracec.tensor(s), whole(n) - 5) for s, n in zip(scales, sizes, strict=True)]
    return until(wrap, (scaled, chosen, drawn), calls)
