"""What is said of models beside the organisms `senses`: whether they can be asked at all, and their depths."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from ...organisms import canaries
from ..claims import Rows
from ..common import shown, verdict
from .rules import agree, matched, over_words
from .steps import LEAST, enough

#: What a model has to read of true notes before it is asked about false ones.
OPEN_BOOK = 0.7


def of_canaries(rows: Rows) -> None:
    """The shipped organism reads too few notes to be asked, as its card says."""
    card = json.loads((canaries.folder_of() / "card.json").read_text(encoding="utf-8"))
    told = card["measured"]["tasks"]["open_book"]
    told = told["accuracy"] if isinstance(told, dict) else told
    rows.numbers["open_book"] = float(told)
    few = f"not judged: open_book below {OPEN_BOOK:g}"
    word = few if told < OPEN_BOOK else "not measured"
    rows.add("canaries", f"open_book {told:.2f} of the model that ships (seed 0)", "1 seed", word)


def of_sentences(rows: Rows, frame: pd.DataFrame, seed: int, resamples: int) -> None:
    """The language model's words."""
    if frame.empty:
        for key in ("sentences", "sentences_depth", "sentences_errors"):
            rows.add(key, "none asked by this preset", 0, "not judged: not asked")
        return
    counts = {which: int((frame.answer == which).sum()) for which in LEAST}
    n, there = f"{frame.word.nunique()} words, {len(frame)} sentences", enough(frame)
    rows.numbers |= {f"sentences {which}": count for which, count in counts.items()}
    rows.add(
        "sentences",
        f"{counts['right']} right and {counts['wrong']} wrong in both orders",
        n,
        verdict(there, not there),
    )
    of = frame.dropna(subset=["reading"]).assign(seed=0).reset_index(drop=True)
    if not there or not len(of):
        for key in ("sentences_depth", "sentences_errors"):
            rows.add(key, "too few sentences of one kind", n, "not judged: too few right or wrong sentences")
        return
    depth, wrong = of.reading.to_numpy(), (of.answer == "wrong").to_numpy()

    def spread(i: np.ndarray) -> float:
        means = of.iloc[i].groupby("word").reading.mean()
        return float(np.subtract(*np.quantile(means, [0.75, 0.25])))

    n = f"{of.word.nunique()} words, {len(of)} sentences"
    found = rows.put("sentences_depth", over_words(of, spread, seed, resamples))
    rows.add(
        "sentences_depth",
        f"quartiles apart by {shown(found)} layers about {np.median(depth):.1f}",
        n,
        agree(found),
        effects="sentences_depth",
    )
    whole = np.zeros(len(of), dtype=int)
    found = rows.put(
        "sentences_errors", over_words(of, lambda i: matched(depth[i], wrong[i], whole[i]), seed, resamples)
    )
    clear = found.low > 0 or found.high < 0
    means = [float(depth[wrong == kind].mean()) if (wrong == kind).any() else np.nan for kind in (True, False)]
    rows.add(
        "sentences_errors",
        f"wrong {means[0]:.2f}, right {means[1]:.2f}; difference {shown(found, sign=True)} layers",
        n,
        verdict(clear, False) if np.isfinite(found.low) else f"not shown: {found.method}",
        effects="sentences_errors",
    )
