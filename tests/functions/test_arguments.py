"""Wrong arguments: the error names the function, the rule, what was given and what to do. Views alias."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import errors, nn
from tracec import functions as F

X = F.ones(2, 3)

CASES = {
    "sum axis": (lambda: X.sum(dim=5), errors.AxisError, "sum: axis 5 is out of range for a tensor of 2 dimensions"),
    "sum twice": (lambda: X.sum((0, 0)), errors.ShapeError, r"sum: dim=\(0, 0\) names an axis twice"),
    "mean": (lambda: F.tensor([1]).mean(), errors.DTypeError, "mean: takes floats and complex numbers, input is int64"),
    "softmax": (
        lambda: F.ones(3, dtype=tracec.bool).softmax(0),
        errors.DTypeError,
        "softmax: takes floats, input is bool",
    ),
    "softmax type": (
        lambda: F.softmax([1.0], 0),
        errors.ArgumentTypeError,
        "softmax: input must be a tensor, list given",
    ),
    "softmax of a number": (lambda: F.softmax(0, 0), errors.ArgumentTypeError, "softmax: input must be a tensor, int"),
    "log_softmax dtype": (lambda: X.log_softmax(0, {}), errors.ArgumentTypeError, "log_softmax: {} of type dict"),
    "broadcast_tensors": (
        lambda: F.broadcast_tensors(X, 0),
        errors.ArgumentTypeError,
        r"broadcast_tensors: tensors\[1\] must be a tensor, int given",
    ),
    "expand_as": (lambda: X.expand_as(0), errors.ArgumentTypeError, "expand_as: other must be a tensor"),
    "cov correction": (lambda: X.cov(correction="x"), errors.ArgumentTypeError, "cov: correction must be"),
    "cov weights": (lambda: X.cov(fweights=0), errors.ArgumentTypeError, "cov: fweights must be a tensor"),
    "diagonal": (lambda: X.diagonal(1.5), errors.ArgumentTypeError, "diagonal: offset must be"),
    "diag_embed": (lambda: F.diag_embed(X, "x"), errors.ArgumentTypeError, "diag_embed: offset must be"),
    "isclose": (lambda: X.isclose(X, rtol="x"), errors.ArgumentTypeError, "isclose: rtol must be a number"),
    "logical_or": (lambda: X.logical_or(0), errors.ArgumentTypeError, "logical_or: other must be a tensor"),
    "isin": (lambda: F.isin(X, "x"), errors.ArgumentTypeError, "isin: test_elements must be a number"),
    "ldexp": (lambda: X.ldexp("x"), errors.ArgumentTypeError, "ldexp: other must be a number"),
    "quantile": (lambda: X.quantile("x"), errors.ArgumentTypeError, "quantile: q must be a number"),
    "normalize": (lambda: nn.functional.normalize(X, 1j), errors.ArgumentTypeError, "norm: p must be a real number"),
    "cdist": (lambda: F.cdist(X, X, "x"), errors.ArgumentTypeError, "cdist: p must be a number"),
    "gradient": (lambda: F.gradient(X, dim=1.5), errors.TracecError, "gradient: "),
    "hardtanh": (lambda: nn.functional.hardtanh(X, "x"), errors.ArgumentTypeError, "hardtanh: min_val must be"),
    "rrelu": (lambda: nn.functional.rrelu(X, "x"), errors.ArgumentTypeError, "rrelu: lower must be a number"),
    "softshrink": (lambda: nn.functional.softshrink(X, "x"), errors.ArgumentTypeError, "softshrink: lambd must be"),
    "hardshrink": (lambda: nn.functional.hardshrink(X, "x"), errors.ArgumentTypeError, "hardshrink: lambd must be"),
    "margin": (
        lambda: nn.functional.triplet_margin_loss(X, X, X, margin="x"),
        errors.ArgumentTypeError,
        "triplet_margin_loss: margin must be a number",
    ),
    "huber": (lambda: nn.functional.huber_loss(X, X, delta="x"), errors.ArgumentTypeError, "huber_loss: delta must be"),
    "dropout": (lambda: nn.functional.dropout(X, 1j), errors.ArgumentTypeError, "dropout: p must be a real number"),
    "round": (lambda: X.round(decimals="x"), errors.ArgumentTypeError, "round: decimals must be"),
    "lerp": (lambda: X.lerp(X, "x"), errors.ArgumentTypeError, "lerp: weight must be a number"),
    "sinc": (lambda: F.sinc(0), errors.ArgumentTypeError, "sinc: input must be a tensor"),
    "view_as": (lambda: X.view_as(0), errors.ArgumentTypeError, "view_as: other must be a tensor"),
    "unflatten": (lambda: X.unflatten(1, 0), errors.ArgumentTypeError, "unflatten: sizes must be integers"),
    "movedim": (lambda: X.movedim(1.5, 0), errors.ArgumentTypeError, "movedim: "),
    "movedim twice": (lambda: X.movedim((0, -2), (0, 1)), errors.ArgumentError, "movedim: repeated dim in source"),
    "movedim to one": (lambda: X.movedim((0, 1), (1, -1)), errors.ArgumentError, "movedim: repeated dim in source"),
    "roll": (lambda: F.tensor(1.0).roll(0, 0), errors.AxisError, "roll: dims .0,. of a tensor that has no dimensions"),
    "masked_fill": (
        lambda: X.masked_fill(X > 0, F.tensor(1j)),
        errors.DTypeError,
        "masked_fill: value of type complex64 cannot be converted to float32",
    ),
    "linear bias": (
        lambda: nn.functional.linear(X, F.ones(4, 3), F.ones(4).double()),
        errors.DTypeError,
        "linear: weight is float32, bias float64",
    ),
    "conv bias": (
        lambda: nn.functional.conv1d(F.ones(1, 2, 3), F.ones(4, 2, 1), F.ones(4).half()),
        errors.DTypeError,
        "conv1d: weight is float32, bias float16",
    ),
    "class weights": (
        lambda: nn.functional.cross_entropy(X, F.tensor([0, 1]), F.ones(3).double()),
        errors.DTypeError,
        "cross_entropy: input is float32, weight float64",
    ),
    "batch_norm eps": (
        lambda: nn.functional.batch_norm(X, None, None, training=True, eps=0.0),
        errors.ArgumentError,
        "batch_norm: eps must be positive during training",
    ),
    "HuberLoss": (lambda: nn.HuberLoss(delta=1j), errors.ArgumentTypeError, "HuberLoss: delta must be a real number"),
    "LSTM bias": (lambda: nn.LSTM(2, 3, bias=1), errors.ArgumentTypeError, "LSTM: bias must be bool, int given"),
    "LSTM size": (lambda: nn.LSTM(0, 3), errors.ArgumentError, "LSTM: input_size must be greater than zero, 0 given"),
    "tensordot": (lambda: F.tensordot(X, X, 1.5), errors.ArgumentError, "tensordot: dims=1.5 is neither a number nor"),
    "renorm": (lambda: X.renorm("x", 0, 1.0), errors.ArgumentTypeError, "renorm: p must be a number"),
    "normal": (lambda: F.normal(X, "x"), errors.ArgumentTypeError, "normal: std must be a number"),
    "multinomial": (lambda: X.multinomial("x"), errors.ArgumentTypeError, "multinomial: num_samples must be"),
    "fft": (lambda: tracec.fft.fftn(X, dim=1.5), errors.ArgumentTypeError, "fftn: dim must be an integer"),
    "fftshift": (lambda: tracec.fft.fftshift(F.tensor(1), 0), errors.AxisError, "fftshift: dimension specified as 0"),
    "tensorsolve": (
        lambda: tracec.linalg.tensorsolve(F.ones(2, 3, 6), F.ones(2, 3), dims=(5,)),
        errors.AxisError,
        "linalg.tensorsolve: axis 5 is out of range for a tensor of 3 dimensions",
    ),
    "bilinear": (
        lambda: nn.functional.bilinear(F.ones(2, 3, 4), F.ones(6, 5), F.ones(7, 4, 5)),
        errors.ShapeError,
        r"bilinear: inputs of shapes \(2, 3, 4\) and \(6, 5\) for weight of shape \(7, 4, 5\)",
    ),
    "heads": (
        lambda: nn.functional.multi_head_attention_forward(
            X, X, X, 3, 0, F.ones(9, 3), None, None, None, False, 0.0, F.ones(3, 3), None
        ),
        errors.ArgumentError,
        "multi_head_attention_forward: num_heads=0 is not positive",
    ),
    "Bilinear": (lambda: nn.Bilinear(0, 2, 3), errors.ArgumentError, "Bilinear: in1_features=0 is not positive"),
    "div_value": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3, 5], div_value=0),
        errors.ArgumentError,
        "AdaptiveLogSoftmaxWithLoss: div_value=0 is not positive",
    ),
    "zeros": (lambda: F.zeros(-1), errors.ShapeError, r"zeros: size \(-1,\) has a negative size"),
    "zeros type": (lambda: F.zeros(1.5), errors.ArgumentTypeError, "zeros: size must be integers, float given"),
    "reshape": (lambda: F.ones(6).reshape(4, 2), errors.ShapeError, r"reshape: shape \(6,\) with 6 elements does not"),
    "matmul": (lambda: X @ F.ones(4, 5), errors.ShapeError, r"matmul: shapes \(2, 3\) and \(4, 5\) do not multiply"),
    "matmul dtype": (lambda: X @ F.ones(3, 5).double(), errors.DTypeError, "matmul: .*float32 and float64"),
    "bmm": (lambda: F.bmm(F.ones(2, 1, 1), F.ones(3, 1, 1)), errors.ShapeError, "bmm: .*stacks of different size"),
    "mm": (lambda: F.mm(X, F.ones(3)), errors.ShapeError, r"mm: mat2 of shape \(3,\) has 1 dimensions, not 2"),
    "cat": (
        lambda: F.cat([X, F.ones(2, 4)]),
        errors.ShapeError,
        r"cat: shapes \(2, 3\) and \(2, 4\) \(tensor 1\) differ",
    ),
    "cat empty": (lambda: F.cat([]), errors.ArgumentError, "cat: the list of tensors is empty"),
    "cat tensor": (lambda: F.cat(X), errors.ArgumentTypeError, "cat: takes a list of tensors, Tensor given"),
    "stack": (lambda: F.stack([X, F.ones(3)]), errors.ShapeError, "stack: shapes"),
    "split": (lambda: X.split([1, 1], 1), errors.ArgumentError, r"split: sizes \(1, 1\) do not add up to 3 \(axis 1\)"),
    "expand": (lambda: X.expand(3, 3), errors.ShapeError, r"expand: shape \(2, 3\) does not expand to \(3, 3\)"),
    "permute": (lambda: X.permute(0, 0), errors.ShapeError, r"permute: dims \(0, 0\) are not an order of the 2 axes"),
    "gather": (lambda: X.gather(1, F.tensor([[3]])), errors.AxisError, "gather: index 3 is out of bounds for axis 1"),
    "gather float": (lambda: X.gather(1, X), errors.DTypeError, "gather: expected dtype int32/int64 for index"),
    "embedding": (lambda: F.embedding(F.tensor([2]), X), errors.AxisError, "embedding: index 2 is out of bounds"),
    "class": (
        lambda: F.cross_entropy(X, F.tensor([0, 3])),
        errors.AxisError,
        "cross_entropy: class 3 is out of bounds",
    ),
    "classes": (lambda: F.cross_entropy(X, F.tensor([0])), errors.ShapeError, r"cross_entropy: target of shape \(1,\)"),
    "bce": (
        lambda: F.binary_cross_entropy(X, F.ones(2)),
        errors.ShapeError,
        r"binary_cross_entropy: target of shape \(2,\) for input of shape",
    ),
    "reduction by position": (
        lambda: F.mse_loss(X, X, "sum"),
        errors.ArgumentTypeError,
        "size_average is 'sum', text",
    ),
    "reduction": (
        lambda: F.mse_loss(X, X, reduction="max"),
        errors.ArgumentError,
        "mse_loss: reduction='max' is not known",
    ),
    "linear": (lambda: F.linear(X, F.ones(4, 5)), errors.ShapeError, r"linear: input of shape \(2, 3\) for weight"),
    "conv": (
        lambda: F.conv2d(F.ones(1, 2, 4, 4), F.ones(1, 3, 3, 3)),
        errors.ShapeError,
        r"conv2d: input .*2 channels",
    ),
    "conv dims": (
        lambda: F.conv2d(X, F.ones(1, 3, 3, 3)),
        errors.ShapeError,
        "conv2d: input .* has 2 dimensions, not 3 or 4",
    ),
    "pool": (lambda: F.max_pool2d(F.ones(1, 2, 2), 3), errors.ShapeError, r"max_pool2d: window \(3, 3\) does not fit"),
    "pool padding": (lambda: F.max_pool2d(F.ones(1, 4, 4), 2, padding=2), errors.ArgumentError, "max_pool2d: padding"),
    "layer norm": (
        lambda: F.layer_norm(X, (2,)),
        errors.ShapeError,
        r"layer_norm: input of shape \(2, 3\) does not end",
    ),
    "batch norm": (
        lambda: F.batch_norm(F.ones(1, 3), None, None, training=True),
        errors.ShapeError,
        "more than 1 value",
    ),
    "attention": (
        lambda: F.scaled_dot_product_attention(X, F.ones(2, 4), X),
        errors.ShapeError,
        "scaled_dot_product_attention: query",
    ),
    "einsum": (lambda: F.einsum("ij,jk", X), errors.ArgumentError, "einsum: 'ij,jk' has 2 terms, 1 operands given"),
    "einsum sizes": (
        lambda: F.einsum("ij,jk", X, X),
        errors.ShapeError,
        "einsum: axis 'j' of 'ij,jk' has sizes 3 and 2",
    ),
    "clamp": (lambda: X.clamp(), errors.ArgumentError, "clamp: neither min nor max is given"),
    "where": (lambda: F.where(X, X, X), errors.DTypeError, "where: the condition is float32, not bool"),
    "arange": (lambda: F.arange(0, 3, -1), errors.ArgumentError, "arange: .* step -1 does not lead from 0 to 3"),
    "tensor": (lambda: F.tensor([[1], [1, 2]]), errors.ArgumentError, "tensor: "),
    "tensor text": (lambda: F.tensor("text"), errors.DTypeError, "tensor: cannot make a tensor of str"),
    "topk": (lambda: X.topk(4), errors.ArgumentError, "topk: k=4 does not fit axis 1 of size 3"),
    "argmax": (lambda: F.zeros(0).argmax(), errors.AxisError, r"argmax: shape \(0,\) has nothing to choose from"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_errors_say_what_to_do(name):
    f, error, message = CASES[name]
    with pytest.raises(error, match=message) as caught:
        f()
    assert "test_arguments.py" in str(caught.value)
    assert "hint: " in str(caught.value)


def test_powers_beyond_floats_are_infinite():
    assert F.ldexp(X, 2000).tolist() == [[float("inf")] * 3] * 2


def test_views_share_their_memory():
    x = F.zeros(2, 6)
    for look in (
        x.view(3, 4), x.reshape(-1), x.transpose(0, 1), x.flatten(), x.unsqueeze(0), x.permute(1, 0), x.t(),
        x.split(2, dim=1)[1], x.chunk(2)[0], x.narrow(1, 2, 3), x.select(1, 2), x.unbind(0)[0], x.movedim(0, 1),
        x.unflatten(1, (2, 3)), x.expand(2, 6), x.squeeze(), x.diagonal(),
    ):  # fmt: skip
        before = float(x.sum())
        look.add_(1)
        assert float(x.sum()) == before + look.numel()
    x.zero_()
    x.view(3, 4)[1] = 5
    np.testing.assert_array_equal(x.numpy().reshape(3, 4)[1], np.full(4, 5))


def test_a_contiguous_copy_is_apart():
    x = F.zeros(2, 3)
    x.t().contiguous().add_(1)
    assert float(x.sum()) == 0
    assert x.contiguous() is x


def test_functions_in_place():
    x = F.tensor([1.0, 4.0])
    assert x.sqrt_() is x and x.tolist() == [1.0, 2.0]
    assert x.mul_(3).sub_(1).tolist() == [2.0, 5.0]
    assert x.clamp_(max=4).tolist() == [2.0, 4.0]
    assert x.masked_fill_(x > 3, 0).tolist() == [2.0, 0.0]
    assert x.lerp_(F.ones(2), 0.5).tolist() == [1.5, 0.5]
    assert x.addcmul_(x, x, value=2).tolist() == [6.0, 1.0]
    assert F.zeros(3).index_add_(0, F.tensor([1, 1]), F.ones(2)).tolist() == [0.0, 2.0, 0.0]


def test_padding_rows_get_no_gradient():
    weight = F.ones(3, 2, requires_grad=True)
    F.embedding(F.tensor([0, 1, 1, 2]), weight, padding_idx=1).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_numpy_arrays_share_their_memory():
    a = np.zeros(3, np.float32)
    x = F.from_numpy(a)
    a[1] = 5
    x[0] = 2
    assert x.tolist() == a.tolist() == [2.0, 5.0, 0.0]
    assert F.tensor(a).add_(1).tolist() != a.tolist()


def test_named_results():
    found = F.tensor([[1.0, 3.0], [5.0, 2.0]]).max(dim=1)
    assert found.values.tolist() == [3.0, 5.0] and found.indices.tolist() == [1, 0]
    values, _ = F.tensor([3.0, 1.0]).sort()
    assert values.tolist() == [1.0, 3.0]


def test_sixteen_bit_floats_keep_statistics_in_float32():
    x = F.full((1, 4096), 0.1, dtype=tracec.float16) + F.arange(4096).to(tracec.float16) % 2
    y = F.layer_norm(x, (4096,))
    assert y.dtype is tracec.float16
    assert float(y.float().var()) == pytest.approx(1, abs=1e-2)


def test_the_divergence_from_a_negative_probability_is_no_number():
    logs = F.zeros(3)
    found = nn.functional.kl_div(logs, F.tensor([0.5, 0.0, -0.5]), reduction="none")
    assert found[1] == 0 and found.isnan().tolist() == [False, False, True]


def test_integers_that_are_summed_along_an_axis_are_of_the_type_that_is_named():
    x = F.full((3,), 100, dtype=tracec.uint8)
    assert x.cumsum(0).dtype is tracec.int64 and x.cumsum(0).tolist() == [100, 200, 300]
    found = x.cumsum(0, dtype=tracec.uint8), x.cumprod(0, dtype=tracec.int32)
    assert [y.dtype for y in found] == [tracec.uint8, tracec.int32]
    assert found[0].tolist() == [100, 200, 44] and found[1].tolist() == [100, 10_000, 1_000_000]


def test_small_integers_where_axes_of_one_element_are_summed_with_longer_ones():
    a, b = F.ones(1, 2, dtype=tracec.int16), F.full((3, 2), 5, dtype=tracec.int16)
    found = F.tensordot(a, b, dims=([0, 1], [0, 1]))
    assert found.dtype is tracec.int16 and found == 30


@pytest.mark.parametrize("scale", [300.0, 1e-4])
def test_deviations_of_16_bit_floats_whose_squares_these_do_not_hold(scale):
    x = F.tensor([1.0, -2.0, 0.5, 3.0, -1.0, 1.5], dtype=tracec.float16) * scale
    wanted = x.double().numpy().std(ddof=1)
    for found in (x.std(), F.std_mean(x)[0], tracec.compile(lambda t: t.std())(x)):
        assert found.dtype is tracec.float16 and found.item() == pytest.approx(wanted, rel=2e-3)
    assert x.var().dtype is F.var_mean(x)[0].dtype is tracec.float16
