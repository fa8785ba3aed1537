"""The name of ``torch.nn.parallel.distributed``, where many programs look for it."""

from tracec.nn.parallel import DistributedDataParallel

__all__ = ["DistributedDataParallel"]
