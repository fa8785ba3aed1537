"""Arguments whose sizes vary: one recording and one program for many of them, equal to eager runs."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as tc
from tests.random_programs.check import operator_by_operator
from tests.sizes import compare, of, same
from tracec import nn
from tracec.errors import AxisError, ShapeError
from tracec.runtime.compiler import Compiler

F = nn.functional
SIZES = (16, 16, 24, 24, 33, 7, 64, 10, 3, 2, 65, 31)


def _mlp():
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    return lambda n: (tc.randn(n, 16),), lambda x: model(x)


def _mlp_step():
    model = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 5))
    optimiser = tc.optim.Adam(model.parameters())

    def step(x, y):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        return loss

    return lambda n: (tc.randn(n, 12), tc.randint(0, 5, (n,))), step


def _cnn_step():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )
    optimiser = tc.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(x, y):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        return loss

    return lambda n: (tc.randn(n, 3, 8, 8), tc.randint(0, 3, (n,))), step


def _attention():
    position, project = nn.Parameter(tc.randn(128, 32)), nn.Linear(32, 96)

    def attend(x):
        b, t, c = x.size()
        q, k, v = (z.view(b, t, 4, c // 4).transpose(1, 2) for z in project(x + position[:t]).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).reshape(b, t, c)

    return lambda n: (tc.randn(2, n, 32),), attend


def _masked_attention():
    def attend(x):
        t = x.shape[1]
        scores = x @ x.transpose(-2, -1) / x.shape[-1] ** 0.5
        mask = tc.tril(tc.ones(t, t)).view(1, t, t)
        return (scores.masked_fill(mask == 0, float("-inf")).softmax(-1) @ x).mean(1)

    return lambda n: (tc.randn(3, n, 8),), attend


def _norms():
    layer, group, batch = nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.BatchNorm1d(8)
    return lambda n: (tc.randn(n, 8),), lambda x: (layer(x), group(x), batch(x), F.normalize(x), F.softmax(x, 0))


def _gathers():
    table = nn.Embedding(20, 8)

    def gather(i, x):
        column = (i % 8).unsqueeze(1)
        return table(i), x[i % 2], x.gather(1, column), F.one_hot(i, 20), tc.zeros(20, 8).index_add(0, i, x)

    return lambda n: (tc.randint(0, 20, (n,)), tc.randn(n, 8)), gather


def _creation(x):
    n = x.shape[0]
    return x * tc.arange(n).unsqueeze(1), tc.zeros(n) + 1, tc.full((n, 2), 3.0), tc.arange(1, n + 1), tc.eye(n)


def _numbers(x):
    n = x.shape[0]
    return x * n, x / n, x + 1.0 / n, x * 0.5 ** (1 / n), x / x.numel(), x.mean(), n * 2, x.size(0)


def _reductions(x):
    return x.mean(), x.mean(0), x.var(0), x.std(), x.sum(1), x.amax(0), x.argmax(0), x.logsumexp(0), x.cumsum(0)


def _views(x):
    flat, columns = x.view(-1), x.reshape(2, -1, 3)
    laid = (x * 2).t(), columns.exp().permute(2, 0, 1), (x + 1)[:, ::2]
    return flat * 2, columns + 1, x.t() @ x, x.unsqueeze(1).expand(-1, 4, -1), x.permute(1, 0).contiguous(), *laid


def _parts(x):
    return x[1:] * 2, x[:-1] + 1, x[::2] + 0, x[-1] + 0, x[1:] - x[:-1], x[:, 2:] + 0, x.narrow(0, 0, 1) + 0, x.flip(0)


def _joins(x):
    first, second = x.split([2, 4], 1)
    padded = F.pad(x, (1, 2)), F.pad(x, (0, 0, 1, 1))
    return tc.cat([x, first], 1), tc.cat([x, x], 0), tc.stack([x, x]), second * 2, *padded, x.repeat(2, 1), x.roll(1, 0)


def _products(x):
    y = x * 2
    return tc.einsum("ni,nj->ij", x, y), tc.einsum("ni,nj->nij", x, y), x.T @ y, tc.outer(x[:, 0], y[:, 0])


def _padded_step():
    w = tc.randn(6).requires_grad_()

    def step(x):
        return tc.autograd.grad((F.pad(x * w, (1, 2, 1, 0)) ** 2).mean(), w)[0]

    return lambda n: (tc.randn(n, 6),), step


def _choices(x):
    return tc.where(x > 0, x, tc.zeros_like(x)), x.clamp(-1, 1), (x > 0).sum(), x.masked_fill(x < 0, 0), x.sort(0)[0]


def _random(x):
    return F.dropout(x, 0.5), tc.rand_like(x) + x, tc.randn(x.shape[0]) + 0


PROGRAMS = {
    "mlp": _mlp, "mlp_step": _mlp_step, "attention": _attention, "masked_attention": _masked_attention,
    "norms": _norms, "gathers": _gathers, "creation": of((None, 3), _creation), "numbers": of((None, 3), _numbers),
    "reductions": of((None, 5), _reductions), "views": of((None, 6), _views), "parts": of((None, 6), _parts),
    "joins": of((None, 6), _joins), "products": of((None, 3), _products), "choices": of((None, 4), _choices),
    "random": of((None, 8), _random), "padded_step": _padded_step,
}  # fmt: skip


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Sources that the C compiler is given."""
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    found = []
    build = Compiler._build

    def counted(self, units):
        found.append(units)
        return build(self, units)

    monkeypatch.setattr(Compiler, "_build", counted)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_recordings_serve_all_sizes(name):
    assert len(compare(PROGRAMS[name], SIZES).explain().recordings) == 2


def test_fifty_sizes_of_a_train_step(runs):
    compiled = compare(_mlp_step, (*range(20, 70), 8, 100))
    assert len(compiled.explain().recordings) == 2
    assert len(runs) <= 4  # with the helper that calls programs
    assert "any size(0, 0)" in compiled.explain()


@pytest.mark.slow
def test_fifty_sizes_of_a_convolution_step(runs):
    assert len(compare(_cnn_step, range(3, 53)).explain().recordings) == 2
    assert len(runs) <= 5


def test_fifty_lengths_of_attention(runs):
    assert len(compare(_attention, range(12, 62)).explain().recordings) == 2
    assert len(runs) <= 5


def test_gradients_outside_of_the_function():
    def make():
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
        return model, lambda x: model(x)

    programs = []
    for _ in range(2):
        tc.manual_seed(0)
        programs.append(make())
    (model, eager), (other, function) = programs
    compiled = tc.compile(function)
    for n in SIZES:
        x = tc.randn(n, 6)
        eager(x).square().mean().backward()
        compiled(x).square().mean().backward()
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            same(a.grad, b.grad, n)
            a.grad = b.grad = None
    assert len(compiled.explain().recordings) == 2


@pytest.mark.parametrize("view", [lambda y: y[:1], lambda y: y[0], lambda y: y.view(-1, 3)[:1], lambda y: y[2:4] * 1])
def test_gradients_of_results_that_are_views(view):
    """What a view looks at may be of another size, where the view itself is not."""

    def first(x):
        y = x * 2
        return view(y)

    compiled = tc.compile(first)
    for n in (6, 9, 30, 5, 64, 81):
        x, z = (tc.ones(n, 3).requires_grad_() for _ in range(2))
        (compiled(x) * 1.5).sum().backward()
        (first(z) * 1.5).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), z.grad.numpy())


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("name", ["chunk", "split", "unbind"])
def test_parts_that_are_views(name, dynamic):
    part = {"chunk": lambda y: y.chunk(2), "split": lambda y: y.split(4), "unbind": lambda y: y.unbind(0)[-2:]}[name]
    compiled = tc.compile(lambda x: part(x * 1), dynamic=dynamic)
    for n in (5, 7, 6, 8, 12, 3, 9):
        x = tc.arange(float(n))
        found, expected = compiled(x), part(x)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_gradients_that_are_added_to():
    """The first call finds none: what it does is not what the others do, whatever the size."""

    def make():
        layer = nn.Linear(6, 3)

        def accumulate(x):
            layer(x).square().mean().backward()
            return layer.weight.grad.clone()

        return lambda n: (tc.randn(n, 6),), accumulate

    assert len(compare(make, SIZES).explain().recordings) == 3


def test_sizes_of_none_and_one_are_recorded_by_themselves():
    compiled = compare(of((None, 3), lambda x: (x.sum(0), x * 2 + tc.ones(1, 3))), (4, 4, 0, 0, 1, 1, 5, 5, 6, 1, 0))
    assert len(compiled.explain().recordings) == 4


def test_both_sides_of_a_comparison():
    compiled = compare(of((None, 3), lambda x: x * 2 if x.shape[0] > 8 else x + 1), (16, 24, 4, 6, 33, 7, 9, 8))
    assert len(compiled.explain().recordings) <= 4
    assert "8 < size(0, 0)" in compiled.explain()


def test_a_loop_over_a_size_is_of_that_size():
    def function(x):
        total = 0
        for i in range(x.shape[0]):
            total = total + x[i] * i
        return total

    sizes = (3, 3, 4, 4, 5, 5)
    compiled = compare(of((None, 2), function), sizes)
    assert len(compiled.explain().recordings) == len(set(sizes))
    assert "size(0, 0) is as recorded" in compiled.explain()


def test_len_is_a_size():
    compiled = compare(of((None, 2), lambda x: x.sum() / len(x)), (3, 4, 5, 5, 7))
    assert len(compiled.explain().recordings) == 2
    assert "any size(0, 0)" in compiled.explain()


def test_two_sizes_that_were_equal_may_differ():
    def make():
        return lambda n: (tc.randn(n, 4), tc.randn(n + (n > 20), 4)), lambda x, y: (x * 2, y.sum(0), x @ y.T)

    compiled = compare(make, (8, 9, 10, 21, 22, 30, 12))
    assert len(compiled.explain().recordings) <= 4


def test_sizes_that_do_not_fit_are_errors():
    compiled = tc.compile(lambda x, y: x + y)
    for n in (4, 5, 6):
        compiled(tc.ones(n, 2), tc.ones(n, 2))
    for _ in range(2):
        with pytest.raises(ShapeError, match="broadcast"):
            compiled(tc.ones(7, 2), tc.ones(8, 2))
    assert compiled(tc.ones(9, 2), tc.ones(9, 2)).shape == (9, 2)


def test_indices_are_checked_against_the_present_size():
    compiled = tc.compile(lambda x, i: x[i])
    for n in (4, 5, 6, 7):
        assert compiled(tc.arange(n * 1.0), tc.tensor([n - 1])).item() == n - 1
        with pytest.raises(AxisError, match=f"size {n}"):
            compiled(tc.arange(n * 1.0), tc.tensor([n]))
    assert compiled(tc.arange(100.0), tc.tensor([99])).item() == 99
    assert len(compiled.explain().recordings) == 2


def test_dynamic_false_records_each_size():
    compiled = compare(of((None, 2), lambda x: x * 2), (3, 4, 5, 5), dynamic=False)
    assert len(compiled.explain().recordings) == 3


def test_dynamic_true_from_the_first_call_on():
    compiled = compare(of((None, 2), lambda x: x * x.shape[0]), (3, 4, 5, 6, 7, 8), dynamic=True)
    assert len(compiled.explain().recordings) == 2


def test_the_first_recording_is_of_one_size():
    compiled = tc.compile(lambda x: (x * x.shape[0]).softmax(1))
    source = compiled.lower(tc.randn(24, 8)).stages["source"]
    for n in (16, 24, 32):
        compiled(tc.randn(n, 8))
    assert compiled.lower(tc.randn(24, 8)).stages["source"] == source
    assert "size_0" not in source


def test_arguments_whose_axes_lie_in_another_order():
    def make():
        return lambda n: (tc.randn(4, n).T, tc.randn(n, 2, 3).permute(1, 2, 0)), lambda x, y: (x * 2, x.sum(0), y @ x)

    compiled = compare(make, (5, 5, 6, 7, 4, 9))
    assert len(compiled.explain().recordings) == 2


def test_writes_through_views_of_arguments():
    def function(x):
        x[1:] += 1
        x.T.mul_(2)
        y = x * 1
        y[0] = 3.0
        return y

    assert len(compare(of((None, 3), function), (5, 5, 6, 7, 4, 3, 9)).explain().recordings) == 2


def test_items_that_are_returned():
    def function(x):
        return x * 2, x.shape[0], f"{x.shape[1]} columns", x.max().item()

    assert len(compare(of((None, 3), function), (5, 5, 6, 7, 4)).explain().recordings) == 2


def test_tables_that_are_looked_up_by_size():
    table = {16: 3.0, 40: 5.0}
    compiled = compare(of((None, 3), lambda x: x * table.get(x.shape[0], 1.0)), (16, 16, 24, 33, 40, 7))
    assert "size(0, 0) is as recorded" in compiled.explain()


def test_sizes_of_one_recording_mean_nothing_in_another():
    kept = []
    first = tc.compile(lambda x: (kept.append(x.shape[0]), x * 2)[1])
    second = tc.compile(lambda x: x * kept[0])
    for n in (4, 5, 6):
        first(tc.ones(n))
    for n in (3, 7, 8, 9):
        np.testing.assert_array_equal(second(tc.ones(n)).numpy(), 4.0 * np.ones(n, np.float32))


def test_of_many_sizes_the_latest_are_kept_ready(monkeypatch):
    monkeypatch.setattr("tracec.specialisations.dynamic_shapes.MOST_SERVED", 3)
    compiled = compare(of((None, 2), lambda x: x * x.shape[0]), (*range(4, 14), 6, 13, 5))
    assert len(compiled.explain().recordings) == 2
    assert len(compiled.explain().specialisations) == 5


def test_formulas_that_have_no_value_for_some_size():
    compiled = tc.compile(lambda x: x / (1 / (x.shape[0] - 3)))
    for n in (5, 6, 7, 8):
        np.testing.assert_allclose(compiled(tc.ones(n)).numpy(), np.full(n, n - 3.0, np.float32), rtol=1e-6)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            compiled(tc.ones(3))
    assert compiled(tc.ones(9)).numpy()[0] == pytest.approx(6.0)
    assert tc.compile(tc.corrcoef)(tc.rand(6, 4)).shape == (6, 6)


#: What a function may go by, the same for the first sizes and another for those after them.
COARSE = {
    "half // 8.0": lambda x: (x.shape[0] / 2) // 8.0, "half % 8.0": lambda x: (x.shape[0] / 2) % 8.0 < 4,
    "n // 16.0": lambda x: x.shape[0] // 16.0, "n % 16.0": lambda x: x.shape[0] % 16.0 < 13,
    "4.5 // n": lambda x: 4.5 // x.shape[0], "4.5 % n": lambda x: 4.5 % x.shape[0] < 5,
    "divmod": lambda x: divmod(x.shape[0] / 2, 8.0)[0], "divmod of n": lambda x: divmod(x.shape[0], 16.0)[0],
    "inverted": lambda x: ~(x.shape[0] // 16), "modular power": lambda x: pow(x.shape[0] // 16, 2, 5),
    "nbytes": lambda x: x.nbytes // 192, "stride": lambda x: x.t().stride()[1] + x.unsqueeze(0).stride(0) // 48,
    "storage": lambda x: x.untyped_storage().nbytes() // 192, "items of a storage": lambda x: len(x.storage()) // 48,
    "offset": lambda x: x[x.shape[0] // 16 :].storage_offset(), "contiguous": lambda x: x[::12].is_contiguous() + 1,
    "stride of none": lambda x: (tc.zeros(x.shape[0] - 4, 3) + 1).stride(0), "complex": lambda x: x.shape[0] == 10 + 0j,
    "contiguous turned": lambda x: (x + 1)[: 1 + x.shape[0] // 16].t().is_contiguous() + 1,
}  # fmt: skip


@pytest.mark.parametrize("name", COARSE)
def test_what_a_function_goes_by_is_of_the_present_size(name):
    number = COARSE[name]
    compare(of((None, 3), lambda x: (x * number(x), number(x))), (9, 10, 16, 33, 12, 4, 64, 17))


def test_strides_of_results_that_lie_row_by_row_for_some_sizes():
    compiled = tc.compile(lambda x: (x + 1)[: x.shape[0] // 4].t())
    for n in (4, 5, 6, 8, 9, 17):
        assert compiled(tc.ones(n, 3)).is_contiguous() is (n < 8)


def test_many_sizes_where_there_is_no_compiler():
    w = tc.arange(3.0).requires_grad_()
    compiled = tc.compile(lambda x: (x.reshape(-1)[2].expand(3, 3) * w, (x * w).sum(0)))
    with operator_by_operator():
        for n in (2, 3, 7, 5, 7):
            w.grad = None
            a, b = compiled(tc.ones(n, 3) * n)
            assert a.tolist() == [[0.0, n, 2.0 * n]] * 3 and b.tolist() == [0.0, n * n, 2.0 * n * n]
            b.sum().backward()
            assert w.grad.tolist() == [float(n * n)] * 3


def test_the_type_of_a_size_is_that_of_a_plain_number():
    def by_types(x):
        n, half = x.shape[0], x.shape[0] / 2
        plain = type(n) is int and type(half) is float and type(x.size(0)) is int and type(x.numel() + 1) in (int,)
        return x * 2 if plain else x * 100

    compiled = tc.compile(by_types)
    for n in (3, 4, 5, 6, 4):
        assert compiled(tc.ones(n)).tolist() == [2.0] * n
    assert len(compiled.explain().recordings) == 2


@pytest.mark.parametrize("dynamic", [None, True])
def test_sizes_that_operators_without_kernels_are_given(dynamic):
    compiled = tc.compile(lambda x: tc.fft.irfft(tc.fft.rfft(x) * 2, n=x.size(0)), dynamic=dynamic)
    rng = np.random.default_rng(0)
    for n in (6, 8, 7, 12, 9, 6, 13):
        x = rng.standard_normal(n)
        assert np.allclose(compiled(tc.tensor(x)).numpy(), 2 * x, atol=1e-12)
    assert len(compiled.explain().recordings) == 2


def test_places_beside_a_count_are_watched_as_others_are():
    ring, turns = [tc.zeros(2) for _ in range(3)], {"n": 0}

    def turn(x):
        ring[turns["n"] % 3] = x * 2
        turns["n"] += 1
        return tc.stack(ring).sum(0)

    compiled, known = tc.compile(turn), [np.zeros(2)] * 3
    for k in range(40):
        known[k % 3] = np.full(2, 2.0 * k)
        assert compiled(tc.full((2,), float(k))).tolist() == sum(known).tolist()
    found = compiled.explain().recordings
    assert len(found) <= 15
    assert any(change.name == "ring[0]" for recording in found for change in recording.changes)
