"""What a call of a compiled function takes besides its kernels, on the CPU.

``python -m benchmarks.overhead`` prints the time of a tiny function's call, of the guards of a model of 100 layers,
and for each train step the share of its time that is spent outside of generated code. Times are of this thread on the
processor, the least of many rounds, so that a busy machine changes little. Behind it stand medians of alternating calls
of the step that is replayed, of one that no program can stand in for since it reads the clock, and of the eager one.
"""

import argparse
import gc
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.workload import Context
from benchmarks.workloads import by_name


def least(call: Callable[[], Any], calls: int, rounds: int, clock: Callable[[], float] = time.thread_time) -> float:
    """Return the seconds of a call, in the quickest of some rounds."""
    call()
    found = []
    for _ in range(rounds):
        start = clock()
        for _ in range(calls):
            call()
        found.append((clock() - start) / calls)
    return min(found)


def guards(layers: int) -> tuple[int, float]:
    """Return the number of guarded places of a model, and the seconds to check them."""
    import tracec

    nn = tracec.nn
    model = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(layers)])
    compiled = tracec.compile(model)
    x = tracec.ones(2, 4)
    compiled(x), compiled(x)
    around = next(iter(compiled._known.values()))[0].surroundings
    return len(around.guards), least(around.fails, 200, 20)


def _set(values: Iterable[tuple[Any, str, Any]]) -> None:
    for holder, name, value in values:
        setattr(holder, name, value)


def outside(call: Callable[[], Any], calls: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of a step, and those of them that are not spent in generated code."""
    from tracec.runtime.executable import Executable
    from tracec.specialisations.replay import Replay

    inside = [0.0]

    def timed(invoke: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> None:
            start = time.perf_counter()
            invoke(*args)
            inside[0] += time.perf_counter() - start

        return run

    for _ in range(20):  # programs settle on a number of threads
        call()
    known = gc.get_objects()
    executables = [e for e in known if type(e) is Executable]  # others may answer isinstance
    changed: list[tuple[Any, str, Any]] = [(e, "_invoke", timed(e._invoke)) for e in executables]
    changed += [(e, "_outputs", None) for e in executables]  # which makes the outputs in the same crossing
    changed += [(r, "_quick", None) for r in known if type(r) is Replay]
    before = [(holder, name, getattr(holder, name)) for holder, name, _ in changed]
    found = []
    try:
        _set(changed)
        for _ in range(rounds):
            inside[0], start = 0.0, time.perf_counter()
            for _ in range(calls):
                call()
            total = time.perf_counter() - start
            found.append((total / calls, (total - inside[0]) / calls))
    finally:
        _set(before)
    return min(found, key=lambda pair: pair[1])


def three_ways(name: str, rounds: int) -> tuple[float, float, float]:
    """Return the seconds of a step that is replayed, of one recorded again at each call, and of an eager one."""
    import tracec

    workload = by_name(name)
    inputs = [tracec.tensor(x) for x in workload.inputs()]
    eager, replayed, clocked = (workload.build(Context(tracec, "cpu")) for _ in range(3))

    def reads_the_clock(*inputs: Any) -> Any:
        time.time()
        return clocked(*inputs)

    calls = (tracec.compile(replayed), tracec.compile(reads_the_clock), eager)
    found: tuple[list[float], ...] = ([], [], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that the clock is read
        for k in range(rounds + 6):
            for call, seconds in zip(calls, found, strict=True):
                start = time.perf_counter()
                call(*inputs)
                if k >= 6:
                    seconds.append(time.perf_counter() - start)
    replay, again, plain = map(statistics.median, found)
    return replay, again, plain


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", default="gpt", help="train steps, with commas between")
    args = parser.parse_args()
    engine = ENGINES["tracec"]("cpu")
    engine.start()
    tiny = engine.load(by_name("tiny"))
    print(f"a tiny function: {1e6 * least(tiny, 1000, 4 * args.rounds):.1f} us a call")
    count, seconds = guards(100)
    print(f"guards of 100 layers: {1e6 * seconds:.1f} us for {count} containers")
    for name in args.steps.split(","):
        seconds, rest = outside(engine.load(by_name(name)), 5, args.rounds)
        print(f"{name}: {1e3 * seconds:.2f} ms a step, {100 * rest / seconds:.2f} % outside of kernels")
        replay, again, eager = (1e3 * s for s in three_ways(name, 2 * args.rounds))
        print(f"{name}: replayed {replay:.1f} ms, recorded again at each call {again:.1f} ms, eager {eager:.1f} ms")


if __name__ == "__main__":
    main()
