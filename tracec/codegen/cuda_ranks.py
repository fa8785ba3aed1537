"""Positions by rank: all of an axis in order, or some ranks of it, which are selected where that takes less."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Routine
from tracec.codegen.cuda_select import ranked_routine
from tracec.codegen.cuda_sort import sort_routine
from tracec.codegen.cuda_sort_keys import Keys, Order, Rows, key_of, original_of
from tracec.codegen.cuda_writer import Parameter
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import Buffer, Kernel
from tracec.ir.plan import LibraryCall
from tracec.ir.source import Source
from tracec.ir.types import TensorType, numel


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranks along an axis whose positions are asked for.

    Attributes:
        axis: The axis.
        descending: Whether elements fall; equal ones keep their order either way.
        start: The first rank,
        count: and how many there are; None for all.
    """

    axis: int
    descending: bool
    start: int = 0
    count: int | None = None

    def named(self, source: str = "") -> str:
        """What functions are called, of a source that is called so."""
        op, some = ("argsort", "") if self.count is None else ("ranked", f"_{self.start}_{self.count}")
        return f"{op}_{source}{self.axis}{some}{'_falling' * self.descending}"

    @property
    def now(self) -> Ranks:
        """The same ones, of the sizes of now."""
        return replace(self, start=plain(self.start), count=None if self.count is None else plain(self.count))

    def of(self, length: int) -> int:
        """How many there are of an axis of this length."""
        return length if self.count is None else self.count


def ranks_of(step: LibraryCall) -> Ranks | None:
    """What a step asks for; None where it does not ask for ranks."""
    params: dict[str, Any] = dict(step.params)
    return Ranks(**params) if step.routine in ("argsort", "ranked") else None


@dataclass(frozen=True, slots=True)
class Then:
    """What is done with each place, besides or instead of writing it down.

    Attributes:
        buffers: All buffers, what is sorted and the places among them.
        parameters: Their declarations.
        source: The buffer of what is sorted,
        x: and its name in the source.
        y: The name of the places in the source; empty where they are not written.
        lines: Statements for rank ``at`` of row ``row``, whose place is ``place``, and which is ``element``.
        takes: The type of the element, where these take it.
        ops: Names of operators, for readers.
        sources: The user's lines.
    """

    buffers: tuple[Buffer, ...]
    parameters: tuple[Parameter, ...]
    source: str
    x: str
    y: str
    lines: tuple[str, ...]
    takes: DType | None
    ops: tuple[str, ...]
    sources: tuple[Source, ...]


def ranks_routine(name: str, source: TensorType, ranks: Ranks, then: Then | None = None) -> tuple[Kernel, Routine]:
    """Functions that write the places of ranks, and their buffers.

    Args:
        name: Of the functions.
        source: What is sorted.
        ranks: Which ranks.
        then: What is done with the places.
    """
    axis, length, inner = ranks.axis, source.shape[ranks.axis], numel(source.shape[ranks.axis + 1 :])
    count = ranks.of(length)
    rows = Rows(numel(source.shape) // max(length, 1), length, ranks.start, count)
    apart = is_varying(inner) or inner != 1
    one = rows.written(inner)
    spread = f" * {one}" if apart else ""

    def row_of(length: int) -> str:
        all_ = rows.written(length * inner)
        return f"row / {one} * {all_} + row % {one}" if apart else f"row * {all_}"

    row, element = row_of(length), memory_type(source.dtype)
    if then is None:
        shape = (*source.shape[:axis], count, *source.shape[axis + 1 :])
        buffers = Buffer("x", source.dtype, source.shape, "in"), Buffer("y", dt.int64, shape, "out")
        declared = Parameter(f"const {element}", "x"), Parameter("long long", "y")
        then = Then(buffers, declared, "x", "x", "y", (), None, (), ())
    value, bits = key_of(source.dtype, "element", ranks.descending)
    at = next(n for n, b in enumerate(then.buffers) if b.name == then.source)
    load = f"const {element} element = {then.x}[{row} + at{spread}];"
    keys = Keys((then.parameters[at],), (at,), (load,), value, bits, *original_of(source.dtype, bits, ranks.descending))
    others = [n for n in range(len(then.buffers)) if n != at]
    first = f"(at - {rows.written(ranks.start)})" if is_varying(ranks.start) or ranks.start else "at"
    places = (f"{then.y}[{row_of(count)} + {first}{spread}] = place;",) if then.y else ()
    order = Order(
        tuple(then.parameters[n] for n in others), tuple(others), (*places, *then.lines), bool(then.lines), then.takes,
        f"{then.x}[{row} + place{spread}]",
    )  # fmt: skip
    op = "argsort" if ranks.count is None else "ranked"
    kernel = Kernel(name, "sort", then.buffers, (), sources=then.sources, ops=(op, *then.ops))
    routine = sort_routine if ranks.count is None else ranked_routine
    return kernel, routine(name, keys, order, rows, len(then.buffers))
