"""``is_floating_point``, ``is_cuda``, ``is_sparse`` and the like: what kind of tensor it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.ops.view import reshape
from tracec.record.cell import Cell
from tracec.record.state import STATE
from tracec.record.tape import edge_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def _never(what: str) -> Any:
    return property(lambda self: False, doc=f"Whether it is {what}; there are none of that kind.")


class Kind(Cell):
    """Questions of PyTorch's programs about a tensor."""

    #: Which result of its operation it is: operations here have one.
    output_nr = 0
    #: A flag of old programs, whether it is of no interest to gradients; use `tracec.no_grad`.
    volatile = False

    is_sparse = _never("sparse")
    is_sparse_csr = _never("sparse in rows")
    is_quantized = _never("quantized")
    is_nested = _never("a list of tensors of several sizes")
    is_mkldnn = _never("in a layout of oneDNN's")
    is_mps = _never("on a GPU of Apple's")
    is_xpu = _never("on a GPU of Intel's")
    is_xla = _never("on a device of XLA's")
    is_mtia = _never("on an accelerator of Meta's")
    is_ipu = _never("on an accelerator of Graphcore's")
    is_vulkan = _never("on a device of Vulkan's")

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are on a CUDA device."""
        return self._device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        """Whether the elements are on the CPU."""
        return self._device == "cpu"

    @property
    def is_meta(self) -> bool:
        """Whether it has a type and no elements."""
        return self._device == "meta"

    def get_device(self) -> int:
        """Number of the CUDA device; -1 for the CPU."""
        index = self._device.index
        return -1 if index is None else index

    def is_floating_point(self) -> bool:
        """Whether the elements are floats."""
        return dt.of_numpy(self._array.dtype).is_floating_point

    def is_complex(self) -> bool:
        """Whether the elements are complex."""
        return dt.of_numpy(self._array.dtype).is_complex

    def is_signed(self) -> bool:
        """Whether the elements may be negative."""
        return dt.of_numpy(self._array.dtype).is_signed

    def is_nonzero(self) -> bool:
        """Whether the only element is not zero.

        Raises:
            ArgumentError: there is not exactly one element.
        """
        if self._array.size != 1:
            many = "no values" if not self._array.size else "more than one value"
            raise ArgumentError(
                f"is_nonzero: Boolean value of Tensor with {many} is ambiguous", hint="use any() or all()"
            )
        return bool(self)

    def is_same_size(self, other: Cell) -> bool:
        """Whether another tensor has the same shape."""
        return bool(self._shape == other._shape)

    def is_distributed(self) -> bool:
        """Whether its elements are on several machines: no."""
        return False

    def ndimension(self) -> int:
        """Number of axes."""
        return self._array.ndim  # type: ignore[no-any-return]

    def to_dense(self, dtype: dt.DType | None = None, *, masked_grad: bool | None = None) -> Tensor:
        """Itself, in another dtype where one is given: it is dense.

        Args:
            dtype: Element type; by default its own.
            masked_grad: Of sparse tensors.
        """
        return self if dtype is None else self.to(dtype)  # type: ignore[return-value, attr-defined]

    def as_subclass(self, cls: type[Any]) -> Any:
        """The same memory as a tensor of a subclass."""
        given: Any = self
        if edge_of(self) is self:  # a leaf stays the one; gradients go on to it
            given = reshape(self, shape=self._array.shape)
        made = object.__new__(cls)
        made.__dict__.update(given.__dict__)
        if STATE.recorder is not None:
            STATE.recorder.node_of(self)
            STATE.recorder.follow(made)
        return made
