"""The claims of Blackbox Model Provenance via Palimpsestic Membership Inference (Kuditipudi et al. 2025) against what
was measured on the small family.

The paper's models have 1 to 12 billion parameters and its texts are not these: what is compared is whether each claim
holds in kind, never its numbers. Published values are quoted from the abstract and from the authors' repository
(notebooks, README), as read; the full table of p-values was not seen. A suspect counts as detected where the guaranteed
p is at most .01 after Holm's correction over all suspects of that Alice; effects over Alices have Student's t intervals
whose unit is the Alice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...stats.intervals import proportion
from ..claims import Rows
from ..common import EVERY, NOT_JUDGED, table_of, verdict
from ..over_models import by_seed, holm_over_models
from .claims import CLAIMS
from .evidence import rows_asked, text_alone
from .tables import LEVEL, TITLES, arm_means, p_text, survival, with_holm

#: what the paper's kind of fine-tunes is here: trained on, merged or rounded, the weights still Alice's
MADE_FROM = tuple(
    name for name in TITLES if name not in ("alice", "soft", "samples") and not name.startswith("with-independent")
)


def verdicts(
    *,
    queries: pd.DataFrame,
    references: pd.DataFrame,
    arms: pd.DataFrame,
    power: pd.DataFrame,
    stopping: pd.DataFrame,
    retrains: pd.DataFrame,
    partitions: pd.DataFrame,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers, from the tables of
    `palimpsest_steps`.
    """
    rows = Rows(CLAIMS)
    numbers: dict[str, Any] = {}
    every = with_holm(queries)
    queries = every[every.statistic == "difference"]
    _main(rows, numbers, queries)
    _reference(rows, numbers, references)
    _derived(rows, numbers, every)
    _innocent(rows, numbers, queries)
    _distilled(rows, numbers, queries)
    _arms(rows, numbers, arms)
    _epochs(rows, numbers, arms)
    rows_asked(rows, numbers, power, stopping)
    text_alone(rows, numbers, retrains, partitions)
    return table_of(rows), numbers


def _interval(values: pd.Series, digits: int = 3) -> tuple[str, float, float, float]:
    """Mean over Alices with its t interval as text, and as numbers."""
    mean, low, high = by_seed(values)
    each = ", ".join(f"{v:+.{digits}f}" for v in values)
    return _bounded(mean, low, high, digits) + (f" (each {each})" if np.isfinite(low) else ""), mean, low, high


def _bounded(mean: float, low: float, high: float, digits: int = 3) -> str:
    """A mean over Alices with its bounds; of one there are none."""
    if not np.isfinite(low):
        return f"{mean:+.{digits}f} (one training run)"
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _over_alices(bounds: tuple[float, ...], word: str) -> str:
    """The word of a verdict that follows from an interval over Alices; one Alice gives none."""
    return word if np.isfinite(bounds).all() else "not judged: one training run"


def _kept(numbers: dict[str, Any], name: str, values: pd.Series) -> str:
    text, mean, low, high = _interval(values)
    numbers |= {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_seeds": [float(v) for v in values]}
    return text


def _main(rows: Rows, numbers: dict, queries: pd.DataFrame) -> None:
    alice = queries[queries.group == "alice"]
    text = _kept(numbers, "alice_rho", alice.rho)
    numbers |= {"alice_p": [float(p) for p in alice.p], "alice_p_permutation_floor": float(alice.p_permutation.min())}
    strong = (alice.rho < -0.05) & (alice.p < 1e-6)
    rows.add(
        "order",
        f"rho {text}; guaranteed p {', '.join(p_text(p) for p in alice.p)}",
        f"{len(alice)} Alices x {int(alice.n.iloc[0]):,} rows",
        verdict(
            bool(strong.all()),
            not (alice.p <= LEVEL).any(),
            f"{int(strong.sum())} of {len(alice)} below rho -.05 and p 1e-6",
            part=bool((alice.p <= LEVEL).any()),
        ),
        EVERY,
        effects="alice_rho",
    )


def _reference(rows: Rows, numbers: dict, references: pd.DataFrame) -> None:
    plain = references[references.statistic.isin(("none", "difference"))].set_index(["reference", "seed"])
    none, best = plain.loc["none"], plain.loc["reference"]
    gain = best.rho.abs() - none.rho.abs()
    mean, low, high = by_seed(gain)
    numbers |= {
        "reference_gain": mean,
        "reference_gain_low": low,
        "reference_gain_high": high,
        "none_rho": [float(v) for v in none.rho],
    }
    rows.add(
        "reference",
        f"|rho| {none.rho.abs().mean():.3f} without, {best.rho.abs().mean():.3f} with; gain"
        f" {_bounded(mean, low, high)}; detected at p <= .01 without: {int((none.p <= LEVEL).sum())} of"
        f" {len(none)}",
        f"{len(gain)} Alices",
        _over_alices(
            (low,),
            verdict(
                low > 0 and not (none.p <= LEVEL).any(),
                high < 0,
                "a reference helps, but without one the trace is seen too" if low > 0 else "",
                part=low > 0,
            ),
        ),
        EVERY,
        effects="reference_gain",
    )
    others = {name: plain.loc[name].rho for name in ("disjoint", "smaller") if name in plain.index.get_level_values(0)}
    texts = [
        f"{label} {_interval(rho)[0]}"
        for label, rho in {"other rows": others.get("disjoint"), "a smaller model": others.get("smaller")}.items()
        if rho is not None
    ]
    numbers |= {f"{name}_rho": [float(v) for v in rho] for name, rho in others.items()}
    worse = {name: by_seed(rho.abs() - best.rho.abs()) for name, rho in others.items()}
    paid = holm_over_models([(rho.abs() - best.rho.abs()).to_numpy(float) for rho in others.values()]) <= 0.05
    if others:
        rows.add(
            "best_reference",
            f"same data {_interval(best.rho)[0]}; {'; '.join(texts)}",
            f"{len(best)} Alices",
            verdict(
                all(w[2] < 0 for w in worse.values()),
                any(sure and w[1] > 0 for w, sure in zip(worse.values(), paid)),
                "ranking of means " + ("agrees" if all(w[0] < 0 for w in worse.values()) else "differs"),
                part=any(sure and w[2] < 0 for w, sure in zip(worse.values(), paid)),
            ),
            f"Holm over {len(worse)}",
        )
    ways = references[references.statistic.isin(("linear", "poly4"))].groupby("statistic").rho.mean()
    two = plain.loc[[name for name in plain.index if "+" in name[0]]].rho
    numbers |= {"ways_rho": {k: float(v) for k, v in ways.items()} | {"two references": float(two.mean())}}
    rows.add(
        "ways",
        f"difference {best.rho.mean():+.3f}, linear {ways.get('linear', np.nan):+.3f}, degree 4"
        f" {ways.get('poly4', np.nan):+.3f}, two references {two.mean():+.3f}",
        f"{len(best)} Alices",
        "no claim to judge",
    )


def _derived(rows: Rows, numbers: dict, queries: pd.DataFrame) -> None:
    lines = survival(queries).set_index("derivative")
    mine = [name for name in MADE_FROM if name in lines.index]
    total, found = int(lines.loc[mine, "of"].sum()), int(lines.loc[mine, "detected"].sum())
    share = proportion(found, total)
    numbers |= {
        "derived_detected": found,
        "derived_of": total,
        "survival": {n: [float(r.share), float(r.share_low), float(r.share_high)] for n, r in lines.iterrows()},
    }
    missed = [f"{lines.title[n]} {lines.detected[n]}/{lines.of[n]}" for n in mine if lines.detected[n] < lines.of[n]]
    rows.add(
        "derived",
        f"{found} of {total} detected at .01 after Holm" + (f"; missed: {', '.join(missed)}" if missed else ""),
        f"{total} models of {int(lines.of.max())} Alices (an Alice's models are not independent; "
        f"exact interval if they were: {share.low:.2f} to {share.high:.2f})",
        verdict(found == total, found == 0, part=found > 0),
        f"Holm over the suspects of each Alice, at {LEVEL:g}",
    )
    tunes = [name for name in ("tune-1", "tune-5", "tune-25", "tune-100") if name in lines.index]
    text = "; ".join(
        f"{lines.title[n]} {100 * lines['share'][n]:.0f} %"
        + (
            f" [{100 * lines.share_low[n]:.0f}, {100 * lines.share_high[n]:.0f}]"
            if np.isfinite(lines.share_low[n])
            else ""
        )
        for n in tunes
    )
    last = lines.loc[tunes[-1]] if tunes else None
    faded = (
        by_seed(pd.Series(np.subtract(lines.shares[tunes[-1]], lines.shares[tunes[0]])))
        if len(tunes) > 1
        else (np.nan,) * 3
    )
    rows.add(
        "tuning",
        f"share of Alice's own rho that is left: {text}"
        + (
            f"; longest minus shortest tuning {100 * faded[0]:+.0f} % [{100 * faded[1]:+.0f}, {100 * faded[2]:+.0f}]"
            if np.isfinite(faded).all()
            else ""
        ),
        f"{int(lines.of.max())} Alices",
        _over_alices(
            faded,
            verdict(
                last is not None and last.detected == last.of and faded[2] < 0,
                last is not None and last.detected == 0 and faded[1] > 0,
                (
                    f"after the longest tuning {last.detected} of {last.of} detected, and it"
                    f" {'fades' if faded[2] < 0 else 'is not seen to fade'}"
                    if last is not None
                    else ""
                ),
                part=bool(len(tunes)) and (faded[2] < 0 or bool((lines.detected[tunes] == lines.of[tunes]).any())),
            ),
        ),
        EVERY,
    )
    better = survival(queries, "poly4").set_index("derivative")
    again = int(better.loc[mine, "detected"].sum())
    gain = by_seed(pd.Series(_gaps(queries, mine)))
    numbers |= {
        "derived_detected_poly4": again,
        "poly4_gain": list(gain),
        "survival_poly4": {n: [float(r.rho), float(r.low), float(r.high)] for n, r in better.iterrows()},
    }
    rows.add(
        "residual",
        f"{again} of {total} derived models detected (difference: {found}); rho over them lower by"
        f" {_bounded(*gain)}; Alice herself {better.rho['alice']:+.3f}",
        f"{int(lines.of.max())} Alices",
        _over_alices(gain, verdict(gain[1] > 0, gain[2] < 0)),
        effects="poly4_gain",
    )
    blends = [name for name in lines.index if name.startswith("with-independent")]
    if blends:
        rows.add(
            "averaging",
            "; ".join(
                f"{lines.title[n]}: rho {lines.rho[n]:+.3f}, loss {lines.loss[n]:.2f},"
                f" {lines.detected[n]}/{lines.of[n]} detected"
                for n in blends
            )
            + f" (Alice's loss {lines.loss['alice']:.2f}: models of different starts do not average)",
            f"{int(lines.of.max())} Alices",
            f"reported: {int(lines.detected[blends].sum())} of {int(lines.of[blends].sum())} detected (exact"
            " bound of the share, if models were independent:"
            f" {proportion(int(lines.detected[blends].sum()), int(lines.of[blends].sum())).high:.2f})",
            NOT_JUDGED,
        )


def _gaps(queries: pd.DataFrame, names: list[str]) -> list[float]:
    """By Alice, how much lower rho is with the polynomial than with the difference, the mean over derivatives."""
    of = queries[(queries.group == "derivative") & queries.suspect.str.partition("/")[2].isin(names)]
    wide = of.pivot_table(index=["seed", "suspect"], columns="statistic", values="rho")
    return (wide["difference"] - wide["poly4"]).groupby(level="seed").mean().tolist()


def _innocent(rows: Rows, numbers: dict, queries: pd.DataFrame) -> None:
    null = queries[queries.group.isin(("innocent", "another alice"))]
    flagged = int((null.p <= LEVEL).sum())
    share = proportion(flagged, len(null))
    numbers |= {"innocent_flagged": flagged, "innocent_of": len(null), "innocent_smallest_p": float(null.p.min())}
    rows.add(
        "innocent",
        f"{flagged} of {len(null)} at p <= .01 without correction; smallest p {p_text(null.p.min())}; after"
        f" Holm {int((null.holm <= LEVEL).sum())}",
        f"{len(null)} pairs of model and order",
        "does not hold: more often than its level"
        if share.low > LEVEL
        else (
            "holds"
            if share.high <= LEVEL
            else (
                f"not shown: {flagged} of {len(null)} bounds the rate at {share.high:.2f} (exact, if pairs were"
                f" independent); the level is {LEVEL:g}"
            )
        ),
    )
    trap = queries[(queries.group == "trap") & queries.suspect.str.startswith("independent")]
    numbers |= {
        "trap_rho": [float(v) for v in trap.rho],
        "trap_p": [float(v) for v in trap.p],
        "trap_p_two_sided_z": [float(v) for v in trap.z],
    }
    turned = trap.z.abs().min()
    if len(trap):
        rows.add(
            "trap",
            f"innocent minus same-order reference: rho {', '.join(f'{v:+.3f}' for v in trap.rho)}, z"
            f" {', '.join(f'{v:+.1f}' for v in trap.z)}, two-sided published p"
            f" {', '.join(p_text(p) for p in trap.p_published)}; one-sided guaranteed p"
            f" {', '.join(p_text(p) for p in trap.p)}. Declared as what it is, the reference is refused",
            f"{len(trap)} innocent models",
            verdict(
                bool((trap.p_published <= 1e-4).all()),
                not (trap.p_published <= LEVEL).any(),
                f"smallest |z| {turned:.1f}",
                part=bool((trap.p_published <= LEVEL).any()),
            ),
            EVERY,
        )
    for _, sister in queries[queries.group == "sister"].iterrows():
        numbers |= {"sister_rho": float(sister.rho), "sister_p": float(sister.p)}
        rows.add(
            "sister",
            f"rho {sister.rho:+.3f} [{sister.low:+.3f}, {sister.high:+.3f}], p {p_text(sister.p)}",
            f"one model, {int(sister.n):,} rows",
            verdict(sister.p <= LEVEL, sister.p > 0.5).replace("the interval holds 0", "p above its level"),
        )


def _distilled(rows: Rows, numbers: dict, queries: pd.DataFrame) -> None:
    of = {
        name: queries[(queries.group == "derivative") & queries.suspect.str.endswith(f"/{name}")]
        for name in ("soft", "samples")
    }
    of = {name: lines for name, lines in of.items() if len(lines)}
    adjusted = holm_over_models([lines.rho.to_numpy(float) for lines in of.values()])
    for (name, lines), p in zip(of.items(), adjusted):
        text, alone = _kept(numbers, f"{name}_rho", lines.rho), int((lines.holm <= LEVEL).sum())
        mean = by_seed(lines.rho)[2] < 0 and p <= 0.05
        rows.add(
            f"distilled_{name}",
            f"rho {text}"
            + (f" (Holm's p of the mean {p:.2g})" if np.isfinite(p) else "")
            + f"; p {', '.join(p_text(v) for v in lines.p)}",
            f"{len(lines)} Alices",
            (
                "holds"
                if alone == len(lines)
                else "holds in part: in the mean over Alices"
                if mean
                else "not shown at this number of rows"
            )
            + f"; {alone} of {len(lines)} detected alone",
            f"Holm over {len(of)}",
            effects=f"{name}_rho",
            writer=TITLES[name],
        )


def _arms(rows: Rows, numbers: dict, arms: pd.DataFrame) -> None:
    means = arm_means(arms[~arms.group.str.startswith("two")]).set_index("arm")
    numbers |= {"arms": {a: [float(r.rho), float(r.low), float(r.high)] for a, r in means.iterrows()}}
    text = "; ".join(f"{a} {_interval(pd.Series(r.seeds))[0]}" for a, r in means.iterrows())
    own = arms[arms.group == "constant"].set_index("seed").rho
    shared = {
        a: by_seed((arms[arms.group == a].set_index("seed").rho - own).dropna()) for a in means.index if a != "constant"
    }
    adjusted = holm_over_models(
        [(arms[arms.group == a].set_index("seed").rho - own).dropna().to_numpy(float) for a in shared]
    )
    text += "; rho minus constant's " + ", ".join(
        f"{a} {g[0]:+.3f} [{g[1]:+.3f}, {g[2]:+.3f}]" + (f" (Holm's p {p:.2g})" if np.isfinite(p) else "")
        for (a, g), p in zip(shared.items(), adjusted)
    )
    numbers["arm_gaps"] = {a: list(g) for a, g in shared.items()}
    if not shared:  # nothing to compare with
        return
    rows.add(
        "end_rate",
        text
        + "; spread of suspect minus reference over rows, nats a byte: "
        + ", ".join(f"{a} {r.spread:.3f}" for a, r in means.iterrows()),
        f"{len(means.seeds.iloc[0])} Alices an arm",
        verdict(
            all(g[1] > 0 for g in shared.values()),
            any(g[2] < 0 and p <= 0.05 for g, p in zip(shared.values(), adjusted)),
            (
                "all arms are weaker in the mean"
                if all(g[0] > 0 for g in shared.values())
                else "not every arm is weaker in the mean"
            ),
            part=any(g[1] > 0 and p <= 0.05 for g, p in zip(shared.values(), adjusted)),
        ).replace("the interval holds 0", "p above .05 by Holm"),
        f"Holm over {len(shared)} arms",
        effects="arm_gaps/*",
    )
    last_rows = arms.set_index(["group", "seed"]).last_tenth
    weaker = {a: by_seed((last_rows[a] - last_rows["constant"]).dropna()) for a in shared}
    paid = holm_over_models([(last_rows[a] - last_rows["constant"]).dropna().to_numpy(float) for a in shared])
    numbers["last_tenth"] = {a: [float(v) for v in last_rows[a]] for a in means.index}
    rows.add(
        "end_depth",
        "loss of the last tenth of rows against all, suspect minus reference, nats a byte: "
        + "; ".join(f"{a} {_interval(last_rows[a], 4)[0]}" for a in means.index)
        + "; minus constant's "
        + ", ".join(f"{a} {g[0]:+.4f} [{g[1]:+.4f}, {g[2]:+.4f}]" for a, g in weaker.items()),
        f"{len(means.seeds.iloc[0])} Alices an arm",
        verdict(
            bool(weaker) and all(g[1] > 0 for g in weaker.values()),
            any(g[2] < 0 for g in weaker.values()),
            (
                "all arms are shallower in the mean"
                if all(g[0] > 0 for g in weaker.values())
                else "not every arm is shallower"
            ),
            part=any(g[1] > 0 and p <= 0.05 for g, p in zip(weaker.values(), paid)),
        ),
        EVERY,
    )


def _epochs(rows: Rows, numbers: dict, arms: pd.DataFrame) -> None:
    epochs = arms[arms.group.str.startswith("two")]
    if len(epochs):
        by = {group.removeprefix("two epochs: "): of for group, of in epochs.groupby("group", sort=False)}
        numbers |= {"epochs": {k: [float(v) for v in of.rho] for k, of in by.items()}}
        last = by.get("epoch 2", epochs)
        apart = (last.set_index("seed").rho - by["epoch 1"].set_index("seed").rho).dropna()
        gap = by_seed(apart)
        rows.add(
            "epochs",
            "; ".join(f"{k} rho {of.rho.mean():+.3f}, largest p {p_text(of.p.max())}" for k, of in by.items())
            + f"; epoch 2 minus epoch 1 {_interval(apart)[0]}",
            f"{len(last)} Alices x {int(last.n.iloc[0]):,} rows",
            verdict(bool((last.p <= LEVEL).all()) and gap[2] < 0, gap[1] > 0),
            EVERY,
        )
