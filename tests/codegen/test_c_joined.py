"""What is joined of many parts has a loop for each part."""

import numpy as np
import pytest

import tracec


def parts(count, size, dtype=tracec.float32):
    rng = np.random.default_rng(count)
    return [tracec.tensor(rng.standard_normal((size + k % 3, 3)), dtype=dtype) for k in range(count)]


FUNCTIONS = {
    "of computed parts": lambda xs: tracec.cat([x * 2 for x in xs]),
    "and more of it": lambda xs: tracec.cat(xs).exp() - 1,
    "along the last axis": lambda xs: tracec.cat([x[:2] + k for k, x in enumerate(xs)], 1),
    "of scalars": lambda xs: tracec.stack([x.sum() * 2 for x in xs]),
    "of parts of one": lambda xs: tracec.cat([x[:1, 0] * 2 for x in xs]),
    "between zeros": lambda xs: tracec.nn.functional.pad(tracec.cat([x * 2 for x in xs]), (0, 0, 3, 2)),
    "two of them": lambda xs: tracec.cat([x * 2 for x in xs]) * tracec.cat([x + 1 for x in xs[::-1]])[: 2 * len(xs)]
    if len({x.shape for x in xs}) == 1 else tracec.cat([x * 2 for x in xs]),
    "of bytes": lambda xs: tracec.cat([(x > 0).to(tracec.uint8) + 1 for x in xs]),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("count", [4, 5, 17, 70])
@pytest.mark.parametrize("dtype", [tracec.float32, tracec.float64])
def test_values_are_those_of_eager(name, count, dtype):
    f, xs = FUNCTIONS[name], parts(count, 4, dtype)
    compiled = tracec.compile(f)
    got = [compiled(xs) for _ in range(2)][1]
    want = f(xs)
    assert got.dtype is want.dtype
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-6, atol=1e-6)


def test_each_part_has_a_loop_and_no_test():
    lowered = tracec.compile(FUNCTIONS["of computed parts"]).lower(parts(12, 4))
    source = lowered.stages["source"]
    body = source[source.index("k0_") :]
    assert body.count("for (long i0") == 12 and "?" not in body


def test_few_parts_are_chosen_among():
    source = tracec.compile(FUNCTIONS["of computed parts"]).lower(parts(3, 4)).stages["source"]
    assert source[source.index("k0_") :].count("for (long i0") == 1


def test_hundreds_of_parts_are_asked_by_halves():
    """Of a sum that reads them at once, too; one within another they were deeper than Python goes."""

    def f(xs):
        return tracec.stack([x.sum() for x in xs]).square().sum()

    xs = parts(700, 1)
    compiled = tracec.compile(f)
    found = [compiled(xs) for _ in range(2)][1]
    assert np.allclose(found.item(), f(xs).item(), rtol=1e-5)
    assert "could not be compiled" not in str(compiled.explain())


def test_gpus_choose_by_halves_too():
    xs = parts(40, 2)
    f = FUNCTIONS["of computed parts"]
    got = tracec.compile(f).lower(xs, target="cuda").run(xs, launcher="emulator")
    np.testing.assert_array_equal(got.numpy(), f(xs).numpy())
