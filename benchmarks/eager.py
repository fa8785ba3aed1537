"""Eager train steps beside PyTorch's, on one thread of the CPU: forward, backward and the optimiser's step apart.

``python -m benchmarks.eager`` prints for a small network of linear layers, for the digits example's convolutional one
and for a transformer the medians of alternating rounds, in microseconds of this thread on the processor, and the ratio
of the two. With ``--large``, the same of networks whose time goes to their kernels; with ``--optimizers``, what a step
of each optimiser takes for the network of linear layers; with ``--operators``, single operators
(`benchmarks.eager_operators`).
"""

import argparse
import importlib
import itertools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

# Before NumPy is imported: threads of its BLAS wait in loops, on processors that what is timed runs on.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.eager_operators import table

PARTS = ("forward", "backward", "step", "all")
Network = Callable[[Any], tuple[Any, tuple[int, ...]]]


def linear(nn: Any) -> tuple[Any, tuple[int, ...]]:
    """Three linear layers, and the shape of a batch."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), (32, 64)


def convolutional(nn: Any) -> tuple[Any, tuple[int, ...]]:
    """The network of ``examples/digits_cnn.py``, and the shape of a batch."""
    blocks = [
        [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)] for i, o in ((1, 16), (16, 32))
    ]
    head = [nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 2 * 2, 10)]
    return nn.Sequential(*blocks[0], *blocks[1], *head), (64, 1, 8, 8)


def transformer(nn: Any) -> tuple[Any, tuple[int, ...]]:
    """Two layers of an encoder and a classifier of what they give for each position, and the shape of a batch."""
    layers = [nn.TransformerEncoderLayer(64, 4, 256, 0.0, "gelu", batch_first=True) for _ in range(2)]
    return nn.Sequential(*layers, nn.LayerNorm(64), nn.Linear(64, 10), nn.Flatten(0, 1)), (4, 32, 64)


def wide(nn: Any) -> tuple[Any, tuple[int, ...]]:
    """Three linear layers as wide as those of ``benchmarks.train.mlp``."""
    layers = nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    return nn.Sequential(*layers), (256, 784)


def pooled(nn: Any) -> tuple[Any, tuple[int, ...]]:
    """Three blocks of a convolution, a norm and pooling of windows that overlap."""
    blocks = [
        [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        for i, o in ((3, 32), (32, 64), (64, 128))
    ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    return nn.Sequential(*blocks[0], *blocks[1], *blocks[2], *head), (16, 3, 64, 64)


def encoder(nn: Any) -> tuple[Any, tuple[int, ...]]:
    """Two wide layers of an encoder and a classifier of what they give for each position."""
    layers = [nn.TransformerEncoderLayer(512, 8, 2048, 0.0, "gelu", batch_first=True) for _ in range(2)]
    return nn.Sequential(*layers, nn.LayerNorm(512), nn.Linear(512, 10), nn.Flatten(0, 1)), (8, 128, 512)


LARGE: dict[str, tuple[Network, str, dict[str, Any]]] = {
    f"{f.__name__}, AdamW": (f, "AdamW", {"lr": 1e-3}) for f in (wide, pooled, encoder)
}
STEPS: dict[str, tuple[Network, str, dict[str, Any]]] = {
    "linear, AdamW": (linear, "AdamW", {"lr": 1e-3}),
    "linear, SGD": (linear, "SGD", {"lr": 1e-2, "momentum": 0.9}),
    "convolutional, AdamW": (convolutional, "AdamW", {"lr": 1e-3}),
    "transformer, AdamW": (transformer, "AdamW", {"lr": 1e-3}),
}
OPTIMIZERS = ["SGD", "Adam", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta", "Rprop", "ASGD"]


def timed_step(library: str, network: Network, optimizer: str, options: dict[str, Any]) -> Callable[[], list[float]]:
    """A function that takes one step and returns the seconds of its parts."""
    lib = importlib.import_module(library)
    lib.manual_seed(0)
    model, shape = network(lib.nn)
    made = getattr(lib.optim, optimizer)(model.parameters(), **options)
    rng = np.random.default_rng(0)
    x = lib.from_numpy(rng.standard_normal(shape).astype(np.float32))
    y = lib.from_numpy(rng.integers(0, 10, len(model(x))))
    cross_entropy, clock = lib.nn.functional.cross_entropy, time.thread_time

    def step() -> list[float]:
        times = [clock()]
        made.zero_grad()
        loss = cross_entropy(model(x), y)
        times.append(clock())
        loss.backward()
        times.append(clock())
        made.step()
        times.append(clock())
        return [*(b - a for a, b in itertools.pairwise(times)), times[-1] - times[0]]

    return step


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--libraries", default="torch,tracec", help="two or more, with commas between")
    parser.add_argument("--large", action="store_true", help="networks whose time goes to their kernels")
    parser.add_argument("--optimizers", action="store_true", help="the steps of all optimisers instead")
    parser.add_argument("--operators", nargs="?", const="", help="single operators: those that begin so, or all")
    args = parser.parse_args()
    libraries = args.libraries.split(",")
    if "torch" in libraries:
        importlib.import_module("torch").set_num_threads(1)
    if args.operators is not None:
        table(libraries, args.rounds // 4, args.operators)
        return
    chosen = {name: (linear, name, {"lr": 1e-3}) for name in OPTIMIZERS} if args.optimizers else STEPS
    chosen = LARGE if args.large else chosen
    for name, what in chosen.items():
        steps = [timed_step(library, *what) for library in libraries]
        found: list[list[list[float]]] = [[] for _ in steps]
        for k in range(args.rounds):
            for step, times in zip(steps, found, strict=True):
                block = [step() for _ in range(6)][1:]
                times += block if k else []
        for part, label in enumerate(PARTS):
            if args.optimizers and label != "step":
                continue
            medians = [1e6 * statistics.median(t[part] for t in times) for times in found]
            told = "  ".join(f"{lib} {us:6.0f} us" for lib, us in zip(libraries, medians, strict=True))
            print(f"{name:22} {label:9} {told}  {medians[-1] / medians[0]:5.2f}x")


if __name__ == "__main__":
    main()
