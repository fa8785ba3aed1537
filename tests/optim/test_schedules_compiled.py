"""Schedules of learning rates that are stepped inside of a compiled function: recorded a few times, as eagerly."""

from __future__ import annotations

import copy

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


def outside(make, wrap, kind=tracec.optim.SGD, change=lambda k, optimizer: None, **options):
    """A train step whose schedule is stepped around it, as most are; its losses, rates and parameters."""
    tracec.manual_seed(0)
    model = nn.Linear(10, 3)
    first, second = model.weight, model.bias
    optimizer = kind([{"params": [first]}, {"params": [second], "lr": 0.03}], lr=0.01, **options)
    schedule = make(optimizer)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step, seen = wrap(step), []
    x, y = tracec.randn(32, 10), tracec.randint(0, 3, (32,))
    for k in range(8):
        change(k, optimizer)
        seen += [step(x, y).item(), *(float(g["lr"]) for g in optimizer.param_groups)]
        seen += [*model.weight.detach().flatten().tolist(), *model.bias.tolist()]
        schedule.step()
    return step, seen


@pytest.mark.parametrize("name", [n for n in SCHEDULES if n not in ("one cycle", "cycles")])
def test_a_rate_that_a_scheduler_changes_is_an_input_from_the_start(name):
    make, _ = SCHEDULES[name]
    _, expected = outside(make, lambda f: f, momentum=0.9)
    step, found = outside(make, tracec.compile, momentum=0.9)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert len(step.explain().recordings) == 1


@pytest.mark.parametrize("kind", [tracec.optim.SGD, tracec.optim.Adam, tracec.optim.AdamW, tracec.optim.RMSprop])
def test_so_it_is_for_each_optimiser(kind):
    options = {"momentum": 0.9} if kind is tracec.optim.SGD else {}
    _, expected = outside(SCHEDULES["lambda"][0], lambda f: f, kind, **options)
    step, found = outside(SCHEDULES["lambda"][0], tracec.compile, kind, **options)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert len(step.explain().recordings) <= 2, step.explain()  # the optimiser's state may be set up first


CHANGES = {
    "an integer": {"lr": 1}, "none": {"lr": 0.0}, "a tensor": {"lr": tracec.tensor(0.02)},
    "decay": {"weight_decay": 0.1}, "momentum": {"momentum": 0.5}, "no momentum": {"momentum": 0.0},
    "other signs": {"maximize": True}, "nesterov": {"nesterov": True}, "parameters": {"params": []},
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("schedule", ["lambda", "one cycle"])
def test_what_else_a_group_holds_still_counts(schedule, name):
    def change(k, optimizer):
        if k in (3, 6):
            optimizer.param_groups[k % 2].update(copy.deepcopy(CHANGES[name]))

    make = SCHEDULES[schedule][0]
    _, expected = outside(make, lambda f: f, change=change, momentum=0.9)
    _, found = outside(make, tracec.compile, change=change, momentum=0.9)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_rate_that_the_step_goes_by_is_right_each_time():
    """A comparison of the rate is a condition, its text a value that it is recorded for."""

    def run(wrap):
        tracec.manual_seed(0)
        x = nn.Parameter(tracec.randn(4))
        optimizer = tracec.optim.SGD([x], lr=0.8)
        schedule = schedules.StepLR(optimizer, 2, 0.5)

        def step():
            rate = optimizer.param_groups[0]["lr"]
            optimizer.zero_grad()
            (x**2).sum().backward()
            if rate > 0.3:
                optimizer.step()
            return x.sum() * rate, f"{rate:.3f}", rate

        step, seen = wrap(step), []
        for _ in range(8):
            value, text, rate = step()
            seen.append((pytest.approx(value.item(), rel=1e-5), text, rate, type(rate)))
            schedule.step()
        return seen

    assert run(lambda f: f) == [(v.expected, *rest) for v, *rest in run(tracec.compile)]
