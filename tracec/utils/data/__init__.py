"""Data sets, the order they are read in, and batches of them."""

from tracec.record.misfits import tell_of_classes
from tracec.utils.data.collate import default_collate, default_convert
from tracec.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from tracec.utils.data.distributed import DistributedSampler
from tracec.utils.data.loader import DataLoader
from tracec.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tracec.utils.data.worker import WorkerInfo, get_worker_info

__all__ = [
    "Dataset",
    "IterableDataset",
    "TensorDataset",
    "ConcatDataset",
    "ChainDataset",
    "StackDataset",
    "Subset",
    "random_split",
    "Sampler",
    "SequentialSampler",
    "RandomSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
    "BatchSampler",
    "DistributedSampler",
    "DataLoader",
    "default_collate",
    "default_convert",
    "WorkerInfo",
    "get_worker_info",
]

tell_of_classes(globals(), __all__)
