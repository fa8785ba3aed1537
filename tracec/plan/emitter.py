"""Writes the loops of one kernel: names what is computed, once in each scope, and notes the buffers that it needs."""

from __future__ import annotations

from collections.abc import Sequence

from tracec.ir import index as ix
from tracec.ir.kernel import Buffer, Call, Expr, Let, Load, Ref, Stmt, Store, Var, nested, subexpressions
from tracec.ir.lower import Index
from tracec.ir.node import Node
from tracec.plan.access import Access, guard_loads, is_bare, load_element
from tracec.plan.group import Group
from tracec.plan.reach import stays_inside
from tracec.plan.sixteen_bits import by_reciprocal, has_16_bits


class Emitter(Access):
    """Writes one group's kernel body.

    Two scopes hold named values: that of a row (or of a point, where nothing is reduced), and that of the
    loop over a row's elements, which is dropped when the loop ends.

    Args:
        group: The nodes that the kernel computes.
        inlined: Nodes that it computes where it reads them, with the cost of an element.
        stored: Those of the group that others read.
        row_bytes: Bytes of a row that stay on chip between its loops.
    """

    def __init__(self, group: Group, inlined: dict[Node, int], stored: set[Node], row_bytes: int) -> None:
        self.group = group
        self.inlined = inlined
        self.stored = stored
        self.row_bytes = row_bytes
        self.buffers: dict[Node, Buffer] = {}
        self.sizes: dict[str, int] = {}
        self.outer: list[Stmt] = []
        self.inner: list[Stmt] | None = None
        self._names = 0
        self._outer_memo: dict[Expr, Ref] = {}
        self._inner_memo: dict[Expr, Ref] = {}
        self._inner_names: set[str] = set()
        self._inlined_memo: dict[tuple[Node, Index], Expr] = {}
        self.row_value: dict[Node, Expr] = {}
        self.full_value: dict[Node, Expr] = {}
        self._loop_vars: frozenset[str] = frozenset()
        self._scratch: set[str] = set()
        self.naming = True
        self._depth = 0  # of inlined nodes, one within another

    # -- buffers and names ---------------------------------------------------------------------------------

    def buffer(self, node: Node, role: str) -> Buffer:
        known = self.buffers.get(node)
        if known is None:
            prefix = "x" if role == "in" else "y"
            number = sum(b.role == role for b in self.buffers.values())
            known = self.buffers[node] = Buffer(f"{prefix}{number}", node.dtype, node.shape, role)
            self.sizes[known.name] = known.size
        return known

    def _fresh(self) -> str:
        self._names += 1
        return f"v{self._names - 1}"

    def bind(self, expr: Expr) -> Expr:
        if not self.naming or not isinstance(expr, (Load, Call)) or is_bare(expr, self.sizes):
            return expr
        if self._depth and not stays_inside(expr, self.sizes):  # the selects around it are still to come
            return expr
        inner = self.inner is not None and self._is_inner(expr)
        memo = self._inner_memo if inner else self._outer_memo
        known = memo.get(expr)
        if known is None:
            known = memo[expr] = Ref(self._fresh(), expr.dtype)
            if inner:
                assert self.inner is not None
                self._inner_names.add(known.name)
                self.inner.append(Let(known.name, expr))
            else:
                self.outer.append(Let(known.name, expr))
        return known

    def _is_inner(self, expr: Expr) -> bool:
        for e in subexpressions(expr):
            if (isinstance(e, Var) and e.name in self._loop_vars) or (
                isinstance(e, Ref) and e.name in self._inner_names
            ):
                return True
            if isinstance(e, Load) and e.buffer.startswith("s"):
                return True
        return False

    def applied(self, node: Node, scalar: str, args: tuple[Expr, ...]) -> Expr:
        if self.row_bytes and has_16_bits(node):
            if scalar == "exp":
                scalar = "short_exp"
            if scalar == "div" and self.inner is not None and self._is_inner(args[0]) and not self._is_inner(args[1]):
                return by_reciprocal(args[0], args[1], self.bind)
        return super().applied(node, scalar, args)

    def guard(self, expr: Expr) -> Expr:
        return self.bind(guard_loads(expr, self.sizes)) if is_bare(expr, self.sizes) else expr

    def read(self, node: Node, index: Index) -> Expr:
        if node in self.row_value:
            return self.row_value[node]
        if node in self.full_value:
            return self.full_value[node]
        if node in self.inlined:
            key = (node, index)
            known = self._inlined_memo.get(key)
            if known is None:
                self._depth += 1
                known = self._inlined_memo[key] = self.element(node, index)
                self._depth -= 1
            return known
        name = self.buffer(node, "in").name
        loaded = load_element(name, node, index)
        return self.bind(loaded)

    def store(self, node: Node, index: Index, value: Expr) -> Store:
        buffer = self.buffer(node, "out")
        return Store(buffer.name, ix.flatten(index, node.shape), self.guard(value))

    def keep(self, name: str, size: int) -> None:
        """Note a scratch array."""
        self._scratch.add(name)
        self.sizes[name] = size

    def open_loop(self, variables: Sequence[Var]) -> None:
        self.inner = []
        self._loop_vars = frozenset(v.name for v in variables)
        self._inner_memo.clear()
        self._inner_names.clear()
        self._inlined_memo.clear()
        self.full_value.clear()

    def close_loop(self, variables: Sequence[Var], kind: str) -> None:
        assert self.inner is not None
        body = tuple(self.inner)
        self.inner = None
        self._inlined_memo.clear()
        self.full_value.clear()
        if body:
            self.outer.extend(nested(variables, body, kind))
