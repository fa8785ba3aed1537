"""Train a small residual network on a folder of images, as PyTorch's programs do with torchvision.

    python examples/image_folder.py                     # draws its images first, then trains, compiled
    python examples/image_folder.py --data photos/      # your own: photos/train/CLASS/*.png, photos/test/CLASS/*.png
    python examples/image_folder.py --eager             # the same without compiling
    python examples/image_folder.py --grid batch.png    # also write the first batch as one picture

The images that it draws are shapes of any colour, size and place on noise. Nothing is downloaded.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sklearn.metrics import accuracy_score, precision_score, recall_score
from tqdm import tqdm

import tracec as torch
import tracec.nn.functional as F
from tracec import nn
from tracec.utils.data import DataLoader
from tracec.vision import datasets, transforms
from tracec.vision.models.resnet import BasicBlock
from tracec.vision.utils import save_image

SIZE = 32
SHAPES = ("circle", "cross", "square", "triangle")


@dataclass
class Report:
    """What a run found."""

    accuracy: float = 0.0
    precision: float = 0.0
    recall: float = 0.0
    losses: list[float] = field(default_factory=list)  # of each step


def draw(shape: str, rng: np.random.Generator) -> Image.Image:
    """Draw a shape of any colour, size and place on noise."""
    image = Image.fromarray(rng.integers(0, 110, (SIZE, SIZE, 3), dtype=np.uint8))
    radius = rng.uniform(6, 11)
    x, y = rng.uniform(radius + 1, SIZE - radius - 1, 2)
    colour = tuple(int(c) for c in rng.integers(110, 256, 3))
    pen, box = ImageDraw.Draw(image), (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    elif shape == "triangle":
        pen.regular_polygon((x, y, radius * 1.2), 3, fill=colour)
    else:
        pen.line((x - radius, y, x + radius, y), fill=colour, width=4)
        pen.line((x, y - radius, x, y + radius), fill=colour, width=4)
    return image


def write_images(root: Path, seed: int, counts: dict[str, int]) -> None:
    """Write as many images of each shape as a split is to have: ``root/split/shape/number.png``."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for shape in SHAPES:
            folder = root / split / shape
            folder.mkdir(parents=True)
            for k in range(count):
                draw(shape, rng).save(folder / f"{k:04}.png")


def make_loaders(root: Path, batch: int, workers: int) -> tuple[DataLoader, DataLoader]:
    """Return loaders of the training images, changed at random, and of those for tests."""
    normalize = transforms.Normalize(mean=[0.3, 0.3, 0.3], std=[0.25, 0.25, 0.25])
    augment = transforms.Compose(
        [
            transforms.Resize(SIZE),
            transforms.RandomCrop(SIZE, padding=3),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(10),
            transforms.ColorJitter(brightness=0.2, contrast=0.2),
            transforms.ToTensor(),
            normalize,
        ]
    )
    plain = transforms.Compose([transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.ToTensor(), normalize])
    train = datasets.ImageFolder(root / "train", transform=augment)
    test = datasets.ImageFolder(root / "test", transform=plain)
    return (
        DataLoader(train, batch_size=batch, shuffle=True, num_workers=workers, drop_last=True),
        DataLoader(test, batch_size=batch, num_workers=workers),
    )


class SmallResNet(nn.Module):
    """Three residual blocks after a convolution."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(
            BasicBlock(16, 16),
            BasicBlock(16, 32, 2, nn.Sequential(nn.Conv2d(16, 32, 1, 2, bias=False), nn.BatchNorm2d(32))),
            BasicBlock(32, 64, 2, nn.Sequential(nn.Conv2d(32, 64, 1, 2, bias=False), nn.BatchNorm2d(64))),
        )
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images, shape ``(n, 3, 32, 32)``, to the logits of the classes, shape ``(n, num_classes)``."""
        x = self.blocks(F.max_pool2d(self.stem(x), 2))
        return self.fc(x.mean((2, 3)))


def evaluate(model: nn.Module, loader: DataLoader) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the predicted classes."""
    model.eval()
    truth, predicted = [], []
    with torch.no_grad():
        for images, labels in loader:
            truth.append(labels.numpy())
            predicted.append(model(images).argmax(1).numpy())
    model.train()
    return np.concatenate(truth), np.concatenate(predicted)


def train(args: argparse.Namespace, root: Path) -> Report:
    """Train on the images of a folder and test."""
    torch.manual_seed(args.seed)
    train_loader, test_loader = make_loaders(root, args.batch, args.workers)
    model = SmallResNet(len(train_loader.dataset.classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = args.epochs * len(train_loader)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=args.lr, total_steps=max(steps, 2))

    def train_step(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = train_step if args.eager else torch.compile(train_step)
    report = Report()
    with tqdm(total=steps, unit="step", mininterval=0.5) as progress:
        for epoch in range(args.epochs):
            for images, labels in train_loader:
                if args.grid and not report.losses:
                    save_image(images * 0.25 + 0.3, args.grid, nrow=8)
                report.losses.append(step(images, labels).item())
                scheduler.step()
                progress.update()
            progress.set_postfix_str(f"epoch {epoch + 1}, loss {np.mean(report.losses[-len(train_loader) :]):.3f}")

    truth, predicted = evaluate(model, test_loader)
    report.accuracy = float(accuracy_score(truth, predicted))
    report.precision = float(precision_score(truth, predicted, average="macro", zero_division=0))
    report.recall = float(recall_score(truth, predicted, average="macro", zero_division=0))
    return report


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a small residual network on a folder of images.")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="train/CLASS/… and test/CLASS/… (default: drawn)")
    parser.add_argument("--images", type=int, default=200, help="images to draw of each shape")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.1, help="greatest learning rate")
    parser.add_argument("--workers", type=int, default=2, help="threads that read and change images")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and changes of images")
    parser.add_argument("--eager", action="store_true", help="run operation by operation")
    parser.add_argument("--grid", type=Path, metavar="FILE", help="write the first batch as one picture")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> Report:
    """Train, test and report."""
    args = parse_arguments(argv)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root = args.data
        if root is None:
            root = Path(folder)
            write_images(root, args.seed, {"train": args.images, "test": max(args.images // 4, 8)})
        report = train(args, root)
    print(f"test accuracy {report.accuracy:.2%}, precision {report.precision:.2%}, recall {report.recall:.2%}")
    print(f"{len(report.losses)} steps in {time.perf_counter() - start:.1f} s")
    return report


if __name__ == "__main__":
    main()
