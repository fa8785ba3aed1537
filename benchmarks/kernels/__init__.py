"""Generated kernels against the speed of memory and against cuBLAS: ``python -m benchmarks.kernels``."""
