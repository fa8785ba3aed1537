"""The text of generated C, a kernel shape each: it should read as if written by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.plans import plan_of
from tests.codegen.test_c_plans import library_plan
from tracec.codegen import c, c_library
from tracec.codegen.c import render, render_kernel
from tracec.codegen.c_pieces import alone
from tracec.ir import dtype as dt
from tracec.ir.kernel import Kernel
from tracec.ir.types import TensorType

SHAPES: dict[str, Kernel] = {
    "map": k.broadcast(1000, 257),
    "row": k.softmax(128, 1000),
    "short_rows": k.row_sum(4096, 3, shape="column"),
    "masked": k.masked(1000),
    "pool": k.pool(128, 16),
    "column": k.column_softmax(300, 1000),
    "full": k.full_sum(1000, "f32", "maximum"),
    "transpose": k.transpose(2, 512, 256),
    "scan": k.scan(2, 70, columns=50),
    "scatter": k.scatter(300, 70, 1000),
    "contraction": k.conv(8, 16, 32, 8),
    "split_contraction": k.dot(1, 16, 40, 20_000),
    "lines_contraction": k.conv_weight(40, 4, 16, 8),
    "sized": k.sized(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_kernel(golden: str, shape: str) -> None:
    assert alone(render_kernel(SHAPES[shape])).strip() == golden


def test_rows_that_do_not_begin_at_cache_lines(golden: str) -> None:
    assert render_kernel(k.broadcast(1000, 1003), past_cache={"y"}).source.strip() == golden


def test_large_results_that_stay_are_written_to_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "MIN_LEAVING", 4000)
    apart = plan_of([k.chain(1000), k.chain(1000), k.chain(999), k.gelu(1000)])  # gelu waits for no memory
    assert ["write_past_cache(" in text for text in render(apart).kernels.values()] == [True, True, False, False]
    *_, y = apart.steps[0].args[0]
    x, _, z = apart.steps[1].args[0]
    joined = replace(apart, steps=(apart.steps[0], replace(apart.steps[1], args=((y, x, z),))))
    assert ["write_past_cache(" in text for text in render(joined).kernels.values()] == [False, True]
    monkeypatch.setattr(c, "MIN_PAST_CACHE", 4000)
    assert ["write_past_cache(" in text for text in render(joined).kernels.values()] == [True, True]
    aliased = replace(apart, steps=(replace(apart.steps[0], args=((y, y, y),)),))
    assert "write_past_cache(" not in str(render(aliased))


def test_whole_unit(golden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_library, "CORES", 4)
    a = np.empty((200, 200), np.float32)
    plan = library_plan(
        "gemm", [a, a], TensorType(dt.float32, (200, 200)),
        batch=(), m=200, n=200, k=200, a_batch=(), b_batch=(), trans_a=False, trans_b=True,
        lda=200, ldb=200, a_offset=0, b_offset=0, dtype=dt.float32,
    )  # fmt: skip
    assert str(render(plan)).strip() == golden


def test_only_what_is_used_is_defined() -> None:
    source = str(render(plan_of([k.chain(10)])))
    assert "maximum_f32" in source
    for name in ("philox", "f32_from_f16", "expf", "multiply_f32", "write_past_cache", "remainder_f32"):
        assert name not in source


def test_kernels_that_are_alike_but_for_numbers_share_their_pieces() -> None:
    few, many, other = k.conv(8, 16, 32, 8), k.conv(8, 48, 32, 8), k.conv_weight(40, 4, 16, 8)
    program = render(plan_of([few, many, other]))
    kinds = [
        re.sub(r"piece\d+_", "", name) for name in re.findall(r"^HIDDEN void (piece\w+)\(.*{$", str(program), re.M)
    ]
    assert kinds == ["row_runs", "lanes", "finish", "row_runs", "lane_lines", "finish"]
    one, another, *_ = program.kernels.values()
    assert "at = &a0[n0 * s + 9 * r0];" in one and "(const long[]){144, 4608}" in one
    assert one.partition("HIDDEN void k0")[0] == another.partition("HIDDEN void k1")[0]
    assert "(const long[]){432, 13824}" in another
    assert str(program).count("HIDDEN void turn_rows_f32(") - str(program).count("long room);") == 1


def test_iterations_of_vectorised_loops_are_not_given() -> None:
    program = str(render(plan_of([k.conv_weight(40, 4, 16, 8), k.conv_weight(40, 4, 16, 16)])))
    assert "r2 < 8; r2++" in program and "r2 < 16; r2++" in program


def test_of_four_by_four_places_one_loop_is_written_out() -> None:
    # That of the other is some kilobytes of machine code, which take longer to make than they save.
    text = str(k.conv(8, 16, 32, 8))
    for side, loops in ((2, 2), (3, 2), (4, 1), (5, 0)):
        wider = text.replace("in 3 reduce", f"in {side} reduce").replace("16,3,3]", f"16,{side},{side}]")
        at = f"{16 * side**2}*o + {side**2}*r + {side}*q0 + q1"
        source = alone(render_kernel(k.read_kernel(wider.replace("144*o + 9*r + 3*q0 + q1", at))))
        panel = source.partition("_lanes(")[2].partition("HIDDEN")[0]
        assert panel.count("#pragma GCC unroll 4") == loops


def test_builtins_are_known_to_gcc_and_clang() -> None:
    """Machines that have one of the two are most; clang has no ``__builtin_aligned_alloc``, for one."""
    both = re.compile("(copysign|fabs|inf|nan|rint)f?|floor|fmod|free|isnan|malloc|memcpy|memset|sqrt")
    behind_conditions = {"shuffle", "ia32_movntdq512", "ia32_movntps256", "nontemporal_store"}
    texts = [path.read_text() for path in (Path(c.__file__).parents[2] / "templates" / "c").glob("*.j2")]
    used = set(re.findall(r"__builtin_(\w+)", "\n".join(texts)))
    assert len(used) > 10
    assert {name for name in used if not both.fullmatch(name)} <= behind_conditions
