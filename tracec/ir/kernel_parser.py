"""Text to kernels."""

from __future__ import annotations

from collections.abc import Mapping

from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.kernel import (
    COMBINES,
    SCALAR_OPS,
    Acc,
    Buffer,
    Call,
    Const,
    Contraction,
    Div,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Mod,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
)
from tracec.ir.kernel_text import format_expr, result_dtype
from tracec.ir.tokens import DTYPES, Tokens, parse_source

LOOP_KINDS = ("parallel", "reduce", "each", "serial", "share")
ROLES = ("in", "out", "inout")


def parse_kernel(tokens: Tokens) -> Kernel:
    """Read one kernel, in the grammar of `tracec.ir.kernel` and `tracec.ir.kernel_text`.

    Raises:
        ParseError: the words are no kernel, or name what is not in scope.
    """
    return _KernelParser(tokens).kernel()


class _KernelParser:
    """Reads one kernel; knows the names in scope."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.arrays: dict[str, DType] = {}
        self.names: dict[str, Var | Ref] = {}
        self.seen: dict[str, Var | Ref] = {}

    def kernel(self) -> Kernel:
        t = self.tokens
        first = t.expect("kernel").line
        name = t.take("name", "the kernel's name").text
        buffers = self.buffers()
        shape = t.take("name", "the kernel's shape, such as map").text
        body = self.block()
        contraction = self.contraction() if t.at("contraction") else None
        notes = dict(self.notes(first, t.expect("}").line))
        sources = tuple(s for s in map(parse_source, notes.get("from", ())) if s)
        return Kernel(name, shape, buffers, body, contraction, sources, notes.get("ops", ()))

    def notes(self, first: int, last: int) -> Mapping[str, tuple[str, ...]]:
        """What the comments ``# ops:`` and ``# from:`` within these lines list."""
        found: dict[str, tuple[str, ...]] = {}
        for line, comment in self.tokens.comments.items():
            key, colon, rest = comment.partition(": ")
            if colon and first <= line <= last:
                found.setdefault(key, tuple(rest.split(", ")))
        return found

    def buffers(self) -> tuple[Buffer, ...]:
        t = self.tokens
        t.expect("(")
        buffers: list[Buffer] = []
        while not t.accept(")"):
            name = t.take("name", "a buffer's name").text
            t.expect(":")
            role = self.one_of(ROLES, "a role")
            buffer = Buffer(name, t.dtype(), t.shape(), role)
            self.arrays[name] = buffer.dtype
            buffers.append(buffer)
            if not t.at(")"):
                t.expect(",")
        return tuple(buffers)

    def one_of(self, known: tuple[str, ...], what: str) -> str:
        if self.tokens.next.text not in known:
            self.tokens.fail(f"{what}: {', '.join(known)}")
        return self.tokens.take("name", what).text

    def block(self) -> tuple[Stmt, ...]:
        """``{ stmt* }``, up to the closing brace or a contraction's mark; names in it go out of scope."""
        t = self.tokens
        t.expect("{")
        outer = dict(self.names)
        body: list[Stmt] = []
        while not t.at("}", "contraction"):
            body.append(self.statement())
        self.names = outer
        return tuple(body)

    def statement(self) -> Stmt:
        keyword = self.one_of(("for", "let", "acc", "update", "scratch", "store"), "a statement")
        match keyword:
            case "for":
                return self.loop()
            case "let":
                return self.let()
            case "store":
                return self.store()
            case "update":
                name = self.tokens.take("name", "an accumulator's name").text
                self.tokens.expect("<-")
                return Update(name, self.expr())
        name = self.tokens.take("name", "a name").text
        self.tokens.expect(":")
        dtype = self.tokens.dtype()
        if keyword == "scratch":
            self.tokens.expect("[")
            size = self.tokens.integer("a size")
            self.tokens.expect("]")
            self.arrays[name] = dtype
            return Scratch(name, dtype, size)
        self.tokens.expect("=")
        self.define(name, Ref(name, dtype))
        return Acc(name, self.one_of(COMBINES, "a combining operation"), dtype)

    def define(self, name: str, value: Var | Ref) -> None:
        self.names[name] = self.seen[name] = value

    def loop(self) -> Loop:
        t = self.tokens
        name = t.take("name", "a loop variable").text
        t.expect("in")
        var = Var(name, -1 if t.accept("?") else t.integer("an extent"))
        kind = self.one_of(LOOP_KINDS, "a loop's kind")
        before = self.names.get(name)
        self.define(name, var)
        body = self.block()
        t.expect("}")
        if before is None:
            del self.names[name]
        else:
            self.names[name] = before
        return Loop(var, body, kind)

    def let(self) -> Let:
        t = self.tokens
        token = t.take("name", "a name")
        t.expect(":")
        dtype = t.dtype()
        t.expect("=")
        value = self.expr()
        if value.dtype is not dtype:
            t.reject(f"{token.text} is declared {dtype.short} and its value is {value.dtype.short}", token.line)
        self.define(token.text, Ref(token.text, dtype))
        return Let(token.text, value)

    def store(self) -> Store:
        t = self.tokens
        buffer, index = self.element()
        add = t.at("+=")
        t.expect("+=" if add else "=")
        return Store(buffer, index, self.expr(), add)

    def element(self) -> tuple[str, Expr]:
        """``BUFFER[index]``."""
        t = self.tokens
        token = t.take("name", "a buffer's name")
        if token.text not in self.arrays:
            t.reject(f"there is no buffer {token.text!r}", token.line)
        t.expect("[")
        index = self.expr()
        t.expect("]")
        return token.text, index

    def contraction(self) -> Contraction:
        t = self.tokens
        t.expect("contraction")
        op = t.take("name", "the contraction's operator").text
        t.expect("(")
        t.expect("acc")
        t.expect("=")
        acc = t.take("name", "the accumulator's name").text
        groups: list[tuple[str, ...]] = []
        for group in ("batch", "m", "n", "k"):
            t.expect(",")
            t.expect(group)
            t.expect("=")
            groups.append(self.loop_names())
        t.expect(")")
        t.expect("{")
        # The factors are expressions of the innermost loop, whose names are out of scope here.
        self.names = dict(self.seen)
        factors = []
        for name in ("a", "b"):
            t.expect(name)
            t.expect("=")
            factors.append(self.expr())
        t.expect("}")
        batch, m, n, k = groups
        return Contraction(batch, m, n, k, factors[0], factors[1], acc, op)

    def loop_names(self) -> tuple[str, ...]:
        t = self.tokens
        t.expect("(")
        names: list[str] = []
        while not t.accept(")"):
            names.append(t.take("name", "a loop variable").text)
            if not t.at(")"):
                t.expect(",")
        return tuple(names)

    # Expressions: a sum of terms, each a coefficient times an atom with // and % behind it.

    def expr(self) -> Expr:
        t = self.tokens
        line = t.next.line
        sign = -1 if t.accept("-") else 1
        terms: dict[Expr, int] = {}
        offset = 0
        count = 0
        while True:
            coefficient, term = self.term()
            count += 1
            if isinstance(term, Const) and term.dtype is dt.int64:
                offset += sign * coefficient * int(term.value)
            elif count == 1 and sign == coefficient == 1 and not t.at("+", "-"):
                return term
            else:
                if term.dtype.kind not in "iu":
                    t.reject(f"{format_expr(term)} is {term.dtype.short}; only indices are added with + and -", line)
                terms[term] = terms.get(term, 0) + sign * coefficient
            if not t.at("+", "-"):
                break
            sign = 1 if t.accept("+") else -1 if t.accept("-") else 0
        return Linear(tuple(terms.items()), offset) if terms else Const(offset)

    def term(self) -> tuple[int, Expr]:
        t = self.tokens
        coefficient = 1
        if t.next.kind == "number" and t.after().text == "*":
            coefficient = t.integer()
            t.expect("*")
        value = self.atom()
        while t.at("//", "%"):
            divides = t.accept("//") or not t.accept("%")
            by = t.integer("a divisor")
            value = Div(value, by) if divides else Mod(value, by)
        return coefficient, value

    def atom(self) -> Expr:
        t = self.tokens
        if t.accept("("):
            inner = self.expr()
            t.expect(")")
            return inner
        if t.next.kind == "number":
            return Const(t.integer())
        if t.at("True", "False"):
            return Const(t.literal(), dt.bool_)
        if t.next.kind != "name":
            t.fail("an expression")
        follow = t.after().text
        if follow == "[":
            buffer, index = self.element()
            return Load(buffer, index, self.arrays[buffer])
        if follow == "(":
            return self.literal() if t.next.text in DTYPES else self.call()
        token = t.take("name", "a name")
        if token.text not in self.names:
            t.reject(f"{token.text!r} is not in scope", token.line)
        return self.names[token.text]

    def literal(self) -> Const:
        t = self.tokens
        dtype = t.dtype()
        t.expect("(")
        value = t.literal()
        t.expect(")")
        return Const(value, dtype)

    def call(self) -> Call:
        t = self.tokens
        token = t.take("name", "an operation")
        if token.text not in SCALAR_OPS:
            t.reject(f"there is no scalar operation {token.text!r}", token.line)
        t.expect("(")
        args: list[Expr] = []
        dtype: DType | None = None
        while not t.accept(")"):
            if t.next.text in DTYPES and t.after().text != "(":
                dtype = t.dtype()
            else:
                args.append(self.expr())
            if not t.at(")"):
                t.expect(",")
        dtype = dtype or result_dtype(token.text, tuple(args))
        if dtype is None:
            t.reject(f"{token.text} needs a dtype, as in {token.text}(x, f32)", token.line)
        return Call(token.text, tuple(args), dtype)
