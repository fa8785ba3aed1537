"""GPUs of Apple's, for which tracec has no kernels."""


def is_available() -> bool:
    """Whether there is one that can be used: no."""
    return False


def is_built() -> bool:
    """Whether tracec has kernels for them: no."""
    return False


def is_macos_or_newer(major: int, minor: int) -> bool:
    """Whether a GPU of Apple's can be used with this release of the system: no."""
    return False
