"""Tiles of contractions, and which of them to use, by an estimate of the cycles that a GPU would take."""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.cuda_entry import ceil_div
from tracec.ir.dtype import DType

#: A GPU as estimates see it, an H100: results must not depend on the device, so it is the same for all.
MULTIPROCESSORS = 132
#: Multiply-adds of a multiprocessor in a cycle.
RATE = 128
#: Bytes that all of them together move in a cycle: from the cache, and from memory.
CACHE_BYTES = 3000
MEMORY_BYTES = 1500
#: What a block spends before its first product and after its last, and a further launch.
START = 1500
LAUNCH = 4000
#: Share of the time for loading tiles that is not hidden behind products.
WAITING = 0.25
#: Share of its speed that a multiprocessor reaches with one block, which cannot hide all waits.
ALONE = 0.7
#: Into how many parts the products of a sum may be cut, and how many products a part has at least.
SPLITS = (*range(1, 33), 48, 64, 96, 128, 192, 256, 384, 512)
SHORTEST = 128


@dataclass(frozen=True, slots=True)
class Tile:
    """How a block of 256 threads covers the sums.

    Attributes:
        m: Sums of a block along m.
        n: And along n.
        m_each: Sums of a thread along m.
        n_each: And along n.
        depth: Products of each sum between two barriers.
    """

    m: int
    n: int
    m_each: int
    n_each: int
    depth: int = 16

    @property
    def threads(self) -> int:
        return (self.m // self.m_each) * (self.n // self.n_each)

    @property
    def efficiency(self) -> float:
        """Multiply-adds against all that a thread issues: the wider its tile, the fewer loads from shared memory."""
        multiply = 2 * self.m_each * self.n_each
        load = 16 * (ceil_div(self.m_each, 4) + ceil_div(self.n_each, 4))
        return multiply / (max(multiply, load) + 0.5 * min(multiply, load))


#: What arrays in shared memory can take without being asked for by the launch, and the end of each of their rows that
#: keeps neighbouring rows in different banks.
SHARED_BYTES, PAD_BYTES = 48 * 1024, 16
#: Every tile's operands divide evenly among its threads.
TILES = (
    Tile(128, 128, 8, 8, depth=8),
    Tile(128, 64, 8, 4),
    Tile(64, 128, 4, 8),
    Tile(256, 32, 8, 4, depth=8),
    Tile(32, 256, 4, 8, depth=8),
    Tile(128, 32, 4, 4),
    Tile(32, 128, 4, 4),
    Tile(64, 64, 4, 4),
    Tile(64, 16, 4, 1),
    Tile(16, 64, 1, 4),
    Tile(32, 32, 2, 2),
    Tile(16, 16, 1, 1),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A tile, into how many parts the products are cut, and an estimate of the cycles."""

    tile: Tile
    splits: int
    cycles: float


def fits(tile: Tile, itemsize: int) -> bool:
    """Whether a thread's sums have room in registers, and two tiles of each operand in shared memory."""
    shared = 2 * tile.depth * ((tile.m + tile.n) * itemsize + 2 * PAD_BYTES)
    return tile.m_each * tile.n_each * itemsize <= 256 and shared <= SHARED_BYTES


def choose_tile(m: int, n: int, k: int, batch: int, dtype: DType) -> Choice:
    """The tile and the number of splits that take the least time by the estimate.

    Args:
        m: Rows of the result.
        n: Columns of the result.
        k: Products of each sum.
        batch: How many such results there are.
        dtype: Type of the operands.
    """
    return min(
        (
            Choice(tile, splits, estimate(tile, splits, m, n, k, batch, dtype.itemsize))
            for tile in TILES
            if fits(tile, dtype.itemsize)
            for splits in SPLITS
            if splits == 1 or k >= splits * SHORTEST
        ),
        key=lambda c: c.cycles,
    )


def estimate(tile: Tile, splits: int, m: int, n: int, k: int, batch: int, itemsize: int) -> float:
    """Cycles for sums of k products over m by n, batch times; see `choose_tile`.

    Args:
        tile: The tile.
        splits: Parts of each sum, which another kernel adds up.
        m: Rows.
        n: Columns.
        k: Products.
        batch: How often.
        itemsize: Bytes of an element.
    """
    blocks = ceil_div(m, tile.m) * ceil_div(n, tile.n) * batch * splits
    each = ceil_div(blocks, MULTIPROCESSORS)
    speed = RATE * tile.efficiency * (ALONE if each == 1 else 1.0)
    step = tile.m * tile.n / speed + WAITING * (tile.m + tile.n) * itemsize * MULTIPROCESSORS / CACHE_BYTES
    cycles = START * ceil_div(each, 2) + each * step * split_length(k, splits, tile.depth)
    if splits > 1:
        cycles += LAUNCH + 2 * splits * m * n * batch * itemsize / MEMORY_BYTES
    return cycles


def split_length(k: int, splits: int, depth: int) -> int:
    """Products of each part: whole steps of the tile."""
    return ceil_div(ceil_div(k, splits), depth) * depth


def estimate_rows(m: int, n: int, k: int, batch: int, itemsize: int, along_k: tuple[bool, bool]) -> float:
    """Cycles where each sum is a row of products that a warp or block adds up, reading both operands for itself.

    Args:
        m: Rows.
        n: Columns.
        k: Products.
        batch: How often.
        itemsize: Bytes of an element.
        along_k: Whether the products of a sum are neighbours in memory, for each operand.
    """
    traffic = sum(itemsize if contiguous else 32 for contiguous in along_k)
    return START + m * n * k * batch * traffic / CACHE_BYTES
