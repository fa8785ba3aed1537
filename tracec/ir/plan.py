"""A plan: kernels in the order they run, and where every value lives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tracec.ir import plan_text
from tracec.ir.conditions import WATCH
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Kernel
from tracec.ir.source import Source
from tracec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Value:
    """A piece of memory that kernels read or write.

    Attributes:
        name: ``%12``, the node's name in the graph.
        type: dtype, shape, device; always contiguous.
        place: ``input`` (given by the caller), ``output`` (made for the caller), ``arena``, or ``part`` (a piece of
            another value, which is no piece itself).
        index: Position among the plan's inputs or outputs, for those places; of a piece, the other value's index.
        offset: Byte offset in the arena, or in the other value.
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


@dataclass(frozen=True, slots=True)
class Repeat:
    """Runs a plan again and again, on slices of values, each run on what the one before it carried over.

    A run writes what it carries to one of two buffers and reads it from the other; the first run reads operands, and
    the last one writes to the output, where that holds it.

    Attributes:
        body: What runs. Its inputs are carried values, slices, and values that are the same in all runs; its outputs
            carried values, then others.
        carries: How many values are carried.
        scanned: How many inputs behind them are slices.
        length: How many runs there are.
        reverse: Whether they go from the last slice to the first.
        inputs: For each input of the body the index of the value that it lies in; -1 where it has no elements.
        offsets: For each input of the body the bytes of that value in front of it.
        output: Index of the value that results lie in.
        places: For each output of the body the bytes of that value in front of it; -1 where it is not there.
        strides: For each output of the body the bytes from one run's to the next one's.
        scratch: Index of the value that the body's arena lies in, and behind it the buffers.
        buffers: For each carried value the bytes of that value in front of either buffer.
        operator: The primitive that it stands for.
        source: The user's line.
    """

    body: Plan
    carries: int
    scanned: int
    length: int
    reverse: bool
    inputs: tuple[int, ...]
    offsets: tuple[int, ...]
    output: int
    places: tuple[int, ...]
    strides: tuple[int, ...]
    scratch: int
    buffers: tuple[tuple[int, int], ...]
    operator: str
    source: Source | None = None

    @property
    def reads(self) -> tuple[int, ...]:
        """The values that it reads."""
        return tuple(dict.fromkeys(i for i in self.inputs if i >= 0))


@dataclass(frozen=True, slots=True)
class Branch:
    """Runs one of two plans over the same values: the first where a condition holds.

    Attributes:
        bodies: What runs. Their outputs have memory of their own.
        inputs: The condition's value, then for each input of the bodies the value that it lies in; -1 where it has no
            elements.
        offsets: For each of these the bytes of that value in front of it.
        output: Index of the value that results lie in.
        places: For each output of the bodies the bytes of that value in front of it.
        scratch: Index of the value that the bodies' arena lies in.
        operator: The primitive that it stands for.
        source: The user's line.
    """

    bodies: tuple[Plan, Plan]
    inputs: tuple[int, ...]
    offsets: tuple[int, ...]
    output: int
    places: tuple[int, ...]
    scratch: int
    operator: str
    source: Source | None = None

    @property
    def reads(self) -> tuple[int, ...]:
        """The values that it reads."""
        return tuple(dict.fromkeys(i for i in self.inputs if i >= 0))


@dataclass(frozen=True, slots=True)
class While:
    """Runs a plan on what it carries as long as another one, of the same, gives a bool that holds.

    Attributes:
        condition: From what is carried, and the values behind it that it reads, to the bool.
        body: From what is carried, and the other values, to what is carried on.
        finish: From what is carried in the end to the results.
        carries: How many values are carried.
        read: How many inputs behind them the condition reads.
        inputs: For each operand the value that it lies in; -1 where it has no elements.
        offsets: For each operand the bytes of that value in front of it.
        output: Index of the value that results lie in.
        places: For each result the bytes of that value in front of it.
        scratch: Index of the value that the arena of the plans lies in, and behind it the buffers and the bool.
        buffers: For each carried value the bytes of that value in front of either buffer.
        flag: The bytes of that value in front of the bool.
        operator: The primitive that it stands for.
        source: The user's line.
    """

    condition: Plan
    body: Plan
    finish: Plan
    carries: int
    read: int
    inputs: tuple[int, ...]
    offsets: tuple[int, ...]
    output: int
    places: tuple[int, ...]
    scratch: int
    buffers: tuple[tuple[int, int], ...]
    flag: int
    operator: str
    source: Source | None = None

    @property
    def reads(self) -> tuple[int, ...]:
        """The values that it reads."""
        return tuple(dict.fromkeys(i for i in self.inputs if i >= 0))


#: Steps that run plans of their own.
Structure = Repeat | Branch | While
Step = Launch | LibraryCall | Structure


def may_vary(plan: Plan) -> bool:
    """Whether a plan may be for many sizes: those of its inputs, or ints that are taken for sizes."""
    return WATCH.named or any(is_varying(plan.values[v].type.shape) for v in plan.inputs)


def bodies_of(step: Structure) -> tuple[Plan, ...]:
    """The plans that a step runs."""
    match step:
        case Repeat():
            return (step.body,)
        case Branch():
            return step.bodies
        case While():
            return step.condition, step.body, step.finish


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
class Sliced:
    """Values that are computed slice by slice, since all of them at a time would take much memory.

    Attributes:
        runs: How many slices.
        nbytes: Bytes of the largest of these values, for the sizes that it was planned for.
        ops: What computes them.
        source: The user's line.
    """

    runs: int
    nbytes: int
    ops: tuple[str, ...]
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes for intermediate values.

    Attributes:
        peak_bytes: Size of the arena.
        unplanned_bytes: What a buffer for each value would take.
        lower_bound_bytes: The most that is alive at once; no arena can be smaller.
        layout: Where sizes vary from call to call: has a method ``values`` that gives offsets for others.
    """

    peak_bytes: int
    unplanned_bytes: int
    lower_bound_bytes: int
    layout: Any = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the executable runs.

    Attributes:
        kernels: Distinct kernels.
        steps: Launches, library calls and loops, in order.
        values: Every piece of memory; steps refer to them by position.
        inputs: Value index of each graph input.
        outputs: Value index of each graph output. An output that is written in place of an input it
            donates has that input's index.
        memory: Arena sizes.
        refused: Fusions that were refused.
        sliced: What is computed slice by slice.
    """

    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    memory: Memory
    refused: tuple[Refused, ...] = field(default=())
    sliced: tuple[Sliced, ...] = ()

    @property
    def every_kernel(self) -> tuple[Kernel, ...]:
        """Its kernels, then those of what its steps run, each once."""
        found = list(self.kernels)
        known: set[int] = set()
        for step in self.steps:
            for body in bodies_of(step) if isinstance(step, (Repeat, Branch, While)) else ():
                if id(body) not in known:
                    known.add(id(body))
                    found += body.every_kernel
        return tuple(found)

    @property
    def about_slices(self) -> str:
        """What is computed slice by slice, as the end of a sentence; empty for nothing."""
        return "".join(f"; {s.ops[0]} … in {s.runs} slices" for s in self.sliced)

    def whole(self, value: int) -> int:
        """The value that a piece is a piece of; the value itself where it is none."""
        return self.values[value].index if self.values[value].place == "part" else value

    def overlap(self, a: int, b: int) -> bool:
        """Whether two values have memory in common."""
        (space, start, stop), (other, begin, end) = self._bytes(a), self._bytes(b)
        return space == other and start < end and begin < stop

    def _bytes(self, value: int) -> tuple[tuple[str, int], int, int]:
        """The memory that a value is in, and from where to where."""
        whole = self.values[self.whole(value)]
        space = ("arena", 0) if whole.place == "arena" else (whole.place, whole.index)
        start = whole.offset if whole.place == "arena" else 0
        if self.values[value].place == "part":
            start += self.values[value].offset
        return space, start, start + self.values[value].type.nbytes

    def __str__(self) -> str:
        return plan_text.format_plan(self)
