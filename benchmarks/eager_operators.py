"""Single operators eagerly, beside PyTorch's, on one thread of the CPU: ``python -m benchmarks.eager --operators``.

Each is timed on small arrays, where Python's time counts, and on large ones, where that of memory does: forward, with
gradients remembered, and back from a given gradient of the result.
"""

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

#: An operator's name and size → what it is computed of, and the function.
Case = tuple[str, Callable[..., Any], tuple[Any, ...]]


class Inputs:
    """Arrays of one library, the same for each."""

    def __init__(self, lib: Any, dtype: str = "float32") -> None:
        self._lib, self._rng, self._dtype = lib, np.random.default_rng(0), dtype

    def __call__(self, *shape: int, grad: bool = True) -> Any:
        """Normally distributed elements."""
        made = self._lib.from_numpy(self._rng.standard_normal(shape).astype(self._dtype))
        return made.requires_grad_() if grad else made

    def whole(self, end: int, *shape: int) -> Any:
        """Integers from 0 up to an end."""
        return self._lib.from_numpy(self._rng.integers(0, end, shape))


def rows(lib: Any, size: str) -> Iterator[Case]:
    """Operators of rows and of single elements."""
    f, t = lib.nn.functional, Inputs(lib)
    a, b = {"small": (32, 64), "large": (1024, 1024)}[size]
    x, g, bias = t(a, b), t(b), t(b)
    classes, picks = t.whole(b, a), t.whole(b, a, 8)
    yield "add", lambda x, y: x + y, (x, t(a, b))
    yield "relu", f.relu, (x,)
    yield "gelu", f.gelu, (x,)
    yield "linear", f.linear, (x, t(b, b), bias)
    yield "softmax", lambda x: f.softmax(x, -1), (x,)
    yield "log_softmax", lambda x: f.log_softmax(x, -1), (x,)
    yield "cross_entropy", lambda x: f.cross_entropy(x, classes), (x,)
    yield "cross_entropy, weights", lambda x, w: f.cross_entropy(x, classes, w), (x, t(b, grad=False))
    yield "cross_entropy, smooth", lambda x: f.cross_entropy(x, classes, label_smoothing=0.1), (x,)
    yield "mse_loss", f.mse_loss, (x, t(a, b, grad=False))
    yield "layer_norm", lambda x, g, c: f.layer_norm(x, (b,), g, c), (x, g, bias)
    yield "rms_norm", lambda x, g: f.rms_norm(x, (b,), g), (x, g)
    yield "embedding", lambda x: f.embedding(picks % a, x), (x,)
    yield "gather", lambda x: x.gather(1, picks), (x,)
    yield "topk", lambda x: x.topk(8, 1)[0], (x,)
    yield "max over rows", lambda x: x.max(1)[0], (x,)
    yield "argmax", lambda x: x.argmax(1), (x,)
    yield "cumsum", lambda x: x.cumsum(1), (x,)


def images(lib: Any, size: str) -> Iterator[Case]:
    """Operators of images."""
    f, t = lib.nn.functional, Inputs(lib)
    n, c, s = {"small": (4, 16, 8), "large": (16, 64, 32)}[size]
    x, w, b = t(n, c, s, s), t(c), t(c)
    mean, variance = t(c, grad=False), t(c, grad=False).abs()
    yield "batch_norm", lambda x, w, b: f.batch_norm(x, mean, variance, w, b, True), (x, w, b)
    yield "batch_norm, eval", lambda x, w, b: f.batch_norm(x, mean, variance, w, b), (x, w, b)
    yield "group_norm", lambda x, w, b: f.group_norm(x, 4, w, b), (x, w, b)
    yield "instance_norm", lambda x, w, b: f.instance_norm(x, None, None, w, b), (x, w, b)
    yield "max_pool2d 2", lambda x: f.max_pool2d(x, 2), (x,)
    yield "max_pool2d 3, 2, 1", lambda x: f.max_pool2d(x, 3, 2, 1), (x,)
    yield "avg_pool2d 2", lambda x: f.avg_pool2d(x, 2), (x,)
    yield "avg_pool2d 3, 1, 1", lambda x: f.avg_pool2d(x, 3, 1, 1), (x,)
    yield "adaptive_avg_pool2d 1", lambda x: f.adaptive_avg_pool2d(x, 1), (x,)
    yield "adaptive_avg_pool2d 5", lambda x: f.adaptive_avg_pool2d(x, 5), (x,)
    yield "conv2d 3", lambda x, w, b: f.conv2d(x, w, b, padding=1), (x, t(c, c, 3, 3), b)
    yield "conv2d 1", lambda x, w, b: f.conv2d(x, w, b), (x, t(c, c, 1, 1), b)
    yield "conv2d 3, depthwise", lambda x, w, b: f.conv2d(x, w, b, padding=1, groups=c), (x, t(c, 1, 3, 3), b)


def halves(lib: Any, size: str) -> Iterator[Case]:
    """Operators of float16."""
    t = Inputs(lib, "float16")
    a, b = {"small": (32, 64), "large": (512, 512)}[size]
    x = t(a, b)
    yield "add, float16", lambda x, y: x + y, (x, t(a, b))
    yield "mul, float16", lambda x, y: x * y, (x, t(a, b))
    yield "relu, float16", lib.relu, (x,)
    yield "exp, float16", lib.exp, (x,)
    yield "sum, float16", lambda x: x.sum(1), (x,)
    yield "softmax, float16", lambda x: lib.softmax(x, -1), (x,)
    yield "matmul, float16", lambda x, y: x @ y, (x, t(b, b))


def timed(case: Case) -> tuple[Callable[[], float], Callable[[], float] | None]:
    """Functions that run an operator once, and go back over it once, and tell the seconds; None for no way back."""
    _, run, inputs = case
    clock = time.thread_time

    def forward() -> float:
        begin = clock()
        run(*inputs)
        return clock() - begin

    out = run(*inputs)
    if not out.requires_grad:
        return forward, None
    seed = out.detach().clone()

    def backward() -> float:
        out = run(*inputs)
        begin = clock()
        out.backward(seed)
        found = clock() - begin
        for x in inputs:
            x.grad = None
        return found

    return forward, backward


def table(libraries: list[str], rounds: int, chosen: str) -> None:
    """Print medians of alternating rounds, and the ratio of the last library to the first.

    Args:
        libraries: Their names.
        rounds: How often each takes its turn.
        chosen: What the names of the operators to time begin with, with commas between; all if empty.
    """
    libs = [importlib.import_module(name) for name in libraries]
    for family in (rows, images, halves):
        for size in ("small", "large"):
            for cases in zip(*(family(lib, size) for lib in libs), strict=True):
                name = cases[0][0]
                if not chosen or any(name.startswith(c) for c in chosen.split(",")):
                    _row(f"{name}, {size}", libraries, [timed(case) for case in cases], rounds)


def _row(label: str, libraries: list[str], cases: list[Any], rounds: int) -> None:
    for k, part in enumerate(("forward", "backward")):
        ways = [case[k] for case in cases]
        if None in ways:
            continue
        found: list[list[float]] = [[] for _ in ways]
        for _ in range(rounds):
            for way, times in zip(ways, found, strict=True):
                way()  # what another library left in the caches
                begin = time.perf_counter()
                while True:
                    times.append(way())
                    if time.perf_counter() - begin > 0.004:
                        break
        medians = [1e6 * statistics.median(times) for times in found]
        told = "  ".join(f"{lib} {us:7.0f} us" for lib, us in zip(libraries, medians, strict=True))
        print(f"{label:32} {part:9} {told}  {medians[-1] / medians[0]:6.2f}x", flush=True)
