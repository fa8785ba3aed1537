"""Functions of the user's that run when gradients go back: of operations of their own, and of checkpoints."""

from __future__ import annotations

import io
import sys
import types

import tracec
from tests.footguns.harness import footgun, whole
from tracec.autograd import Function
from tracec.utils.checkpoint import checkpoint


def doubling(back):
    """A function whose way back is given."""

    class Doubling(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.state = LOG
            return x * 2

        backward = staticmethod(back)

    return Doubling.apply


LOG: list[int] = []


def gone_back(wrap, back, between):
    """Gradients of calls, before which something is changed once they have been made."""
    w, apply = whole(3, g=True), doubling(back)
    f = wrap(lambda x: apply(w * x))
    found = []
    for k in range(5):
        w.grad = None
        y = f(whole(3, seed=k))
        found.append(between(k))
        y.sum().backward()
        found += [w.grad * 1, len(LOG)]
    LOG.clear()
    return found


@footgun(eager="has a backward function that reads state")
def way_back_that_reads_what_changes(wrap):
    state = types.SimpleNamespace(k=1.0)
    return gone_back(wrap, lambda ctx, g: g * state.k, lambda k: setattr(state, "k", 1.0 + k))


@footgun(eager="has a backward function that reads t,")
def way_back_that_reads_a_tensor(wrap):
    t = whole(3, seed=3)
    return gone_back(wrap, lambda ctx, g: g * t, lambda k: t.add_(1))


@footgun(eager="has a backward function that reads LOG")
def way_back_that_counts(wrap):
    return gone_back(wrap, lambda ctx, g: (LOG.append(1), g)[1], lambda k: len(LOG))


@footgun(eager="changes LOG when gradients go back")
def way_back_that_counts_in_its_context(wrap):
    return gone_back(wrap, lambda ctx, g: (ctx.state.append(1), g)[1], lambda k: len(LOG))


@footgun(eager="has a backward function that reads print")
def way_back_that_prints(wrap):
    seen = []

    def back(ctx, g):
        print("back")
        return g

    before, sys.stdout = sys.stdout, io.StringIO()
    try:
        seen += gone_back(wrap, back, lambda k: print("forward"))
        return [*seen, sys.stdout.getvalue()]
    finally:
        sys.stdout = before


@footgun
def way_back_that_reads_nothing_that_changes(wrap):
    return gone_back(wrap, lambda ctx, g: scaled(g), lambda k: None)


SCALE = 3.0


def scaled(g):
    return tracec.tanh(g) * SCALE


@footgun(eager="changes count when gradients go back")
def checkpoint_that_counts(wrap):
    w, count = whole(3, g=True), [0]

    def g(x):
        count[0] += 1
        return (x * w).tanh()

    f, found = wrap(lambda x: checkpoint(g, x, use_reentrant=False)), []
    for k in range(4):
        w.grad = None
        y = f(whole(3, seed=k))
        found.append(count[0])
        y.sum().backward()
        found += [count[0], w.grad * 1]
    return found
