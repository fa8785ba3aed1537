"""A program's outputs as the function's results: tensors, views of results or arguments, nested structures."""

from __future__ import annotations

import functools
import itertools
import re
import types
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tracec.errors import GradientError
from tracec.ir.dtype import DType
from tracec.ir.operator import Operator, not_differentiable
from tracec.ir.source import Source
from tracec.record.backend import Device, device_of, module
from tracec.record.call import Call
from tracec.record.cell import Cell, Storage, alias, new_tensor
from tracec.record.deferred import ACTIVE
from tracec.record.derived import ProgramPullback
from tracec.record.dispatch import apply, looked_at
from tracec.record.mode import enable_grad
from tracec.record.names import name_of
from tracec.record.passages import Selected
from tracec.record.recording import Result, is_number
from tracec.record.state import STATE
from tracec.record.structure import Mould, children, is_data, tuple_maker
from tracec.record.tape import Operation, Shown, edge_of, order_of
from tracec.record.tensor import Tensor
from tracec.specialisations.births import AS_THEY_ARE
from tracec.specialisations.effects import Again, Filled, Form, Given, Kept, Moulded, form_maker
from tracec.specialisations.inputs import grad_of, locator
from tracec.specialisations.keys import PLAIN


class ProgramCall(NamedTuple):
    """One call under way: what the program gave, what it was given, and the results so far."""

    outputs: list[Any]
    arguments: Sequence[Tensor]
    arrays: list[Any]
    made: list[Tensor]


_Maker = Callable[[ProgramCall], Tensor]


def makers(results: Sequence[Result], here: Mapping[int, int], has_program: Container[int]) -> list[_Maker]:
    """How each result is made; a tensor that is returned twice is made once."""
    makers: list[_Maker] = []
    first: dict[int, int] = {}
    memory: dict[Storage, int] = {}
    for k, result in enumerate(results):
        earlier = first.setdefault(id(result.tensor), k)
        if earlier != k:
            makers.append(_again(earlier))
            continue
        if result.root is not None:
            make = _view(first[id(result.root)], result.steps[len(result.root._steps) :])
        elif result.outside:
            make = _look_outside(result, here)
        else:
            source = memory.setdefault(result.tensor._storage, k)
            make = _result(result, None if source == k else source)
        follows = result.root is not None or (result.outside and (result.base is not None or not result.own))
        spent = result.requires_grad and k not in has_program and not follows
        make = _made_spent(make, origin_of(edge_of(result.tensor))) if spent else make
        marked = result.own and (result.leaf or result.marks or result.cls is not Tensor)
        makers.append(_marked(make, result) if marked else make)
    return makers


def _marked(make: _Maker, result: Result) -> _Maker:
    """A tensor of a class of its own, with attributes that users have set, or one that gradients end at."""
    cls, marks, leaf = result.cls, dict(result.marks), result.leaf

    def marked(call: ProgramCall) -> Tensor:
        made = make(call)
        if cls is not Tensor:
            plain, made = made, object.__new__(cls)
            made.__dict__.update(plain.__dict__)
        made.__dict__.update(marks)
        if leaf:
            made._requires_grad = True
        return made

    return marked


def made_tensor(array: Any, device: Device | None = None) -> Tensor:
    """A tensor over an output, marked as eager ones are in inference mode; see `tracec.record.cell.new_tensor`."""
    made = new_tensor(array, device)
    if STATE.inference:
        made._is_inference = True
    return made


def laid_out(array: Any, strides: tuple[int, ...]) -> Any:
    """The elements of an array in memory where they lie so far apart: whether a reshape looks at it depends on that."""
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


def _made_spent(make: _Maker, origin: Origin) -> _Maker:
    """A tensor whose gradients the function has taken: going back again is an error, as it is eagerly."""
    pullback = ProgramPullback((0,), (), lambda arrays: [], origin.through)
    known: dict[Any, Call] = {}

    def spent(call: ProgramCall) -> Tensor:
        made = make(call)
        shape = made._array.shape
        if shape not in known:
            known[shape] = Call(compiled(origin.name), (), (), made._type)
        made._history = Operation(known[shape], (), pullback, origin.source)
        return made

    return spent


def _result(result: Result, source: int | None) -> _Maker:
    """A tensor over an output, or over the memory of an earlier result."""
    at, steps, layout = result.output, result.steps if result.shared else (), result.layout
    version = result.version
    if source is None and not steps and layout is None and not version:  # as most are
        return lambda call: made_tensor(call.outputs[at])

    def make(call: ProgramCall) -> Tensor:
        array = call.outputs[at] if source is None else call.made[source]._storage.array
        made = made_tensor(array if layout is None or source is not None else laid_out(array, layout))
        if source is not None:
            made._storage = call.made[source]._storage
        elif version:
            made._storage.version = version
        if steps:
            made = _view_of_whole(made, steps)
        return made

    return make


def with_memory(results: Sequence[Result]) -> list[int]:
    """The results that are over outputs: the first over memory that the function made."""
    first: dict[Storage, int] = {}
    for k, result in enumerate(results):
        if not result.outside:
            first.setdefault(result.tensor._storage, k)
    return list(first.values())


def _view(k: int, steps: Sequence[Call]) -> _Maker:
    """A differentiable view of an earlier result, which the function has computed."""

    def view(call: ProgramCall) -> Tensor:
        x = call.made[k]
        for step in steps:
            array = x._array
            out = step.op.eager(np if type(array) is np.ndarray else module(x._device), array, **step.keywords)
            if STATE.recorder is not None or not _is_plain(out):
                return _viewed(call.made[k], steps)
            looking: Tensor = alias(x)
            looking._array, looking._steps, looking._parent = out, (*x._steps, step), x
            x = looking
        return x

    return view


def _is_plain(out: Any) -> bool:
    """Whether an array is writable as it is, and nobody computes it later."""
    return type(out) is np.ndarray and out.flags.writeable and not ACTIVE


def _viewed(x: Tensor, steps: Sequence[Call]) -> Tensor:
    with enable_grad():
        for step in steps:
            x = apply(step.op, (x,), step.keywords)
    return x


def _look_outside(result: Result, here: Mapping[int, int]) -> _Maker:
    """A tensor from outside, or the function's own view of memory from outside."""
    found = locator(result.tensor if result.base is None else result.base, here)
    if result.grad_of is not None:
        found = grad_of(locator(result.grad_of, here))
    if not result.own:
        return lambda call: found(call.arguments)
    if result.base is not None:
        steps = result.steps[len(result.base._steps) :]

        return lambda call: _viewed(found(call.arguments), steps)
    tensor, k = result.tensor, result.argument
    if result.grad_of is not None:
        return lambda call: _whole(found(call.arguments), result.steps)
    if k is None:
        return lambda call: alias(tensor)

    if result.after is None:
        return lambda call: _whole(call.arguments[k], result.steps)
    after = result.steps[result.after :]
    return lambda call: _view_of_whole(call.arguments[k], after)


def _whole(given: Cell, steps: Sequence[Call]) -> Tensor:
    """A view of all of a tensor's memory, that no gradient flows through."""
    whole: Tensor = alias(given)
    whole._array, whole._steps = given._storage.array, ()
    return _view_of_whole(whole, steps)


def _view_of_whole(whole: Tensor, steps: Sequence[Call]) -> Tensor:
    """A view of what a tensor looks at, that no gradient flows through."""
    view: Tensor = alias(whole)
    view._steps = (*whole._steps, *steps)
    for call in steps:
        array = view._array
        view._array = looked_at(call, array, call.op.eager(module(view._device), array, **call.keywords))
    return view


def _compiled(*_: Any) -> Any:
    raise GradientError("a compiled function is no operator")


#: Stands for a value that was saved where there is none.
NOTHING = np.empty(0, np.float32)


#: Stands for a compiled function among the operations that gradients go back through.
COMPILED = Operator(
    name="compiled", family="compiled", type_rule=_compiled, eager=_compiled,
    vjp=not_differentiable("a compiled function has a program of its own"), jvp=None, batch=_compiled, lower=None,
    promotion="none", samples=(), arity=None,
)  # fmt: skip


class Origin(NamedTuple):
    """What made a result, as its ``grad_fn`` and errors tell.

    Attributes:
        name: The operator.
        source: The user's line.
        through: The same of the first operation on the way back that takes values, which can be freed.
    """

    name: str
    source: Source | None
    through: tuple[str, Source | None]


def origin_of(edge: Any) -> Origin:
    """What made a result, whose gradients go on to an operation, or end at a leaf."""
    if not isinstance(edge, Operation):
        return Origin("CompiledBackward0", None, (COMPILED.name, None))
    made = edge.edges[0] if isinstance(edge.pullback, Selected) else edge
    first = next((e for e in reversed(order_of([edge])) if e.pullback.needs), made)
    name = name_of(made) if type(made) is Operation or isinstance(made, Shown) else "CompiledBackward0"
    return Origin(name, made.source, (first.operator, first.source))


@functools.cache
def compiled(name: str) -> Operator:
    """The operator of a compiled function whose result was made by another one."""
    return replace(COMPILED, name=name)


def foreign(out: Any) -> Any:
    """An object in a result that a program cannot make again; None where there is none."""
    if is_number(out) or isinstance(out, (Cell, *PLAIN, DType, Device, np.dtype, type, Kept, Given, Again)):
        return None
    if isinstance(out, types.FunctionType) and out.__closure__ is None:
        return None
    parts: Any = None
    if isinstance(out, (Filled, Moulded)):
        parts = out.items
    elif isinstance(out, tuple):
        parts = out
    elif is_data(out):
        parts = children(out)
    else:
        return out
    return next((found for v in parts if (found := foreign(v)) is not None), None)


#: The form in which Python writes what it has no better text for.
_ADDRESS = re.compile(r" at 0x([0-9a-f]{6,16})\b")


def tells_address(out: Any, known: Callable[[int], bool]) -> bool:
    """Whether a text in a result tells the address of an object, which may be another one at the next call.

    Args:
        out: The result.
        known: Whether the object at an address was there before the call.
    """
    if isinstance(out, str):
        return any(not known(int(at, 16)) for at in _ADDRESS.findall(out))
    if isinstance(out, Filled):
        out = out.items
    if isinstance(out, dict) and any(tells_address(k, known) for k in out):
        return True
    parts = out if isinstance(out, tuple) else children(out) if is_data(out) else ()
    return any(tells_address(v, known) for v in parts)


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
    if type(out) is list or isinstance(out, tuple):
        parts = [rebuilder(v) for v in out]
        gathered: Callable[[Any], Any] = tuple_maker(out) if isinstance(out, tuple) else list
        return lambda tensors: gathered([p(tensors) for p in parts])
    if cls is dict:
        items = [(k, rebuilder(v)) for k, v in out.items()]
        return lambda tensors: {k: p(tensors) for k, p in items}
    if is_data(out) and not isinstance(out, AS_THEY_ARE):
        parts, mould = [rebuilder(v) for v in children(out)], Mould(out)

        def make(tensors: Any) -> Any:
            made = mould.empty()
            mould.fill(made, iter([p(tensors) for p in parts]))
            return made

        return make
    return lambda tensors: out
