"""What planning needs to know of the targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.room import CLUSTER, MOST, cluster_blocks, row_room, shared_bytes
from tracec.plan.routines import Gemm, by_size


@dataclass(frozen=True, slots=True)
class Limits:
    """When regions with large intermediate values are computed slice by slice; see `tracec.plan.slices`.

    Attributes:
        large: Bytes from which a value is large.
        wanted: Bytes of a slice of one, at most where that can be had: on the CPU it stays in the last level of cache,
            on a GPU its products fill the machine.
        kept: Bytes of large values kept for the backward part from which on it computes them again.
    """

    large: int
    wanted: int
    kept: int = 0


_CPU_SLICES = Limits(large=64 << 20, wanted=8 << 20, kept=512 << 20)


@dataclass(frozen=True, slots=True)
class Target:
    """What planning needs to know of a target.

    Attributes:
        name: ``cpu`` or ``cuda``.
        gemm: Which matrix products run as library routines.
        row_bytes: Bytes of values of a row that are kept on chip, loads included, where several loops read them: in
            registers, or in the shared memory of a block. 0 where a row goes through the cache, and only what is
            costly is kept.
        cluster_bytes: The same of a cluster of blocks that share a row too long for one; 0 where there are no clusters.
        unused_bytes: What it would be, where there could be clusters and there are none,
        no_clusters: and why that is so.
        in_place: Kernel shapes that may write over what they read, element by element. On CUDA a row's elements
            are each read and written by one thread; what all threads of a row read, such as a parameter that its
            sum updates, is written behind a barrier.
        results_in_place: Shapes that may do so with results alone, not with elements of what they reduce: on CUDA
            threads past the last column read that column as well, up to the barrier.
        blocks: Thread blocks that fill the machine: reductions to few results are split into so many parts.
            One number for all GPUs (eight blocks for each of an H100's 132 multiprocessors), so that sums round
            the same on all. 0 where there are no such blocks.
        strips: Whether two products and the rows between them are computed as one; see `tracec.plan.between`.
        atomics: Types that have an atomic addition. 16-bit floats are left out: their sums are float32.
        slices: When regions with large intermediate values are computed slice by slice.
    """

    name: str
    gemm: Gemm
    row_bytes: int
    in_place: frozenset[str]
    results_in_place: frozenset[str] = frozenset()
    blocks: int = 0
    cluster_bytes: int = 0
    unused_bytes: int = 0
    no_clusters: str = ""
    strips: bool = False
    atomics: frozenset[DType] = frozenset()
    slices: Limits = _CPU_SLICES

    @property
    def is_gpu(self) -> bool:
        """Whether blocks of threads run kernels, one launched after another, and no host code goes between."""
        return self.blocks > 0


_IN_PLACE = frozenset({"map", "contraction", "row", "full"})
_COLUMN = frozenset({"column"})
#: Multiplications below which a call costs more than the loops: on the CPU; and on a GPU, where a product that is
#: fused with what surrounds it saves a launch and a pass over its result. Matrix units do 16-bit products there.
_CPU_GEMM = by_size(dict.fromkeys((dt.float32, dt.float64), 1 << 12))
_CUDA_GEMM = by_size({dt.float16: 1 << 16, dt.bfloat16: 1 << 16, dt.float32: 1 << 26, dt.float64: 1 << 26})


_ATOMICS = frozenset({dt.float32, dt.float64, dt.int32, dt.uint32, dt.int64, dt.uint64})
TARGETS = {
    "cpu": Target("cpu", gemm=_CPU_GEMM, row_bytes=0, in_place=_IN_PLACE | _COLUMN, strips=True),
    "cuda": Target(
        "cuda",
        gemm=_CUDA_GEMM,
        row_bytes=row_room(MOST),
        in_place=_IN_PLACE,
        results_in_place=_COLUMN,
        blocks=1056,
        cluster_bytes=CLUSTER * row_room(MOST),
        atomics=_ATOMICS,
        # Slices of 32 MiB of 1 GiB of scores, which the cache holds, took an H200 16 to 18 % longer than all at once: a
        # product by the values of two heads has 32 tiles, for 132 multiprocessors.
        slices=Limits(large=512 << 20, wanted=128 << 20, kept=2 << 30),
    ),
}


def target_for(name: str, arch: str, no_clusters: str = "") -> Target:
    """A target's properties on an architecture.

    Args:
        name: ``cpu`` or ``cuda``.
        arch: GPU architecture, ``sm_90``.
        no_clusters: Why blocks form no clusters, if they do not.
    """
    target = TARGETS[name]
    if not target.row_bytes:
        return target
    row_bytes, blocks = row_room(shared_bytes(arch)), cluster_blocks(arch)
    cluster_bytes = blocks * row_bytes if blocks > 1 else 0
    if no_clusters:
        return replace(
            target, row_bytes=row_bytes, cluster_bytes=0, unused_bytes=cluster_bytes, no_clusters=no_clusters
        )
    return replace(target, row_bytes=row_bytes, cluster_bytes=cluster_bytes)
