# ruff: noqa: F401 (this module is a list of names for users)
"""A deep-learning library with PyTorch's names, whose eager runs record a graph that compiles to C and CUDA."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tracec import autograd, beside, errors, functions
from tracec.functions import methods

if TYPE_CHECKING:
    from tracec.functions import *  # type: ignore[has-type] # noqa: F403
from tracec.ir.dtype import (
    DType,
    bfloat16,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from tracec.ir.dtype import bool_ as bool
from tracec.ir.forks import imported
from tracec.record.backend import Device, get_default_device, set_default_device
from tracec.record.backend import Device as device
from tracec.record.form import (
    Layout as layout,
)
from tracec.record.form import (
    MemoryFormat as memory_format,
)
from tracec.record.form import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    jagged,
    preserve_format,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from tracec.record.legacy import tensor_types, typename
from tracec.record.limits import finfo, iinfo
from tracec.record.memory import TypedStorage, UntypedStorage, is_storage
from tracec.record.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tracec.record.overriding import DisableTorchFunctionSubclass
from tracec.record.printing import set_printoptions
from tracec.record.promote import can_cast, promote_types
from tracec.record.promote import result_type_of as result_type
from tracec.record.random import (
    Generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from tracec.record.recorder import trace
from tracec.record.tape import is_inference
from tracec.record.tensor import Size, Tensor, get_default_dtype, set_default_dtype
from tracec.version import __version__

if TYPE_CHECKING:
    from tracec import (
        accelerator,
        backends,
        cache,
        cuda,
        fft,
        func,
        hub,
        ir,
        linalg,
        nested,
        nn,
        optim,
        overrides,
        quasirandom,
        random,
        signal,
        sparse,
        special,
        testing,
        transform,
        types,
        utils,
        version,
        vision,
    )
    from tracec.compile import compile as compile
    from tracec.func import cond as cond
    from tracec.func import vmap as vmap
    from tracec.func import while_loop as while_loop
    from tracec.settings import (
        are_deterministic_algorithms_enabled,
        get_deterministic_debug_mode,
        get_float32_matmul_precision,
        get_num_interop_threads,
        get_num_threads,
        is_deterministic_algorithms_warn_only_enabled,
        set_default_tensor_type,
        set_deterministic_debug_mode,
        set_float32_matmul_precision,
        set_flush_denormal,
        set_num_interop_threads,
        set_num_threads,
        use_deterministic_algorithms,
    )


OutOfMemoryError = errors.OutOfMemoryError
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
newaxis = None

dtype = DType
half, float, double = float16, float32, float64
short, int, long = int16, int32, int64
cfloat, cdouble = complex64, complex128

(
    FloatTensor,
    DoubleTensor,
    HalfTensor,
    BFloat16Tensor,
    LongTensor,
    IntTensor,
    ShortTensor,
    CharTensor,
    ByteTensor,
    BoolTensor,
) = tensor_types("cpu")

#: What is imported when it is first asked for: attribute → module, and name in it (empty: the module itself).
_LATER = {
    "_C": ("tracec._C", ""),
    "__config__": ("tracec.__config__", ""),
    "_dynamo": ("tracec._dynamo", ""),
    "_functorch": ("tracec._functorch", ""),
    "_inductor": ("tracec._inductor", ""),
    "_utils": ("tracec._utils", ""),
    "_assert": ("tracec._utils", "_assert"),
    "accelerator": ("tracec.accelerator", ""),
    "amp": ("tracec.amp", ""),
    "autocast": ("tracec.amp", "autocast"),
    "backends": ("tracec.backends", ""),
    "cache": ("tracec.cache", ""),
    "compile": ("tracec.compile", "compile"),
    "compiler": ("tracec.compiler", ""),
    "cuda": ("tracec.cuda", ""),
    "distributed": ("tracec.distributed", ""),
    "distributions": ("tracec.distributions", ""),
    "fft": ("tracec.fft", ""),
    "func": ("tracec.func", ""),
    "fx": ("tracec.fx", ""),
    "GradScaler": ("tracec.amp", "GradScaler"),
    "hub": ("tracec.hub", ""),
    "ir": ("tracec.ir", ""),
    "jit": ("tracec.jit", ""),
    "linalg": ("tracec.linalg", ""),
    "load": ("tracec.serialization", "load"),
    "multiprocessing": ("tracec.multiprocessing", ""),
    "nested": ("tracec.nested", ""),
    "nn": ("tracec.nn", ""),
    "optim": ("tracec.optim", ""),
    "onnx": ("tracec.onnx", ""),
    "overrides": ("tracec.overrides", ""),
    "profiler": ("tracec.profiler", ""),
    "quasirandom": ("tracec.quasirandom", ""),
    "random": ("tracec.random", ""),
    "save": ("tracec.serialization", "save"),
    "serialization": ("tracec.serialization", ""),
    "settings": ("tracec.settings", ""),
    "signal": ("tracec.signal", ""),
    "sparse": ("tracec.sparse", ""),
    "special": ("tracec.special", ""),
    "testing": ("tracec.testing", ""),
    "to_dlpack": ("tracec.utils.dlpack", "to_dlpack"),
    "transform": ("tracec.transform", ""),
    "types": ("tracec.types", ""),
    "utils": ("tracec.utils", ""),
    "version": ("tracec.version", ""),
    "vision": ("tracec.vision", ""),
    "cond": ("tracec.func", "cond"),
    "vmap": ("tracec.func", "vmap"),
    "while_loop": ("tracec.func", "while_loop"),
}
#: Module → functions of it.
_FROM = {
    "tracec.amp.autocast_mode": """
        clear_autocast_cache get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype is_autocast_cache_enabled
        is_autocast_cpu_enabled is_autocast_enabled
    """,
    "tracec.autograd.anomaly_mode": "is_anomaly_check_nan_enabled is_anomaly_enabled",
    "tracec.functions.softmax": "_log_softmax_backward_data _softmax_backward_data",
    "tracec.settings": """
        are_deterministic_algorithms_enabled get_deterministic_debug_mode get_float32_matmul_precision
        get_num_interop_threads get_num_threads is_deterministic_algorithms_warn_only_enabled set_default_tensor_type
        set_deterministic_debug_mode set_float32_matmul_precision set_flush_denormal set_num_interop_threads
        set_num_threads use_deterministic_algorithms
    """,
}
_LATER.update({name: (module, name) for module, names in _FROM.items() for name in names.split()})

#: Functions, which come from modules that are imported when one of their names is asked for.
_FUNCTIONS = frozenset(functions.__all__)


def __getattr__(name: str) -> Any:
    if name == "default_generator":  # each thread's may be another
        return imported("tracec.random").default_generator
    if name in _FUNCTIONS:
        return globals().setdefault(name, getattr(functions, name))
    if (method := methods.function_of(name)) is not None:
        return globals().setdefault(name, method)
    if name.startswith("_foreach_") and name in (lists := imported("tracec.functions.foreach")).__all__:
        return globals().setdefault(name, getattr(lists, name))
    if name not in _LATER:
        raise errors.name_missing(sys.modules[__name__], name)
    path, inner = _LATER[name]
    found = imported(path)
    value = getattr(found, inner) if inner else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_FUNCTIONS, *methods.names(), "default_generator"})


class _Package(ModuleType):
    """This package; ``tracec.compile`` stays the function when the module of that name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "compile" and isinstance(value, ModuleType):
            value = value.compile
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
beside.tell()
