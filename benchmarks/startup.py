"""How long a program waits for its first result, measured in processes of their own.

The first process of a workload finds nothing of it in the engine's cache folder, the second one what the first
left there. One-time set-up of an engine (a precompiled header, a helper library) is paid by a set-up process
before them, and reported apart.

``python -m benchmarks.startup ENGINE WORKLOAD`` is that process: it prints one line of JSON.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.workload import Context, Function, Workload, normal
from benchmarks.workloads import by_name

TIME_LIMIT_S = 600


def set_up_array(xp: Any, erf: Function) -> Function:
    return lambda x: x + 1


def set_up_torch_style(ctx: Context) -> Function:
    return lambda x: x + 1


SET_UP = Workload("setup", "x + 1, 64 floats", "forward", lambda: normal((64,)), set_up_torch_style, set_up_array)


def first_result(engine: str, workload: str, device: str) -> dict[str, Any]:
    """Run a fresh process and return what it says, or ``{"failed": reason}``.

    Cores, thread counts and cache folders are inherited from this process.
    """
    command = [sys.executable, "-m", "benchmarks.startup", engine, workload, "--device", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"failed": f"no result after {TIME_LIMIT_S} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def start_up(engine: str, workload: str, device: str) -> dict[str, float]:
    """Return the seconds of the first call with an empty and with a filled cache, and of the import."""
    empty = first_result(engine, workload, device)
    filled = first_result(engine, workload, device) if "failed" not in empty else empty
    if "failed" in filled:
        print(f"{engine}: start of {workload}: {filled['failed']}", file=sys.stderr)
        return {}
    return {
        "first_call_s": empty["first_call_s"],
        "cached_call_s": filled["first_call_s"],
        "import_s": filled["import_s"],
    }


def main() -> None:
    """Time the import of an engine and its first call of a workload."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=list(ENGINES))
    parser.add_argument("workload")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    engine = ENGINES[args.engine](args.device)
    start = time.perf_counter()
    engine.start()
    imported = time.perf_counter()
    call = engine.load(SET_UP if args.workload == SET_UP.name else by_name(args.workload).on(args.device))
    loaded = time.perf_counter()
    engine.wait(call())
    print(json.dumps({"import_s": imported - start, "first_call_s": time.perf_counter() - loaded}))


if __name__ == "__main__":
    main()
