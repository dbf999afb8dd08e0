"""A JupyterLab of the tests' own, and what they do in it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from lens.cache import cache_dir

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
