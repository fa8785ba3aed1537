"""Activations, softmax and similarity against PyTorch: values, dtypes, gradients, in place, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.functions.compare import TORCH, TRACEC, agree
from tracec.errors import ShapeError

ACTIVATIONS = {
    "relu": (), "relu6": (), "sigmoid": (), "tanh": (), "gelu": (), "silu": (), "mish": (), "leaky_relu": (0.2,),
    "elu": (1.3,), "selu": (), "celu": (0.5,), "softplus": (2.0, 1.5), "softsign": (), "logsigmoid": (),
    "hardtanh": (-0.5, 0.75), "hardsigmoid": (), "hardswish": (), "tanhshrink": (), "hardshrink": (0.75,),
    "softshrink": (0.75,), "threshold": (0.5, -3.0), "rrelu": (0.1, 0.3), "glu": (-1,), "softmax": (1,),
    "log_softmax": (0,), "softmin": (-1,),
}  # fmt: skip

#: Bounds of the pieces among them.
POINTS = np.array([[-np.inf, -4.0, -3.0, -1.0, -0.75, -0.5], [0.0, 0.5, 0.75, 3.0, 6.0, np.inf]])


#: PyTorch's derivative has a factor in float32.
RTOL = {"hardsigmoid": 1e-7}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    f = lambda t, x: getattr(t.functional, name)(x, *ACTIVATIONS[name])  # noqa: E731
    agree(f, (3, 4), low=-4, high=4, rtol=RTOL.get(name, 1e-9))


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in ("glu", "softmax", "log_softmax", "softmin")])
def test_bounds_and_infinities(name):
    # Where there is a corner, both take the same side of it.
    inside = POINTS if name not in ("gelu", "silu", "mish", "softsign", "tanhshrink", "hardswish") else POINTS[:, 1:-1]
    agree(lambda t, x: getattr(t.functional, name)(x, *ACTIVATIONS[name]), inside, rtol=RTOL.get(name, 1e-9))
    agree(lambda t, x: getattr(t.functional, name)(x.detach(), *ACTIVATIONS[name]), np.array([np.nan, 1.0]))


@pytest.mark.parametrize(
    "name", ["relu_", "elu_", "selu_", "celu_", "leaky_relu_", "hardtanh_", "threshold_", "rrelu_"]
)
def test_in_place(name):
    def f(t, x):
        y = x * 2
        view = y[1:]
        assert getattr(t.functional, name)(view, *ACTIVATIONS[name[:-1]]) is view
        return y, view * 3

    agree(f, (3, 4))


@pytest.mark.parametrize("name", ["relu", "relu6", "silu", "mish", "hardswish", "hardsigmoid", "hardtanh", "celu"])
def test_in_place_by_argument(name):
    def f(t, x):
        y = x * 2
        assert getattr(t.functional, name)(y, inplace=True) is y
        return y

    agree(f, (3, 4), rtol=RTOL.get(name, 1e-9))


def test_integers_stay_integers():
    agree(lambda t, x: t.functional.hardtanh(x, -1.5, 2.5), np.array([-4, 0, 3]))
    agree(lambda t, x: (t.functional.relu6(x), t.threshold(x, 1, 7), t.relu(x)), np.array([-4, 0, 3, 9]))


@pytest.mark.parametrize(
    "shapes", [((), (1,)), ((), ()), ((5,), (1,)), ((2, 3), (3,)), ((2, 3, 4), (3,)), ((0, 3), (3,))]
)
def test_prelu(shapes):
    agree(lambda t, x, w: t.prelu(x, w), *shapes)


def test_softmax_of_nothing_and_of_other_dtypes():
    for name in ("softmax", "log_softmax", "softmin"):
        agree(lambda t, x, n=name: getattr(t.functional, n)(x, -1), (5, 0, 0))
        agree(lambda t, x, n=name: getattr(t.functional, n)(x, 0), ())
        agree(lambda t, x, n=name: getattr(t.functional, n)(x, 0, dtype=t.float32), np.array([1, 2, 3]), rtol=1e-6)
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        assert TRACEC.functional.softmax(TRACEC.ones(2, 4)).tolist() == [[0.25] * 4] * 2
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        assert TRACEC.functional.softmax(TRACEC.ones(2, 4, 1)).tolist() == [[[0.5]] * 4] * 2


def test_cosine_similarity():
    agree(lambda t, x, y: t.cosine_similarity(x, y), (3, 4), (3, 4))
    agree(lambda t, x, y: t.cosine_similarity(x, y, dim=-2), (1, 2, 3), (2, 1, 3))
    agree(lambda t, x, y: t.cosine_similarity(x * 0.01, y, dim=0, eps=1.0), (4,), (4,))
    agree(lambda t, x, y: t.cosine_similarity(x, y, dim=0), (), ())


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t.prelu(t.ones(2, 3), t.ones(2)),
        lambda t: t.prelu(t.tensor(1.0), t.ones(2)),
        lambda t: t.prelu(t.ones(2, 3), t.ones(1, 3)),
        lambda t: t.functional.hardtanh(t.ones(2), 2.0, 1.0),
        lambda t: t.functional.softshrink(t.ones(2), -1.0),
        lambda t: t.celu(t.ones(2), 0.0),
        lambda t: t.functional.glu(t.ones(3)),
        lambda t: t.functional.glu(t.tensor(1.0)),
        lambda t: t.functional.gumbel_softmax(t.ones(2).long()),
        lambda t: t.dropout(t.ones(2), 1.5, True),
        lambda t: t.functional.dropout1d(t.ones(2), 0.5),
        lambda t: t.softmax(t.ones(2), 1),
        lambda t: t.softmax(t.ones(2).long(), 0),
    ],
)
def test_what_is_refused(f):
    with pytest.raises(Exception) as theirs:
        f(TORCH)
    with pytest.raises(type(theirs.value)):
        f(TRACEC)


def test_gumbel_softmax():
    tracec.manual_seed(0)
    logits = tracec.tensor([0.1, 0.2, 0.7]).log().requires_grad_()
    rows = logits.expand(4000, 3)
    hard = tracec.nn.functional.gumbel_softmax(rows, tau=0.5, hard=True)
    assert sorted(set(hard.detach().numpy().ravel().round(6).tolist())) == [0.0, 1.0]
    assert abs(hard.detach().mean(0) - tracec.tensor([0.1, 0.2, 0.7])).max() < 0.03
    (hard * tracec.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad.abs().min() > 1
    soft = tracec.nn.functional.gumbel_softmax(rows, tau=0.5, dim=0)
    assert tracec.allclose(soft.sum(0), tracec.ones(3)) and soft.min() > 0


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name):
    tracec.manual_seed(0)
    x = tracec.randn(200, 300, 1)
    y = getattr(tracec.nn.functional, name)(x, 0.3, training=True)
    assert abs(y.mean().item()) < 0.02 and abs(y.var().item() - 1) < 0.03
    assert getattr(tracec.nn.functional, name)(x, 0.3) is x
    assert not getattr(tracec.nn.functional, name)(x, 1.0, True).any()


@pytest.mark.parametrize(
    ("name", "shape"), [("dropout1d", (9, 8, 7)), ("dropout2d", (9, 8, 3, 2)), ("dropout3d", (9, 8, 3, 2, 2))]
)
def test_dropout_of_channels(name, shape):
    tracec.manual_seed(0)
    y = getattr(tracec.nn.functional, name)(tracec.ones(shape), 0.5).flatten(2)
    assert ((y == 0).all(2) | (y == 2).all(2)).all()
    assert 0 < y.mean() < 2
    single = (
        getattr(tracec.nn.functional, name)(tracec.ones(shape), 0.5)[0]
        if name == "dropout2d"
        else getattr(tracec.nn.functional, name)(tracec.ones(shape[1:]), 0.5)
    )
    assert ((single.flatten(1) == 0).all(1) | (single.flatten(1) == 2).all(1)).all()


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_way_back_of_a_softmax(name, dim):
    """Programs that mask their softmax call it in a backward of their own; it has gradients itself."""
    agree(
        lambda t, x, g: getattr(t, f"_{name}_backward_data")(g, getattr(t.functional, name)(x, dim), dim, x.dtype),
        (3, 4),
        (3, 4),
    )
    x = tracec.randn(3, 4, dtype=tracec.float64, requires_grad=True)
    g = tracec.randn(3, 4, dtype=tracec.float64)
    out = tracec.softmax(x, dim) if name == "softmax" else tracec.log_softmax(x, dim)
    (expected,) = tracec.autograd.grad(out, x, g)
    back = getattr(tracec, f"_{name}_backward_data")
    found = tracec.compile(lambda g, out: back(g, out, dim, tracec.float32))(g, out.detach())
    assert found.dtype is tracec.float32
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)
    with pytest.raises(ShapeError, match=r"a gradient of shape \(4,\) for a result of shape \(3, 4\)"):
        back(g[0], out, dim, tracec.float32)


def test_conditions_of_programs():
    tracec._assert(tracec.tensor(True), "holds")
    with pytest.raises(AssertionError, match="two axes"):
        tracec._assert(tracec.ones(2).ndim == 2, "two axes")
