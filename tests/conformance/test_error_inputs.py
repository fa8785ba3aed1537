"""What PyTorch's operator database knows to be wrong is refused here too, by an error of tracec's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

import tracec  # noqa: E402
from tests.conformance.bridge import Translation, Unusable, function_of  # noqa: E402
from tests.conformance.comparison import ENTRIES, described  # noqa: E402
from tracec.errors import TracecError  # noqa: E402

#: PyTorch's parser wants a tensor there; NumPy's functions and tracec's take a number as well.
NUMBERS = re.compile(r"must be Tensor, not int|got \(int, |doesn't apply to a 'int' object|got \(Tensor, int\)")
#: Operator → what PyTorch says of mistakes that are none here.
TAKEN = {
    "nn.functional.max_pool1d": "optional 0 dim batch size",  # no channels: nothing to compute
    "nn.functional.max_pool3d": "positive length",
    "narrow": "0-dim integral Tensor",  # True is 1, as it is for Python
    "__rdiv__": "",  # of a number: Python's own attribute error
    "arange": "step must be nonzero",  # PyTorch takes the step for an integer as ``out`` is
}
#: Errors of another kind than PyTorch's: (operator, tracec's, PyTorch's).
KINDS = {
    # A tensor where a number is due, a dtype that no window has: by what is wrong.
    "linspace", "logspace", "narrow", "windows", "multi_margin_loss", "multilabel_margin_loss",
    # Shapes, not axes, are at fault.
    "aminmax", "amax", "amin", "unbind",
}  # fmt: skip


def of_operators() -> list[str]:
    return [name for name, info in ENTRIES.items() if info.error_inputs_func is not None]


@pytest.mark.filterwarnings("ignore")  # some mistakes are warned of, by both
@pytest.mark.parametrize("name", of_operators())
def test_is_refused(name: str) -> None:
    info = ENTRIES[name]
    function = function_of(info)
    for case in info.error_inputs("cpu"):
        sample = case.sample_input
        try:
            args, kwargs = translated(sample)
        except Unusable:
            continue
        theirs = raised(lambda s=sample: info.op(s.input, *s.args, **s.kwargs))
        if theirs is None:
            continue  # by way of another of PyTorch's functions it is right
        where = f"{name}({described(sample)}), where PyTorch says: {theirs}"
        ours = raised(lambda a=args, k=kwargs: function(*a, **k))
        if is_taken(name, theirs):
            continue
        if ours is None:
            assert "out" in sample.kwargs, f"{where}: is taken"
            continue
        assert isinstance(ours, TracecError), f"{where}: {type(ours).__name__}: {ours}"
        kind = isinstance(ours, case.error_type) or any(k in name for k in KINDS)
        assert kind, f"{where}: a {type(ours).__name__}, not a {case.error_type.__name__}"


def raised(call: Callable[[], Any]) -> Exception | None:
    """The error of a call."""
    try:
        call()
    except Exception as error:
        return error
    return None


def is_taken(name: str, error: Exception) -> bool:
    return bool(NUMBERS.search(str(error))) or (name in TAKEN and TAKEN[name] in str(error))


def translated(sample: Any) -> tuple[list[Any], dict[str, Any]]:
    """A sample's arguments; `Unusable` where NumPy has no such array."""
    translate = Translation()
    try:
        return [translate(a) for a in (sample.input, *sample.args)], {k: translate(v) for k, v in sample.kwargs.items()}
    except (NotImplementedError, ValueError) as error:  # of the device meta; of more than 64 axes
        raise Unusable(str(error)) from error


def places() -> Iterator[Any]:
    """Tensors of which several elements are one place in memory, and values for them."""
    memory = tracec.zeros(3)
    yield memory.expand(2, 3), tracec.ones(2, 3)
    yield memory.reshape(3, 1).expand(3, 4)[1:], tracec.ones(2, 4)


def test_what_is_written_where_elements_share_a_place_is_refused() -> None:
    """PyTorch's samples have such ``out=``; what is translated of them has places of its own."""
    writes = (lambda s, v: tracec.add(v, 1, out=s), lambda s, v: s.copy_(v), lambda s, v: s.add_(v))
    for shared, value in places():
        for write in writes:
            before = shared.tolist()
            error = raised(lambda w=write, s=shared, v=value: w(s, v))
            assert isinstance(error, TracecError) and "more than one element" in str(error)
            assert shared.tolist() == before
