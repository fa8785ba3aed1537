"""How gamma variates move with their shape: against the exact derivative, and against the distribution function."""

from __future__ import annotations

import numpy as np
import pytest

from tracec import ops
from tracec.ops.variates import gamma_slope, standard_gamma, von_mises

#: (shape, logarithm of the variate, derivative of the logarithm by the shape): made with 40 digits, as minus the
#: derivative of the distribution function over the density, by central differences of a step of 1e-12.
EXACT = [
    (0.001, -6908.33, 6907754.42806819),
    (0.001, -1610.01, 1609434.4280681896),
    (0.001, -511.402, 510826.42806818965),
    (0.001, -10.6267, 10051.395874993137),
    (0.001, -0.576395, 862.3906958119522),
    (0.3, -23.3864, 77.39069704139928),
    (0.3, -5.72286, 18.565331693533434),
    (0.3, -1.95721, 6.956062992991264),
    (0.3, 0.970555, 1.4804976097888969),
    (0.3, 2.86696, 0.3518959997213501),
    (1.0, -6.90726, 7.333962659036949),
    (1.0, -1.49994, 2.2173646709439865),
    (1.0, -0.0874216, 1.2246851544128072),
    (1.0, 1.52718, 0.49669588911627943),
    (1.0, 3.03126, 0.17635195019422703),
    (2.5, -2.25278, 1.3872249863127928),
    (2.5, 0.158086, 0.6083941548708123),
    (2.5, 0.942322, 0.42194433320719266),
    (2.5, 2.02064, 0.23372381014570381),
    (2.5, 3.23262, 0.10749672131939642),
    (19.5, 2.15534, 0.0756182412516533),
    (19.5, 2.75495, 0.05749363111197746),
    (19.5, 3.01046, 0.05069384523986523),
    (19.5, 3.44087, 0.040504294208353255),
    (19.5, 4.06924, 0.028399133524475543),
    (25.0, 2.5126, 0.05614121395203093),
    (25.0, 3.03132, 0.044161444560543474),
    (25.0, 3.25601, 0.039524689241221996),
    (25.0, 3.63961, 0.03238787579418215),
    (25.0, 4.21115, 0.02353570617174714),
    (60.0, 3.66042, 0.020600183086601935),
    (60.0, 3.97786, 0.01770531134278627),
    (60.0, 4.12138, 0.016488135104540055),
    (60.0, 4.37544, 0.014473866567965146),
    (60.0, 4.77628, 0.011656670581255612),
    (700.0, 6.43146, 0.001516078335663858),
    (700.0, 6.51862, 0.0014522285400542572),
    (700.0, 6.56017, 0.001422427286837969),
    (700.0, 6.63728, 0.0013682103537472237),
    (700.0, 6.76909, 0.001278807855269916),
]


def test_slopes_are_exact():
    shape, at, slope = (np.array(column) for column in zip(*EXACT, strict=True))
    np.testing.assert_allclose(gamma_slope.eager(np, shape, at), slope, rtol=1e-12)
    single = gamma_slope.eager(np, shape.astype(np.float32), at.astype(np.float32))
    np.testing.assert_allclose(single, slope, rtol=1e-3)


def test_slopes_keep_the_probability():
    rng = np.random.default_rng(0)
    shape = np.exp(rng.uniform(np.log(0.05), np.log(1e4), 2000))
    x = np.maximum(rng.gamma(shape), 1e-30)
    slope = x * gamma_slope.eager(np, shape, np.log(x))
    step = 1e-5 * np.minimum(shape, 1.0)
    up, down = (ops.gammainc.eager(np, shape + s * step, x + s * step * slope) for s in (1, -1))
    np.testing.assert_allclose((up - down) / (2 * step), 0, atol=1e-6)


def test_slopes_at_the_bounds():
    shape = np.array([1.0, -1.0, 0.0, np.nan, np.inf, 1.0, 1.0])
    at = np.array([-np.inf, 0.0, 0.0, 0.0, 0.0, np.nan, np.inf])
    found = gamma_slope.eager(np, shape, at)
    assert found[0] == np.inf and np.isnan(found[1:]).all()


WORDS = np.array([1, 2, 3, 4], np.uint32)


@pytest.mark.parametrize("shape", [1e-3, 0.05, 0.5, 1.0, 3.0, 70.0, 1e6])
def test_logarithms_of_variates_have_their_mean_and_variance(shape):
    x = standard_gamma.eager(np, np.full(20000, shape), WORDS, log=True)
    mean = ops.digamma.eager(np, np.array([shape]))[0]
    variance = ops.zeta.eager(np, np.array([2.0]), np.array([shape]))[0]
    assert abs(x.mean() - mean) < 4 * np.sqrt(variance / x.size)
    assert abs(x.var() / variance - 1) < 0.1
    np.testing.assert_allclose(
        np.exp(x), standard_gamma.eager(np, np.full(20000, shape), WORDS, log=False), rtol=1e-12, atol=1e-307
    )


@pytest.mark.parametrize("shape", [0.05, 0.9, 1.0, 4.0, 300.0])
def test_variates_against_scipy(shape):
    stats = pytest.importorskip("scipy.stats")
    x = standard_gamma.eager(np, np.full(20000, shape), WORDS, log=False)
    assert stats.kstest(x, stats.gamma(shape).cdf).pvalue > 0.01


@pytest.mark.parametrize("concentration", [1e-6, 0.3, 1.0, 20.0, 1e5])
def test_angles_against_scipy(concentration):
    stats = pytest.importorskip("scipy.stats")
    x = von_mises.eager(np, np.full(20000, concentration), WORDS)
    assert stats.kstest(x, stats.vonmises(concentration).cdf).pvalue > 0.01


def test_other_words_give_other_variates():
    shape = np.full(100, 2.0)
    first = standard_gamma.eager(np, shape, WORDS, log=False)
    for k in range(4):
        words = WORDS.copy()
        words[k] += 1
        assert (standard_gamma.eager(np, shape, words, log=False) != first).mean() > 0.95
