"""Tensors as text, in PyTorch's form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracec.ir import dtype as dt
from tracec.record.backend import to_device
from tracec.record.cell import Cell
from tracec.record.state import STATE
from tracec.record.tape import edge_of

_WIDTH = 80
_THRESHOLD = 1000
_EDGE = 3


class _Form:
    """How the elements of a tensor are written, all in one width."""

    def __init__(self, shown: Any) -> None:
        self.kind = "f" if shown.dtype.kind not in "biu" else shown.dtype.kind
        self.text = "{}"
        values = shown.reshape(-1)
        if self.kind == "f":
            values = values.astype(np.float64)
            # Zeros, infinities and NaN have no say in the width.
            values = values[np.isfinite(values) & (values != 0)]
            self._choose(values)
        self.width = max((len(self(v)) for v in values), default=0)

    def _choose(self, values: Any) -> None:
        sizes = np.abs(values)
        self.text = "{:.4f}"
        if not sizes.size:
            self.text = "{:.0f}."
            return
        low, high = float(sizes.min()), float(sizes.max())
        whole = bool((sizes == np.ceil(sizes)).all())
        if high / low > 1000 or high > 1e8 or (not whole and low < 1e-4):
            self.text = "{:.4e}"
        elif whole:
            self.text = "{:.0f}."

    def __call__(self, value: Any) -> str:
        if self.kind == "f":
            value = float(value)
            return self.text.format(value) if math.isfinite(value) else str(value)
        return str(bool(value)) if self.kind == "b" else str(int(value))


def _edges(array: Any) -> Any:
    """The elements that are shown when the middle is left out."""
    for axis in range(array.ndim):
        if array.shape[axis] > 2 * _EDGE:
            array = np.concatenate(
                [array.take(range(_EDGE), axis), array.take(range(array.shape[axis] - _EDGE, array.shape[axis]), axis)],
                axis,
            )
    return array


def _lines(array: Any, form: _Form, indent: int, shorten: bool) -> str:
    if not array.ndim:
        return form(array[()])
    cut = shorten and len(array) > 2 * _EDGE
    kept = [*range(_EDGE), None, *range(len(array) - _EDGE, len(array))] if cut else list(range(len(array)))
    if array.ndim == 1:
        per_line = max(1, (_WIDTH - indent) // (form.width + 2))
        words = [" ..." if i is None else form(array[i]).rjust(form.width) for i in kept]
        rows = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
    parts = ["..." if i is None else _lines(array[i], form, indent + 1, shorten) for i in kept]
    return "[" + str("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def format_tensor(x: Cell, name: str = "tensor") -> str:
    """The tensor as text: elements, and dtype, device and history where they are not the usual ones."""
    array = to_device(x._array, "cpu")
    if STATE.recorder is not None:
        STATE.recorder.decide(x, array, "print")
    prefix = name + "("
    dtype = dt.of_numpy(array.dtype)
    shorten = array.size > _THRESHOLD
    notes = []
    if array.size:
        body = _lines(array, _Form(_edges(array) if shorten else array), len(prefix), shorten)
        usual = dtype in (dt.float32, dt.int64, dt.bool_)
    else:
        body = "[]"
        usual = dtype is dt.float32
        if array.ndim != 1:
            notes.append(f"size={tuple(array.shape)}")
    if x._device != "cpu":
        notes.append(f"device='{x._device}'")
    if not usual:
        notes.append(f"dtype={dtype!r}")
    history = edge_of(x)
    if history is x:
        notes.append("requires_grad=True")
    elif history is not None:
        notes.append(f"grad_fn=<{history.name() if hasattr(history, 'name') else 'CopyBackwards'}>")
    text = prefix + body
    for note in notes:
        last = len(text) - text.rfind("\n") - 1
        text += (", " if last + len(note) + 3 <= _WIDTH else ",\n" + " " * len(prefix)) + note
    return text + ")"
