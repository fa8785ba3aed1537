"""Learning rates of every scheduler, epoch by epoch, against PyTorch's."""

import numpy as np
import pytest

import tracec
from tracec import nn, optim
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.optim import lr_scheduler

EPOCHS = 25

CASES = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda e: 0.95**e),
    "lambdas": lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.95),
    "step": lambda s, o: s.StepLR(o, step_size=4, gamma=0.5),
    "multistep": lambda s, o: s.MultiStepLR(o, milestones=[3, 8, 8, 17], gamma=0.3),
    "constant": lambda s, o: s.ConstantLR(o, factor=0.5, total_iters=4),
    "linear": lambda s, o: s.LinearLR(o, start_factor=0.2, end_factor=0.8, total_iters=7),
    "exponential": lambda s, o: s.ExponentialLR(o, gamma=0.9),
    "polynomial": lambda s, o: s.PolynomialLR(o, total_iters=9, power=2.0),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, T_max=6, eta_min=0.01),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2, eta_min=0.01),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, step_size_down=3),
    "cyclic2": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, mode="triangular2", cycle_momentum=False),
    "cyclic_exp": lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.1, 0.2], step_size_up=4, mode="exp_range", gamma=0.9),
    "cyclic_own": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, scale_fn=lambda x: 1 / x),
    "one_cycle": lambda s, o: s.OneCycleLR(o, max_lr=0.3, total_steps=EPOCHS + 1),
    "one_cycle3": lambda s, o: s.OneCycleLR(
        o, max_lr=[0.3, 0.1], epochs=5, steps_per_epoch=6, anneal_strategy="linear", three_phase=True
    ),
    "sequential": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, factor=0.1, total_iters=3), s.ExponentialLR(o, gamma=0.9)], milestones=[5]
    ),
    "sequential3": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, total_iters=4), s.CosineAnnealingLR(o, 8), s.StepLR(o, 2)], milestones=[4, 12]
    ),
    "chained": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, factor=0.1, total_iters=3), s.ExponentialLR(o, gamma=0.9)]
    ),
}  # fmt: skip


def optimizer(module, kind="SGD"):
    a, b = (module.zeros(2, requires_grad=True) for _ in range(2))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(module.optim, kind)([{"params": [a]}, {"params": [b], "lr": 0.05}], lr=0.1, **options)


def trajectory(o, scheduler, epochs=EPOCHS, *args):
    seen = []
    for _ in range(epochs):
        groups = o.param_groups
        seen.append([float(g["lr"]) for g in groups] + [g.get("momentum", g.get("betas")) for g in groups])
        o.step()
        scheduler.step(*args)
    return seen


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", CASES)
def test_rates_are_pytorchs(name, kind):
    torch = pytest.importorskip("torch")
    ours, theirs = optimizer(tracec, kind), optimizer(torch, kind)
    mine, reference = CASES[name](lr_scheduler, ours), CASES[name](torch.optim.lr_scheduler, theirs)
    found, wanted = trajectory(ours, mine), trajectory(theirs, reference)
    for f, w in zip(found, wanted, strict=True):
        for x, y in zip(f, w, strict=True):
            assert x == pytest.approx(y, rel=1e-9, abs=1e-12)
    assert mine.get_last_lr() == pytest.approx(reference.get_last_lr())


@pytest.mark.parametrize("name", CASES)
def test_a_saved_scheduler_goes_on(name):
    o = optimizer(tracec)
    scheduler = CASES[name](lr_scheduler, o)
    trajectory(o, scheduler, 9)
    other = optimizer(tracec)
    resumed = CASES[name](lr_scheduler, other)
    other.load_state_dict(o.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert trajectory(o, scheduler, 8) == trajectory(other, resumed, 8)


@pytest.mark.parametrize("name", ["step", "multistep", "constant", "linear", "exponential", "polynomial", "cosine"])
def test_going_to_an_epoch_gives_what_stepping_there_does(name):
    stepped, jumped = optimizer(tracec), optimizer(tracec)
    one, other = CASES[name](lr_scheduler, stepped), CASES[name](lr_scheduler, jumped)
    for epoch in range(1, 12):
        one.step()
        other.step(epoch)
        assert one.get_last_lr() == pytest.approx(other.get_last_lr())


@pytest.mark.parametrize("options", [{}, {"mode": "max"}, {"threshold_mode": "abs", "cooldown": 2, "min_lr": 0.02}])
def test_plateaus_are_pytorchs(options):
    torch = pytest.importorskip("torch")
    ours, theirs = optimizer(tracec), optimizer(torch)
    mine = lr_scheduler.ReduceLROnPlateau(ours, patience=2, factor=0.5, **options)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, patience=2, factor=0.5, **options)
    for value in [3, 2, 2, 2.5, 2, 2, 1.9999, 1, 1, 1, 1, 1, 1, 4, 4, 4, 4, 4, 4, 4]:
        mine.step(tracec.tensor(float(value)))
        reference.step(value)
        assert [g["lr"] for g in ours.param_groups] == [g["lr"] for g in theirs.param_groups]
        assert mine.num_bad_epochs == reference.num_bad_epochs


def test_rates_that_are_tensors_are_written_in_place_and_compiled_steps_go_on():
    p = tracec.ones(3, requires_grad=True)
    o = optim.SGD([p], lr=tracec.tensor(0.5))
    rate = o.param_groups[0]["lr"]
    scheduler = lr_scheduler.ExponentialLR(o, gamma=0.5)

    @tracec.compile
    def step():
        o.zero_grad()
        (p * 1.0).sum().backward()
        o.step()

    for _ in range(4):
        step()
        scheduler.step()
    assert p.tolist() == pytest.approx([1 - 0.5 - 0.25 - 0.125 - 0.0625] * 3)
    assert o.param_groups[0]["lr"] is rate
    assert "1 specialisation" in repr(step)


def test_averages_of_models():
    torch = pytest.importorskip("torch")
    for make in (
        lambda u: {},
        lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.9)},
        lambda u: {"use_buffers": True},
    ):
        models = []
        for module in (tracec, torch):
            net = module.nn.Sequential(module.nn.Linear(3, 2), module.nn.BatchNorm1d(2))
            averaged = module.optim.swa_utils.AveragedModel(net, **make(module.optim.swa_utils))
            for k in range(4):
                with module.no_grad():
                    for j, t in enumerate([*net.parameters(), *net.buffers()]):
                        t.copy_(module.full_like(t, k * k + j))
                averaged.update_parameters(net)
            models.append(averaged)
        mine, theirs = (m.state_dict() for m in models)
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            np.testing.assert_allclose(value.numpy(), theirs[key].numpy(), rtol=1e-5, err_msg=key)


def test_statistics_of_batch_norms_are_measured_anew():
    net = nn.Sequential(nn.BatchNorm1d(2)).eval()
    batches = [(tracec.full((4, 2), float(k)), None) for k in range(3)]
    optim.swa_utils.update_bn(batches, net)
    assert net[0].running_mean.tolist() == pytest.approx([1.0, 1.0])
    assert not net.training and net[0].momentum == 0.1


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_rates_of_averaging_are_pytorchs(strategy):
    torch = pytest.importorskip("torch")
    seen = []
    for module in (tracec, torch):
        o = optimizer(module)
        scheduler = module.optim.swa_utils.SWALR(o, swa_lr=0.02, anneal_epochs=5, anneal_strategy=strategy)
        seen.append(trajectory(o, scheduler, 9))
    for f, w in zip(*seen, strict=True):
        assert f == pytest.approx(w)


ERRORS = [
    (ArgumentTypeError, "is not an Optimizer", lambda o: lr_scheduler.StepLR(None, 1)),
    (ArgumentError, "initial_lr", lambda o: lr_scheduler.StepLR(o, 1, last_epoch=3)),
    (ArgumentError, "between 0 and 1", lambda o: lr_scheduler.ConstantLR(o, factor=2.0)),
    (ArgumentError, "start_factor", lambda o: lr_scheduler.LinearLR(o, start_factor=0.0)),
    (ArgumentError, "expected positive integer T_0", lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=0)),
    (ArgumentError, "expected 2 values", lambda o: lr_scheduler.LambdaLR(o, [lambda e: 1.0])),
    (ArgumentError, "mode", lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="square")),
    (ArgumentError, "total_steps", lambda o: lr_scheduler.OneCycleLR(o, 0.1)),
    (ArgumentError, "Factor should be < 1.0", lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.5)),
    (ArgumentError, "one more than", lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [1])),
    (ArgumentError, "StepLR: step_size is 0", lambda o: lr_scheduler.StepLR(o, 0)),
    (ArgumentError, "T_max is 0", lambda o: lr_scheduler.CosineAnnealingLR(o, 0)),
    (ArgumentError, "step_size_up is 0", lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, step_size_up=0)),
    (ArgumentError, "div_factor is 0", lambda o: lr_scheduler.OneCycleLR(o, 0.1, 9, div_factor=0)),
    (ArgumentTypeError, "gamma must be", lambda o: lr_scheduler.ExponentialLR(o, "x")),
    (ArgumentTypeError, "max_lr must be a number", lambda o: lr_scheduler.OneCycleLR(o, "x", 9)),
    (ArgumentError, "at least one", lambda o: lr_scheduler.ChainedScheduler([])),
    (ArgumentError, "another optimizer", lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.StepLR(o, 1), lr_scheduler.StepLR(optimizer(tracec), 1)])),
]  # fmt: skip


@pytest.mark.parametrize("error, message, make", ERRORS, ids=[m for _, m, _ in ERRORS])
def test_errors(error, message, make):
    with pytest.raises(error, match=message):
        make(optimizer(tracec))
