"""All workloads, in the order of the tables."""

from benchmarks.forward import FORWARD
from benchmarks.models import MODELS
from benchmarks.train import TRAIN
from benchmarks.workload import Workload

WORKLOADS = FORWARD + TRAIN


def by_name(name: str) -> Workload:
    """Return the workload of that name, or exit with a message that lists the names."""
    for workload in (*WORKLOADS, *MODELS):
        if workload.name == name:
            return workload
    raise SystemExit(f"no workload {name!r}; there are: {', '.join(w.name for w in (*WORKLOADS, *MODELS))}")
