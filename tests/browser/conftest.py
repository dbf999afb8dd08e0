"""A Chromium for the tests of the views; they are left out, and say so, where there is none."""

import os
import re
import shutil
from contextlib import contextmanager

import pytest

from tests.widgets.fakes import without_last_inputs

CHROMIUM = (
    os.environ.get("MNEMOSCOPE_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
MISSING = "no Chromium was found; install Debian's `chromium` package, or name one in MNEMOSCOPE_CHROMIUM"
NO_PLAYWRIGHT = "Python Playwright is not installed; pip install playwright"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.browser)


@pytest.fixture(autouse=True)
def inputs(tmp_path_factory, monkeypatch):
    """The folder of the last inputs of this test's own process."""
    return without_last_inputs(tmp_path_factory, monkeypatch)


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason=NO_PLAYWRIGHT)
    if not CHROMIUM:
        pytest.skip(MISSING)
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


@contextmanager
def opened(browser):
    """A page in a context of its own."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, accept_downloads=True)
    try:
        yield context.new_page()
    finally:
        context.close()


@pytest.fixture
def page(browser):
    with opened(browser) as shown:
        yield shown


@pytest.fixture(scope="session")
def lab(tmp_path_factory, browser, kernels):
    """A JupyterLab for all who look at a notebook of their own."""
    from tests.browser.lab import Lab

    server = Lab(tmp_path_factory.mktemp("lab"), **kernels)
    yield server
    server.close()


@pytest.fixture
def notebook(request, lab, page):
    """A page on a notebook that has run, and what went wrong in it: `notebook(cells)`."""
    from tests.browser.lab import READY, PlaywrightTimeout

    page.set_viewport_size({"width": 1500, "height": 1200})
    page.problems, page.outside = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("dialog", lambda dialog: (page.problems.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on(
        "request",
        lambda request: (
            page.outside.append(request.url)
            if not re.match(rf"(blob|data|about):|{lab.address}|ws://127", request.url)
            else None
        ),
    )
    count = iter(range(100))

    def show(cells, ready="patch-explorer"):
        lab.open(page, lab.write(f"{request.path.stem}-{request.node.name}{next(count)}.ipynb", cells))
        try:
            page.wait_for_selector(f"[data-testid={ready}][data-ready=true]", timeout=READY)
        except PlaywrightTimeout:
            page.screenshot(path=lab.folder / "not_ready.png")
            raise AssertionError(
                f"{ready} is not ready; see {lab.folder}/not_ready.png; outputs:"
                f" {page.locator('.jp-OutputArea-output').all_inner_texts()}"
            ) from None
        return page

    yield show
    lab.free()
    assert page.problems == []
    assert page.outside == [], "a view must load nothing from elsewhere"
