"""Which module of this package has which function, and which method of Tensor.

Modules are imported when one of their names is asked for: reading all of them would take most of the time of
``import tracec``, and no program uses them all. `tests/functions/test_table.py` holds the table to the modules.
"""

from __future__ import annotations

#: Module → the names of its functions that users see.
_FUNCTIONS = {
    "activation": """
        celu celu_ elu gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish prelu relu
        relu6 relu_ rrelu rrelu_ selu selu_ sigmoid silu softplus softsign tanhshrink threshold threshold_
    """,
    "adaptive_pooling": """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
        adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d
    """,
    "addressed": """
        as_strided
    """,
    "arithmetic": """
        abs absolute add addcdiv addcmul arctan2 atan2 clamp clamp_max clamp_min clip copysign div divide
        float_power floor_divide fmax fmin fmod gcd hypot lcm ldexp lerp maximum minimum mul multiply neg negative
        nextafter positive pow reciprocal remainder rsub sign square sub subtract true_divide
    """,
    "arranging": """
        flip fliplr flipud repeat repeat_interleave roll rot90 tile
    """,
    "attention": """
        scaled_dot_product_attention
    """,
    "chains": """
        chain_matmul
    """,
    "comparison": """
        allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor eq equal ge
        greater greater_equal gt isclose isfinite isinf isnan isneginf isposinf le less less_equal logical_and
        logical_not logical_or logical_xor lt ne not_equal where
    """,
    "complex": """
        adjoint angle complex conj conj_physical imag is_complex is_conj is_neg isreal polar real resolve_conj
        resolve_neg sgn view_as_complex view_as_real
    """,
    "convolution": """
        bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear
    """,
    "correlation": """
        corrcoef cov
    """,
    "counting": """
        bincount histc histogram histogramdd
    """,
    "creation": """
        as_tensor asarray from_dlpack from_numpy frombuffer is_floating_point is_tensor numel scalar_tensor tensor
    """,
    "cumulative": """
        cumprod cumsum logcumsumexp
    """,
    "decomposition": """
        cholesky cholesky_inverse cholesky_solve geqrf orgqr ormqr qr
    """,
    "diagonals": """
        block_diag diag diag_embed diagflat diagonal trace tril triu vander
    """,
    "differences": """
        cumulative_trapezoid diff gradient trapezoid trapz
    """,
    "dropout": """
        alpha_dropout dropout dropout1d dropout2d feature_alpha_dropout
    """,
    "eigenvalues": """
        svd
    """,
    "einsum": """
        einsum
    """,
    "elimination": """
        lu lu_solve lu_unpack
    """,
    "embedding": """
        embedding
    """,
    "extremes": """
        ValuesIndices amax amin aminmax argmax argmin max min
    """,
    "filled": """
        empty empty_like empty_strided fill full full_like ones ones_like zeros zeros_like
    """,
    "grids": """
        cartesian_prod combinations meshgrid
    """,
    "indexing": """
        argwhere gather index_select masked_select nonzero nonzero_static take take_along_dim unravel_index
    """,
    "inverses": """
        det inverse logdet matrix_exp matrix_power pinverse slogdet
    """,
    "joining": """
        atleast_1d atleast_2d atleast_3d cat column_stack concat concatenate dstack hstack row_stack stack vstack
    """,
    "layer_norm": """
        layer_norm rms_norm
    """,
    "linalg": """
        addbmm addmm addmv addr baddbmm bmm cross dot ger inner kron matmul mm mv outer tensordot vdot
    """,
    "loss": """
        cross_entropy nll_loss one_hot
    """,
    "lowrank": """
        pca_lowrank svd_lowrank
    """,
    "normalization": """
        batch_norm group_norm instance_norm local_response_norm normalize
    """,
    "norms": """
        cdist dist norm nuclear_norm pairwise_distance pdist renorm
    """,
    "padding": """
        constant_pad_nd pad
    """,
    "pointwise": """
        acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil cos cosh deg2rad erf exp
        exp2 expm1 fix floor frac frexp heaviside log log1p log2 log10 logaddexp logaddexp2 nan_to_num rad2deg round
        rsqrt signbit sin sinh sqrt tan tanh trunc
    """,
    "pooling": """
        avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d lp_pool3d max_pool1d max_pool2d max_pool3d
    """,
    "quantile": """
        nanquantile quantile
    """,
    "quantization": """
        fake_quantize_per_channel_affine fake_quantize_per_tensor_affine
    """,
    "random": """
        bernoulli binomial multinomial normal poisson rand rand_like randint randint_like randn randn_like randperm
    """,
    "random_in_place": """
        bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_
    """,
    "ranges": """
        arange eye linspace logspace range tril_indices triu_indices
    """,
    "reduction": """
        all any count_nonzero logsumexp mean nanmean nansum prod std std_mean sum var var_mean
    """,
    "regression_loss": """
        binary_cross_entropy binary_cross_entropy_with_logits huber_loss kl_div l1_loss mse_loss smooth_l1_loss
    """,
    "scattering": """
        index_add index_copy index_fill index_put index_reduce masked_fill masked_scatter put scatter scatter_add
        scatter_reduce
    """,
    "searching": """
        bucketize isin searchsorted unique unique_consecutive
    """,
    "shape": """
        broadcast_shapes broadcast_tensors broadcast_to expand expand_as flatten moveaxis movedim narrow permute
        ravel reshape reshape_as select squeeze sum_to_size swapaxes swapdims t transpose unflatten unsqueeze view
        view_as
    """,
    "similarity": """
        cosine_similarity
    """,
    "softmax": """
        log_softmax softmax softmin
    """,
    "solving": """
        triangular_solve
    """,
    "sorting": """
        argsort cummax cummin kthvalue median mode msort nanmedian sort topk
    """,
    "sparsity": """
        sparse_coo_tensor sparse_csc_tensor sparse_csr_tensor spmm
    """,
    "special": """
        digamma erfc erfinv i0 igamma igammac lgamma logit mvlgamma polygamma sinc xlogy
    """,
    "spectral": """
        istft stft
    """,
    "splitting": """
        chunk dsplit hsplit split split_with_sizes tensor_split unbind unsafe_chunk unsafe_split vsplit
    """,
    "strided": """
        as_strided_scatter diagonal_scatter narrow_copy select_scatter slice_scatter
    """,
    "unpooling": """
        max_unpool1d max_unpool2d max_unpool3d
    """,
    "vision": """
        channel_shuffle pixel_shuffle pixel_unshuffle
    """,
    "windows": """
        bartlett_window blackman_window hamming_window hann_window kaiser_window
    """,
}
#: Module → the names of the methods of Tensor that it makes.
_METHODS = {
    "activation": """
        hardshrink logsigmoid prelu relu sigmoid
    """,
    "addressed": """
        as_strided
    """,
    "arithmetic": """
        abs absolute add addcdiv addcmul arctan2 atan2 clamp clamp_max clamp_min clip copysign div divide
        float_power floor_divide fmax fmin fmod gcd hypot lcm ldexp lerp maximum minimum mul multiply neg negative
        nextafter positive pow reciprocal remainder rsub sign square sub subtract true_divide
    """,
    "arranging": """
        flip fliplr flipud repeat repeat_interleave roll rot90 tile
    """,
    "comparison": """
        allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor eq equal ge
        greater greater_equal gt isclose isfinite isinf isnan isneginf isposinf le less less_equal logical_and
        logical_not logical_or logical_xor lt ne not_equal where
    """,
    "complex": """
        adjoint angle conj conj_physical is_conj is_neg isreal resolve_conj resolve_neg sgn view_as_complex
        view_as_real
    """,
    "correlation": """
        corrcoef cov
    """,
    "counting": """
        bincount histc histogram
    """,
    "creation": """
        new_tensor
    """,
    "cumulative": """
        cumprod cumsum logcumsumexp
    """,
    "decomposition": """
        cholesky cholesky_inverse cholesky_solve geqrf orgqr ormqr qr
    """,
    "diagonals": """
        diag diag_embed diagflat diagonal fill_diagonal_ trace tril triu
    """,
    "differences": """
        diff
    """,
    "eigenvalues": """
        svd
    """,
    "elimination": """
        lu lu_solve
    """,
    "extremes": """
        amax amin aminmax argmax argmin max min
    """,
    "filled": """
        new_empty new_empty_strided new_full new_ones new_zeros
    """,
    "indexing": """
        argwhere gather index_select masked_select nonzero nonzero_static take take_along_dim
    """,
    "inverses": """
        det inverse logdet matrix_exp matrix_power pinverse slogdet
    """,
    "linalg": """
        addbmm addmm addmv addr baddbmm bmm cross dot ger inner kron matmul mm mv outer vdot
    """,
    "norms": """
        dist norm renorm
    """,
    "pointwise": """
        acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil cos cosh deg2rad erf exp
        exp2 expm1 fix floor frac frexp heaviside log log10 log1p log2 logaddexp logaddexp2 nan_to_num rad2deg round
        rsqrt signbit sin sinh sqrt tan tanh trunc
    """,
    "quantile": """
        nanquantile quantile
    """,
    "random": """
        bernoulli multinomial
    """,
    "random_in_place": """
        bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_
    """,
    "reduction": """
        all any count_nonzero logsumexp mean nanmean nansum prod std sum var
    """,
    "scattering": """
        index_add index_copy index_fill index_put index_reduce masked_fill masked_scatter put scatter scatter_add
        scatter_reduce
    """,
    "searching": """
        unique unique_consecutive
    """,
    "shape": """
        broadcast_to expand expand_as flatten moveaxis movedim narrow permute ravel reshape reshape_as select
        squeeze sum_to_size swapaxes swapdims t transpose unflatten unsqueeze view view_as
    """,
    "softmax": """
        log_softmax softmax
    """,
    "solving": """
        triangular_solve
    """,
    "sorting": """
        argsort cummax cummin kthvalue median mode msort nanmedian sort topk
    """,
    "sparsity": """
        _indices _nnz _values ccol_indices coalesce col_indices crow_indices dense_dim indices is_coalesced row_indices
        sparse_dim sparse_mask to_padded_tensor to_sparse to_sparse_coo to_sparse_csc to_sparse_csr values
    """,
    "special": """
        digamma erfc erfinv i0 igamma igammac lgamma logit mvlgamma polygamma sinc xlogy
    """,
    "spectral": """
        istft stft
    """,
    "splitting": """
        chunk dsplit hsplit split split_with_sizes tensor_split unbind unsafe_chunk unsafe_split vsplit
    """,
    "strided": """
        as_strided_scatter diagonal_scatter narrow_copy select_scatter slice_scatter unfold
    """,
}

#: Function → its module.
FUNCTIONS = {name: module for module, names in _FUNCTIONS.items() for name in names.split()}
#: Method of Tensor → the module that makes it; those in place come with the others.
METHODS = {name: module for module, names in _METHODS.items() for name in names.split()}
