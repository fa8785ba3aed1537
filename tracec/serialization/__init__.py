"""Saving and loading. A file is one of safetensors whose text describes how the tensors hang together.

A plain dictionary of tensors, as a module's ``state_dict()`` is, is written under its own names, so that whatever
reads safetensors reads it. Loading never runs anything that is in a file, PyTorch's own files included.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tracec.errors import ArgumentError, ArgumentTypeError, DeviceError, DTypeError, FolderMissingError, name_missing
from tracec.functions import from_numpy
from tracec.ir import dtype as dt
from tracec.record.backend import Device
from tracec.record.tensor import Tensor
from tracec.serialization import pytorch, tensors
from tracec.serialization.structure import Placement, Reader, Writer
from tracec.serialization.trust import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
    skip_data,
)

File = str | os.PathLike[str] | IO[bytes]
#: Where tensors are to be: a device, one for each device of the file, or a function of a tensor and its device.
MapLocation = str | Device | Mapping[str, str] | Callable[[Tensor, str], Any] | None
#: PyTorch's name of it, for annotations.
MAP_LOCATION = MapLocation

#: The key of the text that describes the structure.
STRUCTURE = "tracec"


def save(obj: Any, f: File, pickle_module: Any = None, pickle_protocol: Any = None) -> None:
    """Write a value to a file.

    Args:
        obj: Tensors, numbers, strings, and lists, tuples, sets and dictionaries of them, nested at will; the
            ``state_dict()`` of a module, an optimiser, a scheduler.
        f: A path, or a file that is open for writing bytes. At a path the new contents take the place of former ones
            when all of it is written.
        pickle_module: PyTorch's argument; nothing is pickled here.
        pickle_protocol: Likewise.

    Raises:
        ArgumentTypeError: a part of it cannot be written, or ``f`` is no file.
        FolderMissingError: the folder of the path does not exist.
    """
    writer = Writer()
    described = writer.write(obj)
    arrays, complex_ = {}, []
    for name, a in writer.arrays.items():
        if a.dtype.kind == "c":  # which the format does not have
            complex_.append(name)
            a = a.reshape(*a.shape, 1).view(a.real.dtype)
        arrays[name] = a
    if skip_data.active:
        arrays = {name: np.zeros_like(a) for name, a in arrays.items()}
    for name, a in arrays.items():
        try:
            dt.of_numpy(a.dtype)
        except DTypeError:
            raise ArgumentTypeError(f"save: {name} is an array of {a.dtype}", hint="save numbers and strings") from None
    text = json.dumps({"value": described, "complex": complex_})
    _put(tensors.to_bytes(arrays, {STRUCTURE: text}), f)


def load(
    f: File, map_location: MapLocation = None, pickle_module: Any = None, *, weights_only: bool | None = None,
    mmap: bool | None = None, **pickle_load_args: Any,
) -> Any:  # fmt: skip
    """Read what `save`, ``torch.save`` or safetensors wrote.

    Args:
        f: A path, or a file that is open for reading bytes.
        map_location: Where tensors are to be: a device; a dictionary from devices of the file to others; or a function
            that is given a tensor on the CPU and its device in the file, and gives the tensor where it is wanted. By
            default they go where they were.
        pickle_module: PyTorch's argument; nothing is unpickled by it.
        weights_only: PyTorch's argument; loading is always that safe.
        mmap: PyTorch's argument; the file is read whole.
        **pickle_load_args: PyTorch's arguments for pickles, without a meaning here.

    Raises:
        ArgumentError: the file is damaged, of a kind that is not known, or names things that would have to be run.
        DeviceError: a tensor was on a GPU, there is none, and ``map_location`` does not say where to put it.
    """
    data, where = _contents(f)
    place = _placement(map_location)
    if data[:4] == b"PK\x03\x04" or pytorch.is_old(data):
        return pytorch.read(data, where, place)
    if len(data) < 9 or data[8:9] != b"{":
        raise ArgumentError(
            f"load: {where} is neither a safetensors file nor one of torch.save",
            hint="pickles of other programs are not read" if data[:1] == b"\x80" else "",
        )
    arrays, metadata = tensors.from_bytes(data, where)
    if STRUCTURE not in metadata:
        return {name: place(from_numpy(a), "cpu") for name, a in arrays.items()}
    described = json.loads(metadata[STRUCTURE])
    for name in described["complex"]:
        a = arrays[name]
        arrays[name] = a.view(dt.complex64.numpy if a.itemsize == 4 else dt.complex128.numpy).reshape(a.shape[:-1])
    return Reader(arrays, place).read(described["value"])


def _put(data: bytes, f: File) -> None:
    if hasattr(f, "write"):
        f.write(data)
        return
    try:
        path = Path(os.fspath(f))
    except TypeError:
        raise ArgumentTypeError(f"save: {type(f).__name__} is neither a path nor a file", hint="give a path") from None
    if not path.parent.is_dir():
        raise FolderMissingError(
            f"save: the folder {path.parent} does not exist", hint="make it first, with os.makedirs"
        )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _contents(f: File) -> tuple[bytes, str]:
    if hasattr(f, "read"):
        data = f.read()
        if not isinstance(data, bytes):
            raise ArgumentTypeError("load: the file is open for reading text", hint="open it with mode 'rb'")
        return data, str(getattr(f, "name", "the file"))
    try:
        path = os.fspath(f)
    except TypeError:
        raise ArgumentTypeError(f"load: {type(f).__name__} is neither a path nor a file", hint="give a path") from None
    with open(path, "rb") as file:
        return file.read(), str(path)


def _placement(map_location: MapLocation) -> Placement:
    """What `map_location` asks for."""

    def there(x: Tensor, location: str) -> Tensor:
        try:
            return x.to(location) if location != "cpu" else x
        except DeviceError as error:
            raise DeviceError(
                f"load: a tensor was saved on {location}: {error.message}", hint="give map_location='cpu'"
            ) from None

    if map_location is None:
        return there
    if isinstance(map_location, Mapping):
        return lambda x, location: there(x, str(map_location.get(location, location)))
    if callable(map_location):
        choose = map_location

        def chosen(x: Tensor, location: str) -> Tensor:
            found = choose(x, location)
            return found if isinstance(found, Tensor) else there(x, location)

        return chosen
    wanted = str(Device(map_location))
    return lambda x, location: there(x, wanted)


def get_unsafe_globals_in_checkpoint(f: File) -> list[str]:
    """What a file of ``torch.save`` names that `load` would refuse to call; nothing of it is run.

    Raises:
        ArgumentError: it is no such file.
    """
    data, where = _contents(f)
    if data[:4] != b"PK\x03\x04" and not pytorch.is_old(data):
        raise ArgumentError(
            f"get_unsafe_globals_in_checkpoint: {where} is no file of torch.save",
            hint="files of tracec.save name nothing",
        )
    return pytorch.unknown_names(data)


#: The protocol of pickles that programs give to ``save``, which takes it with no effect: files are safetensors.
DEFAULT_PROTOCOL = 2

__all__ = [
    "DEFAULT_PROTOCOL", "add_safe_globals", "clear_safe_globals", "get_safe_globals",
    "get_unsafe_globals_in_checkpoint", "load", "safe_globals", "save", "skip_data",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
