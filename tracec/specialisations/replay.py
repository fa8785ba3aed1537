"""Replay, a program in the function's place: finds inputs, runs, writes state back, replays effects, makes results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tracec.build import Runner
from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, DTypeError, LinAlgError, ShapeError
from tracec.ir.expression import compile_numbers
from tracec.record.backend import CPU, named
from tracec.record.cell import Cell, Storage, new_tensor
from tracec.record.conversion import as_number
from tracec.record.late import Late, settle
from tracec.record.recording import Result, find_parts, find_tensors, is_number
from tracec.record.tensor import Tensor
from tracec.specialisations.aliasing import Aliasing
from tracec.specialisations.checks import Checks, at_present, may_raise, on_device, test_numbers
from tracec.specialisations.derivatives import Backward
from tracec.specialisations.device_checks import DeviceChecks
from tracec.specialisations.effects import Parts
from tracec.specialisations.histories import Histories, Place
from tracec.specialisations.inputs import Arrays, finder, locator, memory_of, storage_finder
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.results import (
    ProgramCall,
    laid_out,
    made_tensor,
    makers,
    rebuilder,
    with_memory,
)


class Unfit(Exception):
    """A program raised what the function would, before anything was written; the function itself tells what happens.

    Attributes:
        error: What it raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


#: What eager rules raise for what they are given.
REFUSALS = (ArgumentError, ArgumentTypeError, AxisError, DTypeError, LinAlgError, ShapeError)


class Replay:
    """A recording's program with all that surrounds it.

    Args:
        recorded: What was recorded.
        forward: The program.
        places: For each output of ``forward`` where it lies; two of one place are one array, and those of
            ``("input", k)`` are the array of an input.
        backwards: Programs for gradients of results.
        inputs: For each input of ``forward`` its position among the recording's, but for that of `DeviceChecks`.
        late: Conditions on the numbers in an output that follows those of the recording, before the residuals.
    """

    def __init__(
        self,
        recorded: Recorded,
        forward: Runner,
        places: Sequence[Place],
        backwards: Sequence[Backward],
        inputs: Sequence[int],
        late: Sequence[Late] = (),
    ) -> None:
        recording, left = recorded.recording, recorded.left
        self.forward = forward
        #: The numbers that are watched; None where none is.
        self.numbers = recorded.numbers
        self._left = left
        self._inputs = tuple(recording.inputs[i] for i in inputs)
        self.surroundings = recording.surroundings
        here = {id(t): k for k, t in enumerate(recorded.arguments)}
        self._checks = Checks(recording.checks, [v.node for v in recording.inputs])
        self._has_checks = bool(self._checks)
        #: Whether a call may end before anything is written, so that what was drawn for it is to be undone.
        self.may_raise = bool(self._checks) or may_raise(recording.graph, late)
        self._check_finders = [finder(recording.inputs[i], here) for i in self._checks.needs]
        #: How the arguments looked at memory; those of later calls must do so, too.
        self.aliasing = Aliasing(recording, self._inputs, recorded.arguments, recorded.captured)
        self.fits = self.aliasing.fit
        results = recording.results[: len(find_tensors(recorded.out))]
        self._place_outputs(recorded, late, here)
        #: Whether gradients go back from what it gives, by programs.
        self.goes_back = bool(backwards)
        self._arrays = Arrays(self._inputs, here)
        storages = [storage_finder(v, here) for v in self._inputs]
        with_programs = {b.derivative.result for b in backwards}
        self.makers = makers(results, here, with_programs)
        self._rebuild = rebuilder(recorded.out)
        own = with_memory(results)
        self._copies = self._outputs_to_copy(places, own, backwards)
        changes = bool(recording.writes or recording.grads or recording.flags or left or recording.printed)
        owners = self._memory_of_outputs(places, own)
        self._histories = Histories(backwards, recorded.captured, owners, storages, changes)
        #: The writes of what the program does not write in place of what it read.
        self._apart = [(i, output) for i, output in self._writes if places[output] != ("input", i)]
        self._find_the_short_way(results, recorded.out, with_programs, bool(late or recording.numbers or left))
        del self._inputs  # with the memory of the arguments of the call that was recorded, a batch perhaps

    def _place_outputs(self, recorded: Recorded, late: Sequence[Late], here: Mapping[int, int]) -> None:
        """Note what each output of the program is for: writes, gradients, numbers, texts, conditions."""
        recording, out, left = recorded.recording, recorded.out, recorded.left
        position = {v.storage: i for i, v in enumerate(self._inputs) if v.whole}
        # The forward program has the results first and the gradients of results not at all.
        shift = len(recording.results) - len(find_tensors(out))
        self._late, self._late_at = at_present(late), len(recording.graph.outputs) - shift
        self._device_checks = DeviceChecks(self._late) if on_device(late) else None
        self._writes = [(position[s], output - shift) for s, output in recording.writes]
        #: What is written to, or how it is found.
        self._written = [(memory_of(self._inputs[i]), storage_finder(self._inputs[i], here)) for i, _ in self._writes]
        #: What is written to more than once.
        self._more = [(k, count - 1) for k, count in enumerate(recording.counts) if count != 1]
        self._grads = [
            (None if id(t) in here else t, locator(t, here), None if output is None else output - shift, layout)
            for t, output, layout in recording.grads
        ]
        self._flags = [(locator(t, here), flag) for t, flag in recording.flags]
        self._shared_grads = [locator(t, here) for t in reversed(left.grads)] if left else []
        self._asked = [(k, output - shift) for k, output in recording.asked]
        self._kinds = tuple(map(is_number, find_parts(out)))
        self._numbers = compile_numbers((), recording.numbers) if recording.numbers else None
        self._shown = len(recording.numbers) - sum(self._kinds)
        self._looked = [output - shift for output in recording.looked]
        self._printed = recording.printed

    def _find_the_short_way(
        self, results: Sequence[Result], out: Any, with_programs: Collection[int], more: bool
    ) -> None:
        """Find what can be left out of a call.

        Args:
            results: The results.
            out: What the function returned.
            with_programs: Those of the results that gradients go back from by programs.
            more: There is more to a call than values: conditions, numbers, what is left around it.
        """
        #: Whether a call that gives more than values gives one tensor nevertheless.
        self._gives_one = _is_tensor(out) and self._numbers is None and self._left is None
        busy = more or self._checks or self._writes or self._grads or self._flags or self._copies or self._printed
        fresh = not busy and _are_fresh(results, with_programs)
        #: The outputs that are all there is to give: then a call is little more than that of the program.
        self._fresh = [r.output for r in results] if fresh else None
        alone = fresh and _is_tensor(out) and not with_programs
        self._only = self._fresh[0] if self._fresh is not None and alone else None
        devices = {r.tensor._device for r in results} if fresh else set()
        #: The GPU that they are on, where that is one for all.
        self._device = named(devices.pop()) if len(devices) == 1 and CPU not in devices else None
        #: Which of these the function wrote to, and how often.
        self._versions = [(k, r.version) for k, r in enumerate(results) if r.version]
        several = type(out) in (tuple, list) and bool(out) and all(map(_is_tensor, out))
        #: What gathers results that are all there is in a list or tuple.
        self._gathered: Callable[[list[Tensor]], Any] | None = type(out) if several else None
        given = [k for v in self._inputs if (k := v.argument) is not None and v.array.flags.c_contiguous]
        #: Arguments whose arrays are all that has to be found: the key of a call says where elements lie.
        self._direct = (
            given if self._fresh is not None and self.aliasing.plain and len(given) == len(self._inputs) else None
        )
        self._is_first = self._direct == [0]
        self._quick = getattr(self.forward, "quick", None)

    def _outputs_to_copy(
        self, places: Sequence[Place], results: Sequence[int], backwards: Sequence[Backward]
    ) -> tuple[int, ...]:
        """Outputs that need memory of their own: those that are an input's, or another output's as well."""
        written = dict(self._writes)
        used = [
            *written.values(),
            *results,
            *(output for _, _, output, _ in self._grads if output is not None),
            *self._looked,
        ]
        seen: set[Place] = {("input", i) for i in range(len(self._inputs))}
        found = []
        for output in dict.fromkeys(used):
            place = places[output]
            if place in seen and not (place[0] == "input" and written.get(place[1]) == output):
                found.append(output)
            seen.add(place)
        # Gradients need what was in memory that is about to be written.
        kept = {i for b in backwards for from_output, i in b.residuals if from_output}
        over = {("input", i) for i in written}
        return (*found, *(i for i in sorted(kept - set(found)) if places[i] in over and i not in written.values()))

    def _memory_of_outputs(self, places: Sequence[Place], results: Sequence[int]) -> dict[int, Place]:
        """Outputs that are the memory of an input or of a result: of which one."""
        found = {("input", k): ("input", k) for k in range(len(self._inputs))}
        found.update({places[k]: ("result", k) for k in reversed(results) if k not in self._copies})
        return {i: found[place] for i, place in enumerate(places) if place in found}

    @property
    def programs(self) -> list[Any]:
        """What runs in a call."""
        return [self.forward]

    def describe(self) -> list[str]:
        """How the program runs, in words."""
        return [self.forward.describe()] if hasattr(self.forward, "describe") else []

    def __call__(self, arguments: Sequence[Tensor], symbols: Mapping[int, Any] = MappingProxyType({})) -> Any:
        if self._direct is not None:  # a comprehension takes longer than what is done for one
            arrays = given = [arguments[0]._array] if self._is_first else [arguments[k]._array for k in self._direct]
        else:
            arrays = given = self._arrays(arguments)
        if self._fresh is None:
            return self._with_effects(arguments, given, symbols)
        try:
            outputs = None if self._quick is None else self._quick(given)
            if not outputs:
                arrays = self._arrays.side_by_side(given)
                outputs = self.forward(arrays)
        except REFUSALS as error:
            raise Unfit(error) from error
        if self._only is not None:
            only = made_tensor(outputs[self._only], self._device)
            if self._versions:
                only._storage.version = self._versions[0][1]
            return only
        made = [made_tensor(outputs[k], self._device) for k in self._fresh]
        for k, version in self._versions:
            made[k]._storage.version = version
        if self.goes_back:
            self._histories.give(ProgramCall(outputs, arguments, arrays, made))
        return self._rebuild(Parts(iter(made), symbols)) if self._gathered is None else self._gathered(made)

    def _with_effects(self, arguments: Sequence[Tensor], given: list[Any], symbols: Mapping[int, Any]) -> Any:
        """A call that gives more than new tensors, or changes something.

        Args:
            arguments: The tensors of the call.
            given: The arrays that the program reads, where they are.
            symbols: What stands for numbers and sizes.
        """
        if self._device_checks is not None:  # before anything is changed: errors of calls before come here
            settle()
        outputs, arrays = self._run(arguments, given)
        for output in self._copies:
            outputs[output] = outputs[output].copy()
        # Before what they are is written to.
        numbers = () if self._numbers is None else self._computed(outputs, symbols)
        for i, output in self._apart if arrays is given else self._writes:
            if outputs[output] is not given[i]:
                given[i][...] = outputs[output]
        for printed in self._printed:
            printed.again([new_tensor(outputs[at]) for at in self._looked], numbers[len(numbers) - self._shown :])
        call = tuple.__new__(ProgramCall, (outputs, arguments, arrays, []))  # which the class takes longer for
        for make in self.makers:
            call.made.append(make(call))
        if self._grads:
            self._set_gradients(outputs, arguments)  # after the results, which may be those that were there
        for tensor_of, flag in self._flags:  # before histories, which say where gradients end
            tensor_of(arguments).requires_grad_(flag)
        if self.goes_back:
            self._histories.give(call)
        if self._gives_one:
            return call.made[0]
        if not numbers:
            return self._finished(Parts(iter(call.made), symbols), arguments)
        tensors, found = iter(call.made), iter(numbers)
        parts = Parts((next(found if number else tensors) for number in self._kinds), symbols)
        return self._finished(parts, arguments)

    def _run(self, arguments: Sequence[Tensor], given: list[Any]) -> tuple[list[Any], list[Any]]:
        """What the program computes, and of what; of what it may write to, the versions count that unless it refuses.

        Args:
            arguments: The tensors of the call.
            given: The arrays that it reads: where elements lie with gaps between them, it is copies that are read.
        """
        written: list[Storage] = []
        try:
            if self._has_checks:
                self._checks([find(arguments) for find in self._check_finders])
            for storage, find in self._written:
                if storage is None:
                    storage = find(arguments)
                storage.version += 1  # as `about_to_change`: a step writes to every parameter and its state
                if storage.readers:
                    storage.give_copies()
                written.append(storage)
            arrays, outputs = given, None if self._quick is None else self._quick(given)
            if not outputs:
                arrays = self._arrays.side_by_side(given)
                outputs = self._computed_by_program(arrays)
            if self._late and self._device_checks is None:
                test_numbers(outputs[self._late_at], self._late)
        except REFUSALS as error:
            for storage in written:
                storage.version -= 1
            raise Unfit(error) from error
        for k, more in self._more:
            written[k].version += more
        return outputs, arrays

    def _computed_by_program(self, arrays: Sequence[Any]) -> list[Any]:
        """What the program computes; conditions on a GPU are tested later."""
        checks = self._device_checks
        if checks is None:
            return self.forward(arrays)
        seen = checks.numbers()
        outputs = self.forward([*arrays, seen])
        if outputs[self._late_at] is not seen:
            seen[...] = outputs[self._late_at]
        checks.note()
        return outputs

    def _set_gradients(self, outputs: Sequence[Any], arguments: Sequence[Tensor]) -> None:
        for owner, tensor_of, at, layout in self._grads:
            if owner is None:
                owner = tensor_of(arguments)
            if at is None:
                owner._grad = None
            else:
                array = outputs[at] if layout is None else laid_out(outputs[at], layout)
                owner._grad = new_tensor(array, owner._device if owner._device is not CPU else None)

    def _finished(self, parts: Parts, arguments: Sequence[Tensor]) -> Any:
        """The results of a call; what it leaves behind is put where it belongs."""
        made = self._rebuild(parts)
        if self._left is None:
            return made
        for tensor_of in self._shared_grads:
            tensor_of(arguments)._grad = made[1].pop()
        return self._left.apply(made, parts.symbols)

    def _computed(self, outputs: Sequence[Any], symbols: Mapping[int, Any]) -> tuple[Any, ...]:
        """The numbers that the function returns and shows."""
        assert self._numbers is not None
        found = self._numbers({**symbols, **{k: as_number(outputs[at].item()) for k, at in self._asked}})
        if found is None:  # what Python refuses otherwise was asked for before
            raise OverflowError("int too large to convert to float")
        return found


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Cell) and not value.is_composite


def _are_fresh(results: Sequence[Result], has_program: Collection[int]) -> bool:
    """Whether results are outputs as they are, each in memory of its own, and gradients go through programs only."""
    known = any(r.outside or r.shared or r.layout for r in results)
    known = known or any(r.requires_grad and k not in has_program for k, r in enumerate(results))
    known = known or any(r.leaf or r.marks or r.cls is not Tensor for r in results)
    return not known and len({id(r.tensor._storage) for r in results}) == len(results)
