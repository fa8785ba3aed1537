"""Planning: which nodes share a kernel, in which order kernels run, and where values live."""

from tracec.plan.planner import make_plan
from tracec.plan.target import TARGETS, Target, target_for

__all__ = ["TARGETS", "Target", "make_plan", "target_for"]
