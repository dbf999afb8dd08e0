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

from ...stats import Interval
from ...stats.intervals import proportion
from ..claims import Rows
from ..common import EVERY, NOT_JUDGED, columns, table_of, verdict
from ..over_models import holm_over_models, over_seeds
from .alices import bounded, numbers_of, over_alices, put, said
from .claims import CLAIMS
from .evidence import rows_asked, text_alone
from .schedules import epochs, schedules
from .tables import LEVEL, TITLES, p_text, survival, with_holm

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
    every = with_holm(queries)
    queries = every[every.statistic == "difference"]
    _main(rows, queries)
    _reference(rows, references)
    _derived(rows, every)
    _innocent(rows, queries)
    _distilled(rows, queries)
    schedules(rows, arms)
    epochs(rows, arms)
    rows_asked(rows, power, stopping)
    text_alone(rows, retrains, partitions)
    return table_of(rows), rows.numbers


def _main(rows: Rows, queries: pd.DataFrame) -> None:
    alice = queries[queries.group == "alice"]
    put(rows, "alice_rho", alice.rho)
    rows.numbers |= {
        "alice_p": [float(p) for p in alice.p],
        "alice_p_permutation_floor": float(alice.p_permutation.min()),
    }
    strong = (alice.rho < -0.05) & (alice.p < 1e-6)
    rows.add(
        "order",
        f"rho {said(alice.rho)}; guaranteed p {', '.join(p_text(p) for p in alice.p)}",
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


def _reference(rows: Rows, references: pd.DataFrame) -> None:
    plain = references[references.statistic.isin(("none", "difference"))].set_index(["reference", "seed"])
    none, best = plain.loc["none"], plain.loc["reference"]
    gain = best.rho.abs() - none.rho.abs()
    more = rows.put("reference_gain", over_seeds(gain))
    rows.numbers["none_rho"] = [float(v) for v in none.rho]
    seen = int((none.p <= LEVEL).sum())
    rows.add(
        "reference",
        f"|rho| {none.rho.abs().mean():.3f} without, {best.rho.abs().mean():.3f} with; gain"
        f" {bounded(more)}; detected at p <= .01 without: {seen} of {len(none)}",
        f"{len(gain)} Alices",
        over_alices(
            more,
            verdict(
                more.low > 0 and not seen,
                more.high < 0,
                "a reference helps, but without one the trace is seen too" if more.low > 0 else "",
                part=more.low > 0,
            ),
        ),
        EVERY,
        effects="reference_gain",
    )
    labels = {"disjoint": "other rows", "smaller": "a smaller model"}
    others = {name: plain.loc[name].rho for name in labels if name in plain.index.get_level_values(0)}
    texts = [f"{labels[name]} {said(rho)}" for name, rho in others.items()]
    rows.numbers |= {f"{name}_rho": [float(v) for v in rho] for name, rho in others.items()}
    apart = {name: rho.abs() - best.rho.abs() for name, rho in others.items()}
    worse = {name: over_seeds(values) for name, values in apart.items()}
    for name, interval in worse.items():
        rows.numbers[f"{name}_minus_same_data"] = columns("estimate", interval)
    paid = holm_over_models([values.to_numpy(float) for values in apart.values()]) <= 0.05
    if others:
        rows.add(
            "best_reference",
            f"same data {said(best.rho)}; {'; '.join(texts)}",
            f"{len(best)} Alices",
            verdict(
                all(w.high < 0 for w in worse.values()),
                any(sure and w.low > 0 for w, sure in zip(worse.values(), paid)),
                "ranking of means " + ("agrees" if all(w.estimate < 0 for w in worse.values()) else "differs"),
                part=any(sure and w.high < 0 for w, sure in zip(worse.values(), paid)),
            ),
            f"Holm over {len(worse)}",
            effects=tuple(f"{name}_minus_same_data" for name in worse),
        )
    ways = references[references.statistic.isin(("linear", "poly4"))].groupby("statistic").rho.mean()
    two = plain.loc[[name for name in plain.index if "+" in name[0]]].rho
    rows.numbers |= {"ways_rho": {k: float(v) for k, v in ways.items()} | {"two references": float(two.mean())}}
    rows.add(
        "ways",
        f"difference {best.rho.mean():+.3f}, linear {ways.get('linear', np.nan):+.3f}, degree 4"
        f" {ways.get('poly4', np.nan):+.3f}, two references {two.mean():+.3f}",
        f"{len(best)} Alices",
        "no claim to judge",
    )


def _derived(rows: Rows, queries: pd.DataFrame) -> None:
    lines = survival(queries).set_index("derivative")
    mine = [name for name in MADE_FROM if name in lines.index]
    total, found = int(lines.loc[mine, "of"].sum()), int(lines.loc[mine, "detected"].sum())
    share = proportion(found, total)
    rows.numbers |= {
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
    text = "; ".join(f"{lines.title[n]} {_percent(*lines.loc[n, ['share', 'share_low', 'share_high']])}" for n in tunes)
    faded, word, apart = Interval(np.nan, np.nan, np.nan, 0.95, 0, "no interval"), "", ""
    if len(tunes) > 1:
        last = lines.loc[tunes[-1]]
        faded = over_seeds(np.subtract(last.shares, lines.shares[tunes[0]]))
        fades = "fades" if faded.high < 0 else "is not seen to fade"
        word = verdict(
            last.detected == last.of and faded.high < 0,
            last.detected == 0 and faded.low > 0,
            f"after the longest tuning {last.detected} of {last.of} detected, and it {fades}",
            part=faded.high < 0 or bool((lines.detected[tunes] == lines.of[tunes]).any()),
        )
        if np.isfinite(faded.low):
            apart = f"; longest minus shortest tuning {_percent(faded.estimate, faded.low, faded.high, '+')}"
    rows.add(
        "tuning",
        f"share of Alice's own rho that is left: {text}{apart}",
        f"{int(lines.of.max())} Alices",
        over_alices(faded, word),
        EVERY,
    )
    better = survival(queries, "poly4").set_index("derivative")
    again = int(better.loc[mine, "detected"].sum())
    gain = over_seeds(_gaps(queries, mine))
    rows.numbers |= {
        "derived_detected_poly4": again,
        "poly4_gain": numbers_of(gain),
        "survival_poly4": {n: [float(r.rho), float(r.low), float(r.high)] for n, r in better.iterrows()},
    }
    rows.add(
        "residual",
        f"{again} of {total} derived models detected (difference: {found}); rho over them lower by"
        f" {bounded(gain)}; Alice herself {better.rho['alice']:+.3f}",
        f"{int(lines.of.max())} Alices",
        over_alices(gain, verdict(gain.low > 0, gain.high < 0)),
        effects="poly4_gain",
    )
    blends = [name for name in lines.index if name.startswith("with-independent")]
    if blends:
        seen, of = int(lines.detected[blends].sum()), int(lines.of[blends].sum())
        rows.add(
            "averaging",
            "; ".join(
                f"{lines.title[n]}: rho {lines.rho[n]:+.3f}, loss {lines.loss[n]:.2f},"
                f" {lines.detected[n]}/{lines.of[n]} detected"
                for n in blends
            )
            + f" (Alice's loss {lines.loss['alice']:.2f}: models of different starts do not average)",
            f"{int(lines.of.max())} Alices",
            f"reported: {seen} of {of} detected (exact bound of the share, if models were independent:"
            f" {proportion(seen, of).high:.2f})",
            NOT_JUDGED,
        )


def _percent(share: float, low: float, high: float, sign: str = "") -> str:
    """A share in percent with its bounds, where there are any."""
    return f"{100 * share:{sign}.0f} %" + (
        f" [{100 * low:{sign}.0f}, {100 * high:{sign}.0f}]" if np.isfinite(low) else ""
    )


def _gaps(queries: pd.DataFrame, names: list[str]) -> list[float]:
    """By Alice, how much lower rho is with the polynomial than with the difference, the mean over derivatives."""
    of = queries[(queries.group == "derivative") & queries.suspect.str.partition("/")[2].isin(names)]
    wide = of.pivot_table(index=["seed", "suspect"], columns="statistic", values="rho")
    return (wide["difference"] - wide["poly4"]).groupby(level="seed").mean().tolist()


def _innocent(rows: Rows, queries: pd.DataFrame) -> None:
    null = queries[queries.group.isin(("innocent", "another alice"))]
    flagged = int((null.p <= LEVEL).sum())
    share = proportion(flagged, len(null))
    rows.numbers |= {"innocent_flagged": flagged, "innocent_of": len(null), "innocent_smallest_p": float(null.p.min())}
    word = (
        f"not shown: {flagged} of {len(null)} bounds the rate at {share.high:.2f} (exact, if pairs were independent);"
    )
    word += f" the level is {LEVEL:g}"
    if share.low > LEVEL:
        word = "does not hold: more often than its level"
    rows.add(
        "innocent",
        f"{flagged} of {len(null)} at p <= .01 without correction; smallest p {p_text(null.p.min())}; after"
        f" Holm {int((null.holm <= LEVEL).sum())}",
        f"{len(null)} pairs of model and order",
        "holds" if share.high <= LEVEL else word,
    )
    trap = queries[(queries.group == "trap") & queries.suspect.str.startswith("independent")]
    rows.numbers |= {
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
        rows.numbers |= {"sister_rho": float(sister.rho), "sister_p": float(sister.p)}
        rows.add(
            "sister",
            f"rho {sister.rho:+.3f} [{sister.low:+.3f}, {sister.high:+.3f}], p {p_text(sister.p)}",
            f"one model, {int(sister.n):,} rows",
            verdict(sister.p <= LEVEL, sister.p > 0.5).replace("the interval holds 0", "p above its level"),
        )


def _distilled(rows: Rows, queries: pd.DataFrame) -> None:
    of = {
        name: queries[(queries.group == "derivative") & queries.suspect.str.endswith(f"/{name}")]
        for name in ("soft", "samples")
    }
    of = {name: lines for name, lines in of.items() if len(lines)}
    adjusted = holm_over_models([lines.rho.to_numpy(float) for lines in of.values()])
    for (name, lines), p in zip(of.items(), adjusted):
        alone, mean = int((lines.holm <= LEVEL).sum()), put(rows, f"{name}_rho", lines.rho)
        below = mean.high < 0 and p <= 0.05
        some = "holds in part: in the mean over Alices" if below else "not shown at this number of rows"
        rows.add(
            f"distilled_{name}",
            f"rho {said(lines.rho)}"
            + (f" (Holm's p of the mean {p:.2g})" if np.isfinite(p) else "")
            + f"; p {', '.join(p_text(v) for v in lines.p)}",
            f"{len(lines)} Alices",
            f"{'holds' if alone == len(lines) else some}; {alone} of {len(lines)} detected alone",
            f"Holm over {len(of)}",
            effects=f"{name}_rho",
            writer=TITLES[name],
        )
