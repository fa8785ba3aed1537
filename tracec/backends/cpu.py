"""The CPU."""

import platform


def get_cpu_capability() -> str:
    """The kind of processor that programs are compiled for, as the system names it."""
    return platform.machine()
