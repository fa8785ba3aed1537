"""tracec.linalg by its own equations: factors multiply to what was factored, gradients are slopes."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import linalg
from tracec.linalg import LinAlgError

RNG = np.random.default_rng(0)
SHAPES = [(4, 4), (6, 3), (3, 6), (2, 5, 3), (2, 3, 0), (0, 4, 4), (1, 1), (97, 101), (101, 60)]


@pytest.fixture(autouse=True)
def same_numbers_for_each_test():
    global RNG
    RNG = np.random.default_rng(0)


def make(*shape, dtype=np.float64):
    return tracec.from_numpy(RNG.normal(size=shape).astype(dtype))


def definite(*shape, dtype=np.float64):
    x = RNG.normal(size=shape).astype(dtype)
    return tracec.from_numpy(x @ np.swapaxes(x, -2, -1) + np.eye(shape[-1], dtype=dtype))


def close(a, b, scale=1.0):
    rtol = 1e-4 if a.dtype is tracec.float32 else 1e-10
    np.testing.assert_allclose(a.detach().numpy(), np.asarray(b.detach()), rtol=rtol, atol=rtol * scale)
    assert a.shape == b.shape and a.dtype is b.dtype


def one(*shape, dtype=np.float64):
    return tracec.from_numpy(np.broadcast_to(np.eye(shape[-1], dtype=dtype), shape).copy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_factors_multiply_to_the_matrix(shape, dtype):
    a = make(*shape, dtype=dtype)
    k = min(shape[-2:])
    q, r = linalg.qr(a)
    close(q @ r, a)
    close(q.mT @ q, one(*shape[:-2], k, k, dtype=dtype))
    assert not np.tril(r.numpy(), -1).any()
    q, r = linalg.qr(a, mode="complete")
    close(q @ r, a)
    assert q.shape == (*shape[:-1], shape[-2]) and r.shape == shape
    p, lower, upper = linalg.lu(a)
    close(p @ lower @ upper, a)
    close(lower.diagonal(0, -2, -1), tracec.ones(*shape[:-2], k, dtype=a.dtype))
    assert np.abs(lower.numpy()).max(initial=0) <= 1 and not np.tril(upper.numpy(), -1).any()
    u, s, vh = linalg.svd(a, full_matrices=False)
    close(u * s.unsqueeze(-2) @ vh, a)
    close(linalg.svdvals(a), s)
    u, s, vh = linalg.svd(a)
    close(u.mT @ u, one(*shape[:-2], shape[-2], shape[-2], dtype=dtype))
    assert vh.shape == (*shape[:-2], shape[-1], shape[-1])
    p = linalg.pinv(a)
    close(a @ p @ a, a)
    v, tau = tracec.geqrf(a)
    if shape[-2] >= shape[-1]:
        close(linalg.householder_product(v, tau) @ v.triu()[..., :k, :], a)
    close(tracec.ormqr(v, tau, v.triu()), a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (0, 0), (2, 0, 0), (0, 2, 2), (1, 1), (100, 100)])
def test_symmetric_matrices(shape, dtype):
    a = definite(*shape, dtype=dtype)
    n = shape[-1]
    lower = linalg.cholesky(a)
    close(lower @ lower.mT, a, n)
    assert not np.triu(lower.numpy(), 1).any()
    close(linalg.cholesky(a, upper=True), lower.mT)
    w, v = linalg.eigh(a)
    close(v * w.unsqueeze(-2) @ v.mT, a, n)
    close(linalg.eigvalsh(a), w, n)
    b = make(*shape[:-1], 3, dtype=dtype)
    x = linalg.solve(a, b)
    close(a @ x, b, n)
    close(tracec.cholesky_solve(b, lower), x, n)
    close(linalg.lu_solve(*linalg.lu_factor(a), b), x, n)
    close(linalg.inv(a) @ a, one(*shape, dtype=dtype), n)
    close(tracec.cholesky_inverse(lower), linalg.inv(a), n)
    close(linalg.slogdet(a).logabsdet, 2 * lower.diagonal(0, -2, -1).log().sum(-1), n)
    close(linalg.matrix_power(a, -2) @ a @ a, one(*shape, dtype=dtype), n)
    close(linalg.solve_triangular(lower, lower @ b, upper=False), b, n)
    close(linalg.solve_triangular(lower.mT, b.mT @ lower.mT, upper=True, left=False), b.mT, n)


def test_exponential():
    a = make(3, 4, 4)
    w, v = linalg.eigh(a + a.mT)
    for scale in (1e-3, 0.1, 1.0, 5.0):
        e = (w * scale).exp()
        close(linalg.matrix_exp((a + a.mT) * scale) / e.max(), v * (e / e.max()).unsqueeze(-2) @ v.mT)
    close(linalg.matrix_exp(tracec.tensor([[0.0, 1.0], [0.0, 0.0]])), tracec.tensor([[1.0, 1.0], [0.0, 1.0]]))
    assert linalg.matrix_exp(tracec.full((2, 2), tracec.nan)).isnan().all()
    assert linalg.matrix_exp(tracec.zeros(2, 2).half()).dtype is tracec.float16


def test_strided_operands():
    a = make(4, 3, 5, 3)[::2, :, 1::2].transpose(0, 1)
    a = a.mT @ a + tracec.eye(3)
    for f in (linalg.inv, linalg.det, linalg.cholesky, linalg.eigvalsh, linalg.svdvals, linalg.lu_factor):
        found, expected = f(a.mT), f(a.mT.contiguous())
        for x, y in zip(*((t,) if isinstance(t, tracec.Tensor) else t for t in (found, expected)), strict=True):
            np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_a_zero_on_the_diagonal_divides():
    a, b = tracec.tensor([[0.0, 1.0], [5.0, 2.0]]), tracec.tensor([[1.0], [1.0]])
    np.testing.assert_array_equal(linalg.solve_triangular(a, b, upper=True).numpy(), [[np.inf], [0.5]])


def test_values_and_information_of_singular_matrices():
    a = tracec.tensor([[[2.0, 1.0], [1.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert linalg.inv_ex(a).info.tolist() == linalg.solve_ex(a, a).info.tolist() == [0, 2, 1]
    assert linalg.inv_ex(a).inverse[0].isfinite().all()
    close(linalg.inv_ex(a).inverse[0] @ a[0], tracec.eye(2))
    assert linalg.lu_factor_ex(a).info.tolist() == [0, 2, 1] and linalg.lu_factor_ex(a).info.dtype is tracec.int32
    found = linalg.cholesky_ex(a - 2.0 * tracec.eye(2))
    assert found.info.tolist() == [1, 1, 1]
    found = linalg.cholesky_ex(tracec.stack([tracec.eye(3), tracec.diag(tracec.tensor([1.0, 1.0, -1.0]))]))
    assert found.info.tolist() == [0, 3] and found.L[1, :, :2].isfinite().all()
    assert linalg.slogdet(a).sign.tolist() == [1, 0, 0] and linalg.slogdet(a).logabsdet[2] == -tracec.inf
    assert linalg.cond(a).argmax() == 1 or linalg.cond(a)[1] > 1e6
    assert linalg.cond(a, 1)[1:].tolist() == [tracec.inf] * 2
    assert linalg.matrix_rank(a).tolist() == [2, 1, 0]


# Gradients ---------------------------------------------------------------------------------------------

DIFFERENTIABLE = {
    "inv": linalg.inv,
    "det": linalg.det,
    "logabsdet": lambda a: linalg.slogdet(a).logabsdet,
    "solve": lambda a: linalg.solve(a, a[..., :2] ** 2),
    "solve right": lambda a: linalg.solve(a, a[..., :2, :] ** 2, left=False),
    "cholesky": lambda a: linalg.cholesky(a @ a.mT + tracec.eye(3, dtype=a.dtype)),
    "qr": lambda a: (lambda q, r: q @ (r + r.mT))(*linalg.qr(a)),
    "qr wide": lambda a: (lambda q, r: q @ (r * r))(*linalg.qr(a[..., :2, :])),
    "lu": lambda a: (lambda p, lower, upper: lower @ (upper * upper))(*linalg.lu(a)),
    "lu_solve": lambda a: linalg.lu_solve(*linalg.lu_factor(a), a.sin()),
    "eigh": lambda a: (lambda w, v: v * w.exp().unsqueeze(-2) @ v.mT)(*linalg.eigh(a @ a.mT)),
    "eigvalsh": lambda a: linalg.eigvalsh(a @ a.mT),
    "svd": lambda a: (lambda u, s, vh: (u * (s**2).unsqueeze(-2)) @ vh)(*linalg.svd(a)),
    "svd rest": lambda a: (lambda u: u[..., 2:] @ u[..., 2:].mT)(linalg.svd(a[..., :2]).U),
    "svdvals": linalg.svdvals,
    "pinv": lambda a: linalg.pinv(a[..., :2]),
    "lstsq": lambda a: linalg.lstsq(a[..., :2], a[..., 2:] ** 2, driver="gels").solution,
    "matrix_exp": linalg.matrix_exp,
    "matrix_power": lambda a: linalg.matrix_power(a, -3),
    "nuclear": lambda a: linalg.matrix_norm(a, "nuc"),
    "householder": lambda a: linalg.householder_product(a, a[..., 0, :].sin()),
}


def slopes(f, x, weights, step=1e-6):
    found = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        moved = [x.copy(), x.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = ((f(tracec.from_numpy(m)) * weights).sum().item() for m in moved)
        found[place] = (up - down) / (2 * step)
    return found


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_slopes(name):
    f = DIFFERENTIABLE[name]
    x = RNG.normal(size=(2, 3, 3)) + 2 * np.eye(3)
    a = tracec.from_numpy(x.copy()).requires_grad_()
    out = f(a)
    weights = tracec.from_numpy(RNG.normal(size=tuple(out.shape)))
    (grad,) = tracec.autograd.grad((out * weights).sum(), a, create_graph=True)
    np.testing.assert_allclose(grad.detach().numpy(), slopes(f, x, weights), rtol=1e-5, atol=1e-6)
    # The gradient's own gradient, along one direction.
    way = RNG.normal(size=x.shape)
    (second,) = tracec.autograd.grad((grad * tracec.from_numpy(way)).sum(), a)

    def gradient(y):
        y = tracec.from_numpy(y).requires_grad_()
        return tracec.autograd.grad((f(y) * weights).sum(), y)[0].numpy()

    slope = (gradient(x + 1e-6 * way) - gradient(x - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose(second.numpy(), slope, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(slope).max()))


def test_determinant_of_a_singular_matrix_has_a_gradient():
    x = np.array([[1.0, 2.0, 0.0], [4.0, 5.0, 0.0], [0.0, 1.0, 0.0]])
    for a in (x, np.zeros((1, 1)), np.outer([1.0, 2.0], [3.0, 4.0])):
        t = tracec.from_numpy(a.copy()).requires_grad_()
        linalg.det(t).backward()
        np.testing.assert_allclose(t.grad.numpy(), slopes(linalg.det, a, 1.0), atol=1e-8)


def test_equal_values_leave_the_gradient_of_what_does_not_hang_on_the_vectors():
    a = tracec.eye(3, dtype=tracec.float64).requires_grad_()
    u, s, vh = linalg.svd(a)
    (s.sum() + (u @ vh).sum() * 0).backward()
    np.testing.assert_allclose(a.grad.numpy(), np.eye(3), atol=1e-12)
    b = tracec.eye(3, dtype=tracec.float64).requires_grad_()
    linalg.eigh(b).eigenvalues.sum().backward()
    np.testing.assert_allclose(b.grad.numpy(), np.eye(3), atol=1e-12)


# Compiled, batched, random -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["solve", "cholesky", "qr", "lu_solve", "svd", "eigvalsh", "pinv", "householder"])
def test_compiled(name):
    f = DIFFERENTIABLE[name]

    def step(a):
        out = f(a * 1.5).sin()
        return out, *tracec.autograd.grad(out.sum(), a)

    a = tracec.from_numpy(RNG.normal(size=(2, 3, 3)) + 2 * np.eye(3)).requires_grad_()
    compiled = tracec.compile(step)
    for _ in range(2):
        for found, expected in zip(compiled(a), step(a), strict=True):
            np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-11)


def test_compiled_programs_raise_for_singular_matrices():
    f = tracec.compile(lambda a: linalg.inv(a * 2.0) + 1.0)
    f(tracec.eye(2))
    with pytest.raises(LinAlgError, match="the input matrix is singular"):
        f(tracec.zeros(2, 2))
    close(f(tracec.eye(2)), tracec.eye(2) * 0.5 + 1.0)


def test_batched_by_vmap():
    a, b = definite(4, 3, 3), make(4, 3, 2)
    f = lambda a, b: linalg.solve(a, b) + linalg.cholesky(a) @ b + linalg.pinv(a) @ b  # noqa: E731
    close(tracec.vmap(f)(a, b), f(a, b))
    close(tracec.vmap(f, in_dims=(None, 0))(a[0], b), f(a[:1].expand(4, 3, 3), b))


def test_low_rank():
    x = make(3, 20, 4) @ make(3, 4, 15)
    for a in (x, x.mT):
        u, s, v = tracec.svd_lowrank(a, 6)
        assert u.shape == (3, a.shape[1], 6) and s.shape == (3, 6) and v.shape == (3, a.shape[2], 6)
        close(u * s.unsqueeze(-2) @ v.mT, a, 10)
    shifted = x + 3.0
    u, s, v = tracec.pca_lowrank(shifted, 5)
    centred = shifted - shifted.mean(-2, keepdim=True)
    close(u * s.unsqueeze(-2) @ v.mT, centred, 10)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: linalg.inv(tracec.zeros(2, 2)), "linalg.inv: the input matrix is singular"),
        (lambda: linalg.solve(tracec.zeros(3, 2, 2), tracec.ones(2)), r"linalg.solve: \(Batch element 0\): the input"),
        (lambda: linalg.cholesky(-tracec.eye(2)), "leading minor of order 1 is not positive-definite"),
        (lambda: linalg.svd(tracec.full((2, 2), tracec.nan)), "linalg.svd: the algorithm failed to converge because"),
        (lambda: linalg.lu_factor(tracec.zeros(2, 2)), r"linalg.lu_factor: U\[1,1\] is zero"),
    ],
)
def test_singular_matrices_are_told(call, words):
    with pytest.raises(LinAlgError, match=words) as error:
        call()
    assert error.value.hint and isinstance(error.value, RuntimeError) and "test_linalg.py" in str(error.value)


def test_names():
    assert "svdvals" in dir(tracec.linalg)
    with pytest.raises(AttributeError, match="nearest: solve"):
        tracec.linalg.solv  # noqa: B018


def test_results_go_into_given_tensors():
    a, out = definite(3, 3), tracec.empty(3, 3, dtype=tracec.float64)
    assert linalg.inv(a, out=out) is out
    close(out, linalg.inv(a))
    q, r = tracec.empty_like(a), tracec.empty_like(a)
    linalg.qr(a, out=(q, r))
    close(q @ r, a)


def test_derivatives_of_functions():
    a = definite(3, 3)
    jacobian = tracec.func.jacrev(linalg.inv)(a)
    expected = -tracec.einsum("ik,lj->ijkl", linalg.inv(a), linalg.inv(a))
    close(jacobian, expected)
    close(tracec.func.jacfwd(linalg.inv)(a), expected)
    hessian = tracec.func.hessian(lambda x: linalg.slogdet(x).logabsdet)(a)
    close(hessian, -tracec.einsum("li,jk->ijkl", linalg.inv(a), linalg.inv(a)))


def test_autocast_gives_float32():
    x = tracec.eye(3, dtype=tracec.bfloat16) * 4
    with tracec.autocast("cpu", dtype=tracec.bfloat16):
        found = [linalg.inv(x), x.cholesky(), linalg.solve(x, x), linalg.svdvals(x), linalg.eigh(x)[0], tracec.det(x)]
    assert {f.dtype for f in found} == {tracec.float32}
    with pytest.raises(tracec.errors.DTypeError, match="low precision dtypes are not supported"):
        linalg.inv(x)


@pytest.mark.parametrize("n", [1, 2, 6, 9])
def test_symmetric_matrices_that_are_not_definite(n):
    x = RNG.normal(size=(4, n, n))
    x[:, range(n), range(n)] *= 0.01  # small on the diagonal: blocks of two rows
    a = tracec.from_numpy(x + np.swapaxes(x, -2, -1))
    b = make(4, n, 2)
    found = linalg.ldl_factor(a)
    close(a @ linalg.ldl_solve(*found, b), b, 100)
    assert (found.pivots < 0).any() or n == 1
    program = tracec.compile(lambda a, b: linalg.ldl_solve(*linalg.ldl_factor_ex(a)[:2], b))
    program(a, b)
    close(program(a, b), linalg.ldl_solve(*found, b))
