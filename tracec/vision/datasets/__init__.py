"""Data sets of images, read from files in the forms that their makers gave them; names are torchvision's."""

from __future__ import annotations

from tracec.vision.datasets.base import VisionDataset
from tracec.vision.datasets.cifar import CIFAR10, CIFAR100
from tracec.vision.datasets.coco import CocoCaptions, CocoDetection
from tracec.vision.datasets.fake import FakeData
from tracec.vision.datasets.folder import IMG_EXTENSIONS, DatasetFolder, ImageFolder, default_loader
from tracec.vision.datasets.listed import DTD, EuroSAT, Flowers102, Food101, OxfordIIITPet
from tracec.vision.datasets.mnist import EMNIST, KMNIST, MNIST, FashionMNIST
from tracec.vision.datasets.stl import STL10, USPS
from tracec.vision.datasets.svhn import SVHN

__all__ = [
    "CIFAR10", "CIFAR100", "CocoCaptions", "CocoDetection", "DTD", "DatasetFolder", "EMNIST", "EuroSAT", "FakeData",
    "FashionMNIST", "Flowers102", "Food101", "IMG_EXTENSIONS", "ImageFolder", "KMNIST", "MNIST", "OxfordIIITPet",
    "STL10", "SVHN", "USPS", "VisionDataset", "default_loader",
]  # fmt: skip
