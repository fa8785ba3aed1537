"""The digits example keeps what it promises."""

import json

import digits_cnn
import numpy as np
import pytest


def run(tmp_path, *flags, name="report.json"):
    file = tmp_path / name
    digits_cnn.main([*flags, "--no-speed", "--json", str(file)])
    return json.loads(file.read_text())


def test_shifts_move_by_at_most_one_pixel_and_fill_with_zeros():
    images = np.arange(1.0, 65.0, dtype=np.float32).reshape(1, 1, 8, 8).repeat(50, axis=0)
    shifted = digits_cnn.shift_randomly(images, np.random.default_rng(0))
    assert shifted.shape == images.shape
    padded = np.pad(images[0, 0], 1)
    windows = [padded[i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    assert all(any(np.array_equal(image[0], window) for window in windows) for image in shifted)
    assert len({image.tobytes() for image in shifted}) == 9


def test_splits_are_disjoint_and_cover_all_digits():
    splits = digits_cnn.load_splits(0)
    assert {name: len(x) for name, (x, _) in splits.items()} == {"train": 1257, "validation": 270, "test": 270}
    assert all(set(y) == set(range(10)) for _, y in splits.values())


@pytest.mark.parametrize("way", ["--eager", "--compile"])
def test_one_epoch_lowers_the_loss_and_same_seed_gives_same_numbers(tmp_path, way):
    first = run(tmp_path, way, "--epochs", "2", name="first.json")
    again = run(tmp_path, way, "--epochs", "2", name="again.json")
    assert first["losses"][-1] < 0.8 * first["losses"][0]
    assert first["losses"] == again["losses"]


def test_eager_and_compiled_losses_agree_over_50_steps(tmp_path):
    eager = run(tmp_path, "--eager", "--epochs", "3", name="eager.json")["losses"][:50]
    compiled = run(tmp_path, "--compile", "--epochs", "3", name="compiled.json")["losses"][:50]
    assert len(eager) == 50
    np.testing.assert_allclose(compiled, eager, rtol=1e-4)


@pytest.mark.slow
def test_reaches_98_percent_and_writes_what_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEC_DUMP", "")  # the example sets it: to be undone
    plot, dump = tmp_path / "losses.png", tmp_path / "dump"
    report = run(tmp_path, "--plot", str(plot), "--dump", str(dump))
    assert min(report["accuracy"], report["precision"], report["recall"]) >= 0.98
    assert plot.stat().st_size > 1000
    assert any(dump.rglob("*"))
