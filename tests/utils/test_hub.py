"""Weights that are fetched, and models of a folder's ``hubconf.py``."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import tracec
from tests.failures import caught, check_form
from tracec import hub


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(hub._Folder, "chosen", None)
    return tmp_path


def weights(folder):
    """A file of weights with its sum in the name, and its address."""
    net = tracec.nn.Linear(2, 3)
    path = folder / "net.pth"
    tracec.save(net.state_dict(), path)
    named = path.rename(folder / f"net-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    return net, named, named.as_uri()


def test_weights_are_fetched_once(folder, capsys):
    net, path, url = weights(folder)
    state = hub.load_state_dict_from_url(url, check_hash=True, map_location="cpu")
    np.testing.assert_array_equal(state["weight"].numpy(), net.weight.detach().numpy())
    assert path.name in capsys.readouterr().err
    path.unlink()
    again = tracec.hub.load_state_dict_from_url(url, progress=False)
    tracec.nn.Linear(2, 3).load_state_dict(again)
    assert (folder / "home" / "hub" / "checkpoints" / path.name).is_file()
    assert tracec.utils.model_zoo.load_url(url).keys() == {"weight", "bias"}


def test_where_they_are_kept(folder, monkeypatch):
    _, path, url = weights(folder)
    assert hub.get_dir() == str(folder / "home" / "hub")
    hub.set_dir(folder / "elsewhere")
    hub.load_state_dict_from_url(url, file_name="other.pth", progress=False)
    assert (folder / "elsewhere" / "checkpoints" / "other.pth").is_file()
    hub.load_state_dict_from_url(url, str(folder / "named"), progress=False)
    assert (folder / "named" / path.name).is_file()
    monkeypatch.setattr(hub._Folder, "chosen", None)
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert hub.get_dir() == "/cache/torch/hub"


def test_another_file_is_not_taken(folder):
    _, path, url = weights(folder)
    path.write_bytes(b"something else")
    error = check_form(caught(tracec, lambda T: T.hub.load_state_dict_from_url(url, check_hash=True), []))
    assert "its SHA-256 sum is " in error.message and "put the file at" in error.hint
    assert not [*folder.joinpath("home").rglob("*.pth*")]
    with pytest.raises(OSError, match="SHA-256"):
        hub.download_url_to_file(url, str(folder / "copy"), hash_prefix="00000000")
    hub.download_url_to_file(url, str(folder / "copy"), progress=False)
    assert (folder / "copy").read_bytes() == b"something else"


@pytest.mark.parametrize("url", ["file:///no/such/file.pth", "no address", "http://127.0.0.1:9/net.pth"])
def test_no_network(url):
    error = check_form(caught(tracec, lambda T: T.hub.load_state_dict_from_url(url), []))
    assert isinstance(error, OSError) and url in error.message and "put the file at" in error.hint


HUBCONF = """
dependencies = ["torch", {needs!r}]
import tracec
from hub_neighbour import SIZE


def linear(out=1, bias=True):
    "A layer."
    return tracec.nn.Linear(SIZE, out, bias=bias)


def _hidden():
    pass
"""


def test_models_of_a_folder(folder):
    (folder / "hubconf.py").write_text(HUBCONF.format(needs="numpy"))
    (folder / "hub_neighbour.py").write_text("SIZE = 5\n")
    net = hub.load(str(folder), "linear", 2, source="local", bias=False)
    assert net.weight.shape == (2, 5) and net.bias is None
    assert "linear" in hub.list(str(folder), source="local") and "_hidden" not in hub.list(str(folder), source="local")
    assert hub.help(str(folder), "linear", source="local") == "A layer."


def test_models_that_are_refused(folder):
    (folder / "hub_neighbour.py").write_text("SIZE = 5\n")
    (folder / "hubconf.py").write_text(HUBCONF.format(needs="no_such_package"))
    mistakes = [
        (lambda T: T.hub.load("pytorch/vision", "resnet18"), "code from the network"),
        (lambda T: T.hub.load("ultralytics/yolov5", "yolov5s", pretrained=True), "code from the network"),
        (lambda T: T.hub.load(str(folder / "none"), "linear", source="local"), "there is no"),
        (lambda T: T.hub.load(str(folder), "linear", source="local"), "needs no_such_package"),
    ]
    for mistake, part in mistakes:
        assert part in check_form(caught(tracec, mistake, [])).message
    (folder / "hubconf.py").write_text(HUBCONF.format(needs="numpy"))
    error = check_form(caught(tracec, lambda T: T.hub.load(str(folder), "linaer", source="local"), []))
    assert "has no function 'linaer'" in error.message and "linear" in error.hint
