"""Where the driver has no place for clusters of blocks, rows are planned without them, and the plan says why."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.doubles.driver import Driver, pretended
from tracec.nn import functional as F
from tracec.runtime import cuda, launcher


@pytest.fixture
def driver() -> Iterator[Driver]:
    with pretended() as made:
        yield made


@needs_compiler
@pytest.mark.parametrize("place", [True, False])
def test_clusters_are_left_out_where_the_driver_has_no_place_for_them(
    driver: Driver, place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.clusters = place
    loaded = []
    monkeypatch.setattr(cuda, "load", lambda *given, **named: loaded.append(given) or driver.load(*given, **named))
    run = tracec.compile(lambda x: F.layer_norm(x, x.shape[1:]), cuda_graph=False)
    x = tracec.randn(8, 50000, device="cuda")
    for _ in range(2):
        np.testing.assert_allclose(run(x).cpu().numpy(), run.fn(x).cpu().numpy(), rtol=1e-4, atol=1e-5)
    ((plan, program),) = loaded
    assert any("__cluster_dims__" in k.source for k in program.kernels) is place
    why = [r.reason for r in plan.refused if r.what == "cluster"]
    assert why == ([] if place else ["the GPU's driver has no place for 8 blocks that run at a time and share their "
                                     "memory"])  # fmt: skip


@pytest.mark.parametrize(("status", "count", "found"), [(0, 16, 16), (0, 0, 0), (912, 7, 0), (201, 7, None)])
def test_the_driver_is_asked_for_clusters(
    status: int, count: int, found: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def ask(result: int, function: int, config: int) -> int:
        given.append((function, [*(ctypes.c_uint * 7).from_address(config)], ctypes.c_uint.from_address(config + 48)))
        ctypes.c_int.from_address(result).value = count
        return status

    kept = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(ask)
    address = ctypes.cast(kept, ctypes.c_void_p).value
    monkeypatch.setattr(launcher, "driver_address", lambda name, kept=kept: address)
    assert launcher.active_clusters(77, 8, 1024, 4096) == found
    ((function, sizes, attributes),) = given
    assert (function, sizes, attributes.value) == (77, [8, 1, 1, 1024, 1, 1, 4096], 0)


def test_no_driver_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "driver_address", lambda name: 0)
    assert launcher.active_clusters(77, 8, 1024, 4096) is None
