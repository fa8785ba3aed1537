"""Writes where several elements are one place: of one number, but of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tracec
from tests.lazy import lazily
from tracec.errors import ArgumentError, GradientError

WRITES: list[Callable[[Any], Any]] = [
    lambda x: x.fill_(2.5),
    lambda x: x.zero_(),
    lambda x: tracec.nn.init.constant_(x, 2.5),
    lambda x: tracec.nn.init.ones_(x),
    lambda x: tracec.nn.init.zeros_(x),
]


@pytest.mark.parametrize("write", WRITES)
def test_one_number_is_written_everywhere(write: Callable[[Any], Any]) -> None:
    memory = tracec.arange(6.0).reshape(2, 3)
    column = memory[:, 1:2].expand(2, 4)
    version = memory._version
    assert write(column) is column
    assert column.tolist() == write(tracec.ones(2, 4)).tolist()
    assert memory[:, 0].tolist() == [0.0, 3.0] and memory[:, 2].tolist() == [2.0, 5.0]
    assert memory[:, 1].tolist() == column[:, 0].tolist()
    assert memory._version == version + 1


def test_several_values_are_refused() -> None:
    x = tracec.zeros(3, 1).expand(3, 4)
    for write in (lambda: x.fill_(tracec.tensor(2.0)), lambda: x.copy_(tracec.ones(3, 1)), lambda: x.add_(1)):
        with pytest.raises(ArgumentError, match="more than one element"):
            write()
    assert x.tolist() == [[0.0] * 4] * 3


def test_what_gradients_remember_is_refused() -> None:
    w = tracec.ones(3, 1, requires_grad=True)
    with pytest.raises(ArgumentError, match="more than one element"):
        (w * 2).expand(3, 4).fill_(1.0)
    with pytest.raises(GradientError, match="leaf"):
        w.expand(3, 4).fill_(1.0)
    with tracec.no_grad():
        w.expand(3, 4).fill_(5.0)
    assert w.tolist() == [[5.0]] * 3


def test_a_gradient_that_is_one_number_is_set_to_zero_alone() -> None:
    x, y = tracec.ones(4, requires_grad=True), tracec.ones(4, requires_grad=True)
    x.sum().backward()
    x.grad.zero_()  # type: ignore[union-attr]
    y.sum().backward()
    assert x.grad.tolist() == [0.0] * 4 and y.grad.tolist() == [1.0] * 4  # type: ignore[union-attr]


def filled(x: Any, to: float) -> Any:
    y = x * 1
    y.expand(3, 4).fill_(to)
    return y + 1


def test_compiled_functions_run_eagerly() -> None:
    run = tracec.compile(filled)
    with pytest.warns(RuntimeWarning, match="an expanded tensor"):
        found = [run(tracec.zeros(3, 1), to).tolist() for to in (2.0, 3.0, 4.0)]
    assert found == [[[to + 1]] * 3 for to in (2.0, 3.0, 4.0)]


def test_lazily() -> None:
    run = lazily(filled)
    assert [run(tracec.zeros(3, 1), to).tolist() for to in (2.0, 3.0, 4.0)] == [[[t + 1]] * 3 for t in (2.0, 3.0, 4.0)]
