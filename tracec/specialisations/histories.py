"""Autograd histories of a program's results: ``grad_fn`` nodes whose backward is a compiled program of its own."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tracec.record.call import Call
from tracec.record.cell import Storage, add_reader
from tracec.record.derived import ProgramPullback
from tracec.record.tape import Operation, edge_of
from tracec.record.tensor import Tensor
from tracec.specialisations.derivatives import Backward, DoubleBackward
from tracec.specialisations.results import NOTHING, ProgramCall, compiled

#: Where an output lies: its place and its number there, as in `tracec.ir.plan.Value`.
Place = tuple[str, int]


class Histories:
    """Lets gradients of results go back.

    Args:
        backwards: Programs for gradients of results.
        captured: Memory that the function reaches otherwise than by its arguments.
        owners: Output → the input or result whose memory it is, where it is any's.
        finders: For each input of the program, what finds its memory among the arguments of a call.
        changes: Whether the function changes anything: its gradients then have none.
    """

    def __init__(
        self,
        backwards: Sequence[Backward],
        captured: Collection[Storage],
        owners: Mapping[int, Place],
        finders: Sequence[Callable[[Sequence[Tensor]], Storage]],
        changes: bool,
    ) -> None:
        self._programs = {b.derivative.result: b for b in backwards}
        self._captured = tuple(captured)
        self._owners, self._storage_finders = owners, finders
        #: Results whose gradients can have gradients.
        self._twice = {k for k, b in self._programs.items() if not (changes or b.derivative.to_made)}
        #: For each result by what it is known there, by its shape.
        self._calls: dict[int, dict[Any, Call]] = {k: {} for k in self._programs}
        self._pullbacks = {k: _pullback(b) for k, b in self._programs.items()}

    def give(self, call: ProgramCall) -> None:
        """Let gradients of the results of a call go back through the programs for them."""
        for k, program in self._programs.items():
            result = call.made[k]
            known = self._calls[k]
            shape = result._array.shape
            made = known.get(shape)
            if made is None:
                made = known[shape] = Call(compiled(program.derivative.origin.name), (), (), result._type)
            result._history = self._history(program, call, made, self._pullbacks[k])

    def _history(self, program: Backward, call: ProgramCall, made: Call, pullback: ProgramPullback) -> Operation:
        """Where gradients of a result go back: through the compiled program."""
        targets = program.derivative.ends(call.arguments, call.made)
        operation = Operation(made, tuple(map(edge_of, targets)), pullback, program.derivative.origin.source)
        if program.derivative.result in self._twice:
            operation.double_backward = DoubleBackward(program.derivative, targets, self._captured, call.arguments)
        if program.derivative.saves and not program.residuals:  # it can be gone through once all the same
            operation.saved, operation.readers = [NOTHING], [[]]
            return operation
        operation.saved = []
        me = weakref.ref(operation)
        for from_output, i in program.residuals:
            operation.saved.append(call.outputs[i] if from_output else call.arrays[i])
            readers: list[Any] = []
            source = self._owners.get(i) if from_output else ("input", i)
            if source is not None:  # memory that others can write into
                place, k = source
                storage = self._storage_finders[k](call.arguments) if place == "input" else call.made[k]._storage
                readers = storage.readers
                add_reader(readers, me)
            operation.readers.append(readers)
        return operation


def _pullback(program: Backward) -> ProgramPullback:
    run, through = program.run, program.derivative.origin.through
    if program.derivative.saves and not program.residuals:
        return ProgramPullback((0,), program.gives, lambda arrays: run(arrays[1:]), through)
    return ProgramPullback(tuple(range(len(program.residuals))), program.gives, run, through)
