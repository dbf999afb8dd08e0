"""PatchExplorer in a real browser, with its Python side and a fake sweep: drawing, mouse, keyboard, labels,
downloads.
"""

import csv
import io
import json
import threading

import numpy as np
import pytest

import widgets
from lens.prompts import Pair
from tests.browser.looks import (
    CONTROLS,
    contrasts,
    hover_times,
    marked,
    pixel,
    unlabelled,
    unnamed,
    upper_half_drawn,
)
from tests.browser.page_model import Mounted
from tests.widgets import fakes

LAYERS, COLUMNS = 6, 13


def mount(page, pair=fakes.PAIR, *, layers=LAYERS, patch=None, run=True, **options):
    view = widgets.PatchExplorer(
        fakes.FakeModel(layers),
        pair,
        _patch=patch or fakes.FakePatch(),
        _explain=fakes.explain,
        _encode=fakes.encode,
        **options,
    )
    view.wait(10)
    if run:
        view.run(wait=True)
    return Mounted(page, view)


def tip(mounted, row, column):
    mounted.page.mouse.move(*mounted.at("map", row, column, LAYERS, COLUMNS))
    return mounted.get("map-tip").inner_text().split("\n")


def test_empty_state_then_run_by_the_button(page):
    view = mount(page, run=False)
    assert view.get("empty").is_visible() and not view.get("map").is_visible() and view.get("stop").is_disabled()
    assert view.get("alignment").inner_text() == "13 tokens each; they differ at position 8"
    assert "tiny · 6 layers" in view.get("model").inner_text()
    view.get("run").click()
    view.settle()
    assert view.get("map").is_visible() and not view.get("empty").is_visible()
    assert (
        view.get("caption").inner_text()
        == "run 1 · resid_pre · layer × position · logit_diff · denoise · clean 2.50, corrupted −1.50"
    )
    assert view.get("progress").inner_text().startswith("6 layers in ")
    assert view.errors == []


def pressed_run(view, away=0):
    """Press Run, let a note grow so that the button leaves the pointer, let go `away` pixels from there; how many runs
    that began.
    """
    begun = len(view.widget.results)
    box = view.get("run").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    view.page.mouse.move(x, y)
    view.page.mouse.down()
    view.page.evaluate(
        "window.fromPython({ alignment: { ok: false, text: 'the two prompts do not align '.repeat(60) } })"
    )
    assert view.get("run").bounding_box()["y"] > y + box["height"]
    view.page.mouse.move(x + away, y)
    view.page.mouse.up()
    view.settle()
    return len(view.widget.results) - begun


def test_run_is_pressed_although_a_note_moves_it_from_under_the_pointer(page):
    view = mount(page, run=False)
    assert pressed_run(view) == 1
    view.get("run").click()
    view.settle()
    assert len(view.widget.results) == 2, "a plain click is one press"
    assert view.errors == []


def test_a_press_that_is_drawn_away_is_none(page):
    view = mount(page, run=False)
    assert pressed_run(view, away=80) == 0 and view.widget.status == "idle"
    assert view.errors == []


def test_hover_shows_every_number_without_asking_the_kernel(page):
    view = mount(page)
    effect = fakes.truth(LAYERS, COLUMNS)[4, 8]
    page.evaluate("() => { window.toPython = () => { throw new Error('hover asked the kernel') } }")
    assert tip(view, 4, 8) == [
        "layer 4, position 8",
        "clean ·John",
        "corrupted ·Mary",
        f"logit_diff {effect - 1.5:.2f}",
        f"effect {effect:.2f}",
        f"normalized {effect / 4:.3f}",
    ]
    assert tip(view, 5, 2)[1] == "token ·and"
    assert view.errors == []


def test_hover_answers_within_a_tenth_of_a_second(page):
    mount(
        page, pair=Pair("a " + "w " * 500 + "x", corrupted="b " + "w " * 500 + "x", answer=" y", foil=" z"), layers=48
    )
    times = hover_times(page)
    assert np.median(times) < 100, times


def test_colours_are_centred_at_zero_and_missing_cells_are_grey(page):
    effects = np.zeros((LAYERS, COLUMNS))
    effects[1, 1], effects[2, 2], effects[3, 3] = 4, -4, np.nan
    view = mount(page, patch=fakes.FakePatch(effects=effects))
    at = lambda r, c: pixel(page, "map", *view.at("map", r, c, LAYERS, COLUMNS))[:3]  # noqa: E731
    warm, cold, zero = at(1, 1), at(2, 2), at(0, 0)
    assert warm[0] > warm[2] + 80 and cold[2] > cold[0] + 80 and max(zero) - min(zero) < 5 and min(zero) > 240
    grey = at(3, 3)
    assert max(grey) - min(grey) < 8 and 150 < grey[0] < 246 and grey != zero
    assert tip(view, 3, 3)[2] == "logit_diff no value"


def test_all_missing_and_all_zero_maps_are_drawn(page):
    for effects in (np.full((LAYERS, COLUMNS), np.nan), np.zeros((LAYERS, COLUMNS))):
        context = page.context.browser.new_context()
        view = mount(context.new_page(), patch=fakes.FakePatch(effects=effects))
        assert view.get("map").is_visible() and view.errors == []
        context.close()


def test_click_explains_the_cell_beside_both_runs(page):
    view = mount(page)
    assert "Click a cell" in view.get("side").inner_text()
    page.mouse.click(*view.at("map", 3, 9, LAYERS, COLUMNS))
    view.settle()
    assert view.widget.cell == {"run": 1, "layer": 3, "column": 9}
    assert view.get("side").get_attribute("data-cell") == "3,9"
    text = view.get("predictions").inner_text()
    assert "·edit3.9" in text and "·Mary" in text and "answer" in text and "foil" in text and "50%" in text
    assert view.get("predictions").locator("ol").count() == 3 and view.get("predictions").locator("li").count() == 30


def test_keyboard_alone_reaches_explains_and_pins_a_cell(page):
    view = mount(page)
    view.get("map").focus()
    cell = lambda: view.get("map-cell").get_attribute("aria-label")  # noqa: E731
    assert cell().startswith("layer 5, position 0, token When")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert cell().startswith("layer 4, position 2, token ·and")
    page.keyboard.press("End")
    assert cell().startswith("layer 4, position 12")
    page.keyboard.press("Home")
    page.keyboard.press("PageDown")
    assert cell().startswith("layer 0, position 0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    assert cell().startswith("layer 0, position 0"), "the edge holds"
    page.keyboard.press("PageUp")
    page.keyboard.press("Enter")
    view.settle()
    assert (
        view.get("side").get_attribute("data-cell") == "5,0"
        and view.get("map-cell").get_attribute("aria-selected") == "true"
    )
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    view.settle()
    assert view.get("side").get_attribute("data-cell") == "5,1"
    page.keyboard.press("p")
    view.settle()
    assert [(p["layer"], p["column"]) for p in view.widget.pins] == [(5, 1)]
    assert "layer 5, position 1" in view.get("pins").inner_text() and "·edit5.1" in view.get("pins").inner_text()


def test_pins_are_shown_again_and_removed(page):
    view = mount(page)
    for cell in ((3, 9), (1, 2)):
        page.mouse.click(*view.at("map", *cell, LAYERS, COLUMNS))
        view.settle()
        view.get("pin").click()
        view.settle()
    view.page.get_by_role("button", name="Show layer 3, position 9").click()
    view.settle()
    assert view.get("side").get_attribute("data-cell") == "3,9"
    view.page.get_by_role("button", name="Remove the pin of layer 3, position 9").click()
    view.settle()
    assert [(p["layer"], p["column"]) for p in view.widget.pins] == [(1, 2)]


def test_the_cone_marks_later_layers_and_positions_only(page):
    view = mount(page)
    page.mouse.click(*view.at("map", 2, 9, LAYERS, COLUMNS))
    view.settle()
    page.mouse.move(2, 2)
    cells = marked(page, LAYERS, COLUMNS)
    assert cells == [[r, c] for r in range(3, LAYERS) for c in range(9, COLUMNS)]
    view.get("cone").uncheck()
    assert not upper_half_drawn(page)


def test_stop_in_the_middle_keeps_what_is_finished(page, monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate = threading.Semaphore(0)
    view = mount(page, patch=fakes.FakePatch(gate), run=False)
    view.get("run").click()
    gate.release(2)
    page.wait_for_timeout(200)
    view.push()
    assert (
        view.get("progress").inner_text().startswith("layers 4–5 of 6")
        and view.page.get_by_role("progressbar").get_attribute("aria-valuenow") == "33"
    )
    view.get("stop").click()
    view.settle()
    assert view.get("progress").inner_text().startswith("stopped: layers 4–5 of 6") and view.get("stop").is_disabled()
    assert "partial" in view.get("caption").inner_text()


def test_a_pair_that_does_not_align_is_explained_where_the_person_looks(page):
    view = mount(page, run=False)
    view.get("corrupted").fill("When Mary left")
    view.get("run").click()
    view.settle()
    alert = view.page.get_by_role("alert").filter(has_text="fit together")
    assert alert.is_visible() and "corrupted  ['When', ' Mary', ' left']" in alert.inner_text()
    assert "monospace" in alert.locator("pre").evaluate("(e) => getComputedStyle(e).fontFamily").lower()
    view.get("corrupted").fill(fakes.PAIR.corrupted)
    view.get("run").click()
    view.settle()
    assert not view.get("error").is_visible() and view.get("map").is_visible()


def test_typed_fields_reach_the_kernel_before_the_run(page):
    patch = fakes.FakePatch()
    view = mount(page, patch=patch, run=False)
    view.get("answer").fill(" Anna")
    view.get("metric").select_option("prob")
    view.get("over").select_option("head")
    view.get("answer").press("Control+Enter")
    view.settle()
    pair, site, over, metric, _direction, _method = patch.calls[0]
    assert (pair.answer, site, over, metric) == (
        " Anna",
        "z",
        ("layer", "head"),
        "prob",
    ), "a map over heads needs a site that has heads"
    assert view.get("site").locator("option", has_text="mlp_out").is_disabled()
    page.mouse.click(*view.at("map", 1, 2, LAYERS, 4))
    view.settle()
    assert "head 2" in view.get("side").inner_text()


def test_tokens_are_text_never_markup(page):
    dangerous = [fakes.SCRIPT, "<img/src=x/onerror=alert(1)>", "&lt;b&gt;", "\"'`${alert(1)}", "\u202eevil", "a\u0000b"]
    text = " ".join(dangerous)
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    view = mount(page, pair=Pair("a " + text, corrupted="b " + text, answer=fakes.SCRIPT, foil=" <b>z</b>"))
    page.mouse.move(*view.at("map", 2, 1, LAYERS, 7))
    assert "token ·<script>alert(1)</script>" in view.get("map-tip").inner_text()
    page.mouse.click(*view.at("map", 2, 1, LAYERS, 7))
    view.settle()
    view.get("pin").click()
    view.settle()
    shown = view.get("predictions").inner_text()
    assert (
        "·<script>alert(1)</script>" in view.get("side").inner_text() and "<script>alert(1)<…" in shown and "⏎" in shown
    )
    page.mouse.move(*view.at("map", 2, 5, LAYERS, 7))
    assert "‹202e›evil" in view.get("map-tip").inner_text()
    view.get("export").locator("summary").click()
    assert (
        page.locator(
            "[data-testid=patch-explorer] script, [data-testid=patch-explorer] img, [data-testid=patch-explorer] b"
        ).count()
        == 0
    )
    with page.expect_download() as download:
        view.get("svg").click()
    figure = download.value.path().read_text()
    assert "<script" not in figure and "&lt;script&gt;" in figure
    assert view.errors == [] and dialogs == []


def test_two_runs_side_by_side_and_as_a_difference(page):
    view = mount(page)
    view.widget._patch = fakes.FakePatch(effects=fakes.truth(LAYERS, COLUMNS) / 2)
    view.get("run").click()
    view.settle()
    view.get("compare-mode").select_option("side")
    view.settle()
    assert view.get("other-map").is_visible()
    view.get("compare-mode").select_option("difference")
    view.settle()
    assert not view.get("other-map").is_visible() and view.get("caption").inner_text().startswith("run 2 minus run 1")
    half = fakes.truth(LAYERS, COLUMNS)[4, 8] / 8
    assert tip(view, 4, 8)[-1] == f"normalized effect minus run 1 −{half:.3f}"
    assert "difference of normalized effect" in view.get("colour-bar").get_attribute("aria-label")
    view.get("runs").get_by_label("Name of run 2").fill("halved")
    view.get("runs").get_by_label("Name of run 2").press("Enter")
    view.settle()
    assert view.widget.history[1]["name"] == "halved" and "halved minus run 1" in view.get("caption").inner_text()
    view.get("runs").get_by_label("Show run 1").check()
    view.settle()
    assert view.widget.map["run"] == 1


def test_runs_of_other_shapes_are_shown_beside_each_other(page):
    view = mount(page)
    view.widget.over, view.widget.site = "head", "z"
    view.widget.run(wait=True)
    view.settle()
    view.get("compare-mode").select_option("difference")
    view.settle()
    assert (
        view.get("other-map").is_visible()
        and "another shape" in view.get("patch-explorer").inner_text()
        and view.errors == []
    )


def test_quantity_and_scale_change_the_colour_bar(page):
    view = mount(page)
    bar = lambda: view.get("colour-bar").get_attribute("aria-label")  # noqa: E731
    top = fakes.truth(LAYERS, COLUMNS).max()
    assert (
        bar() == f"Colour scale: normalized effect (0 = corrupted, 1 = clean run), from −{top / 4:.3f} to {top / 4:.3f}"
    )
    view.get("scale").select_option("one")
    assert bar().endswith("from −1.00 to 1.00")
    view.get("scale").select_option("auto")
    view.get("show").select_option("value")
    view.settle()
    assert (
        bar()
        == f"Colour scale: logit_diff under the edit (white = corrupted run), from −{1.5 + top:.2f} to {top - 1.5:.2f}"
        and view.widget.show == "value"
    )


def test_downloads_hold_the_numbers(page):
    view = mount(page)
    view.get("export").locator("summary").click()
    with page.expect_download() as download:
        view.get("csv").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert (
        len(rows) == LAYERS * COLUMNS and download.value.suggested_filename == "resid_pre_position_logit_diff_run1.csv"
    )
    row = rows[4 * COLUMNS + 8]
    assert (row["layer"], row["position"], row["token_clean"], row["token_corrupted"]) == ("4", "8", " John", " Mary")
    assert float(row["effect"]) == pytest.approx(fakes.truth(LAYERS, COLUMNS)[4, 8], rel=1e-6)
    with page.expect_download() as download:
        view.get("png").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as download:
        view.get("svg").click()
    figure = download.value.path().read_text()
    assert figure.count("<rect") > LAYERS * COLUMNS and "·John|·Mary" in figure and "normalized effect" in figure


def test_saving_reports_the_path_or_the_reason(page, tmp_path):
    view = mount(page)
    view.get("export").locator("summary").click()
    view.get("save").click()
    view.settle()
    assert view.get("saved").inner_text().startswith("path: is empty")
    view.get("path").fill(str(tmp_path / "trace.csv"))
    view.get("path").press("Enter")
    view.settle()
    assert (
        view.get("saved").inner_text() == f"Saved as {tmp_path / 'trace.csv'}"
        and (tmp_path / "trace.csv").stat().st_size > 1000
    )
    view.get("save").click()
    view.settle()
    assert "already exists" in view.get("saved").inner_text()
    view.get("overwrite").check()
    view.get("save").click()
    view.settle()
    assert view.get("saved").inner_text().startswith("Saved as ")


def test_every_control_has_a_name_and_nothing_is_fetched(page):
    view = mount(page)
    page.mouse.click(*view.at("map", 3, 9, LAYERS, COLUMNS))
    view.settle()
    view.get("pin").click()
    view.settle()
    view.get("export").locator("summary").click()
    assert unnamed(page, f"{CONTROLS}, [tabindex], [role=img]") == []
    assert unlabelled(page) == []
    tree = json.dumps(
        page.evaluate("() => [...document.querySelectorAll('[role]')].map((e) => e.getAttribute('role'))")
    )
    for role in ("grid", "gridcell", "alert", "status", "progressbar", "region"):
        assert f'"{role}"' in tree
    grid = view.get("map")
    assert (grid.get_attribute("aria-rowcount"), grid.get_attribute("aria-colcount")) == ("6", "13")
    assert page.locator(f"#{grid.get_attribute('aria-activedescendant')}").count() == 1
    assert [r for r in view.requests if not r.startswith(("blob:", "data:", "about:"))] == []


def test_a_thousand_tokens_are_drawn_and_walked(page):
    words = "w " * 1100 + "x"
    view = mount(page, pair=Pair("a " + words, corrupted="b " + words, answer=" y", foil=" z"), layers=48)
    view.get("map").focus()
    for key in ("End", "PageDown", "Enter"):
        page.keyboard.press(key)
    view.settle()
    assert view.widget.cell["column"] == 1101 and view.get("map-cell").get_attribute("aria-label").startswith(
        "layer 42, position 1101"
    )
    seconds = page.evaluate(
        "() => { const start = performance.now(); window.model.set('show', 'effect'); return performance.now() -"
        " start; }"
    )
    assert seconds < 1000 and view.errors == []


def test_a_dark_theme_changes_the_map_and_keeps_text_readable(page):
    view = mount(page)
    light = pixel(page, "map", *view.at("map", 0, 0, LAYERS, COLUMNS))
    page.evaluate("document.body.className = 'dark'")
    page.wait_for_timeout(100)
    dark = pixel(page, "map", *view.at("map", 0, 0, LAYERS, COLUMNS))
    assert sum(light[:3]) > 700 and sum(dark[:3]) < 150
    assert min(contrasts(page, ".mn-label, .mn-note, .mn-caption, h2, .mn-chip")) >= 4.5


def test_a_narrow_page_does_not_overflow(page):
    page.set_viewport_size({"width": 480, "height": 900})
    view = mount(page)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert view.get("map").is_visible()


def test_removing_the_view_removes_its_listeners(page):
    mount(page)
    assert page.evaluate(
        "() => { const before = window.model.listeners(); window.cleanup(); return [before > 10,"
        " window.model.listeners()]; }"
    ) == [True, 0]
