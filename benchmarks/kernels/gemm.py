"""Matrix products: the generated kernel and what tracec chooses, against cuBLAS through CuPy (bfloat16: torch)."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.kernels.cases import WIDTHS, Operand, make_inputs
from benchmarks.kernels.devices import sets_for
from benchmarks.kernels.measure import Measure, Row, error_of


@dataclass(frozen=True)
class Product:
    """``batch`` products of m×k and k×n."""

    name: str
    batch: int
    m: int
    k: int
    n: int
    quick: bool = True

    def operands(self, dtype: str) -> tuple[Operand, Operand]:
        lead = (self.batch,) if self.batch > 1 else ()
        return Operand((*lead, self.m, self.k), dtype), Operand((*lead, self.k, self.n), dtype)

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.k * self.n


PRODUCTS = (
    Product("square", 1, 1024, 1024, 1024),
    Product("square", 1, 4096, 4096, 4096),
    Product("square", 1, 8192, 8192, 8192, quick=False),
    Product("few rows", 1, 16, 4096, 4096),
    Product("few columns", 1, 16384, 4096, 64),
    Product("long inner", 1, 256, 65536, 256, quick=False),
    Product("odd", 1, 1000, 1001, 999),
    Product("batched", 64, 512, 64, 512),
    Product("batched", 16, 1024, 1024, 1024, quick=False),
)
DTYPES = ("float32", "float16", "bfloat16")


def measure_products(
    measure: Measure, quick: bool, dtypes: tuple[str, ...] = DTYPES, largest: float = 1e13, shrink: int = 1
) -> list[Row]:
    """Every product in every element type; each extent ``shrink`` times smaller, of no more than so many operations."""
    chosen = [_smaller(p, shrink) for p in PRODUCTS if p.quick or not quick]
    chosen = [p for p in chosen if p.flops <= largest]
    return [_measure(measure, p, dtype) for dtype in dtypes for p in chosen]


def _smaller(p: Product, shrink: int) -> Product:
    batch, m, k, n = (max(-(-extent // shrink), 1) for extent in (p.batch, p.m, p.k, p.n))
    return replace(p, batch=batch, m=m, k=k, n=n)


def _measure(measure: Measure, product: Product, dtype: str) -> Row:
    lead = f"{product.batch}×" if product.batch > 1 else ""
    title = f"{product.name} {lead}{product.m}×{product.k}×{product.n} {dtype}"
    row: Row = {"family": "gemm", "name": product.name, "title": title, "dtype": dtype, "flops": product.flops}
    try:
        _fill(measure, product, dtype, row)
    except Exception as error:
        row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
    gc.collect()
    measure.device.free()
    return row


def _fill(measure: Measure, product: Product, dtype: str, row: Row) -> None:
    device, operands = measure.device, product.operands(dtype)
    nbytes = sum(o.nbytes for o in operands) + product.batch * product.m * product.n * WIDTHS[dtype]
    sets = [
        make_inputs(device.xp, measure.base, operands, measure.dtypes, k)
        for k in range(min(8, sets_for(nbytes, device.kind)))
    ]
    a, b = sets[0]
    exact = device.xp.matmul(a.astype("float64"), b.astype("float64"))
    tensors = [[measure.subject.xp.from_dlpack(a) for a in arrays] for arrays in sets]
    for kind, disable in (("generated", "library"), ("chosen", ())):
        function = measure.subject.xp.compile(lambda a, b: a @ b, cuda_graph=False, disable=disable, **device.options)
        function(*tensors[0])
        error = error_of(device, [function(*tensors[0])._array], [exact])
        timing = _timed(device, function, tensors)
        row[kind] = asdict(timing) | {"tflops": product.flops / timing.seconds / 1e12, "error": error}
    try:
        peer = _timed(device, _blas(measure, dtype), sets)
        row["blas"] = asdict(peer) | {"tflops": product.flops / peer.seconds / 1e12}
        for kind in ("generated", "chosen"):
            row[kind]["of_blas"] = peer.seconds / row[kind]["seconds"]
    except Exception as error:
        row["blas"] = {"failed": f"{type(error).__name__}: {str(error)[:200]}"}


def _timed(device: Any, function: Any, sets: Any) -> Any:
    ring = [function(*given) for given in sets]

    def call(k: int) -> Any:
        def run() -> None:
            ring[k] = function(*sets[k])

        return run

    return device.time([call(k) for k in range(len(sets))])


def _blas(measure: Measure, dtype: str) -> Any:
    """The library's product of two arrays: CuPy's, or torch's where CuPy has none for bfloat16."""
    xp = measure.device.xp
    if dtype != "bfloat16":
        return xp.matmul
    import torch

    def product(a: Any, b: Any) -> Any:
        stream = torch.cuda.ExternalStream(xp.cuda.get_current_stream().ptr)
        with torch.cuda.stream(stream):
            return torch.matmul(*(torch.from_dlpack(x.view("int16")).view(torch.bfloat16) for x in (a, b)))

    return product
