"""Models and weights of others, under the names of ``torch.hub``.

Files of weights are fetched into the folder that PyTorch has for them, and loading runs nothing that is in them. Code
is taken from a folder alone: that of a repository was written for PyTorch, and is to be looked at first.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

from tracec.errors import ArgumentError, FileMissingError, PackageMissingError, UnsupportedError
from tracec.serialization import MapLocation
from tracec.serialization import load as _read
from tracec.utils.fetch import fetched

#: How the name of a file tells what its SHA-256 sum begins with.
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")


class _Folder:
    chosen: str | None = None


def _get_torch_home() -> str:
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return os.path.expanduser(home)


def get_dir() -> str:
    """The folder for what is fetched: ``hub`` in ``TORCH_HOME``, or in ``torch`` of the user's folder for caches."""
    return _Folder.chosen or os.path.join(_get_torch_home(), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Fetch into this folder from now on."""
    _Folder.chosen = os.path.expanduser(os.fspath(d))


# Weights -------------------------------------------------------------------------------------------------


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Fetch a file.

    Args:
        url: Where it is.
        dst: The path of the file to write.
        hash_prefix: What its SHA-256 sum begins with, in hexadecimal digits, if that is to be checked.
        progress: Whether to show how far it is.

    Raises:
        DownloadError: it cannot be had, or has another sum.
    """
    fetched(url, Path(dst).expanduser(), sha256=hash_prefix or "", progress=progress)


def load_state_dict_from_url(
    url: str, model_dir: str | None = None, map_location: MapLocation = None, progress: bool = True,
    check_hash: bool = False, file_name: str | None = None, weights_only: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """What is in a file of weights, which is fetched where it is not there yet.

    Args:
        url: Where it is; the last part of the path is the file's name.
        model_dir: The folder in which it is kept; by default ``checkpoints`` in that of `get_dir`.
        map_location: Where tensors are to be; see `tracec.load`.
        progress: Whether to show how far it is.
        check_hash: Whether the name tells the sum of the file, as in ``resnet18-5c106cde.pth``, and is to be checked.
        file_name: Another name to keep it under.
        weights_only: Taken as in PyTorch; nothing in a file runs, whatever it is.

    Raises:
        DownloadError: it cannot be had, or has another sum.
        ArgumentError: no name of a file can be told.
    """
    name = file_name or os.path.basename(urlparse(url).path)
    if not name:
        raise ArgumentError(f"load_state_dict_from_url: {url!r} ends in no name of a file", hint="give file_name=")
    path = Path(model_dir or os.path.join(get_dir(), "checkpoints")) / name
    if not path.is_file():
        known = HASH_REGEX.search(name) if check_hash else None
        fetched(url, path, sha256=known.group(1) if known else "", progress=progress)
    found: dict[str, Any] = _read(path, map_location=map_location)
    return found


# Models --------------------------------------------------------------------------------------------------


def load(
    repo_or_dir: str, model: str, *args: Any, source: str = "github", trust_repo: Any = None,
    force_reload: bool = False, verbose: bool = True, skip_validation: bool = False, **kwargs: Any,
) -> Any:  # fmt: skip
    """What a function of a folder's ``hubconf.py`` gives.

    Args:
        repo_or_dir: The folder.
        model: The function's name.
        *args: What it is called with.
        source: ``local``; code from the network is refused.
        trust_repo: Taken as in PyTorch, with no effect: the folder is the user's.
        force_reload: Likewise.
        verbose: Likewise.
        skip_validation: Likewise.
        **kwargs: What it is called with by name.

    Raises:
        UnsupportedError: the source is another one.
        FileMissingError: the folder has no ``hubconf.py``.
        ArgumentError: there is no such function in it.
    """
    with _hubconf("load", repo_or_dir, source) as module:
        return _entry("load", module, model)(*args, **kwargs)


def list(
    github: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = None,
    verbose: bool = True, *, source: str = "github",
) -> Any:  # fmt: skip
    """The names of functions in a folder's ``hubconf.py``; arguments as those of `load`."""
    with _hubconf("list", github, source) as module:
        return [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]


def help(
    github: str, model: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = None, *,
    source: str = "github",
) -> str | None:  # fmt: skip
    """What a function of a folder's ``hubconf.py`` says of itself; arguments as those of `load`."""
    with _hubconf("help", github, source) as module:
        text: str | None = _entry("help", module, model).__doc__
        return text


def _entry(name: str, module: ModuleType, model: str) -> Any:
    found = getattr(module, model, None)
    if not callable(found):
        there = ", ".join(n for n in dir(module) if callable(getattr(module, n)) and not n.startswith("_"))
        raise ArgumentError(f"hub.{name}: {module.__file__} has no function {model!r}", hint=f"there are {there}")
    return found


@contextmanager
def _hubconf(name: str, folder: str, source: str) -> Iterator[ModuleType]:
    """The folder's ``hubconf.py``, whose neighbours can be imported within."""
    if source != "local":
        raise UnsupportedError(
            f"hub.{name}: source={source!r} would run code from the network that was written for PyTorch",
            hint="clone the repository, let its files import tracec in place of torch, and give the folder with "
            'source="local"; weights alone: hub.load_state_dict_from_url(url)',
        )
    path = Path(folder).expanduser() / "hubconf.py"
    if not path.is_file():
        raise FileMissingError(f"hub.{name}: there is no {path}", hint="name the folder that has a hubconf.py")
    spec = importlib.util.spec_from_file_location("hubconf", path)
    assert spec is not None and spec.loader is not None  # a path that ends in .py has a loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        for package in getattr(module, "dependencies", ()):
            if package != "torch" and importlib.util.find_spec(package) is None:
                raise PackageMissingError(f"hub.{name}: {path} needs {package}", hint=f"pip install {package}")
        yield module
    finally:
        sys.path.remove(str(path.parent))


__all__ = [
    "download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir",
]  # fmt: skip
