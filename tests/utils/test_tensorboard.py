"""Logs for TensorBoard, read back with it; without it, an error that says what to install."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib

import numpy as np
import pytest

import tracec

needs_tensorboard = pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")


def test_without_tensorboard(monkeypatch):
    monkeypatch.delitem(sys.modules, "tracec.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"tensorboard is not installed .*; pip install tensorboard"):
        importlib.import_module("tracec.utils.tensorboard")


@needs_tensorboard
@pytest.mark.filterwarnings("ignore")
def test_what_is_logged_is_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from tracec.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        for step in range(3):
            writer.add_scalar("loss", tracec.tensor(1.5) * step, step)
        writer.add_scalars("both", {"a": 1.0, "b": 2.0}, 4)
        writer.add_histogram("weights", tracec.tensor([-1.0, 0.5, 0.5, 2.0]), 1)
        writer.add_image("picture", tracec.full((3, 2, 4), 0.5), 2)
        writer.add_images("batch", np.zeros((3, 1, 2, 2), np.uint8))
        writer.add_text("note", "hello", 5)
        assert writer.get_logdir() == str(tmp_path)
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(s.step, s.value) for s in read.Scalars("loss")] == [(0, 0), (1, 1.5), (2, 3)]
    assert read.Histograms("weights")[0].histogram_value.num == 4
    picture = read.Images("picture")[0]
    assert (picture.width, picture.height) == (4, 2)
    rows = zlib.decompress(picture.encoded_image_string.split(b"IDAT")[1][:-16])
    assert rows[1:13] == bytes([127] * 12)
    assert (read.Images("batch")[0].width, read.Images("batch")[0].height) == (4, 4)
    assert "note/text_summary" in read.Tags()["tensors"]
    assert [s.value for s in EventAccumulator(str(tmp_path / "both_b")).Reload().Scalars("both")] == [2.0]


@needs_tensorboard
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_logged(tmp_path):
    from tracec.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(tmp_path)
    for f, message in (
        (lambda: writer.add_scalar("x", tracec.ones(2)), "add_scalar: takes one number"),
        (lambda: writer.add_image("x", tracec.ones(2, 2)), r"add_image: an image of shape \(2, 2\) is not CHW"),
        (lambda: writer.add_histogram("x", []), "add_histogram: the input has no element"),
        (lambda: writer.add_scalar("x", "a"), "add_scalar: takes numbers, str given"),
    ):
        with pytest.raises(ValueError, match=message):
            f()
    writer.close()
