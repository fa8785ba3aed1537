"""Tensors on ``meta``: types of results, looks at memory that is not there, and what asks for values."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import tracec
from tests.ops.test_table import CASES, draw
from tracec import nn
from tracec.errors import DeviceError, UnsupportedError
from tracec.record import of_array
from tracec.record.call import VIEWS

#: Operators whose parameters are graphs, which are of a device; recurrent layers stand for them.
_OF_BODIES = ("scan", "scan_grad", "cond", "while_loop")


@pytest.mark.parametrize("op, sample", [c for c in CASES if c.values[0].name not in _OF_BODIES])
def test_every_operator_has_the_type_that_it_has_of_values(op, sample):
    arrays = draw(sample, op.name)
    params = dict(sample.params)
    with tracec.no_grad():
        expected = op(*map(of_array, arrays), **params)
        if "device" in params:
            params["device"] = "meta"
        found = op(*(of_array(a).to("meta") for a in arrays), **params)
    if not arrays and "device" not in params:
        found = found.to("meta")
    assert found.is_meta and found.device == "meta"
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if op.name in VIEWS and expected.numel():
        assert found.stride() == expected.stride()
        assert found.storage_offset() == expected.storage_offset()


def test_a_model_that_is_larger_than_any_memory():
    with tracec.device("meta"):
        model = nn.Sequential(nn.Linear(10**6, 10**6), nn.ReLU(), nn.Linear(10**6, 10))
        x = tracec.randn(3, 10**6)
    out = model(x)
    assert out.shape == (3, 10) and out.is_meta and not out.is_cuda and not out.is_cpu
    assert sum(p.nbytes for p in model.parameters()) > 4 * 10**12
    out.sum().backward()
    gradient = model[0].weight.grad
    assert gradient.is_meta and gradient.shape == (10**6, 10**6)
    optimizer = tracec.optim.AdamW(model.parameters())
    optimizer.step()
    optimizer.zero_grad()
    assert model[0].weight.grad is None


def test_models_of_all_kinds():
    with tracec.device("meta"):
        convolutional = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        recurrent = nn.LSTM(8, 16, 2, bidirectional=True, batch_first=True)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        embedding = nn.Embedding(100, 16)
        tokens = tracec.zeros(2, 5, dtype=tracec.long)
        images, series = tracec.rand(2, 3, 16, 16), tracec.rand(2, 7, 8)
    assert convolutional(images).shape == (2, 8)
    assert recurrent(series)[1][0].shape == (4, 2, 16)
    out = layer(embedding(tokens))
    assert out.shape == (2, 5, 16)
    out.mean().backward()
    assert embedding.weight.grad.is_meta
    assert copy.deepcopy(layer).linear1.weight.is_meta


def test_a_state_takes_the_place_of_parameters():
    whole = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with tracec.device("meta"):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model.load_state_dict(whole.state_dict(), assign=True)
    x = tracec.randn(5, 3)
    assert all(t.is_cpu for t in (*model.parameters(), *model.buffers()))
    assert tracec.equal(model(x), whole(x)) and model[0].weight.requires_grad


def test_a_state_that_is_written_into_nothing_is_warned_of():
    model = nn.Linear(3, 2, device="meta")
    with pytest.warns(UserWarning, match="copying from a non-meta parameter .*assign=True") as told:
        model.load_state_dict(nn.Linear(3, 2).state_dict())
    assert model.weight.is_meta and [str(w.message).split(":")[0] for w in told] == ["for weight", "for bias"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.load_state_dict(nn.Linear(3, 2, device="meta").state_dict())


def test_memory_comes_by_to_empty():
    with tracec.device("meta"):
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    tracec.manual_seed(0)
    model.to_empty(device="cpu")
    for module in model:
        module.reset_parameters()
    tracec.manual_seed(0)
    expected = nn.Linear(3, 2)
    assert tracec.equal(model[0].weight, expected.weight) and model[1].running_var.tolist() == [1.0, 1.0]


def test_nothing_is_drawn_for_it():
    tracec.manual_seed(3)
    state = tracec.get_rng_state()
    nn.Linear(4, 4, device="meta")
    for init in (nn.init.orthogonal_, nn.init.trunc_normal_, nn.init.xavier_normal_, nn.init.eye_):
        assert init(tracec.empty(4, 6, device="meta")).is_meta
    tracec.rand(3, device="meta", dtype=tracec.float64)
    tracec.randint(5, (3,), device="meta")
    assert tracec.equal(state, tracec.get_rng_state())


def test_looks_and_copies():
    x = tracec.empty(4, 6, device="meta")
    assert x[1:, ::2].stride() == (6, 2) and x[1:, ::2].storage_offset() == 6
    assert x.t().stride() == (1, 6) and not x.t().is_contiguous()
    assert x.t().contiguous().stride() == (4, 1)
    assert x.t().reshape(-1).stride() == (1,) and x.view(2, 12).untyped_storage() == x.untyped_storage()
    assert x.t().reshape(-1).untyped_storage() != x.untyped_storage()
    with pytest.raises(tracec.errors.TracecError, match="view"):
        x.t().view(-1)
    assert x.expand(3, 4, 6).stride() == (0, 6, 1) and x.unfold(1, 3, 2).stride() == (6, 2, 1)
    assert x.data_ptr() == 0 and x.nbytes == 96


def test_writes_do_nothing():
    x = tracec.empty(4, 6, device="meta")
    x.add_(1).mul_(2)
    x[0] = 1.0
    x[tracec.tensor([0, 1])] = tracec.ones(6, device="meta")
    x.copy_(tracec.ones(4, 6))
    assert (x * tracec.tensor(3.0)).is_meta and x[tracec.tensor([0, 1], device="meta")].shape == (2, 6)


def test_its_text():
    x = tracec.ones(2, 3, device="meta")
    assert repr(x) == "tensor(..., device='meta', size=(2, 3))"
    assert repr(x.long()) == "tensor(..., device='meta', size=(2, 3), dtype=tracec.int64)"
    assert repr(x.requires_grad_() * 2).endswith("grad_fn=<MulBackward0>)")
    assert repr(tracec.device("meta")) == "device(type='meta')" and tracec.device("meta").index is None


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x[0, 0].item(), lambda x: bool(x.sum()), lambda x: x.tolist(), lambda x: x.cpu(),
        lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: tracec.equal(x, x), lambda x: tracec.ones(2, 3).copy_(x),
        lambda x: nn.Linear(2, 2, device="meta").to("cpu"), lambda x: float(x.sum()), lambda x: x.unique(),
        lambda x: x.numpy(force=True), lambda x: copy.copy(x).detach().storage().tolist(),
    ],
)  # fmt: skip
def test_values_that_are_asked_for_are_refused(ask):
    with pytest.raises(UnsupportedError, match="Cannot copy out of meta tensor; no data") as error:
        ask(tracec.ones(2, 3, device="meta"))
    assert "to_empty" in str(error.value.hint) and isinstance(error.value, NotImplementedError)


def test_tensors_of_two_devices_do_not_meet():
    with pytest.raises(DeviceError, match="found meta and cpu"):
        tracec.ones(2, device="meta") + tracec.ones(2)


def test_transformed_functions():
    x = tracec.empty(4, 6, device="meta")
    assert tracec.func.vmap(lambda v: v.softmax(0))(x).shape == (4, 6)
    assert tracec.func.grad(lambda v: (v**2).sum())(x).is_meta
    assert tracec.func.hessian(lambda v: (v**3).sum())(x[0]).shape == (6, 6)
    with tracec.autograd.forward_ad.dual_level():
        moving = tracec.autograd.forward_ad.make_dual(x, tracec.ones_like(x))
        assert tracec.autograd.forward_ad.unpack_dual(moving.sin()).tangent.is_meta


def test_a_compiled_function_runs_as_written():
    model = nn.Linear(3, 2, device="meta")
    step = tracec.compile(lambda x: model(x).sum())
    with pytest.warns(RuntimeWarning, match="tensors on 'meta', which have no elements"):
        outs = [step(tracec.ones(1, 3, device="meta")) for _ in range(3)]
    assert all(out.is_meta for out in outs)
    model.to_empty(device="cpu")
    for p in model.parameters():
        nn.init.ones_(p)
    for _ in range(3):
        assert step(tracec.ones(1, 3)).item() == 8.0


def test_arrays_of_numpy_are_of_their_form_alone():
    x = tracec.tensor(np.arange(6.0).reshape(2, 3), device="meta")
    assert x.shape == (2, 3) and x.dtype is tracec.float64
