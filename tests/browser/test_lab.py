"""The views in a real JupyterLab: kernel, browser and back, on a real model and on a small one with hostile tokens."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from lens.cache import cache_dir
from tests.browser.stored import stored_copy

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Python Playwright is not installed; pip install playwright"
)
PlaywrightTimeout = playwright.TimeoutError
ROOT = Path(__file__).parents[2]
READY = 90_000
#: What has become of the code cells of the notebook in front, empty ones aside, from its model: a cell out of sight is
#: not in the page.
CELLS = """[...window.jupyterapp.shell.currentWidget.content.model.cells]
    .filter((cell) => cell.type === "code" && cell.sharedModel.source.trim())
    .map((cell) => cell.executionState === "running" ? "busy" : cell.executionCount === null ? "new" : "done")"""
#: Whether the notebook in front has a kernel that answers.
CONNECTED = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
    const kernel = context?.session?.kernel;
    return context?.isReady && kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""
#: Whether the notebook of that name is in front, with its cells.
SHOWN = """(name) => {
    const panel = window.jupyterapp.shell.currentWidget;
    return panel?.context?.path === name && panel.node.querySelector(".jp-Notebook .jp-Cell") !== null;
}"""
LAYERS_SHOWN = """() => {
    const shown = document.querySelector("[data-testid=patch-explorer] [data-testid=progress]");
    return /^layers \\d+/.test(shown.textContent);
}"""

SETUP = f"""import sys
sys.path.insert(0, {str(ROOT)!r})
import torch
torch.set_num_threads(2)
import lens, widgets
"""
IOI = """pair = lens.Pair("When John and Mary went to the shops, John gave the bottle to",
                 corrupted="When John and Mary went to the shops, Mary gave the bottle to",
                 answer=" Mary", foil=" John")
"""
REAL = [
    SETUP + 'model = lens.load("smollm2")\n' + IOI,
    'explorer = widgets.PatchExplorer(model, pair, site="resid_post")\nexplorer',
]
HOSTILE = [
    SETUP
    + """from tests import models as tiny_models
from tests.conftest import word_tokenizer
from tokenizers import Tokenizer, models as vocabularies, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = {f"w{i}": i for i in range(96)} | {"<script>alert(1)</script>": 96}
inner = Tokenizer(vocabularies.WordLevel(words, unk_token="w0")); inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="w0", unk_token="w0", pad_token="w0")
model = lens.models.wrap(tiny_models.tiny("llama"), tokenizer, "tiny")
prompts = [f"{word} <script>alert(1)</script> w5 w6" for word in ("w3", "w4")]
pair = lens.Pair(prompts[0], corrupted=prompts[1], answer=" w7", foil=" w8")
""",
    "explorer = widgets.PatchExplorer(model, pair); explorer",
    "widgets.AttentionView(model, pair.clean)",
]


class Lab:
    """A JupyterLab on one folder; `open` shows a notebook with these cells and runs them all."""

    def __init__(self, folder: Path, python: str = sys.executable, **environment: str) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        config = folder / "config.py"
        config.write_text(
            "from jupyterlab.galata import configure_jupyter_server\nconfigure_jupyter_server(c)\nc.ServerApp.root_dir"
            f" = {str(folder)!r}\n"
        )
        # what is fetched is that of this machine; what views keep is the lab's own
        (folder / "cache").mkdir()
        (folder / "temporary").mkdir()
        for held in cache_dir().iterdir() if cache_dir().is_dir() else ():
            if held.name != "views":
                (folder / "cache" / held.name).symlink_to(held)
        environment = os.environ | {
            "MNEMOSCOPE_CACHE": str(folder / "cache"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "TMPDIR": str(folder / "temporary"),
            "OMP_WAIT_POLICY": "PASSIVE",
            "HF_HUB_OFFLINE": "1",
            **environment,
        }
        self.log = (folder / "lab.log").open("w")
        self.process = subprocess.Popen(
            [
                python,
                "-m",
                "jupyterlab",
                "--config",
                str(config),
                "--no-browser",
                "--allow-root",
                f"--port={port}",
                "--ip=127.0.0.1",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
        )
        for _ in range(90):
            try:
                urllib.request.urlopen(f"{self.address}/lab", timeout=2)
                return
            except OSError:
                assert self.process.poll() is None, (folder / "lab.log").read_text()[-2000:]
                time.sleep(1)
        self.close()
        raise AssertionError("JupyterLab did not start: " + (folder / "lab.log").read_text()[-2000:])

    def write(self, name: str, sources: list[str]) -> str:
        cells = [
            {
                "cell_type": "code",
                "id": f"c{i}",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for i, source in enumerate(sources)
        ]
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        (self.folder / name).write_text(
            json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": cells})
        )
        return name

    def show(self, page, name: str) -> None:
        """A notebook in a page that may show another: JupyterLab itself is loaded once."""
        if not page.url.startswith(self.address):
            self.open(page, name, run=False)
            return
        page.evaluate("(path) => { window.jupyterapp.commands.execute('docmanager:open', { path }) }", name)
        page.wait_for_function(SHOWN, arg=name, timeout=READY)

    def open(self, page, name: str, *, run: bool = True) -> None:
        # A workspace of its own: a notebook that an earlier test left open is not restored beside this one.
        page.goto(f"{self.address}/lab/workspaces/{name.removesuffix('.ipynb')}/tree/{name}")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=READY)
        page.wait_for_selector(".jp-NotebookPanel-toolbar", timeout=READY)
        if run:
            self.run_all(page)

    def run_all(self, page) -> None:
        """Run every cell once, in order. What is sent before a kernel is connected JupyterLab drops, sometimes the
        first cells only: so the kernel is waited for, and the order given again where a cell went back to an empty
        prompt.
        """
        tried = []
        for _ in range(12):
            if (accept := page.locator(".jp-Dialog .jp-mod-accept")).count():
                try:
                    accept.first.click(timeout=2000)  # which kernel, or a greeting: the default is right
                except PlaywrightTimeout:
                    page.keyboard.press("Escape")
            try:
                page.wait_for_function(CONNECTED, timeout=10_000)
                # given and not waited for: the command ends when the last cell has
                page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
                page.wait_for_function(f"() => {CELLS}.some((cell) => cell !== 'new')", timeout=5000)
            except PlaywrightTimeout:
                tried.append("no kernel")
                continue
            if self.took(page):
                return
            tried.append(page.evaluate(f"() => {CELLS}"))
        raise AssertionError(f"JupyterLab did not run the cells: {tried}")

    @staticmethod
    def took(page) -> bool:
        """Whether the order was taken: no cell went back to an empty prompt, and none was done before one above it."""
        until = time.monotonic() + READY / 1000
        since = time.monotonic()
        while time.monotonic() < until:
            cells = page.evaluate(f"() => {CELLS}")
            done = [cell == "done" for cell in cells]
            if "new" in cells or done != sorted(done, reverse=True):
                return False
            # a dropped run shows within a second or so; a first cell that is done, or still busy after a while, was not
            # dropped
            if time.monotonic() - since > (1.5 if done and done[0] else 20):
                return True
            page.wait_for_timeout(200)
        return True

    def free(self) -> None:
        """End every kernel."""
        with urllib.request.urlopen(f"{self.address}/api/sessions", timeout=20) as answer:
            sessions = json.load(answer)
        for session in sessions:
            address = f"{self.address}/api/sessions/{session['id']}"
            urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=60).close()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser, kernels):
    server = Lab(tmp_path_factory.mktemp("lab"), **kernels)
    yield server
    server.close()


@pytest.fixture
def notebook(request, lab, page):
    """A page on a notebook that has run, and what went wrong in it: `notebook(cells)`."""
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
        lab.open(page, lab.write(f"{request.node.name}{next(count)}.ipynb", cells))
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


def status(page, wanted: str, timeout: int = READY) -> None:
    page.wait_for_selector(f"[data-testid=patch-explorer][data-status={wanted}]", timeout=timeout)


def point(page, testid: str, row: int, column: int, *, flip: bool = True) -> tuple[float, float]:
    """Page coordinates of a cell, scrolled into sight."""
    grid = page.get_by_test_id(testid)
    grid.scroll_into_view_if_needed()
    rows, columns = int(grid.get_attribute("aria-rowcount")), int(grid.get_attribute("aria-colcount"))
    box = grid.locator("canvas.mn-overlay").bounding_box()
    return (
        box["x"] + (column + 0.5) * box["width"] / columns,
        box["y"] + ((rows - 1 - row if flip else row) + 0.5) * box["height"] / rows,
    )


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
