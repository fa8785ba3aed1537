"""Loops and branches as single operations, over arguments whose sizes vary: in their bodies, and of how many runs."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as tc
from tests.random_programs.check import operator_by_operator
from tests.sizes import compare, of, same
from tracec import nn
from tracec.codegen import c as c_codegen
from tracec.runtime.compiler import Compiler

F = nn.functional
scan, cond, while_loop = tc.func.scan, tc.func.cond, tc.func.while_loop
SIZES = (16, 16, 24, 24, 33, 7, 64, 10, 3, 2, 65, 31, 4, 5, 70)


def _sums(x):
    return scan(lambda c, v: (c + v, c * v), tc.zeros(3), x)


def _backwards(x):
    return scan(lambda c, v: (c * 0.5 + v, (c, c.sum())), tc.zeros(3), x, reverse=True)


def _counted(x):
    return scan(lambda c, _: (c * 0.9 + x.sum(0) / x.shape[0], None), tc.zeros(3), None, length=x.shape[0])[0]


def _sizes_within(x):
    def step(c, v):
        n = v.shape[0]
        return c + v[-1] + v[n // 2] / n, (v * tc.arange(n).unsqueeze(1)).sum(0) + c

    return scan(step, tc.zeros(3), x)


def _nested(x):
    def step(c, v):
        inner, ys = scan(lambda d, u: (d + u * v.shape[0], d), tc.zeros(3), v)
        return c + inner, ys.sum(0)

    return scan(step, tc.zeros(3), x)


def _random(x):
    return scan(lambda c, v: (F.dropout(c, 0.5) + v, tc.randn(v.shape[0])), tc.zeros(x.shape[1], 3), x)


def _branch(x):
    return cond(x.sum() > 0, lambda y: (y * 2, y.sum(0)), lambda y: (y + y.shape[0], y.mean(0)), (x,))


def _branch_in_a_loop(x):
    def step(c, v):
        return cond(v.sum() > 0, lambda c, v: c + v, lambda c, v: c * 0.5 - v.shape[0], (c, v)), None

    return scan(step, tc.zeros(x.shape[1], 3), x)


def _as_long_as(x):
    def test(i, y):
        return (y.square().sum() < 90) & (i < 20)

    return while_loop(test, lambda i, y: (i + 1, y * 1.3 + 1 / y.shape[0]), (tc.tensor(0), x))


def _several_types():
    def function(x):
        def step(c, v):
            return (c[0] + v, c[1] * 0.5 + v.sum()), (c[0] * 2, c[1])

        return scan(step, (tc.zeros(2, dtype=tc.int64), tc.zeros(())), x)

    return lambda n: (tc.randint(-9, 9, (n, 2)),), function


def _weighted(runs, size):
    """Gradients through a loop, and a branch, whose weights are the same in all runs."""

    def make():
        w, b = nn.Parameter(tc.randn(4, 4) * 0.3), nn.Parameter(tc.randn(4))

        def function(x):
            def step(h, v):
                h = tc.tanh(h @ w + v + b)
                return h, h * v

            h, ys = scan(step, tc.zeros(x.shape[1], 4), x)
            y = cond(h.sum() > 0, lambda h: (h @ w).sum(), lambda h: (h + b).mean(), (h,))
            (y + ys.square().mean()).backward()
            found = w.grad.clone(), b.grad.clone()
            w.grad = b.grad = None
            return found

        return lambda n: (tc.randn(runs or n, size or n + 1, 4),), function

    return make


PROGRAMS = {
    "runs": of((None, 3), _sums), "size": of((4, None, 3), lambda x: scan(lambda c, v: (c + v, c.sum(0)), x[0], x)),
    "both": of((None, None, 3), lambda x: scan(lambda c, v: (c + v, c.mean(0)), x[0], x)),
    "backwards": of((None, 3), _backwards), "counted": of((None, 3), _counted),
    "sizes_within": of((5, None, 3), _sizes_within), "nested": of((3, None, 3), _nested),
    "nested_runs": of((None, 4, 3), _nested), "random": of((4, None, 3), _random), "branch": of((None, 3), _branch),
    "branch_in_a_loop": of((4, None, 3), _branch_in_a_loop), "as_long_as": of((None, 3), _as_long_as),
    "several_types": _several_types, "weighted_runs": _weighted(None, 3), "weighted_size": _weighted(5, None),
    "weighted_both": _weighted(None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_recordings_serve_all_sizes(name):
    assert len(compare(PROGRAMS[name], SIZES).explain().recordings) == 2


def _classifier(kind):
    def make():
        table, layer, out = nn.Embedding(20, 6), getattr(nn, kind)(6, 8), nn.Linear(8, 3)
        optimiser = tc.optim.Adam([*table.parameters(), *layer.parameters(), *out.parameters()])

        def step(words, y):
            optimiser.zero_grad()
            loss = F.cross_entropy(out(layer(table(words))[0].mean(0)), y)
            loss.backward()
            optimiser.step()
            return loss

        def draw(n):
            length, batch = PAIRS[n]
            return tc.randint(0, 20, (length, batch)), tc.randint(0, 3, (batch,))

        return draw, step

    return make


#: Lengths and batch sizes; equal by accident, too.
PAIRS = (
    (10, 8), (10, 8), (7, 5), (20, 16), (2, 3), (9, 7), (11, 2), (5, 31), (6, 6), (13, 9), (4, 4), (3, 12), (17, 10),
    (8, 13), (11, 11), (6, 17), (14, 23), (12, 19), (2, 14), (2, 2), (4, 70),
)  # fmt: skip


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_recurrent_classifier_is_recorded_twice(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    builds = []
    build = Compiler._build
    monkeypatch.setattr(Compiler, "_build", lambda self, units: builds.append(units) or build(self, units))
    compiled = compare(_classifier(kind), range(len(PAIRS)))
    assert len(compiled.explain().recordings) == 2
    assert len(builds) <= 4  # with the helper that calls programs


def test_products_in_a_loop_of_any_length_are_each_on_one_thread(monkeypatch):
    written = []

    def render(*given, render=c_codegen.render, **options):
        written.append(render(*given, **options))
        return written[-1]

    monkeypatch.setattr(c_codegen, "render", render)
    weight = tc.randn(64, 64)

    def step(h, x):
        h = (h @ weight + x).tanh()
        return h, h

    compare(of((None, 300, 64), lambda x: scan(step, tc.zeros(300, 64), x)), (5, 6, 7))
    assert [bool(program.sizes) for program in written] == [False, True]
    assert all("lib->sgemm(" in str(p) and "lib->begin(lib);" in str(p) for p in written)


def test_sizes_of_none_and_one():
    for name in ("runs", "size"):
        compiled = compare(PROGRAMS[name], (5, 5, 6, 1, 1, 7, 1, 2))
        assert len(compiled.explain().recordings) == 3


def test_a_loop_without_runs_is_compiled():
    compiled = compare(PROGRAMS["runs"], (5, 5, 0, 0, 6, 0))
    assert len(compiled.explain().recordings) == 3
    assert "eagerly" not in compiled.explain()


def test_gradients_outside_of_the_function():
    layers = []
    for _ in range(2):
        tc.manual_seed(0)
        layers.append(nn.LSTM(3, 4))
    compiled = tc.compile(lambda x: layers[1](x)[0])
    for length, batch in PAIRS:
        x = tc.randn(length, batch, 3)
        layers[0](x)[0].square().mean().backward()
        compiled(x).square().mean().backward()
        for a, b in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
            same(a.grad, b.grad, (length, batch))
            a.grad = b.grad = None
    assert len(compiled.explain().recordings) == 2


def test_a_body_of_many_sizes_is_none_of_one():
    """What is known of loops of the same structure is not taken for sizes of another function."""
    first, second = (tc.compile(lambda x: _sizes_within(x * 1)) for _ in range(2))
    for n in (4, 5, 6, 7):
        x = tc.randn(5, n, 3)
        found = first(x), second(x), _sizes_within(x), tc.compile(_sizes_within, dynamic=False)(x)
        for some in found:
            for a, b in zip(found[2], some, strict=True):
                same(a, b, n)


def test_many_sizes_where_there_is_no_compiler():
    with operator_by_operator():
        for name in ("weighted_both", "as_long_as", "branch_in_a_loop"):
            assert len(compare(PROGRAMS[name], (5, 5, 6, 3, 9)).explain().recordings) == 2


def test_a_loop_in_the_function_goes_by_a_size_of_the_body():
    def function(x):
        def step(c, v):
            for k in range(v.shape[0]):
                c = c + v[k] * k
            return c, None

        return scan(step, tc.zeros(3), x)[0]

    compiled = compare(of((4, None, 3), function), (3, 3, 4, 5, 5))
    assert len(compiled.explain().recordings) == 3
    assert "size(0, 1) is as recorded: the function goes by" in compiled.explain()
    np.testing.assert_allclose(compiled(tc.ones(4, 3, 3)).numpy(), np.full(3, 12.0), rtol=1e-6)
