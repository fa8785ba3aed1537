"""A plan: kernels in the order they run, and where every value lives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tracec.ir import plan_text
from tracec.ir.dtype import DType
from tracec.ir.kernel import Kernel
from tracec.ir.source import Source
from tracec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Value:
    """A piece of memory that kernels read or write.

    Attributes:
        name: ``%12``, the node's name in the graph.
        type: dtype, shape, device; always contiguous.
        place: ``input`` (given by the caller), ``output`` (made for the caller), ``arena`` or ``alias``.
        index: Position among the plan's inputs or outputs, for those places.
        offset: Byte offset in the arena.
        first: First step that writes it; -1 for inputs.
        last: Last step that reads it.
        source: The user's line.
    """

    name: str
    type: TensorType
    place: str
    index: int = -1
    offset: int = -1
    first: int = -1
    last: int = -1
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """Runs a kernel once for each row of arguments (horizontal fusion: the same loops over many buffers).

    Attributes:
        kernel: Index into `Plan.kernels`.
        args: For each run, a value index for each of the kernel's buffers.
        sizes: For each run, the extent of the kernel's outermost loop where that is a size parameter; else empty.
    """

    kernel: int
    args: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """Runs a routine of the target's runtime.

    Attributes:
        routine: ``gemm``, ``argsort``, …; ``eager`` runs the primitive's eager rule.
        inputs: Value indices.
        output: Value index.
        params: The routine's parameters.
        operator: The primitive that it stands for, so that a target without the routine can run it eagerly.
        source: The user's line.
        literals: Operands that are not in memory: position among the primitive's operands, number and its type; of
            those without elements the shape instead of the number.
    """

    routine: str
    inputs: tuple[int, ...]
    output: int
    params: tuple[tuple[str, Any], ...] = ()
    operator: str = ""
    source: Source | None = None
    literals: tuple[tuple[int, Any, DType], ...] = ()

    def operands(self, arrays: Iterable[Any], xp: Any) -> list[Any]:
        """The primitive's operands.

        Args:
            arrays: Those in memory, in order.
            xp: The module of arrays: numpy or cupy.
        """
        found = list(arrays)
        for position, value, dtype in self.literals:
            made = xp.empty if isinstance(value, tuple) else xp.asarray
            found.insert(position, made(value, dtype.numpy))
        return found


Step = Launch | LibraryCall


@dataclass(frozen=True, slots=True)
class Refused:
    """Two groups that stayed apart, and why.

    Attributes:
        what: ``fuse``, ``horizontal``, ``in place``.
        a: Producer.
        b: Consumer.
        reason: The rule that said no.
        bytes_saved: Memory traffic that it would have saved.
    """

    what: str
    a: str
    b: str
    reason: str
    bytes_saved: int = 0

    def __str__(self) -> str:
        return f"{self.what} {self.a} into {self.b}: {self.reason} ({self.bytes_saved} bytes)"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes for intermediate values.

    Attributes:
        peak_bytes: Size of the arena.
        unplanned_bytes: What a buffer for each value would take.
        lower_bound_bytes: The most that is alive at once; no arena can be smaller.
    """

    peak_bytes: int
    unplanned_bytes: int
    lower_bound_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What the executable runs.

    Attributes:
        kernels: Distinct kernels.
        steps: Launches and library calls, in order.
        values: Every piece of memory; steps refer to them by position.
        inputs: Value index of each graph input.
        outputs: Value index of each graph output. An output that is written in place of an input it
            donates has that input's index.
        memory: Arena sizes.
        refused: Fusions that were refused.
    """

    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    memory: Memory
    refused: tuple[Refused, ...] = field(default=())

    def __str__(self) -> str:
        return plan_text.format_plan(self)
