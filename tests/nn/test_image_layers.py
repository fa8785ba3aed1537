"""Layers for images and signals against PyTorch's, with the same parameters: results, gradients, state and text."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn

torch = pytest.importorskip("torch")

SIGNAL, IMAGE, VOLUME = (2, 4, 7), (2, 4, 6, 5), (2, 4, 4, 6, 5)
SHAPES = {1: SIGNAL, 2: IMAGE, 3: VOLUME}

#: What is written here → how it is made by either library, and the input's shape.
LAYERS = {}


def layer(shape, *texts):
    for text in texts:
        LAYERS[f"{text} of {len(shape)}d"] = (text, shape)


for n, shape in SHAPES.items():
    layer(
        shape,
        f"MaxPool{n}d(2)", f"MaxPool{n}d(3, stride=2, padding=1, ceil_mode=True, return_indices=True)",
        f"MaxPool{n}d(2, 1, dilation=2)", f"AvgPool{n}d(2)",
        f"AvgPool{n}d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)",
        f"AdaptiveAvgPool{n}d(3)", f"AdaptiveMaxPool{n}d(3, return_indices=True)", f"LPPool{n}d(2, 3, stride=1)",
        f"ReflectionPad{n}d(2)", f"ReplicationPad{n}d({tuple(range(1, 2 * n + 1))})", f"CircularPad{n}d(1)",
        f"ConstantPad{n}d(1, 3.5)", f"ZeroPad{n}d({(1, -1) * n})",
    )  # fmt: skip
    layer(shape[1:], f"MaxPool{n}d(2)", f"AvgPool{n}d(2)", f"AdaptiveAvgPool{n}d(2)", f"ReflectionPad{n}d(1)")
layer(
    IMAGE,
    "AvgPool2d(3, divisor_override=2)", "AdaptiveAvgPool2d((None, 2))", "AdaptiveMaxPool2d((3, None))",
    "MaxPool2d((2, 3), stride=(1, 2))",
)  # fmt: skip


for n, shape in SHAPES.items():
    layer(
        shape,
        f"BatchNorm{n}d(4)", f"BatchNorm{n}d(4, momentum=None, eps=1e-3)", f"BatchNorm{n}d(4, affine=False)",
        f"BatchNorm{n}d(4, track_running_stats=False)", f"BatchNorm{n}d(4, bias=False)",
        f"InstanceNorm{n}d(4)", f"InstanceNorm{n}d(4, affine=True, track_running_stats=True)",
        f"InstanceNorm{n}d(4, track_running_stats=True, momentum=0.3)", "GroupNorm(2, 4)",
        "GroupNorm(4, 4, affine=False)", "GroupNorm(1, 4, eps=1e-2, bias=False)",
        "LocalResponseNorm(3)", "LocalResponseNorm(2, alpha=0.5, beta=0.5, k=2.0)",
    )  # fmt: skip
    layer(shape[1:], f"InstanceNorm{n}d(4)", f"InstanceNorm{n}d(4, affine=True, track_running_stats=True)")
layer((6, 4), "BatchNorm1d(4)", "GroupNorm(2, 4)", "SyncBatchNorm(4)")
layer(
    IMAGE,
    "LayerNorm(5)", "LayerNorm((6, 5), eps=1e-3)", "LayerNorm((4, 6, 5), elementwise_affine=False)",
    "LayerNorm(5, bias=False)", "RMSNorm(5)", "RMSNorm((6, 5), eps=1e-3)", "RMSNorm(5, elementwise_affine=False)",
    "SyncBatchNorm(4)",
)  # fmt: skip
for n, shape in SHAPES.items():
    pads = tuple(range(n))
    layer(
        shape,
        f"Conv{n}d(4, 6, 3)", f"Conv{n}d(4, 6, 2, stride=2, padding=1, bias=False)",
        f"Conv{n}d(4, 6, 3, padding='same', groups=2)", f"Conv{n}d(4, 2, 3, padding='valid', dilation=1)",
        f"Conv{n}d(4, 2, 3, padding=1, padding_mode='reflect')",
        f"Conv{n}d(4, 2, 2, padding=2, padding_mode='replicate')",
        f"Conv{n}d(4, 2, 3, padding='same', padding_mode='circular')",
        f"Conv{n}d(4, 2, 3, padding={pads}, padding_mode='circular', stride=2)",
        f"ConvTranspose{n}d(4, 6, 3)", f"ConvTranspose{n}d(4, 6, 3, 2, 1, 1, groups=2)",
        f"ConvTranspose{n}d(4, 6, 2, 3, output_padding=2, bias=False, dilation=2)",
    )  # fmt: skip
    layer(shape[1:], f"Conv{n}d(4, 6, 3, padding=1)", f"ConvTranspose{n}d(4, 6, 3)")
    layer(shape[1:], f"Conv{n}d(4, 2, 3, padding=1, padding_mode='reflect')")
layer(
    IMAGE,
    "Upsample(scale_factor=2)", "Upsample((9, 4), mode='bilinear', align_corners=True)", "Upsample(7, mode='bicubic')",
    "Upsample(scale_factor=(1.5, 2), mode='bilinear')", "UpsamplingNearest2d(scale_factor=2)",
    "UpsamplingBilinear2d((3, 8))", "PixelShuffle(2)", "PixelUnshuffle(1)", "ChannelShuffle(2)",
    "Unfold(2)", "Unfold((3, 2), dilation=(1, 2), padding=1, stride=(2, 1))",
)  # fmt: skip
layer((2, 4, 6, 8), "PixelUnshuffle(2)")
layer(SIGNAL, "Upsample(scale_factor=3, mode='linear')", "Upsample(5, mode='nearest-exact')")
layer(VOLUME, "Upsample(scale_factor=2, mode='trilinear')", "ChannelShuffle(4)", "Upsample(3, mode='area')")
layer((2, 8, 9), "Fold((4, 4), 2)", "Fold(4, 2, padding=(1, 0), stride=(2, 1))", "Fold((5, 4), 2, dilation=(2, 1))")
layer((8, 4), "Fold(4, 2, stride=2)")


def made(name):
    """The layer by each library, float64, with the same state."""
    text, shape = LAYERS[name]
    torch.manual_seed(0)
    theirs = eval(f"n.{text}", {"n": torch.nn}).double()
    ours = eval(f"n.{text}", {"n": nn}).double()
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert [tuple(v.shape) for v in ours.state_dict().values()] == [tuple(v.shape) for v in state.values()]
    ours.load_state_dict({k: tracec.from_numpy(v.numpy().copy()) for k, v in state.items()})
    return ours, theirs, np.random.default_rng(0).uniform(-2, 2, size=shape)


def flat(result):
    return [t for r in result for t in flat(r)] if isinstance(result, (tuple, list)) else [result]


def outcome(make, module, x):
    """Results, and gradients of the input and the parameters, as arrays."""
    module.zero_grad()
    a = make(x.copy()).requires_grad_()
    outs = flat(module(a))
    sum((out * out.detach().cos()).sum() for out in outs if out.is_floating_point()).backward()
    gradients = [a.grad, *(p.grad for p in module.parameters())]
    return [t.detach().numpy() for t in (*outs, *gradients, *module.state_dict().values())]


def compare(ours, theirs, x):
    for a, b in zip(
        outcome(tracec.from_numpy, ours, x), outcome(torch.from_numpy, theirs, x), strict=True
    ):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_with_torch(name):
    ours, theirs, x = made(name)
    assert repr(ours) == repr(theirs)
    compare(ours, theirs, x)
    compare(ours.eval(), theirs.eval(), x)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_transposed_convolutions_to_a_size(n):
    for shape in (SHAPES[n], SHAPES[n][1:]):
        text = f"ConvTranspose{n}d(4, 3, 3, stride=3, padding=1)"
        LAYERS["to a size"] = (text, shape)
        ours, theirs, x = made("to a size")
        least = [(size - 1) * 3 + 1 for size in shape[-n:]]
        for size in (least, [s + 2 for s in least], [*theirs(torch.from_numpy(x)).shape[:-n], *(s + 1 for s in least)]):
            expected = theirs(torch.from_numpy(x), output_size=size).detach().numpy()
            np.testing.assert_allclose(ours(tracec.from_numpy(x), output_size=size).detach().numpy(), expected)
        for wrong in ([s - 1 for s in least], [s + 3 for s in least], [*least, 1, 1, 1]):
            with pytest.raises(ValueError):
                theirs(torch.from_numpy(x), output_size=wrong)
            with pytest.raises(tracec.errors.ArgumentError, match="output_size"):
                ours(tracec.from_numpy(x), output_size=wrong)
    del LAYERS["to a size"]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda n: n.Conv2d(3, 4, 3, groups=2), lambda n: n.Conv2d(4, 3, 3, groups=2),
        lambda n: n.Conv2d(4, 4, 3, groups=0), lambda n: n.Conv2d(4, 4, 3, padding="full"),
        lambda n: n.Conv2d(4, 4, 3, padding="same", stride=2), lambda n: n.Conv2d(4, 4, 3, padding_mode="mirror"),
        lambda n: n.ConvTranspose2d(4, 4, 3, padding_mode="reflect"), lambda n: n.FractionalMaxPool2d(2),
        lambda n: n.FractionalMaxPool2d(2, output_ratio=1.5), lambda n: n.GroupNorm(3, 4),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_made(mistake):
    with pytest.raises(ValueError):
        mistake(torch.nn)
    with pytest.raises(tracec.errors.ArgumentError) as ours:
        mistake(nn)
    assert ours.value.hint


@pytest.mark.parametrize(
    "make",
    [
        lambda v: nn.Conv2d(v, 4, 3), lambda v: nn.Conv2d(4, v, 3), lambda v: nn.Conv2d(4, 4, v),
        lambda v: nn.ConvTranspose2d(4, 4, 3, groups=v), lambda v: nn.LazyConv2d(v, 3), lambda v: nn.GroupNorm(v, 4),
        lambda v: nn.LayerNorm(v), lambda v: nn.RMSNorm(v), lambda v: nn.ReflectionPad2d(v),
        lambda v: nn.ConstantPad1d(v, 0.0), lambda v: nn.Upsample(scale_factor=v)(tracec.ones(1, 1, 2)),
        lambda v: nn.MaxPool2d(v)(tracec.ones(1, 1, 2, 2)), lambda v: nn.LPPool1d(v, 2)(tracec.ones(1, 1, 2)),
    ],
)  # fmt: skip
def test_layers_of_no_numbers(make):
    for value in (None, "3", object(), [None], (1, "2")):
        with pytest.raises(tracec.errors.TracecError):
            make(value)


def test_batch_norms_become_synchronised():
    def convert(n):
        inner = n.Sequential(n.BatchNorm2d(4, momentum=0.3), n.Conv2d(4, 2, 1))
        return n.SyncBatchNorm.convert_sync_batchnorm(n.Sequential(inner, n.ReLU(), n.BatchNorm1d(2, affine=False)))

    assert repr(convert(nn)) == repr(convert(torch.nn))
    model = nn.Sequential(nn.BatchNorm2d(3))
    before = model[0].weight
    assert nn.SyncBatchNorm.convert_sync_batchnorm(model)[0].weight is before


def test_unpooling_layers():
    for n, shape in SHAPES.items():
        x = np.random.default_rng(0).uniform(-2, 2, size=shape)

        def undo(library, tensor, n=n, x=x):
            pool = getattr(library, f"MaxPool{n}d")(2, return_indices=True)
            back = getattr(library, f"MaxUnpool{n}d")(2)
            return back(*pool(tensor(x)), output_size=x.shape).numpy(), repr(back)

        (ours, text), (theirs, expected) = undo(nn, tracec.from_numpy), undo(torch.nn, torch.from_numpy)
        np.testing.assert_array_equal(ours, theirs)
        assert text == expected


def test_fractional_pooling_layers():
    for n in (2, 3):
        x, u = np.random.default_rng(0).uniform(size=SHAPES[n]), np.random.default_rng(1).uniform(size=(2, 4, n))

        def pool(library, tensor, n=n, x=x, u=u):
            layer = getattr(library, f"FractionalMaxPool{n}d")(2, output_ratio=0.6, _random_samples=tensor(u))
            return layer(tensor(x)).numpy(), list(layer.state_dict())

        (ours, keys), (theirs, expected) = pool(nn, tracec.from_numpy), pool(torch.nn, torch.from_numpy)
        np.testing.assert_array_equal(ours, theirs)
        assert keys == expected
