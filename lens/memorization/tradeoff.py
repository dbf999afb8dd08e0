"""Trade-off curves: recitation against clean loss over a family of edits, and methods compared at one clean loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from ..arguments import Filled, HFModel, Seed, Share, TokenRows, door
from ..engine.sessions import of_one_model
from ..progress import hidden
from ..results import dataset as results
from ..stats import bootstrap_comparison
from ..stats.units import nested
from .damage import Performance, compared, edited
from .distances import BOUNDS
from .errors import Holds, MemorizationError
from .extraction import MEASURES, extract
from .performance import performance
from .pooling import with_duplicates
from .sequences import Sequences, apart
from .tables import as_summary, change_test, over, units_of, with_mean, with_tests

#: What `tradeoff` gives.
Tradeoff = Annotated[
    Any, Holds("tradeoff", ("set", "tokens", "nll_text", "clean_loss", *MEASURES), ("edit", "sequence", "text"))
]


@door(MemorizationError)
@of_one_model(reads=False)
def tradeoff(
    model: HFModel,
    edits: Mapping[Any, Any],
    sets: Sequences | Mapping[str, Sequences],
    texts: TokenRows,
    tasks: Mapping[str, Any] | None = None,
    *,
    before: Performance | None = None,
    progress: bool | None = None,
    **options: Any,
) -> xr.Dataset:
    """Recitation and damage under each of a family of edits of growing strength, the unedited model first.

    Args:
        edits: label -> edit (see `damage.edited`), such as {0.9: mask, 0.8: mask}. sets: the memorised sequences by
            name ("tune", "val"), which must not overlap.
        texts, tasks, options: as for `performance`. before: the unedited model's `performance`, where it is there.

    Returns: over `edit` ("unedited" first): over `sequence`: `strict`, `loose`, `lev`, `exact_prefix`, `rouge_l`, `nll`
        (coordinates `set`, `name`, `kind`, `duplicates`), `generated`, `gold`; over `text`: `nll_text` (summed),
        `ndcg`, `copy_loss`; over `item`: `right`; `clean_loss` and `perplexity` (exponential of the mean loss over all
        tokens) of each edit.

    Raises: MemorizationError: no edits, sets that overlap.
    """
    by_name = {"memorised": sets} if isinstance(sets, Sequences) else dict(sets)
    if not edits or not by_name:
        raise MemorizationError(
            f"edits has {len(edits)} and sets {len(by_name)} entries; expected at least one of each."
        )
    apart(by_name)
    base = performance(model, texts, tasks, progress=False, **options) if before is None else before
    lines = []
    with tqdm(
        total=len(edits) + 1, desc="trade-off", unit="edit", delay=2.0, leave=False, disable=hidden(progress)
    ) as bar:
        for label, edit in {"unedited": None, **{str(k): v for k, v in edits.items()}}.items():
            with edited(model, edit) as now:
                parts = [
                    extract(now, of, progress=False).assign_coords(set=("sequence", np.full(len(of), name)))
                    for name, of in by_name.items()
                ]
                after = base if label == "unedited" else performance(now, texts, tasks, progress=False, **options)
            lines.append(_line(parts, compared(base, after)))
            bar.update()
    ds = xr.concat(
        lines, "edit", data_vars="all", coords="minimal", compat="override", join="override", combine_attrs="drop"
    )
    ds = ds.assign_coords(edit=["unedited", *map(str, edits)])
    ds["tokens"], ds["gold"] = base.tokens, ds.gold.isel(edit=0)
    ds["clean_loss"] = ds.nll_text.sum("text") / ds.tokens.sum()
    ds["perplexity"] = np.exp(ds.clean_loss)
    record = results.provenance(base)
    call = {
        "edits": list(map(str, edits)),
        "sets": {name: of.about() for name, of in by_name.items()},
        "performance": record["call"],
    }
    return results.stamp(ds, record | {"kind": "trade-off", "call": call})


def _line(parts: list[xr.Dataset], cost: xr.Dataset) -> xr.Dataset:
    width = max(p.sizes["token"] for p in parts)
    padded = [
        p.drop_vars("sequence").pad(token=(0, width - p.sizes["token"]), constant_values={"generated": -1, "gold": -1})
        for p in parts
    ]
    padded = with_duplicates(padded)
    shared = set.intersection(*(set(map(str, p.coords)) for p in padded))
    own = xr.concat(
        [p.drop_vars([c for c in p.coords if c not in shared]) for p in padded],
        "sequence",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="drop",
    )
    columns = {"nll_after": "nll_text", "ndcg": "ndcg", "copy_loss_after": "copy_loss", "right_after": "right"}
    costs = cost[[v for v in columns if v in cost]].rename({k: v for k, v in columns.items() if k != v and k in cost})
    return xr.merge([own, costs], combine_attrs="drop", join="outer", compat="override")


@door(MemorizationError)
def tradeoff_summary(result: Tradeoff, *, level: Share = 0.95, seed: Seed = 0, cluster: Any = "auto") -> xr.Dataset:
    """Over `edit, set`: recitation (shares with exact intervals, others by `lens.stats.means.mean_interval`), strict
    recitation also as `mean`, `low`, `high`, `interval_kind`; `p` that strict recitation is the unedited model's (sign
    flips over units, two-sided: exact for truth values), `p_holm` over all cells, `p_kind` ("none" of the unedited
    model, with which the others are compared); `n`: units. Over `edit`: `clean_loss`, its rise over the unedited model
    (nats a token, interval over texts), perplexity, `ndcg` (nDCG@10). The kind of each interval is in
    `..._interval_kind`; `units`: in words, what counted as one. `.to_dataframe()` is the table, one line an edit and
    set.

    `cluster`: as in `damage_summary`, of sequences and texts: "auto", None, a coordinate, or labels by axis,
    {"sequence": [...], "text": [...]}.

    Raises: as `damage_summary`.
    """
    lines, tests = [], []
    base = result.isel(edit=0)
    units, notes = units_of(result, cluster, {"sequence": "sequences", "text": "texts"})

    def sums(v):
        return v if units["text"] is None else np.bincount(units["text"], v)

    tokens = sums(base.tokens.values.astype(float))
    names = list(dict.fromkeys(map(str, result.set.values)))
    for e in range(result.sizes["edit"]):
        now = result.isel(edit=e)
        loss = (
            bootstrap_comparison(
                sums(now.nll_text.values - base.nll_text.values), tokens, statistic="ratio", level=level, seed=seed
            )
            if len(tokens) > 1
            else None
        )
        for name in names:
            at = np.flatnonzero(result.set.values == name)
            of = None if units["sequence"] is None else units["sequence"][at]
            line: dict[str, Any] = {"n": len(at) if of is None else len(np.unique(of))}
            for measure in MEASURES[:4]:
                mean = over(now[measure].values[at], of, level, seed, bounds=BOUNDS[measure])
                line |= {
                    measure: mean.estimate,
                    f"{measure}_low": mean.low,
                    f"{measure}_high": mean.high,
                    f"{measure}_interval_kind": str(mean.kind),
                }
            line |= {
                "clean_loss": float(now.clean_loss),
                "perplexity": float(now.perplexity),
                "rise": float(now.clean_loss - base.clean_loss),
                "rise_low": np.nan if loss is None else loss.low,
                "rise_high": np.nan if loss is None else loss.high,
                "rise_interval_kind": "none: one text" if loss is None else str(loss.kind),
                "ndcg": float(now.ndcg.mean()),
            }
            lines.append(line)
            changes = now.strict.values[at].astype(float) - base.strict.values[at]
            tests.append("the others are compared with it" if e == 0 else change_test(changes, of, seed))
    table = with_mean(
        with_tests(pd.DataFrame(lines), tests).assign(units="; ".join(notes.values())), "strict", "strict_"
    )
    paid = [c for c in table.columns if c in ("clean_loss", "perplexity", "ndcg") or c.startswith("rise")]
    axes = {"edit": list(map(str, result.edit.values)), "set": names}
    return as_summary(table, axes, result, dict.fromkeys(paid, ("edit",)), level=level, seed=seed)


#: What of it is read where methods are compared at one clean loss.
Curve = Annotated[Any, Holds("tradeoff", ("set", "clean_loss"), ("edit", "sequence"))]


@door(MemorizationError)
def matched(
    curves: Mapping[str, Curve | Annotated[Sequence[Curve], Filled()]],
    rise: float,
    *,
    measure: str = "strict",
    among: str | None = None,
    level: Share = 0.95,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Recitation of each method at one rise of the clean loss, read off its trade-off curve: methods at different
    losses do not compare.

    The least recitation that the method reaches at a rise of at most `rise` counts; between two edits the curve is
    interpolated. A method whose curve does not go that far is read at its end (`reached` False). Several results of a
    method (training seeds) are read one by one and averaged.

    Args:
        rise: nats a token over the unedited model; 0.1 is 10.5 % of perplexity. among: the set of sequences; None: the
            only one.

    The interval is of the sequences' values at the place of the curve that is read, taken as it is (clean losses too):
    exact where they are truth values, else `lens.stats.means.mean_interval`; of several results the wider of
    Student's t over them and that within them (`lens.stats.units.nested`).

    Returns: `method`, the measure with `low`, `high`, `interval_kind`, `runs` (each result's value), `reached`, `n`
        (sequences in all).

    Raises: MemorizationError: a set or measure that is not there.
    """
    lines = []
    for method, curve in curves.items():
        parts = [_curve(ds, measure, among) for ds in ([curve] if isinstance(curve, xr.Dataset) else curve)]
        read = [_at_rise(v, loss, rise, measure) for v, loss in parts]
        truth = measure in ("strict", "loose") and all(np.isin(r, (0.0, 1.0)).all() for r in read)
        interval = nested(
            np.concatenate(read),
            np.repeat(np.arange(len(read)), [len(r) for r in read]),
            level=level,
            seed=seed,
            of="share" if truth else "number",
            bounds=BOUNDS[measure],
        ).interval
        runs = tuple(float(r.mean()) for r in read)
        lines.append(
            {
                "method": method,
                measure: float(np.mean(runs)),
                "low": interval.low,
                "high": interval.high,
                "interval_kind": str(interval.kind),
                "runs": runs,
                "reached": all(loss.max() >= rise - 1e-12 for _, loss in parts),
                "n": sum(map(len, read)),
            }
        )
    return pd.DataFrame(lines)


def _curve(ds: xr.Dataset, measure: str, among: str | None) -> tuple[np.ndarray, np.ndarray]:
    """A measure of each sequence over the edits [edit, n], and the rise of the clean loss [edit]."""
    names = list(dict.fromkeys(map(str, ds.set.values)))
    if (
        measure not in MEASURES
        or measure not in ds
        or (among is None and len(names) > 1)
        or (among is not None and among not in names)
    ):
        raise MemorizationError(
            f"among={among!r}, measure={measure!r}; expected one of the sets {names} and of {', '.join(MEASURES)}."
        )
    at = np.flatnonzero(ds.set.values == (names[0] if among is None else among))
    return ds[measure].values[:, at].astype(float), ds.clean_loss.values - ds.clean_loss.values[0]


def _at_rise(values: np.ndarray, loss: np.ndarray, rise: float, measure: str) -> np.ndarray:
    """Each sequence's value [n] where the mean of the curves [edit, n] over rises [edit] is least at a rise of at most
    `rise`; for distances and losses where it is largest.
    """
    sign = -1.0 if measure in ("lev", "nll") else 1.0
    order = np.argsort(loss, kind="stable")
    loss, values = loss[order], values[order]
    last = np.searchsorted(loss, rise, side="right") - 1
    places = list(values[: last + 1])
    if last + 1 < len(loss):
        share = (rise - loss[last]) / (loss[last + 1] - loss[last])
        places.append(values[last] + share * (values[last + 1] - values[last]))
    return min(places, key=lambda at: sign * at.mean())
