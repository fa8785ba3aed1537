"""Planning, the whole way on one page: a graph becomes kernels in launch order, and every value gets its memory.

1. `slice_large`, `prepare`: what would take much memory at once is computed in slices; composite operators are written
   out, large reductions split in two steps;
2. `inline_nodes`, `find_routines`: cheap nodes are computed where they are read, library calls are set apart;
3. `Partition`: greedy fusion of the rest into groups;
4. `lower_group`: each group becomes one loop nest, and `classify` says how it is rendered;
5. `join_alike`: horizontal fusion of kernels that differ in their buffers alone;
6. `Placement`: launch order, in-place writes into donated inputs, offsets in one arena.

A plan of the graph with rematerialisation undone (`undo_remat`) is made too, where that changes the graph, and taken
where it moves fewer bytes with no higher peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from tracec.ir.extent import plain
from tracec.ir.graph import Graph
from tracec.ir.kernel import Expr, Kernel, Load, Loop, Store, Var, expressions, subexpressions, walk
from tracec.ir.lower import Reduction
from tracec.ir.node import Node
from tracec.ir.plan import Branch, LibraryCall, Plan, Refused, Repeat, Sliced, Step, While
from tracec.plan.alike import Alike
from tracec.plan.clusters import stored_bytes
from tracec.plan.early import Early, find_early
from tracec.plan.group import Group
from tracec.plan.horizontal import Work, join_alike
from tracec.plan.inline import inline_nodes
from tracec.plan.long_rows import is_held
from tracec.plan.loops import coalesce
from tracec.plan.lowering import lower_group, sources_of
from tracec.plan.order import dependences, topological
from tracec.plan.partition import Partition
from tracec.plan.placement import Placement
from tracec.plan.prepare import prepare, written_out
from tracec.plan.rounded import rounded_once
from tracec.plan.routines import Call, Routine, alias_of, find_routines, no_gemm
from tracec.plan.slices import recompute_large, slice_large, sliced_in
from tracec.plan.structured import Bodies
from tracec.plan.target import Target
from tracec.plan.undo_remat import undo_remat
from tracec.plan.unrolled import unrolled


def make_plan(
    graph: Graph, target: Target, donate: Mapping[int, int] | None = None, disabled: frozenset[str] = frozenset()
) -> Plan:
    """Turn a graph into kernels in order, with every value placed.

    Args:
        graph: What to compute.
        target: What it runs on.
        donate: Output position → input position whose memory that output takes over.
        disabled: Of ``fuse``, ``horizontal``, ``library``, ``order``, ``memory``, ``slice`` and ``deterministic``,
            what to leave out. The last is a promise: without it, sums at computed positions are added up in any order.
    """
    if "slice" not in disabled:
        graph = slice_large(written_out(graph), target.slices)
    sliced = sliced_in(graph)
    recorded, graph = graph, prepare(graph, target.blocks, target.row_bytes, target.cluster_bytes)
    bodies = Bodies(lambda body: make_plan(body, target, None, disabled), target)
    planner = _Planner(target, bodies, disabled, Alike(graph))
    plan = planner.plan(graph, donate)
    if "fuse" in disabled:
        return _final(plan, target, recorded, graph, sliced)
    for early in (False, True):
        if early and not find_early(graph).nodes:
            break
        undone = undo_remat(graph, partial(planner.partition, early=early), given=early)
        if undone is not graph:
            other = planner.plan(undone, donate, early)
            smaller = plain(other.memory.peak_bytes) <= plain(plan.memory.peak_bytes)
            if traffic(other) < traffic(plan) and smaller:
                plan = other
    return _final(plan, target, recorded, graph, sliced)


def with_recomputation(graph: Graph, target: Target) -> Graph:
    """Let the backward part of a graph recompute large values that the forward part, planned apart, would keep."""
    written = written_out(graph)
    found = recompute_large(written, target.slices)
    return graph if found is written else found


def ask_for_products(graph: Graph, target: Target, disabled: frozenset[str] = frozenset()) -> None:
    """Ask the target which way each matrix product of a graph takes, as `make_plan` will, and plan nothing yet."""
    if "library" not in disabled:
        graph = prepare(graph, target.blocks, target.row_bytes)
        find_routines(graph, inline_nodes(graph), target.gemm, lambda node, inlined: None, Alike(graph))


def _final(plan: Plan, target: Target, recorded: Graph, prepared: Graph, sliced: tuple[Sliced, ...]) -> Plan:
    plan = replace(plan, sliced=sliced)
    if target.unused_bytes:
        clustered = prepare(recorded, target.blocks, target.row_bytes, target.unused_bytes)
        if clustered.key() != prepared.key():
            why = Refused("cluster", "blocks", "rows that are too long for one", target.no_clusters)
            plan = replace(plan, refused=(*plan.refused, why))
    return unrolled(plan) if target.is_gpu else plan


def traffic(plan: Plan) -> int:
    """Bytes that the steps of a plan read and write, as if nothing stayed in a cache between them."""
    touched = (v for step in plan.steps for v in _touched(step))
    within: int = sum(plain(step.length) * traffic(step.body) for step in plan.steps if isinstance(step, Repeat))
    own: int = sum(plain(plan.values[v].type.nbytes) for v in touched)
    return within + own


def _touched(step: Step) -> list[int]:
    if isinstance(step, LibraryCall):
        return [*step.inputs, step.output]
    if isinstance(step, (Repeat, Branch, While)):
        return [*step.reads, step.output]
    return [v for row in step.args for v in row]


@dataclass(frozen=True)
class _Planner:
    """Plans graphs whose operators all have a lowering of their own.

    Attributes:
        target: What they run on.
        bodies: The plans of what loops and branches run.
        disabled: As of `make_plan`.
        alike: What was found before, for these graphs or others of the same nodes.
    """

    target: Target
    bodies: Bodies
    disabled: frozenset[str]
    alike: Alike

    def partition(self, graph: Graph, early: bool = False) -> Partition:
        """The nodes of each kernel; with ``early``, sums that depend on integers alone have kernels of their own."""
        return self._parted(graph, early)[0]

    def _parted(self, graph: Graph, early: bool) -> tuple[Partition, dict[Node, Routine]]:
        inlined = inline_nodes(graph)
        gemm = no_gemm if "library" in self.disabled else self.target.gemm
        routines = find_routines(graph, inlined, gemm, self.bodies, self.alike)
        first = find_early(graph) if early else Early()
        inlined |= {n: cost for n, cost in first.inlined.items() if n not in graph.outputs}
        fuse, stripes = "fuse" not in self.disabled, self.target.is_gpu
        parted = Partition(graph, inlined, routines, first.nodes, fuse=fuse, stripes=stripes, alike=self.alike)
        return parted, routines

    def plan(self, graph: Graph, donate: Mapping[int, int] | None, early: bool = False) -> Plan:
        """The plan of a graph; see `make_plan`."""
        partition, routines = self._parted(graph, early)
        works = self._works(graph, partition, routines)
        refused = list(partition.refused)
        if "horizontal" not in self.disabled:
            works, more = join_alike(works)  # type: ignore[assignment]
            refused += more
        given, target = dict(donate or {}), self.target
        return Placement(graph, works, routines, given, refused, self.disabled, target, self.alike).plan()

    def _works(self, graph: Graph, partition: Partition, routines: dict[Node, Routine]) -> list[Work | Call]:
        """Launches and calls, in dependence order."""
        outputs = {alias_of(o, routines) for o in graph.outputs}
        read_by_others: set[Node] = set()
        for group in partition.groups:
            read_by_others |= group.operands
        for routine in routines.values():
            read_by_others.update(routine.operands)
        stored = outputs | read_by_others
        works: list[Work | Call] = []
        for group in partition.groups:
            node = group.nodes[0]
            if all(n.type.size == 0 for n in group.nodes):
                continue
            if node in routines:
                works.append(Call(routines[node], node))
                continue
            members = [n for n in group.nodes if n in stored]
            if members:
                kernel, nodes = self._lowered(group, partition.inlined, set(members))
                works.append(Work(kernel, (tuple(nodes),)))
        needs, feeds = dependences(works, {})
        return [works[k] for k in topological(needs, feeds)]

    def _lowered(self, group: Group, inlined: dict[Node, int], stored: set[Node]) -> tuple[Kernel, list[Node]]:
        """The kernel of a group, and for each of its buffers the node that it holds."""
        marks = {n: (group.level[n], n in stored, n in inlined) for n in group.nodes}
        traced, place = self.alike.traced(group.nodes, inlined, marks)
        nodes = list(place)

        def lower() -> tuple[Kernel, list[int]]:
            kernel, held = lower_group(group, inlined, stored, _room(group, self.target))
            kernel = classify(coalesce(rounded_once(kernel)), self.target)
            if "deterministic" in self.disabled:
                kernel = any_order(kernel, self.target)
            return kernel, [place[n] for n in held]

        kernel, held = self.alike.find(("kernel", traced, group.kind, group.space.key, group.stripes), lower)
        return replace(kernel, sources=sources_of(group)), [nodes[k] for k in held]


def _room(group: Group, target: Target) -> int:
    """Bytes of a row of a group that are kept on chip: what a cluster keeps, where one block has not enough."""
    if group.kind != "reduce" or not target.cluster_bytes:
        return target.row_bytes
    reduced = [n.inputs[0] for n in group.nodes if isinstance(n.op.lower, Reduction)]
    row, size = plain(group.space.row), plain(group.space.total)
    one = row * max(n.dtype.compute.itemsize for n in reduced) <= target.row_bytes
    narrow = min(map(stored_bytes, reduced)) == 2 and is_held(size, row)
    return target.row_bytes if one or narrow else target.cluster_bytes


def classify(kernel: Kernel, target: Target) -> Kernel:
    """A map whose loads and stores are contiguous along different loops is a transpose.

    On a GPU, what stays where it is while the innermost loop runs is not read against it: one value for each row.
    """
    if kernel.shape != "map":
        return kernel
    loops = [s.var.name for s in walk(kernel.body) if isinstance(s, Loop)]
    if len(loops) < 2:
        return kernel
    last = loops[-1]
    for stmt in walk(kernel.body):
        for e in expressions(stmt):
            for part in subexpressions(e):
                if not isinstance(part, Load) or _unit_loop(part.index) in (None, last):
                    continue
                if not target.is_gpu or any(v == last for v in _loops(part.index)):
                    return replace(kernel, shape="transpose")
    return kernel


def any_order(kernel: Kernel, target: Target) -> Kernel:
    """A scatter that adds, by atomic operations where the target has them: which comes first is left open."""
    adds = [s for s in walk(kernel.body) if isinstance(s, Store) and s.add]
    types = {b.name: b.dtype for b in kernel.buffers}
    if kernel.shape == "scatter" and adds and all(types[s.buffer] in target.atomics for s in adds):
        return replace(kernel, shape="atomic")
    return kernel


def _loops(index: Expr) -> list[str]:
    """The loops that an index moves with."""
    return [part.name for part in subexpressions(index) if isinstance(part, Var)]


def _unit_loop(index: Expr) -> str | None:
    """The loop along which an index moves by one element."""
    if isinstance(index, Var):
        return index.name
    for term, c in getattr(index, "terms", ()):
        if c == 1 and isinstance(term, Var):
            return str(term.name)
    return None
