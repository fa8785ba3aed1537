"""Sizes and numbers that both vary, mixed: averages weighted by batches, counters, printed lines, in few recordings."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest

import tracec
from tests.random_programs.check import operator_by_operator
from tracec import nn

SIZES = tuple(range(4, 25))
MODEL = nn.Linear(3, 1)


class Meter:
    """What a training loop keeps."""

    def __init__(self):
        self.total, self.count, self.step, self.history = 0.0, 0, 0, []


def weighted(meter, x):
    return (MODEL(x) ** 2).mean().item() * x.size(0)


def averaged(meter, x):
    loss = (MODEL(x) ** 2).mean()
    meter.total += loss.item() * x.size(0)
    meter.count += len(x)
    return loss, meter.total / meter.count


def share(meter, x):
    return (MODEL(x) > 0).sum().item() / x.shape[0] * 100


def accuracy(meter, x):
    meter.total += (MODEL(x) > 0).sum().item()
    meter.count += x.size(0)
    return meter.total / meter.count


def counted(meter, x):
    meter.count += len(x)
    return x.sum() / len(x)


def lengths(meter, x):
    meter.history.append(x.shape[0])
    return x * 2


def moving(meter, x):
    meter.total = meter.total * 0.9 + 0.1 * x.mean().item()
    return meter.total


def roots(meter, x):
    return x.sum() / math.sqrt(x.shape[0]) * math.log(x.shape[0] + 1) + math.hypot(len(x), 3)


def rounded(meter, x):
    return x.sum() * round(x.shape[0] * 0.3) + math.floor(x.shape[0] / 3) + math.ceil(0.1 * len(x))


def first_part(meter, x):
    return x[: round(0.5 * x.shape[0])].sum()


def both_ways(meter, x):
    value = x.mean().item()
    return x * (value + x.shape[0]), x * (x.shape[0] - value), x.shape[0] / (value * value + 1) // 0.1


def longer_than(meter, x):
    meter.step += 1
    return x.sum() if x.shape[0] * 1000 > meter.step else x.mean()


def by_value_and_size(meter, x):
    return x.sum() if x.abs().sum().item() < 100 * len(x) else x.mean()


def several(meter, x):
    return sum(len(part) for part in (x, x)) * x.mean()


def of_an_array(meter, x):
    array = x.numpy()
    meter.count += array.shape[0]
    return x.sum() * array.shape[0] / array.size, array.shape, array.nbytes, len(array)


def printed(meter, x):
    loss = x.mean()
    print("step", meter.step, "loss", round(loss.item(), 2), "of", len(x), x.shape[0] * 2)
    meter.step += 1
    return loss


PROGRAMS = {f.__name__: f for f in (
    weighted, averaged, share, accuracy, counted, lengths, moving, roots, rounded, first_part, both_ways, longer_than,
    by_value_and_size, several, of_an_array, printed,
)}  # fmt: skip
#: Whose state is looked at too: a first call may set it up, and a list shows that it grows when it has done so twice.
MOST = {
    "lengths": 4,
    "printed": 4,
    "moving": 3,
    "averaged": 3,
    "accuracy": 3,
    "counted": 3,
    "longer_than": 3,
    "of_an_array": 3,
}
WAYS = {
    "C": (nullcontext, {}, SIZES),
    "without a compiler": (operator_by_operator, {}, SIZES),
    "emulator": (nullcontext, {"target": "cuda", "launcher": "emulator"}, (4, 5, 6, 9, 12)),
}


def plain(value):
    if isinstance(value, tracec.Tensor):
        return ("tensor", tuple(value.shape), *np.round(value.detach().double().numpy(), 3).reshape(-1).tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    assert type(value) in (int, float)
    return type(value), round(value, 3)


def seen(function, sizes, wrap):
    """What calls return, and what they leave."""
    meter, found = Meter(), []
    called = wrap(lambda x: function(meter, x))
    for k, n in enumerate(sizes):
        x = tracec.from_numpy(np.random.default_rng(k).integers(-8, 9, (n, 3)).astype(np.float32) / 4)
        found.append((plain(called(x)), *(plain(v) for v in vars(meter).values())))
    return found, called


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_many_sizes_take_few_recordings(name, way, capsys):
    around, options, sizes = WAYS[way]
    expected, _ = seen(PROGRAMS[name], sizes, lambda f: f)
    text = capsys.readouterr().out
    with around():
        found, compiled = seen(PROGRAMS[name], sizes, lambda f: tracec.compile(f, **options))
    assert capsys.readouterr().out == text
    for a, b in zip(found, expected, strict=True):
        assert a == b
    assert len(compiled.explain().recordings) <= MOST.get(name, 2), compiled.explain()


def test_what_a_size_decides_is_noted():
    def function(x):
        return x.sum() if round(x.shape[0] * 0.5) < 4 else x.mean()

    compiled = tracec.compile(function)
    for n in (2, 3, 4, 9, 10, 5, 6, 11, 7, 12, 8):
        x = tracec.arange(n).float()
        assert compiled(x).item() == function(x).item()


def test_where_python_refuses_a_size_the_error_is_its_own():
    def function(x):
        return x.sum() * math.log(x.shape[0] - 3)

    compiled = tracec.compile(function)
    for n in (5, 6, 7, 3, 8, 2, 9):
        x = tracec.ones(n)
        if n > 3:
            assert compiled(x).item() == pytest.approx(function(x).item())
        else:
            with pytest.raises(ValueError, match="math domain error"):
                compiled(x)


def test_a_tensor_is_kept_while_sizes_and_a_number_vary():
    # As a hook keeps what a layer gave; each call is of another number, and for its size of another batch.
    meter = Meter()

    def step(x, share):
        meter.last = MODEL(x)
        return (meter.last * share).sum()

    compiled = tracec.compile(step)
    for k in range(12):
        x, share = tracec.randn(4 if k % 3 == 0 else 6, 3), k / 16 + 0.3
        np.testing.assert_allclose(compiled(x, share).item(), (MODEL(x) * share).sum().item(), rtol=1e-5)
    explained = compiled.explain()
    assert explained.specialisations, "what sets something up at each call is never compiled"
    assert len(explained.recordings) < 7
