"""The injection bench in a browser: with its Python side and answers that are known, then in a real JupyterLab on a
real model and on hostile tokens.
"""

import csv
import io
import threading

import numpy as np
import pytest

from tests.browser.lab import HOSTILE, READY, SETUP, point
from tests.browser.looks import cut_off, pixel, unnamed
from tests.browser.page_model import Mounted
from tests.browser.stored import stored_copy
from tests.widgets import fakes
from tests.widgets.test_injection_bench import (
    ANSWER,
    ITEM,
    MEMORY,
    OTHER,
    PROMPT,
    SUBJECT,
    FakeGenerate,
    FakeSweep,
    bench,
    effect,
)

LAYERS, STRENGTHS = 6, 11


def mount(page, *, run=False, **options):
    view = bench(layer=options.pop("layer", 2), strength=options.pop("strength", 4.0), **options)
    if run:
        view.run(wait=True)
    return Mounted(page, view)


def slide(view, testid, value):
    """What a hand on the slider does."""
    view.get(testid).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        str(value),
    )


def items_of(view, which):
    return view.get("lists").locator("ol").nth(which).locator("li")


# --- with known answers


def test_both_lists_stand_side_by_side_with_marks_and_the_answers_change(page):
    view = mount(page, layer=3)
    assert items_of(view, 0).count() == items_of(view, 1).count() == 10
    assert items_of(view, 0).first.inner_text().split("\n") == ["·Paris", "A", "37%"]
    france = items_of(view, 0).nth(2)
    assert (
        france.inner_text().split("\n")[:2] == ["France", "M"]
        and france.locator(".mn-tag").get_attribute("aria-label") == "token of the memory"
    )
    table = view.get("answer-change").inner_text()
    change = effect(MEMORY, 3, 4)
    assert f"+{change:.2f}" in table and f"× {np.exp(change):.2f}" in table and "−1.00" in table and "nats" in table
    boxes = [view.get("lists").locator("ol").nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] and abs(boxes[0]["y"] - boxes[1]["y"]) < 2
    assert view.errors == []


def test_moving_a_slider_changes_the_list_and_keeps_the_sliders_place(page):
    view = mount(page)
    before = items_of(view, 1).first.inner_text()
    slide(view, "layer", 3)
    slide(view, "strength-slider", 2.25)
    assert view.get("live").get_attribute("data-fresh") == "false"
    view.settle()
    assert view.get("live").get_attribute("data-fresh") == "true"
    assert (view.widget.layer, view.widget.strength) == (3, 2.25)
    assert items_of(view, 1).first.inner_text() != before and "layer 3, strength 2.25" in view.get("live").inner_text()
    assert view.get("strength").input_value() == "2.25" and view.get("layer-text").inner_text() == "3 of 5"
    # an answer to an earlier move arrives while the hand is already further
    slide(view, "layer", 5)
    page.evaluate("() => window.fromPython({ layer: 1 })")
    assert view.get("layer").input_value() == "5"


def test_the_box_takes_any_strength_and_python_moves_the_sliders(page):
    view = mount(page)
    for typed, wanted in (("-37.5", -37.5), ("0.125", 0.125), ("1e3", 1000.0)):
        view.get("strength").fill(typed)
        view.settle()
        assert view.widget.strength == wanted and view.widget.live["fields"]["strength"] == wanted
    view.get("strength").fill("")
    view.settle()
    assert view.widget.strength == 1000.0, "an empty box is no strength"
    page.wait_for_timeout(800)
    view.widget.layer, view.widget.strength = 1, -3.5
    view.settle()
    assert (
        view.get("layer").input_value(),
        view.get("strength").input_value(),
        view.get("strength-slider").input_value(),
    ) == ("1", "-3.5", "-3.5")


def test_choices_depend_on_each_other(page):
    view = mount(page)
    assert not view.get("head").is_visible() and view.get("positions").locator("option[value=subject]").is_disabled()
    view.get("encoder").select_option("head")
    view.get("head").select_option("2")
    view.get("subject").fill(SUBJECT)
    view.get("positions").select_option("subject")
    view.get("relative").check()
    view.settle()
    call = view.widget._next_tokens.calls[-1]
    assert view.get("head").is_visible() and (call.memory.heads, call.positions, call.subject, call.relative) == (
        (2,),
        "subject",
        SUBJECT,
        True,
    )
    assert view.get("seed").is_visible() and not view.get("other").is_visible()
    view.get("control").select_option("shuffled")
    assert view.get("other").is_visible() and not view.get("seed").is_visible()


def test_empty_states_say_what_to_do(page):
    view = mount(page, prompt="", memory="", answer="")
    assert (
        "Type a prompt" in view.get("lists").inner_text()
        and view.get("empty").is_visible()
        and not view.get("map").is_visible()
    )
    view.get("prompt").fill(PROMPT)
    page.wait_for_timeout(450)
    view.settle()
    assert (
        items_of(view, 0).count() == 10
        and "Give a memory to inject" in view.get("lists").inner_text()
        and "Give an answer" in view.get("lists").inner_text()
    )
    view.get("run").click()
    view.settle()
    assert "memory: is empty" in view.get("error").inner_text()


def test_a_half_typed_answer_is_explained_beside_the_lists(page):
    view = mount(page, answer="Paris")
    assert "merges" in view.get("live-error").inner_text()
    view.get("answer").fill(" Paris")
    view.get("answer").blur()
    view.settle()
    assert view.get("live-error").count() == 0 and items_of(view, 1).count() == 10


def test_the_maps_share_one_scale_and_their_cells_are_told_by_pointing(page):
    view = mount(page, run=True)
    assert view.get("map").is_visible() and view.get("control-map").is_visible() and not view.get("empty").is_visible()

    def tip(which, row, column):
        return (
            page.mouse.move(*view.at(which, row, column, LAYERS, STRENGTHS)),
            view.get(f"{which}-tip").inner_text().split("\n"),
        )[1]

    memory, control = effect(MEMORY, 3, 4), effect("random_tokens", 3, 4)
    for which in ("map", "control-map"):
        assert tip(which, 3, 6)[:4] == [
            "layer 3, strength 4",
            f"memory +{memory:.2f} nats",
            f"control +{control:.3f} nats",
            f"memory − control +{memory - control:.3f} nats",
        ]

    def at(which, row, column):
        return pixel(page, which, *view.at(which, row, column, LAYERS, STRENGTHS))[:3]

    page.mouse.move(1, 1)
    strong, half, zero, cold = at("map", 3, 6), at("control-map", 3, 6), at("map", 3, 2), at("map", 0, 10)
    assert strong[2] < half[2] - 20 < zero[2], "the control has half the effect on the same scale"
    assert cold[2] > cold[0] + 20 and min(zero) > 240
    bar = view.get("colour-bar").inner_text()
    assert "≤ −" in bar and f"+{max(1, effect(MEMORY, 3, 8)):.2f}" in bar and "nats" in bar, (
        "losses beyond the largest gain share one colour, and the bar says so"
    )
    view.get("scale").select_option("all")
    assert "≤" not in view.get("colour-bar").inner_text()
    assert (
        view.get("caption").inner_text() == "activation, at every token · answer ·Paris, unedited 13.53% (−2.00 nats)"
    )
    assert (
        "memory: France" in view.get("map-title").inner_text()
        and "control: random tokens" in view.get("control-title").inner_text()
    )


def test_a_cell_sets_the_sliders_and_both_maps_mark_it(page):
    view = mount(page, run=True)
    page.mouse.click(*view.at("control-map", 5, 9, LAYERS, STRENGTHS))
    view.settle()
    assert (view.widget.layer, view.widget.strength) == (5, 7.0) and view.widget.live["fields"]["strength"] == 7
    assert (view.get("layer").input_value(), view.get("strength").input_value()) == ("5", "7")
    view.get("map").focus()
    for key in ("ArrowUp", "End", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    view.settle()
    assert (view.widget.layer, view.widget.strength) == (5, 7.0) and view.get("map-cell").get_attribute(
        "aria-selected"
    ) == "true"
    assert view.get("map-cell").get_attribute("aria-label").startswith("layer 5, strength 7, memory map, memory ")
    for key in ("ArrowDown", "ArrowRight", "Space"):
        page.keyboard.press(key)
    view.settle()
    assert (view.widget.layer, view.widget.strength) == (4, 8.0)
    page.keyboard.press("Control+Enter")
    view.settle()
    assert len(view.widget._make.calls) == 2


def test_an_answer_of_several_tokens_is_read_whole_at_every_move(page):
    view = mount(page, answer=" New York", layer=3)
    for strength in (4, 4.25):
        slide(view, "strength-slider", strength)
        view.settle()
        change, first = effect(MEMORY, 3, strength) / 10, np.linspace(-1, -8, 13)[11]
        rows = [row.split("\t") for row in view.get("answer-change").inner_text().split("\n")]
        shown = lambda v: f"{v:+.2f}".replace("-", "−") if abs(v) >= 1 else f"{v:+.3f}".replace("-", "−")  # noqa: E731
        assert rows[2] == ["ln p (nats)", shown(first - np.log(2)), shown(first - np.log(2) + change), shown(change)]
        assert rows[1][3] == f"× {np.exp(change):.2f}" and rows[3] == [
            "first token, ln p",
            shown(first),
            shown(first),
            "0",
        ]
    text = view.get("lists").inner_text()
    assert "whole answer ·New·York, 2 tokens" in text and "A first token of the answer" in text


def test_maps_of_another_question_say_so_and_lead_back(page):
    view = mount(page, run=True)
    assert not view.get("stale").is_visible()
    view.get("memory").fill("Egypt")
    view.get("memory").blur()
    view.settle()
    assert "another memory" in view.get("stale").inner_text()
    view.get("restore").click()
    view.settle()
    assert (
        not view.get("stale").is_visible()
        and view.widget.memory == MEMORY
        and view.get("memory").input_value() == MEMORY
    )


def test_layers_fill_in_and_stop_keeps_them(page, monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate = threading.Semaphore(0)
    view = mount(page, sweep=FakeSweep(gate))
    view.get("run").click()
    gate.release(2)
    for _ in range(100):
        page.wait_for_timeout(20)
        view.push()
        if view.get("progress").inner_text().startswith("layers 4–5 of 6"):
            break
    assert (
        view.get("injection-bench").get_attribute("data-status") == "running"
        and "partial" in view.get("caption").inner_text()
    )
    slide(view, "strength-slider", 7.5)
    for _ in range(100):
        page.wait_for_timeout(20)
        view.push()
        if view.get("live").get_attribute("data-fresh") == "true":
            break
    assert "strength 7.5" in view.get("live").inner_text(), "a move is answered while the map fills"
    view.get("stop").click()
    view.settle()
    assert view.get("progress").inner_text().startswith("stopped: layers 4–5 of 6") and view.get("stop").is_disabled()


def test_generated_texts_stand_side_by_side_as_text(page):
    view = mount(page)
    view.get("new_tokens").fill("5")
    view.get("generate").click()
    view.settle()
    assert (
        view.get("said-before").inner_text() == f"{PROMPT} nothing and more {fakes.SCRIPT}"
        and view.get("said-after").inner_text() == f"{PROMPT} France and more {fakes.SCRIPT}"
    )
    assert page.locator(".mnemoscope script").count() == 0 and view.widget._write.calls[0][1] == 5


@pytest.mark.parametrize("by", ["click", "keyboard", "Escape"])
def test_writing_is_stopped_and_the_text_stays(page, by):
    gate = threading.Semaphore(0)
    view = mount(page, generate=FakeGenerate(gate))
    assert view.get("stop-generation").is_disabled()
    view.get("generate").click()
    gate.release(6)
    for _ in range(200):
        page.wait_for_timeout(20)
        view.push()
        if gate._value == 0 and view.get("said-after").count():
            break
    assert (
        view.get("generation-status").inner_text() == "writing …"
        and view.get("said-after").inner_text() == f"{PROMPT} …"
    )
    if by == "click":
        view.get("stop-generation").click()
    else:
        view.get("generate").focus()
        for key in ("Tab", "Enter") if by == "keyboard" else ("Escape",):
            page.keyboard.press(key)
    view.settle()
    assert (
        view.get("generation").get_attribute("data-status") == "stopped" and view.get("stop-generation").is_disabled()
    )
    assert view.get("generation-status").inner_text() == "stopped; what was written stays"
    assert (
        view.get("said-before").inner_text() == f"{PROMPT} nothing and more {fakes.SCRIPT}"
        and view.get("said-after").inner_text() == f"{PROMPT} France and (stopped here)"
    )
    assert view.get("injection-bench").get_attribute("data-status") == "idle" and view.errors == []


def test_items_are_offered_and_taken(page):
    view = mount(page, prompt=None, memory=None, answer=None, items=[ITEM, OTHER])
    assert view.get("prompt").input_value() == ITEM.prompt and view.get("other").input_value() == "Egypt"
    view.get("item").select_option("1")
    view.settle()
    view.get("run").click()
    view.settle()
    assert "after “The capital of Egypt is” 36.79%" in view.get("caption").inner_text()
    assert (
        view.get("prompt").input_value() == OTHER.prompt
        and view.get("answer").input_value() == " Cairo"
        and view.get("control").input_value() == "shuffled"
    )


def test_numbers_and_figures_are_downloaded_and_the_code_is_there_before_any_map(page, tmp_path):
    view = mount(page)
    view.get("export").locator("summary").click()
    assert "injection.next_tokens" in view.get("code").input_value() and not view.get("svg").is_visible()
    view.get("run").click()
    view.settle()
    found = {name: path.read_bytes() for name, path in view.downloads(("csv", "svg", "png"), tmp_path).items()}
    rows = list(csv.DictReader(io.StringIO(found["csv"].decode())))
    assert len(rows) == 2 * LAYERS * STRENGTHS
    cell = next(r for r in rows if (r["layer"], r["strength"], r["condition"]) == ("3", "4", "memory"))
    assert float(cell["change_logprob_nats"]) == pytest.approx(effect(MEMORY, 3, 4), rel=1e-5) and float(
        cell["logprob_nats"]
    ) == pytest.approx(effect(MEMORY, 3, 4) - 2, rel=1e-4)
    assert found["png"][:4] == b"\x89PNG"
    from xml.etree import ElementTree

    figure = ElementTree.fromstring(found["svg"])
    assert (
        len([e for e in figure.iter() if e.tag.endswith("}rect")]) > 2 * LAYERS * STRENGTHS
        and b"nats" in found["svg"]
        and b"memory: France" in found["svg"]
    )
    assert "injection.sweep" in view.get("code").input_value()


def test_a_view_that_is_taken_away_leaves_nothing_behind_and_asks_nothing_elsewhere(page):
    view = mount(page, run=True)
    assert (
        view.requests == [r for r in view.requests if r.startswith(("blob:", "data:", "about:"))] and view.errors == []
    )
    assert page.evaluate(
        "() => { const before = window.model.listeners(); window.cleanup(); return [before > 10,"
        " window.model.listeners()]; }"
    ) == [True, 0]


def test_every_control_has_a_name(page):
    view = mount(page, run=True, items=[ITEM, OTHER])
    assert unnamed(page) == [] and view.errors == []


@pytest.mark.parametrize("width", [1200, 760, 420])
def test_nothing_is_cut_off_at_any_width(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    view = mount(page, run=True)
    view.get("generate").click()
    view.settle()
    assert cut_off(page, "input, select, button, h3, table, ol, canvas.mn-rows") == []


# --- in JupyterLab

# one cell each: JupyterLab on a busy machine can drop the first of several
REAL = [
    f"""{SETUP}model = lens.load("smollm2")
bench = widgets.InjectionBench(model, {PROMPT!r}, {MEMORY!r}, {ANSWER!r}, strength=2, layer=20)
bench.strengths = "0:8:2"
bench"""
]
TINY = [
    HOSTILE[0].split("pair = ")[0]
    + """word = "<script>alert(1)</script>"
bench = widgets.InjectionBench(model, f"w3 {word} w5", word, " w7", layer=1)
bench"""
]


def status(page, wanted, timeout=READY):
    page.wait_for_selector(f"[data-testid=injection-bench][data-status={wanted}]", timeout=timeout)


def fresh(page):
    page.wait_for_selector("[data-testid=live][data-status=ready][data-fresh=true]", timeout=READY)


@pytest.mark.slow
@pytest.mark.long
def test_smollm2_slide_map_click_keyboard_stop_and_generate(notebook, smollm2):
    page = notebook(REAL, "injection-bench")
    fresh(page)
    lists = page.get_by_test_id("lists").locator("ol")
    assert [lists.nth(i).locator("li").count() for i in (0, 1)] == [10, 10]
    unedited, injected = lists.nth(0).inner_text(), lists.nth(1).inner_text()
    for testid, value in (("layer", "12"), ("strength-slider", "6.5")):
        page.get_by_test_id(testid).evaluate(
            "(s, v) => { s.value = v; s.dispatchEvent(new Event('input', { bubbles: true })); }", value
        )
    fresh(page)
    assert "layer 12, strength 6.5" in page.get_by_test_id("live").inner_text()
    assert lists.nth(1).inner_text() != injected and lists.nth(0).inner_text() == unedited

    # by the keyboard, as a person without a mouse moves it
    page.get_by_test_id("layer").focus()
    page.keyboard.press("ArrowRight")
    fresh(page)
    assert "layer 13, strength 6.5" in page.get_by_test_id("live").inner_text()

    page.get_by_test_id("run").click()
    status(page, "running")
    page.wait_for_function(
        "() => /^layers \\d+/.test(document.querySelector('[data-testid=progress]').textContent)", timeout=READY
    )
    page.get_by_test_id("strength-slider").evaluate(
        "(s) => { s.value = '1.5'; s.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    fresh(page)
    status(page, "complete", 180_000)
    assert (
        page.get_by_test_id("map").get_attribute("aria-rowcount") == "30"
        and page.get_by_test_id("control-map").get_attribute("aria-colcount") == "5"
    )
    page.mouse.move(*point(page, "map", 25, 0))
    assert "memory 0 nats" in page.get_by_test_id("map-tip").inner_text(), "strength 0 changes nothing"
    page.mouse.click(*point(page, "map", 25, 2))
    fresh(page)
    assert (page.get_by_test_id("layer").input_value(), page.get_by_test_id("strength").input_value()) == ("25", "4")
    for key in ("ArrowUp", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_function("() => document.querySelector('[data-testid=layer]').value === '26'", timeout=READY)
    fresh(page)
    assert "layer 26, strength 6" in page.get_by_test_id("live").inner_text()

    page.get_by_test_id("strengths").fill("0:15:0.5")
    page.get_by_test_id("run").click()
    status(page, "running")
    page.wait_for_function(
        "() => /^layers \\d+/.test(document.querySelector('[data-testid=progress]').textContent)", timeout=READY
    )
    page.get_by_test_id("stop").click()
    status(page, "stopped", 60_000)
    assert (
        page.get_by_test_id("progress").inner_text().startswith("stopped: layers ")
        and "partial" in page.get_by_test_id("caption").inner_text()
    )

    page.get_by_test_id("new_tokens").fill("6")
    page.get_by_test_id("generate").click()
    page.wait_for_selector("[data-testid=generation][data-status=ready]", timeout=READY)
    said = [page.get_by_test_id(f"said-{which}").inner_text() for which in ("before", "after")]
    assert all(text.startswith(PROMPT) and len(text) > len(PROMPT) for text in said)


def test_controls_keep_their_keys_in_a_notebook(notebook):
    """In command mode JupyterLab takes arrows, Enter and letters from whatever is focused, unless that element says
    no.
    """
    page = notebook(TINY, "injection-bench")
    fresh(page)
    page.locator(".jp-Notebook .jp-InputPrompt").first.click()
    for testid, key, value in (
        ("layer", "ArrowRight", "2"),
        ("strength-slider", "ArrowLeft", "1.75"),
        ("encoder", "ArrowDown", "unembed"),
        ("relative", "Space", "on"),
    ):
        page.get_by_test_id(testid).focus()
        page.keyboard.press(key)
        assert (
            page.get_by_test_id(testid).input_value() == value
            if key != "Space"
            else page.get_by_test_id(testid).is_checked()
        ), testid
        fresh(page)
    assert (
        "unembed, at every token, relative to the stream" in page.get_by_test_id("live").inner_text()
        and "layer 2, strength 1.75" in page.get_by_test_id("live").inner_text()
    )
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1, "no key reached the notebook"


def test_hostile_tokens_are_text_and_the_stored_notebook_shows_the_maps(lab, notebook):
    page = notebook(TINY, "injection-bench")
    fresh(page)
    assert "<script>alert(1)</script>" in page.get_by_test_id("prompt").input_value()
    page.get_by_test_id("control").select_option("shuffled")
    page.get_by_test_id("other").fill("w9")
    page.get_by_test_id("run").click()
    status(page, "complete")
    assert "<script>alert(1)</script>" in page.get_by_test_id("map-title").inner_text()
    page.mouse.move(*point(page, "map", 1, 1))
    page.get_by_test_id("generate").click()
    page.wait_for_selector("[data-testid=generation][data-status=ready]", timeout=READY)
    assert page.locator(".mnemoscope script").count() == 0
    with stored_copy(lab, page, "by layer and strength") as copy:
        assert copy.locator("table").count() == 3 and copy.locator("table").first.is_visible()
        assert "<script>alert(1)</script>" in copy.inner_text() and "control: another entity, w9" in copy.inner_text()


@pytest.mark.long
def test_an_error_is_shown_where_it_was_asked(notebook):
    page = notebook(TINY, "injection-bench")
    page.get_by_test_id("strengths").fill("1, x")
    page.get_by_test_id("run").click()
    status(page, "error")
    assert "'x' is neither a number" in page.get_by_test_id("error").inner_text()
    page.get_by_test_id("subject").fill("w50")
    page.get_by_test_id("positions").select_option("subject")
    page.wait_for_selector("[data-testid=live-error]", timeout=READY)
    assert "w50" in page.get_by_test_id("live-error").inner_text()
