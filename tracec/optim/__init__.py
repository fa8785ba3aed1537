"""Optimisers: they change parameters in place, by their gradients."""

import sys
from typing import TYPE_CHECKING

from tracec.errors import name_missing
from tracec.ir.forks import imported
from tracec.optim import lr_scheduler
from tracec.optim.adadelta import Adadelta
from tracec.optim.adafactor import Adafactor
from tracec.optim.adagrad import Adagrad
from tracec.optim.adam import Adam, AdamW
from tracec.optim.adamax import Adamax
from tracec.optim.asgd import ASGD
from tracec.optim.lbfgs import LBFGS
from tracec.optim.muon import Muon
from tracec.optim.nadam import NAdam
from tracec.optim.optimizer import Optimizer
from tracec.optim.radam import RAdam
from tracec.optim.rmsprop import RMSprop
from tracec.optim.rprop import Rprop
from tracec.optim.sgd import SGD
from tracec.optim.sparse_adam import SparseAdam
from tracec.record.misfits import tell_of_classes

__all__ = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "Optimizer",
    "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam", "lr_scheduler",
]  # fmt: skip


tell_of_classes(globals(), __all__)

if not TYPE_CHECKING:

    def __getattr__(name):
        if name == "swa_utils":  # which needs modules, and most programs do not need it
            return imported("tracec.optim.swa_utils")
        raise name_missing(sys.modules[__name__], name)
