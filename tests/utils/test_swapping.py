"""`swap_tensors`, and `module_load`, which programs that swap parameters build on."""

from __future__ import annotations

import pytest

import tracec
from tracec import nn
from tracec.utils import swap_tensors


def test_each_is_what_the_other_was():
    p, t = nn.Parameter(tracec.ones(2)), tracec.arange(3.0)
    p.name = "weight"
    p.grad = tracec.full((2,), 5.0)
    swap_tensors(p, t)
    assert type(p) is tracec.Tensor and type(t) is nn.Parameter
    assert p.tolist() == [0, 1, 2] and t.tolist() == [1, 1]
    assert t.name == "weight" and t.grad.tolist() == [5, 5] and p.grad is None and t.requires_grad


def test_who_holds_a_parameter_sees_the_other():
    module = nn.Linear(2, 1, bias=False)
    compiled = tracec.compile(module)
    x = tracec.ones(1, 2)
    for _ in range(2):
        compiled(x)
    swap_tensors(module.weight, nn.Parameter(tracec.full((1, 2), 3.0)))
    for _ in range(2):
        assert compiled(x).item() == 6.0
    (module(x) * 2).sum().backward()
    assert module.weight.grad.tolist() == [[2, 2]]


def test_mistakes():
    a, b = tracec.ones(2), tracec.zeros(2)
    with pytest.raises(TypeError, match="t2 is of type int"):
        swap_tensors(a, 1)
    with pytest.raises(RuntimeError, match="in a compiled function"):
        tracec.compile(lambda x: swap_tensors(b, x) or x, fullgraph=True)(tracec.ones(2))
    assert b.tolist() == [0, 0]


def test_module_load():
    x, other = tracec.zeros(2), tracec.ones(2, requires_grad=True)
    taken = x.module_load(other.detach())
    assert x.tolist() == [1, 1] and taken.data_ptr() == x.data_ptr()
    assert x.module_load(other, assign=True).data_ptr() == other.data_ptr()
