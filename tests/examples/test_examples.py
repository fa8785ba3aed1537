"""Every example runs, learns, and gives the same numbers for the same seed."""

from __future__ import annotations

import char_gpt
import image_folder
import lstm_forecast
import neural_ode
import numpy as np
import pytest
import reinforce
import scipy_minimise
import vae


def test_a_gpt_learns_characters(capsys):
    found = char_gpt.main(["--steps", "25", "--batch", "8", "--length", "20", "--eager"])
    assert found < 3.6  # 4.6 before the first step
    assert "nats per character" in capsys.readouterr().out


def test_a_gpt_cannot_see_what_comes():
    model = char_gpt.GPT(11)
    tokens = char_gpt.torch.randint(11, (2, 9))
    changed = tokens.clone()
    changed[:, 5:] = 0
    np.testing.assert_allclose(model(tokens)[:, :5].detach(), model(changed)[:, :5].detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", [[], ["--eager"]])
def test_an_autoencoder_learns_digits(way, tmp_path, capsys):
    losses = vae.main(["--epochs", "3", "--plot", str(tmp_path / "digits.png"), *way])
    assert losses[-1] < 0.8 * losses[0]
    assert (tmp_path / "digits.png").stat().st_size > 1000
    assert losses == vae.main(["--epochs", "3", *way])


def test_an_lstm_forecasts(tmp_path):
    loss, error = lstm_forecast.main(["--steps", "2", "--batch", "4", "--eager", "--plot", str(tmp_path / "waves.png")])
    assert 0 < loss < 1 and 0 < error < 2
    assert (tmp_path / "waves.png").stat().st_size > 1000


@pytest.mark.slow
def test_an_lstm_learns_waves():
    loss, _ = lstm_forecast.main(["--steps", "150", "--batch", "16"])
    assert loss < 0.3  # 0.5 before the first step


def test_a_pole_falls_without_help_and_rewards_are_discounted():
    environment = reinforce.CartPole(0)
    environment.reset()
    steps = next(k for k in range(100) if environment.step(1)[1])
    assert 5 < steps < 20
    np.testing.assert_allclose(reinforce.returns(3, 0.5).numpy(), [1.75, 1.5, 1.0])


def test_a_policy_learns():
    assert reinforce.main(["--episodes", "60"]) > 30


def test_a_velocity_is_learned(tmp_path):
    first = neural_ode.main(["--steps", "1"])
    assert neural_ode.main(["--steps", "80", "--plot", str(tmp_path / "spiral.png")]) < first
    assert (tmp_path / "spiral.png").stat().st_size > 1000


def test_paths_of_a_known_velocity():
    torch = neural_ode.torch
    path = neural_ode.runge_kutta(lambda y: -y, torch.tensor([1.0]), 10, 0.1)
    assert path[-1].item() == pytest.approx(np.exp(-1.0), rel=1e-5)


def test_scipy_finds_what_scikit_learn_does():
    accuracy, apart = scipy_minimise.main([])
    assert accuracy > 0.98 and apart < 1e-3


def test_a_folder_of_images_is_learned_from(tmp_path):
    arguments = ["--images", "12", "--epochs", "1", "--batch", "12"]
    report = image_folder.main([*arguments, "--grid", str(tmp_path / "batch.png")])
    assert len(report.losses) == 4 and 0 <= report.recall <= 1
    assert (tmp_path / "batch.png").stat().st_size > 1000
    # The same images, changed alike, and the same steps.
    np.testing.assert_allclose(image_folder.main([*arguments, "--eager"]).losses, report.losses, rtol=2e-3)


@pytest.mark.slow
def test_nearly_all_shapes_are_told_apart():
    report = image_folder.main([])
    assert min(report.accuracy, report.precision, report.recall) > 0.95
