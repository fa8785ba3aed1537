"""Several tensors made one, and one made several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions.common import check_choice, check_tensor, expanded, fail, one_axis, reshaped
from tracec.functions.shape import between, select, unsqueeze
from tracec.record.autocast import WIDEST, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@under_autocast(WIDEST)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along an axis; their other sizes agree."""
    given = _several("cat", tensors)
    # PyTorch lets empty vectors of one axis be joined to anything.
    kept = [t for t in given if tuple(t.shape) != (0,)] or given[:1]
    axis = one_axis("cat", dim, kept[0].ndim)
    first = tuple(kept[0].shape)
    for i, t in enumerate(kept):
        shape = tuple(t.shape)
        if len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            fail(
                ShapeError,
                f"cat: shapes {first} and {shape} (tensor {i}) differ outside of axis {axis}",
                "all sizes but that of the joined axis agree",
            )
    return ops.concatenate(*kept, axis=axis) if len(kept) > 1 else kept[0].clone()


concat = concatenate = cat


@under_autocast(WIDEST)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape one after the other along a new axis."""
    given = _several("stack", tensors)
    first = tuple(given[0].shape)
    for i, t in enumerate(given):
        if tuple(t.shape) != first:
            fail(ShapeError, f"stack: shapes {first} and {tuple(t.shape)} (tensor {i}) differ", "all shapes must agree")
    axis = one_axis("stack", dim, len(first) + 1)
    return ops.concatenate(*(unsqueeze(t, axis) for t in given), axis=axis)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side: along axis 1, vectors along axis 0."""
    given = [reshaped(t, (1,)) if not t.ndim else t for t in _several("hstack", tensors)]
    return cat(given, 0 if given[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one below the other; vectors are rows."""
    given = _several("vstack", tensors)
    return cat([reshaped(t, (1, t.numel())) if t.ndim < 2 else t for t in given], 0)


def _several(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    if isinstance(tensors, Tensor) or not isinstance(tensors, (tuple, list)):
        fail(ArgumentTypeError, f"{name}: takes a list of tensors, {type(tensors).__name__} given", "put it in a list")
    if not tensors:
        fail(ArgumentError, f"{name}: the list of tensors is empty", "give at least one tensor")
    for i, t in enumerate(tensors):
        check_tensor(name, t, f"element {i}")
    return list(tensors)


@tensor_method
def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of stretches of an axis: of one size, the last one maybe smaller, or of the sizes given."""
    check_tensor("split", tensor)
    axis = one_axis("split", dim, tensor.ndim)
    size = tensor.shape[axis]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step < 1 and size:
            fail(ArgumentError, f"split: size {step} of the parts is not positive", "give at least 1")
        starts = list(range(0, size, step)) if size else [0]
        bounds = [(s, min(s + step, size)) for s in starts]
    else:
        sections = tuple(split_size_or_sections)
        if sum(sections) != size or any(s < 0 for s in sections):
            fail(ArgumentError, f"split: sizes {sections} do not add up to {size} (axis {axis})", "they must cover it")
        ends = [sum(sections[: i + 1]) for i in range(len(sections))]
        bounds = [(e - s, e) for s, e in zip(sections, ends, strict=True)]
    return tuple(between(tensor, axis, start, stop) for start, stop in bounds)


@tensor_method
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in up to so many parts of one size, the last one maybe smaller."""
    check_tensor("chunk", input)
    if chunks < 1:
        fail(ArgumentError, f"chunk: {chunks} is not a number of parts", "give at least 1")
    axis = one_axis("chunk", dim, input.ndim)
    size = input.shape[axis]
    return split(input, max(-(-size // chunks), 1), axis)


@tensor_method
def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in so many parts whose sizes differ by 1 at most, or cut at the positions given."""
    axis = one_axis("tensor_split", dim, input.ndim)
    size = input.shape[axis]
    if isinstance(indices_or_sections, int):
        small, larger = divmod(size, indices_or_sections)
        return split(input, [small + (i < larger) for i in range(indices_or_sections)], axis)
    cuts = [0, *(min(max(i + size if i < 0 else i, 0), size) for i in indices_or_sections), size]
    return tuple(between(input, axis, a, max(a, b)) for a, b in pairwise(cuts))


@tensor_method
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of every position of an axis, the axis left out."""
    check_tensor("unbind", input)
    axis = one_axis("unbind", dim, input.ndim)
    return tuple(select(input, axis, i) for i in range(input.shape[axis]))


def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: each vector along its own axis, expanded over the others."""
    check_choice("meshgrid", "indexing", indexing, ("ij", "xy"))
    first = tensors[0]
    given = list(first) if len(tensors) == 1 and isinstance(first, (tuple, list)) else list(tensors)
    vectors: list[Tensor] = _several("meshgrid", given)  # type: ignore[arg-type]
    swapped = indexing == "xy" and len(vectors) > 1
    order = [1, 0, *range(2, len(vectors))] if swapped else list(range(len(vectors)))
    shape = tuple(vectors[i].numel() for i in order)
    result = []
    for i, v in enumerate(vectors):
        at = order.index(i)
        own = tuple(s if a == at else 1 for a, s in enumerate(shape))
        result.append(expanded(reshaped(v, own), shape))
    return tuple(result)
