"""Everything that wants a GPU, in one command: ``python -m benchmarks.gpu_check --json FILE``.

The tests marked ``gpu``, the kernel table, the workloads beside their peers, and compute-sanitizer over a program that
runs every family of kernels. Each part is a process of its own with a time limit, so that none can use up the time of
the others; what is known is written after each. What is right is found by parts beside each other, how fast it is by
one after the other. Without a GPU it says so and does nothing; ``--rehearse`` runs the same there, kernels in the
emulator and sizes small, so that the first run on a device is not lost to a mistake of its own.
"""

from __future__ import annotations

import argparse
import glob
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import machine

Row = dict[str, Any]

PYTHON = sys.executable
#: For workers beside each other, which compare with results of the CPU.
FEW_THREADS = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "TRACEC_NUM_THREADS": "2"}


@dataclass(frozen=True)
class Part:
    """One process.

    Attributes:
        name: What ``--only`` takes.
        limit: Seconds that it may take.
        command: Makes the command line from the folder for its files and its limit.
        read: Makes what is kept of it from its folder, its output and its exit status.
        beside: Whether it runs beside those next to it of which that is true, too: it times nothing.
        variables: What it finds in its environment.
    """

    name: str
    limit: float
    command: Callable[[Path, float], list[str] | None]
    read: Callable[[Path, str, int | None], Row]
    beside: bool = False
    variables: dict[str, str] = field(default_factory=dict)


# Tests ------------------------------------------------------------------------------------------------

_MARKED = re.compile(r"mark\.gpu|tests\.gpu\.place")
_KINDS = "PASSED|FAILED|ERROR|SKIPPED"
#: A line of ``pytest -v``: of one of several workers, or of the only one.
_OUTCOME = re.compile(rf"^\[gw\d+\] \[ *\d+%\] ({_KINDS}) (tests/.+?) *$|^(tests/\S.*?) ({_KINDS})\b", re.MULTILINE)
#: Warnings of newer versions of others are shown and do not fail; those of tracec are RuntimeWarnings, and do.
_WARNINGS = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning", "UserWarning", "ImportWarning")


def test_command(folder: Path, limit: float) -> list[str]:
    """Return the command that runs the tests marked gpu, several at a time."""
    # Only files that have such tests: to collect all of them takes each worker longer than to run these.
    marked = [str(p) for p in sorted(Path("tests").rglob("test_*.py")) if _MARKED.search(p.read_text())]
    command = [PYTHON, "-m", "pytest", "-m", "gpu", *marked, "-v", "--tb=short", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("xdist"):
        command += ["-n", str(max(1, min(8, (os.cpu_count() or 2) // 2)))]
    if importlib.util.find_spec("pytest_timeout"):
        command += ["--timeout", "60"]
    for warning in _WARNINGS:
        command += ["-W", f"default::{warning}"]
    return command


def read_tests(folder: Path, output: str, status: int | None) -> Row:
    """Return how many passed, which failed, and their last lines; also of a run that was cut off."""
    outcomes: dict[str, str] = {}
    for outcome, name, single, its in _OUTCOME.findall(output):
        outcomes[name or single] = (outcome or its).lower()
    counts = {kind: sum(o == kind for o in outcomes.values()) for kind in ("passed", "failed", "error", "skipped")}
    failed = sorted(name for name, outcome in outcomes.items() if outcome in ("failed", "error"))
    reasons = re.findall(r"^(?:FAILED|ERROR) (tests/.+?)(?: - (.*))?$", output, re.MULTILINE)
    row: Row = {**counts, "failures": dict.fromkeys(failed, "") | dict(reasons)}
    row["line"] = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing ran"
    row["ok"] = status == 0 and counts["passed"] > 0  # pytest is content with tests that are all skipped
    return row


# Tables -----------------------------------------------------------------------------------------------


def kernel_command(folder: Path, limit: float, device: str = "cuda") -> list[str]:
    """Return the command of the kernel table, which stops by itself a little before its limit."""
    budget = str(max(10.0, limit - 25))
    file = str(folder / "kernels.json")
    command = [PYTHON, "-m", "benchmarks.kernels", "--quick", "--device", device]
    return [*command, "--json", file, "--budget", budget]


def read_kernels(folder: Path, output: str, status: int | None) -> Row:
    """Return the figures of the kernel table."""
    found = read_json(folder / "kernels.json")
    rows = [*found.get("memory", []), *found.get("products", []), *found.get("launches", [])]
    failed = sum("failed" in row for row in rows)
    shares = sorted(row["of_copy"] for row in found.get("memory", []) if "of_copy" in row)
    middle = f", median {shares[len(shares) // 2]:.0%} of a copy" if shares else ""
    line = f"{len(rows)} kernels, {failed} failed{middle}"
    return {"ok": status == 0 and not failed and bool(rows), "line": line, "kernels_run": found}


def workload_command(folder: Path, limit: float, device: str = "cuda") -> list[str]:
    """Return the command of the workloads, train steps first, which stops by itself before its limit."""
    from benchmarks.workloads import WORKLOADS

    budget = str(max(10.0, limit - 40))
    rounds = "5" if device == "cuda" else "1"
    command = [PYTHON, "-m", "benchmarks", "--device", device, "--no-startup", "--rounds", rounds]
    command += ["--workloads", ",".join(w.name for w in sorted(WORKLOADS, key=lambda w: w.kind == "forward"))]
    command += ["--budget", budget, "--caches", str(folder / "caches")]
    return [*command, "--json", str(folder / "workloads.json")]


def peer_command(folder: Path, limit: float) -> list[str]:
    """Return the command that has torch.compile compile the train steps, which takes it most of a run's time."""
    from benchmarks.train import TRAIN

    command = [PYTHON, "-m", "benchmarks", "--device", "cuda", "--no-startup", "--rounds", "1"]
    command += ["--engines", "torch.compile", "--workloads", ",".join(w.name for w in TRAIN)]
    return [*command, "--caches", str(folder / "caches")]


def read_peer(folder: Path, output: str, status: int | None) -> Row:
    """Return whether it ended; what it measured beside other parts is not kept."""
    if status == 0:
        return {"ok": True, "line": "torch.compile has compiled the train steps"}
    return {"ok": None, "line": "torch.compile compiles the train steps when they are timed"}


def read_workloads(folder: Path, output: str, status: int | None) -> Row:
    """Return the figures of the workloads."""
    from benchmarks import report

    found = read_json(folder / "workloads.json")
    if not found:
        return {"ok": False, "line": "no result"}
    wrong = report.wrong(found)
    line = (
        f"{len(found['workloads'])} workloads, wrong or failed: {', '.join(wrong) or 'none'}; {report.summary(found)}"
    )
    return {"ok": status == 0 and not wrong, "line": line, "workloads_run": found}


def profile_command(folder: Path, limit: float, device: str = "cuda") -> list[str]:
    """Return the command that times every kernel of the train steps."""
    command = [PYTHON, "-m", "benchmarks.profiles", "--device", device, "--json", str(folder / "profiles.json")]
    return [*command, "--budget", str(max(5.0, limit - 30))]


def read_profiles(folder: Path, output: str, status: int | None) -> Row:
    """Return what each kernel of the train steps takes."""
    found = read_json(folder / "profiles.json")
    line = ", ".join(f"{name}: {len(row['steps'])} steps" for name, row in found.items()) or "no result"
    return {"ok": status == 0 and bool(found), "line": line, "profiles": found}


def read_json(file: Path) -> Row:
    """Return what a part wrote, or nothing where it wrote nothing that can be read."""
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError):
        return {}


# Sanitizer --------------------------------------------------------------------------------------------


def sanitizer() -> str | None:
    """Return the path of compute-sanitizer, where there is one."""
    found = [shutil.which("compute-sanitizer")]
    for place in ("/usr/local/cuda*/bin", "/usr/local/cuda*/compute-sanitizer", "/opt/nvidia/**"):
        found += sorted(glob.glob(f"{place}/compute-sanitizer", recursive=True), reverse=True)
    return next((path for path in found if path and os.path.isfile(path) and os.access(path, os.X_OK)), None)


def sanitizer_command(tool: str) -> Callable[[Path, float], list[str] | None]:
    """Return what makes the command of one of its tools."""

    def command(folder: Path, limit: float) -> list[str] | None:
        path = sanitizer()
        if path is None:
            return None
        options = ["--tool", tool, "--error-exitcode", "9", "--print-limit", "20"]
        return [path, *options, PYTHON, "-m", "benchmarks.kernels.families"]

    return command


def read_sanitizer(folder: Path, output: str, status: int | None) -> Row:
    """Return what compute-sanitizer found."""
    summary = re.findall(r"={9} ((?:ERROR|RACECHECK) SUMMARY: .*)", output)
    ran = re.findall(r"^(\d+ families ran.*)$", output, re.MULTILINE)
    line = "; ".join([*summary[-1:], *ran[-1:]]) or (output.strip().splitlines() or ["no output"])[-1][:120]
    found = [text for text in output.splitlines() if text.startswith("=========")][:80]
    return {"ok": status == 0 and bool(ran), "line": line, "findings": found if status else []}


def family_command(folder: Path, limit: float) -> list[str]:
    """Return the command that runs every family in the emulator."""
    return [PYTHON, "-m", "benchmarks.kernels.families", "--rehearse"]


#: Which of its kernels are the fastest torch.compile finds out later, when it has the device for itself.
_CHOOSES_LATER = {"TORCHINDUCTOR_AUTOTUNE_LOCAL_CACHE": "0"}

PARTS = (  # what is right before what is fast
    Part("tests", 140, test_command, read_tests, beside=True, variables=FEW_THREADS),
    Part("memcheck", 120, sanitizer_command("memcheck"), read_sanitizer, beside=True),
    Part("racecheck", 120, sanitizer_command("racecheck"), read_sanitizer, beside=True),
    Part("peers", 140, peer_command, read_peer, beside=True, variables=_CHOOSES_LATER),
    Part("kernels", 110, kernel_command, read_kernels),
    Part("workloads", 240, workload_command, read_workloads),
    Part("profiles", 70, profile_command, read_profiles),
)

#: The same without a GPU; the emulator checks every access itself.
REHEARSED = (
    Part("tests", 1800, test_command, read_tests, variables=FEW_THREADS),
    Part("families", 300, family_command, read_sanitizer),
    Part("kernels", 900, partial(kernel_command, device="emulator"), read_kernels),
    Part("workloads", 900, partial(workload_command, device="emulator"), read_workloads),
    Part("profiles", 300, partial(profile_command, device="cpu"), read_profiles),
)


# Running ----------------------------------------------------------------------------------------------


def run_together(parts: Sequence[Part], folder: Path, end: float) -> dict[str, Row]:
    """Run parts until a time at the latest, beside each other where they may be, and return what is kept of each."""

    def one(part: Part) -> Row:
        left = end - time.perf_counter()
        row = run(part, folder, min(part.limit, left)) if left > 15 else {"ok": None, "line": "no time was left"}
        print(table({part.name: row}), flush=True)
        return row

    with ThreadPoolExecutor(len(parts) if parts[0].beside else 1) as pool:
        return dict(zip((p.name for p in parts), pool.map(one, parts), strict=True))


def run(part: Part, folder: Path, limit: float) -> Row:
    """Run one part, tell how it goes on, and return what is kept of it."""
    command = part.command(folder, limit)
    if command is None:
        return {"ok": None, "line": "compute-sanitizer is not installed"}
    log, start = folder / f"{part.name}.log", time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {"TRACEC_CACHE_DIR": str(folder / f"cache-{part.name}")} | part.variables,
        )  # fmt: skip
        status = watched(process, part.name, log, limit)
    seconds = time.perf_counter() - start
    # The file is kept: where this machine has things is nobody's business.
    output = log.read_text(errors="replace")
    places = {os.getcwd(): ".", sys.prefix: "python"}
    for place in sorted(places, key=len, reverse=True):  # an environment often lies in the folder
        output = output.replace(place, places[place])
    row = part.read(folder, output, status)
    if status is None:
        row |= {"ok": False, "line": f"cut off after {limit:.0f} s; {row['line']}"}
    if not row["ok"]:
        row["tail"] = output[-3000:]
    return row | {"seconds": round(seconds, 1), "status": status}


def watched(process: subprocess.Popen[bytes], name: str, log: Path, limit: float) -> int | None:
    """Wait for a process and its children; end them after the limit and return None."""
    start = told = time.perf_counter()
    while True:
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            now = time.perf_counter()
        if now - told > 10:
            told = now
            lines = log.read_text(errors="replace").strip().splitlines() or [""]
            print(f"{name}: {now - start:.0f} s: {lines[-1][:150]}", flush=True)
        if now - start > limit:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


def table(parts: dict[str, Row]) -> str:
    """Return a line for each part."""
    marks = {True: "ok", False: "FAILED", None: "skipped"}
    return "\n".join(
        f"{name:<10} {marks[row['ok']]:<8} {row.get('seconds', 0):>6.1f} s  {row['line']}"
        for name, row in parts.items()
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found; logs go to a folder beside it")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="for all parts together (default: 470)")
    parser.add_argument("--only", help=f"parts, separated by commas: {', '.join(p.name for p in PARTS)}")
    parser.add_argument("--rehearse", action="store_true", help="with no GPU: kernels in the emulator, small sizes")
    return parser.parse_args()


def main() -> int:
    """Run the parts and return 1 if one of them failed."""
    args = parse_arguments()
    parts_of = REHEARSED if args.rehearse else PARTS
    wanted = args.only.split(",") if args.only else [p.name for p in parts_of]
    unknown = set(wanted) - {p.name for p in parts_of}
    if unknown:
        raise SystemExit(f"no part {', '.join(unknown)}; there are: {', '.join(p.name for p in parts_of)}")
    budget = args.budget or (3600 if args.rehearse else 470)
    if args.rehearse:
        os.environ["TRACEC_GPU_TESTS"] = "emulator"
    elif not machine.has_gpu():
        print("no CUDA device can be reached: nothing is checked")
        return 0
    file = args.json or Path("rehearsal.json" if args.rehearse else "gpu.json")
    folder = file.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    result: Row = {"date": time.strftime("%Y-%m-%d"), "driver": machine.driver(), "versions": machine.versions()}
    parts: dict[str, Row] = {}
    end = time.perf_counter() + budget
    for _, those in groupby((p for p in parts_of if p.name in wanted), lambda p: p.beside):
        for name, row in run_together(list(those), folder, end).items():
            result |= {key: row.pop(key) for key in ("kernels_run", "workloads_run", "profiles") if key in row}
            parts[name] = row
        file.write_text(json.dumps(result | {"parts": parts}, indent=1) + "\n")
    print(f"\n{summary(result)}\n{table(parts)}", flush=True)
    return 1 if any(row["ok"] is False for row in parts.values()) else 0


def summary(result: Row) -> str:
    """Return the tables of the parts that have some."""
    from benchmarks import report
    from benchmarks.kernels.table import text

    found = []
    if result.get("kernels_run"):
        found.append(text(result["kernels_run"]))
    if result.get("workloads_run"):
        found.append(report.time_table(result["workloads_run"]))
    return "\n\n".join(found)


if __name__ == "__main__":
    sys.exit(main())
