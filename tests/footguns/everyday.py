"""What programs do every day beside computing: streams turned aside, results kept, modes within."""

from __future__ import annotations

import contextlib
import copy
import functools
import io

import tracec
import tracec.nn.functional as F
from tests.footguns.harness import footgun, replaced, whole
from tracec import nn, optim
from tracec.nn.utils import parametrize


@footgun(eager="asks for the value of a tensor")
def text_that_is_printed_into_a_stream_of_its_own(wrap):
    def f(x):
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            print("sum", x.sum().item())
        return x * 2, stream.getvalue()

    f = wrap(f)
    return [f(whole(3, seed=k)) for k in range(6)]


@footgun(eager="how often results kept by")
def results_that_are_forgotten_in_turn(wrap):
    made = []

    @functools.lru_cache(maxsize=2)
    def twice(n):
        made.append(n)
        return 2 * n

    f = wrap(lambda x, n: x * twice(n))
    return [f(whole(3), n) for n in (1, 2, 1, 1, 1, 3, 1, 2, 1, 1, 3, 2, 1)], made


@footgun(eager="how often results kept by")
def how_often_a_result_was_kept(wrap):
    @functools.cache
    def twice(n):
        return 2 * n

    f = wrap(lambda x, n: (x * twice(n), twice.cache_info().hits))
    return [f(whole(3), n) for n in (1, 1, 1, 2, 2, 1)]


@footgun
def inference_mode_within(wrap):
    f = wrap(tracec.inference_mode()(lambda x: x * 2))
    return [(y := f(whole(3, seed=k))).is_inference() and y.clone() for k in range(4)]


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).t()


@footgun
def parameters_computed_once_in_a_context(wrap):
    model = nn.Linear(3, 3, bias=False)
    parametrize.register_parametrization(model, "weight", Symmetric())
    original = model.parametrizations.weight.original

    def f(x):
        y = model(x)
        with tracec.no_grad():
            original.add_(1)
        return y

    with tracec.no_grad():
        original.copy_(whole(3, 3))
    f, found = wrap(f), []
    for within in (False, False, True, True, False, True):
        with parametrize.cached() if within else contextlib.nullcontext():
            found += [f(whole(2, 3)), model(whole(2, 3)), f(whole(2, 3))]
    return found


@footgun
def positions_lie_in_one_memory(wrap):
    f = wrap(lambda x: (tracec.where(x > 0), x.nonzero(as_tuple=True)[1].is_contiguous()))
    return [f(whole(2, 3, seed=1)) for _ in range(4)]


@footgun
def state_of_an_optimizer_that_is_cleared(wrap):
    w = whole(3, g=True)
    optimizer = optim.SGD([w], lr=0.5, momentum=0.5)

    def f(x):
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()
        return w.detach().clone()

    f, found = wrap(f), []
    for k in range(8):
        found.append(f(whole(3, seed=k)))
        if k == 3:
            optimizer.state.clear()
    return found


@footgun
def shallow_copies_share_memory(wrap):
    w = nn.Parameter(whole(3))

    def f(x):
        a, b = copy.copy(w), copy.copy(x)
        b[0] = 9
        return a, b, x, a.requires_grad, type(a).__name__

    f = wrap(f)
    return [f(whole(3, seed=k)) for k in range(4)], w


@footgun(eager="results kept by table")
def results_that_are_kept_by_sizes(wrap):
    made = []

    @functools.lru_cache
    def table(n):
        made.append(n)
        return tracec.arange(n)

    f = wrap(lambda x: x * table(x.size(0)))
    found = [f(whole(n, seed=n)) for n in (3, 4, 5, 6)]
    return [*found, *(f(whole(n, seed=n)) for n in (6, 5, 4, 3, 6, 5, 4, 3)), made, table.cache_info()[1:]]


@footgun
def what_is_put_in_the_place_of_the_librarys_does_more(wrap):
    model, calls, scale = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), [], {"k": 1.0}
    w = whole(3, g=True)
    optimizer = optim.SGD([w], lr=0.5)
    relu, step, total = F.relu, optim.SGD.step, tracec.Tensor.sum
    with tracec.no_grad():
        model[0].weight.copy_(whole(3, 3))
        model[0].bias.zero_()

    def f(x):
        optimizer.zero_grad()
        y = model(x)
        (w * y.detach()).sum().backward()
        optimizer.step()
        return y, w.detach().clone()

    functions = (
        (F, "relu", lambda x, *_, **__: (calls.append("relu"), relu(x))[1]),
        (optim.SGD, "step", lambda self, closure=None: (calls.append("step"), step(self))[1]),
        (tracec.Tensor, "sum", lambda self, *axes: total(self, *axes) * scale["k"]),
    )
    f, found = wrap(f), []
    for owner, name, function in functions:
        found.append(f(whole(2, 3)))
        with replaced(owner, name, function):
            for k in (1.0, 1.0, 2.0, 3.0):
                scale["k"] = k
                found.append(f(whole(2, 3)))
    return [*found, calls]


@footgun
def nan_that_is_looked_for_on_the_way_back(wrap):
    w = whole(3, g=True)

    def f(x):
        w.grad = None
        (w * x).log().sum().backward()
        return w.grad

    f, found = wrap(f), []
    for detect in (False, False, True, True, False):
        with tracec.autograd.set_detect_anomaly(detect):
            try:
                found.append(f(tracec.tensor([0.0, 1.0, -1.0])))
            except RuntimeError as error:
                found.append(type(error).__name__)
    return found


@footgun
def dictionary_whose_keys_are_parameters(wrap):
    model, kept = nn.Linear(3, 2), {}
    with tracec.no_grad():
        model.weight.copy_(whole(2, 3))
        model.bias.zero_()

    def f(x):
        for p in model.parameters():
            kept[p] = kept.get(p, 0) + p.detach() * 2
        return model(x).detach()

    f, found = wrap(f), []
    for k in range(8):
        found += [f(whole(1, 3, seed=k)), len(kept), *(v.clone() for v in kept.values())]
    return found
