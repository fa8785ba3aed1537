"""What is computed of sorted positions, element by element, is computed by the sort that finds them.

`sort` is a sort of positions and a gather by them. The sort has the elements at hand as it writes the positions: the
gather's launch would read both again, at random. Positions that nothing else reads are not written at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import peel
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import lines
from tracec.codegen.cuda_joined import numbered
from tracec.codegen.cuda_ladder import ladder, on_rung
from tracec.codegen.cuda_ranks import Ranks, Then, ranks_of, ranks_routine
from tracec.codegen.cuda_runs import is_sized
from tracec.codegen.cuda_source import CudaKernel, finished, launches
from tracec.codegen.cuda_writer import Parameter, Writer
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Expr, Kernel, Let, Linear, Load, Ref, Store, Var, expressions, subexpressions
from tracec.ir.launch import CudaLaunch, CudaStep
from tracec.ir.plan import Launch, LibraryCall, Plan
from tracec.ir.types import Shape, TensorType, numel

#: Statements that leave a sort's threads their registers.
MOST_STATEMENTS = 12


@dataclass(frozen=True, slots=True)
class Space:
    """The loops of a kernel, as what they are to the rows that it reads: element ``at`` of row ``row``.

    Attributes:
        outer: Those over what is before the axis.
        inner: Those over what is behind it.
        along: The one along the axis; None where one place is read.
        start: The first place that is read.
        count: How many are.
    """

    outer: tuple[Var, ...]
    inner: tuple[Var, ...]
    along: Var | None
    start: int
    count: int


def with_followers(
    plan: Plan, kernels: Sequence[CudaKernel], steps: Sequence[CudaStep], rungs: Mapping[str, int]
) -> tuple[tuple[CudaKernel, ...], tuple[CudaStep, ...]]:
    """Kernels and steps of a program whose sorts do what follows them, where that is element by element.

    Args:
        plan: The plan.
        kernels: Its kernels.
        steps: Its steps.
        rungs: Name of a kernel → its rung, where that is not the first.
    """
    pairs = dict(p for number in range(len(plan.steps)) if (p := _pair(plan, number, rungs)) is not None)
    if not pairs:
        return tuple(kernels), tuple(steps)
    sorts = {first: follower for follower, (first, _) in pairs.items()}
    made: dict[object, CudaKernel] = {}
    found: list[tuple[CudaKernel | None, CudaStep]] = []
    for step in steps:
        if not isinstance(step, CudaLaunch):
            found.append((None, step))
            continue
        (number,) = step.steps
        if number in pairs:
            first, kernel = pairs[number]
            kernel = made.setdefault((kernel.name, kernel.ir.buffers), kernel)
            values = _values(plan, number, kernel)
            found += [(kernel, replace(x, steps=(first, number))) for x in launches(0, kernel, values)]
        elif number not in sorts:
            found.append((kernels[step.kernel], step))
    return numbered(found)


def _pair(plan: Plan, number: int, rungs: Mapping[str, int]) -> tuple[int, tuple[int, CudaKernel]] | None:
    """The step that reads what a step sorts, that step, and the kernel that does both; None where none can."""
    step = plan.steps[number]
    ranks = ranks_of(step) if isinstance(step, LibraryCall) else None
    if ranks is None or not isinstance(step, LibraryCall):
        return None
    source, order = step.inputs[0], step.output
    follower = next((n for n, s in enumerate(plan.steps[number + 1 :], number + 1) if order in _read(plan, s)), -1)
    launch = plan.steps[follower]
    if follower < 0 or not isinstance(launch, Launch) or len(launch.args) != 1 or launch.sizes:
        return None
    kernel, (args,) = plan.kernels[launch.kernel], launch.args
    names = [[b for b, v in zip(kernel.buffers, args, strict=True) if v == value] for value in (source, order)]
    # What is sorted is there until the follower has run, which reads it, too; no memory has two names.
    if (
        [len(n) for n in names] != [1, 1]
        or len(set(args)) != len(args)
        or any(b.role == "inout" for b in kernel.buffers)
    ):
        return None
    value = plan.values[order]
    pieces = any(v.place == "part" and v.index == order for v in plan.values)
    stored = value.place != "arena" or value.last > follower or pieces
    (x,), (y,) = names
    name = f"{ranks.named()}_then_{kernel.name}"
    with on_rung(ladder("sort")[rungs.get(name, 0)]):
        made = sorted_then(kernel, x.name, y.name, plan.values[source].type, ranks, stored, name)
    return None if made is None else (follower, (number, made))


def _read(plan: Plan, step: object) -> set[int]:
    """The values that a step touches."""
    if isinstance(step, LibraryCall):
        return {*step.inputs, step.output}
    assert isinstance(step, Launch), "loops are written out"
    return {v for args in step.args for v in args}


def _values(plan: Plan, number: int, kernel: CudaKernel) -> list[int]:
    """The values behind a kernel's buffers, which have the names of those of a step's."""
    step = plan.steps[number]
    assert isinstance(step, Launch)
    (args,) = step.args
    known = {b.name: v for b, v in zip(plan.kernels[step.kernel].buffers, args, strict=True)}
    return [known[b.name] for b in kernel.ir.buffers]


# -- one kernel for both -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reads:
    """How a kernel reads what is sorted and where that was found: element by element.

    Attributes:
        space: Its loops.
        place: The read of a position.
        elements: The reads of the element which was there.
    """

    space: Space
    place: Load
    elements: tuple[Load, ...]


def _reads(kernel: Kernel, x: str, order: str, shape: Shape, ranks: Ranks) -> Reads | None:
    """How a kernel reads what is sorted, ``x``, and the positions, ``order``; None where that is in another way."""
    variables, body = peel(kernel.body)
    if kernel.shape != "map" or is_sized(kernel) or is_varying((shape, ranks.start, ranks.count)):
        return None
    if len(body) > MOST_STATEMENTS or not all(isinstance(s, Let) or (isinstance(s, Store) and not s.add) for s in body):
        return None
    loads = {e for s in body for root in expressions(s) for e in subexpressions(root) if isinstance(e, Load)}
    places = [e for e in loads if e.buffer == order]
    length, inner = shape[ranks.axis], numel(shape[ranks.axis + 1 :])
    count = ranks.of(length)
    if len(places) != 1 or length < 2 or not count:
        return None
    (place,) = places
    space = _space(place.index, variables, count, inner, numel(shape[: ranks.axis]))
    if space is None:
        return None
    named = [s.name for s in body if isinstance(s, Let) and s.value == place]

    def is_element(index: Expr) -> bool:
        return _is_element(index, place, named, space, inner, lambda step: step // count * length)

    return Reads(space, place, tuple(e for e in loads if e.buffer == x and is_element(e.index)))


def sorted_then(
    kernel: Kernel, x: str, order: str, source: TensorType, ranks: Ranks, stored: bool, name: str
) -> CudaKernel | None:
    """A sort that does a kernel's work; None where that is not element by element of what is sorted.

    Args:
        kernel: What reads the sorted positions.
        x: Its buffer of what is sorted.
        order: Its buffer of the positions.
        source: The type of what is sorted.
        ranks: Which positions.
        stored: Whether the positions are written.
        name: Of the kernel.
    """
    reads = _reads(kernel, x, order, source.shape, ranks)
    if reads is None:
        return None
    writer = Writer(kernel)
    writer.packs[order, reads.place.index] = "((long long)place)"
    for e in reads.elements:
        writer.packs[x, e.index] = "element"
    count, inner = ranks.of(source.shape[ranks.axis]), numel(source.shape[ranks.axis + 1 :])
    statements = _of_place(writer, reads.space, ranks.start + reads.space.start, count, inner)
    buffers = tuple(
        replace(b, role="out") if b.name == order else b for b in kernel.buffers if b.name != order or stored
    )
    declared = tuple(
        Parameter(f"{'const ' * (b.role == 'in')}{memory_type(b.dtype)}", writer.name(b.name)) for b in buffers
    )
    then = Then(
        buffers, declared, x, writer.name(x), writer.name(order) if stored else "", lines(statements),
        source.dtype if reads.elements else None, kernel.ops, kernel.sources,
    )  # fmt: skip
    return finished(*ranks_routine(name, source, ranks, then))


def _of_place(writer: Writer, space: Space, start: int, count: int, inner: int) -> tuple[Tree, ...]:
    """What a kernel does with element ``at`` of the sorted row ``row``.

    Args:
        writer: Writes the kernel.
        space: Its loops.
        start: The first element that it reads.
        count: How many the row has.
        inner: Elements from one of the row to the next.
    """
    _, body = peel(writer.kernel.body)
    spread = f" / {writer.count(inner)}" if inner != 1 else ""
    along: list[Tree] = []
    if space.along is not None:
        along = [Line(f"const {writer.index} {writer.name(space.along.name)} = ({writer.index})(at - {start}u);")]
    statements: tuple[Tree, ...] = (
        *writer.unflatten(f"(row{spread})", space.outer),
        *writer.unflatten(f"(row % {writer.count(inner)})", space.inner),
        *along,
        *writer.statements(body),
    )
    within = [f"at >= {start}u"] * (space.start > 0)
    within += [f"at < {start + space.count}u"] * (space.start + space.count < count)
    return (Block(f"if ({' && '.join(within)})" if within else "", statements),)


def _space(index: Expr, variables: Sequence[Var], length: int, inner: int, outer: int) -> Space | None:
    """How loops go over the rows that an index reads; None where they do not meet each place that they read once."""
    terms, start = (index.terms, index.offset) if isinstance(index, Linear) else (((index, 1),), 0)
    steps = {term: step for term, step in terms if isinstance(term, Var)}
    if len(steps) != len(terms) or set(steps) != set(variables) or start % inner:
        return None
    along = [v for v in variables if steps[v] == inner and length > 1]
    before = [v for v in variables if steps[v] >= inner and v not in along]
    behind = [v for v in variables if steps[v] < inner]
    count = along[0].extent if along else 1
    if len(along) > 1 or start < 0 or start // inner + count > length:
        return None
    if not _covers(before, steps, length * inner, length * inner * outer) or not _covers(behind, steps, 1, inner):
        return None
    return Space(tuple(before), tuple(behind), along[0] if along else None, start // inner, count)


def _covers(variables: Sequence[Var], steps: dict[Var, int], first: int, end: int) -> bool:
    """Whether loops, outermost first, go from each multiple of ``first`` below ``end`` to the next."""
    for v in reversed(variables):
        if steps[v] != first:
            return False
        first *= v.extent
    return first == end


def _is_element(
    index: Expr, place: Load, named: Sequence[str], space: Space, inner: int, moved_by: Callable[[int], int]
) -> bool:
    """Whether an index is that of the element which stood at a sorted place, in the same row.

    Args:
        index: The index.
        place: What reads the place.
        named: Names that it has.
        space: The loops.
        inner: Elements from one place to the next.
        moved_by: How far elements are apart of which the places are so far.
    """
    terms, offset = (index.terms, index.offset) if isinstance(index, Linear) else (((index, 1),), 0)
    moved = [(t, step) for t, step in terms if t == place or (isinstance(t, Ref) and t.name in named)]
    own = place.index.terms if isinstance(place.index, Linear) else ((place.index, 1),)
    rest = {(t, moved_by(step) if t in space.outer else step) for t, step in own if t != space.along}
    return offset == 0 and moved == [(moved[0][0], inner)] and {*terms} - {*moved} == rest if moved else False
