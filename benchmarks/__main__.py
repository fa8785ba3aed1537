"""The command line: ``python -m benchmarks``."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import machine


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time tracec beside its peers.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--peers", default="torch,torch.compile,jax", help="engines to compare tracec with")
    parser.add_argument("--engines", help="all engines of the run, instead of tracec and the peers")
    parser.add_argument("--workloads", help="names, separated by commas (default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="cores for the run and threads for each engine")
    parser.add_argument("--no-startup", action="store_true", help="leave out the fresh processes of first calls")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    return parser.parse_args()


def main() -> int:
    """Measure, print tables, and return 1 if tracec failed or was wrong; never by its speed."""
    args = parse_arguments()
    names = (args.engines or f"tracec,{args.peers}").strip(",").split(",")
    # Before anything imports numpy: thread pools are sized when they load.
    machine.limit_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as caches:
        machine.use_caches(Path(caches))
        from benchmarks import report
        from benchmarks.measurement import Measurement

        run = Measurement(names, args.device, args.threads, args.rounds, startup=not args.no_startup)
        result = run.measure(args.workloads.split(",") if args.workloads else None)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.markdown(result))
    print(report.summary(result), flush=True)
    return 1 if report.wrong(result) else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Worker pools of several libraries in one process may wait for one another at a regular exit.
    os._exit(status)
