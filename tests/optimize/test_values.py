"""What holds for every pass: values are kept, and its own output comes back unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import arrays_for, graphs
from tracec.ir import Graph, evaluate, verify
from tracec.ir import dtype as dt
from tracec.optimize import PIPELINE


def run(graph: Graph) -> list[np.ndarray[Any, Any]]:
    with np.errstate(all="ignore"):
        return [np.asarray(y, np.float64) for y in evaluate(graph, arrays_for(graph))]


def assert_same_values(before: Graph, after: Graph) -> None:
    """Equal up to the rounding of sums taken in another order; NaN, infinities and signs of zeros exactly."""
    for x, y in zip(run(before), run(after), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-6)
        zero = (x == 0) & (y == 0)
        np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(x[zero]))


@pytest.mark.parametrize("name", PIPELINE.names)
@given(graph=st.one_of(graphs(), graphs(), graphs(dt.int32)))
def test_pass(name: str, graph: Graph) -> None:
    step: Callable[[Graph], Graph] = next(p.run for p in PIPELINE if p.name == name)
    once = step(graph)
    verify(once)
    assert step(once) is once
    assert_same_values(graph, once)


@given(graph=graphs(most=25))
def test_pipeline(graph: Graph) -> None:
    result = PIPELINE.run(graph).graph
    verify(result)
    assert_same_values(graph, result)
