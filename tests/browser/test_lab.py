"""The views in a real JupyterLab: kernel, browser and back, on a real model and on a small one with hostile tokens."""

import pytest

from tests.browser.lab import HOSTILE, LAYERS_SHOWN, READY, SETUP, point, status
from tests.browser.stored import stored_copy

IOI = """pair = lens.Pair("When John and Mary went to the shops, John gave the bottle to",
                 corrupted="When John and Mary went to the shops, Mary gave the bottle to",
                 answer=" Mary", foil=" John")
"""
REAL = [
    SETUP + 'model = lens.load("smollm2")\n' + IOI,
    'explorer = widgets.PatchExplorer(model, pair, site="resid_post")\nexplorer',
]


@pytest.mark.slow
def test_smollm2_run_click_keyboard_and_stop(notebook, smollm2):
    page = notebook(REAL)
    assert "smollm2 · 30 layers · 9 heads · cpu · float32" in page.get_by_test_id("model").inner_text()
    page.get_by_test_id("run").click()
    status(page, "running")
    status(page, "complete")
    assert page.get_by_test_id("map").get_attribute("aria-rowcount") == "30"

    last = int(page.get_by_test_id("map").get_attribute("aria-colcount")) - 1
    page.mouse.move(*point(page, "map", 29, last))
    assert (
        "layer 29" in page.get_by_test_id("map-tip").inner_text()
        and "normalized" in page.get_by_test_id("map-tip").inner_text()
    )
    page.mouse.click(*point(page, "map", 29, last))
    page.wait_for_selector("[data-testid=side][data-status=ready]", timeout=READY)
    assert page.get_by_test_id("side").get_attribute("data-cell") == f"29,{last}"
    lists = page.get_by_test_id("predictions").locator("ol")
    assert [lists.nth(i).locator("li").count() for i in range(3)] == [10, 10, 10]
    assert lists.nth(0).locator("li").first.inner_text().split("\n")[0] == "·Mary", (
        "the last residual stream at the last token decides the answer"
    )
    assert lists.nth(0).inner_text() == lists.nth(2).inner_text()

    # JupyterLab binds these keys to its own commands; inside the view they belong to the view.
    for key in ("ArrowDown", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector(f"[data-testid=side][data-status=ready][data-cell='28,{last - 1}']", timeout=READY)
    page.keyboard.press("p")
    page.wait_for_selector("[data-testid=pins] tbody tr", timeout=READY)
    assert f"layer 28, position {last - 1}" in page.get_by_test_id("pins").inner_text()

    # A sweep long enough to stop: many tokens, different from the first.
    story = " We walked along the river in the rain and talked about the old days, the boats and the mill." * 3
    for name, first in (("clean", "John"), ("corrupted", "Anna")):
        page.get_by_test_id(name).fill(f"{first} came.{story} And then")
    page.get_by_test_id("answer").fill(" John")
    page.get_by_test_id("foil").fill(" Anna")
    page.get_by_test_id("run").click()
    status(page, "running")
    page.wait_for_function(LAYERS_SHOWN, timeout=READY)
    page.get_by_test_id("stop").click()
    status(page, "stopped", 60_000)
    assert (
        page.get_by_test_id("progress").inner_text().startswith("stopped: layers ")
        and "partial" in page.get_by_test_id("caption").inner_text()
    )


@pytest.mark.slow
def test_a_waiting_cell_fills_the_map_and_an_interrupt_keeps_it(notebook, smollm2):
    """The kernel's main thread is busy in `run(wait=True)`; the worker thread still draws, and the kernel's own stop
    button ends it.
    """
    story = "the river and the rain and the old mill " * 8
    pair = f"pair = lens.Pair('John saw {story}and', corrupted='Anna saw {story}and', answer=' John', foil=' Anna')"
    page = notebook([REAL[0] + pair, REAL[1], "explorer.run(wait=True)", "explorer.status"])
    status(page, "running")
    page.wait_for_function(LAYERS_SHOWN, timeout=READY)
    page.locator("[data-command='notebook:interrupt-kernel'], [data-command='kernelmenu:interrupt']").first.click()
    page.wait_for_selector(".jp-OutputArea-output:has-text('KeyboardInterrupt')", timeout=60_000)
    status(page, "stopped")
    assert page.get_by_test_id("progress").inner_text().startswith("stopped: layers ")


def test_hostile_tokens_are_text_in_both_views(notebook):
    page = notebook(HOSTILE, "attention-view")
    page.get_by_test_id("patch-explorer").get_by_test_id("run").click()
    status(page, "complete")
    page.mouse.move(*point(page, "map", 1, 1))
    assert "<script>alert(1)</script>" in page.get_by_test_id("map-tip").inner_text()
    page.mouse.click(*point(page, "map", 1, 1))
    page.wait_for_selector("[data-testid=side][data-status=ready]", timeout=READY)
    assert "<script>alert(1)</script>" in page.get_by_test_id("side").inner_text()
    page.wait_for_selector("[data-testid=strip] [role=option]", timeout=READY)
    assert "<script>alert(1)</script>" in page.get_by_test_id("strip").inner_text()
    assert page.locator(".mnemoscope script").count() == 0


def test_an_error_is_shown_in_the_view(notebook):
    page = notebook(HOSTILE[:2])
    page.get_by_test_id("corrupted").fill("w4 w5")
    page.get_by_test_id("run").click()
    status(page, "error")
    assert page.get_by_test_id("error").is_visible() and "2" in page.get_by_test_id("error").inner_text()


def test_a_stored_notebook_shows_the_map_without_a_kernel(lab, notebook):
    page = notebook(HOSTILE[:2])
    page.get_by_test_id("run").click()
    status(page, "complete")
    with stored_copy(lab, page, "normalized effect") as copy:
        table = copy.locator("table")
        assert table.is_visible() and table.locator("td").count() >= 8
        assert "<script>alert(1)</script>" in table.inner_text()


DOLLARS = [
    SETUP
    + """from IPython.display import HTML
from tests import models as tiny_models
from tests.models import word_tokenizer
model = lens.models.wrap(tiny_models.tiny("llama"), word_tokenizer(), "a$b_1$c")
pair = lens.Pair("w3 w5 w6", corrupted="w4 w5 w6", answer=" w7", foil=" w8")
HTML("<p id='typeset'>costs $x_1$</p>")
""",
    "lens.patch(model, pair, 'resid_pre', progress=False)",
    "widgets.PatchExplorer(model, pair)",
]


@pytest.mark.long
def test_a_dollar_in_a_name_is_no_mathematics(notebook):
    page = notebook(DOLLARS)
    # the lab does typeset what it is given as HTML: else this says nothing
    page.wait_for_selector("#typeset mjx-container", timeout=READY, state="attached")
    result = page.locator(".mnemoscope-result").first
    assert "a$b_1$c" in result.inner_text() and "a$b_1$c" in page.get_by_test_id("model").inner_text()
    assert page.locator("mjx-container").count() == 1
