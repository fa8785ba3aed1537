"""Why there is no CUDA: a driver, a GPU and CuPy, each of a release of CUDA, may not go together."""

from __future__ import annotations

from typing import Any

from tracec.errors import DeviceError

#: The first of CuPy's releases whose arrays may be of bfloat16.
OLDEST_CUPY = 14
#: The oldest release of CUDA that there is a CuPy of ours for.
_OLDEST_DRIVER = 12000

_CPU = "the CPU is device 'cpu'"


def unreachable(cupy: Any, device: str, error: Exception) -> DeviceError:
    """Why CuPy reaches no device: CUDA says the same of a driver that is not there and of one that is too old.

    Args:
        cupy: The module.
        device: What was asked for.
        error: What CUDA said.
    """
    try:
        driver, runtime = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    except Exception:  # it tells nothing else, either
        driver = runtime = -1
    if 0 < driver < runtime // 1000 * 1000:
        instead = f", or {_replaced(driver)}" if driver >= _OLDEST_DRIVER else ""
        return DeviceError(
            f"device {device}: the NVIDIA driver knows CUDA {_release(driver)}, CuPy {_version(cupy)} is built for "
            f"CUDA {_release(runtime)}",
            hint=f"update the driver{instead}; {_CPU}",
        )
    reason = "no NVIDIA driver is loaded" if driver == 0 else str(error).split("\n")[0]
    return DeviceError(
        f"device {device}: no CUDA device can be reached ({reason})",
        hint=f"check the NVIDIA driver with nvidia-smi; {_CPU}",
    )


def cut_off(device: str) -> DeviceError:
    """Why a forked child reaches no device."""
    return DeviceError(
        f"device {device}: CUDA does not work in a process that was forked after it had been started",
        hint="start processes by 'spawn', as tracec.multiprocessing.spawn does, or fork before CUDA is first asked "
        f"for; {_CPU}",
    )


def check_age(cupy: Any, device: str, index: int) -> None:
    """Refuse a CuPy without bfloat16, and a GPU that its release of CUDA compiles nothing for any more.

    Args:
        cupy: The module.
        device: What was asked for.
        index: Its number.

    Raises:
        DeviceError: says what will do.
    """
    if 0 < int(_version(cupy).partition(".")[0]) < OLDEST_CUPY:
        raise DeviceError(
            f"device {device}: CuPy {_version(cupy)} is too old, {OLDEST_CUPY}.0 is the first that will do",
            hint=f"{_replaced(cupy.cuda.runtime.runtimeGetVersion())}; {_CPU}",
        )
    try:
        own = int(cupy.cuda.Device(index).compute_capability)
        oldest, release = min(cupy.cuda.nvrtc.getSupportedArchs()), cupy.cuda.nvrtc.getVersion()
    except Exception:  # what needs it will say so
        return
    if own < oldest:
        raise DeviceError(
            f"device {device}: a GPU of compute capability {own // 10}.{own % 10} is too old for CUDA "
            f"{'.'.join(map(str, release))}, which compiles for {oldest // 10}.{oldest % 10} and later",
            hint=f"{_replaced(12000)}; {_CPU}",
        )


def _version(cupy: Any) -> str:
    return str(getattr(cupy, "__version__", "0"))


def _release(version: int) -> str:
    """As 13.0, of 13000."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _replaced(version: int) -> str:
    """How to install what is built for a release of CUDA in place of what is there."""
    extra = "cuda12" if version < 13000 else "cuda"
    return f"pip uninstall cupy-cuda12x cupy-cuda13x, then pip install 'tracec[{extra}]'"
