"""What is read from the parts of a GPU check, and how a part that hangs is cut off."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import gpu_check, machine
from benchmarks.gpu_check import PARTS, Part

TESTS = """
[gw0] [ 10%] PASSED tests/gpu/test_random.py::test_a
[gw1] [ 20%] FAILED tests/gpu/test_random.py::test_b[x y]
[gw1] [ 30%] SKIPPED tests/gpu/test_random.py::test_c
=========================== short test summary info ============================
FAILED tests/gpu/test_random.py::test_b[x y] - AssertionError: no
"""


def test_outcomes_are_read_from_the_log():
    row = gpu_check.read_tests(None, TESTS, 1)
    assert (row["passed"], row["failed"], row["skipped"], row["ok"]) == (1, 1, 1, False)
    assert row["failures"] == {"tests/gpu/test_random.py::test_b[x y]": "AssertionError: no"}
    assert row["line"] == "1 passed, 1 failed, 1 skipped"


def test_a_run_that_skips_everything_is_not_well():
    assert gpu_check.read_tests(None, "tests/gpu/a.py::b SKIPPED\n", 0)["ok"] is False
    assert gpu_check.read_tests(None, "tests/gpu/a.py::b PASSED\n", 0)["ok"] is True


def test_outcomes_without_several_workers():
    output = "tests/gpu/test_a.py::test_b[x y] PASSED      [ 50%]\ntests/gpu/test_a.py::test_c FAILED    [100%]\n"
    row = gpu_check.read_tests(None, output, 1)
    assert row["line"] == "1 passed, 1 failed" and list(row["failures"]) == ["tests/gpu/test_a.py::test_c"]


def test_outcomes_of_a_run_that_was_cut_off():
    row = gpu_check.read_tests(None, TESTS.split("===")[0], None)
    assert row["line"] == "1 passed, 1 failed, 1 skipped" and len(row["failures"]) == 1


@pytest.mark.parametrize(
    "output, status, ok",
    [
        ("18 families ran; wrong: none\n========= ERROR SUMMARY: 0 errors\n", 0, True),
        ("18 families ran; wrong: none\n========= Invalid read\n========= ERROR SUMMARY: 1 error\n", 9, False),
        ("========= ERROR SUMMARY: 0 errors\n", 0, False),  # nothing ran
    ],
)
def test_the_sanitizers_summary(output, status, ok):
    row = gpu_check.read_sanitizer(None, output, status)
    assert row["ok"] is ok and "ERROR SUMMARY" in row["line"]
    assert bool(row["findings"]) is (status != 0)


def test_tables_that_were_not_written(tmp_path):
    assert gpu_check.read_kernels(tmp_path, "", 1)["ok"] is False
    assert gpu_check.read_workloads(tmp_path, "", None)["ok"] is False


@pytest.mark.parametrize(("status", "ok"), [(0, True), (1, None), (None, None)])
def test_a_peer_that_compiled_nothing_beforehand_is_no_failure_and_no_success(status, ok):
    row = gpu_check.read_peer(Path(), "", status)
    assert row["ok"] is ok and ("has compiled" in row["line"]) is (ok is True)


def part(code, limit=30.0):
    return Part("part", limit, lambda folder, limit: [sys.executable, "-c", code], gpu_check.read_tests)


def test_a_part_that_hangs_is_ended_with_its_children(tmp_path, monkeypatch):
    code = "import subprocess, sys; print('tests/a::b PASSED', flush=True); subprocess.run(['sleep', '60'])"
    start = time.perf_counter()
    row = gpu_check.run(part(code), tmp_path, 2.0)
    assert time.perf_counter() - start < 20
    assert row["ok"] is False and row["line"] == "cut off after 2 s; 1 passed"


def test_each_part_is_written_when_it_is_known(tmp_path, monkeypatch, capsys):
    passing, failing = part("print('tests/a::b PASSED')"), part("raise SystemExit('tests/a::b PASSED')")
    parts = (Part("good", 30, passing.command, passing.read), Part("bad", 30, failing.command, failing.read))
    monkeypatch.setattr(gpu_check, "PARTS", parts)
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--json", str(tmp_path / "gpu.json")])
    assert gpu_check.main() == 1
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["ok"] for row in found["parts"].values()] == [True, False]
    assert "PASSED" in found["parts"]["bad"]["tail"] and "tail" not in found["parts"]["good"]
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-2].startswith("good       ok") and lines[-1].startswith("bad        FAILED")


def test_what_is_kept_does_not_tell_where_things_are(tmp_path):
    code = "import os, sys; sys.exit(f'at {os.getcwd()}/a.py of {sys.prefix}')"
    assert gpu_check.run(part(code), tmp_path, 30)["tail"].strip() == "at ./a.py of python"


def test_no_time_left_and_no_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--budget", "1", "--json", str(tmp_path / "gpu.json")])
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    assert gpu_check.main() == 0
    assert "no CUDA device can be reached" in capsys.readouterr().out
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    assert gpu_check.main() == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {row["line"] for row in found["parts"].values()} == {"no time was left"}
    assert list(found["parts"]) == [p.name for p in PARTS]


def test_parts_that_time_nothing_run_beside_each_other(tmp_path, monkeypatch, capsys):
    """Each of the first two ends when the other one has begun; the last one begins when both have ended."""
    wait = "import os, time\nopen('{own}', 'w').close()\nwhile not os.path.exists('{other}'): time.sleep(0.01)\n"
    files = {"own": tmp_path / "a", "other": tmp_path / "b"}
    ends = f"open('{tmp_path}/end' + os.environ['NAME'], 'w').close(); print('tests/a::b PASSED')"
    first = part(wait.format(**files) + ends)
    second = part(wait.format(own=files["other"], other=files["own"]) + ends)
    last = part(f"import os; print('tests/a::b PASSED' if {{'end1', 'end2'}} < set(os.listdir('{tmp_path}')) else '')")
    parts = [
        replace(first, name="first", beside=True, variables={"NAME": "1"}),
        replace(second, name="second", beside=True, variables={"NAME": "2"}), replace(last, name="last"),
    ]  # fmt: skip
    monkeypatch.setattr(gpu_check, "PARTS", parts)
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--json", str(tmp_path / "gpu.json")])
    assert gpu_check.main() == 0
    assert list(json.loads((tmp_path / "gpu.json").read_text())["parts"]) == ["first", "second", "last"]


def test_a_rehearsal_needs_no_gpu(tmp_path, monkeypatch):
    passing = part("import os; print('tests/a::b PASSED' if os.environ['TRACEC_GPU_TESTS'] == 'emulator' else '')")
    monkeypatch.setattr(gpu_check, "REHEARSED", (Part("good", 30, passing.command, passing.read),))
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--rehearse", "--json", str(tmp_path / "gpu.json")])
    monkeypatch.setenv("TRACEC_GPU_TESTS", "")
    assert gpu_check.main() == 0
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"]["good"]["passed"] == 1


def test_a_rehearsal_has_all_that_a_device_is_asked_for():
    names = [p.name for p in gpu_check.REHEARSED]
    assert names == ["tests", "families", "kernels", "workloads", "profiles"]
    assert "emulator" in gpu_check.REHEARSED[2].command(tmp := Path("x"), 99)
    assert "emulator" in gpu_check.REHEARSED[3].command(tmp, 99) and "cuda" in PARTS[-1].command(tmp, 99)
