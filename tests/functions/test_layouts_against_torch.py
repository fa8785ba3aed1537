"""How results lie in memory, against PyTorch: a view that fits there fits here."""

from __future__ import annotations

import itertools

import pytest

import tracec

torch = pytest.importorskip("torch")

#: Shapes of two operands, the order in memory of each, and the axis that they are joined along.
JOINED = [
    ((6, 1, 3, 2), (0, 1, 2, 3), (6, 6, 3, 2), (3, 0, 2, 1), 1),  # Transformer-XL's relative positions
    ((4, 3), (1, 0), (4, 3), (1, 0), 0),
    ((2, 4, 3), (1, 0, 2), (2, 4, 3), (1, 0, 2), 2),
    ((2, 5, 3, 4), (0, 2, 3, 1), (2, 5, 3, 4), (0, 2, 3, 1), 1),  # channels last, and so joined
    ((2, 5, 3, 4), (0, 2, 3, 1), (2, 1, 3, 4), (0, 1, 2, 3), 1),
    ((2, 4, 1, 3), (0, 2, 3, 1), (2, 4, 1, 3), (0, 2, 3, 1), 2),
    ((2, 3, 4, 5, 2), (0, 2, 3, 4, 1), (2, 3, 4, 5, 2), (0, 2, 3, 4, 1), 0),
    ((2, 3, 4, 5, 2), (4, 2, 3, 0, 1), (2, 3, 4, 5, 2), (4, 2, 3, 0, 1), 0),
]


def lying(library, shape, order):
    """Zeros whose axes lie in memory in an order, from the outermost."""
    made = library.zeros(*(shape[a] for a in order))
    return made.permute(*(order.index(a) for a in range(len(shape))))


@pytest.mark.parametrize("case", range(len(JOINED)))
@pytest.mark.parametrize("compiled", [False, True])
def test_joined_tensors_lie_as_pytorchs(case, compiled):
    first, a, second, b, axis = JOINED[case]

    def joined(library):
        def cat(x, y):
            return library.cat([x, y], axis)

        run = tracec.compile(cat) if compiled and library is tracec else cat
        return run(lying(library, first, a), lying(library, second, b))

    assert joined(tracec).stride() == joined(torch).stride()


@pytest.mark.parametrize("compiled", [False, True])
def test_relative_positions_are_shifted(compiled):
    """``_rel_shift`` of Transformer-XL: a column is put before, and the whole viewed in another shape."""

    def shifted(library, q, r):
        x = library.einsum("ibnd,jnd->ijbn", (q, r))
        padded = library.cat([library.zeros(x.size(0), 1, *x.shape[2:]), x], dim=1)
        return padded.view(x.size(1) + 1, x.size(0), *x.shape[2:])[1:].view_as(x)

    given = torch.randn(5, 3, 2, 4), torch.randn(6, 2, 4)
    run = tracec.compile(lambda q, r: shifted(tracec, q, r)) if compiled else lambda q, r: shifted(tracec, q, r)
    found = run(*(tracec.from_numpy(t.numpy()) for t in given))
    torch.testing.assert_close(torch.from_numpy(found.numpy()), shifted(torch, *given))


EQUATIONS = [
    f"{left},{right}->{''.join(result)}"
    for left, right, kept in (("ab", "bc", "ac"), ("dab", "dbc", "dac"), ("abe", "cb", "aec"), ("abe", "ecb", "ac"))
    for result in itertools.permutations(kept)
] + ["bcd,bae->ca", "abc,cd,de->eab", "iij,jk->ki"]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_sums_of_products_lie_as_pytorchs(equation):
    sizes = {"a": 3, "b": 4, "c": 5, "d": 2, "e": 6, "i": 3, "j": 4, "k": 5}
    shapes = [[sizes[c] for c in term] for term in equation.split("->")[0].split(",")]
    values = [torch.randn(*shape, dtype=torch.float64) for shape in shapes]
    wanted = torch.einsum(equation, *values)
    found = tracec.einsum(equation, *(tracec.from_numpy(v.numpy()) for v in values))
    torch.testing.assert_close(torch.from_numpy(found.numpy()), wanted)
    assert found.stride() == wanted.stride()
