"""What programs use most tells of each of its arguments."""

from __future__ import annotations

import inspect
import re
from operator import attrgetter

import pytest

import tracec

#: By how many public programs use them.
NAMES = """
    nn.Linear nn.Module nn.Sequential nn.Conv2d nn.Parameter nn.Dropout nn.ReLU nn.LayerNorm nn.ModuleList
    nn.BatchNorm2d nn.Embedding nn.CrossEntropyLoss nn.LeakyReLU nn.MaxPool2d nn.GELU nn.Softmax nn.MSELoss
    nn.ConvTranspose2d nn.InstanceNorm2d nn.Flatten nn.GRU nn.LSTM nn.RNN nn.AvgPool2d nn.AdaptiveAvgPool2d nn.L1Loss
    nn.BCELoss nn.NLLLoss nn.MultiheadAttention tensor randn cat zeros arange ones manual_seed stack rand randint
    from_numpy load save matmul einsum max linspace mean argmax sum empty full where topk multinomial bmm clamp gather
    norm cumsum eye unsqueeze squeeze transpose permute chunk split sort argsort min std var any all mm dot outer
    allclose index_select randperm prod logsumexp flip repeat_interleave nn.functional.relu nn.functional.softmax
    nn.functional.max_pool2d nn.functional.cross_entropy nn.functional.pad nn.functional.mse_loss
    nn.functional.log_softmax nn.functional.nll_loss nn.functional.normalize nn.functional.scaled_dot_product_attention
    nn.functional.interpolate nn.functional.one_hot nn.functional.smooth_l1_loss nn.functional.dropout
    nn.functional.layer_norm nn.functional.conv2d optim.Adam optim.SGD optim.AdamW optim.RMSprop
    optim.lr_scheduler.StepLR optim.lr_scheduler.CosineAnnealingLR utils.data.DataLoader utils.data.TensorDataset
    utils.data.random_split utils.data.Subset nn.init.normal_ nn.init.constant_ nn.init.zeros_ nn.init.kaiming_uniform_
    nn.init.xavier_uniform_ nn.init.uniform_ nn.utils.clip_grad_norm_ nn.utils.rnn.pad_sequence autograd.grad vmap
    func.jacrev func.grad compile distributions.Categorical distributions.Normal
"""


def undocumented(thing: object) -> list[str]:
    """Parameters that the documentation has no line for; what every function takes as PyTorch names it left out."""
    text = inspect.getdoc(thing) or ""
    args = re.split(r"\n(?:Returns|Raises|Attributes|Source):", text.partition("Args:")[2])[0]
    told = set(re.findall(r"^\s+\**(\w+):", args, re.M))
    names = [p for p in inspect.signature(thing).parameters if not p.startswith("_")]
    return [n for n in names if n not in told | {"out"}]


@pytest.mark.parametrize("name", NAMES.split())
def test_every_argument_is_told_of(name: str) -> None:
    thing = attrgetter(name)(tracec)
    assert thing.__doc__
    assert undocumented(thing) == []
