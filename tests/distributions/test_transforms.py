"""Transforms: there and back, their determinants, shapes; constraints and what meets them."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import distributions as D
from tracec.distributions import constraints, transforms
from tracec.errors import ArgumentError, ArgumentTypeError

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3))
M = rng.normal(size=(4, 3, 3))

#: name → (make, values): ``make(module of distributions, module of tensors)``.
CASES = {
    "exp": (lambda d, t: d.ExpTransform(), X),
    "affine": (lambda d, t: d.AffineTransform(t.tensor([0.5, 1.0, 2.0]).double(), -2.0), X),
    "affine of vectors": (lambda d, t: d.AffineTransform(1.0, t.tensor([0.5, -1.0, 2.0]).double(), event_dim=1), X),
    "sigmoid": (lambda d, t: d.SigmoidTransform(), X),
    "softplus": (lambda d, t: d.SoftplusTransform(), X),
    "tanh": (lambda d, t: d.TanhTransform(), X),
    "power": (lambda d, t: d.PowerTransform(t.tensor(2.5).double()), np.abs(X)),
    "inverse power": (lambda d, t: d.PowerTransform(t.tensor(-1.5).double()), np.abs(X)),
    "distribution function": (lambda d, t: d.CumulativeDistributionTransform(d.Normal(0.5, 2.0)), X),
    "stick breaking": (lambda d, t: d.StickBreakingTransform(), X),
    "correlations": (lambda d, t: d.CorrCholeskyTransform(), X),
    "independent": (lambda d, t: d.IndependentTransform(d.ExpTransform(), 1), X),
    "reshape": (lambda d, t: d.ReshapeTransform((3,), (1, 3)), X),
    "composed": (lambda d, t: d.ComposeTransform([d.TanhTransform(), d.AffineTransform(1.0, 3.0)]), X),
    "composed of vectors": (lambda d, t: d.ComposeTransform([d.ExpTransform(), d.StickBreakingTransform()]), X),
    "inverse": (lambda d, t: d.ComposeTransform([d.ExpTransform(), d.AffineTransform(0.0, 2.0)]).inv, np.abs(X)),
    "cat": (lambda d, t: d.CatTransform([d.ExpTransform(), d.TanhTransform()], dim=1, lengths=[1, 2]), X),
    "cat of vectors": (
        lambda d, t: d.CatTransform([d.StickBreakingTransform(), d.StickBreakingTransform()], dim=0, lengths=[1, 3]), X
    ),
    "stack": (lambda d, t: d.StackTransform([d.ExpTransform(), d.TanhTransform(), d.SigmoidTransform()], dim=1), X),
}  # fmt: skip
#: Without a determinant.
OTHERS = {
    "abs": (lambda d, t: d.AbsTransform(), np.abs(X)),
    "softmax": (lambda d, t: d.SoftmaxTransform(), X - np.log(np.exp(X).sum(-1, keepdims=True))),
    "lower Cholesky": (lambda d, t: d.LowerCholeskyTransform(), np.tril(M)),
    "positive definite": (lambda d, t: d.PositiveDefiniteTransform(), np.tril(M)),
}


@pytest.mark.parametrize("name", [*CASES, *OTHERS])
def test_there_and_back(name):
    make, values = {**CASES, **OTHERS}[name]
    transform, x = make(D, tracec), tracec.from_numpy(values)
    y = transform(x)
    np.testing.assert_allclose(transform.inv(y).numpy(), values, rtol=1e-7, atol=1e-7)
    if name != "cat of vectors":
        assert tuple(y.shape) == transform.forward_shape(x.shape)
        assert transform.inverse_shape(y.shape) == tuple(x.shape)
    if not name.startswith(("cat", "stack")):
        assert bool(transform.codomain.check(y).all()) and bool(transform.domain.check(x).all())
        assert transform.inv.domain.event_dim == transform.codomain.event_dim


@pytest.mark.parametrize("name", [n for n in CASES if n != "cat of vectors"])
def test_determinants_are_those_of_the_jacobian(name):
    make, values = CASES[name]
    transform, x = make(D, tracec), tracec.from_numpy(values[0])
    if name == "cat":
        transform = D.CatTransform(transform.transforms, dim=0, lengths=[1, 2])
    if name == "stack":
        transform = D.StackTransform(transform.transforms, dim=0)
    found = transform.log_abs_det_jacobian(x, transform(x)).numpy().sum()

    def free(x):
        y = transform(x)
        if name in ("stick breaking", "composed of vectors"):
            return y[:-1]  # the last one is what is left
        return D.utils.tril_matrix_to_vec(y, -1) if name == "correlations" else y.reshape(-1)

    jacobian = tracec.func.jacrev(free)(x).numpy()
    np.testing.assert_allclose(found, np.linalg.slogdet(jacobian)[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", [*CASES, *OTHERS])
def test_against_pytorch(name):
    torch = pytest.importorskip("torch")
    make, values = {**CASES, **OTHERS}[name]
    ours, theirs = make(D, tracec), make(torch.distributions, torch)
    x, z = tracec.from_numpy(values), torch.from_numpy(values)
    y, w = ours(x), theirs(z)
    np.testing.assert_allclose(y.numpy(), w.numpy(), rtol=1e-6, atol=1e-9)
    if name in CASES:
        found, wanted = ours.log_abs_det_jacobian(x, y), theirs.log_abs_det_jacobian(z, w)
        assert tuple(found.shape) == tuple(wanted.shape)
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6, atol=1e-7)
    assert ours.domain.event_dim == theirs.domain.event_dim and ours.codomain.event_dim == theirs.codomain.event_dim
    assert ours.bijective == theirs.bijective
    assert ours.forward_shape((4, 3, 3)) == tuple(theirs.forward_shape((4, 3, 3)))
    try:
        sign = theirs.sign
    except NotImplementedError:
        with pytest.raises(NotImplementedError):
            ours.sign  # noqa: B018
    else:
        np.testing.assert_array_equal(np.asarray(ours.sign), np.asarray(sign))


def test_a_cache_keeps_what_rounding_would_lose():
    x = tracec.tensor([20.0], requires_grad=True)
    lost, kept = D.TanhTransform(), D.TanhTransform(cache_size=1)
    assert lost.inv(lost(x)).isinf().all()
    y = kept(x)
    assert kept.inv(y) is x and kept(x) is y
    policy = D.TransformedDistribution(D.Normal(0.0, 30.0), [D.TanhTransform(cache_size=1)])
    tracec.manual_seed(0)
    action = policy.rsample((100,))
    assert (action.abs() == 1).any() and policy.log_prob(action).isfinite().all()
    assert D.TanhTransform().with_cache(1)._cache_size == 1
    with pytest.raises(ValueError, match="cache_size must be 0 or 1"):
        D.TanhTransform(cache_size=2)


def test_equal_transforms():
    assert D.ExpTransform() == D.ExpTransform() and D.ExpTransform() != D.TanhTransform()
    assert D.AffineTransform(1.0, 2.0) == D.AffineTransform(tracec.tensor(1.0), 2.0)
    assert D.AffineTransform(1.0, 2.0) != D.AffineTransform(1.0, 3.0)
    assert D.PowerTransform(2.0).inv == D.PowerTransform(2.0).inv
    assert D.ComposeTransform([D.ExpTransform()]) == D.ComposeTransform([D.ExpTransform()])


def test_a_transform_of_ones_own():
    class Shift(D.Transform):
        domain = codomain = constraints.real
        bijective = True
        sign = +1

        def _call(self, x):
            return x + 1

        def _inverse(self, y):
            return y - 1

        def log_abs_det_jacobian(self, x, y):
            return tracec.zeros_like(x)

    d = D.TransformedDistribution(D.Normal(0.0, 1.0), [Shift(), Shift().inv, Shift()])
    np.testing.assert_allclose(d.log_prob(tracec.tensor(1.5)), D.Normal(1.0, 1.0).log_prob(tracec.tensor(1.5)))
    np.testing.assert_allclose(d.cdf(tracec.tensor(1.0)), 0.5)
    with pytest.raises(NotImplementedError, match="no formula"):
        D.Transform()(tracec.ones(1))


ERRORS = [
    (ArgumentError, "different numbers of elements", lambda: D.ReshapeTransform((2,), (3,))),
    (ArgumentError, "shape mismatch", lambda: D.ReshapeTransform((2,), (1, 2))(tracec.ones(3))),
    (ArgumentError, "too few dimensions", lambda: D.StickBreakingTransform().forward_shape(())),
    (ArgumentError, "lower-diagonal number", lambda: D.CorrCholeskyTransform().forward_shape((4,))),
    (ArgumentError, "not square", lambda: D.CorrCholeskyTransform().inverse_shape((2, 3))),
    (ArgumentError, "no axis 0 of length 2", lambda: D.CatTransform([D.ExpTransform()] * 2)(tracec.ones(3))),
    (ArgumentError, "takes a list of Transforms", lambda: D.StackTransform([1])),
    (ArgumentError, "must be a Transform", lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), [1])),
    (ArgumentError, "needs shape with at least size 1",
     lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), D.StickBreakingTransform())),
    (ArgumentError, "cannot determine validity", lambda: constraints.dependent.check(tracec.ones(1))),
    (ArgumentError, "lengths of 2 constraints", lambda: constraints.cat([constraints.real] * 2, lengths=[1])),
    (ArgumentTypeError, "expected constraint", lambda: D.biject_to.register(3, lambda c: None)),
    (NotImplementedError, "cannot transform", lambda: D.biject_to(constraints.boolean)),
]  # fmt: skip


@pytest.mark.parametrize("error, message, make", ERRORS, ids=[m for _, m, _ in ERRORS])
def test_errors(error, message, make):
    with pytest.raises(error, match=message):
        make()


# Constraints ------------------------------------------------------------------------------------------

VECTOR, MATRIX = tracec.from_numpy(X), tracec.from_numpy(M)
MET = {
    "real": constraints.real, "positive": constraints.positive, "above": constraints.greater_than(2.0),
    "from": constraints.greater_than_eq(2.0), "below": constraints.less_than(-1.0),
    "unit": constraints.unit_interval, "interval": constraints.interval(-3.0, 5.0),
    "half open": constraints.half_open_interval(1.0, 4.0), "simplex": constraints.simplex,
    "vectors": constraints.real_vector, "correlations": constraints.corr_cholesky,
    "several": constraints.independent(constraints.positive, 1),
    "cat": constraints.cat([constraints.positive, constraints.unit_interval], dim=-1, lengths=[1, 2]),
    "stack": constraints.stack([constraints.positive, constraints.real, constraints.unit_interval], dim=-1),
    "lower Cholesky": constraints.lower_cholesky, "positive definite": constraints.positive_definite,
    "positive semidefinite": constraints.positive_semidefinite,
}  # fmt: skip


@pytest.mark.parametrize("name", MET)
def test_transforms_to_constraints(name):
    constraint = MET[name]
    matrices = "Cholesky" in name or "definite" in name
    for registry in (D.transform_to,) if matrices else (D.transform_to, D.biject_to):
        transform, x = registry(constraint), MATRIX if matrices else VECTOR
        y = transform(x)
        assert bool(constraint.check(y).all())
        if registry is D.biject_to:
            assert transform.bijective
            np.testing.assert_allclose(transform.inv(y).numpy(), x.numpy(), rtol=1e-6, atol=1e-7)


def test_what_constraints_refuse():
    eye, ones = tracec.eye(2), tracec.ones(2, 2)
    refused = {
        constraints.positive_definite: ones, constraints.positive_semidefinite: tracec.tensor([[1.0, 2.0], [2.0, 1.0]]),
        constraints.symmetric: tracec.tensor([[1.0, 2.0], [0.0, 1.0]]), constraints.square: tracec.ones(2, 3),
        constraints.lower_triangular: ones, constraints.corr_cholesky: 2 * eye, constraints.one_hot: ones,
        constraints.positive_integer: tracec.tensor([0.0, 1.5, float("inf")]), constraints.simplex: ones,
    }  # fmt: skip
    for constraint, value in refused.items():
        assert not constraint.check(value).any(), constraint
        if constraint is not constraints.positive_integer and constraint is not constraints.simplex:
            assert constraint.check(eye).all(), constraint
    assert constraints.positive_semidefinite.check(ones)
    assert repr(constraints.interval(0, 1)) == "Interval(lower_bound=0, upper_bound=1)"
    assert repr(constraints.real_vector) == "IndependentConstraint(Real(), 1)"
    assert constraints.is_dependent(D.Uniform.support) and not constraints.is_dependent(D.Normal.support)
    assert transforms.identity_transform(VECTOR) is VECTOR


@pytest.mark.parametrize("diag", [-2, -1, 0])
def test_triangles_as_vectors(diag):
    matrix = tracec.tril(MATRIX, diag)
    back = D.utils.vec_to_tril_matrix(D.utils.tril_matrix_to_vec(matrix, diag), diag)
    assert tracec.equal(back, matrix)
    with pytest.raises(ValueError, match="outside"):
        D.utils.tril_matrix_to_vec(matrix, 3)
