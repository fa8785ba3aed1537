"""Random bits as a function of a counter, and what is made of them.

`random_bits` of a state (seed, draw) gives element i, in row-major order, the word i % 4 of

    Philox4x32-10(counter = (i // 4 low, i // 4 high, draw low, draw high), key = (seed low, seed high))

where low and high are the halves of a 64-bit integer. A state (seed, draw, first, jump) is that of a part of a larger
array: element i, whose index along the first axis is k, is there element i + 4 (first + jump k). A round takes
(c0, c1, c2, c3) and (k0, k1) to

    (hi(M1·c2) ^ c1 ^ k0, lo(M1·c2), hi(M0·c0) ^ c3 ^ k1, lo(M0·c0)),    M0 = 0xD2511F53, M1 = 0xCD9E8D57

hi and lo being the halves of the 64-bit product, and after each round but the tenth the key grows by
(0x9E3779B9, 0xBB67AE85), modulo 2**32. That is the whole definition of the scalar operation
``philox(seed, draw, element)`` of kernels. Known answers, the four words in hexadecimal:

    counter                              key                 words
    00000000 00000000 00000000 00000000  00000000 00000000   6627e8d5 e169c58d bc57ac4c 9b00dbd8
    ffffffff ffffffff ffffffff ffffffff  ffffffff ffffffff   408f276d 41c83b0e a20bc7c6 6d5451fd
    243f6a88 85a308d3 13198a2e 03707344  a4093822 299f31d0   d16cfe09 94fdcceb 5001e420 24126ea1

Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011; the known
answers are those of the authors' Random123 library.

Normal and exponential numbers are made of these words by the formulas of `tracec.ir.exact`, the same on every target
to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir import exact
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.lower import Elementwise, Index, LoadElement, Pull
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.scalar import Call, Const, Expr
from tracec.ir.types import Shape, TensorType, numel
from tracec.ops.base import primitive
from tracec.ops.elementwise import cast
from tracec.ops.families import elementwise
from tracec.ops.logic import shift_right
from tracec.ops.view import concatenate, reshape, slice

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF

# Counters computed at once: their ten rounds stay in the cache.
_BLOCK = 1 << 13
# Of so few counters nearly all of the time goes to calls, so those of the draws that are likely to come are computed
# with them, and kept: the seed, the first draw, and for each draw its words.
_FEW, _DRAWS = 1 << 9, 8
_KEPT: list[tuple[int, int, Any]] = [(-1, 0, None)]
# Bytes of random words that a formula is applied to at once, for the same reason.
_BYTES_AT_ONCE = 1 << 15


def philox(xp: Any, counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Ten rounds of Philox4x32 over arrays of uint64, of one axis, that hold 32-bit words; c0 is as long as any."""
    size = len(counter[0])
    # c0 and c2, c1 and c3, and their products side by side: fewer calls, all of them in the same memory.
    even, odd, products = (xp.empty((2, size), xp.uint64) for _ in range(3))
    even[0], odd[0], even[1], odd[1] = counter
    low, half = xp.asarray(_LOW, xp.uint64), xp.asarray(32, xp.uint64)
    factors = xp.empty((2, 2, size), xp.uint64)
    factors[0, 0] = factors[1, 1] = _MULTIPLIERS[0]
    factors[0, 1] = factors[1, 0] = _MULTIPLIERS[1]
    steps = xp.arange(10, dtype=xp.uint64)
    k0, k1 = ((k + steps * xp.uint64(step)) & low for k, step in zip(key, _KEY_STEPS, strict=True))
    # A round exchanges the sides.
    for i, keys in enumerate(zip(k0, k1, strict=True)):
        xp.multiply(even, factors[i % 2], out=products)
        xp.right_shift(products, half, out=even)
        for side in (0, 1):
            own = even[side]
            xp.bitwise_xor(own, odd[1 - side], out=own)
            xp.bitwise_xor(own, keys[(side + i + 1) % 2], out=own)
        xp.bitwise_and(products, low, out=odd)
    return even[0], odd[0], even[1], odd[1]


def _bits_type(state: TensorType, *, shape: Shape) -> TensorType:
    if state.dtype is not dt.int64:
        raise DTypeError(f"the state has dtype {state.dtype.short}", hint="it is an int64 tensor (seed, draw)")
    if state.shape not in ((2,), (4,)):
        raise ShapeError(f"the state has shape {state.shape}, not (2,)", hint="it is an int64 tensor (seed, draw)")
    if any(size < 0 for size in shape):
        raise ArgumentError(f"shape {tuple(shape)} has a negative size", hint="sizes are 0 or more")
    return TensorType(dt.uint32, tuple(shape), state.device)


def _bits_eager(xp: Any, state: Any, *, shape: Shape) -> Any:
    words = xp.ascontiguousarray(state).view(xp.uint64)
    size = numel(shape)
    if state.size > 2:
        return _bits_of_a_part(xp, words, size, shape)
    counters = -(-size // 4)
    if xp is np and counters <= _FEW:
        return _few_bits(words, max(counters, 1))[:size].reshape(shape).copy()
    out = xp.empty((counters, 4), xp.uint32)
    block = _BLOCK if xp.__name__ == "numpy" else max(counters, 1)
    for start in range(0, counters, block):
        count = xp.arange(start, min(start + block, counters), dtype=xp.uint64)
        for lane, word in enumerate(_words(xp, words, count)):
            out[start : start + block, lane] = word
    return out.reshape(-1)[:size].reshape(shape)


def _few_bits(state: Any, counters: int) -> Any:
    """The words of some counters, of those that are kept; looked at, not copied."""
    seed, draw = state.tolist()
    kept = _KEPT[0]
    if kept[0] != seed or not 0 <= draw - kept[1] < _DRAWS or kept[2].shape[1] < 4 * counters:
        if kept[0] == seed:
            counters = max(counters, kept[2].shape[1] // 4)
        draws = np.repeat(state[1] + np.arange(_DRAWS, dtype=np.uint64), counters)
        low, half = np.uint64(_LOW), np.uint64(32)
        count = np.tile(np.arange(counters, dtype=np.uint64), _DRAWS)
        counter = count, np.zeros(1, np.uint64), draws & low, draws >> half
        found = philox(np, counter, (state[:1] & low, state[:1] >> half))
        kept = seed, draw, np.stack(found, 1).astype(np.uint32).reshape(_DRAWS, 4 * counters)
        _KEPT[0] = kept
    return kept[2][draw - kept[1]]


def _words(xp: Any, state: Any, count: Any) -> tuple[Any, Any, Any, Any]:
    """The four words of some counters."""
    low, half = xp.uint64(_LOW), xp.uint64(32)
    seed, draw = state[:1], state[1:2]
    return philox(xp, (count & low, count >> half, draw & low, draw >> half), (seed & low, seed >> half))


def _bits_of_a_part(xp: Any, state: Any, size: int, shape: Shape) -> Any:
    element = xp.arange(size, dtype=xp.uint64)
    row = xp.uint64(max(numel(shape[1:]), 1))
    element = element + xp.uint64(4) * (state[2] + state[3] * (element // row))
    words = xp.stack(_words(xp, state, element // xp.uint64(4)))
    lanes = (element % xp.uint64(4)).astype(xp.int64)
    return words[lanes, xp.arange(size)].astype(xp.uint32).reshape(shape)


def _bits_element(
    load: LoadElement, index: Index, out: TensorType, inputs: tuple[TensorType, ...], *, shape: Shape
) -> Expr:
    element = ix.flatten(index, out.shape)
    if inputs[0].shape == (4,):
        element = ix.add(element, ix.mul(load(0, (Const(2),)), 4))
        if index:
            element = ix.add(element, ix.mul(Call("mul", (load(0, (Const(3),)), index[0]), dt.int64), 4))
    return Call("philox", (load(0, (Const(0),)), load(0, (Const(1),)), element), dt.uint32)


def _bits_batch(inputs: tuple[Any, ...], batched: tuple[bool, ...], size: int, *, shape: Shape) -> Any:
    (states,) = inputs
    words = states.shape[1]
    rows = [slice(states, starts=(i, 0), stops=(i + 1, words), steps=(1, 1)) for i in range(size)]
    return concatenate(
        *(reshape(random_bits(reshape(row, shape=(words,)), shape=shape), shape=(1, *shape)) for row in rows), axis=0
    )


random_bits: Operator = primitive(
    "random_bits",
    family="random",
    type_rule=_bits_type,
    eager=_bits_eager,
    vjp=not_differentiable("random bits are integers"),
    jvp=not_differentiable("random bits are integers"),
    batch=_bits_batch,
    lower=Pull(_bits_element),
    arity=1,
    promotion="none",
    doc="32 uniform random bits for each element, a function of the state (seed, draw) and the element's position.",
    samples=(
        Sample((Arg((2,), dt.int64, 0, 1000),), {"shape": (7,)}),
        Sample((Arg((2,), dt.int64, 0, 1000),), {"shape": (3, 5, 2)}),
        Sample((Arg((2,), dt.int64, 0, 1000),), {"shape": (0, 3)}),
        Sample((Arg((2,), dt.int64, -(2**40), 2**40),), {"shape": ()}),
        Sample((Arg((4,), dt.int64, 0, 1000),), {"shape": (3, 128)}),
        Sample((Arg((4,), dt.int64, 0, 2**40),), {"shape": (5, 3)}),
        Sample((Arg((4,), dt.int64, 0, 1000),), {"shape": ()}),
    ),
)


def uniform_from_bits(bits: Any, dtype: DType = dt.float32) -> Any:
    """Numbers uniform in [0, 1), from the upper bits of random u32 words.

    As many bits are used as the dtype's significand holds (24 at most), so that nothing rounds up to 1.
    """
    used = {dt.float16: 11, dt.bfloat16: 8}.get(dtype, 24)
    return cast(shift_right(bits, 32 - used), dtype=dtype) * 2.0**-used


rounded_mul: Operator = elementwise(
    "rounded_mul",
    eager=lambda xp, x, y: xp.multiply(x, y),
    derivative=(lambda t, out, x, y: t * y, lambda t, out, x, y: t * x),
    doc="The product, rounded before anything is added to it: no compiler fuses it with a sum, as it may ``mul``.",
)


def _variate_type(word: TensorType) -> TensorType:
    dtype = {dt.uint32: dt.float32, dt.uint64: dt.float64}.get(word.dtype)
    if dtype is None:
        raise DTypeError(f"random words have dtype {word.dtype.short}", hint="they are u32 or u64")
    return TensorType(dtype, word.shape, word.device)


def _variate_eager(formula: Callable[[Any, Any], Any], xp: Any, word: Any) -> Any:
    flat = word.reshape(-1)
    if xp is not np or flat.nbytes <= _BYTES_AT_ONCE:
        return formula(xp, flat).reshape(word.shape)
    out = np.empty(flat.size, np.float32 if word.dtype.itemsize == 4 else np.float64)
    step = _BYTES_AT_ONCE // word.dtype.itemsize
    for start in range(0, flat.size, step):
        out[start : start + step] = formula(np, flat[start : start + step])
    return out.reshape(word.shape)


def _variate(name: str, doc: str) -> Operator:
    """An operator that makes a number of each random word, by a formula of `tracec.ir.exact`."""
    operator: Operator
    operator = primitive(
        name,
        family="random",
        type_rule=_variate_type,
        eager=partial(_variate_eager, exact.VARIATES[name]),
        vjp=not_differentiable("random words are integers"),
        jvp=not_differentiable("random words are integers"),
        batch=lambda inputs, batched, size: operator(*inputs),
        lower=Elementwise(name),
        arity=1,
        promotion="none",
        doc=doc,
        samples=tuple(
            Sample((Arg(shape, dtype, 0, 60000),), {})
            for shape, dtype in (((7,), dt.uint32), ((3, 5), dt.uint64), ((0, 2), dt.uint32), ((), dt.uint64))
        ),
    )
    return operator


normal_variate = _variate(
    "normal_variate",
    "A standard normal number of each random word, float32 of 32 bits and float64 of 64; it grows with the word.",
)
exponential_variate = _variate(
    "exponential_variate", "An exponential number of rate 1 of each random word, float32 of 32 bits and float64 of 64."
)
gumbel_variate = _variate(
    "gumbel_variate", "A standard Gumbel number of each random word, float32 of 32 bits and float64 of 64."
)
cauchy_variate = _variate(
    "cauchy_variate", "A standard Cauchy number of each random word, float32 of 32 bits and float64 of 64."
)
