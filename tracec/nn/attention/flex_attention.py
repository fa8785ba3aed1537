"""Attention whose scores and masks are functions of positions, under the names of PyTorch's module.

The functions are written for one position, as in PyTorch; `vmap` applies them to all. What they compute of positions
is part of the scores' kernel where a function is compiled. Masks are kept as bools for every pair of positions: blocks
that are left out are told, and are not skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.record.tensor import Tensor

#: From the numbers of an example, a head, a query and a key to whether the query sees the key.
MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
#: The same behind a score: to another score.
ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]

#: How many queries, and keys, a block has; programs read it under PyTorch's name.
_DEFAULT_SPARSE_BLOCK_SIZE = 128


class AuxRequest(NamedTuple):
    """What is to be given besides: logarithms of the sums of rows, and their largest scores."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """It; None for what was not asked for."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """Every query sees every key."""
    seen: Tensor = batch.new_ones((), dtype=tracec.bool)
    return seen


def or_masks(*mask_mods: MaskMod) -> MaskMod:
    """A key is seen if any of some functions says so."""
    return _fused("or_masks", mask_mods, tracec.logical_or, False)


def and_masks(*mask_mods: MaskMod) -> MaskMod:
    """A key is seen if all of some functions say so."""
    return _fused("and_masks", mask_mods, tracec.logical_and, True)


def _fused(name: str, mask_mods: tuple[MaskMod, ...], join: Any, first: bool) -> MaskMod:
    if not all(callable(m) for m in mask_mods):
        raise ArgumentTypeError(f"{name}: takes functions of positions, {mask_mods} given", hint="mask_mod(b, h, q, k)")

    def joined(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        result: Tensor = b.new_full((), first, dtype=tracec.bool)
        for mask_mod in mask_mods:
            result = join(result, mask_mod(b, h, q, k))
        return result

    return joined


def _over_all(function: Callable[..., Any], sizes: tuple[int, int, int, int], device: Any, *scores: Tensor) -> Tensor:
    """A function of positions for all of them, ``(B, H, Q, K)``."""
    lead = (0,) * len(scores)
    for axis in (3, 2, 1, 0):
        function = tracec.vmap(function, in_dims=(*lead, *(0 if k == axis else None for k in range(4))))
    positions = [tracec.arange(n, device=device) for n in sizes]
    found: Tensor = function(*scores, *positions)
    return found


def create_mask(
    mod_fn: Callable[..., Tensor], B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = "cpu"
) -> Tensor:
    """What a function of positions says for all of them.

    Args:
        mod_fn: A function of the numbers of example, head, query and key: bools; or of a score besides, of which the
            mask is what it adds to 0.
        B: Examples; 1 if None.
        H: Heads; 1 if None.
        Q_LEN: Queries.
        KV_LEN: Keys.
        device: Where the mask lives.

    Returns:
        Shape ``(B, H, Q_LEN, KV_LEN)``.
    """
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    if getattr(getattr(mod_fn, "__code__", None), "co_argcount", 4) >= 5:
        return _over_all(mod_fn, sizes, device, tracec.zeros(sizes, device=device))
    return _over_all(mod_fn, sizes, device)


class BlockMask:
    """Which queries see which keys, and which blocks of them there are.

    Args:
        mask: Bools, ``(B, H, Q, K)``.
        mask_mod: The function that they are of.
        block_size: Queries and keys of a block.

    Attributes:
        mask: As given.
        mask_mod: As given.
        seq_lengths: Q and K.
        BLOCK_SIZE: As given.
    """

    def __init__(self, mask: Tensor, mask_mod: MaskMod, block_size: tuple[int, int]) -> None:
        self.mask, self.mask_mod, self.BLOCK_SIZE = mask, mask_mod, block_size
        self.seq_lengths = (int(mask.shape[-2]), int(mask.shape[-1]))

    @property
    def shape(self) -> tuple[int, ...]:
        """``(B, H, Q, K)``."""
        return tuple(self.mask.shape)

    def _blocks(self) -> Tensor:
        """The mask by blocks, ``(B, H, blocks of queries, queries, blocks of keys, keys)``; not seen beyond its end."""
        (q, k), (rows, columns) = self.seq_lengths, self.BLOCK_SIZE
        padded = tracec.nn.functional.pad(self.mask, (0, -k % columns, 0, -q % rows))
        found: Tensor = padded.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
        return found

    def to_dense(self) -> Tensor:
        """Whether anything of a block is seen, int32, ``(B, H, blocks of queries, blocks of keys)``."""
        found: Tensor = self._blocks().any(-1).any(-2).to(tracec.int32)
        return found

    def _full(self) -> Tensor:
        found: Tensor = self._blocks().all(-1).all(-2).to(tracec.int32)
        return found

    @property
    def kv_num_blocks(self) -> Tensor:
        """How many blocks of keys each block of queries sees a part of, int32."""
        return _counted(self.to_dense() - self._full())

    @property
    def kv_indices(self) -> Tensor:
        """Numbers of blocks of keys for each block of queries, those first that it sees a part of, int32."""
        return _ordered(self.to_dense() - self._full())

    @property
    def full_kv_num_blocks(self) -> Tensor:
        """How many blocks of keys each block of queries sees all of, int32."""
        return _counted(self._full())

    @property
    def full_kv_indices(self) -> Tensor:
        """Numbers of blocks of keys for each block of queries, those first that it sees all of, int32."""
        return _ordered(self._full())

    def numel(self) -> int:
        """Number of pairs of positions."""
        return self.mask.numel()

    def sparsity(self) -> float:
        """Percent of blocks of which nothing is seen."""
        blocks = self.to_dense()
        return 100.0 * (1.0 - float(blocks.sum()) / blocks.numel())

    def to(self, device: Any) -> BlockMask:
        """The same on a device."""
        return BlockMask(self.mask.to(device), self.mask_mod, self.BLOCK_SIZE)

    def __getitem__(self, index: Any) -> BlockMask:
        """Those of some examples, or of some heads of theirs."""
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) > 2:
            raise ArgumentError("BlockMask: takes numbers of examples and of heads", hint="block_mask[b, h]")
        parts = tuple(slice(p, p + 1) if isinstance(p, int) and p != -1 else p for p in parts)
        parts = tuple(slice(-1, None) if isinstance(p, int) else p for p in parts)
        return BlockMask(self.mask[parts], self.mask_mod, self.BLOCK_SIZE)

    def __repr__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%)"


def _counted(blocks: Tensor) -> Tensor:
    found: Tensor = blocks.sum(-1).to(tracec.int32)
    return found


def _ordered(blocks: Tensor) -> Tensor:
    found: Tensor = blocks.argsort(dim=-1, descending=True, stable=True).to(tracec.int32)
    return found


def create_block_mask(
    mask_mod: MaskMod,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE,
    _compile: bool = False,
) -> BlockMask:
    """The mask that a function of positions says.

    Args:
        mask_mod: A function of the numbers of an example, a head, a query and a key.
        B: Examples; 1 if None, for all.
        H: Heads; 1 if None, for all.
        Q_LEN: Queries.
        KV_LEN: Keys.
        device: Where the mask lives; by default where new tensors go.
        BLOCK_SIZE: Queries and keys of a block.
        _compile: Taken as in PyTorch, with no effect.

    Raises:
        ArgumentTypeError: ``mask_mod`` cannot be called.
    """
    if not callable(mask_mod):
        raise ArgumentTypeError(
            f"create_block_mask: mask_mod must be a function of positions, {type(mask_mod).__name__} given",
            hint="def causal(b, h, q, k): return q >= k",
        )
    size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else tuple(BLOCK_SIZE)
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, tracec.get_default_device() if device is None else device)
    return BlockMask(mask.to(tracec.bool), mask_mod, (size[0], size[1]))


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: ScoreMod | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Any = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """Attention with scores that a function changes, and a mask.

    Args:
        query: Shape ``(B, H, Q, E)``.
        key: Shape ``(B, H, K, E)``; fewer heads with ``enable_gqa``.
        value: Shape ``(B, H, K, V)``; likewise.
        score_mod: A function of a score and of the numbers of example, head, query and key, to another score.
        block_mask: Which queries see which keys; all do if None.
        scale: What scores are multiplied with; 1/sqrt(E) if None.
        enable_gqa: Whether several heads of queries share one of keys.
        return_lse: Give the logarithm of each row's sum of exponentials besides, ``(B, H, Q)``.
        kernel_options: Taken as in PyTorch, with no effect.
        return_aux: What else is to be given, as an `AuxOutput`.

    Returns:
        Shape ``(B, H, Q, V)``; zeros where a query sees no key.

    Raises:
        ShapeError: the shapes do not fit.
    """
    query, key, value = _fitted(query, key, value, enable_gqa)
    sizes: Any = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    wide = query.dtype if query.dtype == tracec.float64 else tracec.float32
    scores = (query @ key.transpose(-2, -1)).to(wide) * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if score_mod is not None:
        scores = _over_all(score_mod, sizes, query.device, scores).to(wide)
    if block_mask is not None:
        if block_mask.seq_lengths != sizes[2:]:
            raise ShapeError(
                f"flex_attention: block_mask is for {block_mask.seq_lengths} queries and keys, given are {sizes[2:]}",
                hint="make it for these: create_block_mask(mask_mod, B, H, Q_LEN, KV_LEN)",
            )
        scores = scores.masked_fill(~block_mask.mask, -math.inf)
    most = scores.amax(-1, keepdim=True)
    weights = (scores - most.masked_fill(most == -math.inf, 0.0)).exp()
    total = weights.sum(-1, keepdim=True)
    out = ((weights / total.masked_fill(total == 0, 1.0)) @ value.to(wide)).to(query.dtype)
    if not return_lse and return_aux is None:
        return out
    lse = (total.log() + most.masked_fill(most == -math.inf, 0.0)).squeeze(-1)
    if return_aux is None:
        return out, lse
    return out, AuxOutput(lse if return_aux.lse else None, most.squeeze(-1) if return_aux.max_scores else None)


def _fitted(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The operands, with as many heads of keys as of queries.

    Raises:
        ArgumentTypeError: one is no tensor.
        ShapeError: they do not fit.
    """
    for what, x in (("query", query), ("key", key), ("value", value)):
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(
                f"flex_attention: {what} must be a tensor, {type(x).__name__} given", hint="a tensor"
            )
        if x.ndim != 4:
            raise ShapeError(f"flex_attention: {what} has shape {tuple(x.shape)}", hint="(B, H, L, E)")
    heads, shared = query.shape[1], key.shape[1]
    if enable_gqa and shared and heads % shared == 0:
        key, value = (x.repeat_interleave(heads // shared, 1) for x in (key, value))
    if key.shape[:3] != value.shape[:3] or key.shape[1] != heads or key.shape[-1] != query.shape[-1]:
        raise ShapeError(
            f"flex_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} do not "
            "fit",
            hint="enable_gqa=True lets heads of queries share keys, if they can be divided among them",
        )
    if key.shape[0] != query.shape[0]:
        if key.shape[0] != 1:
            raise ShapeError(
                f"flex_attention: {query.shape[0]} examples of queries, {key.shape[0]} of keys", hint="as many, or 1"
            )
        key, value = (x.expand(query.shape[0], -1, -1, -1) for x in (key, value))
    return query, key, value


__all__ = [
    "AuxOutput", "AuxRequest", "BlockMask", "and_masks", "create_block_mask", "create_mask", "flex_attention",
    "noop_mask", "or_masks",
]  # fmt: skip
