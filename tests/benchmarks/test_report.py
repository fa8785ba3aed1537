"""Tables and closing line of a benchmark run, from made-up measurements."""

import pytest

from benchmarks import profiles, report
from benchmarks.timing import ratio


def engine(*milliseconds, **more):
    return {"median_ms": sorted(milliseconds)[len(milliseconds) // 2], "rounds_ms": list(milliseconds), **more}


@pytest.fixture
def result():
    fast = {
        "tracec": engine(1, 2, 1, error=1e-7, correct=True),
        "torch.compile": engine(2, 4, 2),
        "jax": engine(9, 9, 9),
    }
    slow = {"tracec": engine(4, 4, 4, error=1e-7, correct=True), "jax": engine(2, 2, 2), "torch": engine(1, 1, 1)}
    step = {"tracec": engine(1, 1, 1, error=1e-2, correct=False), "torch.compile": {"failed": "ValueError: no"}}
    about = {"date": "2026-01-01", "cpu": "a CPU", "threads": 2, "copy_gb_per_s": 20.0, "versions": {"tracec": "0"}}
    workloads = {
        "fast": {"title": "a fast one", "kind": "forward", "engines": fast, "floor_ms": 0.5},
        "slow": {"title": "a slow one", "kind": "forward", "engines": slow, "floor_ms": 0.5},
        "step": {"title": "a step", "kind": "train", "engines": step},
    }
    return {
        "machine": about,
        "rounds": 3,
        "set_up": {"jax": {"first_call_s": 2.0, "cached_call_s": 1}},
        "workloads": workloads,
    }


def test_ratio_is_the_median_within_rounds():
    assert ratio([2, 30, 2], [1, 10, 4]) == 2


def test_advantage_compares_with_the_better_rival_and_not_with_eager(result):
    assert [report.advantage(row) for row in result["workloads"].values()] == [2, 0.5, None]


def test_summary_is_the_geometric_mean_over_forward_workloads(result):
    assert report.summary(result) == (
        "geometric mean over 2 forward workloads: tracec is 1.00x as fast as the better of torch.compile and jax "
        "(least 0.50x)"
    )


def test_models_are_compared_with_torch_too(result):
    row = {"tracec": engine(1, 1, 1), "torch": engine(2, 2, 2), "torch.compile": engine(3, 3, 3, here_s=30.0)}
    models = result | {"set_up": {}, "workloads": {"unet": {"title": "a U-Net", "kind": "train", "engines": row}}}
    assert report.summary(models) == (
        "geometric mean over 1 models: tracec is 2.00x as fast as the better of torch and torch.compile (least 2.00x)"
    )
    assert "| a U-Net | 1.00 | 2.00 | 3.00 | – | 2.00x |" in report.markdown(models)
    assert "| a U-Net | – | – | 30.0 |" in report.markdown(models)
    assert (report.marks_of(models), report.of_models(result)) == ("models", False)


def test_summary_without_tracec_says_what_is_missing(result):
    for row in result["workloads"].values():
        del row["engines"]["tracec"]
    assert "nothing to compare" in report.summary(result)
    assert report.wrong(result) == []


def test_wrong_results_and_failures_show(result):
    assert report.wrong(result) == ["step"]
    lines = report.time_table(result).splitlines()
    assert lines[-1] == "| a step | 1.00 (wrong) | failed | – | – | – | – |"
    assert "| one-time set-up (x + 1) | 2.00 / 1.00 |" in report.markdown(result)


def test_runs_on_a_gpu_say_on_which(result):
    result["machine"] |= {"device": "cuda", "gpu": "a GPU", "driver": "1.2"}
    result["set_up"], result["left_out"] = {}, ["gpt"]
    result["workloads"]["fast"]["engines"]["tracec"]["here_s"] = 0.5
    text = report.markdown(result)
    assert "2026-01-01, a GPU, driver 1.2, fed by 2 cores of a CPU, copy 20.0 GB/s" in text
    assert "| a fast one | 0.500 | – | – | – |" in text
    assert "Not measured, for want of time: gpt." in text


def test_a_gpu_check_is_told_part_by_part(result):
    result["machine"] |= {"device": "cuda", "gpu": "a GPU", "driver": "1.2"}
    device = {"name": "a GPU", "cache_bytes": 50}
    row = {
        "family": "map",
        "title": "x + 1",
        "seconds": 1e-3,
        "gb_per_s": 3e3,
        "of_copy": 0.9,
        "bytes": 99,
        "peers": {},
    }
    kernels = {"date": "2026-01-01", "device": device, "versions": {}, "memory": [row], "products": [], "launches": []}
    kernels |= {"copies": {"99": 3300.0}, "peers": [], "left_out": []}
    parts = {"tests": {"ok": True, "line": "9 passed"}}
    check = {"date": "2026-01-01", "driver": "1.2", "parts": parts, "kernels_run": kernels, "workloads_run": result}
    text = report.whole(check)
    assert "- tests: 9 passed" in text and "map: x + 1" in text and "fastest copy 3300 GB/s" in text
    assert text.endswith(report.whole(result)) and "geometric mean" in text


def test_the_readme_has_a_place_for_each_device():
    readme = report.README.read_text()
    for begin, end in report.MARKS.values():
        assert readme.count(begin) == readme.count(end) == 1 and readme.index(begin) < readme.index(end)


@pytest.mark.parametrize(
    ("value", "text"), [(0.00981, "0.00981"), (1.314, "1.31"), (345.2, "345"), (0, "0"), (None, "–")]
)
def test_numbers_show_three_digits(value, text):
    assert report.number(value) == text


def test_ways_that_are_compared_alternate():
    called = []
    found = profiles.side_by_side({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, "cpu")
    assert "".join(called) == ("a" * profiles.CALLS + "b" * profiles.CALLS) * (profiles.ROUNDS + 1)
    assert set(found) == {"a", "b"} and all(us >= 0 for us in found.values())


def test_of_several_checks_each_part_is_told_of_the_last_that_has_it(result):
    about = {"driver": "1", "versions": {}}
    first = {"date": "2026-01-01", "workloads_run": result, "profiles": {}, **about}
    first["parts"] = {"tests": {"line": "3 passed"}, "workloads": {"line": "slow"}, "profiles": {"line": "none"}}
    profile = {"gpt": {"title": "train GPT", "microseconds": 5291.7, "steps": []}}
    second = {"date": "2026-02-02", "profiles": profile, **about}
    second["parts"] = {"tests": {"line": "4 passed"}, "profiles": {"line": "gpt"}}
    told = "\n".join(map(report.whole, report.joined([first, second])))
    assert "4 passed" in told and "3 passed" not in told and "a fast one" in told and "- workloads: slow" in told
    assert told.index("2026-02-02") < told.index("2026-01-01") and "by itself: GPT: 5.29." in told
