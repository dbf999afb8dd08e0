"""The vector bench in a browser: with its Python side and answers that are known, then in a real JupyterLab on a real
model and on hostile tokens.
"""

import csv
import io
import threading

import numpy as np
import pytest

from tests.browser.lab import HOSTILE, READY, SETUP, point
from tests.browser.looks import cut_off, unnamed
from tests.browser.page_model import Mounted
from tests.browser.stored import stored_copy
from tests.widgets import fakes
from tests.widgets.test_vector_bench import PAIRS, FakeTools, bench, quality, ran, truth

LAYERS, HEADS = 6, 4


def mount(page, *, run=False, **options):
    return Mounted(page, (ran if run else bench)(**options))


def slide(view, testid, value):
    """What a hand on the slider does."""
    view.get(testid).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        str(value),
    )


def cells(view):
    return view.get("pairs").locator("tbody tr")


def paste(view, row, column, text):
    view.get("pairs").locator("tbody tr").nth(row).locator("input").nth(column).evaluate(
        "(cell, text) => { const data = new DataTransfer(); data.setData('text/plain', text); cell.dispatchEvent(new"
        " ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })); }",
        text,
    )


# --- the table


def test_pairs_are_typed_by_keyboard_and_an_empty_row_waits_for_more(page):
    view = mount(page, task=[])
    assert (
        cells(view).count() == 1
        and "Type pairs" in view.get("table-notes").inner_text()
        and "Nothing to read yet" in view.get("read").inner_text()
    )
    view.get("pairs").locator("input").first.focus()
    page.keyboard.type("hot")
    page.keyboard.press("Tab")
    page.keyboard.type("cold")
    assert cells(view).count() == 2
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "output 2"
    page.keyboard.press("ArrowUp")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "output 1"
    view.settle()
    assert view.widget.pairs == [["hot", "cold"]] and view.widget.task == "own pairs"
    cells(view).nth(0).get_by_role("button", name="Remove row 1").click()
    view.settle()
    assert view.widget.pairs == [] and cells(view).count() == 1


@pytest.mark.parametrize(
    "text",
    [
        "in0\tout0\r\nin1\tout1\nin2\tout2\n",
        "in0, out0\nin1, out1\nin2, out2",
        "in0 -> out0\nin1 -> out1\nin2 -> out2",
        "in0;out0\nin1;out1\nin2;out2",
    ],
)
def test_pasted_rows_fill_the_table(page, text):
    view = mount(page, task=[])
    paste(view, 0, 0, text)
    view.settle()
    assert view.widget.pairs == PAIRS[:3] and cells(view).count() == 4
    paste(view, 1, 1, "x\ty\nz\tw")
    view.settle()
    assert view.widget.pairs[1:] == [["x", "y"], ["z", "w"]]


def test_a_typed_cell_keeps_its_cursor_while_the_kernel_answers(page):
    view = mount(page)
    cell = cells(view).nth(3).locator("input").nth(1)
    cell.focus()
    page.keyboard.press("End")
    page.keyboard.type("x")
    page.wait_for_timeout(500)
    view.settle()
    page.keyboard.type("y")
    page.wait_for_timeout(500)
    view.settle()
    assert view.widget.pairs[3] == ["in3", "out3xy"] and cell.input_value() == "out3xy"


def test_a_shipped_task_fills_the_table_and_faults_are_said_beside_it(page):
    view = mount(page)
    view.get("task").select_option("plural")
    view.settle()
    assert (
        cells(view).nth(0).locator("input").nth(1).input_value() == "plural-out0"
        and "40 pairs: 20 to demonstrate with" in view.get("table-notes").inner_text()
    )
    cells(view).nth(2).locator("input").nth(1).fill('["a", "b"]')
    view.get("template").focus()
    view.settle()
    assert "row 3" in view.get("table-notes").inner_text() and "is a list" in view.get("table-notes").inner_text()
    assert (
        cells(view).nth(2).locator("input").nth(1).get_attribute("aria-invalid") == "true"
        and view.get("task").input_value() == "own pairs"
    )
    view.get("run").click()
    view.settle()
    assert "is a list" in view.get("error").inner_text() and view.get("empty").is_visible()
    assert view.errors == []


def test_too_few_pairs_are_explained(page):
    view = mount(page, task=PAIRS[:8])
    assert "Too few pairs" in view.get("table-error").inner_text()
    view.get("shots").fill("2")
    page.wait_for_timeout(450)
    view.settle()
    assert view.get("table-error").count() == 0


# --- heads and vector


def test_the_map_is_pointed_at_clicked_and_walked_by_keyboard(page):
    view = mount(page)
    assert view.get("empty").is_visible() and not view.get("map").is_visible()
    view.get("run").click()
    view.settle()
    assert not view.get("empty").is_visible() and view.get("progress").inner_text().startswith("6 layers in")
    page.mouse.move(*view.at("map", 2, 1, LAYERS, HEADS))
    assert view.get("map-tip").inner_text().split("\n")[:4] == [
        "layer 2, head 1",
        "effect +0.400",
        "95 % +0.350 to +0.450",
        "p (Holm) 0.063",
    ]
    assert (
        view.get("chips").inner_text().split() == ["2.1", "3.3", "1.0"]
        and "effect on the answer’s probability" in view.get("colour-bar").inner_text()
    )
    page.mouse.click(*view.at("map", 4, 2, LAYERS, HEADS))
    view.settle()
    assert (
        view.widget.by_hand
        and view.widget.live["heads"] == [[2, 1], [3, 3], [1, 0], [4, 2]]
        and "4 heads in the vector, chosen by hand" in view.get("chosen-title").inner_text()
    )
    page.keyboard.press("Enter")
    view.settle()
    assert view.widget.live["heads"] == [[2, 1], [3, 3], [1, 0]]
    for key in ("ArrowDown", "ArrowRight", "Space"):
        page.keyboard.press(key)
    view.settle()
    assert view.widget.live["heads"] == [[2, 1], [1, 0]]
    assert view.get("map-cell").get_attribute("aria-label").startswith("layer 3, head 3, effect +0.300") and view.get(
        "map-cell"
    ).get_attribute("aria-label").endswith("not chosen")
    view.get("chips").get_by_role("button", name="Leave out layer 2, head 1").click()
    view.settle()
    assert view.widget.live["heads"] == [[1, 0]]
    view.get("top").click()
    view.settle()
    assert not view.widget.by_hand and len(view.widget.live["heads"]) == 3 and view.errors == []


def test_sliders_change_accuracy_and_answers(page):
    view = mount(page, run=True)
    assert (
        "10 of 10 (69–100 %)" in view.get("accuracy").inner_text()
        and "0 of 10 (0–31 %)" in view.get("accuracy").inner_text()
    )
    answers = view.get("answers").locator("tbody tr")
    assert (
        answers.count() == 6
        and answers.first.locator("td.mn-right").count() == 1
        and "and·more" in answers.first.inner_text()
    )
    slide(view, "k", 1)
    slide(view, "layer", 3)
    slide(view, "strength-slider", 0.5)
    assert view.get("live").get_attribute("data-fresh") == "false"
    view.settle()
    right = round(10 * quality(((2, 1),), 3, 0.5))
    assert (
        view.get("live").get_attribute("data-fresh") == "true" and f"{right} of 10" in view.get("accuracy").inner_text()
    )
    assert (
        view.get("layer-text").inner_text() == "3 of 5"
        and view.get("k-text").inner_text() == "1"
        and view.get("strength").input_value() == "0.5"
    )
    view.get("strength").fill("-37.5")
    page.wait_for_timeout(450)
    view.settle()
    assert view.widget.live["fields"]["strength"] == -37.5
    assert (
        "what the vector says by itself" in view.get("decoded").inner_text()
        and fakes.SCRIPT[:12] in view.get("decoded").inner_text()
    )


def test_a_move_after_an_edit_of_the_table_does_not_take_it_back(page):
    view = mount(page, task="plural")
    cells(view).nth(0).locator("input").nth(1).fill("changed")
    cells(view).nth(0).locator("input").nth(1).blur()
    slide(view, "layer", 4)
    view.settle()
    assert view.widget.pairs[0] == ["plural0", "changed"] and view.widget.layer == 4 and view.widget.task == "own pairs"


def test_a_search_fills_the_map_layer_by_layer_and_stops(page, monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate = threading.Semaphore(0)
    view = mount(page, tools=FakeTools(gate))
    view.get("run").click()
    gate.release(2)
    for _ in range(200):
        page.wait_for_timeout(20)
        view.push()
        if "layers 0–1 of 6" in view.get("progress").inner_text():
            break
    assert view.get("map").is_visible() and "partial" in view.get("caption").inner_text()
    view.get("stop").click()
    view.settle()
    assert view.get("progress").inner_text().startswith("stopped: layers 0–1 of 6") and view.get("stop").is_disabled()


def test_another_task_makes_the_map_stale(page):
    view = mount(page, task="plural", run=True)
    assert not view.get("stale").is_visible()
    view.get("task").select_option("upper")
    view.settle()
    assert (
        "measured with another task" in view.get("stale").inner_text()
        and "vector of 3 heads of plural, on upper" in view.get("live").inner_text()
    )


def test_two_models_stand_side_by_side_on_one_scale(page):
    view = mount(page, run=True, after=fakes.FakeModel(6, 4, "tuned"), tools=FakeTools(weak={"tuned": 0.25}))
    boxes = [view.get(i).bounding_box() for i in ("map", "after-map")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] and abs(boxes[0]["y"] - boxes[1]["y"]) < 2
    page.mouse.move(*view.at("after-map", 2, 1, LAYERS, HEADS))
    tip = view.get("after-map-tip").inner_text()
    assert "before: effect +0.400" in tip and "after: effect +0.100" in tip
    assert (
        "cosine with the vector of the same heads in tuned: 0.625" in view.get("cosine").inner_text()
        and view.get("accuracy").locator("tbody tr").count() == 2
    )
    page.mouse.click(*view.at("after-map", 4, 2, LAYERS, HEADS))
    view.settle()
    assert [4, 2] in view.widget.live["heads"]


def test_the_test_split_is_reported_when_asked(page):
    view = mount(page, run=True)
    assert "Choose heads, layer and strength above first" in view.get("report").inner_text()
    view.get("test").click()
    view.settle()
    text = view.get("report").inner_text()
    assert (
        "random vector of equal norm" in text
        and "10 of 10 (69–100 %)" in text
        and "vector against the random one: +100" in text
        and "Read once for this task" in text
    )
    view.get("test").click()
    view.settle()
    assert "Read 2 times" in view.get("report").inner_text()


def test_numbers_figures_and_code_are_exported(page, tmp_path):
    view = mount(page, run=True)
    view.get("export").locator("summary").click()
    found = {name: path.read_bytes() for name, path in view.downloads(("csv", "svg", "png"), tmp_path).items()}
    rows = list(csv.DictReader(io.StringIO(found["csv"].decode())))
    assert len(rows) == LAYERS * HEADS
    np.testing.assert_allclose([float(r["mean_effect_probability"]) for r in rows], truth().ravel(), atol=1e-6)
    assert found["png"][:4] == b"\x89PNG" and b"effect on p(answer)" in found["svg"]
    assert "vectors.head_effects" in view.get("code").input_value()
    view.get("path").fill(str(tmp_path / "heads.nc"))
    view.get("path").press("Enter")
    view.settle()
    assert "Saved as" in view.get("saved").inner_text() and (tmp_path / "heads.nc").exists()


def shown_rows(view):
    return [int(row.locator("td").first.inner_text()) for row in cells(view).all() if row.is_visible()]


def test_many_pairs_are_folded_and_none_goes_away_under_the_hand(page):
    view = mount(page)
    unfold = view.get("all-pairs")
    assert shown_rows(view) == [*range(1, 9), 41] and unfold.inner_text() == "Show all 40 pairs"
    unfold.click()
    assert shown_rows(view) == list(range(1, 42)) and unfold.get_attribute("aria-expanded") == "true"
    unfold.click()
    cells(view).nth(7).locator("input").first.focus()
    page.keyboard.press("ArrowDown")
    assert shown_rows(view) == list(range(1, 42)), "a row that the keys reach is shown"
    unfold.click()
    view.widget.publish(pairs=[*view.widget.pairs[:19], ["in19", ""], *view.widget.pairs[20:]])
    view.settle()
    assert shown_rows(view) == [*range(1, 9), 20, 41], "a faulty row is in sight"
    cells(view).nth(40).locator("input").first.fill("more")
    assert shown_rows(view) == [*range(1, 9), 20, 41, 42]
    cells(view).nth(40).locator("input").nth(1).fill("and its output")
    page.wait_for_timeout(600)
    view.settle()
    assert 41 in shown_rows(view) and view.widget.pairs[-1] == ["more", "and its output"] and view.errors == []


def test_every_control_has_a_name_and_nothing_is_left_behind(page):
    view = mount(page, run=True)
    assert unnamed(page) == [] and view.errors == [] and page.locator(".mnemoscope script").count() == 0
    assert view.requests == [r for r in view.requests if r.startswith(("blob:", "data:", "about:"))]
    assert page.evaluate(
        "() => { const before = window.model.listeners(); window.cleanup(); return [before > 10,"
        " window.model.listeners()]; }"
    ) == [True, 0]


@pytest.mark.parametrize("width", [1200, 760, 420])
def test_nothing_is_cut_off_at_any_width(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    view = mount(page, run=True, after=fakes.FakeModel(6, 4, "tuned"))
    view.get("test").click()
    view.settle()
    assert cut_off(page, "input, select, button, h3, ol, canvas.mn-rows, .mn-tablebox, .mn-pairs") == []


# --- in JupyterLab

TINY = [
    HOSTILE[0].split("pair = ")[0]
    + """pairs = [(f"w{i}", f"w{i + 40}") for i in range(1, 25)] + [("<script>alert(1)</script>", "w9")]
bench = widgets.VectorBench(model, pairs, template="bare", shots=3, trials=4, mean_prompts=6, k=3, layer=1)
bench"""
]
REAL = [
    SETUP
    + """model = lens.load("smollm2")
bench = widgets.VectorBench(model, "country_capital", shots=4, trials=2, mean_prompts=8, k=8)
bench"""
]


def status(page, wanted, timeout=READY):
    page.wait_for_selector(f"[data-testid=vector-bench][data-status={wanted}]", timeout=timeout)


def fresh(page, timeout=READY):
    page.wait_for_selector("[data-testid=live][data-status=ready][data-fresh=true]", timeout=timeout)


def test_hostile_tokens_keys_and_the_stored_notebook(lab, notebook):
    page = notebook(TINY, "vector-bench")
    fresh(page)
    page.get_by_test_id("run").click()
    status(page, "complete")
    fresh(page)
    # in command mode JupyterLab takes arrows, Enter and letters from whatever is focused, unless that element says no
    page.locator(".jp-Notebook .jp-InputPrompt").first.click()
    page.get_by_test_id("layer").focus()
    page.keyboard.press("ArrowRight")
    fresh(page)
    assert "at layer 2" in page.get_by_test_id("live").inner_text()
    page.mouse.click(*point(page, "map", 1, 1))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    fresh(page)
    first = page.get_by_test_id("pairs").locator("input").first
    first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "input 2"
    page.get_by_test_id("test").click()
    page.wait_for_selector("[data-testid=report] table", timeout=READY)
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1 and page.locator(".mnemoscope script").count() == 0
    with stored_copy(lab, page, "Test split") as copy:
        assert (
            copy.locator("table").count() == 4
            and copy.locator("table").first.is_visible()
            and "random vector of equal norm" in copy.inner_text()
        )


@pytest.mark.slow
@pytest.mark.long
def test_smollm2_find_heads_slide_click_and_test(notebook, smollm2):
    page = notebook(REAL, "vector-bench")
    fresh(page, 300_000)
    page.get_by_test_id("run").click()
    status(page, "running")
    status(page, "complete", 600_000)
    fresh(page)
    assert (
        page.get_by_test_id("map").get_attribute("aria-rowcount") == "30"
        and page.get_by_test_id("map").get_attribute("aria-colcount") == "9"
    )
    slide_to = "(s, v) => { s.value = v; s.dispatchEvent(new Event('input', { bubbles: true })); }"
    page.get_by_test_id("layer").evaluate(slide_to, "12")
    page.get_by_test_id("strength-slider").evaluate(slide_to, "2")
    fresh(page)
    assert "vector of 8 heads at layer 12, strength 2" in page.get_by_test_id("live").inner_text()
    page.mouse.click(*point(page, "map", 20, 4))
    fresh(page)
    assert "chosen by hand" in page.get_by_test_id("live").inner_text()
    page.get_by_test_id("test").click()
    page.wait_for_selector("[data-testid=report] table", timeout=300_000)
    assert "random vector of equal norm" in page.get_by_test_id("report").inner_text()
