"""Tensors that share their memory with other libraries, through DLPack capsules."""

from __future__ import annotations

from typing import Any

from tracec.functions import from_dlpack as _from_array
from tracec.record.tensor import Tensor


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule over a tensor's memory, for another library to take once."""
    return tensor.__dlpack__(max_version=(1, 0))  # the first version that says whether memory may be written to


class _Capsule:
    """What offers a capsule on the CPU as arrays offer themselves."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of another library's array, or of a capsule over memory of the CPU."""
    return _from_array(_Capsule(ext_tensor) if type(ext_tensor).__name__ == "PyCapsule" else ext_tensor)
