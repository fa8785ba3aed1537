"""The command line: ``python -m benchmarks``."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine

PEERS = {"cpu": "torch,torch.compile,jax", "cuda": "torch,torch.compile,jax,cupy", "emulator": ""}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time tracec beside its peers.")
    parser.add_argument(
        "--device", choices=["cpu", "cuda", "emulator"], default="cpu", help="emulator: a rehearsal with a few rows"
    )
    parser.add_argument(
        "--peers", help="engines to compare tracec with (default: torch,torch.compile,jax; cupy on cuda)"
    )
    parser.add_argument("--engines", help="all engines of the run, instead of tracec and the peers")
    parser.add_argument("--workloads", help="names, separated by commas (default: all)")
    parser.add_argument("--models", action="store_true", help="train steps of well-known models instead")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--threads", type=int, help="cores for the run and threads for each engine (default: 2; all on cuda)"
    )
    parser.add_argument("--budget", type=float, default=1e9, metavar="SECONDS", help="start no workload after so long")
    parser.add_argument("--no-startup", action="store_true", help="leave out the fresh processes of first calls")
    parser.add_argument("--caches", type=Path, metavar="FOLDER", help="keep compiled code there, for another run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    return parser.parse_args()


def write(file: Path | None, result: dict[str, Any]) -> None:
    """Write what was measured so far, where a file was named."""
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")


def main() -> int:
    """Measure, print tables, and return 1 if tracec failed or was wrong; never by its speed."""
    args = parse_arguments()
    peers = args.peers if args.peers is not None else PEERS[args.device]
    names = (args.engines or f"tracec,{peers}").strip(",").split(",")
    threads = args.threads or (os.cpu_count() or 1 if args.device == "cuda" else 2)
    # Before anything imports numpy: thread pools are sized when they load.
    machine.limit_threads(threads)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as caches:
        machine.use_caches((args.caches or Path(caches)).absolute())
        if args.device == "cuda" and not machine.has_gpu():
            print("no CUDA device can be reached: nothing is measured")
            return 0
        from benchmarks import report
        from benchmarks.measurement import Measurement
        from benchmarks.models import MODELS

        run = Measurement(names, args.device, threads, args.rounds, startup=not args.no_startup)
        run.budget, run.keep = args.budget, lambda result: write(args.json, result)
        every = [model.name for model in MODELS] if args.models else None
        result = run.measure(args.workloads.split(",") if args.workloads else every)
    print(report.markdown(result))
    print(report.summary(result), flush=True)
    return 1 if report.wrong(result) else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Worker pools of several libraries in one process may wait for one another at a regular exit.
    os._exit(status)
