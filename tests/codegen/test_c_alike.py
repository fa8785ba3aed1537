"""Kernels that are alike but for numbers: one text, and the values of each."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

import tracec
from tests.codegen import kernels as k
from tests.codegen.plans import arrays_for, plan_of
from tracec.codegen.c import render
from tracec.codegen.c_alike import alike
from tracec.codegen.c_source import Function, Head, Parameter
from tracec.ir.kernel import Kernel
from tracec.runtime.cpu import load
from tracec.runtime.interpreter import run_kernel


def shared(kernels: Sequence[Kernel]) -> list[str]:
    """The functions that have the loops of several kernels."""
    return sorted(set(re.findall(r"^HIDDEN.* void (alike\w+)\(.*\{$", str(render(plan_of(kernels))), re.M)))


def check(kernels: Sequence[Kernel]) -> None:
    """Each kernel of a plan has its own values."""
    plan = plan_of(kernels)
    arrays = [arrays_for(kernel) for kernel in kernels]
    given = [a.copy() for one, kernel in zip(arrays, kernels, strict=True)
             for a, b in zip(one, kernel.buffers, strict=True) if b.role != "out"]  # fmt: skip
    found = iter(load(plan, render(plan))(given))
    for kernel, one in zip(kernels, arrays, strict=True):
        run_kernel(kernel, one)
        for array, buffer in zip(one, kernel.buffers, strict=True):
            if buffer.role != "in":
                np.testing.assert_allclose(next(found), array, rtol=2e-5, atol=1e-6)


ALIKE: dict[str, list[Kernel]] = {
    "rows": [k.softmax(100, 64), k.softmax(300, 64), k.softmax(77, 64)],
    "columns": [k.column_softmax(300, 1000), k.column_softmax(300, 1100)],
    "norms": [k.batch_norm(4, 320, 64), k.batch_norm(4, 960, 64)],
    "transposes": [k.transpose(2, 512, 256), k.transpose(2, 128, 256)],
    "parts": [k.spread(16, 16), k.spread(16, 16)],
}


@pytest.mark.parametrize("kind", ALIKE)
def test_values_are_each_kernel_s_own(kind: str) -> None:
    assert len(shared(ALIKE[kind])) == 1
    check(ALIKE[kind])


def test_what_differs_in_more_than_numbers_stays_apart() -> None:
    for one, other in (
        (k.softmax(100, 64), k.softmax(100, 128)),  # iterations of vectorised loops
        (k.softmax(100, 64), k.layer_norm(100, 64)),
        (k.softmax(100, 64), k.softmax(100, 64, "bf16")),
        (k.column_sum(100, 64), k.column_sum(100, 64, "f64")),
    ):
        assert shared([one, other]) == []


def test_a_kernel_is_shown_below_the_loops_that_it_shares() -> None:
    program = render(plan_of([k.softmax(100, 64), k.softmax(300, 64), k.layer_norm(9, 9)]))
    first, second, other = program.kernels.values()
    assert "HIDDEN __attribute__((noclone)) void alike0_softmax(" in first and "i < given0" in first
    assert "numbers_of[] = {100};" in first and "numbers_of[] = {300};" in second
    assert first.partition("// ")[0] == second.partition("// ")[0]
    assert "alike" not in other


def written(name: str, body: str) -> Function:
    lines = "".join(f"  y[{n}] = {n}.5f;\n" for n in range(20))
    return Function(Head(name, (Parameter("float *", "y"),)), f"{body}{lines}")


def given(*bodies: str) -> tuple[str, list[str]]:
    *calls, one = alike([written(f"k{n}_f", body) for n, body in enumerate(bodies)])
    return one.source, [c.source for c in calls]


def test_numbers_that_are_near_each_other_are_given_once() -> None:
    one, calls = given("  y[100] = y[133] + y[90];\n", "  y[200] = y[233] + y[190];\n")
    assert "y[given0] = y[(given0 + 33)] + y[(given0 - 10)];" in one or "y[100] = y[133]" in calls[0]


def test_sizes_of_arrays_and_divisors_are_not_given() -> None:
    for line in ("  float t[{}];\n", "  y[0] = y[1] / {};\n", "  int t __attribute__((aligned({})));\n"):
        assert len(alike([written("k0_f", line.format(64)), written("k1_f", line.format(128))])) == 2


def test_what_names_sizes_that_vary_where_none_is_given_stays_apart() -> None:
    for line in ("  y[2 * {}] = y[n % size_3];\n", "#pragma omp parallel for if(parallel: size_3)\n  y[2 * {}] = 1;\n"):
        assert len(alike([written("k0_f", line.format(64)), written("k1_f", line.format(128))])) == 2
    one, calls = given("  y[0] = y[2 * size_3];\n", "  y[0] = y[2 * size_4];\n")
    assert "y[0] = y[2 * given0];" in one
    assert [re.findall(r"\{(\S+)\};", c) for c in calls] == [["size_3"], ["size_4"]]


def test_reals_are_given_as_what_they_are() -> None:
    one, calls = given("  y[0] = y[1] * 0.1f + 0.5f;\n", "  y[0] = y[1] * 1e-05f + 0.5f;\n")
    assert "const float given0 = reals_of[0];" in one and "y[1] * given0 + 0.5f;" in one
    assert [re.findall(r"\{(\S+)\};", c) for c in calls] == [["0.1f"], ["1e-05f"]]


def test_integers_keep_their_types() -> None:
    assert len(alike([written("k0_f", "  y[0] = 1000 * n;\n"), written("k1_f", "  y[0] = 5000000000 * n;\n")])) == 2
    one, _ = given("  y[0] = 5000000000 * n;\n", "  y[0] = 6000000000 * n;\n")
    assert "const long given0 = numbers_of[0];" in one


def test_sizes_that_vary_reach_kernels_that_are_alike() -> None:
    nn = tracec.nn
    tracec.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 70), nn.LayerNorm(70), nn.Linear(70, 70), nn.LayerNorm(70), nn.Linear(70, 70))
    step = tracec.compile(lambda x: tracec.softmax(model(x), 0) + tracec.softmax(x.sum(1, keepdim=True), 0))
    for rows in (64, 80, 96, 112):
        x = tracec.randn(rows, 40)
        expected = tracec.softmax(model(x), 0) + tracec.softmax(x.sum(1, keepdim=True), 0)
        np.testing.assert_allclose(step(x).detach().numpy(), expected.detach().numpy(), rtol=2e-4, atol=1e-6)
