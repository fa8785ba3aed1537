"""A graph as a parameter of an operator: what a loop or a branch runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, TypeVar

from tracec.ir.conditions import writing
from tracec.ir.extent import formula_key, is_varying
from tracec.ir.formula import Symbol, symbols_of
from tracec.ir.formula import text as formula_text
from tracec.ir.graph import Graph, substitute
from tracec.ir.node import Node, is_constant
from tracec.ir.types import TensorType

F = TypeVar("F", bound=Callable[..., Any])
Ready = Callable[[Callable[..., Any], Any, Any, dict[str, Any]], Callable[..., Any]]


class Body:
    """A graph that is compared by its structure; source lines do not count.

    Args:
        graph: What to run. It reads nothing but its inputs.

    Attributes:
        graph: The graph.
        structure: Its text without source lines, with formulas in place of sizes that vary from call to call.
        symbols: The sizes that these depend on: the same text over others is another body.
        settled: The same graph without formulas, once it has been asked for; see `tracec.ir.resize`.
    """

    __slots__ = ("__weakref__", "_hash", "_program", "graph", "settled", "structure", "symbols")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.structure, self.symbols = structure_of(graph)
        self.settled: Body | None = None
        self._hash = hash(self.structure)
        self._program: _Program | None = None

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Body)
            and self._hash == other._hash
            and self.structure == other.structure
            and self.symbols == other.symbols
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return _text_of(self.graph) if self.symbols else self.structure

    def __reduce__(self) -> tuple[Any, ...]:
        return _parsed, (str(self.graph),)

    @property
    def inputs(self) -> tuple[TensorType, ...]:
        """Types of what it takes."""
        return tuple(i.type for i in self.graph.inputs)

    @property
    def outputs(self) -> tuple[TensorType, ...]:
        """Types of what it gives."""
        return tuple(o.type for o in self.graph.outputs)

    def with_graph(self, graph: Graph) -> Body:
        """Another body; this one where it is the same graph."""
        return self if graph is self.graph else Body(graph)

    def applied(self, operands: Sequence[Node]) -> tuple[Node, ...]:
        """The nodes that it gives for these operands."""
        return substitute(self.graph.outputs, dict(zip(self.graph.inputs, operands, strict=True)))

    def run(self, xp: Any, arrays: Sequence[Any], ready: Ready) -> list[Any]:
        """What it gives, by the operators' eager rules.

        Args:
            xp: numpy or cupy.
            arrays: A value for each input. Results may share memory with them.
            ready: Makes of a rule, the library, the first operand's element type and parameters what is run.
        """
        if self._program is None:
            self._program = _Program(self.graph)
        return self._program.run(xp, arrays, ready)


def structure_of(graph: Graph) -> tuple[str, frozenset[Symbol]]:
    """The text of a graph without source lines, with formulas in place of sizes that vary, and what these depend on."""
    found: set[Symbol] = set()

    def write(x: Any) -> str:
        form = formula_key(x)
        found.update(symbols_of(form))
        return f"<{formula_text(form)}>"

    with writing(write):
        return _text_of(graph), frozenset(found)


class _Program:
    """A graph ready to run many times: what does not depend on values is worked out once."""

    def __init__(self, graph: Graph) -> None:
        at = {n: k for k, n in enumerate(graph.inputs)}
        leaves = [n for n in _leaves(graph) if is_constant(n)]
        at.update((n, len(graph.inputs) + k) for k, n in enumerate(leaves))
        for n in graph.nodes:
            at[n] = len(at)
        self.constants = [(n.param("value"), n.dtype.numpy) for n in leaves]
        self.nodes = [(n, tuple(at[i] for i in n.inputs)) for n in graph.nodes]
        #: By the library: what its nodes run, and the places of their operands.
        self.steps: dict[str, list[tuple[Callable[..., Any], tuple[int, ...]]]] = {}
        self.outputs = [at[o] for o in graph.outputs]
        self._made = threading.local()

    def run(self, xp: Any, arrays: Sequence[Any], ready: Ready) -> list[Any]:
        values = [*arrays, *self._leaves(xp)]
        plain = xp.ndarray
        steps = self.steps.get(xp.__name__)
        if steps is None:
            steps = self.steps[xp.__name__] = [(_rule(ready, xp, n), places) for n, places in self.nodes]
        for rule, places in steps:
            made = rule(*map(values.__getitem__, places))
            values.append(made if type(made) is plain else xp.asarray(made))
        return [values[k] for k in self.outputs]

    def _leaves(self, xp: Any) -> list[Any]:
        """The constants as arrays of the thread's device."""
        if xp.__name__ != "numpy":
            return [xp.asarray(value, dtype) for value, dtype in self.constants]
        made = getattr(self._made, "arrays", None)
        if made is None:
            made = self._made.arrays = [xp.asarray(value, dtype) for value, dtype in self.constants]
        return made


def _rule(ready: Ready, xp: Any, node: Node) -> Callable[..., Any]:
    first = node.inputs[0].dtype.numpy if node.inputs else None
    return ready(node.op.eager, xp, first, dict(node.params))


def _leaves(graph: Graph) -> list[Node]:
    found = dict.fromkeys(i for n in graph.nodes for i in n.inputs if is_constant(i))
    found.update(dict.fromkeys(o for o in graph.outputs if is_constant(o)))
    return list(found)


def _text_of(graph: Graph) -> str:
    from tracec.ir.text import structure  # eager programs show no graphs

    return structure(graph)


def _parsed(source: str) -> Body:
    from tracec.ir.parser import parse_graph

    return Body(parse_graph(source))


class Transforms:
    """What rules of operators with bodies do to them; `tracec.transform` enters its functions here.

    Attributes:
        transposed: `tracec.transform.vjp.transposed`.
        tangents: `tracec.transform.jvp.tangents`.
        vmap: `tracec.transform.batch.vmap`.
    """

    transposed: Callable[..., list[Node | None]]
    tangents: Callable[..., list[Node | None]]
    vmap: Callable[..., Graph]


TRANSFORMS = Transforms()


def cached(function: F) -> F:
    """The function of parameters of operators, which remembers what it gave; not that for sizes that vary."""
    known: Any = lru_cache(maxsize=512)(function)

    @wraps(function)
    def call(*args: Any) -> Any:
        return function(*args) if _varies(args) else known(*args)

    return call  # type: ignore[return-value]


def _varies(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_varies, value))
    if isinstance(value, Body):
        return bool(value.symbols)
    return is_varying(value.shape) if isinstance(value, TensorType) else is_varying(value)
