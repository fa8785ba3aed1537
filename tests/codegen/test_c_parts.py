"""Loops in phases, and with their borders apart: the same values, by statements that no position decides."""

from __future__ import annotations

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.plans import arrays_for
from tracec.codegen.c import render_kernel
from tracec.codegen.c_parts import MOST_STATEMENTS, part_loops
from tracec.codegen.c_unroll import unroll_short_loops
from tracec.ir.kernel import Div, Kernel, Load, Loop, Mod, Store, expressions, subexpressions, walk
from tracec.runtime.interpreter import run_kernel


def parted(kernel: Kernel) -> Kernel:
    return part_loops(unroll_short_loops(kernel), kernel)


def same_values(kernel: Kernel, other: Kernel) -> None:
    arrays = [np.round(4 * a) for a in arrays_for(kernel)]  # whose sums have no order
    others = [a.copy() for a in arrays]
    run_kernel(kernel, arrays)
    run_kernel(other, others)
    for a, b in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rows, columns", [(8, 8), (9, 12), (12, 9), (16, 33), (31, 17)])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_parts_have_the_same_values(rows: int, columns: int, step: int) -> None:
    kernel = k.spread(rows, columns, step)
    found = parted(kernel)
    assert found is not kernel and found.shape == "row"
    same_values(kernel, found)


def test_over_a_part_nothing_is_divided_and_nothing_is_tested() -> None:
    for step in (1, 2):
        inner = [s for s in walk(parted(k.spread(16, 16, step)).body) if isinstance(s, Loop)]
        vectors = [s for s in inner if not any(isinstance(x, Loop) for x in s.body) and s.var.extent > 4]
        assert vectors
        for loop in vectors:
            inside = [e for s in loop.body for root in expressions(s) for e in subexpressions(root)]
            assert not any(isinstance(e, (Div, Mod)) for e in inside)
            assert not any(getattr(e, "op", "") in ("ge", "lt", "select") for e in inside)


def test_each_window_is_read_once_for_all_of_its_phases() -> None:
    found = parted(k.spread(16, 16))
    loops = [s for s in walk(found.body) if isinstance(s, Loop) and any(isinstance(x, Store) for x in s.body)]
    most = max(loops, key=lambda s: len(s.body))
    loads = [e for s in most.body for root in expressions(s) for e in subexpressions(root) if isinstance(e, Load)]
    assert sum(isinstance(s, Store) for s in most.body) == 4 and len(set(loads)) == 4


def test_a_loop_without_windows_stays_as_it_is() -> None:
    for kernel in (k.transpose(2, 8, 8), k.chain(100), k.gather(9, 5, 8)):
        assert part_loops(kernel, kernel) is kernel


def test_a_body_that_would_become_too_long_stays_in_one_part_along_its_rows() -> None:
    found = parted(k.spread(64, 64, 1, 5))
    assert sum(not isinstance(s, Loop) for s in walk(found.body)) <= MOST_STATEMENTS
    same_values(k.spread(64, 64, 1, 5), found)


def test_rows_that_may_lie_outside_are_read_from_inside_and_chosen() -> None:
    kernel = k.windows(24, 24, 5)
    found = parted(kernel)
    same_values(kernel, found)
    assert "? x[" not in render_kernel(kernel).source.split("#pragma omp simd")[1].split("}")[0]
