"""Names for annotations, as in ``torch.types``."""

from collections.abc import Sequence
from typing import Any

from tracec.ir.dtype import DType
from tracec.record.backend import Device as _Device
from tracec.record.tensor import Size, Tensor

Device = _Device | str | int | None
Number = int | float | bool
FileLike = Any

_int, _float, _bool = int, float, bool
_dtype, _device = DType, _Device
_size = Size | list[int] | tuple[int, ...]
_TensorOrTensors = Tensor | Sequence[Tensor]

__all__ = ["Device", "FileLike", "Number"]
