"""Gradients through a compiled function: recorded for each result that has a ``grad_fn``, as backward programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tracec.build import Runner
from tracec.errors import RecordError
from tracec.record.backend import module, on
from tracec.record.backward import backward
from tracec.record.cell import Cell, Storage, new_tensor
from tracec.record.custom import Custom
from tracec.record.mode import enable_grad
from tracec.record.recorder import Recorder
from tracec.record.recording import find_tensors
from tracec.record.state import STATE
from tracec.record.tape import edge_of, root_of, unobserved
from tracec.record.tensor import Tensor
from tracec.specialisations.backward_reads import Constant, constants_of
from tracec.specialisations.results import Origin, origin_of

if TYPE_CHECKING:
    from tracec.specialisations.environment import Environment


class Made(NamedTuple):
    """A leaf that the function makes and returns.

    Attributes:
        result: Position of the result.
    """

    result: int


@dataclass(frozen=True, slots=True, eq=False)
class Derivative:
    """How gradients go back through a compiled function from one of its results.

    Attributes:
        result: Position of the result.
        given: Position among the tensors that the function returned of one that is it, or a view of it.
        targets: Where gradients go on to: the position of an argument, a leaf from outside, or one among the results.
        grads: The tensors that were recorded as the gradients of the targets; None for zero.
        cotangent: The tensor that stood for the result's gradient; None, as ``grads`` are gone, once it is loaded.
        saves: Whether eagerly it takes values that are freed once it has been gone through.
        origin: What made the result.
        constants: Plain values that backward functions of the user's read from around them.
    """

    result: int
    given: int
    targets: tuple[int | Tensor | Made, ...]
    grads: tuple[Tensor | None, ...]
    cotangent: Tensor | None
    saves: bool
    origin: Origin
    constants: tuple[Constant, ...] = ()

    def ends(self, arguments: Sequence[Tensor], results: Sequence[Tensor]) -> list[Tensor]:
        """The tensors that gradients go on to.

        Args:
            arguments: The arguments of a call.
            results: The tensors that it gave.
        """
        return _ends(self.targets, arguments, results)

    def loaded(self) -> Derivative:
        """The same without the tensors that it was recorded with, whose memory nothing needs any more."""
        return replace(self, grads=(), cotangent=None)

    @property
    def to_made(self) -> bool:
        """Whether gradients go on to a leaf that the function makes."""
        return any(isinstance(t, Made) for t in self.targets)


def _ends(
    targets: Sequence[int | Tensor | Made], arguments: Sequence[Tensor], results: Sequence[Tensor]
) -> list[Tensor]:  # fmt: skip
    return [
        arguments[t] if isinstance(t, int) else results[t.result] if isinstance(t, Made) else t for t in targets
    ]  # fmt: skip


class Observed(Exception):
    """A function has hooks on tensors that it makes, or retains their gradients: no program calls or keeps them."""


def record_derivatives(
    recorder: Recorder, out: Any, arguments: Sequence[Tensor], roots: int
) -> list[Derivative]:  # fmt: skip
    """Record, while the recorder is at work, how gradients go back from each result that asks for it.

    Those of a view go back through what it is a view of.

    Args:
        recorder: The recorder.
        out: The results.
        arguments: The tensors that the function was given.
        roots: How many of the results are what others are views of; they come first.

    Raises:
        ReadsState: a backward function of the user's goes by what may be otherwise when gradients go back.
        RecordError: gradients leave the function other than through its arguments and leaves.
        Observed: Python is to be told of gradients on the way.
    """
    found: list[Derivative] = []
    results = find_tensors(out)
    made = {t: Made(k) for k, t in reversed([*enumerate(results)]) if recorder.is_own(t) and edge_of(t) is t}
    given = [root_of(t) for t in results[roots:]]
    first = {id(t): k for k, t in reversed([*enumerate(results)])}
    for position, result in enumerate(results):
        if not recorder.is_own(result) or root_of(result) is not result or first[id(result)] != position:
            continue
        if (edge := edge_of(result)) is None or edge is result:
            continue
        way = _targets(edge, recorder, arguments, made)
        if way is None:  # the function went back itself and freed what that takes
            continue
        targets, saves, constants = way
        origin = origin_of(edge)
        tensors = _ends(targets, arguments, results)
        # What arguments were computed from is gone through when gradients have come to them.
        ends = frozenset(edge_of(arguments[t]) for t in targets if isinstance(t, int))
        with on(result._device):
            cotangent = new_tensor(module(result._device).ones(result._array.shape, result._array.dtype))
        recorder.add_argument(cotangent, result)
        recorder.node_of(cotangent)
        with unobserved([e for t in tensors if (e := edge_of(t)) is not None]):  # hooks are for the way back itself
            grads = backward([result], [cotangent], tensors, True, False, False, ends)
        seen = next((k for k, t in enumerate(given) if t is result), 0)
        found.append(Derivative(position, seen, tuple(targets), tuple(grads), cotangent, saves, origin, constants))
    return found


def _targets(
    edge: Any, recorder: Recorder, arguments: Sequence[Tensor], made: Mapping[Any, Made]
) -> tuple[list[int | Tensor | Made], bool, tuple[Constant, ...]] | None:  # fmt: skip
    """The arguments and leaves that gradients of a result reach, whether that takes values that were saved, and what
    backward functions of the user's read on the way.

    Leaves that the function makes and returns are among them.

    None where they cannot any more.
    """
    by_edge: dict[Any, int] = {}
    for k, argument in enumerate(arguments):
        reached = edge_of(argument)
        if reached is not None:
            by_edge.setdefault(reached, k)
    found: dict[Any, int | Tensor | Made] = {}
    stack, seen, saves = [edge], set(), False
    constants: list[Constant] = []
    while stack:
        e = stack.pop()
        if e is None or e in seen:
            continue
        seen.add(e)
        if e in by_edge:
            found[e] = by_edge[e]
        elif isinstance(e, Cell):
            if e in made:
                found[e] = made[e]
            elif not recorder.is_inside(e):
                found[e] = e  # type: ignore[assignment]
        elif e.recorder is not recorder and e.pullback.needs:
            raise RecordError("compile: a tensor from outside that the function closes over carries gradients")
        elif e.freed:
            return None
        elif e.hooks or e.node_hooks is not None or e.keeps is not None:
            raise Observed
        else:
            if isinstance(e, Custom):
                constants += constants_of(e.rule.written(), e.rule.cls)
            saves = saves or bool(e.pullback.needs)
            stack.extend(e.edges)
    return list(found.values()), saves, tuple(constants)


class DoubleBackward:
    """Gradients of a compiled function's result that have gradients: it runs once more, eagerly, as it was written.

    Args:
        derivative: How gradients go back by a program.
        targets: The tensors that they go back to.
        captured: All memory that the function can have read around it.
        arguments: The tensors that it was given.
    """

    __slots__ = ("_arguments", "_bound", "_captured", "_derivative", "_targets", "_versions")

    def __init__(
        self, derivative: Derivative, targets: Sequence[Tensor], captured: Sequence[Storage],
        arguments: Sequence[Tensor],
    ) -> None:  # fmt: skip
        self._derivative, self._targets = derivative, targets
        self._captured, self._arguments = captured, arguments
        self._versions = self._present()
        self._bound: tuple[Any, ...] | None = None

    def _present(self) -> list[int]:
        return [*[s.version for s in self._captured], *[t._storage.version for t in self._arguments]]

    @property
    def is_bound(self) -> bool:
        """Whether it is known which call it is of."""
        return self._bound is not None

    def bind(self, around: Environment, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Say which call it is of, and what the function reads around it."""
        self._bound = around, args, kwargs, STATE.autocast

    def __call__(self, g: Tensor) -> Sequence[Any] | None:
        """The gradients of the targets, from that of the result; None where the function would compute another one."""
        if self._bound is None or self._present() != self._versions:
            return None
        around, args, kwargs, autocast = self._bound
        if around.fails() is not None:
            return None
        before = STATE.as_written, STATE.autocast
        STATE.as_written, STATE.autocast = True, autocast
        try:
            with enable_grad():
                result = root_of(find_tensors(around.fn(*args, **kwargs))[self._derivative.given])
        finally:
            STATE.as_written, STATE.autocast = before
        pairs = zip(self._derivative.targets, self._targets, strict=True)
        ends = frozenset(edge_of(t) for at, t in pairs if isinstance(at, int))
        edges = [e for t in self._targets if (e := edge_of(t)) is not None]
        with unobserved(edges):  # hooks are for the way back itself
            return backward([result], [g], self._targets, True, True, False, ends)


def bind(out: Any, around: Environment, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Let gradients of a call's results have gradients."""
    for t in find_tensors(out):
        again = getattr(root_of(t)._history, "double_backward", None)
        if isinstance(again, DoubleBackward) and not again.is_bound:
            again.bind(around, args, kwargs)


@dataclass(frozen=True, slots=True, eq=False)
class Backward:
    """A loaded backward program.

    Attributes:
        derivative: What it computes.
        run: Residuals and the cotangent to gradients.
        residuals: (True, output of the forward program) or (False, input of the recording).
        gives: For each target the program's output, or None.
    """

    derivative: Derivative
    run: Runner
    residuals: tuple[tuple[bool, int], ...]
    gives: tuple[int | None, ...]
