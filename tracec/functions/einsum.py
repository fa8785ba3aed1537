"""Sums of products, written with a letter for each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions.common import check_tensor, expanded, fail, reshaped
from tracec.record.tensor import Tensor

Labels = tuple[str, ...]


def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """A sum of products, such as ``"bij,bjk->bik"``.

    A letter names an axis. Axes of one letter run together; those that the part after ``->`` lacks are
    summed. ``...`` stands for leading axes that broadcast. With no ``->``, letters that occur once are kept,
    in alphabetical order. Operands are multiplied from left to right, each time as one matrix product.

    Args:
        equation: The axes of each operand, separated by commas, and behind ``->`` those of the result.
        *operands: Tensors of one dtype, one after the other or as one list.

    Raises:
        ArgumentError: the equation cannot be read, or does not fit the operands.
        ShapeError: axes of one letter differ in size.
    """
    if not isinstance(equation, str):
        fail(ArgumentTypeError, f"einsum: equation is a str, {type(equation).__name__} given", "e.g. 'ij,jk->ik'")
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    tensors: list[Tensor] = list(given)  # type: ignore[arg-type]
    terms, result = _parse(equation, tensors)
    sizes = _sizes(equation, terms, tensors)
    x, labels = _single(tensors[0], terms[0])
    for i, (t, other) in enumerate(zip(tensors[1:], terms[1:], strict=True)):
        rest = {label for term in terms[i + 2 :] for label in term}
        # The last product has its axes in the order of the result, so that they need not be moved afterwards.
        order = result if i + 2 == len(terms) else ()
        x, labels = _multiply(x, labels, *_single(t, other), rest | set(result), sizes, order)
    x, labels = _sum_out(x, labels, set(result))
    return _arrange(x, labels, result, sizes)


def _parse(equation: str, tensors: Sequence[Tensor]) -> tuple[list[Labels], Labels]:
    """The letters of each operand and of the result; the axes that ``...`` stands for get numbers."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(tensors):
        fail(ArgumentError, f"einsum: {equation!r} has {len(parts)} terms, {len(tensors)} operands given", "as many")
    terms: list[Labels] = []
    widest = 0
    for part, t in zip(parts, tensors, strict=True):
        check_tensor("einsum", t, "operand")
        before, dots, after = part.partition("...")
        free = t.ndim - len(before) - len(after)
        if (not (before + after).isalpha() and before + after) or free < 0 or (free and not dots):
            fail(
                ArgumentError,
                f"einsum: term {part!r} of {equation!r} does not name the {t.ndim} axes of shape {tuple(t.shape)}",
                "give one letter for each axis; ... stands for leading ones",
            )
        widest = max(widest, free)
        terms.append((*before, *(str(-i) for i in range(free, 0, -1)), *after))
    lead = tuple(str(-i) for i in range(widest, 0, -1))
    if not arrow:
        letters = sorted(label for term in terms for label in term if label.isalpha())
        return terms, lead + tuple(c for c in letters if letters.count(c) == 1)
    before, dots, after = right.partition("...")
    result = (*before, *(lead if dots else ()), *after)
    known = {label for term in terms for label in term}
    if len(set(result)) != len(result) or any(c not in known for c in result if c not in lead):
        fail(
            ArgumentError, f"einsum: result {right!r} of {equation!r} is not made of the operands' letters", "once each"
        )
    return terms, result


def _sizes(equation: str, terms: list[Labels], tensors: Sequence[Tensor]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for term, t in zip(terms, tensors, strict=True):
        for label, size in zip(term, t.shape, strict=True):
            known = sizes.get(label, 1)
            if 1 not in (known, size) and known != size:
                fail(
                    ShapeError, f"einsum: axis {label!r} of {equation!r} has sizes {known} and {size}", "make them one"
                )
            sizes[label] = max(known, size) if 0 not in (known, size) else 0
    return sizes


def _single(x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """One operand with each letter once: of axes that share one, the diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            a = labels.index(label)
            b = labels.index(label, a + 1)
            x = x.diagonal(0, a, b)
            labels = (*(c for i, c in enumerate(labels) if i not in (a, b)), label)
    return x, labels


def _sum_out(x: Tensor, labels: Labels, kept: set[str]) -> tuple[Tensor, Labels]:
    axes = tuple(i for i, label in enumerate(labels) if label not in kept)
    if axes:
        x = ops.sum(x, axes=axes, keepdims=False)
    return x, tuple(label for label in labels if label in kept)


def _multiply(
    x: Tensor, a: Labels, y: Tensor, b: Labels, later: set[str], sizes: dict[str, int], order: Labels
) -> tuple[Tensor, Labels]:
    """Two operands made one: as stacks of matrices, over axes that only one has and no one needs later."""
    alone = len(a) + len(b)
    x, a = _sum_out(x, a, later | set(b))
    y, b = _sum_out(y, b, later | set(a))
    alone -= len(a) + len(b)
    both = [c for c in a if c in b]
    batch = tuple(c for c in both if c in later)
    summed = tuple(c for c in both if c not in later)
    rows, columns = tuple(c for c in a if c not in b), tuple(c for c in b if c not in a)
    batch, rows, columns = (_in_order(part, order) for part in (batch, rows, columns))
    if not summed:
        labels = _in_order(batch + rows + columns, order)
        return ops.mul(_spread(x, a, labels), _spread(y, b, labels)), labels
    # As PyTorch has it: what is then viewed in another shape lies as it must.
    if not alone and rows and columns and columns + rows == tuple(c for c in order if c not in batch):
        x, a, rows, y, b, columns = y, b, columns, x, a, rows
    count = math.prod(sizes[c] for c in summed)
    lead = tuple(sizes[c] for c in batch)
    m, n = (math.prod(sizes[c] for c in part) for part in (rows, columns))
    left = reshaped(_arrange(x, a, batch + rows + summed, sizes), (*lead, m, count))
    right = reshaped(_arrange(y, b, batch + summed + columns, sizes), (*lead, count, n))
    labels = batch + rows + columns
    return reshaped(ops.dot(left, right), tuple(sizes[c] for c in labels)), labels


def _in_order(labels: Labels, order: Labels) -> Labels:
    """The labels as they follow each other in ``order``; as they are where it is not given."""
    return tuple(sorted(labels, key=order.index)) if order else labels


def _spread(x: Tensor, labels: Labels, target: Labels) -> Tensor:
    """Axes in the order of ``target``, with size 1 where there is none."""
    x = _transposed(x, labels, tuple(c for c in target if c in labels))
    sizes = iter(x.shape)
    return reshaped(x, tuple(next(sizes) if c in labels else 1 for c in target))


def _arrange(x: Tensor, labels: Labels, target: Labels, sizes: dict[str, int]) -> Tensor:
    """Axes in the order of ``target``, each of its full size."""
    return expanded(_spread(x, labels, target), tuple(sizes[c] for c in target))


def _transposed(x: Tensor, labels: Labels, target: Labels) -> Tensor:
    perm = tuple(labels.index(c) for c in target)
    return x if perm == tuple(range(len(perm))) else ops.transpose(x, perm=perm)
