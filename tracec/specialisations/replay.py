"""Running a recorded function's program in its place: inputs found, state written back, results made."""

from __future__ import annotations

import itertools
import types
import weakref
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tracec.build import Runner
from tracec.errors import GradientError, RecordError
from tracec.ir.dtype import DType
from tracec.ir.expression import compile_numbers
from tracec.ir.operator import Operator, not_differentiable
from tracec.ir.types import TensorType
from tracec.record.backend import Device, device_of, module, on
from tracec.record.backward import backward
from tracec.record.call import Call
from tracec.record.cell import Cell, Storage, add_reader, alias, new_tensor
from tracec.record.check import Range, settle, test_later
from tracec.record.conversion import as_number
from tracec.record.derived import ProgramPullback
from tracec.record.dispatch import apply
from tracec.record.recorder import Recorder
from tracec.record.recording import Lifted, Recording, Result, find_parts, find_tensors, is_number
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of, enable_grad, root_of, unobserved
from tracec.record.tensor import Tensor
from tracec.specialisations.checks import Checks
from tracec.specialisations.effects import Again, Effects, Filled, Form, Given, Kept, Parts, form_maker
from tracec.specialisations.guards import steps_key
from tracec.specialisations.places import PLAIN
from tracec.specialisations.watching import Scalars

#: Where an output lies: its place and its number there, as in `tracec.ir.plan.Value`.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Derivative:
    """How gradients go back through a compiled function from one of its results.

    Attributes:
        result: Position of the result.
        targets: Where gradients go on to: the position of an argument, or a leaf from outside.
        grads: The tensors that were recorded as the gradients of the targets; None for zero.
        cotangent: The tensor that stood for the result's gradient.
        saves: Whether eagerly it takes values that are freed once it has been gone through.
    """

    result: int
    targets: tuple[int | Tensor, ...]
    grads: tuple[Tensor | None, ...]
    cotangent: Tensor
    saves: bool


class Observed(Exception):
    """A function has hooks on tensors that it makes, or retains their gradients: no program calls or keeps them."""


def record_derivatives(recorder: Recorder, out: Any, arguments: Sequence[Tensor]) -> list[Derivative]:
    """Record, while the recorder is at work, how gradients go back from each result that asks for it.

    Raises:
        RecordError: gradients leave the function other than through its arguments and leaves.
        Observed: Python is to be told of gradients on the way.
    """
    found: list[Derivative] = []
    if not STATE.grad:
        return found
    for position, result in enumerate(find_tensors(out)):
        if not recorder.is_own(root_of(result)) or (edge := edge_of(result)) is None or edge is result:
            continue
        way = _targets(edge, recorder, arguments)
        if way is None:  # the function went back itself and freed what that takes
            continue
        targets, saves = way
        tensors = [arguments[t] if isinstance(t, int) else t for t in targets]
        # What arguments were computed from is gone through when gradients have come to them.
        ends = frozenset(edge_of(arguments[t]) for t in targets if isinstance(t, int))
        with on(result._device):
            cotangent = new_tensor(module(result._device).ones(result._array.shape, result._array.dtype))
        recorder.add_argument(cotangent, result)
        recorder.node_of(cotangent)
        with unobserved([e for t in tensors if (e := edge_of(t)) is not None]):  # hooks are for the way back itself
            grads = backward([result], [cotangent], tensors, True, False, False, ends)
        found.append(Derivative(position, tuple(targets), tuple(grads), cotangent, saves))
    return found


def _targets(edge: Any, recorder: Recorder, arguments: Sequence[Tensor]) -> tuple[list[int | Tensor], bool] | None:
    """The arguments and leaves that gradients of a result reach, and whether that takes values that were saved.

    None where they cannot any more.
    """
    by_edge: dict[Any, int] = {}
    for k, argument in enumerate(arguments):
        reached = edge_of(argument)
        if reached is not None:
            by_edge.setdefault(reached, k)
    found: dict[Any, int | Tensor] = {}
    stack, seen, saves = [edge], set(), False
    while stack:
        e = stack.pop()
        if e is None or e in seen:
            continue
        seen.add(e)
        if e in by_edge:
            found[e] = by_edge[e]
        elif isinstance(e, Cell):
            if not recorder.is_inside(e):
                found[e] = e  # type: ignore[assignment]
        elif e.recorder is not recorder and e.pullback.needs:
            raise RecordError("compile: a tensor from outside that the function closes over carries gradients")
        elif e.freed:
            return None
        elif e.hooks or e.node_hooks is not None or e.keeps is not None:
            raise Observed
        else:
            saves = saves or bool(e.pullback.needs)
            stack.extend(e.edges)
    return list(found.values()), saves


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
        places: For each output of ``forward`` where it lies; two of one place are one array, and those of
            ``("input", k)`` are the array of an input.
        out: What the function returned when it was recorded.
        arguments: The tensors that it was given then.
        backwards: Programs for gradients of results.
        inputs: For each input of ``forward`` its position among the recording's.
        captured: Memory that the function reaches otherwise than by its arguments.
        ranges: Conditions on the values of an output that follows those of the recording, before the residuals.
        numbers: The numbers that are watched; None where none is.
        left: What the function leaves around it; its values follow the results in ``out`` then.
    """

    def __init__(
        self, recording: Recording, forward: Runner, places: Sequence[Place], out: Any, arguments: Sequence[Tensor],
        backwards: Sequence[Backward], inputs: Sequence[int], captured: Container[Storage],
        ranges: Sequence[Range] = (), numbers: Scalars | None = None, left: Effects | None = None,
    ) -> None:  # fmt: skip
        self.forward = forward
        self.numbers = numbers
        self._left = left
        self.inputs = tuple(recording.inputs[i] for i in inputs)
        self.surroundings = recording.surroundings
        here = {id(t): k for k, t in enumerate(arguments)}
        self._checks = Checks(recording.checks, recording.graph.inputs)
        self._check_finders = [finder(recording.inputs[i], here) for i in self._checks.needs]
        self._storages = {id(v.storage) for v in self.inputs if v.argument is None}
        whole = {v.argument for v in self.inputs if v.whole}
        self.argument_looks = tuple(
            _Argument(
                t._storage if id(t._storage) in self._storages or t._storage in captured else None,
                tuple(map(steps_key, t._steps)),
                t._storage.type if k in whole else None,
            )
            for k, t in enumerate(arguments)
        )
        self.grad_reads = [(_locator(t, here), present) for t, present in recording.grad_reads.items()]
        plain = all(a.storage is None and not a.steps for a in self.argument_looks)
        #: No argument is a view or memory that is reached otherwise: then those of a call need only be no views.
        self._plain = plain and not self._storages and not self.grad_reads
        position = {v.storage: i for i, v in enumerate(self.inputs) if v.whole}
        # The forward program has the results first and the gradients of results not at all.
        tensors = find_tensors(out)
        shift = len(recording.results) - len(tensors)
        self._ranges, self._ranges_at = ranges, len(recording.graph.outputs) - shift
        self._writes = [(position[s], output - shift) for s, output in recording.writes]
        self._grads = [(_locator(t, here), None if output is None else output - shift) for t, output in recording.grads]
        self._asked = [(k, output - shift) for k, output in recording.asked]
        self._kinds = tuple(map(is_number, find_parts(out)))
        self._numbers = compile_numbers((), recording.numbers) if recording.numbers else None
        self._shown = len(recording.numbers) - sum(self._kinds)
        self._looked = [output - shift for output in recording.looked]
        self._printed = recording.printed
        self._backwards = {b.derivative.result: b for b in backwards}
        self._finders = [finder(v, here) for v in self.inputs]
        self._storage_finders = [_storage_finder(v, here) for v in self.inputs]
        self._makers = _makers(recording.results[: len(tensors)], here, self._backwards)
        self._rebuild = rebuilder(out)
        self._copies = self._outputs_to_copy(places, len(tensors))
        self._owners = self._memory_of_outputs(places, len(tensors))
        result = recording.results[0] if isinstance(out, Cell) and not out.is_composite else None
        busy = ranges or self._checks or self._writes or self._grads or self._copies or self._backwards or self._printed
        known = result is not None and (result.outside or result.requires_grad or result.shared or result.layout)
        fresh = result is not None and not (busy or known)
        #: The output that is all there is to give: then a call is little more than that of the program.
        self._only = result.output if result is not None and fresh else None
        given = [v.argument for v in self.inputs if v.argument is not None and v.array.flags.c_contiguous]
        #: Arguments whose arrays are the inputs as they are: the key of a call says where elements lie.
        self._direct = given if self._plain and len(given) == len(self.inputs) else None

    def _outputs_to_copy(self, places: Sequence[Place], count: int) -> tuple[int, ...]:
        """Outputs that need memory of their own: those that are an input's, or another output's as well."""
        written = dict(self._writes)
        used = [
            *written.values(),
            *range(count),
            *(output for _, output in self._grads if output is not None),
            *self._looked,
        ]
        seen: set[Place] = {("input", i) for i in range(len(self.inputs))}
        found = []
        for output in dict.fromkeys(used):
            place = places[output]
            if place in seen and not (place[0] == "input" and written.get(place[1]) == output):
                found.append(output)
            seen.add(place)
        # Gradients need what was in memory that is about to be written.
        kept = {i for b in self._backwards.values() for from_output, i in b.residuals if from_output}
        over = {("input", i) for i in written}
        return (*found, *(i for i in sorted(kept - set(found)) if places[i] in over and i not in written.values()))

    def _memory_of_outputs(self, places: Sequence[Place], count: int) -> dict[int, Place]:
        """Outputs that are the memory of an input or of a result: of which one."""
        found = {("input", k): ("input", k) for k in range(len(self.inputs))}
        found.update({places[k]: ("result", k) for k in reversed(range(count)) if k not in self._copies})
        return {i: found[place] for i, place in enumerate(places) if place in found}

    @property
    def programs(self) -> list[Any]:
        """What runs in a call."""
        return [self.forward]

    def describe(self) -> list[str]:
        """How the program runs, in words."""
        return [self.forward.describe()] if hasattr(self.forward, "describe") else []

    def fits(self, arguments: Sequence[Tensor]) -> bool:
        """Whether gradients that the function looked at are there as they were, and memory is shared as it was."""
        if not self.surroundings.hold():
            return False
        if self._plain:
            for t in arguments:  # a generator expression would take longer than this
                if t._steps:
                    break
            else:
                return True
        for tensor_of, present in self.grad_reads:
            if (tensor_of(arguments)._grad is not None) != present:
                return False
        # Behind the arguments are values saved.
        return all(map(self.sees_as_before, arguments, self.argument_looks))

    def sees_as_before(self, t: Tensor, look: _Argument) -> bool:
        """Whether an argument looks at memory as one did when the function was recorded."""
        storage, steps, whole = look
        if storage is None:
            if id(t._storage) in self._storages:
                return False
            if whole is None or not (steps or t._steps):
                return True
        elif t._storage is not storage:
            return False
        return tuple(map(steps_key, t._steps)) == steps and (whole is None or t._storage.type == whole)

    def __call__(self, arguments: Sequence[Tensor], symbols: Mapping[int, Any] = MappingProxyType({})) -> Any:
        if self._direct is not None and self._only is not None:
            if self._direct == _FIRST:  # a comprehension takes longer than this
                return _made(self.forward([arguments[0]._array])[self._only])
            return _made(self.forward([arguments[k]._array for k in self._direct])[self._only])
        given = [find(arguments) for find in self._finders]
        arrays = [a if a.flags.c_contiguous else a.copy() for a in given]
        if self._only is not None:
            return _made(self.forward(arrays)[self._only])
        if self._checks:
            self._checks([find(arguments) for find in self._check_finders])
        if self._ranges:  # before anything is changed: errors of calls before come here
            settle()
        for i, _ in self._writes:
            self._storage_finders[i](arguments).about_to_change()
        outputs = self.forward(arrays)
        if self._ranges:
            test_later(outputs[self._ranges_at], self._ranges)
        for output in self._copies:
            outputs[output] = outputs[output].copy()
        numbers = (
            () if self._numbers is None else self._computed(outputs, symbols)
        )  # before what they are is written to
        for i, output in self._writes:
            if outputs[output] is not given[i]:
                given[i][...] = outputs[output]
        for tensor_of, at in self._grads:
            tensor_of(arguments)._grad = None if at is None else new_tensor(outputs[at])
        for printed in self._printed:
            printed.again([new_tensor(outputs[at]) for at in self._looked], numbers[len(numbers) - self._shown :])
        call = _Call(outputs, arguments, arrays, [])
        for make in self._makers:
            call.made.append(make(call))
        for k, program in self._backwards.items():
            call.made[k]._history = self._history(program, call, call.made[k])
        if not numbers:
            return self._finished(Parts(iter(call.made), symbols))
        tensors, found = iter(call.made), iter(numbers)
        return self._finished(Parts((next(found if number else tensors) for number in self._kinds), symbols))

    def _finished(self, parts: Parts) -> Any:
        """The results of a call; what it leaves behind is put where it belongs."""
        made = self._rebuild(parts)
        return made if self._left is None else self._left.apply(made, parts.symbols)

    def _computed(self, outputs: Sequence[Any], symbols: Mapping[int, Any]) -> tuple[Any, ...]:
        """The numbers that the function returns and shows."""
        assert self._numbers is not None
        found = self._numbers({**symbols, **{k: as_number(outputs[at].item()) for k, at in self._asked}})
        if found is None:  # what Python refuses otherwise was asked for before
            raise OverflowError("int too large to convert to float")
        return found

    # Results ----------------------------------------------------------------------------------------------

    def _history(self, program: Backward, call: _Call, result: Tensor) -> Operation:
        """Where gradients of a result go back: through the compiled program."""
        targets = [call.arguments[t] if isinstance(t, int) else t for t in program.derivative.targets]
        edges = tuple(edge_of(t) for t in targets)
        run = program.run
        if program.derivative.saves and not program.residuals:  # it can be gone through once all the same
            pullback = ProgramPullback((0,), program.gives, lambda arrays: run(arrays[1:]))
            operation = Operation(Call(_COMPILED, (), (), result._type), edges, pullback, None)
            operation.saved, operation.readers = [_NOTHING], [[]]
            return operation
        pullback = ProgramPullback(tuple(range(len(program.residuals))), program.gives, run)
        operation = Operation(Call(_COMPILED, (), (), result._type), edges, pullback, None)
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


class _Argument(NamedTuple):
    """How an argument looked at memory.

    Attributes:
        storage: Its memory, where the function reaches that otherwise too, so that it has to be the same again.
        steps: Its view steps.
        whole: Type of all of its memory, where all of it is an input.
    """

    storage: Storage | None
    steps: tuple[Hashable, ...]
    whole: TensorType | None


class _Call(NamedTuple):
    """One call under way: what the program gave, what it was given, and the results so far."""

    outputs: list[Any]
    arguments: Sequence[Tensor]
    arrays: list[Any]
    made: list[Tensor]


#: The first argument alone.
_FIRST = [0]
_Maker = Callable[[_Call], Tensor]


def _makers(results: Sequence[Result], here: Mapping[int, int], has_program: Container[int]) -> list[_Maker]:
    """How each result is made; a tensor that is returned twice is made once."""
    makers: list[_Maker] = []
    first: dict[int, int] = {}
    memory: dict[Storage, int] = {}
    for k, result in enumerate(results):
        earlier = first.setdefault(id(result.tensor), k)
        if earlier != k:
            makers.append(_again(earlier))
            continue
        if result.outside:
            make = _look_outside(result, here)
        else:
            source = memory.setdefault(result.tensor._storage, k)
            make = _result(result, None if source == k else source)
        follows = result.outside and (result.base is not None or not result.own)
        spent = result.requires_grad and k not in has_program and not follows
        makers.append(_made_spent(make) if spent else make)
    return makers


def _made(array: Any) -> Tensor:
    """A tensor over an output, marked as eager ones are in inference mode."""
    made = new_tensor(array)
    if STATE.inference:
        made._is_inference = True
    return made


def _laid_out(array: Any, strides: tuple[int, ...]) -> Any:
    """The elements of an array in memory where they lie so far apart: whether a reshape looks at it hangs on that."""
    xp = module(device_of(array))
    reach = [(n - 1) * s for n, s in zip(array.shape, strides, strict=True)]
    memory = xp.empty(1 + sum(map(abs, reach)), array.dtype)[-sum(r for r in reach if r < 0) :]
    made = xp.lib.stride_tricks.as_strided(memory, array.shape, [s * array.itemsize for s in strides])
    made[...] = array
    if 0 in strides and isinstance(made, np.ndarray):
        made.flags.writeable = False  # as NumPy spreads
    return made


def _again(k: int) -> _Maker:
    return lambda call: call.made[k]


def _made_spent(make: _Maker) -> _Maker:
    """A tensor whose gradients the function has taken: going back again is an error, as it is eagerly."""

    def spent(call: _Call) -> Tensor:
        made = make(call)
        pullback = ProgramPullback((0,), (), lambda arrays: [])
        made._history = Operation(Call(_COMPILED, (), (), made._type), (), pullback, None)
        return made

    return spent


def _result(result: Result, source: int | None) -> _Maker:
    """A tensor over an output, or over the memory of an earlier result."""
    at, steps, layout = result.output, result.steps if result.shared else (), result.layout

    def make(call: _Call) -> Tensor:
        array = call.outputs[at] if source is None else call.made[source]._storage.array
        made = _made(array if layout is None or source is not None else _laid_out(array, layout))
        if source is not None:
            made._storage = call.made[source]._storage
        if steps:
            made = _look(made, steps)
        return made

    return make


def _look_outside(result: Result, here: Mapping[int, int]) -> _Maker:
    """A tensor from outside, or the function's own look at memory from outside."""
    if not result.own:
        found = _locator(result.tensor, here)
        return lambda call: found(call.arguments)
    if result.base is not None:
        base, steps = _locator(result.base, here), result.steps[len(result.base._steps) :]

        def view(call: _Call) -> Tensor:
            made = base(call.arguments)
            with enable_grad():
                for step in steps:
                    made = apply(step.op, (made,), step.keywords)
            return made

        return view
    tensor, k = result.tensor, result.argument
    if k is None:
        return lambda call: alias(tensor)

    def look(call: _Call) -> Tensor:
        given = call.arguments[k]
        whole: Tensor = alias(given)
        whole._array, whole._steps = given._storage.array, ()
        return _look(whole, result.steps)

    return look


def _look(whole: Tensor, steps: Sequence[Call]) -> Tensor:
    """A view of all of some memory, that no gradient flows through."""
    view: Tensor = alias(whole)
    view._steps = tuple(steps)
    for call in steps:
        view._array = call.op.eager(module(view._device), view._array, **call.keywords)
    return view


def _compiled(*_: Any) -> Any:
    raise GradientError("a compiled function is no operator")


#: Stands for a value that was saved where there is none.
_NOTHING = np.empty(0, np.float32)
#: Stands for a compiled function among the operations that gradients go back through.
_COMPILED = Operator(
    name="compiled", family="compiled", type_rule=_compiled, eager=_compiled,
    vjp=not_differentiable("a compiled function has a program of its own"), jvp=None, batch=_compiled, lower=None,
    promotion="none", samples=(), arity=None,
)  # fmt: skip


def _locator(tensor: Tensor, here: Mapping[int, int]) -> Callable[[Sequence[Tensor]], Tensor]:
    """How a tensor is found: as an argument, or as it is."""
    k = here.get(id(tensor))
    return (lambda arguments: tensor) if k is None else (lambda arguments: arguments[k])


def finder(lifted: Lifted, here: Mapping[int, int]) -> Callable[[Sequence[Tensor]], Any]:
    """How an input's array is found."""
    k = lifted.argument
    if k is not None:
        if lifted.whole:
            return lambda arguments: arguments[k]._storage.array
        return lambda arguments: arguments[k]._array
    if lifted.grad_of is not None:
        owner, whole = _locator(lifted.grad_of, here), lifted.whole

        def find(arguments: Sequence[Tensor]) -> Any:
            grad: Any = owner(arguments)._grad
            return grad._storage.array if whole else grad._array

        return find
    storage, array = lifted.storage, lifted.array
    if lifted.whole:
        return lambda arguments: storage.array
    return lambda arguments: array


def _storage_finder(lifted: Lifted, here: Mapping[int, int]) -> Callable[[Sequence[Tensor]], Storage]:
    """How an input's memory is found."""
    k = lifted.argument
    if k is not None:
        return lambda arguments: arguments[k]._storage
    if lifted.grad_of is not None:
        owner = _locator(lifted.grad_of, here)
        return lambda arguments: owner(arguments)._grad._storage  # type: ignore[union-attr]
    storage = lifted.storage
    return lambda arguments: storage


def foreign(out: Any) -> Any:
    """An object in a result that a program cannot make again; None where there is none."""
    if is_number(out) or isinstance(out, (Cell, *PLAIN, DType, Device, type, Kept, Given, Again)):
        return None
    if isinstance(out, types.FunctionType) and out.__closure__ is None:
        return None
    parts: Any = None
    if isinstance(out, Filled):
        parts = out.items
    elif isinstance(out, (list, tuple)):
        parts = out
    elif isinstance(out, dict):
        parts = out.values()
    elif is_dataclass(out):
        parts = [getattr(out, f.name) for f in fields(out)]
    else:
        return out
    return next((found for v in parts if (found := foreign(v)) is not None), None)


def rebuilder(out: Any) -> Callable[[Any], Any]:
    """From a value with tensors in it, how to make one of the same structure with others."""
    cls = type(out)
    if isinstance(out, Form):
        return form_maker(out, rebuilder)
    if isinstance(out, Cell) and out.is_composite:
        form, count = out.form(), len(out.inner())  # type: ignore[attr-defined]
        return lambda tensors: cls.made(form, tuple(itertools.islice(tensors, count)))
    if isinstance(out, Cell) or is_number(out):
        return next
    if isinstance(out, (list, tuple)):
        parts = [rebuilder(v) for v in out]
        if hasattr(cls, "_fields"):
            return lambda tensors: cls(*(p(tensors) for p in parts))
        return lambda tensors: cls(p(tensors) for p in parts)
    if isinstance(out, dict):
        items = [(k, rebuilder(v)) for k, v in out.items()]
        return lambda tensors: _filled_dict(cls, [(k, p(tensors)) for k, p in items])
    if is_dataclass(out) and not isinstance(out, type):
        attributes = [(f.name, rebuilder(getattr(out, f.name))) for f in fields(out)]

        def make(tensors: Any) -> Any:
            made = object.__new__(cls)
            for name, part in attributes:
                object.__setattr__(made, name, part(tensors))
            return made

        return make
    return lambda tensors: out


def _filled_dict(cls: type[dict[Any, Any]], items: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = cls.__new__(cls)
    made.update(items)
    return made
