"""Connectionist temporal classification: the loss of a labelling whose alignment with the input is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.functions.common import check_choice, check_floating, check_tensor, expanded, fail, iota, out_of, reshaped
from tracec.functions.creation import tensor
from tracec.functions.indexing import gather
from tracec.functions.joining import stack
from tracec.functions.shape import between
from tracec.ir import dtype as dt
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.check import check_range
from tracec.record.tensor import Tensor

Lengths = Tensor | Sequence[int]

#: The logarithm of a probability of 0: finite, so that differences of two of them are numbers.
_NEVER = -1e30


@under_autocast(FLOAT32)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """The negative log likelihood of label sequences, summed over all alignments with the steps of the input.

    Args:
        log_probs: Log probabilities as `log_softmax` gives them, shape ``(T, N, C)`` or ``(T, C)``, floating.
        targets: Labels, integers: shape ``(N, S)``, padded; or all labels in one row; ``(S,)`` without N.
        input_lengths: Steps of each example, at most T: integers of shape ``(N,)``, or ``()`` without N.
        target_lengths: Labels of each example, at most S, likewise.
        blank: The class that stands for no label.
        reduction: ``mean`` (of the losses divided by the target lengths), ``sum`` or ``none``.
        zero_infinity: Whether labellings that are too long for the input, whose loss is infinite, give 0.

    Returns:
        A scalar, or the loss of each example. The gradient is that of log probabilities that stay normalised, as in
        PyTorch; no gradient comes from an infinite loss.

    Raises:
        ShapeError: the shapes do not fit.
        AxisError: a label or the blank is no class.
        ArgumentError: a length is out of range.

    Source: Graves, Fernández, Gomez, Schmidhuber, "Connectionist Temporal Classification", 2006.
    """
    check_choice("ctc_loss", "reduction", reduction, ("mean", "sum", "none"))
    check_floating("ctc_loss", log_probs, "log_probs")
    if log_probs.ndim not in (2, 3):
        fail(ShapeError, f"ctc_loss: log_probs of shape {tuple(log_probs.shape)}", "it is (T, N, C) or (T, C)")
    single = log_probs.ndim == 2
    steps, classes = log_probs.shape[0], log_probs.shape[-1]
    x = reshaped(log_probs, (steps, 1, classes)) if single else log_probs
    if not 0 <= blank < classes:
        fail(AxisError, f"ctc_loss: blank={blank} is not one of {classes} classes", "blank must be in label range")
    batch = x.shape[1]
    taken = _lengths("input_lengths", input_lengths, batch, steps, x)
    labels, counts = _labels(targets, target_lengths, batch, classes, blank, x)
    loss = _likelihoods(x, labels, taken, counts, blank)
    if zero_infinity:
        loss = ops.where(ops.eq(loss, math.inf), 0.0, loss)
    if reduction == "none":
        return reshaped(loss, ()) if single else loss
    if reduction == "sum":
        return ops.sum(loss, axes=(0,))
    shares = ops.div(loss, ops.cast(ops.maximum(counts, 1), dtype=loss.dtype))
    return ops.div(ops.sum(shares, axes=(0,)), batch)


def _lengths(what: str, given: Lengths, batch: int, most: int, like: Tensor) -> Tensor:
    """The lengths as int64 of shape (N,), each from 0 to ``most``."""
    found = given if isinstance(given, Tensor) else tensor(given, dtype=dt.int64, device=like.device)
    if found.dtype.kind not in "iu":
        fail(DTypeError, f"ctc_loss: {what} is {found.dtype.name}", "lengths are integers")
    if found.numel() != batch or found.ndim > 1:
        fail(ShapeError, f"ctc_loss: {what} has shape {tuple(found.shape)} for {batch} examples", "give one for each")

    def refuse(values: Any) -> NoReturn:
        bad = out_of(values, 0, "a value out of range", "the value")
        fail(ArgumentError, f"ctc_loss: {what} has {bad}", f"lengths go from 0 to {most} here")

    check_range(found, 0, most, refuse)
    return reshaped(ops.cast(found, dtype=dt.int64).to(like.device), (batch,))


def _labels(
    targets: Tensor, lengths: Lengths, batch: int, classes: int, blank: int, like: Tensor
) -> tuple[Tensor, Tensor]:
    """The labels as int64 of shape (N, S), blank behind each example's own, and how many there are of each."""
    check_tensor("ctc_loss", targets, "targets")
    if targets.dtype.kind not in "iu":
        fail(DTypeError, f"ctc_loss: targets are {targets.dtype.name}", "labels are integers: cast them with .long()")
    if targets.ndim > 2 or (targets.ndim == 2 and targets.shape[0] != batch):
        fail(
            ShapeError,
            f"ctc_loss: targets of shape {tuple(targets.shape)} for {batch} examples",
            "they are (N, S), or all labels in one row",
        )
    targets = ops.cast(targets, dtype=dt.int64).to(like.device)
    if targets.ndim == 2:
        counts = _lengths("target_lengths", lengths, batch, targets.shape[1], like)
    else:
        counts = _lengths("target_lengths", lengths, batch, targets.numel(), like)
        targets = _apart(targets, [int(n) for n in counts.tolist()], blank)
    width = targets.shape[1]
    own = ops.lt(iota((batch, width), 1, dt.int64, like), reshaped(counts, (batch, 1)))
    labels = ops.where(own, targets, blank)

    def refuse(values: Any) -> NoReturn:
        bad = out_of(values, 0, "a label", "label")
        fail(AxisError, f"ctc_loss: {bad} is not one of {classes} classes", f"0 to {classes - 1}")

    check_range(labels, 0, classes - 1, refuse)
    return labels, counts


def _apart(row: Tensor, counts: list[int], blank: int) -> Tensor:
    """Labels of all examples in one row, as one row for each."""
    if sum(counts) != row.numel():
        fail(
            ShapeError,
            f"ctc_loss: {row.numel()} targets in one row for target_lengths that sum to {sum(counts)}",
            "give as many labels, or a padded (N, S)",
        )
    row, width, start, rows = reshaped(row, (row.numel(),)), max(counts, default=0), 0, []
    for n in counts:
        rows.append(ops.pad(between(row, 0, start, start + n), low=(0,), high=(width - n,), value=blank))
        start += n
    return stack(rows)


def _likelihoods(x: Tensor, labels: Tensor, taken: Tensor, counts: Tensor, blank: int) -> Tensor:
    """Negative log likelihoods, shape (N,), by the forward variables of the source's eq. 6 in logarithms."""
    steps, batch, _ = tuple(x.shape)
    width = 2 * labels.shape[1] + 1
    # Blanks before, between and behind the labels.
    spread = stack([ops.mul(labels, 0) + blank, labels], 2)
    path = ops.pad(reshaped(spread, (batch, width - 1)), low=(0, 0), high=(0, 1), value=blank)
    place = iota((batch, width), 1, dt.int64, x)
    before = ops.pad(path, low=(0, 2), high=(0, 0), value=blank)
    # A blank between two labels may be left out if they differ.
    jumps = ops.bitwise_and(ops.ne(path, blank), ops.ne(path, between(before, 1, 0, width)))
    said = gather(ops.maximum(x, _NEVER), 2, expanded(reshaped(path, (1, batch, width)), (steps, batch, width)))
    never = ops.full(_NEVER, (batch, width), x.dtype, str(x.device))
    alpha = ops.where(ops.eq(place, 0), 0.0, never)
    ends = reshaped(taken, (batch, 1))
    for t in range(steps):
        if t:
            one, two = (between(ops.pad(alpha, low=(0, k), high=(0, 0), value=_NEVER), 1, 0, width) for k in (1, 2))
            come = _log_sum(alpha, one, ops.where(jumps, two, _NEVER))
        else:
            come = ops.where(ops.le(place, 1), 0.0, never)
        now = ops.add(come, reshaped(between(said, 0, t, t + 1), (batch, width)))
        alpha = ops.where(ops.lt(t, ends), now, alpha)
    last = ops.mul(reshaped(counts, (batch, 1)), 2)
    end, mid = (_picked(ops.eq(place, at), alpha) for at in (last, ops.sub(last, 1)))
    total = _log_sum(end, ops.where(ops.gt(counts, 0), mid, _NEVER), None)
    return ops.where(ops.gt(total, _NEVER / 10), ops.sub(_normalisation(x, taken), total), math.inf)


def _log_sum(a: Tensor, b: Tensor, c: Tensor | None) -> Tensor:
    """``log(exp(a) + exp(b) + exp(c))``."""
    terms = [a, b] if c is None else [a, b, c]
    most = terms[0].detach()
    for other in terms[1:]:
        most = ops.maximum(most, other.detach())
    powers = [ops.exp(ops.sub(t, most)) for t in terms]
    total = ops.add(powers[0], powers[1])
    return ops.add(most, ops.log(total if c is None else ops.add(total, powers[2])))


def _picked(here: Tensor, x: Tensor) -> Tensor:
    return ops.sum(ops.where(here, x, 0.0), axes=(1,))


def _normalisation(x: Tensor, taken: Tensor) -> Tensor:
    """Zeros whose gradient is exp(x): what normalised log probabilities must give up if one of them rises."""
    powers = ops.exp(x)
    change = ops.sum(ops.sub(powers, powers.detach()), axes=(2,))
    step = iota(tuple(change.shape), 0, dt.int64, x)
    return ops.sum(ops.where(ops.lt(step, taken), change, 0.0), axes=(0,))
