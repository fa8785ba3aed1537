"""Photographs whose contents are listed in a file of JSON."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from tests.failures import caught, check_form
from tracec.errors import FormatError
from tracec.vision import datasets


def write(folder):
    for k in (3, 8):
        Image.new("RGB", (k, 4), (10 * k, 0, 0)).save(folder / f"{k}.png")
    found = {
        "images": [{"id": 8, "file_name": "8.png"}, {"id": 3, "file_name": "3.png"}],
        "annotations": [
            {"id": 1, "image_id": 8, "bbox": [0, 1, 2, 3], "category_id": 5, "caption": "a thing"},
            {"id": 2, "image_id": 8, "bbox": [1, 1, 2, 2], "category_id": 6, "caption": "things"},
            {"id": 3, "image_id": 99, "bbox": [0, 0, 1, 1], "category_id": 6, "caption": "elsewhere"},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
    }
    (folder / "all.json").write_text(json.dumps(found))
    return folder / "all.json"


def test_what_is_in_photographs(tmp_path):
    data = datasets.CocoDetection(tmp_path, write(tmp_path))
    assert data.ids == [3, 8] and len(data) == 2 and data.categories[6]["name"] == "dog"
    image, target = data[1]
    assert image.size == (8, 4) and [each["bbox"] for each in target] == [[0, 1, 2, 3], [1, 1, 2, 2]]
    assert data[0][1] == []
    both = datasets.CocoDetection(tmp_path, tmp_path / "all.json", transforms=lambda x, y: (x.size, len(y)))
    assert [both[k] for k in range(2)] == [((3, 4), 0), ((8, 4), 2)]


def test_sentences(tmp_path):
    data = datasets.CocoCaptions(tmp_path, str(write(tmp_path)), target_transform=" / ".join)
    assert data[1][1] == "a thing / things"


@pytest.mark.parametrize("text", ["{", "[]", '{"images": [{"file_name": "a"}]}', '{"images": [{"id": 1}]}'])
def test_other_files(tmp_path, text):
    (tmp_path / "all.json").write_text(text)
    with pytest.raises(FormatError, match="not what it should be"):
        datasets.CocoDetection(tmp_path, tmp_path / "all.json")


def test_no_file(tmp_path):
    error = check_form(caught(None, lambda _: datasets.CocoDetection(tmp_path, tmp_path / "none.json"), []))
    assert "there is no" in str(error)
