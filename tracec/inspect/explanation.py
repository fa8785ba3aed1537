"""What ``f.explain()`` gives: the specialisations of a compiled function, and why each was recorded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracec.inspect.arguments import Part
from tracec.inspect.places import where_read
from tracec.specialisations.environment import Environment
from tracec.specialisations.guards import Change, Contents

#: Roots of what is read that are listed; the rest are counted.
_LISTED = 12
#: Changes that are told; the rest are counted.
_TOLD = 4
#: Seconds of a stage that are told.
_LEAST_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """A call that was recorded.

    Attributes:
        number: Which one, from 1.
        arguments: What it was given, and the modes that are not the usual ones.
        reason: ``first call``, ``other arguments``, ``recorded again`` (something that is read changed), or ``recorded
            once more`` (the recording before was of a call that sets things up).
        changes: What was otherwise than the specialisations that there were ask.
        seconds: How long the call took, what was built of the record included.
        stages: Stage → how long it took of that: ``running`` the function, and the stages of the compiler.
    """

    number: int
    arguments: tuple[Part, ...]
    reason: str
    changes: tuple[Change, ...]
    seconds: float
    stages: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        changes = f": {in_words(self.changes)}" if self.changes else ""
        told = [f"{name} {seconds:.2f}" for name, seconds in self.stages.items() if seconds >= _LEAST_SECONDS]
        of = f": {', '.join(told)}" if told else ""
        return f"recording {self.number} ({self.seconds:.2f} s{of}): {self.reason}{changes}"


@dataclass(frozen=True, slots=True)
class SpecialisationReport:
    """A program that stands in for the function, or a note that it runs eagerly.

    Attributes:
        arguments: What it is for: arguments, and the modes that are not the usual ones.
        guards: Names of what has to be as it was.
        hits: Calls that it served.
        nodes: Operations that were recorded.
        compiled: Whether there is a program.
        why: Why the function runs eagerly; how calls run where it does not.
        kernels: Kernels of the program; 0 where there is none.
        launches: Runs of kernels in a call.
    """

    arguments: tuple[Part, ...]
    guards: tuple[str, ...]
    hits: int
    nodes: int
    compiled: bool
    why: str
    kernels: int
    launches: int

    def __str__(self) -> str:
        how = "compiled" if self.compiled else f"no program: it {self.why}"
        lines = [
            f"for {', '.join(map(str, self.arguments)) or 'no arguments'}",
            f"  {how}, {self.hits} hits, {len(self.guards)} guards, {self.nodes} nodes",
        ]
        if self.compiled and self.why:
            lines.append(f"    {self.why}")
        if self.guards:
            lines.append(f"    depends on {grouped(self.guards)}")
        return "\n".join(lines)


class Explanation(str):
    """The text of an explanation, with what it says as attributes.

    Attributes:
        specialisations: What serves calls.
        recordings: The calls that were recorded, in order.
    """

    __slots__ = ("recordings", "specialisations")

    specialisations: tuple[SpecialisationReport, ...]
    recordings: tuple[RecordingReport, ...]

    def __new__(
        cls, title: str, specialisations: Sequence[SpecialisationReport], recordings: Sequence[RecordingReport],
        notes: Sequence[str] = (),
    ) -> Explanation:  # fmt: skip
        self = super().__new__(cls, "\n".join([title, *map(str, (*specialisations, *recordings)), *notes]))
        self.specialisations, self.recordings = tuple(specialisations), tuple(recordings)
        return self

    def __repr__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Kept in a log or sent to another process it is its text."""
        return str, (self[:],)


def shown(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Arguments, and the modes that are not the usual ones."""
    return tuple(p for p in parts if not p.usual)


def in_words(changes: Sequence[Change]) -> str:
    """Changes in one line."""
    rest = len(changes) - _TOLD
    return "; ".join(map(str, changes[:_TOLD])) + (f"; and {rest} more" if rest > 0 else "")


def placed(change: Change, surroundings: Environment) -> Change:
    """A change with the line of the user's that reads what changed."""
    return change._replace(name=written(change.name), where=where_read(change.name, surroundings.codes))


def written(name: str) -> str:
    """A name as the user writes it, where it goes through a module's own dictionaries: ``model[2].weight``."""
    name = re.sub(r"\._(?:modules|parameters|buffers)\['(\d+)'\]", r"[\1]", name)
    return re.sub(r"\._(?:modules|parameters|buffers)\['([^']*)'\]", r".\1", name)


def names_of(surroundings: Environment) -> tuple[str, ...]:
    """Names of all that is guarded."""
    return tuple(written(g.name) for g in surroundings.guards if not isinstance(g, Contents) or g.values)


def grouped(names: Sequence[str]) -> str:
    """Names by the variable that each begins with, in short."""
    roots = Counter(re.split(r"[.\[]", name, maxsplit=1)[0] for name in names)
    listed = [root if count == 1 else f"{root} ({count} places)" for root, count in roots.most_common(_LISTED)]
    rest = len(roots) - len(listed)
    return ", ".join(listed) + (f" and {rest} more" if rest else "")


def size_of(program: Any) -> tuple[int, int]:
    """Kernels and launches of a loaded program; of one that runs operator by operator there are none."""
    plan = getattr(program, "plan", None)
    if plan is None:
        return 0, 0
    return len(plan.every_kernel), sum(len(getattr(step, "args", ())) for step in plan.steps)
