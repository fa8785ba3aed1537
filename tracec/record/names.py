"""PyTorch's names of operations on the way back, which programs print and draw: ``AddmmBackward0``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracec.record.tape import Operation

#: Operators and functions whose names on the way back are not their own in capitals.
_NAMES = {
    "adaptive_avg_pool2d": "AdaptiveAvgPool2D",
    "adaptive_avg_pool3d": "AdaptiveAvgPool3D",
    "avg_pool2d": "AvgPool2D",
    "avg_pool3d": "AvgPool3D",
    "batch_norm": "NativeBatchNorm",
    "cast": "ToCopy",
    "concatenate": "Cat",
    "conv": "Convolution",
    "conv_input_grad": "Convolution",
    "contiguous": "Clone",
    "cross_entropy": "NllLoss",
    "dropout": "Mul",
    "det": "LinalgDet",
    "divide": "Div",
    "expand_as": "Expand",
    "flatten": "View",
    "group_norm": "NativeGroupNorm",
    "index_put": "IndexPut",
    "inv": "LinalgInvEx",
    "inverse": "LinalgInvEx",
    "kl_div": "Mean",
    "l1_loss": "Mean",
    "layer_norm": "NativeLayerNorm",
    "logsigmoid": "LogSigmoid",
    "max_pool1d": "Squeeze",
    "max_pool2d": "MaxPool2DWithIndices",
    "max_pool3d": "MaxPool3DWithIndices",
    "max_windows": "MaxPool2DWithIndices",
    "multiply": "Mul",
    "norm": "LinalgVectorNorm",
    "normalize": "Div",
    "pad": "ConstantPadNd",
    "reshape": "View",
    "reshape_as": "View",
    "solve": "LinalgSolveEx",
    "square": "Pow",
    "subtract": "Sub",
    "svd": "LinalgSvd",
    "true_divide": "Div",
    "type_as": "ToCopy",
    "view_as": "View",
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), "Convolution"),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), "Convolution"),
}


def name_of(operation: Operation) -> str:
    """The name of an operation, as PyTorch would put it."""
    if operation.call.op.family == "compiled":
        return operation.call.op.name  # what the operation of an eager run is called
    name = operation.operator
    kind = _KINDS.get(name)
    found = _NAMES.get(name) if kind is None else kind(operation)
    return (found or "".join(part[:1].upper() + part[1:] for part in name.split("_"))) + "Backward0"


def _product(operation: Operation) -> str:
    """What a product of tensors is."""
    types = operation.call.types
    if operation.operator == "linear":
        biased = len(types) > 2 or operation.call.op.name == "add"
        return ("Addmm" if biased else "Mm") if operation.call.type.ndim == 2 else "View"
    ranks: tuple[int, ...] = tuple(t.ndim for t in types[:2])
    known: dict[tuple[int, ...], str] = {(1, 1): "Dot", (2, 2): "Mm", (2, 1): "Mv", (3, 3): "Bmm"}
    return known.get(ranks, "UnsafeView" if operation.operator == "matmul" else "Bmm")


def _view(operation: Operation) -> str:
    """What a change of shape is."""
    before, after = operation.call.types[0].shape, operation.call.type.shape
    edge: Any = operation.edges[0] if operation.edges else None
    kept = tuple(n for n in before if n != 1), tuple(n for n in after if n != 1)
    if before == after:
        return "Clone"
    if kept[0] != kept[1] or len(before) == len(after):
        return "View"
    if len(before) < len(after):
        return "Unsqueeze"
    sliced = getattr(getattr(edge, "call", None), "op", None)
    return "Select" if sliced is not None and sliced.name == "slice" else "Squeeze"


def _turned(operation: Operation) -> str:
    """What another order of axes is."""
    perm = operation.call.keywords["perm"]
    return "Transpose" if sum(axis != k for k, axis in enumerate(perm)) == 2 else "Permute"


#: Operators and functions that are several of PyTorch's: which of them depends on the operands.
_KINDS: dict[str, Callable[[Operation], str]] = {
    "dot": _product,
    "linear": _product,
    "matmul": _product,
    "reshape": _view,
    "transpose": _turned,
}
