"""The recordings of a compiled function: why each was made, and what comes of too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracec.errors import RecordError
from tracec.inspect.arguments import Part, changes_between
from tracec.inspect.explanation import (
    Explanation,
    RecordingReport,
    SpecialisationReport,
    in_words,
    names_of,
    placed,
    shown,
    size_of,
)
from tracec.inspect.misfits import misfits
from tracec.ir.expression import Condition, compile_numbers, first_failing
from tracec.ir.source import warn
from tracec.options import RUN_AGAIN
from tracec.specialisations.guards import Change
from tracec.specialisations.keys import AsSize
from tracec.specialisations.tree import Tree
from tracec.specialisations.watching import is_number

if TYPE_CHECKING:
    from tracec.options import Options
    from tracec.specialisations.specialisation import Specialisation

Known = Mapping[Hashable, Sequence["Specialisation"]]


#: Recordings in a row for which one thing was another each time.
_STORM = 16
#: Calls that none of many specialisations serves, after which only one of as many is looked at.
_PATIENCE = 64


class History:
    """What was recorded of one compiled function.

    Args:
        name: The function's name.
        options: How it is compiled.
    """

    def __init__(self, name: str, options: Options) -> None:
        self.recordings: list[RecordingReport] = []
        self._name = name
        self._options = options
        self._warned = False
        #: Calls since one was served, where there are as many specialisations as may be.
        self.in_vain = 0

    def begin(
        self, known: Known, key: Hashable, parts: Sequence[Part], tensors: Sequence[Any], numbers: Sequence[Any],
        near: Sequence[Specialisation] = (), sizes: Sequence[str] = (),
    ) -> tuple[str, tuple[Change, ...]]:  # fmt: skip
        """Why a call is about to be recorded; warns of it where that was asked for.

        Args:
            known: The specialisations that there are, none of which serves the call.
            key: The key of the call.
            parts: What it was given.
            tensors: The tensors among that.
            numbers: The numbers among that which are watched.
            near: What would serve the call at its sizes, if all around it were as it was.
            sizes: How the user would write what the last parts of the key are sizes of.

        Returns:
            The reason in words, and what is otherwise than the specialisations ask.

        Raises:
            RecordError: it is recorded again, which ``on_record="raise"`` forbids.
        """
        reason, changes = self._reason(known, key, parts, tensors, numbers, near, sizes)
        how = self._options.on_record
        if how != "allow" and any(known.values()):
            text = f"{self._name}: {reason}: {in_words(changes)}"
            if how == "raise":
                raise RecordError(
                    f"compile: {text}",
                    hint="on_record='warn' or 'allow' lets it record again; explain() lists all reasons",
                )
            warn(text)
        return reason, changes

    def note(
        self, reason: str, changes: tuple[Change, ...], parts: Sequence[Part], stages: Mapping[str, float]
    ) -> None:
        """Enter a recording, and how long each stage of it took."""
        number, seconds = len(self.recordings) + 1, sum(stages.values())
        self.recordings.append(RecordingReport(number, shown(parts), reason, changes, seconds, stages))

    def _reason(
        self, known: Known, key: Hashable, parts: Sequence[Part], tensors: Sequence[Any], numbers: Sequence[Any],
        near: Sequence[Specialisation], sizes: Sequence[str],
    ) -> tuple[str, tuple[Change, ...]]:  # fmt: skip
        there = [s for found in known.values() for s in found]
        if not there:
            return "recorded once more" if self.recordings else "first call", ()
        if known.get(key):
            return "recorded again", _fewest([_failures(s, tensors, numbers) for s in known[key]])
        if near:
            return "recorded again", _fewest([_failures(s, tensors, numbers) for s in near])
        found = [
            changes_between(s.parts, parts) or [placed(c, s.surroundings) for c in _resized(sizes, other, key)]
            for other, of in known.items()
            for s in of
        ]
        return "recorded for other arguments", _fewest(found)

    def full(self) -> None:
        """Say, once, that there are as many specialisations as may be, and what kept changing.

        Raises:
            RecordError: ``fullgraph=True`` allows no call to run eagerly.
        """
        self.in_vain += 1
        if self._warned:
            return
        changed = Counter(c.name for r in self.recordings for c in r.changes)
        often = ", ".join(f"{name} ({count} times)" for name, count in changed.most_common(3))
        last = next((c for r in reversed(self.recordings) for c in r.changes if changed[c.name] > 1), None)
        most = self._options.max_specializations
        text = f"{self._name}: has {most} specialisations, which is the most it may have"
        if len(self.recordings) < most:
            text = f"{self._name}: was recorded {len(self.recordings)} times, and no call was served"
        why = f"what kept changing: {often}" + (f", last {last}" if last else "")
        if self._options.fullgraph:
            raise RecordError(f"compile: {text}; {why}", hint="max_specializations= allows more")
        self._warned = True
        warn(f"{text}; other calls are {RUN_AGAIN}. {why[0].upper()}{why[1:]}")

    def storms(self, known: Known) -> bool:
        """Whether calls are recorded in vain: one thing was another at each of many, and none was served.

        Args:
            known: The specialisations that there are.
        """
        last = self.recordings[-_STORM:]
        if len(last) < _STORM or (self.in_vain and not self.in_vain % _PATIENCE):
            return False
        if any(s.hits for found in known.values() for s in found):
            return False
        return bool(set.intersection(*({c.name for c in r.changes} for r in last)))

    def gives_up(self) -> bool:
        """Whether a call is not worth the question which of many specialisations serves it: few calls lately were.

        Now and then some in a row are, and the first of them may be recorded.
        """
        if self.in_vain < _PATIENCE:
            return False
        self.in_vain += 1
        return self.in_vain % _PATIENCE > 2

    def explain(self, title: str, known: Known, notes: Sequence[str]) -> Explanation:
        """All of it in words."""
        return Explanation(title, [_report(s) for found in known.values() for s in found], self.recordings, notes)


def _failures(specialisation: Specialisation, tensors: Sequence[Any], numbers: Sequence[Any]) -> list[Change]:
    """What keeps a specialisation from serving a call with the right key."""
    around = specialisation.surroundings
    failed = [placed(g.change(), around) for g in (*around.guards, *around.names_gained()) if not g.holds()]
    replay = specialisation.replay
    if failed or replay is None:
        return failed
    ends = replay.leaves if isinstance(replay, Tree) else [replay]
    present = around.present()
    if present is None:
        return []
    symbols = dict(enumerate((*numbers, *present[0])))
    if replay.numbers is not None:
        back = replay.numbers.draws.states()
        replay.numbers.draws(symbols)
        back()
    failing = None if replay.numbers is None else first_failing(replay.numbers.conditions, symbols)
    if failing is not None:
        return [placed(_told(failing, symbols), around)]
    given = [*tensors, *present[1]]
    found = min((misfits(end, given, around.tensors) for end in ends), key=_count, default=[])
    if not found and isinstance(replay, Tree) and replay.missed is not None:
        return [replay.missed]
    return found


def _resized(names: Sequence[str], before: Any, now: Any) -> list[Change]:
    """What differs between two keys of sizes at their end; the older one may lack some that were no sizes then."""
    known = len(names) - (len(now) - len(before))
    if not 0 <= known <= len(names) or not names:
        return []
    sizes = now[-len(names) :]
    older = (*before[len(before) - known :], *["no size yet"] * (len(names) - known))
    return [Change(name, _size(a), _size(b)) for name, a, b in zip(names, older, sizes, strict=True) if a != b]


def _size(part: Any) -> str:
    """What a key has of a size, in words."""
    if isinstance(part, AsSize):
        return str(part.value)
    if isinstance(part, str):
        return part
    return str(part[1]) if is_number(part) else "a tensor of another size"


def _told(failing: Condition, symbols: Mapping[int, Any]) -> Change:
    """That something else comes of numbers than was gone by."""
    if isinstance(failing.value, (bool, type)):
        return Change(str(failing), "True", "False")
    found = compile_numbers((), [failing.expression])(symbols)
    return Change(str(failing.expression), repr(failing.value), "an error" if found is None else repr(found[0]))


def _count(changes: Sequence[Change]) -> int:
    return len(changes)


def _fewest(changes: Sequence[Sequence[Change]]) -> tuple[Change, ...]:
    """What is otherwise than the nearest specialisation asks: the latest of those that differ least."""
    fewest = min(map(len, changes))
    return tuple(next(found for found in reversed(changes) if len(found) == fewest))


def _report(s: Specialisation) -> SpecialisationReport:
    programs: list[Any] = [] if s.replay is None else s.replay.programs
    lines = [] if s.replay is None else s.replay.describe()
    sizes = [size_of(p) for p in programs]
    return SpecialisationReport(
        shown(s.parts), names_of(s.surroundings), s.hits, len(s.graph.nodes), s.eager is None,
        s.eager or "\n    ".join(lines), sum(k for k, _ in sizes), sum(n for _, n in sizes),
    )  # fmt: skip
