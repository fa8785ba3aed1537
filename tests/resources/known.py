"""Kernels that are known to spill; they leave this list when they do so no more."""

#: Architecture and program → bytes that are spilled, at most.
KNOWN = {
    # 7 packs of 8 half-precision numbers of each of two streams are held by threads of 64 registers: NVRTC keeps the
    # places of both. Half as many threads, and a pack less in registers, spill elsewhere.
    ("sm_100", "softmax of a mask 256×50304 float16"): 64,
    ("sm_100", "softmax, backward 256×50304 float16"): 16,
    ("sm_100", "softmax, both 256×50304 float16"): 16,
    # As the ones above.
    ("sm_90", "cross-entropy of probabilities, backward 256×16384 bfloat16"): 16,
    # Registers of column kernels are not counted.
    **{
        (arch, f"column softmax, {part} 256×65537 float64"): 64
        for arch in ("sm_80", "sm_90")
        for part in ("backward", "both")
    },
    # A stripe of 1024 threads, next to the sums of its columns.
    ("sm_80", "residual, both 8192×8192 float32"): 8,
    ("sm_90", "residual, both 8192×8192 float32"): 8,
}
