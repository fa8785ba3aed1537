"""Branches, and loops that run as long as a condition holds, as single operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tracec.func.common import own
from tracec.functions.common import fail
from tracec.ir import dtype as dt
from tracec.ir.body import Body
from tracec.ir.graph import Graph
from tracec.ir.node import Node, constant, input_node
from tracec.ir.types import TensorType
from tracec.ops.branches import WhileParams
from tracec.ops.packing import layout, take
from tracec.record.addresses import body_in_memory
from tracec.record.backend import module
from tracec.record.bodies import Traced, trace_body
from tracec.record.check import check_none
from tracec.record.deferred import copied, settled
from tracec.record.recording import Check
from tracec.record.state import STATE
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor
from tracec.record.unfolding import folded
from tracec.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

Function = Callable[..., Any]


def cond(pred: Any, true_fn: Function, false_fn: Function, operands: Sequence[Any] = ()) -> Any:
    """What one of two functions gives, chosen by the value of a tensor.

    In a compiled function both become part of its graph, and which one runs is chosen at each call; where they cannot,
    the condition is a decision, as that of an ``if`` is, and `explain` says why. Under `vmap`, where the condition
    differs between examples, both run, and each example gets what it asks for.

    Args:
        pred: A bool, or a bool tensor of one element.
        true_fn: What gives the result where it holds: a function of the operands to a tree of tensors.
        false_fn: What gives it where it does not: of the same structure, shapes and dtypes.
        operands: A tuple of trees of tensors. Tensors that the functions take from around them count too.

    Returns:
        The result.

    Raises:
        ArgumentTypeError: pred is neither, or an operand is no tensor.
        ShapeError: (under vmap, or with ``fullgraph=True``) the functions give other structures, shapes or dtypes.
        RecordError: (likewise) a function has effects, or asks for values.
    """
    for name, fn in (("true_fn", true_fn), ("false_fn", false_fn)):
        if not callable(fn):
            fail(ArgumentTypeError, f"cond: {name} is {type(fn).__name__}", "give a function of the operands")
    if not isinstance(operands, (tuple, list)):
        fail(ArgumentTypeError, f"cond: operands are {type(operands).__name__}", "give a tuple of them")
    if not isinstance(pred, Tensor):
        if not isinstance(pred, (bool, int, np.bool_)):
            fail(ArgumentTypeError, f"cond: pred is {type(pred).__name__}", "give a bool or a bool tensor")
        return own((true_fn if pred else false_fn)(*operands))
    if pred.dtype is not dt.bool_ or pred._array.size != 1:
        fail(DTypeError, f"cond: pred is {pred._type}", "give a bool tensor of one element")

    def in_python() -> Any:
        return _gone_back_once(own((true_fn if bool(pred) else false_fn)(*operands)), pred)

    if STATE.recorder is None:
        return in_python()
    return folded("cond", (true_fn, false_fn), lambda: _cond(pred, true_fn, false_fn, operands), in_python)


def _gone_back_once(results: Any, pred: Tensor) -> Any:
    """The results, through which gradients go back as through a branch of a graph: once, as the condition is kept."""
    flat = pred if not pred.ndim else ops.reshape(pred, shape=())
    return tree_map(lambda x: ops.where(flat, x, x) if type(x) is Tensor and _flows((x,)) else x, results)


def _cond(pred: Tensor, true_fn: Function, false_fn: Function, operands: Sequence[Any]) -> Any:
    given, spec = _tensors("cond", "operands", tuple(operands))
    holds = bool(settled(pred._array).reshape(()))
    first, out = _branch("cond", true_fn, given, spec, holds)
    second, other = _branch("cond", false_fn, given, spec, not holds)
    if out != other:
        fail(ShapeError, f"cond: true_fn returns {out}, false_fn {other}", "return the same structure from both")
    types = [tuple(o.type for o in traced.graph.outputs) for traced in (first, second)]
    if types[0] != types[1]:
        a, b = (", ".join(map(str, t)) for t in types)
        fail(ShapeError, f"cond: true_fn returns ({a}), false_fn ({b})", "return the same shapes and dtypes from both")
    checks = (*first.checks, *second.checks)
    if not (types[0] or checks):
        return tree_unflatten([], out)
    captured = list({id(x): x for x in (*first.captured, *second.captured)}.values())
    bodies = [_over(traced, len(given), captured, checks) for traced in (first, second)]
    flat = pred if not pred.ndim else ops.reshape(pred, shape=())
    packed = ops.cond(flat, *given, *captured, then=bodies[0], other=bodies[1])
    results = [take(packed, part) for part in layout(bodies[0].outputs).parts]
    for check, broken in zip(checks, results[len(types[0]) :], strict=True):
        check_none(broken, check.requires.refuse)
    return own(tree_unflatten(results[: len(types[0])], out))


def _branch(name: str, fn: Function, given: Sequence[Tensor], spec: TreeSpec, runs: bool) -> tuple[Traced, TreeSpec]:
    """A function as a graph, and the structure of what it returns."""
    found: list[TreeSpec] = []

    def of_list(args: Sequence[Any]) -> tuple[list[Any], Any]:
        results, out = _tensors(name, "what a function returns", fn(*tree_unflatten(args, spec)))
        found.append(out)
        return results, None

    # Where it does not run, its operands may be such as it is not meant for: positions out of range, say.
    arrays = [copied(x._array) if runs else module(x._device).zeros_like(x._array) for x in given]
    traced = trace_body(name, of_list, [x._type for x in given], arrays, hoist=False, runs=runs)
    return traced, found[0]


def _over(traced: Traced, count: int, captured: Sequence[Tensor], asked: Sequence[Check]) -> Body:
    """The body over the operands and these tensors from outside, some of which it may not read.

    Args:
        traced: The body's function.
        count: How many operands there are.
        captured: The tensors from outside.
        asked: Conditions that both branches tell of, behind their results; of those of the other none is broken here.
    """
    graph, checks = body_in_memory(traced.graph, traced.checks)
    broken = dict(zip(traced.checks, _broken(checks), strict=True))
    kept = constant(False, TensorType(dt.bool_, (), asked[0].node.device if asked else "cpu"))
    own = {id(x): node for x, node in zip(traced.captured, graph.inputs[count:], strict=True)}
    rest = (own[id(x)] if id(x) in own else input_node(x._type) for x in captured)
    outputs = (*graph.outputs, *(broken.get(c, kept) for c in asked))
    return Body(Graph((*graph.inputs[:count], *rest), outputs, graph.name))


def _broken(checks: Sequence[Check]) -> list[Node]:
    """For each condition whether it is broken: a number less to tell than what breaks it."""
    none = TensorType(dt.bool_, (), checks[0].node.device) if checks else dt.bool_
    return [c.requires.broken(c.node) if c.node.type.size else constant(False, none) for c in checks]


def _tensors(name: str, what: str, tree: Any) -> tuple[list[Tensor], TreeSpec]:
    leaves, spec = tree_flatten(tree)
    for x in leaves:
        if not isinstance(x, Tensor):
            fail(
                ArgumentTypeError,
                f"{name}: {what} holds tensors, {type(x).__name__} given",
                "make tensors with tracec.tensor(...), or close over what is none",
            )
    return leaves, spec


def while_loop(cond_fn: Function, body_fn: Function, carried_inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Run a function on what it returned before, as long as another function of that holds.

    As a loop in Python it is ::

        while cond_fn(*carried):
            carried = body_fn(*carried)

    In a compiled function both functions become part of its graph once, and how often they run is found at each call;
    where they cannot, Python runs the loop, and `explain` says why. Under `vmap` the loop goes on as long as one
    example does. Where gradients go back through it, it runs as the loop in Python; with a known largest number of
    runs, use `scan`. What it returns lies as the results of `cond` do.

    Args:
        cond_fn: From what is carried to a bool tensor of one element, or a bool.
        body_fn: From what is carried to what is carried on, a tuple of the same structure, shapes and dtypes.
        carried_inputs: What is carried into the first run: a tuple of trees of tensors.

    Returns:
        What is carried in the end.

    Raises:
        ArgumentError: nothing is carried.
        ArgumentTypeError: what is carried is no tensor.
        ShapeError: body_fn returns other structures, shapes or dtypes than it is given.
        RecordError: (under vmap, or with ``fullgraph=True``) a function has effects, or asks for values.
    """
    if not isinstance(carried_inputs, (tuple, list)):
        fail(
            ArgumentTypeError,
            f"while_loop: carried_inputs are {type(carried_inputs).__name__}",
            "give a tuple of them",
        )
    first, spec = _tensors("while_loop", "carried_inputs", tuple(carried_inputs))
    if not first:
        fail(ArgumentError, "while_loop: nothing is carried", "carry what the condition depends on")

    def in_python() -> tuple[Any, ...]:
        return _in_python(cond_fn, body_fn, first, spec)

    if STATE.recorder is None or _flows(first):
        return in_python()
    return folded("while_loop", (cond_fn, body_fn), lambda: _while(cond_fn, body_fn, first, spec), in_python)


def _while(cond_fn: Function, body_fn: Function, first: list[Tensor], spec: TreeSpec) -> tuple[Any, ...]:
    """The loop as one operation; as one in Python where gradients go back through it."""

    def test(args: Sequence[Any]) -> tuple[list[Any], Any]:
        found = cond_fn(*tree_unflatten(args, spec))
        _check_condition(found)
        return [found if not found.ndim else ops.reshape(found, shape=())], found

    def step(args: Sequence[Any]) -> tuple[list[Any], Any]:
        return _checked(body_fn(*tree_unflatten(args, spec)), args, spec), None

    types, arrays = [x._type for x in first], [copied(x._array) for x in first]
    types, arrays = [x._type for x in first], [copied(x._array) for x in first]

    def asked_too(args: Sequence[Any]) -> tuple[list[Any], Any]:
        test(args)  # once more, for its conditions on values, of which its one answer does not tell
        return step(args)

    condition = trace_body("while_loop", test, types, arrays)
    runs = bool(settled(condition.out._array).reshape(()))
    asks = bool(condition.checks)
    body = trace_body("while_loop", asked_too if asks else step, types, [a.copy() for a in arrays], runs=runs)
    if _flows((*condition.captured, *body.captured)):
        return _in_python(cond_fn, body_fn, first, spec)
    results = _looped(first, condition, body)
    if asks:
        test(results)
    return own(tree_unflatten(results, spec))  # type: ignore[no-any-return]


def _looped(first: Sequence[Tensor], condition: Traced, body: Traced) -> list[Tensor]:
    """What the loop carries in the end; whether a condition on values was broken in a run is carried beside it."""
    graphs, count = [], len(first)
    flag = TensorType(dt.bool_, (), first[0]._type.device)
    for traced in (condition, body):
        graph, checks = body_in_memory(traced.graph, traced.checks)
        before = [input_node(flag) for _ in body.checks]
        inputs = (*graph.inputs[:count], *before, *graph.inputs[count:])
        outputs = graph.outputs
        if traced is body:
            outputs = (*outputs, *map(ops.bitwise_or, before, _broken(checks)))
        graphs.append(Graph(inputs, outputs, graph.name))
    kept = [ops.full(False, (), dt.bool_, flag.device) for _ in body.checks]
    loop = WhileParams(Body(graphs[0]), Body(graphs[1]), count + len(kept), len(condition.captured))
    packed = ops.while_loop(*first, *kept, *condition.captured, *body.captured, **loop._asdict())
    results = [take(packed, part) for part in loop.results.parts]
    for check, broken in zip(body.checks, results[count:], strict=True):
        check_none(broken, check.requires.refuse)
    return results[:count]


def _flows(tensors: Sequence[Tensor]) -> bool:
    """Whether gradients go back from one of these."""
    return STATE.grad and any(x.dtype.is_differentiable and edge_of(x) is not None for x in tensors)


def _in_python(cond_fn: Function, body_fn: Function, carried: list[Any], spec: TreeSpec) -> tuple[Any, ...]:
    while True:
        tree = tree_unflatten(carried, spec)
        found = cond_fn(*tree)
        if isinstance(found, Tensor):
            _check_condition(found)
        if not found:
            return own(tree)  # type: ignore[no-any-return]
        carried = _checked(body_fn(*tree), carried, spec)


def _check_condition(found: Any) -> None:
    if not isinstance(found, Tensor):
        fail(
            ArgumentTypeError,
            f"while_loop: cond_fn returns a bool tensor, {type(found).__name__} returned",
            "compare what is carried, with tensors",
        )
    if found.dtype is not dt.bool_ or found._array.size != 1:
        fail(DTypeError, f"while_loop: cond_fn returns {found._type}", "return a bool tensor of one element")


def _checked(out: Any, given: Sequence[Any], spec: TreeSpec) -> list[Any]:
    """What is carried on, of the types that were carried before."""
    if isinstance(out, list):
        out = tuple(out)
    if not isinstance(out, tuple):
        out = (out,)
    found, after = _tensors("while_loop", "what body_fn returns", out)
    if after != spec:
        fail(ShapeError, f"while_loop: body_fn is given {spec} and returns {after}", "return what it is given")
    for k, (new, old) in enumerate(zip(found, given, strict=True)):
        if new._type != old._type:
            fail(
                ShapeError,
                f"while_loop: carried tensor {k} is {old._type} before a run and {new._type} after it",
                "cast or reshape it, or begin with the type that it ends with",
            )
    return list(found)
