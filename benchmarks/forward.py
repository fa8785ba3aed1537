"""Forward workloads: each written once in PyTorch's style and once in NumPy's.

The NumPy style is what a jax user writes; it also computes the float64 reference.
"""

from typing import Any

import numpy as np

from benchmarks.workload import Arrays, Context, Function, Workload, normal


def tiny(ctx: Context) -> Function:
    """Small enough that only the cost of a call shows."""
    return lambda x: ctx.xp.sin(x) * 2 + x


def tiny_array(xp: Any, erf: Function) -> Function:
    return lambda x: xp.sin(x) * 2 + x


def gelu_chain(ctx: Context) -> Function:
    """Five elementwise operations that one pass over memory can do."""
    gelu = ctx.xp.nn.functional.gelu
    return lambda x, residual: gelu(x * 1.1 + 0.1) * 0.5 + residual


def gelu_chain_array(xp: Any, erf: Function) -> Function:
    def function(x: Any, residual: Any) -> Any:
        y = x * 1.1 + 0.1
        return y * 0.5 * (1 + erf(y * 0.5**0.5)) * 0.5 + residual

    return function


RATE, VOLATILITY = 0.03, 0.25


def black_scholes(ctx: Context) -> Function:
    """Prices of European calls and puts. Source: Black, Scholes, 1973, eq. 13."""
    xp = ctx.xp

    def cdf(z: Any) -> Any:
        return 0.5 * (1 + xp.erf(z * 0.5**0.5))

    def function(spot: Any, strike: Any, years: Any) -> Any:
        deviation = VOLATILITY * xp.sqrt(years)
        d1 = (xp.log(spot / strike) + (RATE + 0.5 * VOLATILITY**2) * years) / deviation
        d2 = d1 - deviation
        discounted = strike * xp.exp(-RATE * years)
        return spot * cdf(d1) - discounted * cdf(d2), discounted * cdf(-d2) - spot * cdf(-d1)

    return function


def black_scholes_array(xp: Any, erf: Function) -> Function:
    def cdf(z: Any) -> Any:
        return 0.5 * (1 + erf(z * 0.5**0.5))

    def function(spot: Any, strike: Any, years: Any) -> Any:
        deviation = VOLATILITY * xp.sqrt(years)
        d1 = (xp.log(spot / strike) + (RATE + 0.5 * VOLATILITY**2) * years) / deviation
        d2 = d1 - deviation
        discounted = strike * xp.exp(-RATE * years)
        return spot * cdf(d1) - discounted * cdf(d2), discounted * cdf(-d2) - spot * cdf(-d1)

    return function


def options(count: int) -> Arrays:
    """Return spot prices, strike prices and years to expiry."""
    rng = np.random.default_rng(0)
    ranges = ((10, 100), (10, 100), (0.2, 2))
    return tuple(low + (high - low) * rng.random(count, dtype=np.float32) for low, high in ranges)


def softmax(ctx: Context) -> Function:
    """A row reduction with its consumers; a row fits the cache."""
    return lambda x: ctx.xp.nn.functional.softmax(x, dim=-1)


def softmax_array(xp: Any, erf: Function) -> Function:
    def function(x: Any) -> Any:
        e = xp.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return function


def layer_norm(ctx: Context) -> Function:
    """Residual addition, then layer norm with weight and bias."""
    norm = ctx.xp.nn.functional.layer_norm
    return lambda x, residual, weight, bias: norm(x + residual, (1024,), weight, bias)


def layer_norm_array(xp: Any, erf: Function) -> Function:
    def function(x: Any, residual: Any, weight: Any, bias: Any) -> Any:
        y = x + residual
        centred = y - y.mean(-1, keepdims=True)
        return centred / xp.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * weight + bias

    return function


def stencil(ctx: Context) -> Function:
    """The mean of each inner cell and its four neighbours: five shifted views of one array."""
    return lambda x: 0.2 * (x[1:-1, 1:-1] + x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:])


def stencil_array(xp: Any, erf: Function) -> Function:
    return lambda x: 0.2 * (x[1:-1, 1:-1] + x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:])


SOFTENING = 1e-2


def forces(ctx: Context) -> Function:
    """Softened gravity between all pairs of bodies; the intermediate is a thousand times the input."""

    def function(position: Any) -> Any:
        r = position.unsqueeze(0) - position.unsqueeze(1)
        square = (r * r).sum(-1) + SOFTENING
        return (r * ctx.xp.rsqrt(square * square * square).unsqueeze(-1)).sum(1)

    return function


def forces_array(xp: Any, erf: Function) -> Function:
    def function(position: Any) -> Any:
        r = position[None] - position[:, None]
        square = (r * r).sum(-1) + SOFTENING
        return (r * (1 / xp.sqrt(square * square * square))[..., None]).sum(1)

    return function


def attention(ctx: Context) -> Function:
    """Causal attention: each query sees the keys up to its own place."""
    attend = ctx.xp.nn.functional.scaled_dot_product_attention
    return lambda q, k, v: attend(q, k, v, is_causal=True)


def attention_array(xp: Any, erf: Function) -> Function:
    def function(q: Any, k: Any, v: Any) -> Any:
        length, width = q.shape[-2:]
        scores = q @ xp.swapaxes(k, -1, -2) * width**-0.5
        scores = xp.where(xp.tril(xp.ones((length, length))) > 0, scores, -xp.inf)
        e = xp.exp(scores - scores.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True) @ v

    return function


FORWARD = (
    Workload("tiny", "sin(x)*2 + x, 1,024 floats", "forward", lambda: normal((1024,)), tiny, tiny_array),
    Workload(
        "gelu",
        "gelu chain + residual, 16 M floats",
        "forward",
        lambda: normal((1 << 24,), (1 << 24,)),
        gelu_chain,
        gelu_chain_array,
        large=("gelu chain + residual, 64 M floats", lambda: normal((1 << 26,), (1 << 26,))),
    ),
    Workload(
        "black_scholes",
        "Black-Scholes, 4 M options",
        "forward",
        lambda: options(1 << 22),
        black_scholes,
        black_scholes_array,
        large=("Black-Scholes, 32 M options", lambda: options(1 << 25)),
    ),
    Workload(
        "softmax",
        "softmax 4096 x 4096",
        "forward",
        lambda: normal((4096, 4096)),
        softmax,
        softmax_array,
        large=("softmax 16384 x 4096", lambda: normal((16384, 4096))),
    ),
    Workload(
        "layer_norm",
        "residual + layer norm, 8192 x 1024",
        "forward",
        lambda: normal((8192, 1024), (8192, 1024), (1024,), (1024,)),
        layer_norm,
        layer_norm_array,
        large=(
            "residual + layer norm, 65536 x 1024",
            lambda: normal((65536, 1024), (65536, 1024), (1024,), (1024,)),
        ),
    ),
    Workload(
        "stencil",
        "5-point stencil, 2048 x 2048",
        "forward",
        lambda: normal((2048, 2048)),
        stencil,
        stencil_array,
        large=("5-point stencil, 8192 x 8192", lambda: normal((8192, 8192))),
    ),
    Workload(
        "forces",
        "pairwise forces, 2,048 bodies",
        "forward",
        lambda: normal((2048, 3)),
        forces,
        forces_array,
        large=("pairwise forces, 8,192 bodies", lambda: normal((8192, 3))),
    ),
    Workload(
        "attention",
        "causal attention, 2 x 8 x 1024 x 64",
        "forward",
        lambda: normal(*[(2, 8, 1024, 64)] * 3),
        attention,
        attention_array,
        large=("causal attention, 4 x 16 x 2048 x 64", lambda: normal(*[(4, 16, 2048, 64)] * 3)),
        small=lambda: normal(*[(1, 1, 260, 16)] * 3),
    ),
)
