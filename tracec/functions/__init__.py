"""The PyTorch surface: Python compositions of the primitives, grouped as PyTorch's documentation groups them.

A module is imported when one of its names is asked for; see `tracec.functions.table`.
"""

import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tracec.functions.table import FUNCTIONS, METHODS
from tracec.ir.forks import imported
from tracec.record.method import enter, is_there
from tracec.record.out import OUT
from tracec.record.patches import Patchable
from tracec.record.public import public
from tracec.record.tensor_meta import Methods

if TYPE_CHECKING:  # a running program finds them by `__getattr__`; packed, since a name a line takes ten pages
    # fmt: off
    # isort: off
    from tracec.functions.activation import (
        celu, celu_, elu, gelu, glu, hardshrink, hardsigmoid, hardswish, hardtanh, leaky_relu, logsigmoid, mish,
        prelu, relu, relu6, relu_, rrelu, rrelu_, selu, selu_, sigmoid, silu, softplus, softsign, tanhshrink,
        threshold, threshold_,
    )
    from tracec.functions.adaptive_pooling import (
        adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, adaptive_max_pool1d, adaptive_max_pool2d,
        adaptive_max_pool3d, fractional_max_pool2d, fractional_max_pool3d,
    )
    from tracec.functions.addressed import as_strided
    from tracec.functions.arithmetic import (
        abs, absolute, add, addcdiv, addcmul, arctan2, atan2, clamp, clamp_max, clamp_min, clip, copysign, div,
        divide, float_power, floor_divide, fmax, fmin, fmod, gcd, hypot, lcm, ldexp, lerp, maximum, minimum,
        mul, multiply, neg, negative, nextafter, positive, pow, reciprocal, remainder, rsub, sign, square, sub,
        subtract, true_divide,
    )
    from tracec.functions.arranging import flip, fliplr, flipud, repeat, repeat_interleave, roll, rot90, tile
    from tracec.functions.attention import scaled_dot_product_attention
    from tracec.functions.chains import chain_matmul
    from tracec.functions.comparison import (
        allclose, bitwise_and, bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor,
        eq, equal, ge, greater, greater_equal, gt, isclose, isfinite, isinf, isnan, isneginf, isposinf, le,
        less, less_equal, logical_and, logical_not, logical_or, logical_xor, lt, ne, not_equal, where,
    )
    from tracec.functions.complex import (
        adjoint, angle, complex, conj, conj_physical, imag, is_complex, is_conj, is_neg, isreal, polar, real,
        resolve_conj, resolve_neg, sgn, view_as_complex, view_as_real,
    )
    from tracec.functions.convolution import (
        bilinear, conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d, linear,
    )
    from tracec.functions.correlation import corrcoef, cov
    from tracec.functions.counting import bincount, histc, histogram, histogramdd
    from tracec.functions.creation import (
        as_tensor, asarray, from_dlpack, from_numpy, frombuffer, is_floating_point, is_tensor, numel,
        scalar_tensor, tensor,
    )
    from tracec.functions.cumulative import cumprod, cumsum, logcumsumexp
    from tracec.functions.decomposition import cholesky, cholesky_inverse, cholesky_solve, geqrf, orgqr, ormqr, qr
    from tracec.functions.diagonals import block_diag, diag, diag_embed, diagflat, diagonal, trace, tril, triu, vander
    from tracec.functions.differences import cumulative_trapezoid, diff, gradient, trapezoid, trapz
    from tracec.functions.dropout import alpha_dropout, dropout, dropout1d, dropout2d, feature_alpha_dropout
    from tracec.functions.eigenvalues import svd
    from tracec.functions.einsum import einsum
    from tracec.functions.elimination import lu, lu_solve, lu_unpack
    from tracec.functions.embedding import embedding
    from tracec.functions.extremes import ValuesIndices, amax, amin, aminmax, argmax, argmin, max, min
    from tracec.functions.filled import (
        empty, empty_like, empty_strided, fill, full, full_like, ones, ones_like, zeros, zeros_like,
    )
    from tracec.functions.grids import cartesian_prod, combinations, meshgrid
    from tracec.functions.indexing import (
        argwhere, gather, index_select, masked_select, nonzero, nonzero_static, take, take_along_dim,
        unravel_index,
    )
    from tracec.functions.inverses import det, inverse, logdet, matrix_exp, matrix_power, pinverse, slogdet
    from tracec.functions.joining import (
        atleast_1d, atleast_2d, atleast_3d, cat, column_stack, concat, concatenate, dstack, hstack, row_stack,
        stack, vstack,
    )
    from tracec.functions.layer_norm import layer_norm, rms_norm
    from tracec.functions.linalg import (
        addbmm, addmm, addmv, addr, baddbmm, bmm, cross, dot, ger, inner, kron, matmul, mm, mv, outer,
        tensordot, vdot,
    )
    from tracec.functions.loss import cross_entropy, nll_loss, one_hot
    from tracec.functions.lowrank import pca_lowrank, svd_lowrank
    from tracec.functions.normalization import batch_norm, group_norm, instance_norm, local_response_norm, normalize
    from tracec.functions.norms import cdist, dist, norm, nuclear_norm, pairwise_distance, pdist, renorm
    from tracec.functions.padding import constant_pad_nd, pad
    from tracec.functions.pointwise import (
        acos, acosh, arccos, arccosh, arcsin, arcsinh, arctan, arctanh, asin, asinh, atan, atanh, ceil, cos,
        cosh, deg2rad, erf, exp, exp2, expm1, fix, floor, frac, frexp, heaviside, log, log1p, log2, log10,
        logaddexp, logaddexp2, nan_to_num, rad2deg, round, rsqrt, signbit, sin, sinh, sqrt, tan, tanh, trunc,
    )
    from tracec.functions.pooling import (
        avg_pool1d, avg_pool2d, avg_pool3d, lp_pool1d, lp_pool2d, lp_pool3d, max_pool1d, max_pool2d, max_pool3d,
    )
    from tracec.functions.quantile import nanquantile, quantile
    from tracec.functions.quantization import fake_quantize_per_channel_affine, fake_quantize_per_tensor_affine
    from tracec.functions.random import (
        bernoulli, binomial, multinomial, normal, poisson, rand, rand_like, randint, randint_like, randn,
        randn_like, randperm,
    )
    from tracec.functions.random_in_place import (
        bernoulli_, cauchy_, exponential_, geometric_, log_normal_, normal_, random_, uniform_,
    )
    from tracec.functions.ranges import arange, eye, linspace, logspace, range, tril_indices, triu_indices
    from tracec.functions.reduction import (
        all, any, count_nonzero, logsumexp, mean, nanmean, nansum, prod, std, std_mean, sum, var, var_mean,
    )
    from tracec.functions.regression_loss import (
        binary_cross_entropy, binary_cross_entropy_with_logits, huber_loss, kl_div, l1_loss, mse_loss,
        smooth_l1_loss,
    )
    from tracec.functions.scattering import (
        index_add, index_copy, index_fill, index_put, index_reduce, masked_fill, masked_scatter, put, scatter,
        scatter_add, scatter_reduce,
    )
    from tracec.functions.searching import bucketize, isin, searchsorted, unique, unique_consecutive
    from tracec.functions.shape import (
        broadcast_shapes, broadcast_tensors, broadcast_to, expand, expand_as, flatten, moveaxis, movedim,
        narrow, permute, ravel, reshape, reshape_as, select, squeeze, sum_to_size, swapaxes, swapdims, t,
        transpose, unflatten, unsqueeze, view, view_as,
    )
    from tracec.functions.similarity import cosine_similarity
    from tracec.functions.softmax import log_softmax, softmax, softmin
    from tracec.functions.solving import triangular_solve
    from tracec.functions.sorting import argsort, cummax, cummin, kthvalue, median, mode, msort, nanmedian, sort, topk
    from tracec.functions.sparsity import sparse_coo_tensor, sparse_csc_tensor, sparse_csr_tensor, spmm
    from tracec.functions.special import (
        digamma, erfc, erfinv, i0, igamma, igammac, lgamma, logit, mvlgamma, polygamma, sinc, xlogy,
    )
    from tracec.functions.spectral import istft, stft
    from tracec.functions.splitting import (
        chunk, dsplit, hsplit, split, split_with_sizes, tensor_split, unbind, unsafe_chunk, unsafe_split,
        vsplit,
    )
    from tracec.functions.strided import (
        as_strided_scatter, diagonal_scatter, narrow_copy, select_scatter, slice_scatter,
    )
    from tracec.functions.unpooling import max_unpool1d, max_unpool2d, max_unpool3d
    from tracec.functions.vision import channel_shuffle, pixel_shuffle, pixel_unshuffle
    from tracec.functions.windows import bartlett_window, blackman_window, hamming_window, hann_window, kaiser_window
    # isort: on
    # fmt: on

__all__ = [
    # creation
    "tensor", "as_tensor", "asarray", "from_dlpack", "from_numpy", "frombuffer", "scalar_tensor", "full", "zeros",
    "ones", "empty", "empty_strided", "fill", "full_like", "zeros_like", "ones_like", "empty_like", "arange", "range",
    "linspace", "logspace", "eye", "tril_indices", "triu_indices", "is_tensor", "is_floating_point", "numel",
    # complex
    "complex", "polar", "real", "imag", "conj", "conj_physical", "resolve_conj", "resolve_neg", "is_conj", "is_neg",
    "is_complex", "isreal", "angle", "sgn", "adjoint", "view_as_real", "view_as_complex",
    # signals
    "stft", "istft", "hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window",
    # random
    "rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "randperm", "bernoulli", "normal",
    "multinomial", "poisson", "binomial", "uniform_", "normal_", "log_normal_", "cauchy_", "exponential_",
    "geometric_", "bernoulli_",
    "random_",
    # arithmetic
    "add", "sub", "rsub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "maximum", "minimum", "atan2",
    "hypot", "neg", "positive", "abs", "sign", "square", "reciprocal", "clamp", "clamp_min", "clamp_max", "lerp",
    "addcmul", "addcdiv", "subtract", "multiply", "divide", "true_divide", "negative", "absolute", "clip", "arctan2",
    "float_power", "ldexp", "copysign", "nextafter", "gcd", "lcm", "fmax", "fmin",
    # pointwise
    "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "logaddexp2", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "sqrt", "rsqrt", "floor",
    "ceil", "round", "trunc", "frac", "nan_to_num", "heaviside", "deg2rad", "rad2deg", "arcsin", "arccos", "arctan",
    "arcsinh", "arccosh", "arctanh", "fix", "frexp", "signbit",
    # special
    "digamma", "erfc", "erfinv", "i0", "igamma", "igammac", "lgamma", "logit", "mvlgamma", "polygamma", "sinc",
    "xlogy",
    # comparison
    "eq", "ne", "lt", "le", "gt", "ge", "logical_not", "logical_and", "logical_or", "logical_xor", "bitwise_not",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "isnan", "isinf",
    "isposinf", "isneginf", "isfinite", "isclose", "allclose", "equal", "where", "not_equal", "less",
    "less_equal", "greater", "greater_equal",
    # reduction
    "ValuesIndices", "sum", "prod", "mean", "nansum", "nanmean", "var", "std", "var_mean", "std_mean", "amax",
    "amin", "aminmax", "max", "min", "argmax", "argmin", "any", "all", "count_nonzero", "logsumexp", "cumsum",
    "cumprod", "logcumsumexp",
    # differences and quantiles
    "diff", "gradient", "trapezoid", "trapz", "cumulative_trapezoid", "quantile", "nanquantile",
    # shape
    "reshape", "view", "reshape_as", "view_as", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze",
    "transpose", "swapaxes", "swapdims", "t", "permute", "movedim", "moveaxis", "expand", "expand_as",
    "broadcast_to", "broadcast_tensors", "broadcast_shapes", "sum_to_size", "narrow", "select",
    # strided
    "as_strided", "select_scatter", "slice_scatter", "diagonal_scatter", "as_strided_scatter", "narrow_copy",
    # arranging
    "repeat", "tile", "repeat_interleave", "flip", "fliplr", "flipud", "rot90", "roll",
    # vision
    "channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
    # padding
    "constant_pad_nd", "pad",
    # joining
    "cat", "concat", "concatenate", "stack", "hstack", "vstack", "row_stack", "dstack", "column_stack",
    "atleast_1d", "atleast_2d", "atleast_3d",
    # splitting
    "split", "split_with_sizes", "chunk", "tensor_split", "hsplit", "vsplit", "dsplit", "unbind", "unsafe_split",
    "unsafe_chunk",
    # grids
    "meshgrid", "cartesian_prod", "combinations",
    # indexing
    "gather", "take_along_dim", "take", "index_select", "masked_select", "nonzero", "nonzero_static", "argwhere",
    "unravel_index", "embedding",
    # scattering
    "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill", "index_put",
    "index_reduce", "put", "masked_fill", "masked_scatter",
    # sorting
    "argsort", "sort", "msort", "topk", "kthvalue", "median", "nanmedian", "mode", "cummax", "cummin",
    # searching
    "searchsorted", "bucketize", "isin", "unique", "unique_consecutive",
    # counting
    "bincount", "histc", "histogram", "histogramdd",
    # linalg
    "matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "outer", "ger", "addmm", "addmv", "addbmm", "baddbmm", "addr",
    "tensordot", "kron", "cross", "chain_matmul",
    # diagonals
    "diagonal", "diag", "diagflat", "diag_embed", "trace", "tril", "triu", "block_diag", "vander",
    # decomposition
    "cholesky", "cholesky_inverse", "cholesky_solve", "qr", "geqrf", "orgqr", "ormqr", "lu", "lu_solve", "lu_unpack",
    "svd", "svd_lowrank", "pca_lowrank",
    # solving
    "det", "slogdet", "logdet", "inverse", "pinverse", "matrix_exp", "matrix_power", "triangular_solve",
    # correlation
    "cov", "corrcoef",
    # norms
    "norm", "nuclear_norm", "dist", "renorm", "cdist", "pdist", "pairwise_distance",
    # einsum
    "einsum",
    # activation
    "relu", "sigmoid", "gelu", "silu", "mish", "leaky_relu", "prelu", "elu", "selu", "softplus", "softsign",
    "logsigmoid", "relu6", "hardtanh", "hardsigmoid", "hardswish", "tanhshrink", "glu", "softmax", "log_softmax",
    "softmin", "celu", "celu_", "hardshrink", "relu_", "rrelu", "rrelu_", "selu_", "threshold", "threshold_",
    # dropout
    "dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_alpha_dropout",
    # norm
    "layer_norm", "rms_norm", "batch_norm", "group_norm", "instance_norm", "local_response_norm", "normalize",
    "cosine_similarity",
    # loss
    "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "kl_div", "one_hot",
    # convolution
    "linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d",
    # pooling
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d",
    "lp_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d", "fractional_max_pool3d", "max_unpool1d",
    "max_unpool2d", "max_unpool3d",
    # quantization
    "fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine",
    # sparsity
    "sparse_coo_tensor", "sparse_csr_tensor", "sparse_csc_tensor", "spmm",
    # attention
    "scaled_dot_product_attention",
]  # fmt: skip


#: What takes numbers, sizes or any object, so that no argument can have a say in it.
_NAMES = """
    arange as_tensor asarray bartlett_window blackman_window broadcast_shapes empty empty_strided eye from_dlpack
    from_numpy frombuffer full hamming_window hann_window is_tensor kaiser_window linspace logspace ones rand randint
    randn randperm range scalar_tensor sparse_coo_tensor sparse_csc_tensor sparse_csr_tensor tensor tril_indices
    triu_indices zeros
"""
_OF_NUMBERS = frozenset(_NAMES.split())


def __getattr__(name: str) -> Any:
    module = FUNCTIONS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(imported(f"{__name__}.{module}"), name)
    if inspect.isfunction(value) and name not in _OF_NUMBERS:
        value = public(value, name in OUT, name, __name__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS})


def _find_method(name: str) -> bool:
    """Import the module that makes a method of Tensor; all of them for the empty name.

    Returns:
        Whether there is such a method now.
    """
    if not name:
        for module in set(METHODS.values()):
            _import_methods(module)
        return True
    found = METHODS.get(name) or METHODS.get(name.removesuffix("_"))
    if found is None:
        return False
    _import_methods(found)
    return is_there(name)


def _import_methods(module: str) -> None:
    imported(f"{__name__}.{module}")  # waits where another thread is importing it
    enter(f"{__name__}.{module}")


Methods.find = staticmethod(_find_method)


class _Package(Patchable):
    """This package; where a module has the name of a function, the name means the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in FUNCTIONS or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
