"""An LSTM that goes on with waves: it sees the beginning of a signal and predicts the rest.

python examples/lstm_forecast.py                     # train, print the error of forecasts
python examples/lstm_forecast.py --plot waves.png    # a picture of a forecast
python examples/lstm_forecast.py --eager             # the same without compiling
"""

import argparse
import math
from pathlib import Path

from tqdm import trange

import tracec as torch
import tracec.nn.functional as F
from tracec import nn

SEEN, AHEAD = 30, 30


class Forecaster(nn.Module):
    """An LSTM over the signal, and a linear layer from its state to the next value."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Map signals, shape ``(n, length)``, to the next value at each step, and the state at the end."""
        y, state = self.lstm(x.unsqueeze(-1), state)
        return self.head(y).squeeze(-1), state

    def forecast(self, seen: torch.Tensor, steps: int) -> torch.Tensor:
        """Go on with signals, each value predicted from those before."""
        predicted, state = self(seen)
        values = [predicted[:, -1:]]
        while len(values) < steps:
            predicted, state = self(values[-1], state)
            values.append(predicted)
        return torch.cat(values, dim=1)


def waves(count: int, length: int) -> torch.Tensor:
    """Return sines of random frequencies and phases."""
    frequency, phase = torch.rand(count, 1) + 0.5, torch.rand(count, 1) * 2 * math.pi
    return torch.sin(frequency * torch.arange(length) * 0.3 + phase)


def main(argv: list[str] | None = None) -> tuple[float, float]:
    """Train, forecast, and return the last loss, and the squared error of forecasts relative to the signals' square."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def step(x: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model.forecast(x[:, :SEEN], AHEAD), x[:, SEEN:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    if not args.eager:
        step = torch.compile(step)
    progress = trange(args.steps, desc="training", unit="step")
    for k in progress:
        loss = step(waves(args.batch, SEEN + AHEAD))
        if k % 10 == 0:
            progress.set_postfix(loss=f"{float(loss):.4f}")

    x = waves(64, SEEN + AHEAD)
    with torch.no_grad():
        found = model.forecast(x[:, :SEEN], AHEAD)
    error = float(F.mse_loss(found, x[:, SEEN:]) / x[:, SEEN:].square().mean())
    print(f"forecasts of {AHEAD} steps: mean squared error {100 * error:.1f} % of the signals' own mean square")
    if args.plot:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        plt.plot(range(SEEN + AHEAD), x[0].numpy(), label="signal")
        plt.plot(range(SEEN, SEEN + AHEAD), found[0].numpy(), "--", label="forecast")
        plt.legend()
        plt.savefig(args.plot)
        print(f"picture: {args.plot}")
    return float(loss), error


if __name__ == "__main__":
    main()
