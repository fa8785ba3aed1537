"""Compile all programs and list the kernels that spill, or that no block has the shared memory for:
``python -m tests.resources --arch sm_90``."""

from __future__ import annotations

import argparse
import sys
import time

from tests.resources.programs import DTYPES, LENGTHS, ODD, programs
from tests.resources.survey import ARCHS, LIMITS, survey, without_values


def main() -> int:
    """1 where a kernel spills, or could not be launched."""
    parser = argparse.ArgumentParser(prog="python -m tests.resources", description=__doc__)
    parser.add_argument("--arch", action="append", choices=ARCHS, help="an architecture; all of them without one")
    parser.add_argument("--dtype", action="append", choices=DTYPES)
    parser.add_argument("--length", action="append", type=int, help="elements of a row")
    parser.add_argument("--every", type=int, default=1, help="take one of so many programs")
    parser.add_argument("--first", type=int, default=0, help="which of EVERY: 0 to EVERY - 1 are all programs")
    parser.add_argument("--only", default="", help="what names of programs contain")
    given = parser.parse_args()
    if not 0 <= given.first < given.every:
        parser.error(f"--first {given.first} is not within --every {given.every}: give 0 to {given.every - 1}")
    wanted = programs(tuple(given.length or (*LENGTHS, *ODD)), tuple(given.dtype or DTYPES))
    chosen = [p for n, p in enumerate(p for p in wanted if given.only in p.name) if n % given.every == given.first]
    start, spilled, settled, refused = time.monotonic(), 0, 0, 0
    with without_values():
        for done, found in survey(chosen, given.arch or ARCHS):
            for one in found.spilled:
                print(one, flush=True)
            spilled += len(found.spilled)
            for one in found.refused:
                print(f"{one}: more than the {LIMITS[one.arch]} of a block", flush=True)
            refused += len(found.refused)
            for one in found.settled:
                print(f"{one}; spilled {one.spilled} bytes as it was written first", flush=True)
            settled += len(found.settled)
            line = f"{done} of {len(chosen)} programs, {found.count} kernels, {settled} settled, {spilled} spill"
            line += f", {refused} too large"
            print(f"{line}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return spilled + refused > 0


if __name__ == "__main__":
    sys.exit(main())
