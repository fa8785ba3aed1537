"""Functions that ask for values: each way that values choose is compiled, and does what the function does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tracec
from tests.trees import check, hits, same, tensor
from tracec.errors import RecordError
from tracec.specialisations import tree


def branch(x):
    return x * 2 if x.sum() > 0 else x - 1


def nested(x):
    y = (x * x).mean(dim=-1)
    if y.max() > 1:
        y = y / y.max()
        if (y < 0.5).any():
            return y, tracec.exp(x) + y[:, None], "low"
    elif x.min() < -0.5:
        return y - x.min(), x, "negative"
    return y, x + 1, "rest"


def newton(x, tolerance):
    count = 0
    while True:
        new = 0.5 * (x + 2.0 / x)
        if (new - x).abs().max() < tolerance:
            return new, count
        x, count = new, count + 1


def counted(x, n):
    for k in range(int(n)):
        x = tracec.sin(x) + k
    return x


def masked(x):
    chosen = x[x > 0]
    return chosen.sum(), chosen.shape[0], tracec.nonzero(x < -1)


def early(x):
    turns = 0
    while turns < 6 and x.abs().sum().item() < 20:
        x, turns = x * 2, turns + 1
    return x, turns


def as_list(x):
    signs = (x[:, 0] > 0).tolist()
    return tracec.stack([row if up else -row for row, up in zip(x, signs, strict=True)])


CALLS = {
    branch: [(tensor(3),), (-tensor(3),), (tensor(3, seed=2),), (tensor(4),)],
    nested: [(tensor(5, 4, seed=k, scale=s),) for k in range(3) for s in (0.1, 1.0, 3.0)],
    newton: [(tracec.full((5,), s), 1e-5) for s in (1.0, 100.0, 1.5, 1e6, 1e3)],
    counted: [(tensor(3), tracec.tensor(n)) for n in (0, 3, 1, 5, 3)],
    masked: [(tensor(7, seed=k),) for k in range(4)] + [(tracec.zeros(7),)],
    early: [(tensor(3, scale=s),) for s in (0.1, 1.0, 10.0, 100.0)],
    as_list: [(tensor(3, 2, seed=k),) for k in range(4)],
}


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_each_way_is_compiled(function):
    check(function, CALLS[function])


@pytest.mark.parametrize("function", [branch, nested, newton], ids=lambda f: f.__name__)
def test_each_way_runs_in_the_emulator(function):
    check(function, CALLS[function][:3], target="cuda", launcher="emulator")


def test_ways_share_what_comes_before_they_part():
    compiled = check(branch, CALLS[branch][:2])
    (specialisation,) = compiled.explain().specialisations
    assert "bool of bool[]" in specialisation.why
    assert specialisation.why.count("to the end") == 2
    # A loop's turns are one program, however many there are.
    (specialisation,) = check(newton, CALLS[newton]).explain().specialisations
    assert " times: bool of bool[]" in specialisation.why
    assert specialisation.kernels < 40


def test_a_value_that_was_not_met_before_is_the_reason_for_a_recording():
    compiled = tracec.compile(branch)
    compiled(tensor(3)), compiled(-tensor(3))
    first, second = compiled.explain().recordings
    assert first.reason == "first call"
    (change,) = second.changes
    assert change.name == "bool(...)"
    assert {change.before, change.now} == {"True", "False"}
    assert "test_tree.py" in change.where
    again = tracec.compile(branch, on_record="raise")
    again(tensor(3))
    with pytest.raises(RecordError, match=r"bool\(\.\.\.\)"):
        again(-tensor(3))


def train(run_compiled: bool):
    w = tensor(4, 3, seed=1, requires_grad=True)
    optimizer = tracec.optim.Adam([w], lr=0.05)
    log = []

    def step(x):
        optimizer.zero_grad()
        loss = (x @ w).square().mean()
        if loss > 1:
            loss = loss.log() + 1
        loss.backward()
        norm = w.grad.norm()
        if norm > 0.5:
            w.grad.mul_(0.5 / norm)
        optimizer.step()
        return loss

    run = tracec.compile(step) if run_compiled else step
    for k in range(14):
        log.append(run(tensor(6, 4, seed=k, scale=(0.1, 1.0, 4.0)[k % 3])).item())
    return log, w, optimizer, run


def test_a_train_step_that_clips_by_hand():
    log, w, optimizer, _ = train(False)
    found, v, other, run = train(True)
    np.testing.assert_allclose(found, log, rtol=1e-4)
    same(v, w)
    same(v.grad, w.grad)
    for a, b in zip(optimizer.state.values(), other.state.values(), strict=True):
        same(b["exp_avg"], a["exp_avg"])
    assert hits(run) >= 8


def test_nothing_is_written_before_the_end():
    state = tracec.zeros(3)

    def f(x):
        state.add_(x)
        if state.sum() > 2:
            state.mul_(0.5)
            if state.max() > 5:
                raise ValueError("too large")
        return state + 1

    compiled = tracec.compile(f)
    shadow = np.zeros(3, np.float32)
    for x in (0.5, 0.5, 1.0, 0.1, 0.2, 0.3, 2.0, 0.1):
        same(compiled(tracec.full((3,), x)), f_of(shadow, x) + 1)
        same(state, shadow)
    for _ in range(2):
        with pytest.raises(ValueError, match="too large"):
            compiled(tracec.full((3,), 100.0))
        shadow[...] = (shadow + 100.0) * np.float32(0.5)  # as eagerly, what was written before the error stays
        same(state, shadow)


def f_of(shadow, x):
    shadow += np.float32(x)
    if shadow.sum() > 2:
        shadow *= np.float32(0.5)
    return shadow.copy()


def test_gradients_go_back_through_a_way():
    w = tensor(3, seed=1, requires_grad=True)

    def f(x):
        y = tracec.tanh(x * w)
        return (y * y).sum() if y.sum() > 0 else (tracec.exp(y) * 3).sum()

    compiled = tracec.compile(f)
    for k in range(8):
        x = tensor(3, seed=k, requires_grad=True)
        grads = []
        for run in (f, compiled):
            w.grad = x.grad = None
            run(x).backward()
            grads.append((w.grad, x.grad))
        same(grads[1], grads[0])
    assert hits(compiled) >= 5


def test_a_value_that_another_way_needs_is_computed_there():
    def f(x):
        hidden = tracec.exp(x)
        total = hidden.sum()
        return total if total > 10 else hidden * total + x

    check(f, [(tensor(3, scale=0.1),), (tensor(3, scale=3.0, seed=4) + 2,), (tensor(3, seed=1),)])


def test_random_numbers_in_a_branch_are_those_of_an_eager_run():
    def f(x):
        if x.sum() > 0:
            x = x + tracec.randn(3)
        return x * tracec.rand(3)

    compiled = tracec.compile(f)
    results = []
    for run in (f, compiled):
        tracec.manual_seed(7)
        results.append([run(x) for x in (tensor(3), -tensor(3), tensor(3), -tensor(3), tensor(3))])
    same(results[1], results[0])
    assert hits(compiled) == 3


def test_indices_out_of_range_are_refused_on_every_way():
    table = tensor(5, 2)

    def f(i, x):
        rows = table[i]
        return rows.sum() if x.sum() > 0 else rows.max()

    compiled = tracec.compile(f)
    i = tracec.tensor([0, 4])
    for x in (tensor(3), -tensor(3)) * 2:
        same(compiled(i, x), f(i, x))
    for x in (tensor(3), -tensor(3)):
        with pytest.raises(IndexError):
            compiled(tracec.tensor([0, 5]), x)


def test_views_and_shared_memory_choose_their_own_ways():
    base = tensor(4, 3)

    def f(x, y):
        x.mul_(2)
        return (x - y if y.sum() > 0 else x + y), y

    compiled = tracec.compile(f)
    for a, b in [(base[0], base[0]), (base[0], base[1]), (base[1], base[1]), (base[2], base[0])] * 3:
        before = base.clone()
        expected = f(a, b)
        after = base.clone()
        base.copy_(before)
        same(compiled(a, b), expected)
        same(base, after)


def test_values_that_are_never_the_same_run_eagerly_in_the_end_and_say_so():
    compiled = tracec.compile(lambda x: x * complex(x.sum()).real)
    inputs = [tensor(3, seed=k) for k in range(20)]
    with pytest.warns(RuntimeWarning, match=r"asks for the value of a tensor \(complex of f32.*, which was another"):
        found = [compiled(x) for x in inputs[: tree.MOST_VALUES]]
    same(found, [x * x.sum() for x in inputs[: tree.MOST_VALUES]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recordings = len(compiled.explain().recordings)
        same([compiled(x) for x in inputs], [x * x.sum() for x in inputs])
    assert len(compiled.explain().recordings) == recordings


def test_fullgraph_refuses_what_takes_several_graphs():
    with pytest.raises(RecordError, match=r"branch: asks for the value of a tensor \(bool"):
        tracec.compile(branch, fullgraph=True)(tensor(3))


def test_masks_with_as_many_elements_are_one_way():
    compiled = tracec.compile(lambda x, y: (y[x > 0], tracec.nonzero(x > 0), tracec.unique(x.round())))
    rng = np.random.default_rng(0)
    for _ in range(12):
        x = tracec.tensor(rng.permutation([2.0, 1.0, -1.0, -2.0, 0.0]).astype(np.float32))
        y = tracec.tensor(rng.standard_normal(5).astype(np.float32))
        same(compiled(x, y), [y[x > 0], tracec.nonzero(x > 0), tracec.unique(x.round())])
    assert hits(compiled) == 11
    assert "nonzero of i64[]" in str(compiled.explain())


def test_values_that_are_not_needed_any_more_are_let_go():
    def f(x, n):
        while x.sum() < n:
            rows = x.reshape(2, -1)
            x = (rows * 1.25).sum(dim=0).repeat(2) * 0.5 + rows.reshape(-1) * 0.5
        return x

    check(f, [(tracec.ones(8), n) for n in (9.0, 20.0, 60.0, 1.0)])
    compiled = check(f, [(tracec.ones(8), 60.0)])
    ((spec,),) = compiled._known.values()
    branch, most = spec.replay._roots[0], 0
    while isinstance(branch, tree.Branch):
        most = max(most, len(branch.saved))
        branch = next(iter(branch.children.values()))
    assert most <= 2


def test_what_is_saved_is_no_memory_that_the_end_writes_into():
    def f(x):
        before = x * 1  # which is x itself
        if before.sum() > 0:
            x.mul_(2)
        else:
            x.add_(before)
        return before * x + before, before

    compiled = tracec.compile(f)
    for sign in (1, -1, 1, 1, -1, -1):
        x, y = (tracec.tensor([1, 2, 3]) * sign for _ in range(2))
        same(compiled(x), f(y))
        same(x, y)
    assert hits(compiled) == 4


@pytest.mark.parametrize("masks", [1, 3])
def test_counts_of_many_that_never_come_again_are_given_up_soon(masks):
    def routed(x):
        out = tracec.zeros_like(x)
        for k in range(masks):
            at, _ = tracec.where(x > k / 4)
            weights = tracec.from_numpy(np.full((len(at), 1), k + 1, np.float32))  # which no symbol can be
            out = out.index_add(0, at, x[at] * weights)
        return out

    compiled = tracec.compile(routed)
    with pytest.warns(RuntimeWarning, match="(was another one 4 times|5 calls took different paths).*; (such|calls)"):  # noqa: PT031
        for k in range(7):
            x = tensor(9, 12, seed=k)
            same([compiled(x)], [routed(x)])
    assert len(compiled.explain().recordings) <= tree.FEW_VALUES + 1


def test_two_recordings_serve_all_counts():
    compiled = tracec.compile(lambda x: x[x > 0].sum())
    for k in range(6):
        x = tracec.arange(24.0) - 12 - k % 3
        for _ in range(2):
            same([compiled(x)], [x[x > 0].sum()])
    assert len(compiled.explain().recordings) == 2
