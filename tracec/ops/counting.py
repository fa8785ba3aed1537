"""Random counts: Poisson and binomial numbers, drawn by NumPy from a few random bits.

They are a function of four random words, which key a generator, and of the parameters: the same in eager and
compiled runs and on every device, for one version of NumPy. Rejection takes a number of steps that no kernel
could know beforehand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.errors import DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import OPERATORS, Arg, Operator, Sample, not_differentiable
from tracec.ir.types import TensorType
from tracec.ops.base import primitive
from tracec.ops.view import concatenate, reshape, slice

#: Rates above are more than NumPy's integers hold.
_LARGEST = 9.2e18
#: How many random words a variate is a function of.
WORDS = 4


def _host(xp: Any, x: Any) -> Any:
    return x if xp is np else x.get()


def _generator(xp: Any, words: Any) -> np.random.Generator:
    """A generator keyed by random words."""
    key = np.ascontiguousarray(_host(xp, words)).view(np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def variate_type(*operands: TensorType) -> TensorType:
    """Parameters of one floating type, and random words: a variate in the parameters' type."""
    *parameters, words = operands
    if words.dtype is not dt.uint32 or words.shape != (WORDS,):
        raise ShapeError(f"random words are {words}, not u32[{WORDS}]", hint="draw four of them")
    if parameters[0].dtype.kind != "f":
        raise DTypeError(f"parameters have dtype {parameters[0].dtype.short}", hint="cast them to a floating type")
    if any(p != parameters[0] for p in parameters):
        raise ShapeError(f"parameters are {' and '.join(map(str, parameters))}", hint="broadcast and cast them first")
    return parameters[0]


def _poisson_eager(xp: Any, rate: Any, words: Any) -> Any:
    rates = np.nan_to_num(_host(xp, rate).astype(np.float64)).clip(0.0, _LARGEST)
    return xp.asarray(np.asarray(_generator(xp, words).poisson(rates)).astype(rate.dtype))


def _binomial_eager(xp: Any, count: Any, probability: Any, words: Any) -> Any:
    counts = np.nan_to_num(_host(xp, count).astype(np.float64)).clip(0.0, _LARGEST).astype(np.int64)
    chances = np.nan_to_num(_host(xp, probability).astype(np.float64)).clip(0.0, 1.0)
    return xp.asarray(np.asarray(_generator(xp, words).binomial(counts, chances)).astype(count.dtype))


def batch_of(name: str) -> Any:
    """The batching rule of an operator that is applied to one part of the batch after the other."""

    def batch(inputs: tuple[Any, ...], batched: tuple[bool, ...], size: int, **params: Any) -> Any:
        rows = []
        for i in range(size):
            row = [_row(x, i) if b else x for x, b in zip(inputs, batched, strict=True)]
            found = OPERATORS[name](*row, **params)
            rows.append(reshape(found, shape=(1, *found.shape)))
        return concatenate(*rows, axis=0)

    return batch


def _row(x: Any, i: int) -> Any:
    starts, stops = (i, *(0,) * (x.ndim - 1)), (i + 1, *x.shape[1:])
    return reshape(slice(x, starts=starts, stops=stops, steps=(1,) * x.ndim), shape=x.shape[1:])


def variate_sample(*parameters: Arg, **params: Any) -> Sample:
    """A sample of these parameters and of random words."""
    return Sample((*parameters, Arg((WORDS,), dt.uint32, 0, 1 << 16)), params)


_COUNTS = "counts change by whole numbers"

poisson: Operator = primitive(
    "poisson",
    family="random",
    type_rule=variate_type,
    eager=_poisson_eager,
    vjp=not_differentiable(_COUNTS),
    jvp=not_differentiable(_COUNTS),
    batch=batch_of("poisson"),
    lower=HostCall(),
    arity=2,
    promotion="none",
    doc="A Poisson number of each rate, operand 0, a function of four random words, operand 1.",
    samples=(
        variate_sample(Arg((7,), dt.float32, 0.0, 9.0)),
        variate_sample(Arg((3, 5), dt.float64, 0.0, 900.0)),
        variate_sample(Arg((0, 2), dt.float32, 0.0, 1.0)),
        variate_sample(Arg((4,), dt.bfloat16, 0.0, 4.0)),
        variate_sample(Arg((), dt.float32, 0.0, 4.0)),
    ),
)

binomial: Operator = primitive(
    "binomial",
    family="random",
    type_rule=variate_type,
    eager=_binomial_eager,
    vjp=not_differentiable(_COUNTS),
    jvp=not_differentiable(_COUNTS),
    batch=batch_of("binomial"),
    lower=HostCall(),
    arity=3,
    promotion="none",
    doc="How many of so many trials, operand 0, succeed with a probability, operand 1, by four random words.",
    samples=(
        variate_sample(Arg((7,), dt.float32, 0.0, 20.0), Arg((7,), dt.float32, 0.0, 1.0)),
        variate_sample(Arg((3, 5), dt.float64, 0.0, 900.0), Arg((3, 5), dt.float64, 0.0, 1.0)),
        variate_sample(Arg((0, 2), dt.float32, 0.0, 1.0), Arg((0, 2), dt.float32, 0.0, 1.0)),
        variate_sample(Arg((), dt.float16, 0.0, 9.0), Arg((), dt.float16, 0.0, 1.0)),
    ),
)
