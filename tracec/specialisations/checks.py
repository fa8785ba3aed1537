"""Conditions of a recording as part of its replay: they are tested before anything is written.

What depends on integers alone is worked out before the program runs, which does not run where it breaks. What is
computed from floats is known only inside of the program: indices are kept in range there, and the numbers that tell
whether a condition holds are an output. So it is with all on a GPU, where asking for values before would mean to wait;
see `tracec.record.check`, which has the conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tracec import ops
from tracec.build import Runner
from tracec.errors import TracecError
from tracec.ir.body import Body
from tracec.ir.evaluate import evaluate
from tracec.ir.extent import formula_key, is_varying, like
from tracec.ir.graph import Graph, topological
from tracec.ir.lower import HostCall, Structured
from tracec.ir.node import Node, input_node, is_input, made_from
from tracec.ir.passes import through_bodies
from tracec.record.addresses import POSITIONS, SAME_VALUES, unviewed, within_memory
from tracec.record.cell import Constant
from tracec.record.check import Requirement, least_and_largest
from tracec.record.late import Late, test_all, test_later
from tracec.record.recording import Check, Lifted, Recording
from tracec.specialisations.device_checks import rising


class Checks:
    """The checks that can be made before a replay.

    Args:
        checks: All checks of a recording, over its graph.
        inputs: The inputs of that graph.

    Attributes:
        needs: Positions of the inputs that it takes.
    """

    def __init__(self, checks: Sequence[Check], inputs: Sequence[Node]) -> None:
        known = [c for c in checks if _is_known_before(c.node) and not _is_settled(c)]
        # One may be on what an index that breaks another leads to.
        nodes = within_memory(Graph((), tuple(c.node for c in known))).outputs
        known = list(_distinct([c._replace(node=n) for c, n in zip(known, nodes, strict=True)]).values())
        self._tests: list[Requirement] = [c.requires.at_present() for c in known]
        outputs = tuple(unviewed(c.node) for c in known)
        used = set(topological(outputs))
        self.needs = tuple(i for i, n in enumerate(inputs) if n in used)
        self._graph = Graph(tuple(inputs[i] for i in self.needs), outputs, "checks")
        at = {n: i for i, n in enumerate(self._graph.inputs)}
        #: For each test the input that it looks at; None where something is to be computed.
        self._direct = tuple(at[n] for n in self._graph.outputs) if all(map(is_input, self._graph.outputs)) else None

    def __bool__(self) -> bool:
        return bool(self._tests)

    def __call__(self, arrays: Sequence[Any]) -> None:
        """Raise what the function would raise for these inputs."""
        if self._direct is not None:
            for requires, i in zip(self._tests, self._direct, strict=True):
                requires.test(arrays[i])
            return
        for requires, values in zip(self._tests, evaluate(self._graph, arrays), strict=True):
            requires.test(values)


def checked(recording: Recording, cotangents: Sequence[Node]) -> tuple[Graph, list[tuple[Late, ...]]]:
    """The graph with what memory is addressed with in range, and the numbers that tell whether conditions hold.

    Args:
        recording: The graph, and the conditions.
        cotangents: Inputs that are there only when gradients go back.

    Returns:
        The graph, and the conditions that are not known before it runs: those on what it is given in any case, then for
        each of the cotangents those on what depends on it. Where there are any, the graph has one more output for them,
        in this order, of int64: the numbers of each. Those of the first on a GPU are added to what one more input has,
        the last one (`tracec.specialisations.device_checks`).
    """
    graph, late = guarded(recording.graph, recording.checks, recording.inputs)
    groups: list[list[Check]] = [[] for _ in (None, *cotangents)]
    for c in _distinct(late).values():
        used = set(topological((c.node,))) if cotangents else ()
        groups[max((k for k, ct in enumerate(cotangents, 1) if ct in used), default=0)].append(c)
    conditions = [tuple(Late(requires, node.source, node.device) for node, requires in g) for g in groups]
    stays = on_device(conditions[0])
    inputs, more = list(graph.inputs), [_numbers_of(g, stays and g is groups[0]) for g in groups if g]
    if stays:
        with made_from(None, "check of values"):
            inputs.append(input_node(more[0].type, "seen"))
            more[0] = ops.maximum(inputs[-1], more[0])
    return Graph(tuple(inputs), (*graph.outputs, *more), graph.name), conditions


def on_device(late: Sequence[Late]) -> bool:
    """Whether the numbers that conditions are tested for are on a GPU."""
    return any(c.is_late for c in late)


def _numbers_of(checks: Sequence[Check], stays: bool) -> Node:
    """The numbers that conditions are tested for; whether they stay on the GPU, and those of calls add up."""
    numbers: list[Node] = []
    for node, requires in checks:
        with made_from(node.source, "check of values"):
            found = (rising if stays else Requirement.numbers)(requires, unviewed(node))
            numbers += [ops.reshape(n, shape=(1,)) for n in found]
    with made_from(None, "check of values"):
        every: Node = ops.concatenate(*numbers, axis=0)
    return every


def tested(run: Runner, late: Sequence[Late]) -> Runner:
    """A program whose last output has the numbers that tell whether conditions hold, if there are any."""
    if not late:
        return run
    late = at_present(late)

    def run_and_test(arrays: Any) -> Any:
        outputs = run(arrays)
        test_numbers(outputs[-1], late)
        return outputs

    return run_and_test


def at_present(late: Sequence[Late]) -> tuple[Late, ...]:
    """Conditions for the present sizes."""
    return tuple(c._replace(requires=c.requires.at_present()) for c in late)


def test_numbers(found: Any, late: Sequence[Late]) -> None:
    """Test the numbers that tell whether conditions hold: at once, or when they have come from a GPU.

    Raises:
        TracecError: one does not.
    """
    if on_device(late):
        test_later(found, partial(test_all, late))
    else:
        test_all(late, found.tolist())


def guarded(
    graph: Graph, checks: Sequence[Check], inputs: Sequence[Lifted], before: bool = True
) -> tuple[Graph, list[Check]]:
    """The graph such that no values lead out of memory.

    Args:
        graph: The graph.
        checks: The conditions.
        inputs: What inputs are.
        before: Those on integers are tested before it runs; else all of them afterwards, and others, too.

    Returns:
        The graph, and over it the conditions that are not known before it runs.
    """

    def is_open(c: Check) -> bool:
        return not (before and _is_known_before(c.node)) and not _holds(c)

    late = [c for c in checks if c.node.type.size and is_open(c) and not _is_settled(c)]
    told = {v.node: _ends(v.array) for v in inputs if isinstance(v.storage, Constant) and v.node.dtype.kind in "iub"}
    if before:
        known = (c for c in checks if c.requires.bounds is not None and c.requires.ignored is None and not is_open(c))
        told |= {unviewed(c.node): c.requires.bounds for c in known if c.requires.bounds is not None}
    whole = graph.with_outputs((*graph.outputs, *(c.node for c in late)))
    whole = through_bodies(within_memory, within_memory(whole, told))
    count = len(graph.outputs)
    late = [c._replace(node=n) for c, n in zip(late, whole.outputs[count:], strict=True)]
    return Graph(graph.inputs, whole.outputs[:count], graph.name), late


def _distinct(checks: Sequence[Check]) -> dict[Any, Check]:
    """One of those that ask the same of the same values."""
    found: dict[Any, Check] = {}
    for c in checks:
        found.setdefault((unviewed(c.node), formula_key(c.requires.bounds), c.requires.ignored), c)
    return found


def _ends(array: Any) -> tuple[int, int]:
    return least_and_largest(array) if array.size else (0, 0)


def may_raise(graph: Graph, late: Sequence[Late]) -> bool:
    """Whether a program, or what is tested when it has run, may raise before anything is written."""
    if any(not c.is_late for c in late):
        return True
    bodies = {id(v): v.graph for n in graph.nodes for _, v in n.params if isinstance(v, Body)}
    return any(isinstance(n.op.lower, HostCall) for n in graph.nodes) or any(may_raise(g, ()) for g in bodies.values())


def _is_known_before(node: Node) -> bool:
    """Whether a value depends on integers alone, which the host has, and is computed without loops."""
    return not _is_on_gpu(node) and all(
        n.dtype.kind in "iub" and n.op.name not in POSITIONS and not isinstance(n.op.lower, Structured)
        for n in topological((node,))
    )


def _is_on_gpu(node: Node) -> bool:
    return node.device != "cpu"


def _is_settled(check: Check) -> bool:
    """Whether values depend on nothing that another call may have otherwise, and are as they have to be."""
    nodes = topological((check.node,))
    if any(map(is_input, nodes)) or is_varying(check.requires.bounds):
        return False
    if any(is_varying(n.type.shape) or is_varying(n.params) for n in nodes):
        return False
    (values,) = evaluate(Graph((), (check.node,)), ())
    try:
        check.requires.at_present().test(values)
    except TracecError:
        return False  # sizes are others than those that it was recorded for
    return True


def _holds(check: Check) -> bool:
    """Whether values are positions on an axis that is no longer than the one they are used on."""
    node, bounds = check.node, check.requires.bounds
    while node.op.name in SAME_VALUES or node.op.name == "slice":
        node = node.inputs[0]
    if bounds is None or node.op.name not in POSITIONS:
        return False
    size, most = node.inputs[0].shape[node.param("axis")], bounds[1] + 1
    # Sizes that vary may be those of another call here: what holds for these need not hold for others.
    return bool(bounds[0] <= 0) and (like(size, most) if is_varying((size, most)) else bool(size <= most))
