"""A view that was saved shows the same picture on another page, and answers there."""

import widgets
from tests.browser.page_model import Mounted
from tests.memorization.helpers import clean, known
from tests.widgets.test_provenance_bench import ask, bench, world
from tests.widgets.test_subspace_bench import speaking

SECONDS = 60


def picture(view):
    """What is written on the page, the kernel's part of it aside, and its charts."""
    page = view.page
    page.wait_for_selector(".mnemoscope[data-ready=true]")
    page.evaluate("() => document.activeElement.blur()")
    page.mouse.move(1, 1)
    page.wait_for_timeout(200)
    charts = page.locator(".mnemoscope svg").evaluate_all("(charts) => charts.map((chart) => chart.outerHTML)")
    return page.locator(".mnemoscope").inner_text(), charts, page.locator(".mnemoscope").screenshot()


def another_page(page):
    return page.context.new_page()


def test_a_curve_is_the_same_on_another_page(page, tmp_path):
    model, sets = speaking(), ({"known": known()}, {"random": clean(30)})
    view = Mounted(page, widgets.SubspaceBench(model, *sets, sparsities=(0.04, 0.1, 0.3)))
    view.settle(SECONDS)
    view.get("run").click()
    view.settle(SECONDS)
    view.get("at").focus()
    page.keyboard.press("ArrowRight")
    view.settle(SECONDS)
    path = view.widget.save_state(tmp_path / "x.json")
    again = Mounted(another_page(page), widgets.restore(path, model, *sets))
    again.settle(SECONDS)
    text, charts, pixels = picture(again)
    assert (text, charts, pixels) == picture(view) and len(charts) >= 4 and "No curve yet" not in text
    again.get("at").focus()
    again.page.keyboard.press("ArrowLeft")
    again.get("put").click()
    again.settle(SECONDS)
    assert "In force: contrast, sparsity 0.1" in again.get("force").inner_text() and again.errors == []
    again.widget.undo()


def test_every_question_of_provenance_is_the_same_on_another_page(page, tmp_path):
    view = bench(resamples=199)
    for fields in ({"rule": "n", "rows": 300}, {"suspect": "bob", "rule": "n", "rows": 300}):
        ask(view, **fields)
    path = view.save_state(tmp_path / "x.json")
    transcript, suspects, references = world()
    given = (suspects, {"order": transcript}, references)
    shown = Mounted(page, view)
    again = Mounted(another_page(page), widgets.restore(path, *given, resamples=199))
    again.settle(SECONDS)
    assert picture(again) == picture(shown)
    again.get("lines").get_by_role("button", name="alice").click()
    again.settle(SECONDS)
    assert "alice" in again.get("what").inner_text() and again.errors == []
