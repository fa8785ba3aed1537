"""Transforms between kinds of images, dtypes and scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tracec
from tracec import DType, Tensor, nn
from tracec.errors import ArgumentTypeError, DTypeError, ShapeError
from tracec.vision.transforms import functional as F


class ToTensor:
    """Images of Pillow's, and arrays ``(H, W, C)``, as tensors ``(C, H, W)``; values of 8 bits as floats of 0 to 1."""

    def __call__(self, pic: Any) -> Tensor:
        return F.to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PILToTensor:
    """Images of Pillow's as tensors ``(C, H, W)`` of the same values."""

    def __call__(self, pic: Any) -> Tensor:
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ToPILImage:
    """Tensors ``(C, H, W)`` and arrays ``(H, W, C)`` as images of Pillow's.

    Args:
        mode: One of Pillow's modes; otherwise by channels and dtype.
    """

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.mode is None else f'mode={self.mode}'})"


class ConvertImageDtype(nn.Module):
    """Tensors in another dtype, where white stays white.

    Args:
        dtype: The dtype.

    Raises:
        ArgumentTypeError: it is none.
    """

    def __init__(self, dtype: DType) -> None:
        super().__init__()
        if not isinstance(dtype, DType):
            raise ArgumentTypeError(
                f"ConvertImageDtype: takes a dtype, {type(dtype).__name__} given", hint="e.g. tracec.float32"
            )
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        """The image in the dtype."""
        return F.convert_image_dtype(image, self.dtype)


class Normalize(nn.Module):
    """Each channel less its mean, divided by its deviation.

    Args:
        mean: One number for each channel.
        std: Alike.
        inplace: Write into the tensor.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor: Tensor) -> Tensor:
        """The tensor ``(…, C, H, W)``, scaled."""
        return F.normalize(tensor, self.mean, self.std, self.inplace)

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


class LinearTransformation(nn.Module):
    """All values of an image less their means, times a matrix: whitening.

    Args:
        transformation_matrix: ``(D, D)``, where D is the product of channels, height and width.
        mean_vector: ``(D,)``.

    Raises:
        ShapeError: the matrix is not square, or the vector of another length.
    """

    def __init__(self, transformation_matrix: Tensor, mean_vector: Tensor) -> None:
        super().__init__()
        shape, length = tuple(transformation_matrix.shape), tuple(mean_vector.shape)
        if len(shape) != 2 or shape[0] != shape[1] or length != shape[:1]:
            raise ShapeError(
                f"LinearTransformation: a matrix of shape {shape} and means of shape {length}", hint="(D, D) and (D,)"
            )
        if transformation_matrix.dtype is not mean_vector.dtype:
            raise DTypeError(
                f"LinearTransformation: {transformation_matrix.dtype.name} and {mean_vector.dtype.name}",
                hint="give both in one dtype",
            )
        self.transformation_matrix, self.mean_vector = transformation_matrix, mean_vector

    def forward(self, tensor: Tensor) -> Tensor:
        """The tensor ``(…, C, H, W)``, whitened."""
        count = int(tensor.shape[-3] * tensor.shape[-2] * tensor.shape[-1]) if tensor.ndim > 2 else -1
        if count != self.transformation_matrix.shape[0]:
            raise ShapeError(
                f"LinearTransformation: an image of shape {tuple(tensor.shape)} for {len(self.mean_vector)} values",
                hint="the matrix is for images of one size",
            )
        flat = tensor.reshape(-1, count) - self.mean_vector
        return tracec.mm(flat, self.transformation_matrix).reshape(tensor.shape)

    def extra_repr(self) -> str:
        matrix, means = self.transformation_matrix.tolist(), self.mean_vector.tolist()
        return f"transformation_matrix={matrix}, mean_vector={means}"
