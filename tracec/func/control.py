"""Loops and branches as single operations: the function that they run becomes part of a graph once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.func.common import own
from tracec.functions import tensor
from tracec.functions.common import fail
from tracec.ir.body import Body
from tracec.ir.extent import plain, whole
from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.ops.loops import ScanParams
from tracec.record.addresses import body_in_memory, unviewed
from tracec.record.bodies import Traced, run_loop, trace_body
from tracec.record.check import Requirement, check_again, check_numbers
from tracec.record.deferred import copied
from tracec.record.mode import no_grad
from tracec.record.opaque import unwrapped
from tracec.record.recording import Check
from tracec.record.tensor import Tensor
from tracec.utils._pytree import TreeSpec, tree_flatten, tree_unflatten


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any = None, length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Run a function again and again, over slices of tensors, carrying values from run to run.

    As a loop in Python it is ::

        carry, ys = init, []
        for x in slices of xs:
            carry, y = f(carry, x)
            ys.append(y)
        return carry, stack(ys)

    but the function becomes part of the graph once, however long the loop: it takes as long to compile as one run.
    The function is run once in Python, on the first slice. Tensors that it takes from around it, such as weights, get
    gradients as others do.

    Args:
        f: From what is carried and a slice to what is carried and what is stacked; trees of tensors, and None.
        init: What is carried into the first run, a tree of tensors; numbers become tensors.
        xs: A tree of tensors, cut along axis 0; None where there are only runs to count.
        length: How many runs there are; needed where xs has no tensors.
        reverse: Whether runs go from the last slice to the first; results are stacked as slices lie.

    Returns:
        What the last run carries, and what runs gave, stacked along axis 0.

    Raises:
        ArgumentError: there is no number of runs, or several; or f returns something else.
        ShapeError: f carries other structures, shapes or dtypes than it is given.
        RecordError: f does what a graph does not: it writes into a tensor from outside, or asks for values.

    Source: JAX's ``jax.lax.scan``.
    """
    first, carry_spec = _operands("scan", "init", init)
    slices, spec = _operands("scan", "xs", xs, numbers=False)
    runs = _length(slices, unwrapped(length))
    if runs == 0:
        return _no_runs(f, init, xs, slices, spec)
    start = runs - 1 if reverse else 0
    arrays = [x._array[start, ...] for x in slices]
    traced, out_spec, nones = _traced_run(f, first, carry_spec, [x[start] for x in slices], spec, arrays)
    carries, count = len(first), len(traced.states)
    graph, checks = body_in_memory(traced.graph, traced.checks)
    direct, late = _checks(checks, graph.inputs[carries : carries + len(slices)])
    for x, requires in direct:
        check_again(slices[x], requires)
    last = len(graph.outputs) - count
    found = [n for c in late for n in c.requires.numbers(c.node)]
    outputs = (*graph.outputs[:carries], *graph.outputs[last:], *graph.outputs[carries:last], *found)
    drawn = graph.inputs[carries + len(slices) :][:count]
    inputs = (*graph.inputs[:carries], *drawn, *(i for i in graph.inputs[carries:] if i not in drawn))
    loop = ScanParams(Body(Graph(inputs, outputs, "body")), carries + count, len(slices), runs, bool(reverse))
    results = run_loop(loop, [*first, *traced.states, *slices, *traced.captured])
    for state, after in zip(traced.states, results[carries : carries + count], strict=True):
        with no_grad():
            state.copy_(after)
    del results[carries : carries + count]
    numbers = iter(results[len(results) - len(found) :])
    for check in late:
        check_numbers([next(numbers) for _ in range(check.requires.how_many)], check.requires)
    stacked = results[carries : len(results) - len(found)]
    carried = tree_unflatten(results[:carries], carry_spec)
    return own(carried), own(tree_unflatten(_with_nones(stacked, nones), out_spec))


def _operands(name: str, what: str, tree: Any, numbers: bool = True) -> tuple[list[Tensor], TreeSpec]:
    """The tensors of a tree; None is a tree without any."""
    leaves, spec = tree_flatten(tree)
    if leaves == [None]:
        return [], tree_flatten(())[1]
    found: list[Tensor] = []
    for x in leaves:
        if numbers and isinstance(x, (bool, int, float, complex, np.generic)):
            x = tensor(x)
        if not isinstance(x, Tensor):
            fail(
                ArgumentTypeError,
                f"{name}: {what} holds tensors, {type(x).__name__} given",
                "make tensors with tracec.tensor(...), or close over what is none",
            )
        found.append(x)
    return found, spec


def _length(slices: Sequence[Tensor], length: int | None) -> int:
    """The number of runs."""
    for x in slices:
        if not x.ndim:
            fail(ShapeError, "scan: xs holds a tensor of no dimensions", "it is cut along axis 0; carry it instead")
    sizes = [x.shape[0] for x in slices]
    if length is not None:
        if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < 0:
            fail(ArgumentError, f"scan: length={length!r}", "give the number of runs, or None")
        sizes.append(whole(length))
    if not sizes:
        fail(ArgumentError, "scan: neither xs nor length tells how many runs there are", "give length")
    if any(n != sizes[0] for n in sizes[1:]):
        fail(
            ShapeError,
            f"scan: there are slices for {' and '.join(map(str, sorted(set(map(plain, sizes)))))} runs",
            "tensors of xs have one size along axis 0, which is length if that is given",
        )
    runs: int = sizes[0]
    return runs


def _traced_run(
    f: Callable[[Any, Any], Any], first: Sequence[Tensor], carry_spec: TreeSpec, examples: Sequence[Tensor],
    spec: TreeSpec, arrays: Sequence[Any], runs: bool = True,
) -> tuple[Traced, TreeSpec, list[bool]]:  # fmt: skip
    """One run as a graph, the structure of what it stacks, and where None is in that."""
    kept: list[Any] = []

    def of_list(given: Sequence[Any]) -> tuple[list[Any], Any]:
        carry = tree_unflatten(given[: len(first)], carry_spec)
        x = tree_unflatten(given[len(first) :], spec) if spec.num_leaves else None
        out = f(carry, x)
        if not isinstance(out, tuple) or len(out) != 2:
            fail(
                ArgumentError,
                f"scan: the function returns a pair, what is carried and what is stacked; {_kind(out)} returned",
                "return (carry, y); y may be None",
            )
        carried, after = tree_flatten(out[0])
        _check_carry("scan", carried, after, given[: len(first)], carry_spec)
        stacked, out_spec = tree_flatten(out[1])
        for y in stacked:
            if y is not None and not isinstance(y, Tensor):
                fail(ArgumentTypeError, f"scan: the function stacks tensors, {_kind(y)} returned", "or None")
        kept.extend((out_spec, [y is None for y in stacked]))
        return [*carried, *(y for y in stacked if y is not None)], None

    types = [x._type for x in (*first, *examples)]
    given = [*(copied(x._array) for x in first), *map(copied, arrays)]
    traced = trace_body("scan", of_list, types, given, draws=True, runs=runs)
    return traced, kept[0], kept[1]


def _check_carry(name: str, found: Sequence[Any], after: TreeSpec, given: Sequence[Tensor], before: TreeSpec) -> None:
    """Refuse what is carried on as something else than it was."""
    if after != before:
        fail(
            ShapeError,
            f"{name}: the function is given {before} and carries {after} on",
            "carry the structure on that init has",
        )
    for k, (new, old) in enumerate(zip(found, given, strict=True)):
        if not isinstance(new, Tensor):
            fail(ArgumentTypeError, f"{name}: the function carries tensors, {_kind(new)} returned", "carry a tensor")
        if new._type != old._type:
            fail(
                ShapeError,
                f"{name}: carried tensor {k} is {old._type} before a run and {new._type} after it",
                "cast or reshape it, or begin with the type that it ends with",
            )


def _kind(x: Any) -> str:
    return f"a tuple of {len(x)}" if isinstance(x, tuple) else type(x).__name__


def _with_nones(values: Sequence[Any], nones: Sequence[bool]) -> list[Any]:
    rest = iter(values)
    return [None if none else next(rest) for none in nones]


def _checks(checks: Sequence[Check], slices: Sequence[Node]) -> tuple[list[tuple[int, Requirement]], list[Check]]:
    """Conditions on slices as they are given, by the operand's number, and on values that runs compute."""
    direct, late = [], []
    position = {n: k for k, n in enumerate(slices)}
    for check in checks:
        if not check.node.type.size:
            continue
        node = unviewed(check.node)
        if node in position:
            direct.append((position[node], check.requires))
        else:
            late.append(check)
    return direct, late


def _no_runs(f: Any, init: Any, xs: Any, slices: Sequence[Tensor], spec: TreeSpec) -> tuple[Any, Any]:
    """What a loop without runs gives: what was carried into it, and nothing stacked."""
    first, carry_spec = _operands("scan", "init", init)
    examples = [ops.full(1, x.shape[1:], x.dtype, x.device) for x in slices]
    arrays = [x._array for x in examples]
    traced, out_spec, nones = _traced_run(f, first, carry_spec, examples, spec, arrays, runs=False)
    empty = [ops.full(0, (0, *o.shape), o.dtype, o.device) for o in traced.graph.outputs[len(first) :]]
    return own(tree_unflatten(first, carry_spec)), tree_unflatten(_with_nones(empty, nones), out_spec)
