"""Trade-off curves: recitation against clean loss over a family of edits, and methods compared at one clean loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from ..engine import results
from ..engine.sweeps import hidden
from ..measure.statistics import proportion
from .damage import compared, edited
from .errors import MemorizationError
from .extraction import MEASURES, extract
from .performance import performance
from .sequences import Sequences, disjoint
from .tables import interval, over_units


def tradeoff(model: Any, edits: Mapping[Any, Any], sets: Sequences | Mapping[str, Sequences], texts: Any, tasks: Mapping[str, Any] | None = None, *,
             before: xr.Dataset | None = None, progress: bool | None = None, **options: Any) -> xr.Dataset:  # fmt: skip
    """Recitation and damage under each of a family of edits of growing strength, the unedited model first.

    Args:
        edits: label -> edit (see `damage.edited`), such as {0.9: mask, 0.8: mask}. sets: the memorised sequences by name ("tune", "val"), which must not overlap.
        texts, tasks, options: as for `performance`. before: the unedited model's `performance`, where it is there.

    Returns: over `edit` ("unedited" first): over `sequence`: `strict`, `loose`, `lev`, `exact_prefix`, `rouge_l`, `nll` (coordinates `set`, `name`, `kind`,
        `duplicates`), `generated`,
        `gold`; over `text`: `nll_text` (summed), `ndcg`, `copy_loss`; over `item`: `right`; `clean_loss` and `perplexity` (exponential of the mean loss over all
        tokens) of each edit.

    Raises: MemorizationError: no edits, sets that overlap.
    """
    named = {"memorised": sets} if isinstance(sets, Sequences) else dict(sets)
    if not edits or not named:
        raise MemorizationError(f"edits has {len(edits)} and sets {len(named)} entries; expected at least one of each.")
    disjoint(**named)
    base = performance(model, texts, tasks, progress=False, **options) if before is None else before
    lines = []
    with tqdm(total=len(edits) + 1, desc="trade-off", unit="edit", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        for label, edit in {"unedited": None, **{str(k): v for k, v in edits.items()}}.items():
            with edited(model, edit) as now:
                parts = [extract(now, of, progress=False).assign_coords(set=("sequence", np.full(len(of), name))) for name, of in named.items()]
                after = base if label == "unedited" else performance(now, texts, tasks, progress=False, **options)
            lines.append(_line(parts, compared(base, after)))
            bar.update()
    ds = xr.concat(lines, "edit", data_vars="all", coords="minimal", compat="override", join="override", combine_attrs="drop")
    ds = ds.assign_coords(edit=["unedited", *map(str, edits)])
    ds["tokens"], ds["gold"] = base.tokens, ds.gold.isel(edit=0)
    ds["clean_loss"] = ds.nll_text.sum("text") / ds.tokens.sum()
    ds["perplexity"] = np.exp(ds.clean_loss)
    record = results.provenance(base)
    call = {"edits": list(map(str, edits)), "sets": {name: of.about() for name, of in named.items()}, "performance": record["call"]}
    return results.stamp(ds, record | {"kind": "trade-off", "call": call})


def _line(parts: list[xr.Dataset], cost: xr.Dataset) -> xr.Dataset:
    width = max(p.sizes["token"] for p in parts)
    padded = [p.drop_vars("sequence").pad(token=(0, width - p.sizes["token"]), constant_values={"generated": -1, "gold": -1}) for p in parts]
    shared = set.intersection(*(set(map(str, p.coords)) for p in padded))
    own = xr.concat([p.drop_vars([c for c in p.coords if c not in shared]) for p in padded], "sequence", data_vars="all", coords="minimal", compat="override", join="override",
                    combine_attrs="drop")  # fmt: skip
    kept = {"nll_after": "nll_text", "ndcg": "ndcg", "copy_loss_after": "copy_loss", "right_after": "right"}
    named = cost[[v for v in kept if v in cost]].rename({k: v for k, v in kept.items() if k != v and k in cost})
    return xr.merge([own, named], combine_attrs="drop", join="outer", compat="override")


def tradeoff_summary(result: xr.Dataset, *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """One line an edit and set: recitation (shares with exact intervals, others by bootstrap over sequences), rise of the clean loss over the unedited model (nats a token,
    bootstrap over texts), perplexity, nDCG@10."""
    lines = []
    base = result.isel(edit=0)
    for e, label in enumerate(result.edit.values):
        now = result.isel(edit=e)
        rise = _rise(now.nll_text.values, base.nll_text.values, base.tokens.values)
        loss = over_units(result.sizes["text"], rise, level=level, seed=seed) if result.sizes["text"] > 1 else None
        for name in dict.fromkeys(map(str, result.set.values)):
            at = np.flatnonzero(result.set.values == name)
            line = {"edit": str(label), "set": name, "n": len(at)}
            for measure in MEASURES[:4]:
                found = interval(now[measure].values[at], level, seed)
                line |= {measure: found.estimate, f"{measure}_low": found.low, f"{measure}_high": found.high}
            line |= {"clean_loss": float(now.clean_loss), "perplexity": float(now.perplexity), "rise": float(now.clean_loss - base.clean_loss),
                     "rise_low": np.nan if loss is None else loss.low, "rise_high": np.nan if loss is None else loss.high, "ndcg": float(now.ndcg.mean())}  # fmt: skip
            lines.append(line)
    return pd.DataFrame(lines)


def matched(curves: Mapping[str, xr.Dataset | list[xr.Dataset]], rise: float, *, measure: str = "strict", among: str | None = None, level: float = 0.95,
            seed: int = 0) -> pd.DataFrame:  # fmt: skip
    """Recitation of each method at one rise of the clean loss, read off its trade-off curve: methods at different losses do not compare.

    The least recitation that the method reaches at a rise of at most `rise` counts; between two edits the curve is interpolated. A method whose curve does not go that
    far is read at its end (`reached` False). Several results of a method (training seeds) are read one by one and averaged.

    Args:
        rise: nats a token over the unedited model; 0.1 is 10.5 % of perplexity. among: the set of sequences; None: the only one.

    Returns: `method`, the measure with a bootstrap interval over sequences (clean losses taken as they are), `runs` (each result's value), `reached`, `n`.

    Raises: MemorizationError: a set or measure that is not there.
    """
    lines = []
    for method, given in curves.items():
        parts = [_curve(ds, measure, among) for ds in ([given] if isinstance(given, xr.Dataset) else given)]
        ends = np.cumsum([v.shape[1] for v, _ in parts])

        def value(index: np.ndarray, parts=parts, ends=ends) -> np.ndarray:
            drawn = np.stack([np.bincount(line, minlength=ends[-1]) for line in index]).astype(float)
            with np.errstate(invalid="ignore"):
                read = [_at_rise(v @ w.T / w.sum(1), loss, rise, measure) for (v, loss), w in zip(parts, np.split(drawn, ends[:-1], axis=1))]
            return np.nanmean(read, 0)

        runs = tuple(float(_at_rise(v.mean(1)[:, None], loss, rise, measure)[0]) for v, loss in parts)
        found = over_units(int(ends[-1]), value, level=level, seed=seed) if ends[-1] > 1 else None
        low, high = (np.nan, np.nan) if found is None else (found.low, found.high)
        if measure in ("strict", "loose") and set(runs) in ({0.0}, {1.0}):
            # resampling sees no spread where none or all are recited: the exact bounds
            exact = proportion(int(runs[0] * ends[-1]), int(ends[-1]), level)
            low, high = exact.low, exact.high
        lines.append({"method": method, measure: float(np.mean(runs)), "low": low, "high": high, "runs": runs,
                      "reached": all(loss.max() >= rise - 1e-12 for _, loss in parts), "n": int(ends[-1])})  # fmt: skip
    return pd.DataFrame(lines)


def _curve(ds: xr.Dataset, measure: str, among: str | None) -> tuple[np.ndarray, np.ndarray]:
    """A measure of each sequence over the edits [edit, n], and the rise of the clean loss [edit]."""
    names = list(dict.fromkeys(map(str, ds.set.values)))
    if measure not in MEASURES or (among is None and len(names) > 1) or (among is not None and among not in names):
        raise MemorizationError(f"among={among!r}, measure={measure!r}; expected one of the sets {names} and of {', '.join(MEASURES)}.")
    at = np.flatnonzero(ds.set.values == (names[0] if among is None else among))
    return ds[measure].values[:, at].astype(float), ds.clean_loss.values - ds.clean_loss.values[0]


def _at_rise(values: np.ndarray, loss: np.ndarray, rise: float, measure: str) -> np.ndarray:
    """Least recitation at a rise of at most `rise`, of curves [edit, draws] over rises [edit]; for distances and losses the largest value."""
    sign = -1.0 if measure in ("lev", "nll") else 1.0
    order = np.argsort(loss, kind="stable")
    loss, values = loss[order], sign * values[order]
    last = np.searchsorted(loss, rise, side="right") - 1
    best = values[:last + 1].min(0)
    if last + 1 < len(loss):
        share = (rise - loss[last]) / (loss[last + 1] - loss[last])
        best = np.minimum(best, values[last] + share * (values[last + 1] - values[last]))
    return sign * best


def _rise(now: np.ndarray, base: np.ndarray, tokens: np.ndarray):
    return lambda i: (now - base)[i].sum(1) / tokens[i].sum(1)
