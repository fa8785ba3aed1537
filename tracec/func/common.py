"""What the transforms share: functions of trees as functions of lists of tensors, and gradients' way in and out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tracec.errors import ArgumentError, DTypeError, GradientError
from tracec.functions.common import fail
from tracec.record.batching import Around
from tracec.record.cell import alias, is_dual, look
from tracec.record.form import contiguous_format
from tracec.record.passages import Passage
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of, pass_through
from tracec.record.tensor import Tensor
from tracec.utils._pytree import TreeSpec, tree_flatten, tree_map

Argnums = int | tuple[int, ...]


class Same(Passage):
    """A second tensor over the same values: gradients by it and by the first are told apart."""

    def of_array(self, g: Any) -> Any:
        return g

    def of_tensor(self, g: Any) -> Any:
        return g


def tensors_of(name: str, what: str, tree: Any) -> tuple[list[Tensor], TreeSpec]:
    """The leaves of a tree, which must be tensors."""
    leaves, spec = tree_flatten(tree)
    for x in leaves:
        if not isinstance(x, Tensor):
            fail(
                ArgumentError,
                f"{name}: {what} must be Tensor, got {type(x)}",
                "make tensors with tracec.tensor(...), or close over what is none",
            )
    return leaves, spec


def check_real(name: str, x: Tensor, what: str) -> None:
    """Refuse complex tensors, whose Jacobians are no matrices of complex numbers."""
    if x.dtype.is_complex:
        fail(
            DTypeError,
            f"{name}: Expected all {what} to be real but received complex tensor",
            "take view_as_real of it, and give view_as_complex to the function",
        )


def check_floating(name: str, x: Tensor) -> None:
    """Refuse to differentiate by what has no gradient."""
    if not x.dtype.is_differentiable:
        fail(
            GradientError,
            f"{name}: only Tensors of floating point and complex dtype can require gradients, {x.dtype.name} given",
            "cast it with .float(), or leave it out of argnums",
        )


@contextmanager
def gradients_on(as_written: bool = False) -> Iterator[bool]:
    """Within, operations are remembered; gives whether they are outside too.

    Args:
        as_written: Whether what is remembered will be differentiated again, or batched, which programs cannot be.
    """
    before = STATE.grad, STATE.as_written
    try:
        STATE.grad, STATE.as_written = True, before[1] or as_written
        yield before[0]
    finally:
        STATE.grad, STATE.as_written = before


def entered(name: str, x: Tensor, outside: bool) -> Tensor:
    """The tensor to differentiate by: the values of one from outside, whose own gradients it passes on.

    Args:
        name: The transform.
        x: The tensor from outside.
        outside: Whether gradients are remembered there.
    """
    check_floating(name, x)
    made: Tensor = alias(x)
    made._is_dual = is_dual(x)
    edge = edge_of(x) if outside else None
    if edge is None:
        made._requires_grad = True
    else:
        made._history = pass_through(made, edge, Same())
    if STATE.recorder is not None:
        STATE.recorder.follow(made)
    return made


def goes_on(outputs: Iterable[Tensor], inputs: Sequence[Tensor]) -> bool:
    """Whether gradients of outputs reach anything beside, or beyond, some tensors."""
    own = {id(edge_of(x)) for x in inputs if edge_of(x) is x}
    stack, seen = [edge_of(x) for x in outputs], set()
    while stack:
        edge = stack.pop()
        if edge is None or id(edge) in seen:
            continue
        seen.add(id(edge))
        if not isinstance(edge, Operation):
            if id(edge) not in own:
                return True
        elif isinstance(edge.pullback, Around):
            return True
        else:
            stack.extend(edge.edges)
    return False


def left(x: Any, keep: bool) -> Any:
    """A result as it is outside: with its history where gradients go on there, else without one."""
    if not isinstance(x, Tensor) or keep or edge_of(x) is None:
        return x
    made: Tensor = look(x)
    made._is_dual = is_dual(x)
    return made


def arguments_named(name: str, args: Sequence[Any], argnums: Argnums) -> tuple[int, ...]:
    """Positions of arguments, counted from the front.

    Raises:
        ArgumentError: there is no such argument.
    """
    given = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(given, tuple) or not all(isinstance(i, int) for i in given):
        fail(
            ArgumentError,
            f"{name}: argnums must be int or Tuple[int, ...], got: {type(argnums)}",
            "name arguments by their positions",
        )
    if not given:
        fail(ArgumentError, f"{name}: argnums must be non-empty", "name an argument by its position")
    found = []
    for i in given:
        if not -len(args) <= i < len(args):
            fail(
                ArgumentError,
                f"{name}: Got argnum={i}, but only {len(args)} positional inputs",
                "count from 0, and give the arguments to differentiate by positionally",
            )
        found.append(i % len(args))
    if len(set(found)) != len(found):
        fail(ArgumentError, f"{name}: argnums elements must be unique, got {argnums}", "name each argument once")
    return tuple(found)


def with_replaced(args: Sequence[Any], positions: Sequence[int], values: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments with others at some positions."""
    new = dict(zip(positions, values, strict=True))
    return tuple(new.get(i, a) for i, a in enumerate(args))


def split_aux(name: str, out: Any, has_aux: bool) -> tuple[Any, Any]:
    """The result to differentiate, and the other one."""
    if not has_aux:
        return out, None
    if not isinstance(out, tuple) or len(out) != 2:
        fail(
            ArgumentError,
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True",
            "return two values",
        )
    return out


def own(results: Any) -> Any:
    """The results of a loop or a branch, each in memory of its own and row by row, whatever they were looks at."""
    return tree_map(lambda x: x.clone(memory_format=contiguous_format) if type(x) is Tensor else x, results)
