"""Programs from seeds: a function over arguments and surroundings, and calls of it with changes in between."""

from __future__ import annotations

import random
from collections.abc import Callable

#: What a program may depend on; each has some of them.
FEATURES = (
    "leaf", "buffer", "box", "items", "table", "counter", "number", "flag", "module", "optimizer", "helper",
    "compiled helper", "generator", "random", "branches", "backward", "python state", "array", "default", "shown",
    "objects", "structured", "sizes", "metrics", "draws",
)  # fmt: skip
_SIZES = ("2, 3", "2, 3", "3", "4, 3", "3, 3", "1, 3", "0, 3", "", "2, 2, 3")
_TYPES = ("np.float64", "np.int64", "np.float16", "np.int32")


class Program:
    """Writes one program.

    Args:
        seed: What all choices follow from.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.depth = 1
        self.fresh = 0
        self.names: list[str] = []
        self.has = set(self.rng.sample(FEATURES, self.rng.randint(2, 7)))
        if "optimizer" in self.has:
            self.has |= {"leaf", "backward"}
        if self.chance(0.4):
            self.has.add("leaf")
        self.outer = ["w"] * ("leaf" in self.has) + ["s"] * ("buffer" in self.has)
        self.arguments = self.rng.choice((1, 1, 2, 2, 3))
        #: What the last argument is wrapped in, if in anything.
        self.wrapped = self.rng.choice(("Pair({})", "{{'t': {}, 'by': 2.0}}", "[{}, 2.0]", "boxed({})")) * (
            "objects" in self.has
        )

    # Text -----------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The program: a function of `prelude.Run`."""
        self.lines.append("def program(run):")
        self.surroundings()
        self.function()
        self.calls()
        return "\n".join(self.lines) + "\n"

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def block(self, head: str, *body: str | Callable[[], None]) -> None:
        self.put(head)
        self.depth += 1
        known = len(self.names)
        for part in body:
            part() if callable(part) else self.put(part)
        del self.names[known:]
        self.depth -= 1

    def new(self) -> str:
        self.fresh += 1
        return f"t{self.fresh}"

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def number(self) -> str:
        return self.rng.choice(("0.5", "2.0", "-1.0", "1", "2", "0.25", "True", "-2"))

    def seed(self) -> int:
        return self.rng.randint(0, 9)

    # Surroundings ---------------------------------------------------------------------------------------

    def surroundings(self) -> None:
        """What the function closes over."""
        has, put = self.has, self.put
        if "leaf" in has:
            put("w = data(2, 3, seed=1, grad=True)")
        if "buffer" in has:
            put("s = data(2, 3, seed=2)")
        if has & {"box", "number", "flag"}:
            put("box = Box()")
            put("box.k, box.on, box.t = 2.0, True, data(2, 3, seed=3)")
        if "items" in has:
            put("items = [0.5, data(2, 3, seed=4)]")
        if "table" in has:
            put("table = {'a': 0.5, 'b': data(2, 3, seed=5)}")
        if "counter" in has:
            put("n = 1")
        if "array" in has:
            put("array = np.ones(3, np.float32)")
        if "module" in has:
            put("m = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))")
            put("for k, p in enumerate(m.parameters()):")
            put("    p.data = data(*p.shape, seed=k)")
        if "optimizer" in has:
            kind = self.rng.choice(("SGD([w], lr=0.5)", "SGD([w], lr=0.5, momentum=0.5)", "Adam([w], lr=0.5)"))
            put(f"opt = tracec.optim.{kind}")
        if "generator" in has:
            put("gen = tracec.Generator().manual_seed(7)")
        if has & {"helper", "compiled helper"}:
            self.helper()

    def helper(self) -> None:
        self.names = ["a"]
        self.block("def helper(a):", self.step, self.step, lambda: self.put(f"return {self.tensor()}"))
        if "compiled helper" in self.has:
            self.put("helper = run.wrap(helper)")

    # The function ---------------------------------------------------------------------------------------

    def function(self) -> None:
        """The function that is compiled."""
        self.parameters = ["x", "y", "z"][: self.arguments]
        self.names = [*self.parameters]
        extra = ", k=2.0" if "default" in self.has else ""
        count = self.rng.randint(2, 8)
        state = ["nonlocal n"] if "counter" in self.has and "python state" in self.has else []
        head = f"def f({', '.join(self.parameters)}{extra}):"
        opened = f"{self.parameters[-1]} = opened({self.parameters[-1]})"
        self.block(head, *state, *[opened] * bool(self.wrapped), *[self.step] * count, self.result)
        self.put("f = run.wrap(f)")

    def result(self) -> None:
        parts = [self.tensor(0.7) for _ in range(self.rng.randint(1, 3))]
        if "leaf" in self.has and self.chance(0.3):
            parts[0] = "x * fit(w, x)"
        form = self.rng.choice(("{0}", "({0},)", "[{0}]", "{{'r': [{0}], 'n': 3}}", "({0}, None, 1.5)"))
        self.put("return " + form.format(", ".join(parts)))

    def variable(self) -> str:
        """A tensor that is at hand, rather a late one."""
        pool = self.names[-3:] + self.names + self.outer
        if "box" in self.has:
            pool = [*pool, "box.t"]
        return "w" if "leaf" in self.has and self.chance(0.15) else self.rng.choice(pool)

    def tensor(self, plain: float = 0.3) -> str:
        """An expression for a tensor."""
        v = self.variable()
        if self.chance(plain):
            return v
        kinds: list[Callable[[str], str]] = [self.arithmetic, self.arithmetic, self.view, self.view, self.read]
        if self.has & {"random", "generator"}:
            kinds.append(self.drawn)
        return self.rng.choice(kinds)(v)

    def arithmetic(self, v: str) -> str:
        c, u = self.number(), self.variable()
        if "leaf" in self.has and self.chance(0.2):
            return self.rng.choice((f"{v} * fit(w, {v})", f"fit(w, {v}) * {v} * {v}", f"(fit(w, {v}) * {v}).relu()"))
        return self.rng.choice((
            f"{v} * {c}", f"{v} + {c}", f"{c} - {v}", f"{v} + fit({u}, {v})", f"{v} * fit({u}, {v})",
            f"tracec.maximum({v}, fit({u}, {v}))", f"tracec.where({v} > 0, {v}, fit({u}, {v}))", f"{v}.abs()",
            f"{v}.sum()", f"{v}.clamp(-4, 4)", f"flat({v}).cumsum(0)", f"tracec.cat([flat({v}), flat({u})])",
            f"tracec.stack([{v}, {v}])", f"{v}.clone()", f"{v}.to(tracec.float64)", f"{v}.float()", f"{v} > 0.3",
            f"{v}.detach()", f"flat({v}).sort()[0]", f"flat({v})[tracec.arange(2) % {v}.numel()]", f"{v} * 1",
            f"({v} * fit({u}, {v})).sum()", f"{v}.relu()",
        ))  # fmt: skip

    def view(self, v: str) -> str:
        i = self.rng.randint(0, 3)
        return self.rng.choice((
            f"flat({v})", f"row({v}, {i})", f"rest({v}, {i})", f"{v}[...]", f"{v}.unsqueeze(0)", f"{v}[..., 0:2]",
            f"{v}.transpose(0, -1)", f"{v}.detach()", f"{v}.flip(0)", f"{v}[::2]", f"{v}.view({v}.shape)",
            f"{v}.contiguous()", f"{v}.expand(2, *{v}.shape)", f"{v}.chunk(2)[0]", f"{v}.squeeze(0)",
            f"{v}.movedim(0, -1)",
        ))  # fmt: skip

    def read(self, v: str) -> str:
        """An expression over what stands around the function."""
        has = self.has
        found = ["{v} + float({v}.requires_grad)", "{v} * {v}.dim()", "{v} + {v}.numel()"]
        if has & {"box", "number"}:
            found += ["{v} * box.k"] * 2
        if "flag" in has:
            found += ["({v} if box.on else {v} * 2)", "({v} + 1 if box.on else {v})"]
        if "items" in has:
            found += ["{v} * items[0]", "{v} + len(items)", "{v} + fit(items[1], {v})", "items[-1]"]
        if "table" in has:
            found += ["{v} * table['a']", "{v} + len(table)", "table['b']", "{v} * list(table.values())[0]"]
        if "counter" in has:
            found += ["{v} * n"]
        if "array" in has:
            found += ["{v} * float(array[0])", "{v} + array.sum()"]
        if "module" in has:
            found += [
                "m(data(4, 3, seed=8))",
                "m(flat({v})[:3].expand(3, 3).float() + data(3, 3, seed=8))",  # rows of one variance are rounding alone
                "({v} if m.training else {v} * 2)",
            ]
        if has & {"helper", "compiled helper"} and "a" not in self.names:  # it does not call itself
            found += ["helper({v})"] * 3
        if "sizes" in has:
            found += [
                "{v} * ({v}.shape[0] if {v}.dim() else 1)",
                "{v} / math.sqrt({v}.numel() + 1)",
                "{v} + len(flat({v}))",
            ]
            found += ["{v} * (2 if {v}.numel() % 2 else 3)", "flat({v}).view(-1, 1)", "{v}.new_zeros({v}.shape) + {v}"]
        if "structured" in has:
            found += [
                "tracec.func.cond({v}.sum() > 0.3, lambda a: a * 2, lambda a: a - 1, ({v},))",
                "tracec.func.cond({v}.sum() > 0.3, lambda a: a, lambda a: a.flip(0) if a.dim() else a, ({v},))",
                "tracec.func.cond({v}.sum() > 0.3, lambda a: flat(a)[:2], lambda a: a * a, ({v},))",
                "tracec.func.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a - 1), (tracec.tensor(0), {v}))[1]",
                "tracec.func.scan(lambda c, a: (c + a, c * a), flat({v})[:1].sum(), flat({v}))[1]",
            ]
        if "default" in has:
            found += ["{v} * k", "{v} + k"]
        if "leaf" in has:
            found += ["({v} if w.grad is None else {v} + fit(w.grad, {v}))"]
        if "python state" in has:
            found += ["{v} * {v}.sum().item()", "{v} + len({v}.tolist() if {v}.dim() else [])"]
        if "metrics" in has:
            found += [
                "{v} * float({v}.sum())",
                "{v} * int({v}.sum().item() * 0 + 2)",
                "{v} * max(float({v}.sum()), 1.0)",
                "tracec.from_numpy({v}.detach().double().numpy().copy()) * 1",
                "tracec.tensor({v}.detach().numpy())",
                "opened(boxed({v}))",
            ]
        if "draws" in has:
            found += [
                "{v} * random.random()",
                "{v} + np.random.rand()",
                "({v} if random.random() < 0.5 else {v} * 2)",
                "{v} + tracec.as_tensor(np.random.randn(1))",
                "{v} * random.choice([1.0, 2.0])",
            ]
        return self.rng.choice(found).format(v=v)

    def drawn(self, v: str) -> str:
        by = ", generator=gen" if "generator" in self.has and (self.chance(0.7) or "random" not in self.has) else ""
        found = [
            f"{v} + tracec.randint(0, 5, (3,){by}).sum()",
            f"tracec.randperm(3{by}) * 0.5",
            f"tracec.rand(2, 3{by})",
        ]
        if not by:
            found += [f"nn.functional.dropout({v}.float(), 0.5)", f"tracec.randn(2, 3) + {v}.sum()"]
            found += [f"tracec.bernoulli(tracec.full((2, 3), 0.5)) + {v}.sum()"]
        return self.rng.choice(found)

    # Statements -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """One statement, or a few within a block."""
        kinds: list[Callable[[], None]] = [self.assign] * 4 + [self.rebind, self.write, self.write, self.guarded]
        if "branches" in self.has:
            kinds += [self.branch, self.branch, self.loop]
        if "backward" in self.has:
            kinds += [self.backward, self.backward]
        if "python state" in self.has:
            kinds += [self.python_state] * 2
        if self.outer:
            kinds += [self.change_outer]
        if "shown" in self.has:
            kinds += [self.show]
        if "structured" in self.has:
            kinds += [self.attempt]
        if "random" in self.has and self.chance(0.2):
            kinds = [self.reseed]
        if self.depth > 3:
            kinds = [self.assign, self.write, self.rebind]
        self.rng.choice(kinds)()

    def assign(self) -> None:
        expression, name = self.tensor(0.1), self.new()
        self.put(f"{name} = {expression}")
        self.names.append(name)

    def show(self) -> None:
        v = self.variable()
        self.put(self.rng.choice((f"print({v}.shape, 'shown')", f"print({v}.detach())", f"print({v}.sum().item())")))

    def attempt(self) -> None:
        v, name = self.rng.choice(self.names), self.new()
        self.put(f"{name} = {v}")
        self.block("try:", f"{name} = {v}.view(2, 3) * 2")
        self.block("except RuntimeError:", f"{name} = {v} * 3")
        self.names.append(name)

    def rebind(self) -> None:
        name = self.rng.choice(self.names)
        self.put(f"{name} = {self.tensor(0.0)}")

    def write(self) -> None:
        v, u, c = self.rng.choice(self.names), self.variable(), self.number()
        if "leaf" in self.has and self.chance(0.3):  # whose gradient needs what is written over
            name = self.new()
            self.put(f"{name} = {v} * fit(w, {v})")
            self.names.append(name)
        self.put(self.rng.choice((
            f"{v}.mul_({c})", f"{v}.add_(fit({u}, {v}))", f"{v}.copy_(fit({u}, {v}))", f"row({v}, 1).zero_()",
            f"{v}[...] = {c}", f"{v} += {c}", f"{v}[{v} > 0] = {c}", f"rest({v}, 1).copy_({u}.sum())", f"{v}.relu_()",
            f"flat({v})[:1].fill_({c})", f"{v}.t_()" if self.chance(0.1) else f"{v}.neg_()",
        )))  # fmt: skip

    def guarded(self) -> None:
        head = self.rng.choice(("with tracec.no_grad():", "with tracec.no_grad():", "with tracec.enable_grad():"))
        self.block(head, self.assign_outside, self.step)

    def assign_outside(self) -> None:
        self.put(f"{self.rng.choice(self.names)} = {self.tensor(0.0)}")

    def branch(self) -> None:
        v = self.variable()
        conditions = [f"{v}.sum() > 0.3", f"{v}.numel() > 3", f"({v} > 0.3).any()", f"{v}.sum().item() > 1.3"]
        conditions += ["box.k > 1"] * bool(self.has & {"box", "number"}) + ["box.on"] * ("flag" in self.has)
        conditions += ["k > 1"] * ("default" in self.has and self.names[0] == "x")
        conditions += ["n > 2"] * ("counter" in self.has)
        self.block(f"if {self.rng.choice(conditions)}:", self.step, *[self.leave] * self.chance(0.15))
        if self.chance(0.5):
            self.block("else:", self.step, *[self.leave] * self.chance(0.15))

    def leave(self) -> None:
        self.put(self.rng.choice((f"return {self.tensor()}", "raise ValueError('left')", f"return {self.tensor()}, 1")))

    def loop(self) -> None:
        v = self.rng.choice(self.names)
        if self.chance(0.4):
            self.block("for _ in range(3):", f"if {v}.sum() > 4.3:", "    break", f"{v} = {v} + 1", self.step)
        elif "items" in self.has:
            self.block("for item in items:", f"{v} = {v} * (item if isinstance(item, float) else 1)")
        else:
            self.block(f"for i in range(int({v}.numel()) % 4):", f"{v} = {v} + i")

    def backward(self) -> None:
        v = self.variable()
        found = [f"if {v}.requires_grad:\n    ({v} * {v}).sum().backward()"] * 2
        if "leaf" in self.has:
            found += ["(w * fit(x, w)).sum().backward()", "w.grad = None", "if w.grad is not None:\n    w.grad.zero_()"]
            found += [
                "if w.grad is not None:\n    w.data.sub_(w.grad)",
                "if w.grad is not None:\n    w.data = w.data - w.grad",
            ]
        if "optimizer" in self.has:
            found += ["opt.zero_grad()\n(w * fit(x, w)).sum().backward()\nopt.step()"] * 3
        for line in self.rng.choice(found).split("\n"):
            self.put(line)

    def change_outer(self) -> None:
        v, u = self.rng.choice(self.outer), self.variable()
        line = self.rng.choice(
            (f"{v}.mul_(0.5)", f"{v}.add_(fit({u}, {v}).detach())", f"{v}[0] = 1.0", f"rest({v}, 1).zero_()")
        )
        self.block("with tracec.no_grad():", line)

    def python_state(self) -> None:
        v, has = self.tensor(0.5), self.has
        found = []
        if "box" in has:
            found += [f"box.t = {v}", "box.k += 1", "box.on = not box.on"]
        if has >= {"box", "metrics"}:
            found += [f"box.o = boxed({v})", f"box.m = float({v}.sum())", f"box.n = ({v}).detach().numpy()"]
        if "items" in has:
            found += [f"items.append({v})", "items[0] = items[0] * 2", f"items[-1] = {v}"]
        if "table" in has:
            found += [f"table['b'] = {v}", f"table['c'] = {v}", "table['a'] += 1"]
        if "counter" in has and self.names[0] == "x":
            found += ["n += 1"]
        self.put(self.rng.choice(found) if found else "pass")

    def reseed(self) -> None:
        self.put(f"tracec.manual_seed({self.seed()})")

    # Calls ----------------------------------------------------------------------------------------------

    def calls(self) -> None:
        """Calls, with changes between them."""
        ways = [self.arguments_way() for _ in range(self.rng.choice((1, 1, 1, 2)))]
        way = ways[0]
        for number in range(self.rng.randint(6, 12)):
            if number == 0 or self.chance(0.4):
                way = self.rng.choice(ways)
            self.call(number, way)
            if self.chance(0.25):  # gradients are those of the values that were
                self.put(f"run.attempt(write, {self.rng.choice(self.given_last)}, 1)")
                self.put(f"run.attempt(back, r{number})")
            for _ in range(self.rng.choice((0, 0, 0, 0, 1, 2))):
                self.change(number)
        self.put(f"run.see({', '.join(self.visible())})")

    def visible(self) -> list[str]:
        has = self.has
        names = [*self.outer, *["box"] * bool(has & {"box", "number", "flag"}), *["items"] * ("items" in has)]
        names += ["table"] * ("table" in has) + ["n"] * ("counter" in has)
        found = [f"{v}={v}" for v in names]
        if "module" in has:
            found += ["m=list(m.parameters())", "b=list(m.buffers())"]
        return [*found, "drawn=tracec.get_rng_state()"]

    def arguments_way(self) -> tuple[str, ...]:
        """How the arguments of calls are made: a base that they may look at, if any, and an expression for each."""
        rng, count = self.rng, self.arguments
        sizes = rng.choice(_SIZES)
        form = rng.choice(
            ("apart", "apart", "apart", "same", "views", "strided", "leaf", "inner", "outer", "types", "sizes")
        )
        fresh = f"data({sizes + ', ' if sizes else ''}seed=SEED)"
        if form == "same":
            return (fresh, *["BASE"] * count)
        if form == "views":
            pieces = ("[:2]", "[1:3]", "[2:]", "[::2]", ".t()", "[0]", "", "[:, 1]", ".view(-1)", "[...]")
            return ("data(4, 3, seed=SEED)", *[f"BASE{rng.choice(pieces)}" for _ in range(count)])
        if form == "outer" and self.outer:
            return ("", *[rng.choice((*self.outer, fresh)) for _ in range(count)])
        if form == "sizes":
            return ("", *["data(NUMBER % 4, 3, seed=SEED)"] * count)
        return ("", *[self.given(form, fresh) for _ in range(count)])

    def given(self, form: str, fresh: str) -> str:
        rng = self.rng
        if form == "strided":
            return "data(6, 4, seed=SEED)" + rng.choice(("[::2, ::2]", "[:3, :2]", ".t()[:3, :2].t()", "[:, 1:3][:3]"))
        if form in ("leaf", "inner"):
            return fresh.replace("seed", "grad=True, seed") + " * 2" * (form == "inner")
        if form == "types":
            return fresh[:-1] + f", dtype={rng.choice(_TYPES)})"
        return fresh

    def call(self, number: int, way: tuple[str, ...]) -> None:
        base, *parts = (p.replace("SEED", str(self.seed())).replace("NUMBER", str(number)) for p in way)
        if base:
            self.put(f"b{number} = {base}")
        names = []
        for k, part in enumerate(parts):
            expression = part.replace("BASE", f"b{number}")
            if number and self.chance(0.04):
                expression = f"first(r{number - 1}, {expression})"
            if not expression.isidentifier():
                self.put(f"a{number}_{k} = {expression}")
                expression = f"a{number}_{k}"
            names.append(expression)
        self.given_last = names
        wrapped = [*names[:-1], self.wrapped.format(names[-1])] if self.wrapped else names
        given = ", ".join(["f", *wrapped])
        if "default" in self.has and self.chance(0.4):
            given += f", k={self.rng.choice(('2.0', '3.0', '2', '0.5', 'True', 'data(seed=4)'))}"
        line = f"r{number} = run.attempt({given})"
        if self.chance(0.1):
            self.block("with tracec.no_grad():", line)
        else:
            self.put(line)
        seen = [f"r=r{number}", *([f"base=b{number}"] if base else [])]
        seen += [f"a{k}={v}" for k, v in enumerate(dict.fromkeys(names))]
        self.put(f"run.see({', '.join([*seen, *self.visible()])})")

    def change(self, number: int) -> None:
        """Something that happens between two calls."""
        has, rng = self.has, self.rng
        r, c = f"r{rng.randint(max(0, number - 1), number)}", self.number()
        found = [f"run.attempt(back, {r})"] * 2 + [f"run.attempt(write, {r}, 1)"] * 2
        found += [f"run.attempt(turn, {r}, -2)", f"run.attempt(write, {rng.choice(self.given_last)}, 1)"]
        found += [f"tracec.manual_seed({self.seed()})"] * bool(has & {"random", "module"})
        if has & {"box", "number"}:
            found += [f"box.k = {c}", "box.k = box.k", f"box.k = {c}"]
        if "box" in has:
            found += [f"box.t = data(2, 3, seed={self.seed()})", "box.extra = 1", "box.t = box.t.detach()"]
        if "flag" in has:
            found += ["box.on = not box.on", "box.on = 1"]
        if "items" in has:
            found += [
                f"items[0] = {c}",
                f"items.append({c})",
                "items = list(items)",
                f"items[1] = data(2, 3, seed={self.seed()})",
            ]
        if "table" in has:
            found += [
                f"table['a'] = {c}",
                "table['a'] = table.pop('a')",
                f"table['b'] = data(2, 3, seed={self.seed()})",
            ]
        if "counter" in has:
            found += ["n += 1", "n = 1"]
        if "array" in has:
            found += [f"array[0] = {c}", "array = np.full(3, 2.0, np.float32)"]
        if "leaf" in has:
            found += [
                "w.grad = None",
                "run.attempt(w.requires_grad_, not w.requires_grad)",
                "w.data = data(2, 3, seed=6)",
            ]
            found += ["w = data(2, 3, seed=7, grad=True)", "w.data.add_(1)", "w.grad = data(2, 3, seed=8)"]
        if "buffer" in has:
            found += [
                "s.data.add_(1)",
                "s = data(2, 3, seed=9)",
                "s = data(3, 2, seed=9).t()",
                "s = s[:1]",
                "run.attempt(s.requires_grad_)",
            ]
        if "module" in has:
            found += [
                "m.eval()",
                "m.train()",
                "m[0].bias.data.zero_()",
                "m[2].p = 0.25",
                "run.attempt(m[0].weight.requires_grad_, False)",
            ]
        if "optimizer" in has:
            found += ["opt.param_groups[0]['lr'] = 0.25", "opt.param_groups[0]['lr'] = 0.5", "opt.zero_grad()"]
        if "generator" in has:
            found += ["gen.manual_seed(7)", "gen = tracec.Generator().manual_seed(3)"]
        for line in rng.choice(found).split("\n"):
            self.put(line)


def program(seed: int) -> str:
    """The text of the program that a seed stands for."""
    return Program(seed).text()
