"""Train steps in PyTorch's style: gradients cleared, loss, backward and optimiser in one function.

Weights come from their names and shapes, so that every engine starts from the same model.
"""

import functools
import math
import zlib
from typing import Any

import numpy as np

from benchmarks.workload import Arrays, Context, Function, Workload, normal


def initial_value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a parameter's first value: scaled normal weights, scales of norms one, biases zero."""
    if len(shape) >= 2:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return (rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
    return np.full(shape, 0.0 if "bias" in name else 1.0, np.float32)


def initialise(ctx: Context, model: Any) -> Any:
    """Give the model its first values, dtype and device."""
    with ctx.xp.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(ctx.xp.from_numpy(initial_value(name, tuple(parameter.shape))))
    model = model.to(ctx.device)
    return model.double() if ctx.double else model


def train_step(ctx: Context, model: Any, optimizer: Any) -> Function:
    """Return the function that is timed: one step on one batch, giving the loss."""
    functional = ctx.xp.nn.functional

    def step(x: Any, target: Any) -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    return step


def mlp(ctx: Context) -> Function:
    """Three linear layers, 784-1024-1024-10, with AdamW."""
    nn = ctx.xp.nn
    layers = nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    model = initialise(ctx, nn.Sequential(*layers))
    return train_step(ctx, model, ctx.xp.optim.AdamW(model.parameters(), lr=1e-4))


def cnn(ctx: Context) -> Function:
    """Three blocks of convolution, batch norm and relu, two of them pooled, with SGD and momentum."""
    nn = ctx.xp.nn
    layers: list[Any] = []
    for channels_in, channels, pool in ((3, 32, True), (32, 64, True), (64, 64, False)):
        layers += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
    model = initialise(ctx, nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 8 * 8, 10)))
    return train_step(ctx, model, ctx.xp.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9))


def gpt_model(ctx: Context, vocabulary: int, layers: int, width: int, heads: int, length: int) -> Any:
    """Return a decoder-only transformer with pre-norm blocks and learned positions."""
    xp, nn = ctx.xp, ctx.xp.nn
    functional = nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            batch, tokens, _ = x.shape
            parts = self.qkv(self.norm1(x)).split(width, dim=2)
            q, k, v = (part.view(batch, tokens, heads, width // heads).transpose(1, 2) for part in parts)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.project(y.transpose(1, 2).reshape(batch, tokens, width))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.blocks = nn.ModuleList([Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens: Any) -> Any:
            x = self.token(tokens) + self.position(xp.arange(tokens.shape[1], device=tokens.device))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)).view(-1, vocabulary)

    return GPT()


def gpt(ctx: Context) -> Function:
    """Four layers, 256 wide, 8 heads, 1,024 tokens in the vocabulary, with AdamW."""
    model = initialise(ctx, gpt_model(ctx, vocabulary=1024, layers=4, width=256, heads=8, length=128))
    return train_step(ctx, model, ctx.xp.optim.AdamW(model.parameters(), lr=1e-4))


def unrolled_lstm(nn: Any, xp: Any, width: int) -> type:
    """Return an LSTM as a Python loop over time, with the names and the layout of ``torch.nn.LSTM``."""

    class LSTM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("weight_ih_l0", "weight_hh_l0"):
                setattr(self, name, nn.Parameter(xp.zeros(4 * width, width)))
            for name in ("bias_ih_l0", "bias_hh_l0"):
                setattr(self, name, nn.Parameter(xp.zeros(4 * width)))

        def forward(self, x: Any) -> Any:
            hidden = cell = xp.zeros(x.shape[1], width, dtype=x.dtype, device=x.device)
            projected = x @ self.weight_ih_l0.t() + (self.bias_ih_l0 + self.bias_hh_l0)
            for t in range(x.shape[0]):
                gates = projected[t] + hidden @ self.weight_hh_l0.t()
                i, f, g, o = gates.chunk(4, dim=1)
                cell = xp.sigmoid(f) * cell + xp.sigmoid(i) * xp.tanh(g)
                hidden = xp.sigmoid(o) * xp.tanh(cell)
            return hidden

    return LSTM


def lstm(ctx: Context) -> Function:
    """32 steps of an LSTM, 128 wide, batch 32; a linear layer classifies its last state; AdamW."""
    nn, width = ctx.xp.nn, 128
    # torch has its own fused LSTM; a library without one runs the loop that its user would write.
    built_in = getattr(nn, "LSTM", None)

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = built_in(width, width) if built_in else unrolled_lstm(nn, ctx.xp, width)()
            self.head = nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][-1] if built_in else self.lstm(x))

    model = initialise(ctx, Classifier())
    return train_step(ctx, model, ctx.xp.optim.AdamW(model.parameters(), lr=1e-3))


def labels(count: int, classes: int) -> np.ndarray:
    """Return class numbers as int64."""
    return np.random.default_rng(1).integers(0, classes, count)


def gpt_batch(rows: int, length: int = 128) -> Arrays:
    """Return rows of so many tokens and the tokens to predict."""
    return np.random.default_rng(0).integers(0, 1024, (rows, length)), labels(rows * length, 1024)


def mlp_batch(rows: int) -> Arrays:
    """Return rows of 784 numbers and their classes."""
    return *normal((rows, 784)), labels(rows, 10)


def cnn_batch(images: int) -> Arrays:
    """Return images of 3 x 32 x 32 and their classes."""
    return *normal((images, 3, 32, 32)), labels(images, 10)


def mlp_jax() -> Function:
    """The MLP's train step for jax, with AdamW written out. Source: Loshchilov, Hutter, 2019, algorithm 2."""
    import jax
    import jax.numpy as jnp

    names = {"0": (1024, 784), "2": (1024, 1024), "4": (10, 1024)}
    weights = {f"{n}.weight": jnp.asarray(initial_value(f"{n}.weight", shape)) for n, shape in names.items()}
    weights |= {f"{n}.bias": jnp.zeros(shape[0], jnp.float32) for n, shape in names.items()}
    rate, beta1, beta2, epsilon, decay = 1e-4, 0.9, 0.999, 1e-8, 1e-2

    def loss_of(w: Any, x: Any, target: Any) -> Any:
        for n in ("0", "2"):
            x = jax.nn.relu(x @ w[f"{n}.weight"].T + w[f"{n}.bias"])
        logits = jax.nn.log_softmax(x @ w["4.weight"].T + w["4.bias"])
        return -jnp.take_along_axis(logits, target[:, None], 1).mean()

    def adamw(w: Any, g: Any, m: Any, v: Any, step: Any) -> Any:
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        update = m / (1 - beta1**step) / (jnp.sqrt(v / (1 - beta2**step)) + epsilon)
        return w * (1 - rate * decay) - rate * update, m, v

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, x: Any, target: Any) -> Any:
        w, m, v, step = state
        loss, g = jax.value_and_grad(loss_of)(w, x, target)
        new = {name: adamw(w[name], g[name], m[name], v[name], step + 1) for name in w}
        parts = ({name: triple[i] for name, triple in new.items()} for i in range(3))
        return (*parts, step + 1), loss

    m, v = ({name: jnp.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    state: Any = (weights, m, v, jnp.float32(0))

    def step(x: Any, target: Any) -> Any:
        nonlocal state
        state, loss = update(state, x, target)
        return loss

    return step


# Losses after a few steps in float32 differ from float64 by rounding that training multiplies.
TRAIN_TOLERANCE = 1e-4

TRAIN = (
    Workload(
        "mlp",
        "train MLP 784-1024-1024-10, batch 256",
        "train",
        lambda: mlp_batch(256),
        mlp,
        jax=mlp_jax,
        tolerance=TRAIN_TOLERANCE,
        large=("train MLP 784-1024-1024-10, batch 4096", lambda: mlp_batch(4096)),
    ),
    Workload(
        "cnn",
        "train CNN, batch 64, 3 x 32 x 32",
        "train",
        lambda: cnn_batch(64),
        cnn,
        tolerance=TRAIN_TOLERANCE,
        large=("train CNN, batch 512, 3 x 32 x 32", lambda: cnn_batch(512)),
    ),
    Workload(
        "gpt",
        "train GPT, 4 layers, 256 wide, 4 x 128",
        "train",
        lambda: gpt_batch(4),
        gpt,
        tolerance=TRAIN_TOLERANCE,
        large=("train GPT, 4 layers, 256 wide, 64 x 128", lambda: gpt_batch(64)),
        small=lambda: gpt_batch(1, 8),
    ),
    Workload(
        "lstm",
        "train LSTM, 32 steps, 128 wide",
        "train",
        lambda: (*normal((32, 32, 128)), labels(32, 10)),
        lstm,
        tolerance=TRAIN_TOLERANCE,
        small=lambda: (*normal((5, 3, 128)), labels(3, 10)),
    ),
)
