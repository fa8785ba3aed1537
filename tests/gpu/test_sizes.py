"""Sizes at which schedules change: short and long rows, tall columns, several blocks, tails, narrow types.

The operators' samples are small. Here each family runs at the sizes where its kernels take another form, against
float64 on the CPU.
"""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.conftest import REHEARSAL
from tests.gpu.place import compiled, epsilon, fetch, on_gpu, put, runs_compiled
from tracec.ir import dtype as dt
from tracec.nn import functional as F

pytestmark = [*on_gpu, pytest.mark.skipif(REHEARSAL == "emulator", reason="too large for an emulation")]

WIDE = (tracec.float32, tracec.float64)
NARROW = (tracec.float16, tracec.bfloat16)


def check(function, arrays, dtypes=(tracec.float32,), units=64, **options):
    """Compare a compiled function with its eager self in float64 on the CPU, in each element type.

    Args:
        function: The function.
        arrays: Its operands, floating ones in float64.
        dtypes: Element types of the floating operands.
        units: The error that is allowed, in units in the last place of the largest value of each output.
        **options: Of ``compile``.
    """
    run = compiled(function, **options)
    for dtype in dtypes:
        given = [put(a).to(dtype) if a.dtype.kind == "f" else put(a) for a in arrays]
        exact = [t.cpu().double() if t.dtype is dtype else t.cpu() for t in given]
        expected = listed(function(*exact))
        for _ in range(2):
            found = listed(run(*given))
        assert [f.dtype for f in found] == [e.dtype for e in listed(function(*given))]
        for f, e in zip(found, expected, strict=True):
            compare(fetch(f), fetch(e), units)
    assert runs_compiled(run)


def listed(outputs):
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def compare(found, expected, units):
    assert found.shape == expected.shape
    kind = dt.of_numpy(found.dtype)
    if kind.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    scale = float(np.abs(expected).max(initial=0)) or 1.0
    worst = float(np.abs(found.astype(np.float64) - expected).max(initial=0))
    assert worst <= units * epsilon(kind) * scale, f"{worst / scale:.1e} of the largest value"


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("length", [1, 2, 3, 31, 33, 257, 4097, 1_000_003])
def test_maps(length):
    check(lambda x, y: F.gelu(x * 1.1 + 0.1) * 0.5 + y, [numbers(length), numbers(length, seed=1)], (*WIDE, *NARROW), 8)


@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (1000, 3), (3, 1000), (513, 1025)])
def test_broadcasts(shape):
    rows, columns = shape
    operands = [numbers(*shape), numbers(columns, seed=1), numbers(rows, 1, seed=2)]
    check(lambda x, r, c: (x * r + c, x[:, ::2] * c, x.flip(1) + r), operands, (tracec.float32, tracec.float16), 8)


@pytest.mark.parametrize(
    "shape", [(4099, 1), (4099, 5), (1025, 64), (300, 1000), (33, 1024), (5, 20_001), (2, 300_001)]
)
def test_rows(shape):
    def function(x, w):
        norm = F.layer_norm(x, x.shape[-1:], w, w)
        return F.softmax(x, -1), norm, F.rms_norm(x, x.shape[-1:], w, 1e-5), x.sum(-1), x.max(-1).values, x.argmin(-1)

    # Numbers that differ in float32 too, so that there is one least of them.
    x = np.random.default_rng(0).permutation(shape[0] * shape[1]).reshape(shape) / (shape[0] * shape[1])
    check(function, [x * 6 - 3, numbers(shape[1])])


@pytest.mark.parametrize("shape", [(300, 100), (33, 1024), (3, 50_257)])
def test_rows_of_narrow_numbers(shape):
    def function(x, w):
        return F.softmax(x, -1), F.layer_norm(x, x.shape[-1:], w, w), F.rms_norm(x, x.shape[-1:], w, 1e-5), x.sum(-1)

    check(function, [numbers(*shape), numbers(shape[1])], NARROW, 8)


@pytest.mark.parametrize("shape", [(64, 7), (300, 1000), (9, 50_257)])
def test_loss_and_gradients(shape):
    rows, classes = shape
    target = np.random.default_rng(1).integers(0, classes, rows)

    def function(x, target, w):
        x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
        loss = F.cross_entropy(F.layer_norm(x, (classes,), w), target)
        return (loss.detach(), *tracec.autograd.grad(loss, (x, w)))

    check(function, [numbers(*shape), target, numbers(classes, seed=2)], units=256)


@pytest.mark.parametrize("shape", [(5, 3), (1, 1000), (70_001, 3), (1031, 67), (4096, 1024), (17, 65_537)])
def test_columns(shape):
    def function(x):
        return x.sum(0), x.max(0).values, (x * x).mean(0), x.var(0, correction=0)

    check(function, [numbers(*shape)], (tracec.float32, tracec.float16), 64)


@pytest.mark.parametrize("length", [1, 100, 1025, 100_003, 4_000_037])
def test_reductions_over_everything(length):
    check(lambda x: (x.sum(), x.max(), (x * x).mean(), x.argmax()), [numbers(length)], (tracec.float32,), 64)


def test_reductions_over_several_axes():
    x = numbers(13, 40, 21, 33)
    check(lambda x: (x.sum((0, 2)), x.mean((1, 3)), x.sum((0, 1, 2)), x.max(1).values), [x])


@pytest.mark.parametrize("shape", [(1, 7), (31, 33), (129, 1000), (2048, 1024)])
def test_transposes(shape):
    dtypes = (tracec.float32, tracec.float64, *NARROW)
    check(lambda x: (x.T.contiguous(), x.T * 2 + 1), [numbers(*shape)], dtypes, 2)


def test_transposes_of_many_axes():
    def function(x):
        return x.transpose(1, 2).contiguous(), x.permute(3, 1, 0, 2).contiguous(), x.flatten(1).T.contiguous()

    check(function, [numbers(5, 33, 17, 64)], (tracec.float32, tracec.float16), 2)


@pytest.mark.parametrize("width", [1, 3, 64, 1000])
def test_gathers_and_scatters(width):
    index = np.random.default_rng(1).integers(0, 211, (30, 40))

    def function(table, index, ct):
        w = table.clone().requires_grad_()
        rows = F.embedding(index, w)
        return rows.detach(), *tracec.autograd.grad(rows, (w,), ct), table[index[:, 0]], table.index_select(0, index[0])

    check(function, [numbers(211, width), index, numbers(30, 40, width, seed=2)], units=256)


@pytest.mark.parametrize(
    "shape",
    [
        (1,),
        (33,),
        (1025,),
        (100_003,),
        (3_000_017,),
        (7, 1000),
        (300, 4099),
        (2, 200_003),
        (3, 4_000_004),
        (600, 40_000),
    ],
)
def test_scans(shape):
    # Generated C adds one after another.
    units = 256 if not REHEARSAL else 10_000
    check(lambda x: (x.cumsum(-1), x.cumsum(0)), [np.abs(numbers(*shape))], units=units)


@pytest.mark.parametrize("dtype", [tracec.float32, tracec.float64, tracec.bfloat16, tracec.int64])
def test_scans_are_the_same_from_run_to_run(dtype):
    run = compiled(lambda x: x.cumsum(-1))
    x = put(numbers(3, 1_500_003) * 9).to(dtype)
    run(x)  # eager
    first = run(x).clone()
    for _ in range(20 if not REHEARSAL else 2):
        assert (run(x) == first).all()


@pytest.mark.parametrize("width", [1, 3, 64, 1000])
def test_sums_in_any_order(width):
    index = np.random.default_rng(1).integers(0, 211, 3000)
    arrays = [numbers(211, width), index, numbers(3000, width, seed=2)]
    check(lambda x, i, rows: x.index_add(0, i, rows), arrays, WIDE, units=1024, disable=("deterministic",))


@pytest.mark.parametrize("shape", [(1, 1), (37, 131), (4099, 1000), (3, 100_003), (70_000, 10)])
def test_losses_with_their_gradients(shape):
    target = np.random.default_rng(0).integers(0, shape[1], shape[0])

    def function(x, target, weight):
        w = x.clone().requires_grad_()
        losses = [F.cross_entropy(w, target), F.cross_entropy(w, target, weight=weight)]
        return *(loss.detach() for loss in losses), *(tracec.autograd.grad(loss, (w,))[0] for loss in losses)

    check(function, [numbers(*shape), target, np.abs(numbers(shape[1], seed=1)) + 1], units=256)


@pytest.mark.parametrize("shape", [(1,), (33,), (1024,), (5003,), (300_007,), (37, 131), (7, 5003), (1000, 64)])
def test_sorts(shape):
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape) / 2.0
    equal = np.random.default_rng(0).integers(0, 7, shape)  # equal keys keep their order
    check(lambda x: (*tracec.sort(x, dim=-1), tracec.argsort(x, dim=-1, descending=True)), [x], units=0)
    check(lambda x: tuple(tracec.sort(x, dim=-1, stable=True)), [equal], units=0)


@pytest.mark.parametrize("shape", [(33,), (37, 1300), (7, 5003), (64, 50_257), (300_007,), (2, 200_003), (4_194_304,)])
@pytest.mark.parametrize("what", ["apart", "crowded", "equal"])
def test_selections(shape, what):
    """A block a row and several, of keys that differ by their first bits or by their last ones, and of equal ones."""
    random = np.random.default_rng(0)
    run = compiled(lambda x: (*x.topk(20, -1), *x.topk(5, -1, largest=False), *x.kthvalue(x.shape[-1] // 2, -1)))
    for _ in range(3):
        x = random.standard_normal(shape)
        x = {"apart": x, "crowded": 1 + x * 2.0**-20, "equal": np.round(x)}[what].astype("f4")
        values, places, low, low_places, middle, middle_place = (fetch(y) for y in run(put(x)))
        rising = np.argsort(x, axis=-1, kind="stable")
        np.testing.assert_array_equal(places, np.argsort(-x, axis=-1, kind="stable")[..., :20])
        np.testing.assert_array_equal(low_places, rising[..., :5])
        np.testing.assert_array_equal(middle_place, rising[..., shape[-1] // 2 - 1])
        np.testing.assert_array_equal(values, np.take_along_axis(x, places, -1))
        np.testing.assert_array_equal(low, np.take_along_axis(x, low_places, -1))
        np.testing.assert_array_equal(middle, np.take_along_axis(x, middle_place[..., None], -1)[..., 0])


@pytest.mark.parametrize("shape", [(4_194_304,), (5000, 1024), (5000, 700), (300, 4096), (64, 40_000)])
@pytest.mark.parametrize("crowded", [False, True])
def test_sorts_again_and_again(shape, crowded):
    """More tiles than there are blocks at a time, and rows in which many keys differ by their last bits alone."""
    random = np.random.default_rng(0)
    run = compiled(lambda x: tuple(tracec.sort(x, dim=-1)))
    for _ in range(5):
        x = (1 + random.integers(0, 1 << 10, shape) * 2.0**-23 if crowded else random.standard_normal(shape)).astype(
            "f4"
        )
        x[..., 0], x[..., -1] = 1e30, -1e30
        values, places = (fetch(y) for y in run(put(x)))
        np.testing.assert_array_equal(places, np.argsort(x, axis=-1, kind="stable"))
        np.testing.assert_array_equal(values, np.take_along_axis(x, places, -1))


PRODUCTS = [(1, 1, 1), (1, 100, 1), (17, 33, 5), (128, 128, 128), (129, 257, 65), (16, 1000, 512), (512, 64, 1000)]


@pytest.mark.parametrize("disable", [(), ("library",)], ids=["chosen", "generated"])
@pytest.mark.parametrize("sizes", [*PRODUCTS, (1000, 1001, 999)], ids=str)
def test_products(sizes, disable):
    m, k, n = sizes
    operands = [numbers(m, k), numbers(k, n, seed=1), numbers(n, seed=2)]
    dtypes = (tracec.float32, tracec.float64, *NARROW)
    check(lambda a, b, c: ((a @ b + c).relu(), a @ b), operands, dtypes, 64, disable=disable)


@pytest.mark.parametrize("disable", [(), ("library",)], ids=["chosen", "generated"])
def test_products_of_other_layouts(disable):
    def function(a, b, c):
        return a @ b.T, a.T @ a, c @ c.transpose(1, 2), c[:, 1:].transpose(1, 2) @ c[:, 1:]

    operands = [numbers(70, 130), numbers(50, 130, seed=1), numbers(5, 33, 48, seed=2)]
    check(function, operands, (tracec.float32, *NARROW), 64, disable=disable)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}, {"padding": 2, "dilation": 2}], ids=str)
def test_convolutions(options):
    def function(x, w, b):
        x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
        y = F.conv2d(x, w, b, **options)
        return (y.detach(), *tracec.autograd.grad(y.square().sum(), (x, w)), F.max_pool2d(y.detach().relu(), 2))

    check(function, [numbers(5, 16, 19, 23), numbers(24, 16, 3, 3, seed=1), numbers(24, seed=2)], units=256)


@pytest.mark.parametrize("shape", [(1, 1, 3, 8), (2, 3, 65, 32), (1, 4, 300, 64)])
def test_attention(shape):
    def function(q, k, v):
        q, k, v = (t.clone().requires_grad_() for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return (y.detach(), *tracec.autograd.grad(y.square().sum(), (q, k, v)))

    check(function, [numbers(*shape, seed=s) for s in range(3)], units=256)
