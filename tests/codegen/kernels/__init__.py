"""Kernels of every family over any extents and dtypes, as text, for tests of code generation."""

from tests.codegen.kernels.columns import column_shares, column_softmax, column_sum, full_sum
from tests.codegen.kernels.maps import (
    adam,
    broadcast,
    chain,
    gather,
    gelu,
    in_place,
    integers,
    masked,
    padded,
    pool,
    random,
    scan,
    scatter,
    sized,
    transpose,
)
from tests.codegen.kernels.products import conv, conv_weight, dot
from tests.codegen.kernels.rows import batch_norm, held, layer_norm, picked, reread, row_sum, running, softmax, stripes
from tests.codegen.kernels.text import read_kernel

__all__ = [
    "adam",
    "batch_norm",
    "broadcast",
    "chain",
    "column_shares",
    "column_softmax",
    "column_sum",
    "conv",
    "conv_weight",
    "dot",
    "full_sum",
    "gather",
    "gelu",
    "held",
    "in_place",
    "integers",
    "layer_norm",
    "masked",
    "padded",
    "pool",
    "picked",
    "random",
    "read_kernel",
    "reread",
    "row_sum",
    "running",
    "scan",
    "scatter",
    "sized",
    "softmax",
    "stripes",
    "transpose",
]
