"""What a compiled function depends on, and what it does not: neither its own books nor names of attributes."""

from __future__ import annotations

import types

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.specialisations.guard_list import GuardList

model = nn.Linear(4, 3)
optimizer = tracec.optim.SGD(model.parameters(), lr=0.1)
factor = 2.0
lr = 0.0


class Settings:
    lr = 0.5


@tracec.compile
def step(x):
    # ``optimizer.step`` is not this global function.
    optimizer.zero_grad()
    loss = model(x).sum()
    loss.backward()
    optimizer.step()
    return loss


@tracec.compile
def scaled(x):
    return x * factor


@tracec.compile
def reads_an_attribute(x):
    return x * Settings.lr


@tracec.compile
def calls_another(x):
    return scaled(x) + 1


def test_a_function_does_not_hang_on_its_own_specialisations():
    a, b = tracec.ones(2, 4), tracec.ones(3, 4)
    for _ in range(4):
        step(a)
        step(b)
    assert "2 specialisations" in step.explain()
    assert "recorded again" not in step.explain()


def test_names_of_attributes_are_no_globals(monkeypatch):
    x = tracec.ones(5)
    reads_an_attribute(x)
    monkeypatch.setitem(globals(), "lr", 1.0)
    assert reads_an_attribute(x).tolist() == [0.5] * 5
    assert "1 specialisations" in reads_an_attribute.explain()


def test_what_a_compiled_function_inside_reads_is_guarded(monkeypatch):
    x = tracec.ones(3)
    assert calls_another(x).tolist() == [3.0] * 3
    assert calls_another(x).tolist() == [3.0] * 3
    monkeypatch.setitem(globals(), "factor", 5.0)
    assert calls_another(x).tolist() == [6.0] * 3
    assert "recorded again: factor: 2.0 -> 5.0" in calls_another.explain()


def test_a_function_that_asks_for_a_value_keeps_one_specialisation():
    compiled = tracec.compile(lambda x: x * 2 if x.sum().item() > 0 else x)
    found = [compiled(tracec.full((3,), value)).tolist() for value in (1.0, -1.0, 2.0)]
    assert found == [[2.0] * 3, [-1.0] * 3, [4.0] * 3]
    assert "1 specialisations" in compiled.explain()


def test_a_cell_that_is_emptied_and_filled_again():
    factor = 2.0

    @tracec.compile
    def f(x):
        return x * factor

    cell = f.fn.__closure__[0]
    x = tracec.ones(3)
    for _ in range(3):
        assert f(x).tolist() == [2.0] * 3
    del cell.cell_contents
    with pytest.raises(NameError):
        f(x)
    cell.cell_contents = 5.0
    assert f(x).tolist() == [5.0] * 3


def test_attributes_of_the_only_object_that_is_read():
    class Scale:
        pass

    scale = Scale()
    scale.by = 2.0
    f = tracec.compile(lambda x: x * scale.by)
    x = tracec.ones(3)
    for value in (2.0, 2.0, 3.0, 3.0):
        scale.by = value
        assert f(x).tolist() == [value] * 3
    scale.other = 1
    f(x)
    assert "recorded again: scale.other: missing -> 1" in f.explain()


@pytest.mark.parametrize("give", [lambda x: x[::2], lambda x: x.t(), lambda x: x[:, None][:, 0], lambda x: x[1:]])
def test_arguments_that_are_views_where_the_first_was_none(give):
    f = tracec.compile(lambda x: x.sin() * 2 + x)
    base = tracec.arange(36.0).reshape(6, 6)
    f(base.clone()), f(base.clone())
    for _ in range(3):
        x = give(base)
        assert tracec.allclose(f(x), x.sin() * 2 + x)


def test_batches_of_one_text_and_their_targets_one_place_on():
    f = tracec.compile(lambda x, y: (x.sin() * 2 + y.view_as(x)).sum())
    text = tracec.linspace(0, 3, 60).view(30, 2)
    for i in range(0, 29, 6):
        n = min(6, 29 - i)
        x, y = text[i : i + n], text[i + 1 : i + 1 + n].view(-1)
        assert tracec.allclose(f(x, y), (x.sin() * 2 + y.view_as(x)).sum())
    assert len(f.explain().recordings) == 2  # of six lines, and of the five at the end
    f(text[:6], text[:6])
    assert "memory of y: that of x -> another that of x" in f.explain()


def test_arrays_of_classes_of_their_own():
    class Mine(np.ndarray):
        pass

    f = tracec.compile(lambda x: x.sin() * 2 + x)
    x = tracec.from_numpy(np.linspace(0, 1, 7, dtype=np.float32).view(Mine))
    assert all(tracec.allclose(f(x), x.sin() * 2 + x) for _ in range(3))


def test_results_in_inference_mode_are_marked_by_programs_too():
    f = tracec.compile(lambda x: x.sin() * 2)
    g = tracec.compile(lambda x: (x.sin(), x.cos()))
    x = tracec.ones(3)
    for _ in range(3):
        with tracec.inference_mode():
            assert f(x).is_inference() and all(t.is_inference() for t in g(x))
        assert not f(x).is_inference()


def test_leaves_that_are_replaced_and_whose_gradients_are_read():
    w = tracec.ones(2, requires_grad=True)

    @tracec.compile
    def f(x):
        (w * x).sum().backward()

    for _ in range(4):
        w = tracec.ones(2, requires_grad=True)
        for k in (1.0, 2.0):
            f(tracec.full((2,), 3.0))
            assert w.grad.tolist() == [3.0 * k] * 2


@pytest.mark.parametrize("make", [lambda: slice(0, 2), lambda: range(3), lambda: np.float32(2.5), lambda: np.int64(2)])
def test_arguments_that_are_made_anew_count_by_what_they_are(make):
    f = tracec.compile(lambda x, a: x[a] if isinstance(a, slice) else x * (len(a) if isinstance(a, range) else a))
    for _ in range(4):
        f(tracec.ones(3), make())
    assert "1 specialisations" in str(f.explain())


def test_an_attribute_that_has_another_name_now_is_seen():
    class Settings:
        pass

    settings, factor = Settings(), 3.0
    settings.factor = factor
    compiled = tracec.compile(lambda x: x * getattr(settings, "factor", 1.0))
    x = tracec.ones(3)
    assert [compiled(x).tolist() for _ in range(3)] == [[3.0] * 3] * 3
    del settings.factor
    settings.other = factor
    assert compiled(x).tolist() == [1.0] * 3


def test_a_module_of_the_library_that_is_made_when_it_is_asked_for_is_learned_at_once(monkeypatch):
    monkeypatch.delitem(vars(tracec), "special", raising=False)
    compiled = tracec.compile(lambda x: getattr(tracec, "special").round(x))  # noqa: B009
    for _ in range(4):
        assert compiled(tracec.ones(2)).tolist() == [1.0, 1.0]
    assert len(compiled.explain().recordings) == 2


def test_what_modules_lack_is_one_guard_for_each(monkeypatch):
    names = [f"an_attribute_{k}" for k in range(500)]
    spaces = {}
    exec("def many(some):\n    return [" + ", ".join(f"some.{n}" for n in names) + "]", spaces)
    many, modules = spaces["many"], [types.ModuleType(f"module_{k}") for k in range(20)]
    for k, module in enumerate(modules):
        module.scale = float(k)

    def scaled(x):
        return x * modules[3].scale if modules else many(modules)

    compiled = tracec.compile(scaled)
    taken, enter = [], GuardList._enter
    monkeypatch.setattr(GuardList, "_enter", lambda *given: taken.append(enter(*given)))
    assert [compiled(tracec.ones(2)).tolist() for _ in range(2)] == [[3.0, 3.0]] * 2
    assert len(taken) < 1000
    modules[3].of_no_interest = 1
    assert compiled(tracec.ones(2)).tolist() == [3.0, 3.0]
    assert len(compiled.explain().recordings) == 1
    modules[5].an_attribute_3 = 2
    assert compiled(tracec.ones(2)).tolist() == [3.0, 3.0]
    assert "modules[5].an_attribute_3: missing -> 2" in str(compiled.explain())
