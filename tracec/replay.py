"""Running a recorded function's program in its place: inputs found, state written back, results made."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracec.build import Runner
from tracec.errors import GradientError, RecordError
from tracec.ir.operator import Operator, not_differentiable
from tracec.record.backward import backward
from tracec.record.call import Call, ProgramPullback
from tracec.record.cell import Cell, add_reader, alias, new_tensor
from tracec.record.recorder import Recorder
from tracec.record.recording import Lifted, Recording, Result, find_tensors
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of
from tracec.record.tensor import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Derivative:
    """How gradients go back through a compiled function from one of its results.

    Attributes:
        result: Position of the result.
        targets: Where gradients go on to: the position of an argument, or a leaf from outside.
        grads: The tensors that were recorded as the gradients of the targets; None for zero.
        cotangent: The tensor that stood for the result's gradient.
    """

    result: int
    targets: tuple[int | Tensor, ...]
    grads: tuple[Tensor | None, ...]
    cotangent: Tensor


def record_derivatives(recorder: Recorder, out: Any, arguments: Sequence[Tensor]) -> list[Derivative]:
    """Record, while the recorder is at work, how gradients go back from each result that asks for it.

    Raises:
        RecordError: gradients leave the function other than through its arguments and leaves.
    """
    found: list[Derivative] = []
    if not STATE.grad:
        return found
    for position, result in enumerate(find_tensors(out)):
        if not recorder.is_inside(result) or (edge := edge_of(result)) is None or edge is result:
            continue
        targets = _targets(edge, recorder, arguments)
        if targets is None:  # the function went back itself and freed what that takes
            continue
        tensors = [arguments[t] if isinstance(t, int) else t for t in targets]
        cotangent = new_tensor(np.ones(result._array.shape, result._array.dtype))
        recorder.arguments = (*recorder.arguments, cotangent)
        recorder.node_of(cotangent)
        grads = backward([result], [cotangent], tensors, True, False, False)
        found.append(Derivative(position, tuple(targets), tuple(grads), cotangent))
    return found


def _targets(edge: Any, recorder: Recorder, arguments: Sequence[Tensor]) -> list[int | Tensor] | None:
    """The arguments and leaves that gradients of a result reach; None where they cannot any more."""
    by_edge: dict[Any, int] = {}
    for k, argument in enumerate(arguments):
        reached = edge_of(argument)
        if reached is not None:
            by_edge.setdefault(reached, k)
    found: dict[Any, int | Tensor] = {}
    stack, seen = [edge], set()
    while stack:
        e = stack.pop()
        if e is None or e in seen:
            continue
        seen.add(e)
        if e in by_edge:
            found[e] = by_edge[e]
        elif isinstance(e, Cell):
            found[e] = e  # type: ignore[assignment]
        elif e.recorder is not recorder and e.pullback.needs:
            raise RecordError("compile: a tensor from outside that the function closes over carries gradients")
        elif e.freed:
            return None
        else:
            stack.extend(e.edges)
    return list(found.values())


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


class Replay:
    """A recording's program with all that surrounds it.

    Args:
        recording: What was recorded.
        forward: The program.
        out: What the function returned when it was recorded.
        arguments: The tensors that it was given then.
        backwards: Programs for gradients of results.
        inputs: For each input of ``forward`` its position among the recording's.
    """

    def __init__(
        self, recording: Recording, forward: Runner, out: Any, arguments: Sequence[Tensor],
        backwards: Sequence[Backward], inputs: Sequence[int],
    ) -> None:  # fmt: skip
        self.forward = forward
        self.inputs = tuple(recording.inputs[i] for i in inputs)
        self._surroundings = recording.surroundings
        self._storages = {id(v.storage) for v in self.inputs if v.argument is None}
        self._shared = tuple(id(t._storage) in self._storages for t in arguments)
        self.grad_reads = [(weakref.ref(t), present) for t, present in recording.grad_reads.items()]
        position = {v.storage: i for i, v in enumerate(self.inputs) if v.whole}
        # The forward program has the results first and the gradients of results not at all.
        shift = len(recording.results) - len(find_tensors(out))
        self.writes = [(position[s], output - shift) for s, output in recording.writes]
        self.grads = [(t, None if output is None else output - shift) for t, output in recording.grads]
        self.backwards = {b.derivative.result: b for b in backwards}
        here = {id(t): k for k, t in enumerate(arguments)}
        tensors = find_tensors(out)
        self._makers = [self._maker(k, r, here) for k, r in enumerate(recording.results[: len(tensors)])]
        self._rebuild = _rebuilder(out)
        self._finders = [_finder(v) for v in self.inputs]

    def fits(self, arguments: Sequence[Tensor]) -> bool:
        """Whether gradients that the function looked at are there as they were, and memory is shared as it was."""
        if not self._surroundings.hold():
            return False
        for reference, present in self.grad_reads:
            tensor = reference()
            if tensor is not None and (tensor._grad is not None) != present:
                return False
        if not self._storages:
            return True
        return all((id(t._storage) in self._storages) == s for t, s in zip(arguments, self._shared, strict=True))

    def __call__(self, arguments: Sequence[Tensor]) -> Any:
        given = [find(arguments) for find in self._finders]
        arrays = [a if a.flags.c_contiguous else np.ascontiguousarray(a) for a in given]
        for i, _ in self.writes:
            self.inputs[i].find_storage(arguments).about_to_change()
        outputs = self.forward(arrays)
        for i, output in self.writes:
            if outputs[output] is not given[i]:
                given[i][...] = outputs[output]
        for tensor, at in self.grads:
            tensor._grad = None if at is None else new_tensor(outputs[at])
        return self._rebuild(iter([make(outputs, arguments, arrays) for make in self._makers]))

    # Results ----------------------------------------------------------------------------------------------

    def _maker(self, k: int, result: Result, here: Mapping[int, int]) -> Callable[..., Tensor]:
        """How the k-th result is made from outputs, arguments and input arrays."""
        tensor, at = result.tensor, result.output
        if result.outside:
            argument = here.get(id(tensor))
            if argument is not None:
                return lambda outputs, arguments, arrays: arguments[argument]
            if not result.steps:
                return lambda outputs, arguments, arrays: tensor
            lifted = next((v for v in self.inputs if v.storage is tensor._storage), None)
            if lifted is None or lifted.argument is None:
                return lambda outputs, arguments, arrays: alias(tensor)
            return _view_maker(lifted, result.steps)
        program = self.backwards.get(k)
        if program is not None:
            return lambda outputs, arguments, arrays: self._with_history(program, outputs, at, arguments, arrays)
        if result.requires_grad:
            return lambda outputs, arguments, arrays: _spent(outputs[at])
        return lambda outputs, arguments, arrays: new_tensor(outputs[at])

    def _with_history(
        self, program: Backward, outputs: list[Any], at: int, arguments: Sequence[Tensor], arrays: list[Any]
    ) -> Tensor:
        """A result whose gradients go back through the compiled program."""
        result = new_tensor(outputs[at])
        targets = [arguments[t] if isinstance(t, int) else t for t in program.derivative.targets]
        edges = tuple(edge_of(t) for t in targets)
        count = len(program.residuals)
        pullback = ProgramPullback(tuple(range(count)), program.gives, program.run)
        operation = Operation(Call(_COMPILED, (), (), result._type), edges, pullback, None)
        operation.saved = []
        me = weakref.ref(operation)
        for from_output, i in program.residuals:
            operation.saved.append(outputs[i] if from_output else arrays[i])
            readers: list[Any] = [] if from_output else self.inputs[i].find_storage(arguments).readers
            if not from_output:
                add_reader(readers, me)
            operation.readers.append(readers)
        result._history = operation
        return result


def _compiled(*_: Any) -> Any:
    raise GradientError("a compiled function is no operator")


#: Stands for a compiled function among the operations that gradients go back through.
_COMPILED = Operator(
    name="compiled", family="compiled", type_rule=_compiled, eager=_compiled,
    vjp=not_differentiable("a compiled function has a program of its own"), jvp=None, batch=_compiled, lower=None,
    promotion="none", samples=(), arity=None,
)  # fmt: skip


def _spent(array: Any) -> Tensor:
    """A result whose history the function itself went back through: going back again is an error, as it is eagerly."""
    made = new_tensor(array)
    pullback = ProgramPullback((0,), (), lambda arrays: [])
    made._history = Operation(Call(_COMPILED, (), (), made._type), (), pullback, None)
    return made


def _finder(lifted: Lifted) -> Callable[[Sequence[Tensor]], Any]:
    """How an input's array is found."""
    k = lifted.argument
    if k is not None:
        if lifted.whole:
            return lambda arguments: arguments[k]._storage.array
        return lambda arguments: arguments[k]._array
    if lifted.grad_of is not None:
        return lifted.find
    storage, array = lifted.storage, lifted.array
    if lifted.whole:
        return lambda arguments: storage.array
    return lambda arguments: array


def _view_maker(lifted: Lifted, steps: Sequence[Call]) -> Callable[..., Tensor]:
    def make(outputs: Any, arguments: Sequence[Tensor], arrays: Any) -> Tensor:
        argument = arguments[lifted.argument or 0]
        view: Tensor = alias(argument)
        view._array, view._steps = argument._storage.array, tuple(steps)
        for call in steps:
            view._array = call.op.eager(np, view._array, **call.keywords)
        return view

    return make


def _rebuilder(out: Any) -> Callable[[Any], Any]:
    """From a value with tensors in it, how to make one of the same structure with others."""
    if isinstance(out, Cell):
        return next
    if isinstance(out, (list, tuple)):
        parts = [_rebuilder(v) for v in out]
        cls = type(out)
        if hasattr(cls, "_fields"):
            return lambda tensors: cls(*(p(tensors) for p in parts))
        return lambda tensors: cls(p(tensors) for p in parts)
    if isinstance(out, dict):
        items = [(k, _rebuilder(v)) for k, v in out.items()]
        return lambda tensors: {k: p(tensors) for k, p in items}
    return lambda tensors: out
