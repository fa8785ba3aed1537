"""Parametrisations, norms of weights, and pruning, as scripts that must give the same with both libraries."""

from __future__ import annotations

import copy
import importlib

import numpy as np
import pytest

import tracec
import tracec.nn.utils.prune
from tests.nn.parity import state_into, torch
from tests.nn.test_machinery_against_torch import plain

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
importlib.import_module("torch.nn.utils.prune")
VALUES = np.random.default_rng(0).normal(size=(4, 3, 2))


def linear(t, rows=4, columns=3):
    m = t.nn.Linear(columns, rows).double()
    with t.no_grad():
        m.weight.copy_(t.from_numpy(VALUES.reshape(-1)[: rows * columns].reshape(rows, columns).copy()))
        m.bias.copy_(t.arange(float(rows)))
    return m


def symmetric(t):
    class Symmetric(t.nn.Module):
        def forward(self, X):
            return X.triu() + X.triu(1).mT

        def right_inverse(self, A):
            return A.triu()

    return Symmetric()


def scale(t):
    class Scale(t.nn.Module):
        def forward(self, X):
            return X * 2

    return Scale()


def register(t):
    m, p = linear(t, 3, 3), t.nn.utils.parametrize
    p.register_parametrization(m, "weight", symmetric(t))
    p.register_parametrization(m, "bias", scale(t))
    log = [repr(m), m.weight, m.bias, list(m.state_dict()), [n for n, _ in m.named_parameters()], p.is_parametrized(m)]
    m.weight = t.ones(3, 3).double() * 3
    log += [m.weight, m.parametrizations.weight.original, p.is_parametrized(m, "bias"), p.is_parametrized(m, "x")]
    p.register_parametrization(m, "weight", scale(t))
    with p.cached():
        log.append(m.weight is m.weight)
    m(t.ones(2, 3).double()).sum().backward()
    log += [m.weight, m.parametrizations.weight.original.grad, m.parametrizations.bias.original.grad]
    log.append(p.type_before_parametrizations(m).__name__)
    twin = copy.deepcopy(m)
    log += [twin.weight, twin.parametrizations.weight.original is m.parametrizations.weight.original]
    p.remove_parametrizations(m, "weight")
    p.remove_parametrizations(m, "bias", leave_parametrized=False)
    if t is tracec:
        assert twin.weight.equal(m.weight)
    return [*log, repr(m), m.weight, m.bias, list(m.state_dict()), type(m).__name__]


def lengths(t):
    log = []
    for dim in (0, 1, None):
        m = t.nn.utils.parametrizations.weight_norm(linear(t), dim=dim)
        m(t.ones(2, 3).double()).pow(2).sum().backward()
        log += [
            list(m.state_dict()),
            m.weight,
            *[p.grad for p in m.parameters()],
            *m.parametrizations.weight.parameters(),
        ]
        m.weight = m.weight * 2
        log += [m.weight, m.parametrizations.weight.original0]
        m.load_state_dict({"bias": m.bias, "weight_g": m.parametrizations.weight.original0 * 2, "weight_v": m.weight})
        log += [m.weight, repr(m)]
        log += [t.nn.utils.parametrize.remove_parametrizations(m, "weight").weight]
    return log


def older_lengths(t):
    m = t.nn.utils.weight_norm(linear(t))
    log = [list(m.state_dict()), m.weight_g, m.weight_v]
    m(t.ones(2, 3).double()).pow(2).sum().backward()
    log += [m.weight, m.weight_g.grad, m.weight_v.grad]
    m.weight_g.data.mul_(3)
    log.append(m(t.ones(2, 3).double()))
    t.nn.utils.remove_weight_norm(m)
    return [*log, m.weight, list(m.state_dict()), m(t.ones(2, 3).double())]


def orthogonal(t):
    log = []
    for rows, columns in ((3, 3), (4, 3), (3, 4)):
        for by in ("matrix_exp", "cayley", "householder"):
            for based in (False, True):
                if based and rows != columns:
                    continue  # the base has random columns
                m = linear(t, rows, columns)
                if not based and by != "householder":
                    # It cannot be set: the weight is taken as it is.
                    orth = t.nn.utils.parametrizations.orthogonal
                    try:
                        orth(m, orthogonal_map=by, use_trivialization=False)
                        log.append("set")
                    except (NotImplementedError, RuntimeError):
                        log.append("refused")
                    continue
                t.nn.utils.parametrizations.orthogonal(m, orthogonal_map=by, use_trivialization=based)
                log += [by, m.weight]
                with t.no_grad():
                    m.parametrizations.weight.original.add_(
                        t.from_numpy(VALUES[:rows].reshape(rows, -1)[:, :columns] * 0.3)
                    )
                m(t.ones(2, columns).double()).pow(2).sum().backward()
                log += [m.weight, m.parametrizations.weight.original.grad]
    return log


def pruned(t):
    p = t.nn.utils.prune
    m = linear(t)
    p.l1_unstructured(m, "weight", 0.5)
    log = [list(m.state_dict()), m.weight, m.weight_mask, p.is_pruned(m), m(t.ones(1, 3).double())]
    p.ln_structured(m, "weight", 1, 2, 0)
    p.l1_unstructured(m, "bias", 2, importance_scores=t.arange(4.0).double().flip(0))
    log += [m.weight, m.bias, len(m._forward_pre_hooks)]
    m(t.ones(1, 3).double()).sum().backward()
    log += [m.weight_orig.grad]
    p.remove(m, "weight")
    log += [m.weight, list(m.state_dict()), type(m.weight).__name__]
    n, k = linear(t), linear(t, 2, 3)
    p.global_unstructured([(n, "weight"), (k, "weight")], p.L1Unstructured, amount=0.5)
    log += [n.weight_mask, k.weight_mask]
    p.custom_from_mask(n, "bias", t.tensor([1, 0, 1, 0]))
    p.identity(k, "bias")
    p.random_unstructured(k, "bias", 1)
    p.random_structured(k, "weight", 1, 1)
    return [*log, n.bias, k.bias_mask.sum(), (k.weight_mask.sum(0) == 0).any()]


def own_pruning(t):
    class EveryOther(t.nn.utils.prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, tensor, default_mask):
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    m = linear(t)
    EveryOther.apply(m, "bias")
    return m.bias, m.bias_mask


def vectors(t):
    m = linear(t)
    m(t.ones(2, 3).double()).pow(2).sum().backward()
    u = t.nn.utils
    grads = [p.grad for p in m.parameters()]
    log = [u.get_total_norm(grads, p, foreach=False) for p in (1.0, 2.0, 3.0, float("inf"))]
    u.clip_grads_with_norm_(m.parameters(), 5.0, u.get_total_norm(grads))
    log += [u.clip_grad_norm_(m.parameters(), 1.0, float("inf"), foreach=True), *[p.grad for p in m.parameters()]]
    u.clip_grad_value_(m.weight, 0.1)
    u.vector_to_parameters(u.parameters_to_vector(m.parameters()) * 2, m.parameters())
    log.append(u.clip_grad_norm_([t.ones(1)], 1.0))
    return [*log, m.weight.grad, m.weight, u.skip_init(t.nn.Linear, 2, 3, bias=False).weight.numel()]


SCRIPTS = [register, lengths, older_lengths, orthogonal, pruned, own_pruning, vectors]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_scripts(script):
    assert plain(script(tracec)) == plain(script(torch))


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("kind", ["Linear(3, 4)", "Conv1d(2, 3, 2)", "ConvTranspose1d(2, 3, 2)"])
def test_spectral_norms(kind, older):
    x = np.random.default_rng(1).normal(size=(2, 3) if "Linear" in kind else (2, 2, 5))
    found = []
    ours, theirs = (
        (t.nn.utils if older else t.nn.utils.parametrizations).spectral_norm(eval(f"t.nn.{kind}", {"t": t}).double())
        for t in (tracec, torch)
    )
    state_into(ours, theirs)
    for t, m in ((tracec, ours), (torch, theirs)):
        for mode in (True, False):
            m.train(mode)
            (m(t.from_numpy(x.copy())) ** 2).sum().backward()
        grads = [p.grad.numpy() for p in m.parameters()]
        weight = m.weight.detach().numpy()
        name = t.nn.utils.remove_spectral_norm(m).weight if older else t.nn.utils.parametrize.remove_parametrizations(
            m, "weight"
        ).weight  # fmt: skip
        found.append([*grads, weight, name.detach().numpy()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_an_orthogonal_weight_stays_so():
    tracec.manual_seed(0)
    for rows, columns in ((3, 3), (5, 3), (3, 5)):
        m = tracec.nn.utils.parametrizations.orthogonal(tracec.nn.Linear(columns, rows).double())
        optimizer = tracec.optim.SGD(m.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            m(tracec.ones(2, columns, dtype=tracec.float64)).pow(2).sum().backward()
            optimizer.step()
        W = m.weight.detach()
        product = W @ W.mT if rows <= columns else W.mT @ W
        np.testing.assert_allclose(product.numpy(), np.eye(min(rows, columns)), atol=1e-12)
        wanted = tracec.from_numpy(np.linalg.qr(np.random.default_rng(2).normal(size=(rows, columns)))[0])
        if wanted.shape == W.shape:
            m.weight = wanted
            np.testing.assert_allclose(m.weight.detach().numpy(), wanted.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 2), "x", symmetric(t)),
        lambda t: t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 2), "weight", t.nn.Linear(2, 3)),
        lambda t: t.nn.utils.parametrize.remove_parametrizations(t.nn.Linear(2, 2), "weight"),
        lambda t: setattr(
            t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 2), "bias", scale(t)), "bias", t.ones(2)
        ),
        lambda t: t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 2), "bias"),
        lambda t: t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 2), orthogonal_map="x"),
        lambda t: t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(2, 2), "x"),
        lambda t: t.nn.utils.spectral_norm(t.nn.Linear(2, 2), n_power_iterations=0),
        lambda t: t.nn.utils.weight_norm(t.nn.utils.weight_norm(t.nn.Linear(2, 2))),
        lambda t: t.nn.utils.remove_weight_norm(t.nn.Linear(2, 2)),
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "weight", -1),
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "weight", 1.5),
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "weight", 5),
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "weight", "a"),
        lambda t: t.nn.utils.prune.remove(t.nn.Linear(2, 2), "weight"),
        lambda t: __import__("pickle").dumps(
            t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 2), "weight", symmetric(t))
        ),
        lambda t: t.nn.utils.skip_init(t.nn.ReLU),
    ],
)
def test_what_is_refused(f):
    with pytest.raises(Exception) as theirs:
        f(torch)
    with pytest.raises(type(theirs.value)):
        f(tracec)


def test_parametrisations_compile():
    m = tracec.nn.utils.parametrizations.weight_norm(tracec.nn.Linear(3, 2))
    x = tracec.ones(4, 3)

    def step(x):
        return tracec.autograd.grad(m(x).pow(2).sum(), list(m.parameters()))

    program = tracec.compile(step)
    program(x)
    for a, b in zip(program(x), step(x), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
