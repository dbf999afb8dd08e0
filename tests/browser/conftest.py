"""A Chromium for the tests of the views; they are left out, and say so, where there is none."""

import os
import shutil

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


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, accept_downloads=True)
    opened = context.new_page()
    yield opened
    context.close()
