"""New tensors, casts, random numbers, storages and texts on a pretended CUDA device: what works on NumPy's arrays alone
shows here."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.doubles import cupy as double
from tracec.utils.checkpoint import checkpoint


@pytest.fixture(autouse=True)
def _device():
    with double.installed():
        yield
        tracec.set_default_device(None)


MAKERS = {
    "zeros": lambda t, **o: t.zeros(2, 3, **o),
    "full": lambda t, **o: t.full((2,), True, **o),
    "arange": lambda t, **o: t.arange(5, **o),
    "linspace": lambda t, **o: t.linspace(0, 1, 3, **o),
    "eye": lambda t, **o: t.eye(3, **o),
    "tril_indices": lambda t, **o: t.tril_indices(3, 3, **o),
    "empty_strided": lambda t, **o: t.empty_strided((2, 3), (1, 2), **o),
    "tensor": lambda t, **o: t.tensor([[1.0], [2.0]], **o),
    "number": lambda t, **o: t.tensor(3, **o),
    "asarray": lambda t, **o: t.asarray([1, 2], **o),
    "scalar_tensor": lambda t, **o: t.scalar_tensor(2, **o),
    "rand": lambda t, **o: t.rand(5, **o),
    "randn": lambda t, **o: t.randn(5, dtype=t.float64, **o),
    "randint": lambda t, **o: t.randint(0, 2**40, (4,), **o),
    "randperm": lambda t, **o: t.randperm(6, **o),
    "normal": lambda t, **o: t.normal(1.0, 2.0, (3,), **o),
    "Tensor": lambda t, **o: t.Tensor([[1, 2]], **o),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_as_on_the_cpu(name):
    make = MAKERS[name]
    tracec.manual_seed(3)
    expected = make(tracec)
    tracec.manual_seed(3)
    found = make(tracec, device="cuda")
    assert found.device == "cuda:0" and found.dtype is expected.dtype and found.stride() == expected.stride()
    np.testing.assert_array_equal(found.cpu().numpy(), expected.numpy())
    with tracec.device("cuda"):
        assert make(tracec).device == "cuda:0"
    tracec.set_default_device("cuda")
    assert make(tracec).device == "cuda:0"


def test_from_a_tensor():
    x = tracec.ones(2, 3, device="cuda")
    for made in (
        x.new_zeros(2), x.new_tensor([1, 2]), x.new([1, 2]), x.new_empty_strided((2,), (1,)), tracec.rand_like(x),
        tracec.randint_like(x, 3), x.clone().uniform_().normal_().cauchy_().log_normal_().exponential_().random_(5),
        x.clone().bernoulli_(0.5).geometric_(0.5), tracec.bernoulli(x / 2), tracec.poisson(x),
        tracec.add(x, 1, out=tracec.empty(0, device="cuda")), x.clone().unsqueeze_(0).squeeze_().t_(),
        x.clone().resize_(7), tracec.binomial(x, x / 2), tracec.cuda.LongTensor(2, 2), tracec.cuda.FloatTensor([1]),
        x.double().type("torch.cuda.HalfTensor"), x.cpu().to("cuda"), x.cpu().type(tracec.cuda.LongTensor),
    ):  # fmt: skip
        assert made.device == "cuda:0"


def test_kinds_and_storages():
    x = tracec.arange(6.0, device="cuda").reshape(2, 3)
    assert x.type() == "torch.cuda.FloatTensor" and isinstance(x, tracec.cuda.FloatTensor)
    assert not isinstance(x, tracec.FloatTensor) and x.get_device() == 0 and x.is_cuda and not x.is_cpu
    assert x[1].storage_offset() == 3 and x[1].storage().tolist() == [0, 1, 2, 3, 4, 5] and x.is_shared()
    assert repr(x[0]) == "tensor([0., 1., 2.], device='cuda:0')"
    tracec.testing.assert_close(x, x.cpu().cuda())
    with pytest.raises(AssertionError, match="The values for attribute 'device' do not match: cuda:0 != cpu"):
        tracec.testing.assert_close(x, x.cpu())


def test_the_first_numbers_of_a_device_are_drawn_again():
    """Its generator is made when it is first drawn from: here inside of what keeps the state."""
    x, w = tracec.ones(64, device="cuda"), tracec.ones(64, device="cuda", requires_grad=True)
    y = checkpoint(lambda x: tracec.nn.functional.dropout(x * w, 0.5), x, use_reentrant=False)
    y.sum().backward()
    assert w.grad.cpu().tolist() == y.detach().cpu().tolist()


@pytest.mark.parametrize("is_reached", [False, True])
def test_what_is_first_drawn_within_a_fork_is_drawn_again(is_reached):
    tracec.manual_seed(7)
    if is_reached:
        tracec.ones(1, device="cuda")
    with tracec.random.fork_rng():
        first = tracec.rand(5, device="cuda").cpu().tolist()
    assert tracec.rand(5, device="cuda").cpu().tolist() == first


def test_the_state_of_random_numbers():
    state = tracec.cuda.get_rng_state()
    first = tracec.rand(3, device="cuda")
    tracec.cuda.set_rng_state(state)
    assert tracec.rand(3, device="cuda").equal(first) and len(tracec.cuda.get_rng_state_all()) == 1
    assert tracec.accelerator.current_accelerator() == "cuda"


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_and_their_gradients(kind):
    tracec.manual_seed(0)
    layer = getattr(tracec.nn, kind)(3, 4, batch_first=True)
    found = []
    for device in ("cpu", "cuda"):
        layer = layer.to(device)
        x = tracec.arange(24.0, device=device).reshape(2, 4, 3).cos().requires_grad_()
        layer(x)[0].square().sum().backward()
        found.append([g.cpu().numpy() for g in (x.grad, *(p.grad for p in layer.parameters()))])
        layer.zero_grad()
    for here, there in zip(*found, strict=True):
        np.testing.assert_array_equal(here, there)
