"""Tables whose rows are looked up by number, as modules."""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions import empty
from tracec.ir.dtype import DType
from tracec.nn import functional as F
from tracec.nn import init
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class _Table(Module):
    """What tables share."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    weight: Parameter

    def _set_table(
        self, shape: tuple[int, int], padding_idx: int | None, weight: Tensor | None, made: dict[str, Any]
    ) -> None:
        name = type(self).__name__
        self.num_embeddings, self.embedding_dim = shape
        if padding_idx is not None:
            if not isinstance(padding_idx, int):
                raise ArgumentTypeError(
                    f"{name}: padding_idx is of type {type(padding_idx).__name__}", hint="give the number of a row"
                )
            if not -shape[0] <= padding_idx < shape[0]:
                raise ArgumentError(
                    f"{name}: padding_idx={padding_idx} is out of range for {shape[0]} rows",
                    hint="name one of the rows",
                )
            padding_idx %= shape[0]
        self.padding_idx = padding_idx
        if weight is None:
            self.weight = Parameter(empty(*shape, **made))
            self.reset_parameters()
            return
        if tuple(weight.shape) != shape:
            raise ShapeError(f"{name}: a table of shape {tuple(weight.shape)}, not {shape}", hint="(rows, width)")
        self.weight = Parameter(weight)

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    @classmethod
    def _checked(cls, embeddings: Tensor) -> tuple[int, int]:
        if embeddings.ndim != 2:
            raise ShapeError(
                f"{cls.__name__}.from_pretrained: a table of shape {tuple(embeddings.shape)}",
                hint="it is (rows, width)",
            )
        return embeddings.shape[0], embeddings.shape[1]

    def extra_repr(self) -> str:
        usual = {
            "padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False,
        }  # fmt: skip
        changed = [(n, getattr(self, n)) for n, value in usual.items() if getattr(self, n) != value]
        return f"{self.num_embeddings}, {self.embedding_dim}" + "".join(f", {n}={value}" for n, value in changed)


class Embedding(_Table):
    """A table whose rows are looked up by number.

    Args:
        num_embeddings: Number of rows.
        embedding_dim: Width of a row.
        padding_idx: A row of zeros at first that gets no gradient.
        max_norm: Rows that are looked up and have a larger norm are first scaled down to it.
        norm_type: The p of that norm.
        scale_grad_by_freq: Divide a row's gradient by how often it was looked up.
        sparse: Taken as in PyTorch, with no effect: gradients are dense.
        device: Where the table lives.
        dtype: Its element type.

    Attributes:
        weight: Shape ``(num_embeddings, embedding_dim)``; normal numbers at first.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        made = {"device": device, "dtype": dtype}
        self._set_table((num_embeddings, embedding_dim), padding_idx, _weight, made)
        self.weight.requires_grad_(not _freeze)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A table of given rows, which are not trained unless ``freeze`` is off."""
        rows, width = cls._checked(embeddings)
        return cls(rows, width, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)

    def forward(self, input: Tensor) -> Tensor:
        """Integers of any shape to ``(*shape, embedding_dim)``."""
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )


class EmbeddingBag(_Table):
    """Sums, means or maxima of bags of rows of a table.

    Args:
        num_embeddings: Number of rows.
        embedding_dim: Width of a row.
        max_norm: Rows that are looked up and have a larger norm are first scaled down to it.
        norm_type: The p of that norm.
        scale_grad_by_freq: Divide a row's gradient by how often it was looked up.
        mode: ``sum``, ``mean`` or ``max``.
        sparse: Taken as in PyTorch, with no effect: gradients are dense.
        include_last_offset: Whether offsets end with the number of elements.
        padding_idx: A row that does not count.
        device: Where the table lives.
        dtype: Its element type.

    Attributes:
        weight: Shape ``(num_embeddings, embedding_dim)``; normal numbers at first.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        if mode not in ("sum", "mean", "max"):
            raise ArgumentError(f"EmbeddingBag: mode={mode!r} is not known", hint="use 'sum', 'mean' or 'max'")
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.mode, self.include_last_offset = mode, include_last_offset
        made = {"device": device, "dtype": dtype}
        self._set_table((num_embeddings, embedding_dim), padding_idx, _weight, made)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A table of given rows, which are not trained unless ``freeze`` is off."""
        options: Any = (
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            embeddings,
            include_last_offset,
            padding_idx,
        )
        made = cls(*cls._checked(embeddings), *options)
        made.weight.requires_grad_(not freeze)
        return made

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """Integers ``(B, L)``, or ``(n,)`` and where each bag begins, to ``(B, embedding_dim)``."""
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        usual = {"max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False}
        changed = [(n, getattr(self, n)) for n, value in usual.items() if getattr(self, n) != value]
        changed.append(("mode", repr(self.mode)))
        if self.padding_idx is not None:
            changed.append(("padding_idx", self.padding_idx))
        return f"{self.num_embeddings}, {self.embedding_dim}" + "".join(f", {n}={value}" for n, value in changed)
