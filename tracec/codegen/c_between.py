"""Two matrix products with rows between them, as of attention: one function that computes all three, strip by strip.

A few rows of the first product are made, what the kernel between makes of them (scaled, masked, their softmax) takes
their place, and they are multiplied by the second product's other factor. The rows stay in the second-level cache, and
what no row of a strip takes notice of, as the keys behind its last query, is not computed. The other factors are packed
into panels, those of some matrices at a time; rows are read as they lie.

Source: Dao et al., "FlashAttention", 2022, whose order of computing this is but for the softmax: rows here are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracec.codegen.c_blocking import MIN_PARALLEL
from tracec.codegen.c_dialect import TYPES, C
from tracec.codegen.c_library import CORES
from tracec.codegen.c_loops import LoopWriter, chain, hoist, written_names
from tracec.codegen.c_select import mask_selections
from tracec.codegen.c_source import (
    Around,
    Function,
    Head,
    Parameter,
    Piece,
    Statement,
    comments,
    parameters,
    plain_call,
    value,
)  # fmt: skip
from tracec.codegen.c_tiles import rebuilt
from tracec.codegen.c_unseen import diagonal
from tracec.codegen.render import render_template
from tracec.codegen.tree import Block, loop
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.extent import is_varying
from tracec.ir.kernel import (
    Acc,
    Call,
    Expr,
    Kernel,
    Let,
    Load,
    Loop,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    subexpressions,
)  # fmt: skip
from tracec.ir.plan import Launch, LibraryCall, Plan, Step
from tracec.ir.types import contiguous_strides, numel

#: Rows of a strip at most, and at least; and bytes that they should have.
MOST_ROWS, LEAST_ROWS, STRIP_BYTES = 64, 16, 512 << 10
#: Units of work that there should be, of so many rows at least. Each packs the other factors for itself, so that
#: threads wait for each other but once. Where more than two units would pack the same factors, or these have more
#: bytes, all threads pack them before.
UNITS, LEAST_UNIT, PACKED_BYTES = max(16, 4 * CORES), 128, 4 << 20
#: Sizes, and scores of a matrix, below which products of their own are as fast; and what rows are the sums of, and
#: columns of the result, from which on these run at the processor's rate by themselves.
LEAST_SIZE, LEAST_SCORES, MOST_WIDTH = 8, 2048, 256
#: Lanes of a panel, of float32 where vectors are longest; and how many times as many a matrix may have in its panels.
LANES, MOST_ROOM = 32, 1.4
_Gemm = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Between:
    """Steps of a plan that are computed as one.

    Attributes:
        steps: Their numbers.
        kernel: The kernel between the products.
        args: The values of its buffers.
        scores: Its buffer of the rows.
        first, second: Parameters of the products.
        values: The first factor, the second, the third, and the result.
    """

    steps: tuple[int, ...]
    kernel: int
    args: tuple[int, ...]
    scores: str
    first: tuple[tuple[str, Any], ...]
    second: tuple[tuple[str, Any], ...]
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Strips:
    """How they are computed, ready to be written.

    Attributes:
        short: ``f32`` or ``f64``.
        batch, rows, lanes, depth, width: Sizes: rows by depth, depth by lanes, lanes by width.
        strip: Rows at a time.
        group: Strips of a unit of work.
        heads: Matrices whose factors are packed before; 0 where each unit packs them.
        diagonal: A row takes no notice of lanes that are more than so many behind its own number.
        divided: Whether each row leaves a number behind its lanes that its result is divided by, as C.
        shared: Whether threads share the work, as C.
        axes: Of the batch: each one's extent, and how far it moves the three factors.
        offsets: Elements in front of the factors.
        pitches: From one row of each, as it lies, to the next.
        turned: Whether the second and the third factor lie turned, as C.
    """

    short: str
    batch: int
    rows: int
    lanes: int
    depth: int
    width: int
    strip: int
    group: int
    heads: int
    diagonal: int
    divided: int
    shared: int
    axes: tuple[tuple[int, ...], ...]
    offsets: tuple[int, ...]
    pitches: tuple[int, ...]
    turned: tuple[int, int]

    @property
    def loops(self) -> str:
        """The function that has the loops."""
        return f"between_{self.short}"


# Which steps ----------------------------------------------------------------------------------------------


def find(plan: Plan) -> dict[int, Between]:
    """The steps of a plan that are computed as one, by the first one's number."""
    found: dict[int, Between] = {}
    for n in range(len(plan.steps) - 2):
        one = _between(plan, n, plan.steps[n : n + 3])
        if one is not None:
            found[n] = one
    return found


def _between(plan: Plan, number: int, steps: Sequence[Step]) -> Between | None:
    first, launch, second = steps
    if not isinstance(first, LibraryCall) or not isinstance(second, LibraryCall) or not isinstance(launch, Launch):
        return None
    if (first.routine, second.routine) != ("gemm", "gemm") or len(launch.args) != 1 or launch.sizes:
        return None
    scores, kernel, args = first.output, plan.kernels[launch.kernel], launch.args[0]
    held = plan.values[scores]
    if (held.place, held.first, held.last) != ("arena", number, number + 2) or args.count(scores) != 1:
        return None
    buffer = kernel.buffers[args.index(scores)]
    one, other = dict(first.params), dict(second.params)
    if second.inputs[0] != scores or second.inputs[1] == scores or buffer.role != "inout" or kernel.shape != "row":
        return None
    if not _fit(one, other) or not _lies_in_rows(kernel, buffer.name, one):
        return None
    factors = (*first.inputs, second.inputs[1])
    written = {second.output, *(a for a, b in zip(args, kernel.buffers, strict=True) if b.role != "in")} - {scores}
    touched = {*factors, *args, second.output}
    if not written.isdisjoint(factors) or second.output in args:
        return None
    if any(_overlap(plan, w, t) for w in written for t in touched - {w}):
        return None
    return Between(
        (number, number + 1, number + 2), launch.kernel, args, buffer.name, first.params, second.params,
        (*factors, second.output),
    )  # fmt: skip


def _fit(first: _Gemm, second: _Gemm) -> bool:
    """Whether the second product's rows are those of the first, as they lie, and what is read is worth packing."""
    sizes = (*first["batch"], first["m"], first["n"], first["k"], second["n"])
    if is_varying(sizes) or is_varying((*first.values(), *second.values())):
        return False
    rows = (second["batch"], second["m"], second["k"], second["lda"], second["a_offset"], second["trans_a"])
    if rows != (first["batch"], first["m"], first["n"], first["n"], 0, False) or first["trans_a"]:
        return False
    strides = contiguous_strides((*first["batch"], first["m"] * first["n"]))
    if any(n > 1 and a != b for n, a, b in zip(first["batch"], second["a_batch"], strides, strict=False)):
        return False
    narrow = max(first["k"], second["n"]) <= MOST_WIDTH
    filled = all(-(-n // LANES) * LANES <= MOST_ROOM * n for n in (first["n"], second["n"]))
    large = min(sizes[-4:]) >= LEAST_SIZE and first["m"] * first["n"] >= LEAST_SCORES
    return first["dtype"] is second["dtype"] and narrow and filled and large


def _lies_in_rows(kernel: Kernel, scores: str, product: _Gemm) -> bool:
    """Whether a kernel works on each row by itself, one behind the other, and in it on each element in its place."""
    if len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop) or kernel.body[0].kind != "parallel":
        return False
    loops, body = chain(kernel.body[0])
    variables = [s.var for s in loops]
    batch, rows, lanes = numel(product["batch"]), product["m"], product["n"]
    if numel(v.extent for v in variables) != batch * rows or variables[-1].extent % rows:
        return False
    strides = contiguous_strides((*(v.extent for v in variables), lanes))
    want = {v: s for v, s in zip(variables, strides, strict=False) if v.extent > 1}
    found = False
    for s in body:
        inside = s.body if isinstance(s, Loop) else (s,)
        if (isinstance(s, Loop) and s.var.extent != lanes) or any(isinstance(x, Loop) for x in inside):
            return False
        for index in _indices(inside, scores):
            if not isinstance(s, Loop) or ix.terms_of(index) != ({**want, s.var: 1}, 0):
                return False
            found = True
    return found


def _indices(body: Iterable[Stmt], buffer: str) -> list[Expr]:
    """Where a buffer is read and written."""
    found: list[Expr] = []
    for s in body:
        if isinstance(s, Store) and s.buffer == buffer:
            found.append(s.index)
        within = (e for root in expressions(s) for e in subexpressions(root))
        found += [e.index for e in within if isinstance(e, Load) and e.buffer == buffer]
    return found


def _overlap(plan: Plan, a: int, b: int) -> bool:
    """Whether two values may have memory in common for some sizes."""
    one, other = plan.values[a], plan.values[b]
    varies = is_varying((one.offset, other.offset, one.type.shape, other.type.shape))
    return a == b or (varies and one.place == other.place == "arena") or plan.overlap(a, b)


# How they are written -------------------------------------------------------------------------------------


def render(plan: Plan, one: Between, name: str, *, restrict: bool) -> Function:
    """The function that computes the steps, named ``name``."""
    kernel, first, second = plan.kernels[one.kernel], dict(one.first), dict(one.second)
    dtype = first["dtype"]
    batch, rows, lanes = numel(first["batch"]), first["m"], first["n"]
    body, ahead = _rows(kernel, one.scores, first)
    later = divided_later(body, one.scores)
    others = [b for b in kernel.buffers if b.name != one.scores]
    given = parameters(replace(kernel, buffers=tuple(others)), restrict=restrict)
    type_ = TYPES[dtype]
    factors = (Parameter(f"const {type_} *", n) for n in ("first", "second", "third"))
    head = Head(name, (*factors, Parameter(f"{type_} *", "out"), *given), comments(kernel))
    pointers = [f"{p.type}a{n} = own->args[{n}]" for n, p in enumerate(given)]
    names = {b.name: f"a{n}" for n, b in enumerate(others)} | {one.scores: "scores"}
    piece = Piece("between", _piece(kernel, later or body, first, names, pointers), tuple(p.name for p in given))
    strip = _strip(lanes * dtype.itemsize)
    group, heads = _units(batch, -(-rows // strip), rows, lanes * (first["k"] + second["n"]) * dtype.itemsize)
    strips = Strips(
        short=dtype.short, batch=batch, rows=rows, lanes=lanes, depth=first["k"], width=second["n"],
        strip=strip, group=group, heads=heads,
        diagonal=lanes if ahead is None else ahead, divided=int(later is not None),
        shared=int(batch * rows * lanes * (first["k"] + second["n"]) >= MIN_PARALLEL),
        axes=tuple(
            axis for axis in zip(first["batch"], first["a_batch"], first["b_batch"], second["b_batch"], strict=True)
            if axis[0] > 1
        ),
        offsets=(first["a_offset"], first["b_offset"], second["b_offset"]),
        pitches=(first["lda"], first["ldb"], second["ldb"]),
        turned=(int(first["trans_b"]), int(second["trans_b"])),
    )  # fmt: skip
    return Function(head, around=Around("c/between_call.j2", strips, (piece,)), calls=(strips.loops,), asks=True)


def call(plan: Plan, one: Between, name: str) -> Statement:
    """The call in the entry."""
    buffers = plan.kernels[one.kernel].buffers
    others = [a for a, b in zip(one.args, buffers, strict=True) if b.name != one.scores]
    return plain_call(name, *(value(plan, v) for v in (*one.values, *others)))


def _strip(row_bytes: int) -> int:
    """Rows of a strip: as many as stay in the second-level cache beside a panel of either factor."""
    return max(LEAST_ROWS, min(MOST_ROWS, STRIP_BYTES // row_bytes // 8 * 8))


def _units(batch: int, strips: int, rows: int, packed: int) -> tuple[int, int]:
    """Strips of a unit of work, and matrices whose other factors are packed before; results do not depend on them."""
    count = max(1, min(-(-UNITS // batch), rows // LEAST_UNIT))
    if count > 2 or packed > PACKED_BYTES:
        return 1, max(1, min(batch, PACKED_BYTES // packed))
    return -(-strips // count), 0


def _rows(kernel: Kernel, scores: str, product: _Gemm) -> tuple[tuple[Stmt, ...], int | None]:
    """What is done with a row whose scores lie in an array of their own, and its diagonal, if it has one."""
    (nest,) = kernel.body
    assert isinstance(nest, Loop)
    loops, body = chain(nest)

    def in_row(stmts: tuple[Stmt, ...], element: Var | None) -> tuple[Stmt, ...]:
        def change(e: Load) -> Expr:
            return Load(scores, element, e.dtype) if e.buffer == scores and element is not None else e

        found: list[Stmt] = []
        for s in stmts:
            match s:
                case Loop(var, inner, kind):
                    s = Loop(var, in_row(inner, var), kind)
                case Let(name, e):
                    s = Let(name, rebuilt(e, change))
                case Update(name, e):
                    s = Update(name, rebuilt(e, change))
                case Store(buffer, index, e, add):
                    at = element if buffer == scores and element is not None else index
                    s = Store(buffer, at, rebuilt(e, change), add)
            found.append(s)
        return tuple(found)

    row, inside = loops[-1].var, in_row(body, None)
    return inside, diagonal(inside, row, scores) if row.extent == product["m"] else None


def _piece(kernel: Kernel, body: tuple[Stmt, ...], product: _Gemm, names: dict[str, str], pointers: list[str]) -> str:
    """The statements that go over the rows of a strip."""
    nest = kernel.body[0]
    assert isinstance(nest, Loop)
    variables = [s.var for s in chain(nest)[0]]
    masked = mask_selections(replace(kernel, body=body)).body
    moved = hoist(masked, written_names(masked))
    writer = _RowWriter(kernel)
    writer.text.names.update(names | {"behind": "pitch - 1"})
    *outer, row = variables
    strides = contiguous_strides(tuple(v.extent for v in variables))
    at, rows = f"b->batch * {product['m']}", product["m"]
    digits = [
        f"const long {writer.text.name(v.name)} = {at} / {s} % {v.extent};"
        for v, s in zip(outer, strides, strict=False)
    ]
    digits.append(f"const long begin = {f'{at} % {row.extent}' if row.extent != rows else 0};")
    return render_template(
        "c/between_rows.j2", pointers=pointers, digits=digits, row=writer.text.name(row.name), scores="scores",
        type=TYPES[product["dtype"]], body=writer.body(moved),
    )  # fmt: skip


def divided_later(body: tuple[Stmt, ...], scores: str) -> tuple[Stmt, ...] | None:
    """A softmax whose exponentials stay as they are, and its sum behind them; None for rows that are no softmax.

    The result's elements are divided, of which there are fewer. Exponentials are 1 at most, as of differences to the
    largest element, so that sums of products with them are no larger than those with weights times a row's length.
    """
    *before, last = body
    if not isinstance(last, Loop) or len(last.body) != 3 or sum(isinstance(s, Acc) for s in before) != 2:
        return None
    match last.body:
        case (Let(a, Load(array, at, _)), Let(b, Call("div", (Ref(c), divisor), _)), Store(buffer, to, Ref(d), False)):
            if not (a == c and b == d and at == to == last.var and buffer == scores) or not isinstance(divisor, Ref):
                return None
        case _:
            return None
    *before, made = [s for s in before if not (isinstance(s, Scratch) and s.name == array)]
    after: list[Stmt] = []
    while not isinstance(made, Loop) and before:  # what makes sure of the sum
        after.insert(0, made)
        *before, made = before
    if array == scores or not isinstance(made, Loop) or not _makes_exponentials(made, array):
        return None
    stores = (replace(s, buffer=scores) if isinstance(s, Store) else s for s in made.body)
    behind = Store(scores, Ref("behind", dt.int64), divisor)
    return (*before, replace(made, body=tuple(stores)), *after, behind)


def _makes_exponentials(made: Loop, array: str) -> bool:
    """Whether a loop stores exponentials of differences to what is one for the row, and stores nothing else."""
    values = {s.name: s.value for s in made.body if isinstance(s, Let)}
    stores = [s for s in made.body if isinstance(s, Store)]
    if len(stores) != 1 or (stores[0].buffer, stores[0].index, stores[0].add) != (array, made.var, False):
        return False
    value = stores[0].value
    exponential = values.get(value.name) if isinstance(value, Ref) else value
    if not isinstance(exponential, Call) or exponential.op != "exp":
        return False
    (inner,) = exponential.args
    difference = values.get(inner.name) if isinstance(inner, Ref) else inner
    return (
        isinstance(difference, Call) and difference.op == "sub"
        and isinstance(difference.args[1], Ref) and difference.args[1].name not in values
    )  # fmt: skip


class _RowWriter(LoopWriter):
    """Writes what is done with a row, as far along it as is taken notice of."""

    def loop(self, stmt: Loop) -> Block:
        name = self.text.name(stmt.var.name)
        return loop(C.index, name, "seen", self.body(stmt.body), pragmas=(self.simd(stmt.body),))
