"""The claims about memorised pictures against what was measured on the organism `cards`; each row states the rule of
its verdict.

The published work is on Stable Diffusion 1.4, so that its numbers are named as of another model. Its result tables were
not at hand: what is quoted was computed from the output of its notebook (IoU), or comes from later work that checked it
(Kowalczuk et al. 2025, Finding DoRI; Wen et al. 2024). The unit is the model; where captions of the same models are
compared, both levels are in interval and p (`lens.stats.units.nested`). Rows that ask the same of several methods are
one family (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...stats import Interval, bootstrap_comparison
from ...stats.units import Nested, nested_difference, nested_holm
from .. import specificity
from ..claims import Rows
from ..common import EVERY, shown, table_of, verdict
from ..over_models import each, holm_over_models, judged, over, over_seeds
from . import images, places
from . import tables as frames
from .bench import RISE
from .claims import CLAIMS, LOSS

#: Controls of equal density beside which a located mask is read.
CONTROLS = ("unmemorised", "random rows", "random columns", "wanda")
#: Methods that need no located mask, and the mask that each is held against.
RIVALS = (("kfac", "published"), ("eigen", "published"), ("block", "published"), ("block", "attention"))
#: What a mask of disjoint prompt sets is located against.
REFERENCES = {
    "published": "as published",
    "ordinary": "as published, against ordinary captions",
    "corrected": "corrected, against captions of its own kind",
}
LOCATED = ("published", "ordinary", "corrected", "attention", "attention published")


def verdicts(tables: Mapping[str, pd.DataFrame], *, seed: int = 0) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and every number in it."""
    rows = Rows(CLAIMS)
    _copying(rows, tables["copying"])
    _told(rows, tables["copying"])
    _specific(rows, tables["specificity"])
    _dose(rows, tables["curves"])
    _transfer(rows, tables["curves"])
    for name, judge in {"places": _places, "families": _families, "utility": _utility}.items():
        if len(tables[name]):
            judge(rows, tables[name])
    for name, seeded in {"attacks": _gone, "triggers": _triggers}.items():
        if len(tables[name]):
            seeded(rows, tables[name], seed)
    if len(tables["images"]):
        images.judge(rows, tables["images"], tables["images_by_caption"])
    return table_of(rows), rows.numbers


def _p(p: float, count: int) -> str:
    return "" if np.isnan(p) else f"; nested p (approximate), Holm over {count}: {p:.2g}"


def _corrected(found: Mapping[Any, Nested]) -> Iterator[tuple[Any, Nested, float]]:
    """Each comparison with its p, Holm over all of them."""
    return zip(found, found.values(), nested_holm(list(found.values())) if found else ())


def _both(found: Nested, p: float) -> str:
    """The word of a comparison within models: its interval, held back where Holm's p does not bear it out."""
    if len(found.tops) < 2:
        return "not judged: one model"
    low, high = found.interval.low > 0, found.interval.high < 0
    if (low or high) and p > 0.05:
        return f"not shown: taken alone it {'holds' if low else 'does not hold'}, Holm's p is above .05"
    return verdict(low, high)


def _told_of(found: Nested, digits: int = 2) -> str:
    return over(found.interval, digits) if len(found.tops) > 1 else f"{found.interval.estimate:+.{digits}f} (one model)"


def _gaps(rows: Rows, table: pd.DataFrame, curves: pd.DataFrame, name: str, models: int) -> None:
    """Every located method against every control at equal cost; nested p (approximate), Holm over all of these
    comparisons.
    """
    pairs = ((m, c) for m in LOCATED for c in CONTROLS if {m, c} <= set(table.method))
    found = {(m, c): gap for m, c in pairs if (gap := frames.gap(curves, name == "own", m, c)) is not None}
    for (method, control), one, p in _corrected(found):
        rows.put(f"{name}_{method}_{control}", one.interval)
        rows.add(
            f"{name}_more",
            f"leaves {_told_of(one)} less{_p(p, len(found))}",
            f"{models} models x {one.n // max(1, len(one.tops))} captions",
            _both(one, p),
            f"Holm over {len(found)}",
            effects=f"{name}_{method}_{control}",
            method=frames.title(method),
            control=frames.title(control),
        )


def _copying(rows: Rows, copying: pd.DataFrame) -> None:
    runs = copying.groupby(["cell", "seed"])["copy"].mean().unstack("seed")
    count = copying.groupby(["cell", "seed"]).size().iloc[0]
    models = runs.shape[1]

    def of(cell):
        return f"{cell} {each(runs.loc[cell])}"

    for name, a, b in (("duplication", "code-many", "code-once"), ("codes", "code-many", "generic-many")):
        one = nested_difference(
            *([v["copy"].to_numpy(float) for _, v in copying[copying.cell == cell].groupby("seed")] for cell in (a, b))
        )
        rows.put(name, one.interval)
        rows.add(
            name,
            f"share of seeds that give a copy, by model: {of(a)}; {of(b)}; never trained"
            f" {each(runs.loc['code-never'])}; difference {_told_of(one)}",
            f"{models} models x {count} captions a cell",
            ("not judged: one model" if models < 2 else judged(one.interval))
            + " (rule: the difference is above 0, models and captions in the interval)",
            effects=name,
        )
    rows.numbers["copy"] = {str(cell): list(map(float, line)) for cell, line in runs.iterrows()}


def _told(rows: Rows, copying: pd.DataFrame) -> None:
    table = frames.told(copying)
    whole = table[table.steps == table.steps.max()]
    rows.numbers["detection"] = table.drop(columns=["p_kind"]).to_dict("records")
    for pair in ("code", "generic", "digit", "code, seen once"):
        of = whole[whole.pair == pair]
        unsure = int((of.holm > 0.05).sum())
        word = (
            "holds"
            if not unsure and (of.auc > 0.5).all()
            else f"not shown: p above .05 in {unsure} of {len(of)} models"
        )
        rows.add(
            f"told_{pair}",
            f"AUC by model {each(of.auc)}, true positives at {of.fpr.max():.3f} false positives {each(of.tpr)};"
            f" permutation p ({of.p_kind.iloc[0]}), Holm, at most {of.holm.max():.2g}",
            f"{len(of)} models x {int(of.memorised.iloc[0])} and {int(of.never.iloc[0])} captions",
            f"{word} (rule: AUC above .5 in every model, p at most .05 after Holm)",
            f"Holm over {len(table)}",
        )


def _specific(rows: Rows, table: pd.DataFrame) -> None:
    lines = frames.specificity(table)
    rows.numbers["iou"] = {
        f"{line.kind}, {line.method}": {p: list(getattr(line, p)) for p in ("memorised", "other", "mixed")}
        for line in lines.itertuples()
    }
    published = lines[(lines.method == "published") & (lines.kind == "code")].iloc[0]
    rows.add(
        "overlap",
        f"IoU by model {each(published.memorised)}; chance {published.chance:.3f}",
        f"{published.seeds} models x {published.sets} sets of {published.prompts} prompts",
        ("holds" if min(published.memorised) > 3 * published.chance else "not shown")
        + " (rule: above three times chance in every model)",
        EVERY,
    )
    for line in lines.itertuples():
        found = rows.put(f"specific_{line.kind}_{line.method}", line.more_other)
        rows.add(
            "specific",
            f"memorised minus seen once {over(found, 3)}; IoU by model {each(line.memorised)} against"
            f" {each(line.other)}, one of each {each(line.mixed)}; {line.p_kind} p by permuted labels"
            f" {each(line.p_other, 3)}",
            f"{line.seeds} models x 2 x {line.sets} sets of {line.prompts} prompts",
            specificity.word(found, line.holm_other)
            + " (rule: interval over models above 0, and p at most .05 in each after Holm)",
            f"Holm over {line.seeds} models",
            effects=f"specific_{line.kind}_{line.method}",
            method=REFERENCES[line.method],
            kind=line.kind,
        )
    of = table[(table.kind == "template") & (table.method == "published")]
    if len(of):
        same, other = (of[of.pair == f"{which} template"].set_index("seed")["mean"] for which in ("same", "other"))
        found = rows.put("template", over_seeds(same - other))
        here = f"{over(found, 3)}; {each(same)} against {each(other)}"
        rows.add("template", here, f"{found.n} models", judged(found), effects="template")


def _dose(rows: Rows, curves: pd.DataFrame) -> None:
    own = frames.at_rise(curves, True)
    rows.numbers["own"] = {line.method: list(line.runs) for line in own.itertuples()}
    best, models = own.iloc[0], curves.seed.nunique()
    listed = "; ".join(
        f"{line.title} {line.copy:.2f} [{line.low:.2f}, {line.high:.2f}]"
        + " (its cost ends lower)" * (not line.reached)
        for line in own.itertuples()
    )
    rows.add(
        "own",
        f"share copied, {each(best.before)} before by model; {listed}",
        f"{models} models, {best.n} captions",
        "reported; the differences are judged below",
        rise=f"{RISE:.0%}",
    )
    _gaps(rows, own, curves, "own", models)
    pairs = (pair for pair in RIVALS if {*pair} <= set(own.method))
    found = {(m, o): gap for m, o in pairs if (gap := frames.gap(curves, True, o, m)) is not None}
    for (method, other), one, p in _corrected(found):
        rows.put(f"own_{other}_{method}", one.interval)
        word = _both(one, p)
        rows.add(
            "as_well",
            f"leaves {_told_of(one)} more than the located mask{_p(p, len(found))}",
            f"{models} models",
            {"holds": "does not hold", "does not hold": "holds, it removes more"}.get(
                word, word.replace("it holds,", "it removes less,").replace("it does not hold,", "it removes more,")
            ),
            f"Holm over {len(found)}",
            effects=f"own_{other}_{method}",
            method=frames.title(method),
            other=frames.title(other),
        )


def _transfer(rows: Rows, curves: pd.DataFrame) -> None:
    other = frames.at_rise(curves, False)
    rows.numbers["others"] = {line.method: list(line.runs) for line in other.itertuples()}
    models = curves.seed.nunique()
    listed = "; ".join(f"{line.title} {line.copy:.2f} [{line.low:.2f}, {line.high:.2f}]" for line in other.itertuples())
    rows.add(
        "others",
        f"share of the other sets copied: {listed}",
        f"{models} models, {int(other.n.max())} captions",
        "reported; the differences are judged below",
        rise=f"{RISE:.0%}",
    )
    _gaps(rows, other, curves, "others", models)


def _places(rows: Rows, table: pd.DataFrame) -> None:
    """One place of the U-Net at a time, at equal cost; the place is chosen on the tune set, so that no number of places
    is paid for.
    """
    found = places.carried(table)
    rows.numbers["places"] = found.drop(columns=["chosen_by"]).to_dict("records")
    asked = {row: places.differences(table, found, row[0], row[1]) for row in places.claims(found)}
    there = {row: one for row, one in asked.items() if one is not None}
    for (method, against, claim, n, said), one, p in _corrected(there):
        rows.put(f"places_{method}_{against}", one.interval)
        rows.add(
            "place",
            f"leaves {_told_of(one)} less{_p(p, len(there))}; {said}",
            n,
            _both(one, p),
            f"Holm over {len(there)}",
            effects=f"places_{method}_{against}",
            method=frames.title(method),
            rise=f"{RISE:.0%}",
            claim=claim,
        )


def _families(rows: Rows, table: pd.DataFrame) -> None:
    wide = table.pivot_table(index=["cell", "seed", "caption"], columns="method", values="copy")
    taken: dict[str, dict[str, Nested]] = {}
    against: dict[str, Nested | None] = {}
    for cell in dict.fromkeys(table.cell):
        models = [(int(s), v) for s, v in wide.loc[cell].groupby("seed")]

        def less(a, b, models=models):
            return frames.within_models({s: (v[a] - v[b]).dropna() for s, v in models if {a, b} <= set(v.columns)})

        lines = {m: less("unedited", m) for m in wide.columns if m != "unedited" and wide.loc[cell][m].notna().any()}
        rows.numbers[f"family_{cell}"] = {m: float(v.interval.estimate) for m, v in lines.items()}
        if lines:
            best = "published" if "published" in lines else next(iter(lines))
            taken[cell] = {best: lines.pop(best)} | lines
            against[cell] = less("random rows", best) if "random rows" in taken[cell] else None
    for cell, one, p in _corrected({cell: next(iter(lines.values())) for cell, lines in taken.items()}):
        of, title = table[table.cell == cell], frames.title(next(iter(taken[cell])))
        listed = (f"{frames.title(m)} {_told_of(v)}" for m, v in sorted(taken[cell].items()))
        random = against[cell]
        rows.put(f"family_taken_{cell}", one.interval)
        rows.add(
            "family",
            "; ".join(listed)
            + (f"; {title} over as many random weights {_told_of(random)}" if random else "")
            + f" (of {title}{_p(p, len(taken))})",
            f"{of.seed.nunique()} models, {of.groupby('seed').caption.nunique().min()} or more captions",
            f"{_both(one, p)} (of: {title})",
            f"Holm over {len(taken)}",
            effects=f"family_taken_{cell}",
            cell=cell,
        )


def _utility(rows: Rows, table: pd.DataFrame) -> None:
    """What is lost of captions that are obeyed, and whether a loss of .05 is excluded: each a family of all methods
    (Holm); the pictures of a model are many, so that models are the unit.
    """
    wide = {c: table.pivot_table(index="method", columns="seed", values=c) for c in ("accuracy", "frechet", "ceiling")}
    rows.numbers["utility"] = {c: {str(m): list(map(float, v)) for m, v in w.iterrows()} for c, w in wide.items()}
    first, methods = table.iloc[0], [m for m in wide["accuracy"].index if m != "unedited"]
    lost = {m: (wide["accuracy"].loc["unedited"] - wide["accuracy"].loc[m]).dropna() for m in methods}
    some, few = holm_over_models(list(lost.values())), holm_over_models([v - LOSS for v in lost.values()])
    for method, p, q in zip(methods, some, few):
        loss = over_seeds(lost[method])
        rows.put(f"accuracy_lost_{method}", loss)
        rows.add(
            "obeyed",
            "attributes of the caption that are right (stands for CLIP; chance"
            f" {np.mean([1 / 8, 1 / 6, 1 / 3, 1 / 3]):.2f}) {each(wide['accuracy'].loc[method])}, unedited"
            f" {each(wide['accuracy'].loc['unedited'])}, ceiling {each(wide['ceiling'].loc[method])}: loses"
            f" {over(loss)}"
            + ("" if np.isnan(p) else f" (Holm over {len(methods)}: p {p:.2g} of no loss, {q:.2g} of a loss of .05)")
            + f"; Frechet distance (stands for FID) {each(wide['frechet'].loc[method])} against"
            f" {each(wide['frechet'].loc['unedited'])}",
            f"{wide['accuracy'].shape[1]} models x {int(first.pictures)} pictures of {int(first.captions)} captions",
            _obeyed(loss, p, q),
            f"Holm over {len(methods)}",
            effects=f"accuracy_lost_{method}",
            method=frames.title(method),
        )


def _obeyed(loss: Interval, p: float, q: float) -> str:
    """The word of a loss: with the p of no loss, and of one as large as the margin."""
    if not np.isfinite(loss.low):
        return "not judged: one model"
    if loss.low > 0:
        return "does not hold" if p <= 0.05 else "not shown: taken alone it loses, Holm's p is above .05"
    small = CLAIMS["obeyed"].within(loss.low, loss.high) and q <= 0.05
    return "holds" if small else "not shown: a loss of .05 is not excluded"


def _gone(rows: Rows, attacks: pd.DataFrame, seed: int) -> None:
    for method, found in frames.gone(attacks, seed).items():
        lines = "; ".join(
            f"{name} {line.recovered:.2f} (twin {line.control:.2f}, counts in {int(line['counts in'])})"
            for name, line in found.table.iterrows()
            if line.n
        )
        never = attacks[(attacks.method == method) & (attacks.attack == "embeddings (never trained)")].edited
        rows.numbers[f"gone_{method}"] = {
            "word": found.word,
            "by": found.by,
            "by_model": list(found.models),
            "recalled": list(found.recalled),
            "attacks": found.table.rename_axis("attack").reset_index().to_dict("records"),
            "never_trained": float(never.mean()) if len(never) else None,
        }
        counted = ", ".join(f"{name} ({count} of {len(found.models)} models)" for name, count in found.by.items())
        rows.add(
            "gone_published" if method == "published" else "gone",
            f"copied before {found.recalled[0]}, after {found.recalled[1]}; brought back of what was taken,"
            f" means over models: {lines or 'nothing was taken'}; never-trained pictures with embeddings"
            f" optimised {never.mean():.2f} of {len(never)}",
            f"{found.recalled[0]} captions of {len(found.models)} models",
            f"{found.word}; by {counted}" if counted else found.word,
            f"Holm over {len(found.table)} attacks, Bonferroni over {len(found.models)} models",
            method=frames.title(method),
        )


def _triggers(rows: Rows, table: pd.DataFrame, seed: int) -> None:
    found = bootstrap_comparison(
        table.same.to_numpy(float), table.other.to_numpy(float), statistic="difference", seed=seed
    )
    rows.numbers |= {
        "trigger_same": float(table.same.mean()),
        "trigger_other": float(table.other.mean()),
        "trigger_reworded": float(table.reworded.mean()),
    }
    rows.put("trigger", found)
    runs = over_seeds(table.groupby("seed").apply(lambda of: (of.same - of.other).mean(), include_groups=False))
    rows.add(
        "triggers",
        f"IoU {table.same.mean():.2f} against {table.other.mean():.2f}: {shown(found, 3, sign=True)} over"
        f" pictures, {over(runs, 3)} over models; a caption in other words {table.reworded.mean():.2f}",
        f"{table.seed.nunique()} models x {len(table) // table.seed.nunique()} pictures,"
        f" {int(table.copied.sum())} of them copied with both captions",
        judged(runs)
        if np.isfinite(runs.low)
        else verdict(found.low > 0, found.high < 0) + " (over pictures of one model)",
        effects="trigger",
    )
