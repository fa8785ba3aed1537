"""REINFORCE: a small network learns to balance a pole on a cart.

    python examples/reinforce.py                  # some hundred episodes
    python examples/reinforce.py --episodes 50    # a short look
    python examples/reinforce.py --eager          # the same without compiling

The environment is written out below, from the equations of Barto, Sutton and Anderson, "Neuronlike adaptive elements
that can solve difficult learning control problems", 1983. The method is Williams, "Simple statistical
gradient-following algorithms for connectionist reinforcement learning", 1992.
"""

import argparse
import math

import numpy as np
from tqdm import trange

import tracec as torch
import tracec.nn.functional as F
from tracec import nn
from tracec.distributions import Categorical

#: Episodes end here, so that every update sees tensors of one shape.
LONGEST = 200


class CartPole:
    """A pole on a cart that is pushed to the left or to the right; it may neither fall nor leave the track."""

    gravity, cart, pole, half_length, force, tick = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def reset(self) -> np.ndarray:
        """Begin anew: position, speed, angle, angular speed, all near zero."""
        self.state = self.rng.uniform(-0.05, 0.05, 4).astype(np.float32)
        return self.state

    def step(self, action: int) -> tuple[np.ndarray, bool]:
        """Push, and say whether it is over."""
        x, v, angle, spin = map(float, self.state)
        mass, arm = self.cart + self.pole, self.pole * self.half_length
        push = self.force if action else -self.force
        pull = (push + arm * spin**2 * math.sin(angle)) / mass
        turn = (self.gravity * math.sin(angle) - math.cos(angle) * pull) / (
            self.half_length * (4 / 3 - self.pole * math.cos(angle) ** 2 / mass)
        )
        speed_up = pull - arm * turn * math.cos(angle) / mass
        moved = [x + self.tick * v, v + self.tick * speed_up, angle + self.tick * spin, spin + self.tick * turn]
        self.state = np.array(moved, np.float32)
        return self.state, abs(moved[0]) > 2.4 or abs(moved[2]) > math.radians(12)


class Policy(nn.Module):
    """From what is seen to the logits of the two actions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.layers(seen)


def returns(length: int, gamma: float = 0.99) -> torch.Tensor:
    """Return the discounted sum of rewards of 1 from each step to the end."""
    left = torch.arange(length, 0, -1)
    return (1 - gamma**left) / (1 - gamma)


def main(argv: list[str] | None = None) -> float:
    """Train, and return the mean length of the last 20 episodes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    environment, policy = CartPole(args.seed), Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    baseline = torch.tensor(0.0)

    def act(seen: torch.Tensor) -> torch.Tensor:
        return Categorical(logits=policy(seen)).sample()

    def update(seen: torch.Tensor, actions: torch.Tensor, rewards: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One step along the gradient of the expected return; steps after the end have a mask of 0."""
        optimizer.zero_grad()
        chosen = F.log_softmax(policy(seen), dim=-1).gather(1, actions.unsqueeze(1)).squeeze(1)
        loss = -(chosen * (rewards - baseline) * mask).sum() / LONGEST
        loss.backward()
        optimizer.step()
        mean = (rewards * mask).sum() / mask.sum()
        baseline.copy_(0.95 * baseline + 0.05 * mean)
        return loss

    if not args.eager:
        act, update = torch.compile(act), torch.compile(update)
    lengths: list[int] = []
    progress = trange(args.episodes, desc="training", unit="episode")
    for _ in progress:
        seen, actions, over = [environment.reset()], [], False
        while not over and len(actions) < LONGEST:
            actions.append(int(act(torch.from_numpy(seen[-1]))))
            state, over = environment.step(actions[-1])
            seen.append(state)
        length = len(actions)
        lengths.append(length)
        pad = LONGEST - length
        update(
            F.pad(torch.from_numpy(np.stack(seen[:length])), (0, 0, 0, pad)),
            F.pad(torch.tensor(actions), (0, pad)),
            F.pad(returns(length), (0, pad)),
            F.pad(torch.ones(length), (0, pad)),
        )
        progress.set_postfix(length=f"{np.mean(lengths[-20:]):.0f}")
    mean = float(np.mean(lengths[-20:]))
    print(f"the pole stays up for {np.mean(lengths[:20]):.0f} steps at first, and for {mean:.0f} of {LONGEST} at last")
    return mean


if __name__ == "__main__":
    main()
