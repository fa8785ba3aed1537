"""One tensor made several, each a view of its own part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import check_tensor, fail, integers, one_axis
from tracec.functions.shape import between, select
from tracec.ir.extent import fixed
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


def _axis_of(name: str, x: Tensor, dim: int) -> int:
    check_tensor(name, x)
    if not x.ndim:
        fail(ShapeError, f"{name}: expects at least a 1-dimensional tensor", "a tensor of no dimensions has no parts")
    return one_axis(name, dim, x.ndim)


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not (isinstance(value, Tensor) and value.ndim)


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of stretches of an axis: of one size, the last one maybe smaller, or of the sizes given.

    Args:
        tensor: Any tensor.
        split_size_or_sections: The size of all parts, or a list of the sizes of each.
        dim: The axis; counted from the end where negative.

    Returns:
        A tuple of views.

    Raises:
        ArgumentError: a size is negative, or the sizes do not add up to the axis.
    """
    if not _is_integer(split_size_or_sections):
        return _sized("split", tensor, split_size_or_sections, dim)
    axis = _axis_of("split", tensor, dim)
    (step,) = integers("split", (split_size_or_sections,), "split_size")
    size = tensor.shape[axis]
    if step < 0 or (step == 0 and size):
        fail(ArgumentError, f"split: expects split_size be non-negative, but got split_size={step}", "give at least 1")
    count = fixed(-(-size // step)) if size else 1  # where the parts are depends on the size as well
    return tuple(between(tensor, axis, k * step, min((k + 1) * step, size)) for k in range(count))


@tensor_method(name="split")
def _split(input: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of stretches of an axis: `split` as a method."""
    return split(input, split_size, dim)


@tensor_method
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of stretches of an axis of the sizes given, which cover it."""
    return _sized("split_with_sizes", input, split_sizes, dim)


def _sized(name: str, x: Tensor, split_sizes: Any, dim: int) -> tuple[Tensor, ...]:
    axis = _axis_of(name, x, dim)
    sizes = integers(name, split_sizes, "sizes")
    size = x.shape[axis]
    if sum(sizes) != size or any(s < 0 for s in sizes):
        fail(
            ArgumentError,
            f"{name}: sizes {sizes} do not add up to {size} (axis {axis})",
            "they are 0 or more and cover the axis",
        )
    ends = list(accumulate(sizes))
    return tuple(between(x, axis, e - s, e) for s, e in zip(sizes, ends, strict=True))


@tensor_method
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in up to so many parts of one size, the last one maybe smaller.

    Args:
        input: Any tensor.
        chunks: How many parts there are to be; there may be fewer.
        dim: The axis; counted from the end where negative.

    Raises:
        ArgumentError: fewer than one part is asked for.
    """
    axis = _axis_of("chunk", input, dim)
    (chunks,) = integers("chunk", (chunks,), "chunks")
    if chunks < 1:
        fail(ArgumentError, f"chunk: expects chunks to be greater than 0, got {chunks}", "give at least 1")
    size = input.shape[axis]
    if not size:
        return tuple(between(input, axis, 0, 0) for _ in range(chunks))
    return split(input, -(-size // chunks), axis)


@tensor_method
def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`split`, by the name that PyTorch has for it where nobody writes into the parts."""
    return split(input, split_size, dim)


@tensor_method
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`chunk`, by the name that PyTorch has for it where nobody writes into the parts."""
    return chunk(input, chunks, dim)


@tensor_method
def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in so many parts whose sizes differ by 1 at most, or cut at the positions given."""
    axis = _axis_of("tensor_split", input, dim)
    return _parts("tensor_split", input, indices_or_sections, axis)


def _parts(name: str, x: Tensor, cuts: Any, axis: int) -> tuple[Tensor, ...]:
    size = x.shape[axis]
    if _is_integer(cuts):
        (count,) = integers(name, (cuts,), "sections")
        if count < 1:
            fail(ArgumentError, f"{name}: number of sections must be larger than 0, got {count}", "give at least 1")
        small, larger = divmod(size, count)
        return _sized(name, x, [small + (i < larger) for i in range(count)], axis)
    given = cuts.tolist() if isinstance(cuts, Tensor) else cuts
    places = [min(max(i + size if i < 0 else i, 0), size) for i in integers(name, given, "indices")]
    return tuple(between(x, axis, a, max(a, b)) for a, b in pairwise([0, *places, size]))


def _evenly(name: str, x: Tensor, cuts: Any, axis: int) -> tuple[Tensor, ...]:
    if _is_integer(cuts):
        (count,) = integers(name, (cuts,), "sections")
        if count < 1 or x.shape[axis] % count:
            fail(
                ArgumentError,
                f"{name}: attempted to split along dimension {axis}, but the size of the dimension {x.shape[axis]} is "
                f"not divisible by the split_size {count}",
                "use tensor_split for parts of different sizes",
            )
    return _parts(name, x, cuts, axis)


def _given(cuts: tuple[Any, ...]) -> Any:
    return cuts[0] if len(cuts) == 1 else cuts


@tensor_method
def hsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Views of the columns in so many equal parts, or cut at the positions given; of a vector, of its elements."""
    axis = _axis_of("hsplit", input, 0)
    return _evenly("hsplit", input, _given(indices_or_sections), axis if input.ndim == 1 else 1)


@tensor_method
def vsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Views of the rows in so many equal parts, or cut at the positions given."""
    return _evenly("vsplit", _at_least("vsplit", input, 2), _given(indices_or_sections), 0)


@tensor_method
def dsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Views of the third axis in so many equal parts, or cut at the positions given."""
    return _evenly("dsplit", _at_least("dsplit", input, 3), _given(indices_or_sections), 2)


def _at_least(name: str, x: Tensor, ndim: int) -> Tensor:
    check_tensor(name, x)
    if x.ndim < ndim:
        fail(
            ShapeError,
            f"{name}: requires a tensor with at least {ndim} dimensions, but got a tensor with {x.ndim} dimensions!",
            "use split with dim=",
        )
    return x


@tensor_method
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of every position of an axis, the axis left out.

    Args:
        input: Any tensor.
        dim: The axis; counted from the end where negative.

    Returns:
        A tuple of as many views as the axis is long.
    """
    axis = _axis_of("unbind", input, dim)
    return tuple(select(input, axis, i) for i in range(fixed(input.shape[axis])))
