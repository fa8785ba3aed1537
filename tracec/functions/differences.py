"""Differences of neighbours along an axis: what approximates derivatives and integrals of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tracec.functions.common import Scalar, check_tensor, fail, integers, one_axis, reshaped
from tracec.functions.cumulative import cumsum
from tracec.functions.joining import cat
from tracec.functions.reduction import sum
from tracec.functions.shape import between
from tracec.ir.extent import fixed
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor

# Derivatives ------------------------------------------------------------------------------------------


@tensor_method
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The n-th difference along an axis, each time one element shorter; of bools, whether neighbours differ.

    Args:
        input: At least one axis.
        n: How often differences are taken; more often than there are elements leaves none, 0 the input alone.
        dim: The axis.
        prepend: Put in front of the input along the axis first.
        append: Put behind it.

    Raises:
        ShapeError: the input has no axes, or what is put to it another number of them.
        ArgumentError: n is negative.
    """
    check_tensor("diff", input)
    (times,) = integers("diff", (n,), "n")
    if not input.ndim:
        fail(ShapeError, "diff: takes at least one axis, a tensor of none given", "reshape it to (1,)")
    if times < 0:
        fail(ArgumentError, f"diff: order must be non-negative, n={n} given", "give 0 or more")
    axis = one_axis("diff", dim, input.ndim)
    parts = [p for p in (prepend, input, append) if p is not None]
    for p in parts:
        check_tensor("diff", p, "prepend or append")
        if p.ndim != input.ndim:
            fail(ShapeError, f"diff: {tuple(p.shape)} is put to {tuple(input.shape)}", "give as many axes")
    if not times:
        return input.clone()
    x = cat(parts, axis) if len(parts) > 1 else input
    for _ in range(fixed(min(times, x.shape[axis]))):
        before, after = neighbours(x, axis)
        x = (ops.bitwise_xor if x.dtype.kind == "b" else ops.sub)(after, before)
    return x


def neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """All elements of an axis but the last, and all but the first."""
    size = x.shape[axis]
    return between(x, axis, 0, max(size - 1, 0)), between(x, axis, min(1, size), size)


Spacing = Scalar | Sequence[Scalar] | Sequence[Tensor]


def gradient(
    input: Tensor, *, spacing: Spacing | None = None, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The slope of samples along axes, by differences that are exact for parabolas, at the ends for lines.

    Args:
        input: Samples.
        spacing: The distance of neighbours, or one for each axis; or for each axis a vector of positions. By
            default 1.
        dim: Axes; all of them by default.
        edge_order: 2 to be exact for parabolas at the ends too.

    Returns:
        A tensor of the input's shape for each axis.

    Raises:
        ArgumentError: spacing and axes do not fit, an axis is too short, or ``edge_order`` is something else.

    Source: Fornberg, "Generation of Finite Difference Formulas on Arbitrarily Spaced Grids", 1988.
    """
    check_tensor("gradient", input)
    if edge_order not in (1, 2):
        fail(ArgumentError, f"gradient: edge_order={edge_order} is not known", "it is 1 or 2")
    given = range(input.ndim) if dim is None else dim if isinstance(dim, (list, tuple)) else (dim,)
    axes = [one_axis("gradient", d, input.ndim) for d in given]
    if len(set(axes)) != len(axes):
        fail(ArgumentError, f"gradient: dim={dim} names an axis twice", "name each axis once")
    one = 1 if spacing is None else spacing
    steps: Sequence[Any] = one if isinstance(one, (list, tuple)) else [one] * len(axes)
    if len(steps) != len(axes):
        fail(ArgumentError, f"gradient: {len(steps)} spacings for {len(axes)} axes", "give one for each axis")
    return tuple(_slope(input, axis, step, edge_order) for axis, step in zip(axes, steps, strict=True))


def _slope(x: Tensor, axis: int, step: Any, edge_order: int) -> Tensor:
    size = x.shape[axis]
    if size < edge_order + 1:
        fail(
            ArgumentError,
            f"gradient: axis {axis} of shape {tuple(x.shape)} is too short for edge_order={edge_order}",
            f"it takes {edge_order + 1} samples or more",
        )

    def part(start: int, stop: int | None = None) -> Any:
        return between(x, axis, start, start + 1 if stop is None else stop)

    gap = _gaps(x, axis, step)
    first, last = gap(0), gap(size - 2)
    if edge_order == 1:
        start = (part(1) - part(0)) / first
        end = (part(size - 1) - part(size - 2)) / last
    else:
        start = _one_sided(part(0), part(1), part(2), first, gap(1))
        end = _one_sided(part(size - 1), part(size - 2), part(size - 3), -last, -gap(size - 3))
    if size == 2:
        return cat([start, end], axis)
    before, here, after = part(0, size - 2), part(1, size - 1), part(2, size)
    if isinstance(step, Tensor):
        left, right = gap(0, size - 2), gap(1, size - 1)
        slope, next_slope = (here - before) / left, (after - here) / right
        middle = (slope * right + next_slope * left) / (left + right)
    else:
        middle = (after - before) / (2 * step)
    return cat([start, middle, end], axis)


def _gaps(x: Tensor, axis: int, step: Any) -> Callable[..., Any]:
    """A function that gives the distances between samples from one place to another and the next ones."""
    if not isinstance(step, Tensor):
        if not isinstance(step, (int, float)):
            fail(ArgumentTypeError, f"gradient: spacing is {type(step).__name__}", "give numbers or vectors")
        return lambda start, stop=None: step
    size = x.shape[axis]
    if tuple(step.shape) != (size,):
        fail(
            ArgumentError,
            f"gradient: spacing of shape {tuple(step.shape)} for axis {axis} of shape {tuple(x.shape)}",
            "give a vector of positions, one for each sample",
        )
    gaps = reshaped(diff(step), tuple(size - 1 if a == axis else 1 for a in range(x.ndim)))
    return lambda start, stop=None: between(gaps, axis, start, start + 1 if stop is None else stop)


def _one_sided(a: Any, b: Any, c: Any, near: Any, far: Any) -> Any:
    """The slope at the first of three samples, ``near`` and ``far`` being the gaps between them."""
    first, second = (b - a) / near, (c - b) / far
    return first - (second - first) * (near / (near + far))


# Integrals --------------------------------------------------------------------------------------------


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Scalar | None = None, dim: int = -1) -> Tensor:
    """The integral of samples along an axis, taken as lines between them; 0 of no samples.

    Args:
        y: Samples.
        x: Their positions: a vector, or a tensor that broadcasts to y.
        dx: The distance of neighbours where there are no positions; 1 by default.
        dim: The axis.

    Raises:
        DTypeError: samples or positions are bools.
        ShapeError: there is not one position for each sample.
        ArgumentError: both positions and distances are given.
    """
    axis, widths = _widths("trapezoid", y, x, dx, dim)
    before, after = neighbours(y, axis)
    return ops.mul(sum(ops.mul(ops.add(before, after), widths), axis), 0.5)


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Scalar | None = None, dim: int = -1) -> Tensor:
    """The integrals up to each sample but the first; otherwise as `trapezoid`."""
    axis, widths = _widths("cumulative_trapezoid", y, x, dx, dim)
    before, after = neighbours(y, axis)
    return cumsum(ops.mul(ops.add(before, after), ops.mul(widths, 0.5)), axis)


def _widths(name: str, y: Tensor, x: Tensor | None, dx: Scalar | None, dim: int) -> tuple[int, Any]:
    """The axis, and the distances of neighbours along it, which broadcast."""
    check_tensor(name, y, "y")
    axis = one_axis(name, dim, y.ndim)
    if not y.ndim:
        fail(ShapeError, f"{name}: takes at least one axis, a tensor of none given", "reshape it to (1,)")
    for what, t in (("y", y), ("x", x)):
        if isinstance(t, Tensor) and t.dtype.kind == "b":
            fail(DTypeError, f"{name}: received a bool input for `{what}`, but bool is not supported", "cast it")
    if x is None:
        return axis, 1 if dx is None else dx
    if dx is not None:
        fail(ArgumentError, f"{name}: both x and dx are given", "give positions or distances, not both")
    check_tensor(name, x, "x")
    if x.ndim == 1:
        if x.shape[0] != y.shape[axis]:
            fail(
                ShapeError,
                f"{name}: there must be one `x` value for each sample point: {x.shape[0]} for {y.shape[axis]}",
                "x is as long as the axis of y",
            )
        x = reshaped(x, tuple(x.shape[0] if a == axis else 1 for a in range(y.ndim)))
    elif x.ndim < y.ndim:
        x = reshaped(x, (1,) * (y.ndim - x.ndim) + tuple(x.shape))
    before, after = neighbours(x, axis)
    return axis, ops.sub(after, before)


trapz = trapezoid
