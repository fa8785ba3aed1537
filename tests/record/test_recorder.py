"""Recordings: replaying the graph gives what the function gave, with everything that it read and wrote."""

import gc
import weakref

import numpy as np
import pytest

import tracec
from tracec.errors import RecordError
from tracec.ir import evaluate, verify
from tracec.record import Recorder
from tracec.record.state import STATE
from tracec.specialisations.inputs import finder, storage_finder


def f64(*shape, seed=0):
    return tracec.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape))


def record(fn, *args):
    with Recorder(args) as recorder:
        out = fn(*args)
    recording = recorder.finish(out)
    verify(recording.graph)
    return recording


def replay(recording, *args):
    """Run the graph as a compiled function would be run, and return the results' values."""
    values = evaluate(recording.graph, [finder(v, {})(args) for v in recording.inputs])
    values = [v.copy() for v in values]
    found = {v.storage: storage_finder(v, {})(args) for v in recording.inputs}
    for storage, k in recording.writes:
        found[storage].write(values[k])
    for tensor, k, _ in recording.grads:
        tensor.grad = None if k is None else tracec.from_numpy(values[k].copy())
    return [values[r.output] for r in recording.results]


def same(a, b, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=1e-14)


class Net:
    """Two layers, momentum, a running mean and dropout, all by hand."""

    def __init__(self):
        self.w1, self.w2 = f64(4, 8, seed=1).requires_grad_(), f64(8, 3, seed=2).requires_grad_()
        self.parameters = [self.w1, self.w2]
        self.momentum = [tracec.zeros_like(p) for p in self.parameters]
        self.mean = tracec.zeros(8, dtype=tracec.float64)
        self.steps = tracec.zeros((), dtype=tracec.int64)
        self.generator = tracec.Generator(seed=7)

    def __call__(self, x, y):
        for p in self.parameters:
            p.grad = None
        h = (x @ self.w1).tanh()
        with tracec.no_grad():
            self.mean.mul_(0.9).add_(h.mean(0) * 0.1)
        self.steps += 1
        kept = self.generator.next_bits((5, 8)) < 2**31
        h = tracec.where(kept, h * 2, 0.0) - self.mean
        loss = ((h @ self.w2 - y) ** 2).mean()
        loss.backward()
        with tracec.no_grad():
            for p, m in zip(self.parameters, self.momentum, strict=True):
                m.mul_(0.9).add_(p.grad)
                p.sub_(m * 0.1)
        return loss

    @property
    def state(self):
        return [*self.parameters, *self.momentum, self.mean, self.steps, self.generator.state]


def test_a_train_step_is_one_graph(golden):
    eager, compiled = Net(), Net()
    data = [(f64(5, 4, seed=10 + i), f64(5, 3, seed=20 + i)) for i in range(4)]
    recording = record(compiled, *data[0])
    same(eager(*data[0]).detach(), recording.results[0].tensor.detach())
    for x, y in data[1:]:
        expected = eager(x, y)
        (got,) = replay(recording, x, y)
        same(got, expected.detach())
        for a, b in zip(eager.state, compiled.state, strict=True):
            same(a.detach(), b.detach())
        for a, b in zip(eager.parameters, compiled.parameters, strict=True):
            same(a.grad, b.grad)
    assert not recording.decisions
    assert {v.argument for v in recording.inputs} == {0, 1, None}
    assert len(recording.writes) == 7
    assert [k is not None for _, k, _ in recording.grads] == [True, True]
    assert recording.donations()
    assert str(recording.graph) == golden


def test_gradients_that_add_up():
    w = f64(3).requires_grad_()
    w.grad = f64(3, seed=5)
    before, values = w.grad, w.grad.numpy().copy()

    def step(x):
        (w * x).sum().backward()

    x = f64(3, seed=6)
    recording = record(step, x)
    same(w.grad, values + x.numpy())
    assert w.grad is before
    assert not recording.grads
    assert [v.grad_of is w for v in recording.inputs if v.storage is before._storage] == [True]
    assert list(recording.grad_reads) == [w] and recording.grad_reads[w] is not None
    w.grad = tracec.zeros(3, dtype=tracec.float64)
    replay(recording, x)
    same(w.grad, x.numpy())
    same(before, values + x.numpy())


def test_writes_through_views_of_arguments():
    def fn(x, y):
        x[1:, ::2] = y[0]
        x.T[0].mul_(10)
        v = x.view(-1)
        v[3:5] += y.sum()
        return x.sum() + v[3], v

    x, y = f64(3, 4), f64(2, 2)
    a, b = f64(3, 4), f64(2, 2)
    recording = record(fn, x, y)
    total, flat = replay(recording, a, b)
    same(a, x)
    same(total, recording.results[0].tensor)
    same(flat, x.view(-1))
    result = recording.results[1]
    assert result.outside
    assert recording.inputs[result.lifted].argument == 0


def test_the_same_tensor_twice_and_two_views_of_one_memory():
    def fn(x, y):
        x += 1
        y *= 2
        return x + y

    base, other = f64(6), f64(6)
    recording = record(fn, base[:4], base[2:])
    (got,) = replay(recording, other[:4], other[2:])
    same(got, recording.results[0].tensor)
    same(other, base)
    assert len(recording.inputs) == 1
    x, y = f64(3), f64(3)
    recording = record(fn, x, x)
    (got,) = replay(recording, y, y)
    same(got, recording.results[0].tensor)
    same(x, y)


def test_an_unwritten_view_is_lifted_by_itself():
    data = f64(1000, 3)

    def fn(x):
        return x.T * 2

    recording = record(fn, data[10:14])
    (lifted,) = recording.inputs
    assert not lifted.whole
    assert recording.graph.inputs[0].shape == (4, 3)
    (got,) = replay(recording, data[500:504])
    same(got, (data[500:504].T * 2))


def test_an_argument_view_that_is_written_late():
    def fn(x):
        y = x * 2
        x += y
        return y + x

    base, other = f64(4, 3), f64(4, 3)
    recording = record(fn, base[1])
    assert recording.inputs[0].whole
    (got,) = replay(recording, other[1])
    same(got, recording.results[0].tensor)
    same(other, base)


def test_detached_and_data_writes():
    p, q = f64(3).requires_grad_(), f64(3).requires_grad_()

    def make(p):
        def fn(x):
            y = p * x
            p.data.mul_(2)
            p.detach()[0] = 5
            z = (y * p).sum()
            p.data.copy_(p.data + 1)
            z.backward()
            return z

        return fn

    x = f64(3, seed=3)
    expected = make(q)(x)
    recording = record(make(p), x)
    same(recording.results[0].tensor.detach(), expected.detach())
    same(p.grad, q.grad)
    expected = make(q)(x)
    (got,) = replay(recording, x)
    same(got, expected.detach())
    same(p.detach(), q.detach())


def test_tensors_made_inside():
    def fn(x):
        buffer = tracec.zeros(3, dtype=tracec.float64)
        buffer += x
        weights = tracec.tensor([1.0, 2.0, 4.0], dtype=tracec.float64)
        weights[0] = 10
        return buffer * weights, buffer

    x, y = f64(3), f64(3, seed=9)
    recording = record(fn, x)
    assert not recording.writes
    first, second = replay(recording, y)
    same(first, y.numpy() * [10, 2, 4])
    same(second, y)
    assert not any(r.outside for r in recording.results)


def test_values_that_are_asked_for():
    def fn(x):
        if x.sum() > 0:
            x = x * 2
        return x + float(x.max())

    recording = record(fn, tracec.ones(3))
    assert [d.how for d in recording.decisions] == ["bool", "float"]
    assert recording.decisions[0].value.item() is True
    assert recording.decisions[1].value == 2
    assert recording.decisions[0].node.op.name == "gt"


@pytest.mark.parametrize(
    ("how", "fn"),
    [
        ("numpy", lambda x: np.asarray(x)),
        ("tolist", lambda x: (x > 0).tolist()),
        ("print", lambda x: repr(x)),
        ("nonzero", lambda x: x[x > 0]),
        ("float", lambda x: float(x.sum())),
        ("array", lambda x: tracec.from_numpy(np.ones(3))),
        ("array", lambda x: tracec.from_numpy(np.ones(3, np.float32)).add_(x)),
    ],
)
def test_kinds_of_asking(how, fn):
    recording = record(fn, tracec.ones(3))
    assert [d.how for d in recording.decisions] == [how]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x + np.ones(3, np.float32),
        lambda x: x * tracec.from_numpy(np.arange(3.0))[x.long()],
        lambda x: (x, tracec.tensor(np.log(np.ones(3)))),
    ],
)
def test_elements_of_arrays_that_nobody_writes_are_not_asked_for(fn):
    assert record(fn, tracec.ones(3)).decisions == []


def test_second_derivatives_inside():
    def fn(x):
        y = (x**3).sum()
        (g,) = tracec.autograd.grad(y, x, create_graph=True)
        (g * g).sum().backward()
        return g

    x = f64(3).requires_grad_()
    recording = record(fn, x)
    first = x.grad.numpy().copy()
    x.grad = None
    (got,) = replay(recording, x)
    same(got, recording.results[0].tensor.detach())
    same(x.grad, first)
    same(first, 36 * x.detach().numpy() ** 3)
    assert {n.origin.split()[0] for n in recording.graph.nodes if n.origin} == {"vjp"}


def test_sources_are_the_users_lines():
    recording = record(lambda x: (x.sin() * 2).sum().backward(), f64(3).requires_grad_())
    assert all(n.source.file == __file__ for n in recording.graph.nodes)


def test_trace_leaves_everything_as_it_was(golden):
    net = Net()
    for p in net.parameters:
        p.grad = tracec.ones_like(p)
    before = [t.detach().numpy().copy() for t in net.state]
    grads = [p.grad for p in net.parameters]
    tracec.trace(net, f64(5, 4), f64(5, 3))
    for t, value in zip(net.state, before, strict=True):
        same(t.detach(), value)
    assert all(p.grad is g for p, g in zip(net.parameters, grads, strict=True))
    assert str(tracec.trace(lambda a: a.sin() * 2 + a, tracec.ones(4))) == golden


def test_trace_takes_nested_arguments():
    graph = tracec.trace(lambda d, *, k: d["a"] + d["b"][0] * k, {"a": tracec.ones(2), "b": [tracec.ones(2)]}, k=3)
    assert len(graph.inputs) == 2


def test_trace_of_a_matrix_is_its_trace():
    assert tracec.trace(tracec.eye(3)).item() == 3


def test_eager_goes_on_after_a_recording():
    x = f64(3).requires_grad_()
    recording = record(lambda x: (x * x).exp(), x)
    y = recording.results[0].tensor
    y.sum().backward()
    same(x.grad, 2 * x.detach().numpy() * np.exp(x.detach().numpy() ** 2))
    assert x._storage.node is None


def test_going_back_through_what_ran_before(golden):
    x = f64(3).requires_grad_()
    y = x * x
    with pytest.raises(RecordError) as error:
        record(lambda y: y.sum().backward(), y)
    assert str(error.value) == golden


def test_what_else_a_recording_hangs_on():
    w = f64(3).requires_grad_()
    recording = record(lambda x: w * x, f64(3))
    assert recording.surroundings.hold()
    f64(3).requires_grad_()
    with tracec.no_grad():
        w.add_(1)
    assert recording.surroundings.hold()
    w.requires_grad_(False)
    assert not recording.surroundings.hold()
    w.requires_grad_()
    assert recording.surroundings.hold()
    w.data = f64(3)
    assert not recording.surroundings.hold()


def test_recordings_do_not_keep_tensors_or_graphs_alive():
    w = f64(3).requires_grad_()
    recording = record(lambda x: (w * x).sum().backward(), f64(3))
    node = weakref.ref(recording.graph.nodes[0])
    del recording
    gc.collect()
    assert node() is None


def test_one_recording_at_a_time():
    with Recorder(), pytest.raises(RecordError, match="under way"), Recorder():
        pass
    assert STATE.recorder is None


def test_an_error_ends_the_recording():
    with pytest.raises(ZeroDivisionError), Recorder():
        1 / 0  # noqa: B018
    assert STATE.recorder is None
