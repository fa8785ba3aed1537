"""Networks for images, with torchvision's names of modules: its files of weights fit.

Weights are not fetched. ``model = resnet18(); model.load_state_dict(tracec.load("resnet18.pth"))`` reads a file.
"""

from __future__ import annotations

import sys
from typing import Any

from tracec.errors import name_missing
from tracec.vision.models.convnext import ConvNeXt, convnext_base, convnext_small, convnext_tiny
from tracec.vision.models.densenet import DenseNet, densenet121, densenet161, densenet169, densenet201
from tracec.vision.models.mobile import (
    EfficientNet,
    MobileNetV2,
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    mobilenet_v2,
)
from tracec.vision.models.mobile_v3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
from tracec.vision.models.plain import (
    VGG,
    AlexNet,
    SqueezeNet,
    alexnet,
    squeezenet1_0,
    squeezenet1_1,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)
from tracec.vision.models.registry import HOW, get_model, get_model_builder, list_models
from tracec.vision.models.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from tracec.vision.models.transformer import VisionTransformer, vit_b_16, vit_b_32, vit_l_16


def __getattr__(name: str) -> Any:
    error = name_missing(sys.modules[__name__], name)
    if name.endswith("_Weights"):
        error.hint = f"weights are not fetched: {HOW.format(name=name.removesuffix('_Weights').lower())}"
    raise error


__all__ = [
    "AlexNet", "ConvNeXt", "DenseNet", "EfficientNet", "MobileNetV2", "MobileNetV3", "ResNet", "SqueezeNet", "VGG",
    "VisionTransformer", "alexnet", "convnext_base", "convnext_small", "convnext_tiny", "densenet121", "densenet161",
    "densenet169", "densenet201", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
    "efficientnet_b4", "get_model", "get_model_builder", "list_models", "mobilenet_v2", "mobilenet_v3_large",
    "mobilenet_v3_small", "resnet101", "resnet152", "resnet18", "resnet34", "resnet50", "resnext101_32x8d",
    "resnext50_32x4d", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16",
    "vgg16_bn", "vgg19", "vgg19_bn", "vit_b_16", "vit_b_32", "vit_l_16", "wide_resnet101_2", "wide_resnet50_2",
]  # fmt: skip
