"""Whole train steps against PyTorch, from the same parameters: losses and parameters after some steps."""

from __future__ import annotations

import numpy as np
import pytest

import tracec

torch = pytest.importorskip("torch")


def digits(t):
    nn, F = t.nn, t.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.c1, self.b1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.c2, self.b2 = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)
            self.drop, self.fc = nn.Dropout(0.0), nn.Linear(6 * 4, 10)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.b1(self.c1(x))), 2)
            x = F.max_pool2d(F.relu(self.b2(self.c2(x))), 2)
            return self.fc(self.drop(x.flatten(1)))

    return Net()


def gpt(t, c=8, h=2, length=6, vocab=12):
    nn, F = t.nn, t.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2 = nn.LayerNorm(c), nn.LayerNorm(c)
            self.qkv, self.proj = nn.Linear(c, 3 * c), nn.Linear(c, c)
            self.fc, self.out = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)

        def forward(self, x):
            b, s, _ = x.shape
            q, k, v = (z.view(b, s, h, c // h).transpose(1, 2) for z in self.qkv(self.l1(x)).split(c, dim=2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).contiguous().view(b, s, c))
            return x + self.out(F.gelu(self.fc(self.l2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocab, c), nn.Embedding(length, c)
            self.blocks, self.ln = nn.ModuleList([Block(), Block()]), nn.LayerNorm(c)
            self.head = nn.Linear(c, vocab, bias=False)

        def forward(self, i):
            x = self.wte(i) + self.wpe(t.arange(i.shape[1]))
            for block in self.blocks:
                x = block(x)
            return self.head(self.ln(x)).view(-1, vocab)

    return GPT()


def lstm(t):
    nn = t.nn

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(3, 5, num_layers=2), nn.Linear(5, 4)

        def forward(self, x):
            return self.head(self.lstm(x)[0][-1])

    return Classifier()


RNG = np.random.default_rng(0)
PROGRAMS = {
    "digits": (digits, RNG.normal(size=(8, 1, 8, 8)), RNG.integers(0, 10, 8)),
    "gpt": (gpt, RNG.integers(0, 12, (3, 6)), RNG.integers(0, 12, 18)),
    "lstm": (lstm, RNG.normal(size=(7, 4, 3)), RNG.integers(0, 4, 4)),
}


def train(t, net, x, y, steps):
    optimizer = t.optim.AdamW(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = t.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", PROGRAMS)
def test_train_steps_agree_with_torch(name):
    make, x, y = PROGRAMS[name]
    torch.manual_seed(0)
    theirs, ours = make(torch).double(), make(tracec).double()
    ours.load_state_dict({k: tracec.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()})
    expected = train(torch, theirs, torch.from_numpy(x), torch.from_numpy(y), 5)
    np.testing.assert_allclose(train(tracec, ours, tracec.from_numpy(x), tracec.from_numpy(y), 5), expected, rtol=1e-7)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key].numpy(), value.numpy(), rtol=1e-5, atol=1e-8, err_msg=key)
