"""A neural ordinary differential equation: a network learns the velocity whose paths are a spiral.

    python examples/neural_ode.py                      # train, print the error of the path
    python examples/neural_ode.py --plot spiral.png    # a picture of the path
    python examples/neural_ode.py --eager              # the same without compiling

Gradients go back through the steps of the solver. After Chen, Rubanova, Bettencourt, Duvenaud, "Neural Ordinary
Differential Equations", 2018.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from tqdm import trange

import tracec as torch
from tracec import nn

POINTS, TICK = 100, 0.1
Velocity = Callable[[torch.Tensor], torch.Tensor]


class Field(nn.Module):
    """The velocity at a place; it is given the cubes of the coordinates, as the spiral's own velocity is."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
        for layer in (self.layers[0], self.layers[2]):
            nn.init.normal_(layer.weight, std=0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, place: torch.Tensor) -> torch.Tensor:
        return self.layers(place**3)


def runge_kutta(velocity: Velocity, place: torch.Tensor, steps: int, tick: float) -> torch.Tensor:
    """Follow a velocity by the classic method of fourth order: the places on the way, shape ``(steps + 1, ..., 2)``."""
    path = [place]
    for _ in range(steps):
        k1 = velocity(place)
        k2 = velocity(place + tick / 2 * k1)
        k3 = velocity(place + tick / 2 * k2)
        k4 = velocity(place + tick * k3)
        place = place + tick / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(place)
    return torch.stack(path)


def main(argv: list[str] | None = None) -> float:
    """Train, and return the mean distance between the learned path and the spiral."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--window", type=int, default=10, help="steps of the solver in each piece of the path")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    matrix = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    start = torch.tensor([2.0, 0.0])
    truth = runge_kutta(lambda y: y**3 @ matrix, start, POINTS, TICK)

    field = Field()
    optimizer = torch.optim.Adam(field.parameters(), lr=5e-3)

    def step(starts: torch.Tensor, paths: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = (runge_kutta(field, starts, args.window, TICK) - paths).abs().mean()
        loss.backward()
        optimizer.step()
        return loss

    if not args.eager:
        step = torch.compile(step)
    progress = trange(args.steps, desc="training", unit="step")
    for k in progress:
        begin = torch.randint(POINTS - args.window, (20,))
        paths = torch.stack([truth[begin + t] for t in range(args.window + 1)])
        loss = step(truth[begin], paths)
        if k % 20 == 0:
            progress.set_postfix(loss=f"{float(loss):.4f}")

    with torch.no_grad():
        found = runge_kutta(field, start, POINTS, TICK)
    error = float((found - truth).norm(dim=-1).mean())
    print(f"mean distance from the spiral over {POINTS} steps: {error:.3f}")
    if args.plot:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        plt.plot(*truth.numpy().T, label="spiral")
        plt.plot(*found.numpy().T, "--", label="learned")
        plt.legend()
        plt.savefig(args.plot)
        print(f"picture: {args.plot}")
    return error


if __name__ == "__main__":
    main()
