"""Labelled items in three splits, as the view is given them: rows, or the path of a JSONL file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lens import records
from lens.engine.gate_fitting import FEWEST
from widgets.errors import ViewError

#: What centroids and plane, the gate's threshold, and the numbers told are made of.
SPLITS = ("train", "tune", "report")
#: Labels that can be told apart on one picture.
MOST_LABELS = 8
#: What rows without a label are.
ORDINARY = "ordinary text"


@dataclass(frozen=True)
class Items:
    """Labelled texts in three splits, and texts of no label, which are reported on.

    Attributes: splits: rows with "text", "label" and, where it is known, "answer". stop: the text at which answers end.
    """

    splits: dict[str, list[dict[str, str]]]
    ordinary: tuple[str, ...] = ()
    stop: str = ""

    @classmethod
    def of(cls, items: Any, ordinary: Sequence[str] = (), held_out: Sequence[str] = (), stop: str = "") -> Items:
        """Items as they are split, or, where no row has a "split", dealt in turn into the three, label by label; those
        of the labels `held_out` are reported on alone.

        Raises: ViewError: rows that are none, or of no such split; too few of a label; too many labels.
        """
        rows = [_read(row) for row in records.rows(items, _refuse)]
        own = {name: [] for name in SPLITS}  # type: dict[str, list[dict[str, str]]]
        if unknown := set(held_out) - {row["label"] for row in rows}:
            raise ViewError(f"held_out: {min(unknown)!r} is no label of the items")
        given = [row for row in rows if "split" in row]
        if given and len(given) < len(rows):
            bare = next(i for i, row in enumerate(rows) if "split" not in row)
            raise ViewError(f"items[{bare}] has no split, and others have one; give each of them one, or none")
        for label in dict.fromkeys(row["label"] for row in rows):
            mine = [row for row in rows if row["label"] == label]
            if given:
                for row in mine:
                    own["report" if label in held_out else row["split"]].append(row)
                continue
            mine = list({row["text"]: row for row in mine}.values())
            if label in held_out:
                own["report"] += mine
            elif len(mine) < 3 * FEWEST:
                raise ViewError(
                    f"items: {len(mine)} different texts of label {label!r}; {3 * FEWEST} are needed, {FEWEST} each for"
                    " centroid, threshold and report. Give more, or name it in held_out="
                )
            else:
                for i, row in enumerate(mine):
                    own[SPLITS[i % 3]].append(row)
        made = cls(own, tuple(ordinary), stop)
        made._require()
        return made

    def _require(self) -> None:
        counts = Counter(row["label"] for row in self.splits["train"])
        if len(counts) < 2:
            only = f" but {next(iter(counts))!r}" if counts else ""
            raise ViewError(f"items: no label{only} has rows to fit on; give rows of at least two labels")
        if len(self.labels) + len(self.held) > MOST_LABELS:
            raise ViewError(
                f"items: {len(self.labels) + len(self.held)} labels are more than can be told apart on one picture;"
                f" give at most {MOST_LABELS}"
            )
        if not self.splits["report"]:
            raise ViewError("items: no row is of the split 'report', on which numbers are told; give some")
        if bad := [text for text in self.ordinary if not isinstance(text, str) or not text.strip()]:
            raise ViewError(f"ordinary: holds {bad[0]!r}; give texts that are not empty")

    @property
    def labels(self) -> list[str]:
        """Labels that centroids and gate are of, in order."""
        return sorted({row["label"] for row in self.splits["train"]})

    @property
    def held(self) -> list[str]:
        """Labels that are reported on alone, in order."""
        return sorted({row["label"] for row in self.splits["report"]} - set(self.labels))

    def asked(self) -> list[dict[str, str]]:
        """What is reported on: the report items, then ordinary text, which has no label."""
        return [*self.splits["report"], *({"text": text} for text in self.ordinary)]

    def texts(self, label: str) -> list[str]:
        """The texts of a label in `train`."""
        return [row["text"] for row in self.splits["train"] if row["label"] == label]

    def digest(self) -> str:
        """SHA-256 of all texts, labels and splits."""
        return hashlib.sha256(json.dumps([self.splits, self.ordinary], sort_keys=True).encode()).hexdigest()


def _refuse(said: str) -> Exception:
    return ViewError(f"items: {said}")


def _read(row: records.Row) -> dict[str, str]:
    if "messages" in row:
        raise row.fault("messages", "is a chat; give texts, as lens.prompts.render writes them")
    out = {name: row.text(name) for name in ("text", "label")}
    for name in ("answer", "split"):
        if (value := row.optional(name)) is not None:
            out[name] = value
    if out.get("split", "train") not in SPLITS:
        raise row.fault("split", f"holds {out['split']!r}; expected {', '.join(SPLITS)}")
    for name in ("text", "label"):
        if not out[name].strip():
            raise row.fault(name, "is empty; give a text")
    return out
