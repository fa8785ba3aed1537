"""Learning rates that change while training goes on."""

import sys
from typing import TYPE_CHECKING

from tracec.errors import name_missing
from tracec.optim.lr_scheduler.base import LRScheduler
from tracec.optim.lr_scheduler.compose import ChainedScheduler, SequentialLR
from tracec.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from tracec.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from tracec.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from tracec.optim.lr_scheduler.plateau import ReduceLROnPlateau
from tracec.record.misfits import tell_of_classes

#: PyTorch's former name.
_LRScheduler = LRScheduler

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip


tell_of_classes(globals(), __all__)

if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
