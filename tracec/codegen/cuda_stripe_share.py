"""How many threads take a row of a stripe, and what they hold of it."""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.cuda_entry import ceil_div
from tracec.codegen.cuda_ladder import allowed, rung
from tracec.codegen.cuda_share import Share
from tracec.ir.extent import is_varying
from tracec.ir.room import room

#: Blocks that a multiprocessor has registers for → threads of a block → 32-bit words that each may have. Four blocks
#: each are all stripes at a time. Fewer threads a row combine less; several groups of them take rows of their own.
RESIDENT = {4: {256: 28, 128: 80}, 2: {256: 80}}
#: So many registers of each thread a compiler has to do with, of fewer it would spill some; and a multiprocessor's.
ENOUGH, REGISTERS = 128, 65536
#: Words where one block has to do, of a row and of the sums alone.
WORDS = {256: 48, 512: 72, 1024: 32}


@dataclass(frozen=True, slots=True)
class Plan:
    """Who computes a row.

    Attributes:
        share: How many threads, and the packs of each.
        height: Rows that a block takes at a time.
        early: Whether the next row is loaded while one is computed.
        steady: Whether what all rows read is loaded once.
        blocks: Blocks of a multiprocessor to leave registers for.
    """

    share: Share
    height: int
    early: bool
    steady: bool
    blocks: int = 1


def stripe_share(chunks: int, length: int, kept: int, steady: int, held: int) -> Plan:
    """How many threads take a row, and what they hold.

    Args:
        chunks: Packs of a row.
        length: Rows of a stripe.
        kept: Words for a pack that are kept.
        steady: Words of a pack that all rows read.
        held: Words of a pack that are loaded before the row is computed.
    """
    lanes = min(max(1 << max(chunks - 1, 0).bit_length(), 4), 32)
    for blocks, choices in RESIDENT.items():
        for most in dict.fromkeys((lanes, 64, 128, 256)):
            parts = ceil_div(chunks, most)
            each = parts * (kept + steady + 2 * held)
            threads = next((t for t, words in choices.items() if each <= allowed(words) and t >= most), 0)
            if threads:
                share = Share(most if most <= 32 else 32 * ceil_div(ceil_div(chunks, parts), 32), parts)
                height = threads // share.threads
                height = height if is_varying(length) else min(height, length)
                forced = threads * blocks * ENOUGH <= REGISTERS
                return Plan(share, height, early=True, steady=True, blocks=blocks if forced else 1)
    for early in (True, False):
        for most, words in WORDS.items():
            parts = ceil_div(chunks, most)
            if most <= rung().threads and parts * (kept + (1 + early) * held) <= allowed(words):
                return Plan(Share(32 * ceil_div(ceil_div(chunks, parts), 32), parts), 1, early, steady=False)
    threads = min(max(WORDS), rung().threads)
    in_shared = rung().kept == 0 and 4 * kept * chunks <= room()
    parts = 0 if in_shared else ceil_div(chunks, threads)
    return Plan(Share(threads, parts, in_shared), 1, early=False, steady=False)
