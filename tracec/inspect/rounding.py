"""Whether two computations of a value are the same but for rounding.

A program adds in another order than NumPy does, keeps 16-bit floats wider between steps, and has other digits at the
end of a sine. How much of that shows in a result depends on the steps in between: a difference of nearly equal numbers
magnifies it, and a comparison makes another branch of it. So a value that is not equal at once is judged by what comes
out when each step of the graph is rounded otherwise, at random, a few times: as far as these are from the eager value
the program's may be too. Values that no rounding changes, such as integers and random bits, have to be equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.ir.operator import Operator

#: Computations with other roundings.
_RUNS = 4
#: Units in the last place by which a step may be off; those of vector libraries are within four.
_ULPS = 4.0
#: How much farther than the other roundings a value may be.
_MARGIN = 4.0
#: Most terms of a sum that are taken into account.
_TERMS = 1 << 14
#: Operators that round nothing.
_EXACT = frozenset({
    "constant", "neg", "abs", "sign", "where", "maximum", "minimum", "max", "min", "cummax", "cummin", "copysign",
    "floor", "ceil", "round", "trunc", "index", "iota", "index_combine", "nextafter",
})  # fmt: skip
_EXACT_FAMILIES = frozenset({"view", "random"})
_SUMS = frozenset({"contraction", "reduction", "scan", "linalg", "fourier"})


class Expected(NamedTuple):
    """A value as eager rules compute it.

    Attributes:
        value: The value.
        others: The same with other roundings.
    """

    value: Any
    others: tuple[Any, ...] = ()

    def wrong(self, found: Any) -> Any:
        """Where a value is not this one, as an array of truth values; None where it is of another type."""
        return differing(on_host(found), on_host(self.value), [on_host(o) for o in self.others])


def on_host(value: Any) -> Any:
    """An array of NumPy's."""
    return value.get() if hasattr(value, "get") else np.asarray(value)


def eps_of(dtype: np.dtype[Any]) -> float:
    """The distance from 1 to the next number; 0 for types without rounding."""
    if dtype.kind in "fc":
        return float(np.finfo(dtype).eps)
    finfo: Any = ml_dtypes.finfo
    return float(finfo(dtype).eps) if dtype.kind == "V" or dtype.name == "bfloat16" else 0.0


def differing(found: Any, value: Any, others: Sequence[Any]) -> Any:
    """Where an array differs from another by more than rounding explains; None where its type or shape is another.

    Args:
        found: The array.
        value: What it ought to be.
        others: What it ought to be, with other roundings.
    """
    if found.shape != value.shape or found.dtype != value.dtype:
        return None
    eps = eps_of(value.dtype)
    if not eps:
        wrong = found != value
        for other in others:
            wrong &= other == value
        return wrong
    wide: Any = np.complex128 if value.dtype.kind == "c" else np.float64
    found, value = found.astype(wide), value.astype(wide)
    with np.errstate(all="ignore"):
        spread = np.zeros(value.shape)
        for other in others:
            spread = np.maximum(spread, np.abs(other.astype(wide) - value))  # NaN stays: it is no number there
        allowed = 2 * _ULPS * eps * np.abs(value) + _MARGIN * spread
        near = (np.abs(found - value) <= allowed) | (found == value)
    unknown = ~np.isfinite(spread)
    return ~(near | (np.isnan(found) & np.isnan(value)) | unknown)


def expected(graph: Graph, nodes: Sequence[Node], arrays: Sequence[Any]) -> list[Expected]:
    """Values of some nodes, by eager rules and with other roundings.

    Args:
        graph: The graph.
        nodes: Which of its nodes.
        arrays: A value for each of its inputs.
    """
    asked = Graph(graph.inputs, tuple(nodes), graph.name)
    with np.errstate(all="ignore"):
        runs = [evaluate(asked, arrays), *(evaluate(asked, arrays, _Rounded(seed)) for seed in range(_RUNS))]
    return [Expected(values[0], tuple(values[1:])) for values in zip(*runs, strict=True)]


class _Rounded:
    """Eager rules whose results are off at random, by as much as rounding may."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, op: Operator, operands: Sequence[Any], params: Mapping[str, Any], node: Node) -> Any:
        xp = _module(operands)
        if op.name == "constant":
            return xp.asarray(params["value"], dtype=node.dtype.numpy)
        eps = eps_of(node.dtype.numpy)
        rounds = eps and op.name not in _EXACT and op.family not in _EXACT_FAMILIES
        if rounds and (op.family in _SUMS or op.name == "index_put"):
            # The error of a sum of n terms grows as the root of n; that of terms at random is divided by it.
            ulps = min(_terms(operands, node), _TERMS)
            operands = [self._off(x, eps * ulps, xp) for x in operands]
        result = xp.asarray(op.eager(xp, *operands, **params))
        return self._off(result, _ULPS * eps, xp) if rounds else result

    def _off(self, x: Any, relative: float, xp: Any) -> Any:
        if not eps_of(x.dtype):
            return x
        noise = xp.asarray(1 + relative * self._random.uniform(-1, 1, x.shape))
        with np.errstate(all="ignore"):
            return (x * noise).astype(x.dtype)


def _module(operands: Sequence[Any]) -> Any:
    for x in operands:
        if type(x).__module__.startswith("cupy"):
            from tracec.record.backend import module

            return module("cuda")
    return np


def _terms(operands: Sequence[Any], node: Node) -> float:
    """About how many terms a sum has."""
    size = max(node.type.size, 1)
    if node.op.family == "contraction":
        return math.sqrt(max(math.prod(max(x.size, 1) for x in operands[:2]) / size, 1))
    return max(*(x.size for x in operands), size) / size if node.op.family != "scan" else float(max(node.shape or (1,)))
