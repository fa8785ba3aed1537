"""The autograd graph: operations that ran, from results back to leaves.

`Operation` is PyTorch's ``Node`` (what ``grad_fn`` gives): the operands' edges, the pullback, and the values saved for
it. An edge is the operation that made an operand, or the tensor itself where that is a leaf.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from tracec.errors import GradientError
from tracec.ir.node import current_place
from tracec.ir.number import observe
from tracec.ir.source import Place, Source, line_of
from tracec.record.call import Call, view_call
from tracec.record.cell import Cell, Changes, T, add_reader, alias, is_dual
from tracec.record.derived import Pullback
from tracec.record.names import name_of
from tracec.record.opaque import is_for_library
from tracec.record.passages import Passage, Selected
from tracec.record.saved import Packed
from tracec.record.state import STATE


class Operation:
    """An operation that gradients flow through.

    Attributes:
        call: What it was.
        edges: For each operand where its gradient goes on to; None where none is wanted.
        pullback: How its gradients are computed.
        saved: The values that takes, arrays or as a hook packed them; None once they have been freed.
        beside: What a composition's rule has kept for its gradients, besides; see `tracec.record.compositions.AtOnce`.
        readers: For each saved value the list of readers of its memory.
        nodes: For each saved value a recorder that knew it and what it was to that, where one was at work.
        tangents: For each saved value its memory's tangents and its view steps, where one of them moves.
        recorder: The recorder that was told of the operation.
        hooks: What the user wants done with the gradient of the result, by number.
        node_hooks: What the user wants done before and after gradients go through, by number; see `NodeHooks`.
        keeps: The tensor whose ``grad`` is to hold the gradient of the result.
        double_backward: Of a compiled function, how gradients go back that have gradients; None where they have none.
        within: Name of the composition that it is part of, which is one operation elsewhere; None where it is of none.
    """

    __slots__ = (
        "__weakref__",
        "_made_at",
        "beside",
        "call",
        "double_backward",
        "edges",
        "hooks",
        "keeps",
        "node_hooks",
        "nodes",
        "pullback",
        "readers",
        "recorder",
        "saved",
        "tangents",
        "within",
    )  # fmt: skip

    def __init__(
        self, call: Call, edges: tuple[Any, ...], pullback: Pullback | Passage, source: Source | Place | None
    ) -> None:
        self.call = call
        self.edges = edges
        self.pullback = pullback
        self.saved: list[Any] | None = None
        self.beside: Any = None
        self.readers: list[Any] = []
        self.nodes: list[Any] | None = None
        self.tangents: list[Any] | None = None
        self.recorder: Any = None
        self._made_at = source
        self.hooks: dict[int, Callable[[Any], Any]] | None = None
        self.node_hooks: NodeHooks | None = None
        self.keeps: weakref.ref[Any] | None = None
        self.double_backward: Callable[[Any], Sequence[Any] | None] | None = None
        self.within: str | None = None

    def save(self, inputs: tuple[Any, ...], arrays: list[Any], result: Cell | None) -> None:
        """Keep the values that the gradients need."""
        needs = self.pullback.needs
        self.saved = saved = []
        if not needs:
            return
        me, count, packing = weakref.ref(self), len(arrays), STATE.packing
        for k, i in enumerate(needs):
            if i < count:
                array, owner = arrays[i], inputs[i]
            else:
                assert result is not None
                array, owner = result._array, result
            if not isinstance(owner, Cell):
                saved.append(array)
                self.readers.append([])
                continue
            storage = owner._storage
            if owner._is_inference:
                raise GradientError(
                    f"{self.call.op.name}: Inference tensors cannot be saved for backward.",
                    hint="make a clone to get a normal tensor, or use no_grad() instead of inference_mode()",
                )
            if storage.tangents is not None and is_dual(owner):
                self.tangents = self.tangents or [None] * len(needs)
                self.tangents[k] = self.moving(owner)
            if packing is not None:
                saved.append(packed(owner))
                self.readers.append([])
                continue
            saved.append(array)
            add_reader(storage.readers, me)
            self.readers.append(storage.readers)

    @property
    def freed(self) -> bool:
        return self.saved is None and bool(self.pullback.needs)

    @property
    def source(self) -> Source | None:
        """The user's line."""
        if isinstance(self._made_at, tuple):
            self._made_at = line_of(self._made_at)
        return self._made_at

    def moving(self, owner: Cell) -> tuple[Any, Any]:
        """How a value moves: its memory's tangents, of which the levels take theirs away in the end, and its steps."""
        tangents = owner._storage.tangents
        for level in tangents or ():
            level.remember(tangents)  # type: ignore[arg-type]
        return tangents, owner._steps

    @property
    def operator(self) -> str:
        """The name of the operator, or of the composition that stands for it."""
        return self.within or self.call.op.name

    def name(self) -> str:
        """Its name as PyTorch would put it, ``MulBackward0``."""
        self._ask()
        if isinstance(self.pullback, Selected):
            return self.edges[0].name()  # type: ignore[no-any-return]
        return name_of(self)

    def shown(self) -> Operation:
        """Itself, as an object of a class of that name, as programs ask for it: ``type(x.grad_fn).__name__``."""
        if type(self) is Operation:
            self.__class__ = _class_of(name_of(self) if not isinstance(self.pullback, Selected) else "Operation")
        return self

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Where gradients of the operands go on to, and for which of its results."""
        self._ask()
        return tuple(map(_function_of, self.edges))

    @property
    def metadata(self) -> dict[Any, Any]:
        """The user's line, under ``source``."""
        self._ask()
        return {} if self.source is None else {"source": str(self.source)}

    def _ask(self) -> None:
        """Note that the user's code goes by an operation from outside, of which no key tells, while it is recorded."""
        if STATE.recorder is not None and self.recorder is not STATE.recorder and not is_for_library(3):
            observe("what computed a tensor, grad_fn")

    def register_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(grad_inputs, grad_outputs)`` when gradients have gone through.

        What it returns, if not None, are the gradients of the operands from there on.
        """
        self.node_hooks = self.node_hooks or NodeHooks()
        return Handle.enter(self.node_hooks.after, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(grad_outputs)`` before gradients go through; what it returns, if not None, goes through."""
        self.node_hooks = self.node_hooks or NodeHooks()
        return Handle.enter(self.node_hooks.before, hook)

    def __repr__(self) -> str:
        return f"<{self.name()}>" if self.source is None else f"<{self.name()} at {self.source}>"


class Shown(Operation):
    """An operation that a program has asked for; there is a class for each name."""

    __slots__ = ()


@cache
def _class_of(name: str) -> Any:
    return type(name, (Shown,), {"__slots__": (), "__module__": __name__})


class NodeHooks:
    """What a user wants done when gradients go through an operation.

    Attributes:
        before: Functions of the gradients of the results, by number.
        after: Functions of the gradients of the operands and of the results, by number.
    """

    def __init__(self) -> None:
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}


class Handle:
    """What registering a hook gives back; within it as a context the hook is called."""

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks, self._key = hooks, key

    @staticmethod
    def enter(hooks: dict[int, Any], hook: Any) -> Handle:
        """Enter a hook behind the others."""
        key = max(hooks, default=-1) + 1
        hooks[key] = hook
        Changes.count += 1
        return Handle(hooks, key)

    def remove(self) -> None:
        """Call the hook no more."""
        self._hooks.pop(self._key, None)
        Changes.count += 1

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


@contextmanager
def unobserved(edges: Iterable[Operation | Cell]) -> Iterator[None]:
    """Within, nobody is told of the gradients that arrive at some operations and leaves, or changes them."""
    names = {Cell: ("_hooks",), Operation: ("hooks", "keeps")}
    before = [(e, n, getattr(e, n)) for e in edges for n in names[Cell if isinstance(e, Cell) else Operation]]
    try:
        for edge, name, _ in before:
            setattr(edge, name, None)
        yield
    finally:
        for edge, name, value in before:
            setattr(edge, name, value)


class AccumulateGrad:
    """Stands for a leaf at the end of the graph of operations.

    Attributes:
        variable: The leaf.
    """

    next_functions: tuple[Any, ...] = ()

    def __init__(self, variable: Cell) -> None:
        self.variable = variable

    def name(self) -> str:
        """PyTorch's name for it."""
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return "<AccumulateGrad>"


def _function_of(edge: Any) -> tuple[Any, int]:
    """An edge as PyTorch shows it: a function, and which of its results."""
    if isinstance(edge, Cell):
        return AccumulateGrad(edge), 0
    if edge is not None and isinstance(edge.pullback, Selected):
        return edge.edges[0].shown(), edge.pullback.number
    return (edge if edge is None else edge.shown()), 0


def packed(owner: Cell) -> Any:
    """A value that gradients need, in the form that the user's hooks give it."""
    assert STATE.packing is not None
    pack, unpack = STATE.packing
    try:
        STATE.packing = None
        return Packed(alias(owner), pack, unpack)
    finally:
        STATE.packing = pack, unpack


def edge_of(x: Cell) -> Any:
    """Where gradients of a tensor's present value go on to: an operation, a leaf, or None for nowhere.

    A view follows its base: when the base has been given a new value, the view's operations are made anew.
    """
    if x._parent is None:
        return x._history if x._history is not None else (x if x._requires_grad else None)
    chain = [x]
    while (base := chain[-1]._parent) is not None:
        # A base that was turned since (`squeeze_` and its kind) is a view of what it was, as this one is.
        while len(base._steps) >= len(chain[-1]._steps) and base._parent is not None:
            base = base._parent
        chain.append(base)
    root = chain.pop()
    edge: Any = root._history if root._history is not None else (root if root._requires_grad else None)
    for view in reversed(chain):
        if edge is None:
            view._history = view._seen = None
        elif view._seen is not edge:
            view._seen = edge
            call = view._steps[-1]
            view._history = operation = Operation(call, (edge,), call.pullback((True,)), current_place())
            operation.saved = []
        edge = view._history
    return edge


def pass_through(x: Cell, edge: Any, passage: Passage) -> Operation:
    """The operation that stands between a tensor and where its gradients went on to before."""
    call = view_call("reshape", x._type, shape=x._shape)
    operation = Operation(call, (edge,), passage, current_place())
    operation.saved = []
    return operation


def root_of(x: T) -> T:
    """The tensor that a differentiable view is a view of in the end."""
    while x._parent is not None:
        x = x._parent  # type: ignore[assignment]
    return x


def is_inference(input: Cell) -> bool:
    """Whether a tensor was made in inference mode."""
    return input._is_inference


def order_of(starts: Iterable[Any]) -> list[Operation]:
    """Every operation that leads to the starts, operands first."""
    order: list[Operation] = []
    seen: set[Any] = set()
    for start in starts:
        if not isinstance(start, Operation) or start in seen:
            continue
        seen.add(start)
        stack = [(start, iter(start.edges))]
        while stack:
            operation, edges = stack[-1]
            for edge in edges:
                if isinstance(edge, Operation) and edge not in seen:
                    seen.add(edge)
                    stack.append((edge, iter(edge.edges)))
                    break
            else:
                order.append(operation)
                stack.pop()
    return order


def leading_to(order: Sequence[Operation], wanted: Sequence[Any]) -> set[Operation]:
    """The operations whose operands' gradients lead to one of the wanted edges."""
    goal = set(wanted)
    found: set[Operation] = set()
    for operation in order:
        if any(e is not None and (e in goal or e in found) for e in operation.edges):
            found.add(operation)
    return found
