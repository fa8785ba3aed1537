"""Depthwise convolutions and their gradients: planes between zeros, and the values that they had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen import kernels as k
from tests.codegen.test_c_parts import same_values
from tracec.codegen.c import render_kernel
from tracec.codegen.c_windows import MOST_BYTES, pad_windows
from tracec.ir.kernel import Acc, Kernel, Load, Loop, Mod, Scratch, expressions, subexpressions, walk

F = tracec.nn.functional


def depthwise(what: str, size: tuple[int, ...], taps: int = 3, channels: int = 6, **options: Any) -> Kernel:
    """The kernel of a convolution whose channels are apart, or of one of its gradients."""
    convolve = F.conv2d if len(size) == 2 else F.conv1d
    x = tracec.randn(2, channels, *size, requires_grad=what == "conv_input_grad")
    w = tracec.randn(channels, 1, *[taps] * len(size), requires_grad=what == "conv_weight_grad")

    def function(x: Any, w: Any) -> Any:
        y = convolve(F.relu(x) if what == "relu" else x, w, groups=channels, **options)
        return (
            y if what in ("conv", "relu") else tracec.autograd.grad((y * y.detach()).sum(), x if x.requires_grad else w)
        )

    name = "conv" if what == "relu" else what
    found = tracec.compile(function).lower(x, w).built.plan.kernels
    (kernel,) = (one for one in found if one.contraction is not None and one.contraction.op == name)
    return kernel


KINDS = ("conv", "conv_input_grad", "conv_weight_grad", "relu")
PLANES: dict[str, dict[str, Any]] = {
    "square": {"size": (8, 8), "padding": 1},
    "wide": {"size": (5, 19), "padding": 1},
    "tiny": {"size": (2, 2), "padding": 1},
    "uneven": {"size": (9, 7), "taps": 5, "padding": (1, 2)},
    "five": {"size": (11, 12), "taps": 5, "padding": 2},
    "dilated": {"size": (12, 12), "padding": 2, "dilation": 2},
    "line": {"size": (33,), "padding": 1},
}


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_windows(kind: str, plane: str) -> None:
    kernel = depthwise(kind, **PLANES[plane])
    found = pad_windows(kernel)
    assert found is not kernel
    same_values(kernel, found)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_windows_that_are_further_apart(kind: str, stride: int) -> None:
    for size in ((6, 12), (9, 10), (4, 13)):
        if kind == "conv_input_grad" and any(n % stride for n in size):
            continue
        kernel = depthwise(kind, size, padding=1, stride=stride)
        found = pad_windows(kernel)
        assert found is not kernel
        same_values(kernel, found)


def small(what: str, size: tuple[int, ...], channels: tuple[int, int], taps: int = 3, **options: Any) -> Kernel:
    """The kernel of a convolution of few channels, or of its gradient."""
    convolve = F.conv2d if len(size) == 2 else F.conv1d
    inside, outside = channels
    x = tracec.randn(2, inside, *size, requires_grad=what == "conv_input_grad")
    w = tracec.randn(outside, inside // options.get("groups", 1), *[taps] * len(size))

    def function(x: Any, w: Any) -> Any:
        y = convolve(x, w, **options).tanh()
        return y if what == "conv" else tracec.autograd.grad((y * y.detach()).sum(), x)

    found = tracec.compile(function).lower(x, w).built.plan.kernels
    return next(one for one in found if one.contraction is not None and one.contraction.op == what)


SMALL: dict[str, dict[str, Any]] = {
    "square": {"size": (8, 8), "channels": (4, 2), "padding": 1},
    "tiny": {"size": (3, 5), "channels": (2, 2), "padding": 1},
    "line": {"size": (19,), "channels": (5, 3), "padding": 1},
    "uneven": {"size": (9, 7), "channels": (2, 2), "padding": (1, 2), "taps": 5},
    "dilated": {"size": (8, 8), "channels": (3, 2), "padding": 2, "dilation": 2},
    "groups": {"size": (8, 8), "channels": (6, 4), "padding": 1, "groups": 2},
}


@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize("kind", ["conv", "conv_input_grad"])
def test_windows_over_several_planes(kind: str, shape: str) -> None:
    kernel = small(kind, **SMALL[shape])
    found = pad_windows(kernel)
    assert found is not kernel
    same_values(kernel, found)


def test_windows_over_several_planes_that_are_further_apart() -> None:
    kernel = small("conv", (6, 8), (3, 2), padding=1, stride=2)
    found = pad_windows(kernel)
    assert found is not kernel
    same_values(kernel, found)


def test_windows_over_many_planes_keep_their_loops() -> None:
    kernel = small("conv", (8, 8), (8, 2), padding=1)
    assert pad_windows(kernel) is kernel


def test_windows_over_several_planes_are_one_text() -> None:
    body = render_kernel(small("conv", (8, 8), (4, 2), padding=1)).body
    assert body.count("tanh_f32(") == 1, "parts for edges and corners were nine"
    assert body.count("window[") == 3 + 4 * 9  # declared, zero and filled


def test_what_is_done_to_elements_is_done_once_for_each() -> None:
    body = pad_windows(depthwise("relu", (8, 8), padding=1)).body
    sums = [s for s in walk(body) if isinstance(s, Loop) and any(isinstance(x, Acc) for x in s.body)]
    read = [e for s in walk(tuple(sums)) for root in expressions(s) for e in subexpressions(root)]
    assert {e.buffer for e in read if isinstance(e, Load)} >= {"window"}
    assert not any(getattr(e, "op", "") in ("select", "maximum", "ge", "lt") for e in read)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loops_over_windows_are_one_text(kind: str) -> None:
    source = render_kernel(depthwise(kind, (16, 16), padding=1)).source
    assert source.count("window[") == 3 + 9  # declared, zero and filled
    assert "?" not in source.partition("+= ")[2]


def test_planes_that_do_not_stay_in_the_first_cache_keep_their_parts() -> None:
    side = int((MOST_BYTES / 4) ** 0.5)
    small, large = (depthwise("conv", (n, n), padding=1, channels=2) for n in (side - 2, side))
    assert pad_windows(small) is not small and pad_windows(large) is large


def test_other_kernels_are_left_alone() -> None:
    for kernel in (k.conv(8, 16, 32, 8), k.conv_weight(40, 4, 16, 8), k.dot(1, 8, 8, 8), k.pool(8, 8), k.chain(100)):
        assert pad_windows(kernel) is kernel
    for kernel in (depthwise("conv", (8, 8)), depthwise("conv", (8, 8), padding=(0, 1))):
        assert pad_windows(kernel) is kernel


def test_padding_of_other_than_zeros_is_no_padding() -> None:
    text = str(depthwise("conv", (8, 8), padding=1)).replace("f32(0.0)", "f32(1.0)")
    kernel = k.read_kernel(text)
    assert pad_windows(kernel) is kernel


def test_scratch_is_each_thread_s_own() -> None:
    source = render_kernel(depthwise("conv_weight_grad", (32, 32), padding=1, channels=64)).source
    assert source.index("omp parallel for") < source.index("float window[") < source.index("float sums")


def test_strides_tell_no_other_axis() -> None:
    kernel = depthwise("conv", (8, 8), padding=1)
    assert sum(isinstance(s, Scratch) for s in walk(pad_windows(kernel).body)) == 1
    transposed = k.read_kernel(str(kernel).replace("8*i2 + 8*r1", "8*i2 + 16*r1"))
    assert pad_windows(transposed) is transposed
    assert not any(isinstance(e, Mod) for s in walk(kernel.body) for x in expressions(s) for e in subexpressions(x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(2, 2), (7, 9), (32, 20)])
def test_compiled_values_and_gradients_are_those_of_eager_calls(size: tuple[int, int], stride: int) -> None:
    tracec.manual_seed(0)
    x = tracec.randn(3, 8, *size, requires_grad=True)
    w = tracec.randn(8, 1, 3, 3, requires_grad=True)

    def function(x: Any, w: Any) -> Any:
        y = F.relu(F.conv2d(F.relu(x), w, groups=8, padding=1, stride=stride))
        return (y, *tracec.autograd.grad((y * y).sum(), (x, w)))

    compiled = tracec.compile(function)
    compiled(x, w)
    for found, expected in zip(compiled(x, w), function(x, w), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-4)
