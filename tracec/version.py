"""The version of tracec and of what it is built with, under the names of ``torch.version``."""

from tracec import __version__

#: PyTorch's is the CUDA that it was compiled with; kernels here are compiled by the CUDA found when they are needed.
cuda = None
hip = None
debug = False

__all__ = ["__version__", "cuda", "debug", "hip"]
