"""UnlearningBench in a real browser, with its Python side and a tiny model behind it."""

import pytest

from tests.browser.looks import AXE, contrasts, cut_off, unlabelled, violations
from tests.browser.page_model import Mounted
from tests.models import speaking
from tests.widgets.test_unlearning_bench import bench


def mount(page, *, run=True, twin=True, **options):
    shown = Mounted(page, bench(speaking("llama"), speaking("llama", 1) if twin else None, run=run, **options))
    shown.get("rows").evaluate("(drawer) => { drawer.open = true; }")
    return shown


def test_rows_method_and_dose_are_chosen_run_attacked_and_put_back(page, tmp_path):
    shown = mount(page, run=False)
    assert shown.get("empty").is_visible() and not shown.get("curves").is_visible()
    shown.get("rows").locator("select[data-row='4']").select_option("neither")
    shown.get("method").select_option("npo")
    shown.get("steps").fill("2")
    shown.get("run").click()
    shown.settle(60)
    assert shown.widget.status == "complete" and len(shown.widget._shown.forget) == 4
    assert shown.get("rows").locator("summary").inner_text() == "Rows: 4 to forget, 5 to retain, 1 left out"
    chart = shown.get("curves").locator("svg[role=img]").first
    label = chart.get_attribute("aria-label")
    assert "forget probability by dose" in label and "the twin, which never had the rows ends at" in label
    assert (
        chart.locator("[data-arm=npo]").count() == 1 and "training on the retain set" in shown.get("key").inner_text()
    )
    dashes = (
        shown.get("key").locator("line").evaluate_all("(all) => all.map((one) => one.getAttribute('stroke-dasharray'))")
    )
    assert len(set(dashes)) == len(dashes) >= 4, "no two lines of the key look alike"
    shown.get("attack-run").click()
    shown.settle(60)
    assert "npo after int4" in shown.get("arms").inner_text()
    shown.get("put").click()
    shown.settle(60)
    assert "answered by the unlearned one" in shown.get("force").inner_text()
    shown.get("undo").click()
    shown.settle(60)
    assert "unchanged from" in shown.get("force").inner_text() and shown.get("undo").is_disabled()
    page.get_by_test_id("export").evaluate("(drawer) => { drawer.open = true; }")
    files = shown.downloads(("svg", "csv"), tmp_path)
    assert files["csv"].read_text().splitlines()[0] == '"measure","arm","dose","mean","low","high"'
    assert "forget probability" in files["svg"].read_text() and unlabelled(page) == [] and shown.errors == []
    for theme in ("light", "dark") if AXE.exists() else ():
        assert violations(page, theme) == [], theme


@pytest.mark.long
@pytest.mark.parametrize("width", [420, 1600])
def test_narrow_and_wide_pages_do_not_overflow(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    shown = mount(page, twin=False)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert cut_off(page, "input, select, button, h3, svg", ".mn-tablebox") == []
    assert shown.get("no-twin").is_visible()
    assert min(contrasts(page, ".mn-unlearning .mn-note")) > 4.5 and shown.errors == []
