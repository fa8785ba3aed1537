"""Where generated C finds no memory, a call fails, and says so; the next one is whole again."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tracec.codegen.c import render
from tracec.errors import OutOfMemoryError
from tracec.nn import functional as F
from tracec.runtime.cpu import load
from tracec.settings import limited_threads

pytestmark = needs_compiler

ALLOCATES = "{ return aligned_alloc(64, (bytes / 64 + 1) * 64); }"
#: The one that has the number is refused; all are counted.
REFUSES = """{
  extern int asked, refused;
  return __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED) == refused ? 0 : aligned_alloc(64, (bytes / 64 + 1) * 64);
}"""
DEFINED = "int asked, refused;\n"


def convolution_gradients(x: tracec.Tensor, w: tracec.Tensor) -> tracec.Tensor:
    return tracec.func.grad(lambda w: F.conv2d(x, w, padding=1).square().sum())(w)


def sorted_until_small(x: tracec.Tensor) -> tracec.Tensor:
    def going(n: tracec.Tensor, x: tracec.Tensor) -> tracec.Tensor:
        return n < 3

    def body(n: tracec.Tensor, x: tracec.Tensor) -> tuple[tracec.Tensor, tracec.Tensor]:
        return n + 1, x.sort(dim=0, descending=True).values + x

    return tracec.while_loop(going, body, (tracec.tensor(0), x))[1]


CASES: dict[str, tuple[Callable[..., tracec.Tensor], list[tuple[int, ...]], str]] = {
    "convolution": (lambda x, w: F.conv2d(x, w, padding=1), [(2, 16, 12, 12), (16, 16, 3, 3)], "contract_f32"),
    "its gradients": (convolution_gradients, [(16, 16, 16, 16), (16, 16, 3, 3)], "contract_parts_f32"),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), [(2, 2, 300, 32)] * 3, "between_f32",
    ),
    "long attention": (F.scaled_dot_product_attention, [(2, 2, 1100, 32)] * 3, "between_f32"),
    "order of columns": (lambda x: x.argsort(dim=0), [(300, 40)], "ranked_"),
    "largest": (lambda x: x.topk(5, dim=1).values, [(40, 900)], "ranked_"),
    "loop": (sorted_until_small, [(100, 30)], "ranked_"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_call_without_memory_fails_and_the_next_does_not(name: str) -> None:
    function, shapes, used = CASES[name]
    rng = np.random.default_rng(0)
    given = [tracec.from_numpy(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]
    lowered = tracec.compile(function).lower(*given, target="cpu")
    program = render(lowered.plan)
    assert used in str(program)
    arrays = [x.numpy() for x in given]
    want = load(lowered.plan, program)(arrays)
    units = [u.replace(ALLOCATES, REFUSES) for u in program.units]
    assert units != [*program.units]
    executable = load(lowered.plan, replace(program, units=(DEFINED + units[0], *units[1:])))
    asked, refused = (_number(executable, n) for n in ("asked", "refused"))
    with limited_threads(2):
        executable(arrays)
        count = asked.value
        assert count
        for number in sorted({1, 2, 3, 4, count} & {*range(1, count + 1)}):
            asked.value, refused.value = 0, number
            with pytest.raises(OutOfMemoryError, match="there is no memory for what a compiled program keeps"):
                executable(arrays)
            refused.value = 0
            for have, wanted in zip(executable(arrays), want, strict=True):
                np.testing.assert_array_equal(have, wanted)


def _number(executable: Any, name: str) -> Any:
    return ctypes.c_int.in_dll(executable._library, name)


def test_the_call_that_finds_no_memory_is_the_one_that_fails() -> None:
    """Two threads call one program; every other request for memory is refused to one of them alone."""
    x = tracec.from_numpy(np.random.default_rng(0).standard_normal((50, 900)).astype(np.float32))
    lowered = tracec.compile(lambda x: x.topk(5, dim=1).values).lower(x, target="cpu")
    program = render(lowered.plan)
    told = "{ extern _Thread_local int here; return here ? 0 : aligned_alloc(64, (bytes / 64 + 1) * 64); }"
    units = [u.replace(ALLOCATES, told) for u in program.units]
    setter = "_Thread_local int here;\nvoid refuse(int on) { here = on; }\n"
    executable = load(lowered.plan, replace(program, units=(setter + units[0], *units[1:])))
    found: dict[bool, list[bool]] = {True: [], False: []}

    def call(refuse: bool) -> None:
        executable._library.refuse(int(refuse))
        for _ in range(20):
            try:
                executable([x.numpy()])
            except OutOfMemoryError:
                found[refuse].append(True)
            else:
                found[refuse].append(False)

    threads = [threading.Thread(target=call, args=(on,)) for on in (True, False)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {True: [True] * 20, False: [False] * 20}
