"""Derivatives of a function where it is checked: by differences, backward and forward, as arrays of real numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracec.autograd import grad
from tracec.errors import ArgumentError, GradcheckError
from tracec.func.forward import pushed
from tracec.functions import tensor
from tracec.functions.common import fail
from tracec.ir.source import warn
from tracec.record.mode import enable_grad
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor
from tracec.utils._pytree import tree_flatten

Function = Callable[..., Any]


class Derivatives:
    """One check of a function's derivatives.

    Elements are real numbers here: a complex one counts as two. So the Jacobian of a function of complex numbers is
    that of its real and imaginary parts, by those of its arguments.

    Args:
        func: The function.
        inputs: Its arguments.
        eps: How far arguments are moved for differences.
        atol: The absolute difference that is allowed.
        rtol: The relative one.
    """

    def __init__(self, func: Function, inputs: tuple[Any, ...], eps: float, atol: float, rtol: float) -> None:
        self.func, self.inputs = func, inputs
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.by = [k for k, x in enumerate(inputs) if isinstance(x, Tensor) and edge_of(x) is not None]
        if not self.by:
            fail(
                ArgumentError,
                "gradcheck expects at least one input tensor to require gradient, but none of the them have "
                "requires_grad=True.",
                "call requires_grad_() on an input",
            )
        for k in self.by:
            if inputs[k].dtype.itemsize < (16 if inputs[k].dtype.is_complex else 8):
                warn(
                    f"gradcheck: Input #{k} requires gradient and is not a double precision floating point or complex. "
                    "This check will likely fail if all the inputs are not of double precision floating point or "
                    "complex.",
                    UserWarning,
                )

        with enable_grad():
            found = self._results(inputs)
        #: Which of the floating results are checked: those that require grad, or all where none does.
        self.which = [k for k, x in enumerate(found) if edge_of(x) is not None] or list(range(len(found)))

    def _results(self, inputs: Sequence[Any]) -> list[Tensor]:
        found = tree_flatten(self.func(*inputs))[0]
        return [x for x in found if isinstance(x, Tensor) and x.dtype.is_differentiable]

    def outputs(self, inputs: Sequence[Any] | None = None) -> list[Tensor]:
        """The results that are checked."""
        found = self._results(self.inputs if inputs is None else inputs)
        return [found[k] for k in self.which]

    # Differences --------------------------------------------------------------------------------------

    def values(self, k: int, moved: Any) -> list[Any]:
        """The results, as arrays of real numbers, with another array in place of an input."""
        given = list(self.inputs)
        given[k] = tensor(moved, device=self.inputs[k].device).requires_grad_()
        with enable_grad():
            return [real(x) for x in self.outputs(given)]

    def differences(self, k: int, direction: Any) -> list[Any]:
        """How results move when an input is moved in a direction: one array of real numbers for each."""
        at = array_of(self.inputs[k])
        step = self.eps * direction.astype(at.dtype)
        high, low = self.values(k, at + step), self.values(k, at - step)
        return [(h - m) / (2 * self.eps) for h, m in zip(high, low, strict=True)]

    def numerical(self, k: int) -> list[Any]:
        """The Jacobians by an input, real elements of the input along the rows."""
        columns = [self.differences(k, d) for d in directions(array_of(self.inputs[k]))]
        if not columns:
            return [np.zeros((0, x.numel() * (2 if x.dtype.is_complex else 1))) for x in self.outputs()]
        return [np.stack(each) for each in zip(*columns, strict=True)]

    # Gradients ----------------------------------------------------------------------------------------

    def analytical(self, j: int) -> list[Any]:
        """The Jacobians of a result by each input, as arrays like those of `numerical`."""
        with enable_grad():
            out = self.outputs()[j]
        like = array_of(out)
        columns: list[list[Any]] = [[] for _ in self.by]
        for seed in directions(like):
            grads = self.pulled(out, tensor(seed, device=out.device))
            for column, g, k in zip(columns, grads, self.by, strict=True):
                column.append(np.zeros(_size(self.inputs[k])) if g is None else real(g))
        return [
            np.stack(c, 1) if c else np.zeros((_size(self.inputs[k]), 0)) for c, k in zip(columns, self.by, strict=True)
        ]

    def pulled(self, out: Tensor, seed: Tensor | None) -> list[Tensor | None]:
        """The gradients of the inputs."""
        if edge_of(out) is None:
            return [None] * len(self.by)
        given = [self.inputs[k] for k in self.by]
        return list(grad(out, given, seed, retain_graph=True, allow_unused=True))

    def pushed(self, k: int, direction: Tensor) -> list[Any]:
        """The tangents of the results when one input moves."""
        tensors = [x for x in self.inputs if isinstance(x, Tensor)]
        at = [i for i, x in enumerate(self.inputs) if isinstance(x, Tensor)]

        def of(*given: Tensor) -> Any:
            every = list(self.inputs)
            for i, x in zip(at, given, strict=True):
                every[i] = x
            return tuple(self.outputs(every))

        moved = [direction if i == k else None for i in at]
        _, spec = tree_flatten(tuple(tensors))
        outputs, found, _, _ = pushed("gradcheck", of, [x.detach() for x in tensors], spec, moved, False)
        return [x.detach() * 0 if t is None else t for x, t in zip(outputs, found, strict=True)]

    def tangents(self, k: int, direction: Any) -> list[Any]:
        """The same of an array, as arrays of real numbers."""
        with enable_grad():
            return [real(t) for t in self.pushed(k, tensor(direction, device=self.inputs[k].device))]

    def compare(self, what: str, j: int, k: int, numerical: Any, analytical: Any) -> None:
        """Refuse what differs."""
        if numerical.shape == analytical.shape and np.allclose(analytical, numerical, self.rtol, self.atol):
            return
        fail(
            GradcheckError,
            f"{what} mismatch for output {j} with respect to input {k},\nnumerical:{tensor(numerical)}\n"
            f"analytical:{tensor(analytical)}\n",
            "rows are elements of the input, columns of the output; a function must be smooth where it is checked",
        )


def array_of(x: Tensor) -> Any:
    """A copy of the elements."""
    return x.detach().cpu().numpy().copy()


def real(x: Tensor) -> Any:
    """The elements as a flat array of real numbers in double precision."""
    return flat(array_of(x))


def _size(x: Tensor) -> int:
    return x.numel() * (2 if x.dtype.is_complex else 1)


def directions(like: Any) -> Any:
    """Arrays of one array's kind with a 1 at one element, or at its imaginary part."""
    for i in range(like.size):
        for part in (1.0, 1j) if like.dtype.kind == "c" else (1.0,):
            found = np.zeros(like.size, like.dtype)
            found[i] = part
            yield found.reshape(like.shape)


def unit(rng: Any, like: Any) -> Any:
    """A random array of one array's kind, of length 1."""
    drawn = rng.normal(size=like.shape)
    if like.dtype.kind == "c":
        drawn = drawn + 1j * rng.normal(size=like.shape)
    return (drawn / max(np.linalg.norm(drawn), 1e-30)).astype(like.dtype)


def flat(array: Any) -> Any:
    """The elements in double precision, complex ones as two."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128).reshape(-1).view(np.float64)
    return array.astype(np.float64).reshape(-1)
