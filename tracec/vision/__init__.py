"""Images: data sets, transforms, models, files, boxes. Names are torchvision's, images are Pillow's.

``import tracec.vision as torchvision`` and ``from tracec.vision import datasets, models, transforms, utils`` are what
changes in a program; parts are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from tracec import version
from tracec.errors import name_missing

if TYPE_CHECKING:
    from tracec.vision import datasets, io, models, ops, transforms, utils

#: The release of torchvision whose names these are; see `tracec.version`.
__version__ = version.TorchVersion(f"{version.TORCHVISION}+tracec{version.tracec}")

#: Parts that are imported when they are first asked for.
_LATER = ("datasets", "io", "models", "ops", "transforms", "utils")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise name_missing(sys.modules[__name__], name)
    return importlib.import_module(f"tracec.vision.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


__all__ = ["datasets", "io", "models", "ops", "transforms", "utils"]
