"""Matrix products."""

from __future__ import annotations

from typing import Any

from tracec.errors import ShapeError
from tracec.ir import dtype as dt
from tracec.ir.forks import MULTIPLYING
from tracec.ir.lower import ContractionSpec, Index, LoadElement
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.scalar import Expr
from tracec.ir.types import Shape, TensorType
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.families import all_batched, check_dtype, check_same_dtype
from tracec.ops.view import reshape, transpose


def check_factors(a: TensorType, b: TensorType) -> None:
    """Refuse operands that cannot be multiplied and summed."""
    check_dtype(a, "numbers")
    check_same_dtype((a, b))


def bilinear_jvp(op: Operator, tangents: Any, a: Any, b: Any, params: dict[str, Any]) -> Any:
    """The product rule: ``op(ta, b) + op(a, tb)``."""
    ta, tb = tangents
    if tb is None:
        return op(ta, b, **params)
    second = op(a, tb, **params)
    return second if ta is None else op(ta, b, **params) + second


def swap_last(x: Any) -> Any:
    """The matrices of a stack, each transposed."""
    axes = tuple(range(x.ndim))
    return transpose(x, perm=axes[:-2] + (axes[-1], axes[-2]))


def _dot_type(a: TensorType, b: TensorType) -> TensorType:
    check_factors(a, b)
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError(
            f"shapes {a.shape} and {b.shape} are not both matrices or stacks of matrices",
            hint="reshape vectors to (1, K) on the left or (K, 1) on the right",
        )
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"shapes {a.shape} and {b.shape} do not multiply "
            f"(axis {a.ndim - 1} of the first: {a.shape[-1]}, axis {b.ndim - 2} of the second: {b.shape[-2]})",
            hint="the last axis of the first operand is summed against the last but one of the second",
        )
    if a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(
            f"shapes {a.shape} and {b.shape} are stacks of different shapes, {a.shape[:-2]} and {b.shape[:-2]}",
            hint="expand the leading axes of one operand to those of the other",
        )
    return a.with_shape(a.shape[:-1] + b.shape[-1:])


def _for_blas(xp: Any, x: Any) -> Any:
    """The array, copied where NumPy would otherwise multiply it without BLAS."""
    if xp.__name__ == "numpy" and x.dtype.kind in "fc":
        (rows, columns), (down, across), step = x.shape[-2:], x.strides[-2:], x.itemsize
        by_rows = across == step and down >= step * columns
        by_columns = down == step and across >= step * rows
        return x if by_rows or by_columns else xp.ascontiguousarray(x)
    return x


#: Elements of both operands below which BLAS multiplies on one thread.
_SMALL = 9000


def _dot_eager(xp: Any, a: Any, b: Any) -> Any:
    if a.size + b.size < _SMALL:
        return xp.matmul(_for_blas(xp, a), _for_blas(xp, b))
    with MULTIPLYING:
        return xp.matmul(_for_blas(xp, a), _for_blas(xp, b))


def _dot_batch(inputs: tuple[Any, ...], batched: tuple[bool, ...], size: int) -> Any:
    a, b = inputs
    if batched == (True, False) and b.ndim == 2:
        rows = a.shape[:-1]
        return reshape(dot(reshape(a, shape=(rows[0] * rows[1], a.shape[-1])), b), shape=rows + b.shape[-1:])
    return dot(*all_batched(inputs, batched, size))


def _dot_factors(
    load: LoadElement, index: Index, reduced: Index, out: TensorType, inputs: tuple[TensorType, ...]
) -> tuple[Expr, Expr]:
    *batch, m, n = index
    return load(0, (*batch, m, reduced[0])), load(1, (*batch, reduced[0], n))


def _dot_groups(inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Shape, Shape, Shape]:
    return tuple(range(out.ndim - 2)), (out.ndim - 2,), (out.ndim - 1,)


dot: Operator = primitive(
    "dot",
    family="contraction",
    type_rule=_dot_type,
    eager=in_float32(_dot_eager),
    vjp=lambda ct, out, a, b: (dot(ct, swap_last(b)), dot(swap_last(a), ct)),
    jvp=lambda tangents, out, a, b: bilinear_jvp(dot, tangents, a, b, {}),
    batch=_dot_batch,
    lower=ContractionSpec(lambda inputs: (inputs[0].shape[-1],), _dot_factors, _dot_groups),
    arity=2,
    doc="Product of matrices or of equal stacks of them: (…, M, K) · (…, K, N) gives (…, M, N).",
    samples=(
        Sample((Arg((5, 7)), Arg((7, 3)))),
        Sample((Arg((2, 3, 5, 4), dt.float64), Arg((2, 3, 4, 7), dt.float64))),
        Sample((Arg((3, 1, 1)), Arg((3, 1, 1)))),
        Sample((Arg((3, 0)), Arg((0, 5)))),
        Sample((Arg((0, 3)), Arg((3, 5)))),
        Sample((Arg((3, 4), dt.int32, -5, 5), Arg((4, 2), dt.int32, -5, 5))),
        Sample((Arg((4, 11), dt.float16), Arg((11, 3), dt.float16))),
        Sample((Arg((2, 3, 4), dt.complex128), Arg((2, 4, 3), dt.complex128))),
    ),
)
