"""CheckpointView in a real browser, with its Python side and tiny models behind it."""

import pytest

from tests.browser.looks import AXE, contrasts, cut_off, unlabelled, violations
from tests.browser.page_model import Mounted
from tests.models import speaking
from tests.widgets.test_checkpoint_view import view


def mount(page, *, run=True, **options):
    return Mounted(page, view([speaking("llama", seed) for seed in range(3)], run=run, **options))


def test_a_cell_is_chosen_by_key_and_by_click_its_copy_is_told_and_the_page_is_read_in_both_themes(page, tmp_path):
    shown = mount(page)
    caption = shown.get("caption")
    assert "mean over cells" in caption.inner_text() and "of two runs of one recipe" in caption.inner_text()
    page.mouse.click(*shown.at("map", 1, 2, 3, 4))
    shown.settle()
    assert shown.widget.cell == {"layer": 1, "position": 2}
    side = shown.get("side").inner_text()
    assert "layer 1, position 2, token w3" in side and "A with B’s state" in side and "A as it is" in side
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    shown.settle()
    assert shown.widget.cell == {"layer": 2, "position": 3} and shown.widget.detail["status"] == "ready"
    shown.get("show").select_option("effect")
    shown.settle()
    assert "log-odds of" in caption.inner_text()
    shown.get("against").select_option("twin")
    shown.settle()
    assert shown.widget.against == "twin" and "beyond another run’s state" in shown.get("colour-bar").inner_text()
    shown.get("direction").select_option("a into b")
    shown.settle()
    assert shown.widget.map["direction"] == "a into b" and "B with A’s state" in shown.get("side").inner_text()
    page.get_by_test_id("export").evaluate("(drawer) => { drawer.open = true; }")
    files = shown.downloads(("svg", "csv"), tmp_path)
    assert (
        files["csv"].read_text().splitlines()[0].startswith('"layer","position","token","distance","distance_beyond_')
    )
    assert "effect of the copied state" in files["svg"].read_text()
    assert unlabelled(page) == [] and shown.errors == []
    for theme in ("light", "dark") if AXE.exists() else ():
        assert violations(page, theme) == [], theme


@pytest.mark.long
@pytest.mark.parametrize("width", [420, 1600])
def test_narrow_and_wide_pages_do_not_overflow(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    shown = mount(page)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert cut_off(page, "input, select, button, h3, .mn-predictions") == []
    assert min(contrasts(page, ".mn-checkpoints .mn-note")) > 4.5 and shown.errors == []


@pytest.mark.long
def test_empty_and_failed_are_told_where_the_map_would_be(page):
    shown = mount(page, run=False)
    assert shown.get("empty").is_visible() and not shown.get("map").is_visible()
    shown.get("foil").fill("w5")
    shown.get("run").click()
    shown.settle()
    assert "answer: is empty" in shown.get("error").inner_text() and not shown.get("empty").is_visible()
    shown.get("foil").fill("")
    shown.get("run").click()
    shown.settle()
    assert shown.get("map").is_visible() and shown.get("error").is_hidden() and shown.errors == []
