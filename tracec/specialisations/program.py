"""A recorded function as programs: one for what it computes, one for the gradients of each of its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracec import optimize
from tracec.autotune import Choices
from tracec.build import PLANNING, Built, build, load
from tracec.errors import RecordError
from tracec.ir.dtype import DType
from tracec.ir.extent import Condition
from tracec.ir.graph import Graph
from tracec.ir.source import Source
from tracec.ir.types import Shape
from tracec.record.cell import Storage
from tracec.record.check import Range
from tracec.record.recorder import Recorder
from tracec.record.recording import Decision, Recording, find_tensors, marks_of
from tracec.record.state import STATE
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor, get_default_dtype
from tracec.record.turning import look_again
from tracec.record.unfolding import Unfolding
from tracec.specialisations.checks import clamped, with_ranges
from tracec.specialisations.derivatives import Backward, Derivative, Observed, record_derivatives
from tracec.specialisations.draws import Draws, goes_by
from tracec.specialisations.effects import Effects
from tracec.specialisations.environment import Environment
from tracec.specialisations.leaving import formed, made_plain
from tracec.specialisations.places import PLAIN
from tracec.specialisations.printed import can_run_again, printed_before, printing, written
from tracec.specialisations.replay import Replay
from tracec.specialisations.results import foreign, tells_address
from tracec.specialisations.stand_ins import StandIns
from tracec.specialisations.watching import Scalars
from tracec.specialisations.way_back import HangsOn, held_to
from tracec.transform.split import Later, split


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One run of a function.

    Attributes:
        recording: The graph: results, gradients of results, then state; the last inputs may be cotangents.
        out: What the function returned.
        arguments: The tensors it was given.
        derivatives: How gradients go back from its results.
        captured: Memory that the function reaches otherwise than by its arguments.
        eager: Why a program cannot stand in for the function; None where it can.
        settles: Whether that may be otherwise next time.
        numbers: The numbers that a program is given behind the arguments; None where no number is watched.
        conditions: What was learned of sizes by comparing them, and where: it is right for sizes for which they hold.
        left: What the function left in places around it, whose values follow the results in ``out`` then.
        given: What the function returned, as it is for the caller.
        put: The values that the function left in places, as they are there.
    """

    recording: Recording
    out: Any
    arguments: tuple[Tensor, ...]
    derivatives: tuple[Derivative, ...]
    captured: frozenset[Storage]
    eager: str | None
    settles: bool
    numbers: Scalars | None = None
    conditions: Mapping[Condition, Source | None] = field(default_factory=dict)
    left: Effects | None = None
    given: Any = None
    put: tuple[Any, ...] = ()


def record(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], arguments: Sequence[Tensor],
    surroundings: Environment, keep: bool, look: Callable[[Recorder, Any], None] | None = None,
    stand_ins: StandIns | None = None,
    sizes: Sequence[Shape] | None = None, unfolding: Unfolding | None = None,
) -> Recorded:  # fmt: skip
    """Run a function and write down what it does.

    Args:
        fn: The function.
        args: Its arguments.
        kwargs: Its keyword arguments.
        arguments: The tensors among them.
        surroundings: What it can read besides.
        keep: Whether what it does to tensors lasts; otherwise they are left as they were.
        look: Given the recorder and what the function returned, while what it did to tensors is there to be seen.
        stand_ins: The numbers that are watched.
        sizes: Shapes of ``arguments`` with symbols for sizes that vary from call to call.
        unfolding: What is known of its loops and branches.

    Raises:
        RecordError: what it does cannot be recorded.
        Refused: the same, of a call that lasts: all is as it was before.
    """
    text: dict[str, str] = {}
    numbers, unfolding = _ALL, unfolding or Unfolding()
    while True:
        try:
            with printed_before(text):
                return _record(
                    fn, args, kwargs, arguments, surroundings, keep, look, stand_ins, sizes, numbers, unfolding
                )
        except _NumbersRefused as refused:  # by C code that takes exact types alone; what was done is undone
            text, numbers = refused.text, numbers - 1
        except _Unfolded as refused:
            text = refused.text


#: What may be numbers that stand in for others: values of tensors and what is watched, the latter alone, or nothing.
_ALL, _WATCHED, _NONE = 2, 1, 0


class _Undone(Exception):
    """A function cannot be recorded as it was; all that it did is undone.

    Attributes:
        text: What it has printed, by stream, which is not.
    """

    def __init__(self, why: str, text: dict[str, str]) -> None:
        super().__init__(why)
        self.text = text


class Refused(_Undone):
    """A function does what no graph can have."""


class _NumbersRefused(_Undone):
    """A recorded function raised TypeError, which may be for a number that stands in for another."""


class _Unfolded(_Undone):
    """A loop or a branch of a recorded function was found to be none that a graph can have."""


def _called(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], stand_ins: StandIns | None,
    recorder: Recorder, surroundings: Environment, numbers: int,
) -> Any:  # fmt: skip
    """What a function returns that is recorded."""
    try:
        if stand_ins is None or numbers == _NONE:
            return fn(*args, **kwargs)
        return stand_ins.run(fn, args, kwargs, recorder.numbers)
    except TypeError as error:
        given = (
            recorder.numbers.symbols
            or recorder.lent
            or recorder.sizes is not None
            or (stand_ins is not None and stand_ins.has_numbers)
        )
        if numbers == _NONE or not given or recorder.unfolding.failed:  # type: ignore[union-attr]
            raise
        recorder.rollback()
        surroundings.put_back()
        raise _NumbersRefused(str(error), recorder.text) from error


def _record(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], arguments: Sequence[Tensor],
    surroundings: Environment, keep: bool, look: Callable[[Recorder, Any], None] | None, stand_ins: StandIns | None,
    sizes: Sequence[Shape] | None, numbers: int, unfolding: Unfolding,
) -> Recorded:  # fmt: skip
    """See `record`; ``numbers`` says what may be numbers that stand in for others."""
    recorder = Recorder(arguments, name=getattr(fn, "__name__", type(fn).__name__).strip("<>"), sizes=sizes)
    recorder.gives_numbers = numbers == _ALL
    recorder.gives_plain_sizes = numbers == _NONE
    recorder.unfolding = unfolding

    def lasts() -> Any:
        """Whether the function did what cannot be undone."""
        used = surroundings.used_up(Draws(recorder.numbers.draws))
        return recorder.numbers.observed or used or not can_run_again(recorder.printed)

    unfolding.begin(lambda: not lasts(), surroundings.watch)
    edges = [edge_of(t) for t in arguments]
    try:
        surroundings.births.begin()
        with recorder:
            modes = STATE.modes(), get_default_dtype()
            with printing(recorder):
                given = _called(fn, args, kwargs, stand_ins, recorder, surroundings, numbers)
            if unfolding.failed:  # and the function caught the error
                raise _Unfolded("", recorder.text)
            if recorder.refused is not None:  # and the function caught it
                raise recorder.refused
            left_modes = (STATE.modes(), get_default_dtype()) != modes
            changes = surroundings.changes()
            out, left, eager = formed(given, changes, surroundings)
            used_up = surroundings.used_up(Draws(recorder.numbers.draws)) or goes_by(recorder.numbers)
            if left_modes:
                eager = "leaves modes, such as that of gradients or the default dtype, otherwise than before"
            surroundings.hang_on_missing((x, name) for x, name in recorder.lacking if not recorder.is_own(x))
            if (name := surroundings.gained()) is not None:
                used_up = f"sets {name}"
            if recorder.numbers.observed is not None:
                used_up = f"reads {recorder.numbers.observed}"
            if numbers == _NONE and stand_ins is not None and stand_ins.has_numbers:
                eager = eager or "takes a number that changes from call to call where an exact type is asked for"
            if tells_address((out, written(recorder.printed)), surroundings.knows_address):
                eager = eager or "tells the address of an object that may be another one at the next call"
            eager = eager or used_up or _eager(recorder, out, arguments, edges)
            known = recorder.arguments
            copies = recorder.copied(find_tensors(out))
            if copies and eager is None:
                eager = "returns x[i], where i is a tensor of no dimensions: a look at memory that others see"
            derivatives: list[Derivative] = []
            if not eager:
                try:
                    derivatives = record_derivatives(recorder, out, arguments)
                except Observed:
                    eager = "has hooks on tensors that it makes, or retains their gradients"
                except HangsOn as error:
                    eager = f"has a backward function that {error}, which may be otherwise when gradients go back"
                if (name := surroundings.undo_later(changes)) is not None:
                    eager = f"changes {name} when gradients go back"
            if not eager and len(recorder.arguments) != len(known) + len(derivatives):
                eager = "computes gradients with numbers that change from call to call"
        if look is not None:
            look(recorder, given)
        grads = [g for d in derivatives for g in d.grads if g is not None]
        recording = recorder.finish((out, grads))
        surroundings.hang_on_text({d.how for d in recording.decisions})
        # Where values choose among ways, others of them may use other tensors.
        surroundings.hang_on_forms(() if recording.decisions else recorder.used)
        for copy, of in copies:
            look_again(copy, of)
        given = made_plain(given, changes, surroundings)
    except Exception as error:
        if unfolding.failed:
            recorder.rollback()
            surroundings.put_back()
            raise _Unfolded(str(error), recorder.text) from error
        refused = recorder.refused or (error if isinstance(error, RecordError) else None)
        if refused is None:
            raise
        if keep and not lasts():
            recorder.rollback()
            surroundings.put_back()
            raise Refused(refused.message, recorder.text) from refused
        raise refused from None
    finally:
        surroundings.births.end()
        if not keep:
            recorder.rollback()
            surroundings.put_back()
    if eager is None and recorder.uses_others:
        eager = "computes with a tensor that another thread made meanwhile"
    if eager is None:
        eager = next((asks(d) for d in recording.decisions if d.how in _UNPREDICTABLE), None)
    if eager is None and recorder.uses_unseen:
        eager = "computes with memory that it fills otherwise than by operations on tensors"
    scalars = None if stand_ins is None else stand_ins.scalars(recorder.numbers)
    settles = bool(changes) or used_up is not None
    return Recorded(
        recording, out, known, tuple(derivatives), surroundings.captured, eager, settles, scalars,
        recorder.conditions, left, given, tuple(value for _, value in changes),
    )  # fmt: skip


#: Ways of asking for values that do more than choose the way on: an array may be another one next time, and other
#: libraries write into memory that they are given.
_UNPREDICTABLE = ("array", "pickle", "__dlpack__", "__cuda_array_interface__")


def asks(decision: Decision) -> str:
    """What a function did that asks for a value."""
    return f"asks for the value of a tensor ({decision.how}, made at {decision.node.source})"


def _eager(recorder: Recorder, out: Any, arguments: Sequence[Tensor], edges: Sequence[Any]) -> str | None:
    """What a function did that its program would not do."""
    if any(edge_of(t) is not e for t, e in zip(arguments, edges, strict=True)) or recorder.changed_outside():
        return "changes where gradients of a tensor from outside go"
    if any(x is t for x in recorder.hooked for t in arguments):
        return "goes back to an argument that has hooks"
    own = [t for t in find_tensors(out) if recorder.is_own(t)]
    if any(edge_of(t) is t and (t._hooks or t._gathered_hooks) for t in own):
        return "returns a tensor that it made, that gradients end at and that has hooks"
    for t in own:
        if (name := next((k for k, v in marks_of(t).items() if not isinstance(v, (*PLAIN, DType))), None)) is not None:
            return f"returns a tensor that it made with an attribute, {name}, that is no plain value"
    strange = foreign(out)
    return None if strange is None else f"returns an object of type {type(strange).__name__} that it may have made"


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A recorded function, built.

    Attributes:
        recorded: What it was built from.
        forward: What the function computes, and the values that gradients need.
        backward: For each derivative its program and where its inputs come from.
        inputs: For each input of ``forward`` its position among the recording's.
        ranges: Conditions on the values of an output of ``forward`` that is there for them alone, behind those of
            the recording and before the residuals.
    """

    recorded: Recorded
    forward: Built
    backward: tuple[tuple[Derivative, Built, Later], ...]
    inputs: tuple[int, ...]
    ranges: tuple[Range, ...]

    def load(self, launcher: str = "gpu", graphs: bool = True) -> Replay:
        """Compile or find the programs and make them callable; see `tracec.build.load`."""
        backwards = []
        for derivative, built, later in self.backward:
            gives, position = [], 0
            for g in derivative.grads:
                gives.append(None if g is None else position)
                position += g is not None
            run = held_to(load(built, launcher, graphs), derivative.constants)
            backwards.append(Backward(derivative, run, later.residuals, tuple(gives)))
        recorded = self.recorded
        values = [self.forward.plan.values[v] for v in self.forward.plan.outputs]
        places = [(v.place, v.index) for v in values]
        forward = load(self.forward, launcher, graphs)
        return Replay(
            recorded.recording, forward, places, recorded.out, recorded.arguments, backwards, self.inputs,
            recorded.captured, self.ranges, recorded.numbers, recorded.left,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Graphs:
    """The graphs that a recording is built as.

    Attributes:
        whole: All of it: results, gradients of results, then state.
        forward: What the function computes, and the values that gradients need.
        donate: Output → input of ``forward`` whose memory it takes over.
        backward: For each derivative its graph.
        inputs: For each input of ``forward`` its position among the recording's.
        ranges: As `Program.ranges`.
    """

    whole: Graph
    forward: Graph
    donate: dict[int, int]
    backward: tuple[tuple[Derivative, Later], ...]
    inputs: tuple[int, ...]
    ranges: tuple[Range, ...]


def graphs_of(recorded: Recorded, disabled: frozenset[str]) -> Graphs:
    """The graphs to build; those of a function that gradients go back through are parts of the optimised whole."""
    recording = recorded.recording
    graph, ranges = with_ranges(clamped(recording.graph, recording.checks), recording.checks)
    donations = recording.donations()
    if not recorded.derivatives:
        return Graphs(graph, graph, donations, (), tuple(range(len(graph.inputs))), ranges)
    joint = optimize.PIPELINE.run(graph, disabled - set(PLANNING)).graph
    count = len(find_tensors(recorded.out))
    later, at = [], count
    for d in recorded.derivatives:
        size = sum(g is not None for g in d.grads)
        later.append(list(range(at, at + size)))
        at += size
    first = [i for i in range(len(graph.outputs)) if not count <= i < at]
    cotangents = [input_of(recording, d.cotangent) for d in recorded.derivatives]
    inputs = tuple(i for i in range(len(graph.inputs)) if i not in cotangents)
    forward, parts = split(joint, first, later, [[c] for c in cotangents], frozenset(donations.values()))
    donate = {first.index(out): inputs.index(inp) for out, inp in donations.items()}
    return Graphs(graph, forward, donate, tuple(zip(recorded.derivatives, parts, strict=True)), inputs, ranges)


def build_program(
    recorded: Recorded, target: str, arch: str, disabled: frozenset[str], choices: Choices | None = None
) -> Program:
    """Optimise, split, plan and generate source; see `tracec.build.build`."""
    graphs = graphs_of(recorded, disabled)
    built = build(graphs.forward, target, arch, graphs.donate, disabled, choices)
    backward = tuple((d, build(part.graph, target, arch, {}, disabled, choices), part) for d, part in graphs.backward)
    return Program(recorded, built, backward, graphs.inputs, graphs.ranges)


def input_of(recording: Recording, tensor: Tensor) -> int:
    """The input of a recording that a tensor's memory is."""
    return next(i for i, v in enumerate(recording.inputs) if v.storage is tensor._storage)
