"""Sequences of several lengths: padded to one length, or packed without padding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions import index_select, pad, reshape, stack, tensor, transpose, where
from tracec.ir.dtype import int64
from tracec.record.tensor import Tensor

Lengths = Tensor | np.ndarray[Any, Any] | Iterable[float]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences without padding, step by step: the first elements of all, then the second of those that have one, ….

    Args:
        data: Shape ``(sum of lengths, ...)``; the longest sequence comes first in every step.
        batch_sizes: How many sequences have an element at each step; int64, on the CPU.
        sorted_indices: The order in which sequences are in it, of those that were packed; None if as they were.
        unsorted_indices: The order that undoes it; made from ``sorted_indices`` if left out.
    """

    #: Sizes and order as integers, where they are known: a compiled function need not ask tensors for them.
    _sizes: list[int] | None = None
    _order: list[int] | None = None

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise ArgumentTypeError("PackedSequence: batch_sizes is missing", hint="give data and batch_sizes")
            data, batch_sizes = data
        if str(batch_sizes.device) != "cpu":
            raise ArgumentError(
                f"PackedSequence: batch_sizes are on {batch_sizes.device}", hint="they are needed on the CPU: .cpu()"
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The data in another dtype or on another device; `Tensor.to` says how."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        return self.with_data(data)

    def with_data(self, data: Tensor) -> PackedSequence:
        """Other data for the same sequences."""
        moved = [None if i is None else i.to(data.device) for i in (self.sorted_indices, self.unsorted_indices)]
        made = type(self)(data, self.batch_sizes, *moved)
        made._sizes, made._order = self._sizes, self._order
        return made

    def sizes(self) -> list[int]:
        """How many sequences have an element at each step."""
        return _counts("PackedSequence", self.batch_sizes) if self._sizes is None else self._sizes

    def places(self) -> list[int]:
        """Where each sequence, in the order in which they were packed, stands in a step."""
        if self._order is not None:
            return sorted(range(len(self._order)), key=self._order.__getitem__)
        if self.unsorted_indices is None:
            return list(range(self.sizes()[0]))
        return _counts("PackedSequence", self.unsorted_indices)

    def cpu(self) -> PackedSequence:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On a CUDA device."""
        return self.to(self.data.cuda(*args, **kwargs).device)

    def double(self) -> PackedSequence:
        """The data as float64."""
        return self.to(self.data.double().dtype)

    def float(self) -> PackedSequence:
        """The data as float32."""
        return self.to(self.data.float().dtype)

    def half(self) -> PackedSequence:
        """The data as float16."""
        return self.to(self.data.half().dtype)

    def long(self) -> PackedSequence:
        """The data as int64."""
        return self.to(int64)

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a CUDA device."""
        return bool(self.data.is_cuda)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The order that undoes an order; None of None."""
    if permutation is None:
        return None
    back: Tensor = permutation.argsort()
    return back


def _counts(name: str, lengths: Lengths) -> list[int]:
    """The lengths as integers, whatever row of numbers they come as; a tensor or an array is asked for its values."""
    values: Any = lengths.tolist() if isinstance(lengths, (Tensor, np.ndarray)) else lengths
    values = list(values) if isinstance(values, Iterable) else [None]
    if not all(hasattr(n, "__index__") or (isinstance(n, Real) and math.isfinite(n)) for n in values):
        raise ArgumentTypeError(f"{name}: lengths are not a row of integers", hint="give one length for each sequence")
    return [int(n) for n in values]  # floats are cut, as PyTorch's conversion to int64 does


def _gathered(x: Tensor, positions: list[int]) -> Tensor:
    return index_select(x, 0, tensor(positions, dtype=int64, device=x.device))


def pack_padded_sequence(
    input: Tensor, lengths: Lengths, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Padded sequences, packed.

    Args:
        input: Shape ``(T, N, ...)``, or ``(N, T, ...)`` if ``batch_first``.
        lengths: How many elements of each sequence count, 1 to T.
        batch_first: Whether the batch comes first.
        enforce_sorted: Whether lengths must be in descending order; otherwise sequences are brought into it.

    Raises:
        ShapeError: there is not one length for each sequence.
        ArgumentError: lengths are not in descending order, or out of range.
    """
    name = "pack_padded_sequence"
    counts = _counts(name, lengths)
    if input.ndim < 2:
        raise ShapeError(f"{name}: input of shape {tuple(input.shape)}", hint="it is (T, N, ...)")
    x = transpose(input, 0, 1) if batch_first else input
    steps, batch = tuple(x.shape)[:2]
    if len(counts) != batch:
        raise ShapeError(f"{name}: {len(counts)} lengths for {batch} sequences", hint="give one for each sequence")
    if not counts or min(counts) < 1 or max(counts) > steps:
        raise ArgumentError(
            f"{name}: lengths {counts} for {steps} steps",
            hint=f"length of all samples has to be greater than 0, and at most {steps} here",
        )
    order = list(range(batch))
    if not enforce_sorted:
        order.sort(key=lambda i: -counts[i])
    elif any(a < b for a, b in itertools.pairwise(counts)):
        raise ArgumentError(
            f"{name}: `lengths` array must be sorted in decreasing order when `enforce_sorted` is True, got {counts}",
            hint="sort the sequences by length, or pass enforce_sorted=False",
        )
    alive = [[i for i in order if counts[i] > t] for t in range(max(counts))]
    rows = reshape(x, (steps * batch, *x.shape[2:]))
    data = _gathered(rows, [t * batch + i for t, some in enumerate(alive) for i in some])
    sizes = [len(some) for some in alive]
    indices = None if enforce_sorted else tensor(order, dtype=int64, device=input.device)
    packed = PackedSequence(data, tensor(sizes, dtype=int64), indices)
    packed._sizes, packed._order = sizes, order
    return packed


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Packed sequences, padded to the length of the longest.

    Args:
        sequence: What `pack_padded_sequence` gave.
        batch_first: Whether the batch is to come first.
        padding_value: What the padding is filled with.
        total_length: Pad to this length instead.

    Returns:
        Shape ``(T, N, ...)`` or ``(N, T, ...)``, and the lengths: int64 of shape ``(N,)``, on the CPU.

    Raises:
        ArgumentError: ``total_length`` is shorter than the longest sequence.
    """
    sizes, order = sequence.sizes(), sequence.places()
    steps, batch = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < steps:
            raise ArgumentError(
                f"pad_packed_sequence: total_length={total_length} for sequences of {steps} elements",
                hint="total_length is at least the length of the longest sequence",
            )
        steps = total_length
    lengths = [sum(size > i for size in sizes) for i in order]
    starts = [0, *itertools.accumulate(sizes)]
    places = [(i, t) for i in order for t in range(steps)]
    if not batch_first:
        places.sort(key=lambda place: place[1])
    # Padding looks at the first element, whose value is replaced and whose gradient is then 0.
    inside = [t < len(sizes) and i < sizes[t] for i, t in places]
    chosen = _gathered(sequence.data, [starts[t] + i if ok else 0 for (i, t), ok in zip(places, inside, strict=True)])
    if not all(inside):
        kept = tensor(inside, device=sequence.data.device)
        chosen = where(reshape(kept, (len(inside),) + (1,) * (chosen.ndim - 1)), chosen, padding_value)
    lead = (batch, steps) if batch_first else (steps, batch)
    return reshape(chosen, (*lead, *chosen.shape[1:])), tensor(lengths, dtype=int64)


def pad_sequence(
    sequences: Tensor | Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences, padded to the length of the longest.

    Args:
        sequences: Tensors of shape ``(L, ...)`` that differ in L alone.
        batch_first: Whether the batch is to come first.
        padding_value: What the padding is filled with.
        padding_side: ``right`` or ``left``.

    Returns:
        Shape ``(T, N, ...)``, or ``(N, T, ...)`` if ``batch_first``.

    Raises:
        ShapeError: the sequences have different sizes behind L.
    """
    found = list(sequences)
    if not found or any(not isinstance(s, Tensor) or not s.ndim for s in found):
        raise ArgumentTypeError("pad_sequence: takes tensors of one dimension or more", hint="give a list of them")
    if padding_side not in ("left", "right"):
        raise ArgumentError(f"pad_sequence: padding_side={padding_side!r}", hint="use 'left' or 'right'")
    shapes = {tuple(s.shape[1:]) for s in found}
    if len(shapes) != 1:
        raise ShapeError(
            f"pad_sequence: sequences have shapes {[tuple(s.shape) for s in found]}",
            hint="they may differ in their first size alone",
        )
    longest = max(s.shape[0] for s in found)
    rows = []
    for s in found:
        missing = longest - s.shape[0]
        around = (missing, 0) if padding_side == "left" else (0, missing)
        rows.append(pad(s, (0, 0) * (s.ndim - 1) + around, value=padding_value) if missing else s)
    return stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Lengths, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded tensor, each with its own length."""
    counts = _counts("unpad_sequence", lengths)
    x = padded_sequences if batch_first else transpose(padded_sequences, 0, 1)
    return [row[:n] for row, n in zip(x.unbind(0), counts, strict=False)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences of shape ``(L, ...)`` each, packed; see `pack_padded_sequence`."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
