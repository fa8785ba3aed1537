"""The range and precision of element types: ``finfo`` and ``iinfo``."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tracec.errors import ArgumentTypeError
from tracec.ir.dtype import DType
from tracec.record import promote


class finfo:
    """Limits of a floating element type.

    Args:
        type: The type; by default that of new tensors. Of a complex type: that of its parts.

    Attributes:
        bits: Bits per element.
        eps: The distance from 1 to the next larger number.
        max: The largest number.
        min: The smallest number, ``-max``.
        tiny: The smallest positive number of full precision.
        smallest_normal: The same.
        resolution: The precision in decimal digits, as a power of ten.
        dtype: Name of the type.

    Raises:
        ArgumentTypeError: the type is not floating.
    """

    def __init__(self, type: DType | None = None) -> None:
        chosen = promote.DEFAULT_FLOAT if type is None else type
        if not isinstance(chosen, DType) or chosen.kind not in "fc":
            raise ArgumentTypeError(
                f"finfo: requires a floating point input type, {chosen} given; use iinfo to handle integers",
                hint="e.g. tracec.float32",
            )
        limits: Any = ml_dtypes.finfo if chosen.kind == "f" else np.finfo
        found = limits(chosen.numpy)
        self.bits = int(found.bits)
        self.eps, self.max, self.min = float(found.eps), float(found.max), float(found.min)
        self.tiny = self.smallest_normal = float(found.smallest_normal)
        self.resolution = 10.0**-found.precision
        self.dtype = chosen.name if chosen.kind == "f" else f"float{self.bits}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{n}={getattr(self, n):g}' for n in names)}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer element type.

    Args:
        type: The type.

    Attributes:
        bits: Bits per element.
        max: The largest number.
        min: The smallest number.
        dtype: Name of the type.

    Raises:
        ArgumentTypeError: the type is not one of integers.
    """

    def __init__(self, type: DType) -> None:
        if not isinstance(type, DType) or type.kind not in "ui":
            raise ArgumentTypeError(
                f"iinfo: requires an integer input type, {type} given; use finfo to handle floats",
                hint="e.g. tracec.int64",
            )
        found = np.iinfo(type.numpy)
        self.bits, self.max, self.min, self.dtype = int(found.bits), int(found.max), int(found.min), type.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
