"""TrajectoryView in a real browser, with its Python side and a tiny model behind it."""

import pytest

from tests.browser.looks import AXE, contrasts, cut_off, unlabelled, violations
from tests.browser.page_model import Mounted
from tests.models import speaking
from tests.widgets.test_trajectory_view import view


def mount(page, *, run=True, **options):
    return Mounted(page, view(speaking(seed=2), run=run, **options))


def test_a_gate_is_fitted_a_prompt_is_looked_at_token_by_token_and_the_page_is_read_in_both_themes(page, tmp_path):
    shown = mount(page, run=False)
    assert shown.get("empty").is_visible() and not shown.get("plane").is_visible()
    shown.get("strength").fill("2")
    shown.get("run").click()
    shown.settle(60)
    assert shown.widget.status == "complete" and shown.widget.picture["strength"] == 2
    assert "fitted on the 18 train items" in shown.get("caption").inner_text()
    label = shown.get("plane").locator("svg[role=img]").get_attribute("aria-label")
    assert "over 3 layers" in label and "count at" in label and "the prompt at" in label
    assert shown.get("plane").locator("[data-way]").count() == 4
    shown.get("tokens").focus()
    page.keyboard.press("Home")
    assert "Token 0" in shown.get("gate-said").inner_text()
    shown.get("item").select_option("0")
    shown.settle(60)
    assert shown.widget.detail["item"] == 0 and shown.get("gate").locator("[data-part=threshold]").count() == 1
    assert "Without the edit" in shown.get("answers").inner_text()
    assert "held out (held out)" in shown.get("rates").inner_text()
    shown.get("layer").press("ArrowRight")
    shown.settle(60)
    assert shown.widget.layer == 2 and "behind block 2" in shown.get("caption").inner_text().lower()
    page.get_by_test_id("export").evaluate("(drawer) => { drawer.open = true; }")
    files = shown.downloads(("svg", "csv"), tmp_path)
    assert files["csv"].read_text().splitlines()[0].startswith('"layer","item","label","text","nearest","margin"')
    assert "first axis of the plane" in files["svg"].read_text() and unlabelled(page) == [] and shown.errors == []
    for theme in ("light", "dark") if AXE.exists() else ():
        assert violations(page, theme) == [], theme


@pytest.mark.long
@pytest.mark.parametrize("width", [420, 1600])
def test_narrow_and_wide_pages_do_not_overflow(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    shown = mount(page)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert cut_off(page, "input, select, button, h3, svg", ".mn-tablebox") == []
    assert min(contrasts(page, ".mn-trajectories .mn-note")) > 4.5 and shown.errors == []
