"""Train a small convolutional network on scikit-learn's handwritten digits.

    python examples/digits_cnn.py                      # compiled, for this machine's CPU
    python examples/digits_cnn.py --eager              # the same numbers without compiling
    python examples/digits_cnn.py --dump dump/         # also write every stage of every compilation
    python examples/digits_cnn.py --plot digits.png    # a picture of the losses

The data are 1,797 images of 8 x 8 pixels that come with scikit-learn: nothing is downloaded.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, precision_score, recall_score
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import tracec
import tracec.nn.functional as F
from tracec import nn
from tracec.utils.data import DataLoader, TensorDataset

BATCH = 64
# Validation and test sets are of one size, so that a compiled evaluation is compiled once.
HELD_OUT = 270


class DigitsCNN(nn.Module):
    """Two blocks of convolution, batch norm and pooling, then dropout and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 2 * 2, 10))

    def forward(self, images: tracec.Tensor) -> tracec.Tensor:
        """Map images, shape ``(n, 1, 8, 8)``, to the logits of ten classes, shape ``(n, 10)``."""
        return self.head(self.features(images))


@dataclass
class Report:
    """What a run found; ``--json`` writes it as it is."""

    accuracy: float = 0.0
    precision: float = 0.0
    recall: float = 0.0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # of each step
    validation_losses: list[float] = field(default_factory=list)  # of each epoch
    milliseconds_per_step: dict[str, float] = field(default_factory=dict)


def load_splits(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return train, validation and test images (float32 in 0..1, ``(n, 1, 8, 8)``) with their labels."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = labels.astype(np.int64)
    x, x_test, y, y_test = train_test_split(images, labels, test_size=HELD_OUT, stratify=labels, random_state=seed)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=HELD_OUT, stratify=y, random_state=seed)
    return {"train": (x_train, y_train), "validation": (x_val, y_val), "test": (x_test, y_test)}


def shift_randomly(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move each image by up to one pixel along each axis; what comes into view is blank."""
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(1, 2))
    down, right = rng.integers(0, 3, (2, len(images)))
    return np.ascontiguousarray(windows[np.arange(len(images)), down, right][:, None])


def make_step(model: nn.Module, optimizer: tracec.optim.Optimizer) -> Callable[..., tracec.Tensor]:
    """Return a function that trains ``model`` on one batch and gives the loss."""

    def train_step(images: tracec.Tensor, labels: tracec.Tensor) -> tracec.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


class Trainer:
    """A model, its optimiser and the functions that run them, eager or compiled."""

    def __init__(self, args: argparse.Namespace, compiled: bool) -> None:
        tracec.manual_seed(args.seed)
        self.device = "cuda" if args.target == "cuda" else "cpu"
        self.model = DigitsCNN().to(self.device)
        optimizer = tracec.optim.AdamW(self.model.parameters(), lr=args.lr, weight_decay=0.01)
        self.step, self.predict = make_step(self.model, optimizer), self.model
        if compiled:
            self.step = tracec.compile(self.step, target=args.target)
            self.predict = tracec.compile(self.predict, target=args.target)

    def batches(self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Iterator[tuple]:
        """Yield shuffled, shifted batches on the model's device; a smaller last batch is left out."""
        data = TensorDataset(tracec.from_numpy(images), tracec.from_numpy(labels))
        for x, y in DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True):
            yield tracec.from_numpy(shift_randomly(x.numpy(), rng)).to(self.device), y.to(self.device)

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean loss and the predicted classes, with dropout off and stored batch statistics."""
        self.model.eval()
        with tracec.no_grad():
            logits = self.predict(tracec.from_numpy(images).to(self.device)).cpu()
            loss = F.cross_entropy(logits, tracec.from_numpy(labels)).item()
        self.model.train()
        return loss, logits.numpy().argmax(axis=1)

    def fit(self, splits: dict[str, tuple[np.ndarray, np.ndarray]], epochs: int, seed: int, report: Report) -> None:
        """Train for a number of epochs, adding losses to the report."""
        rng = np.random.default_rng(seed)
        with tqdm(range(epochs), unit="epoch", mininterval=0.5) as progress:
            for _ in progress:
                for x, y in self.batches(*splits["train"], rng):
                    report.losses.append(self.step(x, y).item())
                loss, predicted = self.evaluate(*splits["validation"])
                report.validation_losses.append(loss)
                accuracy = accuracy_score(splits["validation"][1], predicted)
                status = f"loss {report.losses[-1]:.3f}, validation loss {loss:.3f}, accuracy {accuracy:.1%}"
                progress.set_postfix_str(status, refresh=False)


def compare_speed(args: argparse.Namespace, splits: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Return the median milliseconds of a train step, eager and compiled, taken in alternating rounds."""
    trainers = {"eager": Trainer(args, compiled=False), "compiled": Trainer(args, compiled=True)}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    x, y = next(trainers["eager"].batches(*splits["train"], np.random.default_rng(0)))
    for round_number in range(6):
        for name, trainer in trainers.items():
            start = time.perf_counter()
            for _ in range(5):
                trainer.step(x, y).item()
            if round_number:  # the first round compiles
                times[name].append((time.perf_counter() - start) / 5 * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def plot_losses(report: Report, path: Path) -> None:
    """Draw the training and validation losses."""
    import matplotlib  # only here: it is slow to import, and not needed to train

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    steps = len(report.losses) // max(1, len(report.validation_losses))
    axes.semilogy(report.losses, color="tab:blue", alpha=0.5, linewidth=0.8, label="training, each batch")
    ends = [steps * (epoch + 1) for epoch in range(len(report.validation_losses))]
    axes.semilogy(ends, report.validation_losses, color="tab:orange", label="validation, each epoch")
    axes.set(xlabel="step", ylabel="cross entropy", title=f"digits: test accuracy {report.accuracy:.2%}")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a small CNN on scikit-learn's digits.")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--compile", dest="compiled", action="store_true", default=True, help="compile the step (default)")
    way.add_argument("--eager", dest="compiled", action="store_false", help="run operation by operation")
    parser.add_argument("--target", choices=["cpu", "cuda"], default="cpu", help="what to compile for")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate of AdamW")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches, shifts, dropout and the split")
    parser.add_argument("--dump", type=Path, metavar="FOLDER", help="write every stage of every compilation there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write metrics and losses")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the losses")
    parser.add_argument("--no-speed", action="store_true", help="do not compare the speed of both ways")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> Report:
    """Train, test and report."""
    args = parse_arguments(argv)
    if args.dump:
        os.environ["TRACEC_DUMP"] = str(args.dump)
    splits, report = load_splits(args.seed), Report()

    start = time.perf_counter()
    trainer = Trainer(args, args.compiled)
    trainer.fit(splits, args.epochs, args.seed, report)
    report.seconds = time.perf_counter() - start

    truth = splits["test"][1]
    _, predicted = trainer.evaluate(*splits["test"])
    report.accuracy = float(accuracy_score(truth, predicted))
    report.precision = float(precision_score(truth, predicted, average="macro", zero_division=0))
    report.recall = float(recall_score(truth, predicted, average="macro", zero_division=0))
    print(f"test accuracy {report.accuracy:.2%}, precision {report.precision:.2%}, recall {report.recall:.2%}")
    print(f"{len(report.losses)} steps {'compiled' if args.compiled else 'eager'} in {report.seconds:.1f} s")

    if not args.no_speed:
        report.milliseconds_per_step = ms = compare_speed(args, splits)
        ratio = ms["eager"] / ms["compiled"]
        print(f"a step takes {ms['eager']:.2f} ms eager, {ms['compiled']:.2f} ms compiled ({ratio:.1f}x)")
    if args.plot:
        plot_losses(report, args.plot)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(asdict(report), indent=1) + "\n")
    return report


if __name__ == "__main__":
    main()
