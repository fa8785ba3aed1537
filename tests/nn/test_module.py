"""Modules: attributes, walks, state, modes, hooks and containers."""

from __future__ import annotations

import copy
import pickle
import typing

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, NameMissingError, StateError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.BatchNorm1d(4)])
        self.scale = nn.Parameter(tracec.ones(4))
        self.register_buffer("table", tracec.arange(3.0))
        self.register_buffer("scratch", tracec.zeros(2), persistent=False)
        self.tied = self.first

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x * self.scale


NAMES = [
    "scale", "first.weight", "first.bias", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias",
]  # fmt: skip


def test_attributes_become_parts():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert [n for n, _ in net.named_buffers()] == [
        "table", "scratch", "blocks.1.running_mean", "blocks.1.running_var", "blocks.1.num_batches_tracked",
    ]  # fmt: skip
    assert [n for n, _ in net.named_children()] == ["first", "blocks"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "blocks", "blocks.0", "blocks.1"]
    assert len(list(net.parameters())) == 7 and len(list(net.modules())) == 5
    assert net.get_submodule("blocks.1") is net.blocks[1]
    assert net.get_parameter("first.weight") is net.first.weight
    assert net.get_buffer("blocks.1.running_mean") is net.blocks[1].running_mean
    assert "scale" in dir(net)
    del net.scale
    assert not hasattr(net, "scale")


def test_names_that_are_not_there():
    net = Net()
    with pytest.raises(NameMissingError, match="Net has no attribute 'nothing'"):
        _ = net.nothing
    with pytest.raises(NameMissingError, match="Linear has no module `nothing`"):
        net.get_submodule("first.nothing")


def test_wrong_parts_are_refused():
    net = Net()
    with pytest.raises(ArgumentTypeError, match=r"cannot assign a Tensor as parameter 'scale' \(Parameter or None"):
        net.scale = tracec.ones(4)
    with pytest.raises(ArgumentTypeError, match="cannot assign a int as child module 'first'"):
        net.first = 3
    with pytest.raises(ArgumentTypeError, match="cannot assign a float as buffer 'table'"):
        net.table = 3.0
    with pytest.raises(ArgumentError, match=r"'a\.b' cannot name a part of Net"):
        net.register_buffer("a.b", tracec.ones(1))
    with pytest.raises(ArgumentError, match="attribute 'forward' already exists in Net"):
        net.add_module("forward", nn.Linear(1, 1))
    with pytest.raises(ArgumentError, match="weight was computed from other tensors"):
        _register_computed(net)

    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(NameMissingError, match=r"cannot assign layer before Module.__init__\(\) call"):
        Early()


def _register_computed(net):
    p = nn.Parameter(tracec.ones(1))
    p.requires_grad_(False)
    source = tracec.ones(1, requires_grad=True)
    p._history = (source * 2).grad_fn
    net.register_parameter("weight", p)


def test_parameters_are_leaves_that_share_memory():
    data = tracec.zeros(2)
    p = nn.Parameter(data)
    assert p.requires_grad and p.is_leaf and isinstance(p, tracec.Tensor)
    data.add_(1)
    assert p.tolist() == [1.0, 1.0]
    assert repr(p).startswith("Parameter containing:\ntensor([1., 1.]")
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert type(p * 2) is tracec.Tensor


def test_state_goes_and_comes_back():
    net, other = Net(), Net()
    state = net.state_dict()
    assert "scratch" not in state and "tied.weight" in state
    assert list(state) == [
        "scale", "table", "first.weight", "first.bias", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight",
        "blocks.1.bias", "blocks.1.running_mean", "blocks.1.running_var", "blocks.1.num_batches_tracked",
        "tied.weight", "tied.bias",
    ]  # fmt: skip
    assert not any(t.requires_grad for t in state.values())
    before = other.first.weight
    assert repr(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other.first.weight is before
    for name, value in other.state_dict().items():
        assert value.equal(state[name])
    state["scale"].fill_(7)
    assert net.scale.tolist() == [7.0] * 4


def test_state_that_does_not_fit():
    net = Net()
    state = dict(net.state_dict())
    kept = net.scale.detach().clone()
    del state["table"]
    state |= {"extra": tracec.ones(1), "first.bias": tracec.ones(9), "scale": tracec.zeros(4)}
    with pytest.raises(StateError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    assert text.startswith(
        "load_state_dict: Error(s) in loading state_dict for Net:\n"
        '\tMissing key(s) in state_dict: "table".\n'
        '\tUnexpected key(s) in state_dict: "extra".\n'
        "\tsize mismatch for first.bias: copying a param with shape (9,) from checkpoint, "
        "the shape in current model is (4,).\n"
    )
    assert text.endswith(
        "  hint: load into a module of the same structure, or pass strict=False to skip names that differ"
    )
    assert net.scale.equal(kept)
    state["first.bias"] = tracec.ones(4)
    found = net.load_state_dict(state, strict=False)
    assert found.missing_keys == ["table"] and found.unexpected_keys == ["extra"]
    with pytest.raises(ArgumentTypeError, match="load_state_dict: takes a dictionary, list given"):
        net.load_state_dict([])


def test_assigning_state_takes_the_tensors():
    net, value = nn.Linear(2, 1), tracec.full((1, 2), 5.0)
    net.load_state_dict({"weight": value, "bias": tracec.zeros(1)}, assign=True)
    value.fill_(3)
    assert net.weight.tolist() == [[3.0, 3.0]] and isinstance(net.weight, nn.Parameter)


def test_modes_and_conversions():
    net = Net()
    assert net.training and not net.eval().blocks[1].training and net.train().blocks[0].training
    ids = [id(p) for p in net.parameters()]
    net(tracec.randn(5, 3)).sum().backward()
    net.double()
    assert [id(p) for p in net.parameters()] == ids
    assert all(p.dtype is tracec.float64 and p.grad.dtype is tracec.float64 for p in net.parameters())
    assert net.blocks[1].num_batches_tracked.dtype is tracec.int64
    assert net(tracec.randn(5, 3).double()).dtype is tracec.float64
    assert net.to(tracec.float32).to("cpu").scale.dtype is tracec.float32
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    with pytest.raises(ArgumentTypeError, match="to: modules have floating or complex parameters, int64"):
        net.to(tracec.int64)
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "Linear", "BatchNorm1d", "ModuleList", "Net"]


def test_hooks():
    net, calls = nn.Linear(2, 2), []
    before = net.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    after = net.register_forward_hook(lambda m, args, out: calls.append(args[0].tolist()))
    assert net(tracec.ones(2)).equal(net.bias)
    assert calls == [[0.0, 0.0]]
    before.remove()
    with net.register_forward_hook(lambda m, args, kwargs, out: out + 1, prepend=True, with_kwargs=True):
        assert not net(tracec.zeros(2)).equal(net.bias)
    after.remove()
    assert net(tracec.zeros(2)).equal(net.bias)
    assert len(calls) == 2


def test_a_module_without_forward():
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
        nn.Module()(1)


def test_copies_and_pickles():
    net = Net()
    twin = copy.deepcopy(net)
    assert twin.tied is twin.first and twin.first.weight is not net.first.weight
    assert isinstance(twin.scale, nn.Parameter) and twin.scale.requires_grad
    again = pickle.loads(pickle.dumps(net))
    x = tracec.randn(4, 3)
    np.testing.assert_allclose(again.eval()(x).detach().numpy(), net.eval()(x).detach().numpy())
    twin.scale.detach().fill_(0)
    assert net.scale.tolist() == [1.0] * 4


def test_sequential():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    net = nn.Sequential(*layers)
    assert len(net) == 3 and net[0] is layers[0] and net[-1] is layers[2]
    assert [type(m).__name__ for m in net[:2]] == ["Linear", "ReLU"] and isinstance(net[1:], nn.Sequential)
    assert net(tracec.ones(4, 2)).equal(layers[2](layers[1](layers[0](tracec.ones(4, 2)))))
    net.append(nn.Tanh())
    net.insert(1, nn.Identity())
    assert list(net._modules) == ["0", "1", "2", "3", "4"] and isinstance(net[1], nn.Identity)
    del net[1]
    net[1] = nn.GELU()
    assert [type(m).__name__ for m in net] == ["Linear", "GELU", "Linear", "Tanh"]
    named = nn.Sequential({"a": layers[0], "b": layers[1]})
    assert named.b is layers[1] and list(named.state_dict()) == ["a.weight", "a.bias"]
    with pytest.raises(AxisError, match="Sequential: index 9 is out of range for 4 modules"):
        net[9]


def test_lists_and_dictionaries():
    modules = nn.ModuleList([nn.Linear(1, 1)]).extend([nn.ReLU()])
    modules += [nn.Tanh()]
    assert len(modules) == 3 and isinstance(modules[1:], nn.ModuleList) and isinstance(modules[-1], nn.Tanh)
    table = nn.ModuleDict({"a": nn.ReLU()})
    table["b"] = nn.Linear(1, 1)
    assert "b" in table and list(table) == ["a", "b"] and len(table) == 2
    assert isinstance(table.pop("a"), nn.ReLU) and list(table.keys()) == ["b"]
    params = nn.ParameterList([tracec.ones(1)]).append(nn.Parameter(tracec.ones(2)))
    assert [n for n, _ in params.named_parameters()] == ["0", "1"] and len(params) == 2
    named = nn.ParameterDict({"w": tracec.ones(1)})
    assert "w" in named and named["w"].requires_grad


def test_buffers_as_attributes():
    net = nn.Module()
    net.kept, net.lost = nn.Buffer(tracec.ones(1)), nn.Buffer(tracec.ones(1), persistent=False)
    assert list(net.state_dict()) == ["kept"] and len(list(net.buffers())) == 2
    net.kept = tracec.zeros(1)
    assert net.state_dict()["kept"].tolist() == [0.0]


def test_extra_state():
    class Counter(nn.Module):
        count = 1

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    a, b = Counter(), Counter()
    a.count = 5
    b.load_state_dict(a.state_dict())
    assert b.count == 5


def test_paths_of_torch():
    modules = nn.modules
    assert modules.linear.Linear is nn.Linear and modules.Conv2d is nn.Conv2d
    assert isinstance(nn.BatchNorm2d(1), modules.batchnorm._BatchNorm)
    assert isinstance(nn.ConvTranspose1d(1, 1, 1), modules.conv._ConvNd)
    assert issubclass(nn.MSELoss, modules.loss._Loss) and modules.rnn.LSTMCell is nn.LSTMCell
    from tracec.nn.modules.module import Module, register_module_forward_hook
    from tracec.nn.modules.utils import _pair, _single, _triple

    assert Module is nn.Module and callable(register_module_forward_hook)
    assert (_single(3), _pair(3), _triple([1, 2, 3])) == ((3,), (3, 3), (1, 2, 3))


@pytest.mark.parametrize("layer", [nn.LayerNorm(3), nn.RMSNorm(3), nn.GroupNorm(1, 3), nn.BatchNorm1d(3)])
def test_norms_begin_anew(layer):
    with tracec.no_grad():
        for p in layer.parameters():
            p.fill_(7)
    layer.reset_parameters()
    assert {name: p.tolist() for name, p in layer.named_parameters()} in (
        {"weight": [1.0, 1.0, 1.0], "bias": [0.0, 0.0, 0.0]},
        {"weight": [1.0, 1.0, 1.0]},
    )


def test_a_prefix_is_taken_away():
    outer = nn.DataParallel(nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)))
    state = outer.state_dict()
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    own = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    assert list(state) == list(own.state_dict()) and set(state._metadata) == {"", "0", "1"}
    own.load_state_dict(state)
    assert own[0].weight.tolist() == outer.module[0].weight.tolist()
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == list(own.state_dict())


def test_parameters_and_buffers_are_shared():
    model = nn.BatchNorm1d(2)
    assert model.share_memory() is model and all(t.is_shared() for t in model.state_dict().values())


class Frozen(nn.Module):
    """A module whose batch norm keeps its statistics in training as well, and which counts its conversions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)
        self.converted = 0

    def forward(self, x):
        return self.bn(self.conv(x))

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.bn.eval()
        return self

    def _apply(self, fn):
        self.converted += 1
        return super()._apply(fn)


def test_modes_and_conversions_are_those_of_each_module_below() -> None:
    net = nn.Sequential(nn.Sequential(Frozen()), nn.Dropout())
    inner = net[0][0]
    assert net.train() is net and net[1].training and inner.training and inner.conv.training
    assert not inner.bn.training
    before = inner.bn.running_mean.clone()
    net(tracec.randn(2, 1, 3, 3))
    assert tracec.equal(inner.bn.running_mean, before)
    assert net.double() is net and inner.converted == 1 and inner.conv.weight.dtype == tracec.float64
    compiled = tracec.compile(lambda x: net.train()(x) + net.eval()(x))
    for _ in range(3):
        compiled(tracec.randn(2, 1, 3, 3).double())
        assert tracec.equal(inner.bn.running_mean, before) and not inner.training


def test_a_mode_is_true_or_false() -> None:
    with pytest.raises(ArgumentError, match=r"train: mode is a list, True or False is expected\n  at .*\n  hint: "):
        nn.Linear(2, 2).train([1, 2])


def test_a_module_that_chooses_where_it_goes():
    class Chooses(nn.Linear):
        def to(self, device):
            return self.cpu() if str(device) == "cpu" else self.cuda()

        def cpu(self):
            self.went = "cpu"
            return super().cpu()

    layer = Chooses(2, 2)
    assert layer.to("cpu") is layer and layer.went == "cpu"


def test_what_a_program_keeps_besides_parameters_is_listed_with_paths():
    """As Pyro lists what its modules hold by a table of their own."""

    class Named(nn.Module):
        def __init__(self, *children):
            super().__init__()
            self.notes = {"a": object(), "none": None}
            self.children_of_it = nn.ModuleList(children)

    below = Named()
    whole = Named(below, below)

    def notes(module):
        return getattr(module, "notes", {}).items()

    assert [name for name, _ in whole._named_members(notes)] == ["a", "children_of_it.0.a"]
    assert [name for name, _ in whole._named_members(notes, "m", recurse=False)] == ["m.a"]
    twice = [name for name, _ in whole._named_members(notes, remove_duplicate=False)]
    assert twice == ["a", "children_of_it.0.a", "children_of_it.1.a"]


@pytest.mark.parametrize("cls", [nn.Module, nn.Linear, nn.Transformer])
def test_hints_of_classes_can_be_asked_for(cls):
    """As libraries ask that look into the classes of a program."""
    assert isinstance(typing.get_type_hints(cls), dict)

    class Own(cls):
        config: int

    assert typing.get_type_hints(Own)["config"] is int
