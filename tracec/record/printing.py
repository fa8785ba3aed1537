"""Tensors as text, in PyTorch's form and with its options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.ir.number import observe
from tracec.record import promote
from tracec.record.backend import CPU, META, get_default_device
from tracec.record.cell import Cell
from tracec.record.deferred import settled
from tracec.record.late import to_host
from tracec.record.state import STATE
from tracec.record.tape import edge_of


@dataclass(slots=True)
class PrintOptions:
    """How tensors are written.

    Attributes:
        precision: Digits after the point.
        threshold: Most elements that are all shown.
        edgeitems: Elements at either end of an axis where the middle is left out.
        linewidth: Characters in a line.
        sci_mode: Whether floats are written with exponents; None leaves it to the values.
    """

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


OPTIONS = PrintOptions()

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Say how tensors are written from here on.

    Args:
        precision: Digits after the point; 4 at first.
        threshold: Most elements that are all shown; 1000 at first.
        edgeitems: Elements at either end of an axis where the middle is left out; 3 at first.
        linewidth: Characters in a line; 80 at first.
        profile: ``default``, ``short`` or ``full``: values for all of these, which those given replace.
        sci_mode: Whether floats are written with exponents; None, also when left out, leaves it to the values.

    Raises:
        ArgumentError: there is no such profile.
    """
    if profile is not None and profile not in _PROFILES:
        raise ArgumentError(
            f"set_printoptions: profile={profile!r} is not known", hint="use 'default', 'short' or 'full'"
        )
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    chosen = {**_PROFILES.get(profile or "", {}), **{k: v for k, v in given.items() if v is not None}}
    observe("how tensors are written, which it changes by set_printoptions")
    for name, value in chosen.items():
        setattr(OPTIONS, name, value)
    OPTIONS.sci_mode = sci_mode


class _Form:
    """How the elements of a tensor are written, all in one width.

    Args:
        shown: The elements that have a say in it: bools, integers or floats.
    """

    def __init__(self, shown: Any) -> None:
        self.floating = shown.dtype.kind not in "biu"
        self.exponent = False
        self.whole = True
        self.width = 1
        values = shown.reshape(-1)
        if self.floating:
            # Zeros, infinities and NaN have no say.
            values = values[np.isfinite(values) & (values != 0)]
            if values.size:
                self._choose(values, np.abs(values))
        self.width = max((len(self._plain(v)) for v in values.tolist()), default=1)

    def _choose(self, values: Any, sizes: Any) -> None:
        low, high = float(sizes.min()), float(sizes.max())
        self.whole = bool((values == np.ceil(values)).all())
        wide = high / low > 1000 or high > 1e8 or low < 1e-4
        self.exponent = wide if OPTIONS.sci_mode is None else OPTIONS.sci_mode

    def _plain(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.exponent:
            return f"{value:.{OPTIONS.precision}e}"
        if not self.whole:
            return f"{value:.{OPTIONS.precision}f}"
        return f"{value:.0f}" + ("." if math.isfinite(value) else "")

    def __call__(self, value: Any) -> str:
        return self._plain(value).rjust(self.width)


class _ComplexForm:
    """The same for complex numbers: real and imaginary parts each in a form of their own."""

    def __init__(self, shown: Any) -> None:
        self.real, self.imag = _Form(shown.real), _Form(shown.imag)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: Any) -> str:
        imag = self.imag(value.imag).lstrip() + "j"
        return self.real(value.real) + ("" if imag[0] in "+-" else "+") + imag


def _edges(array: Any) -> Any:
    """The elements that are shown where the middle is left out."""
    edge = OPTIONS.edgeitems
    for axis, size in enumerate(array.shape):
        if size > 2 * edge:
            array = array.take([*range(edge), *range(size - edge, size)], axis)
    return array


def _lines(array: Any, form: Any, indent: int, shorten: bool) -> str:
    if not array.ndim:
        return form(array.item())  # type: ignore[no-any-return]
    edge, size = OPTIONS.edgeitems, len(array)
    cut = shorten and size > 2 * edge
    if array.ndim == 1:
        if shorten and not edge:
            return "[...]"
        words = [form(v) for v in array[:edge].tolist()] + [" ..."] + [form(v) for v in array[size - edge :].tolist()]
        if not cut:
            words = [form(v) for v in array.tolist()]
        per_line = max(1, (OPTIONS.linewidth - indent) // (form.width + 2))
        rows = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
    kept = [*range(edge), None, *range(size - edge, size)] if cut else list(range(size))
    parts = ["..." if i is None else _lines(array[i], form, indent + 1, shorten) for i in kept]
    gap: str = "," + "\n" * (array.ndim - 1) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def _elements(array: Any, indent: int) -> str:
    if not array.size:
        return "[]"
    if array.dtype.kind not in "biufc":  # NumPy knows bfloat16 by name only
        array = array.astype(np.float32)
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
    shorten = array.size > OPTIONS.threshold
    shown = _edges(array) if shorten else array
    form: Any = _ComplexForm(shown) if array.dtype.kind == "c" else _Form(shown)
    return _lines(array, form, indent, shorten)


def _notes(x: Cell, array: Any) -> list[str]:
    """What is said behind the elements: size, dtype, device and history where they are not the usual ones."""
    dtype = dt.of_numpy(array.dtype)
    shown = array.size and x._device is not META
    usual = [promote.DEFAULT_FLOAT, dt.int64, dt.bool_] if shown else [promote.DEFAULT_FLOAT]
    notes = []
    if x._device.type != get_default_device().type or x._device is META:
        notes.append(f"device='{x._device}'")
    if x._device is META or (not array.size and array.ndim != 1) or (array.size and not OPTIONS.edgeitems):
        notes.append(f"size={tuple(array.shape)}")
    if dtype not in usual and not (array.size and dtype.kind == "c" and dtype.itemsize == 2 * usual[0].itemsize):
        notes.append(f"dtype={dtype!r}")
    history = edge_of(x)
    if history is x:
        notes.append("requires_grad=True")
    elif history is not None:
        notes.append(f"grad_fn=<{history.name() if hasattr(history, 'name') else 'CopyBackwards'}>")
    return notes


def _on_host(x: Cell) -> Any:
    array = settled(x._array)
    return array if x._device == CPU else to_host(array)


def format_tensor(x: Cell, name: str = "tensor") -> str:
    """The tensor as text: elements, and dtype, device and history where they are not the usual ones."""
    shown = None if STATE.recorder is None else STATE.recorder.shown(x)
    if shown is not None:
        return shown
    prefix = name + "("
    if x._device is META:
        return _with_notes(prefix + "...", _notes(x, x._array), len(prefix)) + ")"
    array = _on_host(x)
    if STATE.recorder is not None:
        STATE.recorder.decide(x, array, "print")
    return _with_notes(prefix + _elements(array, len(prefix)), _notes(x, array), len(prefix)) + ")"


def _with_notes(text: str, notes: list[str], indent: int, below: bool = False) -> str:
    """Text with notes behind it, on lines of their own where they are too long; the first one ``below`` in any case."""
    parts = [text]
    length = len(text) - text.rfind("\n") + 1
    for note in notes:
        if below or length + len(note) + 2 > OPTIONS.linewidth:
            parts.append(",\n" + " " * indent + note)
            length, below = indent + len(note), False
        else:
            parts.append(", " + note)
            length += len(note) + 2
    return "".join(parts)


def format_parts(x: Any, parts: dict[str, Any], notes: list[str], layout: list[str], below: bool = False) -> str:
    """A tensor that is made of others as text.

    Args:
        x: The tensor; what its elements say of device and history is said of it.
        parts: The tensors by name, the elements last.
        notes: What is said first of the whole.
        layout: What is said of it behind its dtype.
        below: Whether notes begin a line.
    """
    prefix, shown = "tensor(", []
    for name, part in parts.items():
        head = f"{name}=tensor("
        array = _on_host(part)
        if STATE.recorder is not None:
            STATE.recorder.decide(part, array, "print")
        empty = "" if array.size else f", size={tuple(array.shape)}"
        shown.append(f"{head}{_elements(array, len(prefix) + len(head))}{empty})")
    said = _notes(part, array)
    history = [n for n in said if n.startswith(("requires_grad", "grad_fn"))]
    device = [n for n in said if n.startswith("device")]
    dtype = [n for n in said if n.startswith("dtype")]
    text = prefix + (",\n" + " " * len(prefix)).join(shown)
    return _with_notes(text, [*device, *notes, *dtype, *layout, *history], len(prefix), below) + ")"
