"""The gradient of every sample of a batch by itself, at once: vmap over grad of a module called as a function.

    python examples/per_sample_gradients.py                # 64 samples
    python examples/per_sample_gradients.py --samples 256

Per-sample gradients tell which samples pull hardest on the parameters, and differentially private training clips
them one by one. A loop computes them one after the other; vmap computes the same numbers in one batch, and compiled,
in one program. With one import changed the file runs with PyTorch.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import tracec as torch
from tracec import nn
from tracec.func import functional_call, grad, vmap

Params = dict[str, torch.Tensor]


@dataclass
class Report:
    """What a run found.

    Attributes:
        difference: The largest difference between the gradients of vmap and of the loop.
        seconds: Seconds for all gradients, by the way to compute them.
        norms: The norm of each sample's gradient.
    """

    difference: float
    seconds: dict[str, float]
    norms: list[float]


class Net(nn.Module):
    """A convolution and two linear layers, for images of 12 x 12 pixels and 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.hidden = nn.Linear(8 * 5 * 5, 32)
        self.out = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images, shape ``(n, 1, 12, 12)``, to logits, shape ``(n, 10)``."""
        x = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return self.out(torch.tanh(self.hidden(x.flatten(1))))


def gradients_in_a_loop(net: Net, images: torch.Tensor, classes: torch.Tensor) -> Params:
    """One backward pass for each sample."""
    found = []
    for image, label in zip(images, classes, strict=True):
        loss = nn.functional.cross_entropy(net(image[None]), label[None])
        found.append(torch.autograd.grad(loss, list(net.parameters())))
    return {
        name: torch.stack(each)
        for (name, _), each in zip(net.named_parameters(), zip(*found, strict=True), strict=True)
    }


def gradients_at_once(net: Net) -> Callable[[Params, torch.Tensor, torch.Tensor], Params]:
    """The function from parameters and a batch to the gradients of every sample."""

    def loss(params: Params, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of one sample: there is no batch in sight."""
        return nn.functional.cross_entropy(functional_call(net, params, (image[None],)), label[None])

    return vmap(grad(loss), in_dims=(None, 0, 0))


def timed(function: Callable[..., Params], *args: object) -> tuple[Params, float]:
    """A function's result, and the seconds that its best call of three takes."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        found = function(*args)
        best = min(best, time.perf_counter() - start)
    return found, best


def bar(value: float, largest: float, width: int = 30) -> str:
    """A bar of a length in proportion to a value."""
    return "#" * max(1, round(width * value / largest))


def main(argv: list[str] | None = None) -> Report:
    """Compute the gradients in three ways, compare them, and show their norms."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=64, help="samples in the batch")
    samples = parser.parse_args(argv).samples

    torch.manual_seed(0)
    net = Net()
    images, classes = torch.randn(samples, 1, 12, 12), torch.randint(0, 10, (samples,))
    params = {name: p.detach() for name, p in net.named_parameters()}

    at_once = gradients_at_once(net)
    expected, loop = timed(gradients_in_a_loop, net, images, classes)
    found, eager = timed(at_once, params, images, classes)
    compiled, fast = timed(torch.compile(at_once), params, images, classes)
    seconds = {"a loop": loop, "vmap": eager, "vmap, compiled": fast}

    difference = max((g[k] - expected[k]).abs().max().item() for g in (found, compiled) for k in expected)
    norms = torch.stack([g.flatten(1).square().sum(1) for g in found.values()]).sum(0).sqrt()

    print(f"{samples} gradients of {sum(p.numel() for p in params.values()):,} parameters each\n")
    for way, value in seconds.items():
        print(f"  {way:<15} {1e3 * value:8.2f} ms   {loop / value:6.1f} x")
    print(f"\nlargest difference to the loop: {difference:.1e}")
    print("\nsamples that pull hardest:\n")
    order = norms.argsort(descending=True)[:5].tolist()
    for k in order:
        print(f"  sample {k:3d}  {norms[k].item():6.3f}  {bar(norms[k].item(), norms.max().item())}")
    return Report(difference, seconds, norms.tolist())


if __name__ == "__main__":
    main()
