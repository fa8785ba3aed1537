"""A compiled function does what the function does: results, gradients, and everything it writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import tracec
from tracec import build
from tracec.errors import ArgumentError, ArgumentTypeError, CompileError, GradientError, RecordError, ShapeError


def tensor(*shape: int, seed: int = 0, requires_grad: bool = False):
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return tracec.tensor(values, requires_grad=requires_grad)


def same(a, b, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_results_are_the_functions():
    compiled = tracec.compile(lambda x, y: (tracec.sin(x) * y, {"sum": (x + y).sum(), "same": x}))
    x, y = tensor(3, 4), tensor(4, seed=1)
    for _ in range(3):
        first, rest = compiled(x, y)
        same(first, tracec.sin(x) * y)
        same(rest["sum"], (x + y).sum())
        assert rest["same"] is x


def test_other_shapes_dtypes_and_python_values_record_again():
    @tracec.compile
    def f(x, scale):
        return x * scale

    for x, scale in [(tensor(3), 2.0), (tensor(3), 2.0), (tensor(4), 2.0), (tensor(3), 3.0), (tensor(3), 2)]:
        same(f(x, scale), x * scale)
    assert f.explain().count("compiled, ") == 4
    assert "1 hits" in f.explain()


def test_gradients_go_back_through_a_compiled_function():
    w, x = tensor(4, 3, requires_grad=True), tensor(5, 4, seed=1, requires_grad=True)

    def f(x):
        h = tracec.tanh(x @ w)
        return (h * h.detach()).sum(), h

    compiled = tracec.compile(f)
    for _ in range(3):
        found = []
        for function in (f, compiled):
            w.grad = x.grad = None
            loss, h = function(x * 2)
            (loss + h[0].sum()).backward()
            found.append((loss, w.grad, x.grad))
        for a, b in zip(*found, strict=True):
            same(a, b)


def test_going_back_twice_is_an_error_as_it_is_eagerly():
    w = tensor(3, requires_grad=True)
    f = tracec.compile(lambda x: (w * x).sum())
    for _ in range(2):
        loss = f(tensor(3, seed=1))
        loss.backward()
        with pytest.raises(GradientError, match="second time"):
            loss.backward()


def train(compiled: bool, steps: int = 4):
    rng = np.random.default_rng(1)
    shapes = [(16, 8), (16,), (4, 16), (4,)]
    params = [tracec.tensor((rng.standard_normal(s) * 0.3).astype(np.float32), requires_grad=True) for s in shapes]
    optimizer = tracec.optim.AdamW(params, lr=1e-2)

    def step(x, y):
        optimizer.zero_grad()
        hidden = tracec.relu(x @ params[0].T + params[1])
        loss = tracec.nn.functional.cross_entropy(hidden @ params[2].T + params[3], y)
        loss.backward()
        optimizer.step()
        return loss

    run = tracec.compile(step) if compiled else step
    x, y = tensor(12, 8, seed=2), tracec.tensor(rng.integers(0, 4, 12))
    losses = [run(x, y).item() for _ in range(steps)]
    return losses, params, optimizer, run, (x, y)


def test_a_train_step_is_one_graph_with_its_state():
    eager_losses, eager_params, eager_opt, _, _ = train(False)
    losses, params, opt, step, _ = train(True)
    np.testing.assert_allclose(losses, eager_losses, rtol=1e-5)
    for p, q in zip(params, eager_params, strict=True):
        same(p, q)
        same(p.grad, q.grad)
    for s, t in zip(opt.state.values(), eager_opt.state.values(), strict=True):
        for name in t:
            same(s[name], t[name])
    assert "3 hits" in step.explain()


def test_a_train_step_is_bitwise_repeatable():
    a, b = train(True), train(True)
    assert a[0] == b[0]
    for p, q in zip(a[1], b[1], strict=True):
        assert p.detach().numpy().tobytes() == q.detach().numpy().tobytes()


@pytest.mark.parametrize("off", [["fold"], ["simplify"], ["cse"], ["dce"], ["remat"], ["fuse"], ["horizontal"],
                                 ["order"], ["memory"], "all"])  # fmt: skip
def test_every_optimisation_can_be_left_out(off):
    from tracec import optimize

    names = [p.name for p in optimize.PIPELINE.passes] + list(build.PLANNING) if off == "all" else off
    w = tensor(8, 8, requires_grad=True)

    def step(x):
        loss = tracec.softmax(tracec.tanh(x @ w) * 2.0, dim=-1)[:, 0].sum()
        loss.backward()
        with tracec.no_grad():
            w.sub_(w.grad * 0.1)
        w.grad = None
        return loss

    compiled = tracec.compile(step, disable=names)
    x = tensor(5, 8, seed=3)
    start = w.detach().clone()
    eager = [step(x).item() for _ in range(3)]
    with tracec.no_grad():
        w.copy_(start)
    np.testing.assert_allclose([compiled(x).item() for _ in range(3)], eager, rtol=1e-5)


def test_an_unknown_optimisation_is_refused():
    with pytest.raises(ArgumentError, match=r"no optimisation or promise is named fusion(.|\n)*fuse"):
        tracec.compile(lambda x: x, disable=["fusion"])


def test_writes_through_views_and_shared_arguments_come_back():
    def f(x, y):
        x[0].add_(1.0)
        y.mul_(2.0)
        return x.sum()

    compiled = tracec.compile(f)
    for _ in range(3):
        a, b, c, d = tensor(3, 4), tensor(4, seed=1), tensor(3, 4), tensor(4, seed=1)
        same(compiled(a, b), f(c, d))
        same(a, c)
        same(b, d)
    for _ in range(2):  # now the two share memory
        a, c = tensor(3, 4), tensor(3, 4)
        same(compiled(a, a[1]), f(c, c[1]))
        same(a, c)


def test_state_read_from_around_is_guarded():
    class Scale:
        factor = 2.0

        def __init__(self):
            self.offset = 1.0

        def __call__(self, x):
            return x * self.factor + self.offset

    scale = Scale()
    compiled = tracec.compile(scale)
    x = tensor(3)
    for offset in (1.0, 1.0, 5.0, 1.0):
        scale.offset = offset
        same(compiled(x), x * 2.0 + offset)


def test_arrays_that_a_function_is_given_by_numpy_and_writes():
    def f(x):
        x.numpy()[0] += 5.0
        return x * 2

    x = tracec.ones(3)
    with pytest.raises(RecordError, match=r"numpy: the function writes into the array of a tensor(.|\n)*\.numpy\(\)"):
        tracec.compile(f, fullgraph=True)(x)
    assert x.tolist() == [1, 1, 1]
    compiled = tracec.compile(f)
    with pytest.warns(RuntimeWarning, match="numpy: the function writes into the array of a tensor"):
        found = [(compiled(x)[0].item(), x[0].item()) for _ in range(3)]
    assert found == [(12, 6), (22, 11), (32, 16)]


def test_run_of_a_lowered_function_keeps_to_the_values_that_it_asked_for():
    lowered = tracec.compile(lambda x: x * 2 if x.sum() > 0 else x - 1).lower(tracec.ones(3))
    assert "mul" in lowered.stages["record"]
    with pytest.raises(RecordError, match=r"run: .* asks for the value of a tensor"):
        lowered.run(tracec.ones(3))


def test_an_error_inside_leaves_no_trace():
    w = tensor(3)
    compiled = tracec.compile(lambda x: x + w)
    with pytest.raises(ShapeError, match=r"add: shapes \(4,\) and \(3,\) do not broadcast"):
        compiled(tensor(4))
    same(compiled(tensor(3, seed=1)), tensor(3, seed=1) + w)


def test_lower_changes_nothing_and_run_does_what_the_call_would():
    _, params, _optimizer, step, batch = train(True)
    before = [p.detach().clone() for p in params]
    lowered = step.lower(*batch)
    for p, q in zip(params, before, strict=True):
        assert p.detach().numpy().tobytes() == q.numpy().tobytes()
    assert next(iter(lowered.stages)) == "record"
    assert "tracec_run" in lowered.stages["source"]
    assert all(k.name in k.source for k in lowered.kernels)
    memory = lowered.memory
    assert memory.lower_bound_bytes <= memory.peak_bytes <= memory.unplanned_bytes
    loss = lowered.run(*batch)
    _, eager_params, _, _, _ = train(False, steps=5)
    assert loss.shape == ()
    for p, q in zip(params, eager_params, strict=True):
        same(p, q)


def test_random_numbers_are_the_same_eager_and_compiled():
    def f(x):
        return tracec.nn.functional.dropout(x, 0.5) + tracec.rand(3, 4)

    found = []
    for function in (f, tracec.compile(f)):
        tracec.manual_seed(7)
        found.append([function(tracec.ones(3, 4)).numpy() for _ in range(3)])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0][0], found[0][1])


def test_dump_writes_every_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEC_DUMP", str(tmp_path))
    tracec.compile(lambda x: tracec.sin(x) + 1)(tensor(3))
    (folder,) = tmp_path.iterdir()
    names = sorted(p.name for p in folder.iterdir())
    assert names[0] == "00-record.txt"
    assert names[-1].endswith("source.c")
    assert "sin" in (folder / names[0]).read_text()


def test_with_no_compiler_the_graph_is_interpreted_after_one_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TRACEC_CC", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(build, "_warned_fallback", False)
    with pytest.warns(RuntimeWarning, match="no C compiler .* install gcc"):
        losses = train(True)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = train(True)[0]
    np.testing.assert_allclose(losses, train(False)[0], rtol=1e-5)
    assert losses == again


def test_a_program_of_many_operations_compiles_in_linear_time():
    def chain(count):
        def f(x):
            for k in range(count // 2):
                x = tracec.sin(x) * (1.0 + 0.001 * k)
            return x

        return f

    x = tensor(64)
    same(tracec.compile(chain(400))(x), chain(400)(x))


def test_recording_shows_the_users_lines():
    graph = tracec.trace(lambda a, b: tracec.sin(a) @ b + 1.0, tracec.ones(3, 4), tracec.ones(4, 5))
    assert "test_compile.py:" in str(graph)
    assert [n.op.name for n in graph.nodes] == ["sin", "dot", "add"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_compiled_in_a_fresh_process_comes_from_the_cache(tmp_path):
    code = (
        "import tracec\n"
        "f = tracec.compile(lambda x: tracec.exp(x) * 2)\n"
        "print(f(tracec.ones(5)).sum().item(), f(tracec.ones(5)).sum().item())\n"
    )
    environment = {**os.environ, "TRACEC_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(tracec.__file__).parents[1])}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert any(tmp_path.rglob("*.so"))


def test_source_that_the_compiler_rejects_is_run_in_numpy_after_a_warning(monkeypatch):
    def reject(plan, program):
        raise CompileError("gcc rejects generated C", hint="please report this")

    w = tensor(3)
    step = tracec.compile(lambda x: w.add_(x))
    monkeypatch.setattr(build.cpu_runtime, "load", reject)
    with pytest.warns(RuntimeWarning, match=r"rejects generated C(.|\n)*operator by operator"):
        step(tracec.ones(3))
    step(tracec.ones(3))
    same(w, tensor(3) + 2)


def test_arguments_of_pytorch():
    x = tracec.ones(3)

    @tracec.compile(mode="max-autotune-no-cudagraphs", dynamic=True, backend="inductor", options={"max_autotune": True})
    def double(x):
        return x * 2

    more = tracec.compile(model=lambda x: x + 1)
    for _ in range(2):
        assert double(x).tolist() == [2, 2, 2] and not double._options.cuda_graph
        assert more(x).tolist() == [2, 2, 2]
    assert tracec.compile(abs, disable=True) is abs
    with pytest.raises(ArgumentError, match="compile: mode 'fast' is unknown"):
        tracec.compile(abs, mode="fast")
    with pytest.raises(ArgumentTypeError, match="compile: backend must be a name"):
        tracec.compile(abs, backend=print)


def test_fullgraph_raises_where_a_call_would_run_eagerly():
    def f(x):
        return x + x.numpy().sum()

    with pytest.raises(tracec.errors.RecordError, match="compile: f: asks for the value"):
        tracec.compile(f, fullgraph=True)(tracec.ones(3))
    assert tracec.compile(f)(tracec.ones(2)).tolist() == [3, 3]
