"""Files of the safetensors format: tensors by name, and a text beside them.

``safetensors`` (https://github.com/huggingface/safetensors) reads and writes them; it never runs what is in a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions import from_numpy
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.tensor import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

_DTYPES: dict[str, DType] = {
    "BOOL": dt.bool_, "U8": dt.uint8, "I8": dt.int8, "U16": dt.uint16, "I16": dt.int16, "U32": dt.uint32,
    "I32": dt.int32, "U64": dt.uint64, "I64": dt.int64, "F16": dt.float16, "BF16": dt.bfloat16, "F32": dt.float32,
    "F64": dt.float64,
}  # fmt: skip


def to_bytes(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """The file's contents."""
    whole = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    return bytes(safetensors.numpy.save(whole, dict(metadata) or None))


def from_bytes(data: bytes, where: str) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays in a file's contents, and its text.

    Args:
        data: The contents.
        where: The file, for messages.

    Raises:
        ArgumentError: it is damaged, or holds an element type that tracec does not have.
    """
    try:
        found = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ArgumentError(f"load: {where} is damaged: {error}") from None
    arrays = {}
    for name, described in found:
        if described["dtype"] not in _DTYPES:
            raise ArgumentError(f"load: {where}: tensor {name} is of type {described['dtype']}, which tracec lacks")
        kind = _DTYPES[described["dtype"]].numpy
        arrays[name] = np.frombuffer(bytearray(described["data"]), kind).reshape(described["shape"])
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    return arrays, metadata


def save_file(
    tensors: Mapping[str, Tensor], filename: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:  # fmt: skip
    """Write tensors by name, as ``safetensors.torch.save_file`` does.

    Args:
        tensors: Name → tensor.
        filename: The file.
        metadata: A text for each of some names.

    Raises:
        ArgumentTypeError: something is not a tensor.
    """
    data = save(tensors, metadata)
    with open(filename, "wb") as f:
        f.write(data)


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The contents of a file with these tensors.

    Raises:
        ArgumentTypeError: something is not a tensor, or of an element type that the format does not have.
    """
    arrays = {}
    for name, x in tensors.items():
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(
                f"safetensors: {name} is of type {type(x).__name__}", hint="the format holds tensors only"
            )
        if x.dtype not in _DTYPES.values():
            raise ArgumentTypeError(
                f"safetensors: {name} is {x.dtype.name}, which the format does not have", hint="save view_as_real(...)"
            )
        arrays[name] = x.detach().cpu().numpy()
    return to_bytes(arrays, metadata or {})


def load_file(filename: str | os.PathLike[str], device: Any = "cpu") -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Args:
        filename: The file.
        device: Where to put them.

    Raises:
        ArgumentError: the file is damaged.
    """
    with open(filename, "rb") as f:
        arrays, _ = from_bytes(f.read(), os.fspath(filename))
    return {name: from_numpy(a).to(device) for name, a in arrays.items()}


def load(data: bytes) -> dict[str, Tensor]:
    """The tensors in a file's contents.

    Raises:
        ArgumentError: it is damaged.
    """
    return {name: from_numpy(a) for name, a in from_bytes(data, "the data")[0].items()}
