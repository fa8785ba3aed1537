"""What flows through the compiler: graphs, kernels and plans, their text, verifier and rewrite rules."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tracec.ir.dtype import DType
from tracec.ir.forks import imported
from tracec.ir.graph import Graph
from tracec.ir.node import Node, constant, input_node, is_constant, is_input, made_from
from tracec.ir.operator import OPERATORS, Operator
from tracec.ir.source import Source
from tracec.ir.types import TensorType

if TYPE_CHECKING:
    from tracec.ir.evaluate import evaluate
    from tracec.ir.kernel import Kernel
    from tracec.ir.parser import parse, parse_graph
    from tracec.ir.passes import Pass, PassRecord, Pipeline, PipelineResult
    from tracec.ir.plan import Plan
    from tracec.ir.rewrite import C, D, Rule, X, Y, Z, apply_rules, named, rule
    from tracec.ir.verify import verify
    from tracec.ir.verify_kernel import verify_kernel
    from tracec.ir.verify_plan import verify_plan

#: Name → module that has it, imported when first asked for: eager programs need none of them.
_LATER = {
    "Kernel": "kernel",
    **dict.fromkeys(("parse", "parse_graph"), "parser"),
    **dict.fromkeys(("Pass", "PassRecord", "Pipeline", "PipelineResult"), "passes"),
    "Plan": "plan",
    "evaluate": "evaluate",
    "verify": "verify",
    "verify_kernel": "verify_kernel",
    "verify_plan": "verify_plan",
    **dict.fromkeys(("C", "D", "Rule", "X", "Y", "Z", "apply_rules", "named", "rule"), "rewrite"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'tracec.ir' has no attribute {name!r}")
    found = getattr(imported(f"tracec.ir.{_LATER[name]}"), name)
    globals()[name] = found
    return found


class _Package(ModuleType):
    """Some modules bear the names of the functions in them: what is found here are the functions."""

    def __setattr__(self, name: str, value: Any) -> None:
        if _LATER.get(name) == name and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

__all__ = [
    # values and graphs
    "DType",
    "TensorType",
    "Source",
    "Node",
    "Graph",
    "constant",
    "input_node",
    "is_constant",
    "is_input",
    "made_from",
    # operators
    "Operator",
    "OPERATORS",
    # what graphs become
    "Kernel",
    "Plan",
    # text
    "parse",
    "parse_graph",
    # checks
    "verify",
    "verify_kernel",
    "verify_plan",
    # running
    "evaluate",
    # passes
    "Pass",
    "PassRecord",
    "Pipeline",
    "PipelineResult",
    "Rule",
    "rule",
    "named",
    "apply_rules",
    "X",
    "Y",
    "Z",
    "C",
    "D",
]
