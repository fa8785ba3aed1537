"""Methods that write into their tensor, methods that turn it, and ``out=``: values, aliasing, gradients, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentTypeError, DTypeError, GradientError, ShapeError
from tracec.record.method import IN_PLACE, METHODS, TURNING
from tracec.record.out import OUT

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

UNARY = """
    abs acosh arctanh asin atan ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor frac log log10 log1p log2 neg
    rad2deg reciprocal relu round rsqrt sigmoid sign sin sinh sqrt square tan tanh trunc
"""
BINARY = "add sub mul div atan2 fmod remainder pow hypot heaviside eq lt ge xlogy logical_and"


def both(f):
    return f(tracec), f(torch)


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_every_method_of_torchs_whose_function_is_there():
    theirs = {n for n in dir(torch.Tensor) if n.endswith("_") and not n.endswith("__") and not n.startswith("_")}
    lacking = [n for n in theirs if hasattr(tracec.Tensor, n[:-1]) and not hasattr(tracec.Tensor, n)]
    assert lacking == []
    assert {n + "_" for n in (*IN_PLACE, *TURNING)} <= theirs


@pytest.mark.parametrize("name", UNARY.split())
def test_writing_is_what_the_function_gives(name):
    x = tracec.tensor([[0.3, 0.9], [0.5, 0.7]]) + (1 if name == "acosh" else 0)
    want, view = getattr(x, name)(), x[:, 0]
    assert getattr(x, name + "_")() is x
    np.testing.assert_array_equal(x.numpy(), want.numpy())
    np.testing.assert_array_equal(view.numpy(), want[:, 0].numpy())


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("name", BINARY.split())
def test_writing_with_two_operands_as_torch(name):
    def run(t):
        x = t.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=t.float64)
        view = x[:, 1:]
        getattr(view, name + "_")(t.tensor([2.0, 3.0], dtype=t.float64))
        return x.tolist()

    np.testing.assert_allclose(run(tracec), run(torch))


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("name", ["add", "mul", "exp", "sin", "sqrt", "div", "pow", "sigmoid", "neg"])
def test_gradients_through_views_as_torch(name):
    def run(t):
        w = t.tensor([[0.4, 0.8], [0.2, 0.6]], dtype=t.float64, requires_grad=True)
        y = w * 1
        row = y[0]
        before = y * 2  # what was computed with the values before keeps its gradient
        getattr(row, name + "_")(*([] if name in ("exp", "sin", "sqrt", "sigmoid", "neg") else [2]))
        ((y * t.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=t.float64)).sum() + before.sum()).backward()
        return w.grad.tolist()

    np.testing.assert_allclose(run(tracec), run(torch), rtol=1e-12)


CASTS = [
    (lambda t: t.ones(2, dtype=t.int64).add_(1.5), DTypeError),
    (lambda t: t.ones(2, dtype=t.bool).add_(1), DTypeError),
    (lambda t: t.ones(2, dtype=t.int32).div_(2), DTypeError),
    (lambda t: t.ones(2, dtype=t.int32).sqrt_(), DTypeError),
    (lambda t: t.ones(2).add_(t.ones(3, 2)), ShapeError),
    (lambda t: t.ones(2, requires_grad=True).mul_(2), GradientError),
    (lambda t: t.ones(2, requires_grad=True)[0].mul_(2), GradientError),
    (lambda t: t.ones(2, requires_grad=True).unsqueeze_(0), GradientError),
    (lambda t: t.ones(1).expand(3).add_(1), RuntimeError),
]


@pytest.mark.parametrize("f, error", CASTS)
def test_what_is_refused(f, error):
    with pytest.raises(error):
        f(tracec)
    if torch is not None:
        with pytest.raises(RuntimeError):
            f(torch)


KEPT = [
    lambda t: t.ones(2, dtype=t.float16).add_(t.ones(2, dtype=t.float64)),
    lambda t: t.ones(2, dtype=t.int8).mul_(t.full((2,), 300)),
    lambda t: t.tensor([1.0, 0.0]).eq_(1),
    lambda t: t.tensor([3, 0]).logical_not_(),
    lambda t: t.tensor([3, 0]).logical_and_(t.tensor([1.0, 1.0])),
    lambda t: t.ones(2, 3).transpose_(0, 1),
    lambda t: t.ones(2, 3).t_(),
    lambda t: t.ones(2, 1, 3).squeeze_(1),
    lambda t: t.ones(1, 2, 1).squeeze_(),
    lambda t: t.ones(2).unsqueeze_(-1),
    lambda t: t.ones(2, 3, 4).swapaxes_(0, 2),
]


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("f", KEPT)
def test_types_and_shapes_as_torch(f):
    ours, theirs = both(f)
    assert ours.tolist() == theirs.tolist() and ours.type() == theirs.type() and ours.stride() == theirs.stride()


# Turning -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_turned_tensors_and_their_views_share_memory_and_gradients_as_torch():
    def run(t):
        w = t.arange(6.0, dtype=t.float64).requires_grad_()
        x = (w * 2).view(2, 3)
        before = x[1]
        x.t_()
        after = x[0]
        x.unsqueeze_(0)
        x.mul_(3)
        before.add_(1)
        after.mul_(t.tensor([1.0, 2.0], dtype=t.float64))
        weights = t.arange(6.0, dtype=t.float64).view(1, 3, 2)
        ((x * weights).sum() + (before * 5).sum() + (after * 7).sum()).backward()
        return x.tolist(), before.tolist(), after.tolist(), w.grad.tolist()

    for a, b in zip(*both(run), strict=True):
        np.testing.assert_allclose(a, b)


def test_turning():
    x = tracec.arange(6.0).reshape(2, 3)
    row = x[0]
    assert x.t_() is x and tuple(x.shape) == (3, 2)
    x[0, 0] = 9
    assert row.tolist() == [9, 1, 2]
    with tracec.no_grad():
        p = tracec.ones(2, 3, requires_grad=True)
        p.t_()
    assert p.is_leaf and p.requires_grad and tuple(p.shape) == (3, 2)
    (p * 2).sum().backward()
    assert tuple(p.grad.shape) == (3, 2)


def test_turning_inside_of_compiled_functions():
    @tracec.compile
    def inside(x):
        y = x * 2
        y.unsqueeze_(0).t_()
        return y + 1

    assert [inside(tracec.ones(3)).tolist() for _ in range(2)] == [[[3], [3], [3]]] * 2
    outside = tracec.compile(lambda x: x.t_())
    with pytest.warns(RuntimeWarning, match="t_: cannot change the shape of a tensor from outside"):
        assert [outside(tracec.ones(2, 3)).shape for _ in range(3)] == [(3, 2)] * 3


# out= ----------------------------------------------------------------------------------------------------

OUTS = [
    lambda t, o: t.add(t.ones(2), 1, out=o),
    lambda t, o: t.sin(t.ones(2, 3), out=o),
    lambda t, o: t.matmul(t.ones(2, 3), t.ones(3, 2), out=o),
    lambda t, o: t.cat([t.ones(2), t.zeros(1)], out=o),
    lambda t, o: t.sum(t.ones(2, 3), 1, out=o),
    lambda t, o: t.eq(t.ones(2), 1, out=o),
    lambda t, o: t.arange(3, out=o),
    lambda t, o: t.stack([t.ones(2), t.zeros(2)], dim=1, out=o),
    lambda t, o: t.linalg.inv(t.eye(2) * 2, out=o),
    lambda t, o: t.linalg.norm(t.ones(2, 2), out=o),
    lambda t, o: t.fft.irfft(t.fft.rfft(t.arange(4.0)), out=o),
    lambda t, o: t.special.expm1(t.ones(2), out=o),
    lambda t, o: t.where(t.tensor([True, False]), t.ones(2), t.zeros(2), out=o),
]


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("f", OUTS)
def test_out_as_torch(f):
    ours, theirs = tracec.empty(0), torch.empty(0)
    assert f(tracec, ours) is ours
    f(torch, theirs)
    assert ours.type() == theirs.type()
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_out():
    x = tracec.arange(6.0).reshape(2, 3)
    values, positions = tracec.empty(0), tracec.empty(0, dtype=tracec.int64)
    found = tracec.max(x, 1, out=(values, positions))
    assert found.values is values and values.tolist() == [2, 5] and found[1].tolist() == [2, 2]
    wide = tracec.empty(0, dtype=tracec.float64)
    assert tracec.add(x, 1, out=wide).dtype is tracec.float64 and wide[1].tolist() == [4, 5, 6]
    assert tracec.add(x, 1, out=x) is x and x[0].tolist() == [1, 2, 3]
    view = x[:, 0]
    assert tracec.neg(view, out=view).tolist() == [-1, -4] and x[0, 0].item() == -1
    with pytest.warns(UserWarning, match="sin: an output with one or more elements was resized"):
        tracec.sin(x, out=tracec.ones(1))


@pytest.mark.parametrize(
    "f, error, message",
    [
        (lambda x: tracec.sin(x, out=[1]), ArgumentTypeError, "sin: out must be a tensor, list given"),
        (lambda x: tracec.max(x, 0, out=x), ArgumentTypeError, "max: out must be 2 tensors"),
        (
            lambda x: tracec.sin(x, out=tracec.ones(2, dtype=tracec.int64)),
            DTypeError,
            "result type float32 can't",
        ),
        (lambda x: tracec.sin(x.requires_grad_(), out=tracec.ones(2)), GradientError, "sin: functions with out="),
        (lambda x: tracec.sin(x, out=tracec.ones(2, requires_grad=True)), GradientError, "sin: functions with out="),
        (lambda x: tracec.expand(x, out=x), TypeError, "out"),
    ],
)
def test_what_out_refuses(f, error, message):
    with pytest.raises(error, match=message):
        f(tracec.ones(2))


def test_out_in_compiled_functions():
    @tracec.compile
    def f(x, into):
        tracec.mul(x, 3, out=into)
        return into + 1

    into = tracec.zeros(2)
    for _ in range(2):
        assert f(tracec.ones(2), into).tolist() == [4, 4] and into.tolist() == [3, 3]


def test_functions_tell_that_they_take_out():
    import inspect

    assert (
        "out" in inspect.signature(tracec.sin).parameters and "out" not in inspect.signature(METHODS["sin"]).parameters
    )
    assert {"add", "matmul", "sort"} <= OUT


MATRICES = {
    "as it is": lambda x: x,
    "turned": lambda x: x.mT,
    "its axes in another order": lambda x: x.permute(2, 0, 1),
    "a part": lambda x: x[:, 1:3, :2],
    "a part, turned": lambda x: x[0, 1:, 2:].t()[None],
    "every other": lambda x: x[..., ::2, ::2],
    "one value for each": lambda x: x[:, :2, :2, None].squeeze(-1),
}
DIAGONALS = ((0, -2, -1), (0, -1, -2), (1, -1, -2), (-1, -2, -1), (0, 0, 2), (1, 1, 0), (9, -1, -2), (-9, 0, 1))


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("wrap", [lambda f: f, tracec.compile])
@pytest.mark.parametrize("name", MATRICES)
def test_what_is_written_into_a_diagonal_is_in_the_matrix(name, wrap):
    def written(t, offset, a, b):
        def run(x):
            diagonal = MATRICES[name](x).diagonal(offset, a, b)
            diagonal.add_(t.arange(diagonal.shape[-1]) + 100.0)
            return diagonal * 2

        x = t.arange(60.0).reshape(3, 4, 5)
        return (wrap(run) if t is tracec else run)(x).tolist(), x.tolist()

    for offset, a, b in DIAGONALS:
        assert written(tracec, offset, a, b) == written(torch, offset, a, b)


def test_diagonals_of_parts_have_gradients_where_they_are_asked_for():
    x = tracec.arange(12.0).reshape(3, 4).requires_grad_()
    for matrix in ((x * 2)[:2, :2], (x * 2).t(), (x * 2)[1:, 1:].t()):
        (gradient,) = tracec.autograd.grad(matrix.diagonal().sum(), matrix, retain_graph=True)
        np.testing.assert_array_equal(gradient.numpy(), np.eye(*matrix.shape))
    with tracec.no_grad():
        x[:2, :2].diagonal().fill_(-1)
    assert x[0, 0] == -1 == x[1, 1] and x.sum() == 66 - 0 - 5 - 2
    gaps = tracec.from_numpy(np.arange(20.0).reshape(4, 5)[:, :3])
    assert gaps.diagonal().tolist() == [0, 6, 12]  # no memory without gaps to look at


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("wrap", [lambda f: f, tracec.compile])
def test_what_is_written_into_one_row_of_all_elements(wrap):
    def written(t, name):
        x = t.arange(60.0).reshape(3, 4, 5)
        (wrap if t is tracec else lambda f: f)(lambda x: MATRICES[name](x).ravel().fill_(-1.0))(x)
        (wrap if t is tracec else lambda f: f)(lambda x: x[..., 1].ravel().mul_(2.0))(x)
        return x.tolist()

    for name in MATRICES:
        assert written(tracec, name) == written(torch, name)
