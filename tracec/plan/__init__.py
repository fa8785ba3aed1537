"""Planning: which nodes share a kernel, in which order kernels run, and where values live."""

from tracec.plan.planner import TARGETS, Target, make_plan

__all__ = ["TARGETS", "Target", "make_plan"]
