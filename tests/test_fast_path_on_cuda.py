"""The fast path of a call with tensors of a GPU: arrays of another class than NumPy's are looked at by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.doubles.driver import Driver, pretended
from tests.fast_paths import is_short, numbers, settled
from tracec import nn

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

OTHERS: dict[str, Callable[[Any], Any]] = {
    "on the CPU": lambda x: x.cpu(),
    "shape": lambda x: numbers(5, 5).to("cuda"),
    "rank": lambda x: x.view(4, 4, 1).clone(),
    "dtype": lambda x: x.double(),
    "transposed": lambda x: x.t(),
    "strided view": lambda x: numbers(4, 8).to("cuda")[:, ::2],
    "requires grad": lambda x: x.clone().requires_grad_(),
    "parameter": lambda x: nn.Parameter(x.clone(), requires_grad=False),
}


@pytest.fixture(autouse=True)
def driver() -> Iterator[Driver]:
    with pretended() as made:
        yield made


def _program(x: Any) -> Any:
    return x.sin() * 2 + x


def same(compiled: Any, x: Any) -> None:
    found, want = compiled(x), _program(x)
    assert found.device == want.device and found.requires_grad == want.requires_grad
    np.testing.assert_allclose(found.detach().cpu().numpy(), want.detach().cpu().numpy(), rtol=1e-6)


def test_tensors_of_a_gpu_take_the_short_way() -> None:
    compiled = settled(_program, numbers(4, 4).to("cuda"))
    for make in (lambda x: x.clone(), lambda x: x + 1, lambda x: x.detach()):
        x = make(numbers(4, 4, seed=1).to("cuda"))
        assert is_short(compiled, x)
        same(compiled, x)


def test_so_do_views_among_themselves() -> None:
    compiled = settled(_program, numbers(8, 4).to("cuda")[:4])
    x = numbers(8, 4, seed=1).to("cuda")[:4]
    assert is_short(compiled, x)
    same(compiled, x)


@pytest.mark.parametrize("other", OTHERS)
def test_others_do_not(other: str) -> None:
    x = numbers(4, 4).to("cuda")
    compiled = settled(_program, x)
    given = OTHERS[other](x)
    assert not is_short(compiled, given)
    for _ in range(3):
        same(compiled, given)
    assert is_short(compiled, x)
    same(compiled, x)


def test_nor_do_tensors_of_a_gpu_where_those_of_the_cpu_do() -> None:
    compiled = settled(_program, numbers(4, 4))
    x = numbers(4, 4).to("cuda")
    assert is_short(compiled, numbers(4, 4)) and not is_short(compiled, x)
    for _ in range(3):
        same(compiled, x)
