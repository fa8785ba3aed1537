"""Between arrays, images of Pillow's and tensors; between dtypes; standard scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tracec
from tracec import DType, Tensor
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, UnsupportedError
from tracec.vision.pillow import Image
from tracec.vision.transforms.functional.images import greatest

#: Modes of Pillow's whose values are not of 0 to 255.
_WIDE = {"I": np.int32, "I;16": np.uint16, "I;16L": np.uint16, "I;16B": np.uint16, "I;16N": np.uint16, "F": np.float32}


def _array(image: Image.Image) -> np.ndarray[Any, Any]:
    """A copy of an image's values, ``(C, H, W)``; palettes give numbers of colours, "1" gives 0 and 1."""
    values = np.array(image, _WIDE.get(image.mode, np.uint8))
    values = values[:, :, None] if values.ndim == 2 else values
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def pil_to_tensor(pic: Image.Image) -> Tensor:
    """The values of an image of Pillow's as they are, ``(C, H, W)``.

    Raises:
        ArgumentTypeError: it is not Pillow's.
    """
    if not isinstance(pic, Image.Image):
        raise ArgumentTypeError(
            f"pil_to_tensor: takes images of Pillow's, {type(pic).__name__} given", hint="to_tensor takes arrays too"
        )
    return tracec.from_numpy(_array(pic))


def to_tensor(pic: Image.Image | np.ndarray[Any, Any]) -> Tensor:
    """An image as floats of 0 to 1, ``(C, H, W)``.

    Args:
        pic: An image of Pillow's, or an array ``(H, W, C)`` or ``(H, W)``. Values of 8 bits are divided by 255; wider
            ones, and those of arrays of other dtypes, stay what they are.

    Raises:
        ArgumentTypeError: it is neither.
        ShapeError: the array has another number of axes.
    """
    if isinstance(pic, Image.Image):
        if pic.mode in _WIDE:
            return pil_to_tensor(pic)
        values = _array(pic) * np.uint8(255 if pic.mode == "1" else 1)
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ShapeError(
                f"to_tensor: an array of an image has 2 or 3 axes, this one has shape {pic.shape}", hint="(H, W, C)"
            )
        values = np.ascontiguousarray((pic[:, :, None] if pic.ndim == 2 else pic).transpose(2, 0, 1))
    else:
        hint = "it is a tensor already; convert_image_dtype scales it" if isinstance(pic, Tensor) else "np.asarray(x)"
        raise ArgumentTypeError(
            f"to_tensor: takes images of Pillow's and arrays, {type(pic).__name__} given", hint=hint
        )
    if values.dtype != np.uint8:
        return tracec.from_numpy(values.copy() if values.base is not None else values)
    dtype = tracec.get_default_dtype()
    kind = np.float64 if dtype is tracec.float64 else np.float32
    return tracec.from_numpy(np.divide(values, kind(255), dtype=kind)).to(dtype)


#: What an array of so many channels may be: mode that is taken by itself, and others.
_MODES: dict[int, tuple[str, tuple[str, ...]]] = {
    2: ("LA", ("LA",)),
    3: ("RGB", ("RGB", "YCbCr", "HSV", "LAB")),
    4: ("RGBA", ("RGBA", "CMYK", "RGBX")),
}
_GREY = {np.dtype(np.uint8): "L", np.dtype(np.int16): "I;16", np.dtype(np.uint16): "I;16", np.dtype(np.int32): "I"}


def _grey(values: np.ndarray[Any, Any], mode: str | None) -> Image.Image:
    expected = "F" if values.dtype == np.float32 else _GREY.get(values.dtype)
    if expected is None:
        raise DTypeError(f"to_pil_image: no image has values of {values.dtype}", hint="convert_image_dtype(x, uint8)")
    if mode not in (None, expected):
        raise ArgumentError(f"to_pil_image: mode={mode!r} of values of {values.dtype}", hint=f"mode={expected!r}")
    return Image.fromarray(values.view(np.uint16) if values.dtype == np.int16 else values)


def to_pil_image(pic: Tensor | np.ndarray[Any, Any], mode: str | None = None) -> Image.Image:
    """An image of Pillow's.

    Args:
        pic: A tensor ``(C, H, W)`` or an array ``(H, W, C)``, or either ``(H, W)``. Floats are of 0 to 1;
            those beyond are black or white.
        mode: One of Pillow's modes; otherwise by channels and dtype.

    Raises:
        ArgumentTypeError: it is neither.
        ShapeError: it has another number of axes, or more than four channels.
        ArgumentError: the mode does not go with it.
    """
    if isinstance(pic, Tensor):
        values = pic.detach().cpu().numpy()
        values = values.transpose(1, 2, 0) if values.ndim == 3 else values
    elif isinstance(pic, np.ndarray):
        values = pic
    else:
        raise ArgumentTypeError(
            f"to_pil_image: takes tensors and arrays, {type(pic).__name__} given", hint="np.asarray(x)"
        )
    if values.ndim not in (2, 3):
        raise ShapeError(f"to_pil_image: an image has 2 or 3 axes, given are {values.ndim}", hint="take one of a batch")
    values = values[:, :, None] if values.ndim == 2 else values
    if values.dtype.kind == "f" and mode != "F":
        # Beyond black and white there is nothing: a cast by itself would begin again at the other end.
        values = np.nan_to_num(values * 255).clip(0, 255).astype(np.uint8)
    values = np.ascontiguousarray(values)
    if values.shape[2] == 1:
        return _grey(values[:, :, 0], mode)
    if values.shape[2] not in _MODES:
        raise ShapeError(f"to_pil_image: no image has {values.shape[2]} channels", hint="1 to 4")
    usual, allowed = _MODES[values.shape[2]]
    if mode not in (None, *allowed):
        raise ArgumentError(
            f"to_pil_image: mode={mode!r} of {values.shape[2]} channels", hint=f"one of {', '.join(allowed)}"
        )
    if values.dtype != np.uint8:
        raise DTypeError(f"to_pil_image: {usual} has values of uint8, given are {values.dtype}", hint="cast them")
    height, width, _ = values.shape
    return Image.frombytes(mode or usual, (width, height), values.tobytes())


def convert_image_dtype(image: Tensor, dtype: DType = tracec.float32) -> Tensor:
    """The same image in another dtype: white, 1 of floats and the largest of integers, stays white.

    Raises:
        ArgumentTypeError: it is no tensor.
        UnsupportedError: the integers have more digits than the floats.
    """
    if not isinstance(image, Tensor):
        raise ArgumentTypeError(
            f"convert_image_dtype: takes tensors, {type(image).__name__} given", hint="to_tensor(image) makes one"
        )
    given = image.dtype
    if given is dtype:
        return image
    if given.is_floating_point:
        if dtype.is_floating_point:
            return image.to(dtype)
        if (given, dtype) in _TOO_WIDE:
            raise UnsupportedError(
                f"convert_image_dtype: {given.name} to {dtype.name} loses digits", hint="cast it to float64 before"
            )
        # All values get intervals of one width, 1 included. Floats of 16 bits have not the digits for that.
        wide = image if given in (tracec.float32, tracec.float64) else image.to(tracec.float32)
        return (wide * (greatest(dtype) + 1 - 1e-3)).to(dtype)
    if dtype.is_floating_point:
        wide = image.to(dtype if dtype in (tracec.float32, tracec.float64) else tracec.float32)
        return (wide / greatest(given)).to(dtype)
    before, after = int(greatest(given)), int(greatest(dtype))
    if before > after:
        return tracec.div(image, (before + 1) // (after + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((after + 1) // (before + 1))


_TOO_WIDE = {
    (given, dtype)
    for dtype in (tracec.int32, tracec.int64)
    for given in (tracec.float16, tracec.bfloat16, tracec.float32, tracec.float64)
    if (given, dtype) != (tracec.float64, tracec.int32)
}


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """Each channel less its mean, divided by its deviation.

    Args:
        tensor: Floats, ``(…, C, H, W)``.
        mean: One number for each channel, or one for all.
        std: Alike.
        inplace: Write into the tensor.

    Raises:
        DTypeError: it has no floats.
        ArgumentError: a deviation is zero, or there is not one number for each channel.
    """
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(
            f"normalize: takes tensors, {type(tensor).__name__} given", hint="put ToTensor() before it"
        )
    if not tensor.dtype.is_floating_point:
        raise DTypeError(f"normalize: takes floats, given is {tensor.dtype.name}", hint="convert_image_dtype(x)")
    if tensor.ndim < 3:
        raise ShapeError(f"normalize: takes (…, C, H, W), given is {tuple(tensor.shape)}", hint="x[None]")
    shift, scale = (_of_channels(what, given, tensor) for what, given in (("mean", mean), ("std", std)))
    if 0 in (std.reshape(-1).tolist() if isinstance(std, Tensor) else np.ravel(std)):
        raise ArgumentError(f"normalize: std={std!r} has a zero, by which nothing is divided", hint="leave it at 1")
    return tensor.sub_(shift).div_(scale) if inplace else (tensor - shift) / scale


def _of_channels(what: str, given: Any, x: Tensor) -> Tensor:
    made = tracec.as_tensor(given, dtype=x.dtype, device=x.device).reshape(-1)
    if made.numel() not in (1, int(x.shape[-3])):
        raise ArgumentError(
            f"normalize: {what} has {made.numel()} numbers, the image {int(x.shape[-3])} channels",
            hint="give one for each channel, or one for all",
        )
    return made.reshape(-1, 1, 1)
