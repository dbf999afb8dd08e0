"""The subspace bench and the curvature view in a browser: with their Python side alone, then the bench in a real
JupyterLab.
"""

import csv
import functools
import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import widgets
from lens import curvature, subspace
from tests.browser import looks
from tests.browser.lab import READY, SETUP
from tests.browser.looks import unnamed
from tests.browser.page_model import Mounted
from tests.browser.stored import stored_copy
from tests.memorization.helpers import clean, known, unknown, weights
from tests.widgets.fakes import SCRIPT
from tests.widgets.test_curvature_view import UP
from tests.widgets.test_subspace_bench import speaking
from widgets.subspace_bench import work as subspace_work

SHOTS = os.environ.get("MNEMOSCOPE_SHOTS")  # a folder: pictures of the states that a person should judge


def shot(page, name):
    if SHOTS:
        page.wait_for_timeout(200)
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def mount(page, run=True, **options):
    model = speaking()
    memorised = {f"known {SCRIPT}": known(), "few": known().subset(range(3))}
    reference = {"random": clean(30), "shared": np.concatenate([known().ids[:1], clean(5, 16)])}
    view = Mounted(
        page,
        widgets.SubspaceBench(
            model, memorised, reference, **({"sparsities": (0.04, 0.1, 0.3), "kept": (0.9, 0.6)} | options)
        ),
    )
    view.settle(60)
    if run:
        view.get("run").click()
        view.settle(60)
    return view


@functools.cache
def decomposed():
    model = speaking()
    return model, curvature.decompose(model, curvature.factors(model, "mlp", clean(60)))


def spectrum(page, **options):
    view = Mounted(page, widgets.CurvatureView(*decomposed(), known(), clean(6, seed=9), **({"layer": UP} | options)))
    view.settle(60)
    return view


def cells(view, table, row):
    return view.get(table).locator("tbody tr", has_text=row).locator("td").all_inner_texts()


def cut_off(page):
    parts = "input, select, button, h3, svg, p, .mn-tablebox, .mn-tokens, .mn-chart"
    return looks.cut_off(page, parts, within=".mn-tablebox table")


# --- the subspace bench


def test_the_slider_moves_everything_without_the_kernel(page):
    view = mount(page, run=False)
    assert (
        view.get("empty").is_visible()
        and "No curve yet" in view.get("empty").inner_text()
        and view.get("put").is_hidden()
    )
    view.get("run").click()
    view.settle(60)
    widget, slider = view.widget, view.get("at")
    assert (
        widget.status == "complete"
        and slider.get_attribute("max") == "3"
        and slider.input_value() == "2"
        and "0.1" in view.get("here").inner_text()
    )
    slider.focus()  # from here on nothing that Python says reaches the page
    page.keyboard.press("ArrowRight")
    assert (
        view.get("curve").get_attribute("data-at") == "3"
        and "0.3" in view.get("here").inner_text()
        and "sparsity 0.3" in slider.get_attribute("aria-valuetext")
    )
    row = widget.found["edit"][2]["kept apart"]
    assert f"{100 * row['strict']:.3g} %" in cells(view, "point", "word for word")[1] and cells(
        view, "point", "word for word"
    )[0].startswith("100 %")
    rise = [float(t.split("\n")[0].replace("−", "-")) for t in cells(view, "point", "its rise")[1:]]
    assert rise == pytest.approx([row["rise"], widget.found["random"][2]["kept apart"]["rise"]], rel=5e-3)
    assert [view.get(name).locator("circle.mn-here").count() for name in ("plane", "recited", "loss")] == [
        2,
        2,
        2,
    ], "the point is marked on both lines"
    assert (
        view.get("plane").locator("path[stroke-dasharray]").count() == 1
        and view.get("plane").locator("g[data-line=control]").count() == 4
    )
    view.get("recited").locator("g[data-point='1'][data-line=edit]").click(force=True)
    assert view.get("curve").get_attribute("data-at") == "1", "a click on the curve moves there"
    slider.focus()
    page.keyboard.press("Home")
    assert (
        "unedited" in view.get("here").inner_text() and view.get("put").is_disabled() and view.get("layers").is_hidden()
    )
    view.get("set").select_option("found on")
    assert "(6)" in view.get("set").locator("option:checked").inner_text()
    assert (
        view.errors == []
        and page.locator(".mnemoscope script").count() == 0
        and SCRIPT in view.get("what").inner_text()
    )


def test_texts_mark_what_differs_and_escape_every_token(page):
    view = mount(page)
    blocks, run = view.get("text"), view.widget._shown
    first = blocks.first
    assert (
        blocks.count() == 8
        and first.locator("tr").count() == 4
        and "word for word" in first.locator("tr").nth(2).inner_text()
    )
    generated, gold = run.dataset.generated.sel(edit="0.1").values, run.dataset.gold.values
    at = list(run.dataset.name.values).index(first.locator("strong").inner_text())
    marks = first.locator("tr").nth(3).locator("mark")
    assert (
        marks.count() == (generated[at] != gold[at]).sum() > 0
        and f"{marks.count()} of 10 tokens differ" in first.inner_text()
    )
    looks = marks.first.evaluate(
        "(m) => { const s = getComputedStyle(m); return [s.textDecorationLine, s.borderTopStyle, Number(s.fontWeight)"
        " >= 600, s.backgroundColor]; }"
    )
    assert looks == ["underline", "solid", True, "rgba(0, 0, 0, 0)"] and marks.first.inner_text().startswith(
        "differs"
    ), "not by colour alone, and for ears too"
    assert SCRIPT in view.get("texts").inner_text() and page.locator(".mnemoscope script").count() == 0


def test_the_map_is_read_by_keyboard(page):
    view = mount(page)
    assert view.get("layers").locator("rect[data-cell]").count() == 9
    view.get("layers").focus()
    for key in ("ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    densities = view.widget.mask().densities()
    assert (
        f"model.layers.1.mlp.up_proj: {100 * densities['model.layers.1.mlp.up_proj']:.3g} %"
        in view.get("cell").inner_text()
    )


def test_an_edit_is_put_in_force_and_undone(page):
    view = mount(page)
    before = weights(view.widget.model)
    view.get("put").click()
    view.settle(60)
    digest = view.widget.force["before"]
    assert (
        view.get("weights").get_attribute("data-state") == "in force"
        and "In force: contrast, sparsity 0.1" in view.get("force").inner_text()
        and "bit-equal" in view.get("undo").inner_text()
    )
    assert not torch.equal(weights(view.widget.model), before)
    shot(page, "subspace_in_force")
    view.get("run").click()
    view.settle(60)
    assert "undo it first" in view.get("error").inner_text()
    view.get("undo").focus()
    page.keyboard.press("Enter")
    view.settle(60)
    said = view.get("force").inner_text()
    assert (
        said.count(digest[:12]) == 2
        and "unchanged" in said
        and "bit-equal" in view.get("undo").inner_text()
        and view.get("undo").is_disabled()
    )
    assert torch.equal(weights(view.widget.model), before)


def test_points_come_one_by_one_and_are_stopped(page, monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    view, gate, kept = (
        mount(page, run=False, sparsities=(0.04, 0.1, 0.2, 0.3)),
        threading.Semaphore(0),
        subspace_work.measured,
    )

    def gated(*a, **k):
        assert gate.acquire(timeout=60)
        return kept(*a, **k)

    monkeypatch.setattr(subspace_work, "measured", gated)
    view.get("run").click()
    gate.release(5)
    for _ in range(200):
        page.wait_for_timeout(20)
        view.push()
        if view.get("curve").get_attribute("data-points") == "2":
            break
    assert view.get("curve").get_attribute("data-points") == "2" and view.get("put").is_disabled()
    view.get("stop").click()
    gate.release(2)
    view.settle(60)
    assert (
        "stopped: 3 of 4" in view.get("progress").inner_text()
        and view.get("curve").get_attribute("data-points") == "3"
        and view.get("put").is_enabled()
    )
    assert "unchanged" in view.get("unchanged").inner_text()


def test_faults_are_said_where_the_person_looks(page):
    view = mount(page, run=False)
    view.get("reference").select_option("shared")
    view.settle()
    assert (
        "nothing is run with them" in view.get("refused").inner_text()
        and "memorised[0]" in view.get("refused").inner_text()
    )
    view.get("run").click()
    view.settle(60)
    assert view.get("refused").is_visible() and not view.get("error").is_visible() and view.get("empty").is_visible()
    shot(page, "subspace_refused")
    view.get("reference").select_option("random")
    view.settle()
    view.get("sparsities").fill("0.1, many")
    view.get("sparsities").press("Control+Enter")
    view.settle(60)
    assert not view.get("refused").is_visible() and "no list of numbers" in view.get("error").inner_text()
    view.get("sparsities").fill("0.001, 0.1")
    view.get("sparsities").press("Control+Enter")
    view.settle(60)
    assert "Left out: 0.001" in view.get("notes").inner_text() and view.get("curve").get_attribute("data-points") == "1"
    view.get("method").select_option("curvature")
    view.settle()
    assert (
        "The fields have changed (method)" in view.get("stale").inner_text()
        and view.get("kept").is_visible()
        and view.get("sparsities").is_hidden()
    )
    view.get("run").click()
    view.settle(60)
    assert (
        not view.get("stale").is_visible()
        and "random bases" in view.get("point").inner_text()
        and view.get("curve").get_attribute("data-points") == "2"
    )
    view.get("method").select_option("contrast")
    view.settle(60)
    assert not view.get("stale").is_visible() and view.get("curve").get_attribute("data-points") == "1", (
        "the earlier curve is there again"
    )


def test_curve_mask_figure_and_code_are_exported(page, tmp_path):
    view = mount(page)
    view.get("export").locator("summary").click()
    found = view.downloads(("csv", "json", "npz", "svg", "png"), tmp_path)
    rows, data = list(csv.DictReader(io.StringIO(found["csv"].read_text()))), json.loads(found["json"].read_text())
    assert (
        len(rows) == len(data["points"]) == 2 * (1 + 2 * 3)
        and data["method"] == "contrast"
        and data["weights"] == view.widget.found["hashes"][0]
    )
    line = next(r for r in rows if r["line"] == "control" and r["strength"] == "0.1" and r["sequences"] == "kept apart")
    assert float(line["rise"]) == pytest.approx(view.widget.found["random"][1]["kept apart"]["rise"])
    assert subspace.Mask.load(found["npz"]).iou(view.widget.mask()) == 1
    assert (
        found["png"].read_bytes()[:4] == b"\x89PNG"
        and "var(--" not in found["svg"].read_text()
        and "subspace.score(" in view.get("code").input_value()
    )


@pytest.mark.parametrize("width", [1200, 420])
def test_every_control_has_a_name_and_nothing_is_cut_off(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    view = mount(page)
    assert (
        unnamed(page) == []
        and cut_off(page) == []
        and view.errors == []
        and view.requests == [r for r in view.requests if r.startswith(("blob:", "data:", "about:"))]
    )
    shot(page, f"subspace_{width}")
    if width == 1200:
        page.evaluate("document.body.className = 'dark'")
        page.wait_for_function("document.querySelector('.mnemoscope').dataset.dark === 'true'")
        shot(page, "subspace_dark")
        assert page.evaluate(
            "() => { const before = window.model.listeners(); window.cleanup(); return [before > 10,"
            " window.model.listeners()]; }"
        ) == [True, 0]


def test_titles_fit_a_view_beside_an_open_side_bar(page):
    page.set_viewport_size({"width": 254, "height": 1000})
    view = mount(page)
    row = view.widget.found["random"][1]["kept apart"] | {"rise": 5.0, "rise_low": 4.0, "rise_high": 6.0}
    view.widget.found = view.widget.found | {"random": [{"kept apart": row, "found on": row}] * 3}
    view.push()
    boxes = (
        view.get("plane")
        .locator("svg")
        .evaluate(
            "(s) => { const all = s.getBoundingClientRect(); return [...s.querySelectorAll('text')].map((t) =>"
            " t.getBoundingClientRect()).map((r) => [r.left - all.left, all.right - r.right]); }"
        )
    )
    assert (
        min(min(sides) for sides in boxes) > -1
        and "compressed" in view.get("plane").text_content()
        and view.errors == []
    )


def test_the_size_of_a_set_is_read_in_the_list(page):
    view = Mounted(
        page, widgets.SubspaceBench(speaking(), {"famous openings, two only": known()}, {"random": clean(30)})
    )
    room, text = view.get("memorised").evaluate(
        """(s) => { const c = document.createElement("canvas").getContext("2d"); c.font = getComputedStyle(s).font;
        return [s.clientWidth - 30, c.measureText(s.selectedOptions[0].textContent).width]; }"""
    )
    assert text <= room


def test_small_numbers_are_written_as_the_others(page):
    view = mount(page)
    row = view.widget.found["random"][1]["kept apart"] | {"rise_low": -0.000197, "rise_high": 0.0000197}
    view.widget.found = view.widget.found | {
        "random": [view.widget.found["random"][0], {"kept apart": row, "found on": row}, view.widget.found["random"][2]]
    }
    view.push()
    assert "−0.000197 to 2.0e−5" in cells(view, "point", "its rise")[2]


def test_nothing_recited_is_said(page):
    view = Mounted(
        page, widgets.SubspaceBench(speaking(), {"unknown": unknown()}, {"random": clean(30)}, sparsities=(0.04,))
    )
    view.get("run").click()
    view.settle(60)
    said = view.get("notes").inner_text()
    assert "recites none of the 6 sequences “kept apart” word for word, nor loosely" in said and "found on" not in said


def test_an_edit_on_its_way_is_shown(page):
    view = mount(page)
    page.evaluate("() => window.fromPython({ force: { state: 'none', doing: 'Setting the edit in force …' } })")
    assert view.get("put").is_disabled() and "Setting the edit in force" in view.get("force").inner_text()


# --- the curvature view


def test_a_band_is_brushed_and_its_share_is_there_at_once(page):
    view = spectrum(page)
    chart, widget = view.get("spectrum"), view.widget
    assert (
        chart.locator("path[data-layer]").count() == 9
        and "model.layers.1.mlp.up_proj" in view.get("facts").inner_text()
    )
    box = chart.locator("svg").bounding_box()
    left, right = box["x"] + 60, box["x"] + box["width"] - 14
    at = lambda share: left + share * (right - left)  # noqa: E731
    page.mouse.move(at(0.2), box["y"] + 100)
    page.mouse.down()
    page.mouse.move(at(0.3), box["y"] + 120)
    page.mouse.move(at(0.4), box["y"] + 120)
    page.mouse.up()
    mass = cells(view, "band", "curvature mass")[0]
    view.settle(60)
    assert widget.low == pytest.approx(0.2, abs=0.011) and widget.high == pytest.approx(0.4, abs=0.011)
    row = widget.carries["rows"][0]
    assert float(mass.removesuffix(" %")) == pytest.approx(100 * row["mass"], rel=5e-3), (
        "known before the kernel answered"
    )
    ratio = cells(view, "band", "memorised over clean")
    assert float(ratio[0]) == pytest.approx(row["kfac_output"][0], rel=5e-3) and " to " in ratio[1]
    view.get("side").select_option("input")
    assert float(cells(view, "band", "memorised over clean")[0]) == pytest.approx(row["kfac_input"][0], rel=5e-3)
    view.get("preset-0.5").click()
    view.settle(60)
    assert (widget.low, widget.high) == (0.5, 1.0) and view.get("preset-0.5").get_attribute("aria-pressed") == "true"
    view.get("log").check()
    assert chart.locator("rect.mn-band").count() == 1 and view.errors == []


def test_band_and_layer_are_moved_by_keyboard_and_click(page):
    view = spectrum(page, band=(0.3, 0.5))
    widget = view.widget
    view.get("spectrum").focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "Alt+ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        view.settle(60)
    assert (widget.low, widget.high) == (0.3, 0.52) and widget.layer == "model.layers.1.mlp.down_proj"
    view.get("layers").get_by_role("button", name="block 2, gate_proj").click()
    view.settle(60)
    assert (
        widget.layer == "model.layers.2.mlp.gate_proj"
        and view.get("layers").locator("[aria-pressed=true]").count() == 1
    )
    line = view.get("spectrum").locator("path[data-layer='model.layers.0.mlp.down_proj']")
    x, y = line.evaluate(
        "(p) => { const q = p.getPointAtLength(p.getTotalLength() * 0.9), m = p.getScreenCTM(); return [q.x * m.a +"
        " m.e, q.y * m.d + m.f]; }"
    )
    page.mouse.click(x, y)
    view.settle(60)
    assert widget.layer == "model.layers.0.mlp.down_proj"
    view.get("low").fill("90")
    view.get("low").press("Enter")
    view.settle(60)
    assert (widget.low, widget.high) == (0.3, 0.52) and view.get("low").input_value() == "30", (
        "a band that would end before it begins is not taken"
    )


def test_the_last_mark_of_an_axis_is_inside_the_picture(page):
    view = spectrum(page)
    box, marks = (
        view.get("spectrum").locator("svg").bounding_box(),
        view.get("spectrum").locator("text", has_text="100 %"),
    )
    last = max((mark.bounding_box() for mark in marks.all()), key=lambda b: b["x"])
    assert last["x"] + last["width"] <= box["x"] + box["width"] + 0.5, "an exported figure ends there"


def test_all_layers_while_and_once_they_are_read(page):
    view = Mounted(
        page, widgets.CurvatureView(decomposed()[0], decomposed()[1].select("*.1.mlp.*"), unknown(), clean(6, seed=9))
    )
    view.settle(60)
    page.evaluate(
        "() => { const fields = Object.fromEntries(['layer', 'low', 'high', 'seed'].map((k) => [k,"
        " window.model.get(k)])); window.fromPython({ everywhere: true, carries: { fields: { ...fields, everywhere:"
        " true }, status: 'running', done: 6, of: 90 } }); }"
    )
    page.wait_for_timeout(100)
    assert "6 of 90 layers" in view.get("carries").inner_text() and view.get("band").count() == 0, (
        "no head of an empty table"
    )
    page.evaluate("() => window.fromPython({ everywhere: false })")
    page.get_by_label("in all layers").check()
    view.settle(60)
    spot, control = (view.get("ratios").locator(f"{tag}").first.bounding_box() for tag in ("circle", "rect"))
    assert view.get("ratios").locator("circle").count() == 3 and 4 < abs(spot["x"] - control["x"]) < 20, (
        "both of a layer stand at its mark"
    )
    view.get("run").click()
    view.settle(60)
    assert (
        "recites none of the 12 sequences word for word" in view.get("none-recited").inner_text() and view.errors == []
    )


@functools.cache
def deep():
    """Thirty blocks of three matrices each."""
    torch.manual_seed(0)
    shape = {
        "vocab_size": 97,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 30,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    model = LlamaForCausalLM(LlamaConfig(**shape)).eval().requires_grad_(False)
    model.tokenizer = speaking().tokenizer
    return model, curvature.decompose(model, curvature.factors(model, "mlp", clean(60)))


def deep_spectrum(page):
    view = Mounted(page, widgets.CurvatureView(*deep(), known(), clean(6, seed=9)))
    view.settle(120)
    return view


@pytest.mark.parametrize("width", [1200, 600])
def test_ninety_layers_are_listed_marked_and_found(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    view = deep_spectrum(page)
    chosen, room = view.get("layers").locator("[aria-pressed=true]").bounding_box(), view.get("layers").bounding_box()
    assert room["y"] <= chosen["y"] and chosen["y"] + chosen["height"] <= room["y"] + room["height"], (
        "the layer chosen is in sight, 45 rows down"
    )
    page.get_by_label("in all layers").check()
    view.settle(120)
    numbers = [
        int(t)
        for t in view.get("ratios").locator("text[text-anchor=middle]").all_text_contents()
        if t.isdigit() and t != "1"
    ]
    step = numbers[1] - numbers[0]
    assert 8 < len(numbers) and set(np.diff(numbers)) == {step} and numbers[-1] == 90, "regular marks"
    assert view.get("ratios").locator("text[text-anchor=end]").count() >= 2, "an axis with one mark has no scale"
    page.locator("summary", has_text="layers as a table").click()
    heights = (
        view.get("band")
        .locator("tbody th")
        .evaluate_all(
            "(all) => all.map((th) => { const r = document.createRange(); r.selectNodeContents(th); return"
            " r.getClientRects().length; })"
        )
    )
    assert set(heights) == {1} and cut_off(page) == [] and view.errors == [], "a layer's name stands on one line"
    shot(page, f"curvature_ninety_{width}")


def test_the_band_is_taken_out(page, tmp_path):
    view = spectrum(page)
    assert "Only this band is removed" in view.get("taken").inner_text()
    view.get("everywhere").check()
    view.get("run").click()
    view.settle(60)
    tables = view.widget.taken["tables"]
    shown = [float(t.split("\n")[0]) for t in cells(view, "removal", "clean loss")]
    assert shown == pytest.approx([tables[name]["loss"] for name in ("unedited", "removed", "control")], rel=5e-3)
    assert (
        view.get("ratios").locator("circle").count() == 9
        and view.get("text").count() == 8
        and "unchanged" in view.get("taken").inner_text()
        and view.get("text").locator("mark").count() > 0
    )
    assert SCRIPT in view.get("taken").inner_text() and page.locator(".mnemoscope script").count() == 0
    shot(page, "curvature_all")
    view.get("preset-0").click()
    view.settle(60)
    assert "measures the band now brushed" in view.get("stale").inner_text()
    view.get("export").locator("summary").click()
    for name, words in (("csv", "mass_over_mean"), ("json", '"removal"'), ("svg", "<svg")):
        with page.expect_download() as waiting:
            view.get(name).click()
        waiting.value.save_as(tmp_path / name)
        assert words in (tmp_path / name).read_text() and "var(--" not in (tmp_path / name).read_text()
    assert "activation_ratio(" in view.get("code").input_value()


@pytest.mark.parametrize("width", [1200, 420])
def test_the_view_is_named_and_nothing_is_cut_off(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    view = spectrum(page)
    view.get("run").click()
    view.settle(60)
    assert (
        unnamed(page) == []
        and cut_off(page) == []
        and view.errors == []
        and view.requests == [r for r in view.requests if r.startswith(("blob:", "data:", "about:"))]
    )
    shot(page, f"curvature_{width}")
    if width == 1200:
        page.evaluate("document.body.className = 'dark'")
        page.wait_for_function("document.querySelector('.mnemoscope').dataset.dark === 'true'")
        shot(page, "curvature_dark")
        assert page.evaluate(
            "() => { const before = window.model.listeners(); window.cleanup(); return [before > 8,"
            " window.model.listeners()]; }"
        ) == [True, 0]


# --- in JupyterLab

CELLS = [
    SETUP
    + """from tests.memorization.helpers import clean, known
from tests.widgets.test_subspace_bench import speaking
memorised, reference = {"known <script>alert(1)</script>": known()}, {"random": clean(30)}
bench = widgets.SubspaceBench(speaking(), memorised, reference, sparsities=(0.04, 0.1, 0.3))
bench"""
]


def test_run_move_undo_and_the_stored_notebook(lab, notebook):
    page = notebook(CELLS, "subspace-bench")
    page.get_by_test_id("run").click()
    page.wait_for_selector("[data-testid=subspace-bench][data-status=complete]", timeout=READY)
    page.wait_for_function("() => document.querySelector('[data-testid=curve]').dataset.at === '2'", timeout=READY)
    page.get_by_test_id("at").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_test_id("put").click()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=force]').textContent.includes('sparsity 0.3')", timeout=READY
    )
    page.get_by_test_id("undo").click()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=force]').textContent.includes('unchanged')", timeout=READY
    )
    assert page.locator(".mnemoscope script").count() == 0
    with stored_copy(lab, page, "sparsity 0.3") as copy:
        assert (
            "<script>alert(1)</script>" in copy.inner_text()
            and copy.locator("u").count() > 3
            and copy.locator("table").count() > 4
        )
        assert copy.locator("img").evaluate("(i) => i.complete && i.naturalWidth > 500")
