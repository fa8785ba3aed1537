"""Schedules of learning rates that are stepped inside of a compiled function: recorded a few times, as eagerly."""

from __future__ import annotations

import pytest

import tracec
from tracec import nn
from tracec.optim import lr_scheduler as schedules

STEPS = 14
#: How each is made, and the recordings that it may take.
SCHEDULES = {
    "step": (lambda o: schedules.StepLR(o, 3), 5),
    "several steps": (lambda o: schedules.MultiStepLR(o, [3, 6]), 5),
    "exponential": (lambda o: schedules.ExponentialLR(o, 0.9), 2),
    "linear": (lambda o: schedules.LinearLR(o, total_iters=5), 4),
    "lambda": (lambda o: schedules.LambdaLR(o, lambda k: 0.95**k), 2),
    "polynomial": (lambda o: schedules.PolynomialLR(o, 10), 4),
    "cosine": (lambda o: schedules.CosineAnnealingLR(o, 20), 2),
    "cosine again": (lambda o: schedules.CosineAnnealingWarmRestarts(o, 10), 3),
    "one cycle": (lambda o: schedules.OneCycleLR(o, 0.1, total_steps=20), 4),
    "cycles": (lambda o: schedules.CyclicLR(o, 0.01, 0.1, 4), 4),
    "sequence": (
        lambda o: schedules.SequentialLR(o, [schedules.ConstantLR(o), schedules.ExponentialLR(o, 0.9)], [4]), 5,
    ),
}  # fmt: skip


def train(make, wrap):
    tracec.manual_seed(0)
    model = nn.Linear(10, 3)
    optimizer = tracec.optim.SGD(model.parameters(), lr=0.01)
    schedule = make(optimizer)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss

    step, seen = wrap(step), []
    x, y = tracec.randn(32, 10), tracec.randint(0, 3, (32,))
    for _ in range(STEPS):
        seen.append((step(x, y).item(), optimizer.param_groups[0]["lr"], *schedule.get_last_lr(), schedule.last_epoch))
    return step, seen


@pytest.mark.filterwarnings("ignore:.*scheduler.step.*:UserWarning")
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_recorded_a_few_times(name):
    make, most = SCHEDULES[name]
    _, expected = train(make, lambda f: f)
    step, found = train(make, tracec.compile)
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    report = step.explain()
    assert len(report.recordings) <= most + 1, str(report)
    assert all(s.compiled for s in report.specialisations)
    assert all(r.changes for r in report.recordings[2:]), str(report)
