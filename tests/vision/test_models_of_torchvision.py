"""Models have torchvision's state, and give what its models give with the same weights, where it is installed."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import tracec
from tests.vision import recorded
from tracec.vision import models

pytest.importorskip("torchvision")
import torch
import torchvision

SMALL = {"num_classes": 7}
OPTIONS = {name: {"image_size": 64} for name in models.list_models("vit*")}
#: They warn of what they begin with otherwise.
OPTIONS |= {name: {"init_weights": True} for name in ("googlenet", "inception_v3")}
#: Where 64 pixels are too few, or no whole windows.
SIDES = {"inception_v3": 80, "maxvit_t": 224}


def pair(name: str):
    """Both models of a name, with the same random weights."""
    torch.manual_seed(0)
    how = SMALL | OPTIONS.get(name, {})
    theirs = torchvision.models.get_model(name, weights=None, **how).eval()
    with torch.no_grad():
        for key, value in theirs.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and value.std() < 0.1:
                value.add_(torch.randn_like(value) * 0.02)
    ours = models.get_model(name, **how).eval()
    return ours, theirs


def same_state(name: str):
    ours, theirs = pair(name)
    state = {key: tracec.from_numpy(value.numpy()) for key, value in theirs.state_dict().items()}
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in state.items()
    ]
    ours.load_state_dict(state)
    return ours, theirs


QUICK = ["resnet18", "mobilenet_v2", "squeezenet1_1"]


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in models.list_models()]
)
def test_outputs(name):
    ours, theirs = same_state(name)
    side = SIDES.get(name, 64)
    x = np.random.default_rng(0).normal(size=(2, 3, side, side)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    with tracec.no_grad():
        found = ours(tracec.from_numpy(x)).numpy()
    scale = np.abs(expected).max()
    print(
        name, "parameters", sum(p.numel() for p in ours.parameters()), "apart", np.abs(found - expected).max() / scale
    )
    np.testing.assert_allclose(found, expected, atol=2e-5 * scale, rtol=1e-4)


@pytest.mark.parametrize("name", recorded.SMALL)
def test_what_is_recorded_is_theirs(name):
    for part, numbers in recorded.expected()[name].items():
        np.testing.assert_allclose(recorded.of_torchvision(name)[part], numbers, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", models.list_models())
def test_arguments_are_theirs(name):
    kind, theirs = models.get_model_builder(name), getattr(torchvision.models, name)
    assert set(inspect.signature(theirs).parameters) == {"weights", "progress", "kwargs"}
    with pytest.raises(ValueError, match="are not fetched"):
        kind(weights="DEFAULT")


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_weights_are_read(tmp_path, zipped):
    _, theirs = pair("resnet18")
    state = theirs.state_dict()
    if not zipped:  # files of PyTorch's first years count no batches, and say nothing of versions
        state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "resnet18.pth", _use_new_zipfile_serialization=zipped)
    ours = models.resnet18(**SMALL)
    ours.load_state_dict(tracec.load(tmp_path / "resnet18.pth"))
    np.testing.assert_array_equal(ours.layer4[1].bn2.running_var.numpy(), state["layer4.1.bn2.running_var"].numpy())
    np.testing.assert_array_equal(ours.fc.weight.detach().numpy(), state["fc.weight"].numpy())
