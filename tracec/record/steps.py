"""A graph run eagerly on NumPy arrays, with buffers reused by liveness: how compositions and pullbacks run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.ops.arrays import SILENT, ready
from tracec.record.derived import Derived

#: Operators whose eager rule is a ufunc of NumPy's → that. Of floats alone these are told where their results go, by
#: position: NumPy deprecates that of maximum and minimum.
UFUNCS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "true_divide", "neg": "negative", "sqrt": "sqrt",
    "exp": "exp", "log": "log", "abs": "absolute", "sign": "sign",
}  # fmt: skip
#: Those whose results are in memory of their own, whatever they are given, besides.
_OWN = frozenset({*UFUNCS, "where", "le", "lt", "ge", "gt", "eq", "ne"})
#: Elements of a part: those of four operands and a few values between them stay in the processor's caches, and memory
#: for them is not asked of the system anew each time.
PART = 1 << 15
_ELEMENTS = (np.dtype(np.float32), np.dtype(np.float64))


class Steps:
    """A graph over NumPy's arrays; values that nobody reads any more give their memory to those that come later.

    Args:
        graph: The graph.
        into: Output → the input whose memory it is to be in when all has run. No two of these inputs share memory,
            nor do they with others.

    Attributes:
        constants: Arrays of the graph's constants, which are only read.
        is_elementwise: Whether all that is computed is computed element by element, of arrays of one shape and of
            single numbers, and goes into inputs of that shape.
    """

    def __init__(self, graph: Graph, into: Mapping[int, int] = {}) -> None:
        derived = Derived(graph)
        self.constants = derived.constant_arrays()
        self._outputs = derived.outputs
        nodes = [*graph.inputs, *derived.constants, *(n for *_, n in derived.program)]
        self._count = len(nodes) - len(derived.program)
        self._readers: dict[int, list[Node]] = {}
        last: dict[int, int] = {}
        for k, (_, at, _, n) in enumerate(derived.program):
            for i in at:
                self._readers.setdefault(i, []).append(n)
                last[i] = k
        last.update(dict.fromkeys(self._outputs, len(nodes)))
        self._steps: list[tuple[Callable[..., Any], tuple[int, ...], int, tuple[int, ...]]] = []
        wanted = {self._outputs[o]: i for o, i in into.items()}
        free: list[int] = []  # positions of arrays whose values nobody reads any more
        for k, (op, at, keywords, n) in enumerate(derived.program):
            done = [i for i in dict.fromkeys(at) if last[i] == k and i >= self._count]
            free += [i for i in done if self._gives(i, nodes[i])]
            rule, target, to = _ufunc(n), wanted.get(self._count + k), -1
            if rule is not None:
                if target is not None and last.get(target, -1) <= k and nodes[target].type == n.type:
                    to = target
                elif (found := next((i for i in free if nodes[i].type == n.type), None)) is not None:
                    to = found
                    free.remove(to)
            first = n.inputs[0].dtype.numpy if n.inputs else None
            gone = tuple(i for i in done if i != to and i not in free)
            rule = rule or ready(op.eager, np, first, keywords)
            if not at and n.type.size <= PART and self._count + k not in self._outputs:
                rule = _remembered(rule)
            self._steps.append((rule, at, to, gone))
        direct = {(self._count + k, to) for k, (*_, to, _) in enumerate(self._steps)}
        #: Outputs that are not computed where they go; those of them that are inputs, which may be written before.
        self._apart = [(self._outputs[o], i) for o, i in into.items() if (self._outputs[o], i) not in direct]
        self._lent = sorted({at for at, i in self._apart if at < len(graph.inputs) and at != i})
        self._big = [k for k, n in enumerate(graph.inputs) if n.type.shape]
        simple = all(n.op.family == "elementwise" or not n.type.shape for n in nodes[self._count :])
        one = len({n.type.shape for n in nodes if n.type.shape}) == 1 and all(o.type.shape for o in graph.outputs)
        self.is_elementwise = simple and one and len(into) == len(graph.outputs)
        self._made = [o.type for o in graph.outputs] if simple and one and not into and len(derived.program) > 1 else []

    def _gives(self, i: int, node: Node) -> bool:
        """Whether a value's array may be another's: it was computed here, and nobody looks at it."""
        return _ufunc(node) is not None and all(n.op.name in _OWN for n in self._readers[i])

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs; to be run within `tracec.ops.arrays.SILENT`.

        Args:
            arrays: The inputs.
        """
        if self._made and arrays[self._big[0]].size > 2 * PART and all(arrays[k].flags.c_contiguous for k in self._big):
            return self._in_parts(arrays)
        values = self._values(arrays)
        return [values[i] for i in self._outputs]

    def _in_parts(self, arrays: Sequence[Any]) -> list[Any]:
        """The same where all is computed element by element, a few elements at a time."""
        flat, made = list(arrays), [np.empty(t.shape, t.dtype.numpy) for t in self._made]
        for k in self._big:
            flat[k] = arrays[k].reshape(-1)
        lines = [out.reshape(-1) for out in made]
        for start in range(0, flat[self._big[0]].size, PART):
            part = flat.copy()
            for k in self._big:
                part[k] = flat[k][start : start + PART]
            values = self._values(part)
            for line, i in zip(lines, self._outputs, strict=True):
                line[start : start + PART] = values[i]
        return made

    def write(self, arrays: Sequence[Any]) -> None:
        """The same where all outputs go into inputs."""
        values = self._values(arrays)
        if self._lent:
            for at in self._lent:
                values[at] = values[at].copy()
        for at, i in self._apart:
            arrays[i][...] = values[at]

    def _values(self, arrays: Sequence[Any]) -> list[Any]:
        values = [*arrays, *self.constants]
        for rule, at, to, done in self._steps:
            if to < 0:
                out = rule(*map(values.__getitem__, at))
                values.append(out if type(out) is np.ndarray else np.asarray(out))
            else:
                values.append(rule(*map(values.__getitem__, at), values[to]))
            for i in done:
                values[i] = None
        return values

    def write_in_parts(self, arrays: Sequence[Any]) -> None:
        """The same where `is_elementwise` says so and arrays lie row by row, a few elements of them at a time."""
        flat = list(arrays)
        for k in self._big:
            flat[k] = arrays[k].reshape(-1)
        for start in range(0, flat[self._big[0]].size, PART):
            part = flat.copy()
            for k in self._big:
                part[k] = flat[k][start : start + PART]
            self.write(part)


def _remembered(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule of no operands, run once: coordinates, for example."""
    value = np.asarray(SILENT.copy().run(rule))
    value.flags.writeable = False
    return lambda: value


def _ufunc(node: Node) -> Callable[..., Any] | None:
    """NumPy's function for a node that can be told where its result goes; None where there is none."""
    name = UFUNCS.get(node.op.name)
    dtype = node.type.dtype.numpy
    if name is None or dtype not in _ELEMENTS or not node.type.shape or not node.type.size:
        return None
    return getattr(np, name) if all(x.type.dtype is node.type.dtype for x in node.inputs) else None
