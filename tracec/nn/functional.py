"""Neural-network functions, under the names of ``torch.nn.functional``."""

import sys
from typing import TYPE_CHECKING

from tracec import functions as _top
from tracec.errors import name_missing
from tracec.functions import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    alpha_dropout,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    batch_norm,
    bilinear,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    celu,
    celu_,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    cross_entropy,
    dropout,
    dropout1d,
    dropout2d,
    elu,
    embedding,
    feature_alpha_dropout,
    fractional_max_pool2d,
    fractional_max_pool3d,
    gelu,
    glu,
    group_norm,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    huber_loss,
    instance_norm,
    kl_div,
    l1_loss,
    layer_norm,
    leaky_relu,
    linear,
    local_response_norm,
    logsigmoid,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
    mish,
    mse_loss,
    nll_loss,
    normalize,
    one_hot,
    pad,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
    prelu,
    relu,
    relu6,
    relu_,
    rms_norm,
    rrelu,
    rrelu_,
    scaled_dot_product_attention,
    selu,
    selu_,
    sigmoid,
    silu,
    smooth_l1_loss,
    softplus,
    softsign,
    tanh,
    tanhshrink,
    threshold,
    threshold_,
)
from tracec.functions.activation import (
    elu_,
    hardtanh_,
    leaky_relu_,
    softshrink,
)
from tracec.functions.ctc import (
    ctc_loss,
)
from tracec.functions.dropout import (
    dropout3d,
)
from tracec.functions.embedding import (
    embedding_bag,
)
from tracec.functions.interpolation import interpolate, upsample, upsample_bilinear, upsample_nearest
from tracec.functions.loss import (
    linear_cross_entropy,
)
from tracec.functions.margin_loss import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from tracec.functions.multihead import (
    multi_head_attention_forward,
)
from tracec.functions.regression_loss import (
    gaussian_nll_loss,
    poisson_nll_loss,
)
from tracec.functions.sampling import affine_grid, grid_sample
from tracec.functions.softmax import (
    gumbel_softmax,
)
from tracec.functions.vision import fold, unfold
from tracec.ir.dtype import DType
from tracec.ir.source import warn
from tracec.record.patches import Patchable
from tracec.record.public import make_public
from tracec.record.tensor import Tensor

__all__ = [
    # convolutions and products
    "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "embedding", "embedding_bag", "linear", "one_hot",
    # pooling and padding
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "fractional_max_pool2d", "fractional_max_pool3d",
    "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d",
    "max_unpool3d", "pad",
    # vision
    "affine_grid", "channel_shuffle", "fold", "grid_sample", "interpolate", "pixel_shuffle", "pixel_unshuffle",
    "unfold", "upsample", "upsample_bilinear", "upsample_nearest",
    # distances
    "pairwise_distance", "pdist",
    # activations
    "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax", "logsigmoid", "mish",
    "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softsign", "tanh",
    "tanhshrink", "celu", "hardshrink", "rrelu", "softshrink", "threshold", "gumbel_softmax", "relu_", "elu_", "celu_",
    "selu_", "leaky_relu_", "hardtanh_", "rrelu_", "threshold_",
    # norms and dropout
    "batch_norm", "cosine_similarity", "dropout", "dropout1d", "dropout2d", "group_norm", "instance_norm",
    "layer_norm", "local_response_norm", "normalize", "rms_norm", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
    # losses
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "kl_div", "l1_loss",
    "mse_loss", "nll_loss", "smooth_l1_loss", "poisson_nll_loss", "gaussian_nll_loss", "hinge_embedding_loss",
    "cosine_embedding_loss", "margin_ranking_loss", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "soft_margin_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss",
    "ctc_loss", "linear_cross_entropy",
    # attention
    "scaled_dot_product_attention", "multi_head_attention_forward",
]  # fmt: skip


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """``exp(input)`` divided by its sum over an axis; the largest element is subtracted first.

    Args:
        input: Floating, if not cast.
        dim: The axis that sums to one. None chooses one by the number of axes, with a warning at the user's line.
        dtype: Cast to this first.
    """
    return _top.softmax(input, _axis("softmax", dim, input), dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """`softmax` of the negated input."""
    return _top.softmin(input, _axis("softmin", dim, input), dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """The logarithm of `softmax`, without taking a logarithm of small numbers.

    Args:
        input: Floating, if not cast.
        dim: The axis whose exponentials sum to one. None chooses one by the number of axes, with a warning at the
            user's line.
        dtype: Cast to this first.
    """
    return _top.log_softmax(input, _axis("log_softmax", dim, input), dtype)


def _axis(name: str, dim: int | None, input: Tensor) -> int:
    if dim is not None:
        return dim
    warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        UserWarning,
    )
    return 0 if input.ndim in (0, 1, 3) else 1


make_public(globals(), __all__)
sys.modules[__name__].__class__ = Patchable

if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
