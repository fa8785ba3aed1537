"""The end of a recording: the graph is closed, and what each of its outputs stands for is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tracec.ir.expression import Expression
from tracec.ir.graph import Graph, substitute
from tracec.ir.node import Node
from tracec.record.cell import Cell, Storage
from tracec.record.numbers import Numbers
from tracec.record.outside import Outside
from tracec.record.recording import (
    Check,
    Decision,
    Lifted,
    Recording,
    Result,
    Surroundings,
    find_parts,
    find_tensors,
    is_number,
    marks_of,
)
from tracec.record.refusal import refuse
from tracec.record.seen import is_seen, root
from tracec.record.sized import Sized
from tracec.record.state import STATE
from tracec.record.tape import edge_of, root_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

#: Makes a node an output of the graph, and gives its position.
Emit = Callable[[Node], int]


class Outcome(Sized, Outside):
    """The part of a recorder that makes a recording of what it wrote down.

    Attributes:
        name: Name of the graph.
        decisions: Values that the function asked for.
        checks: Conditions on values.
        printed: What the function printed.
        numbers: The numbers that were computed from values of tensors.
    """

    name: str
    decisions: list[Decision]
    checks: list[Check]
    printed: list[Any]
    numbers: Numbers
    _lifted: list[Lifted]
    _looked: list[Node]
    _counted: list[Expression]
    _given: list[tuple[Any, Decision]]
    trusts_arrays: bool
    _taken: list[tuple[Storage, int, Decision]]
    _whole: dict[Node, Node]

    def copied(self, results: Sequence[Tensor]) -> list[tuple[Tensor, Callable[[], Cell]]]:
        """Results that are copies, but eagerly views of other memory; and what gives the views."""
        copies = ((t, t._storage.copied_from) for t in results if t._storage.recorder is self)
        return [(t, copy[2]) for t, copy in copies if copy is not None]

    def _recorded(self, out: Any, looks: int) -> Recording:
        """The recording, given what the function returned; see `tracec.record.recorder.Recorder.finish`."""
        self._check_given()
        self.check_alone()
        outputs: list[Node] = []

        def emit(node: Node) -> int:
            outputs.append(node)
            return len(outputs) - 1

        found = find_tensors(out)
        if self.trusts_arrays:
            self._trust_arrays(found)
        results = self._results(found, looks, emit)
        writes = [(storage, emit(storage.node)) for storage in self._written]
        # Also None that was None before: a later call may find a gradient there.
        grads = [(x, *self._new_grad(x._grad, emit)) for x in self._grads if id(x) not in self._shared]
        looked = tuple(map(emit, self._looked))
        numbers, asked = self._numbers_in(out, emit)
        new = self._over_whole_memory(outputs)
        return Recording(
            graph=Graph(tuple(v.node for v in self._lifted), tuple(map(new.__getitem__, outputs)), self.name),
            inputs=tuple(self._lifted),
            out=out,
            results=tuple(results),
            writes=tuple(writes),
            counts=tuple(s.version - self._versions[s] for s in self._written),
            grads=tuple(grads),
            grad_reads=dict(self._grad_reads),
            flags=tuple(self.left_flags().items()),
            decisions=[d.over(new.__getitem__) for d in self.decisions],
            surroundings=self._surroundings(),
            checks=tuple(c._replace(node=new[c.node]) for c in self.checks),
            numbers=numbers,
            asked=asked,
            late={t._storage.node: (s.expression, s.type) for s, t in self.numbers.late.items()},
            looked=looked,
            printed=tuple(self.printed),
        )

    def _results(self, found: Sequence[Tensor], looks: int, emit: Emit) -> list[Result]:
        """How each returned tensor is made again; several over one memory are views of one output."""
        shares = Counter({id(t): t._storage for t in found}.values())
        return [
            self._result(t, emit, shares[t._storage] > 1 or (k < looks and bool(t._steps))) for k, t in enumerate(found)
        ]

    def _numbers_in(self, out: Any, emit: Emit) -> tuple[tuple[Expression, ...], tuple[tuple[int, int], ...]]:
        """The numbers that the function gives or shows, and for each symbol in them the output that tells its value."""
        numbers = (*(x.expression for x in find_parts(out) if is_number(x)), *self._counted)
        for expression in numbers:
            self.numbers.settle(expression)
        symbols = dict.fromkeys(k for e in numbers for k in self.numbers.asked_by(e))
        return numbers, tuple((k, emit(self.numbers.nodes[k])) for k in symbols)

    def _over_whole_memory(self, outputs: Sequence[Node]) -> dict[Node, Node]:
        """Each node that is read from outside of the graph, with views that were lifted by themselves replaced.

        Where memory is written all of it is an input, and such a view is taken of that.
        """
        decided = [n for d in self.decisions for n in (d.node, *d.nodes)]
        nodes = (*outputs, *decided, *(c.node for c in self.checks))
        return dict(zip(nodes, substitute(nodes, self._whole), strict=True))

    def _surroundings(self) -> Surroundings:
        """The tensors from outside that were used and are still there."""
        there = ((k, s) for k, s in self._seen.items() if s.tensor() is not None)
        return Surroundings(tuple(replace(s, alone=True) if k in self._alone else s for k, s in there))

    def _trust_arrays(self, results: Sequence[Tensor]) -> None:
        """Take the elements of arrays for constants, where neither the function nor whoever it gives them to writes.

        What they come from is guarded, or was undone or refused, as for numbers that Python's code computes. But a
        tensor over an array is that array's memory: it must not be written, by the array or by any tensor over it, be
        returned or be kept.
        """
        kept = [*results, *(x._grad for x in self._grads if x._grad is not None)]
        lasting = {id(root(storage.array)) for storage in (*(t._storage for t in kept), *self._written)}
        doubtful = {
            id(decision)
            for storage, version, decision in self._taken
            if storage.version != version
            or storage.array.tobytes() != decision.value.tobytes()
            or (is_seen(storage.array) and id(root(storage.array)) in lasting)
        }
        taken = {id(decision) for *_, decision in self._taken} - doubtful
        self.decisions = [d for d in self.decisions if id(d) not in taken]

    def _check_given(self) -> None:
        """Refuse a function that wrote into the array of a tensor, and put back what was there."""
        for array, decision in self._given:
            if array.tobytes() != decision.value.tobytes():
                for given, before in reversed(self._given):
                    given[...] = before.value
                refuse(
                    "numpy: the function writes into the array of a tensor, which a compiled one cannot see",
                    hint="write into the tensor, or into a copy: x.numpy().copy()",
                    where=f"x.numpy()    of what was made at {decision.node.source}",
                )

    def _new_grad(self, grad: Tensor | None, emit: Emit) -> tuple[int | None, tuple[int, ...] | None]:
        """The output that is a gradient, and how its elements lie; None where there is no gradient any more."""
        if grad is None:
            return None, None
        return emit(self.node_of(grad)), self._layout(grad, False) if self.is_inside(grad) else None

    def _seen_in(self, x: Tensor) -> tuple[int | None, int | None]:
        """An argument at the same memory, and after how many of the tensor's steps, where these go through it."""
        beside = [(k, a._steps) for k, a in enumerate(self.arguments) if a._storage is x._storage]
        through = [(len(steps), k) for k, steps in beside if x._steps[: len(steps)] == steps]
        if through:
            after, k = max(through, key=lambda found: (found[0], -found[1]))
            return k, after
        return (beside[0][0] if beside else None), None

    def _result(self, x: Tensor, emit: Emit, shared: bool) -> Result:
        """How a returned tensor is made again: from an output, or as a view of memory from outside."""
        inside = self.is_inside(x)
        known = {v.storage: i for i, v in enumerate(self._lifted) if v.whole}
        node = self.node_of(x)
        shared = shared and inside
        index = emit(x._storage.node if shared else node)
        edge, root = edge_of(x), root_of(x)
        base: Any = x
        while base is not None and self.is_own(base):
            base = base._parent
        argument, after = self._seen_in(x)
        return Result(
            tensor=x,
            output=index,
            lifted=None if inside else known.get(x._storage),
            outside=not inside,
            own=self.is_own(x),
            base=None if base is x else base,
            root=root if root is not x and self.is_own(root) else None,
            version=x._storage.version if inside else 0,
            steps=x._steps,
            layout=self._layout(x, shared) if inside else None,
            shared=shared,
            requires_grad=edge is not None and edge is not x,
            argument=argument,
            after=after,
            grad_of=None if inside else self.grad_of(x._storage, x if base is x else base),
            leaf=edge is x and self.is_own(x),
            cls=type(x),
            marks=marks_of(x) | ({"_is_inference": x._is_inference} if x._is_inference != STATE.inference else {}),
        )
