"""Convolution and its gradients: values against PyTorch and against the definition, second derivatives, errors."""

from itertools import product

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import check_second_derivatives, typed
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ops import conv_arrays
from tracec.ops.conv import conv, conv_input_grad, conv_shape, conv_weight_grad

CASES = [(tuple(a.shape for a in s.args), dict(s.params)) for s in conv.samples]


def infer(op, *types, **params):
    return op.infer(types, op.bind(params))


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s) for s in shapes]


def three(x, w, params):
    """The results of the three operators for one input, weight and gradient of the result."""
    y = conv.eager(np, x, w, **params)
    (g,) = draw(y.shape, seed=3)
    dx = conv_input_grad.eager(np, g, w, shape=x.shape, **params)
    dw = conv_weight_grad.eager(np, x, g, shape=w.shape, **params)
    return g, y, dx, dw


@pytest.mark.parametrize("shapes, params", CASES)
def test_values_and_gradients_agree_with_torch(shapes, params):
    torch = pytest.importorskip("torch")
    x, w = draw(*shapes)
    g, y, dx, dw = three(x, w, params)
    tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
    pad = [p for pair in reversed(params["padding"]) for p in pair]
    run = getattr(torch.nn.functional, f"conv{x.ndim - 2}d")
    rest = {k: params[k] for k in ("stride", "dilation", "groups")}
    ty = run(torch.nn.functional.pad(tx, pad), tw, **rest)
    tdx, tdw = torch.autograd.grad(ty, [tx, tw], torch.tensor(g))
    for found, expected in ((y, ty.detach()), (dx, tdx), (dw, tdw)):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-10, atol=1e-10)


def test_values_follow_the_definition():
    (x, w), params = draw((2, 4, 7, 6), (6, 2, 2, 3)), {
        "stride": (2, 3), "padding": ((2, 0), (1, 1)), "dilation": (1, 2), "groups": 2,
    }  # fmt: skip
    y = conv.eager(np, x, w, **params)
    expected = np.zeros_like(y)
    for n, o, i, j in product(*map(range, y.shape)):
        for c, k, m in product(*map(range, w.shape[1:])):
            row, column = 2 * i + k - 2, 3 * j + 2 * m - 1
            if 0 <= row < 7 and 0 <= column < 6:
                expected[n, o, i, j] += x[n, o // 3 * 2 + c, row, column] * w[o, c, k, m]
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_blocks_of_images_give_the_same_values(monkeypatch):
    x, w = draw((5, 4, 6, 5), (6, 2, 3, 2))
    params = {"stride": (1, 2), "padding": ((1, 1), (0, 1)), "dilation": (1, 1), "groups": 2}
    whole = three(x, w, params)
    for nbytes in (1, 20_000):
        monkeypatch.setitem(conv_arrays._BLOCK_BYTES, "numpy", nbytes)
        for found, expected in zip(three(x, w, params), whole, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shapes, params", [c for c in CASES if c[0][0][0]])
def test_images_that_have_products_of_their_own_give_the_same_values(shapes, params, monkeypatch):
    x, w = draw(*shapes)
    rows, shared = conv_arrays._rows, []
    monkeypatch.setattr(conv_arrays, "_rows", lambda *args: shared.append(1) or rows(*args))
    together = three(x, w, params)
    assert not shared  # these are small
    monkeypatch.setattr(conv_arrays, "_PLACES", 1)
    monkeypatch.setattr(conv_arrays, "_PLACES_BACK", 1)
    for nbytes in (1, 20_000):
        monkeypatch.setattr(conv_arrays, "_APART_BYTES", nbytes)
        for found, expected in zip(three(x, w, params), together, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert shared


@pytest.mark.parametrize("dtype", [dt.float16, dt.bfloat16])
def test_16_bit_floats_are_summed_in_float32(dtype):
    x, w = np.ones((1, 4096, 1), dtype.numpy), np.ones((1, 4096, 1), dtype.numpy)
    y = conv.eager(np, x, w, stride=(1,), padding=((0, 0),), dilation=(1,), groups=1)
    assert y.dtype == dtype.numpy and float(y[0, 0, 0]) == 4096


def test_integers_convolve_exactly():
    x, w = np.arange(6).reshape(1, 1, 6), np.array([[[1, -1]]])
    y = conv.eager(np, x, w, stride=(2,), padding=((1, 0),), dilation=(2,), groups=1)
    assert y.dtype == np.int64 and y.tolist() == [[[-1, -2, -2]]]


@pytest.mark.parametrize("shapes, params", CASES[:5])
def test_derivatives_close_over_the_three_operators(shapes, params):
    x, w = draw(*shapes)
    y = draw(conv_shape(*shapes, **params))[0]
    check_second_derivatives(conv, [x, w], **params)
    check_second_derivatives(conv_input_grad, [y, w], shape=x.shape, **params)
    check_second_derivatives(conv_weight_grad, [x, y], shape=w.shape, **params)


PLAIN = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}


@pytest.mark.parametrize(
    "x, w, changed, error, text",
    [
        (
            typed(2, 3, 8), typed(4, 2, 3), {}, ShapeError,
            "conv: input (2, 3, 8) has 3 channels (axis 1), weight (4, 2, 3) with groups=1 takes 2\n"
            "  hint: the weight is (O, C / groups, *kernel)",
        ),
        (
            typed(2, 3, 4), typed(4, 3, 3), {"dilation": (2,)}, ShapeError,
            "conv: window (3,) does not fit in spatial sizes (4,) "
            "(spatial axis 0: window 3 (spans 5 at dilation 2), size 4)\n"
            "  hint: pad the input, or use a smaller window or dilation",
        ),
        (
            typed(2, 3, 4), typed(4, 3, 3), {"stride": (1, 1)}, ArgumentError,
            "conv: stride=(1, 1) does not fit 1 spatial axes\n"
            "  hint: give 1 integers of at least 1, one for each spatial axis",
        ),
        (
            typed(2, 3, 4), typed(4, 3, 3), {"padding": ((-1, 0),)}, ArgumentError,
            "conv: padding=((-1, 0),) does not fit 1 spatial axes\n  hint: give 1 pairs (low, high), none negative",
        ),
        (
            typed(2, 3, 4), typed(4, 1, 3), {"groups": 3}, ArgumentError,
            "conv: 4 output channels do not divide into 3 groups\n  hint: the weight is (O, C / groups, *kernel)",
        ),
        (
            typed(2, 3, 4), typed(4, 3), {}, ShapeError,
            "conv: input (2, 3, 4) and weight (4, 3) are not (N, C, *sizes) and (O, C / groups, *kernel)\n"
            "  hint: both need a batch or output axis, a channel axis and the same number, 1 or more, of spatial axes",
        ),
        (
            typed(2, 3, 4), typed(4, 3, 3, dtype=dt.float64), {}, DTypeError,
            "conv: operands have dtypes f32 and f64\n  hint: cast one to the other's dtype",
        ),
    ],
)  # fmt: skip
def test_errors(x, w, changed, error, text):
    with pytest.raises(error) as caught:
        infer(conv, x, w, **{**PLAIN, **changed})
    assert said(caught.value) == text


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ShapeError) as caught:
        infer(conv_input_grad, typed(2, 4, 9), typed(4, 3, 3), shape=(2, 3, 8), **PLAIN)
    assert said(caught.value) == (
        "conv_input_grad: gradient (2, 4, 9) is not of the shape of the convolution's result, (2, 4, 6)\n"
        "  hint: pass the shape, stride, padding, dilation and groups of the convolution itself"
    )
    with pytest.raises(ShapeError, match=r"conv_weight_grad: gradient \(2, 5, 6\)"):
        infer(conv_weight_grad, typed(2, 3, 8), typed(2, 5, 6), shape=(4, 3, 3), **PLAIN)


def test_windows_of_one_element_with_padding_have_gradients_of_their_input():
    x, w = draw((2, 3, 20, 20), (5, 3, 1, 1))
    params = {"stride": (1, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 1), "groups": 1}
    g, _, dx, _ = three(x, w, params)
    np.testing.assert_allclose(dx, np.einsum("nohw,oc->nchw", g[:, :, 1:, 2:-1], w[:, :, 0, 0]), rtol=1e-10, atol=1e-12)


def test_gradients_of_inputs_by_convolutions_are_those_by_folding(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(conv_arrays, "_PLACES", 1)
    turned, chosen = 0, conv_arrays._is_turned
    for _ in range(400):
        n, groups = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        kernel, stride, dilation, sizes = (rng.integers(1, top, n).tolist() for top in (5, 4, 3, 10))
        padding = tuple((int(low), int(high)) for low, high in rng.integers(0, 5, (n, 2)))
        p = {"stride": tuple(stride), "padding": padding, "dilation": tuple(dilation), "groups": groups}
        shape = (2, groups * int(rng.integers(1, 4)), *sizes)
        w = rng.standard_normal((groups * int(rng.integers(1, 4)), shape[1] // groups, *kernel))
        try:
            counts = conv_shape(shape, w.shape, **p)
        except ShapeError:
            continue  # windows larger than what they go over
        g = rng.standard_normal(counts)
        turned += chosen(np, shape, w, p["stride"], p["dilation"], counts[2:])
        found = conv_arrays.conv_input_grad_arrays(np, g, w, shape=shape, **p)
        with monkeypatch.context() as patch:
            patch.setattr(conv_arrays, "_is_turned", lambda *_: False)
            folded = conv_arrays.conv_input_grad_arrays(np, g, w, shape=shape, **p)
        np.testing.assert_allclose(found, folded, rtol=1e-10, atol=1e-10)
    assert turned > 50
