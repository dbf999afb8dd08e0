"""CircuitView in a real browser, with its Python side and known scores."""

import threading

import numpy as np
import pytest

from lens.circuits import Graph
from lens.prompts import Pair
from tests.browser.looks import contrasts, unlabelled
from tests.browser.page_model import Mounted
from tests.widgets import fakes
from tests.widgets.test_circuit_view import PAIRS, FakeEdges, FakeFaithfulness, view

GRAPH = Graph(3, 4, 2, 8)
#: Counts what a pen is asked to draw.
COUNT = """() => { window.calls = {stroke: 0, bezierCurveTo: 0, clearRect: 0};
    for (const name of Object.keys(window.calls)) {
        const own = CanvasRenderingContext2D.prototype[name];
        CanvasRenderingContext2D.prototype[name] = function (...a) { window.calls[name]++; return own.apply(this, a); };
    } }"""


def sparse(**scores):
    """Scores of all edges, zero but for those named `writer__reader`."""
    found = np.where(GRAPH.exists, 1e-6, np.nan)
    for name, value in scores.items():
        found[GRAPH.edge(name)] = value
    return found


SCORES = {"input->a1.h1<q>": 2.0, "a1.h1->logits": -1.0, "a0.h0->a1.kv0<k>": 0.5, "a0.h3->m1": 0.25}


def mount(page, edges=None, *, run=True, **options):
    edges = edges or FakeEdges(GRAPH, scores=sparse(**SCORES))
    return Mounted(page, view(edges=edges, run=run, **options))


def point(page, edge):
    """A point of the page at which the tooltip tells of an edge."""
    return page.evaluate(
        """(edge) => {
            const canvas = document.querySelector("[data-testid=circuit] canvas.mn-overlay"),
                tip = document.querySelector("[data-testid=circuit-tip]"), box = canvas.getBoundingClientRect();
            for (let y = 4; y < box.height; y += 3) for (let x = 4; x < box.width; x += 3) {
                const at = {bubbles: true, clientX: box.left + x, clientY: box.top + y};
                canvas.dispatchEvent(new MouseEvent("mousemove", at));
                if (!tip.hidden && tip.firstChild.textContent === edge) return [at.clientX, at.clientY];
            }
            return null;
        }""",
        edge,
    )


def test_hover_tells_writer_reader_score_and_rank_without_the_kernel(page):
    shown = mount(page)
    page.evaluate("() => { window.toPython = () => { throw new Error('hover asked the kernel') } }")
    page.mouse.move(*point(page, "input → a1.h1<q>"))
    lines = shown.get("circuit-tip").inner_text().split("\n")
    assert lines == ["input → a1.h1<q>", "writer input", "reader a1.h1<q>", "score 2.20 logits", "rank 1 of 190"]
    assert shown.errors == []


def test_a_click_on_an_edge_runs_its_exact_effect_and_shows_both_with_intervals(page):
    shown = mount(page)
    page.mouse.click(*point(page, "a1.h1 → logits"))
    shown.settle()
    assert shown.widget.edge == "a1.h1->logits"
    facts = shown.get("edge-facts").inner_text()
    assert "a1.h1 → logits" in facts and "−1.10 logits" in facts and "−1.00 logits" in facts
    assert facts.count("95 % interval over 6 pairs:") == 2 and "2 of 190 by size" in facts
    assert shown.errors == []


def test_the_keyboard_goes_from_node_to_node_into_its_edges_and_runs_one(page):
    shown = mount(page)
    shown.get("circuit").focus()
    page.keyboard.press("End")
    shown.settle()
    assert shown.widget.node == "logits"
    spoken = shown.get("circuit-spoken")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
        shown.settle()
    assert shown.widget.node == "a1.h1" and "a1.h1, " in spoken.get_attribute("aria-label")
    page.keyboard.press("Enter")
    assert "input to a1.h1<q>, score 2.20" in spoken.get_attribute("aria-label")
    page.keyboard.press("ArrowDown")
    assert "edge 2 of" in spoken.get_attribute("aria-label") and "a1.h1 to logits" in spoken.get_attribute("aria-label")
    page.keyboard.press("Enter")
    shown.settle()
    assert shown.widget.edge == "a1.h1->logits" and shown.widget.detail["status"] == "ready"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    shown.settle()
    assert shown.widget.node == "" and shown.errors == []


def test_by_token_layers_stand_over_the_tokens_of_the_pair_and_keys_and_strip_agree(page):
    shown = mount(page)
    shown.get("by").select_option("position")
    shown.settle()
    assert shown.get("kept").inner_text().startswith("100 edges of 163; ")
    assert "One pair" in shown.get("check").inner_text()
    tokens = shown.get("strip").locator("[role=option]")
    # three quarters of 3.75 here, a quarter of 2.75 at the first token, which the logits do not read
    assert "80.4 % of all scores" in tokens.nth(3).get_attribute("aria-label")
    shown.get("circuit").focus()
    for key in ("End", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
        shown.settle()
    assert shown.widget.node == "a2@3" and tokens.nth(3).get_attribute("aria-selected") == "true"
    assert "a2@3, " in shown.get("circuit-spoken").get_attribute("aria-label")
    page.mouse.click(*point(page, "input → a1<q>@3"))
    shown.settle()
    assert shown.widget.edge == "input->a1<q>@3"
    facts, parts = shown.get("edge-facts").inner_text(), shown.get("parts").inner_text()
    assert "3 ·c" in facts and "1.65 logits" in facts and "input → a1.h1<q>" in parts and "1.50" in parts
    tokens.nth(0).click()
    shown.settle()
    assert shown.widget.node == "input@0" and "19.6 % of all scores" in shown.get("readout").inner_text()
    shown.get("by").select_option("head")
    shown.settle()
    assert shown.widget.node == "" and "on a path" in shown.get("kept").inner_text() and shown.errors == []


def test_a_node_lists_its_edges_and_a_press_on_one_runs_it(page):
    shown = mount(page)
    shown.widget.node = "a1.h1"
    shown.settle()
    listed = shown.get("edge-list").locator("button")
    assert listed.first.inner_text().split("\n") == ["input → a1.h1<q>", "2.20"]
    assert "Edges of a1.h1" in shown.get("list-title").inner_text()
    listed.nth(1).press("Enter")
    shown.settle()
    assert shown.widget.edge == "a1.h1->logits"


def test_the_threshold_is_logarithmic_and_tells_what_it_keeps(page):
    shown = mount(page)
    slider = shown.get("threshold")
    for key, n in (("Home", 1), ("End", GRAPH.n_edges)):
        slider.press(key)
        shown.settle()
        assert shown.widget.shown == n
        assert shown.get("kept").inner_text().startswith(f"{n} edge{'s' if n > 1 else ''} of 190; ")
    assert "on a path from input to logits" in shown.get("kept").inner_text()
    assert slider.get_attribute("aria-valuetext") == "190 edges" and shown.errors == []


def test_ten_thousand_edges_are_a_few_strokes_and_hovering_redraws_none_of_them(page):
    edges = FakeEdges(Graph(12, 12, 12, 64))
    shown = mount(page, edges)
    page.evaluate(COUNT)
    shown.get("threshold").press("End")
    shown.settle()
    assert shown.widget.shown == 10_000 and "at most 10,000 are drawn" in shown.get("kept").inner_text()
    calls = page.evaluate("() => window.calls")
    assert calls["bezierCurveTo"] >= 10_000 and calls["stroke"] < 400, calls
    assert page.locator(".mnemoscope *").count() < 400, "no element an edge"
    box = shown.get("circuit").locator("canvas.mn-overlay").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.evaluate("() => { for (const name of Object.keys(window.calls)) window.calls[name] = 0; }")
    for step in range(20):
        page.mouse.move(box["x"] + 60 + 17 * step, box["y"] + 80 + 11 * step)
    calls = page.evaluate("() => window.calls")
    assert calls["stroke"] <= 20 * 8 and calls["bezierCurveTo"] <= 20 * 2, calls
    assert shown.errors == []


def test_faithfulness_is_run_on_a_button_stopped_and_told_with_its_intervals_and_random_circuits(page):
    gate = threading.Semaphore(0)
    judged = FakeFaithfulness(gate, found_on=6)
    shown = mount(page, faithfulness=judged)
    shown.get("judge").click()
    page.wait_for_timeout(50)
    shown.push()
    assert shown.get("judge").is_disabled()
    shown.get("stop-judging").click()
    shown.settle()
    assert "stopped after" in shown.get("judging").inner_text() and shown.get("curve").locator("svg").count() == 0
    gate.release(100)
    shown.get("judge").click()
    shown.settle()
    chart = shown.get("curve").locator("svg")
    assert "Faithfulness by share of edges kept" in chart.get_attribute("aria-label")
    assert chart.locator("[data-line=circuit]").count() == 4 and chart.locator("[data-line=random] rect").count() == 8
    assert "found on 6 of these 6 pairs" in shown.get("same-pairs").inner_text()
    cells = shown.get("curve-table").locator("tbody tr").nth(1).locator("th, td").all_inner_texts()
    assert (
        cells[0] == "10 %" and cells[3].split("\n") == ["0.316", "0.216 to 0.416"] and cells[4] == "−0.0838 to 0.0162"
    )
    assert "CMD 0.2" in shown.get("curve").inner_text()
    shown.get("ranking").select_option("signed")
    shown.settle()
    assert "CPR 0.8" in shown.get("curve").inner_text() and shown.errors == []


def test_empty_running_stopped_and_failed_are_told_where_the_graph_would_be(page):
    gate = threading.Semaphore(0)
    edges = FakeEdges(GRAPH, gate=gate)
    shown = mount(page, edges, run=False)
    assert shown.get("empty").is_visible() and not shown.get("circuit").is_visible()
    shown.get("run").click()
    page.wait_for_timeout(60)
    shown.push()
    assert shown.get("busy").is_visible() and not shown.get("empty").is_visible()
    shown.get("stop").click()
    shown.settle()
    assert shown.get("empty").is_visible() and "stopped: 0 of 6 pairs" in shown.get("progress").inner_text()
    edges.error = ValueError("pairs: do not align")
    shown.get("run").click()
    shown.settle()
    assert "do not align" in shown.get("error").inner_text() and not shown.get("empty").is_visible()
    edges.error, edges.gate = None, None
    shown.get("run").click()
    shown.settle()
    assert shown.get("circuit").is_visible() and shown.errors == []


def test_the_pairs_tokens_are_told_with_what_differs(page):
    pairs = [Pair(f"a {fakes.SCRIPT} b", corrupted="a x b", answer=" y", foil=" z"), *PAIRS]
    shown = mount(page, pairs=pairs)
    assert shown.get("strip").locator("[role=option]").all_inner_texts() == ["a", f"·{fakes.SCRIPT}|·x", "·b"]
    shown.get("strip").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert "position 1: clean ·<script>" in shown.get("readout").inner_text()
    shown.get("pair").select_option("1")
    shown.settle()
    assert "·d|·j" in shown.get("strip").inner_text() and shown.errors == []


def test_figure_and_numbers_are_kept(page, tmp_path):
    shown = mount(page)
    page.get_by_test_id("export").evaluate("(drawer) => { drawer.open = true; }")
    files = shown.downloads(("svg", "csv"), tmp_path)
    lines = files["csv"].read_text().splitlines()
    assert lines[0] == '"edge","writer","reader","score"'
    assert lines[1].startswith('"input->a1.h1<q>","input","a1.h1<q>",2.2')
    figure = files["svg"].read_text()
    assert figure.count("<path") >= 3 and "speaks for the answer" in figure and "100 of 190 edges" in figure


def test_all_scores_zero_and_one_layer_are_drawn(page):
    graph = Graph(1, 1, 1, 4)
    shown = mount(page, FakeEdges(graph, scores=np.zeros(graph.exists.shape)))
    assert shown.get("circuit").is_visible() and shown.errors == []


@pytest.mark.parametrize("width", [420, 1600])
def test_narrow_and_wide_pages_do_not_overflow_and_every_control_has_a_name(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    shown = mount(page, FakeEdges(Graph(12, 12, 12, 64)))
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert unlabelled(page) == [] and min(contrasts(page, ".mn-circuit .mn-note")) > 4.5 and shown.errors == []
