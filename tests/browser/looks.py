"""What a page that shows a view looks like, as the functions of `looks.js` see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

_LOOKS = Path(__file__).with_suffix(".js").read_text(encoding="utf-8").rstrip()
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there: npm ci --ignore-scripts")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
CONTROLS = "input, select, textarea, button"


def _ask(page: Any, name: str, argument: Any = None) -> Any:
    return page.evaluate(f"(argument) => ({_LOOKS}).{name}(argument)", argument)


def unnamed(page: Any, selector: str = f".mnemoscope :is({CONTROLS}, svg, [tabindex])") -> list[str]:
    """Elements that a screen reader has no word for."""
    return _ask(page, "unnamed", selector)


def unlabelled(page: Any) -> list[str]:
    """Controls without a label of their own."""
    return _ask(page, "unlabelled")


def cut_off(page: Any, selector: str, within: str = "") -> list[str]:
    """Elements of the view that reach beyond its right edge; those inside `within` may."""
    return _ask(page, "cutOff", [selector, within])


def scrolling(page: Any) -> list[str]:
    """Elements that scroll up and down inside the page."""
    return _ask(page, "scrolling")


def pixel(page: Any, testid: str, x: float, y: float) -> list[int]:
    """The colour of a map's canvas at a point of the page."""
    return _ask(page, "pixel", [testid, x, y])


def marked(page: Any, rows: int, columns: int) -> list[list[int]]:
    """Cells of a map that are marked on its overlay, [row, column]."""
    return _ask(page, "marked", [rows, columns])


def upper_half_drawn(page: Any) -> bool:
    """Whether anything is drawn on the upper half of a map's overlay."""
    return _ask(page, "upperHalfDrawn")


def hover_times(page: Any) -> list[float]:
    """Milliseconds that moves of the pointer over a map take."""
    return _ask(page, "hoverTimes")


def contrasts(page: Any, selector: str) -> list[float]:
    """Contrast ratios of texts with the view's background."""
    return _ask(page, "contrasts", selector)


def violations(page: Any, theme: str) -> list[Any]:
    """What axe-core finds wrong with the view in a theme, light or dark."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
    page.wait_for_selector(f".mnemoscope[data-dark={str(theme == 'dark').lower()}]")
    page.wait_for_timeout(150)
    passed, wrong = page.evaluate(
        """async (tags) => {
            const judged = await axe.run(".mnemoscope", { runOnly: tags });
            return [judged.passes.map((rule) => rule.id), judged.violations.map((rule) => [rule.id,
                rule.nodes.map((node) => node.html.slice(0, 160) + " | " + node.failureSummary)])];
        }""",
        RULES,
    )
    assert "color-contrast" in passed, "axe-core looked at colours"
    return wrong
