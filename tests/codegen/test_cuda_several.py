"""Long rows by blocks of which a multiprocessor has several, of the sizes that a GPU is given."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.codegen import kernels as k
from tests.codegen.emulated import emulate, needs_compiler
from tests.codegen.test_cuda_values import check
from tracec.codegen import cuda_rows
from tracec.ir.kernel import Kernel
from tracec.runtime.emulator_launch import ORDERS

pytestmark = needs_compiler

KERNELS: dict[str, list[Kernel]] = {
    "all in shared memory": [
        k.exponentials(2, 16384),
        k.exponentials(2, 1 << 15, "bf16"),
        k.exponentials(1, 16384 + 4),
        k.held(2, 20000, "f16"),
    ],
    "a half in registers": [
        k.exponentials(1, 1 << 15),
        k.exponentials(1, 20000, "f64"),
        k.layer_norm(1, 40000, "bf16"),
        k.held(1, 1 << 15, "f16", 2, kept=True),
        k.running(2, 1 << 15),
    ],
    "in clusters": [
        k.exponentials(1, 65540),
        k.exponentials(1, (1 << 17) + 8 * 517, "bf16"),
        k.exponentials(1, 1 << 18),
        k.layer_norm(1, 1 << 17),
        k.held(1, 1 << 15, loads=2, kept=True),
    ],
}


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if there were rows for more blocks than multiprocessors."""
    with monkeypatch.context() as patch:
        patch.setattr(cuda_rows, "MULTIPROCESSORS", 0)
        yield


@pytest.mark.parametrize("kind", KERNELS)
def test_values(kind: str) -> None:
    for one in emulate(KERNELS[kind]):
        (entry,) = one.program.kernels[0].entries
        assert entry.block[0] == 512 and ("cluster" in entry.schedule) == (kind == "in clusters")
        assert ("unrolled" not in entry.schedule) == (kind == "all in shared memory")
        check(one, list(ORDERS))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_may_be_more_at_another_call(dtype: str) -> None:
    softmax = tracec.compile(lambda x: F.softmax(x, -1), target="cuda", launcher="emulator")
    random = np.random.default_rng(0)
    for rows in (3, 5, 2, 7):
        x = tracec.tensor(random.standard_normal((rows, 16384)), dtype=getattr(tracec, dtype))
        want = F.softmax(x.double(), -1).numpy()
        np.testing.assert_allclose(softmax(x).double().numpy(), want, rtol=1e-5 if dtype == "float32" else 1e-2)
