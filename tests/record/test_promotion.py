"""Element types of results are PyTorch's."""

import itertools

import pytest

import tracec
from tracec.errors import DeviceError, DTypeError

torch = pytest.importorskip("torch")

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
OPS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "lt": lambda a, b: a < b,
}


def name(dtype):
    return str(dtype).split(".")[-1] if "torch" in str(dtype) else dtype.name


def takes(op, *dtypes):
    """Whether there is such a result: complex numbers have no order, and there is no complex32 here."""
    return not any("complex" in d for d in dtypes) or (op != "lt" and "float16" not in dtypes)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())])
def test_tensors(op, shapes):
    for a, b in itertools.product(DTYPES, DTYPES):
        if not takes(op, a, b):
            continue
        ours = OPS[op](
            tracec.ones(*shapes[0], dtype=by_name(a)) if shapes[0] else tracec.ones((), dtype=by_name(a)),
            tracec.ones(*shapes[1], dtype=by_name(b)) if shapes[1] else tracec.ones((), dtype=by_name(b)),
        )
        theirs = OPS[op](torch.ones(shapes[0], dtype=getattr(torch, a)), torch.ones(shapes[1], dtype=getattr(torch, b)))
        assert name(ours.dtype) == name(theirs.dtype), (a, b)
        assert tuple(ours.shape) == tuple(theirs.shape)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("scalar", [True, 3, 2.5, 1j])
@pytest.mark.parametrize("shape", [(2,), ()])
def test_python_scalars_are_weak(op, scalar, shape):
    for a in DTYPES:
        if not takes(op, a, "complex" if scalar == 1j else ""):
            continue
        ours = tracec.ones(shape, dtype=by_name(a))
        theirs = torch.ones(shape, dtype=getattr(torch, a))
        assert name(OPS[op](ours, scalar).dtype) == name(OPS[op](theirs, scalar).dtype), a
        assert name(OPS[op](scalar, ours).dtype) == name(OPS[op](scalar, theirs).dtype), a


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_floats_take_integers(dtype):
    x = tracec.ones(3, dtype=by_name(dtype))
    theirs = torch.ones(3, dtype=getattr(torch, dtype))
    assert name(tracec.sin(x).dtype) == name(torch.sin(theirs).dtype)
    assert name(tracec.sqrt(x).dtype) == name(torch.sqrt(theirs).dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_integers_are_int64(dtype):
    x, theirs = tracec.ones(3, dtype=by_name(dtype)), torch.ones(3, dtype=getattr(torch, dtype))
    for method in ("sum", "prod"):
        assert name(getattr(x, method)().dtype) == name(getattr(theirs, method)().dtype)
    if dtype != "bool":
        assert name(x.cumsum(0).dtype) == name(theirs.cumsum(0).dtype)


@pytest.mark.parametrize("scalar", [2, 2.0, -1.5])
def test_powers(scalar):
    for a in ("int64", "float16", "float32", "float64"):
        if scalar == -1.5 and a == "int64":
            continue
        x, theirs = tracec.ones(3, dtype=by_name(a)), torch.ones(3, dtype=getattr(torch, a))
        assert name((x**scalar).dtype) == name((theirs**scalar).dtype)
        assert name((2**x).dtype) == name((2**theirs).dtype)


def test_where():
    for a, b in itertools.product(DTYPES, DTYPES):
        c = tracec.tensor([True, False])
        ours = tracec.where(c, tracec.ones(2, dtype=by_name(a)), tracec.ones(2, dtype=by_name(b)))
        theirs = torch.where(
            torch.tensor([True, False]), torch.ones(2, dtype=getattr(torch, a)), torch.ones(2, dtype=getattr(torch, b))
        )
        assert name(ours.dtype) == name(theirs.dtype)


def test_logic_of_bools():
    a, b = tracec.tensor([True, False, True]), tracec.tensor([True, True, False])
    assert (a + b).tolist() == [True, True, True]
    assert (a * b).tolist() == [True, False, False]


def test_narrow_integers_wrap_around():
    x = tracec.tensor([250], dtype=tracec.uint8)
    assert (x + 10).tolist() == [4]
    assert (x + 300).tolist() == (torch.tensor([250], dtype=torch.uint8) + 300).tolist()


def test_default_dtype():
    tracec.set_default_dtype(tracec.float64)
    try:
        assert tracec.tensor([1.0]).dtype is tracec.float64
        assert (tracec.tensor([1]) / 2).dtype is tracec.float64
        assert tracec.zeros(2).dtype is tracec.float64
    finally:
        tracec.set_default_dtype(tracec.float32)
    assert (tracec.tensor([1]) / 2).dtype is tracec.float32


def test_matrices_of_two_dtypes(golden):
    with pytest.raises(DTypeError) as error:
        tracec.ones(2, 3) @ tracec.ones(3, 2, dtype=tracec.float64)
    assert str(error.value) == golden


def test_unknown_device():
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        tracec.zeros(2, device="tpu")


def by_name(dtype):
    return getattr(tracec, dtype)
