"""Files that name classes of a program's own: read where the user says that they are to be trusted."""

from __future__ import annotations

import pytest

import tracec
from tests.serialization.test_files import Sneaky, pytorch_file
from tracec import serialization
from tracec.errors import ArgumentError


class Config:
    def __init__(self, width=1):
        self.width = width


NAME = f"{Config.__module__}.Config"


@pytest.fixture(autouse=True)
def nothing_trusted():
    serialization.clear_safe_globals()
    yield
    serialization.clear_safe_globals()


def test_a_class_is_refused_until_it_is_trusted():
    with pytest.raises(ArgumentError, match=f"names {NAME}, which is not a plain value"):
        tracec.load(pytorch_file({"config": Config(7)}))
    assert serialization.get_unsafe_globals_in_checkpoint(pytorch_file([Config()]))[-1] == NAME
    with serialization.safe_globals([Config]):
        assert serialization.get_safe_globals() == [Config]
        found = tracec.load(pytorch_file({"config": Config(7)}))
        assert type(found["config"]) is Config and found["config"].width == 7
        assert NAME not in serialization.get_unsafe_globals_in_checkpoint(pytorch_file([Config()]))
    assert serialization.get_safe_globals() == []
    with pytest.raises(ArgumentError):
        tracec.load(pytorch_file(Config()))


def test_classes_by_another_name():
    class Settings:
        pass

    serialization.add_safe_globals([(Settings, NAME)])
    found = tracec.load(pytorch_file(Config(3)))
    assert type(found) is Settings and found.width == 3
    assert serialization.get_safe_globals() == [(Settings, NAME)]


def test_trusting_one_class_is_not_trusting_others():
    with serialization.safe_globals([Config]), pytest.raises(ArgumentError, match=r"names .*exec"):
        tracec.load(pytorch_file([Config(), Sneaky()]))


def test_mistakes(tmp_path):
    with pytest.raises(TypeError, match="takes classes and functions, int given"):
        serialization.safe_globals([3])
    tracec.save([1], tmp_path / "x.pt")
    with pytest.raises(ArgumentError, match=r"is no file of torch\.save"):
        serialization.get_unsafe_globals_in_checkpoint(tmp_path / "x.pt")


def test_skipped_elements(tmp_path):
    state = {"w": tracec.ones(3), "n": 2}
    tracec.save(state, tmp_path / "whole.pt")
    with serialization.skip_data():
        tracec.save(state, tmp_path / "empty.pt")
    found = tracec.load(tmp_path / "empty.pt")
    assert found["w"].tolist() == [0, 0, 0] and found["n"] == 2
    sizes = {p.stat().st_size for p in tmp_path.iterdir()}
    assert len(sizes) == 1
    tracec.save(state, tmp_path / "again.pt")
    assert tracec.load(tmp_path / "again.pt")["w"].tolist() == [1, 1, 1]


def test_tensors_that_are_made_of_others(tmp_path):
    s = tracec.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 3), requires_grad=True)
    n = tracec.nested.nested_tensor([tracec.ones(2, 3), tracec.zeros(1, 3)], layout=tracec.jagged)
    tracec.save({"s": s, "r": s.detach().to_sparse_csr(), "n": n}, tmp_path / "x.pt")
    found = tracec.load(tmp_path / "x.pt")
    assert repr(found["s"]) == repr(s)
    assert found["r"].layout is tracec.sparse_csr and found["r"].to_dense().equal(s.to_dense())
    assert found["n"].layout is tracec.jagged and found["n"].to_padded_tensor(0.0).equal(n.to_padded_tensor(0.0))


def test_pytorchs_sparse_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    s = torch.sparse_coo_tensor([[0, 1, 1], [1, 0, 1]], [1.0, 2.0, 3.0], (2, 3), check_invariants=True)
    torch.save({"s": s, "c": s.coalesce()}, tmp_path / "x.pt")
    found = tracec.load(tmp_path / "x.pt")
    assert found["s"].to_dense().tolist() == s.to_dense().tolist()
    assert found["c"].is_coalesced() and not found["s"].is_coalesced()
