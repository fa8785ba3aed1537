"""Where the time of each train step goes, kernel by kernel: ``python -m benchmarks.profiles --device cuda``."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.train import TRAIN
from benchmarks.workload import Context, Workload

Row = dict[str, Any]

#: Lines of each table that are printed.
SHOWN = 16


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
    return row | {"steps": steps}, str(found)


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
