"""The example of per-sample gradients: the loop's numbers, and fewer seconds."""

import numpy as np
import per_sample_gradients


def test_the_same_gradients_at_once(capsys):
    report = per_sample_gradients.main(["--samples", "24"])
    assert report.difference < 1e-5 and len(report.norms) == 24
    assert report.seconds["vmap"] < report.seconds["a loop"]
    shown = capsys.readouterr().out
    assert f"sample {int(np.argmax(report.norms)):3d}" in shown and "#" * 30 in shown
