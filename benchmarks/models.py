"""Train steps of well-known models: ``python -m benchmarks --models``.

Image models are torchvision's for torch and those of the same names in ``tracec.vision`` for tracec, with what drops at
random switched off. They are small enough in pixels and batches for two cores, and whole in layers: what is asked is
how long a compiler takes for a model that people train, and what its step gains.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.train import gpt_model, initialise, labels, train_step
from benchmarks.workload import Arrays, Context, Function, Workload, normal

#: Steps are small: what rounding changes in a deep net of norms over a few numbers doubles with each.
RATE = 1e-5
TOLERANCE = 1e-3
CLASSES = 10


def vision_models(xp: Any) -> Any:
    """Return the module that has the image models for ``torch`` or ``tracec``."""
    if xp.__name__ == "tracec":
        return importlib.import_module("tracec.vision.models")
    # Only its models are needed, which are Python. What it tells of its operators would ask for a build of them
    # beside this very torch.
    sys.modules.setdefault("torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))
    return importlib.import_module("torchvision.models")


def without_drops(model: Any) -> Any:
    """Switch off what leaves out values or layers at random: its draws differ from engine to engine."""
    for module in model.modules():
        if type(module).__name__ in ("Dropout", "StochasticDepth"):
            module.p = 0.0
    return model


def with_momentum(ctx: Context, model: Any) -> Function:
    """Return a train step with SGD and momentum."""
    return train_step(ctx, model, ctx.xp.optim.SGD(model.parameters(), lr=RATE, momentum=0.9))


def with_adamw(ctx: Context, model: Any) -> Function:
    """Return a train step with AdamW."""
    return train_step(ctx, model, ctx.xp.optim.AdamW(model.parameters(), lr=RATE))


def image(name: str, batch: int, side: int, large: int = 64) -> Workload:
    """Return the train step of an image model.

    Args:
        name: Its name in torchvision.
        batch: Images.
        side: Pixels of a side.
        large: Images of 224 x 224 on a GPU.
    """

    def build(ctx: Context) -> Function:
        made = getattr(vision_models(ctx.xp), name)(weights=None, num_classes=CLASSES)
        return with_momentum(ctx, initialise(ctx, without_drops(made)))

    def inputs(images: int, pixels: int) -> Arrays:
        return (*normal((images, 3, pixels, pixels)), labels(images, CLASSES))

    return Workload(
        name,
        f"{name}, {batch} x 3 x {side} x {side}",
        "train",
        lambda: inputs(batch, side),
        build,
        tolerance=TOLERANCE,
        large=(f"{name}, {large} x 3 x 224 x 224", lambda: inputs(large, 224)),
    )


def unet(ctx: Context) -> Function:
    """A U-Net of four resolutions, 32 to 256 channels, for masks of images."""
    xp, nn = ctx.xp, ctx.xp.nn

    def double(inside: int, outside: int) -> Any:
        convolution = lambda i: [  # noqa: E731
            nn.Conv2d(i, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
        ]  # fmt: skip
        return nn.Sequential(*convolution(inside), *convolution(outside))

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (32, 64, 128, 256)
            self.down = nn.ModuleList([double(i, o) for i, o in zip((3, *widths[:-1]), widths, strict=True)])
            self.pool = nn.MaxPool2d(2)
            pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
            self.up = nn.ModuleList([nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in pairs])
            self.join = nn.ModuleList([double(2 * o, o) for _, o in pairs])
            self.head = nn.Conv2d(widths[0], 2, 1)

        def forward(self, x: Any) -> Any:
            kept: list[Any] = []
            for block in self.down:
                x = block(self.pool(x) if kept else x)
                kept.append(x)
            for up, join, skip in zip(self.up, self.join, kept[-2::-1], strict=True):
                x = join(xp.cat([skip, up(x)], dim=1))
            return self.head(x)

    return with_adamw(ctx, initialise(ctx, UNet()))


def masks(images: int, side: int) -> Arrays:
    """Return images and one of two classes for each of their pixels."""
    return (*normal((images, 3, side, side)), labels(images * side * side, 2).reshape(images, side, side))


def encoder(ctx: Context) -> Function:
    """Six layers of an encoder, 512 wide, with a class for each sequence."""
    nn = ctx.xp.nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(512, 8, 2048, 0.0, "gelu", batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
            self.embedding, self.head = nn.Embedding(10_000, 512), nn.Linear(512, CLASSES)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.layers(self.embedding(tokens)).mean(1))

    return with_adamw(ctx, initialise(ctx, Classifier()))


def gpt2(ctx: Context) -> Function:
    """The size of GPT-2: 12 layers, 768 wide, 12 heads, a vocabulary of 50,257."""
    return with_adamw(
        ctx, initialise(ctx, gpt_model(ctx, vocabulary=50_257, layers=12, width=768, heads=12, length=1024))
    )


def language_lstm(ctx: Context) -> Function:
    """A language model of two LSTM layers, 256 wide, with a vocabulary of 10,000."""
    nn = ctx.xp.nn

    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.lstm = nn.Embedding(10_000, 256), nn.LSTM(256, 256, 2)
            self.head = nn.Linear(256, 10_000)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.lstm(self.embedding(tokens))[0]).flatten(0, 1)

    return with_momentum(ctx, initialise(ctx, Language()))


def tokens(rows: int, length: int, vocabulary: int, targets: int, classes: int) -> Arrays:
    """Return sequences of tokens, and targets."""
    rng = np.random.default_rng(1)
    return rng.integers(0, vocabulary, (rows, length)), labels(targets, classes)


MODELS = (
    image("resnet18", 8, 96, 128),
    image("resnet50", 4, 96),
    image("densenet121", 4, 96),
    image("mobilenet_v2", 8, 96),
    image("shufflenet_v2_x1_0", 8, 96, 128),
    image("regnet_y_400mf", 8, 96),
    image("efficientnet_b0", 8, 96),
    image("convnext_tiny", 2, 96),
    image("vit_b_32", 2, 224),
    image("swin_t", 1, 224),
    Workload(
        "unet",
        "U-Net, 4 x 3 x 64 x 64",
        "train",
        lambda: masks(4, 64),
        unet,
        tolerance=TOLERANCE,
        large=("U-Net, 32 x 3 x 256 x 256", lambda: masks(32, 256)),
    ),
    Workload(
        "encoder",
        "encoder, 6 layers, 512 wide, 4 x 128",
        "train",
        lambda: tokens(4, 128, 10_000, 4, CLASSES),
        encoder,
        tolerance=TOLERANCE,
        large=("encoder, 6 layers, 512 wide, 64 x 128", lambda: tokens(64, 128, 10_000, 64, CLASSES)),
    ),
    Workload(
        "gpt2",
        "GPT-2, 12 layers, 768 wide, 1 x 128",
        "train",
        lambda: tokens(1, 128, 50_257, 128, 50_257),
        gpt2,
        tolerance=TOLERANCE,
        large=("GPT-2, 12 layers, 768 wide, 4 x 1024", lambda: tokens(4, 1024, 50_257, 4096, 50_257)),
        small=lambda: tokens(1, 8, 50_257, 8, 50_257),
    ),
    Workload(
        "language_lstm",
        "language model of two LSTMs, 35 x 20",
        "train",
        lambda: tokens(35, 20, 10_000, 700, 10_000),
        language_lstm,
        tolerance=TOLERANCE,
        large=("language model of two LSTMs, 35 x 128", lambda: tokens(35, 128, 10_000, 4480, 10_000)),
        small=lambda: tokens(5, 3, 10_000, 15, 10_000),
    ),
)
