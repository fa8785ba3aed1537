"""Rows of what is joined are found once, and norms over more or fewer parts share their loops."""

import re

import numpy as np
import pytest

import tracec
from tracec.nn import functional as F


def parts(count, rows=4, batch=3, seed=0, dtype=tracec.float32):
    rng = np.random.default_rng(seed + count)
    return [tracec.tensor(rng.standard_normal((batch, rows, 6, 6)), dtype=dtype) for _ in range(count)]


def norm(xs):
    return F.batch_norm(tracec.cat(xs, 1), None, None, training=True).relu()


FUNCTIONS = {
    "norm": norm,
    "norm after a part that is computed": lambda xs: norm([xs[0] * 2 + 1, *xs[1:]]),
    "norm before a part that is computed": lambda xs: norm([*xs[:-1], xs[-1].exp()]),
    "norm with one of other rows": lambda xs: norm([xs[0][:, :1], *xs[1:]]),
    "norm of what is joined twice": lambda xs: norm([tracec.cat(xs, 1) * 2, *xs]),
    "norm of one part twice": lambda xs: norm([xs[0], *xs, xs[0]]),
    "norm of a sum": lambda xs: norm([tracec.cat(xs, 1) + tracec.cat(xs[::-1], 1)]),
    "the last axis": lambda xs: tracec.cat(xs, 3).softmax(3),
    "norm of samples": lambda xs: F.instance_norm(tracec.cat(xs, 1)),
    "norm of rows of a batch": lambda xs: F.layer_norm(tracec.cat(xs, 0), (6, 6)),
    "sum": lambda xs: tracec.cat(xs, 1).square().sum((2, 3)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("dtype", [tracec.float32, tracec.float64, tracec.bfloat16])
def test_values_are_those_of_eager(name, count, dtype):
    f, xs = FUNCTIONS[name], parts(count, dtype=dtype)
    compiled = tracec.compile(f)
    got = [compiled(xs) for _ in range(2)][1].to(tracec.float64)
    rough = 2e-2 if dtype is tracec.bfloat16 else 1e-5
    np.testing.assert_allclose(got.numpy(), f(xs).to(tracec.float64).numpy(), rtol=rough, atol=rough)


def source(f, *args):
    return tracec.compile(f).lower(*args).stages["source"]


def test_no_element_is_asked_what_part_it_is_of():
    text = source(norm, parts(5))
    body = text[text.index("k0_") :]
    assert body.count("while (i0 >= row0_stops[row0_part])") == 1 and "?" not in body


def test_norms_over_ever_more_parts_are_one_text():
    def dense(xs):
        return [norm(xs[:n]) for n in range(2, 7)]

    xs = parts(6, rows=32, batch=8)
    text = source(dense, xs)
    assert len(re.findall(r"^HIDDEN .*void alike.*\{$", text, re.M)) == 1
    assert text.count("for (long r1") == 3, "passes over a row: its sum, its variance, its results"
    for got, want in zip(tracec.compile(dense).lower(xs).run(xs), dense(xs), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, atol=1e-5)


def test_results_of_products_meet_rows_of_what_is_joined():
    weight = tracec.tensor(np.random.default_rng(9).standard_normal((16, 8, 3, 3)), dtype=tracec.float32)

    def f(xs, y):
        return [F.conv2d(y, weight[: 4 * n], padding=1) * tracec.cat(xs[:n], 1) for n in (3, 4)]

    xs, (y,) = parts(4, batch=2), parts(1, rows=8, batch=2)
    text = source(f, xs, y)
    assert len(re.findall(r"^HIDDEN void piece\d+_finish.*\{$", text, re.M)) == 1 and "row0_stops[row0_part]" in text
    for got, want in zip(tracec.compile(f).lower(xs, y).run(xs, y), f(xs, y), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-4, atol=1e-4)


def test_batches_that_vary_have_rows_too():
    compiled = tracec.compile(norm, dynamic=True)
    for batch in (3, 2, 5):
        xs = parts(4, batch=batch)
        np.testing.assert_allclose(compiled(xs).numpy(), norm(xs).numpy(), rtol=1e-5, atol=1e-5)


def test_gradients_of_a_dense_block():
    def f(*xs):
        made = list(xs)
        for _ in range(3):
            made.append(norm(made).mean(1, keepdim=True) * xs[0])
        return tracec.cat(made, 1).square().mean()

    xs = [x.requires_grad_() for x in parts(3)]
    step = tracec.compile(lambda: tracec.autograd.grad(f(*xs), xs))
    got = [step() for _ in range(2)][1]
    for g, want in zip(got, tracec.autograd.grad(f(*xs), xs), strict=True):
        np.testing.assert_allclose(g.numpy(), want.numpy(), rtol=1e-4, atol=1e-5)
