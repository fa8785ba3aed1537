"""Recordings for different sizes, compared: one is trusted for sizes of others where these are the same as it tells."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tracec.ir.extent import Symbol, Values
from tracec.ir.resize import settled
from tracec.ir.types import Shape
from tracec.record.cell import Constant
from tracec.record.recording import Decision
from tracec.specialisations.branches import path_of
from tracec.specialisations.counted import holds, values_of_counts
from tracec.specialisations.environment import Environment
from tracec.specialisations.paths import open_decisions
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.sizes import difference, fixed_sizes

Shapes = tuple[Shape, ...]
#: Recordings of a tree that others are compared with.
_MOST = 8


class Known:
    """What a recording of some sizes is compared with: what it computes, and which path it took.

    Args:
        recorded: The recording, for these sizes.
        shapes: The sizes.
        around: What the function read besides its arguments.
    """

    def __init__(self, recorded: Recorded, shapes: Shapes, around: Environment) -> None:
        recording = recorded.recording
        asked = (n for d in recording.decisions for n in d.nodes)
        checked = (c.node for c in recording.checks)
        self.graph = recording.graph.with_outputs((*recording.graph.outputs, *asked, *checked))
        self._conditions = [(settled(c.requires.bounds), c.requires.ignored) for c in recording.checks]
        self.decisions = open_decisions(recording.decisions)
        self.path = path_of(recording.decisions), None if recorded.numbers is None else recorded.numbers.conditions
        self.shapes, self.surroundings = shapes, around
        computed = (*recording.numbers, *(expression for expression, _ in recording.late.values()))
        self._numbers = tuple(e for e in computed if e.kind != "constant")
        self._views = [
            (r.output, r.layout, r.argument, r.after, [(c.op.name, settled(c.params), c.type) for c in r.steps])
            for r in recording.results
        ]
        self._had_grad = {id(x): found is not None for x, found in recording.grad_reads.items()}
        self._constants = {v.node: v.storage.array for v in recording.inputs if isinstance(v.storage, Constant)}

    def compares_with(self, other: Known) -> bool:
        """Whether another recording should be the same: one of the same path, while what is around is as it was.

        Gradients that the one found and the other did not are added to by the one alone.
        """
        grads = all(other._had_grad.get(x, had) == had for x, had in self._had_grad.items())
        return self.path == other.path and grads and self.surroundings.fails() is None

    def difference(self, other: Known) -> str | None:
        """Where another recording of the same path differs; None where it does not."""
        if self._numbers != other._numbers:
            return "numbers"
        if repr(self._views) != repr(other._views):
            return "where results lie in memory"
        if self._conditions != other._conditions:
            return "what values are checked for"
        return difference(self.graph, other.graph, self._constants, other._constants)


class Compared:
    """The last recordings of a tree, with which others of the same path but for counts are compared."""

    def __init__(self) -> None:
        self._before: deque[Known] = deque(maxlen=_MOST)

    def __call__(self, recorded: Recorded, around: Environment) -> tuple[bool, str | None]:
        """Whether a recording may serve other counts than its own; and where it differs from one for others."""
        mine = open_decisions(recorded.recording.decisions)
        if all(d.how != "nonzero" for d in mine):
            return True, None
        counts = values_of_counts(mine)
        trusted, why = not counts, None
        for older in self._before if counts else ():
            values = counts_in(older.decisions, mine)
            known = None if values is None or values == counts else known_at(recorded, values, (), around)
            if known is not None and older.compares_with(known):
                trusted, why = True, older.difference(known)
                break
        self._before.append(Known(fixed_sizes(recorded) if counts else recorded, (), around))
        return trusted, why


def known_at(recorded: Recorded, values: Values, shapes: Shapes, around: Environment) -> Known | None:
    """A recording for other sizes, to be compared; None where it does not say what it is for them."""
    if not holds(recorded.conditions, values):
        return None
    try:
        return Known(fixed_sizes(recorded, values), shapes, around)
    except ArithmeticError:
        return None


def counts_in(decisions: Sequence[Decision], mine: Sequence[Decision]) -> dict[Symbol, int] | None:
    """What the counts of a recording were in another one; None where that asked for others.

    Args:
        decisions: Those of the other.
        mine: Those of the recording.
    """
    found: dict[Symbol, int] = {}
    for a, b in zip(mine, decisions, strict=False):
        if a.size is not None:
            if b.how != a.how or b.value < a.size.least:
                return None
            found[a.size] = int(b.value)
    return found if len(mine) == len(decisions) else None
