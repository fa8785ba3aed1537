"""A variational autoencoder of handwritten digits: it learns to draw new ones.

    python examples/vae.py                      # train, print the bound, draw a few digits as text
    python examples/vae.py --plot digits.png    # a picture of the digits along two latent directions
    python examples/vae.py --eager              # the same without compiling

The data are 1,797 images of 8 x 8 pixels that come with scikit-learn: nothing is downloaded.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from tqdm import trange

import tracec as torch
import tracec.nn.functional as F
from tracec import nn
from tracec.distributions import Normal, kl_divergence
from tracec.utils.data import DataLoader, TensorDataset

PIXELS = 64


class VAE(nn.Module):
    """An encoder to the mean and width of a normal distribution, and a decoder from its values."""

    def __init__(self, latent: int = 2, hidden: int = 128) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Linear(PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, PIXELS))

    def encode(self, x: torch.Tensor) -> Normal:
        mean, log_scale = self.encoder(x).chunk(2, dim=-1)
        return Normal(mean, log_scale.exp())

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Return the negative evidence lower bound, in nats per image."""
        posterior = self.encode(x)
        logits = self.decoder(posterior.rsample())
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        prior = Normal(torch.zeros_like(posterior.loc), torch.ones_like(posterior.scale))
        return (reconstruction + kl_divergence(posterior, prior).sum()) / len(x)

    @torch.no_grad()
    def draw(self, z: torch.Tensor) -> torch.Tensor:
        """Return images for latent values, shape ``(n, 8, 8)``."""
        return torch.sigmoid(self.decoder(z)).view(-1, 8, 8)


def as_text(images: np.ndarray) -> str:
    """Return images side by side, darker pixels as denser characters."""
    shades = np.array(list(" .:-=+*#%@"))
    rows = (images.clip(0, 1) * 9).round().astype(int)
    return "\n".join("   ".join("".join(2 * shades[v] for v in image[r]) for image in rows) for r in range(8))


def plot(model: VAE, file: Path) -> None:
    """Draw the digits along a grid of the first two latent directions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    side = 12
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-2, 2, side)] * 2, indexing="xy"), dim=-1).view(-1, 2)
    z = torch.zeros(side * side, model.latent)
    z[:, :2] = grid
    images = model.draw(z).numpy().reshape(side, side, 8, 8)
    plt.imsave(file, np.block([list(row) for row in images]), cmap="gray_r", dpi=100)


def main(argv: list[str] | None = None) -> list[float]:
    """Train, draw, and return the mean loss of each epoch."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    images = load_digits().data.astype(np.float32) / 16
    loader = DataLoader(TensorDataset(torch.from_numpy(images)), batch_size=128, shuffle=True, drop_last=True)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def step(x: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
        return loss

    if not args.eager:
        step = torch.compile(step)
    losses = []
    progress = trange(args.epochs, desc="training", unit="epoch")
    for _ in progress:
        losses.append(float(np.mean([float(step(x)) for (x,) in loader])))
        progress.set_postfix(loss=f"{losses[-1]:.2f}")
    print(as_text(model.draw(torch.randn(6, model.latent)).numpy()))
    print(f"\nnegative evidence lower bound: {losses[0]:.2f} -> {losses[-1]:.2f} nats per image")
    if args.plot:
        plot(model, args.plot)
        print(f"picture: {args.plot}")
    return losses


if __name__ == "__main__":
    main()
