"""What the table of overheads takes from inside of the library is there."""

from __future__ import annotations

import tracec
from benchmarks.overhead import guards, least, outside
from tests.codegen.emulated import needs_compiler


def test_guards_are_counted_and_timed():
    few, many = guards(1), guards(4)
    assert 0 < few[0] < many[0] and many[1] > 0


@needs_compiler
def test_time_outside_of_kernels_is_a_part_of_a_step():
    run, x = tracec.compile(lambda x: (x @ x).exp().sum()), tracec.ones(200, 200)
    seconds, rest = outside(lambda: run(x), 3, 2)
    assert 0 < rest < seconds


def test_the_quickest_round_counts():
    times = iter([0.0, 8.0, 10.0, 14.0])
    assert least(lambda: None, 2, 2, lambda: next(times)) == 2.0
