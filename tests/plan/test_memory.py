"""Arena offsets: values alive together do not overlap, and the arena stays near the lower bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
