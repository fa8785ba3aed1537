"""Blocks with so little room that rows of some thousand elements are those of clusters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tracec.codegen import cuda_clusters, cuda_held, cuda_rows, cuda_share
from tracec.ir import room

#: Bytes of shared memory: a block keeps rows of up to 512 elements of float32 there, a cluster of up to 4096.
ROOM = 2560


@contextmanager
def small_blocks() -> Iterator[None]:
    """Within, blocks of a cluster have 32 threads, or 64, with 8 words of a row each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "shared_bytes", lambda arch: ROOM)
        patch.setattr(cuda_share, "WARP_ROW", 64)
        patch.setattr(cuda_share, "WARP_ROW_OF_FEW", 64)
        patch.setattr(cuda_share, "KEPT_WORDS", {64: 4})
        patch.setattr(cuda_share, "LIVE_WORDS", 8)
        patch.setattr(cuda_share, "REGISTERS", 64 * 64)
        patch.setattr(cuda_share, "MOST_PACKS", 1)
        patch.setattr(cuda_share, "MANY_THREADS", 0)
        patch.setattr(cuda_rows, "MULTIPROCESSORS", 0)
        patch.setattr(cuda_rows, "LARGEST", 64)
        for module in (cuda_share, cuda_clusters):
            patch.setattr(module, "OF_CLUSTER", 32)
            patch.setattr(module, "LARGEST", 64)
        patch.setattr(cuda_clusters, "HELD_WORDS", 4)
        patch.setattr(
            cuda_clusters,
            "RESIDENTS",
            (cuda_clusters.Residents(64, 3, 0, 40, 1), cuda_clusters.Residents(32, 2, 8, 42, 8)),
        )
        patch.setattr(cuda_held, "MOST_EACH", 16)
        yield
