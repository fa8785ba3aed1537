"""Lazy layers: what they are before their first call, and that they are ordinary layers after it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.errors import ArgumentError, ShapeError, StateError
from tracec.nn.lazy import LazyModuleMixin

#: How a lazy layer is made → what it becomes, and the shape of an input.
LAYERS = {
    "LazyLinear(3)": ("Linear(5, 3)", (2, 5)),
    "LazyLinear(3, bias=False)": ("Linear(5, 3, bias=False)", (2, 4, 5)),
    "LazyConv1d(4, 3, padding=1)": ("Conv1d(2, 4, 3, padding=1)", (3, 2, 7)),
    "LazyConv2d(4, 3, groups=2, bias=False)": ("Conv2d(2, 4, 3, groups=2, bias=False)", (3, 2, 5, 6)),
    "LazyConv2d(4, (2, 3), 2, 1)": ("Conv2d(3, 4, (2, 3), 2, 1)", (3, 5, 6)),
    "LazyConv3d(4, 2, dilation=2)": ("Conv3d(2, 4, 2, dilation=2)", (1, 2, 3, 4, 5)),
    "LazyConvTranspose1d(4, 3, 2)": ("ConvTranspose1d(2, 4, 3, 2)", (3, 2, 7)),
    "LazyConvTranspose2d(4, 3, 2, 1, 1, groups=2)": ("ConvTranspose2d(2, 4, 3, 2, 1, 1, groups=2)", (3, 2, 5, 6)),
    "LazyConvTranspose3d(4, 2)": ("ConvTranspose3d(2, 4, 2)", (2, 3, 4, 5)),
    "LazyBatchNorm1d()": ("BatchNorm1d(4)", (3, 4)),
    "LazyBatchNorm2d(eps=1e-3, momentum=None)": ("BatchNorm2d(4, 1e-3, None)", (3, 4, 2, 2)),
    "LazyBatchNorm3d(affine=False)": ("BatchNorm3d(4, affine=False)", (3, 4, 2, 2, 1)),
    "LazyInstanceNorm1d()": ("InstanceNorm1d(4, affine=True, track_running_stats=True)", (3, 4, 5)),
    "LazyInstanceNorm2d(affine=False)": ("InstanceNorm2d(4, track_running_stats=True)", (4, 5, 3)),
    "LazyInstanceNorm3d(track_running_stats=False)": ("InstanceNorm3d(4, affine=True)", (1, 4, 5, 3, 2)),
}


def make(text, n=nn):
    return eval(f"n.{text}", {"n": n})


@pytest.mark.parametrize("lazy", LAYERS)
def test_they_become_what_they_are_named_after(lazy):
    text, shape = LAYERS[lazy]
    layer, usual, x = make(lazy), make(text), tracec.randn(shape)
    assert layer.has_uninitialized_params()
    weights = list(layer.parameters())
    assert list(layer.state_dict()) == list(usual.state_dict())
    y = layer(x)
    assert type(layer) is type(usual) and repr(layer) == repr(usual)
    assert [a is b for a, b in zip(weights, layer.parameters(), strict=True)] == [True] * len(weights)
    assert all(type(p) is nn.Parameter and p.requires_grad for p in layer.parameters())
    usual.load_state_dict(layer.state_dict())
    np.testing.assert_allclose(layer.eval()(x).detach().numpy(), usual.eval()(x).detach().numpy())
    if weights:
        (y * y).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in layer.parameters())


@pytest.mark.parametrize("lazy", LAYERS)
def test_they_print_and_are_named_as_in_torch(lazy):
    torch = pytest.importorskip("torch")
    ours, theirs = make(lazy), make(lazy, torch.nn)
    assert repr(ours) == repr(theirs)
    assert repr(ours.state_dict()) == repr(theirs.state_dict())
    shape = LAYERS[lazy][1]
    if len(shape) == 3 and "InstanceNorm2d" in lazy:
        pytest.skip("PyTorch takes the second axis of an example without a batch for its channels")
    ours(tracec.zeros(shape)), theirs(torch.zeros(shape))
    assert repr(ours) == repr(theirs)
    for (name, a), (key, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == key and tuple(a.shape) == tuple(b.shape)


def test_first_values_are_those_of_the_usual_layer():
    tracec.manual_seed(0)
    layer = nn.LazyLinear(3)
    layer(tracec.zeros(1, 5))
    tracec.manual_seed(0)
    assert tracec.equal(layer.weight, nn.Linear(5, 3).weight)
    norm = nn.LazyBatchNorm1d()
    norm.eval()(tracec.zeros(2, 3))
    assert norm.running_var.tolist() == [1, 1, 1] and norm.weight.tolist() == [1, 1, 1]


def test_nothing_is_known_before():
    layer = nn.LazyLinear(3)
    assert isinstance(layer.weight, nn.UninitializedParameter) and layer.weight.dtype is tracec.float32
    for use in (
        lambda w: w.shape, lambda w: w.numel(), lambda w: w + 1, lambda w: nn.init.normal_(w),
        lambda w: w.sum(), lambda w: tracec.stack([w, w]), lambda w: w.tolist(),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match="lazy module"):
            use(layer.weight)
    assert repr(layer.weight) == "<UninitializedParameter>"
    layer.reset_parameters(), layer.zero_grad(), layer.train(), layer.eval()


def test_dtype_and_device_are_kept():
    layer = nn.Sequential(nn.LazyConv1d(2, 1, dtype=tracec.float64), nn.LazyBatchNorm1d()).double()
    y = layer(tracec.zeros(2, 3, 4, dtype=tracec.float64))
    assert y.dtype is tracec.float64 and layer[1].running_mean.dtype is tracec.float64
    assert nn.LazyLinear(2).half().weight.dtype is tracec.float16
    assert nn.LazyLinear(2).to("cpu").weight.device == tracec.device("cpu")


def test_state_goes_in_and_out_at_any_time():
    usual, layer = nn.Linear(4, 3), nn.LazyLinear(3)
    assert repr(layer.load_state_dict(usual.state_dict())) == "<All keys matched successfully>"
    assert tracec.equal(layer.weight, usual.weight) and not layer.has_uninitialized_params()
    layer(tracec.zeros(1, 4))
    assert type(layer) is nn.Linear and layer.in_features == 4 and tracec.equal(layer.weight, usual.weight)
    waiting = nn.LazyLinear(3)
    waiting.load_state_dict(nn.LazyLinear(3).state_dict())
    assert waiting.has_uninitialized_params()
    with pytest.raises(StateError, match="not known yet"):
        nn.Linear(4, 3).load_state_dict(waiting.state_dict())
    given = nn.LazyLinear(3)
    given.load_state_dict(usual.state_dict(), assign=True)
    assert tracec.equal(given(tracec.ones(1, 4)), usual(tracec.ones(1, 4)))


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_lazy_too(twin):
    model = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
    other = twin(model)
    other(tracec.zeros(2, 5))
    assert type(other[0]) is nn.Linear and other[1].num_features == 3
    assert model[0].has_uninitialized_params() and type(model[0]) is nn.LazyLinear
    model(tracec.zeros(2, 7))
    assert model[0].weight.shape == (3, 7) and other[0].weight.shape == (3, 5)


def test_the_first_call_of_a_compiled_function():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))

    @tracec.compile
    def step(x):
        loss = model(x).square().mean()
        loss.backward()
        return loss

    x = tracec.randn(2, 3, 5, 5)
    losses = [step(x).item() for _ in range(3)]
    assert type(model[0]) is nn.Conv2d
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)  # the last one is of compiled code
    expected, model[0].weight.grad = model[0].weight.grad / 3, None
    model(x).square().mean().backward()
    np.testing.assert_allclose(model[0].weight.grad.numpy(), expected.numpy(), rtol=1e-3, atol=1e-6)


def test_modules_of_ones_own():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(tracec.ones(1))

        def forward(self, x, *, shift=0):
            return x * self.factor + shift

    class LazyScale(LazyModuleMixin, Scale):
        cls_to_become = Scale

        def __init__(self):
            super().__init__()
            self.factor = nn.UninitializedParameter()

        def initialize_parameters(self, x, *, shift=0):
            self.factor.materialize((x.shape[-1],))
            with tracec.no_grad():
                self.factor.fill_(2)

    layer = LazyScale()
    assert layer(tracec.ones(2, 3), shift=1).tolist() == [[3, 3, 3]] * 2
    assert type(layer) is Scale

    class Forgetful(LazyScale):
        def initialize_parameters(self, x):
            pass

    with pytest.raises(ArgumentError, match="left parameters uninitialized"):
        Forgetful()(tracec.ones(1))


def test_inputs_that_do_not_fit():
    for mistake, error in (
        (lambda: nn.LazyConv2d(4, 3)(tracec.ones(3, 3)), ShapeError),
        (lambda: nn.LazyConv2d(4, 3, groups=2)(tracec.ones(1, 3, 3, 3)), ArgumentError),
        (lambda: nn.LazyConv2d(5, 3, groups=2), ArgumentError),
        (lambda: nn.LazyLinear(3)(tracec.tensor(1.0)), ShapeError),
        (lambda: nn.LazyBatchNorm2d()(tracec.ones(2, 3)), ShapeError),
    ):
        with pytest.raises(error):
            mistake()
