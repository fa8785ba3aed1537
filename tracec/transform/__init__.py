"""Graphs with a new meaning: reverse mode, forward mode, batching, mixed precision."""

from tracec.ir.body import TRANSFORMS
from tracec.transform.autocast import autocast as autocast
from tracec.transform.batch import vmap as vmap
from tracec.transform.jvp import jvp as jvp
from tracec.transform.jvp import tangents as tangents
from tracec.transform.vjp import gradients as gradients
from tracec.transform.vjp import transposed
from tracec.transform.vjp import vjp as vjp

TRANSFORMS.transposed, TRANSFORMS.tangents, TRANSFORMS.vmap = transposed, tangents, vmap
