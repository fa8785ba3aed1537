"""Times of single launches, on a device."""

from __future__ import annotations

import tracec
from tests.gpu.place import DEVICE, needs_device
from tracec.nn import functional as F

pytestmark = needs_device


def test_every_launch_has_a_time_of_its_own():
    x = tracec.randn(2048, 2048, device=DEVICE)
    lowered = tracec.compile(lambda x: F.softmax(x @ x, dim=-1).sum(0)).lower(x, target="cuda")
    profile = lowered.profile(rounds=5)
    assert sorted(n for s in profile.steps for n in s.steps) == list(range(len(lowered.plan.steps)))
    assert all(s.seconds > 0 for s in profile.steps)
    product = max(profile.steps, key=lambda s: s.work.operations)
    assert product.seconds == max(s.seconds for s in profile.steps)
