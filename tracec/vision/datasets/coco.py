"""COCO: photographs with what is in them, listed in one file of JSON. Source: Lin et al., "Microsoft COCO", 2014."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tracec.errors import FileMissingError, FormatError
from tracec.vision.datasets.base import Change, VisionDataset
from tracec.vision.datasets.folder import default_loader


class CocoDetection(VisionDataset):
    """Photographs, each with a list of what the file says of it, as it says it; needs no pycocotools.

    Args:
        root: The folder of the photographs.
        annFile: The file of JSON, such as ``annotations/instances_val2017.json``.
        transform: What is called with each image, Pillow's of mode RGB.
        target_transform: What is called with each list.
        transforms: What is called with both; this or the two others.

    Attributes:
        ids: Numbers of the photographs, in order.
        images: What the file says of each of them, by number.
        annotations: Lists of what is in each, by number.
        categories: What the file says of each category, by number.

    Raises:
        FileMissingError: the file is not there.
        FormatError: it is not what it should be.
    """

    def __init__(
        self,
        root: str | Path,
        annFile: str | Path,
        transform: Change | None = None,
        target_transform: Change | None = None,
        transforms: Change | None = None,
    ) -> None:
        super().__init__(root, transforms, transform, target_transform)
        name, path = type(self).__name__, Path(annFile).expanduser()
        if not path.is_file():
            raise FileMissingError(f"{name}: there is no {path}", hint="such as annotations/instances_val2017.json")
        try:
            found = json.loads(path.read_text())
            self.images: dict[int, dict[str, Any]] = {image["id"]: image for image in found["images"]}
            self.categories: dict[int, dict[str, Any]] = {of["id"]: of for of in found.get("categories", [])}
            self.annotations: dict[int, list[dict[str, Any]]] = {number: [] for number in self.images}
            for each in found.get("annotations", []):
                if each["image_id"] in self.annotations:
                    self.annotations[each["image_id"]].append(each)
            self.ids = sorted(self.images)
            self._files = [str(self.images[number]["file_name"]) for number in self.ids]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{name}: {path} is not what it should be: {type(error).__name__}: {error}",
                hint="a file of JSON with images and annotations",
            ) from None

    def _target(self, number: int) -> list[Any]:
        return list(self.annotations[number])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = default_loader(Path(self.root or ".") / self._files[index])
        return self.transformed(image, self._target(self.ids[index]))


class CocoCaptions(CocoDetection):
    """Photographs, each with a list of sentences; takes what `CocoDetection` takes."""

    def _target(self, number: int) -> list[Any]:
        return [each["caption"] for each in self.annotations[number]]


__all__ = ["CocoCaptions", "CocoDetection"]
