"""The two train steps that many tests run: a convolutional net on digits, and a small GPT."""

from __future__ import annotations

import numpy as np

import tracec
from tracec import nn
from tracec.nn import functional as F


class DigitsNet(nn.Module):
    def __init__(self, dropout: float = 0.25):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.c2, self.b2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.drop, self.fc = nn.Dropout(dropout), nn.Linear(32 * 4, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.b1(self.c1(x))), 2)
        x = F.max_pool2d(F.relu(self.b2(self.c2(x))), 2)
        return self.fc(self.drop(x.flatten(1)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.l1, self.l2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, steps, width = x.shape
        q, k, v = (
            z.view(batch, steps, self.heads, width // self.heads).transpose(1, 2)
            for z in self.qkv(self.l1(x)).split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).contiguous().view(batch, steps, width))
        return x + self.out(F.gelu(self.fc(self.l2(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary: int = 64, width: int = 32, heads: int = 4, steps: int = 16, blocks: int = 2):
        super().__init__()
        self.vocabulary = vocabulary
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(steps, width)
        self.blocks, self.ln = nn.ModuleList([Block(width, heads) for _ in range(blocks)]), nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(tracec.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x)).view(-1, self.vocabulary)


def train_step(net, **options):
    """A whole train step of a net, its options those of AdamW."""
    optimizer = tracec.optim.AdamW(net.parameters(), **options)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def digits(seed: int = 0, device: str = "cpu"):
    """A seeded net and its train step."""
    tracec.manual_seed(seed)
    net = DigitsNet().to(device)
    return net, train_step(net, lr=2e-3)


def gpt(seed: int = 0, device: str = "cpu"):
    """A seeded GPT and its train step."""
    tracec.manual_seed(seed)
    net = GPT().to(device)
    return net, train_step(net, lr=1e-3)


def digits_batches(count: int, size: int = 64, seed: int = 3):
    """Images and labels of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    rng = np.random.default_rng(seed)
    for _ in range(count):
        chosen = rng.integers(0, len(images), size)
        yield tracec.tensor(images[chosen]), tracec.tensor(labels[chosen])


def gpt_batches(count: int, seed: int = 0):
    """Random tokens and targets."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield tracec.tensor(rng.integers(0, 64, (4, 16))), tracec.tensor(rng.integers(0, 64, 64))
