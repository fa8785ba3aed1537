"""Optimisers: they change parameters in place, by their gradients."""

import sys
from typing import TYPE_CHECKING

from tracec.errors import name_missing
from tracec.optim.adam import Adam, AdamW
from tracec.optim.optimizer import Optimizer
from tracec.optim.rmsprop import RMSprop
from tracec.optim.sgd import SGD

__all__ = ["Optimizer", "SGD", "Adam", "AdamW", "RMSprop"]


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
