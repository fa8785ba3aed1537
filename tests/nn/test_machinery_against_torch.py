"""What modules do besides computing, as scripts that must give the same with both libraries."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tracec
from tests.nn.parity import torch


def plain(x: Any) -> Any:
    """Results as what can be compared."""
    if isinstance(x, (tracec.Tensor, torch.Tensor)):
        return [type(x).__name__, str(x.dtype).split(".")[1], x.detach().double().numpy().round(4).tolist()]
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (int, float, bool, type(None))):
        return x
    return str(x).replace("tracec.", "torch.") if isinstance(x, str) else type(x).__name__


def net(t):
    """A module with everything in it, whose numbers are not random."""

    class Net(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = t.nn.Linear(3, 2)
            self.blocks = t.nn.ModuleList([t.nn.Linear(2, 2), t.nn.BatchNorm1d(2)])
            self.scale = t.nn.Parameter(t.ones(2))
            self.register_buffer("table", t.arange(3.0))
            self.register_buffer("scratch", t.zeros(2), persistent=False)
            self.nothing = None
            self.register_parameter("empty", None)
            self.tied = self.first

        def forward(self, x, times=1.0):
            return self.blocks[0](self.first(x)) * self.scale * times

    made = Net()
    for k, p in enumerate(made.parameters()):
        with t.no_grad():
            p.copy_(t.arange(float(p.numel())).reshape(p.shape) * 0.1 + k)
    return made


def names(t):
    m = net(t)
    return [
        [n for n, _ in m.named_parameters()], [n for n, _ in m.named_parameters(prefix="x", recurse=False)],
        [n for n, _ in m.named_parameters(remove_duplicate=False)], [n for n, _ in m.named_buffers()],
        [n for n, _ in m.named_buffers("y", True, False)], [n for n, _ in m.named_modules()],
        [n for n, _ in m.named_modules(prefix="z", remove_duplicate=False)], [n for n, _ in m.named_children()],
        list(m.state_dict()), list(m.state_dict(prefix="p.", keep_vars=True)), repr(m), len(list(m.parameters())),
        [type(v).__name__ for v in m.state_dict(keep_vars=True).values()], dict(m.state_dict()._metadata),
    ]  # fmt: skip


def forward_hooks(t):
    m, log = net(t), []
    handles = [
        m.register_forward_pre_hook(lambda mod, args: log.append(["pre", len(args)])),
        m.register_forward_pre_hook(
            lambda mod, args, kwargs: ((args[0] * 2,), {"times": 2.0}), with_kwargs=True, prepend=True
        ),
        m.register_forward_hook(lambda mod, args, out: log.append(["out", plain(args), plain(out)])),
        m.register_forward_hook(lambda mod, args, kwargs, out: out + len(kwargs), with_kwargs=True, prepend=True),
        m.first.register_forward_pre_hook(lambda mod, args: args[0] + 1),
    ]
    first = m(t.ones(1, 3))
    for h in handles[1:]:
        h.remove()
    return first, m(t.ones(1, 3)), log


def always_called(t):
    m, log = net(t), []
    m.register_forward_hook(lambda mod, args, out: log.append(["always", plain(out)]), always_call=True)
    m.register_forward_hook(lambda mod, args, out: log.append("not"))
    try:
        m("no tensor")
    except Exception:
        log.append("raised")
    return log


def everywhere(t):
    hooks = t.nn.modules.module if t is torch else t.nn.hooks
    m, log = net(t), []
    with hooks.register_module_forward_pre_hook(lambda mod, args: log.append(["pre", type(mod).__name__])):
        with hooks.register_module_forward_hook(lambda mod, args, out: log.append(["post", type(mod).__name__])):
            m(t.ones(1, 3))
    m(t.ones(1, 3))
    return log


def backward_hooks(t):
    class Pair(t.nn.Module):
        def forward(self, x, n, y):
            return x * y * n, x + y

    m, log = Pair(), []
    m.register_full_backward_pre_hook(lambda mod, grads: log.append(["pre", plain(grads)]))
    m.register_full_backward_hook(lambda mod, into, out: log.append(["full", plain(into), plain(out)]))
    x, y = (t.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0]))
    a, b = m(x, 5, y)
    (a.sum() + 2 * b.sum() + x.sum()).backward()
    log.append([x.grad, y.grad])
    change = m.register_full_backward_hook(lambda mod, into, out: (into[0] * 10, None, into[2]))
    m.register_full_backward_pre_hook(lambda mod, grads: (grads[0] * 0, grads[1]), prepend=True)
    x.grad = y.grad = None
    a, b = m(x, 5, y)
    (a.sum() + b.sum()).backward()
    change.remove()
    linear = t.nn.Linear(2, 1, bias=False)
    linear.register_full_backward_hook(lambda mod, into, out: log.append(["linear", len(into), plain(out)]))
    linear(t.ones(1, 2)).sum().backward()
    return log, x.grad, y.grad


def state_hooks(t):
    m, log = net(t), []

    def rename(module, state, prefix, metadata, strict, missing, unexpected, errors):
        if prefix + "old" in state:
            state[prefix + "scale"] = state.pop(prefix + "old")
        log.append(["load", prefix, strict, sorted(state)[:2]])

    m.register_state_dict_pre_hook(lambda mod, prefix, keep: log.append(["before", prefix, keep]))
    m.register_state_dict_post_hook(lambda mod, state, prefix, meta: state.update({prefix + "old": state.pop("scale")}))
    m.register_load_state_dict_pre_hook(rename)
    m.first.register_load_state_dict_post_hook(lambda mod, keys: log.append(["after", list(keys.missing_keys)]))
    state = m.state_dict()
    m.load_state_dict(state)
    m.register_load_state_dict_post_hook(lambda mod, keys: keys.missing_keys.clear())
    del state["table"]
    return list(state), log, m.load_state_dict(state), m.scale


def loading(t):
    m, log = net(t), []
    state = {k: v + 1 for k, v in m.state_dict().items()}
    log.append(repr(m.load_state_dict(state)).replace("IncompatibleKeys", "_IncompatibleKeys").replace("__", "_"))
    del state["scale"]
    state["more.weight"] = state["first.other"] = t.ones(1)
    found = m.load_state_dict(state, strict=False)
    log += [found.missing_keys, found.unexpected_keys, m.scale, m.first.weight]
    try:
        m.load_state_dict(state)
    except RuntimeError as error:
        log.append([line.strip() for line in str(error).split("\n") if "key(s)" in line])
    value = t.full((2,), 7.0, dtype=t.float64)
    m.load_state_dict({"scale": value}, strict=False, assign=True)
    return log, m.scale, m.scale.requires_grad


def own_loading(t):
    class Old(t.nn.Linear):
        def _load_from_state_dict(self, state, prefix, *args):
            if prefix + "kernel" in state:
                state[prefix + "weight"] = state.pop(prefix + "kernel")
            super()._load_from_state_dict(state, prefix, *args)

        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[prefix + "kernel"] = destination.pop(prefix + "weight")

    m = t.nn.Sequential(Old(2, 1), t.nn.ReLU())
    state = m.state_dict()
    state["0.kernel"] = t.full((1, 2), 3.0)
    return list(state), str(m.load_state_dict(state)), m[0].weight


def old_batch_norms(t):
    state = t.nn.BatchNorm2d(2).state_dict()
    del state["num_batches_tracked"]
    new, old = t.nn.BatchNorm2d(2), t.nn.BatchNorm2d(2)
    return new.load_state_dict(state, strict=False).missing_keys, str(old.load_state_dict(dict(state)))


def extra_state(t):
    class Counter(t.nn.Module):
        count = 1

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    a, b = t.nn.ModuleList([Counter()]), t.nn.ModuleList([Counter()])
    a[0].count = 5
    b.load_state_dict(a.state_dict())
    return list(a.state_dict()), b[0].count, b.load_state_dict({}, strict=False).missing_keys


def conversions(t):
    m, log = net(t), []
    m(t.ones(1, 3)).sum().backward()
    kept = m.first.weight.grad
    m.zero_grad(set_to_none=False)
    log.append([kept, m.first.weight.grad is kept])
    m.zero_grad()
    log.append(m.first.weight.grad)
    for change in (
        m.double, m.half, m.bfloat16, m.float, lambda: m.to(t.float64), lambda: m.to("cpu", t.float32),
        lambda: m.to(t.ones(1, dtype=t.float64)), lambda: m.to(dtype=t.float32, non_blocking=True), m.cpu,
        lambda: m.type(t.float64), lambda: m.to_empty(device="cpu"), lambda: m.requires_grad_(False), m.eval,
    ):  # fmt: skip
        assert change() is m
        log.append([str(m.scale.dtype), str(m.blocks[1].num_batches_tracked.dtype), m.scale.requires_grad, m.training])
    seen = []
    m.apply(lambda mod: seen.append(type(mod).__name__))
    return log, seen


def paths(t):
    m = net(t)
    m.set_submodule("blocks.1", t.nn.ReLU())
    m.set_submodule("first", t.nn.Linear(3, 2, bias=False))
    return [
        m.get_submodule("blocks.1"), m.get_submodule("") is m, m.get_parameter("scale"), m.get_buffer("table"),
        m.get_parameter("blocks.0.bias"), repr(m), "scale" in dir(m), hasattr(m, "first"),
    ]  # fmt: skip


def copies(t):
    m = net(t)
    twin = copy.deepcopy(m)
    again = pickle.loads(pickle.dumps(t.nn.Sequential(t.nn.Linear(2, 1), t.nn.BatchNorm1d(1))))
    return [
        twin.tied is twin.first, twin.first.weight is m.first.weight, plain(dict(twin.state_dict())), repr(again),
        twin(t.ones(1, 3)), list(again.state_dict()), [type(p).__name__ for p in again.parameters()],
    ]  # fmt: skip


def sequentials(t):
    a, b, c = t.nn.Linear(2, 3), t.nn.ReLU(), t.nn.Linear(3, 2)
    m = t.nn.Sequential(a, b, c, b)
    log = [list(m[1:]._modules), list(m[-2:]._modules), m[-1] is b, len(m), list(m.state_dict())]
    m.append(t.nn.Tanh()).insert(1, t.nn.Identity()).extend([t.nn.GELU()])
    log += [repr(m), repr(m.pop(-2)), repr(m + t.nn.Sequential(b)), repr(t.nn.Sequential(b) * 2)]
    del m[1:3]
    m[0] = t.nn.Sigmoid()
    m += t.nn.Sequential(t.nn.Flatten())
    log.append(repr(m))
    named = t.nn.Sequential({"x": a, "y": b}) if t is tracec else t.nn.Sequential(__import__("collections").OrderedDict(
        x=a, y=b
    ))  # fmt: skip
    log += [list(named._modules), list(named[1:]._modules), repr(named)]
    return log


def lists(t):
    m = t.nn.ModuleList([t.nn.Linear(1, 1), t.nn.Linear(1, 1), t.nn.ReLU()])
    m.insert(1, t.nn.Tanh())
    m.extend([t.nn.ReLU(), t.nn.ReLU()])
    m += [t.nn.GELU()]
    log = [repr(m), repr(m[1:3]), len(m), repr(m.pop(0)), repr(m + [t.nn.Tanh()])]
    del m[0]
    m[0] = t.nn.Sigmoid()
    table = t.nn.ModuleDict({"a": t.nn.ReLU(), "b": t.nn.Linear(1, 1)})
    table.update([("c", t.nn.Tanh())])
    log += [repr(m), repr(table), list(table), "a" in table, repr(table.pop("a")), list(table.keys()), len(table)]
    table.clear()
    return log, repr(table), list(t.nn.ModuleList([None, t.nn.ReLU()]).named_children())


def parameters(t):
    m = t.nn.ParameterList([t.ones(2, 3), t.nn.Parameter(t.zeros(1))])
    m.append(t.ones(4)).extend([t.ones(5)])
    m += [t.ones(6)]
    m[0] = t.nn.Parameter(t.zeros(7))
    log = [repr(m), len(m), m[-1], repr(m[1:3]), [n for n, _ in m.named_parameters()]]
    d = t.nn.ParameterDict({"w": t.ones(1), "v": t.nn.Parameter(t.zeros(2))})
    d["u"] = t.ones(3)
    d.update({"x": t.ones(4)})
    log += [repr(d), list(d), d.get("q"), d.pop("w"), d.setdefault("s", t.ones(1)), list(d.keys()), len(d)]
    log += [list(d.state_dict()), repr(d | t.nn.ParameterDict({"z": t.ones(1)})), d.popitem()[0], list(d.copy())]
    del d["u"]
    return log, list(reversed(d)), "v" in d, [n for n, _ in d.items()]


def data_parallel(t):
    m = t.nn.DataParallel(t.nn.Linear(2, 1))
    return list(m.state_dict()), repr(m), m.module(t.ones(2)).shape[0], m(t.ones(1, 2)).shape[1]


SCRIPTS = [
    names, forward_hooks, always_called, everywhere, backward_hooks, state_hooks, loading, own_loading, old_batch_norms,
    extra_state,
    conversions, paths, copies, sequentials, lists, parameters, data_parallel,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_scripts(script):
    assert plain(script(tracec)) == plain(script(torch))


@pytest.mark.parametrize(
    "f",
    [
        lambda t: net(t).register_buffer("a.b", t.ones(1)),
        lambda t: net(t).register_buffer("", t.ones(1)),
        lambda t: net(t).register_buffer(3, t.ones(1)),
        lambda t: net(t).register_buffer("forward", t.ones(1)),
        lambda t: net(t).register_buffer("x", 3),
        lambda t: net(t).add_module("forward", t.nn.ReLU()),
        lambda t: net(t).add_module("x", 3),
        lambda t: net(t).register_parameter("x", t.ones(1)),
        lambda t: setattr(net(t), "scale", t.ones(1)),
        lambda t: setattr(net(t), "first", 1),
        lambda t: net(t).get_submodule("first.x"),
        lambda t: net(t).get_parameter("table"),
        lambda t: net(t).get_buffer("scale"),
        lambda t: net(t).set_submodule("", t.nn.ReLU()),
        lambda t: net(t).set_submodule("x", t.nn.ReLU(), strict=True),
        lambda t: net(t).unknown,
        lambda t: net(t).load_state_dict([]),
        lambda t: net(t).load_state_dict({}),
        lambda t: net(t).load_state_dict({"scale": t.ones(3)}, strict=False),
        lambda t: net(t).to(t.int64),
        lambda t: net(t).to("nowhere"),
        lambda t: t.nn.Sequential(3),
        lambda t: t.nn.Sequential(t.nn.ReLU())[1],
        lambda t: t.nn.Sequential(t.nn.ReLU()) + [t.nn.ReLU()],
        lambda t: t.nn.Sequential(t.nn.ReLU()) * 0,
        lambda t: t.nn.ModuleDict({"a": t.nn.ReLU()})["b"],
        lambda t: t.nn.ModuleList(3),
        lambda t: t.nn.ParameterDict()["b"],
        lambda t: t.nn.ParameterList([t.ones(1)])[1],
    ],
)
def test_what_is_refused(f):
    with pytest.raises(Exception) as theirs:
        f(torch)
    with pytest.raises(type(theirs.value)):
        f(tracec)


def test_hooks_of_compiled_functions():
    linear = tracec.nn.Linear(2, 1)
    linear.register_forward_hook(lambda m, args, out: out * 2)
    linear.register_full_backward_hook(lambda m, into, out: (into[0] * 3,))

    def step(x):
        return tracec.autograd.grad(linear(x).sum(), x)[0]

    x = tracec.ones(3, 2, requires_grad=True)
    program = tracec.compile(step)
    program(x)
    np.testing.assert_allclose(program(x).numpy(), step(x).numpy(), rtol=1e-6)
    np.testing.assert_allclose(step(x).numpy(), 6 * linear.weight.detach().expand(3, 2).numpy(), rtol=1e-6)


def test_compiled_functions_see_hooks_that_come_and_go():
    net, x = tracec.nn.Sequential(tracec.nn.Linear(2, 1), tracec.nn.Tanh()), tracec.ones(1, 2)
    run = tracec.compile(lambda x: net(x))
    plain_result = run(x).tolist()
    with net[0].register_forward_hook(lambda m, args, out: out * 0 + 5):
        assert run(x).tolist() == net(x).tolist() != plain_result
    with tracec.nn.hooks.register_module_forward_hook(lambda m, args, out: out * 0 + 7):
        assert run(x).tolist() == [[7.0]]
    assert run(x).tolist() == plain_result
