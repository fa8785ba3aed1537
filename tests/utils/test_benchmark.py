"""`tracec.utils.benchmark`: times, and how they are told."""

from __future__ import annotations

import pytest

import tracec
from tracec.errors import ArgumentError
from tracec.utils.benchmark import Compare, Measurement, TaskSpec, Timer


def test_timers():
    x = tracec.ones(3)
    made = Timer("y = x + k", setup="k = 2", globals={"x": x}, label="add", num_threads=2)
    once = made.timeit(20)
    assert once.number_per_run == 20 and len(once.times) == 1 and 0 < once.mean == once.median < 1 and once.iqr == 0
    seen = []
    found = made.blocked_autorange(callback=lambda number, seconds: seen.append(number), min_run_time=0.02)
    assert sum(found.raw_times) >= 0.02 and seen == [found.number_per_run] * len(found.raw_times)
    adaptive = made.adaptive_autorange(threshold=10.0, min_run_time=0.005, max_run_time=0.5)
    assert len(adaptive.raw_times) >= 3 and adaptive.title == "add"


def test_threads_are_as_asked_while_code_is_timed():
    seen = []
    before = tracec.get_num_threads()
    Timer("seen.append(tracec.get_num_threads())", globals={"seen": seen}, num_threads=3).timeit(1)
    assert set(seen) == {3} and tracec.get_num_threads() == before


def test_words_and_tables():
    spec = TaskSpec("f(x)", "pass", "work", "small", "mine")
    other = TaskSpec("g(x)", "pass", "work", "small", "theirs", num_threads=1)
    a = Measurement(10, [1e-5, 2e-5, 3e-5], spec)
    assert (a.median, a.mean) == pytest.approx((2e-6, 2e-6)) and a.iqr == pytest.approx(1e-6) and a.has_warnings
    assert "work\n  f(x)\n  Median: 2.00 us\n  IQR:    1.00 us\n  3 measurements, 10 runs per measurement" in repr(a)
    b = Measurement(10, [4e-5], other)
    assert "  4.00 us\n  1 measurement, 10 runs, 1 thread" in repr(b)
    assert [len(m.raw_times) for m in Measurement.merge([a, a, b])] == [6, 1]
    table = Compare([a, b])
    assert str(table).splitlines()[1:] == [
        "       |  mine  |  theirs",
        "small  |   2.0  |     4.0",
        "Times are in us.",
    ]
    table.trim_significant_figures()
    assert "  2  |" in str(table)
    with pytest.raises(ArgumentError, match="Compare: takes measurements"):
        Compare([1.0])


def test_dlpack_capsules():
    from tracec.utils.dlpack import from_dlpack, to_dlpack

    x = tracec.arange(3.0)
    y = from_dlpack(to_dlpack(x))
    y[0] = 9
    assert x[0].item() == 9 and from_dlpack(x.numpy()).data_ptr() == x.data_ptr()
