"""Reading operands: what a node's element is, in terms of the elements of values in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tracec.ir import index as ix
from tracec.ir.kernel import Call, Const, Expr, Load, parts, subexpressions
from tracec.ir.lower import ContractionSpec, Elementwise, Index, LoadElement, Pull, Reduction, input_types
from tracec.ir.node import Node, is_constant
from tracec.ir.types import Shape


class Access(ABC):
    """Expands nodes into expressions; subclasses say where operands come from and what gets a name."""

    @abstractmethod
    def read(self, node: Node, index: Index) -> Expr:
        """The element of a node that is not a constant at a multi-index."""

    def bind(self, expr: Expr) -> Expr:
        """A name for an expression, so that it is computed once."""
        return expr

    def applied(self, node: Node, scalar: str, args: tuple[Expr, ...]) -> Expr:
        """The scalar operation of an elementwise node."""
        return scalar_call(node, scalar, args)

    def guard(self, expr: Expr) -> Expr:
        """The expression with a bounds test around loads that may fall outside of their buffer."""
        return expr

    def element(self, node: Node, index: Index) -> Expr:
        """The element of an elementwise or pulled node at ``index``."""
        lower = node.op.lower
        if isinstance(lower, Elementwise):
            args = tuple(
                literal(x) if is_constant(x) else self.guard(self.read(x, broadcast_index(index, x.shape)))
                for x in node.inputs
            )
            return self.bind(self.applied(node, lower.scalar, args))
        if not isinstance(lower, Pull):
            raise TypeError(f"{node.op.name} has no element of its own")
        return self.bind(lower.element(self._loader(node), index, node.type, input_types(node), **dict(node.params)))

    def reduced_element(self, node: Node, index: Index, reduced: Index) -> Expr:
        """The element that a reduction combines at output ``index`` and reduced ``reduced``."""
        lower = node.op.lower
        assert isinstance(lower, Reduction)
        load = self._loader(node)
        value = self.guard(lower.element(load, index, reduced, node.type, input_types(node), **dict(node.params)))
        wide = node.dtype.compute
        return value if value.dtype is wide else Call("cast", (value,), wide)

    def factors(self, node: Node, index: Index, reduced: Index) -> tuple[Expr, Expr]:
        """The two factors of a contraction at output ``index`` and reduced ``reduced``."""
        lower = node.op.lower
        assert isinstance(lower, ContractionSpec)
        load = self._loader(node)
        a, b = lower.factors(load, index, reduced, node.type, input_types(node), **dict(node.params))
        return self.guard(a), self.guard(b)

    def _loader(self, node: Node) -> LoadElement:
        def load(k: int, at: Index) -> Expr:
            operand = node.inputs[k]
            return literal(operand) if is_constant(operand) else self.read(operand, at)

        return load


def broadcast_index(index: Index, shape: Shape) -> Index:
    """The multi-index of an operand of ``shape`` that is broadcast to the space of ``index``."""
    tail = index[len(index) - len(shape) :]
    return tuple(Const(0) if size == 1 else i for i, size in zip(tail, shape, strict=True))


def literal(node: Node) -> Const:
    """A constant node as a literal of the type that kernels compute in."""
    return Const(node.params[0][1], node.dtype.compute)


def scalar_call(node: Node, scalar: str, args: tuple[Expr, ...]) -> Expr:
    """A call of a scalar operation in the type that the node computes in."""
    if scalar == "where":
        return Call("select", args, node.dtype.compute)
    if scalar != "cast":
        return Call(scalar, args, node.dtype.compute)
    (value,), target = args, node.dtype
    if target.compute is not target:  # a 16-bit float: round to it, then go on in the type that kernels compute in
        return Call("cast", (Call("cast", (value,), target),), target.compute)
    return value if value.dtype is target else Call("cast", (value,), target)


def load_element(buffer: str, node: Node, index: Index) -> Expr:
    """The element of a value in memory, widened to the type that kernels compute in."""
    value: Expr = Load(buffer, ix.flatten(index, node.shape), node.dtype)
    return value if node.dtype.compute is node.dtype else Call("cast", (value,), node.dtype.compute)


def is_bare(expr: Expr, sizes: dict[str, int]) -> bool:
    """Whether computing the expression may read outside of a buffer, its guard being still to come."""
    match expr:
        case Load(buffer, at, _):
            b = ix.bounds(at)
            return is_bare(at, sizes) or (b is not None and (b[0] < 0 or b[1] >= max(sizes[buffer], 1)))
        case Call("select", args, _):
            return is_bare(args[0], sizes)
        case _:
            return any(is_bare(p, sizes) for p in parts(expr))


def guard_loads(expr: Expr, sizes: dict[str, int]) -> Expr:
    """Each load that may fall outside reads zero there instead; whatever needs the value selects it away."""
    match expr:
        case Load(_, _, dtype) if is_bare(expr, sizes):
            zero = Const(False if dtype.kind == "b" else 0.0 if dtype.kind == "f" else 0, dtype)
            # a position may itself be read from memory, at a position that needs a test of its own
            loads = [e for e in subexpressions(expr) if isinstance(e, Load) and ix.bounds(e.index) is not None]
            return ix.select(ix.all_of([ix.in_range(e.index, 0, sizes[e.buffer]) for e in loads]), expr, zero)
        case Call("select", (condition, *sides), dtype):
            return Call("select", (guard_loads(condition, sizes), *sides), dtype)
        case Call(op, args, dtype):
            return Call(op, tuple(guard_loads(a, sizes) for a in args), dtype)
        case _:
            return expr
