"""Helpers over the parameters of a module."""

from tracec.nn.utils import rnn
from tracec.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm
from tracec.nn.utils.vector import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "rnn",
    "parameters_to_vector",
    "vector_to_parameters",
]
