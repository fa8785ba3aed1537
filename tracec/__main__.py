"""``python -m tracec``: pages about what a script compiles, what this machine has, and the disk cache."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tracec import cache
from tracec.inspect.environment import environment
from tracec.inspect.script import report_script

_FOLDER = "tracec-report"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; what it returns is the exit status."""
    parser = argparse.ArgumentParser("python -m tracec", description=__doc__.split(": ", 1)[1] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report", help="run a script, and write a page for each program that it compiles",
        description="Run a script as python does, and write a page for each program that it compiles: lines, kernels "
        "and their times, memory, every stage of the way.",
    )  # fmt: skip
    report.add_argument("--folder", default=_FOLDER, help=f"where pages are written ({_FOLDER})")
    report.add_argument("--no-profile", action="store_true", help="write no times of single steps, which takes no time")
    report.add_argument("script", help="the script")
    report.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own arguments")
    commands.add_parser("env", help="say what this machine has that matters to tracec: for reports of faults")
    kept = commands.add_parser("cache", help="say what the disk cache holds, or clear it")
    kept.add_argument("action", nargs="?", choices=("info", "clear"), default="info")
    chosen = parser.parse_args(arguments)
    if chosen.command == "report":
        return report_script(chosen.script, chosen.arguments, chosen.folder, not chosen.no_profile)
    if chosen.command == "env":
        print(environment())
    else:
        if chosen.action == "clear":
            cache.clear()
        print(cache.info())
    return 0


if __name__ == "__main__":
    sys.exit(main())
