"""Transforms of functions: gradients, tangents, Jacobians and batches, composable in any order.

Each transform runs the function in Python as it is, with tensors that take part in the transform:

- Reverse mode (`vjp`, `grad`, `jacrev`, …) gives the function tensors that gradients end at and goes back from what it
  returns, over the same record of operations that `Tensor.backward` uses; so `detach`, `no_grad`, hooks and
  `autograd.Function` mean what they mean there. A nested transform's tensors pass their gradients on to those of the
  transform around it.
- Forward mode (`jvp`, `jacfwd`, `hessian`) opens a level of `tracec.record.dual`, at which operations compute tangents
  of their results beside the results.
- `vmap` opens a level of `tracec.record.batching`, within which operations run for one example, and by their
  batching rules for all.

What each of them computes is again operations on tensors, which the transforms around it, and `tracec.compile`, see
as any others: that is all that composing takes. Under `compile` none of it is left but the graph.
"""

from tracec.func.batch import vmap
from tracec.func.branches import cond, while_loop
from tracec.func.control import scan
from tracec.func.forward import hessian, jacfwd, jvp
from tracec.func.modules import functional_call, stack_module_state
from tracec.func.reverse import grad, grad_and_value, jacrev, linearize, value_and_grad, vjp

__all__ = [
    "cond", "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "scan",
    "stack_module_state", "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip
