"""The kernel table, rehearsed on the CPU at small sizes."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from benchmarks.kernels import cases as K
from benchmarks.kernels import launch, table
from benchmarks.kernels.__main__ import Run
from benchmarks.kernels.cases import EMULATED, MIDDLE, REHEARSED, Case, Operand, cases, make_inputs
from benchmarks.kernels.devices import Cpu, Emulated, Timing, sets_for, summary
from benchmarks.kernels.gemm import PRODUCTS, measure_products
from benchmarks.kernels.launch import measure_launches
from benchmarks.kernels.measure import Measure, error_of
from tests.codegen.emulated import needs_compiler

FAMILIES = {
    "map", "row", "column", "full", "transpose", "gather", "scatter", "scan", "sort", "select", "random", "update",
}  # fmt: skip


@pytest.fixture(scope="module")
def measure():
    return Measure(Cpu(), K.noise(), [])


def test_every_family_is_there_and_comes_first():
    for quick in (True, False):
        found = [c.family for c in cases(quick)]
        assert set(found) == FAMILIES == set(found[: len(FAMILIES)])
    assert len(cases(True)) < len(cases(False))


def test_sizes_are_those_that_are_said():
    widest = max((o.nbytes for c in cases(True) for o in c.operands), default=0)
    assert widest == MIDDLE
    assert PRODUCTS[0].flops == 2 * 1024**3


def test_a_rehearsal_has_every_case_and_little_to_compute():
    for middle in (REHEARSED, EMULATED):
        assert {c.family for c in cases(True, middle)} == FAMILIES
        small = [o for c in cases(False, middle) for o in c.operands]
        assert all(0 not in o.shape for o in small)
    assert max(sum(o.nbytes for o in c.operands) for c in cases(True, EMULATED)) <= 1 << 20


SMALL = [
    Case("map", "gelu", (Operand((999,)), Operand((999,))), K.gelu_chain),
    Case("map", "gelu", (Operand((64,), "bfloat16"), Operand((64,), "bfloat16")), K.gelu_chain),
    Case("row", "softmax", (Operand((8, 33), grad=True), Operand((8, 33))), K.with_gradient(K.softmax)),
    Case("row", "loss", (Operand((8, 33), grad=True), Operand((8,), "int64", below=33)), K.cross_entropy_both),
    Case("random", "dropout", (Operand((500,)),), K.dropout, exact=False),
    Case("scatter", "rows", (Operand((9, 5)), Operand((7,), "int64", below=9), Operand((7, 5))),
         lambda xp: lambda w, i, rows: w.index_add(0, i, rows), any_order=True),
    Case("update", "AdamW", tuple(Operand((5, 7)) for _ in range(8)), K.adamw, moved=35 * 4 * 14),
]  # fmt: skip


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.title)
def test_a_case_is_checked_compiled_and_timed(measure, case):
    row = measure.case(case)
    assert "failed" not in row, row["failed"]
    assert row["compiled"] and row["seconds"] > 0 and row["of_copy"] > 0
    assert row["error"] <= (1e-2 if case.operands[0].dtype == "bfloat16" else 2e-6)
    assert row["bytes"] == (case.moved or row["bytes"]) >= sum(o.nbytes for o in case.operands)


def test_a_case_that_fails_is_a_row(measure):
    def broken(xp):
        raise ValueError("no such thing")

    row = measure.case(Case("map", "broken", (Operand((3,)),), broken))
    assert row["failed"] == "ValueError: no such thing"
    assert "failed" in table.memory_table([row], [], 0)


def test_errors_are_relative_and_nan_is_infinite():
    cpu = Cpu()
    assert error_of(cpu, [np.array([1.0, 9.0])], [np.array([1.0, 10.0])]) == pytest.approx(0.1)
    assert error_of(cpu, [np.array([np.nan])], [np.array([1.0])]) == float("inf")


def test_inputs_differ_from_set_to_set():
    dtypes = {"float32": np.dtype(np.float32)}
    first, second = (
        make_inputs(np, K.noise(), (Operand((100,)), Operand((50,), "int64", below=7)), dtypes, k) for k in (0, 1)
    )
    assert (first[0] != second[0]).any() and first[1].min() >= 0 and first[1].max() == 6


def test_many_sets_of_small_buffers_and_two_of_large_ones():
    assert sets_for(1 << 20, "cuda") == 64 and sets_for(1 << 31, "cuda") == 2


def test_a_timing_is_a_median():
    assert summary([1, 9, 2, 2, 2], "clock") == Timing(2, 0.0, "clock")


def test_what_a_reader_has_to_know():
    row = {"host_bound": True, "compiled": False, "bytes": 10, "spread": 0.5}
    assert table.marks(row, 100) == "host-bound, not compiled, below L2, ±50%"


def test_a_run_leaves_out_what_it_has_no_time_for(tmp_path):
    args = argparse.Namespace(budget=-1, json=tmp_path / "k.json", only="map,row", peers="", quick=True)
    run = Run(args, Cpu())
    run.part("map", lambda: [{}], "memory")
    run.part("sort", lambda: [{}], "memory")
    assert run.result["left_out"] == ["map"] and run.result["memory"] == []
    run.write()
    assert "left out, for want of time: map" in table.text(run.result)


@pytest.mark.parametrize("key", ["memory", "products", "launches"])
def test_a_part_that_fails_is_a_row_and_the_others_go_on(tmp_path, key):
    args = argparse.Namespace(budget=100, json=tmp_path / "k.json", only=None, peers="", quick=True)
    run = Run(args, Cpu())

    def broken():
        raise MemoryError("no room for it")

    run.part("gemm", broken, key)
    assert json.loads(args.json.read_text())[key][0]["failed"] == "MemoryError: no room for it"
    table.compare_with_copies(run.result)
    assert "no room for it" in table.text(run.result)
    run.part("gemm", lambda: [{"family": "gemm"}], key)
    assert len(run.result[key]) == 2


@pytest.mark.parametrize("case", [SMALL[1], SMALL[2], SMALL[5]], ids=lambda case: case.title)
def test_torch_runs_the_same_functions_over_the_same_memory(case):
    pytest.importorskip("torch")
    row = Measure(Cpu(), K.noise(), ["torch"]).case(case)
    assert row["peers"]["torch"]["seconds"] > 0, row


@needs_compiler
def test_kernels_in_the_emulator(monkeypatch):
    measure = Measure(Emulated(), K.noise(), [])
    for case in (SMALL[0], SMALL[-1]):
        row = measure.case(case)
        assert "failed" not in row, row["failed"]
        assert row["compiled"] and row["error"] <= 2e-6
        assert 1 <= row["traffic"] < 2  # whole sectors of little arrays
    monkeypatch.setattr(launch, "KERNELS", (3,))
    assert not [row for row in measure_launches(measure) if "failed" in row]
    (row,) = measure_products(measure, True, ("float32",), largest=1e5, shrink=64)[:1]
    assert row["generated"]["error"] <= 2e-6 and row["flops"] == 2 * 16**3
