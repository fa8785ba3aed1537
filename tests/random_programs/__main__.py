"""Compare many programs, with a line of progress now and then: ``python -m tests.random_programs 10000``."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from tests.random_programs.check import on_pretended_gpu, operator_by_operator, outcome, script, shrunk
from tests.random_programs.generate import program


def main() -> int:
    """Run the programs of a range of seeds; 1 where one of them differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_programs", description=__doc__)
    parser.add_argument("count", type=int, help="number of programs")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--fast", action="store_true", help="run the operators in NumPy rather than as generated code")
    parser.add_argument("--cuda", action="store_true", help="run them on a pretended GPU, kernels in the emulator")
    parser.add_argument("--folder", type=Path, help="where scripts of programs that differ go; printed otherwise")
    given = parser.parse_args()
    start, differing, replays, others = time.monotonic(), 0, 0, 0
    with operator_by_operator() if given.fast else on_pretended_gpu() if given.cuda else nullcontext():
        for done, seed in enumerate(range(given.first, given.first + given.count), 1):
            found = outcome(program(seed))
            replays, others = replays + found.replays, others + found.others
            if found.difference is not None:
                differing += 1
                _report(seed, found.difference, given.folder)
            if done % 100 == 0 or done == given.count:
                rate = done / (time.monotonic() - start)
                left = (given.count - done) / rate
                line = f"{done} of {given.count} programs, {differing} differ, {replays} calls replayed, {others} not"
                print(f"{line}, {left:.0f} s left", file=sys.stderr, flush=True)
    return differing > 0


def _report(seed: int, difference: str, folder: Path | None) -> None:
    text = script(shrunk(program(seed)))
    if folder is None:
        print(f"# program {seed}: {difference}\n{text}", flush=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"program_{seed}.py").write_text(text)
    print(f"program {seed} differs: {folder / f'program_{seed}.py'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
