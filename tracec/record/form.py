"""``torch.layout`` and ``torch.memory_format``: how elements lie in memory, under PyTorch's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracec import ops
from tracec.errors import ArgumentTypeError, ShapeError
from tracec.record.backward import own
from tracec.record.cell import Cell
from tracec.record.layouts import is_row_major
from tracec.record.state import STATE

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


class Constant:
    """One of a few values that have only a name, ``tracec.channels_last``; pickled and copied it stays itself."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"tracec.{self.name}"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _constant, (self.name,)

    def __copy__(self) -> Constant:
        return self

    def __deepcopy__(self, memo: Any) -> Constant:
        return self


class Layout(Constant):
    """How a tensor is stored: one array with strides, or the tensors of a sparse or a jagged one."""

    __slots__ = ()


class MemoryFormat(Constant):
    """The order in which the axes of a tensor lie in memory."""

    __slots__ = ()


strided = Layout("strided")
sparse_coo = Layout("sparse_coo")
sparse_csr = Layout("sparse_csr")
sparse_csc = Layout("sparse_csc")
jagged = Layout("jagged")
contiguous_format = MemoryFormat("contiguous_format")
preserve_format = MemoryFormat("preserve_format")
channels_last = MemoryFormat("channels_last")
channels_last_3d = MemoryFormat("channels_last_3d")

_LAYOUTS = (strided, sparse_coo, sparse_csr, sparse_csc, jagged)
_FORMATS = (contiguous_format, preserve_format, channels_last, channels_last_3d)
_BY_NAME: dict[str, Constant] = {c.name: c for c in (*_LAYOUTS, *_FORMATS)}

#: Format → the axes from the outermost in memory to the innermost.
_ORDERS = {channels_last: (0, 2, 3, 1), channels_last_3d: (0, 2, 3, 4, 1)}


def _constant(name: str) -> Constant:
    return _BY_NAME[name]


def _order(name: str, x: Cell, wanted: Any) -> tuple[int, ...] | None:
    """The order of axes that a format asks for; None for the row-major one.

    Raises:
        ArgumentTypeError: it is no memory format.
        ShapeError: the tensor has too few axes, or too many, for the format.
    """
    if not isinstance(wanted, MemoryFormat):
        raise ArgumentTypeError(
            f"{name}: memory_format must be a memory format, {type(wanted).__name__} given",
            hint="e.g. tracec.contiguous_format or tracec.channels_last",
        )
    order = _ORDERS.get(wanted)
    if order is not None and x._array.ndim != len(order):
        raise ShapeError(
            f"{name}: required rank {len(order)} tensor to use {wanted.name} format, shape is {tuple(x._array.shape)}",
            hint="channels-last formats are for (N, C, H, W) and (N, C, D, H, W)",
        )
    return order


def lies_in(x: Cell, wanted: Any) -> bool:
    """Whether the elements lie in a memory format, without gaps.

    Raises:
        ArgumentTypeError: it is no memory format.
    """
    array, recorder = x._array, STATE.recorder
    if isinstance(wanted, MemoryFormat) and wanted in _ORDERS and array.ndim != len(_ORDERS[wanted]):
        return False
    order = None if wanted is contiguous_format else _order("is_contiguous", x, wanted)
    if recorder is not None and recorder.sizes is not None:
        shape, strides = x._shape, recorder.strides(x)
        axes = range(array.ndim) if order is None else order
        return is_row_major(tuple(shape[a] for a in axes), tuple(strides[a] for a in axes))
    return bool((array if order is None else array.transpose(order)).flags.c_contiguous)


def in_format(name: str, x: Tensor, wanted: Any) -> Tensor:
    """The tensor with its elements in a memory format: itself where they are already, else a copy.

    Raises:
        ArgumentTypeError: it is no memory format.
        ShapeError: the tensor does not have the axes that the format orders.
    """
    if wanted is None or wanted is preserve_format:
        return x
    order = _order(name, x, wanted)
    if lies_in(x, wanted):
        return x
    if order is None:
        return own(x)
    turned = own(ops.transpose(x, perm=order))
    return ops.transpose(turned, perm=tuple(order.index(axis) for axis in range(len(order))))  # type: ignore[no-any-return]
