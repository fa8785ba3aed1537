"""Where the time of each train step goes, kernel by kernel: ``python -m benchmarks.profiles --device cuda``."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.train import TRAIN
from benchmarks.workload import Context, Workload

Row = dict[str, Any]

#: Lines of each table that are printed.
SHOWN = 16
#: Rounds in which ways are timed, and calls of each.
ROUNDS, CALLS = 5, 40


def side_by_side(ways: dict[str, Callable[[], Any]], device: str) -> dict[str, float]:
    """Return the microseconds of a call, ways of doing the same alternating: medians of rounds."""
    import tracec

    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, call in ways.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            if device == "cuda":
                tracec.cuda.synchronize()
            rounds[name].append(1e6 * (time.perf_counter() - start) / CALLS)
    return {name: round(statistics.median(found[1:]), 1) for name, found in rounds.items()}


def profiled(workload: Workload, device: str) -> tuple[Row, str]:
    """Return what the steps of a compiled train step take, as figures and as a table.

    Args:
        workload: The train step.
        device: ``cpu`` or ``cuda``.
    """
    import tracec
    import tracec.nn.functional
    import tracec.optim

    inputs = [tracec.from_numpy(x).to(device) for x in workload.inputs()]
    step = tracec.compile(workload.build(Context(tracec, device)))
    step(*inputs)  # the optimiser's state is there from then on
    found = step.lower(*inputs, target=device).profile(rounds=20)
    steps = [
        {"steps": s.steps, "name": s.name, "microseconds": round(1e6 * s.seconds, 2), "moved": s.work.moved,
         "operations": s.work.operations}
        for s in found.steps
    ]  # fmt: skip
    row = {"title": workload.title, "microseconds": round(1e6 * found.seconds, 1), "rounds": found.rounds}
    told = str(found)
    if device == "cuda":
        other = tracec.compile(workload.build(Context(tracec, device)), disable=("serial",))
        ways = {"launches one after another": lambda: step(*inputs), "launches that overlap": lambda: other(*inputs)}
        row["launching"] = side_by_side(ways, device)
        told = "\n".join([", ".join(f"{name}: {number} µs" for name, number in row["launching"].items()), told])
    return row | {"steps": steps}, told


def main() -> None:
    """Profile the train steps until the time is up."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--workloads", help=f"names, separated by commas: {', '.join(w.name for w in TRAIN)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--budget", type=float, default=1e9, metavar="SECONDS", help="begin no other after these")
    args = parser.parse_args()
    wanted = args.workloads.split(",") if args.workloads else [w.name for w in TRAIN]
    end = time.perf_counter() + args.budget
    rows: dict[str, Row] = {}
    for workload in TRAIN:
        if workload.name in wanted and time.perf_counter() < end:
            rows[workload.name], table = profiled(workload.on(args.device), args.device)
            lines = table.splitlines()
            rest = [f"and {len(lines) - SHOWN - 2} more"] if len(lines) > SHOWN + 2 else []
            print("\n".join([*lines[: SHOWN + 2], *rest, ""]), flush=True)
            if args.json:
                args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
