"""Optimisers: they change parameters in place, by their gradients."""

from tracec.optim.adam import Adam, AdamW
from tracec.optim.optimizer import Optimizer
from tracec.optim.rmsprop import RMSprop
from tracec.optim.sgd import SGD

__all__ = ["Optimizer", "SGD", "Adam", "AdamW", "RMSprop"]
