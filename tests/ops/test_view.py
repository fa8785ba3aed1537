"""What the table cannot tell of views: that they are views, their index arithmetic, and messages."""

from __future__ import annotations

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import typed
from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.kernel import Call, Load, Var, subexpressions


@pytest.mark.parametrize(
    "op, params",
    [
        (ops.reshape, {"shape": (3, 2)}),
        (ops.transpose, {"perm": (1, 0)}),
        (ops.expand, {"shape": (4, 2, 3)}),
        (ops.slice, {"starts": (0, 1), "stops": (2, 3), "steps": (1, 2)}),
        (ops.flip, {"axes": (1,)}),
    ],
    ids=lambda v: str(v) if v in ops.OPERATORS.values() else "",
)
def test_eager_views_share_memory(op, params):
    x = np.arange(6.0).reshape(2, 3)
    assert np.shares_memory(op.eager(np, x, **params), x)


def element(op, *types, **params):
    """The expression of one output element, over loads from flat buffers x0, x1, …"""
    bound = op.bind(params)
    out = op.infer(types, bound)
    index = tuple(Var(name, size) for name, size in zip("ijk", out.shape, strict=False))
    return op.lower.element(
        lambda k, at: Load(f"x{k}", ix.flatten(at, types[k].shape), types[k].dtype), index, out, types, **dict(bound)
    )


def selects(expr):
    return sum(isinstance(e, Call) and e.op == "select" for e in subexpressions(expr))


def test_positions_are_linear_in_the_loops():
    i, j = Var("i", 2), Var("j", 3)
    assert element(ops.transpose, typed(3, 2), perm=(1, 0)).index == ix.add(ix.mul(j, 2), i)
    assert element(ops.expand, typed(3), shape=(2, 3)).index == j
    assert element(ops.flip, typed(2, 3), axes=(1,)).index == ix.add(ix.sub(ix.mul(i, 3), j), 2)
    sliced = element(ops.slice, typed(4, 9), starts=(1, 2), stops=(3, 9), steps=(1, 3))
    assert sliced.index == ix.add(ix.add(ix.mul(i, 9), ix.mul(j, 3)), 11)


def test_a_reshape_that_splits_an_axis_needs_no_division():
    assert element(ops.reshape, typed(6), shape=(2, 3)).index == ix.add(ix.mul(Var("i", 2), 3), Var("j", 3))


def test_only_padded_axes_are_tested():
    padded = element(ops.pad, typed(2, 3), low=(0, 1), high=(0, 0))
    tests = [e for e in subexpressions(padded) if isinstance(e, Call) and e.op in ("ge", "lt")]
    assert selects(padded) == 1 and len(tests) == 1
    assert selects(element(ops.pad, typed(2, 3), low=(0, 0), high=(0, 0))) == 0


def test_concatenate_skips_empty_operands():
    assert selects(element(ops.concatenate, typed(2), typed(0), typed(3), axis=0)) == 1


def message(error, op, *types, **params):
    with pytest.raises(error) as caught:
        op.infer(types, op.bind(params))
    return said(caught.value)


def test_messages():
    x = typed(2, 3)
    assert message(ShapeError, ops.reshape, x, shape=(4, 2)) == (
        "reshape: shape (2, 3) with 6 elements does not reshape to (4, 2)\n"
        "  hint: the product of the sizes must stay the same; at most one size may be -1"
    )
    assert message(AxisError, ops.transpose, x, perm=(0, 0)) == (
        "transpose: perm=(0, 0) does not name each axis of shape (2, 3) once\n"
        "  hint: give the numbers from 0 to 1 in some order"
    )
    assert message(ShapeError, ops.expand, x, shape=(2, 4)) == (
        "expand: shape (2, 3) does not expand to (2, 4) (axis 1: 3 vs 4)\n  hint: only axes of size 1 are repeated"
    )
    assert message(ShapeError, ops.expand, x, shape=(3,)) == (
        "expand: shape (2, 3) does not expand to (3,), which has fewer axes\n  hint: reshape it first"
    )
    assert message(ArgumentError, ops.slice, x, starts=(0, 1), stops=(2, 4), steps=(1, 1)) == (
        "slice: 1:4:1 does not lie in shape (2, 3) (axis 1: size 3)\n"
        "  hint: give 0 <= start <= stop <= size and a step of at least 1"
    )
    assert message(ArgumentError, ops.slice, x, starts=(0,), stops=(2,), steps=(1,)) == (
        "slice: starts=(0,) does not fit shape (2, 3)\n  hint: give 2 values, one for each axis"
    )
    assert message(ArgumentError, ops.pad, x, low=(0, -1), high=(0, 0)) == (
        "pad: low=(0, -1), high=(0, 0) take elements away\n  hint: slice instead"
    )
    assert message(AxisError, ops.flip, x, axes=(2,)) == (
        "flip: axes=(2,) are not distinct axes of shape (2, 3)\n  hint: count axes from the front"
    )
    assert message(ShapeError, ops.concatenate, x, typed(2, 3, 1), axis=0) == (
        "concatenate: operand 1 has shape (2, 3, 1), the first has (2, 3)\n"
        "  hint: all operands have the same number of axes"
    )
    assert message(ShapeError, ops.concatenate, x, typed(2, 4), axis=0) == (
        "concatenate: operand 1 has shape (2, 4), the first has (2, 3) (axis 1: 4 vs 3)\n"
        "  hint: the sizes may differ along axis 0 alone"
    )
    assert message(DTypeError, ops.concatenate, x, typed(2, 3, dtype=dt.int64), axis=0) == (
        "concatenate: operands have dtypes f32 and i64\n  hint: cast one to the other's dtype"
    )
    assert message(AxisError, ops.concatenate, typed(), typed(), axis=0) == (
        "concatenate: axis 0 is out of range for shape ()\n  hint: scalars have no axes: stack them instead"
    )
