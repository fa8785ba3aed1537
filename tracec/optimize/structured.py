"""Rules over operators that run bodies, and what comes with them."""

from __future__ import annotations

from typing import Any

from tracec import ops
from tracec.ir.node import Node
from tracec.ir.rewrite import applied, named, rule


@rule(applied("scan_grad"))
def loop_back(node: Node) -> Any:
    """The way back through a loop is a loop; what is plainly zero takes no part in it."""
    return node.op.lower.build(*node.inputs, **dict(node.params))


@rule(named("outer", applied("view_bits")))
def bits_and_back(outer: Node) -> Node | None:
    """Bits seen as another type and back again: how a value stands that no gradient flows through."""
    inner = outer.inputs[0]
    return inner.inputs[0] if inner.op is ops.view_bits and inner.inputs[0].type == outer.type else None


RULES = (loop_back, bits_and_back)
