"""The answer of ProvenanceBench as a file: a report for people, the result for programs, the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import traitlets

from lens import files
from lens.arguments import FilePath, door
from lens.files import Taken
from widgets.base.sweep import SweepView
from widgets.errors import ViewError
from widgets.provenance_bench import copy

KINDS = {"html": "text/html", "json": "application/json", "csv": "text/csv"}


class ReportView(SweepView):
    """A view whose answer is a `lens.provenance.QueryResult`, saved as a report."""

    document = traitlets.Dict().tag(sync=True, echo_update=False)

    _endings = ".html, .json or .csv"

    def __init__(self, **traits: Any) -> None:
        self._saves = 0
        super().__init__(**traits)

    @door(ViewError)
    def save(self, path: FilePath, *, overwrite: bool = False) -> Path:
        """Write the result shown: .html and .json are reports (`lens.provenance.report`), .csv has a line for each row
        used.

        Returns the path. Raises ViewError before the first run or for another suffix, lens.FileError (a FileExistsError
        where the name is taken).
        """
        target = files.expanded(path)
        kind = target.suffix.lower().removeprefix(".")
        if kind not in KINDS:
            raise ViewError(
                f"path: {target.name!r} ends in no known format; expected .html or .json for the report, .csv for the"
                " rows"
            )
        content = self._content(kind)
        if target.exists() and not overwrite:
            raise Taken(f"path: {target} is there already; choose another name, or replace it (overwrite=True)")
        return files.write(target, content)

    def _content(self, kind: str) -> bytes:
        run = self._shown
        if run is None or run.dataset is None:
            raise ViewError("save: there is no result to save yet; ask a question first")
        if run.status == "running":
            raise ViewError(
                "save: rows are still coming; wait for the end or stop first, so that the report is of one result"
            )
        return copy.document(run, kind, self.code)

    def _on_document(self, message: dict) -> None:
        """The report or the rows, for the browser to keep as a file."""
        kind = message.get("kind")
        if kind not in KINDS:
            return
        try:
            content = self._content(kind)
        except BaseException as error:
            self.publish(saved={"ok": False, "text": str(error) or type(error).__name__})
            return
        self._saves += 1
        self.publish(saved={}, document={"number": self._saves, "kind": kind, "type": KINDS[kind], "data": content})
