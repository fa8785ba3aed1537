"""Programs that go by values all the way: an adaptive solver, clustering, beam search, suppression, early exits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.nn import functional as F

RNG = np.random.default_rng(0)


def drawn(*shape, scale=1.0):
    return tracec.tensor((RNG.standard_normal(shape) * scale).astype(np.float32))


MATRIX = drawn(4, 4)


def heun(x, end, tolerance):
    """A differential equation, with steps as long as the error allows."""
    time, step, turns = 0.0, 0.1, 0
    while time < end and turns < 60:
        first = tracec.tanh(x @ MATRIX)
        second = tracec.tanh((x + step * first) @ MATRIX)
        error = (step * (second - first) / 2).abs().max().item()
        if error < tolerance:
            time = time + step
            x = x + step * (first + second) / 2
        step = min(0.9 * step * (tolerance / (error + 1e-12)) ** 0.5, 0.5)
        turns += 1
    return x, time, turns


def kmeans(x, centres):
    turns = 0
    while turns < 20:
        nearest = tracec.cdist(x, centres).argmin(dim=1)
        means = [x[nearest == k].mean(dim=0) if (nearest == k).any() else centres[k] for k in range(centres.shape[0])]
        new = tracec.stack(means)
        if tracec.allclose(new, centres):
            break
        centres, turns = new, turns + 1
    return centres, turns


def beam_search(logits):
    beams = [([], 0.0)]
    for row in logits:
        scores, tokens = F.log_softmax(row, dim=-1).topk(2)
        further = [
            ([*sequence, token], total + score)
            for sequence, total in beams
            for score, token in zip(scores.tolist(), tokens.tolist(), strict=True)
        ]
        beams = sorted(further, key=lambda beam: -beam[1])[:2]
    return beams


def suppressed(boxes, scores):
    """Boxes that overlap one of a higher score are left out."""
    keep = []
    order = scores.argsort(descending=True)
    while order.numel() > 0:
        best = order[0].item()
        keep.append(best)
        rest = order[1:]
        low, high = tracec.maximum(boxes[best, :2], boxes[rest, :2]), tracec.minimum(boxes[best, 2:], boxes[rest, 2:])
        common = (high - low).clamp(min=0).prod(dim=-1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=-1)
        order = rest[common / (area[best] + area[rest] - common) <= 0.3]
    return keep


class EarlyExit(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        depth = -1
        for layer in self.layers:
            depth += 1
            x = tracec.relu(layer(x))
            chances = F.softmax(self.head(x), dim=-1)
            if chances.max() > 0.6:
                break
        return chances, depth


def early_exit():
    tracec.manual_seed(0)
    return EarlyExit()


def boxes(count):
    low = RNG.uniform(0, 10, (count, 2))
    return tracec.tensor(np.concatenate([low, low + RNG.uniform(2, 6, (count, 2))], 1)).float()


PROGRAMS = {
    "heun": (heun, [(drawn(3, 4), 1.0, 1e-2) for _ in range(3)]),
    "kmeans": (kmeans, [(drawn(20, 2), drawn(3, 2)) for _ in range(3)]),
    "beam search": (beam_search, [(drawn(3, 5),) for _ in range(3)]),
    "suppression": (suppressed, [(boxes(6), drawn(6)) for _ in range(3)]),
    "early exit": (early_exit(), [(drawn(2, 8, scale=3.0),) for _ in range(6)]),
}


def flat(value):
    if isinstance(value, (list, tuple)):
        return [part for v in value for part in flat(v)]
    return [value.detach().numpy() if isinstance(value, tracec.Tensor) else value]


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_go_by_values(name):
    function, calls = PROGRAMS[name]
    compiled = tracec.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            for call in calls:
                found, expected = flat(compiled(*call)), flat(function(*call))
                assert [type(v) for v in found] == [type(v) for v in expected]
                for a, b in zip(found, expected, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    explanation = compiled.explain()
    assert len(explanation.recordings) <= len(calls) + 2  # an eager run may round to the other side of a threshold
    assert sum(s.hits for s in explanation.specialisations if s.compiled) >= 2 * len(calls) - 2
