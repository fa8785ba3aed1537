"""The names of ``torch.utils.data.dataloader``, where many programs look for them."""

from tracec.utils.data.collate import default_collate, default_convert
from tracec.utils.data.dataset import Dataset, IterableDataset
from tracec.utils.data.loader import DataLoader
from tracec.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from tracec.utils.data.worker import get_worker_info

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
