"""Leaves that a compiled function leaves to require grad, or not to: steps of GANs, attacks, penalties on inputs."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tracec
from tests.trees import tensor
from tracec import nn


def agree(x, y) -> None:
    """Tensors of two runs agree in values, gradients and what they require."""
    assert (x.requires_grad, x.is_leaf, x.grad is None) == (y.requires_grad, y.is_leaf, y.grad is None)
    np.testing.assert_allclose(y.detach().numpy(), x.detach().numpy(), rtol=1e-4, atol=1e-6)
    if x.grad is not None:
        np.testing.assert_allclose(y.grad.numpy(), x.grad.numpy(), rtol=1e-4, atol=1e-6)


def hits(compiled) -> int:
    return sum(s.hits for s in compiled.explain().specialisations if s.compiled)


def gan(wrap):
    tracec.manual_seed(0)
    generator, critic = nn.Linear(3, 2), nn.Linear(2, 1)
    of_generator = tracec.optim.SGD(generator.parameters(), 0.1)
    of_critic = tracec.optim.Adam(critic.parameters(), 0.1)

    def critic_step(real, noise):
        for p in critic.parameters():
            p.requires_grad = True
        critic.zero_grad()
        real.requires_grad_(True)
        seen = critic(real)
        (grad,) = tracec.autograd.grad(seen.sin().sum(), real, create_graph=True)
        loss = critic(generator(noise).detach()).mean() - seen.mean() + (grad.norm(2, dim=1) - 1).pow(2).mean()
        loss.backward()
        of_critic.step()
        return loss

    def generator_step(noise):
        for p in critic.parameters():
            p.requires_grad_(False)
        generator.zero_grad()
        loss = -critic(generator(noise)).mean()
        loss.backward()
        of_generator.step()
        return loss

    return [*generator.parameters(), *critic.parameters()], wrap(critic_step), wrap(generator_step)


@pytest.mark.parametrize("options", [{}, {"verify": True}], ids=["plain", "verify"])
def test_steps_that_freeze_for_each_other(options):
    parameters, critic, generator = gan(lambda f: f)
    others, compiled_critic, compiled_generator = gan(lambda f: tracec.compile(f, **options))
    for k in range(6):
        real, noise = tensor(4 + k // 4, 2, seed=k), tensor(4 + k // 4, 3, seed=k + 9)
        mine = real.clone()
        agree(critic(real, noise), compiled_critic(mine, noise))
        agree(real, mine)
        if k % 2:
            agree(generator(noise), compiled_generator(noise))
        for p, q in zip(parameters, others, strict=True):
            agree(p, q)
    assert hits(compiled_critic) >= 2 and hits(compiled_generator) >= 1


def attack(x, weight):
    x.requires_grad = True
    (x * weight).tanh().sum().backward()
    return x.detach() + 0.1 * x.grad.sign()


def kept(x, weight):
    return (x.requires_grad_() * weight).tanh()


def chosen(x, weight):
    if x.sum() > 0:
        x.requires_grad_()
    return (x * weight).tanh()


def of_both(x, weight):
    x.requires_grad_()
    weight.requires_grad_(not weight.requires_grad)
    return x * weight * 2


@pytest.mark.parametrize("function", [attack, kept, chosen, of_both])
@pytest.mark.filterwarnings("ignore:of_both")  # frozen while gradients go back to it: that runs eagerly
def test_arguments_that_come_to_require_grad(function):
    compiled = tracec.compile(function)
    weight, other = tensor(3, seed=1), tensor(3, seed=1)
    for k in range(8):
        x = tensor(2 + k // 5, 3, seed=k)
        y = copy.deepcopy(x)
        for _ in range(2):  # the second time it requires grad already
            found, expected = compiled(y, other), function(x, weight)
            agree(expected, found)
            if expected.requires_grad:
                expected.sum().backward()
                found.sum().backward()
            agree(x, y)
            agree(weight, other)
    if function is not of_both:
        assert hits(compiled) >= 6


def test_a_view_that_becomes_a_leaf():
    data, compiled = tensor(8, 3), tracec.compile(attack)
    for k in range(3):
        x, y = data[2 * k : 2 * k + 2], data[2 * k : 2 * k + 2]
        agree(attack(x, data[0]), compiled(y, data[0]))
        agree(x, y)


def test_what_is_not_used_is_left_as_eagerly():
    layer = nn.Linear(2, 2)

    @tracec.compile
    def freeze(x):
        layer.requires_grad_(False)
        return x * 2

    for required in (False, False, True, True, False):
        layer.requires_grad_(required)
        freeze(tensor(2))
        assert not layer.weight.requires_grad and not layer.bias.requires_grad
