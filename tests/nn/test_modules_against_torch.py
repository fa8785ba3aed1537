"""Modules against PyTorch: text, state, values, gradients of inputs and parameters, in training and not."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.nn.parity import same, torch

ROWS = np.array([[1, 0, 4], [4, 4, 2]])
FLAT = np.array([1, 0, 4, 4, 4, 2, 3])
CLASSES = np.array([2, 0, 3, 1, 2])
SIGNS = np.array([1, -1, 1, -1, -1])
LABELS = np.array([[0, 2, -1, 1], [3, -1, 0, 0], [-1, 1, 2, 3], [0, 1, 2, 3], [1, 1, -1, -1]])

#: Text that makes the module with ``nn`` (and ``t``), and its inputs.
MODULES = {
    "nn.Identity(3, a=4)": [(2, 3)], "nn.Linear(3, 4)": [(2, 5, 3)], "nn.Linear(3, 4, bias=False)": [(3,)],
    "nn.Bilinear(3, 4, 2)": [(5, 3), (5, 4)], "nn.Bilinear(3, 4, 2, False)": [(3,), (4,)],
    "nn.Flatten()": [(2, 3, 4)], "nn.Flatten(0, 1)": [(2, 3, 4)], "nn.Unflatten(1, (2, 3))": [(4, 6)],
    "nn.ReLU()": [(3, 4)], "nn.ReLU6()": [(3, 4)], "nn.SiLU()": [(3, 4)], "nn.Mish()": [(3, 4)], "nn.SELU()": [(3, 4)],
    "nn.Hardswish()": [(3, 4)], "nn.Hardsigmoid()": [(3, 4)], "nn.GELU()": [(3, 4)], "nn.GELU('tanh')": [(3, 4)],
    "nn.Tanh()": [(3, 4)], "nn.Sigmoid()": [(3, 4)], "nn.LogSigmoid()": [(3, 4)], "nn.Softsign()": [(3, 4)],
    "nn.Tanhshrink()": [(3, 4)], "nn.Softplus()": [(3, 4)], "nn.Softplus(2, 0.5)": [(3, 4)],
    "nn.LeakyReLU(0.3)": [(3, 4)], "nn.ELU(0.5)": [(3, 4)], "nn.CELU(0.5)": [(3, 4)], "nn.Hardtanh(-0.5, 1)": [(3, 4)],
    "nn.Hardshrink(0.6)": [(3, 4)], "nn.Softshrink(0.6)": [(3, 4)], "nn.Threshold(0.1, 20)": [(3, 4)],
    "nn.PReLU()": [(3, 4)], "nn.PReLU(4, 0.1)": [(3, 4)], "nn.Softmax(1)": [(3, 4)], "nn.LogSoftmax(0)": [(3, 4)],
    "nn.Softmin(-1)": [(3, 4)], "nn.Softmax2d()": [(2, 3, 4, 2)], "nn.GLU()": [(3, 4)], "nn.GLU(0)": [(4, 3)],
    "nn.Dropout(0.0)": [(3, 4)], "nn.AlphaDropout(0.0)": [(3, 4)], "nn.FeatureAlphaDropout(0.0)": [(3, 4)],
    "nn.Dropout1d(0.0)": [(3, 4)], "nn.Dropout2d(0.0)": [(3, 4, 1, 1)], "nn.Dropout3d(0.0)": [(3, 4, 1, 1)],
    "nn.CosineSimilarity()": [(3, 4), (3, 4)], "nn.CosineSimilarity(0, 1e-3)": [(3, 4), (3, 1)],
    "nn.PairwiseDistance()": [(3, 4), (3, 4)], "nn.PairwiseDistance(1, 0.1, True)": [(3, 4), (4,)],
    "nn.Embedding(5, 3)": [ROWS], "nn.Embedding(5, 3, -1)": [ROWS], "nn.Embedding(5, 3, max_norm=0.9)": [ROWS],
    "nn.Embedding(5, 3, 0, 0.5, 1.0, True)": [ROWS], "nn.Embedding(5, 3, scale_grad_by_freq=True)": [ROWS],
    "nn.EmbeddingBag(5, 3)": [ROWS], "nn.EmbeddingBag(5, 3, mode='sum', padding_idx=4)": [ROWS],
    "nn.EmbeddingBag(5, 3, mode='max', padding_idx=4)": [ROWS],
    "nn.EmbeddingBag(5, 3, max_norm=0.5, scale_grad_by_freq=True)": [FLAT, np.array([0, 2, 2, 6])],
    "nn.EmbeddingBag(5, 3, mode='max')": [FLAT, np.array([0, 2, 2, 6])],
    "nn.EmbeddingBag(5, 3, mode='mean', include_last_offset=True)": [FLAT, np.array([0, 2, 7, 7])],
    "nn.CrossEntropyLoss()": [(5, 4), CLASSES],
    "nn.CrossEntropyLoss(t.arange(4.0), None, 2, None, 'sum', 0.1)": [(5, 4), CLASSES],
    "nn.NLLLoss(ignore_index=1, reduction='none')": [(5, 4), CLASSES], "nn.MSELoss()": [(5, 4), (5, 4)],
    "nn.L1Loss(reduction='sum')": [(5, 4), (5, 4)], "nn.SmoothL1Loss(beta=0.5)": [(5, 4), (5, 4)],
    "nn.HuberLoss('none', 0.5)": [(5, 4), (5, 4)], "nn.BCEWithLogitsLoss(pos_weight=t.arange(4.0))": [(5, 4), (5, 4)],
    "nn.KLDivLoss(reduction='batchmean', log_target=True)": [(5, 4), (5, 4)],
    "nn.PoissonNLLLoss(full=False, eps=0.1)": [(5, 4), (5, 4)], "nn.HingeEmbeddingLoss(0.5)": [(4, 5), SIGNS],
    "nn.CosineEmbeddingLoss(0.1)": [(5, 4), (5, 4), SIGNS], "nn.MarginRankingLoss(0.1)": [(5,), (5,), SIGNS],
    "nn.SoftMarginLoss()": [(4, 5), SIGNS], "nn.MultiLabelMarginLoss()": [(5, 4), LABELS],
    "nn.MultiLabelSoftMarginLoss(t.arange(4.0))": [(5, 4), (5, 4)],
    "nn.MultiMarginLoss(2, 0.5, t.arange(4.0))": [(5, 4), CLASSES],
    "nn.TripletMarginLoss(0.5, 1, swap=True)": [(5, 4), (5, 4), (5, 4)],
    "nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a * b).sum(1), margin=2.0)": [
        (5, 4), (5, 4), (5, 4),
    ],
    "nn.AdaptiveLogSoftmaxWithLoss(6, 4, [1, 2], 2.0, True)": [(5, 6), CLASSES],
    "nn.LinearCrossEntropyLoss(6, 4, bias=True, label_smoothing=0.1)": [(5, 6), CLASSES],
    "nn.LinearCrossEntropyLoss(6, 4, out_features=(2,), ignore_index=1)": [(5, 6), np.stack([CLASSES, SIGNS % 4], 1)],
    "nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 2)))": [(2, 3)],
}  # fmt: skip


@pytest.mark.parametrize("text", MODULES)
def test_modules(text):
    same(lambda t: eval(text, {"t": t, "nn": t.nn}), *MODULES[text], rtol=1e-7 if "Hard" in text else 1e-9)


@pytest.mark.parametrize("text", ["nn.BCELoss()", "nn.BCELoss(t.arange(4.0), reduction='sum')"])
def test_losses_of_probabilities(text):
    same(
        lambda t: eval(text, {"t": t, "nn": t.nn}), (5, 4), (5, 4), call=lambda t, m, x, y: m(x.sigmoid(), y.sigmoid())
    )  # fmt: skip


def test_losses_of_further_arguments():
    same(lambda t: t.nn.GaussianNLLLoss(full=True), (5, 4), (5, 4), call=lambda t, m, x, y: m(x, y, x * x + 0.1))
    same(
        lambda t: t.nn.CTCLoss(2, "sum"), (6, 2, 4),
        call=lambda t, m, x: m(x.log_softmax(2), t.tensor([[0, 1, 1], [3, 0, 0]]), (6, 4), (3, 2)),
    )  # fmt: skip


def test_rrelu():
    same(lambda t: t.nn.RReLU(0.25, 0.25), (3, 4))
    same(lambda t: t.nn.RReLU().eval(), (3, 4), call=lambda t, m, x: m.eval()(x))


def test_adaptive_softmax():
    make = lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 9, [3, 5], 2.0)  # noqa: E731
    same(make, (5, 6), call=lambda t, m, x: m.log_prob(x))
    same(make, (5, 6), call=lambda t, m, x: m.predict(x))
    # PyTorch leaves clusters out that no target is in.
    same(make, (6,), call=lambda t, m, x: m(x, t.tensor(7)), none_is_zeros=True)


def test_bags_with_weights():
    make = lambda t: t.nn.EmbeddingBag(5, 3, mode="sum", padding_idx=4)  # noqa: E731
    same(make, (7,), call=lambda t, m, w: m(t.from_numpy(FLAT), t.tensor([0, 2, 6]), w))
    same(make, (2, 3), call=lambda t, m, w: m(t.from_numpy(ROWS), None, w))


def test_a_norm_bound_changes_the_table():
    tables = []
    for t in (tracec, torch):
        table = t.nn.Embedding.from_pretrained(t.arange(15.0).reshape(5, 3), max_norm=2.0)
        assert not table.weight.requires_grad
        table(t.tensor([1, 4, 1]))
        tables.append(table.weight.numpy())
    np.testing.assert_allclose(*tables, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(tables[0][[1, 4]], axis=1), 2.0, rtol=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t.nn.Softmax2d()(t.ones(3, 2)),
        lambda t: t.nn.Dropout(2.0),
        lambda t: t.nn.Unflatten(1, 6),
        lambda t: t.nn.Embedding(5, 3)(t.tensor([5])),
        lambda t: t.nn.EmbeddingBag(5, 3)(t.tensor([1])),
        lambda t: t.nn.EmbeddingBag(5, 3)(t.tensor([[1]]), t.tensor([0])),
        lambda t: t.nn.EmbeddingBag(5, 3, mode="min")(t.tensor([[1]])),
        lambda t: t.nn.EmbeddingBag(5, 3, mode="sum")(t.tensor([[1]]), None, t.ones(1)),
        lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 4, [2, 2]),
        lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 4, [2])(t.ones(2, 6), t.tensor([1, 4])),
        lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 4, [2])(t.ones(2, 6), t.tensor([1])),
        lambda t: t.nn.functional.linear_cross_entropy(t.ones(2, 3), t.ones(4, 2), t.tensor([0, 1])),
        lambda t: t.nn.MultiMarginLoss(p=3),
        lambda t: t.nn.TripletMarginLoss(margin=-1.0),
    ],
)
def test_what_is_refused(f):
    with pytest.raises(Exception) as theirs:
        f(torch)
    with pytest.raises(type(theirs.value)):
        f(tracec)
