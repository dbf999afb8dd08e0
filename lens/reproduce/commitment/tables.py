"""Tidy tables of a run beside those that are stored: curves by answer, predictors of errors, errors by dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..common import columns, matching
from .rules import auc, by_word, mean_over_words, over_words

MIDDLE = "middle"
#: What errors are predicted by, and whether a lower value speaks for an error.
RANDOM = "CAS, random lists"
SCORES = ("CAS", "CAS as coded", "DSS", "DSS as coded", "contrast", "logit lens", RANDOM)
OUTPUTS = {"lead": True, "entropy": False, "dose": False}


def derived(tables: Mapping[str, pd.DataFrame], seed: int, resamples: int) -> dict[str, pd.DataFrame]:
    """Those that are computed from what is stored."""
    items = judged_items(tables["items"])
    return {
        "curves": curves(tables["layers"], items, seed),
        "predictors": predictors(tables["layers"], items, seed, resamples),
        "doses": doses(items, seed),
    }


def judged_items(items: pd.DataFrame, moment: str = MIDDLE) -> pd.DataFrame:
    """Items of a moment with ``depth``, that of reading where the null allows one, and ``wrong`` (NaN where neither
    sense is answered).
    """
    of = matching(items, moment=moment).reset_index(drop=True)
    wrong = of.answer.map({"wrong": 1.0, "right": 0.0})
    return of.assign(depth=of.reading.where(of.status == "determined"), wrong=wrong)


def with_layers(layers: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """The lines by layer of some items, with what is known of these."""
    keys = ["seed", "moment", "item"]
    return layers.merge(items[[*keys, "wrong", "depth", "writing", "margin", "status"]], on=keys, suffixes=("", "_at"))


def curves(layers: pd.DataFrame, items: pd.DataFrame, seed: int) -> pd.DataFrame:
    """By measure, answer and layer: the mean effect over words, with its interval."""
    wide = with_layers(layers, items[items.status != "no gap"])
    rows = []
    for (kind, layer), of in wide.dropna(subset=["wrong"]).groupby(["wrong", "layer"]):
        for measure in ("reading", "writing"):
            found = mean_over_words(by_word(of, measure), seed)
            if found is not None:
                line: dict[str, Any] = columns("effect", found.interval)
                rows.append({"measure": measure, "answer": ("right", "wrong")[int(kind)], "layer": int(layer), **line})
    return pd.DataFrame(rows)


def early_layer(layers: pd.DataFrame, items: pd.DataFrame, score: str) -> int:
    """Below the median depth of writing, the layer at which a score tells errors best, both on words that choose."""
    chosen = items[items.part == "choose"]
    end = int(np.nanmedian(chosen.writing)) if chosen.writing.notna().any() else 2
    among = range(1, max(2, end))
    wide = with_layers(layers, chosen).dropna(subset=["wrong"])
    found = {
        layer: auc(-of[score].to_numpy(), of.wrong.to_numpy() == 1)
        for layer, of in wide.groupby("layer")
        if int(layer) in among
    }
    known = {int(layer): value for layer, value in found.items() if np.isfinite(value)}
    return max(known, key=lambda layer: known[layer]) if known else min(among)


def predictors(layers: pd.DataFrame, items: pd.DataFrame, seed: int, resamples: int) -> pd.DataFrame:
    """What tells errors, on words that report: the area under the curve with its interval, of every score at the layer
    that other words choose, and of what the output and the dose say anyway; ``within`` compares items of one dose.
    """
    report = items[(items.part == "report") & items.wrong.notna()]
    wide = with_layers(layers, report)
    lines = []
    for score in SCORES:
        if score not in wide or wide[score].isna().all():
            continue
        layer = early_layer(layers, items, score)
        at = wide[wide.layer == layer].reset_index(drop=True)
        lines.append((score, layer, at, -at[score].to_numpy()))
    for name, low in OUTPUTS.items():
        of = report.reset_index(drop=True)
        lines.append((name, -1, of, (-1 if low else 1) * of[name].to_numpy()))
    rows = []
    for name, layer, at, values in lines:
        wrong, dose = at.wrong.to_numpy() == 1, at.dose.to_numpy()

        def whole(i: np.ndarray, values: np.ndarray = values, wrong: np.ndarray = wrong) -> float:
            return auc(values[i], wrong[i])

        of_dose = [(auc(values[dose == d], wrong[dose == d]), int((dose == d).sum())) for d in np.unique(dose)]
        known = [(a, n) for a, n in of_dose if np.isfinite(a)]
        within = np.average([a for a, _ in known], weights=[n for _, n in known]) if known else np.nan
        line: dict[str, Any] = columns("auc", over_words(at, whole, seed, resamples))
        rows.append({"predictor": name, "layer": layer, **line, "within": within, "n": len(at)})
    return pd.DataFrame(rows)


def doses(items: pd.DataFrame, seed: int) -> pd.DataFrame:
    """By dose: the share of wrong readings and the mean depth of reading over words, with intervals."""
    rows = []
    for dose, of in items.groupby("dose"):
        for measure, bounds in (("wrong", (0.0, 1.0)), ("depth", None)):
            found = mean_over_words(by_word(of, measure), seed, bounds)
            if found is not None:
                line: dict[str, Any] = columns("mean", found.interval)
                rows.append({"dose": float(dose), "measure": measure, **line, "words": found.n})
    return pd.DataFrame(rows)
