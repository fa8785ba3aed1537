"""Every condition on values that the library has, and arguments that keep and break it, for `tests.test_checks`.

Broken values are the first, the last, one in the middle, the only one; NaN; far beyond 32 bits; and such as a least
and a largest value do not tell of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tracec as T
from tracec import distributions, nested, nn
from tracec.nn import functional as F

#: What gives arguments.
Make = Callable[[], tuple[Any, ...]]


@dataclass(frozen=True)
class Checked:
    """A function that asks something of values.

    Attributes:
        name: Its name.
        run: The function: of tensors to a tree of tensors.
        good: Arguments that it takes.
        bad: Arguments that it refuses.
    """

    name: str
    run: Callable[..., Any]
    good: tuple[Any, ...]
    bad: tuple[tuple[Any, ...], ...]


CHECKED: list[Checked] = []


def case(name: str, run: Callable[..., Any], good: Any, *bad: Any) -> None:
    """Enter a case: arguments that are lists are made tensors."""
    rows = [tuple(T.tensor(a) if isinstance(a, list) else a for a in row) for row in (good, *bad)]
    CHECKED.append(Checked(name, run, rows[0], tuple(rows[1:])))


def floats(*shape: int) -> Any:
    """Numbers that are not small integers."""
    return T.arange(math.prod(shape)).reshape(shape) * 0.37 - 1.0


ROW, TABLE, CUBE = floats(5), floats(6, 3), floats(3, 4, 5)
FAR = 2**62
LOGITS = floats(3, 5)

# Positions
case("index", lambda x, i: x[i] * 2, (ROW, [0, -5, 4]), (ROW, [0, 5, 1]), (ROW, [-6, 1, 1]), (ROW, [0, 1, FAR]),
     (ROW, [-FAR, 0, 0]), (ROW, [1, 1, 2**32]))  # fmt: skip
case("index by one", lambda x, i: x[i] * 2, (ROW, T.tensor(2)), (ROW, T.tensor(5)), (ROW, T.tensor(-6)))
case("index of rows and columns", lambda x, i, j: x[i, j], (TABLE, [0, 5], [2, -1]), (TABLE, [0, 6], [0, 0]),
     (TABLE, [0, 0], [-4, 0]))  # fmt: skip
case("assigned index", lambda x, i: T.zeros_like(x).index_put((i,), x[:3]), (ROW, [0, 1, -1]), (ROW, [0, 1, 5]))
case("one index for two sizes", lambda x, t, i: x[i] + t[i].sum(1), (ROW, TABLE, [0, 4]), (ROW, TABLE, [5, 0]),
     (ROW, TABLE, [0, 6]))  # fmt: skip
case("an index that an index leads to", lambda x, i, j: x[i[j]], (ROW, [4, 0, 1], [0, 2]), (ROW, [5, 0, 1], [0, 2]),
     (ROW, [4, 0, 1], [3, 0]), (ROW, [4, 0, 1], [FAR, 0]))  # fmt: skip
case("gather", lambda x, i: x.gather(0, i), (ROW, [0, 4]), (ROW, [-1, 4]), (ROW, [0, 5]))
case("scatter_add", lambda x, i: x.scatter_add(0, i, T.ones(2)), (ROW, [0, 4]), (ROW, [-1, 4]), (ROW, [0, 5]))
case("index_select", lambda x, i: x.index_select(0, i), (TABLE, [0, 5]), (TABLE, [6, 0]), (TABLE, [0, -1]))
case("take", lambda x, i: x.take(i), (TABLE, [0, -18]), (TABLE, [18, 0]), (TABLE, [0, -19]))
case("small integers", lambda x, i: x.index_select(0, i.to(T.int32)), (TABLE, [0, 5]), (TABLE, [6, 0]))
case("embedding", lambda w, i: F.embedding(i, w), (TABLE, [[0, 5]]), (TABLE, [[0, 6]]), (TABLE, [[-1, 0]]))
case("max_unpool1d", lambda x, i: F.max_unpool1d(x, i, 2), (floats(1, 2), [[0, 3]]), (floats(1, 2), [[0, 4]]),
     (floats(1, 2), [[-1, 3]]))  # fmt: skip
case("lu_solve", lambda lu, p, b: T.linalg.lu_solve(lu, p.to(T.int32), b), (T.eye(3), [2, 2, 3], floats(3, 1)),
     (T.eye(3), [0, 2, 3], floats(3, 1)), (T.eye(3), [1, 2, 4], floats(3, 1)))  # fmt: skip

# Classes
case("cross_entropy", lambda x, t: F.cross_entropy(x, t), (LOGITS, [0, 4, -100]), (LOGITS, [0, 5, 1]),
     (LOGITS, [-1, 0, 1]), (LOGITS, [0, 1, FAR]))  # fmt: skip
case("two sizes of classes", lambda x, t: F.cross_entropy(x[:, :3], t) + F.cross_entropy(x, t), (LOGITS, [0, 2, 1]),
     (LOGITS, [0, 3, 1]), (LOGITS, [0, 5, 1]))  # fmt: skip
case("one_hot", lambda t: F.one_hot(t, 4), ([0, 3],), ([0, 4],), ([-1, 0],))
case("two of one_hot", lambda t: F.one_hot(t, 3).sum(0)[0] + F.one_hot(t, 9).sum(), ([0, 2],), ([0, 4],), ([9, 0],))
case("multi_margin_loss", lambda x, t: F.multi_margin_loss(x, t), (LOGITS, [0, 4, 1]), (LOGITS, [0, 5, 1]),
     (LOGITS, [0, 1, -1]))  # fmt: skip
case("multilabel_margin_loss", lambda x, t: F.multilabel_margin_loss(x, t), (LOGITS[0], [0, 4, -1, 0, 0]),
     (LOGITS[0], [0, 5, -1, 0, 0]), (LOGITS[0], [0, -2, -1, 0, 0]))  # fmt: skip
_ADAPTIVE = nn.AdaptiveLogSoftmaxWithLoss(5, 6, [2, 4])
case(
    "adaptive softmax",
    lambda x, t: _ADAPTIVE(x, t).loss,
    (LOGITS, [0, 5, 1]),
    (LOGITS, [0, 6, 1]),
    (LOGITS, [-1, 0, 0]),
)


def ctc(x: Any, labels: Any, taken: Any, counts: Any) -> Any:
    return F.ctc_loss(x.log_softmax(-1), labels, taken, counts)


_STEPS = floats(4, 2, 5)
case("ctc_loss", ctc, (_STEPS, [[1, 2], [3, 4]], [4, 3], [2, 1]), (_STEPS, [[1, 5], [3, 4]], [4, 3], [2, 1]),
     (_STEPS, [[1, 2], [3, 4]], [4, 5], [2, 1]), (_STEPS, [[1, 2], [3, 4]], [4, 3], [3, 1]),
     (_STEPS, [[1, 2], [3, 4]], [-1, 3], [2, 1]), (_STEPS, [[-1, 2], [3, 4]], [4, 3], [2, 1]))  # fmt: skip

# Beginnings
case("embedding_bag", lambda w, i, o: F.embedding_bag(i, w, o), (TABLE, [1, 2, 3, 4], [0, 2, 4]),
     (TABLE, [1, 2, 3, 4], [1, 0, 4]), (TABLE, [1, 2, 3, 4], [0, 2, 5]), (TABLE, [1, 2, 3, 4], [0, -2, 4]),
     (TABLE, [1, 2, 3, 6], [0, 2, 4]), (TABLE, [1, 2, 3, 4], [0, 2, FAR]))  # fmt: skip
case("embedding_bag from behind", lambda w, i, o: F.embedding_bag(i, w, o.flip(0)), (TABLE, [1, 2, 3], [2, 1, 0]),
     (TABLE, [1, 2, 3], [0, 1, 2]))  # fmt: skip
case("jagged", lambda x, o: nested.nested_tensor_from_jagged(x, o).to_padded_tensor(0.0, (2, 3, 3)),
     (TABLE, [0, 3, 6]), (TABLE, [0, 7, 6]), (TABLE, [1, 3, 6]), (TABLE, [0, 3, 5]), (TABLE, [0, -1, 6]))  # fmt: skip


def by_rows(first: Any, places: Any, x: Any) -> Any:
    return T.sparse_csr_tensor(first, places, x, (3, 3)).to_dense()


case("sparse_csr_tensor", by_rows, ([0, 1, 1, 2], [0, 2], ROW[:2]), ([0, 2, 1, 2], [0, 2], ROW[:2]),
     ([1, 0, 1, 2], [0, 2], ROW[:2]), ([0, 1, 2, 1], [0, 2], ROW[:2]), ([0, 1, 1, 2], [0, 3], ROW[:2]),
     ([0, FAR, 1, 2], [0, 2], ROW[:2]))  # fmt: skip
case("csr from behind", lambda f, p, x: by_rows(f.flip(0), p, x), ([2, 1, 1, 0], [0, 2], ROW[:2]),
     ([0, 1, 1, 2], [0, 2], ROW[:2]))  # fmt: skip
case("sparse_coo_tensor", lambda i, x: T.sparse_coo_tensor(i, x, (3, 3)).to_dense(), ([[0, 2], [1, 1]], ROW[:2]),
     ([[0, 3], [1, 1]], ROW[:2]), ([[0, 0], [1, -1]], ROW[:2]))  # fmt: skip
case("masked_scatter", lambda x, m, s: x.masked_scatter(m > 0, s), (ROW, [1, 0, 0, 1, 1], ROW[:3]),
     (ROW, [1, 1, 0, 1, 1], ROW[:3]))  # fmt: skip

case("repeat_interleave", lambda x, n: x.repeat_interleave(n, output_size=3) * 2, (ROW[:2], [1, 2]),
     (ROW[:2], [-1, 4]), (ROW[:2], [1, 3]), (ROW[:2], [1, 1]), (ROW[:2], [FAR, 0]))  # fmt: skip

# Integers that are divided by
case("floor_divide", lambda a, b: a // b, ([7, -7, 9], [2, -2, 1]), ([7, -7, 9], [2, 0, -1]), ([7, 7, 7], [0, 1, 1]),
     ([7, 7, 7], [1, 1, 0]))  # fmt: skip
case("remainder", lambda a, b: (a % b, T.fmod(a, b)), ([7, -7], [2, -2]), ([7, -7], [0, -1]), ([7, -7], [1, 0]))
case("small divisors", lambda a, b: a.to(T.int8) // b.to(T.uint8), ([7, 7], [2, 255]), ([7, 7], [256, 1]))

# Numbers in a range
_NAN, _INF = math.nan, math.inf
_CHANCES = [0.0, 0.5, 1.0]
case("binary_cross_entropy", lambda x, y: F.binary_cross_entropy(x, y), (_CHANCES, _CHANCES),
     ([0.0, 1.5, 1.0], _CHANCES), ([0.0, -0.1, 1.0], _CHANCES), ([0.0, _NAN, 1.0], _CHANCES))  # fmt: skip
case("gaussian_nll_loss", lambda x, v: F.gaussian_nll_loss(x, x * 2, v), (ROW[:3], _CHANCES),
     (ROW[:3], [0.5, -0.5, 1.0]))  # fmt: skip
case(
    "bernoulli", lambda p: T.bernoulli(p) * 0, (_CHANCES,), ([0.5, 1.5, 0.0],), ([0.5, _NAN, 0.0],), ([-0.5, 1.0, 0.0],)
)
case("normal", lambda s: T.normal(0.0, s) * 0, (_CHANCES,), ([1.0, -1.0, 2.0],), ([1.0, _NAN, 2.0],))
case("poisson", lambda r: T.poisson(r) * 0, (_CHANCES,), ([1.0, -1.0, 2.0],), ([1.0, _NAN, 2.0],))
case("binomial", lambda n, p: T.binomial(n, p) * 0, ([3.0, 4.0, 0.0], _CHANCES), ([3.0, -4.0, 0.0], _CHANCES),
     ([3.0, 4.0, 1.0], [0.5, 1.1, 0.0]))  # fmt: skip
case("multinomial", lambda w: T.multinomial(w, 2) * 0, ([[1.0, 0.0, 2.0]],), ([[1.0, -1.0, 2.0]],),
     ([[0.0, 0.0, 0.0]],), ([[1.0, _NAN, 2.0]],), ([[1.0, _INF, 2.0]],))  # fmt: skip
case("histc", lambda x: T.histc(x, 4), (ROW,), ([1.0, _NAN, 2.0, 3.0, 4.0],), ([1.0, 2.0, 3.0, -_INF, 4.0],))
case("istft", lambda x, w: T.istft(T.complex(x, x * 0), 4, 2, window=w), (floats(3, 5), [1.0, 1.0, 1.0, 1.0]),
     (floats(3, 5), [0.0, 1.0, 0.0, 0.0]))  # fmt: skip
case("distribution", lambda m, s: distributions.Normal(m, s).log_prob(m + 1), (ROW[:3], [1.0, 2.0, 0.5]),
     (ROW[:3], [1.0, 0.0, 0.5]), (ROW[:3], [1.0, -1.0, 2.0]), (ROW[:3], [1.0, _NAN, 2.0]))  # fmt: skip
case("value of a distribution", lambda p, x: distributions.Bernoulli(p).log_prob(x), (_CHANCES, [0.0, 1.0, 1.0]),
     (_CHANCES, [0.0, 0.5, 1.0]), ([0.5, 2.0, 0.5], [0.0, 1.0, 1.0]))  # fmt: skip
case(
    "uniform", lambda a, b: distributions.Uniform(a, b).log_prob(a), ([0.0, 1.0], [1.0, 2.0]), ([0.0, 2.0], [1.0, 2.0])
)
case("categorical", lambda p: distributions.Categorical(p).entropy(), ([0.5, 0.5],), ([-0.5, 1.5],))

# What decompositions refuse
_GOOD = [[2.0, 1.0], [1.0, 2.0]]
case("cholesky", T.linalg.cholesky, (_GOOD,), ([[1.0, 2.0], [2.0, 1.0]],))
case("inv", T.linalg.inv, (_GOOD,), ([[1.0, 2.0], [2.0, 4.0]],))
case("solve", T.linalg.solve, (_GOOD, [1.0, 2.0]), ([[1.0, 2.0], [2.0, 4.0]], [1.0, 2.0]))
