"""Which way a matrix product takes on a GPU: the generated kernel or cuBLAS, by a measurement on that GPU.

Both are timed once for each shape, on the device that is to run them, and the times are kept on disk by device. Below
and above certain sizes there is nothing to measure: small products win by what is fused with them, very large ones
by the library. What cannot be measured, since there is no GPU, is chosen by size alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from tracec import ops
from tracec.codegen import cuda as cuda_codegen
from tracec.errors import CompileError
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.node import Node, input_node, made_from
from tracec.ir.resize import settled
from tracec.ir.source import warn
from tracec.ir.types import TensorType
from tracec.plan import TARGETS, make_plan
from tracec.runtime import cublas
from tracec.runtime import cuda as cuda_runtime
from tracec.runtime.cache import default_cache, key
from tracec.runtime.measure import device_name, product_times
from tracec.runtime.nvrtc import compile_sources

#: Multiplications below which the kernel is taken, and from which on the library, without a measurement.
LEAST, MOST = 1 << 18, 1 << 35
#: Types whose products are measured: the matrix units that cuBLAS has for 16-bit floats are not in the kernels yet.
MEASURED = frozenset((dt.float32, dt.float64))


@dataclass(frozen=True, slots=True)
class Times:
    """What was measured for one shape, in microseconds on the device.

    Attributes:
        kernel: The generated kernel.
        library: cuBLAS.
        passing: Writing and reading the result once more, which a kernel with a fused epilogue spares.
    """

    kernel: float
    library: float
    passing: float

    @property
    def prefers_library(self) -> bool:
        """Whether cuBLAS wins although nothing can be fused into it."""
        return self.library + self.passing < self.kernel


class Choices:
    """The choices for one device.

    Args:
        device: Its number.

    Attributes:
        times: What was measured, by shape.
        unknown: Shapes that were asked for and were not measured yet.
    """

    def __init__(self, device: int) -> None:
        self.device = device
        self.times: dict[str, Times] = {}
        self.unknown: dict[str, Mapping[str, Any]] = {}

    def prefers_library(self, params: Mapping[str, Any]) -> bool:
        """Whether a product is one for cuBLAS; by size as long as it was not measured."""
        params = {k: settled(v) for k, v in params.items()}
        size = prod(params["batch"]) * params["m"] * params["n"] * params["k"]
        if not cublas.available():  # asked when there is a product: it takes a while to load
            return False
        if params["dtype"] not in MEASURED:
            return bool(TARGETS["cuda"].gemm(params)) and cublas.takes(params["dtype"], self.device)
        if size < LEAST or size >= MOST:
            return bool(size >= MOST)
        name = describe(params)
        found = self.times.get(name) or self._read(name)
        if found is None:
            self.unknown[name] = params
            return bool(TARGETS["cuda"].gemm(params))
        self.times[name] = found
        return found.prefers_library

    def describe(self) -> list[str]:
        """What was measured, a line each, for readers."""
        return [
            f"product {name} on cuda:{self.device}: kernel {t.kernel:.1f} µs, cuBLAS {t.library:.1f} µs and a pass "
            f"{t.passing:.1f} µs: {'cuBLAS' if t.prefers_library else 'kernel'}"
            for name, t in self.times.items()
            if t.kernel > 0
        ]

    def measure(self) -> None:
        """Measure what was asked for and is not known; what cannot be measured is left to the kernel."""
        try:
            self._measure()
        except (CompileError, MemoryError) as error:
            warn(f"{error}\n  matrix products are computed by generated kernels")
            never = Times(kernel=0.0, library=0.0, passing=0.0)
            self.times = dict.fromkeys(self.unknown, never) | self.times  # what was measured before it failed stays
            self.unknown.clear()

    def _measure(self) -> None:
        arch = cuda_runtime.arch_of(self.device)
        programs = {name: _candidate(params, self.device) for name, params in self.unknown.items()}
        # All at once: their kernels are compiled together, and found in the cache when they are loaded.
        compile_sources([k.source for _, program in programs.values() for k in program.kernels], arch)
        for name, params in self.unknown.items():
            self.times[name] = found = Times(*product_times(*programs[name], _contiguous(params), self.device))
            default_cache().store(self._key(name), "json", json.dumps(asdict(found)).encode())
        self.unknown.clear()

    def _read(self, name: str) -> Times | None:
        kept = default_cache().read(self._key(name), "json")
        return None if kept is None else Times(**json.loads(kept))

    def _key(self, name: str) -> str:
        return key("gemm", device_name(self.device), str(cuda_codegen.GENERATION), name)


_choices: dict[int, Choices] = {}


def describe_choices() -> list[str]:
    """What was measured on all devices."""
    return [line for choices in _choices.values() for line in choices.describe()]


def choices_of(device: int) -> Choices:
    """The choices for a device, the same in the whole process."""
    return _choices.setdefault(device, Choices(device))


def describe(params: Mapping[str, Any]) -> str:
    """A shape in words: ``f32 8 x 512x256x1024 an bt``."""
    batch = prod(params["batch"])
    letters = "".join(f" {x}{'t' if params[f'trans_{x}'] else 'n'}{_shared(params, x)}" for x in "ab")
    return f"{params['dtype'].short} {batch} x {params['m']}x{params['n']}x{params['k']}{letters}"


def _shared(params: Mapping[str, Any], operand: str) -> str:
    """A mark on an operand that is one matrix for the whole batch."""
    return "1" if params["batch"] and not any(params[f"{operand}_batch"]) else ""


def _candidate(params: Mapping[str, Any], device: int) -> tuple[Any, Any]:
    """The plan and the program of the generated kernel alone."""
    batch, place = prod(params["batch"]), f"cuda:{device}"

    def operand(name: str, rows: int, columns: int) -> tuple[Node, Node]:
        stored = (columns, rows) if params[f"trans_{name}"] else (rows, columns)
        own = 1 if _shared(params, name) else batch
        node = given = input_node(TensorType(params["dtype"], (own, *stored), place), name)
        if params[f"trans_{name}"]:
            node = ops.transpose(node, perm=(0, 2, 1))
        return given, node if own == batch else ops.expand(node, shape=(batch, rows, columns))

    with made_from(None):
        a, left = operand("a", params["m"], params["k"])
        b, right = operand("b", params["k"], params["n"])
        graph = Graph((a, b), (ops.dot(left, right),), "gemm")
    plan = make_plan(graph, TARGETS["cuda"], disabled=frozenset(("library",)))
    return plan, cuda_codegen.render(plan, cuda_runtime.arch_of(device))


def _contiguous(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same product of operands that lie by themselves, as the measurement has them."""
    m, n, k, batch = params["m"], params["n"], params["k"], prod(params["batch"])
    steps = {"a": m * k, "b": k * n}
    return {
        **params, "batch": (batch,), "a_offset": 0, "b_offset": 0,
        "lda": m if params["trans_a"] else k, "ldb": k if params["trans_b"] else n,
        **{f"{x}_batch": (0 if _shared(params, x) else steps[x],) for x in "ab"},
    }  # fmt: skip
