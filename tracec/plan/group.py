"""What one kernel is to compute: a group of nodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tracec.ir.extent import plain
from tracec.ir.lower import ContractionSpec
from tracec.ir.node import Node
from tracec.ir.types import Shape
from tracec.plan.space import Space

#: Elements of a sum that takes a GPU little longer than its launch.
SMALL_SUM = 1 << 18
#: Elements of a map that is done by the block that sums up what it reads.
LEAST_MAP = 1 << 10


@dataclass(eq=False)
class Group:
    """Nodes that one kernel computes.

    Attributes:
        kind: ``map``, ``reduce``, ``stripe``, ``contraction``, ``scan``, ``scatter`` or ``library``.
        nodes: Members, operands first.
        space: The loops, in normal form for ``reduce`` and ``stripe``; for ``map`` only the total counts.
        level: Member → whether it has an element for each point of the space, one a row or one a stripe's column.
        rank: Position of the first member in the graph.
        stripes: Of ``stripe``, how many stripes the rows are parted into.
    """

    kind: str
    nodes: list[Node]
    space: Space
    level: dict[Node, str]
    rank: int
    reads: dict[Node, set[Node]] = field(default_factory=dict)
    stripes: int = 0

    @property
    def name(self) -> str:
        return "+".join(n.op.name for n in self.nodes[:4]) + ("+…" if len(self.nodes) > 4 else "")

    @cached_property
    def operands(self) -> frozenset[Node]:
        """Values from outside that the members read."""
        return frozenset().union(*self.reads.values()).difference(self.nodes)

    def loops(self, full: Iterable[Shape], rows: Iterable[Shape]) -> Space:
        """The loops, split so that values of these shapes, over all points and over rows, index by whole ones."""
        return self.space.refine(full).refine(rows, rows=True)


def ends(groups: Sequence[Group]) -> list[Group]:
    """The sums of few elements that no kernel reads but such sums, and maps of next to none.

    Args:
        groups: All groups, in order.
    """
    found: list[Group] = []
    awaited: set[Node] = set()
    for group in reversed(groups):
        few = {"reduce": SMALL_SUM, "map": LEAST_MAP}.get(group.kind, 0)
        if plain(group.space.total) > few or not awaited.isdisjoint(group.nodes):
            awaited |= group.operands
        elif group.kind == "reduce":
            found.append(group)
    return found[::-1]


def feeds_product(a: Group, b: Group) -> bool:
    """Whether the product of a contraction's group reads the other group; else what follows the product alone does."""
    return any(isinstance(n.op.lower, ContractionSpec) and not b.reads[n].isdisjoint(a.nodes) for n in b.nodes)


def bytes_of(nodes: Iterable[Node]) -> int:
    """The bytes of several values, as `nbytes_of`."""
    return sum(map(nbytes_of, nodes))


def nbytes_of(node: Node) -> int:
    """The bytes of a value for the present sizes, without the formula that they depend on."""
    size: int = math.prod(map(plain, node.shape))
    return size * node.dtype.itemsize


def is_remat(group: Group) -> bool:
    """Whether some of it is computed once more for the backward part."""
    return any(n.origin.startswith("remat") for n in group.nodes)


def described(space: Space) -> str:
    """The loops for readers: ``64×1000r`` reduces the second one."""
    return "×".join(f"{e}{'r' if r else ''}" for e, r in zip(space.extents, space.reduced, strict=True)) or "1"
