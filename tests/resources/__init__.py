"""What generated kernels take of a GPU: registers, spills and shared memory of a broad set of programs."""
