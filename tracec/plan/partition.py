"""Fusion as a partition of the graph: which nodes share a kernel, and why others do not.

Greedy: each node, operands first, joins the groups of its producers, the largest operand first, where the rules allow.
Then reductions that read the same values are joined, and members move to the one group that reads them. Two invariants:
the graph of groups stays acyclic (a merge is refused where a path leads from one group to the other through a third),
and a value that is passed on inside a group is read at the reader's own point of the iteration space. Each refusal is
kept, with its reason and the bytes that the fusion would have saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import replace

from tracec.ir.extent import like, plain
from tracec.ir.graph import Graph, backward_part
from tracec.ir.lower import ContractionSpec, Library, Reduction, Scan, Scatter
from tracec.ir.node import Node, is_constant, is_input
from tracec.ir.plan import Refused
from tracec.ir.types import Shape
from tracec.plan.alike import Alike
from tracec.plan.group import Group, bytes_of, described, ends, feeds_product, is_remat, nbytes_of
from tracec.plan.inline import is_pointwise
from tracec.plan.reads import Reads
from tracec.plan.side_by_side import points, side_by_side
from tracec.plan.space import FULL, ROW, Space, of_shape, reduced_shape
from tracec.plan.stretches import Stretches
from tracec.plan.stripes import COLUMN, STRIPE, levels, rows_in, striped, uneven_sum

#: Groups that reduce.
_REDUCED = frozenset({"reduce", STRIPE})
#: A kernel with more nodes gains nothing more from fusion, and C compilers take more than linear time.
MAX_NODES = 160
#: Values that a kernel reads, at most: each is a parameter of its function.
MAX_BUFFERS = 96
#: Where what it reads is joined of more parts, what else it may read with them: they are computed part by part.
WITH_PARTS = 4
#: Fewer rows than this leave cores idle when whole rows are walked by one core each.
MIN_ROWS = 4
#: Points up to which that does not matter: one core is done as soon as others would have begun.
SMALL = 1 << 15
#: Elements of a map that takes a GPU no longer than its launch.
SMALL_MAP = 1 << 16


class Partition:
    """Greedy fusion: each node, operands first, joins the groups of its producers where the rules allow."""

    def __init__(
        self, graph: Graph, inlined: dict[Node, int], routines: Container[Node],
        early: frozenset[Node] = frozenset(), *, fuse: bool = True, stripes: bool = False, alike: Alike | None = None,
    ) -> None:  # fmt: skip
        """Partition a graph.

        Args:
            graph: What to partition; its operators have a lowering other than `Decompose`.
            inlined: Nodes that readers compute anew, with the cost of an element.
            routines: Nodes that the target runs as a library routine.
            early: Nodes that are to be there before others; see `tracec.plan.early`.
            fuse: Whether to merge at all.
            stripes: Whether rows and sums of their columns may be one kernel.
            alike: What was found for nodes like these before.
        """
        self.graph = graph
        self.alike = alike or Alike(graph)
        self.reads = Reads(inlined, self.alike)
        self.fuse = fuse
        self.stripes = stripes
        self.rows = rows_in(graph) if stripes else set()
        self.early = early
        self.routines = routines
        self.inlined = inlined
        self.outputs = frozenset(graph.outputs)
        self.roots = self._roots()
        self.backward = backward_part(graph)
        self.rank = {n: k for k, n in enumerate(graph.nodes)}
        self.group_of: dict[Node, Group] = {}
        self.readers: dict[Node, list[Node]] = {}
        self.entangled = Stretches(len(graph.nodes))
        self.refused: list[Refused] = []
        for node in self.roots:
            self._add(node)
        if fuse:
            self._join_siblings()
            self._leave_to_readers()
        if fuse and stripes:
            self._join_small()
            self._join_ends()

    @property
    def groups(self) -> list[Group]:
        """The groups, by their last member."""
        found = dict.fromkeys(self.group_of[n] for n in self.roots)
        return sorted(found, key=lambda g: self.rank[g.nodes[-1]])

    def _roots(self) -> list[Node]:
        """Nodes that are computed once: those that are not inlined, and outputs."""
        wanted = {o for o in self.outputs if not is_input(o) and not is_constant(o)}
        return [n for n in self.graph.nodes if n in wanted or n not in self.inlined]

    def _add(self, node: Node) -> None:
        group = self._single(node)
        self.group_of[node] = group
        for read in group.reads[node]:
            self.readers.setdefault(read, []).append(node)
        if not self.fuse:
            return
        producers = {r for r in group.reads[node] if r in self.group_of}
        for producer in sorted(producers, key=lambda p: (-nbytes_of(p), self.rank[p])):
            a, b = self.group_of[producer], self.group_of[node]
            if a is not b:
                self._try(a, b, producer)

    def _single(self, node: Node) -> Group:
        lower = node.op.lower
        reduced: Shape = ()
        shape, level, kind = points(node), FULL, "map"
        if isinstance(lower, Reduction):
            shape, reduced = reduced_shape(node)
            level, kind = ROW, "reduce"
        elif node in self.routines:
            kind = "library"
        elif isinstance(lower, ContractionSpec):
            kind = "contraction"
        elif isinstance(lower, (Scan, Scatter, Library)):
            kind = type(lower).__name__.lower()
        space, stripes = of_shape(shape, reduced).normal(), 0
        if kind == "reduce" and not space.has_reduction:
            kind, level = "map", FULL
        if self.rows and (found := uneven_sum(node, self.rows)):
            kind, level, (space, stripes) = STRIPE, COLUMN, found
        group = Group(kind, [node], space, {node: level}, self.rank[node], stripes=stripes)
        group.reads[node] = self._reached(node)
        return group

    def _reached(self, node: Node) -> set[Node]:
        """Stored values that a node reads, through inlined nodes."""
        found: set[Node] = set()
        stack, seen = list(node.inputs), set()
        while stack:
            n = stack.pop()
            if n in seen or is_constant(n):
                continue
            seen.add(n)
            if n in self.inlined:
                stack.extend(n.inputs)
            else:
                found.add(n)
        return found

    # -- merging ------------------------------------------------------------------------------------------

    def _try(self, a: Group, b: Group, producer: Node) -> None:
        reason = self._merge(a, b)
        if reason:
            bytes_saved = 2 * producer.type.nbytes
            self.refused.append(Refused("fuse", a.name, b.name, reason, bytes_saved))

    def _merge(self, a: Group, b: Group) -> str | None:
        """Join two groups; else the reason why not."""
        apart = {a.kind, b.kind} & {"scan", "scatter", "library"}
        if apart or (b.kind == "contraction" and (a.kind != "map" or feeds_product(a, b))):
            return f"a {a.kind} feeds a {b.kind}"
        if is_remat(a) != is_remat(b) and not self.backward.issuperset((*a.nodes, *b.nodes)):
            return "a value computed again for the backward part is computed when that part needs it"
        if self.early.isdisjoint(a.nodes) != self.early.isdisjoint(b.nodes):
            return "what depends on integers alone is there before the rest"
        if len(a.nodes) + len(b.nodes) > MAX_NODES:
            return f"more than {MAX_NODES} nodes in a kernel"
        merged = self._common(a, b)
        if isinstance(merged, str):
            return merged
        if merged.kind != "map" and any(map(side_by_side, merged.nodes)):
            return "parts side by side are stored as they are computed, with nothing else"
        own = max(len(a.operands), len(b.operands)) + WITH_PARTS if merged.kind == "map" else 0
        if len(merged.operands) > max(MAX_BUFFERS, own):
            return f"more than {MAX_BUFFERS} buffers in a kernel"
        reason = self._misaligned(merged, a, b)
        if reason:
            return reason
        if self._path_outside(a, b):
            return "a node between them is in another kernel"
        for node in merged.nodes:
            self.group_of[node] = merged
        self.entangled.join(merged.rank, self.rank[merged.nodes[-1]])
        return None

    def _common(self, a: Group, b: Group) -> Group | str:
        """The two groups over one space, or why there is none."""
        kind, space = a.kind, a.space
        if a.kind in _REDUCED and b.kind in _REDUCED:
            if self.stripes and (STRIPE in (a.kind, b.kind) or a.space != b.space):
                both = striped(a, b)
                if not isinstance(both, str):
                    return self._striped(a, b, *both)
                if STRIPE in (a.kind, b.kind):
                    return both
            if a.space != b.space:
                return f"they reduce different axes: {described(a.space)} and {described(b.space)}"
            return self._joined(a, b, a.kind, a.space, None, None)
        if "contraction" in (a.kind, b.kind):
            kind, space, other = (a.kind, a.space, b) if a.kind == "contraction" else (b.kind, b.space, a)
            if other.kind != "map" or not like(other.space.total, space.total):
                return "only an epilogue over the same elements fuses into a contraction"
        elif a.kind in _REDUCED or b.kind in _REDUCED:
            reduce, other = (a, b) if a.kind in _REDUCED else (b, a)
            if any(isinstance(n.op.lower, Reduction) for n in other.nodes):  # of rows of one element
                return "a reduction of single elements has no place among rows of more"
            kind, space = reduce.kind, reduce.space
            level = FULL if like(other.space.total, space.total) else ROW
            if level == ROW and not like(other.space.total, space.kept):
                return f"{other.space.total} elements are neither the points nor the rows of {described(space)}"
            if level == FULL and plain(space.kept) < MIN_ROWS and plain(space.total) > SMALL:
                return f"{space.kept} rows of {space.row} elements would leave cores idle"
            return self._joined(a, b, kind, space, level if other is a else None, level if other is b else None)
        elif not like(a.space.total, b.space.total):
            return f"different iteration spaces: {a.space.total} and {b.space.total} elements"
        return self._joined(a, b, kind, space, None, None)

    def _joined(self, a: Group, b: Group, kind: str, space: Space, at_a: str | None, at_b: str | None) -> Group:
        nodes = sorted((*a.nodes, *b.nodes), key=self.rank.__getitem__)
        level = {n: at_a or own for n, own in a.level.items()} | {n: at_b or own for n, own in b.level.items()}
        reads = {**a.reads, **b.reads}
        return Group(kind, nodes, space, level, min(a.rank, b.rank), reads, a.stripes or b.stripes)

    def _striped(self, a: Group, b: Group, space: Space, stripes: int) -> Group:
        """Rows and sums of the columns of their stripes."""
        a, b = (replace(g, level=levels(g)) for g in (a, b))
        return replace(self._joined(a, b, STRIPE, space, None, None), stripes=stripes)

    def _misaligned(self, merged: Group, a: Group, b: Group) -> str | None:
        """A read across the two groups that is not at the reader's own point; None if there is none."""
        in_a, in_b = set(a.nodes), set(b.nodes)
        shapes = self.alike.distinct(points(n) for n in merged.nodes if merged.level[n] == FULL)
        rows = self.alike.distinct(n.shape for n in merged.nodes if merged.level[n] == ROW and is_pointwise(n))
        loops = ("loops", merged.space.key, tuple(shapes), tuple(rows))
        space = self.alike.find(loops, lambda: merged.loops(shapes.values(), rows.values()))
        for node in merged.nodes:
            others = in_b if node in in_a else in_a
            if not (merged.reads[node] & others):
                continue
            for read, position in self.reads.positions(node, space, merged.level[node], merged.stripes):
                if read not in others:
                    continue
                if side_by_side(read):
                    return f"{node.op.name} needs {read.op.name} with all its parts"
                if merged.level[read] == COLUMN:
                    return f"{node.op.name} needs {read.op.name} before its columns are complete"
                own = space.flat if merged.level[read] == FULL else space.row_flat
                if merged.level[node] == ROW and not isinstance(node.op.lower, Reduction):
                    own = space.row_flat
                    if merged.level[read] == FULL:
                        return f"{node.op.name} needs {read.op.name} before its rows are complete"
                if position != own:
                    return f"{node.op.name} reads {read.op.name} at other elements than its own"
        return None

    def _join_siblings(self) -> None:
        """Join reductions over the same space that read the same large value, though neither reads the other.

        What one kernel writes counts as the same: so the partial results of two sums, which it sums side by side,
        are summed side by side again.
        """
        self._join_readers(lambda operand: operand)
        if self.stripes:
            self._join_readers(lambda operand: operand, lambda space: None)
        self._join_readers(lambda operand: self.group_of.get(operand, operand))

    def _join_readers(
        self, source: Callable[[Node], Node | Group], by: Callable[[Space], Space | None] = lambda space: space
    ) -> None:
        first: dict[tuple[Space | None, Node | Group], Node] = {}
        for group in self.groups:
            if group.kind not in _REDUCED:
                continue
            for operand in sorted(group.operands, key=lambda n: -nbytes_of(n)):
                if math.prod(map(plain, operand.shape)) < plain(group.space.total):
                    break
                other = self.group_of.get(first.setdefault((by(group.space), source(operand)), group.nodes[0]))
                mine = self.group_of[group.nodes[0]]
                if other is not None and other is not mine and {other.kind, mine.kind} <= _REDUCED:
                    self._try(other, mine, operand)

    def _leave_to_readers(self) -> None:
        """Move what one other kernel alone reads into that kernel, where fewer bytes are moved that way.

        So it is with what follows a product, and on a GPU with what is made element by element.
        """
        users: dict[Node, set[Node]] = {}
        for group in self.groups:
            for node in group.nodes:
                for read in group.reads[node]:
                    users.setdefault(read, set()).add(node)
        waiting = [g for g in self.groups if g.kind == "contraction" or (g.kind == "map" and self.stripes)]
        while waiting:
            group = waiting.pop()
            if self.group_of[group.nodes[0]] is not group:
                continue
            readers = {self.group_of[u] for n in group.nodes for u in users.get(n, ())} - {group}
            for reader in sorted(readers, key=lambda g: g.rank):
                moved = self._read_there_alone(group, reader, users)
                rest = self._move(group, moved, reader) if moved else None
                if rest is not None:
                    waiting.append(rest)
                    break

    def _read_there_alone(self, group: Group, reader: Group, users: Mapping[Node, set[Node]]) -> set[Node]:
        """The members that had better be another kernel's: the last ones, that are there for its sake."""
        found, best, most = set[Node](), set[Node](), 0
        for node in reversed(group.nodes[1:]):
            there = all(u in found or self.group_of[u] is reader for u in users.get(node, ()))
            if there and is_pointwise(node) and node not in self.outputs:
                found.add(node)
                saved = self._bytes_saved(group, found, reader, users)
                best, most = (set(found), saved) if saved > most else (best, most)
        return best

    def _bytes_saved(self, group: Group, moved: set[Node], reader: Group, users: Mapping[Node, set[Node]]) -> int:
        """How many bytes fewer are read and written once members of a group are members of the one that reads them."""
        rest = {n for n in group.nodes if n not in moved}
        operands = frozenset[Node]().union(*(group.reads[n] for n in moved)) - moved
        kept = frozenset[Node]().union(*(group.reads[n] for n in rest)) | rest
        passed = operands & rest
        stored = {n for n in passed if n in self.outputs or not users.get(n, set()).issubset(group.nodes)}
        written_and_read = 2 * bytes_of(moved & reader.operands)
        read_here, read_there = bytes_of(operands - kept), bytes_of(operands - reader.operands)
        return written_and_read + read_here - read_there - bytes_of(passed - stored)

    def _move(self, group: Group, moved: set[Node], reader: Group) -> Group | None:
        """Move members of a group into another, where the rules allow; what is left of it, or None."""
        taken = self._part(replace(group, kind="map"), [n for n in group.nodes if n in moved])
        rest = self._part(group, [n for n in group.nodes if n not in moved])
        for part in (taken, rest):
            self.group_of.update(dict.fromkeys(part.nodes, part))
        if self._merge(taken, reader) is None:
            return rest
        self.group_of.update(dict.fromkeys(group.nodes, group))
        return None

    def _part(self, group: Group, nodes: list[Node]) -> Group:
        """Some of a group's members."""
        level, reads = {n: group.level[n] for n in nodes}, {n: group.reads[n] for n in nodes}
        return replace(group, nodes=nodes, level=level, reads=reads, rank=self.rank[nodes[0]])

    def _join_small(self) -> None:
        """Join maps of few elements over the same points, whatever they read: a launch costs more than they do.

        Those that are alike stay apart: they are runs of one kernel, as many as there are.
        """
        before: dict[Shape, list[Node]] = {}
        for group in self.groups:
            if group.kind != "map" or plain(group.space.total) > SMALL_MAP:
                continue
            first = group.nodes[0]
            known = before.setdefault(points(first), [])
            if not any(self._joins(self.group_of[n], group) for n in known[-4:]):
                known.append(first)

    def _join_ends(self) -> None:
        """Join sums of few elements that nothing waits for, whatever they read: a loss, and conditions on its targets.

        Each would take a GPU little more than its launch.
        """
        before: dict[Space, list[Node]] = {}
        for group in ends(self.groups):
            known = before.setdefault(group.space, [])
            if not any(self._joins(self.group_of[n], group) for n in known[-4:]):
                known.append(group.nodes[0])

    def _joins(self, a: Group, b: Group) -> bool:
        alike = [n.op.name for n in a.nodes] == [n.op.name for n in b.nodes]
        return a is b or (not alike and self._merge(a, b) is None)

    def _path_outside(self, a: Group, b: Group) -> bool:
        """Whether a reaches b through a third group, so that merging them would make a cycle."""
        for start, end in ((a, b), (b, a)):
            readers = (self.group_of[r] for n in start.nodes for r in self.readers.get(n, ()))
            if all(g is start or g is end for g in readers):
                continue
            least = self.entangled[start.rank]
            stack = [self.group_of[r] for r in end.operands if r in self.group_of]
            stack = [g for g in stack if g is not start and g is not end]
            seen: set[int] = set()
            while stack:
                g = stack.pop()
                # A group before the start may read another one's early member, whose late member reads the start.
                if id(g) in seen or self.entangled[self.rank[g.nodes[-1]]] < least:
                    continue
                seen.add(id(g))
                if g is start:
                    return True
                stack.extend(self.group_of[r] for r in g.operands if r in self.group_of)
        return False
