"""A static page that shows one view, with its Python object behind it and no Jupyter in between."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
MOUNT = Path(__file__).with_name("mount.js").read_text(encoding="utf-8").partition("\n")[2]


def plain(value: Any) -> Any:
    """A trait as JSON; bytes marked so that the page turns them into a DataView, as a widget manager does."""
    if isinstance(value, bytes):
        return {"__bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


class Mounted:
    """A view in a page. `settle()` waits for the worker thread and carries trait changes over."""

    def __init__(self, page: Any, widget: Any, css: str = "") -> None:
        self.page, self.widget, self.requests, self.errors = page, widget, [], []
        self.names = [
            name
            for name in widget.keys
            if not name.startswith("_") and name not in ("layout", "tabbable", "tooltip", "comm")
        ]
        self.sent: dict[str, Any] = {}
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.set_content(PAGE)
        page.expose_function("toPython", self._receive)
        self.sent = self._state()
        page.evaluate(
            MOUNT, {"esm": widget._esm, "css": widget._css + css, "state": {k: plain(v) for k, v in self.sent.items()}}
        )
        page.wait_for_selector("[data-ready=true]")

    def _state(self) -> dict[str, Any]:
        return {name: getattr(self.widget, name) for name in self.names}

    def _receive(self, kind: str, content: Any) -> None:
        if kind == "message":
            self.widget._on_message(self.widget, content, [])
        else:
            self.sent |= content
            self.widget.set_state(content)

    def downloads(self, names: Sequence[str], folder: Path) -> dict[str, Path]:
        """Press the button of each name and keep the file that comes as `folder`/file.<name>."""
        found = {name: folder / f"file.{name}" for name in names}
        for name, path in found.items():
            with self.page.expect_download() as waiting:
                self.get(name).click()
                self.settle()
            waiting.value.save_as(path)
        return found

    def push(self) -> None:
        now = self._state()
        changes = {k: v for k, v in now.items() if k not in self.sent or self.sent[k] != v}
        self.sent = now
        if changes:
            self.page.evaluate("(changes) => window.fromPython(changes)", {k: plain(v) for k, v in changes.items()})

    def settle(self, timeout: float = 10) -> None:
        self.page.wait_for_timeout(20)
        assert self.widget.wait(timeout), "the widget is still computing"
        self.push()
        self.page.wait_for_timeout(40)

    def get(self, testid: str):
        return self.page.get_by_test_id(testid)

    def at(self, testid: str, row: int, column: int, rows: int, columns: int, flip: bool = True) -> tuple[float, float]:
        """Page coordinates of a cell's middle."""
        box = self.get(testid).locator("canvas.mn-overlay").bounding_box()
        line = rows - 1 - row if flip else row
        return box["x"] + (column + 0.5) * box["width"] / columns, box["y"] + (line + 0.5) * box["height"] / rows
