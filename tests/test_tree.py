"""Functions that ask for values: each way that values choose is compiled, and does what the function does."""

from __future__ import annotations

import math
import warnings
from math import log1p

import numpy as np
import pytest

import tracec
from tracec.errors import RecordError
from tracec.specialisations import tree


def tensor(*shape: int, seed: int = 0, scale: float = 1.0, requires_grad: bool = False):
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(scale)
    return tracec.tensor(values, requires_grad=requires_grad)


def plain(value):
    """A result with arrays in place of tensors."""
    if isinstance(value, tracec.Tensor):
        return value.detach().numpy()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def same(found, expected) -> None:
    found, expected = plain(found), plain(expected)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    else:
        assert type(found) is type(expected)
        assert found == expected


def hits(compiled) -> int:
    return sum(s.hits for s in compiled.explain().specialisations if s.compiled)


def check(function, calls, **options):
    """Call a function and its compiled form, each way several times, and compare; all but the first of a way hit."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = tracec.compile(function, **options)
        for _ in range(3):
            for call in calls:
                same(compiled(*call), function(*call))
        recordings = len(compiled.explain().recordings)
        for call in calls:
            same(compiled(*call), function(*call))
    assert len(compiled.explain().recordings) == recordings <= len(calls)
    assert hits(compiled) >= 3 * len(calls)
    return compiled


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


# Numbers that are asked for ------------------------------------------------------------------------------


def a_number(x):
    return x.sum().item()


def computed(x):
    return x.sum().item() * 2 + 1, {"place": x.argmax().item(), "doubled": x * 2}


def compared(x):
    if x.sum().item() > 0 and x.max().item() < 5:
        return x * x.mean().item()
    return x - 1


def an_operand(x):
    return x * (x.sum().item() * 0.5 - 1.0), x + x.argmax().item(), tracec.full((2,), x.sum().item())


def divided(x):
    return 1.0 / x.abs().sum().item(), x / x.abs().max().item()


def gathered(x):
    total = 0.0
    for k in range(3):
        total += (x * k).sum().item()
    return total, [total > 3]


def narrow(x):
    return x.to(tracec.bfloat16).sum().item(), x.half().sum().item(), x.double().sum().item() + 1


NUMBERS = [a_number, computed, compared, an_operand, divided, gathered, narrow]


@pytest.mark.parametrize("function", NUMBERS, ids=lambda f: f.__name__)
def test_a_number_that_is_asked_for_is_another_one_at_each_call(function):
    compiled = tracec.compile(function)
    for k in range(12):
        x = tensor(3, seed=k, scale=1.0 + k % 2)
        found, expected = compiled(x), function(x)
        same_numbers(found, expected)
    assert len(compiled.explain().recordings) <= 3
    assert hits(compiled) >= 9


def same_numbers(found, expected):
    """As `same`, but floats may be rounded otherwise."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        assert type(found) is type(expected)
        for a, b in zip(found, expected, strict=True):
            same_numbers(a, b)
    elif type(expected) is float:
        assert type(found) is float
        assert found == pytest.approx(expected, rel=1e-5)
    else:
        same(found, expected)


def test_what_python_refuses_is_refused_before_anything_is_written():
    state = tracec.zeros(3)

    def f(x):
        ratio = 1.0 / x.sum().item()
        state.add_(x)
        return ratio

    compiled = tracec.compile(f)
    for value in (1.0, 2.0, 4.0):
        assert compiled(tracec.full((3,), value)) == pytest.approx(1 / (3 * value))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            compiled(tracec.zeros(3))
    assert state.tolist() == [7.0] * 3
    assert hits(compiled) == 2


def test_a_train_step_that_gives_its_loss_as_a_number():
    w = tensor(3, seed=1, requires_grad=True)

    def step(x):
        loss = (x @ w).square().mean()
        loss.backward()
        with tracec.no_grad():
            w.sub_(0.1 * w.grad)
        w.grad = None
        return loss.item()

    start = w.detach().clone()
    eager = [step(tensor(5, 3, seed=k)) for k in range(10)]
    with tracec.no_grad():
        w.copy_(start)
    compiled = tracec.compile(step, fullgraph=True)
    assert [compiled(tensor(5, 3, seed=k)) for k in range(10)] == pytest.approx(eager, rel=1e-5)
    assert len(compiled.explain().recordings) == 1


def test_an_integer_that_addresses_is_a_way_for_each_value():
    compiled = tracec.compile(lambda x: (x[x.argmax().item()], tracec.arange(x.argmax().item() + 1)))
    for k in range(10):
        x = tensor(4, seed=k)
        same(compiled(x), [x[x.argmax().item()], tracec.arange(x.argmax().item() + 1)])
    assert len(compiled.explain().recordings) <= 4


def test_a_number_is_what_it_was_when_it_was_asked_for():
    w = tracec.tensor(1.0)

    def f():
        before = w.item()
        w.add_(1)
        return before, w.item()

    compiled = tracec.compile(f)
    assert [compiled() for _ in range(4)] == [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 5.0)]
    assert hits(compiled) == 3


def test_ways_that_hardly_any_call_goes_again_are_not_gone_on_with():
    def f(x):
        for row in x:
            if row > 0:
                x = x * 1.5
        return x

    inputs = [tracec.tensor([1.0 if k >> i & 1 else -1.0 for i in range(5)]) for k in range(32)]
    compiled = tracec.compile(f)
    with pytest.warns(
        RuntimeWarning, match=r"by which 16 calls went different ways, and few the same; .* recorded again"
    ):
        found = [compiled(x) for x in inputs]
    same(found, [f(x) for x in inputs])
    assert len(compiled.explain().recordings) == tree.FRUITLESS_PATHS
    same(compiled(inputs[3]), f(inputs[3]))
    assert hits(compiled) == 1


def test_functions_of_math_are_computed_of_numbers():
    def f(x):
        length = math.sqrt(x.square().sum().item())
        return x / length, math.exp(-length), log1p(length), type(length)

    compiled = tracec.compile(f)
    for k in range(8):
        x = tensor(5, seed=k)
        (unit, *rest), (expected, *others) = compiled(x), f(x)
        same(unit, expected)
        assert rest == pytest.approx(others, rel=1e-6)
    assert len(compiled.explain().recordings) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2 if x.sum().item() > 1 else x,
        lambda x: x * x.sum().item() if x.sum() > 1 else x,
        lambda x: x + x.sum().item() * 2,
    ],
)
def test_values_that_are_asked_for_of_many_sizes(function):
    compiled = tracec.compile(function)
    for n in (2, 4, 4, 5, 6, 5, 3, 1):
        for scale in (1.0, -1.0):
            x = tracec.ones(n, 3) * scale
            assert tracec.equal(compiled(x), function(x))


def test_values_of_equal_nodes_are_fetched_once_for_all_symbols():
    table = tensor(5, 3)

    def best(x):
        score = 0.0
        for _ in range(2):  # the same is looked up again
            value = tracec.log_softmax(table[tracec.tensor([int(x)])], -1).max().item()
            score += value
            if score - value > 5:
                break
        return score

    check(best, [(tracec.tensor(k),) for k in (1, 2, 3)])


def test_values_that_come_again_are_recorded_though_there_are_many():
    def f(x, n):
        for _ in range(int(n)):
            x = tracec.sin(x) + 1
        return x

    compiled = tracec.compile(f)
    counts = np.random.default_rng(0).integers(1, 15, 400)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for n in counts:
            same(compiled(tensor(3), tracec.tensor(n)), f(tensor(3), n))
    assert len([w for w in said if "recorded again at each call" in str(w.message)]) == 1
    recordings = len(compiled.explain().recordings)
    before = hits(compiled)
    for n in range(1, 15):
        same(compiled(tensor(3), tracec.tensor(n)), f(tensor(3), n))
    assert recordings == len(compiled.explain().recordings) == 14
    assert hits(compiled) == before + 14


def test_values_that_never_come_again_stay_few():
    compiled = tracec.compile(lambda x: x * int(x.sum()).bit_length() if int(x.sum()).bit_length() else x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(100):
            compiled(tracec.full((2,), float(1 << (k % 50))))
    assert len(compiled.explain().recordings) <= 2 * tree.MOST_VALUES
