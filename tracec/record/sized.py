"""The part of a recorder that knows symbolic sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracec.ir.extent import Condition, form_of, is_varying, noting, plain
from tracec.ir.node import Node, current_source
from tracec.ir.source import Source
from tracec.ir.types import Shape
from tracec.record.cell import Cell
from tracec.record.layouts import is_row_major, strides_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


class Sized:
    """The part of a recorder that knows of sizes.

    Attributes:
        sizes: Shapes of arguments, by position, with formulas over the sizes that vary; None where none does.
        conditions: What comparing such sizes gave, and at which line: the recording is right where they hold.
    """

    arguments: tuple[Any, ...]
    sizes: dict[int, Shape] | None
    conditions: dict[Condition, Source | None]
    #: Masks whose elements were counted → how many held.
    _counts: dict[Node, int]

    if TYPE_CHECKING:

        def node_of(self, x: Cell) -> Node:
            """The node of a tensor's present value, as the recorder knows it."""

    def _note(self, condition: Condition) -> None:
        if condition not in self.conditions:
            self.conditions[condition] = current_source()

    def shape_of(self, x: Cell) -> Shape:
        """The shape of a tensor, with what its sizes depend on."""
        if x._storage.recorder is self or any(x._storage is a._storage for a in self.arguments):
            return self.node_of(x).shape
        return x._array.shape  # type: ignore[no-any-return]

    def strides(self, x: Cell) -> Shape:
        """A tensor's strides in elements, with what they depend on; where that is unknown, sizes are as they are."""
        own = _in_elements(x._array)
        shape, memory = self.shape_of(x), x._storage
        if memory.recorder is self:
            known = strides_of(_in_elements(memory.array), memory.node.shape, x._steps)
        elif is_varying(shape):  # an argument that is a part of memory
            known = strides_of(own, shape, ())
        else:
            return own
        empty = any(n == 0 for n in shape)  # which has strides of its own
        if empty or known is None or tuple(map(plain, known)) != own:
            self.fix_sizes()
            return own
        return known

    def fix_sizes(self) -> None:
        """Let the recording hold for the present sizes alone, from here on."""
        sizes = (*(size for shape in (self.sizes or {}).values() for size in shape), *self._counts.values())
        for size in filter(is_varying, sizes):
            condition = Condition("==", form_of(size), form_of(plain(size)), True)
            self.conditions.setdefault(condition, current_source())

    def add_argument(self, x: Tensor, like: Tensor) -> None:
        """Let a tensor of another one's shape be an argument."""
        if self.sizes is not None:
            self.sizes[len(self.arguments)] = like._shape
        self.arguments = (*self.arguments, x)

    def _layout(self, x: Tensor, shared: bool) -> tuple[int, ...] | None:
        """Strides of a result's elements, or of all in its memory; None where they lie row by row."""
        memory = x._storage
        array, steps = (memory.array, ()) if shared else (x._array, x._steps)
        if self.sizes is None:
            return None if array.flags.c_contiguous or not array.size else _in_elements(array)
        with noting(self._note):
            shape = memory.node.shape if shared else x._shape
            known = strides_of(_in_elements(memory.array), memory.node.shape, steps)
            if known is None or tuple(map(plain, known)) != _in_elements(array):
                self.fix_sizes()
                known = _in_elements(array)
            return None if is_row_major(shape, known) else known


def _in_elements(array: Any) -> Shape:
    return tuple(s // array.itemsize for s in array.strides)
