"""What tensors know of gradients: flags, ``grad``, hooks and going back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError
from tracec.ir import dtype as dt
from tracec.ir.number import observe
from tracec.record import backward as reverse_mode
from tracec.record.asking import ask
from tracec.record.cell import Cell, Changes
from tracec.record.passages import Selected
from tracec.record.state import STATE
from tracec.record.tape import Handle, Operation, edge_of, root_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


_REQUIRE = "set requires_grad=True on a tensor that it is computed from"


class Differentiation(Cell):
    """The part of a tensor that gradients need."""

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor."""
        return edge_of(self) is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether this leaf is to get gradients.

        Raises:
            GradientError: the tensor is not a leaf, or neither floating nor complex.
        """
        dtype = dt.of_numpy(self._array.dtype)
        if requires_grad and not dtype.is_differentiable:
            raise GradientError(
                "requires_grad: only Tensors of floating point and complex dtype can require gradients, this one is "
                f"{dtype.name}",
                hint="cast it with .float() first",
            )
        if requires_grad and self._is_inference and not STATE.inference:
            raise GradientError(
                "requires_grad: Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.",
                hint="make a clone to get a normal tensor",
            )
        edge = edge_of(self)
        if edge is not None and edge is not self:
            if not requires_grad:
                raise GradientError(
                    "requires_grad: you can only change requires_grad flags of leaf variables.",
                    hint="use detach() to cut a tensor off its history",
                )
            return self  # type: ignore[return-value]
        if STATE.recorder is not None:
            STATE.recorder.change_flag(self)
        if bool(requires_grad) is not self._requires_grad:
            Changes.count += 1
        if requires_grad:
            # A leaf of its own from here on.
            self._parent = self._seen = None
        self._requires_grad = bool(requires_grad)
        return self  # type: ignore[return-value]

    @property
    def is_leaf(self) -> bool:
        """Whether it was not computed from tensors that require grad."""
        edge = edge_of(self)
        return edge is None or edge is self

    def is_inference(self) -> bool:
        """Whether it was made in inference mode."""
        ask(self, "whether a tensor was made in inference mode, is_inference")
        return self._is_inference

    @property
    def grad_fn(self) -> Operation | None:
        """The operation that computed it, where gradients flow through."""
        edge = edge_of(self)
        if edge is not None and edge is not self and isinstance(edge.pullback, Selected):
            return edge.edges[0].shown()  # type: ignore[no-any-return]
        return None if edge is self or edge is None else edge.shown()

    @property
    def _base(self) -> Tensor | None:
        """The tensor that this is a differentiable view of, which is no such view itself; None where it is none."""
        root = root_of(self)
        ask(root, "what a tensor is a view of, _base")
        return None if root is self else root  # type: ignore[return-value]

    def _is_view(self) -> bool:
        """Whether it is a differentiable view of another tensor."""
        ask(self, "whether a tensor is a view, _is_view")
        return self._parent is not None

    @property
    def _version(self) -> int:
        observe("how often memory was written to, _version")
        return self._storage.version

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` gathered, or None."""
        if STATE.recorder is not None:
            STATE.recorder.read_grad(self)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Cell):
                raise ArgumentTypeError(
                    f"grad: takes a tensor or None, {type(value).__name__} given",
                    hint="make one with tracec.tensor(...)",
                )
            if value._shape != self._shape:
                raise ArgumentError(
                    f"grad: assigned grad has data of shape {tuple(value._shape)}, the tensor {tuple(self._shape)}",
                    hint="a gradient has the shape of its tensor",
                )
            if value._array.dtype != self._array.dtype:
                raise DTypeError(
                    f"grad: assigned grad has dtype {dt.of_numpy(value._array.dtype).name}, the tensor "
                    f"{dt.of_numpy(self._array.dtype).name}",
                    hint="a gradient has the dtype of its tensor",
                )
        if STATE.recorder is not None:
            STATE.recorder.change_grad(self, value)
        self._grad = value

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor too, which is not a leaf, in ``grad``."""
        edge = edge_of(self)
        if edge is None:
            raise GradientError("retain_grad: can't retain_grad on Tensor that has requires_grad=False", hint=_REQUIRE)
        if edge is not self:
            reverse_mode.keep(edge, self)
            self._keeps_grad = True

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called."""
        ask(self, "whether a tensor keeps its gradient, retains_grad")
        return self._keeps_grad

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call a function with the gradient whenever it is computed; what it returns takes the gradient's place."""
        edge = edge_of(self)
        if edge is None:
            raise GradientError(
                "register_hook: cannot register a hook on a tensor that doesn't require gradient", hint=_REQUIRE
            )
        owner, name = (self, "_hooks") if edge is self else (edge, "hooks")
        hooks = getattr(owner, name)
        if hooks is None:
            hooks = {}
            setattr(owner, name, hooks)
        return Handle.enter(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Handle:
        """Call a function with this leaf after `backward` has added to its ``grad``.

        Raises:
            GradientError: it is no leaf, or does not require grad.
        """
        edge = edge_of(self)
        if edge is None:
            raise GradientError(
                "register_post_accumulate_grad_hook: cannot register a hook on a tensor that doesn't require gradient",
                hint=_REQUIRE,
            )
        if edge is not self:
            raise GradientError(
                "register_post_accumulate_grad_hook: post accumulate grad hooks cannot be registered on non-leaf "
                "tensors",
                hint="use register_hook",
            )
        self._gathered_hooks = {} if self._gathered_hooks is None else self._gathered_hooks
        return Handle.enter(self._gathered_hooks, hook)

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Compute gradients of the leaves that this tensor was computed from, and add them to their ``grad``.

        Args:
            gradient: Gradient of this tensor; not needed for tensors of one element.
            retain_graph: Keep what is needed to go back another time; by default what ``create_graph`` says.
            create_graph: Remember how gradients are computed, so that they can be differentiated.
            inputs: Gather for these tensors alone.

        Raises:
            GradientError: there is nothing to differentiate, or it was differentiated before.
        """
        targets: Any = None if inputs is None else [inputs] if isinstance(inputs, Cell) else list(inputs)
        retain = create_graph if retain_graph is None else retain_graph
        roots: list[Any] = [self]
        reverse_mode.backward(roots, [gradient], targets, retain, create_graph, gather=True)
