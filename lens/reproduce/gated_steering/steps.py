"""What is computed of the organism `porter`: what every arm makes of every prompt, and how often gates open."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ...organisms import porter
from ...organisms.porter.suite import NO
from ...vectors import fire_rates
from .arms import ARMS, GATED, PUBLISHED, Arms, sizes
from .bench import Bench, sharp_of

COLUMNS = [
    "seed",
    "split",
    "arm",
    "size",
    "item",
    "kind",
    "task",
    "sharp",
    "unseen",
    "unit",
    "before",
    "refused",
    "right",
]
#: Gates are asked on these at most, of each label.
ASKED = 60


def answers(arms: Arms, say: Callable[[str], None]) -> pd.DataFrame:
    """One line an arm, size and prompt of the parts "choose" and "report": is it refused, is it answered right."""
    bench, lines = arms.bench, list[tuple[Any, ...]]()
    for split in ("choose", "report"):
        asked, before = bench.parts[split], bench.before[split]
        units = [sharp_of(bench.suite, one) for one in asked]
        each = [(arm, size) for arm in ARMS for size in sizes(bench, arm)]
        for name, size in [("none", 0.0), *each]:
            said = before if name == "none" else bench.says(split, **arms.of(name)(size, split))
            lines += [
                (
                    bench.seed,
                    split,
                    name,
                    size,
                    i,
                    one.kind,
                    one.task,
                    one.sharp,
                    bench.unseen(one),
                    units[i],
                    before[i] == NO,
                    said[i] == NO,
                    said[i] == " ".join(one.answer),
                )
                for i, one in enumerate(asked)
            ]
        say(f"porter {bench.seed}, {split}: {len(asked)} prompts, {len(ARMS)} arms")
    return pd.DataFrame(lines, columns=COLUMNS)


def rates(arms: Arms) -> pd.DataFrame:
    """How often each gate opens on prompts of "report" that it was not fitted on, by label, with exact intervals."""
    bench, frames = arms.bench, []
    asked, before = bench.parts["report"], bench.before["report"]
    for (task, kind), gate in arms.gates.items():
        rows, count = [], dict[str, int]()
        for i, one in enumerate(asked):
            label = _label(bench, one, before[i] == NO, task)
            if label and count.get(label, 0) < ASKED:
                count[label] = count.get(label, 0) + 1
                rows.append({"text": one.text, "label": label})
        ds = fire_rates(bench.model, gate, rows)
        frame = ds[["mean", "low", "high", "n"]].to_dataframe().reset_index()
        frames.append(frame.assign(seed=bench.seed, task=task, gate=kind, youden=float(gate.about["youden"])))
    return pd.concat(frames, ignore_index=True)


def _label(bench: Bench, one: Any, refused: bool, task: str) -> str | None:
    if one.kind != "task":
        return "disguised" if one.kind == "disguised" else "make"
    if one.task in porter.FREE:
        return "other tasks"
    if task not in ("all", one.task):
        return "other tasks"
    if bench.unseen(one):
        return "unseen words, refused" if refused else "unseen words, answered"
    if not one.sharp:
        return "no sharp word"
    return "over-refused" if refused else "answered"


def alike(arms: Arms, n: int = 24) -> pd.DataFrame:
    """Whether texts of a batch are those written one by one, with the published arm in force and without."""
    bench, lines = arms.bench, []
    some = np.linspace(0, len(bench.parts["report"]) - 1, n).astype(int).tolist()
    requests = [bench.parts["report"][i] for i in some]
    for name in ("none", PUBLISHED, GATED):
        given = {} if name == "none" else arms.of(name)(1.0, "report")
        edits = given.pop("edits", [])
        own: Any = [edits[i] for i in some] if len(edits) == len(bench.parts["report"]) else edits
        together, apart = (bench.texts(requests, own, batch=b, **given) for b in (n, 1))
        lines += [(bench.seed, name, a.ids == b.ids) for a, b in zip(together, apart)]
    return pd.DataFrame(lines, columns=["seed", "arm", "same"])


def gates_of(name: str, seed: int, card: str) -> pd.DataFrame:
    """The gates of an organism's card."""
    told = json.loads(card).get("gates", {})
    return pd.DataFrame(
        [(name, seed, gate, of["value"], bool(of["holds"])) for gate, of in told.items()],
        columns=["organism", "seed", "gate", "value", "holds"],
    )
