"""Kernels for a GPU over arguments whose sizes vary: sizes are their arguments where that is right for all sizes."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as tc
from tests import test_sizes, test_sizes_of_loops, test_sizes_of_paths
from tests.codegen.emulated import needs_compiler
from tests.sizes import compare, of
from tracec import nn
from tracec.codegen import cuda, cuda_scan, cuda_sort
from tracec.ir import dtype as dt
from tracec.ir.conditions import noting
from tracec.ir.extent import symbolic
from tracec.ir.formula import Symbol
from tracec.ir.graph import Graph
from tracec.ir.node import input_node, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.types import TensorType
from tracec.plan import TARGETS, make_plan, split, stripes, target_for
from tracec.runtime.emulator_library import Library
from tracec.specialisations.sizes import Plainly

pytestmark = needs_compiler

F = nn.functional
SIZES = (16, 16, 24, 24, 33, 7, 3, 2, 65, 1, 1, 130)
EMULATED = {"target": "cuda", "launcher": "emulator"}


def _products():
    """Products whose rows, columns, sums and batches are as many as the size."""
    w = tc.randn(40, 36)
    return lambda n: (tc.randn(n, 40),), lambda x: ((x @ w + 1).relu(), (x.T @ x), x @ x.T, w.T @ x.T)


def _puts():
    """Rows written at positions, in an array and to one of as many rows as the size."""
    index = tc.tensor([3, 1, 3, 0])
    rows = tc.randn(4, 5)
    return lambda n: (tc.randn(n + 4, 5),), lambda x: (
        x.index_add(0, index, rows),
        x.index_copy(0, index[1:], rows[1:]),
    )


def _sums():
    """As many rows as the size, added up in a few places."""
    return (
        lambda n: (tc.randn(70 + n, 6), tc.arange(70 + n) % 5),
        lambda x, i: (tc.zeros(5, 6).index_add(0, i, x), tc.zeros(9 + x.shape[0], 6).index_add(0, i * 2, x)),
    )


#: Elements and rows of one length: nothing is compiled for a size by itself.
OPEN = {
    "elements": of((None,), lambda x: (x * 2 + 1).exp()),
    "rows": of((None, 8), lambda x: (x * x.shape[0], x / x.shape[0], x.flip(1) + x.shape[0])),
    "broadcast": of((None, 5), lambda x: x.unsqueeze(1) * x.unsqueeze(0) + tc.arange(x.shape[0]).unsqueeze(1)),
    "softmax": of((None, 16), lambda x: x.softmax(1)),
    "long_rows": of((None, 700), lambda x: F.layer_norm(x, (700,)) + x.amax(1, keepdim=True)),
    "columns": of((None, 6), lambda x: (x.sum(0), (x * x).amax(0), x.t().exp().sum(1))),
    "everything": of((None, 6), lambda x: ((x * x).mean(), x.amax())),
    "products": _products,
    "few_products": of((None, 6), lambda x: (x @ x[0], x.T @ x, (x @ tc.ones(6, 3)).relu())),
    "batched_products": of((None, 20, 18), lambda x: x @ x.transpose(1, 2)),
    "several_axes": of((3, None, 12), lambda x: (x.softmax(2), x.sum(2) * 2)),
    "turned": of((None, 12), lambda x: (x.t().contiguous() + 1, x.unsqueeze(0).expand(3, -1, -1).transpose(1, 2) * 2)),
    "turned_rows": of((20, None), lambda x: (x.t().contiguous() + 1, x.t().exp() * x.shape[1])),
    "turned_batches": of((None, 17, 9), lambda x: x.transpose(1, 2).contiguous() * 2),
    "scans": of((None, 100), lambda x: (x.cumsum(1), x.flip(1).cumsum(1), x.cumsum(0))),
    "scans_of_rows": of((3, None), lambda x: (x.cumsum(1), x.flip(1).cumsum(1), x.cumprod(1))),
    "scans_of_columns": of((None, 18), lambda x: (x.cumsum(0), x.cumprod(0))),
    "sorts": of((None, 20), lambda x: (*x.sort(1), x.argsort(1, descending=True))),
    "sorts_of_rows": of((3, None), lambda x: (*x.sort(1), x.argsort(0))),
    "many_parts": of((None, 40), lambda x: tc.cat([x[:, k : k + 21] * (k + 1) for k in range(9)], 1)),
    "many_blocks": of((None, 4, 24), lambda x: tc.cat([x[:, :, k : 2 * k + 9] * 2 for k in range(1, 8)], 2)),
    "puts": _puts,
    "sums_at_positions": _sums,
    "random": of((None, 8), lambda x: F.dropout(x, 0.5) + tc.rand_like(x)),
}
PROGRAMS = {
    "train_step": test_sizes.PROGRAMS["mlp_step"], "reductions": test_sizes.PROGRAMS["reductions"],
    "views": test_sizes.PROGRAMS["views"], "gathers": test_sizes.PROGRAMS["gathers"],
    "counted_runs": test_sizes_of_loops.PROGRAMS["counted"],
    "weighted_runs": test_sizes_of_loops.PROGRAMS["weighted_both"], "way": test_sizes_of_paths.PROGRAMS["number"][0],
}  # fmt: skip


@pytest.fixture
def sources(monkeypatch):
    """Kernels that are compiled."""
    found = set()
    make = Library.__init__

    def noted(self, given, checks=True):
        found.update(s.text for s in given)
        make(self, given, checks)

    monkeypatch.setattr(Library, "__init__", noted)
    return found


@pytest.mark.parametrize("name", OPEN)
def test_elements_and_rows_are_compiled_once_for_all_sizes(name, sources):
    compiled = compare(OPEN[name], (16, 16, 24, 65), **EMULATED)
    before = len(sources)  # those of the first size among them
    for n in (33, 17, 66, 67, 64, 128):
        compiled(*OPEN[name]()[0](n))
    assert len(sources) == before
    assert len(compiled.explain().recordings) == 2
    assert "by itself" not in compiled.explain()


@pytest.mark.parametrize("name", OPEN)
def test_elements_and_rows_of_all_sizes(name):
    assert len(compare(OPEN[name], SIZES, **EMULATED).explain().recordings) <= 4


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_recordings_serve_all_sizes(name):
    compiled = compare(PROGRAMS[name], (16, 16, 24, 33, 7, 3, 2), **EMULATED)
    assert len(compiled.explain().recordings) == 2


def test_as_many_rows_of_clusters_as_there_are():
    """A cluster for each; where the rows vary in length, some are a block's and some are a cluster's."""
    compiled = compare(of((None, 33000), lambda x: x.softmax(1)), (4, 4, 5, 9, 7), **EMULATED)
    assert len(compiled.explain().recordings) == 2
    assert "by itself" not in compiled.explain()
    compare(of((5, None), lambda x: x.log_softmax(1)), (40000, 40000, 33001, 70000, 300), **EMULATED)


@pytest.mark.parametrize("clusters", [True, False])
def test_a_row_of_another_length_is_a_clusters_only_where_there_may_be_any(clusters):
    symbol = Symbol("n", 10_000)
    x = input_node(TensorType(dt.float32, (5, symbolic(symbol))))
    with made_from(None):
        e = OPERATORS["exp"](x)
        y = OPERATORS["div"](e, OPERATORS["sum"](e, axes=(1,), keepdims=True))
    with noting([].append, named=True):
        plan = make_plan(Graph((x,), (y,)), target_for("cuda", "sm_90", "" if clusters else "none may be"))
        program = cuda.render(plan, "sm_90", clusters=clusters)
    new = Plainly({symbol: 40_000})
    found = cuda.at_sizes(program, new.plan(plan), new)
    assert ("__cluster_dims__" in str(found)) is clusters


def test_what_is_compiled_for_each_size():
    """A row that is kept on chip has a place in the source for each element."""
    program = of((3, None), lambda x: x.exp().softmax(1))
    compiled = compare(program, (80, 80, 90, 100, 110), **EMULATED)
    assert "kernels compiled for each size by itself: " in compiled.explain()
    assert "(row)" in compiled.explain()


def _rows(n, width):
    """The CUDA program of ``x * 2 + 1`` over that many rows, and what was learned of the number."""
    size = symbolic(Symbol("n", n))
    x = input_node(TensorType(dt.float32, (size, width)))
    with made_from(None):
        y = OPERATORS["add"](OPERATORS["mul"](x, 2.0), 1.0)
    noted = []
    with noting(noted.append, named=True):
        program = cuda.render(make_plan(Graph((x,), (y,)), TARGETS["cuda"]), "sm_90")
    return program, noted


def test_positions_are_as_wide_as_sizes_ask_for():
    small, learned = _rows(1000, 24)
    large, _ = _rows((1 << 31) // 24 + 1, 24)
    assert "unsigned long long" not in str(small) and "const int size_" in str(small)
    assert "unsigned long long" in str(large)
    limit = next(c for c in learned if str(c) == "2147483648 > 24*n")
    (symbol,) = {s for (m, _) in limit.right for s, _ in m}
    assert limit.holds({symbol: (1 << 31) // 24}) and not limit.holds({symbol: (1 << 31) // 24 + 1})


def test_nvrtc_takes_what_is_for_all_sizes(sources):
    nvrtc = pytest.importorskip("tracec.runtime.nvrtc")
    pytest.importorskip("cupy")
    for name in ("products", "long_rows", "columns"):
        compare(OPEN[name], (16, 16, 24), **EMULATED)
    given = [s for s in sources if "size_" in s]
    given += [k.source for n in (1000, 1 << 28) for width in (24, 25) for k in _rows(n, width)[0].kernels]
    assert len(given) > 8 and all("size_" in s for s in given)
    assert len(nvrtc.compile_sources(given, "sm_90")) == len(given)


@pytest.mark.parametrize("name", ["many_parts", "many_blocks"])
def test_parts_have_blocks_of_their_own_for_all_sizes(name, sources):
    compare(OPEN[name], (16, 16, 24), **EMULATED)
    (source,) = (s for s in sources if "size_" in s and "_part" in s)
    assert "blockIdx.x < (unsigned)size_" in source and "?" not in source
    nvrtc = pytest.importorskip("tracec.runtime.nvrtc")
    pytest.importorskip("cupy")
    (cubin,) = nvrtc.compile_sources([source], "sm_90")
    assert not cubin.resources.spill_bytes


def test_a_row_of_another_number():
    """Numbers that are no integers are arguments as well."""
    compiled = compare(of((None, 4), lambda x: x * 0.5 ** (1 / x.shape[0])), (8, 8, 9, 10, 5), **EMULATED)
    np.testing.assert_allclose(compiled(tc.ones(2, 4)).numpy(), np.full((2, 4), 0.5**0.5), rtol=1e-6)


def test_tiles_that_wait_for_each_other_serve_all_sizes(sources, monkeypatch):
    """As long rows have them: how many there are, and the memory that they talk by, is as the size asks for."""
    monkeypatch.setattr(cuda_scan, "MANY_TILES", 1)
    monkeypatch.setattr(cuda_scan, "WINDOW", 4)
    rows = of((2, None), lambda x: x.cumsum(1))
    compiled = compare(rows, (600, 600, 700), **EMULATED)
    before = len(sources)
    assert any("windows" in s and "size_" in s for s in sources)
    for n in (65, 900, 7, 5000, 2048):
        (x,) = rows()[0](n)
        np.testing.assert_allclose(compiled(x).numpy(), x.numpy().cumsum(1), rtol=1e-4, atol=1e-4)
    assert len(sources) == before


def test_sorts_digit_by_digit_serve_all_sizes(sources, monkeypatch):
    monkeypatch.setattr(cuda_sort, "SHORT_ROW", 8)
    rows = of((2, None), lambda x: (*x.sort(1), x.t().argsort(0, descending=True)))
    compiled = compare(rows, (600, 600, 700, 65), **EMULATED)
    before = len(sources)
    assert any("counts" in s and "size_" in s for s in sources)
    for n in (900, 7, 5000):
        (x,) = rows()[0](n)
        values, order, falling = compiled(x)
        np.testing.assert_array_equal(order.numpy(), np.argsort(x.numpy(), axis=1, kind="stable"))
        np.testing.assert_array_equal(values.numpy(), np.sort(x.numpy(), axis=1))
        np.testing.assert_array_equal(falling.numpy(), np.argsort(-x.numpy().T, axis=0, kind="stable"))
    assert len(sources) == before


def test_reductions_in_parts_serve_all_sizes(sources, monkeypatch):
    monkeypatch.setattr(split, "LARGE_SHARES", ((1 << 20, 40),))
    monkeypatch.setattr(split, "SMALLEST_PART", 16)
    monkeypatch.setattr(split, "SMALLEST_OF_ONE", 16)
    program = of((None, 40), lambda x: (x.sum(0), x.amax(0), x.mean(), x[:, :3].exp().sum(0)))
    compiled = compare(program, (600, 600, 700, 811, 1000), **EMULATED)
    before = len(sources)
    for n in (601, 720, 853, 997):
        compiled(*program()[0](n))
    assert len(sources) == before
    assert "any size(0, 0) (argument, axis): 2 programs" in compiled.explain()


def _norm_gradient():
    """The gradients of a layer norm of as many rows as the size, and of its weight and bias."""
    w, b = tc.randn(40).requires_grad_(), tc.randn(40).requires_grad_()

    def gradients(x, ct):
        x = x.detach().requires_grad_()
        return tc.autograd.grad(F.layer_norm(x, (40,), w, b), (x, w, b), ct)

    return lambda n: (tc.randn(n, 40), tc.randn(n, 40)), gradients


def test_rows_in_stripes_serve_all_sizes(sources, monkeypatch):
    monkeypatch.setattr(stripes, "FEWEST", 1)
    monkeypatch.setattr(stripes, "LEAST_STRIPES", 2)
    monkeypatch.setattr(stripes, "LEAST_ROWS", 2)
    compiled = compare(_norm_gradient, (16, 16, 24, 33, 7, 130, 61), **EMULATED)
    assert any(": stripe;" in s and "size_" in s for s in sources)
    before = len(sources)
    for n in (35, 17, 66, 67, 64, 128):
        compiled(*_norm_gradient()[0](n))
    assert len(sources) == before
    assert len(compiled.explain().recordings) == 2
    assert "by itself" not in compiled.explain()
