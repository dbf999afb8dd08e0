"""The provenance bench in a browser: with its Python side alone, then in a real JupyterLab, where rows stream in, are
stopped, and another suspect is asked.
"""

import csv
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.browser.lab import READY, SETUP
from tests.browser.looks import cut_off, unnamed
from tests.browser.page_model import Mounted
from tests.browser.stored import stored_copy
from tests.widgets.fakes import SCRIPT
from tests.widgets.test_provenance_bench import Hosted, ask, bench

SHOTS = os.environ.get("MNEMOSCOPE_SHOTS")  # a folder: pictures of the states that a person should judge


def mount(page, *, asked=(), **options):
    widget = bench(**options)
    for fields in asked:
        ask(widget, **fields)
    view = Mounted(page, widget)
    view.settle(60)
    return view


def hostile(gate=None):
    return {
        "suspects": lambda t, known: {
            "alice": Hosted(t, known["alice"], gate) if gate else known["alice"],
            f"bob {SCRIPT}": known["bob"],
        }
    }


def shot(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def row(view, name):
    return view.get("numbers").locator(f"tr[data-row='{name}']")


def test_rows_stream_in_are_stopped_and_another_suspect_is_asked(page, monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate = threading.Semaphore(0)
    view = mount(page, rule="n", **hostile(gate))
    assert (
        view.get("empty").is_visible()
        and "Nothing asked yet" in view.get("empty").inner_text()
        and view.get("stop").is_disabled()
    )
    view.get("run").click()
    seen = []
    for batches in (3, 3):
        gate.release(batches)
        for _ in range(300):
            page.wait_for_timeout(20)
            view.push()
            if int(view.get("answer").get_attribute("data-n") or 0) >= 48 * (len(seen) + 1):
                break
        seen.append(int(view.get("answer").get_attribute("data-n")))
    assert seen == [48, 96] and "only the e-value may be read now" in view.get("verdict").inner_text()
    assert (
        "not yet" in row(view, "p, permutation").inner_text()
        and "✓ guaranteed" in row(view, "e-value").inner_text()
        and "≈ approximate" in row(view, "p, published way").inner_text()
    )
    assert [view.get(name).locator("svg").count() for name in ("e-chart", "quantiles", "null")] == [
        1,
        1,
        1,
    ] and "tenth of the rows" in view.get("quantiles").inner_html()
    view.get("stop").click()
    gate.release(1)
    view.settle(60)
    assert (
        "stopped by hand" in view.get("progress").inner_text()
        and "Stopped by hand" in view.get("verdict").inner_text()
        and "e-value stays valid" in view.get("verdict").inner_text()
    )
    void = row(view, "p, permutation")
    assert (
        void.get_attribute("data-worth") == "void"
        and "fixed beforehand" in void.inner_text()
        and void.locator(".mn-value > span").evaluate("(e) => getComputedStyle(e).textDecorationLine") == "line-through"
    )
    shot(page, "stopped_light")
    view.get("suspect").select_option(f"bob {SCRIPT}")
    view.settle(60)
    assert "The fields have changed (suspect)" in view.get("stale").inner_text()
    view.get("run").click()
    view.settle(60)
    assert (
        not view.get("stale").is_visible()
        and "No dependence on this order shown" in view.get("verdict").inner_text()
        and SCRIPT in view.get("verdict").inner_text()
    )
    assert (
        "2 questions asked about 2 of 2 suspects" in view.get("looked").inner_text()
        and view.get("lines").locator("tbody tr").count() == 2
    )
    view.get("lines").get_by_role("button", name="Show the answer for alice").click()
    view.settle()
    assert "Stopped by hand" in view.get("verdict").inner_text() and view.get("lines").locator(
        "tr[aria-current=true]"
    ).inner_text().startswith("alice")
    assert view.errors == [] and page.locator(".mnemoscope script").count() == 0


def test_the_e_rule_ends_at_the_line_that_is_drawn(page):
    view = mount(page, rule="e", alpha=0.01)
    view.get("run").click()
    view.settle(60)
    chart = view.get("e-chart")
    assert (
        "e = 100: stop" in chart.inner_html()
        and "the rule stops at 100" in chart.locator("svg").get_attribute("aria-label")
        and chart.locator("line[stroke-dasharray]").count() == 1
    )
    assert (
        "e reached 100 after" in view.get("progress").inner_text()
        and "alice depends on this order" in view.get("verdict").inner_text()
        and "descends" not in view.get("answer").inner_text()
    )
    # the curve ends above the line, and every point before the last batch lies below it
    heights = [float(p.split(" ")[1]) for p in chart.locator("path").get_attribute("d")[1:].split("L")]
    line = float(chart.locator("line[stroke-dasharray]").get_attribute("y1"))
    assert heights[-1] <= line and all(y > line for y in heights[:-16])


def test_the_charts_show_the_numbers(page):
    view = mount(page, asked=[{"rule": "n"}])
    table = view.widget.result.table()
    dots = view.get("quantiles").locator("g > circle")
    assert (
        dots.count() == 10
        and [t.split(",")[-1].strip() for t in view.get("quantiles").locator("g > title").all_text_contents()]
        == ["60 rows"] * 10
    )
    heights = np.array([float(d.get_attribute("cy")) for d in dots.all()])
    assert np.corrcoef(heights, table["score"])[0, 1] == pytest.approx(-1, abs=1e-4), "up is larger"
    bars = [float(b.get_attribute("height")) for b in view.get("null").locator("rect").all()]
    counts = np.histogram(view.widget.result.null, bins=60)[0]
    np.testing.assert_allclose(np.array(bars) / max(bars), counts[counts > 0] / counts.max(), atol=1e-3)
    assert f"observed −{abs(view.widget.result.rho):.3g}" in view.get(
        "null"
    ).inner_html() and "999 random orders" in view.get("null").locator("svg").get_attribute("aria-label")
    page.get_by_text("Rows by position as a table").click()
    assert page.locator("details.mn-numbers tbody tr").count() == 10


def test_a_reference_that_shares_the_order_is_refused_where_it_is_chosen(page):
    view = mount(page, asked=[{"rule": "e"}])
    view.get("reference").select_option("same order")
    view.settle()
    assert (
        "nothing is run with it" in view.get("refused").inner_text()
        and "innocent suspect is flagged" in view.get("refused").inner_text()
        and not view.get("error").is_visible()
    )
    view.get("run").click()
    view.settle()
    assert view.widget.status == "error" and len(view.widget.lines) == 1 and view.get("refused").is_visible()
    shot(page, "refused")
    view.get("reference").select_option("unknown")
    view.settle()
    assert (
        not view.get("refused").is_visible() and "nobody declared whether it shares" in view.get("doubts").inner_text()
    )
    view.get("run").click()
    view.settle(60)
    assert (
        not view.get("doubts").is_visible() and "nobody declared whether it shares" in view.get("warnings").inner_text()
    ), "said once, beside the numbers"
    view.get("reference").select_option("")
    view.settle()
    assert view.get("statistic").is_disabled()


def test_a_fault_is_said_beside_the_fields(page):
    view = mount(page)
    view.get("rows").fill("3")
    view.get("run").click()
    view.settle()
    assert "from 4 to 600" in view.get("error").inner_text() and view.get("empty").is_visible()
    view.get("rows").fill("100")
    view.get("rows").press("Control+Enter")
    view.settle(60)
    assert not view.get("error").is_visible() and view.widget.found["asked"] <= 100


def test_reports_rows_figures_and_code_are_exported(page, tmp_path):
    view = mount(page, asked=[{"rule": "n", "rows": 200}])
    view.get("export").locator("summary").click()
    found = {
        name: path.read_bytes()
        for name, path in view.downloads(
            ("document-html", "document-json", "document-csv", "csv", "svg", "png"), tmp_path
        ).items()
    }
    assert (
        b"Provenance report" in found["document-html"]
        and b'"p_values"' in found["document-json"]
        and found["document-csv"].startswith(b"row_id,position")
    )
    rows = list(csv.DictReader(io.StringIO(found["csv"].decode())))
    np.testing.assert_allclose([float(r["mean"]) for r in rows], view.widget.result.table()["score"], atol=1e-6)
    assert found["png"][:4] == b"\x89PNG" and b"Null distribution" in found["svg"] and b"var(--" not in found["svg"]
    assert "provenance.query(" in view.get("code").input_value()
    view.get("path").fill(str(tmp_path / "report.html"))
    view.get("path").press("Enter")
    view.settle()
    assert "Saved as" in view.get("saved").inner_text() and (tmp_path / "report.html").exists()


@pytest.mark.parametrize("width", [1200, 760, 420])
def test_every_control_has_a_name_and_nothing_is_cut_off(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    view = mount(page, asked=[{"rule": "n", "rows": 200}], **hostile())
    wide = cut_off(
        page, "input, select, button, h3, svg, .mn-tablebox, .mn-worths td, .mn-chart text", within=".mn-lines"
    )
    assert (
        unnamed(page) == []
        and wide == []
        and view.errors == []
        and view.requests == [r for r in view.requests if r.startswith(("blob:", "data:", "about:"))]
    )
    shot(page, f"width_{width}")
    if width == 1200:
        page.evaluate("document.body.className = 'dark'")
        page.wait_for_function("document.querySelector('.mnemoscope').dataset.dark === 'true'")
        shot(page, "width_1200_dark")
        left = page.evaluate(
            "() => { const before = window.model.listeners(); window.cleanup(); return [before > 10,"
            " window.model.listeners()]; }"
        )
        assert left == [True, 0]


# --- in JupyterLab

CELLS = [
    SETUP
    + """import time
import numpy as np
from lens import provenance
from tests.provenance.simulated import shuffled, losses
transcript, times = shuffled(1600)
class Slow:
    # answers a batch in a quarter of a second, so that there is time to press Stop
    known = {row.tobytes(): v for row, v in zip(transcript.tokens, losses(times, 0.03, 1))}
    def prompt_logprobs(self, rows):
        time.sleep(0.25)
        return [np.full(len(row) - 1, -self.known[row.tobytes()]) for row in rows]
suspects = {"alice": Slow(), "bob <script>alert(1)</script>": losses(times, 0, 2)}
references = {"another order": provenance.Reference(losses(times, 0, 3), shares_order=False)}
bench = widgets.ProvenanceBench(suspects, transcript, references, rule="n", resamples=999)
bench"""
]


def status(page, wanted):
    page.wait_for_selector(f"[data-testid=provenance-bench][data-status={wanted}]", timeout=READY)


def test_run_stop_switch_and_the_stored_notebook(lab, notebook):
    page = notebook(CELLS, "provenance-bench")
    page.get_by_test_id("run").click()
    for least in (32, 128):
        page.wait_for_function(
            f"() => Number(document.querySelector('[data-testid=answer]').dataset.n) >= {least}", timeout=READY
        )
    assert "only the e-value may be read now" in page.get_by_test_id("verdict").inner_text()
    page.get_by_test_id("stop").click()
    status(page, "stopped")
    page.wait_for_function(
        "() => document.querySelector('[data-testid=verdict]').textContent.includes('Stopped by hand')", timeout=READY
    )
    shot(page, "lab_stopped")
    # in command mode JupyterLab takes letters and arrows from whatever is focused, unless that element says no
    page.locator(".jp-Notebook .jp-InputPrompt").first.click()
    page.get_by_test_id("suspect").focus()
    page.keyboard.press("b")
    page.get_by_test_id("run").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-testid=lines] tbody tr:nth-child(2)", timeout=READY)
    status(page, "complete")
    page.wait_for_function(
        "() => document.querySelector('[data-testid=verdict]').textContent.includes('bob <script>')", timeout=READY
    )
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1 and page.locator(".mnemoscope script").count() == 0
    page.wait_for_function(
        "() => document.querySelector('[class*=mnemoscope-static]').textContent.includes('2 questions asked')",
        timeout=READY,
    )
    with stored_copy(lab, page, "2 questions asked") as copy:
        assert copy.locator("table").count() == 2 and "<script>alert(1)</script>" in copy.inner_text()
        assert copy.locator("img").evaluate("(i) => i.complete && i.naturalWidth > 500")
