"""Intel's MKL, which tracec does not use by itself."""


def is_available() -> bool:
    """Whether it is used: no."""
    return False
