"""The claims of Memory Injections (Sakarvadia et al. 2023) against what was measured; the unit is the memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ... import injection, stats
from ..claims import Rows
from ..common import ALONE, EVERY, mean_interval, shown, table_of, verdict
from .claims import CLAIMS
from .steps import RIVAL

#: of a choice, as it stands among the numbers
ABOUT = ("layer", "strength", "held_out", "low", "high")


def verdicts(
    prompts: xr.Dataset,
    grids: Mapping[str, xr.Dataset],
    summaries: Mapping[str, xr.Dataset],
    chosen: pd.DataFrame,
    cost: xr.Dataset,
    *,
    by_outcome: bool = False,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict]:
    """Each claim of the paper against what was measured; the verdict follows from the interval by the rule in the row.

    ``by_outcome``: whether the items are those whose single-hop prompt the model answers first: that single-hop prompts
        are answered better was put in by the choice then.
    """
    n = int(prompts.sizes["item"])
    rows = Rows(CLAIMS)
    numbers = rows.numbers

    def minus(one: str, other: str) -> stats.Interval:
        by = prompts.logprob
        return over_memories(prompts, (by.sel(prompt=one) - by.sel(prompt=other)).values, seed)

    interval = rows.put("gap", minus("single", "multi"))
    units = f"{int(interval.n)} memories, {n} items"
    mean = {p: float(np.exp(prompts["first"].sel(prompt=p)).mean()) for p in ("multi", "single")}
    numbers |= {f"p_{p}": value for p, value in mean.items()} | {"n": n}
    rows.add(
        "multi_hop",
        f"{mean['multi']:.3f} against {mean['single']:.3f}; log-ratio {shown(interval)} nats",
        units,
        "not judged: the items were chosen by their single-hop answer"
        if by_outcome
        else verdict(interval.low > 0, interval.high < 0),
        effects="gap",
    )

    for by in ("trimmed_percent", "mean"):
        row = row_of(chosen, "unembed", by)
        trimmed = (
            f"; trimmed mean {row.trimmed_selected:+.0f} % where chosen, {row.trimmed_reported:+.0f} % held out"
            if by == "trimmed_percent"
            else ""
        )
        numbers |= {
            f"unembed_{by}_{k}": float(row[k])
            for k in (*ABOUT, "selected", "reported", "bias", "trimmed_selected", "trimmed_reported")
        }
        rows.add(
            f"unembed_{by}",
            f"{_cell(row)}: held-out log-ratio {_over_splits(row)} nats, mean over splits {row.reported:+.2f};"
            f" selection bias {row.bias:.2f}{trimmed}",
            _held_out(row, n),
            _by_log_ratio(row, "the percentage rises, the log-probability falls" if trimmed else ""),
            effects=f"unembed_{by}",
        )

    row, control = row_of(chosen, "unembed", "mean", "random_direction"), row_of(chosen, "unembed", "mean", "shuffled")
    numbers |= {f"unembed_vs_{r.against}_{k}": float(r[k]) for r in (row, control) for k in ("held_out", "low", "high")}
    rows.add(
        "memory",
        f"same cell, memory minus another item's: {_over_splits(control)}; minus a random direction of equal"
        f" norm: {_over_splits(row)} nats",
        _held_out(row, n),
        verdict(min(row.low, control.low) > 0, max(row.high, control.high) < 0),
        EVERY,
        effects=("unembed_vs_shuffled", "unembed_vs_random_direction"),
    )

    encoders = [e for e in grids if e != "unembed"]
    if encoders:
        text, found = [], []
        for e in encoders:
            own, other, apart = (row_of(chosen, e, "mean", against) for against in (None, "shuffled", RIVAL))
            numbers |= {f"{e}_{k}": float(own[k]) for k in (*ABOUT, "bias", "p")}
            numbers |= {
                f"{e}_vs_{name}_{k}": float(r[k])
                for name, r in (("shuffled", other), ("unembed", apart))
                for k in ("held_out", "low", "high", "p")
            }
            text.append(
                f"{e} minus unembed {_over_splits(apart)} nats; {e} itself ({_cell(own)}) {_over_splits(own)}, minus"
                f" shuffled {_over_splits(other)}"
            )
            found.append((apart, other))
        adjusted = stats.holm([apart.p for apart, _ in found])
        better = [apart.held_out > 0 and q <= 0.05 and other.low > 0 for (apart, other), q in zip(found, adjusted)]
        rows.add(
            "encoder",
            "; ".join(text),
            _held_out(found[0][0], n),
            verdict(any(better), all(apart.high < 0 for apart, _ in found)),
            f"Holm over {len(found)}" if len(found) > 1 else ALONE,
            effects=tuple(f"{e}_vs_unembed" for e in encoders),
        )

    plain, paired = rows.put("prompted", minus("prompted", "multi")), minus("prompted", "prompted_other")
    numbers["prompted_vs_other"] = float(paired.estimate)
    rows.add(
        "prompted",
        f"{shown(plain)} nats; minus another item's memory there {shown(paired)}",
        units,
        "helps" if plain.low > 0 and paired.low > 0 else "harms" if plain.high < 0 else "no effect shown",
        EVERY,
        effects=("prompted", "prompted_vs_other"),
    )

    for e in cost.encoder.values:
        row, clean = cost.sel(encoder=e), cost.nll.attrs["nll_clean"]
        at = row.sel(condition="memory")
        kl, nll = mean_interval(at.kl.values, seed), mean_interval(at.nll.values - clean, seed)
        numbers |= {f"{e}_damage_kl": float(kl.estimate), f"{e}_damage_nll": float(nll.estimate)}
        rows.add(
            "damage",
            f"layer {int(row.layer)}, strength {float(row.strength):g}: KL on unrelated prompts {shown(kl)}"
            f" nats; everyday text {shown(nll)} nats a token (perplexity {np.exp(clean):.1f} to"
            f" {np.exp(clean + nll.estimate):.1f})",
            int(kl.n),
            "damages" if nll.low > 0 else "no damage shown",
            e=e,
        )

    top, row = injection.best(summaries["unembed"], "trimmed_percent"), row_of(chosen, "unembed", "trimmed_percent")
    named = ("layer", "strength", "trimmed_percent", "mean_percent", "mean", "median", "improved")
    numbers |= {f"headline_{k}": float(top[k]) for k in named}
    numbers["judged_headline"] = {"estimate": float(row.held_out), "low": float(row.low), "high": float(row.high)}
    rows.add(
        "headline",
        f"best cell by that measure (layer {top['layer']}, strength {top['strength']:g}):"
        f" {top['trimmed_percent']:+.0f} % trimmed, {100 * np.expm1(top['median']):+.0f} % median, mean"
        f" log-ratio {top['mean']:.2f} nats, {100 * top['improved']:.0f} % of items improved, all on the items"
        f" that chose it; held out {_over_splits(row)} nats",
        _held_out(row, n),
        _by_log_ratio(row, "the measure rises while the answers get less likely"),
        effects="judged_headline",
    )
    return table_of(rows), numbers


def _by_log_ratio(row: pd.Series, apart: str) -> str:
    """The word of a gain by its log-ratio, and what to say where the published measure goes the other way."""
    return verdict(row.low > 0, row.high < 0, apart if row.trimmed_reported > 0 and row.high < 0 else "")


def over_memories(prompts: xr.Dataset, values: np.ndarray, seed: int = 0) -> stats.Interval:
    """The mean of one value an item, with an interval over memories: items that share one are no independent units."""
    if "memory" in prompts.coords:
        values = pd.Series(values).groupby(prompts["memory"].values.astype(str)).mean().to_numpy()
    return mean_interval(values, seed)


def _cell(row: pd.Series) -> str:
    at = row.commonest if isinstance(row.commonest, dict) else {"layer": row.layer, "strength": row.strength}
    return (
        f"most often layer {at['layer']}, strength {at['strength']:g} ({100 * row.stability:.0f} % of {row.splits}"
        " splits)"
    )


def _over_splits(row: pd.Series) -> str:
    return f"{row.held_out:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"


def _held_out(row: pd.Series, items: int) -> str:
    return f"{row.n_held_out} of {row.n} memories held out, {row.splits} splits; {items} items"


def row_of(chosen: pd.DataFrame, encoder: str, by: str, against: str | None = None) -> pd.Series:
    """The choice for the memory under an encoder by a measure; `against`: what it is compared with there."""
    frame = chosen[(chosen.encoder == encoder) & (chosen["by"] == by) & (chosen.condition == "memory")]
    return frame[frame.against.isna() if against is None else frame.against == against].iloc[0]
