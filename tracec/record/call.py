"""An operator with operands of given types and given parameters: all that does not depend on values, computed once.

`CALLS` keeps them by element types, shapes, devices and parameters: eager mode's dispatch cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tracec.errors import ArgumentTypeError, DeviceError, TracecError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio, fixed, formula_key
from tracec.ir.node import Node
from tracec.ir.number import plain as plain_number
from tracec.ir.number import value_of
from tracec.ir.operator import OPERATORS, Operator, Params
from tracec.ir.resize import settled
from tracec.ir.source import caller
from tracec.ir.types import TensorType
from tracec.ops.arrays import ready
from tracec.record.backend import Device, module, named, number_on
from tracec.record.cell import Cell
from tracec.record.deferred_steps import Layout
from tracec.record.derived import Batched, Pullback, Pushforward
from tracec.record.numbers import scalar
from tracec.record.opaque import unwrapped
from tracec.record.promote import Operand, promote
from tracec.record.state import STATE

#: Operators whose results are views of their operand.
VIEWS = frozenset(
    {"reshape", "transpose", "expand", "slice", "windows", "as_strided", "view_bits", "view_as_real", "view_as_complex"}
)

#: Calls that are remembered, at most; then all are forgotten.
_LIMIT = 20_000

PLAIN = (int, float, bool, complex)


class Call:
    """An operator with operands of certain types and certain parameters.

    Attributes:
        op: The operator, which promotion may have exchanged.
        params: Its parameters.
        keywords: The same as a dictionary.
        types: Types of the operands, after promotion.
        casts: For each operand the element type to cast it to first, or None; None where nothing is cast.
        type: Type of the result.
        floating: The result is floating or complex, so that gradients may flow.
        is_view: The result looks at the operand's memory.
        pullbacks: By which operands need gradients: how to compute them.
        pushforwards: By which operands move: how to compute the result's tangent.
        batches: By which operands carry a batch, and its size: how to compute all of it.
        layouts: By strides of the operands how the result lies; see `tracec.record.deferred`.
        form: A number that calls of the same operator, parameters and types share; 0 before it is asked for.
        numbers: Positions of the operands that are Python's numbers.
        moved: Positions of tensors that are on another device than the result.
        device: The GPU that it is computed on; None for the CPU.
        rule: The eager rule, as a function of the arrays alone that is run within `SILENT`; see `ready`.
        back: Of a composition whose rule keeps something for its gradients: from the pullback, the saved values, what
            was kept and the cotangent to what the pullback gives.
    """

    __slots__ = (
        "_placed", "_scalars", "back", "batches", "casts", "device", "floating", "form", "is_view", "keywords",
        "layouts", "moved", "numbers", "op", "params", "pullbacks", "pushforwards", "rule", "type", "types",
    )  # fmt: skip

    def __init__(self, op: Operator, params: Params, types: tuple[TensorType, ...], type_: TensorType) -> None:
        self.op, self.params, self.keywords = op, params, dict(params)
        self.types, self.type = types, type_
        self.casts: tuple[DType | None, ...] | None = None
        self.floating = type_.dtype.is_differentiable
        self.is_view = op.name in VIEWS
        self.pullbacks: dict[tuple[bool, ...], Pullback] = {}
        self.pushforwards: dict[tuple[bool, ...], Pushforward] = {}
        self.batches: dict[tuple[tuple[bool, ...], int], Batched] = {}
        self.layouts: dict[tuple[Any, ...], Layout] = {}
        self.form = 0
        self.numbers: tuple[int, ...] = ()
        self.moved: tuple[int, ...] = ()
        self.device = None if type_.device == "cpu" else named(type_.device)
        self.rule: Callable[..., Any] | None = None
        self.back: Callable[..., list[Any] | None] | None = None
        #: By position the number that came last, and the array for it.
        self._scalars: dict[int, tuple[Any, Any]] = {}
        #: The same on a GPU: what `scalar` gave, the stream that is used in, and the array there.
        self._placed: dict[int, tuple[Any, int, Any]] = {}

    def ready(self) -> Callable[..., Any]:
        """Work out `rule`."""
        first = self.types[0].dtype.numpy if self.types else None
        self.rule = made = ready(self.op.eager, module(self.type.device), first, self.keywords)
        return made

    def with_params(self, params: Params) -> Call:
        """The call with other parameters, none of which its types, or the result's, depend on."""
        made = Call(self.op, params, self.types, self.type)
        made.casts, made.numbers, made.moved = self.casts, self.numbers, self.moved
        return made

    def scalar(self, i: int, x: Any) -> Any:
        """The operand at a position, a Python number, as an array of no dimensions that is only read.

        That of the last call is kept: a program that runs again and again has the same numbers.
        """
        last = self._scalars.get(i)
        if last is not None and (last[0] is x or (x and last[0] == x)):  # 0.0 is -0.0
            return last[1]
        made = scalar(x, self.types[i].dtype)
        if type(x) in PLAIN:
            self._scalars[i] = x, made
        return made

    def placed(self, i: int, number: Any, stream: int) -> Any:
        """What `scalar` gave, on the GPU.

        Args:
            i: The position.
            number: It.
            stream: The address of the current stream.
        """
        last = self._placed.get(i)
        if last is not None and last[0] is number and last[1] == stream:
            return last[2]
        made = number_on(number, self.type.device, stream)
        self._placed[i] = number, stream, made
        return made

    def pullback(self, mask: tuple[bool, ...]) -> Pullback:
        """How the gradients of the operands in ``mask`` are computed."""
        found = self.pullbacks.get(mask)
        if found is None:
            found = self.pullbacks[mask] = Pullback(self, mask)
        return found

    def pushforward(self, mask: tuple[bool, ...]) -> Pushforward:
        """How the tangent of the result is computed from those of the operands in ``mask``."""
        found = self.pushforwards.get(mask)
        if found is None:
            found = self.pushforwards[mask] = Pushforward(self, mask)
        return found

    def batched(self, which: tuple[bool, ...], size: int) -> Batched:
        """How ``size`` results are computed at once, from operands some of which carry that many along axis 0."""
        found = self.batches.get((which, size))
        if found is None:
            found = self.batches[which, size] = Batched(self, which, size)
        return found

    def __repr__(self) -> str:
        return f"<call {self.op.name}({', '.join(map(str, self.types))}) -> {self.type}>"


#: Calls by operator, types and parameters: an operator, for each tensor its element type, shape and device, for each
#: number its type, and what `key_of` says.
CALLS: dict[Any, Call] = {}


_ONLY_INTS = frozenset({int})


def _hashable(value: Any) -> Any:
    if type(value) is tuple and _ONLY_INTS.issuperset(map(type, value)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(v) for v in value)
    hash(value)
    return fixed(plain_number(value))


def find_call(op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> Call:
    """The call for these operands: tensors, or Python scalars.

    Raises:
        TracecError: the operands do not fit; with the user's line.
    """
    recorder = STATE.recorder
    if recorder is not None and recorder.sizes is not None:
        return _find_sized(recorder.calls, op, inputs, params)
    key: list[Any] = [op]
    for x in inputs:
        if isinstance(x, Cell):
            array = x._array
            key += array.dtype, array.shape, x._device
        else:
            key.append(type(x))
    if params:
        key += key_of(params)
    try:
        call = CALLS.get(known := tuple(key))
    except TypeError:
        return find_call(op, inputs, {k: _hashable(v) for k, v in params.items()})
    if call is None:
        call = _make(op, inputs, params)
        if len(CALLS) >= _LIMIT:
            CALLS.clear()
        CALLS[known] = call
    return call


def key_of(params: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a call depends on of its parameters."""
    values = params.values()
    types = (*map(type, values),)  # 1 and True are equal, and other parameters
    if _EXACT.issuperset(types):
        return (*params, *values, *types)
    return (*params, *values, *types, *(repr(v) for v in values if type(v) is not tuple and v == 0.0))  # so is -0.0


#: Types whose equal values are the same parameters.
_EXACT = frozenset({int, bool, tuple, type(None), str, DType, Device})


def forget_calls() -> None:
    """Work every call out again: what promotion goes by has changed."""
    CALLS.clear()


def _find_sized(known: dict[Any, Call], op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> Call:
    """The call for operands and parameters whose sizes depend on others: its parameters and types do, too."""
    given = tuple((x._type, ()) if isinstance(x, Cell) else type(x) for x in inputs)
    params = {k: _kept(v) for k, v in params.items()}
    key = op, formula_key(given), formula_key(tuple(params.items()))
    call = known.get(key)
    if call is None:
        call = known[key] = _make(op, inputs, params, _kept)
        call.keywords = {k: settled(v) for k, v in call.params}
    return call


def _kept(value: Any) -> Any:
    return tuple(map(_kept, value)) if isinstance(value, (list, tuple)) else plain_number(unwrapped(value))


def _make(
    op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any], prepare: Callable[[Any], Any] = _hashable
) -> Call:
    described = False  # which takes longer than the rest, and is for errors alone
    try:
        operands = [_operand(op, x) for x in inputs]
        device = _device(op, inputs)
        described = bool(inputs)
        chosen, dtypes = promote(op, operands)
        types = tuple(
            TensorType(d, x._shape if isinstance(x, Cell) else (), device) for d, x in zip(dtypes, inputs, strict=True)
        )
        bound = chosen.bind({k: prepare(v) for k, v in params.items()})
        call = Call(chosen, bound, types, chosen.infer(types, bound))
    except TracecError as error:
        if not error.message.startswith(op.name + ":"):
            error.message = f"{op.name}: {error.message}"
        line = caller()
        if error.where is None and line is not None:
            where = f"{op.name}({', '.join(map(_describe, inputs))})    " if described else ""
            error.where = f"{where}at {line}"
        raise
    casts = tuple(
        d if isinstance(x, Cell) and x._array.dtype != d.numpy else None for d, x in zip(dtypes, inputs, strict=True)
    )
    call.casts = casts if any(casts) else None
    call.numbers = tuple([i for i, x in enumerate(inputs) if not isinstance(x, Cell)])
    call.moved = tuple([i for i, x in enumerate(inputs) if isinstance(x, Cell) and x._device != device])
    return call


def _describe(x: Any) -> str:
    return str(x._type) if isinstance(x, Cell) else repr(value_of(x))


def _operand(op: Operator, x: Any) -> Operand:
    if isinstance(x, Cell):
        return Operand(dt.of_numpy(x._array.dtype), x._array.ndim)
    if isinstance(x, (Extent, Ratio)):
        return Operand(None, scalar=int if isinstance(x, Extent) else float)
    kind = x.__class__  # of a Number what it stands for
    if kind in PLAIN:
        return Operand(None, scalar=kind)
    raise ArgumentTypeError(
        f"{op.name}: takes tensors and numbers, {type(x).__name__} given", hint="make a tensor with tracec.tensor(...)"
    )


def _device(op: Operator, inputs: tuple[Any, ...]) -> str:
    """The device to compute on; a tensor of no dimensions on the CPU goes along."""
    found: str | None = None
    for x in inputs:
        if isinstance(x, Cell) and (x._array.ndim or x._device != "cpu"):
            if found is not None and x._device != found:
                raise DeviceError(
                    f"{op.name}: expected all tensors to be on the same device, found {found} and {x._device}",
                    hint="move one with .to(device)",
                )
            found = str(x._device)
    return found or "cpu"


def view_call(name: str, type_: TensorType, **params: Any) -> Call:
    """The call of a view operator on a value of that type."""
    op = OPERATORS[name]
    bound = op.bind(params)
    return Call(op, bound, (type_,), op.infer((type_,), bound))


def call_node(call: Call, inputs: tuple[Node, ...], source: Any, origin: str) -> Node:
    """The call as a node."""
    return Node(call.op, inputs, call.params, call.type, source, origin)
