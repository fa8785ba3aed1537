"""Products, diagonals, norms, distances and correlations against PyTorch, and their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tests.functions.compare import agree, torch

INTS = np.array([[3, -7, 5], [-2, 9, 4], [1, 0, 2]])
ZEROS = np.zeros((3, 4))
HALF_ZERO = np.array([[1.0, 0.0, -2.0], [0.0, 0.0, 0.0]])
inf = math.inf


@pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated")
@pytest.mark.parametrize(
    "f, shapes",
    [
        (lambda t, a, b: (t.outer(a, b), a.ger(b)), ((3,), (5,))),
        (lambda t, a, b: (t.vdot(a, b), a.dot(b), t.inner(a, b)), ((7,), (7,))),
        (lambda t, a, b: t.inner(a, b), ((2, 3, 5), (4, 5))),
        (lambda t, a, b: t.inner(a, b), ((), (4, 5))),
        (lambda t, a, b: t.tensordot(a, b, 2), ((2, 3, 5), (3, 5, 7))),
        (lambda t, a, b: t.tensordot(a, b, ([0, 2], [1, 0])), ((2, 3, 5), (5, 2, 7))),
        (lambda t, a, b: t.tensordot(a, b, ([0, 1], [2, 0])), ((1, 1, 1), (2, 1, 2))),
        (lambda t, a, b: t.tensordot(a, b, 0), ((2, 1), (3,))),
        (lambda t, a, b: t.kron(a, b), ((2, 3), (5, 1))),
        (lambda t, a, b: t.kron(a, b), ((3,), (2, 1, 2))),
        (lambda t, a, b: a.kron(b), ((), (0, 2))),
        (lambda t, a, b: t.cross(a, b, dim=0), ((3, 4), (3, 1))),
        (lambda t, a, b: a.cross(b, -1), ((2, 1, 3), (1, 4, 3))),
        (lambda t, a, b: t.addr(t.ones(3, 5, dtype=a.dtype), a, b, beta=2, alpha=3), ((3,), (5,))),
        (lambda t, a, b: t.addmv(t.ones(3, dtype=a.dtype), a, b, alpha=0.5), ((3, 5), (5,))),
        (lambda t, a, b: t.addmv(b.detach()[0] * math.nan, a, b, beta=0), ((3, 5), (5,))),
        (lambda t, a, b: t.addbmm(t.ones(3, 2, dtype=a.dtype), a, b, beta=0.5), ((4, 3, 5), (4, 5, 2))),
        (lambda t, a, b: t.addbmm(t.ones(3, 2, dtype=a.dtype), a, b), ((0, 3, 5), (0, 5, 2))),
        (lambda t, a, b: t.baddbmm(t.ones(2, dtype=a.dtype), a, b, alpha=2), ((4, 3, 5), (4, 5, 2))),
        (lambda t, a, b: t.addmm(a[:, :1], a, b, beta=2, alpha=3), ((3, 5), (5, 2))),
        (lambda t, a, b: (a @ b, a.__rmatmul__(b.mT @ b)), ((4, 5), (5, 4))),
        (lambda t, a, b: t.chain_matmul(a, b, a, b), ((2, 7), (7, 2))),
        (lambda t, a, b: t.block_diag(a, b, a[0]), ((2, 3), (1, 4))),
        (lambda t, a, b: t.block_diag(a, b), ((0, 3), ())),
    ],
)
def test_products(f, shapes):
    agree(f, *shapes)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: t.addmm(x, x, x, beta=0.6, alpha=1.7),
        lambda t, x: t.baddbmm(x, x[None], x[None], beta=0.6, alpha=2),
        lambda t, x: t.addr(x, x[0], x[1], beta=2, alpha=-1),
        lambda t, x: t.addr(x, x[0].double(), x[1]),
        lambda t, x: (t.addr(x > 0, x[0] > 0, x[1] > 0), t.outer(x[0], x[1] > 0), t.kron(x, x.float())),
        lambda t, x: (t.trace(x), t.diag_embed(x > 0), t.block_diag(x, x[0].float()), t.cross(x, x, 0)),
        lambda t, x: (t.vander(x[0]), t.vander(x[0], 2, True), t.vander(x[0] > 0), t.vander(x[0], 0)),
    ],
)
def test_integers(f):
    agree(f, INTS)


def test_correlations_of_integers_are_floats():
    agree(lambda t, x: (t.cov(x), t.corrcoef(x), t.cov(x, fweights=x[2])), INTS, rtol=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: t.diag_embed(x),
        lambda t, x: t.diag_embed(x, 1, 0, 2),
        lambda t, x: t.diag_embed(x, -2, dim1=2, dim2=0),
        lambda t, x: (t.diagonal(x, 1), x.diagonal(-1, 1, 0), t.trace(x)),
        lambda t, x: (t.vander(x.detach()[0], 5), t.vander(x.detach()[:, 0], 1)),
        lambda t, x: (t.cov(x), t.cov(x, correction=0), t.cov(x[0]), t.cov(x[:1])),
        lambda t, x: (t.corrcoef(x.detach()), t.corrcoef(x.detach()[0])),
        lambda t, x: t.cov(x, aweights=x.detach()[0].abs()),
        lambda t, x: t.cov(x, aweights=x.detach()[0].abs(), fweights=t.arange(4), correction=2),
    ],
)
def test_diagonals_and_correlations(f):
    agree(f, (3, 4))


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, inf, -inf, -1, "fro"])
@pytest.mark.parametrize("dim", [None, 1, (0, 1)])
def test_norms(p, dim):
    agree(lambda t, x: (t.norm(x, p, dim), x.norm(p, dim, keepdim=True)), (3, 5), none_is_zeros=p == 0)


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, inf])
@pytest.mark.parametrize("x", [ZEROS, HALF_ZERO], ids=["zeros", "half"])
def test_subgradients_where_norms_have_no_slope(p, x):
    agree(lambda t, x: t.norm(x, p, 1), x, none_is_zeros=p == 0)


def test_norms_of_nothing():
    for p in (0, 1, 2, 3):
        agree(lambda t, x, p=p: t.norm(x, p, 0), (0, 3), none_is_zeros=p == 0)
    with pytest.raises(IndexError, match="inf-norm of no elements"):
        tracec.zeros(0, 3).norm(inf, 0)


def test_norm_of_narrow_floats_is_summed_in_float32():
    x = tracec.full((300,), 300.0, dtype=tracec.float16)
    assert x.norm().item() == 5196.0  # the squares do not fit into float16


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 2.5, inf])
def test_distances(p):
    def given(x):
        return x if p else x.detach()  # PyTorch fails to differentiate p = 0

    agree(lambda t, a, b: (t.pairwise_distance(given(a), b.detach(), p), t.dist(given(a), b.detach(), p)), (5, 3), (3,))
    agree(lambda t, a, b: (t.cdist(given(a), given(b), p), t.pdist(given(b), p)), (2, 5, 3), (4, 3))


@pytest.mark.parametrize("shapes", [((30, 7), (5, 7)), ((2, 3), (2, 3)), ((0, 3), (2, 3)), ((2, 0), (3, 0))])
@pytest.mark.parametrize("mode", ["use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist"])
def test_euclidean_distances_by_product(mode, shapes):
    agree(lambda t, a, b: t.cdist(a, b, compute_mode=mode), *shapes)


def test_distance_of_equal_rows_has_no_slope():
    x = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 3.0]])
    agree(lambda t, a: (t.cdist(a, a * 1.0), t.pdist(a)), x)


def test_renorm():
    agree(lambda t, x: (t.renorm(x, 2, 0, 1.0), x.renorm(1, 1, 0.5), t.renorm(x, inf, -1, 0.7)), (3, 2, 5))


COMPILED = [
    lambda t, a, b: t.cdist(a, b),
    lambda t, a, b: t.kron(a, b).sum(0) + t.block_diag(a, b).mean(),
    lambda t, a, b: t.cov(a) @ t.corrcoef(b),
    lambda t, a, b: t.cross(a, b, 1) + t.addmm(a, a @ a.mT, b, beta=2) + t.norm(a, 3, 0),
]


@pytest.mark.parametrize("f", COMPILED)
def test_compiled(f):
    rng = np.random.default_rng(0)
    a, b = (tracec.from_numpy(rng.normal(size=(5, 3))).requires_grad_() for _ in range(2))

    def step(a, b):
        out = f(tracec, a, b)
        return out, *tracec.autograd.grad((out * out).sum(), (a, b))

    program = tracec.compile(step)
    program(a, b)
    for found, expected in zip(program(a, b), step(a, b), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)


ERRORS = {
    "addr scales bools": lambda t: t.addr(t.ones(2, 2, dtype=t.int64), *[t.ones(2, dtype=t.int64)] * 2, beta=0.5),
    "addmm mixed": lambda t: t.addmm(t.ones(2, 2, dtype=t.float64), t.ones(2, 2), t.ones(2, 2)),
    "addmm shape": lambda t: t.addmm(t.ones(3, 3), t.ones(2, 2), t.ones(2, 2)),
    "addbmm batch": lambda t: t.addbmm(t.ones(3, 3), t.ones(2, 3, 4), t.ones(3, 4, 3)),
    "dot mixed": lambda t: t.dot(t.ones(2), t.ones(2, dtype=t.int64)),
    "outer": lambda t: t.outer(t.ones(2, 2), t.ones(2)),
    "cross none": lambda t: t.cross(t.ones(4, 2), t.ones(4, 2)),
    "cross size": lambda t: t.cross(t.ones(4, 2), t.ones(4, 2), dim=1),
    "cross ndim": lambda t: t.cross(t.ones(4, 3), t.ones(3), dim=-1),
    "tensordot": lambda t: t.tensordot(t.ones(2, 3), t.ones(3, 2), dims=([0], [0])),
    "tensordot negative": lambda t: t.tensordot(t.ones(2, 3), t.ones(3, 2), dims=-1),
    "tensordot lists": lambda t: t.tensordot(t.ones(2, 3), t.ones(3, 2), dims=([0, 1], [0])),
    "tensordot mixed": lambda t: t.tensordot(t.ones(2, 3), t.ones(3, 2, dtype=t.int64), 1),
    "inner": lambda t: t.inner(t.ones(2, 3), t.ones(4, 2)),
    "diag_embed": lambda t: t.diag_embed(t.ones(2), dim1=0, dim2=0),
    "block_diag": lambda t: t.block_diag(t.ones(2, 2, 2)),
    "vander": lambda t: t.vander(t.ones(2, 2)),
    "trace": lambda t: t.trace(t.ones(2, 2, dtype=t.bool)),
    "norm ints": lambda t: t.norm(t.ones(2, dtype=t.int64)),
    "norm name": lambda t: t.norm(t.ones(2, 2), "foo"),
    "norm dims": lambda t: t.norm(t.ones(2, 2), 2, (0, 0)),
    "dist": lambda t: t.dist(t.ones(2), t.ones(3)),
    "cdist ints": lambda t: t.cdist(*[t.ones(2, 3, dtype=t.int64)] * 2),
    "cdist half": lambda t: t.cdist(*[t.ones(2, 3, dtype=t.float16)] * 2),
    "cdist mixed": lambda t: t.cdist(t.ones(2, 3), t.ones(2, 3, dtype=t.float64)),
    "cdist columns": lambda t: t.cdist(t.ones(2, 3), t.ones(2, 4)),
    "cdist vector": lambda t: t.cdist(t.ones(2, 3), t.ones(3)),
    "cdist power": lambda t: t.cdist(t.ones(2, 3), t.ones(2, 3), p=-1.0),
    "pdist": lambda t: t.pdist(t.ones(3)),
    "renorm axis": lambda t: t.renorm(t.ones(3), 2, 0, 1.0),
    "renorm power": lambda t: t.renorm(t.ones(3, 2), -2, 0, 1.0),
    "renorm most": lambda t: t.renorm(t.ones(3, 2), 2, 0, -1.0),
    "cov axes": lambda t: t.cov(t.ones(2, 2, 2)),
    "cov bools": lambda t: t.cov(t.ones(2, dtype=t.bool)),
    "cov weights": lambda t: t.cov(t.ones(2, 3), fweights=t.ones(3)),
    "cov count": lambda t: t.cov(t.ones(2, 3), fweights=t.tensor([1, 2])),
    "cov negative": lambda t: t.cov(t.ones(2, 3), aweights=t.tensor([1.0, 2.0, -1.0])),
    "cov nothing": lambda t: t.cov(t.ones(2, 3), fweights=t.tensor([0, 0, 0])),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_of_pytorchs_types(name):
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    with pytest.raises(tracec.errors.TracecError) as ours:
        ERRORS[name](tracec)
    assert isinstance(ours.value, theirs.type), (ours.value, theirs.value)
    assert ours.value.hint
