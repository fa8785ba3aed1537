"""One run of a function under a recorder: what it computed and did, and whether a program can stand in for it.

`record` retries with fewer proxies where C code refuses them, and with loops left to Python where they cannot be graph
operations. What a refused run has done is undone before the function runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tracec.errors import RecordError
from tracec.ir.dtype import DType
from tracec.ir.extent import Condition, Values
from tracec.ir.source import Source
from tracec.ir.types import Shape
from tracec.record.cell import Storage
from tracec.record.counts import Counts
from tracec.record.inplace_views import look_again
from tracec.record.recorder import Recorder
from tracec.record.recording import Decision, Recording, find_tensors, marks_of
from tracec.record.state import STATE
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor, get_default_dtype
from tracec.record.unfolding import Unfolding
from tracec.specialisations.backward_reads import ReadsState
from tracec.specialisations.derivatives import Derivative, Observed, record_derivatives
from tracec.specialisations.draws import Draws, goes_by
from tracec.specialisations.effects import Effects
from tracec.specialisations.environment import Environment
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.leaving import formed, made_plain, with_grads, with_roots
from tracec.specialisations.printed import can_run_again, printed_before, printing, written
from tracec.specialisations.proxies import Proxies
from tracec.specialisations.results import foreign, tells_address
from tracec.specialisations.scalars import Scalars


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
        may_be_setup: Whether that may be otherwise next time, since what it did may be set-up, which is done once.
        numbers: The numbers that a program is given behind the arguments; None where no number is watched.
        conditions: What was learned of sizes by comparing them, and where: it is right for sizes for which they hold.
        left: What the function left in places around it, whose values follow the results in ``out`` then.
        given: What the function returned, as it is for the caller.
        put: The values that the function left in places, as they are there.
        own: What the symbols in the sizes of arguments were.
        like: The recording whose program it is given; see `tracec.specialisations.sizes.fitted`.
    """

    recording: Recording
    out: Any
    arguments: tuple[Tensor, ...]
    derivatives: tuple[Derivative, ...]
    captured: frozenset[Storage]
    eager: str | None
    may_be_setup: bool
    numbers: Scalars | None = None
    conditions: Mapping[Condition, Source | None] = field(default_factory=dict)
    left: Effects | None = None
    given: Any = None
    put: tuple[Any, ...] = ()
    own: Values = field(default_factory=dict)
    like: Recorded | None = None

    def numbers_at(self, sizes: Values) -> Scalars | None:
        """The numbers that a program for some sizes is given."""
        return None if self.numbers is None else self.numbers.at_sizes(sizes)


@dataclass(frozen=True, slots=True, eq=False)
class CallToRecord:
    """A call of a function that is to be recorded.

    Attributes:
        fn: The function.
        args: Its arguments.
        kwargs: Its keyword arguments.
        arguments: The tensors among them.
        surroundings: What it can read besides.
        keep: Whether what it does to tensors lasts; otherwise they are left as they were.
        look: Given the recorder and what the function returned, while what it did to tensors is there to be seen.
        proxies: The numbers that are watched.
        sizes: Shapes of ``arguments`` with symbols for sizes that vary from call to call.
        unfolding: What is known of its loops and branches.
        counts: Symbols for how many elements of masks hold, where that varies from call to call.
    """

    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    arguments: Sequence[Tensor]
    surroundings: Environment
    keep: bool
    look: Callable[[Recorder, Any], None] | None = None
    proxies: Proxies | None = None
    sizes: Sequence[Shape] | None = None
    unfolding: Unfolding = field(default_factory=Unfolding)
    counts: Counts | None = None

    @property
    def has_numbers(self) -> bool:
        """Whether numbers are watched."""
        return self.proxies is not None and self.proxies.has_numbers


def record(call: CallToRecord) -> Recorded:
    """Run a function and write down what it does.

    Raises:
        RecordError: what it does cannot be recorded.
        Refused: the same, of a call that lasts: all is as it was before.
    """
    text: dict[str, str] = {}
    numbers = _ALL
    while True:
        try:
            with printed_before(text):
                return _Run(call, numbers).record()
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


class _Run:
    """One attempt at recording a call; see `record`.

    Args:
        call: The call.
        numbers: What may be numbers that stand in for others.
    """

    def __init__(self, call: CallToRecord, numbers: int) -> None:
        fn = call.fn
        self._call, self._numbers = call, numbers
        self._surroundings, self._unfolding = call.surroundings, call.unfolding
        name = getattr(fn, "__name__", type(fn).__name__).strip("<>")
        self._recorder = Recorder(call.arguments, name, call.sizes, call.counts)
        self._recorder.gives_numbers = numbers == _ALL
        self._recorder.gives_plain_sizes = numbers == _NONE
        self._recorder.unfolding = call.unfolding
        self._recorder.trusts_arrays = call.proxies is None or not call.proxies.arrays_change
        self._edges = [edge_of(t) for t in call.arguments]
        #: Why a program cannot stand in for the function, and what it did that it may not do next time.
        self._eager: str | None = None
        self._used_up: str | None = None
        self._left_modes = False
        self._derivatives: list[Derivative] = []

    def record(self) -> Recorded:
        """Run the function."""
        recorder, surroundings = self._recorder, self._surroundings
        self._unfolding.begin(lambda: not _lasts(recorder, surroundings), surroundings.watch)
        try:
            surroundings.births.begin()
            with recorder:
                given = self._run()
                changes = surroundings.changes()
                out, left, roots = self._formed(given, changes)
                self._see(out)
                known = recorder.arguments
                copies = recorder.copied(find_tensors(out))
                if copies and self._eager is None:
                    self._eager = "returns x[i], where i is a tensor of no dimensions: a view of other memory"
                if not self._eager:
                    self._go_back(out, changes, len(known), roots)
            if self._call.look is not None:
                self._call.look(recorder, given)
            recording = recorder.finish(
                (out, [g for d in self._derivatives for g in d.grads if g is not None]), len(find_tensors(out))
            )
            self._guard_what_was_asked(recording)
            for copy, of in copies:
                look_again(copy, of)
            given = made_plain(given, changes, surroundings)
        except Exception as error:
            self._fail(error)
        finally:
            surroundings.births.end()
            if not self._call.keep:
                self._undo()
            self._unfolding.end()
            recorder.forget_before()
        return Recorded(
            recording, out, known, tuple(self._derivatives), surroundings.captured,
            self._eager or self._asked_or_used(recording), bool(changes) or self._used_up is not None,
            None if self._call.proxies is None else self._call.proxies.scalars(recorder.numbers),
            recorder.conditions, left, given, tuple(value for _, value in changes),
        )  # fmt: skip

    def _formed(self, given: Any, changes: Sequence[Any]) -> tuple[Any, Effects | None, int]:
        """What a program is to give: results, what is left behind, and how many roots of views stand before both."""
        recorder = self._recorder
        known = [*recorder.arguments, *recorder.found_grads]
        out, left, self._eager = formed(given, changes, self._surroundings, known)
        if self._eager is not None:
            return out, left, 0
        if grads := recorder.shared_grads(find_tensors(out)):
            out, left = with_grads(out, left, grads)
        out, roots = with_roots(out, recorder.is_own)
        return out, left, roots

    def _guard_what_was_asked(self, recording: Recording) -> None:
        """Guard what is known to be read only after the function has run."""
        surroundings = self._surroundings
        surroundings.guard_print_options({d.how for d in recording.decisions})
        surroundings.guard_module_names()
        # Where values choose among paths, others of them may use other tensors.
        surroundings.guard_tensor_forms(() if recording.decisions else self._recorder.used)

    def _run(self) -> Any:
        """What the function returns; it is noted where it leaves modes otherwise than it found them."""
        modes = STATE.modes(), get_default_dtype()
        with printing(self._recorder):
            given = self._called()
        if self._unfolding.failed:  # and the function caught the error
            raise _Unfolded("", self._recorder.text)
        if self._recorder.refused is not None:  # and the function caught it
            raise self._recorder.refused
        self._left_modes = (STATE.modes(), get_default_dtype()) != modes
        return given

    def _called(self) -> Any:
        recorder, call = self._recorder, self._call
        try:
            if call.proxies is None or self._numbers == _NONE:
                return call.fn(*call.args, **call.kwargs)
            given = call.proxies.run(call.fn, call.args, call.kwargs, recorder.numbers)
            if self._surroundings.compares and self._has_proxies and not _lasts(recorder, self._surroundings):
                self._undo()
                raise _NumbersRefused(self._surroundings.compares, recorder.text)
            return given
        except TypeError as error:
            if self._numbers == _NONE or not self._has_proxies or self._unfolding.failed:
                raise
            self._undo()
            raise _NumbersRefused(str(error), recorder.text) from error

    @property
    def _has_proxies(self) -> bool:
        """Whether the function was given anything that stands in for a number."""
        recorder = self._recorder
        return bool(recorder.numbers.symbols or recorder.lent or recorder.sizes is not None or self._call.has_numbers)

    def _see(self, out: Any) -> None:
        """Find why a program cannot do what the function did."""
        recorder, surroundings = self._recorder, self._surroundings
        self._used_up = surroundings.used_up(Draws(recorder.numbers.draws)) or goes_by(recorder.numbers)
        if self._left_modes:
            self._eager = "leaves modes, such as that of gradients or the default dtype, otherwise than before"
        surroundings.guard_missing_attributes((x, name) for x, name in recorder.lacking if not recorder.is_own(x))
        if (name := surroundings.gained()) is not None:
            self._used_up = f"sets {name}"
        if recorder.numbers.observed is not None:
            self._used_up = f"reads {recorder.numbers.observed}"
        if self._numbers == _NONE and self._call.has_numbers:
            self._eager = (
                self._eager or "takes a number that changes from call to call where an exact type is asked for"
            )
        self._eager = self._eager or surroundings.compares
        if tells_address((out, written(recorder.printed)), surroundings.knows_address):
            self._eager = self._eager or "tells the address of an object that may be another one at the next call"
        self._eager = self._eager or self._used_up or _eager(recorder, out, self._call.arguments, self._edges)

    def _go_back(self, out: Any, changes: Sequence[Any], arguments: int, roots: int) -> None:
        """Record how gradients go back from the results.

        Args:
            out: The results.
            changes: What the function changed around it.
            arguments: How many arguments the recorder had before.
            roots: How many of the results are what others are views of.
        """
        try:
            self._derivatives = record_derivatives(self._recorder, out, self._call.arguments, roots)
        except Observed:
            self._eager = "has hooks on tensors that it makes, or retains their gradients"
        except ReadsState as error:
            self._eager = f"has a backward function that {error}, which may be otherwise when gradients go back"
        if self._derivatives and not all(self._recorder.left_flags().values()):
            self._eager = _TURNED  # gradients of its results go back as it was when these were made
        if (name := self._surroundings.undo_later(changes)) is not None:
            self._eager = f"changes {name} when gradients go back"
        if not self._eager and len(self._recorder.arguments) != arguments + len(self._derivatives):
            self._eager = "computes gradients with numbers that change from call to call"

    def _asked_or_used(self, recording: Recording) -> str | None:
        """What of values that were asked for, and of tensors that were used, no program can have."""
        if self._recorder.uses_others:
            return "computes with a tensor that another thread made meanwhile"
        if (found := next((asks(d) for d in recording.decisions if d.how in _UNPREDICTABLE), None)) is not None:
            return found
        return _FILLED if self._recorder.uses_unseen else None

    def _undo(self) -> None:
        """Put back all that the function did."""
        self._recorder.rollback()
        self._surroundings.put_back()

    def _fail(self, error: Exception) -> NoReturn:
        """Raise what an error means; what can be undone is, where the function runs again."""
        recorder = self._recorder
        if self._unfolding.failed:
            self._undo()
            raise _Unfolded(str(error), recorder.text) from error
        refused = recorder.refused or (error if isinstance(error, RecordError) else None)
        if refused is None:
            raise error
        if self._call.keep and not _lasts(recorder, self._surroundings):
            self._undo()
            raise Refused(refused.message, recorder.text) from refused
        raise refused from None


def _lasts(recorder: Recorder, surroundings: Environment) -> Any:
    """Whether a function did what cannot be undone; what asks keeps neither it nor its arguments alive."""
    numbers = recorder.numbers
    return numbers.observed or surroundings.used_up(Draws(numbers.draws)) or not can_run_again(recorder.printed)


_TURNED = "changes where gradients of a tensor from outside go"
_FILLED = "computes with memory that it fills otherwise than by operations on tensors"

#: Ways of asking for values that do more than choose the way on: an array may be another one next time, and other
#: libraries write into memory that they are given.
_UNPREDICTABLE = ("array", "pickle", "__dlpack__", "__cuda_array_interface__")


def asks(decision: Decision) -> str:
    """What a function did that asks for a value."""
    return f"asks for the value of a tensor ({decision.how}, made at {decision.node.source})"


def _eager(recorder: Recorder, out: Any, arguments: Sequence[Tensor], edges: Sequence[Any]) -> str | None:
    """What a function did that its program would not do."""
    left = recorder.left_flags()
    turned = any(edge_of(t) is not e for t, e in zip(arguments, edges, strict=True) if t not in left)
    if turned or recorder.changed_outside(left):
        return _TURNED
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
