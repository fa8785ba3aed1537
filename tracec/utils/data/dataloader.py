"""The names of ``torch.utils.data.dataloader``, where many programs look for them."""

from collections.abc import Callable
from typing import Any

from tracec.utils.data.collate import default_collate, default_convert
from tracec.utils.data.dataset import Dataset, IterableDataset
from tracec.utils.data.loader import DataLoader
from tracec.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from tracec.utils.data.worker import get_worker_info

#: Types that programs name in signatures of their own loaders.
_collate_fn_t = Callable[[list[Any]], Any]
_worker_init_fn_t = Callable[[int], None]

__all__ = [
    "BatchSampler",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
]
