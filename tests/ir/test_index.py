"""Index arithmetic agrees with Python's integers, and divisions put together again vanish."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracec.ir import index as ix
from tracec.ir.kernel import Const, Div, Expr, Linear, Mod, Var


def value(e: Expr, env: dict[str, int]) -> int:
    match e:
        case Const(v, _):
            return int(v)
        case Var(name, _):
            return env[name]
        case Linear(terms, offset):
            return sum(c * value(t, env) for t, c in terms) + offset
        case Div(v, by):
            return value(v, env) // by
        case Mod(v, by):
            return value(v, env) % by
    raise TypeError(e)


@st.composite
def linear(draw: st.DrawFn) -> tuple[list[Var], Expr]:
    count = draw(st.integers(1, 3))
    variables = [Var(name, draw(st.integers(1, 6))) for name in "abc"[:count]]
    e: Expr = Const(draw(st.integers(-5, 12)))
    for v in variables:
        e = ix.add(e, ix.mul(v, draw(st.sampled_from((1, 2, 3, 4, 6, 12, 24)))))
    return variables, e


@given(linear(), st.sampled_from((2, 3, 4, 6, 12)), st.sampled_from((2, 3, 4)))
def test_div_and_mod_are_pythons(case: tuple[list[Var], Expr], by: int, again: int) -> None:
    variables, e = case
    quotient, remainder = ix.div(e, by), ix.mod(e, by)
    together = ix.add(ix.mul(quotient, by), remainder)
    assert together == e
    for point in itertools.product(*(range(v.extent) for v in variables)):
        env = {v.name: p for v, p in zip(variables, point, strict=True)}
        x = value(e, env)
        assert value(quotient, env) == x // by
        assert value(remainder, env) == x % by
        assert value(ix.div(quotient, again), env) == x // by // again
        low, high = ix.bounds(remainder) or (0, 0)
        assert low <= x % by <= high


@pytest.mark.parametrize(
    ("shape", "target"),
    [((6, 4), (4, 6)), ((6, 4), (2, 3, 4)), ((2, 3, 4), (24,)), ((1, 5), (5,)), ((7,), (1, 7, 1)), ((8, 9), (9, 8))],
)
def test_reshape_there_and_back_is_the_same_index(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    index = tuple(Const(0) if s == 1 else Var(f"i{k}", s) for k, s in enumerate(shape))
    there = ix.reshape(index, shape, target)
    assert ix.flatten(there, target) == ix.flatten(index, shape)
    assert ix.reshape(there, target, shape) == index


def test_conditions_that_always_hold_are_left_out() -> None:
    i = Var("i", 8)
    assert ix.in_range(i, 0, 8) == ix.TRUE
    assert ix.in_range(ix.sub(i, 1), -1, 7) == ix.TRUE
    assert ix.in_range(ix.sub(i, 1), 0, 8) != ix.TRUE


def test_digits_of_a_position_put_together_are_the_position() -> None:
    i = Var("i", 2048)
    digits = ix.unflatten(i, (32, 8, 8))
    assert ix.flatten(digits, (32, 8, 8)) == i
    assert ix.add(ix.flatten(digits[1:], (8, 8)), 5) == ix.add(ix.mod(i, 64), 5)
