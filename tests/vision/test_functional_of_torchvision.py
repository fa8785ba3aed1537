"""Functions on images give what torchvision's do, where that is installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tracec
from tracec.vision.transforms import functional as F

pytest.importorskip("torchvision")
import torch
import torchvision.transforms.functional as theirs
from PIL import Image

SQUARE = [[0, 0], [18, 0], [18, 22], [0, 22]]
MOVED = [[2, 1], [16, 3], [18, 20], [1, 22]]

#: Function → arguments; images are of 23 × 19, three channels.
CASES: dict[str, list[dict[str, Any]]] = {
    "resize": [
        {"size": size, "interpolation": mode, **more}
        for size, mode, more in itertools.product(
            (10, [31, 11], [9]), ("NEAREST", "NEAREST_EXACT", "BILINEAR", "BICUBIC"), ({}, {"antialias": False})
        )
    ]
    + [{"size": 16, "max_size": 18}],
    "pad": [
        {"padding": padding, **more}
        for padding in (2, [1, 2], [1, 2, 3, 4])
        for more in (
            {},
            {"fill": 7},
            {"padding_mode": "edge"},
            {"padding_mode": "reflect"},
            {"padding_mode": "symmetric"},
        )
    ]
    + [{"padding": [-1, 2, -3, 0]}],
    "crop": [
        {"top": 2, "left": 3, "height": 9, "width": 8},
        {"top": -3, "left": 12, "height": 9, "width": 12},
        {"top": 20, "left": -4, "height": 8, "width": 40},
    ],
    "center_crop": [{"output_size": size} for size in (8, [11, 6], [40, 7], 30)],
    "resized_crop": [{"top": 2, "left": 3, "height": 9, "width": 8, "size": [12, 5]}],
    "hflip": [{}],
    "vflip": [{}],
    "five_crop": [{"size": 7}, {"size": [5, 8]}],
    "ten_crop": [{"size": 7}, {"size": [5, 8], "vertical_flip": True}],
    "rotate": [
        {"angle": angle, "interpolation": mode, **more}
        for angle, mode in itertools.product((0, 33, -77.5, 90, 180), ("NEAREST", "BILINEAR"))
        for more in ({}, {"expand": True}, {"fill": [50]}, {"center": [3, 5]})
    ],
    "affine": [
        {"angle": 25, "translate": [2, -3], "scale": 0.8, "shear": [10, -5], "interpolation": mode, **more}
        for mode in ("NEAREST", "BILINEAR")
        for more in ({}, {"fill": [50]}, {"center": [3, 5]})
    ],
    "perspective": [
        {"startpoints": SQUARE, "endpoints": MOVED, "interpolation": mode, **more}
        for mode in ("NEAREST", "BILINEAR")
        for more in ({}, {"fill": [50]})
    ],
    "adjust_brightness": [{"brightness_factor": k} for k in (0, 0.4, 1.7)],
    "adjust_contrast": [{"contrast_factor": k} for k in (0, 0.4, 1.7)],
    "adjust_saturation": [{"saturation_factor": k} for k in (0, 0.4, 1.7)],
    "adjust_sharpness": [{"sharpness_factor": k} for k in (0, 0.4, 1.7)],
    "adjust_hue": [{"hue_factor": k} for k in (-0.5, -0.1, 0, 0.3)],
    "adjust_gamma": [{"gamma": 0.5}, {"gamma": 2.2, "gain": 0.9}],
    "rgb_to_grayscale": [{}, {"num_output_channels": 3}],
    "gaussian_blur": [{"kernel_size": 5}, {"kernel_size": [3, 7], "sigma": [0.5, 2.0]}],
    "invert": [{}],
    "posterize": [{"bits": 3}, {"bits": 1}, {"bits": 8}],
    "solarize": [{"threshold": 0.4}],
    "autocontrast": [{}],
    "equalize": [{}],
}
BYTES_ALONE = ("posterize", "equalize")


def values(kind: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    smooth = np.add.outer(np.linspace(0, 150, 23), np.linspace(0, 90, 19))
    picture = np.clip(smooth[None] + rng.normal(0, 20, (3, 23, 19)), 0, 255).astype(np.uint8)
    if kind == "batch of bytes":
        return np.stack([picture, picture[::-1]])
    if kind == "floats":
        return (picture / np.float32(255)).astype(np.float32)
    return picture


def arguments(case: dict[str, Any], library: Any, white: float) -> dict[str, Any]:
    case = dict(case)
    if "interpolation" in case:
        case["interpolation"] = library.InterpolationMode[case["interpolation"]]
    if "fill" in case and white == 1.0:
        case["fill"] = case["fill"] / 255 if not isinstance(case["fill"], list) else [v / 255 for v in case["fill"]]
    if "threshold" in case:
        case["threshold"] = case["threshold"] * white
    return case


def as_arrays(found: Any) -> list[np.ndarray]:
    return [np.asarray(part) for part in (found if isinstance(found, tuple) else (found,))]


CALLS = [(name, k) for name, cases in CASES.items() for k in range(len(cases))]


@pytest.mark.filterwarnings("ignore:Anti-alias option")
@pytest.mark.parametrize("name, k", CALLS, ids=lambda v: str(v))
def test_images_of_pillow(name, k):
    image = Image.fromarray(values("bytes").transpose(1, 2, 0))
    ours = as_arrays(getattr(F, name)(image, **arguments(CASES[name][k], F, 255)))
    expected = as_arrays(getattr(theirs, name)(image, **arguments(CASES[name][k], theirs, 255)))
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        # Coefficients of maps are worked out in another order: a value may round to its neighbour.
        assert np.abs(a.astype(int) - b).max() <= (name in ("affine", "perspective", "gaussian_blur"))


@pytest.mark.parametrize("kind", ["bytes", "batch of bytes", "floats"])
@pytest.mark.parametrize("name, k", CALLS, ids=lambda v: str(v))
def test_tensors(name, k, kind):
    if kind == "floats" and name in BYTES_ALONE:
        pytest.skip("of bytes alone")
    white = 1.0 if kind == "floats" else 255
    x = values(kind)
    ours = as_arrays(getattr(F, name)(tracec.from_numpy(x.copy()), **arguments(CASES[name][k], F, white)))
    expected = as_arrays(getattr(theirs, name)(torch.from_numpy(x.copy()), **arguments(CASES[name][k], theirs, white)))
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        # Sums in another order: a value of bytes may round to its neighbour.
        worst = np.abs(a.astype(np.float64) - b).max()
        assert worst <= (2e-5 if kind == "floats" else 1), worst
        assert np.mean(a != b) < 0.02 or kind == "floats"
