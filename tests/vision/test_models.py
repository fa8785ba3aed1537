"""Models: how many numbers they have, their names, what goes through them, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.failures import caught, check_form
from tracec.vision import models
from tracec.vision.models.densenet import DenseNet
from tracec.vision.models.resnet import BasicBlock, Bottleneck, ResNet
from tracec.vision.ops import StochasticDepth

#: Numbers of each model, as torchvision's documentation gives them; and whether it is made in a moment.
SIZES = {
    "alexnet": (61_100_840, False),
    "convnext_tiny": (28_589_128, False),
    "densenet121": (7_978_856, True),
    "efficientnet_b0": (5_288_548, True),
    "mobilenet_v2": (3_504_872, True),
    "mobilenet_v3_large": (5_483_032, True),
    "mobilenet_v3_small": (2_542_856, True),
    "resnet18": (11_689_512, True),
    "resnet34": (21_797_672, False),
    "resnet50": (25_557_032, False),
    "resnet101": (44_549_160, False),
    "resnext50_32x4d": (25_028_904, False),
    "squeezenet1_0": (1_248_424, True),
    "squeezenet1_1": (1_235_496, True),
    "vgg11": (132_863_336, False),
    "vit_b_16": (86_567_656, False),
    "wide_resnet50_2": (68_883_240, False),
}


@pytest.mark.parametrize(
    "name", [name if quick else pytest.param(name, marks=pytest.mark.slow) for name, (_, quick) in SIZES.items()]
)
def test_numbers(name):
    model = models.get_model(name).eval()
    assert sum(p.numel() for p in model.parameters()) == SIZES[name][0]
    size = 224 if name.startswith("vit") else 64
    with tracec.no_grad():
        found = model(tracec.randn(1, 3, size, size))
    assert tuple(found.shape) == (1, 1000) and bool(found.isfinite().all())


def test_names_and_shapes_of_a_state(golden):
    net = models.resnet18(num_classes=10)
    shown = "\n".join(f"{name} {tuple(value.shape)}" for name, value in net.state_dict().items())
    assert shown == golden


def tiny(**kwargs) -> ResNet:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5, **kwargs)


def test_only_the_last_layer_learns():
    net = tiny()
    for parameter in net.parameters():
        parameter.requires_grad = False
    net.fc = tracec.nn.Linear(net.fc.in_features, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = tracec.optim.SGD(net.fc.parameters(), lr=0.1)
    F.cross_entropy(net(tracec.randn(4, 3, 32, 32)), tracec.tensor([0, 1, 0, 1])).backward()
    optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    assert {name for name in changed if "running" not in name and "batches" not in name} == {"fc.weight", "fc.bias"}


def test_a_block_by_hand():
    """One residual block with known weights is what its formula says."""
    block = BasicBlock(2, 2).eval()
    for convolution, scale in ((block.conv1, 2.0), (block.conv2, -3.0)):
        tracec.nn.init.dirac_(convolution.weight)
        with tracec.no_grad():
            convolution.weight.mul_(scale)
    x = tracec.tensor([[[[1.0, -1.0]], [[0.5, 2.0]]]])
    shrink = (1 + 1e-5) ** -0.5
    expected = np.maximum(x.numpy() - 3 * shrink * np.maximum(2 * shrink * x.numpy(), 0), 0)
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-6)


def test_a_bottleneck_looks_farther_apart_where_it_does_not_shrink():
    kept = ResNet(Bottleneck, [1, 1, 1, 1], 5, replace_stride_with_dilation=[False, True, True])
    assert kept.layer4[0].conv2.dilation == (2, 2) and kept.layer4[0].conv2.stride == (1, 1)
    assert kept.layer3[0].conv2.dilation == (1, 1)
    x = kept.maxpool(tracec.randn(1, 64, 32, 32))
    assert kept.layer4(kept.layer3(kept.layer2(kept.layer1(x)))).shape[-2:] == (8, 8)


def test_blocks_may_begin_with_nothing():
    net = tiny(zero_init_residual=True)
    assert not net.layer1[0].bn2.weight.any() and net.layer1[0].bn1.weight.all()


def test_samples_are_left_out_while_training():
    tracec.manual_seed(0)
    layer = StochasticDepth(0.25)
    kept = layer(tracec.ones(400, 1, 1, 2))
    assert (
        set(kept.flatten().tolist()) == {0.0, float(np.float32(1 / 0.75))}
        and 70 < int((kept[:, 0, 0, 0] == 0).sum()) < 130
    )
    assert kept[..., 0].equal(kept[..., 1])
    assert layer.eval()(kept) is kept and not StochasticDepth(1.0)(tracec.ones(2, 1)).any()


def test_old_names_of_dense_layers():
    net = DenseNet(4, (1, 1), 8, num_classes=2)
    state = net.state_dict()
    old = {}
    for name, value in state.items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            name = name.replace(f"denselayer1.{part}", f"denselayer1.{part[:4]}.{part[4:]}")
        old[name] = value + 1
    assert sum("norm.1" in name for name in old) == 10
    net.load_state_dict(old)
    assert net.features.denseblock1.denselayer1.norm1.weight[0] == 2


@pytest.mark.slow
def test_a_train_step_compiled():
    # In float64: norms over four numbers make much of what rounding does to them.
    x, y = tracec.randn(4, 3, 32, 32).double(), tracec.tensor([0, 1, 2, 3])
    losses = []
    for compiled in (False, True):
        tracec.manual_seed(0)
        net = models.resnet18(num_classes=5).double()
        optimizer = tracec.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

        def step(net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = tracec.compile(step) if compiled else step
        losses.append([run().item() for _ in range(4)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def test_names_of_models():
    names = models.list_models()
    assert len(names) > 30 and names == sorted(names) and all(callable(getattr(models, name)) for name in names)
    assert models.list_models("vgg*", exclude=["*_bn"]) == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert isinstance(models.get_model("SqueezeNet1_1", num_classes=3), models.SqueezeNet)


def test_mistakes(golden):
    mistakes = {
        "weights": lambda _: models.resnet18(weights="DEFAULT"),
        "weights as once": lambda _: models.vgg16_bn(pretrained=True),
        "weights by name": lambda _: models.ResNet18_Weights.DEFAULT,
        "a name": lambda _: models.get_model("resnet19"),
        "groups": lambda _: tiny(groups=2),
        "three": lambda _: tiny(replace_stride_with_dilation=[True]),
        "patches": lambda _: models.vit_b_16(image_size=100),
        "a probability": lambda _: StochasticDepth(2),
        "another size": lambda _: models.VisionTransformer(32, 16, 1, 2, 8, 8)(tracec.zeros(1, 3, 64, 64)),
    }
    found = [f"# {name}\n{check_form(caught(None, mistake, []))}" for name, mistake in mistakes.items()]
    assert "\n\n".join(found) == golden
    assert not hasattr(models, "ResNet18_Weights")
    assert isinstance(models.resnet18(weights=None, progress=False, num_classes=2), ResNet)


def test_what_children_compute_on_the_way():
    from tracec.vision.models._utils import IntermediateLayerGetter  # where DETR and its kin import it from

    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3).eval()
    body = IntermediateLayerGetter(net, {"layer2": "0", "layer4": "last"})
    assert list(body) == ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    x = tracec.randn(1, 3, 32, 32)
    found = tracec.compile(body)(x)
    assert list(found) == ["0", "last"]
    y = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
    assert tracec.allclose(found["0"], y, atol=1e-5)
    assert tracec.allclose(found["last"], net.layer4(net.layer3(y)), atol=1e-5)
    error = check_form(caught(None, lambda _: IntermediateLayerGetter(net, {"layer5": "0"}), []))
    assert "ResNet has no child 'layer5'" in str(error)
