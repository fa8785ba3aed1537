"""Sums over a one-hot mask become a gather: the one element that counts is read, and the row is not walked again.

``sum(where(iota == i, f(x), 0))``, the likelihood of a class, is ``f`` of the element of x at i.
"""

from __future__ import annotations

from tracec.ir import dtype as dt
from tracec.ir.lower import ContractionSpec, Elementwise, Reduction
from tracec.ir.node import Node, is_constant, is_input, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.types import Shape

#: Operators between the sum and the values that it picks from.
MOST_STEPS = 16


def pick_elements(node: Node) -> Node:
    """The sum's one element that counts, if it is such a sum; its value is the same."""
    if node.op.name != "sum" or len(node.param("axes")) != 1:
        return node
    (axis,) = node.param("axes")
    chosen, negated = node.inputs[0], False
    while chosen.op.name == "neg":
        chosen, negated = chosen.inputs[0], not negated
    place = _place(chosen, axis)
    if place is None:
        return node
    shape = chosen.shape
    kept = tuple(1 if a == axis else s for a, s in enumerate(shape))
    with made_from(node.source, node.origin or "pick an element"):
        place = OPERATORS["expand"](_padded(place, len(shape)), shape=kept) if place.shape != kept else place
        inside = OPERATORS["bitwise_and"](OPERATORS["ge"](place, 0), OPERATORS["lt"](place, shape[axis]))
        pick = _Pick(shape, axis, OPERATORS["where"](inside, place, 0))
        found = pick.of(chosen.inputs[1])
        if found is None or pick.widens_product:
            return node
        found = OPERATORS["where"](inside, found, 0)
        found = OPERATORS["neg"](found) if negated else found
        for size, want in ((found.shape, kept), (kept, node.shape)):
            if size != want:
                found = OPERATORS["expand" if want is kept else "reshape"](found, shape=want)
    result: Node = found
    return result


def _place(chosen: Node, axis: int) -> Node | None:
    """Where the one position is of which a selection keeps the value; None for other nodes."""
    if chosen.op.name != "where" or chosen.inputs[0].op.name != "eq":
        return None
    nothing = chosen.inputs[2]
    if not is_constant(nothing) or nothing.param("value") != 0:
        return None
    for count, place in (chosen.inputs[0].inputs, chosen.inputs[0].inputs[::-1]):
        if count.op.name != "iota" or count.shape != chosen.shape or count.param("axis") != axis:
            continue
        here = axis - (chosen.ndim - place.ndim)
        if place.dtype is dt.int64 and not is_constant(place) and (here < 0 or place.shape[here] == 1):
            return place
    return None


def _padded(node: Node, ndim: int) -> Node:
    missing = ndim - node.ndim
    result: Node = OPERATORS["reshape"](node, shape=(*(1,) * missing, *node.shape)) if missing else node
    return result


class _Pick:
    """Elements of values at a place along an axis: arithmetic is done on the elements."""

    def __init__(self, shape: Shape, axis: int, place: Node) -> None:
        self.shape, self.axis, self.place = shape, axis, place
        self.left = MOST_STEPS
        self.narrow = self.product = False

    @property
    def widens_product(self) -> bool:
        """Whether a product meets what is the same for all rows: a bias, say, that its kernel adds before it stores."""
        return self.narrow and self.product

    def of(self, node: Node) -> Node | None:
        """The element for each row; None where reading it would mean to store what is not stored otherwise."""
        here = self.axis - (len(self.shape) - node.ndim)
        if here < 0 or node.shape[here] == 1:
            return node
        self.left -= 1
        whole = self.shape[len(self.shape) - node.ndim :]
        if self.left < 0 or any(s not in (1, w) for s, w in zip(node.shape, whole, strict=True)):
            return None
        self.narrow |= node.shape != self.shape
        if is_input(node) or isinstance(node.op.lower, (ContractionSpec, Reduction)):
            return self._read(node)
        if node.op.name == "reshape" and isinstance(node.inputs[0].op.lower, ContractionSpec):
            return self._read(node)
        if not isinstance(node.op.lower, Elementwise):
            return None
        found = [self.of(i) for i in node.inputs]
        if any(f is None for f in found):
            return None
        result: Node = node.op(*found, **dict(node.params))
        return result

    def _read(self, node: Node) -> Node:
        kept = self.place.shape
        looked = node.inputs[0] if node.op.name == "reshape" else node
        self.product |= isinstance(looked.op.lower, ContractionSpec)
        walked = [a for a, s in enumerate(node.shape, len(kept) - node.ndim) if s != 1 or self.shape[a] == 1]
        places = [
            self.place if a == self.axis
            else OPERATORS["iota"](shape=kept, axis=a, dtype=dt.int64, device=node.type.device)
            for a in walked
        ]  # fmt: skip
        if len(walked) < node.ndim:  # it is the same for all along the other axes
            node = OPERATORS["reshape"](node, shape=tuple(self.shape[a] for a in walked))
        result: Node = OPERATORS["index"](node, *places, axes=tuple(range(node.ndim)))
        return result
