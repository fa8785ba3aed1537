"""What is told of a compiled function's recordings, and what comes of recording again and again."""

from __future__ import annotations

import copy
import pickle
import warnings
from types import SimpleNamespace

import pytest

import tracec
from tracec import nn
from tracec.errors import ArgumentError, ArgumentTypeError, RecordError

factor = 2.0


class Settings:
    scale = 1.0


def scaled(x, how="mean", *more, **named):
    return x * factor * Settings.scale


def line_of(text: str) -> int:
    with open(__file__) as file:
        return next(n for n, line in enumerate(file, 1) if text in line)


def test_a_guard_that_failed_is_told_with_where_it_is_read(monkeypatch):
    f = tracec.compile(scaled)
    x = tracec.ones(3)
    f(x), f(x)
    monkeypatch.setitem(globals(), "factor", 5.0)
    f(x), f(x)
    monkeypatch.setattr(Settings, "scale", 3.0)
    f(x), f(x)
    first, second, third = f.explain().recordings
    assert (first.reason, first.changes) == ("first call", ())
    here = f"test_explanation.py:{line_of('return x * factor')}"
    assert second.changes == (("factor", "2.0", "5.0", here),)
    # Of the two recordings that do not fit, the nearer one is compared with.
    assert third.changes == (("Settings.scale", "1.0", "3.0", here),)
    assert str(second).endswith(f"recorded again: factor: 2.0 -> 5.0 (read at {here})")


@pytest.mark.parametrize(
    ("first", "second", "change"),
    [
        (lambda: ((tracec.ones(3),), {}), lambda: ((tracec.ones(4),), {}), ("x", "f32[3]", "f32[4]")),
        (lambda: ((tracec.ones(3),), {}), lambda: ((tracec.ones(3).double(),), {}), ("x", "f32[3]", "f64[3]")),
        (
            lambda: ((tracec.ones(2, 3),), {}),
            lambda: ((tracec.ones(3, 2).t(),), {}),
            ("x", "f32[2,3]", "f32[2,3] (strides (1, 2))"),
        ),
        (
            lambda: ((tracec.ones(3),), {}),
            lambda: ((tracec.ones(3, requires_grad=True),), {}),
            ("x", "f32[3]", "f32[3] (requires grad)"),
        ),
        (lambda: ((tracec.ones(3),), {}), lambda: ((tracec.ones(3), "sum"), {}), ("how", "not given", "'sum'")),
        (lambda: ((tracec.ones(3), "a", 1), {}), lambda: ((tracec.ones(3), "a", 2), {}), ("more[0]", "1", "2")),
        (lambda: ((tracec.ones(3),), {"k": [1]}), lambda: ((tracec.ones(3),), {"k": [2]}), ("k[0]", "1", "2")),
        (
            lambda: ((tracec.ones(3),), {"k": {"a": 1}}),
            lambda: ((tracec.ones(3),), {"k": {"a": True}}),
            ("k['a']", "1", "True"),
        ),
        (
            lambda: ((tracec.ones(3),), {"k": object()}),
            lambda: ((tracec.ones(3),), {"k": object()}),
            ("k", "object object", "another object object"),
        ),
    ],
)
def test_an_argument_that_changed_is_told(first, second, change):
    f = tracec.compile(scaled)
    kept = first(), second()
    for args, kwargs in kept:
        f(*args, **kwargs), f(*args, **kwargs)
    _, again = f.explain().recordings
    assert again.reason == "recorded for other arguments"
    assert again.changes == ((*change, None),)


def test_modes_and_shared_memory_are_told():
    f = tracec.compile(lambda x, y: x + y)
    x, y = tracec.ones(3), tracec.ones(3)
    f(x, y)
    with tracec.no_grad():
        f(x, y)
    f(x, x)
    _, second, third = f.explain().recordings
    assert [str(c) for c in second.changes] == ["gradients: on -> off"]
    assert [str(c) for c in third.changes] == ["memory of y: not given -> that of x"]
    assert "for x: f32[3], y: f32[3], gradients: off" in f.explain()


def test_memory_gradients_and_flags_are_told():
    w, frozen = nn.Parameter(tracec.ones(3)), tracec.ones(3)

    @tracec.compile
    def f(x):
        y = (w * x).sum() + frozen.sum()
        return y if w.grad is None else y + w.grad.sum()

    x = tracec.ones(3)
    f(x), f(x)
    w.grad = tracec.ones(3)
    f(x), f(x)
    w.requires_grad_(False)
    f(x), f(x)
    frozen.data = tracec.zeros(3)
    f(x), f(x)
    changes = [[str(c) for c in r.changes] for r in f.explain().recordings[1:]]
    assert changes == [
        ["w.grad: None -> a tensor"],
        ["w is part of gradients: True -> False"],
        ["memory of frozen: as recorded -> other memory"],
    ]

    @tracec.compile
    def g(x):
        return w + x

    g(x), g(w.detach()), g(w.detach())
    assert [str(c) for c in g.explain().recordings[1].changes] == [
        "tensor argument 0: its memory: as recorded -> otherwise"
    ]


def test_specialisations_are_told():
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.0))
    f = tracec.compile(model)
    x = tracec.ones(2, 4)
    f(x), f(x), f(x)
    model.eval()
    f(x)
    first, second = f.explain().specialisations
    assert (first.hits, first.compiled, second.hits) == (2, True, 0)
    assert first.kernels >= 1 and first.launches >= first.kernels
    assert any(name.endswith("[1].training") or "[1]" in name for name in first.guards)
    assert "self[1].training: True -> False" in f.explain()
    assert isinstance(f.explain(), str) and str(f.explain()) == repr(f.explain())


def test_what_no_program_stands_in_for_says_why():
    f = tracec.compile(lambda x: [x, object()][0] if x is None else (x, object()))
    with pytest.warns(RuntimeWarning, match="is recorded again at each call"):
        f(tracec.ones(3))
    f(tracec.ones(3))
    (only,) = f.explain().specialisations
    assert not only.compiled and only.hits == 1 and "object of type object" in only.why and only.kernels == 0


def test_recording_again_can_be_forbidden(monkeypatch):
    f = tracec.compile(scaled, on_record="raise")
    x = tracec.ones(3)
    f(x), f(x)
    with pytest.raises(RecordError, match=r"scaled: recorded for other arguments: x: f32\[3\] -> f32\[4\]"):
        f(tracec.ones(4))
    monkeypatch.setitem(globals(), "factor", 7.0)
    with pytest.raises(RecordError, match=r"scaled: recorded again: factor: 2.0 -> 7.0 \(read at"):
        f(x)
    monkeypatch.undo()
    assert f(x).tolist() == [2.0] * 3
    assert len(f.explain().recordings) == 1


def test_recording_again_can_be_warned_of():
    f = tracec.compile(scaled, on_record="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(tracec.ones(3)), f(tracec.ones(3))
    with pytest.warns(RuntimeWarning, match=r"recorded for other arguments: x: f32\[3\] -> f32\[4\]"):
        assert f(tracec.ones(4)).tolist() == [2.0] * 4


def test_a_train_step_that_sets_its_state_up_at_first_may_record_once_more():
    w = nn.Parameter(tracec.ones(3))
    made: list[tracec.optim.Adam] = []

    @tracec.compile(on_record="raise")
    def step(x):
        if not made:
            made.append(tracec.optim.Adam([w]))
        made[0].zero_grad()
        (w * x).sum().backward()
        made[0].step()

    for _ in range(3):
        step(tracec.ones(3))
    assert [r.reason for r in step.explain().recordings] == ["first call", "recorded once more"]


def test_beyond_the_most_specialisations_calls_run_eagerly():
    f = tracec.compile(lambda x, k: x * k, max_specializations=3)
    x = tracec.ones(2)
    names = ["a", "b", "c"]
    g = tracec.compile(lambda x, name: x * len(name), max_specializations=3)
    for name in names:
        g(x, name), g(x, name)
    with pytest.warns(RuntimeWarning, match=r"has 3 specialisations.*kept changing: name \(2 times\)") as caught:
        assert [g(x, name).tolist() for name in ("dd", "eee", "a")] == [[2.0] * 2, [3.0] * 2, [1.0] * 2]
    assert len([w for w in caught if w.category is RuntimeWarning]) == 1
    assert len(g.explain().recordings) == 3 and [s.hits for s in g.explain().specialisations] == [2, 1, 1]
    assert f(x, 2).tolist() == [2.0] * 2


def test_beyond_the_most_specialisations_is_an_error_where_all_has_to_be_compiled():
    g = tracec.compile(lambda x, name: x * len(name), max_specializations=1, fullgraph=True)
    g(tracec.ones(2), "a")
    with pytest.raises(RecordError, match="most it may have"):
        g(tracec.ones(2), "b")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"on_record": "maybe"}, ArgumentError),
        ({"max_specializations": 0}, ArgumentError),
        ({"max_specializations": 2.0}, ArgumentTypeError),
    ],
)
def test_options_that_are_none(options, error):
    with pytest.raises(error, match="compile: "):
        tracec.compile(scaled, **options)


def test_what_is_taken_for_a_size_is_named():
    settings = SimpleNamespace(n=2)

    def of_place(x, batch):
        return x.view(settings.n, -1) * 2

    def of_argument(x, batch):
        return x.view(batch["sizes"][0], -1) * 2

    for function, name in ((of_place, "settings.n"), (of_argument, "batch['sizes'][0]")):
        compiled = tracec.compile(function)
        for n in (2, 3, 4, 6, 12, 1):
            settings.n = n
            compiled(tracec.ones(12), {"sizes": [n] if function is of_argument else []})
        recordings = compiled.explain().recordings
        assert len(recordings) == 6
        for report, now in zip(recordings[1:], (3, 4, 6, 12, 1), strict=True):
            assert [(c.name, c.now) for c in report.changes] == [(name, str(now))]
            assert function is of_argument or report.changes[0].where is not None


def test_an_explanation_that_is_kept_is_its_text():
    compiled = tracec.compile(lambda x: x * 2)
    compiled(tracec.ones(3))
    told = compiled.explain()
    assert told.recordings
    for kept in (pickle.loads(pickle.dumps(told)), copy.deepcopy(told)):
        assert type(kept) is str and kept == told
