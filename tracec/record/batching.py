"""One level of vmap: a function written for one example, computed for many.

Within a level a tensor that differs between examples is, to the function, a tensor of one example: its memory holds
the first example's values, which give shapes, views and writes their meaning as anywhere else. The level keeps for
that memory the tensor of all examples, whose axis 0 they lie along. Every operation that such a tensor takes part in
is run twice: on the first example, and, by the operator's batching rule, on all of them. What no such tensor takes
part in happens once, as if the level were not there.

The tensors of all examples belong to what is around the level: to another level, to a recorder that compiles, to the
levels of forward mode that were open before. So levels nest, and transforms compose in every order: within a level
gradients and tangents are those of one example, and around it those of all.

Where gradients flow is decided for one example (by `detach`, `no_grad`, a `Function`), and the computation of all
follows: an operand that no gradient flows through is cut off for all examples too.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from tracec.errors import RecordError
from tracec.ir.extent import is_varying
from tracec.ir.node import Node, current_source
from tracec.ir.operator import OPERATORS
from tracec.ir.types import Shape
from tracec.record.backend import module
from tracec.record.call import Call
from tracec.record.cell import Cell, Storage, alias, is_dual, new_tensor, tensor_class
from tracec.record.check import Requirement
from tracec.record.deferred import settled
from tracec.record.dispatch import apply, tell
from tracec.record.meta import MetaArray
from tracec.record.overriding import disabled
from tracec.record.passages import Moved, Passage
from tracec.record.rules import compute, operands
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of, pass_through
from tracec.record.within import Within

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

_REFUSED = {
    "bool": "attempting to use a Tensor in some data-dependent control flow. We don't support that",
    "nonzero": "calling an operation whose result's shape depends on values. We don't support vmap over those",
}
_INSTEAD = {
    "bool": "choose with tracec.where, or branch on a value that is the same for all examples",
    "nonzero": "use tracec.where or a product with the mask",
}


class Batching(Within):
    """A level of vmap; within it as a context, operations run for all examples.

    Args:
        size: Number of examples.
        randomness: What random numbers do: ``error``, ``different`` for each example, or the ``same`` for all.
    """

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.size = size
        self.randomness = randomness
        #: What a graph cannot have, no batch has either, compiled or not.
        self.refused: Any = None
        self._around: list[tuple[Any, Any, Any]] = []
        self._inside: weakref.WeakSet[Storage] = weakref.WeakSet()
        self._examples: dict[int, weakref.ref[Any]] = {}
        self._closed: list[tuple[weakref.ref[Any], type]] = []
        self.sizes: dict[int, Shape] | None = None
        self.calls: dict[Any, Call] = {}

    def gave_elements(self, x: Cell, value: Cell) -> None:
        """Note that a tensor that keeps its memory has got another one's elements."""

    def keeps_memory(self, x: Cell, value: Cell) -> bool:
        """Whether a tensor that is given another one's memory goes on looking at its own, which gets the elements."""
        return True

    def __enter__(self) -> Batching:
        if not self._around:
            self._open_again()
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        if not self._around:
            self._close()

    def _close(self) -> None:
        """Tensors of one example mean nothing outside."""
        for reference in self._examples.values():
            example = reference()
            if example is not None:
                self._closed.append((reference, type(example)))
                example.__class__ = _escaped()
        self._examples.clear()

    def _open_again(self) -> None:
        """Going back, they mean what they did."""
        for reference, cls in self._closed:
            example = reference()
            if example is not None:
                example.__class__ = cls
                self._examples[id(example)] = reference
        self._closed.clear()

    # Examples -----------------------------------------------------------------------------------------

    def is_batched(self, x: Any) -> bool:
        """Whether a tensor differs between examples."""
        return isinstance(x, Cell) and x._storage.recorder is self

    def example(self, many: Any) -> Tensor:
        """The tensor of one example, given that of all, which lie along axis 0."""
        array, shape = many._array, many._array.shape[1:]
        there = self.size and type(array) is not MetaArray
        first = array[:1].reshape(shape).copy() if there else module(many._device).ones(shape, array.dtype)
        made = new_tensor(first)
        self._know(made, many)
        mark(made, many)
        edge = edge_of(many) if STATE.grad else None
        if edge is many:
            made._requires_grad = True
        elif edge is not None:
            made._history = pass_through(made, None, Around())
        return made

    def whole(self, x: Any) -> Any:
        """The tensor of all examples, along axis 0; one that is the same for all is repeated."""
        if self.is_batched(x):
            return self.flowing(x, edge_of(x))
        with self.outside():
            return apply(OPERATORS["expand"], (x,), {"shape": (self.size, *x._shape)})

    def _know(self, x: Cell, many: Any) -> None:
        x._storage.recorder, x._storage.node = self, many
        self._inside.add(x._storage)
        self.follow(x)

    def _many(self, x: Any) -> Any:
        """The tensor of all examples that a tensor of one stands for."""
        many = x._storage.node
        if not x._steps:
            return many
        if x._node_of is not many:
            before, STATE.grad = STATE.grad, True
            try:
                with self.outside():
                    found = many
                    for step in x._steps:
                        found = compute(step.batched((True,), self.size), (found,), current_source())[0]
            finally:
                STATE.grad = before
            x._node, x._node_of = found, many
        return x._node

    def changed(self, x: Any, many: Any) -> bool:
        """Whether a tensor of one example has been written into since it stood for that tensor of all."""
        return x._storage.node is not many

    # What a recorder is told --------------------------------------------------------------------------

    def record(self, call: Call, inputs: tuple[Any, ...], result: Cell, operation: Operation | None) -> None:
        """Run for all examples what ran for one."""
        which = tuple([self.is_batched(x) for x in inputs])
        if not any(which):
            self._inside.add(result._storage)
            with self.outside():
                tell(call, inputs, result, operation)  # type: ignore[arg-type]
            return
        edges = operation.edges if operation is not None else (None,) * len(inputs)
        with self.outside():
            given = operands(call, inputs)
            values = [self.flowing(x, edge) if many else x for x, edge, many in zip(given, edges, which, strict=True)]
            (found,) = compute(call.batched(which, self.size), values, current_source())
        self._know(result, found)
        mark(result, found)
        if operation is not None:
            operation.recorder = self
            operation.nodes = [self.known(given[i] if i < len(given) else result) for i in operation.pullback.needs]

    def flowing(self, x: Any, edge: Any) -> Any:
        """The tensor of all examples, cut off where no gradient flows through that of one, still where it is still."""
        many = self._many(x)
        cut = edge is None and STATE.grad and edge_of(many) is not None
        still = is_dual(many) and not is_dual(x)
        if not cut and not still:
            return many
        made: Any = alias(many)
        made._is_dual = is_dual(many) and not still
        if not cut:
            made._history = edge_of(many)
        return made

    def known(self, x: Any) -> tuple[Any, Any] | None:
        """To whom a value is known, and as what; see `tracec.record.restore.restored`."""
        if self.is_batched(x):
            return self, self._many(x)
        with self.outside() as recorder:
            return None if recorder is None or not isinstance(x, Cell) else recorder.known(x)

    def shown(self, x: Any) -> str | None:
        """A tensor that differs between examples as text; None for others."""
        if not self.is_batched(x):
            with self.outside() as recorder:
                return None if recorder is None else recorder.shown(x)
        with self.outside():
            value = repr(self._many(x)).replace("\n", "\n    ")
        return f"BatchedTensor(lvl={self._depth}, bdim=0, value=\n    {value}\n)"

    @property
    def _depth(self) -> int:
        """How many levels there are up to this one."""
        around = self._around[-1][0]
        return 1 + (around._depth if isinstance(around, Batching) else 0)

    def node_of(self, x: Cell) -> Any:
        """What stands for a tensor."""
        if self.is_batched(x):
            self.follow(x)
            return self._many(x)
        with self.outside() as recorder:
            return None if recorder is None else recorder.node_of(x)

    def follow(self, x: Cell) -> None:
        """Note a tensor of one example, which means nothing outside."""
        if self.is_batched(x):
            self._examples[id(x)] = weakref.ref(x)

    def shape_of(self, x: Cell) -> Shape:
        """The shape of a tensor, of one example or of none, with what its sizes depend on."""
        batched = self.is_batched(x)
        many = self._many(x) if batched else x
        with self.outside():
            return many._shape[1:] if batched else many._shape

    def strides(self, x: Cell) -> Shape:
        """A tensor's strides in elements; where its sizes vary, they are as they are from here on."""
        if is_varying(self.shape_of(x)):
            self.fix_sizes()
        return tuple(s // x._array.itemsize for s in x._array.strides)

    def written(self, storage: Storage, value: Cell) -> tuple[Any, Any]:
        """What memory that is about to be given values is from then on.

        Raises:
            RecordError: the memory was there before, the same for all examples, and the value differs.
        """
        if self.is_batched(value) or storage.recorder is self:
            if storage.recorder is not self and storage not in self._inside:
                raise RecordError(
                    "vmap: an in-place operation would write values that differ between examples into a tensor that "
                    "is the same for all of them",
                    hint="give the tensor to the function as an argument with an in_dim, or use the operation that "
                    "makes a new one",
                )
            return self, self.whole(value)
        with self.outside() as recorder:
            return (None, None) if recorder is None else recorder.written(storage, value)

    def moved(self, x: Any, device: Any, move: Any) -> Any:
        """A copy on another device."""
        with self.outside():
            many = move(self._many(x) if self.is_batched(x) else x, device)
        if not self.is_batched(x):
            return many
        made = self.example(many)
        edge = edge_of(x) if STATE.grad else None
        made._requires_grad = False
        made._history = None if edge is None else pass_through(made, edge, Moved(str(x._device)))
        return made

    def is_inside(self, x: Cell) -> bool:
        """Whether a tensor's memory was made within the level."""
        return self.is_batched(x) or x._storage in self._inside

    def hold(self, x: Cell, node: Node) -> None:
        """Enter a tensor that was made for a node."""
        self._inside.add(x._storage)
        with self.outside() as recorder:
            if recorder is not None:
                recorder.hold(x, node)

    def decide(self, x: Any, array: Any, how: str) -> None:
        """Note that the function asked for values, which must be the same for all examples.

        Raises:
            RecordError: they are not.
        """
        if self.is_batched(x):
            _refuse(how)
        with self.outside() as recorder:
            if recorder is not None:
                recorder.decide(x, array, how)

    def check(self, x: Any, requires: Requirement) -> None:
        """Test the values of all examples."""
        many = self._many(x) if self.is_batched(x) else x
        if many is not x and self.tests:
            requires.at_present().test(settled(many._array))
        with self.outside() as recorder:
            if recorder is not None:
                recorder.check(many, requires)

    def change_grad(self, x: Any, value: Any) -> None:
        """Note that ``grad`` of a tensor is about to be assigned.

        Raises:
            RecordError: the tensor is the same for all examples, and its gradient differs.
        """
        if self.is_batched(value) and not self.is_batched(x):
            raise RecordError(
                "vmap: backward() would give a tensor that is the same for all examples a grad that differs between "
                "them",
                hint="use tracec.func.grad or tracec.autograd.grad, and return the gradient",
            )
        if not self.is_batched(x):
            with self.outside() as recorder:
                if recorder is not None:
                    recorder.change_grad(x, value)

    def read_grad(self, x: Any) -> None:
        """Note that ``grad`` of a tensor is looked at."""
        self._tell_of("read_grad", x)

    def change_flag(self, x: Any) -> None:
        """Note that ``requires_grad`` of a tensor is about to be changed."""
        self._tell_of("change_flag", x)

    def _tell_of(self, what: str, x: Any) -> None:
        if not self.is_batched(x):
            with self.outside() as recorder:
                if recorder is not None:
                    getattr(recorder, what)(x)

    def random_bits(self, generator: Any, shape: tuple[int, ...]) -> Any:
        """Fresh random bits for one example, by the level's way with random numbers.

        Raises:
            RecordError: that way is to refuse them.
        """
        if self.randomness == "error":
            raise RecordError(
                "vmap: called random operation while in randomness error mode.",
                hint="use randomness='same' or 'different' on vmap, or perform the random operation out of vmap",
            )
        if self.randomness == "same":
            with self.outside():
                bits = generator.next_bits(shape)
            self._inside.add(bits._storage)
            return bits
        with self.outside():
            many = generator.next_bits((self.size, *shape))
        return self.example(many)


def mark(x: Any, many: Any) -> None:
    """Mark a tensor of one example as moving where that of all examples does, at levels around."""
    if is_dual(many):
        x._is_dual = True
        if x._storage.tangents is None:
            x._storage.tangents = {}


def _refuse(how: str) -> NoReturn:
    what = _REFUSED.get(how, f"calling .{how}() on a Tensor. We don't support vmap over calling .{how}() on a Tensor")
    raise RecordError(
        f"vmap: It looks like you're {what}",
        hint=_INSTEAD.get(how, "rewrite what you are doing with operations on tensors"),
    )


class Around(Passage):
    """Gradients of one example end here; those of all examples go on around the level."""

    of_array = of_tensor = staticmethod(lambda g: None)


class _Escape:
    """What is left of a tensor of one example outside of its level: an error for whoever uses it."""

    __torch_function__ = staticmethod(disabled)

    @property
    def _array(self) -> Any:
        raise RecordError(
            "vmap: a tensor of one example was used outside of the function that vmap ran",
            hint="return from the function what is needed outside",
        )


@functools.cache
def _escaped() -> Any:
    return type("EscapedTensor", (_Escape, tensor_class()), {})
