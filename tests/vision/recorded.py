"""Small models of each family, what their weights are, and what torchvision's gave with them.

`RECORDED` holds the outputs in float64; where torchvision is installed, `python -m tests.vision.recorded` writes them
anew, and `test_models_of_torchvision.py` compares.
"""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np

RECORDED = pathlib.Path(__file__).with_name("recorded_outputs.json")


def _shufflenet(models):
    return models.ShuffleNetV2([2, 3, 1], [8, 12, 16, 20, 32], num_classes=5)


def _swin(models):
    return models.SwinTransformer([2, 2], 8, [2, 2], [2, 4], [3, 3], stochastic_depth_prob=0.0, num_classes=5)


def _swin_v2(models):
    part = models.swin_transformer
    how = {"block": part.SwinTransformerBlockV2, "downsample_layer": part.PatchMergingV2}
    return models.SwinTransformer([2, 3], 8, [2, 2], [2, 4], [4, 2], 2.0, 0, 0, 0.0, num_classes=5, **how)


def _regnet(models):
    params = models.regnet.BlockParams.from_init_params(4, 8, 9.5, 2.0, 8, se_ratio=0.25)
    return models.RegNet(params, num_classes=5, stem_width=8)


def _efficientnet(models):
    part = models.efficientnet
    stages = [part.FusedMBConvConfig(1, 3, 1, 8, 8, 2), part.FusedMBConvConfig(4, 3, 2, 8, 16, 2)]
    stages.append(part.MBConvConfig(4, 5, 2, 16, 24, 2))
    return models.EfficientNet(stages, 0.0, stochastic_depth_prob=0.0, num_classes=5, last_channel=32)


def _efficientnet_b(models):
    part = models.efficientnet
    stages = [part.MBConvConfig(1, 3, 1, 32, 16, 1, 0.5, 1.4), part.MBConvConfig(6, 5, 2, 16, 24, 2, 0.5, 1.4)]
    return models.EfficientNet(stages, 0.0, stochastic_depth_prob=0.0, num_classes=5)


def _mnasnet(models):
    return models.MNASNet(0.35, num_classes=5, dropout=0.0)


def _maxvit(models):
    return models.MaxVit((32, 32), 8, 2, [8, 16], [2, 1], 4, 0.0, num_classes=5)


def _googlenet(models):
    how = {"dropout": 0.0, "dropout_aux": 0.0, "init_weights": False}
    return models.GoogLeNet(5, transform_input=True, **how)


def _inception(models):
    return models.Inception3(5, aux_logits=False, transform_input=True, dropout=0.0, init_weights=False)


#: What makes a model of either library, and how large its images are.
SMALL = {
    "efficientnet": (_efficientnet, 33),
    "efficientnet_b": (_efficientnet_b, 33),
    "googlenet": (_googlenet, 64),
    "inception": (_inception, 80),
    "maxvit": (_maxvit, 32),
    "mnasnet": (_mnasnet, 64),
    "regnet": (_regnet, 32),
    "shufflenet": (_shufflenet, 64),
    "swin": (_swin, 20),
    "swin_v2": (_swin_v2, 31),
}


def values(state):
    """Numbers for each floating entry of a state, by its place in it and its shape; places are kept as they are."""
    found = {}
    for k, (name, value) in enumerate(state.items()):
        shape, rng = tuple(value.shape), np.random.default_rng(k)
        if "num_batches" in name or name.endswith(("position_index", "coords_table")):
            continue
        normal = rng.standard_normal(shape, dtype=np.float32).astype(np.float64)
        if name.endswith("running_var"):
            found[name] = 0.5 + normal**2
        elif len(shape) > 1:
            found[name] = normal / math.sqrt(math.prod(shape[1:]))
        else:
            found[name] = 0.1 * normal + (name.endswith("weight") and len(shape) == 1)
    return found


def images(size: int) -> np.ndarray:
    """Two images."""
    return np.random.default_rng(99).normal(size=(2, 3, size, size))


def outputs(lib, model, size: int, wrap, bare) -> dict[str, list[float]]:
    """What a model gives in both modes, and the last of its running variances.

    Args:
        lib: torch or tracec.
        model: Of that library.
        size: Of images.
        wrap: Makes a tensor of an array.
        bare: Makes an array of a tensor.
    """
    model.double()
    state = model.state_dict()
    state.update({name: wrap(value) for name, value in values(state).items()})
    model.load_state_dict(state)
    found = {}
    with lib.no_grad():
        for mode in ("eval", "train"):
            given = getattr(model, mode)()(wrap(images(size)))
            parts = given if isinstance(given, tuple) else (given,)
            found[mode] = [float(number) for part in parts for number in bare(part).reshape(-1)]
    kept = [bare(value) for name, value in model.state_dict().items() if name.endswith("running_var")]
    return {**found, "variance": [float(value.sum()) for value in kept[-1:]]}


def expected() -> dict[str, dict[str, list[float]]]:
    """What torchvision gave."""
    return json.loads(RECORDED.read_text())


def of_torchvision(name: str) -> dict[str, list[float]]:
    """What torchvision gives now."""
    import torch
    import torchvision

    make, size = SMALL[name]
    return outputs(torch, make(torchvision.models), size, torch.from_numpy, lambda tensor: tensor.numpy())


if __name__ == "__main__":
    found = {name: of_torchvision(name) for name in sorted(SMALL)}
    lines = [f"  {json.dumps(name)}: {json.dumps(of)}" for name, of in found.items()]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
