"""The claims about what is left after the edit: other abilities, the ranking of tokens, what can be told of the data,
and whether the memory is gone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..claims import Rows
from ..common import EVERY, several, verdict
from ..over_models import words
from .claims import CLAIMS
from .erasure import ITSELF, attacked, attacks_over_runs, judged, savings
from .pooling import Parts, pooled
from .tables import LEAST_ABOVE_CHANCE
from .words import NOT_MEASURED, ONE_RUN, above, below, each_below, line, number_of, text, units


def _retention(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    frame = tables["retention"]
    mine = {t: line(frame, method="K-FAC", task=t, bin="") for t in dict.fromkeys(frame.task)}
    about = ("before", "after", "kept", "low", "high", "seeds", "able", "n")
    numbers["kept"] = {t: {k: r[k] for k in about} for t, r in mine.items()}

    def kept(t):
        of = mine[t]
        return text(of, value="kept") if of["n"] else f"not done before the edit (chance {of['chance']:.2f})"

    drop, stay = ([t for t in of if mine[t]["n"]] for of in (("arithmetic", "closed_book"), ("open_book", "copy")))
    done = (*drop, *stay)
    found = {f"{a} minus {b}": apart(parts, a, b, seed) for a in drop for b in stay}
    pairs = {name: d for name, d in found.items() if d is not None}
    numbers["kept_differences"] = pairs
    some = each_below(list(pairs.values()))[1] if pairs else []
    left_out = f"; rule induction: {kept('rule')}" if not mine["rule"]["n"] else ""
    gaps = ", ".join(f"{name.replace('minus', '-')} {text(d, sign=True)}" for name, d in pairs.items())
    rows.add(
        "reasoning",
        f"kept: {'; '.join(f'{t} {kept(t)}' for t in done)}{left_out}; differences: {gaps}".replace("_", "-"),
        "; ".join(f"{t} {mine[t]['n']}" for t in done).replace("_", "-") + f" questions, {several(len(parts), 'seed')}",
        below(*pairs.values(), instead=f"{sum(some)} of {len(some)} pairs shown", part=any(some))
        if pairs
        else NOT_MEASURED,
        EVERY,
        effects="kept_differences/*",
    )
    bins = frame[(frame.method == "K-FAC") & (frame.task == "closed_book") & (frame.bin != "") & (frame.n > 0)]
    order = sorted(bins.bin, key=lambda b: (b.startswith("over"), int(b.split()[-1]) if b[-1].isdigit() else -1))
    ends = (order[0], order[-1]) if len(order) > 1 else None
    if ends and (gap := apart(parts, "closed_book", "closed_book", seed, *ends)) is not None:
        few, many = (line(bins, bin=b) for b in ends)
        numbers |= {"facts_kept": {b: line(bins, bin=b)["kept"] for b in order}, "rare_minus_frequent": gap}
        rows.add(
            "rare",
            f"{ends[0]} {text(few, value='kept')}, {ends[1]} {text(many, value='kept')}; difference"
            f" {text(gap, sign=True)}",
            f"{few['n']} and {many['n']} facts, {several(len(parts), 'seed')}",
            below(gap),
            effects="rare_minus_frequent",
            few=ends[0],
            many=ends[1],
        )
    if "random bases" in set(frame.method):
        over = {}
        for task in drop:
            values = []
            for s in mine[task]["able"]:
                ds = parts[s]["retention"].isel(item=parts[s]["retention"].task.values == task)
                mine_after, other = (ds.right_after.sel(edit=m).values.astype(float) for m in ("K-FAC", "random bases"))
                values.append((mine_after - other) / ds.right_before.values.mean())
            over[task] = pooled(values, seed=seed)
        numbers["kept_over_random"] = over
        rows.add(
            "retention_random",
            "; ".join(f"{t.replace('_', '-')} {text(d, sign=True)}" for t, d in over.items()),
            "; ".join(f"{d['n']}" for d in over.values()) + f" questions, {several(len(parts), 'seed')}",
            below(*over.values(), part=any(each_below(list(over.values()))[1])),
            EVERY,
            effects="kept_over_random/*",
        )


def apart(
    parts: Parts, a: str, b: str, seed: int, bin_a: str | None = None, bin_b: str | None = None
) -> dict[str, Any] | None:
    """Kept share of task `a` minus that of `b` under K-FAC: each question's change, as a share of what the task had
    before, one less the other; in seeds that do both. None where no seed does.
    """
    values = []
    for p in parts.values():
        first, second = _change(p["retention"], a, bin_a), _change(p["retention"], b, bin_b)
        if first is not None and second is not None:
            total = len(first) + len(second)
            # both samples side by side, each weighed by its own number, so that the mean over all is the difference of
            # the two means
            values.append(np.concatenate([first * total / len(first), -second * total / len(second)]))
    return pooled(values, seed=seed) if values else None


def _change(ds: xr.Dataset, task: str, group: str | None) -> np.ndarray | None:
    """Each question's change under K-FAC over the share that was right before; None where that is near chance."""
    at = (ds.task.values == task) & (True if group is None else ds.bin.values == group)
    before, after = ds.right_before.values[at], ds.right_after.sel(edit="K-FAC").values[at]
    base = before.mean()
    if base < float(ds.chance.values[at][0]) + LEAST_ABOVE_CHANCE:
        return None
    return (after.astype(float) - before) / base


def _ranking(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    frame = tables["matched"][(tables["matched"].set == "val") & (tables["matched"].measure == "strict")]
    frame = frame.set_index("method")
    numbers["ndcg"] = {m: {"estimate": float(r.ndcg), "seeds": r.ndcg_seeds} for m, r in frame.iterrows()}
    if not {"BalancedSubnet", "K-FAC"} <= set(tables["retention"].method):
        return
    of = [p["retention"].ndcg.astype(float) for p in parts.values()]
    found = pooled([v.sel(edit="BalancedSubnet").values - v.sel(edit="K-FAC").values for v in of], seed=seed)
    numbers["ndcg_bsn_minus_kfac"] = number_of(found)
    listed = ", ".join(f"{m} {frame.ndcg[m]:.3f}" for m in ("BalancedSubnet", "K-FAC", "SVD") if m in frame.index)
    here = f"{listed}; BSN minus K-FAC {text(found, 3, True)}"
    rows.add("ranking", here, units(found, "texts"), above(found), effects="ndcg_bsn_minus_kfac")


def _duplicates(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    frame = tables["duplicates"]
    numbers["extraction"] = {
        s: {f"{r.kind} {r.duplicates}": r.estimate for r in of.itertuples()}
        for s, of in frame.groupby("state", sort=False)
    }
    before = frame[frame.state == "unedited"]
    kinds = {k: of.sort_values("duplicates") for k, of in before.groupby("kind", sort=False)}

    def rises(of):
        seeds, low, high = (
            np.array(of[column].tolist()) for column in ("seeds", "run_low", "run_high")
        )  # [count, run]
        return (np.diff(seeds, axis=0) >= 0).all() and (low[-1] > high[0]).all()

    word = "holds" if all(map(rises, kinds.values())) else "not shown: it falls in a run, or intervals overlap"
    listed = {k: ", ".join(f"{r.duplicates}x {r.estimate:.2f}" for r in of.itertuples()) for k, of in kinds.items()}
    rows.add(
        "duplicates",
        "; ".join(f"{k}: {said}" for k, said in listed.items()),
        f"{int(before.n.sum())} planted sequences, {several(len(parts), 'seed')}",
        ONE_RUN if len(parts) < 2 else word,
        EVERY,
    )


def _membership(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    table = tables["membership"]
    states = {s: of.sort_values("duplicates") for s, of in table[table.score == "loss"].groupby("state", sort=False)}
    numbers["auc"] = {
        s: {int(r.duplicates): [r.auc, r.low, r.high, r.holm] for r in of.itertuples()} for s, of in states.items()
    }
    after, was = states["K-FAC"], states["unedited"].set_index("duplicates").auc
    many = after[after.duplicates >= 64]
    every = np.array([min(s) > 0.5 for s in many.seeds])
    told = (many.holm <= 0.05) & every
    listed = (
        f"{r['duplicates']}x {was[r['duplicates']]:.2f} to {text(r, value='auc')}" for r in after.to_dict("records")
    )
    rows.add(
        "membership",
        f"AUC before to after: {', '.join(listed)}",
        f"{int(many.members.sum())} members in {several(len(parts), 'seed')}; p"
        f" {' and '.join(dict.fromkeys(many.p_kind))}",
        verdict(bool(told.all()), bool((many.auc <= 0.5).all()), part=bool(told.any())).replace(
            "the interval holds 0", "p above .05"
        ),
        f"Holm over {len(table[table.state == 'K-FAC'])}",
    )


def _gone(rows: Rows, numbers: dict, parts: Parts, tables: dict, seed: int) -> None:
    numbers["gone"] = {}
    for method in attacked(parts):
        found = judged(parts, method, seed)
        each, back = {s: v.word for s, v in found.items()}, attacks_over_runs(found).to_dict("records")
        by = {r["attack"]: int(r["counts in"]) for r in back if r["counts in"]}
        gain = savings(parts, method, seed)
        match = tables["asked"][tables["asked"].method == method].set_index("asked").estimate
        recited = [sum(v.recited[i] for v in found.values()) for i in (0, 1)]
        word = words(list(each.values()))
        numbers["gone"][method] = {
            "word": word,
            "by": by,
            "recited": recited,
            "seeds": each,
            "attacks": back,
            "savings": gain.to_dict("records"),
            "longest": match.to_dict(),
        }
        lines = "; ".join(
            f"{r['attack']}: {r['recovered']:.2f} of what was taken, twin {r['control']:.2f}, difference "
            + text(r | {"mean": np.mean(r["each"])}, sign=True, value="mean", runs="each")
            for r in back
        )
        own = line(gain, on=ITSELF)
        counted = ", ".join(f"{name} ({n} of {several(len(each), 'seed')})" for name, n in by.items())
        rows.add(
            f"gone_{method}" if f"gone_{method}" in CLAIMS else "gone",
            f"recited before {recited[0]}, after {recited[1]}; {lines}; longest match {match['original prefix']:.1f} to"
            f" {match['most of all variants']:.1f} tokens; steps until half of it is back when trained on it:"
            f" {own['edited']:.0f}, twin {own['twin']:.0f}{' or more' if 'twin' in own['censored'] else ''}, savings"
            f" {text(own, 0, value='savings', runs='each')}",
            f"{recited[0]} sequences, {several(len(parts), 'seed')}",
            f"{word}; by {counted}" if by else word,
            f"Holm over {len(back)} attacks, Bonferroni over {len(parts)} runs",
            method=method,
        )
    if {"K-FAC", "BalancedSubnet"} <= set(attacked(parts)):
        values = []
        for p in parts.values():
            hidden, removed = (
                p[f"gone {m}"].strict.sel(on="clean text").values.max(0).astype(float)
                for m in ("BalancedSubnet", "K-FAC")
            )
            values.append(hidden - removed)
        more = pooled(values, of="difference", seed=seed)
        numbers["back_bsn_minus_kfac"] = number_of(more)
        rows.add("comes_back", text(more, sign=True), units(more), above(more), effects="back_bsn_minus_kfac")


#: in the order of the rows
JUDGES = (_retention, _ranking, _duplicates, _membership, _gone)
