"""Rewrite rules: equations with a name, applied to every node until none fits.

A rule's left side is a pattern, written with the operators themselves over pattern variables; its right
side is a function of what the variables stood for::

    @rule(neg(neg(X)))
    def double_negation(x):
        return x

``X``, ``Y`` and ``Z`` stand for any node, ``C`` and ``D`` for constants; a literal stands for a constant of that
value. A variable that occurs twice stands for one and the same node. A parameter that the pattern leaves
out may have any value; ``applied("sum")`` has any operands too. The function takes what it needs by name,
in lower case: the variables, patterns named with `named`, and ``node``, the node that matched. It returns
the node that takes its place, or None where the rule does not apply after all. Operators that commute are
tried both ways round.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracec.errors import VerifyError
from tracec.ir.extent import is_varying
from tracec.ir.graph import Graph, topological_until
from tracec.ir.node import Node, is_constant, made_from
from tracec.ir.operator import Arithmetic, Operator

COMMUTATIVE = frozenset(
    {"add", "mul", "maximum", "minimum", "eq", "ne", "bitwise_and", "bitwise_or", "bitwise_xor"}
)  # fmt: skip

#: A graph in which a node was rewritten this often in a row has rules that undo each other.
_MOST_REWRITES = 1000


class Pattern(Arithmetic):
    """The left side of a rule; operators applied to patterns give bigger patterns."""

    __slots__ = ()

    @staticmethod
    def _apply_operator(op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> Pattern:
        operands = tuple(x if isinstance(x, Pattern) else Literal(x) for x in inputs)
        return Applied(op.name, operands, tuple(params.items()))


@dataclass(frozen=True, slots=True)
class Variable(Pattern):
    """Stands for any node, or for any constant; a complex one is no constant here, as rules know real numbers."""

    name: str
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Literal(Pattern):
    """Stands for a constant of that value; 0.0 does not stand for -0.0."""

    value: bool | int | float

    def matches(self, node: Node) -> bool:
        if not is_known(node):
            return False
        value = node.param("value")
        return bool(value == self.value and np.signbit(value) == np.signbit(self.value))


@dataclass(frozen=True, slots=True)
class Applied(Pattern):
    """Stands for a node of that operator over operands that match; None: over any operands."""

    op: str
    inputs: tuple[Pattern, ...] | None
    params: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Named(Pattern):
    """A pattern whose node the rule's function wants too."""

    name: str
    pattern: Pattern


X, Y, Z = Variable("x"), Variable("y"), Variable("z")
C, D = Variable("c", constant=True), Variable("d", constant=True)


def named(name: str, pattern: Pattern) -> Pattern:
    """The same pattern; the node that it stood for is given to the rule's function under this name."""
    return Named(name, pattern)


def applied(op: str) -> Pattern:
    """Stands for any node of that operator."""
    return Applied(op, None)


Bound = dict[str, Node]


def is_known(node: Node) -> bool:
    """Whether a node is a constant that rules can compute with: no complex one, and none that varies with sizes."""
    return is_constant(node) and not node.dtype.is_complex and not is_varying(node.param("value"))


def match(pattern: Pattern, node: Node, bound: Bound | None = None) -> Iterator[Bound]:
    """Every way in which the pattern stands for the node: variable → node."""
    bound = bound or {}
    match pattern:
        case Named(name, inner):
            for found in match(inner, node, bound):
                yield {**found, name: node}
        case Variable(name, constant):
            if name in bound:
                if _same(bound[name], node):
                    yield bound
            elif not constant or is_known(node):
                yield {**bound, name: node}
        case Literal():
            if pattern.matches(node):
                yield bound
        case Applied(op, None, _):
            if node.op.name == op:
                yield bound
        case Applied(op, tuple(inputs), params):
            if node.op.name == op and len(node.inputs) == len(inputs) and all(p in node.params for p in params):
                for order in _orders(op, node.inputs):
                    yield from _match_all(inputs, order, bound)


def _same(a: Node, b: Node) -> bool:
    if a is b:
        return True
    # repr tells 0.0 from -0.0 and makes nan equal to itself.
    return is_constant(a) and is_constant(b) and a.type == b.type and repr(a.param("value")) == repr(b.param("value"))


def _orders(op: str, inputs: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    yield inputs
    if op in COMMUTATIVE and inputs[0] is not inputs[1]:
        yield inputs[::-1]


def _match_all(patterns: Sequence[Pattern], nodes: Sequence[Node], bound: Bound) -> Iterator[Bound]:
    if not patterns:
        yield bound
        return
    for found in match(patterns[0], nodes[0], bound):
        yield from _match_all(patterns[1:], nodes[1:], found)


Body = Callable[..., Node | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named equation.

    Attributes:
        name: Shown in dumps, in the origin of the nodes that it makes.
        patterns: Left sides; any of them may match.
        body: The right side.
        doc: Why it holds, where that is not plain.
        needs: For each pattern, operators that must be among the node's operands: most patterns fail here.
        heads: For each pattern, the operator that it rewrites.
    """

    name: str
    patterns: tuple[Pattern, ...]
    body: Body
    doc: str = ""
    needs: tuple[frozenset[str], ...] = field(init=False)
    heads: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", tuple(map(_needs, self.patterns)))
        object.__setattr__(self, "heads", tuple(_root(p).op for p in self.patterns))

    def roots(self) -> tuple[str, ...]:
        """Names of the operators that it rewrites."""
        return tuple(dict.fromkeys(self.heads))

    def apply(self, node: Node) -> Node | None:
        """What takes the node's place; None where the rule does not apply.

        Raises:
            VerifyError: the rule gave a node of another type.
        """
        operands = {i.op.name for i in node.inputs}
        for pattern, needs, head in zip(self.patterns, self.needs, self.heads, strict=True):
            if head != node.op.name or not needs <= operands:
                continue
            for bound in match(pattern, node):
                with made_from(node.source, origin_after(node.origin, f"rule {self.name}")):
                    result = self.body(**_wanted(self.body, {**bound, "node": node}))
                if result is None or result is node:
                    continue
                if result.type != node.type:
                    raise VerifyError(f"rule {self.name}: gave {result.type} in place of {node.op.name}: {node.type}")
                return result
        return None


def rule(*patterns: Any) -> Callable[[Body], Rule]:
    """Make a function the right side of a rule with these left sides."""

    def wrap(body: Body) -> Rule:
        known = {"node"}.union(*(_names(p) for p in patterns))
        unknown = set(inspect.signature(body).parameters) - known
        if unknown:
            raise TypeError(f"rule {body.__name__}: its patterns name no {', '.join(sorted(unknown))}")
        return Rule(body.__name__, tuple(patterns), body, body.__doc__ or "")

    return wrap


def origin_after(origin: str, step: str) -> str:
    """The origin of a node made in place of one of this origin: what it was first, and the last step."""
    first = origin.partition("rule ")[0].removesuffix(", ")
    return f"{first}, {step}" if first else step


def apply_rules(graph: Graph, rules: Sequence[Rule]) -> Graph:
    """Apply rules to every node until none fits, operands first; the same graph where none ever does.

    Rules see a node after its operands are done, and what a rule makes is looked at again, so one walk
    over the graph reaches the fixpoint.
    """
    table: dict[str, list[Rule]] = {}
    for r in rules:
        for root in r.roots():
            table.setdefault(root, []).append(r)
    done: dict[Node, Node] = {}
    for node in topological_until(graph.outputs, ()):
        _finish(node, table, done)
    return graph.with_outputs(tuple(done[o] for o in graph.outputs))


def _finish(root: Node, table: Mapping[str, Sequence[Rule]], done: dict[Node, Node]) -> None:
    """Enter in ``done`` what a node, and each that rewriting it makes, becomes at the end."""
    replaced: dict[Node, Node] = {}
    budget = _MOST_REWRITES
    waiting = [root]
    while waiting:
        node = waiting[-1]
        unfinished = [i for i in node.inputs if i not in done]
        if node in done:
            waiting.pop()
        elif unfinished:
            waiting += unfinished
        else:
            rebuilt = node.with_inputs(tuple(done[i] for i in node.inputs))
            better = replaced.get(node) or _first(rebuilt, table.get(node.op.name, ()))
            if better is None:
                done[node] = done[rebuilt] = rebuilt
            elif better in done:
                done[node] = done[rebuilt] = done[better]
            else:
                replaced[node] = better
                waiting.append(better)
                budget -= 1
        if not budget:
            raise VerifyError(f"rewrite: the rules undo each other at {waiting[-2]!r}, which became {waiting[-1]!r}")


def _first(node: Node, rules: Sequence[Rule]) -> Node | None:
    return next((found for r in rules if (found := r.apply(node)) is not None), None)


@functools.cache
def _parameters(body: Body) -> frozenset[str]:
    return frozenset(inspect.signature(body).parameters)


def _wanted(body: Body, bound: Bound) -> Bound:
    names = _parameters(body)
    return {k: v for k, v in bound.items() if k in names}


def _root(pattern: Pattern) -> Applied:
    while isinstance(pattern, Named):
        pattern = pattern.pattern
    if not isinstance(pattern, Applied):
        raise TypeError(f"a rule's pattern is an operator over patterns, not {pattern!r}")
    return pattern


def _needs(pattern: Pattern) -> frozenset[str]:
    found = set()
    for operand in _root(pattern).inputs or ():
        while isinstance(operand, Named):
            operand = operand.pattern
        match operand:
            case Applied(op, _, _):
                found.add(op)
            case Literal() | Variable(_, True):
                found.add("constant")
    return frozenset(found)


def _names(pattern: Pattern) -> set[str]:
    match pattern:
        case Named(name, inner):
            return {name} | _names(inner)
        case Variable(name, _):
            return {name}
        case Applied(_, inputs, _) if inputs:
            return set().union(*map(_names, inputs))
        case _:
            return set()
