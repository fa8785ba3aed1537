"""What PyTorch has and tracec has not, and programs ask for: the error says what to do instead."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

import tracec
from tests.failures import caught, check_form
from tracec import errors

INSTEAD = errors._sections("instead.txt")


@pytest.mark.parametrize("place", INSTEAD)
def test_it_is_said_what_to_do(place):
    """By attribute and by import; and what is named instead is there."""
    outer, _, name = place.rpartition(".")
    if outer != "torch.Tensor":
        holder = importlib.import_module(outer.replace("torch", "tracec", 1)) if has(outer) else None
    else:
        holder = tracec.ones(2)
    (hint,) = [line.strip() for line in INSTEAD[place]]
    if holder is not None:
        error = check_form(caught(tracec, lambda T: getattr(holder, name), []))
        assert isinstance(error, AttributeError) and error.hint == hint
    if outer != "torch.Tensor" and (holder is None or hasattr(holder, "__path__")):
        with pytest.raises(ImportError, match=re.escape(place)) as found:
            importlib.import_module(place.replace("torch", "tracec", 1))
        assert found.value.hint == hint
    for path in re.findall(r"tracec\.[\w.]+\w", hint):
        at = tracec
        for part in path.split(".")[1:]:
            at = getattr(at, part) if part != "py" else at


def has(module):
    try:
        importlib.import_module(module.replace("torch", "tracec", 1))
    except ImportError:
        return False
    return True


def test_an_import_of_what_is_within():
    with pytest.raises(ModuleNotFoundError, match=r"has torch\.distributed\.fsdp") as found:
        importlib.import_module("tracec.distributed.fsdp.wrap")
    assert "one process" in found.value.hint
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'tracec\.no_such_module'$"):
        importlib.import_module("tracec.no_such_module")


# Settings of PyTorch's compiler ----------------------------------------------------------------------------


def test_settings_of_pytorchs_compiler_are_taken():
    import tracec._dynamo as dynamo
    import tracec._inductor.config as inductor

    with dynamo.config.patch(suppress_errors=True, brand_new=1), inductor.patch({"max_autotune": True}):
        assert dynamo.config.suppress_errors is True and dynamo.config.brand_new == 1 and inductor.max_autotune
        with dynamo.config.patch("cache_size_limit", 64):
            assert dynamo.config.cache_size_limit == 64
    assert dynamo.config.cache_size_limit == 8 and not hasattr(dynamo.config, "brand_new")
    tracec._inductor.config.triton.unique_kernel_names = True
    assert inductor.triton.unique_kernel_names
    with tracec._functorch.config.patch(enable_autograd_cache=False):
        assert not tracec._functorch.config.enable_autograd_cache
    error = check_form(caught(tracec, lambda T: T._dynamo.config.supress_errors, []))
    assert "suppress_errors" in error.hint


def test_functions_of_pytorchs_recorder():
    @tracec._dynamo.optimize("inductor")
    def double(x):
        return x * 2

    assert double(tracec.ones(3)).tolist() == [2.0, 2.0, 2.0]
    told = tracec._dynamo.explain(lambda x: x + 1)(tracec.ones(3))
    assert "1 specialisations" in str(told)
    tracec._dynamo.mark_dynamic(tracec.ones(3), 0)
    tracec._dynamo.reset()
    assert not tracec._dynamo.is_compiling() and tracec._dynamo.allow_in_graph(len) is len


def test_marks_for_pytorchs_tracer_pass_what_they_mark():
    import tracec.fx as fx

    @tracec.fx.wrap
    def double(x):
        return 2 * x

    assert double(2) == 4 and fx.wrap("double") == "double" and not hasattr(fx, "symbolic_trace")


def test_what_programs_read_of_pytorchs_cpp_part():
    """How Pyro asks whether it is traced, and a subclass of tensors gives plain ones."""
    assert tracec._C._get_tracing_state() is None and not tracec._C._is_tracing()
    assert tracec._C._log_api_usage_once("tests") is None

    class Named(tracec.Tensor):
        __torch_function__ = tracec._C._disabled_torch_function_impl

    assert type(tracec.ones(2).as_subclass(Named) * 2) is tracec.Tensor
    with pytest.raises(tracec._C._LinAlgError):
        tracec.linalg.inv(tracec.zeros(2, 2))


@pytest.mark.parametrize(
    "path, name, same",
    [
        ("amp.grad_scaler", "GradScaler", lambda: tracec.amp.GradScaler),
        ("amp.autocast_mode", "autocast", lambda: tracec.autocast),
        ("cuda.amp.grad_scaler", "GradScaler", lambda: tracec.cuda.amp.GradScaler),
        ("cuda.amp.autocast_mode", "custom_fwd", lambda: tracec.cuda.amp.custom_fwd),
        ("nn.modules.module", "_IncompatibleKeys", lambda: type(tracec.nn.Linear(1, 1).load_state_dict({}, False))),
        ("serialization", "MAP_LOCATION", lambda: tracec.serialization.MapLocation),
        ("distributed.nn.functional", "all_gather", lambda: tracec.distributed.nn.all_gather),
    ],
)
def test_names_are_found_where_pytorch_keeps_them(path, name, same):
    assert getattr(importlib.import_module(f"tracec.{path}"), name) is same()


def test_names_of_scripts_and_constraints():
    from tracec.distributions import constraints

    module = tracec.nn.Linear(1, 1)
    assert issubclass(tracec.jit.TracerWarning, Warning) and tracec.jit.trace_module(module, {"forward": 1}) is module
    assert constraints.interval(lower_bound=0, upper_bound=1).upper_bound == 1
    assert constraints.less_than(upper_bound=2).upper_bound == constraints.greater_than(lower_bound=2).lower_bound
    assert "positive" in constraints.__all__ and all(hasattr(constraints, name) for name in constraints.__all__)


def test_importing_tracec_imports_none_of_them():
    code = "import sys, tracec; print([m for m in sys.modules if m.startswith(('tracec._', 'tracec.hub'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
