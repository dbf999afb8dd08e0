"""What an edit costs: the same measures before and after, unit by unit, with paired intervals."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr

from ..arguments import HFModel, Seed, Share, TokenRows, door, shown, unfit
from ..engine.in_force import Within
from ..engine.sessions import of_one_model
from ..results import dataset as results
from ..stats import bootstrap_comparison, halves
from ..stats.bounds import DIFFERENCE, SHARE, Bounds
from ..stats.units import unit_means
from .distances import ndcg
from .errors import Holds, MemorizationError
from .performance import performance
from .tables import as_summary, change_test, interval, over, units_of, with_mean, with_tests

_PAIRED = ("nll", "copy_loss", "right", "answer_nll", "prefix_matching")


@door(MemorizationError)
def edited(model: HFModel, edit: Any) -> Any:
    """The model as an edit makes it, inside the with block.

    `edit`: None (as it is); anything with `.applied(model)` (a mask, an edit of the spectrum); a function of the model
    that gives a context manager; a context manager; or another model, which is then given.
    """
    if edit is None:
        return contextlib.nullcontext(model)
    try:
        hasattr(edit, "applied")
    except Exception:  # nothing of it can be asked for
        raise MemorizationError(unfit("edit", edit, "something with .applied(model)")) from None
    if isinstance(edit, type):
        raise MemorizationError(unfit("edit", edit, "an edit, not its class"))
    if hasattr(edit, "applied"):
        return Within(edit.applied(model), model)
    if hasattr(edit, "__enter__"):
        return Within(edit, model)
    if hasattr(edit, "get_output_embeddings") or hasattr(edit, "original_model"):
        return contextlib.nullcontext(edit)
    if callable(edit):
        manager = edit(model)
        if not hasattr(manager, "__enter__"):
            raise MemorizationError(
                unfit("edit", edit, "a function that gives a context manager", f"it gave {shown(manager)}")
            )
        return Within(manager, model)
    raise MemorizationError(
        f"edit is a {type(edit).__name__}; expected None, something with .applied(model), a context manager, a function"
        " that makes one, or another model."
    )


#: What `performance` gives, and `damage`.
Performance = Annotated[Any, Holds("performance", ("nll", "tokens", "ranking", "place_text"), ("text", "place"))]
Damage = Annotated[Any, Holds("damage", ("nll_before", "nll_after", "tokens", "ndcg"), ("text",))]


@door(MemorizationError)
@of_one_model(reads=False)
def damage(
    model: HFModel,
    edit: Any,
    texts: TokenRows,
    tasks: Mapping[str, Any] | None = None,
    *,
    before: Performance | None = None,
    **options: Any,
) -> xr.Dataset:
    """What an edit does to everything that is not memorised: `performance` before and after it, and how far next-token
    rankings moved.

    Args:
        edit: see `edited`: a mask, an edit, a context manager, another model. Afterwards the model is as it was.
        before: `performance` of the unedited model on the same texts and tasks, so that a sweep measures it once.
        options: further arguments of `performance`.

    Returns: over `text`: `nll_before`, `nll_after`, `tokens`, `ndcg` (nDCG@10 to the unedited model, mean over places),
        `copy_loss_before`, `copy_loss_after`; over `item`: `right_before`, `right_after`, `answer_nll_...` (coordinates
        `task`, `bin`); over `random, layer, head`: `prefix_matching_...`. `damage_summary` makes the table.

    Raises: MemorizationError: `before` is of other texts or tasks.
    """
    before = performance(model, texts, tasks, **options) if before is None else before
    with edited(model, edit) as after_model:
        after = performance(after_model, texts, tasks, **options)
    return compared(before, after)


@door(MemorizationError)
def compared(before: Performance, after: Performance) -> xr.Dataset:
    """Two results of `performance` on the same texts and tasks, as `damage` returns them."""
    sizes = [{name: ds.sizes.get(name, 0) for name in ("text", "place", "item")} for ds in (before, after)]
    if (
        sizes[0] != sizes[1]
        or not np.array_equal(before.tokens, after.tokens)
        or ("task" in after and not np.array_equal(before.task, after.task))
    ):
        raise MemorizationError(f"before has {sizes[0]} and after {sizes[1]}; expected the same texts and tasks.")
    ds = after.drop_vars([v for v in ("ranking", "first_loss", *_PAIRED) if v in after])
    for name in (v for v in _PAIRED if v in after and v in before):
        ds[f"{name}_before"], ds[f"{name}_after"] = before[name], after[name]
    places = ndcg(before.ranking.values, after.ranking.values)
    ds["ndcg"] = ("text", np.bincount(after.place_text.values, places, after.sizes["text"]) / after.tokens.values)
    ds = ds.drop_vars("place_text").drop_dims(["place", "top"], errors="ignore")
    record = results.provenance(after)
    return results.stamp(ds, record | {"kind": "damage", "unedited": results.provenance(before)["model"]})


@door(MemorizationError)
def damage_summary(
    result: Damage, *, by_bin: bool = False, level: Share = 0.95, seed: Seed = 0, cluster: Any = "auto"
) -> xr.Dataset:
    """Over `measure`: before, after, change (which is the `mean`) with its paired interval over units (`low`, `high`,
    `interval_kind`), `kept` (after / before, where more is better), n and the unit; `p` (sign flips of the units'
    changes, two-sided; guaranteed if they are symmetric about 0 under the null), `p_holm` over the measures, `p_kind`;
    `units`: in words, what counted as one. `.to_dataframe()` is the table, one line a measure.

    Clean loss is the mean over all tokens (nats) and `perplexity` the exponential of that mean, changed by a factor.
    Tasks: accuracy, with bounds of `after` (Clopper-Pearson where each item counts) and `chance` too. nDCG has no p: it
    cannot rise above 1, so that any change at all would be called one by sign flips.

    Args:
        by_bin: each task also by its bins. Prefix matching: mean over heads, and of the one head that is strongest on
            half of the random sequences, before the edit, read on the other half.
        cluster: what counts as one. "auto": texts, and items, that are equal or share a coordinate named scene, entity,
            memory, duplicate or seed (also with `_text`, `_item` behind it); None: each; a coordinate; or labels by
            axis, {"text": [...], "item": [...]}. A unit's values are averaged (losses: over its tokens); random
            sequences always count each.

    Raises: MemorizationError: a cluster that is not there, or labels without their axis. StatisticsError: labels that
        do not fit.
    """
    axes = {axis: what for axis, what in (("text", "texts"), ("item", "items")) if axis in result.dims}
    units, notes = units_of(result, cluster, axes)
    texts = units["text"]
    lines: list[dict[str, Any]] = []
    tests: list[Any] = []
    nll, tokens = (
        v if texts is None else np.bincount(texts, v)
        for v in (result.nll_after.values - result.nll_before.values, result.tokens.values.astype(float))
    )
    loss = bootstrap_comparison(nll, tokens, statistic="ratio", level=level, seed=seed) if len(tokens) > 1 else None
    a, b = (float(result[f"nll_{w}"].sum()) / tokens.sum() for w in ("before", "after"))
    low, high, kind = (loss.low, loss.high, str(loss.kind)) if loss is not None else (np.nan, np.nan, "none: one text")

    def of_texts(
        measure: str,
        was: float,
        now: float,
        change: float,
        low: float,
        high: float,
        kind: str,
        test: Any,
        unit: str = "text",
    ) -> None:
        lines.append(
            {
                "measure": measure,
                "before": was,
                "after": now,
                "change": change,
                "low": low,
                "high": high,
                "interval_kind": kind,
                "n": len(tokens),
                "unit": unit,
                "units": notes["text"],
            }
        )
        tests.append(test)

    def of_units(
        measure: str,
        was: np.ndarray,
        now: np.ndarray,
        unit: str,
        of: np.ndarray | None,
        note: str,
        bounds: Bounds | None = DIFFERENCE,
    ) -> None:
        lines.append(_line(measure, was, now, unit, of, level, seed, bounds) | {"units": note})
        tests.append(change_test(np.asarray(now, float) - np.asarray(was, float), of, seed))

    apart = change_test(nll / tokens, None, seed)
    of_texts("clean loss", a, b, b - a, low, high, kind, apart)
    of_texts("perplexity", np.exp(a), np.exp(b), np.exp(b - a), np.exp(low), np.exp(high), kind, apart, "text (factor)")
    ndcg_mean = over(result.ndcg.values, texts, level, seed, bounds=SHARE)
    of_texts(
        "nDCG@10",
        1.0,
        ndcg_mean.estimate,
        ndcg_mean.estimate - 1,
        ndcg_mean.low - 1,
        ndcg_mean.high - 1,
        str(ndcg_mean.kind),
        "it cannot rise above 1",
    )
    if "copy_loss_after" in result:
        was, now = (result[f"copy_loss_{w}"].values for w in ("before", "after"))
        of_units("copying loss", was, now, "text", texts, notes["text"], None)
    if "right_after" in result:
        keys = [(str(t), None) for t in dict.fromkeys(result.task.values)]
        keys += (
            [(t, b) for t, _ in keys for b in dict.fromkeys(result.bin.values[result.task.values == t])]
            if by_bin
            else []
        )
        for task, group in keys:
            at = (result.task.values == task) & (True if group is None else result.bin.values == group)
            of = None if units["item"] is None else units["item"][at]
            of_units(
                f"task {task}" + ("" if group is None else f", {group}"),
                result.right_before.values[at],
                result.right_after.values[at],
                "item",
                of,
                notes["item"],
            )
            line = lines.pop()
            still = over(result.right_after.values[at].astype(bool), of, level, seed)
            lines.append(
                line
                | {
                    "kept": line["after"] / line["before"] if line["before"] else np.nan,
                    "after_low": still.low,
                    "after_high": still.high,
                    "chance": float(result.chance.values[at][0]),
                }
            )
    if "prefix_matching_after" in result:
        was, now = (result[f"prefix_matching_{w}"].values.astype(float) for w in ("before", "after"))
        each = f"each of {len(was)} random sequences counts"
        of_units("prefix matching, mean head", was.mean((1, 2)), now.mean((1, 2)), "random sequence", None, each)
        half = halves(len(was), seed)
        best = np.unravel_index(was[half.select].mean(0).argmax(), was.shape[1:])
        of_units(
            f"prefix matching, head {best[0]}.{best[1]}",
            was[half.report][:, *best],
            now[half.report][:, *best],
            "random sequence",
            None,
            f"each of {len(half.report)} random sequences counts",
        )
    table = with_mean(with_tests(pd.DataFrame(lines), tests), "change")
    return as_summary(table, {"measure": table.pop("measure")}, result, level=level, seed=seed)


def _line(
    measure: str,
    before: np.ndarray,
    after: np.ndarray,
    unit: str,
    of: np.ndarray | None,
    level: float,
    seed: int,
    bounds: Bounds | None,
) -> dict[str, Any]:
    was, now = (np.asarray(v, float) if of is None else unit_means(v, of)[0] for v in (before, after))
    kind = "difference" if np.isin(np.concatenate([was, now]), (0.0, 1.0)).all() else "number"
    change = interval(now - was, level, seed, kind, bounds)
    return {
        "measure": measure,
        "before": np.nanmean(was),
        "after": np.nanmean(now),
        "change": change.estimate,
        "low": change.low,
        "high": change.high,
        "interval_kind": str(change.kind),
        "n": int(change.n),
        "unit": unit,
    }
