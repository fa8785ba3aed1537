"""Arena offsets: values alive together do not overlap, and the arena stays near the lower bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracec.ir.extent import Symbol, at, plain, symbolic
from tracec.plan import memory
from tracec.plan.memory import Span

spans = st.lists(
    st.builds(
        lambda size, first, length: Span(size, first, first + length),
        st.integers(0, 5000),
        st.integers(0, 20),
        st.integers(0, 10),
    ),
    max_size=25,
)


@given(spans)
def test_values_alive_together_do_not_overlap(given_spans: list[Span]) -> None:
    if not given_spans:
        return
    offsets, total = memory.assign(given_spans)
    assert total >= memory.lower_bound(given_spans)
    placed = list(zip(offsets, given_spans, strict=True))
    for k, (a, s) in enumerate(placed):
        assert a % memory.ALIGN == 0
        assert a + s.size <= total
        for b, t in placed[:k]:
            if s.first <= t.last and t.first <= s.last:
                assert a + memory.aligned(s.size) <= b or b + memory.aligned(t.size) <= a


def test_lower_bound_is_the_most_alive_at_once() -> None:
    assert memory.lower_bound([Span(64, 0, 1), Span(128, 1, 2), Span(64, 2, 3)]) == 192


def test_memory_of_a_chain_is_reused() -> None:
    chain = [Span(1000, k, k + 1) for k in range(50)]
    offsets, total = memory.assign(chain)
    assert total == 2 * memory.aligned(1000)
    assert set(offsets) == {0, memory.aligned(1000)}


@pytest.mark.parametrize(
    "pieces, lines",
    [
        ([(2, 5, 8), (1, 3, 6), (5, 1, 3), (4, 5, 5)], 7),
        ([(5, 0, 4), (3, 4, 8), (6, 2, 2), (6, 5, 7)], 11),
        ([(4, 0, 3), (4, 0, 1), (2, 0, 1), (5, 2, 6)], 10),
        ([(3, 3, 3), (5, 5, 7), (3, 2, 5), (4, 2, 3)], 10),
        ([(3, 0, 3), (6, 4, 7), (6, 1, 1), (5, 3, 7)], 11),
    ],
    ids=["size", "area", "time", "length", "end"],
)
def test_each_order_is_the_best_for_some_lifetimes(pieces: list[tuple[int, int, int]], lines: int) -> None:
    """In the order that it is named for, and in no other, the arena has so few cache lines."""
    _, total = memory.assign([Span(memory.ALIGN * size, first, last) for size, first, last in pieces])
    assert total == memory.ALIGN * lines


def test_fixed_sizes_need_no_layout() -> None:
    chain = [Span(1000, k, k + 1) for k in range(5)]
    assert memory.place(chain) == (*memory.assign(chain), None)


def test_sizes_that_vary_are_placed_anew_for_others() -> None:
    n = Symbol("n", 1000)
    chain = [Span(symbolic(n) * (k % 2 + 1), k, k + 1) for k in range(5)]
    offsets, total, layout = memory.place(chain)
    assert layout is not None
    for size in (1000, 7000):
        values = layout.values({n: size})
        fixed = [Span(size * (k % 2 + 1), k, k + 1) for k in range(5)]
        assert ([plain(at(o, values)) for o in offsets], plain(at(total, values))) == memory.assign(fixed)
