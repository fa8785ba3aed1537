"""Pages: that they hold together, that what belongs to a line is marked so, and that no text of a user breaks them."""

from __future__ import annotations

import linecache

import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.inspect.pages import read
from tracec import nn
from tracec.inspect.pictures import draw_memory, draw_steps, edges_of
from tracec.nn import functional as F


def trained():
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = tracec.optim.AdamW(model.parameters(), lr=1e-2)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return tracec.compile(step).lower(tracec.randn(32, 6), tracec.arange(32) % 3)


def page_of(lowered, tmp_path, profile=None):
    path = lowered.report(tmp_path / "page.html", profile)
    assert path == tmp_path / "page.html"
    return read(path.read_text(encoding="utf-8"))


def test_a_page_tells_of_every_step(tmp_path):
    lowered = trained()
    page = page_of(lowered, tmp_path)
    rows = [a for name, a in page.elements if name == "tr" and "step" in a.get("class", "").split()]
    assert [a["data-s"] for a in rows] == [f"s{n}" for n in range(len(lowered.plan.steps))]
    for kernel in lowered.kernels:
        assert kernel.name in page.text
        assert kernel.source.strip().splitlines()[-2].strip() in page.text
    assert all(p in page.text for p in ("fold", "simplify", "cse", "dce", "remat"))


def test_what_it_refers_to_is_there(tmp_path):
    page = page_of(trained(), tmp_path)
    ids = [a["id"] for a in page.having("id")]
    assert len(ids) == len(set(ids))
    assert {a["data-more"] for a in page.having("data-more")} <= set(ids)
    steps = {a["data-s"] for name, a in page.elements if name == "tr" and "data-s" in a}
    assert {a["data-s"] for a in page.having("data-s")} == steps
    lines = {a["data-l"] for name, a in page.elements if name == "div" and "data-l" in a}
    assert {key for a in page.having("data-l") for key in a["data-l"].split()} == lines


def test_every_node_belongs_to_its_line(tmp_path):
    lowered = trained()
    page = page_of(lowered, tmp_path)
    nodes = [a for name, a in page.elements if name == "code" and "data-l" in a]
    assert len(nodes) == sum(n.source is not None for n in lowered.graph.nodes)
    count = {n.source.line for n in lowered.graph.nodes if n.source is not None}
    assert len({a["data-l"] for a in nodes}) == len(count)


def test_lines_are_shown_with_those_around_them(tmp_path):
    page = page_of(trained(), tmp_path)
    for text in ("optimizer.zero_grad()", "loss = F.cross_entropy(model(x), y)", "optimizer.step()", "return loss"):
        assert text in page.text
    assert "test_report.py" in page.text


@needs_compiler
def test_times_are_shown(tmp_path):
    lowered = trained()
    profile = lowered.profile(rounds=2)
    page = page_of(lowered, tmp_path, profile)
    assert f"{100 * profile.share(profile.steps[0]):.1f}%" in page.text
    assert "% of the time" in "".join(a["title"] for a in page.having("title"))
    widths = [float(a["style"].removeprefix("width:").rstrip("%")) for name, a in page.elements if name == "i"]
    assert widths
    assert all(0 <= w <= 100.1 for w in widths)


def test_text_of_the_users_is_text(tmp_path):
    name = str(tmp_path / "a<b>&.py")
    source = "def f(x):\n    return (x * 2, '</pre><script>alert(1)</script>')[0]  # <&>\n"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope = {}
    exec(compile(source, name, "exec"), scope)
    page = page_of(tracec.compile(scope["f"]).lower(tracec.ones(3)), tmp_path)
    assert "'</pre><script>alert(1)</script>'" in page.text
    assert [name for name, _ in page.elements].count("script") == 1


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_every_kind_of_step_is_shown(target, tmp_path):
    lstm = nn.LSTM(4, 8)

    def run(x, w):
        y, _ = lstm(x)
        z = tracec.func.cond(y.sum() > 0, lambda v: v * 2, lambda v: v - 1, (y,))
        return tracec.sort(z @ w, dim=-1).values, tracec.linalg.svd(w).S

    page = page_of(tracec.compile(run).lower(tracec.randn(5, 2, 4), tracec.randn(8, 8), target=target), tmp_path)
    assert "svd" in page.text
    assert "argsort" in page.text


def test_a_function_of_nothing_to_compute(tmp_path):
    page_of(tracec.compile(lambda x: x).lower(tracec.ones(3)), tmp_path)


def test_sizes_that_vary(tmp_path):
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0), dynamic=True)
    run(tracec.ones(5, 8))
    page_of(run.lower(tracec.ones(7, 8)), tmp_path)


def test_steps_lie_below_what_they_read_from():
    plan = trained().plan
    picture = draw_steps(plan, [""] * len(plan.steps), [0.0] * len(plan.steps))
    edges = edges_of(plan)
    assert len(picture.curves) == len(edges) > 5
    for a, b in edges:
        assert picture.boxes[a].y + picture.boxes[a].height < picture.boxes[b].y
    places = [(box.x, box.y) for box in picture.boxes]
    assert len(set(places)) == len(places)
    assert all(b.x >= 0 and b.x + b.width <= picture.width and b.y + b.height <= picture.height for b in picture.boxes)


def test_edges_are_reads_of_what_was_written():
    x = tracec.ones(30, 40)
    plan = tracec.compile(lambda x: (x.sum(0) @ x.T).softmax(0), disable=["library"]).lower(x).plan
    assert set(edges_of(plan)) == {(n, n + 1) for n in range(len(plan.steps) - 1)}


def test_values_in_the_arena_overlap_nowhere():
    plan = trained().plan
    boxes = draw_memory(plan, {}).boxes
    assert len(boxes) == sum(v.place == "arena" for v in plan.values)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart = a.x + a.width <= b.x + 1e-6 or b.x + b.width <= a.x + 1e-6
            assert apart or a.y + a.height <= b.y + 1e-6 or b.y + b.height <= a.y + 1e-6


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        tracec.compile(tracec.sin).lower(tracec.ones(3)).report(tmp_path / "no" / "page.html")
