"""Values of a plan: which have memory in common."""

from __future__ import annotations

from itertools import combinations

from tracec.ir import dtype as dt
from tracec.ir.plan import Memory, Plan, Value
from tracec.ir.types import TensorType


def test_values_overlap_where_they_have_memory_in_common() -> None:
    eight, sixteen = (TensorType(dt.float32, (n,)) for n in (2, 4))
    values = (
        Value("x", sixteen, "input", index=0),
        Value("y", sixteen, "output", index=0),
        Value("a", sixteen, "arena", offset=0),
        Value("b", sixteen, "arena", offset=8),
        Value("c", eight, "arena", offset=24),
        Value("left", eight, "part", index=1, offset=0),
        Value("right", eight, "part", index=1, offset=8),
        Value("of b", eight, "part", index=3, offset=0),
    )
    plan = Plan((), (), values, (0,), (1,), Memory(32, 32, 32))
    pairs = {(values[a].name, values[b].name) for a, b in combinations(range(len(values)), 2) if plan.overlap(a, b)}
    assert pairs == {("y", "left"), ("y", "right"), ("a", "b"), ("a", "of b"), ("b", "of b")}
    assert all(plan.overlap(b, a) == plan.overlap(a, b) for a, b in combinations(range(len(values)), 2))
