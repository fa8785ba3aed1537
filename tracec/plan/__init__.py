"""Planning: which nodes share a kernel, in which order kernels run, and where values live."""

from tracec.plan.planner import ask_for_products, make_plan, with_recomputation
from tracec.plan.target import TARGETS, Target, target_for

__all__ = ["TARGETS", "Target", "ask_for_products", "make_plan", "target_for", "with_recomputation"]
