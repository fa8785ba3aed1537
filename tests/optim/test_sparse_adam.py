"""SparseAdam: rows without a gradient stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

import tracec

W = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)


def trained(T, compiled=False, steps=12, **options):
    table = T.nn.Embedding(5, 4, sparse=True)
    with T.no_grad():
        table.weight.copy_(T.tensor(W))
    optimizer = T.optim.SparseAdam(list(table.parameters()), lr=0.1, **options)

    def step(at):
        optimizer.zero_grad()
        loss = ((table(at) - 1.5) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    step = T.compile(step, fullgraph=True) if compiled else step
    for k in range(steps):
        step(T.tensor([k % 4, (2 * k) % 4, k % 4]))
    return table.weight.detach().numpy(), optimizer


def adam(steps=12):
    w, m, v = W.astype(np.float64), np.zeros((5, 4)), np.zeros((5, 4))
    for t in range(1, steps + 1):
        rows = [(t - 1) % 4, (2 * (t - 1)) % 4, (t - 1) % 4]
        g = np.zeros((5, 4))
        for r in rows:
            g[r] += 2 * (w[r] - 1.5)
        at = sorted(set(rows))
        m[at] = 0.9 * m[at] + 0.1 * g[at]
        v[at] = 0.999 * v[at] + 0.001 * g[at] ** 2
        w[at] -= 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m[at] / (np.sqrt(v[at]) + 1e-8)
    return w


@pytest.mark.parametrize("compiled", [False, True])
def test_rows_that_are_looked_up_are_moved(compiled):
    found, optimizer = trained(tracec, compiled)
    np.testing.assert_allclose(found, adam(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[4], W[4])
    (state,) = optimizer.state.values()
    assert (state["exp_avg"][4] == 0).all() and state["step"].item() == 12


@pytest.mark.parametrize("options", [{}, {"betas": (0.5, 0.9), "eps": 1e-4}, {"maximize": True}], ids=str)
def test_against_torch(options):
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(trained(tracec, **options)[0], trained(torch, **options)[0], rtol=1e-4, atol=1e-5)


def test_mistakes():
    p = tracec.ones(2, requires_grad=True)
    for options in ({"lr": -1.0}, {"eps": 0.0}, {"betas": (1.0, 0.9)}):
        with pytest.raises(ValueError, match="SparseAdam"):
            tracec.optim.SparseAdam([p], **options)
