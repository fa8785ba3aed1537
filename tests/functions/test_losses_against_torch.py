"""Losses against PyTorch: values and gradients, by reduction."""

from __future__ import annotations

import numpy as np
import pytest

from tests.functions.compare import TORCH, TRACEC, agree

SIGNS = np.array([1, -1, 1, -1, -1])
CLASSES = np.array([2, 0, 3, 1, 2])
LABELS = np.array([[0, 2, -1, 1], [3, -1, 0, 0], [-1, 1, 2, 3], [0, 1, 2, 3], [1, 1, -1, -1]])
COUNTS = np.array([[0.0, 1.0, 2.0], [5.0, 1.0, 0.0], [3.0, 9.0, 4.0]])

#: Name, function of library, reduction and inputs, and the inputs' shapes.
LOSSES = {
    "poisson": (lambda t, r, x, y: t.poisson_nll_loss(x, y, reduction=r), (3, 3), COUNTS),
    "poisson of rates": (
        lambda t, r, x, y: t.poisson_nll_loss(x * x, y.detach(), log_input=False, full=True, eps=0.1, reduction=r),
        (3, 3), COUNTS,
    ),
    "gaussian": (lambda t, r, x, y, v: t.gaussian_nll_loss(x, y, v * v, reduction=r), (5, 3), (5, 3), (5, 3)),
    "gaussian by row": (
        lambda t, r, x, y, v: t.gaussian_nll_loss(x, y, v * v, full=True, eps=0.5, reduction=r), (5, 3), (5, 3), (5,),
    ),
    "gaussian by one axis": (
        lambda t, r, x, y, v: t.gaussian_nll_loss(x, y, v * v, reduction=r), (5, 3), (5, 3), (1, 3),
    ),
    "gaussian of one variance": (lambda t, r, x, y: t.gaussian_nll_loss(x, y, 2.0, reduction=r), (5, 3), (5, 3)),
    "hinge": (lambda t, r, x, y: t.hinge_embedding_loss(x, y, margin=0.7, reduction=r), (3, 5), SIGNS),
    "cosine": (
        lambda t, r, x, y, z: t.cosine_embedding_loss(x, y, z, margin=0.2, reduction=r), (5, 4), (5, 4), SIGNS,
    ),
    "cosine of one": (
        lambda t, r, x, y: t.cosine_embedding_loss(x, y, t.tensor(-1), margin=-0.9, reduction=r), (4,), (4,),
    ),
    "ranking": (lambda t, r, x, y, z: t.margin_ranking_loss(x, y, z, margin=0.3, reduction=r), (5,), (5,), SIGNS),
    "soft margin": (lambda t, r, x, y: t.soft_margin_loss(x * 9, y, reduction=r), (3, 5), SIGNS),
    "multi soft margin": (
        lambda t, r, x, y, w: t.multilabel_soft_margin_loss(x, (y > 0).to(t.float64), w.detach(), reduction=r),
        (5, 4), (5, 4), (4,),
    ),
    "multi margin": (lambda t, r, x, y: t.multi_margin_loss(x, y, reduction=r), (5, 4), CLASSES),
    "multi margin squared": (
        lambda t, r, x, y, w: t.multi_margin_loss(x, y, 2, 1.5, weight=w.detach(), reduction=r),
        (5, 4), CLASSES, (4,),
    ),
    "multi margin of one": (lambda t, r, x, y: t.multi_margin_loss(x, y[0], reduction=r), (4,), CLASSES),
    "multi label margin": (lambda t, r, x, y: t.multilabel_margin_loss(x, y, reduction=r), (5, 4), LABELS),
    "multi label margin of one": (lambda t, r, x, y: t.multilabel_margin_loss(x, y[0], reduction=r), (4,), LABELS),
    "triplet": (lambda t, r, x, y, z: t.triplet_margin_loss(x, y, z, reduction=r), (5, 4), (5, 4), (5, 4)),
    "triplet swapped": (
        lambda t, r, x, y, z: t.triplet_margin_loss(x, y, z, margin=2.0, p=1, eps=0.1, swap=True, reduction=r),
        (5, 4), (5, 4), (5, 4),
    ),
    "triplet with a distance": (
        lambda t, r, x, y, z: t.triplet_margin_with_distance_loss(
            x, y, z, distance_function=lambda a, b: (a - b).abs().sum(-1), margin=3.0, swap=True, reduction=r
        ),
        (5, 4), (5, 4), (5, 4),
    ),
    "weighted squares": (
        lambda t, r, x, y, w: t.mse_loss(x, y, reduction=r, weight=w), (5, 3), (5, 3), (5, 3),
    ),
    "weighted differences": (
        lambda t, r, x, y, w: t.l1_loss(x, y, reduction=r, weight=w), (5, 3), (5, 3), (5, 3),
    ),
    "weighted huber": (
        lambda t, r, x, y, w: t.huber_loss(x, y, reduction=r, weight=w, delta=0.4), (5, 3), (5, 3), (5, 3),
    ),
    "divergence that broadcasts": (
        lambda t, r, x, y: t.kl_div(t.log_softmax(x, 1), t.softmax(y, 0), reduction=r), (5, 3), (3,),
    ),
    "certain classes": (
        lambda t, r, x, y: t.binary_cross_entropy((x * 1e4).sigmoid(), y.sigmoid().detach(), reduction=r),
        (5, 3), (5, 3),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, reduction):
    f, *specs = LOSSES[name]
    # Certain classes have gradients of up to 1e12, of which float64 keeps only some digits.
    agree(lambda t, *inputs: f(t, reduction, *inputs), *specs, rtol=1e-6 if name == "certain classes" else 1e-9)


def test_batch_mean():
    def f(t, x, y):
        p, q = t.log_softmax(x, 1), t.log_softmax(y, 1)
        return t.kl_div(p, q.exp(), reduction="batchmean"), t.kl_div(p, q, reduction="batchmean", log_target=True)

    agree(f, (5, 3), (5, 3))


@pytest.mark.filterwarnings("ignore:size_average and reduce:UserWarning")
@pytest.mark.parametrize("older", [(True, None), (False, None), (None, False), (False, False), (None, True)])
def test_older_names_of_reductions(older):
    def f(t, x, y):
        return (
            t.mse_loss(x, y, *older), t.smooth_l1_loss(x, y, *older),
            t.cross_entropy(x, y.softmax(1), None, older[0], -100, older[1]),
            t.soft_margin_loss(x, y.detach(), *older),
            t.poisson_nll_loss(x, y, True, False, older[0], 1e-8, older[1]),
        )  # fmt: skip

    agree(f, (5, 3), (5, 3))
    with pytest.warns(UserWarning, match="please use reduction='sum'"):
        TRACEC.l1_loss(TRACEC.ones(2), TRACEC.ones(2), False)


CTC_CASES = {
    "padded": (
        lambda t, x: t.ctc_loss(
            x.log_softmax(2), t.tensor([[1, 2, 2], [3, 1, 7], [1, 1, 1]]), t.tensor([6, 5, 6]), t.tensor([3, 2, 3]),
        ), (6, 3, 4),
    ),
    "in one row": (
        lambda t, x: t.ctc_loss(x.log_softmax(2), t.tensor([1, 2, 2, 3, 1, 1, 1]), (6, 5, 5), (3, 1, 3), 0, "sum"),
        (6, 3, 4),
    ),
    "another blank": (
        lambda t, x: t.ctc_loss(x.log_softmax(2), t.tensor([[1, 0], [0, 0]]), [5, 3], [2, 2], 3, "none"), (5, 2, 4),
    ),
    "one example": (
        lambda t, x: t.ctc_loss(x.log_softmax(1), t.tensor([1, 2, 1]), t.tensor(7), t.tensor(3), reduction="none"),
        (7, 5),
    ),
    "no labels": (
        lambda t, x: t.ctc_loss(x.log_softmax(2), t.tensor([[1, 2], [1, 1]]), (4, 4), (0, 2)), (4, 2, 3),
    ),
    "too long for the input": (
        lambda t, x: t.ctc_loss(
            x.log_softmax(2), t.tensor([[1, 2], [1, 1]]), (4, 2), (2, 2), reduction="none", zero_infinity=True
        ), (4, 2, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CTC_CASES)
def test_ctc(name):
    f, shape = CTC_CASES[name]
    agree(f, shape)


def test_ctc_of_what_cannot_be_is_infinite():
    for t in (TRACEC, TORCH):
        x = t.zeros(2, 1, 3).log_softmax(2)
        assert t.ctc_loss(x, t.tensor([[1, 1]]), (2,), (2,), reduction="sum").item() == np.inf


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t.multi_margin_loss(t.ones(3, 4), t.tensor([0, 1, 5])),
        lambda t: t.multi_margin_loss(t.ones(3, 4), t.tensor([0, 1])),
        lambda t: t.multi_margin_loss(t.ones(3, 4), t.tensor([0, 1, 2]), p=3),
        lambda t: t.multilabel_margin_loss(t.ones(2, 3), t.tensor([[0, 3, 1], [0, 0, 0]])),
        lambda t: t.cosine_embedding_loss(t.ones(3, 4), t.ones(3, 4), t.tensor(1)),
        lambda t: t.margin_ranking_loss(t.ones(3, 4), t.ones(3, 4), t.ones(4)),
        lambda t: t.triplet_margin_loss(t.ones(3, 4), t.ones(3, 4), t.ones(4)),
        lambda t: t.triplet_margin_loss(t.ones(3, 4), t.ones(3, 4), t.ones(3, 4), margin=0.0),
        lambda t: t.gaussian_nll_loss(t.ones(3, 4), t.ones(3, 4), -t.ones(3, 4)),
        lambda t: t.gaussian_nll_loss(t.ones(3, 4), t.ones(3, 4), -1.0),
        lambda t: t.gaussian_nll_loss(t.ones(3, 4), t.ones(3, 4), t.ones(4)),
        lambda t: t.huber_loss(t.ones(3), t.ones(3), delta=0.0),
        lambda t: t.smooth_l1_loss(t.ones(3), t.ones(3), beta=-1.0),
        lambda t: t.mse_loss(t.ones(3), t.ones(3), weight=t.ones(1)),
        lambda t: t.mse_loss(t.tensor([1]), t.tensor([2])),
        lambda t: t.l1_loss(t.tensor([1]), t.tensor([2])),
        lambda t: t.binary_cross_entropy(t.ones(3), t.ones(3).double()),
        lambda t: t.binary_cross_entropy(t.tensor([0.5, 1.5]), t.ones(2)),
        lambda t: t.binary_cross_entropy(t.tensor([0.5, float("nan")]), t.ones(2)),
        lambda t: t.cross_entropy(t.ones(2, 3), t.ones(2, 3), ignore_index=1),
        lambda t: t.ctc_loss(t.ones(5, 2, 3), t.tensor([[1, 2], [1, 1]]), (5, 6), (2, 1)),
        lambda t: t.ctc_loss(t.ones(5, 2, 3), t.tensor([[1, 2], [1, 1]]), (5, 5), (2, 3)),
        lambda t: t.ctc_loss(t.ones(5, 2, 3), t.tensor([[1, 2], [1, 1]]), (5,), (2, 2)),
        lambda t: t.ctc_loss(t.ones(5, 2, 3), t.tensor([1, 2, 1, 1]), (5, 5), (2, 1)),
        lambda t: t.ctc_loss(t.ones(5, 2, 3), t.tensor([[1, 2], [1, 1]]), (5, 5), (2, 1), 3),
    ],
)
def test_what_is_refused(f):
    with pytest.raises(Exception) as theirs:
        f(TORCH)
    with pytest.raises(type(theirs.value)):
        f(TRACEC)
