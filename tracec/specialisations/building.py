"""From recordings to the programs that serve calls: built at once, or on background threads while calls run eagerly."""

from __future__ import annotations

import traceback
from collections.abc import Hashable, Sequence
from pathlib import Path

from tracec.background import Job, Turn, resume, submit
from tracec.errors import RecordError, TracecError
from tracec.ir.source import caller, collecting, warn, warn_at
from tracec.options import RUN_AGAIN
from tracec.program_builder import ProgramBuilder
from tracec.progress import progress
from tracec.record.counts import Counts
from tracec.specialisations.fast_path import FastPath
from tracec.specialisations.paths import open_decisions
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.specialisation import BEING_COMPILED, Specialisation, ViewsAtRecording
from tracec.specialisations.tree import Tree

_FAULT = "this is a fault of tracec's: please report it, with the program; disable=[...] may lead around it"


class Known(dict[Hashable, list[Specialisation]]):
    """The specialisations of a function by the keys of their calls.

    Attributes:
        count: How many there are, those for some of many sizes left out.
        fast_paths: Inline cache of the programs that serve calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.fast_paths: tuple[FastPath, ...] = ()

    def keep(self, key: Hashable, specialisation: Specialisation) -> None:
        """Enter a specialisation behind the others of its key."""
        self.setdefault(key, []).append(specialisation)
        self.count += 1

    def drop(self, key: Hashable, specialisation: Specialisation) -> None:
        """Take a specialisation away."""
        self[key] = [s for s in self[key] if s is not specialisation]
        self.fast_paths = ()
        self.count -= 1


class Building:
    """Makes the programs of one function's recordings.

    Args:
        name: The function's name.
        builder: What makes programs.
        known: The specialisations of the function.
        fullgraph: Whether a function that cannot be compiled raises.
        counts: The function's counts.
    """

    def __init__(self, name: str, builder: ProgramBuilder, known: Known, fullgraph: bool, counts: Counts) -> None:
        self._name, self._builder, self._known, self._fullgraph = name, builder, known, fullgraph
        self._counts = counts
        self._jobs: list[Job] = []
        self._entering = Turn()
        self._growing = Turn()

    def build(
        self, key: Hashable, made: Specialisation, recorded: Recorded, fitting: Sequence[Specialisation], later: bool
    ) -> None:
        """Make the program of a recording, now or in the background.

        Args:
            key: The call's key.
            made: What the recording was.
            recorded: The recording.
            fitting: The specialisations of the key for which all was as they need it when the call began.
            later: Make it in the background.

        Raises:
            TracecError: it cannot be made as the options ask.
        """
        try:
            self._build(key, made, recorded, fitting, later)
        except (TracecError, MemoryError):
            raise
        except Exception as error:
            self._failed(key, made, error)

    def _build(
        self, key: Hashable, made: Specialisation, recorded: Recorded, fitting: Sequence[Specialisation], later: bool
    ) -> None:
        recording = recorded.recording
        if open_decisions(recording.decisions):
            trees = [
                s for s in fitting
                if isinstance(s.replay, Tree) and not s.variants and s.replay.numbers == recorded.numbers
                and s.surroundings.is_like(made.surroundings)
            ]  # fmt: skip
            if trees:
                trees[0].surroundings.guard_print_options(made.surroundings.asked)
                made = trees[0]
            else:
                made.replay = Tree(self._builder.tree_builder(recording.graph), recorded.numbers, self._counts)
                self._known.keep(key, made)
        if later:
            self._build_later(key, made, recorded)
        else:
            with progress(f"compiling {self._name}"):
                self._make(key, made, recorded)

    def _make(self, key: Hashable, made: Specialisation, recorded: Recorded) -> None:
        tree = made.replay
        if not isinstance(tree, Tree):
            made.replay = self._builder.replay(recorded, made.disabled)
            if made not in self._known.get(key, ()):
                self._known.keep(key, made)
            return
        full = tree.grow(recorded, made.surroundings)
        if full is not None:
            if not tree.is_full:
                warn(f"{made.graph.name}: {full}; calls that take other paths are {RUN_AGAIN}")
            tree.is_full = True
            beside = Specialisation(recorded.recording.graph, made.surroundings, made.kept, made.parts, made.disabled)
            beside.eager = full
            beside.stand_beside(tree)
            self._known.keep(key, beside)

    def _build_later(self, key: Hashable, made: Specialisation, recorded: Recorded) -> None:
        """Make the program of a recording in the background; until then calls run eagerly."""
        made.eager = BEING_COMPILED
        if made.replay is None:
            self._known.keep(key, made)
        looks, line = ViewsAtRecording(recorded), caller()

        def run() -> None:
            with self._growing.lock, collecting() as said:
                try:
                    if looks.hold():
                        self._make(key, made, recorded)
                    if made.replay is None or not looks.hold():  # it would stand for something else: record again
                        self._known.drop(key, made)
                    made.eager = None
                except Exception as error:
                    made.eager = f"could not be compiled: {type(error).__name__}: {error}"
                    said.append(f"{made.graph.name}: it {made.eager}; it is {RUN_AGAIN}")
            for message in said:
                warn_at(line, message)

        with self._entering.lock:  # others may be waiting
            self._jobs = [*self._unfinished, submit(run)]

    def _failed(self, key: Hashable, made: Specialisation, error: Exception) -> None:
        """Let the function run as it is written where making its program failed, by a fault that is not the user's.

        It has run by then: its result must not be lost.
        """
        place = traceback.extract_tb(error.__traceback__)[-1]
        why = f"could not be compiled: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        if self._fullgraph:
            raise RecordError(f"compile: {made.graph.name} {why}", hint=_FAULT) from error
        if made in self._known.get(key, ()):
            self._known.drop(key, made)
        made.eager, made.replay, made.plainly = why, None, True
        self._known.keep(key, made)
        warn(f"{made.graph.name}: it {why}; it runs operation by operation\n  hint: {_FAULT}")

    def wait(self) -> None:
        """Wait until nothing is being made in the background."""
        resume()
        while True:
            with self._entering.lock:
                jobs = self._unfinished
            if not jobs:
                return
            for job in jobs:
                job.done.wait()

    @property
    def _unfinished(self) -> list[Job]:
        return [job for job in self._jobs if not job.done.is_set()]
