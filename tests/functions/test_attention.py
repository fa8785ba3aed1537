"""Attention where PyTorch itself does not agree from one of its kernels to the next."""

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F


@pytest.mark.parametrize("wrap", [lambda f: f, tracec.compile])
def test_attention_with_a_mask_that_is_causal_besides(wrap):
    tracec.manual_seed(0)
    q, k, v = (tracec.randn(2, 3, 4) for _ in range(3))
    causal = tracec.ones(3, 3, dtype=tracec.bool).tril()
    given = tracec.tensor([[True, True, True], [False, True, True], [True, False, True]])
    attend = wrap(F.scaled_dot_product_attention)
    for mask, both in (
        (given, given & causal),
        (given.float() * 2, (given.float() * 2).masked_fill(~causal, float("-inf"))),
    ):
        for _ in range(2):
            got = attend(q, k, v, attn_mask=mask, is_causal=True)
            wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=both)
            np.testing.assert_allclose(got.tolist(), wanted.tolist(), rtol=1e-5)
