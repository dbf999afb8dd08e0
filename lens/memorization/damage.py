"""What an edit costs: the same measures before and after, unit by unit, with paired intervals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..engine import results
from ..measure.statistics import bootstrap_comparison, halves, proportion
from .distances import ndcg
from .errors import MemorizationError
from .performance import performance
from .tables import interval

_PAIRED = ("nll", "copy_loss", "right", "answer_nll", "prefix_matching")


@contextlib.contextmanager
def edited(model: Any, edit: Any) -> Iterator[Any]:
    """The model as an edit makes it, inside the with block.

    `edit`: None (as it is); anything with `.applied(model)` (a mask, an edit of the spectrum); a function of the model that gives a context manager; a context manager;
    or another model, which is then given.
    """
    if edit is None:
        yield model
    elif hasattr(edit, "applied"):
        with edit.applied(model):
            yield model
    elif hasattr(edit, "__enter__"):
        with edit:
            yield model
    elif hasattr(edit, "get_output_embeddings") or hasattr(edit, "original_model"):
        yield edit
    elif callable(edit):
        with edit(model):
            yield model
    else:
        raise MemorizationError(f"edit is a {type(edit).__name__}; expected None, something with .applied(model), a context manager, a function that makes one, or another "
                                "model.")


def damage(model: Any, edit: Any, texts: Any, tasks: Mapping[str, Any] | None = None, *, before: xr.Dataset | None = None, **options: Any) -> xr.Dataset:
    """What an edit does to everything that is not memorised: `performance` before and after it, and how far next-token rankings moved.

    Args:
        edit: see `edited`: a mask, an edit, a context manager, another model. Afterwards the model is as it was.
        before: `performance` of the unedited model on the same texts and tasks, so that a sweep measures it once.
        options: further arguments of `performance`.

    Returns: over `text`: `nll_before`, `nll_after`, `tokens`, `ndcg` (nDCG@10 to the unedited model, mean over places), `copy_loss_before`, `copy_loss_after`; over
        `item`:
        `right_before`, `right_after`, `answer_nll_...` (coordinates `task`, `bin`); over `random, layer, head`: `prefix_matching_...`. `damage_summary` makes the table.

    Raises: MemorizationError: `before` is of other texts or tasks.
    """
    before = performance(model, texts, tasks, **options) if before is None else before
    with edited(model, edit) as after_model:
        after = performance(after_model, texts, tasks, **options)
    return compared(before, after)


def compared(before: xr.Dataset, after: xr.Dataset) -> xr.Dataset:
    """Two results of `performance` on the same texts and tasks, as `damage` returns them."""
    sizes = [{name: ds.sizes.get(name, 0) for name in ("text", "place", "item")} for ds in (before, after)]
    if sizes[0] != sizes[1] or not np.array_equal(before.tokens, after.tokens) or ("task" in after and not np.array_equal(before.task, after.task)):
        raise MemorizationError(f"before has {sizes[0]} and after {sizes[1]}; expected the same texts and tasks.")
    ds = after.drop_vars([v for v in ("ranking", "first_loss", *_PAIRED) if v in after])
    for name in (v for v in _PAIRED if v in after and v in before):
        ds[f"{name}_before"], ds[f"{name}_after"] = before[name], after[name]
    places = ndcg(before.ranking.values, after.ranking.values)
    ds["ndcg"] = ("text", np.bincount(after.place_text.values, places, after.sizes["text"]) / after.tokens.values)
    ds = ds.drop_vars("place_text").drop_dims(["place", "top"], errors="ignore")
    record = results.provenance(after)
    return results.stamp(ds, record | {"kind": "damage", "unedited": results.provenance(before)["model"]})


def damage_summary(result: xr.Dataset, *, by_bin: bool = False, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """One line a measure: before, after, change with a paired bootstrap interval over units, `kept` (after / before, where more is better), n and the unit.

    Clean loss is the mean over all tokens (nats) and `perplexity` the exponential of that mean, changed by a factor. Tasks: accuracy, with Clopper-Pearson bounds of
    `after` and `chance` too.
    `by_bin`: each task also by its bins. Prefix matching: mean over heads, and of the one head that is strongest on half of the random sequences, before the edit, read
    on the other half.
    """
    lines = []
    tokens = result.tokens.values.astype(float)
    loss = bootstrap_comparison(result.nll_after.values - result.nll_before.values, tokens, statistic="ratio", level=level, seed=seed) if len(tokens) > 1 else None
    a, b = (float(result[f"nll_{w}"].sum()) / tokens.sum() for w in ("before", "after"))
    low, high = (loss.low, loss.high) if loss is not None else (np.nan, np.nan)
    of_texts = lambda measure, was, now, change, low, high, unit="text": lines.append(
        {"measure": measure, "before": was, "after": now, "change": change, "low": low, "high": high, "n": len(tokens), "unit": unit})
    of_texts("clean loss", a, b, b - a, low, high)
    of_texts("perplexity", np.exp(a), np.exp(b), np.exp(b - a), np.exp(low), np.exp(high), "text (factor)")
    found = interval(result.ndcg.values, level, seed)
    of_texts("nDCG@10", 1.0, found.estimate, found.estimate - 1, found.low - 1, found.high - 1)
    if "copy_loss_after" in result:
        lines.append(_line("copying loss", result.copy_loss_before.values, result.copy_loss_after.values, "text", level, seed))
    if "right_after" in result:
        keys = [(str(t), None) for t in dict.fromkeys(result.task.values)]
        keys += [(t, b) for t, _ in keys for b in dict.fromkeys(result.bin.values[result.task.values == t])] if by_bin else []
        for task, group in keys:
            at = (result.task.values == task) & (True if group is None else result.bin.values == group)
            line = _line(f"task {task}" + ("" if group is None else f", {group}"), result.right_before.values[at], result.right_after.values[at], "item", level, seed)
            exact = proportion(int(result.right_after.values[at].sum()), int(at.sum()), level)
            lines.append(line | {"kept": line["after"] / line["before"] if line["before"] else np.nan, "after_low": exact.low, "after_high": exact.high,
                                 "chance": float(result.chance.values[at][0])})  # fmt: skip
    if "prefix_matching_after" in result:
        was, now = (result[f"prefix_matching_{w}"].values.astype(float) for w in ("before", "after"))
        lines.append(_line("prefix matching, mean head", was.mean((1, 2)), now.mean((1, 2)), "random sequence", level, seed))
        half = halves(len(was), seed)
        best = np.unravel_index(was[half.select].mean(0).argmax(), was.shape[1:])
        lines.append(_line(f"prefix matching, head {best[0]}.{best[1]}", was[half.report][:, *best], now[half.report][:, *best], "random sequence", level, seed))
    return pd.DataFrame(lines)


def _line(measure: str, before: Sequence[float], after: Sequence[float], unit: str, level: float, seed: int) -> dict[str, Any]:
    was, now = np.asarray(before, float), np.asarray(after, float)
    found = interval(now - was, level, seed)
    return {"measure": measure, "before": np.nanmean(was), "after": np.nanmean(now), "change": found.estimate, "low": found.low, "high": found.high, "n": int(found.n),
            "unit": unit}  # fmt: skip
