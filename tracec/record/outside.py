"""Side effects of a recorded function on tensors from outside of it: noted, so that they can be replayed or undone."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from tracec.ir.node import Node
from tracec.ir.types import same
from tracec.record.backend import CPU, aside, put_back
from tracec.record.cell import Cell, Storage
from tracec.record.changes import ALONE, ONE_STORAGE, ViewMark, holders_of_storage
from tracec.record.recording import FoundGrad, Seen, marks_of
from tracec.record.refusal import refuse
from tracec.record.seen import is_seen, root
from tracec.record.tape import edge_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


class Outside:
    """The part of a recorder that knows of memory, gradients and flags of tensors from outside of the function."""

    _seen: dict[int, Seen]
    _alone: dict[int, Cell]
    _begun: int
    arguments: tuple[Any, ...]

    def __init__(self) -> None:
        self._written: dict[Storage, Any] = {}
        self._versions: dict[Storage, int] = {}
        self._grads: dict[Tensor, Tensor | None] = {}
        self._flags: dict[Tensor, tuple[Any, ...]] = {}
        self._grad_reads: dict[Tensor, FoundGrad | None] = {}
        self._grad_owner: dict[Storage, weakref.ref[Tensor]] = {}
        self._shared: dict[int, Tensor] = {}
        self._alone = {}
        self._inside: weakref.WeakSet[Storage] = weakref.WeakSet()

    if TYPE_CHECKING:

        def node_of(self, x: Cell) -> Node:
            """The node of a tensor's present value, as the recorder knows it."""

        def is_own(self, x: Any) -> bool:
            """Whether the recorded function made a tensor."""

        def follow(self, x: Cell) -> None:
            """Note another view of memory that is known."""

        def _lift(self, storage: Storage) -> None: ...

        def _see(self, x: Cell) -> None: ...

        def looks(self) -> Iterable[Cell]:
            """The function's own views of memory that is known."""

    def is_inside(self, x: Cell) -> bool:
        """Whether a tensor's memory was made by the recorded function."""
        return x._storage in self._inside

    def keeps_memory(self, x: Cell, value: Cell) -> bool:
        """Whether a tensor that is given another one's memory goes on looking at its own, which gets the elements.

        So does one from outside where nobody can tell: nobody else views its memory, nor the other one's. That
        nobody does is tested when the function has ended, and before each program.

        Raises:
            RecordError: it is from outside, and somebody could; programs find its memory where it is.
        """
        if not self.is_own(x):
            if not self._may_get_elements(x, value):
                self.refuse_other_memory()
            self._see(x)
            return True
        self.follow(x)  # it is the function's own whatever it looks at
        return False

    @staticmethod
    def refuse_other_memory() -> NoReturn:
        """Say that a tensor from outside cannot look elsewhere from here on.

        Raises:
            RecordError: always.
        """
        refuse(
            "data: a tensor from outside is given other memory in a compiled function",
            hint="write into the memory that it has: x.data.copy_(value)",
        )

    def _may_get_elements(self, x: Cell, value: Cell) -> bool:
        """Whether a tensor from outside is one that looks at all of its memory, and a new value another one like it."""
        if any(a is x for a in self.arguments) or x._parent is not None or not self.is_inside(value):
            return False
        for t in (x, value):
            if t._device is not CPU or t._steps or t._array is not t._storage.array or is_seen(t._array):
                return False
            if t._storage.tangents is not None or t._storage.copied_from is not None:
                return False
        if any(t is not x and t._storage is x._storage for t in self.looks()):  # which would see the new elements
            return False
        own, new = x._array, value._array
        alike = own.dtype == new.dtype and own.shape == new.shape and own.strides == new.strides
        return alike and same(x._shape, value._shape) and holders_of_storage(value) <= ONE_STORAGE

    def gave_elements(self, x: Cell, value: Cell) -> None:
        """Note that a tensor from outside has got another one's elements, which views its memory from here on."""
        x._view_mark = value._view_mark = ViewMark()
        ALONE.add(id(root(x._array)))
        self._alone[id(x)] = x
        value._storage, value._array, value._steps = x._storage, x._array, ()
        value._node = value._node_of = None
        self.follow(value)

    def check_alone(self) -> None:
        """Refuse where a tensor that got another one's elements is not the only one to view its memory.

        Raises:
            RecordError: another one looks at it.
        """
        memory = {id(x._storage) for x in self._alone.values()}
        if any(id(s.storage) in memory and k not in self._alone for k, s in self._seen.items()):
            self.refuse_other_memory()  # it may be gone by now
        for found in gc.get_objects() if memory else ():
            if issubclass(type(found), Cell) and id(found) not in self._alone:
                if id(object.__getattribute__(found, "__dict__").get("_storage")) in memory:
                    self.refuse_other_memory()

    def written(self, storage: Storage, value: Cell) -> tuple[Any, Any]:
        """What memory that is about to be given values is from then on: recorder and node.

        The values that memory from outside had before are kept.
        """
        node = self.node_of(value)
        if storage not in self._inside:
            if storage.recorder is not self:
                self._lift(storage)
            if storage not in self._written:
                self._written[storage] = aside(storage.array)
                self._versions[storage] = storage.version
        return self, node

    def change_grad(self, x: Any, value: Any) -> None:
        """Note that ``grad`` of a tensor is about to be assigned."""
        if not self.is_own(x):
            self._grads.setdefault(x, x._grad)

    def read_grad(self, x: Any) -> None:
        """Note that ``grad`` of a tensor from outside is looked at."""
        if self.is_own(x) or x in self._grads:
            return
        grad = x._grad
        self._grad_reads.setdefault(x, FoundGrad.of(x))
        if grad is not None:
            self._grad_owner.setdefault(grad._storage, weakref.ref(x))

    def change_flag(self, x: Any) -> None:
        """Note that where gradients of a tensor go, or whether it requires grad, is about to be changed."""
        if not self.is_own(x) and x not in self._flags:
            self._flags[x] = x._requires_grad, x._history, x._parent, x._seen

    def required_grad(self, x: Any) -> bool:
        """Whether a tensor from outside required grad before the function changed that."""
        requires_grad, history, parent, _ = self._flags.get(x, (False, None, x, None))
        return edge_of(x) is not None if parent is not None else requires_grad or history is not None

    def left_flags(self) -> dict[Tensor, bool]:
        """Leaves from outside that the function leaves to require grad, or not to.

        One that it has used and leaves as it was is none: later calls find it so, too.
        """
        known = {id(x) for x in self.arguments} | self._seen.keys()
        return {
            x: x._requires_grad
            for x, (before, history, _, _) in self._flags.items()
            if (x._requires_grad is not before or id(x) not in known)
            and history is None and x._history is None and x._parent is None
        }  # fmt: skip

    def changed_outside(self, left: Mapping[Tensor, bool]) -> bool:
        """Whether tensors from outside view other memory than before, or gradients of theirs go elsewhere.

        Args:
            left: What `left_flags` gives, which does not count.
        """
        flags = any(
            x._requires_grad is not before or x._history is not history
            for x, (before, history, *_) in self._flags.items()
            if x not in left
        )
        return flags or not all(s.holds(but=left) for s in self._seen.values())

    def shared_grads(self, results: Iterable[Any]) -> list[Tensor]:
        """Tensors from outside with a new ``grad`` that is not theirs alone: others see its memory, or may come to.

        Args:
            results: The tensors that the function gives otherwise.
        """
        new = [(x, x._grad) for x in self._grads if x._grad is not None]
        seen = Counter(id(g._storage) for _, g in new)
        seen.update(id(storage) for storage in {t._storage for t in results})
        self._shared = {
            id(x): x
            for x, g in new
            if seen[id(g._storage)] > 1
            or not self.is_inside(g)
            or g._parent is not None
            or edge_of(g) is not None
            or marks_of(g)
        }
        return list(self._shared.values())

    @property
    def found_grads(self) -> list[Tensor]:
        """The gradients that were found, any of which may be another tensor at the next call."""
        return [g for x in self._grad_reads if (g := self._grads.get(x, x._grad)) is not None]

    def grad_of(self, storage: Storage, x: Any = None) -> Tensor | None:
        """The tensor whose ``grad`` the function found memory in; with ``x``, where that gradient is this tensor."""
        owner = None if (found := self._grad_owner.get(storage)) is None else found()
        if owner is None or x is None:
            return owner
        return owner if x is self._grads.get(owner, owner._grad) else None

    @property
    def before_writes(self) -> dict[Storage, Any]:
        """Memory that was there before the call and was written, and what was in it before."""
        return {s: array for s, array in self._written.items() if s.beside > -self._begun}

    @property
    def before_grads(self) -> list[tuple[Tensor, Tensor | None]]:
        """Tensors from outside whose ``grad`` was assigned, and what it was before."""
        return list(self._grads.items())

    def forget_before(self) -> None:
        """Let go of what written memory held before, once nobody may undo the recording any more."""
        self._written.clear()

    def rollback(self) -> None:
        """Give memory and gradients from outside the values that they had before the recording."""
        for storage, array in self._written.items():
            storage.about_to_change()
            put_back(storage.array, array)
            storage.version = self._versions[storage]
        for x, grad in self._grads.items():
            x._grad = grad
        for x, before in self._flags.items():
            x._requires_grad, x._history, x._parent, x._seen = before
        self._written.clear()
        self._versions.clear()
        self._grads.clear()
        self._flags.clear()
