"""Functions that draw from Python's and NumPy's generators: compiled, with the numbers and states of eager calls."""

from __future__ import annotations

import random
import secrets
import warnings
from random import choice, gauss, uniform
from random import random as draw

import numpy as np
import pytest
from numpy.random import randn

import tracec as T
from tests.test_effects import seen

X = T.tensor([[1.0, -2.0], [3.0, 0.5], [-1.0, 2.0]])


class State:
    """The generators that functions of these tests have."""

    def __init__(self):
        self.python = random.Random(1)
        self.numpy = np.random.default_rng(2)
        self.old = np.random.RandomState(3)
        self.log, self.table, self.buffer = [], {"last": None}, np.zeros(3)

    def states(self):
        return repr((
            random.getstate(), np.random.get_state(), self.python.getstate(), self.numpy.bit_generator.state,
            self.old.get_state(),
        ))  # fmt: skip


def run(function, wrap, calls):
    """What a function of a state and x gives, and the states of generators after each call."""
    random.seed(0)
    np.random.seed(0)
    T.manual_seed(0)
    s, found = State(), []
    made = wrap(lambda x: function(s, x))
    for k in range(calls):
        found.append((seen(made(X * (k + 1))), seen(s.log), seen(s.table["last"]), s.states()))
    return made, found


def agree(function, calls=12, hits=None):
    """A function does compiled what it does eagerly; that so many of its calls are served."""
    with warnings.catch_warnings():
        warnings.simplefilter("error" if hits else "ignore", RuntimeWarning)
        _, expected = run(function, lambda f: f, calls)
        compiled, found = run(function, T.compile, calls)
    for k, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert a == b, f"call {k}"
    served = sum(s.hits for found in compiled._known.values() for s in found if s.eager is None)
    assert served >= (hits or 0), compiled.explain()
    return compiled


def mixup(s, x):
    share = np.random.beta(0.4, 0.4)
    order = np.random.permutation(3)
    return x * share + x[order] * (1 - share)


def augment(s, x):
    if random.random() < 0.5:
        x = x.flip(0)
    top = random.randint(0, 1)
    return x[top : top + 2] * uniform(0.8, 1.2) + gauss(0, 0.1)


def noise(s, x):
    x = x + T.from_numpy(np.random.randn(3, 2).astype(np.float32))
    x = x + T.tensor(s.numpy.normal(size=(3, 2)), dtype=T.float32)
    return x * T.as_tensor(s.old.rand(2)).float() + T.tensor(randn(2).astype(np.float32))


def kept(s, x):
    s.log.append(random.random())
    s.table["last"] = (np.random.rand(), s.numpy.integers(3, size=2), s.python.gauss(0, 1))
    return x * 2, np.random.randn(2), s.numpy.random()


def dropped_paths(s, x):
    for _ in range(3):
        if s.python.random() < 0.3:
            continue
        x = x * 2
    return x


def on_a_way(s, x):
    return x * draw() if x.sum() > 10 else x + s.numpy.uniform()


def integers(s, x):
    return x + random.randrange(1000), T.full((2,), random.getrandbits(8)), np.random.randint(5) * 1.5


def written(s, x):
    s.numpy.random(out=s.buffer)
    first = s.buffer.copy()
    s.numpy.standard_normal(None, np.float64, s.buffer)
    s.numpy.standard_gamma(2.0, out=(last := np.empty(3)))
    return x * T.from_numpy(first[:2].copy()), s.buffer.tolist(), last


def arithmetic(s, x):
    a, b = random.random(), s.old.normal()
    return x * (a + b) / 2, min(a, 2.0), round(a * 100), float(b), {"a": a}


def seeded(s, x):
    random.seed(7)
    np.random.seed(7)
    return x * random.random() + float(np.random.rand())


def shifted(s, x):
    rng = s.numpy
    rate = rng.uniform(0.0, 1.0)
    mask = T.from_numpy(rng.random((3, 2)) < 0.5)
    return x * mask, rate


def mask(s, x):
    return x * (T.from_numpy(s.numpy.random((3, 2))) < 0.5)


def given(s, x):
    return drawing_from(s.python, x) + drawing_from(s.numpy, x)


def drawing_from(rng, x):
    return x * rng.random()


DRAWS = {
    "number": (lambda s, x: x * random.random(), 11), "mixup": (mixup, 11), "augment": (augment, 3),
    "noise": (noise, 10), "kept": (kept, 8), "dropped paths": (dropped_paths, 4), "on a way": (on_a_way, 9),
    "integers": (integers, 10), "arithmetic": (arithmetic, 10), "seeded": (seeded, 11), "mask": (mask, 10),
    "a generator given": (given, 11), "choice": (lambda s, x: x * choice([1.0, 2.0, 3.0]), 5),
    "choice of numpy": (lambda s, x: x * np.random.choice([1.0, 2.0]), 10),
    "with random tensors": (lambda s, x: T.nn.functional.dropout(x * random.random()) + T.rand(2), 11),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
def test_states_and_values_are_those_of_eager_calls(name):
    function, hits = DRAWS[name]
    agree(function, hits=hits)


#: What no program draws, or what the function looks into; it runs eagerly, or for each value.
OTHERS = {
    "shuffle": lambda s, x: (random.shuffle(order := [0, 1, 2]), x[order])[1],
    "sample": lambda s, x: x[random.sample(range(3), 2)], "choices": lambda s, x: x * random.choices([1, 2])[0],
    "permuted in place": lambda s, x: (s.numpy.shuffle(order := np.arange(3)), x[order])[1],
    "digits": lambda s, x: (x, f"{random.random():.9f}"), "elements": lambda s, x: (x, list(np.random.randn(2))),
    "comparison": lambda s, x: x[np.random.rand(3) < 0.5], "masked": shifted,
    "state": lambda s, x: (x, random.getstate()[1][0]), "bytes": lambda s, x: (x, len(s.numpy.bytes(3))),
    "an own generator": lambda s, x: x * np.random.default_rng(3).random(),
    "another generator's seed": lambda s, x: x * random.Random(random.random()).random(),
    "written": written,
    "an argument that changes": lambda s, x: x * random.uniform(0, x[0, 0].item()),
    "many values": lambda s, x: x[random.randrange(3)] * list(range(1000))[random.randrange(1000)],
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_drawn_by_programs_is_drawn_as_it_is(name):
    agree(OTHERS[name], calls=20)


def test_what_hangs_on_every_digit_says_so():
    compiled = T.compile(lambda x: (x, str(random.random())))
    with pytest.warns(RuntimeWarning, match=r"goes by the value of a number that it draws, random\(\) 1"):  # noqa: PT031
        for _ in range(3):
            compiled(X)
    assert len(compiled.explain().recordings) <= 2


def test_what_hardly_ever_comes_again_is_given_up():
    compiled = T.compile(lambda x: x * list(range(1000))[random.randrange(1000)])
    random.seed(0)
    with pytest.warns(RuntimeWarning, match="goes by numbers that it draws, which were others 16 times"):  # noqa: PT031
        for _ in range(18):
            compiled(X)
    assert len(compiled.explain().recordings) == 17


def test_explain_names_draws():
    random.seed(1)
    compiled = T.compile(lambda x: x * 2 if random.random() < 0.5 else x)
    for _ in range(6):
        compiled(X)
    text = str(compiled.explain())
    assert "random() 1 < 0.5: True -> False" in text and "2 specialisations" in text, text


def test_warmup_draws_nothing():
    compiled = T.compile(lambda x: x * random.random() + np.random.rand())
    states = repr((random.getstate(), np.random.get_state()))
    for _ in range(3):
        compiled.warmup(X)
    assert repr((random.getstate(), np.random.get_state())) == states
    compiled(X)
    assert compiled.explain().specialisations[0].hits == 1


def test_functions_that_draw_are_recorded_by_one_another():
    inner = T.compile(lambda x: x * random.random())
    agree(lambda s, x: inner(x) + s.python.random(), hits=11)


def test_calls_that_fail_leave_no_stand_ins():
    def function(x):
        y = x * random.random()
        raise ValueError(y)

    compiled, before = T.compile(function), random.random
    for _ in range(2):
        with pytest.raises(ValueError, match="tensor"):
            compiled(X)
    assert random.random is before and np.random.rand.__self__ is np.random.mtrand._rand


def test_random_bytes_of_the_system_are_none_of_a_generator():
    system = random.SystemRandom()
    compiled = T.compile(lambda x: x * (system.random() < 2) * (secrets.randbelow(2) < 2))
    with pytest.warns(RuntimeWarning, match="random bytes of the system"):
        assert [compiled(X).tolist() for _ in range(3)] == [X.tolist()] * 3
