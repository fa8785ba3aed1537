"""Small models of each family give what torchvision's gave with the same weights, and learn the same compiled."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.failures import caught, check_form
from tests.vision.recorded import SMALL, expected, images, outputs, values
from tracec.vision import models

#: Numbers of each model, as torchvision gives them.
COUNTS = """
alexnet 61_100_840, convnext_base 88_591_464, convnext_large 197_767_336, convnext_small 50_223_688,
convnext_tiny 28_589_128, densenet121 7_978_856, densenet161 28_681_000, densenet169 14_149_480,
densenet201 20_013_928, efficientnet_b0 5_288_548, efficientnet_b1 7_794_184, efficientnet_b2 9_109_994,
efficientnet_b3 12_233_232, efficientnet_b4 19_341_616, efficientnet_b5 30_389_784, efficientnet_b6 43_040_704,
efficientnet_b7 66_347_960, efficientnet_v2_l 118_515_272, efficientnet_v2_m 54_139_356,
efficientnet_v2_s 21_458_488, googlenet 13_004_888, inception_v3 27_161_264, maxvit_t 30_919_624, mnasnet0_5 2_218_512,
mnasnet0_75 3_170_208, mnasnet1_0 4_383_312, mnasnet1_3 6_282_256, mobilenet_v2 3_504_872,
mobilenet_v3_large 5_483_032, mobilenet_v3_small 2_542_856, regnet_x_16gf 54_278_536, regnet_x_1_6gf 9_190_136,
regnet_x_32gf 107_811_560, regnet_x_3_2gf 15_296_552, regnet_x_400mf 5_495_976, regnet_x_800mf 7_259_656,
regnet_x_8gf 39_572_648, regnet_y_128gf 644_812_894, regnet_y_16gf 83_590_140, regnet_y_1_6gf 11_202_430,
regnet_y_32gf 145_046_770, regnet_y_3_2gf 19_436_338, regnet_y_400mf 4_344_144, regnet_y_800mf 6_432_512,
regnet_y_8gf 39_381_472, resnet101 44_549_160, resnet152 60_192_808, resnet18 11_689_512, resnet34 21_797_672,
resnet50 25_557_032, resnext101_32x8d 88_791_336, resnext101_64x4d 83_455_272, resnext50_32x4d 25_028_904,
shufflenet_v2_x0_5 1_366_792, shufflenet_v2_x1_0 2_278_604, shufflenet_v2_x1_5 3_503_624,
shufflenet_v2_x2_0 7_393_996, squeezenet1_0 1_248_424, squeezenet1_1 1_235_496, swin_b 87_768_224, swin_s 49_606_258,
swin_t 28_288_354, swin_v2_b 87_930_848, swin_v2_s 49_737_442, swin_v2_t 28_351_570, vgg11 132_863_336,
vgg11_bn 132_868_840, vgg13 133_047_848, vgg13_bn 133_053_736, vgg16 138_357_544, vgg16_bn 138_365_992,
vgg19 143_667_240, vgg19_bn 143_678_248, vit_b_16 86_567_656, vit_b_32 88_224_232, vit_h_14 632_045_800,
vit_l_16 304_326_632, vit_l_32 306_535_400, wide_resnet101_2 126_886_696, wide_resnet50_2 68_883_240
"""


@pytest.mark.parametrize("name", models.list_models())
def test_counts(name):
    counts = {name: int(count) for name, count in re.findall(r"(\w+) ([\d_]+)", COUNTS)}
    with tracec.device("meta"):
        model = models.get_model(name)
    assert sum(p.numel() for p in model.parameters()) == counts[name]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "inception" else name for name in SMALL]
)
def test_what_torchvision_gave(name):
    make, size = SMALL[name]
    found = outputs(tracec, make(models), size, tracec.from_numpy, lambda tensor: tensor.numpy())
    for part, numbers in expected()[name].items():
        np.testing.assert_allclose(found[part], numbers, rtol=1e-6, atol=1e-8, err_msg=part)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet", "maxvit", "regnet", "shufflenet", "swin", "swin_v2"])
def test_train_steps_compiled(name):
    # In float64: norms over few numbers make much of what rounding does to them.
    make, size = SMALL[name]
    x, y = tracec.from_numpy(images(size)), tracec.tensor([0, 1])
    found = []
    for compiled in (False, True):
        net = make(models).double()
        net.load_state_dict({n: tracec.from_numpy(v) for n, v in values(net.state_dict()).items()}, strict=False)
        optimizer = tracec.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

        def step(net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = tracec.compile(step) if compiled else step
        losses = [run().item() for _ in range(3)]
        found.append([*losses, *(float(p.detach().abs().sum()) for p in net.parameters())])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    assert len(set(found[0][:3])) == 3


def test_classifiers_on_the_way():
    with tracec.device("meta"):
        net = models.googlenet(num_classes=3)
        x = tracec.empty(2, 3, 64, 64)
        scores = net(x)
        assert type(scores).__name__ == "GoogLeNetOutputs" and scores.logits.shape == scores.aux_logits1.shape == (2, 3)
        assert tuple(net.eval()(x).shape) == (2, 3)
        third = models.inception_v3(num_classes=3)(tracec.empty(2, 3, 299, 299))
        assert tuple(third.aux_logits.shape) == (2, 3)
        alone = models.googlenet(aux_logits=False)
    assert alone.aux1 is None and sum(p.numel() for p in alone.parameters()) == 6_624_904


def test_windows_do_not_see_across_the_border():
    """A place sees its own window alone, and none of those that came in from the other side."""
    layer = models.swin_transformer.ShiftedWindowAttention(4, [2, 2], [1, 1], 2).double()
    x = tracec.randn(1, 4, 4, 4, dtype=tracec.float64, requires_grad=True)
    layer(x)[0, 0, 0].sum().backward()
    seen = x.grad.abs().sum(-1)[0]
    assert seen[0, 0] > 0 and seen[3, 3] < 1e-30 and seen[0, 1] < 1e-30
    x.grad = None
    layer(x)[0, 1, 1].sum().backward()
    seen = x.grad.abs().sum(-1)[0] > 1e-30
    assert seen.nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_mistakes(golden):
    mistakes = {
        "a stride": lambda _: models.shufflenetv2.InvertedResidual(4, 6, 1),
        "stages": lambda _: models.ShuffleNetV2([1, 2], [1, 2, 3, 4, 5]),
        "no stages": lambda _: models.EfficientNet([], 0.1),
        "a line": lambda _: models.regnet.BlockParams.from_init_params(4, 7, 9.5, 2.0, 8),
        "windows": lambda _: models.swin_t(window_size=[7]),
        "heads": lambda _: models.swin_t(embed_dim=100, num_heads=[3, 6, 12, 24]),
        "an image": lambda _: models.maxvit_t(input_size=(100, 224)),
        "another image": lambda _: models.MaxVit((32, 32), 8, 2, [8], [1], 4, 0.0)(tracec.zeros(1, 3, 36, 36)),
        "a width": lambda _: models.MNASNet(0.0),
    }
    found = [f"# {name}\n{check_form(caught(None, mistake, []))}" for name, mistake in mistakes.items()]
    assert "\n\n".join(found) == golden
