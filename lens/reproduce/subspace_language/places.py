"""Two steps of the memory-subspace study that go into single edits: which locator finds memory at a known place, and
what is left of a memory after an edit, at what cost.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ... import memorization as mem
from ... import subspace
from ...subspace.attribution import integrated_gradients, zero_out
from ...training import Recipe
from ..canaries_models import Trio
from .bench import MASKS, SECOND, Bench, spread, strongest
from .steps import edit_at

LOCATORS = (
    "contrast",
    "corrected",
    "wanda",
    "activation",
    "magnitude",
    "integrated_gradients",
    "zero_out",
    "slimming",
    "hard_concrete",
)
#: Shares of all neurons that a locator may name; 1 % is what was planted.
AT = (0.01, 0.05, 0.1)
#: Share of the neurons, best by integrated gradients, that zero-out tries one by one.
TRIED = 0.2
TASKS = ("arithmetic", "closed_book", "open_book", "copy")
#: Fine-tuning of the relearning attacks, and the steps at which recitation is looked at.
RELEARN = Recipe(steps=40, batch=8, learning_rate=3e-4, weight_decay=0.0, schedule="constant")
LOOKS = (0, 10, 40)


def planted(bench: Bench, count: int) -> pd.DataFrame:
    """Unseen sequences, each trained into 1 % of the neurons of a copy, and how many of these every locator finds from
    that one sequence.
    """
    lines = []
    for i in range(count):
        kind = ("code", "plausible")[i % 2]
        one = bench.unseen(kind, count, "injected").subset([i])
        injection = subspace.inject(bench.model, one, seed=100 * bench.seed + i, rate=0.03, steps=800, progress=False)
        there = Bench(bench.seed, Trio(injection.model, None, bench.corpus), hurry=bench.hurry)
        for name in LOCATORS:
            recall = subspace.recall_at_k(located(there, one, name), injection, AT)
            for k, share in enumerate(AT):
                line = {"injection": i, "kind": kind, "locator": name, "k": share}
                line |= {"hits": round(float(recall.recall[k]) * int(recall.n)), "n": int(recall.n)}
                line |= {key: float(recall[key][k]) for key in ("chance", "p")}
                lines.append(line | {key: getattr(injection, key) for key in ("before", "loss", "steps")})
    return pd.DataFrame(lines).assign(seed=bench.seed)


def located(bench: Bench, one: mem.Sequences, name: str) -> subspace.Scores:
    """Scores of the neurons by one locator that sees one sequence.

    The corrected contrast takes a variance over items, so it is given windows of the sequence (from its first token,
    its fifth ...) in place of items. Zero-out tries only the neurons that integrated gradients put first.
    """
    model, options = bench.model, {"progress": False}
    if name in ("contrast", "wanda"):
        of = bench.stats(one, SECOND, "suffix")
        if name == "wanda":
            return subspace.wanda(model, of)
        return subspace.contrast(model, of, bench.stats(bench.reference, SECOND, "suffix"))
    if name == "corrected":
        row = one.ids[0]
        windows = [np.concatenate([row[:1], row[1 + cut :]]) for cut in range(0, 29, 4)]
        own, other = (subspace.statistics(model, SECOND, of, skip=4, **options) for of in (windows, bench.reference))
        return subspace.corrected(model, own, other, margin=1.0)
    if name == "magnitude":
        return subspace.magnitude(model, SECOND)
    if name == "activation":
        return subspace.score(model, one, method="activation", part="suffix", **options)
    if name in ("slimming", "hard_concrete"):
        settings = {"slimming": {"weight": 10.0, "rate": 0.04}, "hard_concrete": {"weight": 10.0, "rate": 0.2}}[name]
        return subspace.score(model, one, method=name, seed=bench.seed, steps=bench.steps(100), **settings, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the gap to completeness is in `about`
        first = bench.kept(
            ("integrated", one.sha256),
            lambda: integrated_gradients(model, one, together=True, steps=bench.steps(20), **options),
        )
    if name == "integrated_gradients":
        return first
    return zero_out(model, one, candidates=strongest(first, TRIED), **options)


# -- is it gone, and what did it cost ----------------------------------------------------------------------------------


def prompts(bench: Bench, of: mem.Sequences) -> dict[str, list[np.ndarray]]:
    """New ways to ask: only the last half of the prefix, and the prefix after a clean document."""
    half = [np.concatenate([row[:1], row[of.prefix // 2 : of.prefix]]) for row in of.ids]
    after = [np.concatenate([bench.clean[i % len(bench.clean), :24], row[: of.prefix]]) for i, row in enumerate(of.ids)]
    return {"half of the prefix": half, "after another text": after}


def gone(
    bench: Bench,
    name: str,
    setting: Mapping[str, Any],
    dose: float | None,
    most: int = 40,
    relearn: int = RELEARN.steps,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every attack on one method's edit that keeps the clean loss within the bound: one line an attack with the word
    for the edit, and recitation along relearning.
    """
    target = spread(bench.val, most)
    edit = None if dose is None else edit_at(bench, bench.val, name, setting, dose)
    if edit is None:
        return pd.DataFrame(), pd.DataFrame()
    result = mem.is_it_gone(
        bench.model,
        edit,
        target,
        others=bench.tune,
        clean=bench.clean,
        twin=bench.twin,
        paraphrases=prompts(bench, target),
        ks=(8,),
        recipe=replace(RELEARN, steps=relearn),
        at=[s for s in LOOKS if s <= relearn],
        measure="strict",
        seed=bench.seed,
        progress=False,
    )
    about = {
        "method": name,
        "dose": dose,
        "word": result.word,
        "by": ", ".join(result.by),
        "recited_before": result.recited[0],
        "recited_after": result.recited[1],
    }
    saved, lines = result.details["savings"].set_index("on"), []
    for line in result.table.to_dict("records") or [{"attack": "none"}]:
        arm = str(line["attack"]).removeprefix("training on ")
        named = ("savings", "low", "high", "censored", "start") if arm in saved.index else ()
        lines.append(about | line | {f"savings_{k}": saved.loc[arm, k] for k in named})
    strict = result.details["relearning"].strict
    along = [
        {
            "method": name,
            "model": str(kind),
            "on": str(arm),
            "step": int(step),
            "strict": float(strict.sel(model=kind, on=arm, step=step).mean()),
            "n": len(target),
        }
        for kind in strict.model.values
        for arm in strict.on.values
        for step in strict.step.values
    ]
    return pd.DataFrame(lines).assign(seed=bench.seed), pd.DataFrame(along).assign(seed=bench.seed)


def tasks(bench: Bench, count: int) -> dict[str, tuple]:
    """Held-out questions, `count` of each task; closed-book facts that training states at all."""
    out = {}
    for name, task in bench.corpus.tasks(count).items():
        if name in TASKS:
            asked = np.flatnonzero(~(task.exposure <= 0))
            some = asked[np.linspace(0, len(asked) - 1, min(count, len(asked))).astype(int)]
            out[name] = (task.prompts[some].numpy(), task.answers[some].numpy(), np.array(task.bins)[some])
    return out


def costs(
    bench: Bench, settings: Mapping[str, Mapping[str, Any]], doses: Mapping[str, float | None], count: int
) -> pd.DataFrame:
    """What each edit at its chosen dose does to clean text that no dose was chosen on and to tasks; masks beside random
    ones of equal density.
    """
    rows, asked, lines = bench.held[1], tasks(bench, count), []
    options = {"copying": 16, "heads": False, "progress": False}
    before = mem.performance(bench.model, rows, asked, **options)
    for name, dose in doses.items():
        edit = None if dose is None else edit_at(bench, bench.val, name, settings[name], dose)
        if edit is None:
            continue
        edits = {"memorised": edit}
        if name in MASKS and name != "random":
            edits["random rows"] = subspace.random_like(edit, bench.seed)
        for source, one in edits.items():
            damage = mem.damage(bench.model, one, rows, asked, before=before, **options)
            table = mem.damage_summary(damage, seed=bench.seed).drop_vars("mean").to_dataframe().reset_index()
            with mem.edited(bench.model, one) as now:
                strict = mem.extract(now, bench.val, progress=False).strict.values
            about = {"method": name, "dose": dose, "source": source, "density": getattr(one, "density", np.nan)}
            lines.append(table.assign(**about, strict=float(strict.mean()), n_strict=len(strict)))
    return pd.concat(lines, ignore_index=True).assign(seed=bench.seed)
