"""What a hand waits for in Chromium: the start page as it is stored, a tooltip of the patch explorer, the bars of the
injection bench.

Times are taken in the page, from an event's own time stamp until after the frame that shows its answer.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .before import ROOT
from .tables import say

START = ROOT / "notebooks" / "00_start_here.ipynb"
#: Milliseconds that one answer may take before it counts as none.
LONGEST = 20_000
READY = 180_000

#: Calls `done` with the milliseconds from an event to the end of the frame that shows a change of `watched`.
WATCH = """
    window.answered = (watched, done) => {
        const observer = new MutationObserver(() => {
            observer.disconnect();
            requestAnimationFrame(() => { const {port1, port2} = new MessageChannel();
                port1.onmessage = () => done(performance.now()); port2.postMessage(null); });
        });
        observer.observe(watched, {childList: true, subtree: true, attributes: true, characterData: true});
    };
"""
HOVER = """([tip]) => new Promise((resolve, reject) => {
    const watched = document.querySelector(tip);
    window.hovered = new Promise((done, late) => {
        let began = null;
        const at = (event) => { began ??= event.timeStamp; };
        window.addEventListener("pointermove", at, {capture: true, once: true});
        window.answered(watched, (now) => done(now - began));
        setTimeout(() => late(new Error("no tooltip")), 20000);
    });
    resolve(true);
})"""
MOVE = """([slider, lists, value]) => new Promise((done, late) => {
    const control = document.querySelector(slider);
    const began = performance.now();
    window.answered(document.querySelector(lists), (now) => done(now - began));
    control.value = value;
    control.dispatchEvent(new Event("input", {bubbles: true}));
    setTimeout(() => late(new Error("no bars")), 20000);
})"""
EXPLORER = """begin = "When John and Mary went to the shops, "
pair = lens.Pair(begin + "John gave the bottle to", corrupted=begin + "Mary gave the bottle to",
                 answer=" Mary", foil=" John")
widgets.PatchExplorer(model, pair, result=lens.patch(model, pair, "resid_pre"))"""
BENCH = """widgets.InjectionBench(model, "The capital of the country where the river Po flows is", "Italy", " Rome")"""


class Unseen(RuntimeError):
    """There is no browser, no JupyterLab or no model to look with, or a view that gave no answer."""


def percentile(values: list[float], q: float) -> float:
    return float(np.percentile(values, q))


@contextmanager
def page_of(folder: Path) -> Iterator[tuple[Any, Any]]:
    """A JupyterLab on a folder and a page of Chromium.

    Raises: Unseen.
    """
    try:
        from playwright.sync_api import sync_playwright

        from tests.browser.conftest import CHROMIUM, MISSING
        from tests.browser.lab import Lab
    except ImportError as error:
        raise Unseen(f"{error}; pip install 'mnemoscope[test]'") from error
    if not CHROMIUM:
        raise Unseen(MISSING)
    lab = Lab(folder, PYTHONPATH=str(ROOT))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            )
            page = browser.new_page(viewport={"width": 1500, "height": 1200})
            page.add_init_script(WATCH)
            yield lab, page
            browser.close()
    finally:
        lab.close()


def notebook_open(rounds: int) -> list[float]:
    """Seconds from the page's load until the last stored output of the start page is drawn."""
    import nbformat

    last = [c for c in nbformat.read(START, as_version=4).cells if c.get("outputs")][-1].id
    seconds = []
    with tempfile.TemporaryDirectory(prefix="mnemoscope-door-") as folder, page_of(Path(folder)) as (lab, page):
        shutil.copytree(START.parent / "images", Path(folder) / "images")
        for round_ in range(rounds):
            name = f"start{round_}.ipynb"  # of its own: what the browser keeps of the last one does not help
            shutil.copy(START, Path(folder) / name)
            began = time.perf_counter()
            page.goto(f"{lab.address}/lab/workspaces/w{round_}/tree/{name}")
            page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=READY)
            page.evaluate(BOTTOM)
            page.wait_for_function(DRAWN, arg=last, timeout=READY)
            seconds.append(time.perf_counter() - began)
            say(f"start page, round {round_ + 1}: {seconds[-1]:.1f} s")
    return seconds


#: The panel is scrolled to its end, again while cells come in above.
BOTTOM = """() => { window.toEnd = setInterval(() => {
    const panel = document.querySelector(".jp-WindowedPanel-outer"); if (panel) panel.scrollTop = panel.scrollHeight;
}, 50); }"""
#: Whether the last stored output is in the page and has a size; the cells' order is the model's.
DRAWN = """(last) => {
    const cells = [...document.querySelectorAll(".jp-CodeCell")];
    const outputs = cells.at(-1)?.querySelectorAll(".jp-OutputArea-output");
    const all = window.jupyterapp?.shell.currentWidget?.content;
    if (!all || !outputs?.length) return false;
    const index = [...all.model.cells].findIndex((cell) => cell.id === last);
    return all.widgets[index]?.node === cells.at(-1) && outputs[outputs.length - 1].getBoundingClientRect().height > 0;
}"""


def show(lab: Any, page: Any, name: str, source: str, view: str) -> None:
    """A notebook with one view on the embedded model, ready."""
    cells = ['import lens, widgets\nmodel = lens.load("smollm2")', source]
    lab.open(page, lab.write(name, cells))
    page.wait_for_selector(f"[data-testid={view}][data-ready=true]", timeout=READY)


def hover(count: int) -> list[float]:
    """Milliseconds from a pointer's event to the tooltip drawn, hover after hover over the map's cells."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="mnemoscope-hover-") as folder, page_of(Path(folder)) as (lab, page):
        from tests.browser.lab import point

        show(lab, page, "hover.ipynb", EXPLORER, "patch-explorer")
        page.wait_for_selector("[data-testid=map][aria-rowcount]", timeout=READY)
        grid = page.get_by_test_id("map")
        rows, columns = (int(grid.get_attribute(f"aria-{of}count")) for of in ("row", "col"))
        page.mouse.move(*point(page, "map", 0, 0))
        for k in range(count):
            page.evaluate(HOVER, ["[data-testid=map-tip]"])
            page.mouse.move(*point(page, "map", (7 * k + 3) % rows, (5 * k + 1) % columns))
            taken.append(page.evaluate("() => window.hovered"))
    return taken


def live_injection(count: int) -> list[float]:
    """Milliseconds from a move of the strength's slider to the bars drawn."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="mnemoscope-live-") as folder, page_of(Path(folder)) as (lab, page):
        show(lab, page, "live.ipynb", BENCH, "injection-bench")
        page.wait_for_selector("[data-testid=lists] ol", timeout=READY)
        page.wait_for_timeout(1500)
        slider = page.get_by_test_id("strength-slider")
        low, high = float(slider.get_attribute("min")), float(slider.get_attribute("max"))
        for k in range(count):
            value = low + (high - low) * ((7 * k + 3) % 20 + 0.5) / 20
            arguments = ["[data-testid=strength-slider]", "[data-testid=lists]", f"{value:.2f}"]
            taken.append(page.evaluate(MOVE, arguments))
            page.wait_for_timeout(100)
    return taken
