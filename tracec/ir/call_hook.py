"""The interpreter's hook of calls and returns, which one watcher has at a time."""

from __future__ import annotations

import sys
from typing import Any


def put_back_hook(before: Any) -> None:
    """Let another watcher have the hook again.

    Args:
        before: What `sys.getprofile` gave; `cProfile.Profile` up to Python 3.11 is no function, and is turned on.
    """
    if before is None or callable(before):
        sys.setprofile(before)
        return
    sys.setprofile(None)
    getattr(before, "enable", lambda: None)()


__all__ = ["put_back_hook"]
