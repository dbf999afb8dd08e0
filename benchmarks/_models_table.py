"""The table of types and methods: its columns, how it is filled, and how it is written down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from . import _models_additions as additions
from . import _models_patching as patching
from . import _models_readouts as readouts
from . import _models_tasks as tasks
from . import _models_weights as weights
from ._models_cells import SAID, Case, Judged, Part, judged
from ._models_variants import Variant
from ._models_zoo import ROWS
from .before import ROOT
from .tables import say


class Column(NamedTuple):
    """A public method, its parts in a model, and on how many draws of the weights rounding is judged: on fewer where
    there are more numbers in one.
    """

    title: str
    parts: Callable[[Case], list[Part]]
    draws: int = 8


#: Exact patching at each site.
SITES = {site: Column(site, patching.patched(site), 4) for site in patching.SITES}
METHODS = {
    "attribution": Column("attribution", patching.attribution, 4),
    "path_patch": Column("path patching", patching.paths, 4),
    "causal_trace": Column("causal trace", patching.trace, 4),
    "explain_cell": Column("explain_cell", patching.explained),
    "logit_lens": Column("logit lens", readouts.logit_lens),
    "attention": Column("attention", readouts.attention),
    "direct_logit_attribution": Column("direct logit attribution", readouts.direct),
    "head_vocabulary": Column("head vocabulary", readouts.vocabulary),
    "injection_sweep": Column("injection sweep", additions.injected),
    "injection_live": Column("injection live", additions.injected_live),
    "head_effects": Column("head effects", tasks.head_effects),
    "vectors": Column("vectors", tasks.vectors),
    "steering": Column("steering, generation", additions.steered),
    "scoring": Column("scoring", readouts.scores),
    "subspace": Column("subspace masks", weights.masks, 2),
    "curvature": Column("curvature", weights.curvature, 2),
}
COLUMNS = SITES | METHODS
#: Rows of the quick run: a walk, post-norms, a type without a walk, experts, a hybrid.
QUICK = ("gpt2", "olmo2", "gemma2", "qwen3_moe", "qwen3_next")
#: Path -> how slow it is.
_PATHS = {"walk": 0, "layers": 1, "hooks": 2}


class Cell(NamedTuple):
    """All parts of one method on all variants of one type."""

    parts: list[tuple[Variant, Judged]]

    @property
    def said(self) -> str:
        """What is worst."""
        said = [part.said for _, part in self.parts]
        return max(said, key=SAID.index) if said else "none"

    @property
    def gap(self) -> float | None:
        """The largest difference in float32, as a share of the largest effect."""
        return max((part.gap for _, part in self.parts if part.gap is not None), default=None)

    @property
    def half(self) -> float | None:
        """The largest distance in bfloat16, over the plain run's own."""
        return max((part.half for _, part in self.parts if part.half is not None), default=None)

    @property
    def paths(self) -> list[str]:
        """The paths that served it, the fastest first."""
        return sorted({part.path for _, part in self.parts if part.path}, key=lambda p: _PATHS.get(p, 9))

    def count(self, said: str) -> int:
        """How many parts are so."""
        return sum(part.said == said for _, part in self.parts)

    def text(self) -> str:
        """As the table shows it."""
        if not self.parts or self.said == "none":
            return "–"
        path = "/".join(self.paths)
        shown = [f"{path} {self.gap:.0e}" if self.gap is not None else path]
        if self.half is not None:
            shown.append(f"{self.half:.1f}×")
        shown += [f"**{said}** {n}" for said in ("refused", "failed", "wrong", "raw") if (n := self.count(said))]
        return " · ".join(each.strip() for each in shown if each.strip())


Table = Mapping[str, Mapping[str, Cell]]


def fill(rows: Sequence[str], columns: Sequence[str], *, first: bool = False) -> Table:
    """Every cell of some rows and columns; `first`: of the first variant of each row only."""
    table: dict[str, dict[str, Cell]] = {}
    for number, row in enumerate(rows):
        began = time.perf_counter()
        cells: dict[str, list[tuple[Variant, Judged]]] = {column: [] for column in columns}
        for variant in ROWS[row][:1] if first else ROWS[row]:
            cases = [Case(variant, seed) for seed in range(variant.draws)]
            for column in columns:
                _, parts, draws = COLUMNS[column]
                cells[column] += [(variant, judged(cases[:draws], part)) for part in parts(cases[0])]
        table[row] = {column: Cell(parts) for column, parts in cells.items()}
        said = {s: n for s in SAID if (n := sum(cell.count(s) for cell in table[row].values()))}
        counts = ", ".join(f"{n} {s}" for s, n in said.items())
        say(f"{number + 1} of {len(rows)}: {row}: {counts}; {time.perf_counter() - began:.1f} s")
    return table


def figures(table: Table) -> dict[str, Any]:
    """What the table comes to."""
    parts = [(v, p) for row in table.values() for cell in row.values() for v, p in cell.parts]
    named = {said: [f"{v.name}: {p.name}: {p.why}"[:300] for v, p in parts if p.said == said] for said in SAID}
    gaps, halves = ([getattr(p, n) for _, p in parts if getattr(p, n) is not None] for n in ("gap", "half"))
    return {
        "models_max_rel_diff": max(gaps, default=None),
        "models_bf16_worst": max(halves, default=None),
        "models_wrong": len(named["wrong"]) + len(named["raw"]),
        "models_raw": len(named["raw"]),
        "models_failed": len(named["failed"]),
        "models_refused": len(named["refused"]),
        "models_exact": len(named["exact"]),
        "models_parts": len(parts),
        "models_weak": sum(p.weak for _, p in parts),
        "models_rows": len(table),
        "wrong": named["wrong"] + named["raw"],
        "failed": named["failed"],
        "weak": [f"{v.name}: {p.name}: {p.effect:.1g}" for v, p in parts if p.weak],
    }


# -- as files ----------------------------------------------------------------------------------------------------------


def data(table: Table) -> dict[str, Any]:
    """The table as JSON: of each cell what is worst, and the reasons of every part that is not plainly exact."""
    reasons: dict[str, int] = {}
    rows = {}
    for row, cells in table.items():
        rows[row] = {
            "variants": list(dict.fromkeys(v.label for cell in cells.values() for v, _ in cell.parts)),
            "cells": {column: _cell(cell, reasons) for column, cell in cells.items()},
        }
    columns = {key: COLUMNS[key].title for key in next(iter(table.values()))}
    return {"columns": columns, "rows": rows, "reasons": list(reasons)}


def _cell(cell: Cell, reasons: dict[str, int]) -> dict[str, Any]:
    """A cell; its notes say of which parts, in which variants, what was said, and why: a number in the reasons."""
    notes: dict[tuple, list[str]] = {}
    for v, p in cell.parts:
        if p.said != "exact" or p.path == "hooks":
            why = reasons.setdefault(_plain(p.why), len(reasons)) if p.why else None
            notes.setdefault((p.name, p.said, p.path, why), []).append(v.label)
    made = {"said": cell.said, "paths": cell.paths, "gap": cell.gap, "half": cell.half, "parts": len(cell.parts)}
    listed = [
        {"part": part, "said": said, "path": path, "why": why, "variants": variants}
        for (part, said, path, why), variants in notes.items()
    ]
    return made | ({"notes": listed} if listed else {})


def markdown(table: Table) -> str:
    """The table for people, with the reasons below it."""
    numbers: dict[str, int] = {}
    blocks = [_INTRODUCTION, _summary(table)]
    for title, columns in (("Exact patching, site by site", SITES), ("Methods", METHODS)):
        if chosen := [key for key in columns if key in next(iter(table.values()))]:
            blocks.append(f"## {title}\n\n{_block(table, chosen, numbers)}")
    if numbers:
        blocks.append("## Reasons\n\n" + "\n".join(f"{n}. {why}" for why, n in numbers.items()))
    variants = {row: [v.label or "as it comes" for v in ROWS[row]] for row in table}
    blocks.append("## Variants\n\n" + "\n".join(f"- **{row}**: {'; '.join(of)}" for row, of in variants.items()))
    return "\n\n".join(blocks) + "\n"


_INTRODUCTION = """# What works on which model

Made by `python -m benchmarks models --part table`. Tiny random models of every type, in the variants that are listed
below; each number of a method is compared with forward hooks on a second, plain copy of the model.

A cell says by which path the method was served (*walk*: blocks written out; *layers*: the model's own layers from the
edited one on; *hooks*: whole forwards; nothing: the model's own forward, or no sweep at all) and the largest difference
in float32 as a share of the largest effect: at most 1e-4. *1.2×*: in bfloat16, the largest distance from float32 over
that of the plain bfloat16 run: at most 2. A dash: the thing does not exist in this type. Numbers in brackets are
reasons, at the end."""


def _summary(table: Table) -> str:
    found = figures(table)
    worst = "-" if found["models_max_rel_diff"] is None else f"{found['models_max_rel_diff']:.1e}"
    half = "-" if found["models_bf16_worst"] is None else f"{found['models_bf16_worst']:.2f}"
    return (
        f"{found['models_rows']} types, {found['models_parts']} comparisons: {found['models_exact']} exact, "
        f"{found['models_refused']} refused, {found['models_wrong']} wrong. Largest difference in float32 {worst}; "
        f"largest ratio in bfloat16 {half}."
    )


def _block(table: Table, columns: Sequence[str], numbers: dict[str, int]) -> str:
    lines = [
        "| type | " + " | ".join(COLUMNS[key].title for key in columns) + " |",
        "| --- " * (len(columns) + 1) + "|",
    ]
    for row, cells in table.items():
        shown = [f"{cells[key].text()}{_marks(cells[key], numbers)}" for key in columns]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _marks(cell: Cell, numbers: dict[str, int]) -> str:
    """The numbers of a cell's reasons: of what is not exact, and of why it is slow."""
    reasons = dict.fromkeys(_plain(p.why) for _, p in cell.parts if p.why and (p.said != "exact" or p.path == "hooks"))
    marks = [str(numbers.setdefault(why, len(numbers) + 1)) for why in reasons]
    return f" ({', '.join(marks)})" if marks else ""


def _plain(why: str) -> str:
    return why.replace("|", "\\|").replace("<", "&lt;")[:400]


def written(table: Table, folder: Path, *, name: str = "models") -> None:
    """Writes `<name>.md` and `<name>.json` into a folder."""
    from lens import files  # not above: see `benchmarks.parts`

    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / f"{name}.json", json.loads(json.dumps(_short(data(table)))))
    files.write(folder / f"{name}.md", markdown(table))


def _short(value: Any) -> Any:
    """Numbers of two digits: what is beyond differs from run to run."""
    if isinstance(value, dict):
        return {key: _short(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_short(v) for v in value]
    return float(f"{value:.2g}") if isinstance(value, float) else value


def run(*, quick: bool, only: Sequence[str] | None = None, methods: Sequence[str] | None = None) -> dict[str, Any]:
    """Fills the table and writes it down: in `docs` where it is whole, else in `build`; the figures.

    Args:
        quick: a few types, their first variants. only, methods: some rows and columns.
    """
    rows, columns, threads = list(only or (QUICK if quick else ROWS)), list(methods or COLUMNS), torch.get_num_threads()
    torch.set_num_threads(1)  # models so small are slower on several
    try:
        table = fill(rows, columns, first=quick and not only)
    finally:
        torch.set_num_threads(threads)
    whole = not quick and only is None and methods is None
    written(table, ROOT / "docs" if whole else ROOT / "build" / "models", name="models" if whole else "table")
    return figures(table)
