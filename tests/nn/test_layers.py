"""Layers against PyTorch's, with the same parameters: results, gradients, state and text."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.errors import AxisError, ShapeError

torch = pytest.importorskip("torch")

IMAGE, VECTOR, SEQUENCE = (2, 4, 6, 5), (5, 4), (3, 2, 4)

LAYERS = {
    "Linear": (lambda n: n.Linear(4, 3), VECTOR),
    "Linear without bias": (lambda n: n.Linear(4, 3, bias=False), SEQUENCE),
    "Conv1d": (lambda n: n.Conv1d(2, 3, 3, padding=1), SEQUENCE),
    "Conv2d": (lambda n: n.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), IMAGE),
    "Conv2d reflect": (lambda n: n.Conv2d(4, 2, 3, padding=1, padding_mode="reflect", bias=False), IMAGE),
    "Conv2d same": (lambda n: n.Conv2d(4, 2, (3, 2), padding="same", dilation=2), IMAGE),
    "ConvTranspose2d": (lambda n: n.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1), IMAGE),
    "BatchNorm1d": (lambda n: n.BatchNorm1d(4), VECTOR),
    "BatchNorm1d of sequences": (lambda n: n.BatchNorm1d(2, momentum=None), SEQUENCE),
    "BatchNorm2d": (lambda n: n.BatchNorm2d(4, momentum=0.3), IMAGE),
    "BatchNorm2d untracked": (lambda n: n.BatchNorm2d(4, affine=False, track_running_stats=False), IMAGE),
    "LayerNorm": (lambda n: n.LayerNorm(4), SEQUENCE),
    "LayerNorm of two axes": (lambda n: n.LayerNorm((2, 4), eps=1e-3, bias=False), SEQUENCE),
    "RMSNorm": (lambda n: n.RMSNorm(4), SEQUENCE),
    "GroupNorm": (lambda n: n.GroupNorm(2, 4), IMAGE),
    "InstanceNorm2d": (lambda n: n.InstanceNorm2d(4, affine=True), IMAGE),
    "ReLU": (lambda n: n.ReLU(), VECTOR),
    "LeakyReLU": (lambda n: n.LeakyReLU(0.2), VECTOR),
    "PReLU": (lambda n: n.PReLU(4), VECTOR),
    "ELU": (lambda n: n.ELU(1.5), VECTOR),
    "GELU": (lambda n: n.GELU(), VECTOR),
    "GELU tanh": (lambda n: n.GELU("tanh"), VECTOR),
    "SiLU": (lambda n: n.SiLU(), VECTOR),
    "Tanh": (lambda n: n.Tanh(), VECTOR),
    "Sigmoid": (lambda n: n.Sigmoid(), VECTOR),
    "Softplus": (lambda n: n.Softplus(2.0), VECTOR),
    "Hardtanh": (lambda n: n.Hardtanh(-0.5, 0.5), VECTOR),
    "Softmax": (lambda n: n.Softmax(dim=1), VECTOR),
    "LogSoftmax": (lambda n: n.LogSoftmax(dim=-1), VECTOR),
    "GLU": (lambda n: n.GLU(), VECTOR),
    "MaxPool2d": (lambda n: n.MaxPool2d(2), IMAGE),
    "MaxPool2d with padding": (lambda n: n.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), IMAGE),
    "MaxPool1d": (lambda n: n.MaxPool1d(2), SEQUENCE),
    "AvgPool2d": (lambda n: n.AvgPool2d(2, stride=1), IMAGE),
    "AdaptiveAvgPool2d": (lambda n: n.AdaptiveAvgPool2d((3, 2)), IMAGE),
    "AdaptiveMaxPool2d": (lambda n: n.AdaptiveMaxPool2d(2), IMAGE),
    "Flatten": (lambda n: n.Flatten(), IMAGE),
    "Unflatten": (lambda n: n.Unflatten(1, (2, 2)), VECTOR),
    "Identity": (lambda n: n.Identity(), VECTOR),
    "Dropout": (lambda n: n.Dropout(0.0), VECTOR),
    "LSTM": (lambda n: n.LSTM(4, 3), SEQUENCE),
    "LSTM deep": (lambda n: n.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True), SEQUENCE),
    "GRU": (lambda n: n.GRU(4, 3, num_layers=2, bias=False), SEQUENCE),
    "RNN": (lambda n: n.RNN(4, 3, bidirectional=True), SEQUENCE),
    "LSTM of one sequence": (lambda n: n.LSTM(4, 3), VECTOR),
    "LSTMCell": (lambda n: n.LSTMCell(4, 3), VECTOR),
    "Sequential": (lambda n: n.Sequential(n.Linear(4, 3), n.ReLU(), n.Sequential(n.Linear(3, 2))), VECTOR),
}


def pair(make):
    """A layer of each library with the same parameters, float64."""
    torch.manual_seed(0)
    theirs = make(torch.nn).double()
    ours = make(nn).double()
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({k: tracec.from_numpy(v.numpy().copy()) for k, v in state.items()})
    return ours, theirs


def flat(result):
    return [t for r in result for t in flat(r)] if isinstance(result, (tuple, list)) else [result]


def compare(ours, theirs, x):
    a, b = tracec.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(x.copy()).requires_grad_()
    outs, refs = flat(ours(a)), flat(theirs(b))
    for out, ref in zip(outs, refs, strict=True):
        np.testing.assert_allclose(out.detach().numpy(), ref.detach().numpy(), rtol=1e-9, atol=1e-12)
    sum((out * out.detach().cos()).sum() for out in outs).backward()
    sum((ref * ref.detach().cos()).sum() for ref in refs).backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-7, atol=1e-10)
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-7, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_with_torch(name):
    make, shape = LAYERS[name]
    ours, theirs = pair(make)
    x = np.random.default_rng(0).normal(size=shape)
    compare(ours, theirs, x)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key].numpy(), value.numpy(), rtol=1e-9, err_msg=key)
    ours.zero_grad(), theirs.zero_grad()
    compare(ours.eval(), theirs.eval(), x)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_print_as_torch(name):
    assert repr(LAYERS[name][0](nn)) == repr(LAYERS[name][0](torch.nn))


@pytest.mark.parametrize(
    "make, target",
    [
        (lambda n: n.CrossEntropyLoss(label_smoothing=0.1), np.array([0, 3, 1, 2, -100])),
        (lambda n: n.NLLLoss(reduction="sum"), np.array([0, 3, 1, 2, 0])),
        (lambda n: n.MSELoss(), None),
        (lambda n: n.L1Loss(), None),
        (lambda n: n.SmoothL1Loss(beta=0.5), None),
        (lambda n: n.HuberLoss(), None),
        (lambda n: n.BCEWithLogitsLoss(), np.random.default_rng(1).uniform(size=VECTOR)),
        (lambda n: n.KLDivLoss(reduction="batchmean"), np.random.default_rng(1).uniform(size=VECTOR)),
    ],
)
def test_losses_agree_with_torch(make, target):
    x = np.random.default_rng(0).normal(size=VECTOR)
    target = np.zeros(VECTOR) if target is None else target
    ours = make(nn)(tracec.from_numpy(x), tracec.from_numpy(target))
    theirs = make(torch.nn)(torch.from_numpy(x), torch.from_numpy(target))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)


def test_first_values_spread_as_in_torch():
    tracec.manual_seed(0)
    linear, conv = nn.Linear(64, 100), nn.Conv2d(8, 50, 3)
    for p, bound in (
        (linear.weight, 1 / 8),
        (linear.bias, 1 / 8),
        (conv.weight, 1 / 72**0.5),
        (conv.bias, 1 / 72**0.5),
    ):
        values = p.detach().numpy()
        assert abs(values).max() <= bound and values.std() == pytest.approx(bound / 3**0.5, rel=0.2)
    table = nn.Embedding(200, 50, padding_idx=3).weight.detach().numpy()
    assert table.std() == pytest.approx(1, rel=0.05) and not table[3].any()


def test_embedding_agrees_with_torch():
    ours, theirs = nn.Embedding(7, 3, padding_idx=2).double(), torch.nn.Embedding(7, 3, padding_idx=2).double()
    ours.load_state_dict({"weight": tracec.from_numpy(theirs.weight.detach().numpy().copy())})
    ids = np.array([[0, 2, 6], [6, 6, 1]])
    a, b = ours(tracec.from_numpy(ids)), theirs(torch.from_numpy(ids))
    (a * a).sum().backward(), (b * b).sum().backward()
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy())
    assert repr(ours) == repr(theirs)


def test_first_states_of_recurrent_layers():
    ours, theirs = pair(lambda n: n.LSTM(4, 3, num_layers=2))
    rng = np.random.default_rng(0)
    x, h, c = rng.normal(size=SEQUENCE), rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 2, 3))
    out, (h1, c1) = ours(tracec.from_numpy(x), (tracec.from_numpy(h), tracec.from_numpy(c)))
    ref, (h2, c2) = theirs(torch.from_numpy(x), (torch.from_numpy(h), torch.from_numpy(c)))
    for a, b in ((out, ref), (h1, h2), (c1, c2)):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9)
    with pytest.raises(ShapeError, match=r"LSTM: first state of shape \(1, 2, 3\), not \(2, 2, 3\)"):
        ours(tracec.from_numpy(x), (tracec.from_numpy(h[:1]), tracec.from_numpy(c)))
    with pytest.raises(ShapeError, match=r"LSTM: input of shape \(3, 2, 5\) for input_size 4"):
        ours(tracec.zeros(3, 2, 5).double())


def test_dropout_works_in_training_only():
    layer, x = nn.Dropout(0.5), tracec.ones(100)
    assert set(layer(x).tolist()) == {0.0, 2.0}
    assert layer.eval()(x) is x


def test_inputs_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"BatchNorm2d: expected 4D input \(got 2D input"):
        nn.BatchNorm2d(3)(tracec.ones(2, 3))
    with pytest.raises(ShapeError, match=r"linear: input of shape \(2, 3\) for weight of shape \(4, 5\)"):
        nn.Linear(5, 4)(tracec.ones(2, 3))
    with pytest.raises(AxisError, match="embedding: index 9 is out of bounds"):
        nn.Embedding(3, 2)(tracec.tensor([9]))
