"""Numbers with formulas over sizes: what they are for other sizes, and what is noted of them."""

from __future__ import annotations

import copy
import math
import operator
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracec.ir.extent import (
    Condition,
    Extent,
    Ratio,
    Symbol,
    as_real,
    at,
    chosen,
    divides,
    fixed,
    is_varying,
    like,
    noting,
    plain,
    symbolic,
    text,
    writing,
)  # fmt: skip
from tracec.record.opaque import opaque, unwrapped

OPERATIONS = [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod]


def _two(a=24, b=5):
    n, m = Symbol("n", a), Symbol("m", b)
    return n, m, symbolic(n), symbolic(m)


@st.composite
def _expressions(draw):
    """A function of two numbers, made of integer arithmetic."""
    steps = draw(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 4), st.integers(0, 4)), max_size=6))
    constants = draw(st.lists(st.integers(1, 9), min_size=3, max_size=3))

    def compute(n, m):
        known = [n, m, *constants]
        for operation, a, b in steps:
            left, right = known[a % len(known)], known[b % len(known)]
            if operation in (operator.floordiv, operator.mod) and plain(right) <= 0:
                return None
            known.append(operation(left, right))
        return known[-1]

    return compute


@given(_expressions(), st.integers(2, 50), st.integers(2, 50), st.integers(2, 50), st.integers(2, 50))
def test_a_formula_gives_what_python_gives_for_other_sizes(compute, a, b, c, d):
    n, m, x, y = _two(a, b)
    found, expected, other = compute(x, y), compute(a, b), compute(c, d)
    if found is None or other is None:
        return
    assert plain(found) == expected
    assert type(plain(found)) is int
    assert plain(at(found, {n: c, m: d})) == other


@given(_expressions(), st.integers(2, 50), st.integers(2, 50), st.integers(2, 50), st.integers(2, 50))
def test_what_is_not_noted_holds_for_all_sizes(compute, a, b, c, d):
    n, m, x, y = _two(a, b)
    found, other = compute(x, y), compute(c, d)
    if found is None or other is None:
        return
    for test in (operator.eq, operator.lt, operator.le, operator.gt, operator.ge, operator.ne):
        noted = []
        with noting(noted.append):
            outcome = test(found, 7)
        if all(condition.holds({n: c, m: d}) for condition in noted):
            assert test(other, 7) is outcome


def test_formulas_cancel():
    _, _, n, m = _two()
    assert type(n * 32 // n) is int
    assert type(n - n) is int
    assert type((n * m * 6) // (m * 2)) is Extent
    assert (n * 64) % n == 0
    assert type((n * 64) % n) is int
    assert like((n + 1) * (n - 1), n * n - 1)
    assert text((n * m * 2 + 3).form) == "2*m*n + 3"


def test_comparisons_that_hold_for_all_sizes_are_not_noted():
    _, _, n, m = _two()
    noted = []
    with noting(noted.append):
        assert n > 1
        assert n * m >= 4
        assert n != 0
        assert n + 1 != n
        assert n == n * 2 - n
    assert noted == []
    with noting(noted.append):
        assert n > m
        assert (n == 7) is False
    assert [str(c) for c in noted] == ["m < n", "n != 7"]


@pytest.mark.parametrize("escape", [int, float, fixed, bin, lambda n: n << 1, lambda n: 3**n])
def test_what_has_no_formula_is_noted(escape):
    n, _, x, _ = _two()
    noted: list[Condition] = []
    with noting(noted.append):
        found = escape(x)
    if escape is bin:  # reads an int as it is, which is why users are given something else
        return
    assert found == escape(24)
    assert noted[0].holds({n: 24})
    assert not noted[0].holds({n: 25})


@pytest.mark.parametrize(
    "compute",
    [lambda n: n / 3, lambda n: 2 / n, lambda n: n * 0.5 - 1, lambda n: (n / 2) ** 0.5, lambda n: 1.5 / as_real(n)],
)
def test_floats_keep_their_formula(compute):
    n, _, x, _ = _two()
    found = compute(x)
    assert type(found) is Ratio
    assert plain(found) == compute(24)
    assert plain(at(found, {n: 7})) == compute(7)


def test_choices_are_made_anew_for_other_sizes():
    n, _, x, _ = _two()
    tile = chosen("tile", lambda size: 64 if size > 100 else 8, x * 2)
    assert tile == 8
    assert plain(at(tile, {n: 60})) == 64
    assert type(chosen("tile", lambda size: size, 3)) is int


def test_divides_is_told_by_formulas_alone():
    _, _, n, _ = _two()
    assert divides(n, n * 3)
    assert not divides(12, n)  # though 24 is a multiple
    assert divides(4, 12)


def test_copies_pickles_and_texts():
    _, _, n, _ = _two()
    assert copy.deepcopy(n) is n
    assert type(pickle.loads(pickle.dumps(n))) is int
    assert f"{n} {n:>3}" == "24  24"
    assert hash(n) == hash(24)
    with writing(lambda x: "name"):
        assert f"{n} {n!r}" == "name name"
    assert is_varying({"a": [(1, n)]})


@pytest.mark.parametrize(
    "escape",
    [
        range, hash, str, repr, "{}".format, "%d".__mod__, float, int, math.sqrt, math.floor, [0].__mul__,
        list("abcdefghijklmnopqrstuvwxyz").__getitem__, {24: 1, 25: 2}.get, bin, divmod,
    ],
)  # fmt: skip
def test_users_cannot_read_a_size_unnoticed(escape):
    n, _, x, _ = _two()
    noted: list[Condition] = []
    arguments = (7,) if escape is divmod else ()
    with noting(noted.append):
        found = escape(opaque(x), *arguments)
    assert isinstance(opaque(x), int)
    if escape in (math.floor, divmod):
        assert noted == []
        assert unwrapped(found) == escape(24, *arguments)
        return
    assert found == escape(24)
    assert not all(c.holds({n: 25}) for c in noted)


def test_arithmetic_of_users_keeps_formulas():
    n, _, x, _ = _two()
    seen = opaque(x)
    for compute in (
        lambda k: 1.0 / k, lambda k: 2 * k + 1, lambda k: k // 5, lambda k: 0.5 * (k - 1), lambda k: -k,
        lambda k: 0.5 ** (1 / k), lambda k: max(k, 3) * 1.5, lambda k: sum([k, k]), lambda k: 100 % k,
    ):  # fmt: skip
        found = unwrapped(compute(seen))
        assert plain(found) == compute(24)
        assert plain(at(found, {n: 10})) == compute(10)
