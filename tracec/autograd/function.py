"""Functions with derivatives of the user's own."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from tracec.errors import ArgumentTypeError, GradientError, RuleMissingError, ShapeError
from tracec.functions.common import fail
from tracec.record.backward import own
from tracec.record.batching import Batching
from tracec.record.cell import Cell, is_dual, look
from tracec.record.composite import Form, in_parts, of_parts
from tracec.record.custom import Custom, Rule, attach
from tracec.record.mode import no_grad
from tracec.record.passages import Passage
from tracec.record.state import STATE
from tracec.record.tape import edge_of, pass_through
from tracec.record.tensor import Tensor


class FunctionCtx:
    """What a `Function` hands from its forward to its backward; take it for attributes of your own too.

    Attributes:
        needs_input_grad: For each argument whether its gradient is wanted.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...] = ()) -> None:
        self.needs_input_grad = needs_input_grad
        self._to_save: tuple[Any, ...] = ()
        self._to_save_forward: tuple[Any, ...] | None = None
        self._dirty: tuple[Any, ...] = ()
        self._not_differentiable: tuple[Any, ...] = ()
        self._materialize = True
        self._forms: list[Form | None] = []
        self._node: weakref.ref[Custom] | None = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward, where `saved_tensors` gives them. A later write does not change them.

        Raises:
            ArgumentTypeError: one is no tensor.
        """
        self._to_save = _checked("save_for_backward", tensors)

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `Function.jvp`, where `saved_tensors` gives them."""
        self._to_save_forward = _checked("save_for_forward", tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors that were kept.

        Raises:
            GradientError: they have been freed by going back without ``retain_graph``.
        """
        node = None if self._node is None else self._node()
        return self._to_save if node is None else of_parts(node.kept(), self._forms)

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which arguments forward writes into; it has to return them."""
        self._dirty = _checked("mark_dirty", args)

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which results have no gradient."""
        self._not_differentiable = _checked("mark_non_differentiable", args)

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward is given zeros for results that have no gradient (the default), or None."""
        self._materialize = bool(value)

    def _release(self, node: Custom | None) -> None:
        """Forget what only running forward needed."""
        self._to_save, self._to_save_forward, self._dirty, self._not_differentiable = (), None, (), ()
        self._node = None if node is None else weakref.ref(node)


def _checked(name: str, tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    for k, x in enumerate(tensors):
        if x is not None and not isinstance(x, Tensor):
            fail(
                ArgumentTypeError,
                f"{name} can only save variables, but argument {k} is of type {type(x).__name__}",
                "keep what is no tensor as an attribute of ctx",
            )
    return tensors


class VmapInfo(NamedTuple):
    """What `Function.vmap` is told of the level.

    Attributes:
        batch_size: Number of examples.
        randomness: What random numbers do.
    """

    batch_size: int
    randomness: str


class Function:
    """A function of tensors with a backward of its own; subclass it, and call ``apply``.

    Either ``forward(ctx, *args)`` computes and keeps what backward needs, or ``forward(*args)`` computes and
    ``setup_context(ctx, inputs, output)`` keeps. ``backward(ctx, *grads)`` takes a gradient for each result and
    gives one, or None, for each argument. Written with operations on tensors, it can be differentiated again.
    ``jvp(ctx, *tangents)`` is forward mode's counterpart. All are static methods.

    Under `vmap` a function runs as any code does, for one example, and so do its derivatives; a static method
    ``vmap(info, in_dims, *args)``, which gives results and the axes that examples lie along, takes forward's place
    there. ``generate_vmap_rule`` is PyTorch's word for the former, and need not be set.
    """

    generate_vmap_rule = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fail(
            GradientError,
            f"{type(self).__name__}: Legacy autograd function with non-static forward method is not supported",
            f"make forward and backward static methods, and call {type(self).__name__}.apply(...)",
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The results, a tensor or a tuple."""
        _missing("forward function", "use it")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep in ``ctx`` what backward needs of forward's arguments and results."""
        _missing("setup_context function", "use forward without ctx")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments, given those of the results."""
        _missing("backward or vjp method", "use it with backward mode AD")

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the results, given those of the arguments."""
        _missing("jvp function", "use it with forward mode AD")

    @staticmethod
    def vmap(info: VmapInfo, in_dims: tuple[Any, ...], *args: Any) -> Any:
        """The results for all examples, and the axes that they lie along."""
        _missing("vmap function", "call it")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, and let gradients of its results go by backward."""
        if cls.setup_context is not Function.setup_context:
            args = _bound(cls.forward, args, kwargs)
        elif kwargs:
            fail(
                ArgumentTypeError,
                f"{cls.__name__}.apply: takes no keyword arguments",
                "give arguments by position, or define setup_context",
            )
        level = STATE.recorder
        if isinstance(level, Batching) and not STATE.duals and not any(map(level.is_batched, args)):
            with level.outside():
                return _Application(cls, args).run()
        return _Application(cls, args).run()


def _missing(what: str, use: str) -> NoReturn:
    fail(
        RuleMissingError,
        f"You must implement the {what} for custom autograd.Function to {use}.",
        "define it as a static method",
    )


def _bound(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments by position, with defaults."""
    bound = inspect.signature(forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


class _Application(Rule):
    """One call of a function.

    Args:
        cls: The function.
        args: Its arguments.
    """

    def __init__(self, cls: type[Function], args: tuple[Any, ...]) -> None:
        self.cls, self.args = cls, args
        self.name = cls.__name__
        self.ctx = FunctionCtx(tuple(isinstance(a, Cell) and edge_of(a) is not None for a in args))
        self.shapes = [tuple(a.shape) if isinstance(a, Tensor) else None for a in args]
        self.dtypes = [a.dtype if isinstance(a, Tensor) else None for a in args]

    def written(self) -> Any:
        return self.cls.backward

    def run(self) -> Any:
        """The results, with their way back."""
        levels, STATE.duals = STATE.duals, ()
        try:
            with no_grad():
                given, batched = self._forward()
        finally:
            STATE.duals = levels
        results = list(given) if isinstance(given, tuple) else [given]
        differentiated = self._own(results)
        self.materialize = self.ctx._materialize
        node = None
        if any(x is not None for x in differentiated):
            types = [x._type if isinstance(x, Tensor) else None for x in results]
            node = attach(self, self.args, differentiated, types, around=not batched)
        if node is not None:
            saved, self.ctx._forms = in_parts(self.ctx._to_save)
            node.keep(saved, [self._history(x, given, results) for x in saved])
        self.ctx._release(node)
        self.args = ()
        return tuple(results) if isinstance(given, tuple) else results[0]

    def _forward(self) -> tuple[Any, bool]:
        """What forward gives, and whether that is by the function's own batching rule."""
        cls, ctx, level = self.cls, self.ctx, STATE.recorder
        separate = cls.setup_context is not Function.setup_context
        batched = isinstance(level, Batching) and cls.vmap is not Function.vmap
        if isinstance(level, Batching) and batched:
            output = self._all_examples(level)
        else:
            output = cls.forward(*self.args) if separate else cls.forward(ctx, *self.args)
        if separate:
            cls.setup_context(ctx, self.args, output)
        return output, batched

    def _all_examples(self, level: Batching) -> Any:
        """The results of one example, by the rule for all."""
        dims = tuple(0 if level.is_batched(a) else None for a in self.args)
        whole = [level.whole(a) if d == 0 else a for a, d in zip(self.args, dims, strict=True)]
        before, STATE.grad = STATE.grad, any(self.ctx.needs_input_grad)
        try:
            with level.outside():
                found = self.cls.vmap(VmapInfo(level.size, level.randomness), dims, *whole)
        finally:
            STATE.grad = before
        if not isinstance(found, tuple) or len(found) != 2:
            fail(
                ArgumentTypeError,
                f"{self.name}.vmap: gives {type(found).__name__}, not a pair of results and axes",
                "return (results, out_dims)",
            )
        out, axes = found
        many = list(out) if isinstance(out, tuple) else [out]
        each = list(axes) if isinstance(axes, (tuple, list)) else [axes] * len(many)
        ones = []
        for x, axis in zip(many, each, strict=True):
            if axis is not None and axis != 0:
                with level.outside():
                    x = x.movedim(axis, 0)
            ones.append(x if axis is None else level.example(x))
        return tuple(ones) if isinstance(out, tuple) else ones[0]

    def _own(self, results: list[Any]) -> list[Any]:
        """The results that are differentiated, None in place of others; results that are arguments become new ones."""
        ctx = self.ctx
        dirty = {id(x) for x in ctx._dirty}
        plain = {id(x) for x in ctx._not_differentiable}
        found: list[Any] = []
        for k, x in enumerate(results):
            if not isinstance(x, Tensor):
                found.append(None)
                continue
            stands = id(x) in plain or not x.dtype.is_differentiable
            if id(x) in dirty:
                self._check_dirty(x)
            elif edge_of(x) is not None or any(x is a for a in self.args) or is_dual(x):
                results[k] = x = self._new(x)
            found.append(None if stands else x)
        return found

    @staticmethod
    def _new(x: Tensor) -> Tensor:
        """A result that is, or looks at, an argument, as a tensor of its own; one that moves has its own memory."""
        if not STATE.duals:
            return look(x)
        levels, STATE.duals = STATE.duals, ()
        try:
            with no_grad():
                return own(x)
        finally:
            STATE.duals = levels

    def _check_dirty(self, x: Tensor) -> None:
        if not STATE.grad or edge_of(x) is None:
            return
        if x._requires_grad and x._history is None:
            fail(
                GradientError,
                f"{self.name}: a leaf Variable that requires grad has been used in an in-place operation.",
                "write into a clone",
            )
        if x._parent is not None:
            fail(
                GradientError,
                f"{self.name}: writes into a view, whose base's gradients would have to go by its backward too",
                "give it a clone, and copy the result into the view",
            )

    def _history(self, x: Any, given: Any, results: Sequence[Any]) -> Any:
        """Where gradients of a saved tensor go on to: an edge, or the number of a result."""
        if x is None:
            return None
        outputs = given if isinstance(given, tuple) else (given,)
        for k, (out, result) in enumerate(zip(outputs, results, strict=True)):
            if x is result or (x is out and not any(x is a for a in self.args)):
                return k
        return edge_of(x)

    # Derivatives --------------------------------------------------------------------------------------

    def backward(self, node: Custom, grads: Sequence[Any]) -> Sequence[Any]:
        # The context that is given to the user is kept by the operation, and knows it.
        found = self.cls.backward(self.ctx, *grads)
        listed = list(found) if isinstance(found, (tuple, list)) else [found]
        count = len(self.shapes)
        if len(listed) > count and all(g is None for g in listed[count:]):
            listed = listed[:count]
        if len(listed) != count:
            fail(
                GradientError,
                f"{self.name}: function {self.name}Backward returned an incorrect number of gradients (expected "
                f"{count}, got {len(listed)})",
                "give one for each argument of forward, None for those that have none",
            )
        return [self._fitted(k, g) for k, g in enumerate(listed)]

    def _fitted(self, k: int, g: Any) -> Any:
        """A gradient in its argument's shape and element type."""
        shape, dtype = self.shapes[k], self.dtypes[k]
        if g is None or shape is None or dtype is None or not dtype.is_differentiable:
            return None
        if not isinstance(g, Tensor):
            fail(
                GradientError,
                f"{self.name}: backward returned {type(g).__name__} at index {k}, expected a tensor or None",
                "make a tensor with tracec.tensor(...)",
            )
        if tuple(g.shape) != shape:
            g = self._summed(k, g, shape)
        return g if g.dtype is dtype else g.to(dtype)

    def _summed(self, k: int, g: Tensor, shape: tuple[int, ...]) -> Tensor:
        lead = g.ndim - len(shape)
        if lead < 0 or any(n not in (1, m) for n, m in zip(shape, tuple(g.shape)[lead:], strict=True)):
            fail(
                ShapeError,
                f"{self.name}: Function {self.name}Backward returned an invalid gradient at index {k} - got "
                f"{list(g.shape)} but expected shape compatible with {list(shape)}",
                "a gradient has the shape of its argument",
            )
        repeated = [lead + i for i, n in enumerate(shape) if n == 1 and g.shape[lead + i] != 1]
        axes = [*range(lead), *repeated]
        return g.sum(axes, keepdim=True).reshape(shape)  # type: ignore[no-any-return]

    def jvp(self, tangents: Sequence[Any]) -> Sequence[Any]:
        ctx = self.ctx
        kept = ctx._to_save
        if ctx._to_save_forward is not None:
            ctx._to_save = ctx._to_save_forward
        try:
            found = self.cls.jvp(ctx, *tangents)
        finally:
            ctx._to_save = kept
        return found if isinstance(found, tuple) else (found,)


class _Once(Passage):
    """Gradients that are not to be differentiated again."""

    def __init__(self, name: str) -> None:
        self.error = GradientError(  # type: ignore[assignment]
            f"{name}: trying to differentiate twice a function that was marked with @once_differentiable",
            hint="write its backward with operations on tensors, and leave the mark out",
        )


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a backward that cannot be differentiated: going back through it a second time is an error."""

    @functools.wraps(fn)
    def run(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            found = fn(ctx, *grads)
        edges = [edge_of(g) for g in grads if isinstance(g, Cell) and edge_of(g) is not None]
        if STATE.grad and edges:
            for g in found if isinstance(found, tuple) else (found,):
                if isinstance(g, Tensor) and g.dtype.is_differentiable:
                    g._history = pass_through(g, edges[0], _Once(fn.__qualname__.split(".")[0]))
        return found

    return run
