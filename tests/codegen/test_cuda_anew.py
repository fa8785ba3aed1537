"""Rows without scratch: what one loop leaves for another is computed again, or stays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.test_cuda_values import arguments, compare
from tracec.codegen.cuda_anew import LEAST_COST, computed_anew
from tracec.ir.kernel import Kernel, Load, Scratch, expressions, subexpressions, walk
from tracec.ir.verify_kernel import verify_kernel
from tracec.runtime.interpreter import run_kernel

#: Kernels whose scratch is cheap.
KERNELS: dict[str, Kernel] = {
    "loads": k.softmax(3, 40),
    "loads of 16 bits": k.softmax(3, 40, "bf16"),
    "exponentials": k.exponentials(3, 40),
    "differences": k.layer_norm(3, 40),
    "of two": k.held(3, 40, "f16", 2, kept=True),
}


def read_again(kernel: Kernel, what: str, new: str) -> Kernel:
    """A kernel with a part of its text replaced."""
    text = str(kernel)
    assert what in text
    return k.read_kernel(text.replace(what, new))


@pytest.mark.parametrize("name", KERNELS)
def test_it_is_gone_and_values_are_the_same(name: str) -> None:
    kernel = KERNELS[name]
    anew = computed_anew(kernel)
    assert anew is not None and not any(isinstance(s, Scratch) for s in walk(anew.body))
    verify_kernel(anew)
    given = arguments(kernel)
    want, have = [a.copy() for a in given], [a.copy() for a in given]
    run_kernel(kernel, want)
    run_kernel(anew, have)
    for one, other in zip(want, have, strict=True):
        np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))
    assert computed_anew(anew) is None  # there is none left


def test_each_loop_has_what_it_takes(golden: object) -> None:
    assert str(computed_anew(k.exponentials(3, 40))) == golden


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (k.row_sum(3, 40), "no scratch"),
        (k.running(3, 40), "what is read is overwritten"),
        (read_again(k.exponentials(3, 40), "exp(", "erf("), "it takes long"),
        (read_again(k.exponentials(3, 40), "exp(sub(v, t))", "exp(exp(sub(v, t)))"), "it takes twelve"),
        (k.exponentials(3, 40, "f64"), "64-bit"),
        (
            read_again(k.softmax(3, 40), "let v: f32 = x[40*i + r]", "let v: f32 = add(x[40*i + r], x[r])"),
            "of two loads",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_otherwise_it_stays(kernel: Kernel, reason: str) -> None:
    assert computed_anew(kernel) is None


def test_little_is_computed_anew_where_there_is_a_place_for_it() -> None:
    assert computed_anew(k.exponentials(3, 40), LEAST_COST) is None
    assert computed_anew(k.layer_norm(3, 40), LEAST_COST) is not None


def test_scratch_that_is_made_of_scratch() -> None:
    text = str(k.exponentials(3, 40)).replace("scratch row: f32[40]", "scratch row: f32[40]\n    scratch two: f32[40]")
    again = """acc q: f32 = add
    for r in 40 reduce {
      let w: f32 = div(row[r], s)
      store two[r] = neg(row[r])
      update q <- w
    }
    for r in 40 each {"""
    text = text.replace("for r in 40 each {", again).replace("let u: f32 = row[r]", "let u: f32 = two[r]")
    kernel = k.read_kernel(text)
    anew = computed_anew(kernel)
    assert anew is not None
    parts = (x for s in walk(anew.body) for e in expressions(s) for x in subexpressions(e))
    assert [x.buffer for x in parts if isinstance(x, Load)] == ["x", "x", "x", "x"]
    given = arguments(anew)
    want, have = [a.copy() for a in given], [a.copy() for a in given]
    run_kernel(kernel, want)
    run_kernel(anew, have)
    compare(anew, want[1], have[1])
