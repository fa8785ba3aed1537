"""Logs for TensorBoard, written through the package ``tensorboard``, which has to be installed."""

from __future__ import annotations

import importlib
import os
import socket
import struct
import time
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from tracec.errors import ArgumentError, ShapeError
from tracec.record.tensor import Tensor

try:
    _files: Any = importlib.import_module("tensorboard.summary.writer.event_file_writer")
    _events: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
    _summaries: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
    _tensors: Any = importlib.import_module("tensorboard.compat.proto.tensor_pb2")
    _shapes: Any = importlib.import_module("tensorboard.compat.proto.tensor_shape_pb2")
    _texts: Any = importlib.import_module("tensorboard.plugins.text.plugin_data_pb2")
except ImportError as error:
    raise ImportError(
        f"tracec.utils.tensorboard: tensorboard is not installed ({error}); pip install tensorboard"
    ) from None


def _array(name: str, x: Any) -> Any:
    """Numbers of any kind as a NumPy array."""
    if isinstance(x, Tensor):
        return x.detach().cpu().numpy()
    found = np.asarray(x)
    if found.dtype.kind not in "biuf":
        raise ArgumentError(f"{name}: takes numbers, {type(x).__name__} given", hint="give a tensor or an array")
    return found


def _number(name: str, x: Any) -> float:
    array = _array(name, x)
    if array.size != 1:
        raise ShapeError(f"{name}: takes one number, shape is {array.shape}", hint="reduce it first")
    return float(array.reshape(())[()])


def _png(pixels: Any) -> bytes:
    """An image, uint8 of shape (height, width, channels), as a PNG file."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _pixels(name: str, image: Any, dataformats: str) -> Any:
    """An image, or a batch in a grid, as uint8 of shape (height, width, channels); floats are from 0 to 1."""
    array, letters = _array(name, image), dataformats.upper()
    if array.ndim != len(letters) or len(set(letters)) != len(letters) or not {*letters} <= {*"NCHW"}:
        raise ShapeError(
            f"{name}: an image of shape {array.shape} is not {dataformats}",
            hint="say with dataformats= what the axes are",
        )
    if array.dtype.kind == "f":
        array = array * 255.0
    for letter in "NHWC":
        if letter not in letters:
            array, letters = np.expand_dims(array, 0), letter + letters
    array = array.transpose([letters.index(letter) for letter in "NHWC"])
    count, height, width, channels = array.shape
    across = int(np.ceil(np.sqrt(count)))
    grid = np.zeros((-(-count // across) * height, across * width, channels), array.dtype)
    for k in range(count):
        top, left = k // across * height, k % across * width
        grid[top : top + height, left : left + width] = array[k]
    return np.clip(grid, 0, 255).astype(np.uint8)


class SummaryWriter:
    """Writes numbers, histograms, images and texts for TensorBoard to show.

    Args:
        log_dir: The folder; by default one under ``runs`` named after the time and the machine.
        comment: What to put behind that name.
        purge_step: Let TensorBoard forget what was logged from this step on.
        max_queue: Events to hold back at most.
        flush_secs: Seconds after which to write them.
        filename_suffix: What to put behind the file's name.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        if not log_dir:
            now = datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = os.fspath(log_dir)
        self._options = (max_queue, flush_secs, filename_suffix)
        self._files: dict[str, Any] = {}
        if purge_step is not None:
            session = _events.SessionLog(status=_events.SessionLog.START)
            self._file(self.log_dir).add_event(_event(purge_step, None, session_log=session))

    def _file(self, folder: str) -> Any:
        if folder not in self._files:
            self._files[folder] = _files.EventFileWriter(folder, *self._options)
        return self._files[folder]

    def _add(self, value: Any, step: int | None, walltime: float | None, folder: str | None = None) -> None:
        summary = _summaries.Summary(value=[value])
        self._file(folder or self.log_dir).add_event(_event(step, walltime, summary=summary))

    def get_logdir(self) -> str:
        """The folder."""
        return self.log_dir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Log a number.

        Args:
            tag: Its name.
            scalar_value: A number, or a tensor of one.
            global_step: The step of training.
            walltime: Seconds since 1970; by default now.
            new_style: Log it as a tensor, as TensorFlow 2 does.
            double_precision: With ``new_style``: as float64.
        """
        number = _number("add_scalar", scalar_value)
        if new_style:
            kind = {"dtype": "DT_DOUBLE", "double_val": [number]} if double_precision else {}
            tensor = _tensors.TensorProto(**(kind or {"dtype": "DT_FLOAT", "float_val": [number]}))
            plugin = _summaries.SummaryMetadata.PluginData(plugin_name="scalars")
            metadata = _summaries.SummaryMetadata(plugin_data=plugin)
            value = _summaries.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
        else:
            value = _summaries.Summary.Value(tag=tag, simple_value=number)
        self._add(value, global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Log several numbers that are drawn in one diagram, each in a folder of its own."""
        for tag, scalar in tag_scalar_dict.items():
            value = _summaries.Summary.Value(tag=main_tag, simple_value=_number("add_scalars", scalar))
            folder = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            self._add(value, global_step, walltime, folder)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: str | int | Iterable[float] = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Log how numbers are distributed.

        Args:
            tag: Its name.
            values: The numbers.
            global_step: The step of training.
            bins: Borders of the bins, their number, or how NumPy is to choose them; ``tensorflow`` for borders that
                grow by a tenth each.
            walltime: Seconds since 1970; by default now.
            max_bins: The most bins.

        Raises:
            ArgumentError: there are no numbers.
        """
        array = _array("add_histogram", values).astype(np.float64).reshape(-1)
        if not array.size:
            raise ArgumentError("add_histogram: the input has no element", hint="give at least one number")
        counts, borders = np.histogram(array, _borders() if isinstance(bins, str) and bins == "tensorflow" else bins)  # type: ignore[arg-type]
        if max_bins is not None and len(counts) > max_bins:
            every = -(-len(counts) // max_bins)
            counts = np.add.reduceat(counts, np.arange(0, len(counts), every))
            borders = np.append(borders[:-1:every], borders[-1])
        filled = np.flatnonzero(counts)
        first, last = max(int(filled[0]) - 1, 0), int(filled[-1]) + 1
        histogram = _summaries.HistogramProto(
            min=array.min(),
            max=array.max(),
            num=array.size,
            sum=array.sum(),
            sum_squares=array @ array,
            bucket_limit=borders[first + 1 : last + 1].tolist(),
            bucket=counts[first:last].tolist(),
        )
        self._add(_summaries.Summary.Value(tag=tag, histo=histogram), global_step, walltime)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Log an image: uint8, or floats from 0 to 1, with axes as ``dataformats`` names them."""
        pixels = _pixels("add_image", img_tensor, dataformats)
        height, width, channels = pixels.shape
        image = _summaries.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=_png(pixels)
        )
        self._add(_summaries.Summary.Value(tag=tag, image=image), global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Log a batch of images as one, side by side."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Log figures of matplotlib's as images; with ``close``, they are closed."""
        images = []
        for f in figure if isinstance(figure, (list, tuple)) else [figure]:
            f.canvas.draw()
            images.append(np.asarray(f.canvas.buffer_rgba())[..., :3])
            if close:
                importlib.import_module("matplotlib.pyplot").close(f)
        self.add_image(tag, np.stack(images), global_step, walltime, "NHWC")

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Log a text, in Markdown."""
        content = _texts.TextPluginData(version=0).SerializeToString()
        plugin = _summaries.SummaryMetadata.PluginData(plugin_name="text", content=content)
        shape = _shapes.TensorShapeProto(dim=[_shapes.TensorShapeProto.Dim(size=1)])
        tensor = _tensors.TensorProto(dtype="DT_STRING", string_val=[text_string.encode()], tensor_shape=shape)
        metadata = _summaries.SummaryMetadata(plugin_data=plugin)
        value = _summaries.Summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)
        self._add(value, global_step, walltime)

    def flush(self) -> None:
        """Write what was held back."""
        for f in self._files.values():
            f.flush()

    def close(self) -> None:
        """Write what was held back, and close the files; logging again opens new ones."""
        for f in self._files.values():
            f.close()
        self._files.clear()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _event(step: int | None, walltime: float | None, **content: Any) -> Any:
    event = _events.Event(wall_time=time.time() if walltime is None else walltime, **content)
    if step is not None:
        event.step = int(step)
    return event


def _borders() -> list[float]:
    """Borders from -1e20 to 1e20, each a tenth further from zero than the one before."""
    up = [1e-12]
    while up[-1] < 1e20:
        up.append(up[-1] * 1.1)
    return [*(-v for v in reversed(up)), 0.0, *up]
