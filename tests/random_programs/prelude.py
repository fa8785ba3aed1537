"""What random programs are written with, and how two runs of one are compared; the head of every script as well."""

from __future__ import annotations

import io
import math  # noqa: F401  programs use it
import random
from contextlib import redirect_stdout
from dataclasses import dataclass

import numpy as np

import tracec
from tracec import nn  # noqa: F401  programs use it


class Box:
    """An object with attributes."""


@dataclass
class Pair:
    """An object with fields."""

    t: object
    by: float = 2.0


def boxed(t):
    """A tensor in an object that is made for it."""
    box = Box()
    box.t, box.by = t, 2.0
    return box


def opened(value):
    """The tensor in what `boxed` and its like give, times two."""
    if isinstance(value, dict):
        return value["t"] * value["by"]
    return value[0] * value[1] if isinstance(value, list) else value.t * value.by


def data(*shape, seed=0, dtype=np.float32, grad=False):
    """Multiples of a quarter, of which sums and most products are exact in any order."""
    values = np.random.default_rng(seed).integers(-6, 7, shape) / 4
    return tracec.tensor(values.astype(dtype), requires_grad=grad)


def fit(y, x):
    """What may be combined with x: y, or its sum."""
    return y if y.shape == x.shape else y.sum()


def flat(x):
    return x.reshape(-1)


def row(x, i):
    return x[i % len(x)] if x.ndim and len(x) else x


def rest(x, i):
    return x[i % (len(x) + 1) :] if x.ndim else x


def tensors(value):
    """All tensors in a nested value."""
    if isinstance(value, tracec.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors(v)]
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors(v)]
    return tensors(vars(value)) if isinstance(value, Box) else []


def back(value):
    """Go back from all results that gradients flow to."""
    found = [t for t in tensors(value) if t.requires_grad and t.is_floating_point()]
    if found:
        sum((t.double() * t.double()).sum() for t in found).backward()


def first(value, otherwise):
    """The first tensor of a result."""
    return (*tensors(value), otherwise)[0]


def turn(value, by):
    """Multiply the first result in place, with gradients."""
    for t in tensors(value)[:1]:
        t.mul_(by)


def write(value, by):
    """Write into the first result."""
    found = tensors(value)
    with tracec.no_grad():
        for t in found[:1]:
            t.add_(by) if t.dtype != tracec.bool else t.logical_not_()


class Run:
    """What is seen of one run of a program."""

    def __init__(self, wrap):
        self.wrap = wrap
        self.seen = []
        self.known = []

    def attempt(self, what, *args, **kwargs):
        """Call, and note the class of an exception."""
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                return what(*args, **kwargs)
        except Exception as error:
            self.seen.append(("raises", type(error).__name__))
            return None
        finally:
            if printed.getvalue():
                self.seen.append(("prints", printed.getvalue()))

    def see(self, **values):
        """Note all that can be seen of values: structure, elements, flags, gradients, and what shares memory."""
        for name, value in values.items():
            self._see(name, value)
        for t in self.known:  # also what was given before
            self._memory(t)

    def _see(self, name, value):
        if isinstance(value, tracec.Tensor):
            at = next((k for k, t in enumerate(self.known) if t is value), len(self.known))
            if at == len(self.known):
                self.known.append(value)
            self.seen.append((name, type(value).__name__, at))
        elif isinstance(value, (list, tuple)):
            self.seen.append((name, type(value).__name__, len(value)))
            for k, v in enumerate(value):
                self._see(f"{name}[{k}]", v)
        elif isinstance(value, dict):
            self.seen.append((name, type(value).__name__, list(value)))
            for k, v in value.items():
                self._see(f"{name}[{k!r}]", v)
        elif isinstance(value, np.ndarray):
            self.seen.append((name, str(value.dtype), value.shape))
            self.seen.append(np.array(value, np.float64))
        elif type(value) is float:
            self.seen.append((name, "float"))
            self.seen.append(np.array(value))
        elif isinstance(value, Box):
            self._see(name, vars(value))
        elif isinstance(value, (bool, int, float, str, type(None))):
            self.seen.append((name, value))
        else:
            self.seen.append((name, "callable" if callable(value) else type(value).__name__))

    def _memory(self, t):
        first = next(k for k, other in enumerate(self.known) if other._storage is t._storage)
        flags = (t.requires_grad, t.is_leaf)
        strides = tuple(s for s, n in zip(t.stride(), t.shape, strict=True) if n > 1 and t.numel())
        self.seen.append(("tensor", str(t.dtype), tuple(t.shape), strides, flags, first))
        self.seen.append(np.array(t.detach().double().cpu().numpy()))
        if t.is_leaf and t.grad is not None:
            self.seen.append(("grad", str(t.grad.dtype)))
            self.seen.append(np.array(t.grad.detach().double().cpu().numpy()))


def run(program, wrap):
    """What is seen of a program."""
    tracec.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    found = Run(wrap)
    try:
        program(found)
    finally:
        tracec.set_default_dtype(tracec.float32)
        tracec.set_grad_enabled(True)
    found.seen.append(("states of generators", repr(random.getstate()), repr(np.random.get_state())))
    return found.seen


def difference(eager, compiled):
    """The first difference between two runs: its kind, and in words; None where there is none."""
    for k, (a, b) in enumerate(zip(eager, compiled, strict=False)):
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape:
            if np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True):
                continue
            kind = "values"
        elif isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
            kind = "shapes"
        elif repr(a) == repr(b):
            continue
        else:
            kind = next(
                (str(v) for v in (a, b) if v[0] == "raises"), a[0] if a[0] in ("tensor", "grad") else "structure"
            )
        of = next((v for v in reversed(eager[:k]) if isinstance(v, tuple)), "") if kind == "values" else ""
        return kind, f"observation {k}: eager {a!r}, compiled {b!r} {of}"
    if len(eager) != len(compiled):
        return "length", f"{len(eager)} observations eager, {len(compiled)} compiled"
    return None
