"""The diffusion bench in a browser: with its Python side alone, then in a real JupyterLab."""

import csv
import io
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

import widgets
from lens import subspace
from tests.browser.lab import READY, SETUP
from tests.browser.page_model import Mounted
from tests.browser.stored import stored_copy
from tests.browser.test_subspace_bench import cut_off, shot, unnamed
from tests.diffusion.conftest import pipeline_of
from tests.widgets.fakes import SCRIPT
from tests.widgets.test_diffusion_bench import FRESH, KNOWN, OTHERS, PAIRS, RECIPE, STEPS, weights
from widgets.diffusion_bench import work as diffusion_work


def mount(page, run=True, **options):
    memorised = options.pop("memorised", {f"known {SCRIPT}": KNOWN, "more": PAIRS.of("code-many", 1)})
    reference = {"others": OTHERS, "shared": [KNOWN.captions[1], *OTHERS]}
    view = Mounted(
        page,
        widgets.DiffusionBench(
            pipeline_of(RECIPE),
            memorised,
            reference,
            **({"never": FRESH, "steps": STEPS, "first": 2, "sparsity": 0.08, "rate": 0.2} | options),
        ),
    )
    view.settle(60)
    if run:
        view.get("run").click()
        view.settle(120)
    return view


def alt(view, row, column):
    return view.get(f"cell-{row}-{column}").locator("img").get_attribute("alt")


def source(view, row, column):
    return view.get(f"cell-{row}-{column}").locator("img").get_attribute("src")


def test_pictures_are_drawn_with_their_measures_and_words(page):
    view = mount(page, run=False)
    assert (
        view.get("empty").is_visible()
        and "No pictures yet" in view.get("empty").inner_text()
        and view.get("edit").is_hidden()
    )
    assert (
        view.get("cell-training-2").locator("img").evaluate("(i) => i.complete && i.naturalWidth") == 16
        and view.get("cell-before-0").is_hidden()
    )
    assert alt(view, "training", 1) == f"{KNOWN.captions[1]}: training picture"
    view.get("run").click()
    view.settle(120)
    widget = view.widget
    assert (
        widget.status == "complete"
        and not view.get("empty").is_visible()
        and widget.limit["text"] in view.get("limit").inner_text()
    )
    for row in ("before", "after", "random"):
        for column in range(4):
            value, copy = (
                widget.result.value.sel(state=row).values[column, 0],
                bool(widget.result.copied.sel(state=row).values[column, 0]),
            )
            said = f"r = {value:.2f}".replace("-0.00", "0.00").replace("-", "−")
            assert view.get(f"cell-{row}-{column}").inner_text().split() == [
                *said.split(),
                *("copy" if copy else "no copy").split(),
            ]
            assert (
                said in alt(view, row, column)
                and alt(view, row, column).endswith(", copy" if copy else ", no copy")
                and KNOWN.captions[column] in alt(view, row, column)
            )
            assert (view.get(f"cell-{row}-{column}").get_attribute("data-copy") == "true") == copy
    group = widget.after["groups"][0]
    table = view.get("table").locator("tbody tr", has_text="After the edit").locator("td").all_inner_texts()
    assert (
        table[0].startswith(f"{group['copies']} of 4")
        and " to " in table[0]
        and f"{widget.edit['weights']:,} weights" in view.get("edit").inner_text()
    )
    assert (
        page.evaluate("() => [...document.querySelectorAll('.mnemoscope img')].every((i) => i.alt.length > 10)")
        and view.errors == []
    )
    assert page.locator(".mnemoscope script").count() == 0 and SCRIPT in view.get("memorised").inner_text()


def test_the_scrubber_shows_every_step_without_the_kernel(page):
    view = mount(page)
    finished = source(view, "before", 0)
    view.get("step").focus()
    page.keyboard.press("ArrowLeft")  # nothing that Python says reaches the page
    assert (
        "3 of 4" in view.get("step-now").inner_text()
        and source(view, "before", 0) != finished
        and "after step 3 of 4" in alt(view, "after", 0)
    )
    values = np.array(view.widget.before["values"]).reshape(STEPS, 4)
    assert (
        f"r = {values[2, 0]:.2f}".replace("-0.00", "0.00").replace("-", "−")
        == view.get("cell-before-0").inner_text().strip()
    ), "a picture on the way has a measure, and no verdict"
    page.keyboard.press("End")
    assert source(view, "before", 0) == finished
    view.get("play").click()
    page.wait_for_function("() => document.querySelector('[data-testid=step-now]').textContent.startsWith('2 of')")
    page.wait_for_function("() => document.querySelector('[data-testid=play]').textContent === 'Play'")
    assert source(view, "before", 0) == finished


def test_pictures_appear_while_they_are_denoised_and_are_stopped(page, monkeypatch):
    monkeypatch.setattr("widgets.diffusion_bench.showing.PART_SECONDS", 0)
    view, gate, kept = mount(page, run=False), threading.Semaphore(0), diffusion_work.draw

    def gated(*a, on_frame, **k):
        def waiting(made):
            on_frame(made)
            assert gate.acquire(timeout=60)

        return kept(*a, on_frame=waiting, **k)

    monkeypatch.setattr(diffusion_work, "draw", gated)
    view.get("run").click()
    seen = []
    for wanted in (1, 2):
        until = time.monotonic() + 60
        while view.widget.before.get("frames") != wanted:
            assert time.monotonic() < until, f"picture {wanted} was not drawn"
            page.wait_for_timeout(20)
            view.push()
        view.push()
        page.wait_for_function(
            f"() => document.querySelector('[data-state=before]').textContent.includes('step {wanted} of 4')"
        )
        seen.append(source(view, "before", 0))
        if wanted == 1:
            gate.release()
    assert seen[0] != seen[1] and view.get("attack").is_disabled()
    view.get("stop").click()
    gate.release(100)
    view.settle(60)
    assert "stopped" in view.get("progress").inner_text() and view.widget.status == "stopped"


def test_sliders_ticks_attack_and_undo(page):
    view = mount(page)
    widget, before = view.widget, weights(view.widget.pipeline)
    view.get("sparsity").focus()
    page.keyboard.press("ArrowRight")
    assert (
        "0.16" in view.get("sparsity-now").inner_text()
        and view.get("grid").locator("tr[data-state=after]").get_attribute("data-old") == "true"
    )
    view.settle(60)
    assert (
        widget.sparsity == 0.16
        and widget.after["key"]["sparsity"] == 0.16
        and view.get("grid").locator("tr[data-state=after]").get_attribute("data-old") == "false"
    )
    view.get("first").focus()
    page.keyboard.press("End")
    view.settle(60)
    assert widget.first == 4 and "4 of 4" in view.get("first-now").inner_text()
    view.get("cell-before-1").focus()
    page.keyboard.press("Space")
    view.settle(60)
    assert (
        widget.chosen == [0, 2, 3]
        and not view.get("tick-1").is_checked()
        and view.get("table").locator("tbody tr").count() == 6
    )
    view.get("updates").fill("2")
    view.get("attack").click()
    view.settle(120)
    assert (
        widget.status == "complete"
        and "optimised embedding" in alt(view, "attacked", 0)
        and view.get("cell-attacked-0").is_visible()
    )
    assert "never trained, same attack" in view.get("table").inner_text()
    view.get("put").click()
    view.settle(60)
    assert (
        view.get("weights").get_attribute("data-state") == "in force"
        and "The model is edited now" in view.get("force").inner_text()
        and not torch.equal(weights(widget.pipeline), before)
    )
    view.get("sparsity").focus()
    page.keyboard.press("ArrowLeft")
    view.settle(60)
    assert "undo it first" in view.get("error").inner_text()
    shot(page, "diffusion_in_force")
    view.get("undo").focus()
    page.keyboard.press("Enter")
    view.settle(120)
    assert (
        "is not edited" in view.get("force").inner_text()
        and "unchanged" in view.get("force").inner_text()
        and torch.equal(weights(widget.pipeline), before)
        and not view.get("error").is_visible()
    )
    assert widget.after["key"]["sparsity"] == 0.08 and view.get("cell-attacked-0").is_hidden() and view.errors == []


@pytest.mark.parametrize("width", [1200, 420])
def test_a_place_is_picked_by_keyboard_and_the_map_is_of_its_layers(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    view = mount(page)
    widget, before = view.widget, weights(view.widget.pipeline)
    assert (
        "7 feed-forward layers" in view.get("model").inner_text()
        and "feed-forward layers" in view.get("edit").inner_text()
        and view.get("first").is_enabled()
    )
    assert (
        "watched and cut" in view.get("place").get_attribute("title")
        and page.get_by_label("Layers to cut").evaluate("(s) => s.dataset.testid") == "place"
    )
    view.get("place").focus()
    page.keyboard.press("ArrowDown")
    view.settle(60)
    assert (
        widget.place == "cross-attention"
        and "14 cross-attention layers" in view.get("model").inner_text()
        and view.get("first").is_disabled()
        and "no difference" in view.get("first-now").inner_text()
    )
    assert (
        "still of feed-forward" in view.get("edit").inner_text()
        and "“Locate and draw” makes those of the 14 cross-attention layers" in view.get("edit").inner_text()
    )
    assert (
        view.get("grid").locator("tr[data-state=after]").get_attribute("data-old") == "true"
        and "in the 7 feed-forward layers (of an earlier choice)" in view.get("scores").inner_text()
    )
    assert unnamed(page) == [] and cut_off(page) == []
    shot(page, f"diffusion_place_picked_{width}")
    page.keyboard.press("Control+Enter")
    view.settle(120)
    page.get_by_test_id("sparsity").focus()
    page.keyboard.press("End")
    view.settle(120)
    assert (
        widget.status == "complete"
        and widget.sparsity == 0.6
        and widget.after["key"]["place"] == "cross-attention"
        and torch.equal(weights(widget.pipeline), before)
    )
    assert (
        f"{widget.edit['weights']:,} weights" in view.get("edit").inner_text()
        and "cross-attention, published, 0.6" in view.get("grid").locator("tr[data-state=after]").inner_text()
    )
    share = 100 * float(widget.score_map["share"].values.flat[0])
    said = view.get("scores").inner_text()
    assert f"there is one value instead of a map, {share:.3g}".rstrip("0").rstrip(".") in said and "k: keys" in said
    assert view.get("map").is_hidden() and view.get("map-bar").is_hidden() and view.get("map-read").is_hidden()
    assert "attn2.to_k" in widget.code and unnamed(page) == [] and cut_off(page) == [] and view.errors == []
    shot(page, f"diffusion_place_{width}")
    view.get("place").focus()
    page.keyboard.press("ArrowUp")
    view.settle(120)
    assert (
        widget.place == "feed-forward"
        and widget.after["key"]["place"] == "feed-forward"
        and "7 feed-forward layers:" in view.get("scores").inner_text()
        and view.get("first").is_enabled()
    )


def test_grid_and_map_are_read_by_keyboard(page):
    view = mount(page)
    view.get("cell-training-0").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "End", "ArrowLeft"):
        page.keyboard.press(key)
    assert (
        view.get("cell-after-2").evaluate("(td) => document.activeElement === td && td.tabIndex === 0")
        and page.locator(".mn-pictures td[tabindex='0']").count() == 1
    )
    assert view.get("readout").inner_text() == f"{alt(view, 'after', 2)}."
    assert "arrows" in view.get("help").inner_text()
    view.get("map").focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    scores, read = view.widget.score_map, view.get("map-read").inner_text()
    layer = str(scores.layer.values[1])
    assert (
        layer in read
        and f"{100 * float(scores.share[1, 1]):.3g} %" in read
        and "step 2 of 4, united" in read
        and f"{100 * view.widget.mask().densities()[layer]:.3g} % of the layer" in read
    )
    assert "largest |z|" in view.get("map-cell").get_attribute("aria-label")
    page.mouse.move(*view.at("map", 0, 3, len(scores.layer), STEPS, flip=False))
    assert "step 4 of 4" in view.get("map-tip").inner_text() and view.get("map-bar").get_attribute(
        "aria-label"
    ).startswith("Colour scale")


def test_faults_are_said_where_the_person_looks(page):
    view = mount(page, run=False)
    view.get("reference").select_option("shared")
    view.settle()
    assert (
        "nothing is run with them" in view.get("refused").inner_text()
        and KNOWN.captions[1] in view.get("refused").inner_text()
    )
    view.get("run").click()
    view.settle(60)
    assert view.get("refused").is_visible() and not view.get("error").is_visible() and view.get("empty").is_visible()
    shot(page, "diffusion_refused")
    view.get("reference").select_option("others")
    for i in range(4):
        view.get(f"tick-{i}").uncheck()
    view.get("run").click()
    view.settle(60)
    assert not view.get("refused").is_visible() and "tick at least one" in view.get("error").inner_text()


def test_grid_measures_map_and_mask_are_exported(page, tmp_path):
    view = mount(page)
    view.get("export").locator("summary").click()
    found = view.downloads(("csv", "map-csv", "npz", "svg", "png"), tmp_path)
    rows = list(csv.DictReader(io.StringIO(found["csv"].read_text())))
    last = [row for row in rows if row["state"] == "after" and row["step"] == "4"]
    np.testing.assert_allclose(
        [float(row["value"]) for row in last], view.widget.result.value.sel(state="after").values[:, 0], rtol=1e-6
    )
    assert (
        len(rows) == 3 * 4 * STEPS
        and [row["copy"] == "true" for row in last] == view.widget.after["copied"]
        and last[0]["measure"] == "background correlation"
    )
    assert len(list(csv.DictReader(io.StringIO(found["map-csv"].read_text())))) == view.widget.score_map.share.size
    assert subspace.Mask.load(found["npz"]).iou(view.widget.mask()) == 1
    assert (
        found["svg"].read_text().count("<image") == 16
        and "var(--" not in found["svg"].read_text()
        and Image.open(found["png"]).size[0] > 800
    )
    assert "diffusion.locate(pipeline" in view.get("code").input_value()


@pytest.mark.parametrize("width", [1200, 420])
def test_every_control_has_a_name_and_nothing_is_cut_off(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    view = mount(page, seeds=(10, 11))
    assert (
        unnamed(page) == []
        and cut_off(page) == []
        and view.errors == []
        and view.requests == [r for r in view.requests if r.startswith(("blob:", "data:", "about:"))]
    )
    before = source(view, "before", 0)
    view.get("seed").select_option("1")
    assert source(view, "before", 0) != before
    shot(page, f"diffusion_{width}")
    if width == 1200:
        page.evaluate("document.body.className = 'dark'")
        page.wait_for_function("document.querySelector('.mnemoscope').dataset.dark === 'true'")
        shot(page, "diffusion_dark")
        assert page.evaluate(
            "() => { const before = window.model.listeners(); window.cleanup(); return [before > 10,"
            " window.model.listeners()]; }"
        ) == [True, 0]


# --- in JupyterLab

CELLS = [
    SETUP
    + """from tests.widgets.test_diffusion_bench import FRESH, KNOWN, OTHERS, RECIPE
from tests.diffusion.conftest import pipeline_of
memorised = {"known <script>alert(1)</script>": KNOWN}
options = dict(never=FRESH, steps=4, first=2, sparsity=0.1)
bench = widgets.DiffusionBench(pipeline_of(RECIPE), memorised, OTHERS, **options)
bench"""
]


@pytest.mark.long
def test_run_move_undo_and_the_stored_notebook(lab, notebook):
    page = notebook(CELLS, "diffusion-bench")
    page.get_by_test_id("run").click()
    page.wait_for_selector("[data-testid=diffusion-bench][data-status=complete]", timeout=READY)
    page.get_by_test_id("cell-after-0").focus()
    page.keyboard.press("Space")
    page.wait_for_function(
        "() => document.querySelectorAll('[data-testid=table] tbody tr').length === 6", timeout=READY
    )
    page.wait_for_selector("[data-testid=diffusion-bench][data-status=complete]", timeout=READY)
    page.get_by_test_id("put").click()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=force]').textContent.includes('The model is edited now')",
        timeout=READY,
    )
    page.get_by_test_id("undo").click()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=force]').textContent.includes('unchanged')", timeout=READY
    )
    assert page.locator(".mnemoscope script").count() == 0
    with stored_copy(lab, page, "not located on") as copy:
        assert (
            "<script>alert(1)</script>" in copy.inner_text()
            and copy.locator("table").count() == 3
            and copy.locator("img").count() == 16
        )
        assert copy.locator("img").evaluate_all(
            "(all) => all.every((i) => i.alt && i.complete && i.naturalWidth === 16)"
        )
