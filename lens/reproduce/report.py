"""What a person looks at: the verdicts of a run as a short table with the details behind it, as a forest plot, and one
HTML page of several runs with figures, claims, controls and environment.
"""

from __future__ import annotations

import base64
import html
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import files
from ..figures.forest import KINDS, Line, forest_plot
from ..figures.style import picture
from ..markup import as_written
from .claims import Claim, Effect, effect
from .common import NO_CLAIM, bounds, multiplicity
from .records import Cost
from .study import Reproduction, Study

#: characters of a cell that is shown; all of it stands behind
CELL = 160
#: of the table: the sign first
_COLUMNS = ("", "data", "claim", "paper", "here", "n", "verdict")
#: what opens in a row
_BEHIND = "the whole claim, its source and rule, and all that was measured"
#: On each cell, since JupyterLab drops style sheets of a notebook that was not run here, and aligns cells to the right.
_LEFT = 'style="text-align:left;vertical-align:top"'
_SIGNS = {name: (sign, word) for name, (sign, _, word) in KINDS.items()}


def kind(verdict: str) -> str:
    """What kind of verdict a word is: "holds", "part", "fails", "open" (not shown), "none" (not judged), or "answer":
    the claim is a question, and this is what was seen.
    """
    word = str(verdict)
    if word.startswith(NO_CLAIM):
        return "none"
    if word.startswith("holds in part"):
        return "part"
    if word.startswith(("does not hold", "harms")):
        return "fails"
    if word.startswith(("not shown", "no difference shown", "no effect shown", "no damage shown")):
        return "open"
    return "holds" if word.startswith(("holds", "helps")) else "answer"


@dataclass(frozen=True)
class Judged:
    """One row of a table of claims: the cells in full, the claim as data (None: the table names none), its effects,
    and what these are where the claim is not so.
    """

    cells: pd.Series
    claim: Claim | None
    effects: list[Effect]
    null: float = 0.0

    @property
    def kind(self) -> str:
        """Of its verdict."""
        return kind(self.cells.verdict)

    @property
    def says(self) -> str:
        """The claim without its rule."""
        return str(self.cells.claim).partition(" Rule: ")[0]

    @property
    def here(self) -> str:
        """The effects with their intervals where there are any, else what was measured, in words."""
        some = [f"{e.estimate:.3g} {bounds(e.low, e.high, '.3g')}" for e in self.effects[:3]]
        return "; ".join(some) or str(self.cells.here)


class Verdicts:
    """The verdicts of a run to be looked at: in a notebook a table whose rows open, as text a line a claim.

    `frame`: claim, paper, here, n, verdict, in cells of at most `CELL` characters; `data` before them, where it is
    said: what the run is of, for a page that shows several. `rows`: all that there is, a row a claim; of the claims
    that hold the words `only`, where these are given.
    """

    def __init__(self, study: Study, result: Reproduction, only: str = "", *, data: str = ""):
        named = result.table.attrs.get("claims") or [[] for _ in range(len(result.table))]
        self.study, self.table = study, result.table
        self.rows = [
            Judged(
                cells,
                study.claims[about[0]] if about else None,
                [one for name in (about[1] if about else ()) for one in effect(result.numbers, name)],
                about[2] if len(about) > 2 else 0.0,
            )
            for (_, cells), about in zip(result.table.iterrows(), named)
            if only in str(cells.claim)
        ]
        self.frame = pd.DataFrame(
            [
                {
                    "": _SIGNS[row.kind][0],
                    "data": data,
                    "claim": short(row.says),
                    "paper": short(row.cells.paper),
                    "here": short(row.here),
                    "n": short(row.cells.n),
                    "verdict": short(row.cells.verdict),
                }
                for row in self.rows
            ],
            columns=[name for name in _COLUMNS if data or name != "data"],
        )

    def __repr__(self) -> str:
        lines = self.frame[["", "claim", "here", "verdict"]].itertuples(index=False)
        return "\n".join(
            f"{sign} {short(claim, 80)} | {short(here, 60)} | {short(word, 60)}" for sign, claim, here, word in lines
        )

    def _repr_html_(self) -> str:
        head = "".join(f'<th class="{name}" {_LEFT}>{name}</th>' for name in self.frame.columns)
        body = "".join(self._row(row, cells) for row, cells in zip(self.rows, self.frame.to_dict("records")))
        of = self.study.claims
        said = f"{multiplicity(self.table)} Where a row names no other: source: {of.source}; estimator: {of.estimator};"
        text = html.escape(f"{said} rule: {of.rule}")
        table = f'<table class="verdicts"><tr>{head}</tr>{body}</table><p class="said">{text}</p>'
        return as_written(f"<style>{_style('verdicts')}</style>{table}")

    def _row(self, row: Judged, cells: dict[str, Any]) -> str:
        text = {name: html.escape(str(cell)) for name, cell in cells.items()}
        claim = row.claim
        facts = {
            "data": cells.get("data", ""),
            "claim": row.cells.claim,
            "paper": row.cells.paper,
            "source": claim.source if claim else "",
            "here": row.cells.here,
            "rule": (claim.rule if claim else "") and str(row.cells.claim).partition(" Rule: ")[2],
            "n": row.cells.n,
            "multiplicity": row.cells.multiplicity,
            "verdict": row.cells.verdict,
        }
        more = "".join(
            f"<dt>{name}</dt><dd>{html.escape(str(fact))}</dd>" for name, fact in facts.items() if fact != ""
        )
        word = _SIGNS[row.kind][1]
        text["here"] = f'<details><summary title="{_BEHIND}">{text["here"] or "…"}</summary><dl>{more}</dl></details>'
        kinds = {"": f'class="sign" title="{word}" aria-label="{word}" ', "verdict": 'class="word" '}
        line = "".join(f"<td {kinds.get(name, '')}{_LEFT}>{text[name]}</td>" for name in self.frame.columns)
        return f'<tr class="{row.kind}">{line}</tr>'

    def forest(self, path: Any = None, title: str = "") -> Any:
        """Effect and interval of each claim, its verdict by sign and colour; see `lens.figures.forest`."""
        lines = [
            Line(
                row.says,
                row.kind,
                str(row.cells.verdict),
                [(one.estimate, one.low, one.high) for one in row.effects],
                row.null,
                row.claim.margin if row.claim else None,
            )
            for row in self.rows
        ]
        return forest_plot(lines, path, title=title or f"{self.study.name}: {self.study.paper}")


def _style(name: str) -> str:
    return (Path(__file__).parent / f"{name}.css").read_text(encoding="utf-8")


def short(text: Any, most: int = CELL) -> str:
    """A text in one line of at most so many characters, cut between words."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


@dataclass(frozen=True)
class Part:
    """A run for the page: the study, what was read (None: it failed, `said` says how), its record, and the numbers that
    left the intervals of the stored run (`flags`; None: there is none of this configuration).
    """

    study: Study
    result: Reproduction | None
    record: dict[str, Any]
    said: str = ""
    flags: pd.DataFrame | None = None


def page(parts: Sequence[Part], path: Path, title: str) -> Path:
    """One HTML page of some runs: per study the forest plot, the verdicts, the numbers that left stored intervals,
    figures, controls and environment. Nothing in it is loaded from elsewhere.

    Returns the path. Raises: FileError: it cannot be written.
    """
    contents = "".join(
        f'<li><a href="#{p.study.name}">{p.study.name}</a> {html.escape(p.study.question)} {_counts(p)}</li>'
        for p in parts
    )
    body = "".join(_section(part) for part in parts)
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width">'
        f"<style>{_style('report')}{_style('verdicts')}</style></head><body><main>"
        f"<h1>{html.escape(title)}</h1><p>A sign and a colour say how a claim was judged:"
        f" {', '.join(f'<b class={k}>{s}</b> {w}' for k, (s, w) in _SIGNS.items())}. Open a claim for its rule, its"
        f" source and all that was measured.</p><ul>{contents}</ul>{body}"
        f"<h2>Machine</h2>{_facts(_machine())}</main></body></html>"
    )
    return files.write(path, text, parents=True)


def _counts(part: Part) -> str:
    if part.result is None:
        return "<b class=fails>did not run</b>"
    kinds = pd.Series([kind(word) for word in part.result.table.verdict])
    counts = {name: int((kinds == name).sum()) for name in _SIGNS}
    return " ".join(f"<span class={k}>{_SIGNS[k][0]} {count}</span>" for k, count in counts.items() if count)


def _section(part: Part) -> str:
    study, result = part.study, part.result
    head = (
        f'<section id="{study.name}"><h2>{study.name}</h2><p>{html.escape(study.question)}'
        f" <i>{html.escape(study.paper)}.</i></p>"
    )
    if result is None:
        return f"{head}<p class=fails>It did not run: {html.escape(part.said)}</p></section>"
    verdicts = Verdicts(study, result)
    pictures = "".join(
        f"<figure>{_picture(file.read_bytes(), file.stem)}<figcaption>{html.escape(file.stem.replace('_', ' '))}"
        "</figcaption></figure>"
        for file in result.figures
    )
    about = {
        "models": study.models,
        "preset": part.record.get("preset") or "not noted",
        "took": Cost.of(part.record).text,
        "model asked": (part.record.get("model") or {}).get("name", "the study's own"),
        "fingerprint": result.fingerprint[:16],
        "versions": ", ".join(f"{k} {v}" for k, v in (part.record.get("versions") or {}).items()),
    }
    return (
        f"{head}{_flags(part)}<figure>{_picture(picture(verdicts.forest()), 'forest plot of the claims')}</figure>"
        f"<h3>Claims</h3>{verdicts._repr_html_()}<h3>Controls</h3><p>{html.escape(study.controls)}</p>"
        f"<h3>Figures</h3><div class=figures>{pictures or 'none'}</div><h3>Environment</h3>{_facts(about)}</section>"
    )


def _flags(part: Part) -> str:
    if part.flags is None:
        return "<p class=none>No stored run has this configuration: its numbers are compared with none.</p>"
    if part.flags.empty:
        return "<p class=holds>Every number lies within the interval of the stored run of this configuration.</p>"
    table = part.flags.to_html(index=False, float_format="{:.4g}".format, border=0)
    return f"<p class=fails>{len(part.flags)} numbers lie outside the interval of the stored run:</p>{table}"


def _facts(facts: dict[str, Any]) -> str:
    lines = (f"<dt>{name}</dt><dd>{html.escape(str(fact))}</dd>" for name, fact in facts.items() if fact)
    return f"<dl class=facts>{''.join(lines)}</dl>"


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _picture(data: bytes, name: str) -> str:
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
