"""Pillow, whose images these are: the one place that imports it, and says what to do where it is not there."""

from __future__ import annotations

from tracec.errors import PackageMissingError

try:
    from PIL import Image, ImageColor, ImageDraw, ImageEnhance, ImageFont, ImageOps, UnidentifiedImageError
except ModuleNotFoundError as error:
    raise PackageMissingError(
        f"tracec.vision: images are Pillow's, which is not installed ({error})", hint='pip install "tracec[vision]"'
    ) from None

__all__ = ["Image", "ImageColor", "ImageDraw", "ImageEnhance", "ImageFont", "ImageOps", "UnidentifiedImageError"]
