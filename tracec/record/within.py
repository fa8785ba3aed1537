"""What is around a level of vmap, or around the body of a loop or branch, while that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tracec.record.cell import Cell, Storage
from tracec.record.state import STATE


class Within:
    """The part of a level, or of a recorder of a body, that knows what is around it.

    Attributes:
        sizes: As a recorder's: not None where sizes vary, so that shapes are asked of it.
        tests: Whether values are such as they are in the function's place, so that conditions on them hold.
    """

    sizes: Any
    tests: bool
    #: Who was told, what moved, and how saved values were kept: once for each time that it is open.
    _around: list[tuple[Any, Any, Any]]
    _inside: Any

    if TYPE_CHECKING:

        def decide(self, x: Any, array: Any, how: str) -> None:
            """Note that the function asked for values."""

    def _open(self) -> None:
        """Take the place of what is around."""
        around = STATE.recorder
        self.sizes = None if around is None or around.sizes is None else {}
        self.tests = around is None or around.tests
        self._around.append(_surroundings())
        STATE.recorder, STATE.duals, STATE.packing = self, (), None  # type: ignore[assignment]

    def _leave(self) -> None:
        """Put back what was around."""
        STATE.recorder, STATE.duals, STATE.packing = self._around.pop()

    @contextmanager
    def outside(self) -> Iterator[Any]:
        """Within, what is done is done around it; gives who is told there."""
        before = _surroundings()
        try:
            STATE.recorder, STATE.duals, STATE.packing = self._around[-1]
            yield STATE.recorder
        finally:
            STATE.recorder, STATE.duals, STATE.packing = before

    def includes(self, recorder: Any) -> bool:
        """Whether what a recorder was told of is known here."""
        around = self._around[-1][0] if self._around else None
        return recorder is self or (recorder is None if around is None else around.includes(recorder))

    def fix_sizes(self) -> None:
        """Let the recording around hold for the present sizes alone."""
        with self.outside() as recorder:
            if recorder is not None:
                recorder.fix_sizes()

    def count_of(self, mask: Cell, total: Cell, array: Any) -> int:
        """Note that the function asked how many elements of a mask hold: as many as now, at each call."""
        self.decide(total, array, "nonzero")
        return int(array)

    def adopt(self, x: Cell, from_array: bool) -> None:
        """Take in a tensor that the function makes: the same for all examples, or in every run."""
        storage: Storage = x._storage
        self._inside.add(storage)
        with self.outside() as recorder:
            if recorder is not None:
                recorder.adopt(x, from_array)


def _surroundings() -> tuple[Any, Any, Any]:
    return STATE.recorder, STATE.duals, STATE.packing
