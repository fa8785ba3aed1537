"""Special functions: values with nearly all digits, edges, derivatives, and the same where they are compiled."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, GradientError

INF, NAN = math.inf, math.nan

# fmt: off
#: Function → argument → value, worked out with 50 digits. The arguments are exact in float32.
VALUES = {
    "lgamma": {
        1.0000000031710769e-30: 69.07755278665029,
        0.10000000149011612: 2.252712636201601,
        0.4999000132083893: 0.5725612926627949,
        0.5: 0.5723649429247001,
        0.75: 0.20328095143129538,
        1.0009765625: -0.0005629031799912047,
        1.25: -0.09827183642181316,
        1.9990234375: -0.0004125677359714894,
        2.5: 0.2846828704729192,
        2.9999001026153564: 0.6930549987889243,
        3.0: 0.6931471805599453,
        7.300000190734863: 7.147892888817451,
        1000.0: 5905.220423209181,
        1.0000000150474662e+30: 6.807755382926351e+31,
        -0.10000000149011612: 2.3689613189525565,
        -0.5: 1.2655121234846454,
        -1.5: 0.860047015376481,
        -7.125: -6.672873899712579,
    },
    "digamma": {
        1.0000000031710769e-30: -9.999999968289232e+29,
        0.10000000149011612: -10.423754789263684,
        0.4999000132083893: -1.9640035251986776,
        0.5: -1.9635100260214235,
        1.0: -0.5772156649015329,
        1.4616321325302124: -1.203605254910667e-08,
        1.75: 0.24747245354686118,
        2.9999001026153564: 0.9227448814490742,
        3.0: 0.9227843350984671,
        20.5: 2.9958363947076467,
        10000000000.0: 23.025850929890456,
        -0.10000000149011612: 9.24507289817653,
        -0.75: -2.894120200042932,
        -3.25: 4.46627587235028,
    },
    "erfc": {
        -3.0: 1.9999779095030015,
        -0.25: 1.276326390168237,
        0.0: 1.0,
        0.30000001192092896: 0.6713732282472846,
        0.5: 0.4795001221869535,
        1.0: 0.15729920705028513,
        2.5: 0.0004069520174449589,
        6.0: 2.1519736712498913e-17,
        10.300000190734863: 4.5947437153788694e-48,
        26.0: 5.663192408856143e-296,
    },
    "special.erfcx": {
        -5.0: 144009798674.66104,
        -0.5: 1.952360489182557,
        0.0: 1.0,
        0.25: 0.7703465477309968,
        1.0: 0.427583576155807,
        3.0: 0.17900115118138996,
        10.0: 0.05614099274382259,
        25.5: 0.022108108052519827,
    },
    "special.ndtr": {
        -37.0: 5.725571222524577e-300,
        -10.5: 4.3190063178092304e-26,
        -2.0: 0.02275013194817921,
        -0.5: 0.3085375387259869,
        0.0: 0.5,
        0.699999988079071: 0.75803634405457,
        3.0: 0.9986501019683699,
    },
    "special.log_ndtr": {
        -30.0: -454.3212439563432,
        -5.0: -15.064998393988725,
        -1.0: -1.8410216450092636,
        -0.5: -1.1759117615936185,
        0.0: -0.6931471805599453,
        1.0: -0.17275377902344988,
        7.0: -1.279812543886654e-12,
    },
    "erfinv": {
        -0.9990234375: -2.331467773621948,
        -0.5: -0.4769362762044699,
        9.999999682655225e-21: 8.862268973288096e-21,
        0.10000000149011612: 0.08885599182530649,
        0.75: 0.8134198475976185,
        0.99609375: 2.0404520146056093,
        0.9999999403953552: 3.832506856900711,
    },
    "special.ndtri": {
        1.0000000031710769e-30: -11.464024688169063,
        9.999999747378752e-06: -4.264890799563287,
        0.25: -0.6744897501960817,
        0.5: 0.0,
        0.625: 0.31863936396437514,
        0.9990234375: 3.0972690781987846,
    },
    "i0": {
        0.0: 1.0,
        -1.5: 1.646723189772891,
        7.900000095367432: 389.4063179819756,
        8.0: 427.5641157218048,
        8.100000381469727: 469.500774360111,
        30.0: 781672297823.9775,
        80.0: 2.4751784043341704e+33,
    },
    "special.i0e": {
        0.0: 1.0,
        -1.5: 0.36743360905415834,
        7.900000095367432: 0.14436986323759146,
        8.100000381469727: 0.14251180601267852,
        300.0: 0.02304255841508546,
    },
    "special.i1": {
        9.999999682655225e-21: 4.999999841327613e-21,
        -1.5: -0.9816664285779075,
        7.900000095367432: 363.85397682880506,
        8.100000381469727: 439.4844673131296,
        80.0: 2.459659579567541e+33,
    },
    "special.i1e": {
        9.999999682655225e-21: 4.999999841327613e-21,
        -1.5: -0.21903938742092569,
        7.900000095367432: 0.13489649871489706,
        8.100000381469727: 0.13340068551894446,
        300.0: 0.02300412204026895,
    },
    "sinc": {
        0.0: 1.0,
        9.999999717180685e-10: 1.0,
        0.30000001192092896: 0.8583936805811263,
        0.5: 0.6366197723675814,
        1.25: -0.18006326323142122,
        -2.5: 0.12732395447351627,
    },
    "special.entr": {
        0.10000000149011612: 0.2302585112404076,
        0.5: 0.34657359027997264,
        2.0: -1.3862943611198906,
    },
    "special.bessel_j0": {
        0.0: 1.0,
        -1.5: 0.5118276717359181,
        2.4000000953674316: 0.0025076336885117836,
        5.0: -0.1775967713143383,
        7.5: 0.2663396578803784,
        8.5: 0.041939251842934504,
        30.0: -0.08636798358104021,
    },
    "special.bessel_j1": {
        9.999999682655225e-21: 4.999999841327613e-21,
        -1.5: -0.5579365079100996,
        3.799999952316284: 0.012821022282999583,
        7.5: 0.1352484275797055,
        9.0: 0.24531178657332528,
        30.0: -0.11875106261662294,
    },
    "special.bessel_y0": {
        9.999999682655225e-21: -29.391228270488593,
        0.25: -0.9315730249300587,
        2.0: 0.5103756726497451,
        3.0: 0.3768500100127904,
        9.0: 0.24993669828502468,
        30.0: -0.11729573168666403,
    },
    "special.bessel_y1": {
        1.000000013351432e-10: -6366197638.6779585,
        0.25: -2.7041052293152825,
        1.0: -0.7812128213002887,
        4.0: 0.3979257105571,
        9.0: 0.10431457519671589,
        30.0: 0.08442557066174723,
    },
    "special.modified_bessel_k0": {
        9.999999682655225e-21: 46.167633407273804,
        0.25: 1.5415067512483027,
        1.0: 0.42102443824070834,
        2.5: 0.06234755320036619,
        40.0: 8.392861100099567e-19,
    },
    "special.modified_bessel_k1": {
        1.000000013351432e-10: 9999999866.485682,
        0.25: 3.7470259744407115,
        1.0: 0.6019072301972346,
        2.5: 0.07389081634774707,
        40.0: 8.497131954861039e-19,
    },
    "special.scaled_modified_bessel_k0": {
        9.999999682655225e-21: 46.167633407273804,
        0.25: 1.9793338485985688,
        2.5: 0.7595486903280996,
        300.0: 0.0723300317396073,
    },
    "special.scaled_modified_bessel_k1": {
        1.000000013351432e-10: 9999999867.485682,
        0.25: 4.811276588171025,
        2.5: 0.900174423907878,
        300.0: 0.07245048166725841,
    },
    "special.spherical_bessel_j0": {
        0.0: 1.0,
        1.000000013351432e-10: 1.0,
        -0.75: 0.9088516800311123,
        1.0: 0.8414709848078965,
        9.0: 0.04579094280463962,
    },
}
#: The same of two arguments.
VALUES_OF_TWO = {
    "special.zeta": {
        (1.0625, 0.5): 18.050021021803595,
        (2.0, 1.0): 1.6449340668482264,
        (2.0, 0.015625): 4097.6081469812325,
        (3.5, 20.0): 0.00023798942002684447,
        (9.0, 30.5): 1.8988692566121486e-13,
        (60.0, 2.5): 1.3292279980543493e-24,
        (2.0, -1.5): 9.379246644989124,
        (3.0, -4.25): -61.99063218366379,
    },
    "igamma": {
        (0.125, 0.25): 0.8696646545502864,
        (0.5, 1.5): 0.9167354833364496,
        (3.0, 1.0): 0.08030139707139419,
        (3.0, 9.0): 0.9937678048936227,
        (25.0, 2.0): 3.1707866758025054e-19,
        (25.0, 24.0): 0.44599877692500434,
        (60.0, 45.0): 0.01865113464857545,
        (200.0, 230.0): 0.9796688566711638,
        (5000.0, 4900.0): 0.07794495622651391,
    },
    "igammac": {
        (0.125, 0.25): 0.13033534544971365,
        (0.0078125, 0.75): 0.002675702074861601,
        (0.5, 1.5): 0.0832645166635504,
        (3.0, 1.0): 0.9196986029286058,
        (3.0, 9.0): 0.006232195106377317,
        (25.0, 24.0): 0.5540012230749957,
        (60.0, 75.0): 0.033073480911304666,
        (60.0, 200.0): 8.135770434234848e-32,
        (5000.0, 5100.0): 0.07932888107761897,
    },
}
# fmt: on

EDGES = {
    "lgamma": {
        0.0: INF,
        -1.0: INF,
        -2.0: INF,
        -1e30: INF,
        1.0: 0.0,
        2.0: 0.0,
        INF: INF,
        -INF: INF,
        NAN: NAN,
    },
    "digamma": {0.0: -INF, -1.0: NAN, INF: INF, -INF: NAN, NAN: NAN},
    "erfc": {INF: 0.0, -INF: 2.0, 1e30: 0.0, NAN: NAN},
    "special.erfcx": {INF: 0.0, -INF: INF, -30.0: INF, NAN: NAN},
    "special.ndtr": {INF: 1.0, -INF: 0.0, NAN: NAN},
    "special.log_ndtr": {INF: 0.0, -INF: -INF, -1e10: -5e19, NAN: NAN},
    "erfinv": {0.0: 0.0, 1.0: INF, -1.0: -INF, 2.0: NAN, NAN: NAN},
    "special.ndtri": {0.0: -INF, 1.0: INF, -0.5: NAN, 1.5: NAN, NAN: NAN},
    "i0": {INF: INF, -INF: INF, NAN: NAN},
    "special.i0e": {INF: 0.0, NAN: NAN},
    "special.i1": {0.0: 0.0, INF: INF, -INF: -INF, NAN: NAN},
    "special.i1e": {0.0: 0.0, INF: 0.0, NAN: NAN},
    "sinc": {0.0: 1.0, 1.0: 0.0, -7.0: 0.0, INF: NAN, NAN: NAN},
    "special.bessel_j0": {INF: 0.0, NAN: NAN},
    "special.bessel_j1": {0.0: 0.0, -INF: 0.0, NAN: NAN},
    "special.bessel_y0": {0.0: -INF, INF: 0.0, -1.0: NAN},
    "special.bessel_y1": {0.0: -INF, INF: 0.0, -1.0: NAN},
    "special.modified_bessel_k0": {0.0: INF, INF: 0.0, -1.0: NAN},
    "special.modified_bessel_k1": {0.0: INF, INF: 0.0, -1.0: NAN},
    "special.scaled_modified_bessel_k1": {0.0: INF, INF: 0.0, -1.0: NAN},
    "special.spherical_bessel_j0": {INF: 0.0, NAN: NAN},
    "special.entr": {0.0: 0.0, -1.0: -INF, INF: -INF, NAN: NAN},
}

EDGES_OF_TWO = {
    "special.zeta": {
        (3.0, 0.0): INF, (2.0, -1.0): INF, (1.0, 2.0): INF, (0.5, 2.0): NAN, (2.5, -1.5): NAN, (NAN, 1.0): NAN,
    },
    "igamma": {
        (0.0, 1.0): 1.0, (1.0, 0.0): 0.0, (INF, 1.0): 0.0, (1.0, INF): 1.0, (INF, INF): NAN, (0.0, 0.0): NAN,
        (-1.0, 1.0): NAN, (1.0, -1.0): NAN, (NAN, 1.0): NAN, (1.0, NAN): NAN,
    },
    "igammac": {
        (0.0, 1.0): 0.0, (1.0, 0.0): 1.0, (INF, 1.0): 1.0, (1.0, INF): 0.0, (0.0, 0.0): NAN, (-1.0, 1.0): NAN,
    },
}  # fmt: skip

#: Ends of their domains, and what has a derivative there that is none.
DERIVATIVES = {
    "lgamma": (0.2, 6.0), "digamma": (0.3, 6.0), "erfc": (-2.0, 2.0), "special.erfcx": (-1.0, 3.0),
    "special.ndtr": (-3.0, 3.0), "special.log_ndtr": (-6.0, 3.0), "erfinv": (-0.9, 0.9), "special.ndtri": (0.1, 0.9),
    "i0": (-9.0, 9.0), "special.i0e": (-9.0, 9.0), "special.i1": (-9.0, 9.0), "special.i1e": (-9.0, 9.0),
    "sinc": (-3.0, 3.0), "special.entr": (0.2, 3.0), "special.bessel_j0": (-12.0, 12.0),
    "special.bessel_j1": (-12.0, 12.0), "special.bessel_y0": (0.4, 12.0), "special.bessel_y1": (0.4, 12.0),
    "special.modified_bessel_k0": (0.4, 5.0), "special.modified_bessel_k1": (0.4, 5.0),
    "special.scaled_modified_bessel_k0": (0.4, 5.0), "special.scaled_modified_bessel_k1": (0.4, 5.0),
    "special.spherical_bessel_j0": (-4.0, 4.0),
}  # fmt: skip


def named(name):
    found = tracec
    for part in name.split("."):
        found = getattr(found, part)
    return found


def replayed(compiled, *arguments):
    """What a compiled function gives when its program runs: at the second call."""
    compiled(*arguments)
    return compiled(*arguments)


def columns(table, dtype):
    """The arguments of a table, each as one array, and the values."""
    keys = [k if isinstance(k, tuple) else (k,) for k in table]
    return [np.array(c, dtype) for c in zip(*keys, strict=True)], np.array(list(table.values()))


def close(found, expected, dtype, units=8):
    """Within units in the last place."""
    assert found.dtype == dtype
    with np.errstate(over="ignore"):
        rounded = expected.astype(dtype)
    np.testing.assert_allclose(found, rounded, rtol=units * float(np.finfo(dtype).eps), atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*VALUES, *VALUES_OF_TWO])
def test_values(name, dtype):
    arguments, expected = columns((VALUES | VALUES_OF_TWO)[name], dtype)
    found = named(name)(*map(tracec.from_numpy, arguments)).numpy()
    # Of an incomplete gamma function far out, the exponent of its size is rounded too.
    close(found, expected, dtype, units=120 if name.startswith("igamma") and dtype is np.float64 else 8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*EDGES, *EDGES_OF_TWO])
def test_edges(name, dtype):
    arguments, expected = columns((EDGES | EDGES_OF_TWO)[name], dtype)
    found = named(name)(*map(tracec.from_numpy, arguments)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled_is_eager(dtype):
    tables = VALUES | VALUES_OF_TWO
    names = [n for n in tables if not n.startswith("igamma")]
    arguments = [columns(tables[n], dtype)[0] for n in names]

    @tracec.compile
    def all_of_them(inputs):
        return [named(n)(*x) for n, x in zip(names, inputs, strict=True)]

    results = replayed(all_of_them, [list(map(tracec.tensor, a)) for a in arguments])
    for name, found, xs in zip(names, results, arguments, strict=True):
        eager = named(name)(*map(tracec.tensor, xs)).numpy()
        np.testing.assert_allclose(found.numpy(), eager, rtol=12 * np.finfo(dtype).eps, err_msg=name)


def test_incomplete_gamma_functions_are_called_from_compiled_programs():
    a, x = tracec.tensor([[0.5], [3.0], [40.0]]), tracec.tensor([0.5, 2.0, 45.0], requires_grad=True)

    def f(a, x):
        return (tracec.igamma(a, x * 1.0) * tracec.igammac(a, x)).sum()

    f(a, x).backward()
    grad, x.grad = x.grad, None
    value = replayed(tracec.compile(f), a, x)
    value.backward()
    np.testing.assert_allclose(value.item(), f(a, x).item(), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name):
    low, high = DERIVATIVES[name]
    x = np.random.default_rng(0).uniform(low, high, 30)
    t = tracec.tensor(x, requires_grad=True)
    (slope,) = tracec.autograd.grad(named(name)(t).sum(), [t], create_graph=True)
    (curve,) = tracec.autograd.grad(slope.sum(), [t])
    step = 1e-5
    up, down = (tracec.tensor(x + s, requires_grad=True) for s in (step, -step))
    numeric = (named(name)(up) - named(name)(down)) / (2 * step)
    np.testing.assert_allclose(slope.detach().numpy(), numeric.detach().numpy(), rtol=1e-6, atol=1e-8)
    slopes = [tracec.autograd.grad(named(name)(v).sum(), [v])[0].numpy() for v in (up, down)]
    np.testing.assert_allclose(curve.numpy(), (slopes[0] - slopes[1]) / (2 * step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name, at, slope", [
    ("sinc", 0.0, 0.0), ("sinc", 1e-9, -math.pi**2 / 3 * 1e-9), ("special.i1", 0.0, 0.5), ("special.i1e", 0.0, 0.5),
    ("special.entr", 0.0, INF), ("erfinv", 1.0, INF), ("special.log_ndtr", -40.0, 40.02496886),
])  # fmt: skip
def test_derivatives_at_edges(name, at, slope):
    x = tracec.tensor(at, dtype=tracec.float64, requires_grad=True)
    named(name)(x).backward()
    np.testing.assert_allclose(x.grad.item(), slope, rtol=1e-8)


def test_at_a_zero_the_sign_tells_the_side():
    assert tracec.digamma(tracec.tensor([0.0, -0.0])).tolist() == [-INF, INF]
    assert tracec.lgamma(tracec.tensor(-0.0)).item() == INF


def test_next_to_zeros_of_the_left_side_the_terms_are_exact():
    x = tracec.tensor([-2.75, -2.4570247382208006, -3.143580888349980], dtype=tracec.float64)
    expected = [0.004487897535955773, 0.0, 0.0]
    np.testing.assert_allclose(tracec.lgamma(x).numpy(), expected, rtol=0, atol=2e-15)


def test_polygamma():
    x = tracec.tensor([0.5, 1.0, 3.5, -0.75], dtype=tracec.float64)
    expected = {
        0: [-1.9635100260214235, -0.5772156649015329, 1.103156640645243, -2.894120200042932],
        1: [4.934802200544679, 1.6449340668482264, 0.3303577561002349, 18.975106932284888],
        3: [97.40909103400244, 6.493939402266829, 0.07030584881725205, 1557.7451069721515],
    }
    for n, values in expected.items():
        np.testing.assert_allclose(tracec.polygamma(n, x).numpy(), values, rtol=1e-14)
        np.testing.assert_array_equal(x.polygamma(n).numpy(), tracec.polygamma(n, x).numpy())
    with pytest.raises(ArgumentError, match="negative n"):
        tracec.polygamma(-1, x)
    assert tracec.polygamma(1, tracec.tensor([1, 2])).dtype is tracec.float32


def test_gradients_that_nobody_knows_are_refused_and_the_others_given():
    a, x = (tracec.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    for f in (tracec.igamma, tracec.igammac, tracec.special.zeta):
        tracec.autograd.grad(f(a.detach(), x), [x])
        with pytest.raises(GradientError, match="only that by its second operand"):
            f(a, x).backward()


def test_products_with_logarithms():
    x = tracec.tensor([0.0, 0.0, 0.0, 0.0, 2.0, 0.0], dtype=tracec.float64, requires_grad=True)
    y = tracec.tensor([0.0, -1.0, NAN, 2.0, 0.5, INF], dtype=tracec.float64, requires_grad=True)
    out = tracec.xlogy(x, y)
    np.testing.assert_allclose(out.detach().numpy(), [0, 0, NAN, 0, 2 * math.log(0.5), 0])
    out.sum().backward()
    # Where the logarithm is finite, a factor of 0 has a gradient.
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, NAN, math.log(2), math.log(0.5), 0])
    np.testing.assert_allclose(tracec.special.xlog1py(x, y - 1).detach().numpy()[3:5], [0, 2 * math.log(0.5)])
    assert tracec.xlogy(2, tracec.tensor([1.0])).tolist() == [0.0]


def test_logit():
    x = tracec.tensor([-0.5, 0.0, 0.25, 1.0, 1.5], requires_grad=True)
    np.testing.assert_allclose(tracec.logit(x).detach().numpy(), [NAN, -INF, math.log(1 / 3), INF, NAN], rtol=1e-6)
    out = tracec.logit(x, eps=0.1)
    out.sum().backward()
    np.testing.assert_allclose(out.detach().numpy(), np.log([1 / 9, 1 / 9, 1 / 3, 9, 9]), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, 1 / (0.25 * 0.75), 0, 0], rtol=1e-6)


def test_names():
    x, out = tracec.tensor([0.5]), tracec.empty(1)
    for here, there in (("psi", "digamma"), ("gammaln", "lgamma"), ("gammainc", "igamma"), ("expit", "sigmoid")):
        arguments = (x,) if here != "gammainc" else (x, x)
        assert named(f"special.{here}")(*arguments).tolist() == named(there)(*arguments).tolist()
    assert tracec.special.ndtri(x, out=out) is out and out.item() == 0.0
    assert x.clone().lgamma_().item() == x.lgamma().item()
    np.testing.assert_allclose(tracec.mvlgamma(tracec.tensor([3.0]), 2).item(), 1.5501949787139893, rtol=1e-6)
    with pytest.raises(ArgumentError, match="p has to be"):
        tracec.mvlgamma(x, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_floats_are_computed_in_float32(dtype):
    x = tracec.tensor([0.25, 0.5, 0.75, 1.0], dtype=getattr(tracec, dtype))
    functions = [named(n) for n in EDGES]
    program = tracec.compile(lambda x: [f(x) for f in functions])
    for name, compiled in zip(EDGES, replayed(program, x), strict=True):
        expected = named(name)(x.float()).to(x.dtype)
        assert tracec.equal(named(name)(x), expected), name
        assert tracec.equal(compiled, expected), name
