"""Types for PyTorch's scripts, which are Python's."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Union  # noqa: UP035 (these are the names that programs import)

__all__ = ["Any", "Dict", "List", "Optional", "Tuple", "Union"]
