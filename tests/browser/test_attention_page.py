"""AttentionView in a real browser, with its Python side and known patterns."""

import pytest

import widgets
from lens.prompts import Pair
from tests.browser.looks import unlabelled
from tests.browser.page_model import Mounted
from tests.widgets import fakes

TEXT = f"a b {fakes.SCRIPT} d\te \n"
N = len(fakes.words(TEXT))


def mount(page, text=TEXT, model=None, **options):
    view = widgets.AttentionView(model or fakes.FakeModel(4, 3), text, compute=fakes.attention, **options)
    assert view.wait(10)
    return Mounted(page, view)


def test_tokens_heads_and_weights_are_shown_as_text(page):
    view = mount(page, layer=1, head=1)
    shown = view.get("strip").locator("[role=option]").all_inner_texts()
    assert shown == ["a", "·b", "·<script>alert(1)</script>", "·d⇥e", "·⏎"]
    assert view.get("head-title").inner_text() == "Head 1.1"
    assert view.get("top").locator("li").first.inner_text().split("\n") == ["2 ·<script>alert(1)</script>", "0.800"]
    assert page.locator("[data-testid=attention-view] script").count() == 0 and view.errors == []


def test_clicking_a_thumbnail_chooses_the_head(page):
    view = mount(page)
    page.mouse.click(*view.at("heads", 2, 3, 3, 4, flip=False))
    view.settle()
    assert (view.widget.layer, view.widget.head) == (3, 2)
    assert (
        view.get("head-title").inner_text() == "Head 3.2"
        and view.get("layer").input_value() == "3"
        and view.get("head").input_value() == "2"
    )


def test_the_keyboard_chooses_heads_and_tokens(page):
    view = mount(page)
    view.get("heads").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    view.settle()
    assert (view.widget.layer, view.widget.head) == (2, 1)
    view.get("strip").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    view.settle()
    assert view.widget.token == 1 and "Token 1, ·b, attends to:" in view.get("readout").inner_text()
    active = view.get("strip").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    view.settle()
    assert view.widget.token == N - 1


def test_hover_over_the_map_and_the_tokens_reads_out_the_weight(page):
    view = mount(page, layer=1, head=0)
    page.mouse.move(*view.at("pattern", 3, 2, N, N, flip=False))
    assert view.get("pattern-tip").inner_text().split("\n") == [
        "query 3 ·d⇥e",
        "key 2 ·<script>alert(1)</script>",
        "attention 0.800",
    ]
    page.mouse.move(*view.at("pattern", 1, 3, N, N, flip=False))
    assert "later token: masked" in view.get("pattern-tip").inner_text()
    view.get("strip").locator("[data-index='3']").hover()
    assert view.get("readout").inner_text() == "·⏎ attends to ·d⇥e: 0.800"


def test_reading_backwards_shows_who_attends_to_the_token(page):
    view = mount(page, layer=1, head=0)
    view.get("reverse").select_option("to")
    view.get("strip").locator("[data-index='0']").click()
    view.settle()
    assert view.get("readout").inner_text() == "a is attended by a: 1.00", "the mouse is still over the token"
    page.mouse.move(1, 1)
    assert view.get("readout").inner_text() == "Token 0, a, is attended by:"
    assert view.get("top").locator("li").count() == N


def test_hiding_the_first_token_says_what_it_takes(page):
    view = mount(page, layer=1, head=0)
    view.get("hide-first").check()
    view.settle()
    assert "the hidden first token takes 0.200" in view.get("readout").inner_text()
    assert "0 a" not in view.get("top").inner_text()


def test_scales_keep_zero_and_change_the_bar(page):
    view = mount(page)
    for scale, high in (("full", "1.00"), ("root", "1.00"), ("head", "1.00")):
        view.get("scale").select_option(scale)
        view.settle()
        assert view.get("colour-bar").get_attribute("aria-label") == f"Colour scale: attention weight, from 0 to {high}"
    assert view.errors == []


def test_a_pair_shows_clean_corrupted_and_difference(page):
    view = mount(page, Pair("a b c", corrupted="a x c", answer=" y"))
    view.get("which").select_option("difference")
    view.settle()
    assert view.get("strip").locator("[role=option]").all_inner_texts() == ["a", "·b|·x", "·c"]
    assert "clean minus corrupted" in view.get("colour-bar").get_attribute("aria-label")


def test_a_new_text_is_computed_and_errors_are_shown(page):
    view = mount(page, "")
    assert view.get("empty").is_visible()
    view.get("text").fill("x y z")
    view.get("text").press("Control+Enter")
    view.settle()
    assert view.get("strip").locator("[role=option]").all_inner_texts() == ["x", "·y", "·z"]

    def broken(model, text):
        raise ValueError("text: too long for the model")

    view.widget._attention = broken
    view.get("text").fill("other")
    view.get("text").press("Control+Enter")
    view.settle()
    assert "too long" in page.get_by_role("alert").inner_text() and not view.get("strip").is_visible()


def test_long_texts_and_dark_pages(page):
    view = mount(page, " ".join(f"w{i}" for i in range(400)))
    page.evaluate("document.body.className = 'dark'")
    page.wait_for_timeout(100)
    view.get("pattern").focus()
    page.keyboard.press("End")
    page.keyboard.press("PageDown")
    assert "masked" in view.get("pattern-cell").get_attribute("aria-label") and view.errors == []


def test_every_control_has_a_name(page):
    mount(page, Pair("a b c", corrupted="a x c", answer=" y"))
    assert unlabelled(page) == []


@pytest.mark.parametrize("width", [420, 1600])
def test_narrow_and_wide_pages_do_not_overflow(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    mount(page, TEXT)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
