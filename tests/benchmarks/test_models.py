"""The models whose train steps are timed train, and are those that torch would be given."""

import math

import numpy as np
import pytest

import tracec
from benchmarks.engines import ENGINES, reference, relative_error
from benchmarks.models import MODELS, vision_models, without_drops
from benchmarks.workloads import WORKLOADS, by_name


def test_names_are_told_apart():
    names = [w.name for w in (*WORKLOADS, *MODELS)]
    assert len(set(names)) == len(names)
    assert all(by_name(w.name) is w for w in MODELS)


def test_nothing_drops_at_random():
    model = without_drops(vision_models(tracec).mobilenet_v2(num_classes=3))
    drops = [m for m in model.modules() if isinstance(m, tracec.nn.Dropout)]
    assert drops and all(m.p == 0 for m in drops)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_losses_are_those_of_a_guess_and_fall(model):
    engine = ENGINES["tracec.eager"]("cpu")
    engine.start()
    small = model.on("emulator")
    call = engine.load(small)
    losses = [float(engine.arrays(call())[0]) for _ in range(3)]
    classes = int(max(small.inputs()[1].max() + 1, 2))
    assert 0.2 * math.log(classes) < losses[0] < 20 and losses[2] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "encoder", "language_lstm"])
def test_compiled_losses_are_those_of_torch_in_float64(name):
    pytest.importorskip("torch")
    engine = ENGINES["tracec"]("cpu")
    engine.start()
    small = by_name(name).on("emulator")
    want = reference(small, 3)
    call = engine.load(small)
    got = [engine.arrays(call()) for _ in want]
    assert np.isfinite(want).all() and relative_error(got, want) <= 1e-4
