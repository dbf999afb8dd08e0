"""The claims about memorised pictures against what was measured on the organism `cards`; each row states the rule of its verdict.

The published work is on Stable Diffusion 1.4, so that its numbers are named as of another model. Its result tables were not at hand: what is quoted was computed from the output of its
notebook (IoU), or comes from later work that checked it (Kowalczuk et al. 2025, Finding DoRI; Wen et al. 2024). Intervals over models are Student's t.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..measure.statistics import Interval, bootstrap_comparison, holm
from . import memory_subspace_frames as frames, memory_subspace_places as places
from .common import shown, table_of, verdict
from .memory_subspace_bench import RISE
from .over_models import each, judged, keep, over
from .subspace_frames import over_seeds

#: Controls of equal density beside which a located mask is read.
CONTROLS = ("unmemorised", "random rows", "random columns", "wanda")
LOCATED = ("published", "ordinary", "corrected", "attention", "attention published")


def verdicts(tables: Mapping[str, pd.DataFrame], *, seed: int = 0) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | verdict* and every number in it."""
    rows: list[tuple] = []
    numbers: dict[str, Any] = {}
    _copying(rows, numbers, tables["copying"])
    _told(rows, numbers, tables["copying"])
    _specific(rows, numbers, tables["specificity"])
    _dose(rows, numbers, tables["curves"])
    _transfer(rows, numbers, tables["curves"])
    if len(tables["places"]):
        _places(rows, numbers, tables["places"])
    if len(tables["families"]):
        _families(rows, numbers, tables["families"])
    if len(tables["utility"]):
        _utility(rows, numbers, tables["utility"])
    if len(tables["attacks"]):
        _gone(rows, numbers, tables["attacks"], seed)
    if len(tables["triggers"]):
        _triggers(rows, numbers, tables["triggers"], seed)
    return table_of(rows), numbers


def _holm(differences: list[np.ndarray]) -> np.ndarray:
    """Student's t over models of each difference (approximate), Holm over all; NaN for one model."""
    if not differences or min(map(len, differences)) < 2:
        return np.full(len(differences), np.nan)
    with np.errstate(all="ignore"):
        return holm(np.nan_to_num([stats.ttest_1samp(values, 0).pvalue for values in differences], nan=1.0))


def _p(p: float, count: int) -> str:
    return "" if np.isnan(p) else f"; approximate p, Holm over {count}: {p:.2g}"


def _both(found: Interval, p: float) -> str:
    """The word of an interval, held in part where Holm's p does not bear it out."""
    return "holds in part: the interval is above 0, Holm's p is not below .05" if found.low > 0 and p > 0.05 else judged(found)


def _gaps(rows: list, numbers: dict, table: pd.DataFrame, name: str, models: int, paper: str) -> None:
    """Every located method against every control at equal cost; p by Student's t over models (approximate), Holm over all of these comparisons."""
    found = {(m, c): frames.gap(table, m, c) for m in LOCATED for c in CONTROLS if {m, c} <= set(table.method)}
    runs = table.set_index("method").runs
    adjusted = _holm([np.subtract(runs[c], runs[m]) for m, c in found])
    for ((method, control), interval), one in zip(found.items(), adjusted):
        keep(numbers, f"{name}_{method}_{control}", interval)
        rows.append((f"... {frames.title(method)}: more than {frames.title(control)}, at equal cost", paper,
                     f"leaves {over(interval)} less{_p(one, len(found))}", f"{models} models", _both(interval, one)))


def _copying(rows: list, numbers: dict, copying: pd.DataFrame) -> None:
    runs = copying.groupby(["cell", "seed"])["copy"].mean().unstack("seed")
    count = copying.groupby(["cell", "seed"]).size().iloc[0]
    models = runs.shape[1]
    of = lambda cell: f"{cell} {each(runs.loc[cell])}"
    for name, a, b, claim, paper in (
            ("duplication", "code-many", "code-once", "Pictures with many copies are copied, those that were there once are not", "memorised captions of Stable Diffusion are duplicated (Webster 2023)"),
            ("codes", "code-many", "generic-many", "... and more so where the caption has a code of its own", "not measured; captions with rare words are named")):
        found = over_seeds(runs.loc[a] - runs.loc[b])
        keep(numbers, name, found)
        rows.append((claim, paper, f"share of seeds that give a copy, by model: {of(a)}; {of(b)}; never trained {each(runs.loc['code-never'])}; difference {over(found)}",
                     f"{models} models x {count} captions a cell", judged(found) + " (rule: the difference over models is above 0)"))
    numbers["copy"] = {str(cell): list(map(float, line)) for cell, line in runs.iterrows()}


def _told(rows: list, numbers: dict, copying: pd.DataFrame) -> None:
    table = frames.told(copying)
    whole = table[table.steps == table.steps.max()]
    numbers["detection"] = table.drop(columns=["p_kind"]).to_dict("records")
    for pair, claim in (("code", "Memorised captions are told by the size of the caption's part of the predicted noise"), ("generic", "... also those without a code"),
                        ("digit", "... and digits"), ("code, seen once", "... and captions whose picture was there once (the control: words seen, picture not memorised)")):
        of = whole[whole.pair == pair]
        sure = bool((of.holm <= 0.05).all())
        rows.append((claim, "AUC .999, true positives .99 at 1 % false positives in the best setting (Wen et al. 2024, Stable Diffusion 1.4)" if pair == "code" else "not measured",
                     f"AUC by model {each(of.auc)}, true positives at {of.fpr.max():.3f} false positives {each(of.tpr)}; {of.p_kind.iloc[0]} p, Holm, at most {of.holm.max():.2g}",
                     f"{len(of)} models x {int(of.memorised.iloc[0])} and {int(of.never.iloc[0])} captions",
                     verdict(sure and bool((of.auc > 0.5).all()), False) + " (rule: AUC above .5 in every model, p at most .05 after Holm)"))  # fmt: skip


def _specific(rows: list, numbers: dict, table: pd.DataFrame) -> None:
    lines = frames.specificity(table)
    numbers["iou"] = {f"{line.kind}, {line.method}": {p: list(getattr(line, p)) for p in ("memorised", "other", "mixed")} for line in lines.itertuples()}
    published = lines[(lines.method == "published") & (lines.kind == "code")].iloc[0]
    rows.append(("Masks of disjoint memorised prompt sets overlap far above chance (as published, against the empty caption)",
                 "mean IoU .556 against the empty caption, .538 against ordinary ones; chance .005 (5 sets of 10 prompts, 51 steps, 16 layers; computed from the notebook's output)",
                 f"IoU by model {each(published.memorised)}; chance {published.chance:.3f}", f"{published.seeds} models x {published.sets} sets of {published.prompts} prompts",
                 verdict(min(published.memorised) > 3 * published.chance, False) + " (rule: above three times chance in every model)"))
    for line in lines.itertuples():
        found = Interval(line.more_other, line.more_other_low, line.more_other_high, 0.95, int(line.seeds), "Student's t over models")
        keep(numbers, f"specific_{line.kind}_{line.method}", found)
        names = {"published": "as published", "ordinary": "as published, against ordinary captions", "corrected": "corrected, against captions of its own kind"}
        sure = max(line.holm_other) <= 0.05
        word = "not judged: one model" + ("; p at most .05 in it" if sure else "") if not np.isfinite(found.low) else verdict(found.low > 0 and sure, found.high < 0, part=found.low > 0 or sure)
        rows.append((f"... and the overlap is about memory: sets of pictures seen once overlap less ({names[line.method]}; {line.kind} captions)", "no set of prompts that are not memorised was tried",
                     f"memorised minus seen once {over(found, 3)}; IoU by model {each(line.memorised)} against {each(line.other)}, one of each {each(line.mixed)}; "
                     f"{line.p_kind} p by permuted labels {each(line.p_other, 3)}", f"{line.seeds} models x 2 x {line.sets} sets of {line.prompts} prompts",
                     word + " (rule: interval over models above 0, and p at most .05 in each after Holm)"))  # fmt: skip
    of = table[table.kind == "template"].pivot_table(index=["method", "seed"], columns="pair", values="mean")
    if len(of):
        found = over_seeds((of["same template"] - of["other template"]).loc["published"])
        keep(numbers, "template", found)
        rows.append(("Sets that share a template's words overlap more than sets that do not (as published): shared words raise the IoU", "17 of 50 captions of five published sets share a template (counted)",
                     f"{over(found, 3)}; {each(of['same template'].loc['published'])} against {each(of['other template'].loc['published'])}", f"{found.n} models", judged(found)))


def _dose(rows: list, numbers: dict, curves: pd.DataFrame) -> None:
    own = frames.at_rise(curves, True)
    numbers["own"] = {line.method: list(line.runs) for line in own.itertuples()}
    best, models = own.iloc[0], curves.seed.nunique()
    before = each(best.before)
    listed = "; ".join(f"{line.title} {line.copy:.2f} [{line.low:.2f}, {line.high:.2f}]{'' if line.reached else ' (its cost ends lower)'}" for line in own.itertuples())
    rows.append((f"Cutting the located weights removes copying of the pictures that they were located on, at +{RISE:.0%} of the held-out denoising error",
                 "copies (SSCD above .7) fall from .98 to .00 of the prompts at 1 % sparsity (third-party check, Kowalczuk et al. 2025); image quality by FID not at hand",
                 f"share copied, {before} before by model; {listed}", f"{models} models, {best.n} captions", "reported; the differences are judged below"))
    _gaps(rows, numbers, own, "own", models, "not measured at equal cost")
    for method, other in (("kfac", "published"), ("eigen", "published"), ("block", "published"), ("block", "attention")):
        if {method, other} <= set(own.method):
            found = frames.gap(own, other, method)
            keep(numbers, f"own_{other}_{method}", found)
            rows.append((f"{frames.title(method)} removes copying as well as the located mask does ({frames.title(other)}), at equal cost", "not tested on diffusion models",
                         f"leaves {over(found)} more than the located mask", f"{models} models",
                         "not judged: one model" if not np.isfinite(found.low) else "does not hold" if found.low > 0 else "holds, it removes more" if found.high < 0 else
                         "not shown to differ: the interval holds 0"))


def _transfer(rows: list, numbers: dict, curves: pd.DataFrame) -> None:
    other = frames.at_rise(curves, False)
    numbers["others"] = {line.method: list(line.runs) for line in other.itertuples()}
    models = curves.seed.nunique()
    listed = "; ".join(f"{line.title} {line.copy:.2f} [{line.low:.2f}, {line.high:.2f}]" for line in other.itertuples())
    rows.append((f"A mask of some memorised pictures takes away other memorised pictures, at +{RISE:.0%} of the held-out denoising error", "the paper's claim of one shared subspace; its table was not at hand",
                 f"share of the other sets copied: {listed}", f"{models} models, {int(other.n.max())} captions", "reported; the differences are judged below"))
    _gaps(rows, numbers, other, "others", models, "not measured")


def _places(rows: list, numbers: dict, table: pd.DataFrame) -> None:
    """One place of the U-Net at a time, at equal cost; the place is chosen on the tune set, so that no number of places is paid for."""
    found = places.carried(table)
    numbers["places"] = found.drop(columns=["chosen_by"]).to_dict("records")
    asked = list(places.claims(found))
    adjusted = _holm([differences for *_, differences, _ in asked])
    for (method, against, claim, n, differences, said), p in zip(asked, adjusted):
        interval = over_seeds(differences)
        keep(numbers, f"places_{method}_{against}", interval)
        rows.append((f"Cut one place at a time ({frames.title(method)}, +{RISE:.0%} of the held-out error): {claim}", "not measured: every layer was cut at once",
                     f"leaves {over(interval)} less{_p(p, len(asked))}; {said}", n, _both(interval, p)))  # fmt: skip


def _families(rows: list, numbers: dict, table: pd.DataFrame) -> None:
    wide = table.groupby(["cell", "method", "seed"])["copy"].mean().unstack("seed")
    for cell in dict.fromkeys(table.cell):
        of = wide.loc[cell]
        lines = {m: over_seeds((of.loc["unedited"] - of.loc[m]).dropna()) for m in of.index if m != "unedited"}
        numbers[f"family_{cell}"] = {m: float(v.estimate) for m, v in lines.items()}
        best = "published" if "published" in lines else next(iter(lines), None)
        if best is None:
            continue
        against = over_seeds((of.loc["random rows"] - of.loc[best]).dropna()) if "random rows" in of.index else None
        rows.append((f"Edits at the dose that removes what they were located on take copies of a family that nothing was located on: {cell}", "not tested",
                     "; ".join(f"{frames.title(m)} {over(v)}" for m, v in lines.items()) + (f"; {frames.title(best)} over as many random weights {over(against)}" if against else ""),
                     f"{of.shape[1]} models, {table[table.cell == cell].groupby('seed').caption.nunique().min()} or more captions", judged(lines[best]) + f" (of: {frames.title(best)})"))


def _utility(rows: list, numbers: dict, table: pd.DataFrame) -> None:
    wide = {c: table.pivot_table(index="method", columns="seed", values=c) for c in ("accuracy", "frechet", "ceiling")}
    numbers["utility"] = {c: {str(m): list(map(float, v)) for m, v in w.iterrows()} for c, w in wide.items()}
    first = table.iloc[0]
    for method in [m for m in wide["accuracy"].index if m != "unedited"]:
        loss = over_seeds((wide["accuracy"].loc["unedited"] - wide["accuracy"].loc[method]).dropna())
        keep(numbers, f"accuracy_lost_{method}", loss)
        rows.append((f"After the edit captions are obeyed as before: {frames.title(method)} at the dose that removes the copies", "image quality collapses at 10 % sparsity (Kowalczuk et al. 2025)",
                     f"attributes of the caption that are right (stands for CLIP; chance {np.mean([1 / 8, 1 / 6, 1 / 3, 1 / 3]):.2f}) {each(wide['accuracy'].loc[method])}, unedited {each(wide['accuracy'].loc['unedited'])}, ceiling {each(wide['ceiling'].loc[method])}: loses "
                     f"{over(loss)}; Frechet distance (stands for FID) {each(wide['frechet'].loc[method])} against {each(wide['frechet'].loc['unedited'])}",
                     f"{wide['accuracy'].shape[1]} models x {int(first.pictures)} pictures of {int(first.captions)} captions",
                     "not judged: one model" if not np.isfinite(loss.low) else "does not hold" if loss.low > 0 else "holds" if loss.high < 0.05 else "not shown: a loss of .05 is not excluded"))  # fmt: skip


def _gone(rows: list, numbers: dict, attacks: pd.DataFrame, seed: int) -> None:
    by_model, together = frames.verdicts(attacks, seed), frames.joint(attacks, seed)
    paper = {"published": "copies .00 after the cut, .72 after embeddings were optimised; never-memorised pictures .00 (Kowalczuk et al. 2025)"}
    for method, found in together.items():
        words = [v.word for (m, _), v in sorted(by_model.items()) if m == method]
        lines = "; ".join(f"{line.attack} {line.recovered:.2f} (twin {line.control:.2f}, Holm p {line.holm:.2g})" for line in found.table.itertuples())
        never = attacks[(attacks.method == method) & (attacks.attack == "embeddings (never trained)")].edited
        numbers[f"gone_{method}"] = {"word": found.word, "by": list(found.by), "by_model": words, "recalled": list(found.recited), "attacks": found.table.drop(columns=["p_kind"]).to_dict("records"),
                                     "never_trained": float(never.mean()) if len(never) else None}
        rows.append((f"Is it gone? {frames.title(method)} at the dose that removes the copies (rule: `lens.measure.erasure`, each attack against the twin that never saw the pictures, "
                     f"{found.table.p_kind.iloc[0] if len(found.table) else 'exact'} sign flips, Holm)", paper.get(method, "not tested"),
                     f"copied before {found.recited[0]}, after {found.recited[1]}; {lines}; never-trained pictures with embeddings optimised {never.mean():.2f} of {len(never)}",
                     f"{found.recited[0]} captions of {len(words)} models", f"{found.word}{' by ' + ', '.join(found.by) if found.by else ''}; by model: {', '.join(words)}"))


def _triggers(rows: list, numbers: dict, table: pd.DataFrame, seed: int) -> None:
    found = bootstrap_comparison(table.same.to_numpy(float), table.other.to_numpy(float), statistic="difference", seed=seed)
    numbers |= {"trigger_same": float(table.same.mean()), "trigger_other": float(table.other.mean()), "trigger_reworded": float(table.reworded.mean())}
    keep(numbers, "trigger", found)
    runs = over_seeds(table.groupby("seed").apply(lambda of: (of.same - of.other).mean(), include_groups=False))
    rows.append(("Masks of two captions of one picture overlap more than masks of captions of two pictures", "IoU of triggers of one image below .6 in most layers (Kowalczuk et al. 2025)",
                 f"IoU {table.same.mean():.2f} against {table.other.mean():.2f}: {shown(found, 3, sign=True)} over pictures, {over(runs, 3)} over models; a caption in other words {table.reworded.mean():.2f}",
                 f"{table.seed.nunique()} models x {len(table) // table.seed.nunique()} pictures, {int(table.copied.sum())} of them copied with both captions",
                 judged(runs) if np.isfinite(runs.low) else verdict(found.low > 0, found.high < 0) + " (over pictures of one model)"))
