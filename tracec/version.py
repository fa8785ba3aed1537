"""Versions: of tracec, and of the PyTorch whose names it has, under the names of ``torch.version``.

Programs ask ``torch.__version__`` which names and behaviour to count on, and take ways around what older releases
lacked. What they are told is the release of PyTorch that tracec is held to, and which tracec it is behind a plus.
"""

from __future__ import annotations

import re
from typing import Any

#: The version of tracec.
tracec = "0.1.0"
#: The release of PyTorch whose names and behaviour these are, and that of torchvision.
PYTORCH, TORCHVISION = "2.13.0", "0.28.0"


class TorchVersion(str):
    """A version as text, which compares as versions do: with others, with text, and with numbers in a tuple."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        return _key(self) < _key(other)

    def __le__(self, other: Any) -> bool:
        return _key(self) <= _key(other)

    def __gt__(self, other: Any) -> bool:
        return _key(self) > _key(other)

    def __ge__(self, other: Any) -> bool:
        return _key(self) >= _key(other)

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True or _key(self) == _key(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


#: What comes before a release, the first one first.
_BEFORE = ("dev", "a", "b", "c", "rc")


def _key(version: Any) -> tuple[Any, ...]:
    """What versions are ordered by: numbers, whether it is a release or what came before it, what is local."""
    text = ".".join(map(str, version)) if isinstance(version, (tuple, list)) else str(version)
    public, _, local = text.partition("+")
    numbers = re.match(r"[\d.]*", public)
    release = [int(n) for n in numbers[0].split(".") if n] if numbers else []
    while release and not release[-1]:
        release.pop()
    before = re.search(r"(dev|a|b|c|rc)(\d*)$", public)
    stage = (_BEFORE.index(before[1]), int(before[2] or 0)) if before else (len(_BEFORE), 0)
    return tuple(release), stage, local


__version__ = TorchVersion(f"{PYTORCH}+tracec{tracec}")

#: PyTorch's is the CUDA that it was compiled with; kernels here are compiled by the CUDA found when they are needed.
cuda = None
hip = None
git_version = "unknown"
debug = False

__all__ = ["TorchVersion", "__version__", "cuda", "debug", "git_version", "hip"]
