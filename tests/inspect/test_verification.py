"""``verify=True`` finds faults that are put in on purpose, and none where there is none."""

from __future__ import annotations

import dataclasses
import logging
import re
import runpy
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

import tracec
from tracec import build, nn, optimize
from tracec.codegen import c as c_codegen
from tracec.errors import ReplayError
from tracec.inspect.left import same_text
from tracec.inspect.rounding import Expected, expected
from tracec.ir.graph import Graph
from tracec.ir.node import Node, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.parser import parse, parse_graph
from tracec.ir.passes import Pass, Pipeline
from tracec.plan import planner
from tracec.specialisations import standard_objects
from tracec.specialisations.effects import Effect


def f(x, y):
    a = (x + y) * 2
    b = tracec.sin(a)
    return b * y - tracec.exp(x)


def inputs():
    rng = np.random.default_rng(3)
    return [tracec.tensor(rng.standard_normal((5, 3)).astype(np.float32)) for _ in range(2)]


def line_of(text: str) -> int:
    with open(__file__) as file:
        return next(n for n, line in enumerate(file, 1) if text in line)


def failure(compiled, *args) -> ReplayError:
    compiled(*args)
    with pytest.raises(ReplayError) as caught:
        compiled(*args)
    return caught.value


@pytest.fixture
def dump(monkeypatch, tmp_path):
    monkeypatch.setenv("TRACEC_DUMP", str(tmp_path))
    return tmp_path


def with_cosines(graph: Graph) -> Graph:
    """A pass that takes the cosine for the sine."""
    cos = OPERATORS["cos"]
    return graph.map(lambda n: dataclasses.replace(n, op=cos) if n.op.name == "sin" else n)


def broken_pipeline(name: str) -> Pipeline:
    def broken(graph: Graph, run=None) -> Graph:
        return with_cosines(run(graph))

    passes = [Pass(p.name, (lambda g, r=p.run: broken(g, r)) if p.name == name else p.run) for p in optimize.PIPELINE]
    return Pipeline(*passes)


@pytest.mark.parametrize("name", ["fold", "simplify", "cse", "dce", "remat"])
def test_a_broken_pass_is_named(name, monkeypatch, dump):
    monkeypatch.setattr(optimize, "PIPELINE", broken_pipeline(name))
    error = failure(tracec.compile(f, verify=True), *inputs())
    assert error.stage == f"pass {name}"
    assert (error.source.line, Path(error.source.file).name) == (line_of("b = tracec.sin(a)"), "test_verification.py")
    text = str(error)
    assert re.match(
        r"f: a compiled call does not give what the function gives: result 0, element \[0, 0\], is -?\d", text
    )
    assert re.search(
        r"first in %\d+ = sin: f32\[5,3\]    at test_verification.py:\d+, element \[0, 0\], is .* eagerly", text
    )
    assert f"made wrong by pass {name}" in text and f"disable=['{name}']" in text


def test_a_rule_is_named(monkeypatch, dump):
    def pass_with_rule(graph: Graph) -> Graph:
        def rule(n: Node) -> Node:
            if n.op.name != "exp":
                return n
            with made_from(n.source, "rule exp_is_log"):
                return OPERATORS["expm1"](n.inputs[0])

        return graph.map(rule)

    monkeypatch.setattr(optimize, "PIPELINE", Pipeline(Pass("simplify", pass_with_rule)))
    error = failure(tracec.compile(f, verify=True), *inputs())
    assert error.stage == "pass simplify (rule exp_is_log)"
    assert error.source.line == line_of("return b * y - tracec.exp(x)")


def test_a_broken_lowering_is_named(monkeypatch, dump):
    sin = OPERATORS["sin"]
    before = sin.lower
    object.__setattr__(sin, "lower", OPERATORS["cos"].lower)
    try:
        error = failure(tracec.compile(f, verify=True), *inputs())
    finally:
        object.__setattr__(sin, "lower", before)
    assert error.stage == "lowering of sin" and error.source.line == line_of("b = tracec.sin(a)")


def test_a_broken_source_is_named(monkeypatch, dump):
    render = c_codegen.render

    def broken(plan):
        program = render(plan)
        return dataclasses.replace(program, units=tuple(u.replace("sinf(", "cosf(") for u in program.units))

    monkeypatch.setattr(build.c_codegen, "render", broken)
    args = inputs()
    error = failure(tracec.compile(f, verify=True), *args)
    assert re.fullmatch(r"source of kernel \w*sin\w*", error.stage), error.stage
    assert error.source.line == line_of("b = tracec.sin(a)")
    # The script shows the difference while the fault is there, and none in a compiler that is right.
    with pytest.raises(SystemExit) as shown:
        runpy.run_path(error.script, run_name="__main__")
    assert shown.value.code == 1
    done = subprocess.run([sys.executable, error.script], capture_output=True, text=True)
    assert done.returncode == 0 and "0 of 15 elements differ" in done.stdout, done.stderr
    assert Path(error.script).parent.parent == dump
    # Without verify nothing is noticed, and the result is another.
    plain = tracec.compile(f)
    plain(*args)
    assert not np.allclose(plain(*args).numpy(), f(*args).numpy())


def test_a_broken_step_of_planning_is_named(monkeypatch, dump):
    lower = planner.lower_group

    def broken(group, *rest):
        kernel, nodes = lower(group, *rest)
        if len(group.nodes) > 1:
            kernel = parse(str(kernel).replace("sin(", "cos("))
        return kernel, nodes

    monkeypatch.setattr(planner, "lower_group", broken)
    error = failure(tracec.compile(f, verify=True), *inputs())
    assert error.stage == "planning step fuse" and error.source.line == line_of("b = tracec.sin(a)")


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_faults_of_gradients_are_named(where, monkeypatch, dump):
    w = tracec.tensor([[1.0, 2.0], [0.5, -1.0]], requires_grad=True)

    def loss(x):
        hidden = tracec.tanh(x @ w)
        return (hidden * tracec.sin(x)).sum()

    name = {"forward": "tanhf(", "backward": "cosf("}[where]  # the cosine is the derivative of the sine
    render = c_codegen.render

    def broken(plan):
        program = render(plan)
        return dataclasses.replace(program, units=tuple(u.replace(name, "expf(") for u in program.units))

    monkeypatch.setattr(build.c_codegen, "render", broken)
    x = tracec.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    error = failure(tracec.compile(loss, verify=True), x)
    assert error.stage.startswith("source of kernel")
    assert error.message.split(": ")[2].startswith(
        "result 0" if where == "forward" else "gradient of result 0 by f32[2,2]"
    )


def test_gradients_by_leaves_that_the_function_makes_are_compared():
    def made(x):
        w = (x * 2).detach().requires_grad_()
        return w, (w * tracec.sin(x)).sum()

    compiled, x = tracec.compile(made, verify=True), tracec.ones(3)
    for _ in range(3):
        w, loss = compiled(x)
    loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), np.sin(x.numpy()), rtol=1e-6)
    assert compiled.explain().specialisations[0].hits == 2


def test_state_is_left_as_it_was_before_the_call(monkeypatch, dump):
    model = nn.Linear(3, 2)
    optimizer = tracec.optim.Adam(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = tracec.sin(model(x)).sum()
        loss.backward()
        optimizer.step()
        return loss

    monkeypatch.setattr(optimize, "PIPELINE", broken_pipeline("cse"))
    compiled = tracec.compile(step, verify=True)
    x = tracec.ones(4, 3)
    compiled(x)
    state = [*model.state_dict().values(), *optimizer.state_dict()["state"][0].values()]
    before, grads = [v.detach().numpy().copy() for v in state], [p.grad for p in model.parameters()]
    with pytest.raises(ReplayError) as caught:
        compiled(x)
    assert caught.value.stage == "pass cse"
    assert all(np.array_equal(v.detach().numpy(), b) for v, b in zip(state, before, strict=True))
    assert all(p.grad is g for p, g in zip(model.parameters(), grads, strict=True))


def test_what_no_guard_sees_is_told(dump, monkeypatch):
    monkeypatch.setattr(standard_objects, "keeps_in_c", lambda value: False)
    lock = threading.Lock()  # guards do not see whether it is held, then

    def g(x):
        return x.exp() * (7.0 if lock.locked() else 1.0)

    compiled = tracec.compile(g, verify=True)
    x = tracec.ones(3)
    for _ in range(3):
        assert np.allclose(compiled(x).numpy(), g(x).numpy())
    lock.acquire()
    with pytest.raises(ReplayError, match="no guard tells") as caught:
        compiled(x)
    assert caught.value.stage == "guards" and caught.value.source.line == line_of(
        "return x.exp() * (7.0 if lock.locked() else 1.0)"
    )


def test_values_that_only_rounding_tells_apart_are_no_faults():
    tracec.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.LayerNorm(64), nn.Dropout(0.2), nn.Linear(64, 8))
    optimizer = tracec.optim.AdamW(model.parameters(), lr=1e-2)

    @tracec.compile(verify=True)
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = tracec.randn(32, 64), tracec.arange(32) % 8
    losses = [step(x, y).item() for _ in range(6)]
    assert losses[-1] < losses[0]
    assert step.explain().specialisations[0].hits == 5


def test_functions_that_ask_for_values_are_verified(monkeypatch, dump):
    def g(x):
        if x.sum() > 0:
            return tracec.sin(x) * 2
        return x

    compiled = tracec.compile(g, verify=True)
    x = tracec.ones(4)
    for sign in (1, -1, 1, -1, 1):
        assert np.allclose(compiled(x * sign).numpy(), g(x * sign).numpy())
    monkeypatch.setattr(optimize, "PIPELINE", broken_pipeline("dce"))
    error = failure(tracec.compile(g, verify=True), x)
    assert error.stage == "pass dce" and error.source.line == line_of("return tracec.sin(x) * 2")


def test_integers_and_random_bits_have_to_be_equal():
    value = np.array([1, 2, 3])
    assert Expected(value).wrong(np.array([1, 2, 4])).tolist() == [False, False, True]
    assert Expected(value).wrong(np.array([1.0, 2.0, 3.0])) is None
    # An integer that another rounding changes need not be.
    assert not Expected(value, (np.array([1, 2, 4]),)).wrong(np.array([1, 2, 4])).any()


def test_rounding_is_judged_by_how_a_graph_magnifies_it():
    graph = parse_graph("""
        graph(%0: f32[2]) {
          %1: f32[2] = add(%0, f32(1000.0))
          %2: f32[2] = sub(%1, f32(1000.0))
          return %2
        }""")
    x = np.array([1.0, 2.0], np.float32)
    (value,) = expected(graph, graph.outputs, [x])
    assert not value.wrong(x + np.float32(1e-4)).any()  # lost where 1000 is added
    assert value.wrong(x + np.float32(1e-2)).all()
    (plain,) = expected(graph, graph.nodes[:1], [x])
    assert plain.wrong(x + np.float32(1000.01)).all()


def test_the_environment_switches_it_on(monkeypatch):
    monkeypatch.setenv("TRACEC_VERIFY", "2")
    compiled = tracec.compile(f)
    assert compiled._options.verifies and not tracec.compile(f, verify=False)._options.verifies
    args = inputs()
    compiled(*args), compiled(*args)
    monkeypatch.setenv("TRACEC_VERIFY", "1")
    assert not tracec.compile(f)._options.verifies


def test_an_error_of_the_function_is_its_own():
    w = tracec.zeros(2)

    def g(x, k):
        w.add_(1)
        if not k:
            raise KeyError("no")
        return x * w

    compiled = tracec.compile(g, verify=True)
    compiled(tracec.ones(2), 1), compiled(tracec.ones(2), 1)
    for _ in range(2):
        with pytest.raises(KeyError):
            compiled(tracec.ones(2), 0)
    assert w.tolist() == [4.0, 4.0]


def test_state_that_a_call_leaves_is_compared(monkeypatch, dump):
    kept = types.SimpleNamespace(calls=0, last=None, log=[])

    def g(x):
        kept.calls += 1
        kept.last = {"y": x * 2}
        kept.log.append(kept.calls)
        return x + kept.calls

    compiled = tracec.compile(g, verify=True)
    for k in range(4):
        compiled(tracec.ones(3) * k)
    assert kept.calls == 4 and kept.log == [1, 2, 3, 4]
    apply = Effect.apply
    for name, what in (("calls", r"kept\.calls, 4, is 4, and 5"), ("last", r"kept\.last"), ("log", r"kept\.log")):
        skipped = [f"kept.{name}"]
        monkeypatch.setattr(
            Effect, "apply", lambda self, *args, of=skipped: None if self.name in of else apply(self, *args)
        )
        with pytest.raises(ReplayError, match=rf"what is left in {what}") as caught:
            compiled(tracec.ones(3) * 7)
        assert caught.value.stage == "replay"
        assert kept.calls == 4 and len(kept.log) == 4 and kept.last["y"].tolist() == [6.0] * 3
    monkeypatch.setattr(Effect, "apply", apply)
    assert compiled(tracec.ones(3)).tolist() == [6.0] * 3


def test_objects_that_are_given_are_compared(monkeypatch, dump):
    @dataclasses.dataclass
    class Batch:
        x: object
        n: int = 0

    def g(b):
        b.n += 1
        b.y = b.x * 2
        return b.y

    compiled = tracec.compile(g, verify=True)
    for k in range(4):
        compiled(Batch(tracec.ones(3) * k))
    monkeypatch.setattr(Effect, "apply", lambda self, holder, value: None)
    b = Batch(tracec.ones(3))
    with pytest.raises(ReplayError, match=r"what is left in b\.n"):
        compiled(b)
    assert b.n == 0 and not hasattr(b, "y")


def test_text_is_compared_and_shown_once(monkeypatch, capsys, dump):
    def g(x):
        print("sum", x.sum())
        logging.getLogger("verified").warning("called")
        return x * 2

    handled = []
    monkeypatch.setattr(
        logging.getLogger("verified"), "handlers", [types.SimpleNamespace(level=0, handle=handled.append)]
    )
    compiled = tracec.compile(g, verify=True)
    for k in range(3):
        compiled(tracec.ones(3) * k)
    assert capsys.readouterr().out == "sum tensor(0.)\nsum tensor(3.)\nsum tensor(6.)\n"
    assert len(handled) == 3
    monkeypatch.setattr("tracec.specialisations.printed.Shown.again", lambda *args: print("something else"))
    with pytest.raises(ReplayError, match="what is printed is something else"):
        compiled(tracec.ones(3))


def test_numbers_in_text_may_be_rounded_otherwise():
    assert same_text("loss 0.12345 of 3", "loss 0.12346 of 3")
    assert not same_text("loss 0.2 of 3", "loss 0.1 of 3")
    assert not same_text("loss 0.1", "loss 0.1 again")


def test_memory_that_the_function_makes_and_writes_is_its_own_affair():
    def f(x):
        g = tracec.Generator().manual_seed(5)
        return x + tracec.rand(3, generator=g), tracec.rand(2, generator=g)

    compiled, want = tracec.compile(f, verify=True), f(tracec.ones(3))
    for _ in range(3):
        assert [t.tolist() for t in compiled(tracec.ones(3))] == [t.tolist() for t in want]
    assert compiled.explain().specialisations[0].hits == 2
