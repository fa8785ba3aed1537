"""What is worked out once for all that is alike is what would be worked out for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tracec
from tracec import build, nn
from tracec.ir import dtype as dt
from tracec.ir.conditions import Condition
from tracec.ir.extent import Symbol, distinct, noting, symbolic
from tracec.ir.graph import Graph
from tracec.ir.node import Node, constant, input_node
from tracec.ir.plan import Plan
from tracec.ir.types import TensorType
from tracec.nn import functional as F
from tracec.ops import add, mul, reshape
from tracec.plan import make_plan
from tracec.plan.alike import Alike
from tracec.specialisations import program
from tracec.specialisations.variants import Prepared


def transformer() -> tuple[nn.Module, list[Any]]:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 3), [tracec.randn(2, 5, 8)]


def convolutions() -> tuple[nn.Module, list[Any]]:
    parts = [nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()), [
        tracec.randn(2, 2, 7, 7)
    ]


def blocks() -> tuple[nn.Module, list[Any]]:
    parts = [nn.Sequential(nn.LayerNorm(7), nn.Linear(7, 7), nn.GELU()) for _ in range(3)]
    return nn.Sequential(*parts), [tracec.randn(2, 7)]


def recurrent() -> tuple[nn.Module, list[Any]]:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(5, 4)

        def forward(self, x: Any) -> Any:
            state = None
            for part in x:
                state = self.cell(part, state)
            return state[0]

    return Last(), [tracec.randn(4, 3, 5)]


def step(make: Callable[[], tuple[nn.Module, list[Any]]]) -> tuple[Callable[..., Any], list[Any]]:
    tracec.manual_seed(0)
    model, args = make()
    optimizer = tracec.optim.AdamW(model.parameters(), lr=0.01)

    def run(*xs: Any) -> Any:
        optimizer.zero_grad()
        loss = F.gelu(model(*xs)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return run, args


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("make", [transformer, convolutions, recurrent])
def test_plans_are_those_of_working_everything_out(
    make: Callable[[], tuple[nn.Module, list[Any]]], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, args = step(make)
    found = tracec.compile(run).lower(*args, target=target)
    monkeypatch.setattr(Alike, "find", lambda self, key, work_out: work_out())
    expected = tracec.compile(run).lower(*args, target=target)
    for stage in ("plan", "kernels", "source"):
        assert found.stages[stage] == expected.stages[stage]


def key(node: Node, inlined: set[Node], marks: dict[Node, Any], alike: Alike) -> int:
    return alike.traced((node,), inlined, marks)[0]


def test_only_what_is_computed_in_the_same_way_is_alike() -> None:
    x, y = (input_node(TensorType(dt.float32, (2, 3))) for _ in range(2))
    zero, minus_zero = (constant(v, x.type) for v in (0.0, -0.0))
    alike = Alike(Graph((x, y), (add(x, y),)))

    def same(a: Node, b: Node, inlined: set[Node] | None = None) -> bool:
        return key(a, inlined or set(), {}, alike) == key(b, inlined or set(), {}, alike)

    assert same(add(x, y), add(y, x))
    assert not same(add(x, y), mul(x, y))
    assert not same(add(x, y), add(x, x))
    assert not same(add(x, zero), add(x, minus_zero))
    assert not same(reshape(x, shape=(3, 2)), reshape(x, shape=(6,)))
    inner, other = mul(x, y), mul(x, x)
    assert same(add(inner, y), add(other, y))
    assert not same(add(inner, y), add(other, y), {inner, other})
    assert not same(add(inner, y), add(inner, x), {inner})
    assert key(inner, set(), {inner: 1}, alike) != key(inner, set(), {inner: 2}, alike)


def test_places_of_nodes_that_correspond_are_the_same() -> None:
    x, y, z = (input_node(TensorType(dt.float32, (2, 3))) for _ in range(3))
    alike = Alike(Graph((x, y, z), (x,)))
    first, second = add(mul(x, y), x), add(mul(z, x), z)
    inlined = {*first.inputs, *second.inputs} - {x, y, z}
    (a, at_a), (b, at_b) = (alike.traced((n,), inlined, {}) for n in (first, second))
    assert a == b
    assert at_a[x] == at_b[z]
    assert at_a[y] == at_b[x]


@pytest.mark.parametrize("make", [blocks, convolutions])
def test_plans_for_many_sizes_are_those_of_working_everything_out(
    make: Callable[[], tuple[nn.Module, list[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned() -> tuple[list[str], list[list[str]], list[float]]:
        run, (x,) = step(make)
        plans: list[str] = []
        conditions: list[list[str]] = []

        def plan(graph: Graph, *args: Any) -> Plan:
            made = make_plan(graph, *args)
            plans.append("\n".join(map(str, (made, *made.kernels))))
            return made

        def built(self: Prepared, *args: Any) -> Any:
            found = call(self, *args)
            conditions.extend(sorted(map(str, c)) for known in self._made.values() for c, _ in known)
            return found

        with monkeypatch.context() as patch:
            call = Prepared.__call__
            patch.setattr(build, "make_plan", plan)
            patch.setattr(Prepared, "__call__", built)
            patch.setattr(program, "load", lambda made, *args: build.interpreted(made.graph, made.donate))
            f = tracec.compile(run, dynamic=True)
            losses = [f(tracec.cat([x] * n)).item() for n in (1, 2, 3)]
        return plans, conditions, losses

    found = planned()
    monkeypatch.setattr(Alike, "find", lambda self, key, work_out: work_out())
    expected = planned()
    assert found == expected
    assert found[1]


def test_sizes_that_vary_are_alike_by_their_formulas() -> None:
    batch, width = (symbolic(Symbol(name, 3)) for name in ("b", "w"))
    with noting(None, named=True):
        x, y, z = (input_node(TensorType(dt.float32, (n, 3))) for n in (batch, width, batch))
        alike = Alike(Graph((x, y, z), (x,)))
        keys = [key(add(n, n), set(), {}, alike) for n in (x, y, z)]
    assert keys[0] == keys[2] != keys[1]


def test_nothing_is_learned_of_sizes_by_telling_them_apart() -> None:
    batch, noted = symbolic(Symbol("b", 3)), list[Condition]()
    with noting(noted.append, named=True):
        x, y = (input_node(TensorType(dt.float32, (n, 3))) for n in (batch, 3))
        alike = Alike(Graph((x, y), (x,)))
        assert key(add(x, x), set(), {}, alike) != key(add(y, y), set(), {}, alike)
        assert [alike.find((n.shape, 3), lambda n=n: n) for n in (x, y)] == [x, y]
        assert len(distinct([(batch, 3), (3, 3), (batch, 3)])) == 2
    assert not noted
