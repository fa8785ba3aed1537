"""einops takes tensors of tracec, whichever of the two a program imports first, and has layers that are modules."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

import tracec
from tracec import nn

einops = pytest.importorskip("einops")

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 4, 6))

CALLS = {
    "patches": lambda x: einops.rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=2, q=3),
    "heads": lambda x: einops.rearrange(x[:, 0], "b n (h d) -> b h n d", h=2),
    "list": lambda x: einops.rearrange([x, 2 * x], "n b c h w -> b (n c) h w"),
    "repeat": lambda x: einops.repeat(x, "b c h w -> b c (h u) (w v)", u=2, v=3),
    "new axis": lambda x: einops.repeat(x[0, 0], "h w -> r h w", r=4),
    "mean": lambda x: einops.reduce(x, "b c h w -> b c", "mean"),
    "pooled": lambda x: einops.reduce(x, "b c (h u) (w v) -> b c h w", "max", u=2, v=2),
    "sum": lambda x: einops.reduce(x, "b ... w -> b w", "sum"),
    "min": lambda x: einops.reduce(x, "b c h w -> b 1 1 w", "min"),
    "prod": lambda x: einops.reduce(x, "b c h w -> h", "prod"),
    "einsum": lambda x: einops.einsum(x, x, "b c h w, b d h w -> b c d"),
    "pack": lambda x: einops.pack([x, x[:, :, 0, 0]], "b *")[0],
}


@pytest.mark.parametrize("name", CALLS)
def test_gives_what_it_gives_of_arrays(name):
    expected = CALLS[name](IMAGES)
    x = tracec.tensor(IMAGES, requires_grad=True)
    out = CALLS[name](x)
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-10)
    (grad,) = tracec.autograd.grad(out.square().sum(), x)
    step = 1e-6 * RNG.normal(size=IMAGES.shape)
    change = np.square(CALLS[name](IMAGES + step)).sum() - np.square(CALLS[name](IMAGES - step)).sum()
    np.testing.assert_allclose((grad.numpy() * step).sum() * 2, change, rtol=1e-5)


def test_unpacks_and_reads_shapes():
    x = tracec.tensor(IMAGES)
    packed, sizes = einops.pack([x, x[:, :, 0]], "b c *")
    whole, row = einops.unpack(packed, sizes, "b c *")
    np.testing.assert_array_equal(whole.numpy(), IMAGES)
    np.testing.assert_array_equal(row.numpy(), IMAGES[:, :, 0])
    assert einops.parse_shape(x, "b _ h w") == {"b": 2, "h": 4, "w": 6}
    assert isinstance(einops.asnumpy(x), np.ndarray)


def test_its_own_errors_are_its_own():
    with pytest.raises(einops.EinopsError, match="divide"):
        einops.rearrange(tracec.ones(2, 5), "a (b c) -> a b c", b=2)


def attention(layers):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut = layers.Rearrange("b c (h p) (w q) -> b (h w) (c p q)", p=2, q=2)
            self.mix = layers.EinMix("b n (h c) -> b h n d", "h c d", "h d", h=2, c=6, d=4)
            self.pool = layers.Reduce("b n d -> b d", "mean")

        def forward(self, x):
            q = self.mix(self.cut(x))
            weights = einops.einsum(q, q, "b h i d, b h j d -> b h i j").softmax(-1)
            return self.pool(einops.rearrange(weights @ q, "b h n d -> b n (h d)"))

    return Attention()


def test_layers_are_modules():
    from einops.layers import tracec as layers

    net = attention(layers)
    assert [name for name, _ in net.named_parameters()] == ["mix.weight", "mix.bias"]
    assert isinstance(net.cut, nn.Module) and "Rearrange('b c (h p) (w q)" in repr(net)
    x = tracec.tensor(IMAGES, dtype=tracec.float32)
    step = tracec.compile(lambda x: net(x).square().sum())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = [step(x).item() for _ in range(3)]
    np.testing.assert_allclose(values, [net(x).square().sum().item()] * 3, rtol=1e-5)
    assert "1 specialisations" in str(step.explain()) and "2 hits" in str(step.explain())


@pytest.mark.parametrize("imports", ["einops, tracec", "tracec, einops", "einops.layers, tracec"])
def test_in_any_order(imports):
    code = (
        f"import {imports}\nprint(einops.rearrange(tracec.ones(2, 3), 'a b -> (b a)').shape[0], einops.__spec__.loader)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("6 <_frozen_importlib_external.SourceFileLoader")


def test_without_einops_nothing_is_there():
    code = "import tracec, sys; assert 'einops' not in sys.modules; sys.modules['einops'] = None; import einops"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ModuleNotFoundError" in done.stderr


def _heads(x):
    return einops.rearrange(x, "b n (h d) -> (b h) n d", h=2)


VARYING = {
    "heads": lambda x: einops.rearrange(_heads(x).cumsum(1), "(b h) n d -> b n (h d)", h=2),
    "repeat": lambda x: einops.repeat(x, "b n d -> b n r d", r=3).sum(2) + einops.reduce(x, "b n d -> b 1 d", "mean"),
    "pack": lambda x: einops.unpack(einops.pack([x, x * 2], "b * d")[0], [(1,), (x.shape[1] * 2 - 1,)], "b * d")[1],
}


@pytest.mark.parametrize("name", VARYING)
def test_sizes_vary_in_compiled_functions(name):
    fn = VARYING[name]
    for _ in range(2):  # einops keeps what it worked out for the first function
        compiled = tracec.compile(lambda x: fn(x) * 2)
        for size in (5, 5, 3, 4, 6, 7):
            x = tracec.tensor(RNG.normal(size=(size, 5, 4)))
            np.testing.assert_allclose(compiled(x).numpy(), (fn(x) * 2).numpy(), rtol=1e-12)
        assert len(compiled.explain().recordings) == 2
