"""Algebraic simplification: every rule of the tables in `arithmetic`, `views`, `reductions` and `structured`."""

from __future__ import annotations

from tracec.ir.graph import Graph
from tracec.ir.rewrite import Rule, apply_rules
from tracec.optimize import arithmetic, reductions, structured, views

RULES: tuple[Rule, ...] = (*arithmetic.RULES, *views.RULES, *reductions.RULES, *structured.RULES)


def simplify(graph: Graph) -> Graph:
    """Apply the algebraic rules until none fits; new nodes name the rule that made them."""
    return apply_rules(graph, RULES)
