"""The data of a tensor: a storage that several tensors may share, and one tensor's view of it.

Saved values are copied on write: an in-place write first gives operations that still need the old values a copy of
their own (`Storage.about_to_change`), so that their gradients stay right, where PyTorch raises an error.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.forks import free_in_children
from tracec.ir.types import Shape, TensorType
from tracec.record.backend import CPU, Device, device_of, share_memory
from tracec.record.changes import Changes as Changes
from tracec.record.changes import ViewMark
from tracec.record.deferred import copied, fill
from tracec.record.saved import Packed
from tracec.record.state import STATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracec.record.batching import Batching
    from tracec.record.call import Call
    from tracec.record.dual import DualLevel
    from tracec.record.recorder import Recorder
    from tracec.record.tape import Operation
    from tracec.record.tensor import Tensor

T = TypeVar("T", bound="Cell")


class Storage:
    """Memory that tensors share.

    Attributes:
        array: The array whose elements all tensors of this storage see, as it is or through view steps.
        version: Number of writes so far.
        recorder: The recorder that `node` belongs to.
        node: The present value in the graph of that recorder; of a level of vmap, the tensor of all examples.
        readers: Recorded operations that keep a view of this memory for their gradients.
        copied_from: Memory that eagerly this would be a view of, its version when it was copied, what gives the view.
        tangents: How the values move, by level of forward mode; None where they do not.
        beside: The last recording that had begun when another thread than the one recorded made it; see `Beside`.
            Less than zero where the recorded one did.
        is_known: Whether all that its values depend on is known though no operation made it, as is a seed.
    """

    # The class's until they are set: each operation makes one of these.
    version: int = 0
    recorder: Recorder | Batching | None = None
    node: Any = None
    copied_from: tuple[Storage, int, Callable[[], Cell]] | None = None
    tangents: dict[DualLevel, Any] | None = None
    beside: int = 0
    is_known: bool = False

    def __init__(self, array: Any) -> None:
        self.array = array
        self.readers: list[weakref.ref[Operation]] = []

    @property
    def type(self) -> TensorType:
        """Type of the whole."""
        return type_of(self.array)

    def about_to_change(self) -> None:
        """Give operations that still need the present values a copy of their own, and count the write."""
        self.version += 1
        if self.readers:
            self.give_copies()

    def give_copies(self) -> None:
        """Give operations that still need the present values a copy of their own."""
        # In place: other looks at this memory may share the list.
        readers = self.readers[:]
        self.readers.clear()
        copies: dict[int, Any] = {}
        for reader in readers:
            operation = reader()
            if operation is None or operation.saved is None:
                continue
            for i, array in enumerate(operation.saved):
                if type(array) is not Packed and share_memory(array, self.array):
                    copy = copies.get(id(array))
                    if copy is None:
                        copy = copies[id(array)] = copied(array)
                        copies[id(copy)] = copy
                    operation.saved[i] = copy

    def write(self, array: Any) -> None:
        """Replace the values; tensors that look at this memory see them."""
        self.about_to_change()
        if array is not self.array:
            fill(self.array, array)


class Constant(Storage):
    """Values that a recorded function made of Python's numbers: the same whenever it goes the same way."""


def add_reader(readers: list[weakref.ref[Operation]], operation: weakref.ref[Operation]) -> None:
    """Enter an operation in a storage's list of readers."""
    readers.append(operation)
    count = len(readers)
    # At each power of two from 64 on: the dead ones go, at a constant price for each reader.
    if count >= 64 and not count & (count - 1):
        readers[:] = [r for r in readers if r() is not None]


class Beside:
    """Marks memory that is made while a thread is recorded, by it and by others; nobody pays for it at other times."""

    _lock = threading.RLock()
    free_in_children(_lock)
    _active = 0
    _begun = 0

    @classmethod
    def begin(cls) -> int:
        """Mark from now on; what is marked with this number, or a greater one, is younger than the call."""
        global _mark
        with cls._lock:
            cls._active += 1
            cls._begun = _mark = cls._begun + 1
            return cls._begun

    @classmethod
    def end(cls) -> None:
        """Mark no more, where nobody else asks for it."""
        global _mark
        with cls._lock:
            cls._active -= 1
            if not cls._active:
                _mark = 0


#: What memory is marked with that is made now.
_mark = 0


class Cell:
    """The data of a tensor; `tracec.record.tensor.Tensor` adds what users call.

    A tensor is a view of a storage through view steps. A view that gradients flow through knows its base,
    the tensor whose history it follows; detached tensors and views made with gradients off have none.

    Attributes:
        _storage: The memory.
        _array: The elements that this tensor sees, an array over the same memory.
        _steps: The views that lead from the storage's array to this tensor's.
        _parent: The tensor that this is a differentiable view of, which may be a view itself.
        _requires_grad: Set by the user on a leaf.
        _history: Where gradients of this value go on to: the operation that made it, or a leaf that it stands for.
        _seen: For a view: where the base's gradients went when `_history` was made.
        _grad: The gradient that `backward` gathered.
        _keeps_grad: `retain_grad` was called.
        _hooks: Functions to call with the gradient, by number.
        _gathered_hooks: Functions to call with a leaf whose ``grad`` has been added to, by number.
        _is_constant: Made by the operator ``constant``: what is spread over a shape from it gets its own memory.
        _is_inference: It was made in inference mode, and may not be part of what is differentiated.
        _is_dual: It moves as its memory's tangents say; a detached tensor does not.
        _data_of: While a function is recorded: the tensor that this was taken from as its ``data``.
        _view_mark: What all tensors hold that view memory which a program writes because only one does; see `ViewMark`.
        _node: This view's node, made from `_node_of`.
        _node_of: The storage's node that `_node` was made from.
    """

    _storage: Storage
    _array: Any
    _device: Device = CPU
    _steps: tuple[Call, ...] = ()
    _parent: Cell | None = None
    _requires_grad: bool = False
    _history: Operation | Cell | None = None
    _seen: Operation | Cell | None = None
    _grad: Tensor | None = None
    _keeps_grad: bool = False
    _hooks: dict[int, Any] | None = None
    _gathered_hooks: dict[int, Any] | None = None
    _is_constant: bool = False
    _is_inference: bool = False
    _is_dual: bool = False
    _data_of: Cell | None = None
    _view_mark: ViewMark | None = None
    _node: Any = None
    _node_of: Any = None

    #: Whether it is made of other tensors, and has no array of its own; see `tracec.record.composite`.
    is_composite = False

    @property
    def _shape(self) -> Shape:
        """Its shape; while a function is recorded for many sizes, with what the sizes depend on."""
        recorder = STATE.recorder
        return self._array.shape if recorder is None or recorder.sizes is None else recorder.shape_of(self)

    @property
    def _type(self) -> TensorType:
        found = type_of(self._array)
        recorder = STATE.recorder
        return found if recorder is None or recorder.sizes is None else found.with_shape(recorder.shape_of(self))


def type_of(array: Any) -> TensorType:
    """Element type, shape and device of an array."""
    return TensorType(dt.of_numpy(array.dtype), array.shape, str(device_of(array)))


_tensor: type[Tensor]


def set_tensor_class(cls: type[Tensor]) -> None:
    """What `new_tensor` makes."""
    global _tensor
    _tensor = cls


def tensor_class() -> type[Tensor]:
    """What `new_tensor` makes."""
    return _tensor


_new, _ndarray = object.__new__, np.ndarray


def new_tensor(array: Any, device: Device | None = None) -> Tensor:
    """A tensor over an array, whose memory it shares.

    Args:
        array: The array.
        device: Where it is, as `tracec.record.backend.named` gives it; None where that is not known.
    """
    made = _new(_tensor)
    # Without the detour through the classes' own `__init__`: each operation makes one of each.
    storage = made._storage = _new(Storage)
    storage.array = made._array = array
    storage.readers = []
    if _mark:
        storage.beside = _mark if STATE.recorder is None else -_mark
    if device is not None:
        made._device = device
    elif type(array) is not _ndarray and type(array).__module__ != "numpy":
        made._device = device_of(array)
    return made


def alias(of: Cell, cls: type[T] | None = None) -> T:
    """A tensor that sees the same elements, and that no gradient flows through."""
    made: Any = _new(cls or _tensor)
    made._storage, made._array, made._steps = of._storage, of._array, of._steps
    made._device = of._device
    if of._is_inference:
        made._is_inference = True
    if of._view_mark is not None:
        made._view_mark = of._view_mark
        Changes.count += 1
    return made  # type: ignore[no-any-return]


def look(of: Cell, cls: type[T] | None = None) -> T:
    """The same as `alias` for the user's code: where a function is recorded, a look of its own."""
    made: Any = alias(of, cls)
    if STATE.recorder is not None:
        STATE.recorder.node_of(of)
        STATE.recorder.follow(made)
    return made  # type: ignore[no-any-return]


def is_dual(x: Cell) -> bool:
    """Whether a tensor moves at some level."""
    if x._storage.tangents is None:
        return False
    at: Cell | None = x
    while at is not None:
        if at._is_dual:
            return True
        at = at._parent
    return False
