"""A page for each program that a script compiles."""

from __future__ import annotations

import os
import re
import runpy
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracec.codegen.render import render_template
from tracec.errors import TracecError
from tracec.inspect.profile import Profile, profile
from tracec.inspect.report import report
from tracec.inspect.watched import Watched, watching
from tracec.progress import progress

#: Rounds, and seconds, that each program is timed for.
_ROUNDS, _MOST = 20, 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A program in the list of all: where its page is, and what is told of it."""

    page: str
    name: str
    inputs: str
    calls: int
    seconds: float
    steps: int


def report_script(script: str, arguments: Sequence[str], folder: str, timed: bool) -> int:
    """Run a script as ``python script`` does, then write pages about what it compiled.

    Args:
        script: The script's path.
        arguments: Its own arguments.
        folder: Where pages are written, ``index.html`` and one for each program.
        timed: Whether the steps of each program that was called are timed.

    Returns:
        The script's exit status; 2 where it is not there, or pages cannot be written.
    """
    if not os.path.isfile(script):
        print(f"tracec report: there is no script {script}", file=sys.stderr)
        return 2
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"tracec report: cannot write to {folder}: {error.strerror or error}", file=sys.stderr)
        return 2
    with watching() as programs:
        status = _run(script, arguments)
    if not programs:
        print("tracec: nothing was compiled", file=sys.stderr)
        return status
    entries = []
    for number, program in enumerate(programs):
        with progress(f"page {number + 1} of {len(programs)}"):
            entries.append(_page(place, number, program, timed))
    index = place / "index.html"
    index.write_text(render_template("report/index.j2", script=script, entries=entries), encoding="utf-8")
    print(f"tracec: {len(entries)} programs in {index}", file=sys.stderr)
    return status


def _run(script: str, arguments: Sequence[str]) -> int:
    """The exit status of a script; what it raises is shown as Python shows it."""
    argv, path = sys.argv, sys.path[:]
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except KeyboardInterrupt:
        print("tracec: interrupted; pages tell of what was compiled until then", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.argv, sys.path[:] = argv, path
    return 0


def _page(place: Path, number: int, program: Watched, timed: bool) -> Entry:
    built = program.built
    measured = _profile(program) if timed and program.arrays else None
    clean = re.sub(r"\W+", "_", built.graph.name).strip("_") or "program"
    page = place / f"{number:02d}-{clean}.html"
    page.write_text(report(built, built.arch, measured), encoding="utf-8")
    inputs = ", ".join(str(n.type) for n in built.graph.inputs[:4]) + (", …" if len(built.graph.inputs) > 4 else "")
    return Entry(page.name, built.graph.name, inputs, program.calls, program.seconds, len(built.plan.steps))


def _profile(program: Watched) -> Profile | None:
    """The times of a program's steps; None where it does not run as steps."""
    try:
        return profile(program.built, program.arrays, _ROUNDS, _MOST)
    except TracecError as error:
        print(f"tracec: {program.built.graph.name} was not timed: {error}", file=sys.stderr)
        return None
