"""Programs in the manner of PyTorch's tutorials: the imports alone are others."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tracec as torch
import tracec.nn.functional as F
import tracec.vision as torchvision
from tests.vision.test_datasets import idx, write_cifar
from tracec import nn, optim
from tracec.optim.lr_scheduler import StepLR
from tracec.utils.data import DataLoader, Dataset
from tracec.vision import datasets, models, transforms
from tracec.vision.io import decode_image
from tracec.vision.transforms import Lambda, ToTensor, v2


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Two digits that are easy to tell apart, as MNIST's files have them."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 64), ("t10k", 32)):
        labels = rng.integers(0, 2, count).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for k, label in enumerate(labels):
            images[k, 4:24, 12:16] = 220
            if label == 0:
                images[k, 4:24, 6:10] = 220
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 2)
        self.conv2 = nn.Conv2d(4, 8, 3, 2)
        self.dropout = nn.Dropout2d(0.1)
        self.fc = nn.Linear(72, 10)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout(F.max_pool2d(x, 2))
        return F.log_softmax(self.fc(torch.flatten(x, 1)), dim=1)


def test_digits(digits):
    torch.manual_seed(1)
    device = torch.device("cpu")
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train = datasets.MNIST(str(digits), train=True, download=True, transform=transform)
    test = datasets.MNIST(str(digits), train=False, transform=transform)
    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    for _ in range(4):
        model.train()
        for data, target in DataLoader(train, batch_size=16, num_workers=1, pin_memory=False, shuffle=True):
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            F.nll_loss(model(data), target).backward()
            optimizer.step()
        scheduler.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in DataLoader(test, batch_size=32):
            predicted = model(data).argmax(dim=1, keepdim=True)
            correct += predicted.eq(target.view_as(predicted)).sum().item()
    assert correct / len(test) > 0.9


def test_classes_as_rows(digits):
    rows = Lambda(lambda y: torch.zeros(10, dtype=torch.float).scatter_(0, torch.tensor(y), value=1))
    data = datasets.MNIST(root=digits, transform=ToTensor(), target_transform=rows)
    images, labels = next(iter(DataLoader(data, batch_size=8, shuffle=True)))
    assert tuple(images.shape) == (8, 1, 28, 28) and labels.sum(1).tolist() == [1.0] * 8


def test_photographs(tmp_path):
    write_cifar(tmp_path, datasets.CIFAR10)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
    train = torchvision.datasets.CIFAR10(root=tmp_path, train=True, download=True, transform=transform)
    loader = torch.utils.data.DataLoader(train, batch_size=4, shuffle=True, num_workers=2)
    images, labels = next(iter(loader))
    shown = torchvision.utils.make_grid(images) / 2 + 0.5
    assert np.transpose(shown.numpy(), (1, 2, 0)).shape == (36, 138, 3)
    assert all(train.classes[labels[k]] for k in range(4))
    net = models.squeezenet1_1(num_classes=10)
    loss = nn.CrossEntropyLoss()(net(images), labels)
    loss.backward()
    torch.save(net.state_dict(), tmp_path / "cifar_net.pth")
    net.load_state_dict(torch.load(tmp_path / "cifar_net.pth", weights_only=True))


def test_transfer_learning(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for k, name in enumerate(("ants", "bees")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(4):
                values = rng.integers(0, 128, (40, 48, 3)) + 120 * k
                Image.fromarray(values.astype(np.uint8)).save(tmp_path / split / name / f"{i}.jpg")
    normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    changes = {
        "train": transforms.Compose(
            [transforms.RandomResizedCrop(32), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalize]
        ),
        "val": transforms.Compose([transforms.Resize(36), transforms.CenterCrop(32), transforms.ToTensor(), normalize]),
    }
    sets = {x: datasets.ImageFolder(tmp_path / x, changes[x]) for x in ("train", "val")}
    loaders = {x: DataLoader(sets[x], batch_size=4, shuffle=True, num_workers=2) for x in sets}
    model = models.resnet.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1])
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.fc = nn.Linear(model.fc.in_features, len(sets["train"].classes))
    criterion, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.fc.parameters(), lr=0.001, momentum=0.9)
    best = copy.deepcopy(model.state_dict())
    for phase in ("train", "val"):
        model.train(phase == "train")
        right = 0
        for inputs, labels in loaders[phase]:
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = model(inputs)
                _, predicted = torch.max(outputs, 1)
                loss = criterion(outputs, labels)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            right += torch.sum(predicted == labels.data)
        assert 0 <= right.double() / len(sets[phase]) <= 1
    assert model.load_state_dict(best)


class Labelled(Dataset):
    def __init__(self, folder, names, transform=None):
        self.folder, self.names, self.transform = folder, names, transform

    def __len__(self):
        return len(self.names)

    def __getitem__(self, k):
        image = decode_image(str(self.folder / f"{self.names[k]}.png"))
        return (self.transform(image) if self.transform else image), k % 3


def test_a_data_set_of_ones_own_and_mixed_batches(tmp_path):
    for name in "abcdef":
        Image.new("RGB", (20, 20), (10 * ord(name) % 256, 0, 0)).save(tmp_path / f"{name}.png")
    change = v2.Compose([v2.RandomCrop(16), v2.ToDtype(torch.float32, scale=True)])
    data = Labelled(tmp_path, "abcdef", change)
    mix = v2.RandomChoice([v2.CutMix(num_classes=3), v2.MixUp(num_classes=3)])

    def collate(batch):
        return mix(*torch.utils.data.default_collate(batch))

    for images, labels in DataLoader(data, batch_size=3, collate_fn=collate):
        assert tuple(images.shape) == (3, 3, 16, 16) and tuple(labels.shape) == (3, 3)
        assert F.cross_entropy(images.mean((2, 3)), labels).isfinite()
