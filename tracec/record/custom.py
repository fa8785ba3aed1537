"""Operations whose derivatives are functions of the user's: what `autograd.Function` is made of.

A rule says what goes back, and forward, through the operation, as functions of tensors. Where a level of vmap is at
work it holds for one example; around the level stands the same operation on all examples, whose rule enters the level
again and runs that of one example there.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from tracec.errors import GradientError
from tracec.ir.node import current_source
from tracec.ir.operator import OPERATORS, Operator, not_differentiable
from tracec.ir.types import TensorType
from tracec.record.backend import module, on
from tracec.record.batching import Batching, mark
from tracec.record.call import Call
from tracec.record.cell import Cell, add_reader, alias, is_dual, new_tensor
from tracec.record.deferred import copied
from tracec.record.dispatch import apply
from tracec.record.passages import Parts, Passage, Selected
from tracec.record.restore import restored, unpacked
from tracec.record.saved import Packed
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of, packed


class Rule:
    """The derivatives of an operation.

    Attributes:
        name: The operation's name.
        materialize: Whether `backward` is given zeros where a result has no gradient, and not None.
        cls: The user's class that has it.
    """

    name = "Function"
    materialize = True
    cls: Any = None

    def backward(self, node: Custom, grads: Sequence[Any]) -> Sequence[Any]:
        """The gradients of all inputs, given those of all outputs; None where there is none."""
        raise NotImplementedError

    def written(self) -> Any:
        """The function of the user's that `backward` calls."""

    def jvp(self, tangents: Sequence[Any]) -> Sequence[Any]:
        """The tangents of all outputs, given those of all inputs; None where nothing moves."""
        raise NotImplementedError


class Custom(Operation):
    """An operation with a rule of the user's.

    Attributes:
        rule: The rule.
        types: Types of the outputs; None for one that is no tensor.
        histories: For each saved value where its gradients go on to: an edge, or the number of an output.
    """

    __slots__ = ("histories", "rule", "types")

    def __init__(self, rule: Rule, edges: tuple[Any, ...], types: tuple[TensorType | None, ...]) -> None:
        first = next(t for t in types if t is not None)
        call = Call(Operator(**_SHELL | {"name": rule.name}), (), (), first)
        super().__init__(call, edges, _Back(), current_source())
        self.rule, self.types = rule, types
        self.histories: list[Any] = []
        self.saved = []

    @property
    def freed(self) -> bool:
        return self.saved is None and bool(self.histories)

    def name(self) -> str:
        """The class's name with ``Backward`` behind."""
        return f"{self.rule.name}Backward"

    def keep(self, tensors: Sequence[Any], histories: Sequence[Any]) -> None:
        """Keep values for the gradients."""
        me: weakref.ref[Operation] = weakref.ref(self)
        self.saved, self.histories = [], list(histories)
        self.nodes, self.tangents = [], []
        recorder = STATE.recorder
        for x in tensors:
            readers: list[Any] = []
            if x is None:
                self.saved.append(None)
            elif STATE.packing is not None:
                self.saved.append(packed(x))
            else:
                self.saved.append(x._array)
                readers = x._storage.readers
                add_reader(readers, me)
            self.readers.append(readers)
            self.nodes.append(None if recorder is None or x is None else recorder.known(x))
            self.tangents.append(self.moving(x) if x is not None and is_dual(x) else None)

    def kept(self) -> tuple[Any, ...]:
        """The values that were kept, as tensors with their histories.

        Raises:
            GradientError: they have been freed.
        """
        if self.saved is None:
            raise GradientError(
                "backward: trying to backward through the graph a second time (or directly access saved tensors after "
                "they have already been freed)",
                hint="specify retain_graph=True in the first call",
            )
        return tuple(self._one(k) for k in range(len(self.saved)))

    def _one(self, k: int) -> Any:
        assert self.saved is not None and self.nodes is not None and self.tangents is not None
        value, history = self.saved[k], self.histories[k]
        made: Any
        if value is None:
            return None
        if type(value) is Packed:
            made = unpacked(value, self.tangents[k])
        else:
            made = restored(value, self.readers[k], self.nodes[k], self.tangents[k])
        made._history = self.output(history) if isinstance(history, int) else history
        return made

    def output(self, k: int) -> Operation:
        """What gradients of an output go to."""
        if len(self.types) == 1:
            return self
        type_ = self.types[k] or self.call.type
        selected = Operation(Call(self.call.op, (), (), type_), (self,), Selected(k), self.source)
        selected.saved = []
        return selected


_SHELL: dict[str, Any] = {
    "family": "custom",
    "type_rule": None,
    "eager": None,
    "vjp": not_differentiable("its rule is the user's"),
    "jvp": None,
    "batch": None,
    "lower": None,
    "promotion": "none",
    "samples": (),
    "arity": None,
}


class _Back(Passage):
    """The way back through a rule."""

    def arrays(self, operation: Operation, g: Any) -> Sequence[Any]:
        with on(operation.call.type.device):
            # The function may write into what it is given.
            given = {k: new_tensor(copied(a)) for k, a in g.items()} if isinstance(g, Parts) else new_tensor(copied(g))
            found = self.tensors(operation, Parts(given) if isinstance(g, Parts) else given)
        return [None if x is None else x._array for x in found]

    def tensors(self, operation: Operation, g: Any) -> Sequence[Any]:
        assert isinstance(operation, Custom)
        parts = g if isinstance(g, Parts) else {0: g}
        grads = [
            parts[k] if k in parts else (_zeros(t) if operation.rule.materialize else None)
            for k, t in enumerate(operation.types)
        ]
        return operation.rule.backward(operation, grads)


def _zeros(type_: TensorType | None) -> Any:
    if type_ is None:
        return None
    if STATE.recorder is None:
        return new_tensor(module(type_.device).zeros(type_.shape, type_.dtype.numpy))
    zero = apply(OPERATORS["constant"], (), {"value": 0, "dtype": type_.dtype, "device": type_.device})
    return apply(OPERATORS["expand"], (zero,), {"shape": type_.shape})


def attach(
    rule: Rule, inputs: Sequence[Any], outputs: Sequence[Any], types: Sequence[TensorType | None], around: bool = True
) -> Custom | None:
    """Let gradients, and tangents, of outputs that were computed somehow go by a rule.

    Args:
        rule: The rule.
        inputs: What the outputs were computed from; entries that are no tensors have no gradient.
        outputs: The outputs; tensors with memory of their own, or inputs that were written; None for one that is
            not differentiated.
        types: Types of all outputs; None for one that is no tensor.
        around: Whether the same is to hold around a level of vmap that is at work.

    Returns:
        The operation, where gradients flow.
    """
    node = None
    edges = tuple(edge_of(x) if isinstance(x, Cell) and STATE.grad else None for x in inputs)
    recorder = STATE.recorder
    many = None
    if around and isinstance(recorder, Batching) and any(map(recorder.is_batched, outputs)):
        many = _of_all(rule, recorder, inputs, edges, outputs)
    if any(e is not None for e in edges):
        node = Custom(rule, edges, tuple(types))
        node.recorder = recorder
        for k, x in enumerate(outputs):
            if x is not None:
                if recorder is not None:
                    recorder.change_flag(x)
                x._parent = x._seen = None
                x._requires_grad = False
                x._history = node.output(k)
    _move(rule, inputs, outputs)
    if many is not None and isinstance(recorder, Batching):
        all_rule, whole, results = many
        all_rule.one = node
        with recorder.outside():
            sizes = [None if t is None else t.with_shape((recorder.size, *t.shape)) for t in types]
            attach(all_rule, whole, results, sizes)
        for x, made in zip(outputs, results, strict=True):
            if x is not None:
                mark(x, made)
    return node


def _move(rule: Rule, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Let outputs move by a rule at each open level of forward mode."""
    levels = STATE.duals
    try:
        for k, level in enumerate(levels):
            moved = [level.tangent(x) for x in inputs]
            if all(t is None for t in moved):
                continue
            STATE.duals = levels[:k]
            for x, t in zip(outputs, rule.jvp(moved), strict=True):
                if x is not None and t is not None:
                    level.give(x, t)
    finally:
        STATE.duals = levels


def _of_all(
    rule: Rule, level: Batching, inputs: Sequence[Any], edges: Sequence[Any], outputs: Sequence[Any]
) -> tuple[_OfAll, list[Any], list[Any]]:
    """The operation on all examples: its rule, inputs and outputs."""
    which = [level.is_batched(x) for x in inputs]
    whole = [level.flowing(x, edge) if many else x for x, edge, many in zip(inputs, edges, which, strict=True)]
    results: list[Any] = []
    for x in outputs:
        if x is None:
            results.append(None)
            continue
        # The batching rules' own way to all examples gives values alone.
        made: Any = alias(level.whole(x))
        x._storage.recorder, x._storage.node = level, made
        results.append(made)
    return _OfAll(rule, level, which), whole, results


class _OfAll(Rule):
    """The rule of an operation on all examples, given that on one.

    Args:
        rule: That on one.
        level: The level of vmap.
        which: The inputs that differ between examples.
    """

    def __init__(self, rule: Rule, level: Batching, which: Sequence[bool]) -> None:
        self.rule, self.level, self.which = rule, level, which
        self.name, self.materialize, self.cls = rule.name, rule.materialize, rule.cls
        #: The operation on one example.
        self.one: Any = None

    def written(self) -> Any:
        return self.rule.written()

    def backward(self, node: Custom, grads: Sequence[Any]) -> Sequence[Any]:
        with self.level:
            given = [None if g is None else self.level.example(g) for g in grads]
            found = self.rule.backward(self.one, given)
            whole = [None if g is None else self.level.whole(g) for g in found]
        return [g if g is None or many else g.sum(0) for g, many in zip(whole, self.which, strict=True)]

    def jvp(self, tangents: Sequence[Any]) -> Sequence[Any]:
        with self.level:
            given = [
                None if t is None else (self.level.example(t) if many else t)
                for t, many in zip(tangents, self.which, strict=True)
            ]
            found = self.rule.jvp(given)
            return [None if t is None else self.level.whole(t) for t in found]
