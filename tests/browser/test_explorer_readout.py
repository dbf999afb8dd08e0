"""What stands below PatchExplorer's predictions in a real browser: a lens and a dictionary's features."""

from types import SimpleNamespace

from tests.browser.looks import contrasts, unlabelled, unnamed
from tests.browser.test_explorer_page import COLUMNS, LAYERS, mount
from tests.widgets import fakes

READOUT = {
    "lens": {
        "title": "Residual stream after layer 4, position 8",
        "columns": [
            [f"{name}, {which} run", [[" Mary", 0.5], [" John", 0.25], [fakes.SCRIPT, 0.1]]]
            for name in ("Jacobian lens", "logit lens")
            for which in ("clean", "corrupted")
        ],
    },
    "features": {
        "title": "Features of sae: resid_post of layer 4, position 8",
        "more": "",
        "strongest": [[7, "names of people", 4.0, 3.5], [11, fakes.SCRIPT, 0.0, 2.0]],
        "different": [[11, fakes.SCRIPT, 0.0, 2.0], [7, "names of people", 4.0, 3.5]],
        "l0": [12.0, 14.0],
        "error": [0.31, 0.29],
        "labelled": True,
    },
}


def test_the_lens_and_the_features_stand_below_the_predictions(page):
    view = mount(page)
    view.widget._streams = SimpleNamespace(of=lambda run, facts: READOUT)
    page.mouse.click(*view.at("map", 4, 8, LAYERS, COLUMNS))
    view.settle()
    assert view.get("lens").locator(".mn-predictions").count() == 4
    assert view.get("lens").get_by_label("answer", exact=True).count() == 4
    rows = view.get("features").locator("tbody tr")
    assert rows.first.inner_text().split() == ["7", "names", "of", "people", "4.00", "3.50"]
    assert fakes.SCRIPT in rows.nth(1).inner_text() and "off" in rows.nth(1).inner_text()
    view.get("feature-order").focus()
    page.keyboard.press("ArrowDown")
    assert rows.first.get_attribute("data-feature") == "11"
    assert "active: 12 and 14" in view.get("features").inner_text()
    assert unlabelled(page) == [] and unnamed(page) == []
    for theme in ("light", "dark"):
        page.evaluate("(theme) => { document.body.className = theme; }", theme)
        page.wait_for_selector(f".mnemoscope[data-dark={'true' if theme == 'dark' else 'false'}]")
        assert min(contrasts(page, ".mn-readout :is(h3, th, td, .mn-note)")) >= 4.5, theme
    view.widget._streams = SimpleNamespace(
        of=lambda run, facts: {"features": {"title": "t", "more": "", "note": "none"}}
    )
    page.mouse.click(*view.at("map", 3, 8, LAYERS, COLUMNS))
    view.settle()
    assert view.get("features").inner_text().split() == ["t", "none"] and not view.get("lens").count()
    assert view.errors == []


def test_the_depth_is_measured_by_a_button_and_said_below_the_map(page):
    view = mount(page)
    rows = [[layer, 1 - layer / LAYERS, layer / LAYERS] for layer in range(LAYERS + 1)]
    told = {"status": "ready", "text": f"Depth of reading: layer 4. {fakes.SCRIPT}", "rows": rows}
    # what lens.depth gives is judged beside the view; here it is what a person sees of it
    view.widget._measure_depth = lambda run: view.widget.publish(depth={"run": run.number, **told})
    assert view.get("depth").inner_text() == ""
    view.get("measure-depth").focus()
    page.keyboard.press("Enter")
    view.settle()
    assert told["text"] in view.get("depth").inner_text()
    view.get("depth").locator("summary").click()
    assert view.get("depth").locator("tbody tr").count() == LAYERS + 1
    assert unlabelled(page) == [] and unnamed(page) == []
    for theme in ("light", "dark"):
        page.evaluate("(theme) => { document.body.className = theme; }", theme)
        page.wait_for_selector(f".mnemoscope[data-dark={'true' if theme == 'dark' else 'false'}]")
        assert min(contrasts(page, "[data-testid=depth] :is(p, th, td, summary)")) >= 4.5, theme
    assert view.errors == []
