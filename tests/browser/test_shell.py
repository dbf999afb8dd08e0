"""The frame that all views share: its parts, its two themes as axe-core judges them, and the keyboard."""

import shutil
from pathlib import Path

import pytest

import widgets
from tests.browser import (
    test_attention_page,
    test_checkpoint_page,
    test_circuit_page,
    test_diffusion_bench,
    test_explorer_page,
    test_injection_bench,
    test_provenance_bench,
    test_subspace_bench,
    test_trajectory_page,
    test_unlearning_page,
    test_vector_bench,
)
from tests.browser.conftest import opened
from tests.browser.looks import AXE, cut_off, needs_axe, scrolling, violations
from tests.memorization.helpers import clean, known
from tests.variants import few
from tests.widgets import fakes
from tests.widgets.test_injection_bench import ITEM, OTHER
from widgets.patch_explorer.examples import EXAMPLES


def curvature(page):
    view = test_subspace_bench.Mounted(
        page,
        widgets.CurvatureView(
            *test_subspace_bench.decomposed(), known(), clean(6, seed=9), layer=test_subspace_bench.UP
        ),
    )
    view.settle(60)
    view.get("run").click()
    view.settle(60)
    return view


VIEWS = {
    "attention": lambda page: test_attention_page.mount(page, "a b c d e"),
    "checkpoints": test_checkpoint_page.mount,
    "circuit": test_circuit_page.mount,
    "curvature": curvature,
    "diffusion": test_diffusion_bench.mount,
    "explorer": test_explorer_page.mount,
    "injection": lambda page: test_injection_bench.mount(page, run=True, items=[ITEM, OTHER]),
    "provenance": lambda page: test_provenance_bench.mount(page, asked=[{}]),
    "subspace": test_subspace_bench.mount,
    "trajectories": test_trajectory_page.mount,
    "unlearning": test_unlearning_page.mount,
    "vectors": lambda page: test_vector_bench.mount(page, run=True),
}


#: Views whose own page tests judge the frame, too; here they are looked at by long tests.
LONG_VIEWS = ("checkpoints", "trajectories", "unlearning")


@pytest.fixture(scope="module", params=few(VIEWS, lambda name: name not in LONG_VIEWS))
def view(request, browser, tmp_path_factory):
    """A view on a page for all who look at its frame."""
    with pytest.MonkeyPatch.context() as patch, opened(browser) as page:
        fakes.without_last_inputs(tmp_path_factory, patch)
        shown = VIEWS[request.param](page)
        page.get_by_test_id("export").evaluate("(drawer) => { drawer.open = true; }")
        yield shown


def test_every_view_has_the_parts_of_the_frame(view):
    root = view.page.locator(".mnemoscope")
    assert root.get_attribute("role") == "region" and root.get_attribute("aria-label")
    assert root.locator("header h2").count() == 1 and view.get("model").inner_text()
    for part in ("run", "stop", "progress", "error", "export", "code", "copy", "save", "svg", "csv"):
        assert root.get_by_test_id(part).count() == 1, part
    assert view.widget.status == "complete" and root.get_attribute("data-status") == "complete"
    assert view.get("error").is_hidden() and view.get("stop").is_disabled()
    compile(view.get("code").input_value(), "code", "exec")
    box = view.get("code")
    assert box.evaluate("(c) => c.scrollHeight <= c.clientHeight + 1"), "the code scrolls with the page"


@needs_axe
def test_contrast_names_and_roles_hold_in_both_themes(view):
    page = view.page
    for theme in ("light", "dark"):
        assert violations(page, theme) == [], theme


@needs_axe
def test_axe_finds_what_is_wrong_where_something_is(page):
    view = test_attention_page.mount(page)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    view.get("model").evaluate("(line) => { line.style.color = '#dddddd'; }")
    found = page.evaluate("async () => (await axe.run('.mnemoscope', { runOnly: ['wcag2aa'] })).violations")
    assert [rule["id"] for rule in found] == ["color-contrast"]


def test_every_control_is_reached_by_the_tabulator(view):
    page = view.page
    expected = page.evaluate(
        """() => [...document.querySelectorAll(
            ".mnemoscope :is(input, select, textarea, button, summary, [tabindex='0'])")]
        .filter((c) => !c.disabled && c.getClientRects().length && c.type !== "radio").length"""
    )
    page.evaluate("() => document.activeElement.blur()")
    seen = set()
    for _ in range(2 * expected + 40):  # round once: it begins where the last click was
        page.keyboard.press("Tab")
        mark = page.evaluate(
            """() => { const c = document.activeElement; if (!c.closest(".mnemoscope")) return null;
            c.dataset.reached ??= Math.random(); return c.dataset.reached; }"""
        )
        seen.add(mark)
    assert len(seen - {None}) >= expected


def test_examples_are_a_menu_that_leads_to_the_example_asked(page):
    view = test_explorer_page.mount(page, None, run=False)
    menu = view.get("examples")
    names = [option.inner_text() for option in menu.locator("option").all()]
    assert names == ["choose one …", *(example.name for example in EXAMPLES)]
    menu.select_option("1")
    view.settle()
    assert view.get("clean").input_value() == "The capital of France is the city of"
    assert view.widget.status == "complete" and menu.input_value() == "1"
    view.get("clean").fill("a b c")
    view.get("corrupted").fill("a x c")
    view.get("run").click()
    view.settle()
    assert menu.locator("option[value='-1']").inner_text() == "your last input" and menu.input_value() == "-1"


def test_nothing_scrolls_inside_the_page(view):
    assert scrolling(view.page) == []


WORDS = " ".join(f"word{i}" for i in range(300))
DEEP = {
    "attention": lambda page: test_attention_page.mount(page, WORDS, model=fakes.FakeModel(30, 9)),
    "curvature": lambda page: test_subspace_bench.deep_spectrum(page),
    "explorer": lambda page: test_explorer_page.mount(page, layers=30),
    "injection": lambda page: test_injection_bench.mount(page, run=True, layers=30, heads=9),
    "vectors": lambda page: test_vector_bench.mount(page, run=True, model=fakes.FakeModel(30, 9)),
}


@pytest.mark.parametrize("name", DEEP)
def test_nothing_scrolls_inside_the_page_at_thirty_layers(name, page):
    shown = DEEP[name](page)
    page.wait_for_selector(".mnemoscope[data-ready=true]")
    assert shown.errors == [] and scrolling(page) == []
    assert cut_off(page, "input, select, button, h3, .mn-token, canvas.mn-rows, .mn-pairs") == []


def test_what_scrolls_is_seen_where_something_does(page):
    view = test_attention_page.mount(page, WORDS)
    view.get("strip").evaluate("(strip) => { strip.style.maxHeight = '60px'; strip.style.overflow = 'auto'; }")
    assert len(scrolling(page)) == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_reads_what_ships():
    import subprocess

    folder = Path(widgets.__path__[0]) / "static"
    for path in sorted(folder.glob("*.js")):
        code = f"import({path.as_uri()!r}).then((m) => process.exit(typeof m.default.render === 'function' ? 0 : 1))"
        assert subprocess.run(["node", "--input-type=module", "-e", code]).returncode == 0, path.name
