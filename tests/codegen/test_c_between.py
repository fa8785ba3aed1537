"""Products with rows between them, computed strip by strip in C: which steps, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tracec.codegen import c_between
from tracec.codegen.c import render, together
from tracec.codegen.c_unseen import diagonal
from tracec.ir.kernel import Kernel, Loop
from tracec.ir.parser import parse
from tracec.nn import functional as F

pytestmark = needs_compiler
Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def whatever_pays(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of any size are computed together, but in tests of which are."""
    if request.node.originalname != "test_small_products_stay_apart":
        monkeypatch.setattr(c_between, "LEAST_SCORES", 0)
        monkeypatch.setattr(c_between, "MOST_ROOM", 100)


def given(*shapes: tuple[int, ...], dtype: str = "float32") -> list[tracec.Tensor]:
    rng = np.random.default_rng(len(shapes))
    return [tracec.from_numpy(rng.standard_normal(shape).astype(dtype)) for shape in shapes]


def exactly(
    q: Array, k: Array, v: Array, mask: Array | None = None, is_causal: bool = False, scale: float | None = None
) -> Array:
    """Attention in float64; a row that sees nothing is zero."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    scores = q @ np.swapaxes(k, -1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if is_causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    most = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(most == -np.inf, 0, most))
    return weights @ v / np.maximum(weights.sum(-1, keepdims=True), 1e-300)


def joined(function: Callable[..., Any], *args: tracec.Tensor) -> list[tuple[int, ...]]:
    """The steps of a function that are computed together."""
    plan = tracec.compile(function).lower(*args, target="cpu").plan
    return [numbers for numbers in together(plan) if len(numbers) > 1]


def close(found: tracec.Tensor, want: Array, dtype: str = "float32") -> None:
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(found.numpy(), want, rtol=tolerance, atol=tolerance)


SHAPES = {
    "one tile": ((2, 8), 40, 8),
    "odd": ((3, 5, 37), 53, 19),
    "rows left over": ((2, 67), 65, 33),
    "few queries": ((2, 2, 9), 200, 40),
    "few keys": ((2, 2, 130), 33, 16),
    "wide": ((1, 2, 40), 50, 130),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_attention(name: str, dtype: str, is_causal: bool) -> None:
    (*batch, rows), lanes, width = SHAPES[name]
    args = given((*batch, rows, 13), (*batch, lanes, 13), (*batch, lanes, width), dtype=dtype)

    def attend(*x: tracec.Tensor) -> tracec.Tensor:
        return F.scaled_dot_product_attention(*x, is_causal=is_causal)

    assert joined(attend, *args) == [(0, 1, 2)]
    close(tracec.compile(attend)(*args), exactly(*(a.numpy() for a in args), is_causal=is_causal), dtype)


@pytest.mark.parametrize("packed, least", [(0, 128), (100_000, 16), (4 << 20, 16), (4 << 20, 128)])
def test_several_strips_and_units(packed: int, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of factors that are packed for one matrix at a time, for two of them, for all, or by each unit of work."""
    monkeypatch.setattr(c_between, "MOST_ROWS", 16)
    monkeypatch.setattr(c_between, "PACKED_BYTES", packed)
    monkeypatch.setattr(c_between, "LEAST_UNIT", least)
    monkeypatch.setattr(c_between, "UNITS", 16)
    assert c_between._units(6, 19, 300, 300 * 32 * 4) == {0: (1, 1), 100_000: (1, 2)}.get(
        packed, (1, 6) if least < 128 else (10, 0)
    )
    args = given((3, 2, 300, 16), (3, 2, 300, 16), (3, 2, 300, 16))
    for is_causal in (False, True):

        def attend(*x: tracec.Tensor, causal: bool = is_causal) -> tracec.Tensor:
            return F.scaled_dot_product_attention(*x, is_causal=causal)

        close(tracec.compile(attend)(*args), exactly(*(a.numpy() for a in args), is_causal=is_causal))


MASKS = {
    "who": lambda rng: rng.random((70, 90)) < 0.5,
    "keys": lambda rng: rng.random((2, 1, 1, 90)) < 0.5,
    "queries": lambda rng: rng.random((70, 1)) < 0.5,
    "heads": lambda rng: rng.random((3, 70, 90)) < 0.5,
    "nobody": lambda rng: np.zeros((70, 90), bool),
    "added": lambda rng: rng.standard_normal((2, 3, 70, 90)).astype(np.float32),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("is_causal", [False, True])
def test_masks(name: str, is_causal: bool) -> None:
    args = given((2, 3, 70, 16), (2, 3, 90, 16), (2, 3, 90, 24))
    mask = MASKS[name](np.random.default_rng(3))

    def attend(q: tracec.Tensor, k: tracec.Tensor, v: tracec.Tensor, m: tracec.Tensor) -> tracec.Tensor:
        return F.scaled_dot_product_attention(q, k, v, m, is_causal=is_causal)

    every = (*args, tracec.from_numpy(mask))
    assert len(joined(attend, *every)) == 1
    close(tracec.compile(attend)(*every), exactly(*(a.numpy() for a in args), mask=mask, is_causal=is_causal))


def test_parts_of_causal_attention() -> None:
    args = given(*[(2, 3, 530, 16)] * 3)

    def attend(*x: tracec.Tensor) -> tracec.Tensor:
        return F.scaled_dot_product_attention(*x, is_causal=True)

    assert len(joined(attend, *args)) == 4
    close(tracec.compile(attend)(*args), exactly(*(a.numpy() for a in args), is_causal=True))


def test_heads_that_are_shared() -> None:
    q, k, v = given((2, 6, 40, 16), (2, 2, 50, 16), (2, 2, 50, 16))

    def attend(*x: tracec.Tensor) -> tracec.Tensor:
        return F.scaled_dot_product_attention(*x, enable_gqa=True)

    # What is made for the second product alone comes before the first one.
    assert len(joined(attend, q, k, v)) == 1
    wide = (np.repeat(x.numpy(), 3, axis=1) for x in (k, v))
    close(tracec.compile(attend)(q, k, v), exactly(q.numpy(), *wide))


def test_operands_that_are_made_before() -> None:
    given_ = given((2, 40, 48), (48, 48), (48, 48), (48, 48))

    def attend(x: tracec.Tensor, *weights: tracec.Tensor) -> tracec.Tensor:
        q, k, v = ((x @ w).reshape(2, 40, 3, 16).transpose(1, 2) for w in weights)
        return F.scaled_dot_product_attention(q, k, v, scale=0.05).transpose(1, 2).reshape(2, 40, 48)

    # The result lies apart from what the first product reads, whose memory would be free by then.
    assert len(joined(attend, *given_)) == 1
    x, *weights = (t.numpy().astype(np.float64) for t in given_)
    want = exactly(*((x @ w).reshape(2, 40, 3, 16).swapaxes(1, 2) for w in weights), scale=0.05)
    found = tracec.compile(attend)(*given_).numpy()
    np.testing.assert_allclose(found, want.swapaxes(1, 2).reshape(2, 40, 48), rtol=2e-5, atol=2e-5)


def test_keys_and_values_that_lie_otherwise() -> None:
    q, k, v = given((2, 40, 16), (2, 16, 50), (2, 24, 50))

    def attend(q: tracec.Tensor, k: tracec.Tensor, v: tracec.Tensor) -> tracec.Tensor:
        return (q @ k).softmax(-1) @ v.mT

    assert joined(attend, q, k, v) == [(0, 1, 2)]
    turned = (np.swapaxes(x.numpy(), -1, -2) for x in (k, v))
    close(tracec.compile(attend)(q, k, v), exactly(q.numpy(), *turned, scale=1.0))


def test_dropped_weights_are_those_of_eager_attention() -> None:
    args = given(*[(2, 3, 40, 16)] * 3)

    def attend(*x: tracec.Tensor) -> tracec.Tensor:
        return F.scaled_dot_product_attention(*x, dropout_p=0.3)

    found = []
    for function in (attend, tracec.compile(attend)):
        tracec.manual_seed(5)
        found.append(function(*args))
    assert len(joined(attend, *args)) == 1
    np.testing.assert_allclose(found[0].numpy(), found[1].numpy(), rtol=1e-5, atol=1e-5)


def test_rows_that_are_no_softmax() -> None:
    x, y, z = given((3, 20, 16), (3, 16, 70), (3, 70, 24))

    def normed(x: tracec.Tensor, y: tracec.Tensor, z: tracec.Tensor) -> tracec.Tensor:
        return F.layer_norm(x @ y, (70,)) @ z

    assert joined(normed, x, y, z) == [(0, 1, 2)]
    rows = x.numpy().astype(np.float64) @ y.numpy()
    rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(tracec.compile(normed)(x, y, z).numpy(), rows @ z.numpy(), rtol=2e-5, atol=2e-5)


def test_nan_and_infinity_come_through() -> None:
    q, k, v = given(*[(2, 40, 16)] * 3)
    q[0, 3, 2], k[1, 39, 0], v[0, 30, 1] = math.nan, math.inf, math.inf

    def attend(*x: tracec.Tensor) -> tracec.Tensor:
        return F.scaled_dot_product_attention(*x)

    with np.errstate(invalid="ignore"):
        want = attend(q, k, v).numpy()
    np.testing.assert_allclose(tracec.compile(attend)(q, k, v).numpy(), want, rtol=2e-6, atol=2e-6)


def both_read(q: tracec.Tensor, k: tracec.Tensor, v: tracec.Tensor) -> tuple[tracec.Tensor, ...]:
    weights = (q @ k.mT).softmax(-1)
    return weights @ v, weights


def scores_read(q: tracec.Tensor, k: tracec.Tensor, v: tracec.Tensor) -> tuple[tracec.Tensor, ...]:
    scores = q @ k.mT
    return scores.softmax(-1) @ v, scores


def turned(q: tracec.Tensor, k: tracec.Tensor, v: tracec.Tensor) -> tracec.Tensor:
    return (q @ k.mT).softmax(-1).mT @ v


def of_columns(q: tracec.Tensor, k: tracec.Tensor, v: tracec.Tensor) -> tracec.Tensor:
    return (q @ k.mT).softmax(-2) @ v


def short(q: tracec.Tensor, k: tracec.Tensor, v: tracec.Tensor) -> tracec.Tensor:
    return F.scaled_dot_product_attention(q[:, :4], k, v)


@pytest.mark.parametrize("function", [both_read, scores_read, turned, of_columns, short], ids=lambda f: f.__name__)
def test_steps_that_stay_apart(function: Callable[..., Any]) -> None:
    args = given(*[(2, 40, 16)] * 3)
    assert joined(function, *args) == []
    for found, want in zip(tracec.compile(function)(*args), function(*args), strict=True):
        np.testing.assert_allclose(found.numpy(), want.numpy(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "rows, lanes, depth, width, count",
    [(64, 64, 64, 64, 1), (16, 64, 64, 64, 0), (8, 512, 64, 64, 1), (7, 512, 64, 64, 0), (64, 48, 32, 48, 1),
     (64, 64, 64, 16, 0), (64, 40, 64, 64, 0), (64, 64, 256, 256, 1), (64, 64, 257, 64, 0), (64, 64, 64, 257, 0)],
)  # fmt: skip
def test_small_products_stay_apart(rows: int, lanes: int, depth: int, width: int, count: int) -> None:
    """And those that fill a part of their panels, or take the library long enough."""
    args = given((2, 2, rows, depth), (2, 2, lanes, depth), (2, 2, lanes, width))
    assert len(joined(lambda *x: F.scaled_dot_product_attention(*x), *args)) == count


def test_kernels_keep_their_names_for_readers() -> None:
    args = given(*[(2, 300, 16)] * 3)

    def twice(q: tracec.Tensor, k: tracec.Tensor, v: tracec.Tensor) -> tracec.Tensor:
        return F.scaled_dot_product_attention(F.scaled_dot_product_attention(q, k, v) * 2, k * 3, v)

    lowered = tracec.compile(twice).lower(*args, target="cpu")
    program = render(lowered.plan)
    assert {k.name for k in lowered.plan.kernels} <= set(program.kernels)
    steps = [s.steps for s in lowered.profile(rounds=1).steps]
    assert steps == together(lowered.plan) and sum(len(s) == 3 for s in steps) == 2


# What rows take no notice of --------------------------------------------------------------------------------


def softmax_of(condition: str, then: str, other: str, total: str = "add", more: str = "") -> Kernel:
    return parse(f"""
        kernel k(y0: inout f32[64,64], x1: in f32[64], z0: out f32[64,64]) row {{
          for i0 in 64 parallel {{
            scratch s0: f32[64]
            acc a0_1: f32 = maximum
            for r0 in 64 reduce {{
              let v0: f32 = y0[64*i0 + r0]
              let v1: bool = {condition}
              let v2: f32 = select(v1, {then}, {other})
              update a0_1 <- v2
            }}
            acc a1_2: f32 = {total}
            for r0 in 64 reduce {{
              let v3: f32 = y0[64*i0 + r0]
              let v4: bool = {condition}
              let v5: f32 = select(v4, {then.replace("v0", "v3")}, {other.replace("v0", "v3")})
              let v6: f32 = sub(v5, a0_1)
              let v7: f32 = exp(v6)
              store s0[r0] = v7
              update a1_2 <- v7
              {more}
            }}
            for r0 in 64 each {{
              let v8: f32 = s0[r0]
              let v9: f32 = div(v8, a1_2)
              store y0[64*i0 + r0] = v9
            }}
          }}
        }}""")


def seen_of(kernel: Kernel) -> int | None:
    product = {"batch": (), "m": 64, "n": 64}
    assert c_between._lies_in_rows(kernel, "y0", product)
    return c_between._rows(kernel, "y0", product)[1]


@pytest.mark.parametrize(
    "kernel, want",
    [
        (("ge(i0, r0)", "v0", "f32(-inf)"), 0),
        (("gt(i0, r0)", "v0", "f32(-inf)"), None),  # the first row sees nothing
        (("gt(add(i0, 5), r0)", "v0", "f32(-inf)"), 4),
        (("ge(add(i0, 5), r0)", "v0", "f32(-inf)"), 5),
        (("le(r0, i0)", "v0", "f32(-inf)"), 0),
        (("lt(r0, add(i0, 3))", "v0", "f32(-inf)"), 2),
        (("lt(i0, r0)", "f32(-inf)", "v0"), 0),
        (("le(add(i0, 7), r0)", "f32(-inf)", "v0"), 6),
        (("ge(i0, r0)", "f32(-inf)", "v0"), None),
        (("ge(i0, r0)", "v0", "f32(-1000.0)"), None),
        (("ge(r0, i0)", "v0", "f32(-inf)"), None),
        (("ge(i0, r0)", "v0", "f32(-inf)", "mul"), None),
        (("ge(i0, r0)", "v0", "f32(-inf)", "add", "store z0[64*i0 + r0] = v7"), None),
        (("ge(i0, x1[r0])", "v0", "f32(-inf)"), None),
    ],
)
def test_what_rows_take_no_notice_of(kernel: tuple[str, ...], want: int | None) -> None:
    assert seen_of(softmax_of(*kernel)) == want


def test_only_a_softmax_is_divided_later() -> None:
    def later(kernel: Kernel) -> bool:
        (nest,) = kernel.body
        assert isinstance(nest, Loop)
        return c_between.divided_later(c_between._rows(kernel, "y0", {"m": 64})[0], "y0") is not None

    text = str(softmax_of("ge(i0, r0)", "v0", "f32(-inf)"))
    assert later(parse(text))
    for old, new in (("exp(v6)", "sin(v6)"), ("sub(v5, a0_1)", "mul(v5, a0_1)"), ("div(v8, a1_2)", "sub(v8, a1_2)")):
        assert old in text and not later(parse(text.replace(old, new)))
    assert diagonal((), next(s.var for s in parse(text).body if isinstance(s, Loop)), "y0") is None
