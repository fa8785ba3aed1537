"""Programs over sparse tensors, with tracec and with torch: the same text comes out, or an error of the same type."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest

import tracec
import tracec.nn.functional as F

torch = pytest.importorskip("torch")


def given(T):
    """The tensors of the programs: by coordinates, coalesced, by rows, dense, with a dense axis."""
    places, values = T.tensor([[0, 1, 1], [2, 0, 2]]), T.tensor([3.0, 4.0, 5.0])
    s = T.sparse_coo_tensor(places, values, (2, 3))
    d = T.arange(6.0).reshape(2, 3)
    return SimpleNamespace(
        T=T, F=F if T is tracec else torch.nn.functional, i=places, v=values, s=s, c=s.coalesce(), d=d,
        r=d.to_sparse_csr(), h=T.sparse_coo_tensor([[0, 1]], [[1, 2.0], [3, 4]]),
        u=T.sparse_coo_tensor([[0, 1, 0], [1, 0, 1]], [1.0, 2.0, 4.0], (2, 3)),
    )  # fmt: skip


PROGRAMS = """
s; c; r; h; u; u.coalesce(); T.sparse_coo_tensor(i, v, requires_grad=True); T.sparse_coo_tensor(size=(2, 3))
T.sparse_coo_tensor(i, T.tensor([1, 2, 3])); T.sparse_coo_tensor([[0, 1], [1, 0]], [1, 2.0])
T.sparse_coo_tensor(T.tensor([[0.0, 1]]), T.ones(2), (3,))
T.sparse_coo_tensor(i, v.double(), (2, 3), dtype=T.float32); T.sparse_coo_tensor(i, T.ones(2), (2, 3))
T.sparse_coo_tensor(i, v, (2, 3, 4)); T.sparse_coo_tensor(T.tensor([0, 1]), T.ones(2))
T.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2]); T.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2], (2, 4))
s.indices(); s.values(); c.indices(); c.values(); u.coalesce().values(); d.indices(); d.values(); d.coalesce()
d.is_coalesced(); d.crow_indices(); d.sparse_dim(); d.dense_dim(); h.sparse_dim(); h.dense_dim(); r.sparse_dim()
s.is_sparse; r.is_sparse; r.is_sparse_csr; s.layout; r.layout; d.layout; s.is_contiguous(); s.stride(); s.dtype
s.shape; s.size(0); s.dim(); s.ndim; len(s); s.numel(); s._nnz(); r._nnz(); s.device; s.is_coalesced()
c.is_coalesced(); r.crow_indices(); r.col_indices(); r.values(); r.indices(); r.is_coalesced(); s.crow_indices()
c + c; c - c; c + u.coalesce(); s + u; d + s; d - s; s + d; s + 1; 1 + s; T.add(c, c, alpha=2); s * 2; 2 * s; s * d
d * s; c * u.coalesce(); s * s; s / 2; s / d; s // 2; -s; abs(s); s ** 2; s ** 0; s * T.ones(3); s * T.ones(2, 1)
T.ones(3) + s; T.relu(s); T.sqrt(c); T.sin(c); T.exp(s); T.log1p(s); T.isnan(c); T.sign(s); s.neg(); T.remainder(s, 2)
s > 1; s == s; s @ d.T; d @ s.t(); s @ s.t(); s @ T.ones(3); T.mm(s, d.T); T.matmul(s, d.T); T.sparse.mm(s, d.T)
T.spmm(s, d.T); T.sparse.mm(u, u.t()); T.mv(s, T.ones(3)); T.bmm(T.stack([s, s]), T.ones(2, 3, 1))
F.linear(s, T.ones(4, 3)); T.sparse.addmm(T.ones(2, 2), s, d.T); T.addmm(T.ones(2, 2), s, d.T)
T.sparse.addmm(T.ones(2, 2), s, d.T, beta=2, alpha=3); s @ d; T.mm(s, T.ones(3, 2).double()); h @ T.ones(2, 2)
r @ d.T; r * 2; r + r; r.t(); r.sum(); T.relu(r); r.to_dense(); r[0]; r.to_sparse(); r.to_sparse_coo()
s.to_sparse_csr(); d.to_sparse_csc(); T.sparse.sampled_addmm(r, T.ones(2, 2), T.ones(2, 3)); s.sum(); s.sum(0)
T.sum(s, 1); T.sparse.sum(s); T.sparse.sum(s, 0); T.sparse.sum(s, (0, 1)); T.sparse.sum(h, 1); T.sparse.sum(h, 0)
s.sum(0, keepdim=True); T.sparse.sum(s, dtype=T.float64); T.sparse.sum(s.int()); s.mean(); s.max()
T.sparse.softmax(s, 1); T.sparse.log_softmax(s, 0); T.sparse.softmax(h, 1); T.softmax(s, 1); s.norm(); T.norm(u)
s.any(); s.t(); s.T; s.transpose(0, 1); c.t().is_coalesced(); h.t(); s.unsqueeze(0); s.unsqueeze(-1).shape
s.unsqueeze(0).permute(2, 0, 1); s[0]; s[-1]; s[0, 2]; s[5]; s[:1]; s[T.tensor([1])]; s.select(0, 1); h.select(1, 0)
s.index_select(0, T.tensor([1])); s.index_select(1, T.tensor([2, 0])); h.index_select(1, T.tensor([1]))
s.narrow_copy(0, 1, 1); list(s); s.reshape(3, 2); s.view(6); T.cat([s, s], 0); T.cat([s, s], 1); T.stack([s, s])
T.stack([s, s], 1); T.cat([s, d]); T.zeros_like(s); T.ones_like(s); d.to_sparse(); d.to_sparse(1); d.to_sparse(3)
s.to_dense(); h.to_dense(); u.to_dense(); d.to_dense(); d.sparse_mask(c); s.clone(); s.detach(); s.double(); s.long()
s.to(T.float16); s.type(T.float64); s.numpy(); s.item(); s.tolist(); s.data_ptr(); s.gather(0, i); s.narrow(0, 0, 1)
s.mul_(2); s.add_(s); T.zeros(2, 3).add_(s); s.copy_(c); s.zero_(); F.dropout(s, 0.5); T.allclose(s, s); T.equal(s, s)
bool(s); T.sub(c, c, alpha=2); s.sub(u, alpha=0.5); T.sub(c.int(), c.int(), alpha=2); T.sub(c.int(), c.int(), alpha=2.5)
T.sub(c.bool(), c.bool()); d.sub(s, alpha=3); d.int().add(s.int(), alpha=3); d.int().add(s, alpha=3); s.int().add(s)
T.add(r, other=r, alpha=2); T.add(input=r, other=r); T.mm(r, mat2=d.T); T.mm(input=r, mat2=d.T); T.sub(r, other=c)
T.transpose(r, 0, 0); T.transpose(r, -1, 0); T.transpose(r, -1, 1); T.transpose(r, 0, 2); T.transpose(r, 0.5, 1)
s.int().mul_(2); s.int().mul_(2.5); c.add_(c.int()); c.int().add_(c); c.add_(c.double()); c.sub_(c.double(), alpha=2)
s.int().div_(2); c.copy_(c.double() * 2); c.int().copy_(c); c.requires_grad_().mul_(2); c.requires_grad_().zero_()
T.sparse_coo_tensor(i, v.requires_grad_()).is_leaf; T.sparse_coo_tensor(i, v.requires_grad_()).requires_grad
T.add(s, s, alpha="a"); T.add(s, s, alpha=None); T.add(s, s, alpha=1j); T.add(s, s, alpha=True)
"""


def outcome(T, program):
    try:
        found = eval(program, vars(given(T)))
    except Exception as error:
        return error
    return (
        "a method" if callable(found) and not isinstance(found, T.Tensor) else repr(found).replace("torch.", "tracec.")
    )


#: Programs after which what is stored lies in another order.
OTHER_ORDER = ("s + u", "s.sub(u, alpha=0.5)", "s.index_select(1, T.tensor([2, 0]))")


@pytest.mark.parametrize("program", [p.strip() for line in PROGRAMS.strip().splitlines() for p in line.split(";")])
def test_the_same_comes_out(program):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = f"({program}).coalesce()" if program in OTHER_ORDER else program
        expected, found = outcome(torch, shown), outcome(tracec, shown)
    if isinstance(expected, Exception):
        assert isinstance(found, type(expected)), (found, expected)
    else:
        assert found == expected


GRADIENTS = {
    "sparse.mm": lambda T, s, x: T.sparse.mm(s, x.t()),
    "matmul": lambda T, s, x: s @ x.t(),
    "dense": lambda T, s, x: s.to_dense() * x,
    "sum": lambda T, s, x: T.sparse.sum(s * 2).reshape(1),
    "sum of axis": lambda T, s, x: T.sparse.sum(s, 0).to_dense(),
    "softmax": lambda T, s, x: T.sparse.softmax(s, 1).to_dense() * x,
    "log_softmax": lambda T, s, x: T.sparse.log_softmax(s, 1).to_dense() * x,
    "both": lambda T, s, x: T.sparse.mm(s, s.t()).to_dense(),
    "coalesced": lambda T, s, x: s.coalesce().values() ** 2,
    "number": lambda T, s, x: (s * 3).to_dense(),
    "add": lambda T, s, x: (s + s).to_dense() * x,
    "sub": lambda T, s, x: T.sub(s, s * s, alpha=2).to_dense() * x,
    "dense less sparse": lambda T, s, x: x.sub(s, alpha=2),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_same_gradients(name):
    found = []
    for T in (tracec, torch):
        values = T.tensor([3.0, 4.0, 5.0, -1.0], requires_grad=True)
        x = T.linspace(-1, 1, 6).reshape(2, 3).requires_grad_()
        s = T.sparse_coo_tensor(T.tensor([[0, 1, 1, 0], [2, 0, 2, 2]]), values, (2, 3))
        out = GRADIENTS[name](T, s, x)
        (out * T.cos(T.arange(out.numel())).reshape(out.shape)).sum().backward()
        found.append([t.grad.tolist() if t.grad is not None else None for t in (values, x)])
    for mine, theirs in zip(*found, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            tracec.testing.assert_close(tracec.tensor(mine), tracec.tensor(theirs))
