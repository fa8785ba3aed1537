"""Lists of tensors that differ in the size of one axis, as one tensor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, TypeVar

import tracec.functions as F
from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions.common import fail, filled, iota, one_axis, reshaped
from tracec.ir import dtype as dt
from tracec.record.composite import Composite
from tracec.record.form import Layout, jagged, strided
from tracec.record.printing import format_tensor
from tracec.record.tensor import Size, Tensor

Fn = TypeVar("Fn", bound=Callable[..., Any])


class Ragged:
    """The size of an axis that is another one for each tensor of a list; it prints as ``j1``.

    Two axes have the same size where it is the same object: where their tensors were cut at the same places, by one
    tensor of offsets.
    """

    _count = itertools.count(1)

    def __init__(self, lengths: tuple[int, ...] | None) -> None:
        self.number = next(Ragged._count)
        #: The sizes, where they are known without asking for values.
        self.lengths = lengths

    def __repr__(self) -> str:
        return f"j{self.number}"

    def __index__(self) -> int:
        raise ArgumentTypeError(
            f"size: axis {self} of a nested tensor has no one size", hint="to_padded_tensor() gives all the largest one"
        )


class NestedTensor(Composite):
    """Tensors of which one axis has several sizes, one behind the other along it: PyTorch's layout ``jagged``.

    Its first axis is the list. All else is as of one tensor, whose ragged axis has the size `Ragged`.

    Args:
        values: The tensors, one behind the other along their ragged axis.
        offsets: Where each begins, and where the last one ends, int64, shape ``(tensors + 1,)``.
        lengths: Their sizes, where they are known.
        ragged: Which axis of all, counted with the list, is the ragged one.
        layout: ``tracec.jagged``, or ``tracec.strided``, which prints as the list and has no `offsets`.
    """

    kind = "nested"
    way_out = "to_padded_tensor(0.0) gives a dense one, unbind() the tensors"
    functions: ClassVar[dict[str, Any]] = {}
    is_nested, is_sparse_csr = True, False

    def __init__(
        self, values: Tensor, offsets: Tensor, lengths: tuple[int, ...] | None, ragged: int = 1, layout: Layout = jagged
    ) -> None:
        self._data, self._places, self._axis, self._layout = values, (offsets,), ragged, layout
        kept: Any = offsets.__dict__.get("_ragged")
        if kept is None:
            kept = offsets.__dict__["_ragged"] = Ragged(lengths)
        self._ragged: Ragged = kept
        sizes: list[Any] = [offsets.shape[0] - 1, *values.shape]
        sizes[ragged] = kept
        self._sizes = tuple(sizes)

    def form(self) -> Any:
        """Sizes of the tensors, where they are known, the ragged axis, and the layout."""
        return self._ragged.lengths, self._axis, self._layout

    @classmethod
    def made(cls, form: Any, inner: tuple[Tensor, ...]) -> Self:
        """One of that form, of values and offsets."""
        return cls(inner[0], inner[1], *form)

    @property
    def layout(self) -> Layout:
        """``tracec.jagged``, or ``tracec.strided``."""
        return self._layout

    @property
    def shape(self) -> Size:
        """Size of each axis, that of the ragged one a `Ragged`."""
        return tuple.__new__(Size, self._sizes)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis.

        Raises:
            ArgumentError: of the layout ``strided``, the ragged axis.
        """
        if dim is None:
            return self.shape
        axis = one_axis("size", dim, self.ndim)
        if axis == self._axis and self.layout is strided:
            fail(ArgumentError, f"size: Given dimension {axis} is irregular and does not have a size.", self.way_out)
        return self._sizes[axis]

    def numel(self) -> int:
        """Number of elements of all the tensors."""
        return self._data.numel()

    nelement = numel

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie one tensor behind the other."""
        return self._axis == 1 and self._data.is_contiguous()

    def is_cut_as(self, other: NestedTensor) -> bool:
        """Whether the tensors of another one have the same sizes: were cut by the same offsets.

        Of the layout ``strided``, as in PyTorch, also others count that are known to have the same sizes.
        """
        if self._ragged is other._ragged:
            return True
        known = self._ragged.lengths
        return self._layout is strided is other._layout and known is not None and known == other._ragged.lengths

    # Its parts ----------------------------------------------------------------------------------------

    def values(self) -> Tensor:
        """The tensors one behind the other; of the layout ``strided`` as a vector."""
        return self._data if self.layout is jagged else reshaped(self._data, (self._data.numel(),))

    def offsets(self) -> Tensor:
        """Where each begins along the ragged axis, and where the last one ends."""
        return self._places[0]

    def lengths(self) -> None:
        """None: there are no gaps between the tensors."""

    def sizes(self) -> tuple[int, ...]:
        """The size of each along the ragged axis; read off the offsets where it is not known."""
        if self._ragged.lengths is None:
            ends = self._places[0].tolist()
            return tuple(b - a for a, b in itertools.pairwise(ends))
        return self._ragged.lengths

    @property
    def _max_seqlen(self) -> int:
        return max(self.sizes(), default=0)

    @property
    def _min_seqlen(self) -> int:
        return min(self.sizes(), default=0)

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The tensors.

        Raises:
            ArgumentError: another axis than the first is asked for.
        """
        if one_axis("unbind", dim, self.ndim):
            fail(ArgumentError, f"unbind: only dim=0 of a nested tensor, dim={dim} given", "unbind the tensors")
        return tuple(F.split(self._data, list(self.sizes()), self._axis - 1))

    def __iter__(self) -> Any:
        return iter(self.unbind())

    def to_padded_tensor(self, padding: float, output_size: Sequence[int] | None = None) -> Tensor:
        """A dense tensor in which every tensor has the largest size.

        Args:
            padding: What stands behind the elements of smaller ones.
            output_size: Size of each axis, if it is to be larger; what is more is padding.

        Raises:
            ShapeError: ``output_size`` is too small, or has another number of axes.
        """
        length = self._max_seqlen
        if output_size is None:
            return self.padded(padding, length)
        sizes = [length if k == self._axis else n for k, n in enumerate(self._sizes)]
        if len(output_size) != len(sizes) or any(m < n for m, n in zip(output_size, sizes, strict=True)):
            fail(
                ShapeError,
                f"to_padded_tensor: output_size={tuple(output_size)} for tensors of at most {tuple(sizes)}",
                "no axis may be smaller",
            )
        made = self.padded(padding, length)
        high = tuple(m - n for m, n in zip(output_size, sizes, strict=True))
        return ops.pad(made, low=(0,) * len(sizes), high=high, value=padding)  # type: ignore[no-any-return]

    def padded(self, padding: Any, length: int) -> Tensor:
        """The same, of a size along the ragged axis that none exceeds."""
        front = F.movedim(self._data, self._axis - 1, 0)
        value = {"b": bool, "f": float, "c": complex}.get(self.dtype.kind, int)(padding)
        empty = filled(value, front, (self._sizes[0], length, *front.shape[1:]))
        if not front.numel():
            return F.movedim(empty, 1, self._axis)
        whole = ops.index_put(empty, front, *self.rows(), axes=(0, 1))
        return F.movedim(whole, 1, self._axis)

    def unpadded(self, dense: Tensor) -> NestedTensor:
        """A dense tensor cut as this one is, along the same axis."""
        front = ops.index(F.movedim(dense, self._axis, 1), *self.rows(), axes=(0, 1))
        return self.with_data(F.movedim(front, 0, self._axis - 1))

    def rows(self) -> tuple[Tensor, Tensor]:
        """For each place along the ragged axis of all values: the number of its tensor, and its place there."""
        offsets = self._places[0]
        numbers = iota((self._data.shape[self._axis - 1],), 0, dt.int64, offsets)
        which = ops.sub(F.searchsorted(offsets, numbers, right=True), 1)
        return which, ops.sub(numbers, ops.index(offsets, which, axes=(0,)))

    def to_dense(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: the tensors have several sizes."""
        NestedTensor.refuse("to_dense")

    def __repr__(self) -> str:
        if self.layout is strided:
            lines = [repr(t).replace("\n", "\n  ") for t in self.detach().unbind()]
            return "nested_tensor([\n  " + ",\n  ".join(lines) + "\n])"
        size = ", ".join(map(str, self._sizes))
        notes = f"offsets={format_tensor(self._places[0])}"
        if self.requires_grad:
            notes += ", requires_grad=True" if self.is_leaf else f", grad_fn=<{self.grad_fn.name()}>"
        return f"NestedTensor(size=({size}), {notes}, contiguous={self.is_contiguous()})"


def handles(*names: str) -> Callable[[Fn], Fn]:
    """Enter a function in the table of nested tensors, under the names of the functions that it stands for."""

    def mark(function: Fn) -> Fn:
        for name in names:
            NestedTensor.functions[name] = function
        return function

    return mark


def check_nested(name: str, x: Any, what: str = "input") -> None:
    """Refuse what is no nested tensor."""
    if not isinstance(x, NestedTensor):
        fail(ArgumentTypeError, f"{name}: {what} must be a nested tensor, {type(x).__name__} given", "nested_tensor()")


def inner_axis(name: str, x: NestedTensor, dim: int) -> int:
    """The axis of the values that an axis of a nested tensor is; neither the list nor the ragged one.

    Raises:
        ArgumentError: it is one of these.
    """
    axis = one_axis(name, dim, x.ndim)
    if axis in (0, x._axis):
        what = "batch" if not axis else "ragged"
        fail(ArgumentError, f"{name}: not supported along the {what} axis {axis} of a nested tensor", x.way_out)
    return axis - 1


def of_tensors(name: str, tensors: Sequence[Tensor], layout: Layout) -> NestedTensor:
    """A nested tensor of tensors; gradients flow to them.

    Raises:
        ArgumentError: there are none, or they have no axes.
        ShapeError: they differ in more than one axis, or in their number of axes.
    """
    if not tensors:
        fail(ArgumentError, f"{name}: Cannot construct a nested tensor from an empty tensor list", "give one or more")
    ndim = tensors[0].ndim
    if not ndim:
        fail(ArgumentError, f"{name}: Cannot construct a nested tensor from a list of zero-dim tensors", "stack them")
    if any(t.ndim != ndim for t in tensors):
        fail(ShapeError, f"{name}: tensors of {sorted({t.ndim for t in tensors})} dimensions", "all have as many")
    differ = [k for k in range(ndim) if len({t.shape[k] for t in tensors}) > 1]
    if len(differ) > 1 or (layout is jagged and differ not in ([], [0])):
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors[:4])
        fail(
            ShapeError,
            f"{name}: Cannot represent given tensor list as a nested tensor with the {layout.name} layout: shapes "
            f"{shapes}",
            "tensors may differ in one axis; with layout=tracec.jagged in their first",
        )
    axis = differ[0] if differ else 0
    lengths = tuple(t.shape[axis] for t in tensors)
    offsets = F.tensor([0, *itertools.accumulate(lengths)], dtype=dt.int64, device=tensors[0].device)
    return NestedTensor(F.cat(list(tensors), axis), offsets, lengths, axis + 1, layout)
