"""Train a small GPT on characters, and let it write.

    python examples/char_gpt.py                    # a few hundred steps, then a text
    python examples/char_gpt.py --steps 3000       # better spelling
    python examples/char_gpt.py --eager            # the same without compiling

The text is the documentation of Python's own language topics, which every Python brings along: nothing is downloaded.
"""

import argparse
import time
from pydoc_data.topics import topics

from tqdm import trange

import tracec as torch
import tracec.nn.functional as F
from tracec import nn

CONTEXT = 64


class Block(nn.Module):
    """Causal self-attention, then a small network at each position, both added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Characters and their positions, a stack of blocks, and a score for each next character."""

    def __init__(self, vocabulary: int, width: int = 96, heads: int = 4, layers: int = 3) -> None:
        super().__init__()
        self.characters = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.apply(self._init)

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map characters, shape ``(n, length)``, to logits of the next ones, shape ``(n, length, vocabulary)``."""
        x = self.characters(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        return self.head(self.norm(self.blocks(x)))


def read_text(size: int) -> str:
    """Return the beginning of Python's documentation of its language."""
    return "\n\n".join(topics[name] for name in sorted(topics))[:size]


def batch_of(data: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw pieces of text, and the same moved on by one character."""
    starts = torch.randint(len(data) - CONTEXT - 1, (size, 1))
    at = starts + torch.arange(CONTEXT)
    return data[at], data[at + 1]


@torch.no_grad()
def write(model: GPT, prompt: torch.Tensor, length: int, temperature: float = 0.8) -> torch.Tensor:
    """Continue a text by drawing one character after the other."""
    model.eval()
    tokens = prompt
    for _ in range(length):
        logits = model(tokens[:, -CONTEXT:])[:, -1] / temperature
        tokens = torch.cat([tokens, torch.multinomial(F.softmax(logits, dim=-1), 1)], dim=1)
    model.train()
    return tokens


def main(argv: list[str] | None = None) -> float:
    """Train, write, and return the loss on text that was held out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=300, help="characters to write")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    text = read_text(300_000)
    alphabet = sorted(set(text))
    number = {c: k for k, c in enumerate(alphabet)}
    data = torch.tensor([number[c] for c in text])
    train, held_out = data[:-20_000], data[-20_000:]

    model = GPT(len(alphabet))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    if not args.eager:
        step = torch.compile(step)
    start = time.perf_counter()
    progress = trange(args.steps, desc="training", unit="step")
    for k in progress:
        loss = step(*batch_of(train, args.batch))
        if k % 20 == 0:
            progress.set_postfix(loss=f"{float(loss):.3f}")
    seconds = time.perf_counter() - start

    with torch.no_grad():
        losses = []
        for _ in range(8):
            x, y = batch_of(held_out, args.batch)
            losses.append(float(F.cross_entropy(model(x).flatten(0, 1), y.flatten())))
    found = sum(losses) / len(losses)
    written = write(model, data[:1].unsqueeze(0), args.length)[0].tolist()
    print("".join(alphabet[k] for k in written))
    print(f"\n{args.steps} steps in {seconds:.1f} s; loss on text it has not seen: {found:.3f} nats per character")
    return found


if __name__ == "__main__":
    main()
