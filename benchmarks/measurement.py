"""One run: every workload on every engine, checked, then timed in alternating rounds."""

import gc
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.engines import COMPILED, ENGINES, Engine, PyTorchStyle, reference, relative_error
from benchmarks.startup import SET_UP, start_up
from benchmarks.timing import Candidate, run_rounds
from benchmarks.workload import Workload
from benchmarks.workloads import WORKLOADS, by_name

# Steps of a train workload whose losses are compared with float64.
CHECKED_STEPS = 3

Row = dict[str, Any]


class Measurement:
    """The engines of a run and what is measured with them."""

    def __init__(self, names: list[str], device: str, threads: int, rounds: int, startup: bool) -> None:
        unknown = [name for name in names if name not in ENGINES]
        if unknown:
            raise SystemExit(f"no engine {', '.join(unknown)}; there are: {', '.join(ENGINES)}")
        self.device, self.threads, self.rounds, self.startup = device, threads, rounds, startup
        #: Seconds after which no further workload is started, and what to do with the result after each of them.
        self.budget: float = float("inf")
        self.keep: Callable[[dict[str, Any]], None] = lambda result: None
        self.engines = [engine for name in names if (engine := self.started(name))]

    def started(self, name: str) -> Engine | None:
        """Return the engine, imported; a peer that is not installed is left out with a note."""
        engine = ENGINES[name](self.device)
        try:
            engine.start()
        except Exception as error:  # a jax without CUDA says so in several ways, by an assertion among them
            if name.startswith("tracec"):
                raise
            print(f"{name} is left out: {type(error).__name__}: {error}", file=sys.stderr)
            return None
        return engine

    def measure(self, names: list[str] | None) -> dict[str, Any]:
        """Return everything that the run finds, ready for JSON."""
        chosen = [w.on(self.device) for w in (map(by_name, names) if names else WORKLOADS)]
        about = machine.describe(self.threads, self.device)
        result: dict[str, Any] = {"machine": about, "rounds": self.rounds, "set_up": self.set_up(), "workloads": {}}
        start = time.perf_counter()
        for workload in chosen:
            if time.perf_counter() - start > self.budget:
                result.setdefault("left_out", []).append(workload.name)
                continue
            print(f"{workload.name} ...", end=" ", file=sys.stderr, flush=True)
            result["workloads"][workload.name] = row = self.row(workload, about["copy_gb_per_s"])
            medians = (f"{name} {e['median_ms']:.3f}" for name, e in row["engines"].items() if "median_ms" in e)
            print(", ".join(medians), "ms", file=sys.stderr, flush=True)
            self.keep(result)
        self.keep(result)
        return result

    def set_up(self) -> dict[str, dict[str, float]]:
        """Return each compiled engine's one-time costs, and pay them before anything else is timed."""
        if not self.startup:
            return {}
        return {e.name: start_up(e.name, SET_UP.name, self.device) for e in self.engines if e.name in COMPILED}

    def row(self, workload: Workload, copy_gb_per_s: float) -> Row:
        """Return one workload's measurements, or that it failed, so that the others are measured all the same."""
        try:
            return self.workload(workload, copy_gb_per_s)
        except Exception as error:
            traceback.print_exc()
            failed = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
            gc.collect()
            return {"title": workload.title, "kind": workload.kind, "engines": {e.name: failed for e in self.engines}}

    def workload(self, workload: Workload, copy_gb_per_s: float) -> Row:
        """Return one workload's measurements on all engines, of inputs that are made once."""
        given = workload.inputs()
        workload = replace(workload, inputs=lambda: given)
        engines = [engine for engine in self.engines if engine.supports(workload)]
        rows: dict[str, Row] = {engine.name: {} for engine in engines}
        if self.startup:
            # Before this process compiles: the caches know nothing of the workload yet.
            for engine in engines:
                if engine.name in COMPILED:
                    rows[engine.name] |= start_up(engine.name, workload.name, self.device)
        steps = 1 if workload.kind == "forward" else CHECKED_STEPS
        want = reference(workload, steps, self.device)
        candidates = [c for engine in engines if (c := self.checked(engine, workload, want, rows[engine.name]))]
        run_rounds(candidates, self.rounds)
        for candidate in candidates:
            milliseconds = [seconds * 1e3 for seconds in candidate.seconds]
            rows[candidate.engine.name] |= {"median_ms": statistics.median(milliseconds), "rounds_ms": milliseconds}
        row: Row = {"title": workload.title, "kind": workload.kind, "engines": rows}
        if workload.kind == "forward":
            row["floor_ms"] = least_bytes(workload, want) / copy_gb_per_s / 1e6
        del candidates, want
        gc.collect()
        return row

    def checked(self, engine: Engine, workload: Workload, want: list[list[np.ndarray]], row: Row) -> Candidate | None:
        """Load a workload, compare its first results with the reference and note the error or the failure."""
        try:
            call = engine.load(workload)
            start = time.perf_counter()
            first = call()
            engine.wait(first)
            row["here_s"] = time.perf_counter() - start
            if isinstance(engine, PyTorchStyle) and (stages := engine.stages()):
                row["here_stages_s"] = stages
            got = [engine.arrays(first), *(engine.arrays(call()) for _ in want[1:])]
            row["error"] = relative_error(got, want)
            row["correct"] = row["error"] <= workload.tolerance
        except Exception as error:
            row["failed"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            print(f"\n{engine.name} failed on {workload.name}:", file=sys.stderr)
            traceback.print_exc()
            return None
        return Candidate(engine, call, queued=self.device == "cuda")


def least_bytes(workload: Workload, want: list[list[np.ndarray]]) -> int:
    """Return the bytes that must move: each input read once, each output (float32) written once."""
    outputs = sum(out.size * 4 for outs in want for out in outs)
    return sum(x.nbytes for x in workload.inputs()) + outputs
