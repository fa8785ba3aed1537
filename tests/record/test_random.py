"""Random state: seeds, draws, and the same numbers wherever they are drawn."""

import re

import pytest

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.ir import evaluate
from tracec.record import Recorder
from tracec.specialisations.inputs import finder


def test_seeds_and_draws():
    a, b = tracec.Generator().manual_seed(5), tracec.Generator(seed=5)
    first = a.next_bits((4,))
    assert (first == b.next_bits((4,))).all()
    assert (first != a.next_bits((4,))).any()
    assert a.state.tolist() == [5, 2]
    assert a.initial_seed() == 5
    a.set_state(tracec.tensor([5, 0]))
    assert (a.next_bits((4,)) == first).all()
    assert a.get_state().tolist() == [5, 1]


def test_large_and_negative_seeds():
    g = tracec.Generator(seed=2**63 + 1)
    assert g.initial_seed() == 2**63 + 1
    assert tracec.Generator(seed=-1).initial_seed() == 2**64 - 1
    g.next_bits((3,))


def test_the_default_generator():
    tracec.manual_seed(3)
    assert tracec.initial_seed() == 3
    a = tracec.rand(3)
    state = tracec.get_rng_state()
    b = tracec.rand(3)
    tracec.set_rng_state(state)
    assert (tracec.rand(3) == b).all()
    tracec.manual_seed(3)
    assert (tracec.rand(3) == a).all()
    assert tracec.seed() == tracec.initial_seed()


def test_recorded_draws_carry_the_state_on():
    g = tracec.Generator(seed=9)

    def fn():
        return g.next_bits((2,)), g.next_bits((2,))

    with Recorder() as recorder:
        out = fn()
    recording = recorder.finish(out)
    ((storage, at),) = recording.writes
    assert storage is g.state._storage
    values = evaluate(recording.graph, [finder(v, {})(()) for v in recording.inputs])
    expected = fn()
    assert (values[recording.results[0].output] == expected[0].numpy()).all()
    assert (values[recording.results[1].output] == expected[1].numpy()).all()
    assert (values[at] == g.state.numpy()).all()


def test_the_default_generator_is_an_object():
    tracec.manual_seed(4)
    a = tracec.rand(3)
    assert tracec.default_generator is tracec.random.default_generator
    tracec.default_generator.manual_seed(4)
    assert (tracec.rand(3, generator=tracec.default_generator) == a).all()
    assert "default_generator" in dir(tracec)


def test_a_state_can_be_cloned():
    g = tracec.Generator(seed=3)
    g.next_bits((2,))
    other = g.clone_state()
    assert (g.next_bits((5,)) == other.next_bits((5,))).all()
    g.next_bits((1,))
    assert g.get_state().tolist() == [3, 3] and other.get_state().tolist() == [3, 2]


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda g: g.manual_seed("a"), ArgumentError, "manual_seed: seed is an integer, str given"),
        (lambda g: g.manual_seed(1.5), ArgumentError, "manual_seed: seed is an integer, float given"),
        (lambda g: g.manual_seed(2**64), ArgumentError, f"manual_seed: {2**64} does not fit into 64 bits"),
        (lambda g: tracec.manual_seed(-(2**63) - 1), ArgumentError, f"manual_seed: {-(2**63) - 1} does not fit"),
        (lambda g: g.set_state(None), ArgumentTypeError, "set_state: the state is a tensor of int64, NoneType given"),
        (lambda g: g.set_state(tracec.zeros(2)), ArgumentTypeError, "int64, a tensor of float32 given"),
        (lambda g: tracec.set_rng_state([1, 2]), ArgumentTypeError, "list given"),
        (lambda g: g.set_state(tracec.tensor(1)), ShapeError, r"set_state: the state has shape (), not (2,)"),
    ],
)
def test_mistakes(call, error, text):
    generator = tracec.Generator(seed=7)
    before = tracec.get_rng_state().tolist()
    with pytest.raises(error, match=re.escape(text)):
        call(generator)
    assert generator.get_state().tolist() == [7, 0] and tracec.get_rng_state().tolist() == before
