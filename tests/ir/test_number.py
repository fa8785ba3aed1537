"""Numbers that stand in for Python's: what they answer, what they tell, and what is computed from their expressions."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import random
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tracec.ir.expression import Condition, compile_numbers, constant, first_failing, operation, symbol
from tracec.ir.number import Number, Watcher, calculate, watching

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge, divmod,
    operator.lshift, operator.rshift, operator.and_, operator.or_, operator.xor,
]  # fmt: skip
UNARY = [operator.neg, operator.pos, abs, round, math.floor, math.ceil, math.trunc, operator.invert, bool]
EDGES = [0, 1, -1, 2, -7, 10**30, -(2**63), 0.0, -0.0, 1.5, -2.5, 1e300, -1e-300, math.inf, -math.inf, math.nan]


def same_value(a, b):
    """Whether nothing tells two plain values from each other: of one type, zeros of one sign; NaN is like NaN."""
    return type(a) is type(b) and (a is b or repr(a) == repr(b))


def outcome(function, *values):
    """What a function gives, or the error that it raises."""
    try:
        return function(*values)
    except (ArithmeticError, ValueError, TypeError) as error:
        return type(error)


def numbers(values, watcher):
    return [watcher.number(v, f"n{k}") for k, v in enumerate(values)]


def parts(x):
    return list(x) if isinstance(x, tuple) else [x]


def agrees(function, values, others):
    """A function of Numbers gives what it gives of plain numbers; also replayed, with others where conditions hold."""
    if function in (operator.pow, operator.lshift) and abs(values[-1]) > 100:
        return
    watcher = Watcher()
    with watching(watcher):
        given = outcome(function, *numbers(values, watcher))
    expected = outcome(function, *values)
    for a, b in zip(parts(given), parts(expected), strict=True):
        assert same_value(a.value if isinstance(a, Number) else a, b), (function, values)
    conditions = watcher.all_conditions()
    results = [x.expression for x in parts(given) if isinstance(x, Number)]
    evaluate = compile_numbers(conditions, results)
    if isinstance(expected, type):
        # What raised raises again, so that nothing is replayed for such numbers.
        assert expected is TypeError or evaluate(values) == () or evaluate(values) is None
        return
    for again in (values, others):
        if function in (operator.pow, operator.lshift) and abs(again[-1]) > 100:
            continue
        found = evaluate(again)
        now = outcome(function, *again)
        if found is None:
            assert again is others
            assert isinstance(now, type) or conditions
        elif results:
            assert all(map(same_value, found, parts(now))), (function, values, again)
        else:
            assert same_value(now, expected), (function, values, again)


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_binary_operators_are_those_of_python(function):
    draw = random.Random(function.__name__)

    def value(kind):
        edges = [e for e in EDGES if type(e) is kind]
        plain = draw.randint(-20, 20) if kind is int else draw.choice([draw.uniform(-5, 5), float(draw.randint(-3, 3))])
        return draw.choice([plain, plain, draw.choice(edges)])

    for _ in range(100):
        kinds = [draw.choice([int, float]) for _ in range(2)]
        agrees(function, [value(k) for k in kinds], [value(k) for k in kinds])
    for a in EDGES:
        for b in EDGES:
            agrees(function, [a, b], [type(a)(3), type(b)(2)])


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("side", ["left", "right"])
def test_plain_operands_become_constants(function, side):
    grows = function in (operator.pow, operator.lshift)
    edges = [e for e in EDGES if not grows or not abs(e) > 100]
    for a in edges:
        for b in (*edges, True, False):
            if side == "left":
                agrees(lambda n, b=b: function(n, b), [a], [type(a)(5)])
            else:
                agrees(lambda n, b=b: function(b, n), [a], [type(a)(5)])


@pytest.mark.parametrize("function", [*UNARY, lambda n: round(n, 1), lambda n: round(n, -1)])
def test_unary_operators_are_those_of_python(function):
    for a in EDGES:
        for again in EDGES:
            if type(again) is type(a):
                agrees(function, [a], [again])


@pytest.mark.parametrize("name", ["sqrt", "log", "cos", "floor", "isnan", "exp", "fabs", "erf"])
def test_functions_of_math_are_operations(name):
    for a in EDGES:
        for again in EDGES:
            if type(again) is type(a):
                agrees(lambda n, name=name: calculate(f"math.{name}", n), [a], [again])
    assert calculate(f"math.{name}", 0.5) == getattr(math, name)(0.5)


def test_they_pass_for_ints_and_floats():
    watcher = Watcher()
    n, k = watcher.number(0.5, "n"), watcher.number(3, "k")
    with watching(watcher):
        assert isinstance(n, float) and not isinstance(n, int)
        assert isinstance(k, int) and not isinstance(k, float)
        assert n.__class__ is float
        assert hasattr(k, "__index__") and not hasattr(n, "__index__")
        assert not hasattr(n, "dtype") and not hasattr(n, "__len__")
        assert n is not None and n != "a" and k != [3] and n != None  # noqa: E711
        assert copy.copy(n) is n and copy.deepcopy([n])[0] is n
        assert k.real is k and k.numerator is k and n.conjugate() is n
    assert not watcher.conditions


def test_double_floats_of_numpy_compute_as_numpy_does():
    """Also where Python would raise, or give a complex number."""
    operators = [f for f in BINARY if f.__name__ not in ("lshift", "rshift", "and_", "or_", "xor")]
    for value in (0.5, -2.0, 0.0):
        watcher = Watcher()
        n = watcher.number(value, "n")
        with watching(watcher), np.errstate(all="ignore"):
            pairs = [(f(np.float64(a), n), f(np.float64(a), value)) for f in operators for a in (2.0, -8.0, 0.0)]
            found = [(x.value if isinstance(x, Number) else x, want) for x, want in pairs]
        for got, want in found:
            np.testing.assert_equal(got, want)
            assert type(got) is type(want)


ESCAPES = {
    "int": (int, 0.5), "float": (float, 3), "complex": (complex, 0.5), "index": (operator.index, 3), "hash": (hash, 3),
    "str": (str, 0.5), "repr": (repr, 0.5), "format": (lambda n: f"{n:.3f}", 0.5), "percent": (lambda n: f"{n!r}", 3),
    "array": (lambda n: np.asarray(n).item(), 0.5), "numpy": (lambda n: float(np.sqrt(n)), 0.25),
    "array_operand": (lambda n: (np.ones(3) * n).tolist(), 0.5), "list": (lambda n: [7, 8, 9, 10][n], 3),
    "range": (lambda n: list(range(n)), 3), "repeat": (lambda n: "ab" * n, 3), "dict": (lambda n: {3: 4}[n], 3),
    "sqrt": (math.sqrt, 0.25), "pickle": (lambda n: pickle.loads(pickle.dumps(n)), 0.5),
    "complex_operand": (lambda n: n * 2j, 0.5), "fraction": (lambda n: Fraction(1, 2) + n, 3),
    "fraction_left": (lambda n: n + Fraction(1, 2), 3), "decimal": (lambda n: n * Decimal(2), 3),
    "modular": (lambda n: pow(n, 5, 7), 3), "hex": (lambda n: n.hex(), 0.5),
    "bit_length": (lambda n: n.bit_length(), 3), "slice": (lambda n: "abcdef"[:n], 3),
    "root": (lambda n: n**0.5, -4.0), "numpy_number": (lambda n: np.float32(2) * n, 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_every_way_out_is_told_once(name):
    function, value = ESCAPES[name]
    watcher = Watcher()
    n = watcher.number(value, "n")
    with watching(watcher):
        for _ in range(2):
            found = function(n)
            assert found == function(value) and type(found) is type(function(value))
    if name == "fraction":  # its own arithmetic meets the number
        assert watcher.all_conditions()[0] == (n.expression, 3)
    elif name == "dict":  # where the keys are compared
        assert watcher.all_conditions() == [(n.expression, 3), (operation("==", n.expression, constant(3)), True)]
    else:
        assert watcher.all_conditions() == [(n.expression, value)]
    assert not isinstance(found, Number)
    assert compile_numbers(watcher.all_conditions(), [])([value]) == ()
    assert compile_numbers(watcher.all_conditions(), [])([type(value)(value + 1)]) is None


def test_what_escapes_is_the_result_asked_for():
    watcher = Watcher()
    n = watcher.number(3, "n")
    with watching(watcher):
        assert list(range(n // 2)) == [0]
    assert [str(c) for c in watcher.all_conditions()] == ["n // 2 == 1"]
    evaluate = compile_numbers(watcher.all_conditions(), [])
    assert evaluate([2]) == () and evaluate([3]) == () and evaluate([4]) is None


def test_comparisons_are_conditions_and_not_values():
    watcher = Watcher()
    n = watcher.number(0.1, "lr")
    with watching(watcher):
        answers = [n < 1e-4, n > 1e-4, 0.0 <= n <= 1.0, n == 0.1, bool(n - 0.1), n in (1, 2)]
        assert all(type(a) is bool for a in answers)
        assert answers == [False, True, True, True, False, False]
    texts = [str(c) for c in watcher.all_conditions()]
    assert texts == [
        "not lr < 0.0001", "lr > 0.0001", "lr >= 0.0", "lr <= 1.0", "lr == 0.1", "not lr - 0.1", "not lr == 1",
        "not lr == 2",
    ]  # fmt: skip


def test_powers_that_may_be_of_another_type_are_told():
    watcher = Watcher()
    k, n = watcher.number(2, "k"), watcher.number(2.0, "n")
    with watching(watcher):
        assert isinstance(k**k, int) and isinstance(n**k, float) and isinstance(n**2, float)
        assert isinstance(2**n, float) and isinstance(0.9**k, float) and isinstance(k**-1, float)
    assert [str(c) for c in watcher.all_conditions()] == ["type(k ** k) is int", "type(n ** k) is float"]
    evaluate = compile_numbers(watcher.all_conditions(), [(k**k).expression] if isinstance(k**k, Number) else [])
    assert evaluate([3, 2.0]) is not None and evaluate([-3, 2.0]) is None


def test_without_their_watcher_they_are_plain():
    watcher, other = Watcher(), Watcher()
    n = watcher.number(3, "n")
    assert type(n + 1) is int and n < 4 and list(range(n)) == [0, 1, 2] and str(n) == "3"
    with watching(other):
        assert type(n * 2) is int and n == 3
        mixed = other.number(5, "m") + n
        assert mixed.value == 8 and str(mixed.expression) == "m + 3"
    found = []
    with watching(watcher):
        thread = threading.Thread(target=lambda: found.append(type(n + 1)))
        thread.start()
        thread.join()
    assert found == [int]
    assert not watcher.conditions and not other.conditions


def test_errors_are_those_of_python_and_hang_on_the_numbers():
    watcher = Watcher()
    n, k = watcher.number(0, "n"), watcher.number(3, "k")
    with watching(watcher):
        with pytest.raises(ZeroDivisionError):
            k // n
        with pytest.raises(TypeError):
            n + "a"
        with pytest.raises(TypeError):
            operator.index(watcher.number(1.0, "x"))
        with pytest.raises(AttributeError, match="'int' object has no attribute 'shape'"):
            n.shape  # noqa: B018
    assert compile_numbers(watcher.all_conditions(), [])([1, 3, 1.0]) is None


def test_conditions_tell_zeros_and_nans_apart():
    n = symbol(0, "n")
    for value in (0.0, -0.0, math.nan, 1.0, 3, -3, 10**40, math.inf):
        evaluate = compile_numbers([(n, value)], [])
        for other in (0.0, -0.0, math.nan, 1.0, math.inf, -math.inf) if type(value) is float else (3, -3, 10**40):
            assert (evaluate([other]) is not None) == same_value(value, other)


def test_equal_expressions_are_one():
    n, m = symbol(0, "n"), symbol(1, "m")
    assert operation("+", n, m) is operation("+", n, m)
    assert operation("+", n, m) is not operation("+", m, n)
    assert pickle.loads(pickle.dumps(operation("*", operation("+", n, m), n))) is operation(
        "*", operation("+", n, m), n
    )
    watcher = Watcher()
    x = watcher.number(2.0, "x")
    with watching(watcher):
        assert (x * 1).expression is not (x * 1.0).expression
        assert (x * 0.0).expression is not (x * -0.0).expression
        assert (x * 2 + 1).expression is (x * 2 + 1).expression


def test_expressions_print_as_written():
    watcher = Watcher()
    a, b = watcher.number(2.0, "self.a"), watcher.number(3, "b")
    with watching(watcher):
        for given, text in [
            (a - (b - 1), "self.a - (b - 1)"), ((a - b) - 1, "self.a - b - 1"), ((a + b) * 2, "(self.a + b) * 2"),
            (-(a**2), "-self.a ** 2"), ((-a) ** 2, "(-self.a) ** 2"), (a ** (b + 1), "self.a ** (b + 1)"),
            ((a**2) ** 3, "(self.a ** 2) ** 3"), (2 ** (-b * 1.0), "2 ** (-b * 1.0)"), (a * -2, "self.a * -2"),
            (round(a, 2), "round(self.a, 2)"), (abs(a - b), "abs(self.a - b)"), (1 / a, "1 / self.a"),
            (calculate("math.cos", a / 2), "math.cos(self.a / 2)"),
        ]:  # fmt: skip
            assert str(given.expression) == text


def test_long_chains_are_computed_and_printed():
    watcher = Watcher()
    n = watcher.number(0, "n")
    with watching(watcher):
        for _ in range(5000):
            n = n + 1
        assert n > 10
    assert compile_numbers(watcher.all_conditions(), [n.expression])([7]) == (5007,)
    assert "..." in str(n.expression) and len(str(n.expression)) < 200
    del n, watcher


def test_the_condition_that_fails_is_named():
    watcher = Watcher()
    n = watcher.number(0.5, "self.lr")
    with watching(watcher):
        assert n > 0.1 and n / 2 < 1
    failing = first_failing(watcher.all_conditions(), [0.05])
    assert isinstance(failing, Condition) and str(failing) == "self.lr > 0.1"
    assert first_failing(watcher.all_conditions(), [0.7]) is None
