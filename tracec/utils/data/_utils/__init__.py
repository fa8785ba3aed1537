"""What data loaders are made of, under the paths that PyTorch keeps it at."""

from tracec.utils.data import worker
from tracec.utils.data._utils import collate

__all__ = ["collate", "worker"]
