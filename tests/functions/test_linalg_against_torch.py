"""tracec.linalg and the older names of linear algebra against PyTorch: values, dtypes, gradients and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tests.functions.compare import agree, torch
from tracec.linalg import LinAlgError

pytestmark = pytest.mark.filterwarnings("ignore:torch.* is deprecated in favor of")
RNG = np.random.default_rng(0)
inf = math.inf
INTEGERS = np.arange(4).reshape(2, 2)


@pytest.fixture(autouse=True)
def same_numbers_for_each_test():
    global RNG
    RNG = np.random.default_rng(0)


def regular(*shape):
    return RNG.normal(size=shape) + 3 * np.eye(shape[-1])


def definite(*shape):
    x = RNG.normal(size=shape)
    return x @ np.swapaxes(x, -2, -1) + np.eye(shape[-1])


def symmetric(*shape):
    x = RNG.normal(size=shape)
    return x + np.swapaxes(x, -2, -1)


def rank_one(m, n):
    return np.outer(np.arange(1.0, m + 1), np.arange(2.0, n + 2))


SQUARE = [regular(4, 4), regular(2, 3, 3, 3), regular(1, 1), np.zeros((0, 0)), np.zeros((2, 0, 0)), np.zeros((0, 2, 2))]
ANY = [RNG.normal(size=s) for s in [(5, 3), (3, 5), (2, 4, 4), (1, 3), (3, 1), (0, 3), (3, 0), (2, 1, 4, 2)]]


def checked(f, *arrays, **options):
    agree(f, *arrays, rtol=1e-7, atol=1e-8, **options)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, a: (t.linalg.inv(a), t.inverse(a), a.inverse()),
        lambda t, a: (t.linalg.det(a), t.det(a), a.det(), *t.linalg.slogdet(a), *a.slogdet(), t.logdet(a @ a)),
        lambda t, a: (t.linalg.inv_ex(a), t.linalg.matrix_rank(a)),
        lambda t, a: (t.linalg.matrix_exp(a), t.matrix_exp(a * 0.01), t.linalg.matrix_exp(a * 3)),
        lambda t, a: [t.linalg.matrix_power(a, n) for n in (-2, -1, 0, 1, 2, 5)],
        lambda t, a: (t.linalg.lu_factor(a), t.linalg.lu_factor_ex(a), t.lu(a, get_infos=True)),
        lambda t, a: t.linalg.lu(a),
        lambda t, a: t.lu_unpack(*t.linalg.lu_factor(a)),
    ],
)
@pytest.mark.parametrize("a", SQUARE, ids=lambda a: str(a.shape))
def test_square(f, a):
    checked(f, a)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, a: (t.linalg.cholesky(a), t.cholesky(a), t.linalg.cholesky(a, upper=True), a.cholesky(True)),
        lambda t, a: t.linalg.cholesky_ex(a),
        lambda t, a: t.cholesky_inverse(t.linalg.cholesky(a)),
        lambda t, a: t.cholesky_inverse(t.linalg.cholesky(a, upper=True), upper=True),
        lambda t, a: t.cholesky_solve(a[..., :2], t.linalg.cholesky(a)),
        lambda t, a: t.cholesky_solve(a[..., :2], t.linalg.cholesky(a, upper=True), True),
        lambda t, a: (t.linalg.eigvalsh(a), t.linalg.eigvalsh(a, UPLO="U"), t.linalg.eigh(a).eigenvalues),
        lambda t, a: (t.linalg.pinv(a, hermitian=True), t.linalg.matrix_rank(a, hermitian=True)),
    ],
)
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (1, 1), (2, 0, 0)])
def test_symmetric(f, shape):
    checked(f, definite(*shape))


def test_one_triangle_is_read():
    x = regular(4, 4) + 5 * np.eye(4)
    checked(lambda t, a: (t.linalg.cholesky(a.detach()), t.linalg.cholesky(a.detach(), upper=True)), x)
    checked(lambda t, a: (t.linalg.eigvalsh(a.detach()), t.linalg.eigvalsh(a.detach(), "U")), x)
    checked(lambda t, a: (t.linalg.solve_triangular(a, a, upper=False), t.cholesky_inverse(a.detach())), x)


def test_eigenvectors():
    # Up to their signs, which differ from library to library.
    checked(lambda t, a: (t.linalg.eigh(a).eigenvectors.abs(), t.linalg.eigh(a, UPLO="u")[1] ** 2), symmetric(3, 4, 4))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, a: (t.linalg.svdvals(a), t.linalg.svd(a).S, t.svd(a).S, t.svd(a.detach(), compute_uv=False)),
        lambda t, a: [x.abs() for x in t.linalg.svd(a, full_matrices=False)],
        lambda t, a: [x.abs() for x in t.svd(a)],
        lambda t, a: (lambda u, s, vh: u * s.unsqueeze(-2) @ vh)(*t.linalg.svd(a, full_matrices=False)),
        lambda t, a: t.linalg.qr(a),
        lambda t, a: (t.qr(a), t.linalg.qr(a.detach(), mode="r"), t.linalg.qr(a.detach(), mode="complete").R),
        lambda t, a: (t.linalg.pinv(a), t.pinverse(a), t.linalg.pinv(a, atol=0.1), t.linalg.pinv(a, rtol=0.5)),
        lambda t, a: t.linalg.lu(a),
        lambda t, a: (t.geqrf(a.detach()), t.linalg.matrix_rank(a, atol=0.5), t.linalg.matrix_rank(a, rtol=0.3)),
        lambda t, a: (t.linalg.norm(a), t.linalg.vector_norm(a, 3, dim=-1), t.linalg.vector_norm(a)),
    ],
)
@pytest.mark.parametrize("a", ANY, ids=lambda a: str(a.shape))
def test_any_shape(f, a):
    if 0 in a.shape and a.ndim == 2 and "pinv" in f.__code__.co_names:
        f = lambda t, a: t.linalg.pinv(a)  # noqa: E731 (PyTorch's others fail on empty matrices)
    checked(f, a)


@pytest.mark.parametrize("ord", ["fro", "nuc", inf, -inf, 1, -1, 2, -2])
def test_matrix_norms(ord):
    checked(lambda t, a: (t.linalg.matrix_norm(a, ord), t.linalg.matrix_norm(a, ord, (2, 0), True)), ANY[7][0] * 1)
    checked(lambda t, a: (t.linalg.norm(a, ord), t.linalg.norm(a, ord, (0, 1), True), t.norm(a, "nuc")), ANY[0])
    checked(lambda t, a: t.linalg.cond(a.detach(), ord), regular(2, 3, 3))


def test_norms_where_there_is_no_slope():
    zero = np.zeros((3, 3))
    for ord in ("fro", "nuc", inf, 1, 2):
        checked(lambda t, a, ord=ord: t.linalg.matrix_norm(a, ord), zero)
    checked(lambda t, a: (t.linalg.norm(a, 2, 0), t.linalg.norm(a[0], 3), t.linalg.norm(a, dtype=t.float64)), zero)
    for ord in ("fro", "nuc", inf, 1, 2):
        f = lambda t, a, ord=ord: (t.linalg.matrix_norm(a, ord), t.linalg.cond(t.eye(0)))  # noqa: E731
        checked(f, np.zeros((2, 0)), none_is_zeros=ord in (1, 2))


@pytest.mark.parametrize(
    "a, b",
    [((3, 3), (3, 2)), ((3, 3), (3,)), ((2, 3, 3), (2, 3)), ((2, 1, 3, 3), (4, 3, 1)), ((3, 3), (5, 3, 2)),
     ((0, 3, 3), (3, 2)), ((0, 0), (0, 2)), ((2, 3, 3), (3,)), ((1, 1), (1, 0))],
)  # fmt: skip
def test_solve(a, b):
    checked(lambda t, a, b: (t.linalg.solve(a, b), t.linalg.solve_ex(a, b)), regular(*a), RNG.normal(size=b))
    if len(b) > 1 and len(b) >= len(a):
        checked(lambda t, a, b: t.linalg.solve(a, b.mT, left=False), regular(*a), RNG.normal(size=b))


@pytest.mark.parametrize("a, b", [((3, 3), (3, 2)), ((2, 1, 4, 4), (3, 4, 1)), ((0, 0), (0, 2)), ((60, 60), (60, 2))])
@pytest.mark.parametrize("upper", [True, False])
def test_triangular(a, b, upper):
    a, b = RNG.normal(size=a) * 0.2 + 2 * np.eye(a[-1]), RNG.normal(size=b)
    checked(lambda t, a, b: t.linalg.solve_triangular(a, b, upper=upper), a, b)
    checked(lambda t, a, b: t.linalg.solve_triangular(a, b.mT, upper=upper, left=False, unitriangular=True), a, b)
    checked(lambda t, a, b: t.linalg.solve_triangular(a, b.float(), upper=upper), a, b)  # becomes what the matrix is
    checked(lambda t, a, b: t.triangular_solve(b, a, upper=upper, transpose=True), a, b)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("adjoint", [True, False])
def test_lu_solve(left, adjoint):
    def f(t, a, b):
        return t.linalg.lu_solve(*t.linalg.lu_factor(a), b, left=left, adjoint=adjoint)

    checked(f, regular(4, 4), RNG.normal(size=(4, 4)))
    checked(f, regular(2, 1, 3, 3), RNG.normal(size=(5, 3, 3)))
    checked(lambda t, a, b: t.lu_solve(b, *t.lu(a)), regular(3, 3), RNG.normal(size=(3, 1)))


@pytest.mark.parametrize("driver", [None, "gels", "gelsy", "gelsd", "gelss"])
@pytest.mark.parametrize("a, b", [((5, 3), (5, 2)), ((3, 5), (3, 2)), ((2, 4, 4), (2, 4, 1)), ((2, 5, 3), (2, 5))])
def test_lstsq(driver, a, b):
    def f(t, a, b):
        found = t.linalg.lstsq(a, b, driver=driver)
        return found.solution, found.residuals, found.rank, found.singular_values

    checked(f, RNG.normal(size=a), RNG.normal(size=b))


def test_of_lower_rank():
    x = rank_one(4, 3)
    checked(lambda t, a: (t.linalg.lstsq(a.detach(), a.detach()[:, :1]).solution, t.linalg.pinv(a.detach())), x)
    checked(lambda t, a: (t.linalg.matrix_rank(a), t.linalg.lstsq(a.detach(), a.detach(), driver="gelsd").rank), x)
    checked(lambda t, a: (t.linalg.slogdet(a.detach()), t.logdet(-t.eye(3))), np.zeros((2, 3, 3)))


def test_reflections():
    a, tau = RNG.normal(size=(2, 5, 3)), RNG.uniform(0.2, 1, size=(2, 3))
    checked(lambda t, a, tau: (t.linalg.householder_product(a, tau), t.orgqr(a, tau[:, :2])), a, tau)
    for left in (True, False):
        for transpose in (True, False):
            c = RNG.normal(size=(2, 5, 4) if left else (2, 4, 5))
            checked(lambda t, *x, left=left, tr=transpose: t.ormqr(*x, left, tr), a, tau, c)


@pytest.mark.parametrize(
    "f, shapes",
    [
        (lambda t, *x: t.linalg.multi_dot(x), ((3, 7), (7, 2), (2, 5), (5, 1))),
        (lambda t, *x: t.linalg.multi_dot(x), ((7,), (7, 2), (2,))),
        (lambda t, a, b: (t.linalg.vecdot(a, b), t.linalg.vecdot(a, b, dim=0)), ((2, 3), (3,))),
        (lambda t, a, b: t.linalg.cross(a, b), ((2, 1, 3), (1, 4, 3))),
        (lambda t, a: (t.linalg.diagonal(a, offset=1), t.linalg.vander(a[0, 0], N=3)), ((2, 3, 4),)),
        (lambda t, a: t.linalg.vander(a), ((2, 3),)),
        (lambda t, a: t.linalg.tensorinv(a, ind=1), ((6, 2, 3),)),
        (lambda t, a: t.linalg.tensorinv(a), ((2, 3, 6),)),
        (lambda t, a, b: t.linalg.tensorsolve(a, b), ((2, 3, 6), (2, 3))),
        (lambda t, a, b: t.linalg.tensorsolve(a, b, dims=(0, 2)), ((2, 6, 3), (6,))),
        (lambda t, a, b: t.linalg.matmul(a, b), ((2, 3), (3,))),
    ],
)
def test_products(f, shapes):
    checked(f, *(RNG.normal(size=s) for s in shapes))


def test_powers_of_integers():
    agree(lambda t, a: (*(t.linalg.matrix_power(a, n) for n in (0, 3)), t.linalg.vander(a[0])), INTEGERS)


def test_gradients_of_gradients():
    def second(t, a):
        q, r = t.linalg.qr(a)
        s = t.linalg.svdvals(a)
        w = t.linalg.eigvalsh(a @ a.mT)
        lower = t.linalg.cholesky(a @ a.mT)
        loss = (q[:, 0] * r[0]).sum() + (s**3).sum() + w.log().sum() + t.linalg.det(a) + lower.sum()
        loss = loss + t.linalg.solve(a, a[0]).sum() + t.linalg.pinv(a[:2]).sum() + t.linalg.matrix_exp(a * 0.1).sum()
        (g,) = t.module.autograd.grad(loss, a, create_graph=True)
        return (g * g).sum()

    checked(second, regular(3, 3))


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_symmetric_matrices_that_are_not_definite(kind, hermitian):
    for n in (0, 1, 2, 5, 8):
        a = RNG.normal(size=(3, n, n)) + (1j * RNG.normal(size=(3, n, n)) if kind == "complex" else 0)
        turned = np.swapaxes(a, -2, -1)
        a = a + (np.conj(turned) if hermitian else turned)
        a[..., range(n), range(n)] *= 0.1  # small on the diagonal: blocks of two rows

        def f(t, a):
            found = t.linalg.ldl_factor(a.detach(), hermitian=hermitian)
            return *found, t.linalg.ldl_solve(*found, a.detach()[..., :1], hermitian=hermitian)

        checked(f, a)


# Errors ------------------------------------------------------------------------------------------------

INTS, HALVES = (lambda t: t.ones(2, 2, dtype=t.int64)), (lambda t: t.ones(2, 2).half())
NAMES = [
    "cholesky", "det", "eigh", "eigvalsh", "inv", "matrix_exp", "pinv", "qr", "slogdet", "solve", "svd", "svdvals",
    "matrix_rank", "cond", "lu_factor",
]  # fmt: skip
WRONG = {
    "vector": lambda t: t.ones(3),
    "ints": INTS,
    "halves": HALVES,
    "wide": lambda t: t.arange(6.0).reshape(2, 3),
}
TAKEN = {
    *((name, "wide") for name in ("qr", "svd", "svdvals", "pinv", "matrix_rank", "cond", "lu_factor")),
    ("matrix_exp", "halves"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused(name, what):
    def call(t):
        x = WRONG[what](t)
        return getattr(t.linalg, name)(*([x, x] if name == "solve" else [x]))

    if (name, what) in TAKEN:
        call(tracec)
        return
    with pytest.raises(RuntimeError):
        call(torch)
    with pytest.raises(RuntimeError) as error:
        call(tracec)
    assert isinstance(error.value, tracec.errors.TracecError) and error.value.hint
    assert str(error.value).startswith(("linalg.", "lu"))


SINGULAR = {
    "inv": lambda t: t.linalg.inv(t.ones(3, 3)),
    "inverse": lambda t: t.zeros(2, 2).inverse(),
    "batch": lambda t: t.linalg.inv(t.stack([t.eye(2), t.zeros(2, 2)])),
    "solve": lambda t: t.linalg.solve(t.zeros(2, 2), t.ones(2)),
    "solve_ex": lambda t: t.linalg.solve_ex(t.zeros(2, 2), t.ones(2), check_errors=True),
    "inv_ex": lambda t: t.linalg.inv_ex(t.zeros(2, 2), check_errors=True),
    "power": lambda t: t.linalg.matrix_power(t.zeros(2, 2), -1),
    "cholesky": lambda t: t.linalg.cholesky(t.tensor([[1.0, 2.0], [2.0, 1.0]])),
    "cholesky batch": lambda t: t.linalg.cholesky(t.stack([t.eye(2), -t.eye(2)])),
    "cholesky_ex": lambda t: t.linalg.cholesky_ex(-t.eye(2), check_errors=True),
    "cholesky_inverse": lambda t: t.cholesky_inverse(t.zeros(2, 2)),
    "tensorinv": lambda t: t.linalg.tensorinv(t.zeros(2, 3, 6)),
    "svd": lambda t: t.linalg.svd(t.full((2, 2), math.nan)),
    "svdvals": lambda t: t.linalg.svdvals(t.full((2, 2), math.nan)),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular(name):
    with pytest.raises(torch.linalg.LinAlgError) as theirs:
        SINGULAR[name](torch)
    with pytest.raises(LinAlgError) as ours:
        SINGULAR[name](tracec)
    batch = "(Batch element 1)" in str(theirs.value)
    assert ("(Batch element 1)" in str(ours.value)) is batch and ours.value.hint
    if "leading minor" in str(theirs.value):
        order = str(theirs.value).split("of order ")[1][0]
        assert f"of order {order} is not" in str(ours.value)


OTHERS = {
    "lu_factor": lambda t: t.linalg.lu_factor(t.zeros(2, 2)),
    "mode": lambda t: t.linalg.qr(t.ones(2, 2), mode="foo"),
    "UPLO": lambda t: t.linalg.eigh(t.ones(2, 2), UPLO="x"),
    "driver": lambda t: t.linalg.lstsq(t.ones(2, 2), t.ones(2, 2), driver="foo"),
    "svd driver": lambda t: t.linalg.svd(t.ones(2, 2), driver="gesvd"),
    "rows": lambda t: t.linalg.lstsq(t.ones(3, 2), t.ones(2, 1)),
    "solve rows": lambda t: t.linalg.solve(t.eye(2), t.ones(3, 1)),
    "solve dtype": lambda t: t.linalg.solve(t.eye(2), t.ones(2, 1).double()),
    "solve batch": lambda t: t.linalg.solve(t.eye(2).expand(2, 2, 2), t.ones(3, 2, 1)),
    "triangular vector": lambda t: t.linalg.solve_triangular(t.eye(2), t.ones(2), upper=True),
    "norm": lambda t: t.linalg.matrix_norm(t.ones(2, 2), 3),
    "norm name": lambda t: t.linalg.matrix_norm(t.ones(2, 2), "foo"),
    "norm axes": lambda t: t.linalg.matrix_norm(t.ones(2, 2), dim=(0, 0)),
    "norm of 3 axes": lambda t: t.linalg.norm(t.ones(2, 2, 2), 2),
    "vector norm name": lambda t: t.linalg.vector_norm(t.ones(2), "fro"),
    "narrower": lambda t: t.linalg.vector_norm(t.ones(2).double(), dtype=t.float32),
    "cond": lambda t: t.linalg.cond(t.ones(2, 2), 3),
    "cond square": lambda t: t.linalg.cond(t.ones(2, 3), 1),
    "power": lambda t: t.linalg.matrix_power(t.ones(2, 2), 1.5),
    "power square": lambda t: t.linalg.matrix_power(t.ones(2, 3), 2),
    "multi_dot one": lambda t: t.linalg.multi_dot([t.ones(2)]),
    "multi_dot shapes": lambda t: t.linalg.multi_dot([t.ones(2, 2), t.ones(3, 2)]),
    "vecdot": lambda t: t.linalg.vecdot(t.ones(2, dtype=t.int64), t.ones(2)),
    "cross": lambda t: t.linalg.cross(t.ones(4, 2), t.ones(4, 2)),
    "tensorinv": lambda t: t.linalg.tensorinv(t.ones(2, 3), ind=1),
    "tensorinv ind": lambda t: t.linalg.tensorinv(t.ones(2, 3), ind=0),
    "tensorsolve": lambda t: t.linalg.tensorsolve(t.ones(2, 3), t.ones(2)),
    "reflections": lambda t: t.linalg.householder_product(t.ones(2, 3), t.ones(2)),
    "factors": lambda t: t.linalg.householder_product(t.ones(3, 2), t.ones(3)),
    "pivots": lambda t: t.lu_unpack(t.ones(2, 2), t.ones(2)),
    "pivots range": lambda t: t.lu_unpack(t.ones(2, 2), t.tensor([5, 1], dtype=t.int32)),
    "pivots zero": lambda t: t.linalg.lu_solve(t.ones(2, 2), t.tensor([0, 1], dtype=t.int32), t.ones(2, 1)),
    "ldl": lambda t: t.linalg.ldl_factor(t.zeros(2, 2)),
    "ldl shape": lambda t: t.linalg.ldl_factor(t.ones(2, 3)),
    "ldl pivots": lambda t: t.linalg.ldl_solve(t.ones(2, 2), t.ones(2), t.ones(2, 1)),
    "vander": lambda t: t.linalg.vander(t.ones(3), N=1),
    "vander bool": lambda t: t.linalg.vander(t.ones(3, dtype=t.bool)),
    "complete": lambda t: t.linalg.qr(t.ones(3, 2, requires_grad=True), mode="complete").Q.sum().backward(),
    "pca": lambda t: t.pca_lowrank(t.ones(3, 2), q=5),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_errors(name):
    with pytest.raises(Exception) as theirs:
        OTHERS[name](torch)
    with pytest.raises(tracec.errors.TracecError) as ours:
        OTHERS[name](tracec)
    kinds = (theirs.type, ValueError) if theirs.type is AssertionError else theirs.type
    assert isinstance(ours.value, kinds), (ours.value, theirs.value)
    assert ours.value.hint


# Complex numbers ---------------------------------------------------------------------------------------


def complex_(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


HERMITIAN = complex_(2, 3, 3)
HERMITIAN = HERMITIAN @ np.conj(np.swapaxes(HERMITIAN, -2, -1)) + np.eye(3)
COMPLEX = {
    "inv": lambda t, a: (t.linalg.inv(a), t.linalg.det(a), *t.linalg.slogdet(a), t.logdet(a)),
    "solve": lambda t, a: (t.linalg.solve(a, a[..., :1]), t.linalg.solve(a, a[..., :1, :], left=False)),
    "lu": lambda t, a: (*t.linalg.lu(a), *t.linalg.lu_factor(a)),
    "lu_solve": lambda t, a: [
        t.linalg.lu_solve(*t.linalg.lu_factor(a), a * 2, left=left, adjoint=adjoint)
        for left in (True, False)
        for adjoint in (True, False)
    ],
    "exp": lambda t, a: (t.linalg.matrix_exp(a), t.linalg.matrix_power(a, -2)),
    "triangular": lambda t, a: t.linalg.solve_triangular(a, a * 2, upper=True, left=False),
    "pinv": lambda t, a: (t.linalg.pinv(a[..., :2]), t.linalg.matrix_rank(a)),
    "svdvals": lambda t, a: (t.linalg.svdvals(a), t.linalg.cond(a), t.linalg.svd(a).S),
    "svd": lambda t, a: (lambda u, s, vh: (u * (s**2).unsqueeze(-2) @ vh, u.abs()))(*t.linalg.svd(a[..., :2], False)),
    "qr": lambda t, a: (*t.linalg.qr(a), *t.linalg.qr(a[..., :2]), *t.linalg.qr(a[..., :2, :])),
    "lstsq": lambda t, a: t.linalg.lstsq(a[..., :2], a[..., 2:], driver="gels")[:2],
    "norms": lambda t, a: (
        [t.linalg.norm(a, p, (0, 1)) for p in ("fro", "nuc", 1, 2, inf)]
        + [a.norm(), t.linalg.vector_norm(a, 3, -1), t.dist(a, a * 2), t.renorm(a, 2, 0, 0.5)]
    ),
    "products": lambda t, a: (
        t.linalg.vecdot(a, a * 1j), t.vdot(a[0, 0], a[1, 0]), t.linalg.cross(a, a * 2 + 1), t.cov(a[0]),
        t.kron(a[0], a[1]), t.addmm(a[0], a[0], a[1], beta=1j, alpha=2), t.tensordot(a, a, ([2], [2])),
        t.linalg.vander(a[0, 0]), t.trace(a[0]),
    ),
    "corrcoef": lambda t, a: t.corrcoef(a.detach()[0]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX)
def test_complex(name):
    checked(COMPLEX[name], complex_(2, 3, 3) + 2 * np.eye(3))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, a: (t.linalg.cholesky(a), t.linalg.cholesky(a, upper=True), t.cholesky_inverse(t.linalg.cholesky(a))),
        lambda t, a: (t.cholesky_solve(a[..., :1], t.linalg.cholesky(a)), t.linalg.cholesky_ex(a).info),
        lambda t, a: (t.linalg.eigvalsh(a), t.linalg.eigh(a, "U").eigenvalues, t.linalg.pinv(a, hermitian=True)),
        lambda t, a: (lambda w, v: (v * w.exp().unsqueeze(-2) @ v.mH, v.abs()))(*t.linalg.eigh(a)),
    ],
)
def test_hermitian(f):
    # Along Hermitian changes: PyTorch's gradient has a part besides.
    checked(lambda t, a: f(t, (a + a.mH) / 2), HERMITIAN)


def test_complex_reflections():
    a, tau, c = complex_(2, 5, 3), complex_(2, 3), complex_(2, 5, 4)
    checked(lambda t, a, tau: t.linalg.householder_product(a, tau), a, tau)
    for transpose in (True, False):
        checked(lambda t, *x, tr=transpose: (t.ormqr(*x, True, tr), t.ormqr(x[0], x[1], x[2].mT, False, tr)), a, tau, c)


TURN = np.array([[0.0, 1.0], [-1.0, 0.0]])


@pytest.mark.parametrize("a", [regular(4, 4), complex_(2, 3, 3), TURN], ids=["real", "complex", "turn"])
def test_eigenvalues(a):
    checked(lambda t, a: (t.linalg.eigvals(a) ** 2).sum(-1), a)
    checked(lambda t, a: (t.linalg.eig(a).eigenvalues ** 3).sum(-1), a)
    checked(lambda t, a: (lambda w, v: (v * w.unsqueeze(-2).exp()) @ t.linalg.inv(v))(*t.linalg.eig(a)), a)
    w, v = tracec.linalg.eig(tracec.from_numpy(a))
    expected = torch.linalg.eigvals(torch.from_numpy(a))
    np.testing.assert_allclose(np.sort_complex(w.numpy()), np.sort_complex(expected.numpy()), atol=1e-12)
    np.testing.assert_allclose((v.abs() ** 2).sum(-2).numpy(), np.ones(a.shape[:-1]), atol=1e-12)
    assert w.dtype is v.dtype is tracec.complex128


def test_eigenvalues_are_complex_also_where_they_are_real():
    agree(lambda t, a: (t.linalg.eigvals(a), t.linalg.eig(a.detach())[1]), np.diag([1.0, 2.0, 3.0]))
    with pytest.raises(LinAlgError, match="non-finite"):
        tracec.linalg.eig(tracec.full((2, 2), math.nan))
