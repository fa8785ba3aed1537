"""The machine a run was made on, and how its threads and caches are set before any engine is loaded."""

import importlib.metadata
import os
import platform
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

PACKAGES = ("tracec", "numpy", "torch", "jax", "jaxlib", "cupy-cuda13x", "cupy-cuda12x")


def limit_threads(count: int) -> None:
    """Give this process and its children ``count`` cores and as many threads to each engine.

    To be called before numpy, torch or jax is imported: their pools are sized when they load. jax has no option
    for its pool, and takes the number of cores that the process may use.
    """
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TRACEC_NUM_THREADS"):
        os.environ[name] = str(count)


def use_caches(folder: Path) -> None:
    """Point every engine's cache of compiled code into one folder."""
    os.environ["TRACEC_CACHE_DIR"] = str(folder / "tracec")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "torch")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "jax")
    # jax keeps only what was slow to compile unless told otherwise.
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def cpu_name() -> str:
    """Return the processor's name as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def versions() -> dict[str, str]:
    """Return the versions of the packages that take part and are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def copy_bandwidth(threads: int) -> float:
    """Return bytes read and written per second when each thread copies memory that it has touched before."""
    import numpy as np

    pairs = [(np.ones(1 << 23), np.ones(1 << 23)) for _ in range(threads)]
    best = float("inf")
    for _ in range(7):
        workers = [threading.Thread(target=np.copyto, args=pair) for pair in pairs]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = min(best, time.perf_counter() - start)
    return 2 * threads * pairs[0][0].nbytes / best


def describe(threads: int, device: str) -> dict[str, Any]:
    """Return what a reader needs to judge a run: machine, threads, versions, thread pools in this process."""
    from threadpoolctl import threadpool_info

    about: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu_name(),
        "threads": threads,
        "device": device,
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "versions": versions(),
        "copy_gb_per_s": round(copy_bandwidth(min(threads, 8)) / 1e9, 1),
        "pools": [
            {key: pool.get(key) for key in ("user_api", "internal_api", "architecture", "num_threads")}
            for pool in threadpool_info()
        ],
    }
    if device == "cuda":
        from benchmarks.kernels.devices import Gpu

        gpu = Gpu()
        about |= {"gpu": gpu.about()["name"], "gpu_details": gpu.about(), "driver": driver()}
        # The driver copies some sizes, such as a whole GiB, at two thirds of the speed of others.
        fastest = max(nbytes / gpu.copy(nbytes).seconds for nbytes in (1 << 29, 3 << 28, 7 << 28))
        about["copy_gb_per_s"] = round(fastest / 1e9, 1)
        gpu.free()
    return about


def has_gpu() -> bool:
    """Say whether tracec can reach a CUDA device."""
    from tracec.record.backend import is_available

    return is_available()


def driver() -> str:
    """Return the version of the NVIDIA driver, as its tool tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown"
