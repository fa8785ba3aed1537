"""What is computed before a choice is made stays inside of its buffers by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.graph import Graph
from tracec.ir.kernel import Call, Const, Expr, Kernel, Load, Store, Var, expressions, walk
from tracec.ir.node import Node, input_node
from tracec.ir.types import TensorType
from tracec.nn import functional as F
from tracec.plan import TARGETS, make_plan
from tracec.plan.reach import stays_inside


def computed(kernel: Kernel) -> Iterator[Expr]:
    """Everything that a kernel computes, whatever is chosen afterwards."""
    for stmt in walk(kernel.body):
        yield from (e for e in expressions(stmt) if not isinstance(e, Store))


def blocks(x: Node, z: Node) -> Node:
    """A block matrix: concatenated along one axis, then along the other."""
    upper = ops.concatenate(x, z, axis=1)
    lower = ops.concatenate(z, x, axis=1)
    return ops.concatenate(upper, lower, axis=0)


def graphs() -> dict[str, Graph]:
    x, z = (input_node(TensorType(dt.float32, (3, 3))) for _ in range(2))
    turned = ops.transpose(x, perm=(1, 0))
    padded = ops.pad(ops.pad(x, low=(1, 0), high=(0, 2), value=0.0), low=(0, 2), high=(1, 0), value=1.0)
    return {
        "blocks": Graph((x, z), (blocks(x, z),)),
        "of turned ones": Graph((x, z), (blocks(turned, z),)),
        "of exponentials": Graph((x, z), (blocks(ops.exp(turned), z),)),
        "pads in pads": Graph((x,), (padded,)),
        "summed": Graph((x, z), (ops.sum(blocks(turned, z), axes=(1,)),)),
        "products": Graph((x, z), (ops.dot(blocks(turned, z), blocks(z, x)),)),
    }


@pytest.mark.parametrize("name", graphs())
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_kernels_stay_inside(name: str, target) -> None:
    for kernel in make_plan(graphs()[name], target).kernels:
        sizes = {b.name: b.size for b in kernel.buffers}
        for expr in computed(kernel):
            assert stays_inside(expr, sizes), f"{kernel}\n{expr}"


@needs_compiler
def test_blocks_in_the_emulator() -> None:
    def both(a):
        z = tracec.zeros(2, 2)
        rows = [tracec.cat([a.t(), z], 1), tracec.cat([z, a.t()], 1)]
        return tracec.cat(rows, 0), F.pad(F.pad(a.t(), (1, 2)), (0, 0, 2, 1)).t().contiguous()

    x = tracec.rand(2, 2)
    lowered = tracec.compile(both).lower(x, target="cuda")
    for found, wanted in zip(lowered.run(x, launcher="emulator"), both(x), strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())


ROW, COLUMN = Var("i", 4), Var("j", 4)
SIZES = {"x": 4}


def load(at: Expr) -> Expr:
    return Load("x", at, dt.float32)


def unless_below(index: Expr, bound: int, then: Expr, other: Expr) -> Expr:
    return Call("select", (Call("lt", (index, Const(bound)), dt.bool_), then, other), dt.float32)


ZERO = Const(0.0, dt.float32)
FLAT = ix.sub(ix.add(ix.mul(ROW, 2), COLUMN), Const(6))  # 2 (i - 2) + (j - 2)


@pytest.mark.parametrize(
    "expr, inside",
    [
        (load(ROW), True),
        (load(ix.add(ROW, Const(1))), False),
        (unless_below(ROW, 3, load(ix.add(ROW, Const(1))), ZERO), True),
        (unless_below(ROW, 3, ZERO, load(ix.add(ROW, Const(1)))), False),
        (unless_below(ROW, 2, ZERO, load(FLAT)), False),
        (unless_below(ROW, 2, ZERO, unless_below(COLUMN, 2, ZERO, load(FLAT))), True),
        (unless_below(ix.add(ROW, COLUMN), 4, load(ix.add(ROW, COLUMN)), ZERO), True),
        (ix.select(ix.in_range(ix.sub(ROW, Const(1)), 0, 3), load(ix.sub(ROW, Const(1))), ZERO), True),
        (Call("exp", (load(ix.add(ROW, COLUMN)),), dt.float32), False),
    ],
    ids=str,
)
def test_what_conditions_tell(expr: Expr, inside: bool) -> None:
    assert stays_inside(expr, SIZES) is inside
