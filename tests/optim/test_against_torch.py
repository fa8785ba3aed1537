"""Twenty steps of every optimiser give what PyTorch's give."""

import copy

import numpy as np
import pytest

import tracec
from tracec import optim
from tracec.errors import ArgumentError

torch = pytest.importorskip("torch")

SHAPES = [(3, 4), (5,), ()]
STEPS = 20

SGD = [
    {},
    {"weight_decay": 0.1, "maximize": True},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
]
ADAM = [
    {},
    {"weight_decay": 0.1},
    {"amsgrad": True, "betas": (0.5, 0.9)},
    {"maximize": True, "eps": 1e-3},
    {"betas": (0.0, 0.99)},
]
RMSPROP = [
    {},
    {"alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1},
    {"momentum": 0.8, "maximize": True},
    {"centered": True, "momentum": 0.5},
]
OTHERS = [
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.02}),
    ("Adamax", {"lr": 0.02, "betas": (0.5, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.02}),
    ("NAdam", {"lr": 0.02, "momentum_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.02}),
    ("RAdam", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("ASGD", {"lr": 0.02}),
    ("ASGD", {"lr": 0.02, "lambd": 0.1, "alpha": 0.5, "t0": 5.0, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {"lr": 0.02}),
    ("Rprop", {"lr": 0.02, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.1), "maximize": True}),
    ("Adafactor", {"lr": 0.02}),
    ("Adafactor", {"lr": 0.02, "eps": (1e-6, 1e-2), "d": 2.0, "weight_decay": 0.1, "maximize": True}),
]
CASES = [
    *OTHERS,
    *(("SGD", {"lr": 0.05, **o}) for o in SGD),
    *(("Adam", {"lr": 0.02, **o}) for o in ADAM),
    *(("AdamW", {"lr": 0.02, **o}) for o in ADAM),
    *(("RMSprop", {"lr": 0.01, **o}) for o in RMSPROP),
]


class Pair:
    """The same parameters in both libraries."""

    def __init__(self, name, options, dtype="float32", seed=0):
        self.rng = np.random.default_rng(seed)
        values = [np.asarray(self.rng.normal(size=s), dtype) for s in SHAPES]
        self.ours = [tracec.from_numpy(v.copy()).requires_grad_() for v in values]
        self.theirs = [torch.from_numpy(v.copy()).requires_grad_() for v in values]
        self.optimizer = getattr(optim, name)(self.ours, **options)
        self.reference = getattr(torch.optim, name)(self.theirs, **options)

    def gradients(self, skip=()):
        for k, (p, q) in enumerate(zip(self.ours, self.theirs, strict=True)):
            g = np.asarray(self.rng.normal(size=tuple(q.shape)), q.detach().numpy().dtype)
            p.grad = None if k in skip else tracec.from_numpy(g.copy())
            q.grad = None if k in skip else torch.from_numpy(g.copy())

    def step(self, skip=()):
        self.gradients(skip)
        self.optimizer.step()
        self.reference.step()

    def check(self, rtol=2e-5, atol=2e-6):
        for p, q in zip(self.ours, self.theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: str(v) if isinstance(v, dict) else v)
def test_trajectory(name, options):
    pair = Pair(name, options)
    for _ in range(STEPS):
        pair.step()
        pair.check()


#: What PyTorch keeps in float32 even for parameters in float64, as this library does.
KEPT_IN_FLOAT32 = ("NAdam", "ASGD")


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: str(v) if isinstance(v, dict) else v)
def test_trajectory_in_float64_has_its_precision(name, options):
    pair = Pair(name, options, "float64")
    for _ in range(STEPS):
        pair.step()
    pair.check(*((2e-7, 1e-8) if name in KEPT_IN_FLOAT32 else (1e-10, 1e-12)))


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: str(v) if isinstance(v, dict) else v)
def test_as_near_to_float64_as_pytorchs(name, options):
    pair, exact = Pair(name, options), Pair(name, options, "float64")
    for p, q in zip(exact.theirs, pair.theirs, strict=True):
        p.data.copy_(q.data)
    for _ in range(STEPS):
        pair.step()
        for p, q in zip(exact.theirs, pair.theirs, strict=True):
            p.grad = q.grad.double()
        exact.reference.step()
    for p, q, want in zip(pair.ours, pair.theirs, exact.theirs, strict=True):
        ours, theirs = (np.abs(x.detach().numpy() - want.detach().numpy()).max() for x in (p, q))
        assert ours <= 2 * theirs + 4e-7, (ours, theirs)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_groups_and_learning_rates_that_are_tensors(name):
    pair = Pair(name, {"lr": 0.05})
    for t, params, which in ((tracec, pair.ours, "optimizer"), (torch, pair.theirs, "reference")):
        # PyTorch takes a tensor for one of several parameters at a time, unless it is told that it may be captured.
        groups = [{"params": params[:1], "lr": 0.1}, {"params": params[1:], "lr": t.tensor(0.02)}]
        setattr(pair, which, getattr(t.optim, name)(groups, **({"foreach": False} if t is torch else {})))
    for k in range(6):
        pair.step(skip=(k % 4,))
        pair.check()


COMPLEX = [
    ("SGD", {"lr": 0.05, "momentum": 0.9}), ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}), ("AdamW", {}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True}), ("Adagrad", {"lr": 0.1}), ("Adadelta", {}),
    ("Adamax", {}), ("NAdam", {}), ("RAdam", {}), ("Rprop", {"lr": 0.02}), ("ASGD", {"lr": 0.02}),
    ("LBFGS", {"lr": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize("name, options", COMPLEX, ids=lambda v: str(v) if isinstance(v, dict) else v)
def test_complex_parameters_are_pairs_of_real_ones(name, options):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
    found = []
    for t in (tracec, torch):
        p = t.tensor(start, requires_grad=True)
        optimizer = getattr(t.optim, name)([p], **options)

        def closure(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((p - 1j).abs() ** 2).sum() + (p**3).real.sum() * 0.01
            loss.backward()
            return loss

        for _ in range(STEPS):
            optimizer.step(closure)
        found.append(p.detach().numpy())
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_complex_parameters_are_refused(name):
    with pytest.raises(ArgumentError, match=f"{name}: does not support complex parameters"):
        getattr(optim, name)([tracec.zeros(2, 2, dtype=tracec.cfloat, requires_grad=True)])


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: str(v) if isinstance(v, dict) else v)
def test_parameters_without_gradient_are_skipped_and_their_first_step_comes_later(name, options):
    pair = Pair(name, options)
    before = pair.ours[0].detach().numpy().copy()
    pair.step(skip=(0,))
    assert np.array_equal(pair.ours[0].detach().numpy(), before)
    for _ in range(5):
        pair.step(skip=(1,))
        pair.check()


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: str(v) if isinstance(v, dict) else v)
def test_state_of_pytorch_is_taken_over(name, options):
    pair = Pair(name, options)
    for _ in range(3):
        pair.gradients()
        pair.reference.step()
    for p, q in zip(pair.ours, pair.theirs, strict=True):
        with tracec.no_grad():
            p.copy_(tracec.from_numpy(q.detach().numpy().copy()))
    pair.optimizer.load_state_dict(copy.deepcopy(pair.reference.state_dict()))
    for _ in range(3):
        pair.step()
        pair.check()


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: str(v) if isinstance(v, dict) else v)
def test_state_dict_has_the_form_of_pytorch(name, options):
    pair = Pair(name, options)
    pair.step()
    ours, theirs = pair.optimizer.state_dict(), pair.reference.state_dict()
    assert [set(g) for g in ours["param_groups"]] == [set(g) for g in theirs["param_groups"]]
    assert [g["params"] for g in ours["param_groups"]] == [g["params"] for g in theirs["param_groups"]]
    for k, state in theirs["state"].items():
        wanted = {key: value for key, value in state.items() if value is not None}
        own = ours["state"].get(k, {})
        # The count of steps stands for PyTorch's missing first direction.
        assert set(own) - {"step"} == set(wanted) - {"step"}
        for key, value in wanted.items():
            np.testing.assert_allclose(own[key].numpy(), value.numpy(), rtol=1e-5, atol=1e-7)
            assert own[key].dtype.name == str(value.dtype).removeprefix("torch.")


def test_two_groups_with_options_of_their_own():
    pair = Pair("SGD", {"lr": 0.1})
    ours, theirs = pair.ours, pair.theirs
    pair.optimizer = optim.SGD([{"params": ours[:1]}, {"params": ours[1:], "lr": 0.01, "momentum": 0.9}], lr=0.1)
    pair.reference = torch.optim.SGD(
        [{"params": theirs[:1]}, {"params": theirs[1:], "lr": 0.01, "momentum": 0.9}], lr=0.1
    )
    for _ in range(5):
        pair.step()
    pair.optimizer.param_groups[0]["momentum"] = pair.reference.param_groups[0]["momentum"] = 0.5
    for _ in range(5):
        pair.step()
        pair.check()


def exact_muon(values, gradients, lr, nesterov=True, adjust_lr_fn=None, ns_steps=5):
    """Muon in float64: what PyTorch's bfloat16 stands for."""
    values = [v.astype(np.float64) for v in values]
    momenta = [np.zeros_like(v) for v in values]
    for step in gradients:
        for v, m, g in zip(values, momenta, step, strict=True):
            m += 0.05 * (g - m)
            x = 0.05 * g + 0.95 * m if nesterov else m
            x = x.T if x.shape[0] > x.shape[1] else x
            x = x / max(np.linalg.norm(x), 1e-7)
            for _ in range(ns_steps):
                gram = x @ x.T
                x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
            rows, columns = v.shape
            factor = 0.2 * max(rows, columns) ** 0.5 if adjust_lr_fn else max(1.0, rows / columns) ** 0.5
            v *= 1 - lr * 0.1
            v -= lr * factor * (x.T if rows > columns else x)
    return values


@pytest.mark.parametrize("options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}])
def test_muon_is_as_near_to_the_exact_one_as_pytorchs(options):
    shapes = [(7, 4), (3, 9), (5, 5), (64, 33)]
    rng = np.random.default_rng(9)
    values = [rng.normal(size=s).astype(np.float32) for s in shapes]
    gradients = [[rng.normal(size=s).astype(np.float32) for s in shapes] for _ in range(STEPS)]
    found = []
    for module in (tracec, torch):
        params = [module.from_numpy(v.copy()).requires_grad_() for v in values]
        optimizer = module.optim.Muon(params, lr=0.02, **options)
        for step in gradients:
            for p, g in zip(params, step, strict=True):
                p.grad = module.from_numpy(g.copy())
            optimizer.step()
        found.append([p.detach().numpy() for p in params])
    for v, p, q, exact in zip(values, *found, exact_muon(values, gradients, 0.02, **options), strict=True):
        moved = np.abs(exact - v).max()
        ours, theirs = np.abs(p - exact).max() / moved, np.abs(q - exact).max() / moved
        assert ours <= 1.5 * theirs + 0.01, (ours, theirs)


def rosenbrock(module, p):
    return ((1 - p[:-1]) ** 2).sum() + 100 * ((p[1:] - p[:-1] ** 2) ** 2).sum()


@pytest.mark.parametrize(
    "options", [{"lr": 0.01}, {"line_search_fn": "strong_wolfe"}, {"line_search_fn": "strong_wolfe", "history_size": 2}]
)
def test_lbfgs(options):
    start = np.array([-1.2, 1.0, 0.5, -0.3])
    found = []
    for module in (tracec, torch):
        p = module.from_numpy(start.copy()).requires_grad_()
        optimizer = module.optim.LBFGS([p], max_iter=5, **options)
        losses, calls = [], [0]

        def closure(module=module, p=p, optimizer=optimizer, calls=calls):
            calls[0] += 1
            optimizer.zero_grad()
            loss = rosenbrock(module, p)
            loss.backward()
            return loss

        for _ in range(STEPS):
            losses.append(float(optimizer.step(closure).detach()))
        found.append((losses, calls[0], p.detach().numpy()))
    (ours, n, p), (theirs, m, q) = found
    assert n == m
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(p, q, rtol=1e-6)
