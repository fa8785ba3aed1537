"""Shapes, gathering, scattering, sorting and searching against PyTorch: values, dtypes and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tests.functions.compare import agree

torch = pytest.importorskip("torch")

POSITIONS = np.array([[0, 2, 1], [1, 1, 0]])
TIES = np.array([[1.0, 3.0, 3.0, 2.0, 1.0], [4.0, 4.0, 0.0, 4.0, 0.0]])
HOLES = np.array([[1.0, np.nan, 3.0, 2.0], [np.nan, np.nan, np.nan, np.nan], [0.0, -1.0, 5.0, np.nan]])
COUNTS = np.array([3, 0, 1, 2])

SCATTERED = {
    "multiply": lambda t, x, i: x.detach().scatter(1, i[:, :2], x.detach()[:, 1:] + 3, reduce="multiply"),
    "add": lambda t, x, i: (x.detach().scatter(1, i, 2.5, reduce="add"), x.scatter(1, i, value=2.5)),
    "smaller index": lambda t, x, i: (x.scatter_add(1, i[:1], x[:1] * 2), x.detach().scatter_add(1, i[:1], x.detach())),
    "scalar": lambda t, x, i: (x[0, 0].scatter_add(0, i[0, 0], x[0, 1]), x[0, 0].index_add(0, i[0, :1], x[0, 1])),
    "sum": lambda t, x, i: x.scatter_reduce(1, i, x * 2, "sum"),
    "prod": lambda t, x, i: x.scatter_reduce(1, i, x * 2, "prod"),
    "mean": lambda t, x, i: x.scatter_reduce(1, i, x * 2, "mean"),
    "amax": lambda t, x, i: x.scatter_reduce(1, i, x * 2, "amax"),
    "amin": lambda t, x, i: x.scatter_reduce(1, i, x * 2, "amin", include_self=False),
    "prod alone": lambda t, x, i: x.scatter_reduce(1, i, x * 2, "prod", include_self=False),
    "mean alone": lambda t, x, i: x.scatter_reduce(1, i, x * 2, "mean", include_self=False),
    "sum alone": lambda t, x, i: x.scatter_reduce(0, i % 2, x * 2, "sum", include_self=False),
    "index_reduce": lambda t, x, i: [
        x.index_reduce(1, i[0], x * 3, how, include_self=own)
        for how in ("prod", "mean", "amax", "amin") for own in (True, False)
    ],
    "index_add": lambda t, x, i: (x.index_add(1, i[1], x, alpha=-2), x.index_copy(1, i[0], x * 2)),
    "index_fill": lambda t, x, i: (x.index_fill(1, i[0, :2], 3), x.index_fill(0, i[1, :1], x.sum())),
    "index_put": lambda t, x, i: (
        x.index_put((i[0] % 2, i[0]), x[0]), x.index_put((i % 2, i), x * 2, accumulate=True),
        x.index_put((x > 0,), x[0, 0], accumulate=True),
    ),
    "put": lambda t, x, i: (x.put(i[0], x[1]), x.put(i[1] - 3, x[0], accumulate=True)),
    "masked": lambda t, x, i: (
        x.masked_scatter(x > 0, t.arange(6.0, dtype=x.dtype) * x.sum()), x.masked_fill(x[:1] > 0, 7),
        x.masked_fill(x > 0, x.sum()),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The reduce argument", "ignore:index_reduce")
@pytest.mark.parametrize("name", SCATTERED)
def test_scattering(name):
    agree(SCATTERED[name], (2, 3), POSITIONS)


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("own", [True, False])
def test_ties_zeros_and_integers_are_reduced_alike(reduce, own):
    def f(t, x, i):
        return t.full((2, 3), -50, dtype=x.dtype).scatter_reduce(1, i, x, reduce, include_self=own)

    where = np.array([[0, 2, 1, 0, 0], [1, 1, 0, 1, 1]])
    agree(f, TIES, where)
    if reduce == "prod":
        agree(f, TIES - 1, where)  # one zero, and several
    agree(f, (TIES * 2 - 3).astype(np.int64), where)


GATHERED = {
    "gather": lambda t, x, i: (x.gather(1, i), x.gather(0, i[:1] % 2), x[0, 0].gather(0, i[0, 0])),
    "empty": lambda t, x, i: (x.gather(1, i[:, :0]), x.index_select(0, i[0, :0]), x.take(i[:0])),
    "take": lambda t, x, i: (x.take(i - 3), x.take_along_dim(i - 3, 1), x.take_along_dim(i[:, :1] - 3, -1)),
    "take flat": lambda t, x, i: (t.take_along_dim(x, i), t.take_along_dim(x, i[:1], 1)),
    "select": lambda t, x, i: (x.index_select(-1, i[0]), x[0, 0].index_select(0, i[0, :1])),
    "masked": lambda t, x, i: (x.masked_select(x > 0), x[0].masked_select(x > 0), x[0, 0].masked_select(x > 9)),
    "nonzero": lambda t, x, i: (i.nonzero(), t.nonzero(i, as_tuple=True), t.argwhere(i), i[1, 2].nonzero()),
    "where": lambda t, x, i: (t.where(x > 0), t.where(x > 0, x, 1), t.where(i > 0, i, 0.5), x.where(x > 0, x[0])),
    "where numbers": lambda t, x, i: (t.where(x > 0, 1, 2), t.where(x > 0, 1.0, 2), t.where(i > 0, i, 2)),
    "nonzero_static": lambda t, x, i: (
        t.nonzero_static(i, size=3), t.nonzero_static(i, size=9, fill_value=7), t.nonzero_static(x > 5, size=2),
    ),
    "unravel": lambda t, x, i: (t.unravel_index(i, (2, 2)), t.unravel_index(i[0], (3, 1, 2))),
}  # fmt: skip


@pytest.mark.parametrize("name", GATHERED)
def test_gathering(name):
    agree(GATHERED[name], (2, 3), POSITIONS)


def uniques(t, x):
    return (
        t.unique(x), x.unique(return_inverse=True, return_counts=True), t.unique(x, dim=1, return_inverse=True),
        x.unique(dim=0, return_counts=True), t.unique_consecutive(x, return_inverse=True, return_counts=True),
        t.unique_consecutive(x, dim=1), t.unique(x[:, :0]), t.unique(x[0, 0], return_inverse=True),
    )  # fmt: skip


ORDERED = {
    "sort": lambda t, x: (
        t.sort(x, stable=True), x.sort(dim=0, stable=True), x.sort(stable=True, dim=1, descending=True),
    ),
    "argsort": lambda t, x: (x.argsort(stable=True), t.argsort(x, dim=0, stable=True), t.msort(x)),
    "topk": lambda t, x: [
        t.topk(x.detach(), *how).values for how in ((2, 1, True), (2, -1, False), (1, 0, True), (0, 1, True))
    ],
    "kthvalue": lambda t, x: (x.detach().kthvalue(2).values, x.detach().kthvalue(1, 0, True).values),
    "median": lambda t, x: (x.median(), x.median(1).values, x.median(0, True).values),
    "nanmedian": lambda t, x: (t.nanmedian(x), x.nanmedian(1).values, x.nanmedian(0, True).values),
    "mode": lambda t, x: (x.mode(), x.mode(0), t.mode(x, 1, keepdim=True).values),
    "cummax": lambda t, x: (x.cummax(1), t.cummin(x, 0), x[0].cummax(0)),
    "scalar": lambda t, x: [
        f(x[0, 0]) for f in (t.sort, t.argsort, t.msort, t.median, lambda s: t.topk(s, 1), lambda s: t.cummax(s, 0),
                             lambda s: t.kthvalue(s, 1), t.mode, lambda s: t.median(s, 0))
    ],
    "unique": lambda t, x: uniques(t, x.detach()),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("values", [TIES, HOLES, TIES.astype(np.int32) - 2], ids=["ties", "holes", "integers"])
def test_order(name, values):
    if values is HOLES and name in ("mode", "unique"):
        return  # NaNs differ from one another, and PyTorch puts their rows anywhere
    if values is HOLES:
        # Of several NaNs PyTorch names another one.
        agree(lambda t, x: [v for v in flattened(ORDERED[name](t, x.detach())) if v.is_floating_point()], values)
        return
    agree(ORDERED[name], values)


def test_empty_axes_have_an_order_too():
    agree(lambda t, x: (x.sort(1), x.argsort(0), x.cummax(0), x.median(), x.topk(0, 1), t.msort(x)), (2, 0))


SEARCHED = {
    "searchsorted": lambda t, x, s: [
        t.searchsorted(s, x, **how)
        for how in ({}, {"right": True}, {"side": "right"}, {"side": "left"}, {"out_int32": True})
    ],
    "number": lambda t, x, s: (t.searchsorted(s, 0.3), t.searchsorted(s, 1, right=True), t.bucketize(0.3, s)),
    "lines": lambda t, x, s: t.searchsorted(x.sort(1).values, x.flip(1).contiguous() + 0.1),
    "sorter": lambda t, x, s: t.searchsorted(x[0].contiguous(), x, sorter=x[0].argsort()),
    "bucketize": lambda t, x, s: (t.bucketize(x, s), t.bucketize(x, s, right=True, out_int32=True)),
    "isin": lambda t, x, s: (
        t.isin(x, x[0]), t.isin(x, x[:1, :1], invert=True), t.isin(x, t.cat([x.flatten()] * 3)), t.isin(x, x[:0]),
        t.isin(x.round(), 1), t.isin(1, x.round().long()), t.isin(x.round().long(), t.arange(40)),
    ),
    "nan": lambda t, x, s: t.searchsorted(s, x / 0 - x / 0),
}  # fmt: skip


@pytest.mark.parametrize("name", SEARCHED)
def test_searching(name):
    agree(lambda t, x, s: SEARCHED[name](t, x.detach(), s.detach()), (3, 4), np.array([-1.0, 0.0, 0.3, 0.3, 1.0]))


COUNTED = {
    "bincount": lambda t, x, i: (
        t.bincount(i), i.bincount(minlength=9), i.bincount(x[0]), i.bincount(x[0].float()), i.bincount(i),
        i[:0].bincount(), t.bincount(i[:0], minlength=2),
    ),
    "histc": lambda t, x, i: (x.histc(), t.histc(x, 4), x.histc(bins=3, min=-1, max=1), t.histc(x * 0, 4, 0, 0)),
    "histogram": lambda t, x, i: (
        t.histogram(x, 4), x.histogram(3, range=(-1.0, 1.0)), t.histogram(x, 3, weight=x * x, density=True),
        t.histogram(x, t.tensor([-1.0, 0.0, 0.5, 2.0], dtype=x.dtype)),
    ),
    "histogramdd": lambda t, x, i: (
        t.histogramdd(x, 2), t.histogramdd(x, [2, 3, 1, 2], range=[-2, 2] * 4, density=True),
        t.histogramdd(x, [t.tensor([-1.0, 0, 1], dtype=x.dtype)] * 4, weight=x[:, 0] * 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_counting(name):
    agree(lambda t, x, i: COUNTED[name](t, x.detach(), i), (3, 4), COUNTS)


ARRANGED = {
    "repeat": lambda t, x: (x.repeat(1, 1, 1), x.repeat(2, 1, 0, 3), t.tile(x, (2, 1)), x.tile(dims=(1,)), x.tile(2)),
    "repeat_interleave": lambda t, x: (
        x.repeat_interleave(2), x.repeat_interleave(1, 1), x.repeat_interleave(t.tensor([3, 0, 1]), 1),
        t.repeat_interleave(x, t.tensor([2]), dim=0), t.repeat_interleave(x, t.tensor([1, 2]), 0, output_size=3),
        t.repeat_interleave(t.tensor([3, 0, 1])), x[0, 0, 0].repeat_interleave(3),
    ),
    "flip": lambda t, x: (x.flip(dims=(0, 1)), x.flip(()), x.flip(0, 2), x.fliplr(), t.flipud(x)),
    "rot90": lambda t, x: [t.rot90(x, k, (0, 2)) for k in (0, 1, 2, 3, -1, 6)],
    "roll": lambda t, x: (
        x.roll(0), x.roll(-1), x.roll(7, -1), t.roll(x, (1, 2), dims=(0, 0)), x.roll(shifts=1, dims=1),
    ),
    "squeeze": lambda t, x: (x[:, :1].squeeze(dim=(0, 1)), x[:1, :1].squeeze(()), x[:1].squeeze(0), x[:1].squeeze()),
    "names": lambda t, x: (
        x.permute(dims=(2, 0, 1)), x[:1].expand(size=(4, -1, -1)), x.transpose(dim0=0, dim1=1), x.unsqueeze(dim=-1),
        t.reshape(x, shape=(-1,)), x.broadcast_to((4, 2, 3, 5)), x.view(size=(6, 5)), x.swapaxes(0, 1),
    ),
    "sum_to_size": lambda t, x: (x.sum_to_size(3, 1), x.sum_to_size((1, 5)), x.sum_to_size(2, 3, 5), x.sum_to_size(1)),
    "split": lambda t, x: (
        x.split_with_sizes([1, 0, 2], 1), x.split(split_size=2, dim=1), t.swapaxes(x, axis0=0, axis1=2),
        x.split((2, 3), -1), t.split(x, 2, dim=2), x.chunk(7, 1),
        x.tensor_split(2, 2),
        t.tensor_split(x, (1, 9, -1), dim=2), t.tensor_split(x, t.tensor([1, 3]), 2), x.tensor_split(t.tensor(4), 2),
        x.hsplit([1]), x.vsplit(2), x.dsplit((1, 2)), x.hsplit(3), x.unsafe_chunk(2), x.unsafe_split(1), x.unbind(-1),
    ),
    "stack": lambda t, x: (
        t.dstack([x[0], x[1]]), t.column_stack([x[0, 0], x[0, :, 0].repeat(2)[:5], x[0].t()]),
        t.row_stack([x[0, 0], x[0]]), t.hstack([x[0, 0, 0], x[0, 0, 1]]), t.vstack([x[0, 0, 0], x[0, 0, :1]]),
        t.dstack([x[0, 0, 0], x[0, 0, 1]]),
        t.atleast_1d(x[0, 0, 0]), t.atleast_2d(x[0, 0], x[0, 0, 0]), t.atleast_3d(x[0], x[0, 0]), t.atleast_3d([x]),
    ),
    "cat": lambda t, x: (
        t.cat([x, t.tensor([])], 1), t.cat([x, x.float().detach(), t.ones(2, 1, 5, dtype=t.int64)], 1), t.cat([x]),
        t.cat((x[:0], x)), t.concat([x.detach() > 0, x], -1), t.stack([x[0, 0, 0], x[0, 0, 1].detach().float()]),
    ),
    "grids": lambda t, x: (
        t.cartesian_prod(x[0, 0], x[0, :, 0]), t.cartesian_prod(x[0, 0]), t.combinations(x[0, 0]),
        t.combinations(x[0, 0], 3), t.combinations(x[0, 0], 2, True), t.combinations(x[0, 0], 0),
        t.combinations(x[0, 0], 9),
        t.meshgrid([x[0, 0], x[0, 0, 0]], indexing="xy"), t.meshgrid(x[0, 0], indexing="ij"),
    ),
    "diagonals": lambda t, x: (
        t.diagflat(x[0, :2]), t.diagflat(x[0, 0], -1), x[0].diag(1), x.tril(1), t.triu(x, -1), x.diagonal(1, -1, 0),
    ),
    "replaced": lambda t, x: (
        x.select_scatter(x[:, :, 0] * 3, 2, -1),
        x.slice_scatter(x[:, :2] * 3, 1, start=1), t.slice_scatter(x, x[..., :2] * 2, -1, 0, 4, 2),
        x.diagonal_scatter(x[0, 0, :2].expand(5, 2) * 2), x.narrow_copy(1, 1, 2), x.narrow(2, -2, 1),
        t.select(x, 1, -1),
    ),
    "windows": lambda t, x: (
        x.unfold(2, 3, 1), x.unfold(-1, 2, 2), x.unfold(0, 1, 5), x.unfold(1, 0, 2), x[0, 0, 0].unfold(0, 1, 1),
    ),
    "strided": lambda t, x: (
        x.as_strided((2, 3), (1, 2)), t.as_strided(x, (4, 2), (7, 0), 1), x[1].as_strided((5,), (1,)),
        x.transpose(0, 2).as_strided((2, 2), (1, 15)), x.as_strided((), (), 3), x.as_strided((0, 2), (9, 9)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRANGED)
def test_arranging(name):
    agree(ARRANGED[name], (2, 3, 5))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool", "float16", "bfloat16"])
def test_element_types_stay(dtype):
    def f(t, x, i):
        y = (x * 3).to(getattr(t, dtype))
        number = dtype != "bool"
        return (
            y.gather(1, i), y.scatter(1, i, y), y.scatter_add(1, i, y) if number else i, y.index_select(0, i[0] % 2),
            y.sort(stable=True), t.cat([y, y]), y.roll(1), y.flip(0), y.tril(), y.diagonal(), y.unique(), y.take(i),
            y.masked_fill(i > 0, 1), y.index_fill(1, i[0], 0), y.scatter_reduce(1, i, y, "amax"), y.repeat(2, 1),
            y.scatter_reduce(1, i, y, "prod") if number else i, y.cummax(1).values, y.mode(1).values, y.nonzero(),
        )  # fmt: skip

    agree(lambda t, x, i: [r.float() for r in flattened(f(t, x.detach(), i))], (2, 3), POSITIONS)
    agree(lambda t, x, i: [r for r in flattened(f(t, x.detach(), i)) if "bfloat" not in dtype], (2, 3), POSITIONS)


def flattened(found: Any) -> list[Any]:
    return [t for r in found for t in flattened(r)] if isinstance(found, (tuple, list)) else [found]


def test_bits():
    agree(
        lambda t, x: (
            x.detach().view(t.int64),
            x.detach().float().view(t.int32),
            x.detach().view(t.int16),
            x.view(t.float64),
            x.detach().long().view(t.float64),
            x.detach().long().view(dtype=t.uint8),
            x.detach()[0, 0].view(t.int64),
        ),
        (2, 4),
    )


MISTAKES = {
    "gather index": lambda t, x: x.gather(1, t.tensor([[5]])),
    "gather dims": lambda t, x: x.gather(1, t.tensor([0])),
    "gather type": lambda t, x: x.gather(1, t.zeros(1, 1)),
    "gather size": lambda t, x: x.gather(1, t.zeros(5, 1, dtype=t.int64)),
    "scatter type": lambda t, x: x.scatter(1, t.tensor([[0]]), t.ones(1, 1, dtype=t.float64)),
    "scatter src": lambda t, x: x.scatter(1, t.tensor([[0, 1]]), t.ones(1, 1)),
    "scatter reduce": lambda t, x: x.scatter(1, t.tensor([[0]]), 1.0, reduce="max"),
    "scatter_reduce": lambda t, x: x.scatter_reduce(1, t.tensor([[0]]), x, "add"),
    "index_select index": lambda t, x: x.index_select(0, t.tensor([2])),
    "index_select negative": lambda t, x: x.index_select(0, t.tensor([-1])),
    "index_select matrix": lambda t, x: x.index_select(0, t.tensor([[0]])),
    "index_add shape": lambda t, x: x.index_add(0, t.tensor([0]), t.ones(2, 3)),
    "index_add index": lambda t, x: x.index_add(0, t.tensor([9]), t.ones(1, 3)),
    "index_copy type": lambda t, x: x.index_copy(0, t.tensor([0]), t.ones(1, 3, dtype=t.int64)),
    "index_fill": lambda t, x: x.index_fill(0, t.tensor([2]), 1),
    "index_fill value": lambda t, x: x.index_fill(0, t.tensor([1]), t.ones(2)),
    "index_put": lambda t, x: x.index_put((t.tensor([5]),), t.tensor(1.0)),
    "index_put values": lambda t, x: x.index_put((t.tensor([0, 1]),), t.ones(5), accumulate=True),
    "take": lambda t, x: x.take(t.tensor([6])),
    "take type": lambda t, x: x.take(t.tensor([1.0])),
    "put": lambda t, x: x.put(t.tensor([0, 1]), t.ones(3)),
    "put index": lambda t, x: x.put(t.tensor([7]), t.ones(1)),
    "masked_fill": lambda t, x: x.masked_fill(t.tensor([1, 0, 1]), 1),
    "masked_scatter": lambda t, x: x.masked_scatter(x > 0, t.ones(2)),
    "masked_scatter type": lambda t, x: x.masked_scatter(x == 0, t.ones(6, dtype=t.int64)),
    "masked_select": lambda t, x: x.masked_select(t.tensor([1, 0, 1])),
    "where": lambda t, x: t.where(x, x, x),
    "where shapes": lambda t, x: t.where(x > 0, t.ones(4), x),
    "topk": lambda t, x: x.topk(4),
    "topk axis": lambda t, x: x.topk(1, 2),
    "kthvalue": lambda t, x: x.kthvalue(0),
    "median": lambda t, x: t.zeros(2, 0).median(1),
    "mode": lambda t, x: t.zeros(2, 0).mode(1),
    "sort": lambda t, x: x.sort(5),
    "searchsorted": lambda t, x: t.searchsorted(t.ones(3, 4), x),
    "searchsorted side": lambda t, x: t.searchsorted(t.ones(3), x, side="middle"),
    "searchsorted both": lambda t, x: t.searchsorted(t.ones(3), x, side="left", right=True),
    "bucketize": lambda t, x: t.bucketize(x, x),
    "unique axis": lambda t, x: t.unique(x, dim=3),
    "unique empty": lambda t, x: t.unique(t.zeros(2, 0), dim=0),
    "bincount": lambda t, x: t.bincount(t.tensor([-1])),
    "bincount type": lambda t, x: t.bincount(x[0]),
    "bincount shape": lambda t, x: t.bincount(t.tensor([[1]])),
    "bincount weights": lambda t, x: t.bincount(t.tensor([1]), t.ones(2)),
    "histc": lambda t, x: t.histc(x, 0),
    "histc range": lambda t, x: t.histc(x, 3, 2, 1),
    "histc infinite": lambda t, x: t.histc(x / 0),
    "histogram type": lambda t, x: t.histogram(x.long(), 3),
    "unfold": lambda t, x: x.unfold(1, 4, 1),
    "unfold step": lambda t, x: x.unfold(1, 2, 0),
    "as_strided": lambda t, x: x.as_strided((7,), (1,)),
    "as_strided lengths": lambda t, x: x.as_strided((2,), (1, 1)),
    "select_scatter": lambda t, x: x.select_scatter(t.ones(2), 0, 0),
    "narrow": lambda t, x: x.narrow(1, 2, 2),
    "select": lambda t, x: x.select(1, 3),
    "split": lambda t, x: x.split([1, 1], 1),
    "split scalar": lambda t, x: x[0, 0].split(1),
    "chunk": lambda t, x: x.chunk(0),
    "tensor_split": lambda t, x: x.tensor_split(0),
    "hsplit": lambda t, x: x.hsplit(2),
    "vsplit": lambda t, x: x[0].vsplit(1),
    "dsplit": lambda t, x: x.dsplit(1),
    "cat": lambda t, x: t.cat([x, x[0]]),
    "cat scalars": lambda t, x: t.cat([x[0, 0]]),
    "cat nothing": lambda t, x: t.cat([]),
    "stack": lambda t, x: t.stack([x, x[0]]),
    "meshgrid": lambda t, x: t.meshgrid(x, x, indexing="ij"),
    "meshgrid word": lambda t, x: t.meshgrid(x[0], indexing="up"),
    "combinations": lambda t, x: t.combinations(x),
    "combinations count": lambda t, x: t.combinations(x[0], -1),
    "cartesian_prod": lambda t, x: t.cartesian_prod(x),
    "repeat": lambda t, x: x.repeat(2),
    "repeat_interleave": lambda t, x: x.repeat_interleave(-1),
    "repeat_interleave counts": lambda t, x: x.repeat_interleave(t.tensor([1, 2]), 1),
    "repeat_interleave negative": lambda t, x: x.repeat_interleave(t.tensor([1, -2]), 0),
    "repeat_interleave type": lambda t, x: x.repeat_interleave(t.tensor([1.0, 2.0]), 0),
    "roll": lambda t, x: x.roll((1, 2), 0),
    "rot90": lambda t, x: x.rot90(1, (0, 0)),
    "flip twice": lambda t, x: x.flip(0, 0),
    "fliplr": lambda t, x: x[0].fliplr(),
    "broadcast_shapes": lambda t, x: t.broadcast_shapes((2,), (3,)),
    "sum_to_size": lambda t, x: x.sum_to_size(4),
    "view bits": lambda t, x: x[:, :1].view(t.float64),
    "view scalar": lambda t, x: x[0, 0].view(t.float64),
    "tril": lambda t, x: x[0].tril(),
    "unravel_index": lambda t, x: t.unravel_index(t.tensor([1.0]), (2, 3)),
    "unravel_index shape": lambda t, x: t.unravel_index(t.tensor([1]), (2, -3)),
    "isin": lambda t, x: t.isin(1, 2),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_raise_what_pytorch_raises(name):
    mistake = MISTAKES[name]
    with pytest.raises(Exception) as theirs:
        mistake(torch, torch.arange(6.0).reshape(2, 3))
    with pytest.raises(tracec.errors.TracecError) as ours:
        mistake(tracec, tracec.arange(6.0).reshape(2, 3))
    assert isinstance(ours.value, theirs.type) and ours.value.hint
