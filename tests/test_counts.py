"""How many elements of a mask hold is a size of programs: one recording serves any count, whatever the mask gives."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.sizes import flat


def masked(x):
    return x[x > 0].sum(), tracec.masked_select(x, x < 0), x[x > 0.5].shape[0]


def put(x):
    y = x.clone()
    y[y > 0] *= 2
    y[y < -1] = 5.0
    m = y > 2
    y[m] = y[m] ** 2
    return y


def unique(x):
    values, places, counts = tracec.unique((x * 2).round(), return_inverse=True, return_counts=True)
    return values, places, counts, values.numel()


def halves(x):
    m = x > 0
    z = tracec.cat([x[m], x[~m]])
    return z + tracec.arange(z.shape[0]), z * x


def branches(x):
    (i,) = tracec.where(x > 0)
    return x[i].sum() * 2 if i.shape[0] > 20 else x.sum()


def nested(x):
    a = x[x > 0]
    b = a[a > 0.5]
    return a.mean(), b.sum() / max(1, b.numel()), b


def drawn(x):
    a = x[x > 0]
    return (a + tracec.rand(a.shape[0])).sum() - tracec.rand_like(a).sum()


def rows(x):
    kept = x.reshape(-1, 4)
    kept = kept[kept[:, 0] > 0]
    return kept @ kept.T, tracec.softmax(kept, 0), kept.view(-1, 2, 2).permute(1, 0, 2).contiguous()


def ranked(x):
    a = x[x > 0]
    values, order = a.sort(descending=True)
    return values[:1], order, a.max() if a.numel() else x.max(), a.cumsum(0)


def scattered(x):
    (i,) = tracec.where(x > 0)
    out = tracec.zeros_like(x)
    return out.index_add(0, i, x[i] * 2), out.scatter(0, i, x[i])


def compared(x):
    a, b = x[x > 0], x[x <= 0]
    return a * b if a.shape == b.shape else a.sum() * b.sum()


def numbers(x):
    n = x[x > 0].shape[0]
    return x / max(n, 1), n**0.5 * x, n


def repeated(x):
    a = x[x > 0]
    return a.unsqueeze(1).expand(-1, 3).sum(0), a.repeat(2), tracec.einsum("i,j->ij", a, a)


def baked(x):
    """Whatever Python makes of a count is what it was."""
    (i,) = tracec.where(x > 0)
    return tracec.from_numpy(np.ones(len(i), np.float32)) * x[i]


def run(function, x, seed):
    """Results of a function and the gradients of its argument."""
    x = x.clone().requires_grad_()
    tracec.manual_seed(seed)
    out = flat(function(x))
    tensors = [t for t in out if isinstance(t, tracec.Tensor)]
    ends = [(t * 1.5).sum() for t in tensors if t.requires_grad]
    if ends:
        sum(ends).backward()
    grad = None if x.grad is None else x.grad.numpy()
    return [*(t.detach().numpy() if isinstance(t, tracec.Tensor) else t for t in out), grad]


def arguments(varied, calls):
    rng = np.random.default_rng(0)
    for k in range(calls):
        x = rng.standard_normal(4 * int(rng.integers(9, 20)) if varied else 64) + (0.4 if k % 3 else -0.3)
        if k == 5:  # none, one, or all
            x = -abs(x)
        if k == 6:
            x = -abs(x)
            x[3] = 1
        if k == 7:
            x = abs(x) + 0.01
        yield tracec.tensor(x, dtype=tracec.float32)


def check(function, varied=False, calls=14, **options):
    """The compiled function, after calls with masks that hold for ever other numbers of elements."""
    compiled = tracec.compile(function, **options)
    for k, x in enumerate(arguments(varied, calls)):
        for found, expected in zip(run(compiled, x, k), run(function, x, k), strict=True):
            assert type(found) is type(expected)
            if expected is not None:
                np.testing.assert_allclose(found, expected, 2e-5, 2e-5, err_msg=f"{function.__name__}, call {k}")
    return compiled


EACH = [
    masked, put, unique, halves, branches, nested, drawn, rows, ranked, scattered, compared, numbers, repeated,
]  # fmt: skip


@pytest.mark.parametrize("function", EACH)
def test_few_recordings_serve_all_counts(function):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = check(function)
    assert len(compiled.explain().recordings) <= 6  # one by value, one for any count, and those of none, one and all


@pytest.mark.parametrize("function", [masked, halves, ranked, rows, nested])
def test_counts_in_masks_of_sizes_that_vary(function):
    assert len(check(function, varied=True).explain().recordings) <= 6


def test_what_python_makes_of_a_count_is_recorded_for_that_count():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(baked)


def test_counts_are_told_of():
    compiled = check(masked)
    assert "any count: " in str(compiled.explain())
    assert "count(0)" not in [r.reason for r in compiled.explain().recordings][1]


def test_each_count_by_itself():
    with pytest.warns(RuntimeWarning, match="was another one"):
        check(masked, dynamic=False)


def test_any_count_from_the_first_call_on():
    compiled = tracec.compile(lambda x: x[x > 0] * 2, dynamic=True)
    for shift in (0.0, 0.3, -0.3, 0.5):
        x = tracec.linspace(-1, 1, 40) + shift
        np.testing.assert_array_equal(compiled(x).numpy(), (x[x > 0] * 2).numpy())
    # What was recorded for one count serves others once it was the same for a second one.
    assert len(compiled.explain().recordings) == 2


def test_counts_of_constants_are_no_symbols():
    def lower(x):
        i, j = tracec.tril(tracec.ones(6, 6)).nonzero(as_tuple=True)
        return x[:36].reshape(6, 6)[i, j].sum(), x[x > 0]

    compiled = check(lower)
    assert str(compiled.explain()).count("nonzero of i64[]") == 1


def test_train_step_over_chosen_rows():
    def made():
        tracec.manual_seed(0)
        layer = tracec.nn.Linear(5, 7)
        optimiser = tracec.optim.Adam(layer.parameters(), lr=0.01)

        def step(x):
            optimiser.zero_grad()
            y = layer(x)
            chosen = y[:, 0] > 0
            loss = (y[chosen] ** 2).mean() + y[~chosen].abs().sum() / chosen.sum()
            loss.backward()
            optimiser.step()
            return loss

        return step, layer

    (eager, one), (function, other) = made(), made()
    compiled = tracec.compile(function)
    rng = np.random.default_rng(0)
    for _ in range(12):
        x = tracec.tensor(rng.standard_normal((40, 5)), dtype=tracec.float32)
        np.testing.assert_allclose(compiled(x).item(), eager(x).item(), rtol=1e-5)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert len(compiled.explain().recordings) <= 3


def test_graphs_that_sparse_tensors_are_made_of():
    def neighbours(adjacency, x):
        edges = adjacency.nonzero().t()
        values = (x[edges[0]] * x[edges[1]]).sum(-1)
        sparse = tracec.sparse_coo_tensor(edges, values, adjacency.shape)
        return tracec.sparse.mm(sparse, x), sparse._nnz()

    compiled = tracec.compile(neighbours)
    rng = np.random.default_rng(0)
    for _ in range(8):
        adjacency = tracec.tensor((rng.random((12, 12)) < 0.3).astype(np.float32))
        x = tracec.tensor(rng.standard_normal((12, 4)), dtype=tracec.float32)
        (found, count), (expected, number) = compiled(adjacency, x), neighbours(adjacency, x)
        assert count == number
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
    assert len(compiled.explain().recordings) == 2


@needs_compiler
def test_kernels_for_a_gpu():
    check(halves, calls=7, target="cuda", launcher="emulator")


def test_parts_of_what_a_mask_chose():
    """Where results lie in memory depends on the count as well, which no graph tells."""
    compiled = tracec.compile(lambda x: x[x > 0].chunk(2))
    for count in (5, 7, 6, 4, 9, 2, 3):
        x = tracec.tensor([*range(1, count + 1), *[-1] * (12 - count)], dtype=tracec.float32)
        for found, expected in zip(compiled(x), x[x > 0].chunk(2), strict=True):
            np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_numbers_of_recordings_that_counts_are_refused_for():
    def function(x):
        y = x[x > 0]
        n = y.shape[0]
        total = y.sum().item()
        weights = tracec.from_numpy(np.ones(len(y), np.float32))  # which no symbol can be
        return y * weights * (total * n), total * n, n

    compiled = tracec.compile(function, dynamic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for count in (5, 7, 8, 8, 6, 6, 5, 7):
            x = tracec.tensor([*range(1, count + 1), *[-1] * (12 - count)], dtype=tracec.float32)
            for found, expected in zip(compiled(x), function(x), strict=True):
                np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
