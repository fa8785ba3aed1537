"""The PyTorch surface against PyTorch: values, dtypes and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from tests.functions.compare import agree

INTS = np.array([[3, -7, 5], [-2, 9, 4]])
INTS2 = np.array([[2, 2, -3], [5, -4, 4]])
BOOLS = np.array([[True, False, True], [False, False, True]])
POSITIONS = np.array([[0, 2, 1], [1, 1, 0]])
TIES = np.array([[1.0, 3.0, 3.0, 2.0], [4.0, 4.0, 0.0, 4.0]])

POINTWISE = {
    "abs": {}, "neg": {}, "sign": {}, "exp": {}, "exp2": {}, "expm1": {}, "sin": {}, "cos": {},
    "tan": {"high": 1.4, "low": -1.4},
    "sinh": {}, "cosh": {}, "tanh": {}, "asinh": {}, "erf": {}, "erfc": {}, "sigmoid": {}, "square": {}, "atan": {},
    "log": {"low": 0.1}, "log1p": {"low": -0.9}, "log2": {"low": 0.1}, "log10": {"low": 0.1}, "sqrt": {"low": 0.1},
    "rsqrt": {"low": 0.1}, "reciprocal": {"low": 0.3}, "asin": {"low": -0.9, "high": 0.9},
    "acos": {"low": -0.9, "high": 0.9},
    "acosh": {"low": 1.1, "high": 3}, "atanh": {"low": -0.9, "high": 0.9}, "floor": {}, "ceil": {},
    "round": {}, "trunc": {}, "frac": {},
    "isnan": {}, "isfinite": {}, "relu": {}, "deg2rad": {}, "logical_not": {}, "nan_to_num": {}, "selu": {},
    "elu": {}, "silu": {},
    "mish": {}, "softplus": {}, "softsign": {}, "logsigmoid": {}, "relu6": {"high": 9}, "hardtanh": {},
    "hardsigmoid": {"low": -5, "high": 5, "rtol": 1e-7},
    "hardswish": {"low": -5, "high": 5}, "tanhshrink": {}, "gelu": {}, "leaky_relu": {},
}  # fmt: skip


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise(name):
    agree(lambda t, x: getattr(t, name)(x), (2, 7), **POINTWISE[name])


@pytest.mark.parametrize(
    "name",
    ["add", "sub", "mul", "div", "maximum", "minimum", "atan2", "hypot", "eq", "lt", "ge", "logical_or", "logaddexp"],
)
def test_two_operands_broadcast(name):
    agree(lambda t, x, y: getattr(t, name)(x, y), (4, 1, 3), (5, 1), low=0.2)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x, y: t.add(x, y, alpha=2),
        lambda t, x, y: t.sub(x, y, alpha=3),
        lambda t, x, y: x // y,
        lambda t, x, y: x % y,
        lambda t, x, y: t.fmod(x, y),
        lambda t, x, y: t.div(x, y, rounding_mode="trunc"),
        lambda t, x, y: t.div(x, y, rounding_mode="floor"),
        lambda t, x, y: x / y,
        lambda t, x, y: t.remainder(x, y),
        lambda t, x, y: (x & y, x | y, x ^ y, ~x),
        lambda t, x, y: t.clamp(x, -2, 3),
        lambda t, x, y: (x.sum(), x.prod(), x.amax(), x.max(dim=0), x.argmin(1), x.cumsum(0)),
        lambda t, x, y: (t.sqrt(x * x), t.exp(x * 0), x.float().mean()),
        lambda t, x, y: (x.floor(), x.round(), x.trunc(), t.isnan(x), t.isinf(x)),
        lambda t, x, y: t.where(x > y, x, y),
        lambda t, x, y: (t.equal(x, y), t.equal(x, x), t.allclose(x.double(), x.double())),
        lambda t, x, y: (x**2, t.square(x), x.pow(3)),
    ],
)
def test_integers(f):
    agree(f, INTS, INTS2)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (x.any(), x.all(), x.any(0), x.all(dim=1, keepdim=True)),
        lambda t, x: (x.sum(), x.sum(0), t.count_nonzero(x), t.count_nonzero(x, dim=1)),
        lambda t, x: (t.logical_and(x, ~x), t.logical_xor(x, x), x & x),
        lambda t, x: x.max(dim=1),
    ],
)
def test_bools(f):
    agree(f, BOOLS)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: t.clamp(x, -1.0, 0.5),
        lambda t, x: t.clamp(x, min=0.1),
        lambda t, x: x.clip(max=0.1),
        lambda t, x: t.gelu(x, approximate="tanh"),
        lambda t, x: t.leaky_relu(x, 0.2),
        lambda t, x: t.elu(x, 1.5),
        lambda t, x: t.softplus(x, beta=2.0, threshold=2.0),
        lambda t, x: x**3,
        lambda t, x: x**2.0,
        lambda t, x: (x * x + 0.1) ** 0.5,
        lambda t, x: t.pow(2.0, x),
        lambda t, x: t.round(x, decimals=1),
        lambda t, x: t.glu(t.cat([x, x * 2], 1)),
        lambda t, x: t.lerp(x, x * 3, 0.3),
        lambda t, x: t.addcmul(x, x * 2, x - 1, value=0.5),
        lambda t, x: t.addcdiv(x, x * 2, x * x + 1, value=0.5),
        lambda t, x: t.xlogy(x * x, x * x + 1),
        lambda t, x: t.softmax(x, 0),
        lambda t, x: t.softmax(x * 300, -1),
        lambda t, x: t.log_softmax(x * 300, dim=1),
        lambda t, x: x.softmax(-1).log(),
        lambda t, x: t.softmin(x, 1),
        lambda t, x: t.normalize(x, dim=1),
        lambda t, x: t.cosine_similarity(x, x + 1, dim=1),
        lambda t, x: t.heaviside(x.detach(), x.detach() * 2),
    ],
)
def test_elementwise_options(f):
    agree(f, (3, 5))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (x.sum(), x.sum(1), x.sum((0, 2)), x.sum(dim=-1, keepdim=True), x.sum(())),
        lambda t, x: (x.mean(), x.mean(1), x.mean((0, 2), keepdim=True)),
        lambda t, x: (
            x.var(),
            x.var(1),
            x.var((0, 2), keepdim=True),
            x.var(dim=0, correction=0),
            x.var(unbiased=False),
        ),
        lambda t, x: (x.std(), x.std(1), x.std(dim=2, unbiased=False)),
        lambda t, x: t.var_mean(x, dim=1),
        lambda t, x: t.std_mean(x, dim=1, keepdim=True),
        lambda t, x: (x.prod(), x.prod(1), x.prod(2, keepdim=True)),
        lambda t, x: (x.max(), x.min(), x.amax(), x.amin((0, 1)), x.amax(2, keepdim=True)),
        lambda t, x: (x.max(1), x.min(2, keepdim=True), t.max(x, dim=0)),
        lambda t, x: (x.argmax(), x.argmin(), x.argmax(1), x.argmin(0, keepdim=True)),
        lambda t, x: t.max(x, x * 0.5 + 0.3),
        lambda t, x: (t.logsumexp(x, 1), x.logsumexp((0, 2), keepdim=True)),
        lambda t, x: (x.norm(), x.norm(dim=1), x.norm(p=1), x.norm(3, 2), x.norm(float("inf"), 1), x.norm(0)),
        lambda t, x: (x.cumsum(0), t.cumsum(x, -1)),
        lambda t, x: (t.aminmax(x), t.aminmax(x, dim=1)),
        lambda t, x: (t.any(x > 1), t.all(x > -5, dim=1)),
        lambda t, x: t.nansum(x, 1),
        lambda t, x: t.dist(x, x * 2),
    ],
)
def test_reductions(f):
    agree(f, (2, 3, 5))


def test_gradients_of_ties_go_where_pytorch_sends_them():
    agree(lambda t, x: (x.max(1), x.min(0)), TIES)
    agree(lambda t, x: (x.amax(1), x.amin(0)), TIES)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (x.reshape(6, -1), x.view(-1), x.reshape((5, 6)), x.view(3, 10)),
        lambda t, x: (x.flatten(), x.flatten(1), t.flatten(x, 0, 1), x.ravel()),
        lambda t, x: (x.unsqueeze(0).squeeze(), x.unsqueeze(-1).squeeze(-1), x.unsqueeze(1).squeeze((0, 1))),
        lambda t, x: (x.transpose(0, 2), x.permute(2, 0, 1), x.movedim(0, -1), x.mT, x[0].t(), x.swapaxes(1, 2)),
        lambda t, x: t.movedim(x, (0, 1), (2, 0)),
        lambda t, x: (x[:, :1].expand(2, 4, 5), x.expand(3, -1, -1, -1), x[0].expand_as(x)),
        lambda t, x: (x.repeat(2, 1, 3), x[0, 0].repeat(2, 2), t.tile(x, (2,)), x.repeat_interleave(2, dim=1)),
        lambda t, x: (t.cat([x, x * 2], 1), t.stack([x, x * 2], -1), t.hstack([x, x]), t.vstack([x[0], x[1]])),
        lambda t, x: (x.split(2, dim=2), x.split([1, 2], 1), x.chunk(2, -1), x.unbind(1), t.tensor_split(x, 2, 2)),
        lambda t, x: (x.flip(0), x.flip([1, 2]), x.roll(2, 2), x.roll((1, -1), (0, 2)), t.rot90(x, 1, (1, 2))),
        lambda t, x: (t.rot90(x, 3, (1, 2)), t.rot90(x, 2, (0, 1)), x.roll(3)),
        lambda t, x: t.functional.pad(x, (1, 2)),
        lambda t, x: t.functional.pad(x, (1, 0, 2, 1), value=3.0),
        lambda t, x: t.functional.pad(x, (-1, 2)),
        lambda t, x: t.functional.pad(x, (2, 1), mode="reflect"),
        lambda t, x: t.functional.pad(x, (2, 1), mode="replicate"),
        lambda t, x: t.functional.pad(x, (2, 1), mode="circular"),
        lambda t, x: (x.narrow(1, 1, 2), x.select(2, -1), x.unflatten(2, (5, -1))),
        lambda t, x: (x.tril(), x.triu(1), t.tril(x, -1)),
        lambda t, x: (x[0].diagonal(), x[0].diagonal(1), x[0].diagonal(-1), x.diagonal(0, 0, 2), t.trace(x[0])),
        lambda t, x: (t.diag(x[0]), t.diag(x[0, 0]), t.diag(x[0, 0], 2), t.diag(x[0, 0], -1), t.diag_embed(x)),
        lambda t, x: t.meshgrid(x[0, 0], x[0, :, 0], indexing="ij"),
        lambda t, x: t.meshgrid(x[0, 0], x[0, :, 0], indexing="xy"),
        lambda t, x: t.broadcast_tensors(x, x[:, :1]),
        lambda t, x: (x.contiguous(), x.transpose(0, 1).contiguous()),
    ],
)
def test_shapes(f):
    agree(f, (2, 3, 5))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x, i: (t.gather(x, 1, i), x.gather(0, i % 2)),
        lambda t, x, i: (x.scatter(1, i[:, :1], 9.0), x.scatter(1, i[:1, :2], x[:1, 1:] * 2)),
        lambda t, x, i: (x.scatter_add(1, i, x * 2), t.zeros(2, 3, dtype=x.dtype).scatter_add(0, i % 2, x)),
        lambda t, x, i: (x.index_select(1, i[0]), t.index_select(x, 0, i[1])),
        lambda t, x, i: (x.index_add(1, i[0], x * 2), x.index_add(0, i[0][:1], x[:1], alpha=3)),
        lambda t, x, i: (x.masked_fill(x > 0, -1.0), x.masked_select(x > 0), t.where(x > 0, x, 0.0)),
        lambda t, x, i: (t.take_along_dim(x, i, 1), t.take(x, i)),
        lambda t, x, i: (x[i[0] % 2], x[:, i[0]], x[i % 2, i], x[x > 0], x[None, ..., 1]),
        lambda t, x, i: (t.sort(x, 1), x.sort(0, descending=True), x.argsort(1), t.topk(x, 2, 1)),
        lambda t, x, i: (t.topk(x, 2, 1, largest=False), t.kthvalue(x, 2, 1), x.median(1), x.median()),
        lambda t, x, i: (t.nonzero(x > 0), t.nonzero(x > 0, as_tuple=True)),
        lambda t, x, i: (t.one_hot(i), t.one_hot(i, 5), t.bincount(i.flatten())),
        lambda t, x, i: (x.index_fill(1, i[0][:2], 3.0), x.index_copy(1, i[0], x * 2)),
        lambda t, x, i: (t.functional.embedding(i % 2, x), t.functional.embedding(i % 2, x, padding_idx=1)),
        lambda t, x, i: t.searchsorted(t.tensor([0.0, 0.5, 1.0], dtype=t.float64), x.detach(), right=True),
    ],
)
def test_indexing(f):
    agree(f, (2, 3), POSITIONS)


@pytest.mark.parametrize(
    "shapes",
    [
        [(3,), (3,)], [(2, 3), (3,)], [(3,), (3, 4)], [(2, 3), (3, 4)], [(5, 2, 3), (3, 4)], [(5, 2, 3), (3,)],
        [(3,), (5, 3, 4)], [(5, 2, 3), (5, 3, 4)], [(6, 1, 2, 3), (5, 3, 4)], [(2, 3), (5, 3, 4)],
    ],
)  # fmt: skip
def test_matmul(shapes):
    agree(lambda t, a, b: a @ b, *shapes)


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("i,j->ij", [(2,), (3,)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("ij->ji", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]),
        ("...ij,jk", [(5, 2, 3), (3, 4)]),
        ("i,ij,j", [(2,), (2, 3), (3,)]),
        ("ijk,ilm,njm,nlk,abc->", [(2, 3, 4), (2, 5, 6), (7, 3, 6), (7, 5, 4), (2, 2, 2)]),
        ("bn,anm,bm->ba", [(2, 5), (3, 5, 4), (2, 4)]),
        ("ij,ij->i", [(2, 3), (2, 3)]),
    ],
)
def test_einsum(equation, shapes):
    agree(lambda t, *xs: t.einsum(equation, *xs), *shapes)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x, y: (t.mm(x, y.t()), t.bmm(x[None], y.t()[None]), t.mv(x, y[0]), t.dot(x[0], y[0])),
        lambda t, x, y: (t.outer(x[0], y[1]), t.inner(x, y), t.addmm(x[:, :2], x, y.t(), beta=2, alpha=3)),
        lambda t, x, y: (t.tensordot(x, y, ([0, 1], [0, 1])), t.tensordot(x, y.t(), 1)),
        lambda t, x, y: (t.linear(x, y), t.linear(x, y, y[:, 0]), t.linear(x[0], y)),
    ],
)
def test_products(f):
    agree(f, (2, 3), (2, 3))


def test_creation():
    def make(t):
        return (
            t.arange(5), t.arange(1, 7, 2), t.arange(0.0, 1.0, 0.3), t.arange(5.0), t.arange(5, 0, -2),
            t.linspace(0, 1, 5), t.linspace(-2, 3, 7), t.linspace(1, 2, 1), t.eye(3), t.eye(2, 4),
            t.zeros(2, 3), t.ones((2,)),
            t.full((2, 2), 3), t.full((2,), 1.5), t.full((), True), t.zeros_like(t.ones(3, dtype=t.int32)),
            t.ones_like(t.zeros(2)), t.full_like(t.zeros(2), 4), t.tensor(3), t.tensor(2.5), t.tensor([1, 2]),
            t.tensor([[1.0, 2]]), t.tensor([True]), t.tensor([]), t.as_tensor([1, 2.0]), t.zeros(0, 3),
            t.tensor([1, 2], dtype=t.float16), t.logspace(0, 2, 3), t.tril_indices(3, 3), t.triu_indices(2, 4, 1),
            t.arange(3, dtype=t.float32), t.zeros(()), t.tensor(np.arange(3, dtype=np.int32)), t.tensor([[]]),
        )  # fmt: skip

    agree(lambda t: make(t), rtol=1e-6)
