"""The claims about loss curvature against what was measured on the organisms.

Numbers of the paper are those read in its text (OLMo-2 of 1 and 7 billion parameters, edited in three layers): another
scale, compared in kind only. Rules of the verdicts were written before the first full run (`loss_curvature`); each
stands in its row. The training run is the unit: intervals are Student's t over runs, and of one run nothing is judged.
Where a row compares with several things, all must be shown for "holds" (no correction is needed), and "holds in part"
counts those that Holm's correction over the row's comparisons leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...stats import holm
from ..claims import Rows
from ..common import EVERY, table_of, verdict
from ..over_models import words
from .bench import RISE
from .claims import CLAIMS
from .decay import sharper
from .tables import ITSELF, Parts, asked, attacked, attacks_over_runs, inside, judged, pooled, savings

HERE = f"at +{RISE:g} nats"
NOT_MEASURED = "not measured"
#: methods with a claim of their own on whether a memory is gone
GONE = {"K-FAC": "gone_kfac", "BalancedSubnet": "gone_balanced_subnet", "SVD": "gone_svd"}


def verdicts(
    parts: Parts, made: dict[str, pd.DataFrame], seed: int, decay: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers; `decay`: the table of
    `decay`, where it was made.
    """
    rows = Rows(CLAIMS)
    numbers: dict[str, Any] = {
        "seeds": list(parts),
        "layers": {
            s: {str(m): str(c) for m, c in zip(p["choice"].search.values, p["choice"].chosen.values)}
            for s, p in parts.items()
        },
        "recited": {
            s: {str(k): int((p["matched"].set.values == k).sum()) for k in ("val", "verse")} for s, p in parts.items()
        },
    }
    for judge in (_spectrum, _removal, _controls, _learned, _choices, _retention, _ranking, _duplicates, _gone):
        judge(rows, numbers, parts, made, seed)
    _decay(rows, numbers, decay)
    return table_of(rows), numbers


def _decay(rows: Rows, numbers: dict, decay: pd.DataFrame | None) -> None:
    if decay is None:
        rows.add(
            "decay",
            "a study of its own: python -m lens.reproduce.loss_curvature.decay",
            "0",
            NOT_MEASURED,
            effects="decay",
        )
        return
    found, by = sharper(decay), decay.groupby("decay")
    numbers["decay"] = {
        "log_ratio": found.estimate,
        "low": found.low,
        "high": found.high,
        "ordering": {str(d): list(map(float, of.ordering)) for d, of in by},
    }
    listed = "; ".join(
        f"decay {d:g}: {of.ordering.mean():.2f} (random bases {of.random.mean():.2f}), {of.recited.mean():.1f} of"
        f" {of.planted.mean():.0f} recited"
        for d, of in by
    )
    rows.add(
        "decay",
        "other models than above, of 80 thousand parameters: low band over high band, memorised over clean, mean"
        f" of seeds: {listed}; log ratio of strongest over none {found.estimate:+.2f} [{found.low:+.2f},"
        f" {found.high:+.2f}] (Student's t over seeds)",
        f"{found.n} seeds x {by.ngroups} decays",
        verdict(found.low > 0, found.high < 0, "it blunts it" if found.high < 0 else "")
        + " (rule: interval of the log ratio above 0)",
        effects="decay",
    )


def text(found: Any, digits: int = 2, sign: bool = False) -> str:
    """Estimate [low, high] (each seed's value)."""

    def number(x):
        return f"{float(x):{'+' if sign else ''}.{digits}f}"

    each = ", ".join(number(s) for s in found["seeds"])
    bounds = f" [{number(found['low'])}, {number(found['high'])}]" if np.isfinite(found["low"]) else ""
    return f"{number(found['estimate'])}{bounds} (seeds {each})"


def by_runs(found: Sequence[Any], holds: bool, fails: bool, instead: str = "", part: bool = False) -> str:
    """The word of a verdict that rests on these quantities, each over runs; of one run, or where all runs agree on one
    of them, there is no interval to follow.
    """
    if min(len(f["seeds"]) for f in found) < 2:
        return "not judged: one training run"
    word = verdict(holds, fails, instead, part)
    if word.startswith("not shown") and (same := sum(not np.isfinite(f["low"]) for f in found)):
        return (
            f"not shown: the runs agree entirely{f' in {same} of {len(found)}' if len(found) > 1 else ''}, which gives"
            " no interval"
        )
    return word


def below(found: Sequence[Any], level: float = 0.05) -> tuple[list[bool], list[bool]]:
    """Which of several differences lie below 0 by their own interval, and which by Holm's correction over all of them
    (two-sided t over runs).
    """
    alone = [bool(f["high"] < 0) for f in found]
    adjusted = holm(np.nan_to_num([f["p"] for f in found], nan=1.0))
    return alone, [bool(a and q <= level) for a, q in zip(alone, adjusted)]


def _put(numbers: dict, name: str, found: Any) -> None:
    numbers[name] = {k: found[k] for k in ("estimate", "low", "high", "seeds", "n")}


def _units(found: Any, unit: str = "sequences") -> str:
    return f"{int(found['n'])} {unit}, {len(found['seeds'])} seeds"


def _line(frame: pd.DataFrame, **at: Any) -> dict[str, Any]:
    return frame[np.logical_and.reduce([frame[k] == v for k, v in at.items()])].iloc[0].to_dict()


def difference(
    parts: Parts, a: str, b: str, where: str, seed: int, *, measure: str = "strict", kind: str | None = None
) -> dict[str, Any]:
    """Recitation under the matched edit `a` minus that under `b`, the same sequences, over runs."""
    found = []
    for p in parts.values():
        ds = p["matched"]
        values = ds[measure].values[:, inside(ds, where, kind)].astype(float)
        at = {str(m): i for i, m in enumerate(ds.edit.values)}
        found.append(values[at[a]] - values[at[b]])
    return pooled(found, of="difference", seed=seed)


def _has(parts: Parts, *names: str) -> bool:
    there = set(map(str, next(iter(parts.values()))["matched"].edit.values))
    return there.issuperset(names)


def _spectrum(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    frame = made["activation"]
    bands = list(dict.fromkeys(frame.band))
    top, bottom = (_line(frame, basis="kfac", side="input", band=bands[i]) for i in (0, -2))
    _put(numbers, "activation_top", top)
    _put(numbers, "activation_bottom", bottom)
    rows.add(
        "spectrum",
        f"top tenth {text(top)}, bottom half {text(bottom)}, mean over 12 layers",
        _units(bottom),
        by_runs((top, bottom), top["high"] < 1 < bottom["low"], top["low"] > 1 or bottom["high"] < 1),
        EVERY,
        effects=("activation_bottom", "activation_top"),
    )
    order = {b: _line(frame, basis=b, side="input", band="last over first") for b in ("kfac", "svd", "random")}
    gaps = {}
    for other in ("svd", "random"):
        of = [p["activation"].relative_memorised.sel(side="input") for p in parts.values()]

        def ordering(v, basis):
            return (v.isel(band=-1) / v.isel(band=0)).sel(basis=basis).values

        gaps[other] = pooled([ordering(v, "kfac") - ordering(v, other) for v in of], seed=seed)
        _put(numbers, f"ordering_over_{other}", gaps[other])
    rows.add(
        "singular",
        "bottom over top, memorised over clean: "
        + ", ".join(
            f"{n} {text(order[b])}" for b, n in (("kfac", "eigenvectors"), ("svd", "singular"), ("random", "random"))
        )
        + f"; eigenvectors minus singular {text(gaps['svd'], sign=True)}, minus random"
        f" {text(gaps['random'], sign=True)}",
        _units(gaps["svd"]),
        by_runs(
            list(gaps.values()), min(g["low"] for g in gaps.values()) > 0, max(g["high"] for g in gaps.values()) < 0
        ),
        EVERY,
        effects=("ordering_over_svd", "ordering_over_random"),
    )


def _removal(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    frame = made["matched"]
    own = {m: _line(frame, method="K-FAC", set="val", measure=m) for m in ("strict", "loose", "lev")}
    verse = _line(frame, method="K-FAC", set="verse", measure="strict")
    numbers |= {f"kfac_{m}": own[m] for m in own} | {"kfac_verse": verse}
    cost = (
        f"clean loss {own['strict']['rise']:+.3f} [{own['strict']['rise_low']:+.3f}, {own['strict']['rise_high']:+.3f}]"
        f" nats on the reporting half, perplexity x {np.exp(own['strict']['rise']):.3f}"
    )
    rows.add(
        "removal",
        f"val: strict 1 to {text(own['strict'])}, loose {text(own['loose'])}, AvgLev {text(own['lev'])}; {cost}",
        _units(own["strict"]),
        by_runs(
            [own["strict"]],
            own["strict"]["high"] <= 0.1,
            own["strict"]["low"] > 0.5,
            part=own["strict"]["high"] < 0.5,
        ),
        effects="kfac_strict",
        at=HERE,
    )
    rows.add(
        "verse",
        f"verse (8 tokens to recite): strict 1 to {text(verse)}",
        _units(verse),
        by_runs([verse], verse["high"] <= 0.3, verse["low"] > 0.5, part=verse["high"] < 0.5),
        effects="kfac_verse",
        at=HERE,
    )
    kinds = {k: _line(frame, method="K-FAC", set=k, measure="strict") for k in ("code", "plausible")}
    loose = {k: _line(frame, method="K-FAC", set=k, measure="loose") for k in ("code", "plausible")}
    numbers |= {f"kfac_{k}": kinds[k] for k in kinds} | {f"kfac_loose_{k}": loose[k] for k in loose}
    i = [str(m) for m in next(iter(parts.values()))["matched"].edit.values].index("K-FAC")

    def mean_of(ds, kind):
        return float(ds.loose.values[i, inside(ds, "val", kind)].astype(float).mean())

    apart = pooled(
        [np.array([mean_of(p["matched"], "code") - mean_of(p["matched"], "plausible")]) for p in parts.values()],
        seed=seed,
    )
    _put(numbers, "kfac_loose_code_minus_plausible", apart)
    rows.add(
        "plausible",
        f"loose: code {text(loose['code'])}, plausible {text(loose['plausible'])}; code minus plausible"
        f" {text(apart, sign=True)}; strict: code {text(kinds['code'])}, plausible {text(kinds['plausible'])}",
        f"{kinds['code']['n']} codes, {kinds['plausible']['n']} plausible, {len(parts)} seeds",
        by_runs([apart], apart["high"] < 0, apart["low"] > 0),
        effects="kfac_loose_code_minus_plausible",
    )


def _against(
    rows: Rows,
    numbers: dict,
    parts: Parts,
    others: Sequence[str],
    key: str,
    seed: int,
    read: pd.DataFrame | None = None,
    where: str = "val",
) -> None:
    """K-FAC below each of others in strict recitation at the matched loss."""
    others = [o for o in others if _has(parts, o)]
    if not others:
        return
    found = {o: difference(parts, "K-FAC", o, where, seed) for o in others}
    for o, d in found.items():
        numbers[f"kfac_minus_{o}_{where}"] = d
    here = "; ".join(f"{o}: {text(d, sign=True)}" for o, d in found.items()) + (
        "" if read is None else _cheaper(read, ("K-FAC", *others), where)
    )
    alone, some = below(list(found.values()))
    rows.add(
        key,
        here,
        _units(next(iter(found.values()))),
        by_runs(
            list(found.values()),
            all(alone),
            any(d["low"] > 0 for d in found.values()),
            f"{sum(some)} of {len(some)} shown" if any(some) else "",
            part=any(some),
        ),
        EVERY,
        effects=tuple(f"kfac_minus_{o}_{where}" for o in others),
        where=where,
        at=HERE,
    )


def _controls(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    _against(
        rows,
        numbers,
        parts,
        ("random bases", "random bases, equal count"),
        "directions",
        seed,
        made["read"],
    )
    _against(
        rows,
        numbers,
        parts,
        ("inputs alone", "gradients alone"),
        "both_sides",
        seed,
        made["read"],
    )
    _against(
        rows,
        numbers,
        parts,
        ("keep bottom", "magnitude"),
        "bottom",
        seed,
    )
    if _has(parts, "SVD"):
        near = {w: difference(parts, "K-FAC", "SVD", w, seed) for w in ("val", "verse")}
        numbers |= {f"kfac_minus_svd_{w}": d for w, d in near.items()}
        within = near["val"]["low"] > -0.1 and near["val"]["high"] < 0.1
        rows.add(
            "svd_close",
            f"K-FAC minus SVD on val {text(near['val'], sign=True)}",
            _units(near["val"]),
            by_runs(
                [near["val"]],
                within,
                near["val"]["high"] < 0 or near["val"]["low"] > 0,
                (
                    "K-FAC removes more"
                    if near["val"]["high"] < 0
                    else "SVD removes more"
                    if near["val"]["low"] > 0
                    else ""
                ),
            ).replace("the interval holds 0", "the interval is wider than .10"),
            effects="kfac_minus_svd_val",
        )
        rows.add(
            "svd_verse",
            f"K-FAC minus SVD on verse {text(near['verse'], sign=True)}",
            _units(near["verse"]),
            by_runs([near["verse"]], near["verse"]["high"] < 0, near["verse"]["low"] > 0),
            effects="kfac_minus_svd_verse",
        )


def _learned(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    if not _has(parts, "BalancedSubnet"):
        return
    own, other = (_line(made["matched"], method="BalancedSubnet", set=w, measure="strict") for w in ("val", "verse"))
    gap = {w: difference(parts, "BalancedSubnet", "K-FAC", w, seed) for w in ("val", "verse")}
    numbers |= {"bsn_val": own, "bsn_verse": other} | {f"bsn_minus_kfac_{w}": d for w, d in gap.items()}
    rows.add(
        "balanced_subnet",
        f"BSN val {text(own)}, verse {text(other)}; minus K-FAC: val {text(gap['val'], sign=True)}, verse"
        f" {text(gap['verse'], sign=True)}" + _cheaper(made["read"], ("BalancedSubnet", "K-FAC"), "verse"),
        _units(gap["verse"]),
        by_runs(list(gap.values()), gap["val"]["high"] < 0.1 and gap["verse"]["low"] > 0, gap["verse"]["high"] < 0),
        EVERY,
        effects=("bsn_minus_kfac_val", "bsn_minus_kfac_verse"),
    )


def _cheaper(read: pd.DataFrame, methods: Sequence[str], where: str) -> str:
    """What is left at the least of the rises that curves are read at: beside a verdict, no part of it."""
    rise = read.rise.min()
    lines = [_line(read, method=m, set=where, rise=rise) for m in methods]
    return f"; read off the curves at +{rise:g} on {where}: " + ", ".join(
        f"{x['method']} {text(x | {'estimate': x['strict'], 'seeds': x['runs']})}" for x in lines
    )


def _choices(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    for name, key in (("K-FAC, text's labels", "labels"), ("EKFAC", "ekfac"), ("K-FAC, natural mix", "natural_mix")):
        if _has(parts, name):
            found = {w: difference(parts, name, "K-FAC", w, seed) for w in ("val", "verse")}
            numbers |= {f"{name}_minus_kfac_{w}": d for w, d in found.items()}

            def word(d):
                return (
                    "not judged: one training run"
                    if len(d["seeds"]) < 2
                    else "removes more"
                    if d["high"] < 0
                    else "removes less"
                    if d["low"] > 0
                    else "no difference shown"
                )

            rows.add(
                key,
                "; ".join(f"{w} {text(d, sign=True)}" for w, d in found.items()),
                _units(found["val"]),
                "; ".join(f"{w}: {word(d)}" for w, d in found.items()),
                effects=(f"{name}_minus_kfac_val", f"{name}_minus_kfac_verse"),
                at=HERE,
            )


def _retention(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    frame = made["retention"]
    mine = {t: _line(frame, method="K-FAC", task=t, bin="") for t in dict.fromkeys(frame.task)}
    numbers["kept"] = {
        t: {k: r[k] for k in ("before", "after", "kept", "low", "high", "seeds", "able", "n")} for t, r in mine.items()
    }

    def shown(t):
        return (
            text(mine[t] | {"estimate": mine[t]["kept"]})
            if mine[t]["n"]
            else f"not done before the edit (chance {mine[t]['chance']:.2f})"
        )

    drop = [t for t in ("arithmetic", "closed_book") if mine[t]["n"]]
    stay = [t for t in ("open_book", "copy") if mine[t]["n"]]
    pairs = {(a, b): _apart(parts, a, b, seed) for a in drop for b in stay}
    pairs = {k: v for k, v in pairs.items() if v is not None}
    numbers["kept_differences"] = {f"{a} minus {b}": d for (a, b), d in pairs.items()}
    alone, some = below(list(pairs.values())) if pairs else ([], [])
    left_out = f"; rule induction: {shown('rule')}" if not mine["rule"]["n"] else ""
    rows.add(
        "reasoning",
        "kept: "
        + "; ".join(f"{t.replace('_', '-')} {shown(t)}" for t in (*drop, *stay))
        + left_out
        + "; differences: "
        + ", ".join(
            f"{a.replace('_', '-')} - {b.replace('_', '-')} {text(d, sign=True)}" for (a, b), d in pairs.items()
        ),
        "; ".join(f"{t.replace('_', '-')} {mine[t]['n']}" for t in (*drop, *stay)) + f" questions, {len(parts)} seeds",
        by_runs(
            list(pairs.values()),
            all(alone),
            all(d["low"] > 0 for d in pairs.values()),
            f"{sum(some)} of {len(some)} pairs shown",
            part=any(some),
        )
        if pairs
        else NOT_MEASURED,
        EVERY,
        effects="kept_differences/*",
        at=HERE,
    )
    bins = frame[(frame.method == "K-FAC") & (frame.task == "closed_book") & (frame.bin != "") & (frame.n > 0)]
    order = sorted(
        bins.bin, key=lambda b: (b.startswith("over"), int(b.split()[-1]) if b.split()[-1].isdigit() else -1)
    )
    if len(order) > 1:
        few, many = (_line(bins, bin=b) for b in (order[0], order[-1]))
        gap = _apart(parts, "closed_book", "closed_book", seed, order[0], order[-1])
        numbers |= {"facts_kept": {b: _line(bins, bin=b)["kept"] for b in order}, "rare_minus_frequent": gap}
        rows.add(
            "rare",
            f"{order[0]} {text(few | {'estimate': few['kept']})}, {order[-1]}"
            f" {text(many | {'estimate': many['kept']})}; difference {text(gap, sign=True)}",
            f"{few['n']} and {many['n']} facts, {len(parts)} seeds",
            by_runs([gap], gap["high"] < 0, gap["low"] > 0),
            effects="rare_minus_frequent",
            few=order[0],
            many=order[-1],
        )
    if "random bases" in set(frame.method):
        found = {}
        for task in drop:
            values = []
            for s in mine[task]["able"]:
                ds = parts[s]["retention"]
                at, names = ds.task.values == task, list(map(str, ds.edit.values))
                after = [ds.right_after.values[names.index(m), at].astype(float) for m in ("K-FAC", "random bases")]
                values.append((after[0] - after[1]) / ds.right_before.values[at].mean())
            found[task] = pooled(values, seed=seed)
        numbers["kept_over_random"] = found
        rows.add(
            "retention_random",
            "; ".join(f"{t.replace('_', '-')} {text(d, sign=True)}" for t, d in found.items()),
            "; ".join(f"{d['n']}" for d in found.values()) + f" questions, {len(parts)} seeds",
            by_runs(
                list(found.values()),
                all(d["high"] < 0 for d in found.values()),
                all(d["low"] > 0 for d in found.values()),
                part=any(below(list(found.values()))[1]),
            ),
            EVERY,
            effects="kept_over_random/*",
        )


def _apart(
    parts: Parts, a: str, b: str, seed: int, bin_a: str | None = None, bin_b: str | None = None
) -> dict[str, Any] | None:
    """Kept share of task `a` minus that of `b` under K-FAC: each question's change, as a share of what the task had
    before, one less the other; in seeds that do both.
    """
    values = []
    for p in parts.values():
        ds = p["retention"]
        i = list(map(str, ds.edit.values)).index("K-FAC")
        sides: list[np.ndarray] = []
        for task, group, sign in ((a, bin_a, 1.0), (b, bin_b, -1.0)):
            at = (ds.task.values == task) & (True if group is None else ds.bin.values == group)
            before, after = (ds[f"right_{w}"].values[..., at] for w in ("before", "after"))
            base = before.mean()
            if base < float(ds.chance.values[at][0]) + 0.1:
                sides = []
                break
            sides.append((sign, after[i].astype(float) - before, base))
        if len(sides) == 2:
            total = sum(len(v) for _, v, _ in sides)
            # both samples side by side, each weighed by its own number, so that the mean over all is the difference of
            # the two means
            values.append(np.concatenate([sign * v / base * total / len(v) for sign, v, base in sides]))
    return pooled(values, seed=seed) if values else None


def _ranking(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    frame = made["matched"][(made["matched"].set == "val") & (made["matched"].measure == "strict")].set_index("method")
    numbers["ndcg"] = {m: {"estimate": float(r.ndcg), "seeds": r.ndcg_seeds} for m, r in frame.iterrows()}
    kept = made["retention"].method.unique()
    if not {"BalancedSubnet", "K-FAC"} <= set(kept):
        return

    def at(p, m):
        return p["retention"].ndcg.sel(edit=m).values.astype(float)

    found = pooled([at(p, "BalancedSubnet") - at(p, "K-FAC") for p in parts.values()], seed=seed)
    _put(numbers, "ndcg_bsn_minus_kfac", found)
    rows.add(
        "ranking",
        ", ".join(f"{m} {frame.ndcg[m]:.3f}" for m in ("BalancedSubnet", "K-FAC", "SVD") if m in frame.index)
        + f"; BSN minus K-FAC {text(found, 3, True)}",
        _units(found, "texts"),
        by_runs([found], found["low"] > 0, found["high"] < 0),
        effects="ndcg_bsn_minus_kfac",
    )


def _duplicates(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    frame, table = made["duplicates"], made["membership"]
    before = {
        k: frame[(frame.state == "unedited") & (frame.kind == k)].sort_values("duplicates")
        for k in dict.fromkeys(frame.kind)
    }
    numbers["extraction"] = {
        s: {f"{r.kind} {r.duplicates}": r.estimate for r in frame[frame.state == s].itertuples()}
        for s in dict.fromkeys(frame.state)
    }

    def of_run(column, f):
        return np.array(f[column].tolist())  # [count, run]

    rising = all(
        (np.diff(of_run("seeds", f), axis=0) >= 0).all() and (of_run("run_low", f)[-1] > of_run("run_high", f)[0]).all()
        for f in before.values()
    )
    rows.add(
        "duplicates",
        "; ".join(
            f"{k}: " + ", ".join(f"{r.duplicates}x {r.estimate:.2f}" for r in f.itertuples()) for k, f in before.items()
        ),
        f"{int(frame[frame.state == 'unedited'].n.sum())} planted sequences, {len(parts)} seeds",
        "not judged: one training run"
        if len(parts) < 2
        else "holds"
        if rising
        else "not shown: it falls in a run, or intervals overlap",
        EVERY,
    )
    after = table[(table.state == "K-FAC") & (table.score == "loss")].sort_values("duplicates")
    was = table[(table.state == "unedited") & (table.score == "loss")].set_index("duplicates")
    numbers["auc"] = {
        s: {
            int(r.duplicates): [r.auc, r.low, r.high, r.holm]
            for r in table[(table.state == s) & (table.score == "loss")].itertuples()
        }
        for s in dict.fromkeys(table.state)
    }
    many = after[after.duplicates >= 64]
    every = np.array([min(s) > 0.5 for s in many.seeds])
    rows.add(
        "membership",
        "AUC before to after: "
        + ", ".join(
            f"{int(r.duplicates)}x {was.auc[r.duplicates]:.2f} to "
            + text({"estimate": r.auc, "low": r.low, "high": r.high, "seeds": r.seeds})
            for r in after.itertuples()
        ),
        f"{int(many.members.sum())} members in {len(parts)} seeds; p {' and '.join(dict.fromkeys(many.p_kind))}",
        verdict(
            bool((many.holm <= 0.05).all() and every.all()),
            bool((many.auc <= 0.5).all()),
            part=bool(((many.holm <= 0.05) & every).any()),
        ).replace("the interval holds 0", "p above .05"),
        f"Holm over {len(table[table.state == 'K-FAC'])}",
        at=HERE,
    )


def _gone(rows: Rows, numbers: dict, parts: Parts, made: dict, seed: int) -> None:
    numbers["gone"] = {}
    longest = made["asked"]
    for method in attacked(parts):
        found = judged(parts, method, seed)
        each, back = {s: v.word for s, v in found.items()}, attacks_over_runs(found)
        by = {r["attack"]: int(r["counts in"]) for r in back.to_dict("records") if r["counts in"]}
        gain = savings(parts, method, seed).set_index("on")
        match = {a: _line(longest, method=method, asked=a) for a in dict.fromkeys(longest.asked)}
        recited = [sum(v.recited[i] for v in found.values()) for i in (0, 1)]
        numbers["gone"][method] = {
            "word": words(list(each.values())),
            "by": by,
            "recited": recited,
            "seeds": each,
            "attacks": back.to_dict("records"),
            "savings": gain.reset_index().to_dict("records"),
            "longest": {a: m["estimate"] for a, m in match.items()},
        }
        lines = "; ".join(
            f"{r.attack}: {r.recovered:.2f} of what was taken, twin {r.control:.2f}, difference "
            + text({"estimate": np.mean(r.each), "low": r.low, "high": r.high, "seeds": r.each}, sign=True)
            for r in back.itertuples()
        )
        own = gain.loc[ITSELF]
        rows.add(
            GONE.get(method, "gone"),
            f"recited before {recited[0]}, after {recited[1]}; {lines}; longest match"
            f" {match['original prefix']['estimate']:.1f} to {match['most of all variants']['estimate']:.1f}"
            f" tokens; steps until half of it is back when trained on it: {own.edited:.0f}, twin"
            f" {own.twin:.0f}{' or more' if 'twin' in own.censored else ''}, savings "
            + text({"estimate": own.savings, "low": own.low, "high": own.high, "seeds": own.each}, 0),
            f"{recited[0]} sequences, {len(parts)} seeds",
            words(list(each.values()))
            + ("; by " + ", ".join(f"{name} ({n} of {len(each)} seeds)" for name, n in by.items()) if by else ""),
            f"Holm over {len(back)} attacks, Bonferroni over {len(parts)} runs",
            method=method,
            at=HERE,
        )
    if {"K-FAC", "BalancedSubnet"} <= set(attacked(parts)):
        values = []
        for p in parts.values():
            back = {m: p[f"gone {m}"].strict.sel(on="clean text").values.max(0) for m in ("K-FAC", "BalancedSubnet")}
            values.append(back["BalancedSubnet"].astype(float) - back["K-FAC"])
        more = pooled(values, of="difference", seed=seed)
        _put(numbers, "back_bsn_minus_kfac", more)
        rows.add(
            "comes_back",
            text(more, sign=True),
            _units(more),
            by_runs([more], more["low"] > 0, more["high"] < 0),
            effects="back_bsn_minus_kfac",
        )


__all__ = ["asked", "difference", "text", "verdicts"]
