"""Values of tensors that a function keeps, returns or computes with as Python numbers and arrays: one recording."""

from __future__ import annotations

import copy
import math
import pickle
import statistics
import warnings
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest

import tracec as T
from tests.test_effects import X, agree, seen
from tracec.specialisations import calls, tree


class Metrics:
    """What functions of these tests change."""

    def __init__(self):
        self.log, self.table = [], {"loss": []}
        self.total, self.count, self.best = 0.0, 0, math.inf
        self.last = self.other = None
        self.weights = T.ones(3)


def loss(x):
    return (x * x).sum()


def train(s, x):
    s.weights -= x
    value = (s.weights * x).abs().sum()
    s.log.append(float(value))
    s.table["loss"].append(math.sqrt(float(value)))
    s.total += float(value)
    s.count += int((x > 0).sum())
    s.last = {"mean": s.total / s.count, "ppl": math.exp(min(float(value) / 100, 20.0))}
    return s.last


def finite(s, x):
    value = float(loss(x))
    if math.isnan(value) or not math.isfinite(loss(x)) or not np.isfinite(value):
        raise ValueError
    return value


def averages(s, x):
    values = [loss(x).item(), loss(x * 2).item()]
    return np.mean(values), np.std(values).item(), float(np.max(values)), np.exp(np.mean(values) / 100) * 2


def arrays(s, x):
    s.log.append(loss(x).detach().cpu().numpy())
    s.last = (x * 2).numpy()
    return np.asarray(x + 1), np.array(x), x.numpy().copy(), s.last


def array_over_memory(s, x):
    made = x * 2
    array = made.numpy()
    made += 1
    return array, made


def overwritten(s, x):
    before = s.last is None
    s.last, s.other = (x * 2).numpy(), np.float64(loss(x).item() > 0)
    return x + before


def meta(s, x):
    array = (x * 2).detach().numpy()
    return array.shape, array.dtype, array.ndim, len(array.shape), array if isinstance(array, np.ndarray) else None


def numbers_of_arrays(s, x):
    return loss(x).numpy().item(), float(loss(x).numpy()), x.numpy().tolist()


def types(s, x):
    value = float(loss(x))
    return isinstance(value, float), isinstance(value, (int, str)), type(value).__name__, issubclass(type(value), float)


def texts(s, x):
    return float("1.5"), int("11", 2), float(2), int(2.5), int(True), 0.0, 0


def integers(s, x):
    return int(loss(x)), int((x > 0).sum()) + 1, int(float(loss(x)) * 0.5), [float(v) for v in x]


SYMBOLIC = {
    "train": train, "finite": finite, "averages": averages, "arrays": arrays, "array over memory": array_over_memory,
    "overwritten": overwritten, "meta": meta, "numbers of arrays": numbers_of_arrays, "types": types, "texts": texts,
    "integers": integers, "map": lambda s, x: list(map(float, x)), "sum": lambda s, x: sum([float(v) for v in x]),
    "round": lambda s, x: round(float(loss(x)), 2),
    "by a decision": lambda s, x: float(loss(x)) if float(loss(x)) > 50 else -1.0,
}  # fmt: skip


@pytest.mark.parametrize("name", SYMBOLIC)
def test_it_is_recorded_few_times(name):
    compiled = agree(SYMBOLIC[name], calls=12, most=5, make=Metrics)
    assert sum(s.hits for s in compiled.explain().specialisations) >= 7


#: What looks into an array or a number; the last two are answered by tracec.
LOOKS = {
    "element": lambda a: a[0], "arithmetic": lambda a: (a + 1, 2 * a, a @ a, a == a), "function": lambda a: np.exp(a),
    "reduction": lambda a: a.mean(), "concatenate": lambda a: np.concatenate([a, a]), "bool": lambda a: bool(a.any()),
    "iteration": lambda a: list(a), "format": lambda a: f"{a} {a!r}", "copy": lambda a: copy.deepcopy(a),
    "pickle": lambda a: pickle.loads(pickle.dumps(a)), "length": lambda a: len(a), "memory": lambda a: bytes(a.data),
    "into": lambda a: np.add(np.ones(3), a), "divmod": lambda a: divmod(a, 2),
    "interface": lambda a: memoryview(a).nbytes,
    "cast": lambda a: a.astype(int),
    "tensor": lambda a: T.from_numpy(a) * 2, "index": lambda a: X[a > 0],
    "operand": lambda a: X + a, "tensor of it": lambda a: T.tensor(a), "as_tensor": lambda a: T.as_tensor(a) + 1,
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKS)
def test_looks_into_arrays_see_the_values_of_the_call(name):
    look = LOOKS[name]

    def function(s, x):
        return look((x * 2).numpy())

    agree(function, calls=6, make=Metrics, compiles=False)


def test_arrays_that_are_written_into_are_refused_or_equal():
    def function(s, x):
        array = (x * 2).numpy()
        array[0] = 7
        return array

    agree(function, make=Metrics, compiles=False)


def test_arrays_look_at_the_memory_of_tensors():
    w = T.ones(3)

    def function(x):
        y = x * 2
        return y, y.numpy(), x.numpy(), w.numpy()

    compiled = T.compile(function)
    for k in range(4):
        x = X * k
        y, array, given, weights = compiled(x)
        array += 1
        given[0] = 9
        weights += 1
        assert y.tolist() == array.tolist() and type(array) is np.ndarray and array.flags.writeable
        assert x[0].item() == 9 and w.tolist() == [k + 2.0] * 3
    assert compiled.explain().specialisations[0].hits == 3


def test_an_array_that_is_read_is_looked_at_in_each_call():
    s, calls = Metrics(), []

    def function(x):
        total = 0.0 if s.last is None else float(s.last.sum())
        s.last = (x * 2).numpy()
        return x + total

    compiled = T.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(8):
            before = 0.0 if s.last is None else float(s.last.sum())
            calls.append(compiled(X * k).tolist() == (X * k + before).tolist())
    assert all(calls)


def test_one_array_in_two_places_is_one():
    s = Metrics()

    def function(x):
        same = s.last is s.other
        s.last, s.other = x.numpy(), x.numpy()
        return x + same

    compiled = T.compile(function)
    for k in range(8):
        if k % 3 == 2:
            s.other = s.last
        same = s.last is s.other
        assert compiled(X * k).tolist() == (X * k + same).tolist(), k


def of_all_kinds(x):
    class Kind(float):
        pass

    numbers = [float(v) for v in x], (lambda v: float(v))(x[0]), list(map(int, x)), float(*[x[1]])
    known = isinstance(numbers[1], float), isinstance(numbers[1], (int, float)), float is float, Kind(2.0)
    return numbers, known, float.fromhex("0x10"), x.to(float).dtype, [f.__name__ for f in (float, int)], float, {}


def test_names_are_the_classes_but_for_calls():
    agree(lambda s, x: of_all_kinds(x)[:2], most=2, make=Metrics)
    compiled, code = T.compile(of_all_kinds), of_all_kinds.__code__
    for k in range(3):
        made, expected = compiled(X * k), of_all_kinds(X * k)
        assert made[0] == expected[0] and made[2:] == expected[2:] and made[-2] is float and made[3] is T.float64
    assert of_all_kinds.__code__ is code


def test_code_is_as_long_and_does_the_same():
    code = of_all_kinds.__code__
    changed = calls.aware(of_all_kinds)
    assert changed is calls.aware(of_all_kinds) and len(changed.co_code) == len(code.co_code)
    assert list(changed.co_lines()) == list(code.co_lines()) and changed.co_exceptiontable == code.co_exceptiontable
    assert calls.aware(agree) is agree.__code__


def test_names_that_mean_something_else_stay():
    names = {"__name__": "a_module", "float": lambda x: 7.0}
    exec("def f(x): return float(x)", names)
    assert calls.aware(names["f"]) is names["f"].__code__


@pytest.mark.parametrize("form", ["f-string", "str", "fmean", "fsum", "dict key"])
def test_what_hangs_on_every_digit_is_given_up_soon(form):
    make = {
        "f-string": lambda v: f"{v:.9f}", "str": str, "fmean": lambda v: statistics.fmean([v]),
        "fsum": lambda v: math.fsum([v]), "dict key": lambda v: {v: 1},
    }[form]  # fmt: skip

    def function(x):
        return make(loss(x).item())

    compiled = T.compile(function)
    with pytest.warns(RuntimeWarning, match="was another one 4 times; (such|calls)"):  # noqa: PT031
        for k in range(8):
            assert seen(compiled(X * (k + 0.1))) == seen(function(X * (k + 0.1)))
    assert len(compiled.explain().recordings) == tree.FEW_VALUES


def test_functions_that_are_full_try_few_calls():
    function = T.compile(lambda x, name: (x * 2, name), max_specializations=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for k in range(200):
            assert function(X, str(k))[1] == str(k)
        tried = function._history.in_vain
        for k in range(200):
            assert seen(function(X * k, "1")) == seen((X * k * 2, "1"))
    assert tried >= 198 and not function._history.in_vain
    assert 70 <= sum(s.hits for s in function.explain().specialisations) <= 200


class Window:
    def __init__(self):
        self.recent, self.list, self.log = deque(maxlen=4), [0.0, 0.0, 0.0], []


def moving_average(s, x):
    s.recent.append(float(loss(x)))
    s.recent[0] += 1.0
    return sum(s.recent) / len(s.recent), s.recent[-1]


def shifted(s, x):
    s.list.pop(0)
    s.list.append(float(loss(x)))
    return max(s.list), s.list[0] * 2


def rotated(s, x):
    s.recent.extend([float(v) for v in x])
    s.recent.rotate(1)
    return list(s.recent), s.recent.popleft()


@pytest.mark.parametrize(("function", "most"), [(moving_average, 8), (shifted, 5), (rotated, 8)])
def test_windows_of_values_are_recorded_few_times(function, most):
    compiled = agree(function, calls=16, most=most, make=Window)
    assert sum(s.hits for s in compiled.explain().specialisations) >= 7


def test_recordings_in_vain_come_to_an_end():
    def function(s, x):
        s.log.append(float(loss(x)))
        return x * len(s.log)

    eager, other = Window(), Window()
    compiled = T.compile(lambda x: function(other, x))
    with pytest.warns(RuntimeWarning, match="was recorded [0-9]+ times, and no call was served; .*: other.log") as said:  # noqa: PT031
        for k in range(200):
            assert seen(compiled(X * k)) == seen(function(eager, X * k)) and eager.log == other.log, k
    assert len(said) == 1 and len(compiled.explain().recordings) <= 26, compiled.explain()


def test_what_stays_after_a_while_is_compiled_then():
    settings = SimpleNamespace(name="")
    compiled = T.compile(lambda x: x * len(settings.name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for k in range(400):
            settings.name = "a" * min(k, 30)
            assert compiled(X).tolist() == (X * min(k, 30)).tolist()
    assert sum(s.hits for s in compiled.explain().specialisations) > 200


def test_names_behind_many_others():
    """Their loads have a longer form."""
    lines = [f"    s.a{k}" for k in range(300)]
    names: dict[str, object] = {}
    exec("\n".join(["def f(s, x):", *lines, "    return list(map(float, x)), float(x[0]) * 2"]), names)
    f, s = names["f"], SimpleNamespace(**{f"a{k}": k for k in range(300)})
    compiled = T.compile(lambda x: f(s, x))
    for k in range(6):
        x = T.tensor([1.5, -2.0]) * k
        assert compiled(x) == f(s, x)
    assert len(compiled.explain().recordings) == 1
