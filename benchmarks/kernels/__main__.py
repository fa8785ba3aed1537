"""The command line: ``python -m benchmarks.kernels``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels",
        description="Time generated kernels against a copy of the same traffic, and matrix products against cuBLAS.",
    )
    parser.add_argument("--device", choices=["cuda", "cpu", "emulator"], default="cuda",
                        help="cpu: a rehearsal, with generated C; emulator: with CUDA, at small sizes")  # fmt: skip
    parser.add_argument("--bytes", type=int, metavar="N", help="size of most cases; less than 4 MB is a rehearsal")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    parser.add_argument("--only", help="families, separated by commas: map, row, …, gemm, launch")
    parser.add_argument("--peers", default="", help="time these too: torch, torch.compile")
    parser.add_argument("--budget", type=float, default=1e9, metavar="SECONDS", help="start nothing after so long")
    return parser.parse_args()


class Run:
    """What a run has found so far, written to the file after every part."""

    def __init__(self, args: argparse.Namespace, device: Any) -> None:
        self.args, self.start = args, time.perf_counter()
        self.peers = [name for name in args.peers.split(",") if name]
        self.only = set(args.only.split(",")) if args.only else None
        self.result: dict[str, Any] = {
            "date": time.strftime("%Y-%m-%d"), "device": device.about(), "versions": machine.versions(),
            "quick": args.quick, "peers": self.peers, "memory": [], "products": [], "launches": [], "left_out": [],
            "copies": {},
        }  # fmt: skip

    def wants(self, family: str) -> bool:
        """Whether the family was asked for."""
        return self.only is None or family in self.only

    def spent(self) -> bool:
        """Whether the time is over."""
        return time.perf_counter() - self.start > self.args.budget

    def part(self, name: str, measure: Callable[[], list[Any]], key: str) -> None:
        """Measure a part unless it is not wanted or too late, and write what there is; one that fails is a row."""
        if not self.wants(name):
            return
        if self.spent():
            self.result["left_out"].append(name)
            return
        try:
            self.result[key] += measure()
        except Exception as error:  # the others are measured all the same
            failed = f"{type(error).__name__}: {str(error)[:300]}"
            self.result[key].append({"family": name, "name": name, "title": name, "failed": failed})
        self.write()

    def write(self) -> None:
        """Write the file."""
        self.result["seconds"] = time.perf_counter() - self.start
        if self.args.json:
            self.args.json.parent.mkdir(parents=True, exist_ok=True)
            self.args.json.write_text(json.dumps(self.result, indent=1) + "\n")


def measure_all(run: Run, device: Any) -> None:
    """Every part that the command line asks for."""
    from benchmarks.kernels.cases import EMULATED, MIDDLE, REHEARSED, cases, noise
    from benchmarks.kernels.gemm import measure_products
    from benchmarks.kernels.launch import measure_launches
    from benchmarks.kernels.measure import Measure
    from benchmarks.kernels.table import compare_with_copies

    measure = Measure(device, device.xp.asarray(noise()), run.peers)
    usual = {"cuda": MIDDLE, "cpu": REHEARSED, "emulator": EMULATED}
    run.part("launch", lambda: measure_launches(measure), "launches")
    for case in cases(run.args.quick, run.args.bytes or usual[device.kind]):
        run.part(case.family, lambda case=case: [measured(measure, case)], "memory")  # type: ignore[misc]
    rehearsal = {"dtypes": ("float32",), "largest": 3e9}
    products = {"cuda": {}, "cpu": rehearsal, "emulator": {"shrink": 16, "largest": 5e7}}[device.kind]
    run.part("gemm", lambda: measure_products(measure, run.args.quick, **products), "products")
    run.result["copies"] = {str(n): n / t.seconds / 1e9 for n, t in measure._copies.items()}
    compare_with_copies(run.result)


def measured(measure: Any, case: Any) -> dict[str, Any]:
    """A case's row, told while the run goes on."""
    row: dict[str, Any] = measure.case(case)
    figure = row.get("failed") or f"{row['gb_per_s']:.0f} GB/s, {row['of_copy']:.0%} of a copy"
    if "traffic" in row:
        figure = f"moves {row['traffic']:.2f} times the bytes that have to move"
    print(f"{case.family}: {case.title}: {figure}", file=sys.stderr, flush=True)
    return row


def main() -> int:
    """Measure and print tables; without a GPU say so."""
    args = parse_arguments()
    from benchmarks.kernels import devices
    from benchmarks.kernels.table import text

    with tempfile.TemporaryDirectory(prefix="benchmarks-") as caches:
        os.environ.setdefault("TRACEC_CACHE_DIR", caches)
        device = devices.find(args.device)
        if device is None:
            print("no CUDA device can be reached: nothing is measured (--device cpu rehearses)")
            return 0
        run = Run(args, device)
        try:
            measure_all(run, device)
        finally:
            run.write()
        print(text(run.result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
