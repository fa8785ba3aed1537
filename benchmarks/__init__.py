"""Side-by-side timing of tracec and its peers; run ``python -m benchmarks --help``."""
