"""The claims against what was measured; the unit is the bridge entity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ...stats import Interval
from ..claims import Rows
from ..common import clear_of, matching, mean_interval, several, shown, student, table_of, verdict
from .claims import CLAIMS

READINGS = ("lens", "logit_lens", "random", "another", "half")


def shares(ranks: pd.DataFrame) -> pd.DataFrame:
    """The table of places with ``share``: 1 for the first of the entities, 0 for the last."""
    return ranks.assign(share=1 - ranks["rank"] / (ranks.candidates - 1).clip(lower=1))


def best_layers(ranks: pd.DataFrame, position: str = "subject") -> dict[str, int]:
    """Of each reading the layer at which the bridges of the choosing half stand highest."""
    half = matching(shares(ranks), split="select", position=position)
    mean = half.groupby(["reading", "layer"]).share.mean()
    return {str(name): int(mean[name].idxmax()) for name in mean.index.unique("reading")}


def curves(ranks: pd.DataFrame) -> pd.DataFrame:
    """The mean share of the reported half by reading, position and layer, over entities."""
    half = matching(shares(ranks), split="report")
    each = half.groupby(["reading", "position", "layer", "entity"]).share.mean()
    return each.groupby(["reading", "position", "layer"]).mean().reset_index()


def over_draws(values: pd.DataFrame, seed: int) -> Interval:
    """The mean of values [entity, draw] with an interval for other entities and other draws: the distances of either's
    bounds from the mean, squared and added (Zou & Donner 2008); of one draw for other entities alone.
    """
    told, drawn = mean_interval(values.mean(axis=1), seed), student(values.mean(axis=0))
    if not np.isfinite([told.low, drawn.low]).all():
        return told
    below, above = (
        float(np.hypot(*(one.estimate - end for one, end in ((told, a), (drawn, b)))))
        for a, b in ((told.low, drawn.low), (told.high, drawn.high))
    )
    method = f"{told.method}; Student's t over {values.shape[1]} draws; added"
    return replace(told, low=told.estimate - below, high=told.estimate + above, method=method)


def verdicts(tables: Mapping[str, pd.DataFrame], seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Each claim against what was measured, and all numbers."""
    rows = Rows(CLAIMS)
    ranks, edits, halves = (tables[name] for name in ("ranks", "edits", "halves"))
    best = best_layers(ranks)
    # another bridge is read where the lens is best for its own
    best["another"] = best["lens"]
    at_subject = matching(shares(ranks), split="report", position="subject")
    by_entity = {
        name: matching(at_subject, reading=name, layer=best[name])
        .groupby(["entity", "draw"])
        .share.mean()
        .unstack("draw")
        for name in READINGS
    }
    candidates = int(ranks.candidates.iloc[0])
    for name in READINGS:
        rows.put(f"share_{name}", over_draws(by_entity[name], seed))
    rows.numbers |= {f"layer_{name}": best[name] for name in READINGS}
    rows.numbers |= {"draws": int(by_entity["random"].shape[1])}
    rows.numbers |= {"candidates": candidates, "questions": int(at_subject["item"].nunique())}
    units = f"{len(by_entity['lens'])} entities, {at_subject['item'].nunique()} questions, {candidates} candidates"

    for key in ("logit_lens", "random", "another"):
        apart = rows.put(f"lens_over_{key}", over_draws(by_entity[key].rsub(by_entity["lens"][0], axis=0), seed))
        mean = {name: rows.numbers[f"share_{name}"] for name in ("lens", key)}
        rows.add(
            key,
            f"{mean['lens']:.2f} (layer {best['lens']}) against {mean[key]:.2f} (layer {best[key]}):"
            f" {shown(apart, sign=True)}",
            units,
            clear_of(apart),
            effects=f"lens_over_{key}",
        )

    by = ["reading", "entity", "item", "draw"]
    first = at_subject.assign(first=at_subject["rank"] == 0).groupby(by)["first"].max().astype(float)
    ever = {
        name: first[name].groupby(["entity", "draw"]).mean().unstack("draw")
        for name in ("lens", "logit_lens", "random")
    }
    apart = rows.put("any_layer", over_draws(ever["random"].rsub(ever["lens"][0], axis=0), seed))
    mean = {name: float(x.mean(axis=None)) for name, x in ever.items()}
    rows.numbers |= {f"any_layer_{name}": value for name, value in mean.items()}
    rows.add(
        "any_layer",
        f"{mean['lens']:.2f} against {mean['random']:.2f} (logit lens {mean['logit_lens']:.2f}):"
        f" {shown(apart, sign=True)}",
        units,
        clear_of(apart),
        effects="any_layer",
    )

    rows.numbers |= {"cka": float(halves.cka.mean()), "relative_error": float(halves.relative_error.median())}
    rows.add(
        "halves",
        f"CKA {halves.cka.min():.2f} to {halves.cka.max():.2f} by layer; relative error, median over layers,"
        f" {rows.numbers['relative_error']:.2f}",
        f"{len(halves)} layers",
        "reported",
    )
    _of_edits(rows, edits, seed)
    return table_of(rows), rows.numbers


def _of_edits(rows: Rows, edits: pd.DataFrame, seed: int) -> None:
    values = edits.pivot_table(index=["entity", "item"], columns=["condition", "draw"], values=["logprob", "apart"])
    layer, units = int(edits.layer.iloc[0]), f"{edits.entity.nunique()} entities, {edits['item'].nunique()} questions"
    draws = several(values["apart", "swap random"].shape[1], "draw")

    def lost(of: str, condition: str) -> pd.DataFrame:
        """What an edit takes, by entity and draw."""
        change: pd.DataFrame = values[of, condition].rsub(values[of, "plain"][0], axis=0).groupby("entity").mean()
        return change

    def beyond(of: str, condition: str, control: str) -> Interval:
        return over_draws(lost(of, control).rsub(lost(of, condition)[0], axis=0), seed)

    own, random = (rows.put(f"{key}_lost", over_draws(lost("logprob", name), seed))
                   for key, name in (("without", "without"), ("without_random", "without random")))  # fmt: skip
    another = rows.put("without_another_lost", over_draws(lost("logprob", "without another"), seed))
    apart = rows.put("without", beyond("logprob", "without", "without random"))
    # a direction of the lens has a share of the stream that a random one at the same angles lacks
    equal = rows.put("without_over_another", beyond("logprob", "without", "without another"))
    above, below = ([sign * (i.low if sign > 0 else i.high) > 0 for i in (apart, equal)] for sign in (1, -1))
    known = np.isfinite([apart.low, equal.low]).all()
    rows.add(
        "without",
        f"layer {layer}: log-probability falls by {shown(own, sign=True)} nats, without a random direction ({draws} a"
        f" question) by {shown(random, sign=True)}, without another bridge's by {shown(another, sign=True)};"
        f" differences {shown(apart, sign=True)} and {shown(equal, sign=True)}",
        units,
        verdict(all(above), any(below), part=any(above), otherwise="an interval holds 0") if known else clear_of(equal),
        effects=("without", "without_over_another", "without_lost", "without_random_lost"),
    )
    own, random = (rows.put(f"{key}_lost", over_draws(lost("apart", name), seed))
                   for key, name in (("swap", "swap"), ("swap_random", "swap random")))  # fmt: skip
    apart = rows.put("swap", beyond("apart", "swap", "swap random"))
    right = values["apart", "plain"][0] > 0
    flips = {name: float((values["apart", name][right] < 0).mean(axis=None)) if right.any() else np.nan
             for name in ("swap", "swap random")}  # fmt: skip
    rows.numbers |= {"flips": flips["swap"], "flips_random": flips["swap random"], "right": int(right.sum())}
    rows.add(
        "swap",
        f"layer {layer}: the answer's logit over the other's falls by {shown(own, sign=True)}, under random directions"
        f" ({draws} a question) by {shown(random, sign=True)}; of {int(right.sum())} right ones {flips['swap']:.2f}"
        f" and {flips['swap random']:.2f} flip",
        units,
        clear_of(apart),
        effects=("swap", "swap_lost", "swap_random_lost"),
    )
