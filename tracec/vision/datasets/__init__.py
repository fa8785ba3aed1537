"""Data sets of images, read from files in the forms that their makers gave them; names are torchvision's."""

from __future__ import annotations

from tracec.vision.datasets.base import VisionDataset
from tracec.vision.datasets.cifar import CIFAR10, CIFAR100
from tracec.vision.datasets.fake import FakeData
from tracec.vision.datasets.folder import IMG_EXTENSIONS, DatasetFolder, ImageFolder, default_loader
from tracec.vision.datasets.mnist import KMNIST, MNIST, FashionMNIST

__all__ = [
    "CIFAR10", "CIFAR100", "DatasetFolder", "FakeData", "FashionMNIST", "IMG_EXTENSIONS", "ImageFolder", "KMNIST",
    "MNIST", "VisionDataset", "default_loader",
]  # fmt: skip
