"""Derivatives of functions of tensors by going back: Jacobians, Hessians and their products with vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tracec import ops
from tracec.autograd import grad
from tracec.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError
from tracec.func.batch import map_examples
from tracec.func.common import entered, gradients_on, left
from tracec.func.forward import pushed
from tracec.functions import eye, stack
from tracec.functions.common import fail
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor
from tracec.utils._pytree import tree_flatten

Tensors = Tensor | tuple[Tensor, ...]


class _Run:
    """A function's results at some inputs.

    Args:
        name: What is computed.
        func: The function.
        inputs: Its arguments, a tensor or a tuple.
        create_graph: Whether what is computed can be differentiated by the inputs given.
        strict: Whether results that do not depend on the inputs are refused.

    Attributes:
        inputs: What is differentiated by.
        outputs: The results.
        single: Whether there is one input, and one result, and no tuple of them.
    """

    def __init__(self, name: str, func: Callable[..., Any], inputs: Any, create_graph: bool, strict: bool) -> None:
        self.name, self.create, self.strict = name, create_graph, strict
        given = _tuple(name, "inputs given", inputs)
        self.inputs = tuple(entered(name, x, create_graph) for x in given)
        out = func(*self.inputs)
        self.outputs = _tuple(name, "outputs", out)
        self.single = not isinstance(inputs, tuple), not isinstance(out, tuple)
        if strict:
            for k, x in enumerate(self.outputs):
                if edge_of(x) is None:
                    self.refuse(f"Output {k} of the user-provided function does not require gradient.")

    def refuse(self, message: str) -> NoReturn:
        """Raise what strict mode raises."""
        fail(
            GradientError,
            f"{self.name}: {message} This is not allowed in strict mode.",
            "compute the outputs from the inputs by differentiable operations, or leave strict out",
        )

    def gradients(self, outputs: Sequence[Tensor], seeds: Sequence[Tensor], create: bool) -> list[Tensor | None]:
        """The gradients of the inputs; None where outputs do not depend on them."""
        pairs = [(o, s) for o, s in zip(outputs, seeds, strict=True) if edge_of(o) is not None]
        if not pairs:
            return [None] * len(self.inputs)
        found = grad([o for o, _ in pairs], self.inputs, [s for _, s in pairs], True, create, allow_unused=True)
        return list(found)

    def filled(self, grads: Sequence[Tensor | None], shape: tuple[int, ...] = ()) -> tuple[Tensor, ...]:
        """Gradients with zeros where there is none, as they are outside."""
        found = []
        for k, (g, x) in enumerate(zip(grads, self.inputs, strict=True)):
            if g is None and self.strict:
                self.refuse(f"The user-provided function is independent of input {k}.")
            if g is not None and self.strict and self.create and edge_of(g) is None:
                self.refuse(f"The jacobian of the user-provided function is independent of input {k}.")
            found.append(_zeros(x, shape) if g is None else left(g, self.create))
        return tuple(found)

    def results(self) -> Any:
        """The function's results as they are outside."""
        found = tuple(left(x, self.create) for x in self.outputs)
        return found[0] if self.single[1] else found

    def by_input(self, found: tuple[Any, ...]) -> Any:
        """A tuple over inputs; its one element where the input was no tuple."""
        return found[0] if self.single[0] else found


def _tuple(name: str, what: str, value: Any) -> tuple[Tensor, ...]:
    given = value if isinstance(value, tuple) else (value,)
    for k, x in enumerate(given):
        if not isinstance(x, Tensor):
            fail(
                ArgumentTypeError,
                f"{name}: The {what} must be either a Tensor or a tuple of Tensors but the value at index {k} has "
                f"type {type(x)}.",
                "give tensors",
            )
    return given


def _zeros(x: Tensor, shape: tuple[int, ...] = ()) -> Tensor:
    return ops.full(0, (*shape, *x.shape), x.dtype, str(x.device))  # type: ignore[no-any-return]


def _vectors(name: str, v: Any, like: Sequence[Tensor], what: str) -> tuple[Tensor, ...]:
    """The vectors of a product, checked; ones for a single number where none is given."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            fail(
                ArgumentError,
                f"{name}: The vector v can only be None if the {what} is a single Tensor with a single element",
                f"give v in the form of the {what}",
            )
        return (ops.full(1, tuple(like[0].shape), like[0].dtype, str(like[0].device)),)
    given = _tuple(name, "vector v", v)
    if len(given) != len(like):
        fail(
            ArgumentError,
            f"{name}: v is a tuple of invalid length: should be {len(like)} but got {len(given)}.",
            f"v has the form of the {what}",
        )
    for k, (x, y) in enumerate(zip(given, like, strict=True)):
        if x.shape != y.shape:
            fail(
                ShapeError,
                f"{name}: Entry {k} in v has invalid size: should be {y.shape} but got {x.shape}.",
                f"v has the form of the {what}",
            )
    return given


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """A function's results, and the product of a vector with its Jacobian.

    Args:
        func: A function of tensors.
        inputs: Its arguments, a tensor or a tuple.
        v: In the form of the results; may be left out for a result of one element.
        create_graph: Compute it so that it can be differentiated.
        strict: Refuse functions that do not depend on an input, instead of giving zeros.

    Returns:
        The results, and a product in the form of the inputs.
    """
    with gradients_on(as_written=True):
        run = _Run("vjp", func, inputs, create_graph, strict)
        seeds = _vectors("vjp", v, run.outputs, "output")
        found = run.filled(run.gradients(run.outputs, seeds, create_graph))
    return run.results(), run.by_input(found)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """A function's results, and the product of its Jacobian with a vector, by going back twice.

    Args:
        func: A function of tensors.
        inputs: Its arguments, a tensor or a tuple.
        v: In the form of the inputs; may be left out for an input of one element.
        create_graph: Compute it so that it can be differentiated.
        strict: Refuse results that do not depend on the inputs, instead of giving zeros.

    Returns:
        The results, and a product in their form.
    """
    with gradients_on(as_written=True):
        run = _Run("jvp", func, inputs, create_graph, strict)
        directions = _vectors("jvp", v, run.inputs, "input to the user-provided function")
        used = [k for k, x in enumerate(run.outputs) if edge_of(x) is not None]
        moved: dict[int, Any] = {}
        if used:
            # What goes back is linear in these, and its gradient is what goes forward.
            seeds = [_zeros(run.outputs[k]).requires_grad_() for k in used]
            pulled = run.gradients([run.outputs[k] for k in used], seeds, True)
            pairs = [
                (p, d) for p, d in zip(pulled, directions, strict=True) if p is not None and edge_of(p) is not None
            ]
            if pairs:
                found = grad([p for p, _ in pairs], seeds, [d for _, d in pairs], None, create_graph, allow_unused=True)
                moved = dict(zip(used, found, strict=True))
        products = []
        for k, x in enumerate(run.outputs):
            t = moved.get(k)
            if t is None and strict:
                run.refuse(f"Output {k} of the user-provided function is independent of the inputs.")
            products.append(_zeros(x) if t is None else left(t, create_graph))
    return run.results(), products[0] if run.single[1] else tuple(products)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of a function.

    Args:
        func: A function of tensors.
        inputs: Its arguments, a tensor or a tuple.
        create_graph: Compute it so that it can be differentiated.
        strict: Refuse results that do not depend on an input, instead of giving zeros.
        vectorize: Compute all rows at once with `vmap`.
        strategy: ``reverse-mode``, or ``forward-mode``, which takes ``vectorize``.

    Returns:
        For each result, for each input, a tensor of the result's shape followed by the input's; the tuples are left
        out where there is one of either.

    Raises:
        ArgumentError: the strategy is unknown, or the options do not go together.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        fail(
            ArgumentError,
            'jacobian: Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has '
            f'more outputs than inputs, "forward-mode" tends to be more performant. Got {strategy!r}',
            "use one of them",
        )
    if strict and (vectorize or strategy == "forward-mode"):
        fail(ArgumentError, "jacobian: strict=True is not supported with vectorize=True", "leave one of them out")
    if strategy == "forward-mode":
        if not vectorize or create_graph:
            fail(
                ArgumentError,
                'jacobian: strategy="forward-mode" takes vectorize=True and not create_graph=True',
                'use tracec.func.jacfwd, or strategy="reverse-mode"',
            )
        return _forward(func, inputs)
    with gradients_on(as_written=True):
        run = _Run("jacobian", func, inputs, create_graph, strict)
        rows = []
        for k, out in enumerate(run.outputs):
            if out.is_complex():
                fail(
                    GradientError,
                    f"jacobian: grad can be implicitly created only for real scalar outputs but got {out.dtype!r}",
                    "take view_as_real of the result",
                )
            each = _rows_at_once(run, out) if vectorize else _rows(run, k, out)
            shaped = [g.reshape(*out.shape, *x.shape) for g, x in zip(each, run.inputs, strict=True)]
            rows.append(run.by_input(tuple(shaped)))
    return rows[0] if run.single[1] else tuple(rows)


def _rows(run: _Run, k: int, out: Tensor) -> tuple[Tensor, ...]:
    """For each input the gradients of every element of a result, one after the other."""
    found = []
    for element in out.reshape(-1).unbind() if out.numel() else ():
        grads = run.gradients([element], [_one(element)], run.create)
        for i, g in enumerate(grads):
            if g is None and run.strict:
                run.refuse(f"Output {k} of the user-provided function is independent of input {i}.")
        found.append(run.filled(grads))
    if not found:
        return tuple(_zeros(x, (0,)) for x in run.inputs)
    return tuple(stack(list(each)) for each in zip(*found, strict=True))


def _one(x: Tensor) -> Tensor:
    return ops.full(1, (), x.dtype, str(x.device))  # type: ignore[no-any-return]


def _rows_at_once(run: _Run, out: Tensor) -> tuple[Tensor, ...]:
    count = out.numel()
    if edge_of(out) is None or not count:
        return tuple(_zeros(x, (count,)) for x in run.inputs)
    basis = eye(count, dtype=out.dtype, device=out.device).reshape(count, *out.shape)

    def back(seed: Tensor) -> list[Tensor]:
        grads = run.gradients([out], [seed], run.create)
        return [_zeros(x) if g is None else g for g, x in zip(grads, run.inputs, strict=True)]

    return tuple(left(g, run.create) for g in map_examples("jacobian", back, basis, None))


def _forward(func: Callable[..., Any], inputs: Any) -> Any:
    given = [x.detach() for x in _tuple("jacobian", "inputs given", inputs)]
    _, spec = tree_flatten(tuple(given))
    known: dict[str, Any] = {}

    def column(k: int, direction: Tensor) -> list[Tensor]:
        moved = [direction if i == k else None for i in range(len(given))]
        outputs, found, out_spec, _ = pushed("jacobian", func, given, spec, moved, False)
        known["single"], known["shapes"] = out_spec.is_leaf(), [tuple(o.shape) for o in outputs]
        return [_zeros(o) if t is None else t for o, t in zip(outputs, found, strict=True)]

    columns = []
    for k, x in enumerate(given):
        basis = eye(x.numel(), dtype=x.dtype, device=x.device).reshape(x.numel(), *x.shape)
        columns.append(map_examples("jacobian", lambda d, k=k: column(k, d), basis, None))  # type: ignore[misc]
    rows = []
    for i, shape in enumerate(known["shapes"]):
        each = tuple(c[i].movedim(0, -1).reshape(*shape, *x.shape) for c, x in zip(columns, given, strict=True))
        rows.append(each if isinstance(inputs, tuple) else each[0])
    return rows[0] if known["single"] else tuple(rows)


def _number(name: str, out: Any) -> Tensor:
    """The one result of one element that second derivatives are of."""
    if not isinstance(out, Tensor) or out.numel() != 1:
        what = f"a Tensor of shape {list(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        fail(
            GradientError,
            f"{name}: The Tensor returned by the function given to {name} should contain a single element, {what} "
            "given",
            "take the sum or mean",
        )
    return out.reshape(())  # type: ignore[no-any-return]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function of one number as result.

    Args:
        func: A function of tensors whose result has one element.
        inputs: Its arguments, a tensor or a tuple.
        create_graph: Compute them so that they can be differentiated.
        strict: Refuse functions that do not depend on an input, instead of giving zeros.
        vectorize: Compute all rows at once with `vmap`.
        outer_jacobian_strategy: As ``strategy`` of `jacobian`, of the second derivative.

    Returns:
        For each input, for each input, a tensor of both shapes; the tuples are left out for one input.
    """

    def first(*given: Tensor) -> Any:
        def number(*xs: Tensor) -> Tensor:
            return _number("hessian", func(*xs))

        if outer_jacobian_strategy == "forward-mode":
            own = tuple(entered("hessian", x, True) for x in given)
            with gradients_on(as_written=True):
                found = grad(number(*own), own, create_graph=True, materialize_grads=True)
        else:
            found = jacobian(number, given, create_graph=True, strict=strict)
        return found if isinstance(inputs, tuple) else found[0]

    return jacobian(first, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The result of a function of one number, and the product of a vector with its Hessian.

    Args:
        func: A function of tensors whose result has one element.
        inputs: Its arguments, a tensor or a tuple.
        v: In the form of the inputs; may be left out for an input of one element.
        create_graph: Compute it so that it can be differentiated.
        strict: Refuse functions that do not depend on an input, instead of giving zeros.

    Returns:
        The result, and a product in the form of the inputs.
    """
    with gradients_on(as_written=True):
        run = _Run("vhp", lambda *xs: _number("vhp", func(*xs)), inputs, create_graph, strict)
        vectors = _vectors("vhp", v, run.inputs, "input to the user-provided function")
        slopes = run.gradients(run.outputs, [_one(run.outputs[0])], True)
        pairs = [(s, x) for s, x in zip(slopes, vectors, strict=True) if s is not None]
        found = run.filled(run.gradients([s for s, _ in pairs], [x for _, x in pairs], create_graph))
    return run.results(), run.by_input(found)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The result of a function of one number, and the product of its Hessian with a vector.

    The Hessian is symmetric, so that this is `vhp`, which is the faster of the two in PyTorch as well.
    """
    return vhp(func, inputs, v, create_graph, strict)
