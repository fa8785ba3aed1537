"""From a list of samples to one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tracec.errors import ArgumentTypeError, KeyMissingError, ShapeError
from tracec.functions import from_numpy, stack, tensor
from tracec.record.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Put samples together along a new first axis.

    Args:
        batch: Samples of one structure: tensors, arrays or numbers, or tuples, lists, named tuples and mappings
            of them. Strings and bytes stay a list.

    Returns:
        The structure of a sample with tensors in place of tensors, arrays and numbers. Tuples come back as
        lists, as in PyTorch. Python floats become float64, integers int64.

    Raises:
        ArgumentTypeError: there is something else in a sample.
        ShapeError: tensors differ in shape, or sequences in length.
        KeyMissingError: a mapping has not all keys of the first one.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _tensors(batch)
    if isinstance(first, np.ndarray) and first.dtype.kind not in "OSUV":
        return from_numpy(_stacked(batch))
    if isinstance(first, np.generic) and first.dtype.kind not in "OSUV":
        return from_numpy(np.asarray(batch))
    if isinstance(first, float):
        return from_numpy(np.asarray(batch, np.float64))
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        _check_keys(batch)
        return _mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(column) for column in _columns(batch)))
    if isinstance(first, Sequence):
        return _sequence(first, [default_collate(column) for column in _columns(batch)])
    raise ArgumentTypeError(
        f"default_collate: samples must contain tensors, arrays, numbers, dicts or lists; {type(first)} found",
        hint="give the DataLoader a collate_fn of your own",
    )


def default_convert(data: Any) -> Any:
    """A sample by itself, with tensors for its arrays and NumPy's numbers.

    Args:
        data: Anything; tuples, lists, named tuples and mappings are looked into, and tuples come back as lists.
    """
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "OSUV" else from_numpy(np.asarray(data))
    if isinstance(data, Mapping):
        return _mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence(data, list(map(default_convert, data)))
    return data


def _tensors(batch: Sequence[Tensor]) -> Tensor:
    if all(t.device == "cpu" and not t.requires_grad for t in batch):
        # One copy, instead of an operation for each sample.
        return from_numpy(_stacked([t.numpy() for t in batch]))
    return stack(list(batch))


def _stacked(arrays: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise ShapeError(
            f"default_collate: samples have shapes {' and '.join(map(str, sorted(shapes)))}",
            hint="pad them to one shape, or give the DataLoader a collate_fn of your own",
        )
    return np.stack(arrays)


def _columns(batch: Sequence[Any]) -> list[tuple[Any, ...]]:
    sizes = {len(sample) for sample in batch}
    if len(sizes) > 1:
        raise ShapeError(
            f"default_collate: each element in list of batch should be of equal size, not {sorted(sizes)}",
            hint="give the DataLoader a collate_fn of your own",
        )
    return list(zip(*batch, strict=True))


def _check_keys(batch: Sequence[Mapping[Any, Any]]) -> None:
    for k, sample in enumerate(batch):
        for key in batch[0]:
            if key not in sample:
                raise KeyMissingError(
                    f"default_collate: sample {k} of the batch has no key {key!r}, as the first one has",
                    hint="give all samples the same keys, or the DataLoader a collate_fn of your own",
                )


def _mapping(like: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    try:
        return type(like)(values)  # type: ignore[call-arg]
    except TypeError:  # its constructor takes something else
        return values


def _sequence(like: Sequence[Any], values: list[Any]) -> Any:
    if isinstance(like, (tuple, list)):
        return values
    try:
        return type(like)(values)  # type: ignore[call-arg]
    except TypeError:  # range, for one
        return values
