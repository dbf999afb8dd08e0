"""A benchmark in parts: each part's figures are kept in a file with a digest of the code that they belong to, and all
are printed together, last, as one JSON line.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import machine
from .before import ROOT
from .tables import number, rounded, say, table


@dataclass
class Parts:
    """A benchmark in parts.

    Attributes:
        name: of the benchmark, and of the folder in `build` in which figures are kept.
        figures: part -> figure -> what must hold of it, in words for the table. A figure that could not be taken is
            null.
        parts: part -> function of `quick` that gives its figures, and whatever else is worth keeping; `why` says why a
            figure is null.
        code: which files the figures are of, beside the package and the benchmarks (patterns from the project's root).
        more: of what a part keeps, what goes into the JSON line beside the figures.
    """

    name: str
    figures: dict[str, dict[str, str]]
    parts: dict[str, Callable[[bool], dict[str, Any]]]
    code: Sequence[str] = ()
    more: Sequence[str] = ()

    def digest(self) -> str:
        """Of the code that figures are of."""
        digest = hashlib.sha256()
        for path in sorted(path for of in ("lens/**/*.py", "benchmarks/*.py", *self.code) for path in ROOT.glob(of)):
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
        return digest.hexdigest()[:16]

    def taken(self, name: str, folder: Path, *, quick: bool, old: bool) -> dict[str, Any] | None:
        """The kept figures of a part, or None; `old`: also those of other code."""
        try:
            kept = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept if kept.get("quick") == quick and (old or kept.get("code") == self.digest()) else None

    def measure(self, name: str, folder: Path, *, quick: bool) -> dict[str, Any]:
        """Runs a part and keeps its figures."""
        say(f"part {name}")
        began, watch, own = time.perf_counter(), machine.Watch(), self.digest()
        figures = {key: None for key in self.figures[name]} | self.parts[name](quick)
        made = rounded(
            {
                "part": name,
                "quick": quick,
                "code": own,
                "seconds": time.perf_counter() - began,
                "figures": figures,
                "machine": watch.end(),
            }
        )
        from lens import files  # not above: beside an earlier build this module is imported with that build's package

        files.write_json(folder / f"{name}.json", made, parents=True)
        return made

    def report(self, parts: dict[str, dict[str, Any] | None]) -> dict[str, Any]:
        """The JSON line: every figure, null where its part was not run or could not be taken, then where they come
        from.
        """

        def of(name):
            return (parts.get(name) or {"figures": {}})["figures"]

        now, there = self.digest(), {name: part for name, part in parts.items() if part}
        about = {
            name: {
                "seconds": part["seconds"],
                "of_this_code": part["code"] == now,
                **({"why": part["figures"]["why"]} if "why" in part["figures"] else {}),
            }
            for name, part in there.items()
        }
        return (
            {key: of(name).get(key) for name, keys in self.figures.items() for key in keys}
            | {"parts": about}
            | {key: next((of(name)[key] for name in there if key in of(name)), None) for key in self.more}
            | {
                "quick": any(part["quick"] for part in there.values()),
                "machine": next((part["machine"] for part in reversed(there.values())), None),
            }
        )

    def show(self, line: dict[str, Any]) -> str:
        """The readable table."""
        rows = [("part", "figure", "value", "should be")]
        for name, keys in self.figures.items():
            for key, wanted in keys.items():
                value = line[key]
                rows.append(
                    (
                        name,
                        key,
                        "-" if value is None else str(value) if isinstance(value, int) else number(float(value)),
                        wanted,
                    )
                )
        why = [f"{name}: {part['why']}" for name, part in line["parts"].items() if "why" in part]
        old = [name for name, part in line["parts"].items() if not part["of_this_code"]]
        return "\n".join([table(rows), *why, *([f"of other code than this: {', '.join(old)}"] if old else [])])

    def run(self, *, quick: bool, part: str | None, again: bool, kept: bool, folder: Path | None = None) -> int:
        """Runs the parts that are not kept (or one that is named), prints the table and, last, one JSON line of all; 0
        always: the figures are looked at, not asserted.

        `again`: parts that are kept are run too. `kept`: figures of other code are taken as well, and said to be.
        """
        folder = (folder or ROOT / "build" / self.name) / ("quick" if quick else "")
        parts: dict[str, dict[str, Any] | None] = {}
        for name in self.parts:
            held = self.taken(name, folder, quick=quick, old=kept or part is not None)
            wanted = name == part if part else again or held is None
            parts[name] = self.measure(name, folder, quick=quick) if wanted else held
        line = self.report(parts)
        print(self.show(line))
        print(json.dumps(line))
        return 0
