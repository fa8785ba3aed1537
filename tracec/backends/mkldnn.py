"""oneDNN, which tracec does without: its kernels on the CPU are compiled C."""

#: Whether it may be used.
enabled = True
#: Whether results are to be the same from run to run; they are.
deterministic = False


def is_available() -> bool:
    """Whether it is used: no."""
    return False
