"""Sizes that vary of tensors that do not lie row by row: heads beside steps, batches of one, looks at a cache."""

from __future__ import annotations

import itertools

import pytest

import tracec as tc
from tests.sizes import compare, same
from tracec import nn
from tracec.nn import functional as F

#: How a tensor of n steps lies, with an axis of one element somewhere in it, and one of all steps there may be.
LAYOUTS = {
    "heads before steps": lambda n: tc.randn(1, n, 4, 8).transpose(1, 2),
    "one inside": lambda n: tc.randn(4, n, 1, 8).permute(1, 2, 0, 3),
    "one behind": lambda n: tc.randn(n, 8, 4, 1).permute(2, 3, 1, 0),
    "two of one": lambda n: tc.randn(1, n, 4, 1).permute(3, 2, 1, 0),
    "steps last": lambda n: tc.randn(1, n, 4).permute(0, 2, 1)[..., None],
    "first of three": lambda n: tc.randn(3, n, 4, 8).transpose(1, 2)[:1],
    "reversed twice": lambda n: tc.randn(n, 4, 1, 8).permute(3, 2, 1, 0),
}
USES = {
    "elements": lambda x: x * 2 + 1,
    "strides": lambda x: (x.stride(), x.is_contiguous(), x.mT.is_contiguous(), x + x.stride(0)),
    "stride of one": lambda x: (x * 1.5, *(x.stride(a) for a, n in enumerate(x.shape) if n == 1)),
    "reshaped": lambda x: (x.reshape(-1), x.flatten(1), x.reshape(x.shape[0], -1).stride()),
    "joined": lambda x: tc.cat([x, x], 2),
    "squeezed": lambda x: (x.squeeze(), x.squeeze().stride(), x.permute(3, 2, 1, 0) * 2),
    "written": lambda x: (x.mul_(3.0), x.sum(-1)),
    "kept row by row": lambda x: (x.contiguous().stride(), x.contiguous() - 1, tc.empty_like(x).stride()),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_many_sizes(layout, use):
    compare(lambda: (lambda n: (LAYOUTS[layout](n),), USES[use]), [5, 7, 6, 9, 5])


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "first of three"])
def test_an_axis_of_one_element_keeps_no_size_from_being_a_symbol(layout):
    compiled = compare(lambda: (lambda n: (LAYOUTS[layout](n),), USES["elements"]), [5, 7, 6, 9, 11])
    assert len(compiled.explain().recordings) == 2


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_one_shape_that_lies_otherwise_is_another_function(order):
    ways = [
        lambda n: tc.arange(4.0 * n).reshape(1, n, 4).transpose(1, 2),
        lambda n: tc.arange(4.0 * n).reshape(1, 4, n),
        lambda n: tc.arange(4.0 * n).reshape(n, 1, 4).permute(1, 2, 0),  # the strides of the axis of one differ
    ]

    def use(x):
        return x.stride(), x.is_contiguous(), x.reshape(-1) * x.stride(0), x + x.stride(1)

    compiled = tc.compile(use)
    for n, k in itertools.product((5, 6, 7, 8), order):
        for a, b in zip(use(ways[k](n)), compiled(ways[k](n)), strict=True):
            same(a, b, (n, k))


class Attention(nn.Module):
    """Keys and values of the steps before are given, and those with this one's come back."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x, past=None):
        batch, steps, width = x.shape
        q, k, v = (t.view(batch, steps, 2, 8).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        if past is not None:
            k, v = tc.cat([past[0], k], 2), tc.cat([past[1], v], 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        return self.out(y.transpose(1, 2).reshape(batch, steps, width)), (k, v)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_cache_that_is_given_and_grows_is_recorded_for_all_lengths(batch):
    model = Attention().eval()
    compiled = tc.compile(model)
    x = tc.randn(batch, 4, 16)
    past = expected_past = None
    with tc.no_grad():
        for step in range(9):
            out, past = compiled(x, past)
            expected, expected_past = model(x, expected_past)
            for a, b in zip((expected, *expected_past), (out, *past), strict=True):
                same(a, b, step)
            x = expected[:, -1:]
    # The prompt, the first step, whose cache lies as the prompt's does, one more, and one for all that follow.
    assert len(compiled.explain().recordings) == 4
