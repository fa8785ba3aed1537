"""Losses against NumPy and by their definitions, without PyTorch; and compiled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.nn import functional as F

RNG = np.random.default_rng(0)


def all_alignments(probabilities, labels, blank):
    """The probability of labels, summed over every path of the input: repeats and blanks dropped from it."""
    steps, classes = probabilities.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        said = [c for i, c in enumerate(path) if (i == 0 or c != path[i - 1]) and c != blank]
        if said == list(labels):
            total += np.prod([probabilities[i, c] for i, c in enumerate(path)])
    return total


@pytest.mark.parametrize(
    ("labels", "steps", "blank"), [([1, 2], 5, 0), ([1, 1], 4, 0), ([0, 2, 0], 5, 1), ([], 3, 0), ([2], 1, 0)]
)
def test_ctc_sums_over_all_alignments(labels, steps, blank):
    logits = RNG.normal(size=(steps, 3))
    logp = tracec.from_numpy(logits).log_softmax(1)
    target = tracec.tensor(labels, dtype=tracec.int64)
    loss = F.ctc_loss(logp, target, [steps], [len(labels)], blank, "none")
    np.testing.assert_allclose(loss.item(), -np.log(all_alignments(logp.exp().numpy(), labels, blank)), rtol=1e-12)


def test_ctc_gradient():
    logits = RNG.normal(size=(5, 2, 4))
    target = tracec.tensor([[1, 2, 3], [2, 2, 0]])

    def loss(x):
        return F.ctc_loss(x.log_softmax(2), target, (5, 4), (3, 2))

    x = tracec.from_numpy(logits).requires_grad_()
    loss(x).backward()
    for at in itertools.product(range(5), range(2), range(4)):
        step = np.zeros_like(logits)
        step[at] = 1e-6
        up, down = (loss(tracec.from_numpy(logits + s * step)).item() for s in (1, -1))
        assert abs((up - down) / 2e-6 - x.grad[at].item()) < 1e-8


def test_binary_cross_entropy_of_certain_classes():
    x = tracec.tensor([0.0, 1.0, 0.0, 1.0, 0.5], requires_grad=True)
    loss = F.binary_cross_entropy(x, tracec.tensor([0.0, 1.0, 1.0, 0.0, 1.0]), reduction="none")
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), [0, 0, 100, 100, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, -1e12, 1e12, -2], rtol=1e-6)


def test_margins():
    x = np.array([[0.1, 0.2, 0.4, 0.8]])
    given = tracec.from_numpy(x)
    assert F.multi_margin_loss(given, tracec.tensor([3])).item() == pytest.approx(
        np.maximum(0, 1 - (0.8 - x[0, :3])).sum() / 4
    )
    # The example of the documentation: classes 3 and 0 apply.
    assert F.multilabel_margin_loss(given, tracec.tensor([[3, 0, -1, 1]])).item() == pytest.approx(0.85)
    assert F.soft_margin_loss(given * 1000, -tracec.ones(1, 4)).item() == pytest.approx(375)


COMPILED = {
    "ctc": lambda x: F.ctc_loss(x.reshape(6, 2, 4).log_softmax(2), tracec.tensor([[1, 2], [3, 3]]), (6, 5), (2, 2)),
    "gaussian": lambda x: F.gaussian_nll_loss(x, x * 0.5, x * x),
    "poisson": lambda x: F.poisson_nll_loss(x, x * x, full=True),
    "hinge": lambda x: F.hinge_embedding_loss(x, tracec.tensor([1, -1] * 4)),
    "cosine": lambda x: F.cosine_embedding_loss(x, x.flip(0), tracec.tensor([1, -1, 1, -1, 1, 1])),
    "multi margin": lambda x: F.multi_margin_loss(x, tracec.tensor([0, 7, 2, 3, 1, 0]), p=2),
    "multi label": lambda x: F.multilabel_margin_loss(x, tracec.tensor([[0, 7, -1, 3, 1, 0, 2, 2]]).expand(6, 8)),
    "triplet": lambda x: F.triplet_margin_loss(x, x * 0.9, x.flip(0), swap=True),
    "bce": lambda x: F.binary_cross_entropy(x.sigmoid(), (x > 0).float()),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled(name):
    def step(x):
        loss = COMPILED[name](x)
        return loss, tracec.autograd.grad(loss, x)[0]

    run = tracec.compile(step)
    for _ in range(2):
        x = tracec.tensor(RNG.normal(size=(6, 8)).astype(np.float32), requires_grad=True)
        for ours, plain in zip(run(x), step(x), strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), plain.detach().numpy(), rtol=2e-5, atol=1e-6)


def test_a_negative_variance_is_found_when_replayed():
    run = tracec.compile(lambda x, v: F.gaussian_nll_loss(x, x, v))
    x = tracec.ones(3)
    run(x, x)
    with pytest.raises(ArgumentError, match="gaussian_nll_loss: var has negative entries"):
        run(x, -x)


def test_a_reduction_by_position_is_refused():
    with pytest.raises(ArgumentTypeError, match="size_average is 'sum', text"):
        F.mse_loss(tracec.ones(2), tracec.ones(2), "sum")


def test_shapes_that_only_broadcast_give_a_warning():
    with pytest.warns(UserWarning, match=r"a target of shape \(2,\) for an input of shape \(2, 1\)"):
        assert F.mse_loss(tracec.ones(2, 1), tracec.zeros(2)).item() == 1.0
