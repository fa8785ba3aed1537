"""Plans and compiled templates in the disk cache: what one process has planned, others need not plan again.

The key of a plan is all that it is made from: the text of the recorded graph, the target's settings, and the version of
the compiler, told by its source files. Graphs whose text does not tell all (symbolic sizes, parameters that are Python
objects) are planned in each process. Source lines are stored by their order in the graph, so that a plan stays valid
when the user's lines move.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracec.autotune import Choices
from tracec.ir.body import Body, structure_of
from tracec.ir.conditions import WATCH
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying
from tracec.ir.graph import Graph
from tracec.ir.passes import verifying
from tracec.ir.plan import Plan
from tracec.ir.source import Source
from tracec.plan import Target
from tracec.runtime.cache import default_cache, key
from tracec.version import __version__

#: Seconds below which optimising and planning take no longer than reading would be worth.
LEAST_SECONDS = 0.05
#: Folders of the package that plans are the work of.
_MAKERS = ("ir", "ops", "optimize", "plan")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), DType)


class Found(NamedTuple):
    """A plan as it is kept.

    Attributes:
        plan: The plan.
        donate: Output position → input position whose memory it takes over.
        asked: Matrix products that were asked for, and whether each is one for a library.
    """

    plan: Plan
    donate: Mapping[int, int]
    asked: tuple[tuple[Mapping[str, Any], bool], ...]


class Place(NamedTuple):
    """Where a graph's plan is kept.

    Attributes:
        name: Its name.
        lines: The user's lines, in the order in which the graph names them.
    """

    name: str
    lines: tuple[Source, ...]


def place_of(
    graph: Graph, target: Target, arch: str, donate: Mapping[int, int], disabled: frozenset[str]
) -> Place | None:
    """Where a graph's plan is kept; None where it is not.

    Args:
        graph: What was recorded.
        target: What it is planned for.
        arch: GPU architecture.
        donate: Output position → input position whose memory it takes over.
        disabled: Names of optimisations that are left out.
    """
    if os.environ.get("TRACEC_KEEP_PLANS", "1") == "0" or verifying() or WATCH.named or not _is_plain_graph(graph):
        return None
    settings = {f.name: getattr(target, f.name) for f in fields(target) if f.name != "gemm"}
    lines, marks = _lines(graph)
    text = (structure_of(graph)[0], marks, arch, _text(settings), repr(sorted(donate.items())), repr(sorted(disabled)))
    return Place(key("plan", *_compiler(), *text), lines)


def _lines(graph: Graph) -> tuple[tuple[Source, ...], str]:
    """The user's lines that a graph names, and which node names which, with what made it."""
    lines: dict[Source, int] = {}
    marks: list[str] = []
    waiting = [graph]
    while waiting:
        for node in (one := waiting.pop()).inputs + one.nodes:
            line = -1 if node.source is None else lines.setdefault(node.source, len(lines))
            marks.append(f"{line} {node.origin}")
            waiting += [value.graph for _, value in node.params if isinstance(value, Body)]
    return tuple(lines), "\n".join(marks)


def _text(settings: Mapping[str, Any]) -> str:
    """Settings as a text that is the same in every process: sets have no order of their own."""
    return repr({k: sorted(map(str, v)) if isinstance(v, frozenset) else v for k, v in settings.items()})


def read(place: Place | None, choices: Choices | None) -> Found | None:
    """A plan that is kept; None where there is none.

    Args:
        place: Where it is.
        choices: What was measured on the GPU that it is to run on: a plan by other choices is none.
    """
    data = None if place is None else default_cache().read(place.name, "plan")
    if data is None or place is None:
        return None
    try:
        found = _Unpickler(io.BytesIO(data), place.lines).load()
    except Exception:  # of another Python or NumPy, whatever it raises: it is made anew
        return None
    if not isinstance(found, Found):
        return None
    if choices is not None:
        if any(choices.prefers_library(params) != chosen for params, chosen in found.asked) or choices.unknown:
            return None
    return found


def keep(place: Place | None, found: Found, seconds: float) -> None:
    """Keep a plan, where it took long enough to make."""
    if place is not None and seconds >= LEAST_SECONDS:
        file = io.BytesIO()
        _Pickler(file, place.lines).dump(found)
        _store(file.getvalue(), place.name, "plan")


def read_template(*parts: str) -> bytes | None:
    """A template that is kept."""
    return default_cache().read(key("template", *parts), "template")


def store_template(data: bytes, *parts: str) -> None:
    """Keep a template."""
    _store(data, key("template", *parts), "template")


def _store(data: bytes, name: str, suffix: str) -> None:
    with suppress(OSError):  # a full disk: it is made anew
        default_cache().store(name, suffix, data)


class _Pickler(pickle.Pickler):
    """Writes the user's lines as numbers."""

    def __init__(self, file: io.BytesIO, lines: Sequence[Source]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._numbers = {line: k for k, line in enumerate(lines)}

    def persistent_id(self, obj: Any) -> int | None:
        return self._numbers.get(obj) if type(obj) is Source else None


class _Unpickler(pickle.Unpickler):
    """Takes the values that plans are made of, and nothing that does anything."""

    def __init__(self, file: io.BytesIO, lines: Sequence[Source]) -> None:
        super().__init__(file)
        self._lines = lines

    def persistent_load(self, pid: int) -> Source:
        return self._lines[pid]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _OTHERS or module.startswith("tracec.ir."):
            found = getattr(importlib.import_module(module), name)
            if isinstance(found, type) or (module, name) in _OTHERS:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a plan")


#: What plans are made of besides classes of ``tracec.ir``; the functions give an element type and a body by its text.
_OTHERS = {
    (__name__, "Found"), ("builtins", "frozenset"), ("builtins", "complex"), ("tracec.ir.dtype", "by_name"),
    ("tracec.ir.body", "_parsed"),
}  # fmt: skip


@cache
def _compiler() -> tuple[str, ...]:
    """What tells the compiler's versions apart: its files as they are on the disk."""
    found = [__version__, np.__version__]
    package = Path(__file__).parent
    for file in sorted(f for folder in _MAKERS for f in (package / folder).glob("*.py")):
        stat = file.stat()
        found.append(f"{file.parent.name}/{file.name} {stat.st_size} {stat.st_mtime_ns}")
    return tuple(found)


def _is_plain_graph(graph: Graph) -> bool:
    """Whether a graph's text tells all of it, and its sizes are fixed."""
    if any(is_varying(n.shape) for n in graph.inputs):
        return False
    return all(_is_plain(value) for n in graph.nodes for _, value in n.params)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    if isinstance(value, Body):
        return _is_plain_graph(value.graph)
    return isinstance(value, _PLAIN) and not is_varying(value)
