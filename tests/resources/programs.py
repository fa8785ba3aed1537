"""Programs that between them have every family of kernels, at many lengths of rows and in every type of floats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tracec
import tracec.nn.functional as F

#: Elements of a row: short ones, of warps, of blocks, of large blocks, of clusters, and some that packs do not divide.
LENGTHS = (64, 1000, 1024, 4096, 8192, 12288, 16384, 20000, 32768, 50304, 65536, 131072, 262144)
ODD = (257, 4099, 20001, 65537, 262143)
DTYPES = ("float32", "bfloat16", "float16", "float64")
#: How many rows: too few for a GPU, enough for its blocks, and enough for its warps.
ROWS = (9, 256, 8192)
#: Elements of an operand, at most: more are of no use to what is chosen.
MOST = 1 << 26

Function = Callable[..., Any]


@dataclass(frozen=True)
class Program:
    """A function and what it is given.

    Attributes:
        name: What it computes, and at which size.
        function: It.
        operands: Makes tensors.
    """

    name: str
    function: Function
    operands: Callable[[], tuple[Any, ...]]


def zeros(*shape: int, dtype: str = "float32", grad: bool = False) -> Any:
    """A tensor that nothing is computed of."""
    return tracec.zeros(*shape, dtype=getattr(tracec, dtype), requires_grad=grad)


def whole(*shape: int) -> Any:
    """Indices."""
    return tracec.zeros(*shape, dtype=tracec.int64)


def backward(function: Function, wrt: int) -> Function:
    """The gradients of the first operands, given that of the result as the last one."""
    return lambda *given: tracec.autograd.grad(function(*given[:-1]), given[:wrt], given[-1])


def both(function: Function, wrt: int) -> Function:
    """The result, and the gradients of the first operands."""

    def run(*given: Any) -> Any:
        found = function(*given[:-1])
        return found.detach(), *tracec.autograd.grad(found, given[:wrt], given[-1])

    return run


# Functions of rows: of x, of a weight and a bias of a row each, and of another tensor like x.


def _norm(x: Any, w: Any, b: Any, y: Any) -> Any:
    return F.layer_norm(x, x.shape[-1:], w, b)


def _rms(x: Any, w: Any, b: Any, y: Any) -> Any:
    return F.rms_norm(x, x.shape[-1:], w)


def _entropy(x: Any, w: Any, b: Any, y: Any) -> Any:
    return F.cross_entropy(x, whole(x.shape[0]), label_smoothing=0.1)


def _residual(x: Any, w: Any, b: Any, y: Any) -> Any:
    total = x + F.dropout(y, 0.1)
    return total, F.layer_norm(total, x.shape[-1:], w, b)


FORWARD: dict[str, Function] = {
    "softmax": lambda x, w, b, y: F.softmax(x, -1),
    "softmax of a mask": lambda x, w, b, y: F.softmax(x.masked_fill(y > 0, float("-inf")) * 0.125, -1),
    "log_softmax": lambda x, w, b, y: F.log_softmax(x * 3 + b, -1),
    "gumbel": lambda x, w, b, y: F.gumbel_softmax(x, 0.5),
    "layer norm": _norm,
    "layer norm alone": lambda x, w, b, y: F.layer_norm(x, x.shape[-1:]),
    "residual": _residual,
    "layer norm, gelu": lambda x, w, b, y: F.gelu(_norm(x + y, w, b, y)),
    "RMS norm": _rms,
    "RMS norm, silu": lambda x, w, b, y: F.silu(_rms(x, w, b, y)) * y,
    "normalize": lambda x, w, b, y: F.normalize(x, dim=-1),
    "cosine": lambda x, w, b, y: F.cosine_similarity(x, y, -1),
    "cross-entropy": lambda x, w, b, y: F.cross_entropy(x, whole(x.shape[0])),
    "cross-entropy of probabilities": lambda x, w, b, y: F.cross_entropy(x, y),
    "divergence": lambda x, w, b, y: F.kl_div(F.log_softmax(x, -1), F.softmax(y, -1), reduction="batchmean"),
    "entropy": lambda x, w, b, y: -(F.softmax(x, -1) * F.log_softmax(x, -1)).sum(-1),
    "logsumexp": lambda x, w, b, y: x.logsumexp(-1),
    "variance": lambda x, w, b, y: (x.var(-1), x.std(-1, keepdim=True) * x),
    "standardised": lambda x, w, b, y: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5),
    "extremes": lambda x, w, b, y: (x - x.amin(-1, keepdim=True)) / (x.amax(-1, keepdim=True) + 1e-5),
    "argmax": lambda x, w, b, y: (x.argmax(-1), y.min(-1)),
    "mean and sum": lambda x, w, b, y: ((x * w + b).mean(-1), (x * y).sum(-1)),
    "product": lambda x, w, b, y: x.prod(-1),
    "norms": lambda x, w, b, y: (x.norm(dim=-1), x.norm(p=3, dim=-1), x.abs().sum(-1)),
    "cumsum": lambda x, w, b, y: x.cumsum(-1),
    "columns": lambda x, w, b, y: ((x * y).sum(0), F.softmax(x, 0)),
    "columns, variance": lambda x, w, b, y: x.var(0),
    "all": lambda x, w, b, y: ((x * y).sum(), x.amax(), x.square().mean()),
    "transposed": lambda x, w, b, y: (x.T.contiguous(), F.softmax(y.T * 2, 0)),
    "strided": lambda x, w, b, y: F.softmax(x.flip(-1)[:, ::2] * 2, -1),
    "dropout": lambda x, w, b, y: F.dropout(x, 0.1) + y,
    "gelu chain": lambda x, w, b, y: F.gelu(x * w + b) * y,
    "swiglu": lambda x, w, b, y: F.silu(x) * y,
    "quantised": lambda x, w, b, y: (x / x.abs().amax(-1, keepdim=True) * 127).round(),
}
#: Name → the function and how many of its operands have gradients.
BACKWARD: dict[str, tuple[Function, int]] = {
    "softmax": (FORWARD["softmax"], 1),
    "softmax of a mask": (FORWARD["softmax of a mask"], 1),
    "log_softmax": (FORWARD["log_softmax"], 1),
    "layer norm": (_norm, 3),
    "layer norm of x": (_norm, 1),
    "layer norm alone": (FORWARD["layer norm alone"], 1),
    "layer norm, gelu": (FORWARD["layer norm, gelu"], 3),
    "residual": (lambda *given: _residual(*given)[1], 3),
    "RMS norm": (_rms, 2),
    "RMS norm of x": (_rms, 1),
    "RMS norm, silu": (FORWARD["RMS norm, silu"], 2),
    "normalize": (FORWARD["normalize"], 1),
    "cosine": (FORWARD["cosine"], 1),
    "logsumexp": (FORWARD["logsumexp"], 1),
    "standardised": (FORWARD["standardised"], 1),
    "norms": (lambda x, w, b, y: x.norm(dim=-1), 1),
    "cumsum": (FORWARD["cumsum"], 1),
    "dropout": (FORWARD["dropout"], 1),
    "gelu chain": (FORWARD["gelu chain"], 3),
    "swiglu": (FORWARD["swiglu"], 1),
    "column softmax": (lambda x, w, b, y: F.softmax(x, 0), 1),
}
#: Of which the gradient of the result is one number.
LOSSES = {
    "cross-entropy": FORWARD["cross-entropy"],
    "cross-entropy, smoothed": _entropy,
    "cross-entropy of probabilities": FORWARD["cross-entropy of probabilities"],
    "divergence": FORWARD["divergence"],
}


def of_rows(length: int, rows: int, dtype: str) -> Iterator[Program]:
    """Programs of so many rows."""
    size = f"{rows}×{length} {dtype}"

    def given(grads: int = 0, ct: tuple[int, ...] | None = None) -> Callable[[], tuple[Any, ...]]:
        shapes = ((rows, length), (length,), (length,), (rows, length))
        last = () if ct is None else (ct,)
        return lambda: tuple(
            zeros(*shape, dtype=dtype, grad=place < grads) for place, shape in enumerate((*shapes, *last))
        )

    for name, function in FORWARD.items():
        yield Program(f"{name} {size}", function, given())
    for name, (function, grads) in BACKWARD.items():
        ct = (rows,) if name in ("logsumexp", "norms", "cosine") else (rows, length)
        yield Program(f"{name}, backward {size}", backward(function, grads), given(grads, ct))
        yield Program(f"{name}, both {size}", both(function, grads), given(grads, ct))
    for name, function in LOSSES.items():
        yield Program(f"{name}, backward {size}", backward(function, 1), given(1, ()))
        yield Program(f"{name}, both {size}", both(function, 1), given(1, ()))


def many_rows(length: int) -> tuple[int, ...]:
    """How many rows of a length there are."""
    return tuple(n for n in ROWS if n * length <= MOST or n == ROWS[0])


# Others ---------------------------------------------------------------------------------------------------


def _attention(causal: bool, dropout: float = 0.0, mask: bool = False) -> Function:
    def run(q: Any, k: Any, v: Any, m: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, m if mask else None, dropout, causal)

    return run


def _images(n: int, channels: int, size: int, dtype: str) -> Callable[[], tuple[Any, ...]]:
    return lambda: (
        zeros(n, channels, size, size, dtype=dtype, grad=True),
        zeros(channels, channels, 3, 3, dtype=dtype, grad=True),
        *(zeros(channels, dtype=dtype, grad=True) for _ in range(2)),
    )


IMAGES: dict[str, Function] = {
    "conv": lambda x, k, w, b: F.conv2d(x, k, b, padding=1),
    "conv, stride": lambda x, k, w, b: F.relu(F.conv2d(x, k, b, stride=2)),
    "conv, norm": lambda x, k, w, b: F.silu(F.group_norm(F.conv2d(x, k, padding=1), 8, w, b)),
    "group norm": lambda x, k, w, b: F.group_norm(x, 8, w, b),
    "instance norm": lambda x, k, w, b: F.instance_norm(x, weight=w, bias=b),
    "batch norm": lambda x, k, w, b: F.relu(F.batch_norm(x, None, None, w, b, training=True)),
    "pools": lambda x, k, w, b: F.max_pool2d(x, 2) + F.avg_pool2d(x, 2),
    "resized": lambda x, k, w, b: F.interpolate(x, scale_factor=2, mode="bilinear"),
}


def of_images(dtype: str) -> Iterator[Program]:
    """Convolutions and what stands around them."""
    for n, channels, size in ((8, 64, 56), (32, 16, 14), (4, 256, 8), (2, 32, 256)):
        for name, function in IMAGES.items():
            operands = _images(n, channels, size, dtype)
            title = f"{n}×{channels}×{size} {dtype}"
            yield Program(f"{name} {title}", lambda *g, f=function: f(*(t.detach() for t in g)), operands)
            used = 3 if "norm" in name else 1

            def gradient(*given: Any, f: Function = function, used: int = used) -> Any:
                of = given[:1] if used == 1 else (given[0], given[2], given[3])
                return tracec.autograd.grad(f(*given).square().sum(), of)

            yield Program(f"{name}, backward {title}", gradient, operands)


def of_products(dtype: str) -> Iterator[Program]:
    """Products of matrices with what is computed around them, and attention."""

    def mlp(x: Any, w: Any, b: Any, u: Any) -> Any:
        return x + F.linear(F.gelu(F.linear(F.layer_norm(x, x.shape[-1:]), w, b)), u)

    for n, width in ((64, 128), (2048, 768), (4096, 1024), (100, 1001)):
        operands = lambda n=n, width=width: (  # noqa: E731
            zeros(n, width, dtype=dtype, grad=True), zeros(4 * width, width, dtype=dtype, grad=True),
            zeros(4 * width, dtype=dtype, grad=True), zeros(width, 4 * width, dtype=dtype, grad=True),
        )  # fmt: skip
        title = f"{n}×{width} {dtype}"
        yield Program(f"mlp {title}", lambda *g: mlp(*(t.detach() for t in g)), operands)
        yield Program(f"mlp, backward {title}", lambda *g: tracec.autograd.grad(mlp(*g).sum(), g), operands)
        yield Program(
            f"linear, softmax {title}", lambda x, w, b, u: F.softmax(F.linear(x, w, b).detach(), -1), operands
        )
    for steps, size in ((128, 64), (1024, 64), (1024, 128), (777, 80), (4096, 32)):
        for name, function in {
            "attention": _attention(False),
            "causal attention": _attention(True),
            "attention with dropout": _attention(False, 0.1),
            "attention with a mask": _attention(False, mask=True),
        }.items():
            operands = lambda steps=steps, size=size: (  # noqa: E731
                *(zeros(2, 4, steps, size, dtype=dtype, grad=True) for _ in range(3)),
                zeros(steps, steps, dtype=dtype),
            )
            title = f"{steps}×{size} {dtype}"
            yield Program(f"{name} {title}", lambda *g, f=function: f(*(t.detach() for t in g)), operands)
            yield Program(
                f"{name}, backward {title}",
                lambda *g, f=function: tracec.autograd.grad(f(*g).square().sum(), g[:3]), operands,
            )  # fmt: skip


def _steps(make: Callable[[Any], Any]) -> Function:
    def run(*given: Any) -> Any:
        parameters, gradients = given[: len(given) // 2], given[len(given) // 2 :]
        optimiser = make([tracec.nn.Parameter(p) for p in parameters])
        for _ in range(2):
            for p, g in zip(optimiser.param_groups[0]["params"], gradients, strict=True):
                p.grad = g
            optimiser.step()
        return tuple(p.detach() for p in optimiser.param_groups[0]["params"])

    return run


OPTIMISERS = {
    "SGD": lambda p: tracec.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "Adam": lambda p: tracec.optim.Adam(p, 0.1),
    "AdamW": lambda p: tracec.optim.AdamW(p, 0.1, amsgrad=True),
    "RMSprop": lambda p: tracec.optim.RMSprop(p, 0.1, momentum=0.9, centered=True),
    "Adagrad": lambda p: tracec.optim.Adagrad(p, 0.1),
    "NAdam": lambda p: tracec.optim.NAdam(p, 0.1),
    "RAdam": lambda p: tracec.optim.RAdam(p, 0.1),
    "Adadelta": lambda p: tracec.optim.Adadelta(p, 0.1),
    "Adamax": lambda p: tracec.optim.Adamax(p, 0.1),
    "Rprop": lambda p: tracec.optim.Rprop(p, 0.1),
    "ASGD": lambda p: tracec.optim.ASGD(p, 0.1),
}


def of_elements(dtype: str) -> Iterator[Program]:
    """Gathers, scatters, scans, sorts, random numbers, updates."""
    for width in (36, 64, 768, 1024, 4096, 16384):
        for tokens, table in ((16384, 50304), (77, 50), (1 << 16, 1000)):
            if tokens * width > MOST:
                continue
            operands = lambda w=width, t=tokens, n=table: (  # noqa: E731
                zeros(n, w, dtype=dtype, grad=True), whole(t), zeros(t, w, dtype=dtype), zeros(w, dtype=dtype)
            )  # fmt: skip
            title = f"{tokens} of {table}×{width} {dtype}"
            yield Program(f"embedding {title}", lambda e, i, ct, w: F.embedding(i, e.detach()) * w, operands)
            yield Program(
                f"embedding, norm {title}",
                lambda e, i, ct, w: F.layer_norm(F.embedding(i, e.detach()) + ct, w.shape, w), operands,
            )  # fmt: skip
            gradient = lambda e, i, ct, w: tracec.autograd.grad(F.embedding(i, e), (e,), ct)  # noqa: E731
            yield Program(f"embedding, backward {title}", gradient, operands)
            yield Program(f"index_copy {title}", lambda e, i, ct, w: e.detach().index_copy(0, i, ct), operands)
    for shape in ((4096, 4096), (64, 100), (3, 1 << 20), (1 << 24,), (1000, 1), (7, 20001)):
        operands = lambda shape=shape: (zeros(*shape, dtype=dtype),)  # noqa: E731
        title = f"{'×'.join(map(str, shape))} {dtype}"
        for name, function in {
            "cumsum": lambda x: x.cumsum(-1),
            "cumsum of columns": lambda x: x.cumsum(0),
            "cumprod": lambda x: x.cumprod(-1),
            "cummax": lambda x: x.cummax(-1),
            "logcumsumexp": lambda x: x.logcumsumexp(-1),
            "logcumsumexp of columns": lambda x: x.logcumsumexp(0),
            "sort": lambda x: tuple(tracec.sort(x, dim=-1)),
            "sort of columns": lambda x: tuple(tracec.sort(x, dim=0, descending=True)),
            "topk": lambda x: tuple(x.topk(min(10, x.shape[-1]), -1)),
            "median": lambda x: tuple(x.median(-1)),
            "uniform": lambda x: tracec.rand_like(x) + x,
            "normal": lambda x: tracec.randn_like(x) * x,
            "noise of rows": lambda x: F.softmax(x + tracec.randn_like(x), -1),
            "bernoulli": lambda x: tracec.bernoulli(x),
            "exponential": lambda x: x.clone().exponential_(),
            "alpha dropout": lambda x: F.alpha_dropout(x, 0.1, training=True),
            "erfinv, lgamma": lambda x: tracec.erfinv(x) + tracec.lgamma(x),
            "digamma": lambda x: tracec.digamma(x),
            "powers": lambda x: (x.abs() ** 1.7).sin().atan2(x) % 0.3,
            "bessel": lambda x: tracec.special.i0(x) + tracec.special.i1e(x) + tracec.special.ndtri(x),
            "sum, everything": lambda x: (x.sum(), x.logsumexp(tuple(range(x.ndim))), x.argmax()),
            "where": lambda x: tracec.where(x > 0, x, x.exp() - 1).to(tracec.float32),
            "integers": lambda x: ((x * 100).to(tracec.int64) // 7, (x * 100).to(tracec.int32) % 7),
            "turned": lambda x: x.reshape(-1, x.shape[0]).T.contiguous() if x.ndim > 1 else x.flip(0) + x,
            "pads": lambda x: F.pad(x, (3, 5)).roll(2, -1) * 2,
        }.items():  # fmt: skip
            yield Program(f"{name} {title}", function, operands)
    shapes = [(1024, 1024), (1001,), (3, 7), (1024,), (4096, 1024)]
    for name, make in OPTIMISERS.items():
        operands = lambda: tuple(zeros(*s, dtype=dtype) for s in (*shapes, *shapes))  # noqa: E731
        yield Program(f"{name} {dtype}", _steps(make), operands)


def _recurrent(kind: str) -> Function:
    def run(x: Any) -> Any:
        net = getattr(tracec.nn, kind)(x.shape[-1], 96, num_layers=2, batch_first=True)
        found = net(x)[0]
        return (found.detach(), *tracec.autograd.grad(found.sum(), tuple(net.parameters())))

    return run


def layers(dtype: str) -> Iterator[Program]:
    """Modules of several layers, where kernels are joined."""
    if dtype != "float32":
        return
    for kind in ("LSTM", "GRU", "RNN"):
        yield Program(f"{kind}, both", _recurrent(kind), lambda: (zeros(16, 6, 80),))

    def encoder(x: Any) -> Any:
        net = tracec.nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
        found = net(x)
        return (found.detach(), *tracec.autograd.grad(found.sum(), tuple(net.parameters())))

    yield Program("encoder, both", encoder, lambda: (zeros(8, 128, 256),))


def programs(lengths: tuple[int, ...] = (*LENGTHS, *ODD), dtypes: tuple[str, ...] = DTYPES) -> Iterator[Program]:
    """All programs."""
    for dtype in dtypes:
        for length in lengths:
            for rows in many_rows(length):
                yield from of_rows(length, rows, dtype)
        yield from of_products(dtype)
        yield from of_images(dtype)
        yield from of_elements(dtype)
        yield from layers(dtype)
