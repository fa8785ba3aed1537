"""Kernels of each family read what they need once and write once, where a cache holds no more than a block's share."""

from __future__ import annotations

import pytest

from tests.codegen import kernels as k
from tests.codegen.emulated import emulate, needs_compiler
from tests.codegen.test_cuda_values import arguments
from tracec.ir.kernel import Kernel
from tracec.runtime.emulator_launch import counting

pytestmark = needs_compiler

KERNELS: dict[str, Kernel] = {
    "map": k.chain(1 << 18),
    "map of odd length": k.chain((1 << 18) + 3),
    "map of 16-bit floats": k.gelu(1 << 18, "bf16"),
    "broadcast": k.broadcast(64, 4096),
    "rows of lanes": k.softmax(4096, 64),
    "rows of warps": k.softmax(512, 512),
    "rows of blocks": k.softmax(64, 4096),
    "rows of blocks, 16-bit": k.softmax(64, 4096, "bf16"),
    "rows of large blocks": k.softmax(8, 1 << 15),
    "rows in shared memory": k.held(8, 24576),
    "rows in shared memory and registers": k.held(4, 1 << 15, loads=2),
    "rows in shared memory, 16-bit": k.held(4, 50304, "bf16"),
    "rows of clusters": k.softmax(2, 1 << 17),
    "rows of clusters, odd": k.softmax(1, 262143),
    "rows in clusters' shared memory": k.held(1, 1 << 18),
    "rows in clusters' shared memory, 16-bit": k.held(1, 1 << 19, "bf16"),
    "sums of rows": k.row_sum(4, 1 << 16),
    "stripes": k.stripes(16, 32, 512, sums=2),
    "stripes with an end": k.stripes(16, 32, 512, sums=2, missing=7),
    "columns": k.column_sum(512, 512),
    "columns of many rows": k.column_sum(4096, 64),
    "softmax of columns": k.column_softmax(256, 512),
    "everything": k.full_sum(1 << 18),
    "transpose": k.transpose(1, 512, 512),
    "transpose, 16-bit": k.transpose(1, 512, 512, "bf16"),
    "scan": k.scan(64, 4096),
    "scan of tiles": k.scan(1, 1 << 18),
    "scan of tiles, ahead": k.scan(8, 1 << 14),
    "scan of columns": k.scan(1, 2048, columns=256),
    "gather": k.gather(4096, 64, 64),
    "scatter": k.scatter(512, 64, 256),
}


def test_no_more_is_moved_than_has_to_be() -> None:
    found = {}
    for name, one in zip(KERNELS, emulate(list(KERNELS.values())), strict=True):
        given = arguments(one.kernel)
        with counting() as counted:
            one.run(given)
        found[name] = round(counted.moved / sum(a.nbytes for a in given), 3)
    assert not {name: share for name, share in found.items() if share > 1.1}


@pytest.mark.parametrize(
    ("kernel", "times"),
    [(k.reread(1, 300008), 1.49), (k.scatter(200, 64, 64, shape="atomic"), 1.03)],
    ids=["row", "sums"],
)
def test_what_is_moved_again_counts(kernel: Kernel, times: float) -> None:
    """A row that is looped over, and sums that are read for what is added to them."""
    (one,) = emulate([kernel])
    given = arguments(kernel)
    with counting() as counted:
        one.run(given)
    assert counted.moved > times * sum(a.nbytes for a in given)
