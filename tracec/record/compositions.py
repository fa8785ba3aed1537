"""Compositions of operators that run eagerly as one operation: ``log_softmax``, losses, optimisers' updates.

For small arrays, calling, checking and recording an operation takes longer than computing it. A composition is a
function of tensors that applies operators alone; called on nodes, it gives a graph. Where only gradients observe it,
that graph runs at once (`tracec.record.steps`): with the rules of the same operators, in the same order, so that values
are the same to the last bit. While a function is recorded, batched, differentiated forward or deferred, the composition
is applied operator by operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracec.errors import GradientError
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.node import input_node, made_from
from tracec.ir.operator import Operator
from tracec.ir.types import TensorType
from tracec.ops.arrays import SILENT
from tracec.record.backend import CPU
from tracec.record.call import Call, key_of
from tracec.record.cell import Cell, new_tensor
from tracec.record.deferred import ACTIVE
from tracec.record.derived import Pullback
from tracec.record.dispatch import finish, run
from tracec.record.state import STATE
from tracec.record.steps import PART, Steps
from tracec.record.tape import Operation, edge_of
from tracec.record.tensor import Tensor
from tracec.transform.vjp import gradients

#: Kept for so many types of operands of each composition; then all are worked out again.
_LIMIT = 2000


def _nobody_asks() -> bool:
    """Whether nobody is told of operators one by one."""
    return STATE.recorder is None and not STATE.duals and not ACTIVE


def _traced(compose: Callable[..., Any], types: Sequence[TensorType], params: Mapping[str, Any]) -> Graph:
    inputs = tuple(input_node(t, f"x{i}") for i, t in enumerate(types))
    with made_from(None):
        found = compose(*inputs, **params)
    return Graph(inputs, found if isinstance(found, tuple) else (found,), "composition")


class AtOnce(NamedTuple):
    """How a composition of NumPy's float32 or float64 arrays, and its gradients, are computed in less time.

    The first operand has elements, which lie row by row; of another one the operators' rules run.

    Attributes:
        forward: From the operands to the result, which is what operators give, but for the order in which many elements
            are summed, and what `back` is to have of it besides the operands: arrays that nobody else has.
        back: From the result's gradient, what was kept, which operands' gradients are wanted, the operands and the
            result (None those that the derivative does not need) to the gradients of the operands; to None where
            operators are to compute them.
    """

    forward: Callable[..., tuple[Any, Any]]
    back: Callable[..., Sequence[Any] | None]


def composed(
    name: str,
    derivative: Callable[..., Sequence[Any]] | None = None,
    again_from: int = 0,
    eager: Callable[..., Callable[..., Any] | AtOnce | None] | None = None,
) -> Callable[[Callable[..., Any]], Composed]:
    """Let a composition of one result be one operation eagerly.

    Args:
        name: What it is called on the way back.
        derivative: The rule of its gradients, as an operator's ``vjp``; None for that of its operators.
        again_from: Elements of the first operand from which on what gradients need is computed again for them; of fewer
            it is kept, which takes less time. Where nobody wants gradients it makes no difference.
        eager: From the composition's parameters to a function of NumPy's float32 or float64 arrays that gives what its
            operators do, to the last bit, in less time; to `AtOnce`, where gradients are computed so, too; or to None,
            where there is none for these.
    """
    return lambda compose: Composed(name, compose, derivative, again_from, eager)


class Composed:
    """A composition that gives one tensor; see `composed`."""

    def __init__(
        self,
        name: str,
        compose: Callable[..., Any],
        derivative: Callable[..., Sequence[Any]] | None,
        again_from: int,
        eager: Callable[..., Callable[..., Any] | AtOnce | None] | None,
    ) -> None:
        self.name = name
        self._compose, self._calls, self._again_from, self._eager = compose, dict[Any, Call](), again_from, eager

        def vjp(ct: Any, out: Any, *inputs: Any, **params: Any) -> tuple[Any, ...]:
            if derivative is not None:
                return tuple(derivative(ct, out, *inputs, **params))
            with made_from(None):
                inner = compose(*inputs, **params)
            return tuple(gradients([inner], [ct], inputs))

        self._operator = Operator(
            name=name, family="composition", type_rule=_is_none, eager=_is_none, vjp=vjp, jvp=None, batch=_is_none,
            lower=None, promotion="none", samples=(), arity=None,
        )  # fmt: skip

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        """The result.

        Args:
            inputs: Tensors; of others it is worked out operator by operator.
            params: What it depends on besides.
        """
        found = self._call(inputs, params)
        if found is None:
            return self._one_by_one(inputs, params)
        return run(*found) if found[0].back is None else self._keeping(*found)[0]

    def with_kept(self, *inputs: Any, **params: Any) -> tuple[Tensor, Any] | None:
        """The result, and what `AtOnce.forward` keeps of it; None where that does not run."""
        found = self._call(inputs, params)
        if found is None or found[0].back is None or not _is_for(*found[2]):
            return None
        return self._keeping(*found)

    def _call(self, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> tuple[Call, tuple[Any, ...], Any] | None:
        """The call, the operands and their arrays; None where operators are to run one by one."""
        if not _nobody_asks():
            return None
        key: list[Any] = []
        arrays: list[Any] = []
        for x in inputs:
            if not isinstance(x, Cell) or x._device is not CPU or x.is_composite:
                return None
            array = x._array
            arrays.append(array)
            key += array.dtype, array.shape
        if params:
            if any(isinstance(x, Cell) for x in params.values()):
                return None  # tensors may be written, and calls are kept by what these are
            key += key_of(params)
        if self._again_from and STATE.grad and arrays[0].size < self._again_from and edge_of(inputs[0]) is not None:
            # Who keeps what gradients need in a form of his own is given the operands alone, as in PyTorch.
            if STATE.packing is None:
                return None
        known = tuple(key)
        call = self._calls.get(known)
        if call is None:
            call = self._made(known, inputs, params)
            if call is None:
                return None
        return call, inputs, arrays

    def _keeping(self, call: Call, inputs: tuple[Any, ...], arrays: list[Any]) -> tuple[Tensor, Any]:
        """The result of a call that has a way back of its own, and what is kept for that."""
        assert call.rule is not None
        out, kept = SILENT.copy().run(call.rule, *arrays)
        result = finish(call, inputs, arrays, out)
        if isinstance(result._history, Operation):
            result._history.beside = kept
        return result, kept

    def _one_by_one(self, inputs: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """The result, computed operator by operator; all of these go by the composition's name on the way back."""
        out = self._compose(*inputs, **params)
        if STATE.grad:
            ends = {edge_of(x) for x in inputs if isinstance(x, Cell)}
            edges: list[Any] = [edge_of(out)]
            while edges:
                operation = edges.pop()
                if isinstance(operation, Operation) and operation.within is None and operation not in ends:
                    operation.within = self.name
                    edges += operation.edges
        return out

    def _made(self, key: tuple[Any, ...], inputs: Sequence[Any], params: Mapping[str, Any]) -> Call | None:
        floats = [x.dtype for x in inputs if x.dtype.is_floating_point]
        if not floats or inputs[0].dtype is not floats[0] or any(x is not floats[0] for x in floats):
            return None  # which meet by promotion, that nodes know nothing of
        graph = _traced(self._compose, [x._type for x in inputs], params)
        call = Call(self._operator, tuple(params.items()), tuple(n.type for n in graph.inputs), graph.outputs[0].type)
        eager = self._eager(**params) if self._eager is not None and floats[0] in (dt.float32, dt.float64) else None
        if isinstance(eager, AtOnce):
            call.rule, call.back = _forward(eager.forward, graph), _back(eager.back, len(inputs))
        elif eager is not None:
            call.rule = eager
        else:
            steps = Steps(graph)
            call.rule = lambda *arrays: steps.run(arrays)[0]
        if len(self._calls) >= _LIMIT:
            self._calls.clear()
        self._calls[key] = call
        return call


def _is_for(x: Any, *_: Any) -> bool:
    """Whether `AtOnce` is for operands."""
    return bool(x.size and x.flags.c_contiguous)


def _forward(forward: Callable[..., Any], graph: Graph) -> Callable[..., tuple[Any, Any]]:
    """`AtOnce.forward`, and the graph of operands that it is not for."""
    steps: list[Steps] = []

    def run(*arrays: Any) -> tuple[Any, Any]:
        if _is_for(*arrays):
            return forward(*arrays)  # type: ignore[no-any-return]
        if not steps:
            steps.append(Steps(graph))
        out = steps[0].run(arrays)[0]
        return (out.copy() if any(np.may_share_memory(out, a) for a in arrays) else out), None

    return run


def _back(back: Callable[..., Any], count: int) -> Callable[..., list[Any] | None]:
    """`AtOnce.back` of saved values: the gradients that a pullback gives."""

    def run(pullback: Pullback, saved: Sequence[Any], kept: Any, ct: Any) -> list[Any] | None:
        operands: list[Any] = [None] * (count + 1)
        for i, value in zip(pullback.needs, saved, strict=True):
            operands[i] = value
        wanted = [position is not None for position in pullback.gives]
        found = back(ct, kept, wanted, *operands)
        return None if found is None else [g for g, w in zip(found, wanted, strict=True) if w]

    return run


def _is_none(*_: Any, **__: Any) -> Any:
    raise GradientError("a composition is no operator")


class FusedUpdate:
    """A composition of several results whose gradients nobody wants, as an optimiser's updates are.

    Operands are tensors on the CPU of one floating type, and numbers. Where something is otherwise, or somebody is told
    of operators, it does nothing and says so: the caller then applies `compose` to the tensors.

    Args:
        compose: From tensors, then numbers, and parameters to a tuple of tensors.
    """

    def __init__(self, compose: Callable[..., tuple[Any, ...]]) -> None:
        self.compose = compose
        #: By parameters, then by operands; None where the operators are to run one by one.
        self._plans: dict[Any, dict[Any, Steps | None]] = {}
        #: By the element type, and the position among the numbers: the number that came last, and the array for it.
        self._last: dict[Any, tuple[Any, Any]] = {}

    def values(self, tensors: Sequence[Any], numbers: Sequence[Any] = (), **params: Any) -> list[Tensor] | None:
        """New tensors; None where they are to be computed operator by operator."""
        found = self._operands(tensors, 0, numbers) if _takes(numbers) else None
        if found is None:
            return None
        arrays, known = found
        plans = self._plans_for(params)
        steps = plans.get(known, _UNKNOWN)
        if steps is _UNKNOWN:
            steps = plans[known] = self._made(tensors, 0, len(numbers), params)
        if steps is None:
            return None
        made = SILENT.copy().run(steps.run, [*arrays, *self._numbers(numbers, arrays[0].dtype)])
        return [new_tensor(x.copy() if any(x is a for a in arrays) else x) for x in made]

    def write(
        self, each: Sequence[tuple[Sequence[Any], Sequence[Any]]], numbers: Sequence[Any] = (), **params: Any
    ) -> bool:  # fmt: skip
        """Give tensors new values, of their own old ones and of others; tells whether it did.

        Args:
            each: Of each time that it is to run the tensors that are written, of which the results are the new values,
                and further operands.
            numbers: Numbers behind those.
            params: Parameters of the composition.
        """
        if not _takes(numbers):
            return False
        plans = self._plans_for(params)
        ready: list[tuple[Sequence[Any], Steps, list[Any]]] = []
        behind: dict[Any, list[Any]] = {}
        for written, read in each:
            tensors = (*written, *read)
            found = self._operands(tensors, len(written), numbers)
            if found is None:
                return False
            arrays, known = found
            steps = plans.get(known, _UNKNOWN)
            if steps is _UNKNOWN:
                steps = plans[known] = self._made(tensors, len(written), len(numbers), params)
            if steps is None or not _may_write(arrays, len(written)):
                return False
            dtype = arrays[0].dtype
            if dtype not in behind:
                behind[dtype] = self._numbers(numbers, dtype)
            ready.append((written, steps, arrays + behind[dtype]))
        SILENT.copy().run(_write, ready)
        return True

    def _plans_for(self, params: Mapping[str, Any]) -> dict[Any, Steps | None]:
        """What is known with parameters."""
        options = key_of(params)
        plans = self._plans.get(options)
        if plans is None or len(plans) >= _LIMIT:
            if len(self._plans) >= _LIMIT:
                self._plans.clear()
            plans = self._plans[options] = {}
        return plans

    @staticmethod
    def _operands(
        tensors: Sequence[Any], written: int, numbers: Sequence[Any]
    ) -> tuple[list[Any], tuple[Any, ...]] | None:  # fmt: skip
        """The arrays of tensors, and what the steps depend on; None where there is more to be told of a tensor."""
        arrays = []
        key: list[Any] = [written, len(numbers)]
        for x in tensors:
            if x._device is not CPU or x.is_composite or x._is_inference or x._storage.tangents is not None:
                return None
            array = x._array
            arrays.append(array)
            key += array.shape, array.dtype
        return arrays, tuple(key)

    def _numbers(self, numbers: Sequence[Any], dtype: Any) -> list[Any]:
        """Numbers as arrays of no dimensions that are only read."""
        found = []
        for k, x in enumerate(numbers):
            last = self._last.get((dtype, k))
            if last is None or not (last[0] is x or (x and last[0] == x)):  # 0.0 is -0.0
                last = self._last[dtype, k] = x, np.array(x, dtype)
            found.append(last[1])
        return found

    def _made(
        self, tensors: Sequence[Any], written: int, numbers: int, params: Mapping[str, Any]
    ) -> Steps | None:  # fmt: skip
        dtype = tensors[0].dtype
        if dtype not in (dt.float32, dt.float64) or any(x.dtype is not dtype for x in tensors):
            return None
        graph = _traced(self.compose, [*(x._type for x in tensors), *[TensorType(dtype, (), "cpu")] * numbers], params)
        if written and any(o.type != i.type for o, i in zip(graph.outputs, graph.inputs[:written], strict=True)):
            return None
        return Steps(graph, {k: k for k in range(written)})


#: What steps are that were not asked for before.
_UNKNOWN: Any = object()


def _takes(numbers: Sequence[Any]) -> bool:
    """Whether something may run at once now, with these numbers."""
    for x in numbers:
        if type(x) is not float and type(x) is not int:
            return False
    return not STATE.grad and not STATE.inference and _nobody_asks()


def _may_write(arrays: Sequence[Any], written: int) -> bool:
    """Whether the first arrays may be written, and none of them shares memory with another one."""
    owners = set()
    for k, a in enumerate(arrays):
        if k < written and (not a.flags.writeable or 0 in a.strides):
            return False
        base = a.base
        if base is None:
            owners.add(id(a))
        elif type(base) is np.ndarray and base.base is None:
            owners.add(id(base))
    if len(owners) == len(arrays):
        return True
    return not any(np.may_share_memory(a, b) for k, a in enumerate(arrays[:written]) for b in arrays[k + 1 :])


def _write(ready: Sequence[tuple[Sequence[Any], Steps, list[Any]]]) -> None:
    for written, steps, operands in ready:
        for x in written:  # as `about_to_change`
            storage = x._storage
            storage.version += 1
            if storage.readers:
                storage.give_copies()
        if steps.is_elementwise and operands[0].size > 2 * PART and all(a.flags.c_contiguous for a in operands):
            steps.write_in_parts(operands)
        else:
            steps.write(operands)
