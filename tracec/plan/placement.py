"""Launch order, and the memory of every value: arena, results, inputs that are written over (buffer donation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracec.ir.extent import like, plain, unnoted
from tracec.ir.graph import Graph
from tracec.ir.kernel import Buffer, Const, Expr, Kernel, Load, Loop, Store, Var, expressions, subexpressions, walk
from tracec.ir.node import Node
from tracec.ir.operator import OPERATORS
from tracec.ir.plan import Launch, LibraryCall, Memory, Plan, Refused, Step, Value, bodies_of
from tracec.plan import between, memory
from tracec.plan.alike import Alike
from tracec.plan.horizontal import Work
from tracec.plan.loops import rewrite, rewrite_kernel
from tracec.plan.order import dependences, order_for_memory, topological
from tracec.plan.routines import Call, Routine, alias_of
from tracec.plan.target import Target

#: Bytes that one block may write as its work.
SMALL_RESULT = 4096


class Placement:
    """Orders the works and gives every value its memory.

    Args:
        graph: What is planned.
        works: Launches and calls, in an order in which they can be run.
        routines: Nodes that a library computes, and how.
        donate: Output position → input position whose memory that output takes over.
        refused: What was refused so far; what is refused here is added.
        disabled: Of ``order`` and ``memory``, what to leave out.
        target: What it runs on.
        alike: What was found for kernels like these before.
    """

    def __init__(
        self,
        graph: Graph,
        works: Sequence[Work | Call],
        routines: dict[Node, Routine],
        donate: dict[int, int],
        refused: list[Refused],
        disabled: frozenset[str],
        target: Target,
        alike: Alike,
    ) -> None:
        self.alike = alike
        self.target = target
        self.graph = graph
        self.alias = {o: alias_of(o, routines) for o in graph.outputs}
        replaces = {self.alias[graph.outputs[out]]: graph.inputs[inp] for out, inp in donate.items()}
        self.works = [part for work in works for part in _parted(work, replaces)]
        self.refused = refused
        self.disabled = disabled
        self.size = {n: plain(n.type.nbytes) for w in self.works for n in (*w.reads(), *w.writes())}
        self.home: dict[Node, Node] = {}  # output → input whose memory it is written to
        self.copies: dict[int, int] = {}  # output position → input position, copied at the end
        self.after: dict[int, set[int]] = {}
        self._donate(donate)
        self._order()

    # -- donation -----------------------------------------------------------------------------------------

    def _donate(self, donate: dict[int, int]) -> None:
        """Write outputs in place of the inputs they replace where no later read needs the old value."""
        writer = {n: k for k, w in enumerate(self.works) for n in w.writes()}
        taken: set[Node] = set()
        _, self.feeds = dependences(self.works, {})
        self.readers: dict[Node, set[int]] = {}
        for k, w in enumerate(self.works):
            for n in w.reads():
                self.readers.setdefault(n, set()).add(k)
        for out, inp in donate.items():
            node, place = self.alias[self.graph.outputs[out]], self.graph.inputs[inp]
            if node is place:
                continue
            k = writer.get(node, -1)  # -1: the value of another input, which no work computes
            fits = k >= 0 and node not in taken and node not in self.home
            if fits and self._in_place(k, node, place) and self._order_readers(k, place):
                self.home[node] = place
                taken.add(place)
            else:
                self._copy(out, inp, "the old value is read at other elements or later")
        for work in self.works:
            if isinstance(work, Work) and len({_places(row, self.home) for row in work.rows}) > 1:
                for out, inp in donate.items():
                    node = self.alias[self.graph.outputs[out]]
                    if any(node in row for row in work.rows) and self.home.pop(node, None) is not None:
                        self._copy(out, inp, "it is computed together with values that are not written in place")

    def _copy(self, out: int, inp: int, reason: str) -> None:
        node = self.alias[self.graph.outputs[out]]
        self.copies[out] = inp
        self.refused.append(Refused("in place", node.op.name, f"input {inp}", reason, 2 * node.type.nbytes))

    def _in_place(self, k: int, node: Node, place: Node) -> bool:
        """Whether the work may write ``node`` over ``place``: same type, and each element read only just before."""
        work = self.works[k]
        if not isinstance(work, Work) or node.type != place.type or node.type.size == 0:
            return False
        own = next(row for row in work.rows if node in row)
        if not self._may_overwrite(work.kernel, own.index(node)) and any(place in row for row in work.rows):
            return False
        if any(place in row for row in work.rows if row is not own):
            return False
        return place not in own or self._element_by_element(work.kernel, own.index(place), own.index(node))

    def _element_by_element(self, kernel: Kernel, read: int, written: int) -> bool:
        return self.alike.of(kernel, (read, written), lambda: element_by_element(kernel, read, written))

    def _may_overwrite(self, kernel: Kernel, written: int) -> bool:
        """Whether a kernel of this shape may write that buffer over one that it reads."""
        if kernel.shape in self.target.in_place:
            return True
        return kernel.shape in self.target.results_in_place and is_result(kernel, kernel.buffers[written].name)

    def _order_readers(self, k: int, place: Node) -> bool:
        """Make every other reader of ``place`` come before work ``k``; False where that would be a cycle."""
        before = self.readers.get(place, set()) - {k}
        stack, seen = [k], {k}
        while stack:
            for j in self.feeds[stack.pop()]:
                if j not in seen:
                    seen.add(j)
                    stack.append(j)
        if before & seen:
            return False
        self.after.setdefault(k, set()).update(before)
        for j in before:
            self.feeds[j].add(k)
        return True

    # -- order and memory ---------------------------------------------------------------------------------

    def _intermediate(self) -> set[Node]:
        written = {n for w in self.works for n in w.writes()}
        outputs = {self.alias[o] for k, o in enumerate(self.graph.outputs) if k not in self.copies}
        return written - outputs - set(self.home)

    def _order(self) -> None:
        if "order" in self.disabled:
            order = topological(*dependences(self.works, self.after))
        else:
            order = order_for_memory(self.works, self.after, self._intermediate(), self.size)
        self.works = [self.works[k] for k in order]
        if self.target.strips:
            self.works = between.together(self.works, set(self.home.values()), set(self.alias.values()))

    def plan(self) -> Plan:
        self._append_copies()
        first: dict[Node, int] = {}
        last: dict[Node, int] = {}
        for k, w in enumerate(self.works):
            for n in w.writes():
                first.setdefault(n, k)
            for n in (*w.reads(), *w.writes()):
                last[n] = k
        intermediate = self._intermediate()
        arena = [n for n in first if n in intermediate]
        shared = {} if "memory" in self.disabled else self._share(arena, first, last)
        spans, members = self._spans(arena, shared, first, last)
        if "memory" in self.disabled:
            (offsets, total), layout = _one_after_another(spans), None
        else:
            offsets, total, layout = memory.place(spans, self._layouts())
        with unnoted():
            unplanned = sum(memory.aligned(n.type.nbytes) for n in arena)
            figures = Memory(total, unplanned, memory.lower_bound(spans), layout)
        return self._assemble(offsets, members, first, last, figures, shared)

    def _layouts(self) -> list[memory.Layout]:
        """Arenas of what loops and branches run."""
        steps = [c.routine.within.step for c in self.works if isinstance(c, Call) and c.routine.within is not None]
        layouts = [body.memory.layout for step in steps for body in bodies_of(step)]
        return [found for found in layouts if found is not None]

    def _append_copies(self) -> None:
        for out, inp in self.copies.items():
            source, place = self.alias[self.graph.outputs[out]], self.graph.inputs[inp]
            if not place.type.size:  # no work computes it, and there is nothing to copy
                continue
            target = replace(place, origin="copy of an output into the input it replaces")
            if source.dtype.kind == "c":  # no kernel knows complex numbers
                target = replace(target, op=OPERATORS["cast"])
                self.home[target] = place
                self.works.append(Call(Routine("eager", (source,), (("dtype", source.dtype),)), target))
            else:
                self.home[target] = place
                self.works.append(Work(copy_kernel(source), ((source, target),)))
            self.size[target] = plain(place.type.nbytes)
            self.alias[self.graph.outputs[out]] = source
        self.copied = {out: self.graph.inputs[inp] for out, inp in self.copies.items()}

    def _share(self, arena: list[Node], first: dict[Node, int], last: dict[Node, int]) -> dict[Node, Node]:
        """Intermediate → the intermediate that dies where it is written, and whose memory it takes over."""
        inside, taken = set(arena), set[Node]()
        shared: dict[Node, Node] = {}
        called = {n for w in self.works if isinstance(w, Call) for n in w.reads()}
        for k, work in enumerate(self.works):
            if not isinstance(work, Work) or len(work.rows) != 1:
                continue
            row = work.rows[0]
            for j, n in enumerate(row):
                if work.kernel.buffers[j].role != "out" or n not in inside or first[n] != k:
                    continue
                if not self._may_overwrite(work.kernel, j):
                    continue
                for i, m in enumerate(row):
                    dies = m in inside and last[m] == k and m not in taken and first[m] != k
                    same = m.dtype is n.dtype and like(m.type.nbytes, n.type.nbytes)
                    # Kernels see elements, but a routine also sees a shape: that of the memory's first owner.
                    if n in called:
                        same = like(n.type, owner_of(m, shared).type)
                    if dies and same and self._element_by_element(work.kernel, i, j):
                        shared[n] = m
                        taken.add(m)
                        break
        return shared

    def _spans(
        self, arena: list[Node], shared: dict[Node, Node], first: dict[Node, int], last: dict[Node, int]
    ) -> tuple[list[memory.Span], list[list[Node]]]:
        """Spans of memory; values that take over each other's memory are one span."""
        members: dict[Node, list[Node]] = {}
        for n in arena:
            members.setdefault(owner_of(n, shared), []).append(n)
        groups = list(members.values())
        begin = self._begins()
        spans = [
            memory.Span(g[0].type.nbytes, min(begin[first[n]] for n in g), max(last[n] for n in g)) for g in groups
        ]
        return spans, groups

    def _begins(self) -> list[int]:
        """For each work the first of those that it may be computed together with; itself for one alone.

        What it writes then lies apart from all that these read. They are two products and the rows between them, or, on
        a GPU, launches that ride on another (`tracec.codegen.cuda_joined`).
        """
        if self.target.strips:
            joined = between.begins(self.works)
            return [joined.get(k, k) for k in range(len(self.works))]
        found: list[int] = []
        for k, work in enumerate(self.works):
            rides = k and isinstance(work, Work) and isinstance(self.works[k - 1], Work)
            small = rides and all(self.size[n] <= SMALL_RESULT for n in work.writes())
            found.append(found[-1] if small else k)
        return found

    # -- assembly -----------------------------------------------------------------------------------------

    def _assemble(
        self, offsets: list[int], members: list[list[Node]], first: dict[Node, int], last: dict[Node, int],
        figures: Memory, shared: dict[Node, Node],
    ) -> Plan:  # fmt: skip
        values: list[Value] = []
        number: dict[Node, int] = {}
        for k, n in enumerate(self.graph.inputs):
            number[n] = len(values)
            values.append(Value(f"in{k}", n.type, "input", index=k, last=last.get(n, -1), source=n.source))
        outputs: list[int] = []

        for k, o in enumerate(self.graph.outputs):
            node = self.alias[o]
            if k in self.copied:
                outputs.append(number[self.copied[k]])
                continue
            if node in self.home:
                number[node] = number[self.home[node]]
            elif node not in number:
                number[node] = len(values)
                values.append(
                    Value(f"out{k}", o.type, "output", index=k, first=first.get(node, -1),
                          last=last.get(node, -1), source=o.source)
                )  # fmt: skip

            outputs.append(number[node])
        for n, place in self.home.items():
            number.setdefault(n, number[place])
        for k, group in enumerate(members):
            owner, begin, end = group[0], min(first[n] for n in group), max(last[n] for n in group)
            number.update(dict.fromkeys(group, len(values)))
            values.append(
                Value(f"t{k}", owner.type, "arena", offset=offsets[k], first=begin, last=end, source=owner.source)
            )
        kernels, steps = self._steps(number, shared)
        inputs = tuple(number[n] for n in self.graph.inputs)
        return Plan(kernels, steps, tuple(values), inputs, tuple(outputs), figures, tuple(self.refused))

    def _steps(self, number: dict[Node, int], shared: dict[Node, Node]) -> tuple[tuple[Kernel, ...], tuple[Step, ...]]:
        kernels: dict[object, int] = {}
        found: list[Kernel] = []
        steps: list[Step] = []
        for work in self.works:
            if isinstance(work, Call):
                operands = tuple(number[n] for n in work.routine.operands)
                if (within := work.routine.within) is not None:
                    steps.append(within.placed(operands, number[work.node], number[within.scratch]))
                    continue
                steps.append(
                    LibraryCall(work.routine.name, operands, number[work.node], work.routine.params, work.node.op.name,
                                work.node.source, work.routine.literals)
                )  # fmt: skip
                continue
            kernel, rows = self._unified(work, shared)
            key = (kernel.shape, kernel.buffers, kernel.body, kernel.contraction)
            if key not in kernels:
                kernels[key] = len(found)
                found.append(replace(kernel, name=_name(kernel, len(found))))
            args = tuple(tuple(number[n] for n in row) for row in rows)
            steps.append(Launch(kernels[key], args, work.sizes))
        return tuple(found), tuple(steps)

    def _unified(self, work: Work, shared: dict[Node, Node]) -> tuple[Kernel, tuple[tuple[Node, ...], ...]]:
        """A launch's kernel with buffers that are the same memory as one, and what each run's buffers hold."""
        same = _same_memory(work, self.home, shared)
        if not same:
            return work.kernel, work.rows
        alike = self.alike.of(work.kernel, same, lambda: _unified(work.kernel, same))
        gone = {read for read, _ in same}
        rows = tuple(tuple(n for k, n in enumerate(row) if k not in gone) for row in work.rows)
        return replace(alike, sources=work.kernel.sources), rows


def owner_of(node: Node, shared: dict[Node, Node]) -> Node:
    """Whose memory a value is written to: that of the first of those that take over each other's."""
    while node in shared:
        node = shared[node]
    return node


def _places(row: Sequence[Node], home: Mapping[Node, Node]) -> tuple[tuple[int, int], ...]:
    """Which of a run's values are written over which of the values that it reads."""
    at = {n: i for i, n in enumerate(row)}
    return tuple((j, at[home[n]]) for j, n in enumerate(row) if n in home and home[n] in at)


def _parted(work: Work | Call, replaces: Mapping[Node, Node]) -> list[Work | Call]:
    """A launch as several, so that the runs of each write the same of their values in place."""
    if not isinstance(work, Work) or len(work.rows) < 2:
        return [work]
    alike: dict[Any, list[int]] = {}
    for k, row in enumerate(work.rows):
        alike.setdefault(_places(row, replaces), []).append(k)
    if len(alike) == 1:
        return [work]
    return [
        Work(work.kernel, tuple(work.rows[k] for k in part), tuple(work.sizes[k] for k in part) if work.sizes else ())
        for part in alike.values()
    ]


def _one_after_another(spans: Sequence[memory.Span]) -> tuple[list[int], int]:
    offsets, total = [], 0
    for s in spans:
        offsets.append(total)
        total += memory.aligned(s.size)
    return offsets, total


def element_by_element(kernel: Kernel, read: int, written: int) -> bool:
    """Whether a kernel reads one buffer only at the element that it is about to write to another.

    Then both may be the same memory. Rows and points are independent, so what matters is the order within
    one: no load may come after the store.
    """
    source, target = kernel.buffers[read], kernel.buffers[written]
    if source.dtype is not target.dtype:
        return False
    stored: Expr | None = None
    loads: set[Expr] = set()
    for stmt in walk(kernel.body):
        found = {
            part.index
            for e in expressions(stmt)
            for part in subexpressions(e)
            if isinstance(part, Load) and part.buffer == source.name
        }
        if found and stored is not None:
            return False
        loads |= found
        if isinstance(stmt, Store) and stmt.buffer == target.name:
            if stored is not None:
                return False
            stored = stmt.index
    return stored is not None and loads <= {stored}


def is_result(kernel: Kernel, buffer: str) -> bool:
    """Whether a buffer is written outside of the loops over what a kernel reduces."""
    body = kernel.body
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].kind == "parallel":
        body = body[0].body
    inner = (s for s in body if isinstance(s, Loop))
    return not any(isinstance(s, Store) and s.buffer == buffer for loop in inner for s in walk(loop.body))


def copy_kernel(node: Node) -> Kernel:
    """The kernel that copies a value."""
    size = node.type.size
    buffers = (Buffer("x0", node.dtype, node.shape, "in"), Buffer("y0", node.dtype, node.shape, "out"))
    at: Expr = Var("i0", size) if size != 1 else Const(0)
    body: tuple[Store | Loop, ...] = (Store("y0", at, Load("x0", at, node.dtype)),)
    if isinstance(at, Var):
        body = (Loop(at, body),)
    return Kernel("copy", "map", buffers, body, None, (), ("copy",))


def _same_memory(work: Work, home: Mapping[Node, Node], shared: Mapping[Node, Node]) -> tuple[tuple[int, int], ...]:
    """Positions of the buffers that a launch reads and of those that it writes over them."""
    found: dict[int, int] = {}
    buffers = list(enumerate(work.kernel.buffers))
    for j in (j for j, b in buffers if b.role == "out"):
        for i in (i for i, b in buffers if b.role == "in" and i not in found):
            same = [home.get(r[j]) is r[i] or shared.get(r[j]) is r[i] for r in work.rows]
            if any(same):
                assert all(same), "runs of one launch differ in what they write in place"
                found[i] = j
                break
    return tuple(found.items())


def _unified(kernel: Kernel, same: Sequence[tuple[int, int]]) -> Kernel:
    """The kernel with buffers that are the same memory as one: read first, then written."""
    role = {written: kernel.buffers[read].name for read, written in same}
    name = {kernel.buffers[read].name: kernel.buffers[written].name for read, written in same}
    gone = {read for read, _ in same}

    def swap(e: Expr) -> Expr | None:
        if isinstance(e, Load) and e.buffer in name:
            return Load(name[e.buffer], rewrite(e.index, swap), e.dtype)
        return None

    buffers = (replace(b, role="inout") if k in role else b for k, b in enumerate(kernel.buffers) if k not in gone)
    return replace(rewrite_kernel(kernel, swap), buffers=tuple(buffers))


def _name(kernel: Kernel, number: int) -> str:
    """A readable C identifier: position, shape and what was fused."""
    words = "_".join(dict.fromkeys(kernel.ops))
    return f"k{number}_{kernel.shape}_{words}"[:60].rstrip("_")
