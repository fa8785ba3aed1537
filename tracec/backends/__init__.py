"""PyTorch's switches of libraries: tracec has kernels of its own in place of most, and says of each what is there."""

from tracec.backends import cpu, cuda, cudnn, mkl, mkldnn, mps

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps"]
