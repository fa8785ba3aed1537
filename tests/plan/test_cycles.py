"""Kernels never wait for each other, wherever their nodes are in the graph's order."""

from __future__ import annotations

import pytest

from tests.plan.test_planner import check, inputs
from tracec import ops
from tracec.errors import VerifyError
from tracec.ir.graph import Graph
from tracec.plan.order import topological
from tracec.plan.stretches import Stretches


def test_a_path_through_a_kernel_of_early_and_late_nodes():
    """g comes before a, and yet depends on it: the kernel that makes what g reads makes something of a, too."""
    x, w, y = inputs((8, 4), (4, 1), (8, 2))
    early = ops.sin(x)
    g = ops.dot(early, w)
    a = ops.sin(y)
    late = ops.add(early, ops.pad(a, low=(0, 2), high=(0, 0), value=0.0))
    b = ops.mul(a, ops.expand(g, shape=(8, 2)))
    check(Graph((x, w, y), (g, a, late, b)))


def test_kernels_that_wait_for_each_other_are_refused():
    with pytest.raises(VerifyError, match="2 of 3 kernels wait for each other"):
        topological([set(), {2}, {1}], [set(), {2}, {1}])


def test_stretches():
    found = Stretches(8)
    found.join(2, 4)
    found.join(5, 5)
    assert [found[k] for k in range(8)] == [0, 1, 2, 2, 2, 5, 6, 7]
    found.join(4, 6)
    assert [found[k] for k in range(8)] == [0, 1, 2, 2, 2, 2, 2, 7]
    found.join(0, 7)
    assert {found[k] for k in range(8)} == {0}
