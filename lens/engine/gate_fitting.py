"""Gates fitted on labelled items: centroids of one split, a threshold and a site chosen on another."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import records
from ..prompts import PromptError, prompt_ids
from .gate_reading import part_of, readings
from .gates import Gate, GateError, fitting
from .memory import budget
from .model import Model
from .pieces import batches_of, run_bytes
from .sessions import of_one_model
from .sites import Site

__all__ = ["Gate", "Items", "activations", "read_items"]
#: Items of a label, at least: of fewer a centroid has no spread to speak of.
FEWEST = 5


@dataclass(frozen=True)
class Items:
    """Labelled prompts. Attributes: hashes: of their texts, by which two sets are compared."""

    prompts: list[Any]
    labels: list[str]
    hashes: list[str]

    def __len__(self) -> int:
        return len(self.prompts)


def read_items(source: Any, name: str, error: type[Exception] = GateError, label: str | None = None) -> Items:
    """Items of rows with a "text", or "messages" of a chat, and a "label".

    Args: label: that of rows without one, and of bare texts; None: each must have one.

    Raises: `error`: a row that is none, in the words of its file and line; no rows.
    """

    def refuse(said: str) -> Exception:
        return error(f"{name}: {said}")

    if isinstance(source, list | tuple) and label is not None:
        source = [{"text": one} if isinstance(one, str) else one for one in source]
    prompts, labels, hashes = [], [], []
    for row in records.rows(source, refuse):
        messages = row.get("messages")
        prompts.append(row.text("text") if messages is None else messages)
        labels.append(row.text("label") if label is None or row.optional("label") is not None else label)
        hashes.append(hashlib.sha256(repr(prompts[-1]).encode()).hexdigest()[:16])
    if not prompts:
        raise refuse("holds no item; give rows with a text and a label")
    return Items(prompts, labels, hashes)


def ids_of(model: Any, items: Items, start: Any, name: str, error: type[Exception]) -> list[Tensor]:
    """Tokens of every item, ``[length]`` each. Raises: `error`: a text that the tokenizer does not know."""
    ids = []
    for i, prompt in enumerate(items.prompts):
        try:
            ids.append(prompt_ids(model, prompt, start, f"{name}[{i}]"))
        except PromptError as fault:
            raise error(str(fault)) from None
    return ids


@torch.no_grad()
def activations(
    view: Model,
    model: Any,
    items: Items,
    sites: Sequence[Site],
    start: Any,
    name: str,
    error: type[Exception],
    *,
    only_last: bool = False,
) -> list[list[Tensor]]:
    """Of each site what it holds of every item, ``[token, width]`` each, the last token last; ``only_last``: of that
    alone.

    Raises: `error`: a text that the tokenizer does not know. SiteError: a site that the model does not have.
    """
    ids = ids_of(model, items, start, name, error)
    keys = [view.anatomy.layer_of(site.name, site.layer) for site in sites]
    for key in keys:
        view.anatomy.require(*key)
    keep = tuple(dict.fromkeys(site.name for site in sites))
    out: list[list[Tensor]] = [[] for _ in sites]
    for batch in batches_of([run_bytes(view, len(one), keep) for one in ids], budget(view).runs):
        runs = view.record([ids[i].to(view.device) for i in batch], keep)
        for site, of in zip(sites, out):
            x = runs.get(site.name, 0 if site.name == "embed" else site.layer)  # type: ignore[arg-type]
            x = part_of(Gate("function", site, test=len), x)
            ends = [int(begin) + length - 1 for begin, length in zip(runs.starts, runs.lengths)]
            sizes = [1] * len(ends) if only_last else list(runs.lengths)
            of += (x[ends] if only_last else x).float().cpu().split(sizes)
    return out


@of_one_model
def _fit(model: Any, train: Any, tune: Any, sites: Any, target: str, kind: str, hold: Any, start: Any) -> Gate:
    view = Model.of(model)
    sites = [sites] if isinstance(sites, Site) else list(sites)
    if not sites or not all(isinstance(site, Site) for site in sites):
        raise GateError(f"sites={sites!r}; give a lens.Site, or a list of them.")
    for site in sites:
        Gate("function", site, test=len)  # says what no gate can read
    of = {name: read_items(source, name) for name, source in (("train", train), ("tune", tune))}
    labels = sorted(set(of["train"].labels))
    for name, items in of.items():
        _require_classes(items, name, labels, target)
    require_apart(of["tune"].hashes, of["train"].hashes, of["tune"], "tune", "train", GateError)
    states = {
        name: activations(view, model, items, sites, start, name, GateError, only_last=True)
        for name, items in of.items()
    }
    mine = torch.tensor([label == target for label in of["tune"].labels])
    found = []
    for number, site in enumerate(sites):
        last = torch.stack([x[-1] for x in states["train"][number]])
        centroids = torch.stack(
            [last[[i for i, one in enumerate(of["train"].labels) if one == label]].mean(0) for label in labels]
        )
        gate = _untuned(site, centroids, labels.index(target), kind)
        values = readings(gate, torch.stack([x[-1] for x in states["tune"][number]]))
        if (chosen := _threshold(values, mine)) is not None:
            found.append((gate, *chosen))
    if not found:
        raise GateError(f"sites={sites!r}: every item of tune reads the same there; take a higher layer.")
    gate, threshold, told = max(found, key=lambda one: one[2])  # the first of equals
    about = {
        "target": target,
        "labels": labels,
        "train": dict(Counter(of["train"].labels)),
        "tune": dict(Counter(of["tune"].labels)),
        "tried": [{"site": str(g.site), "threshold": t, "youden": j} for g, t, j in found],
        "youden": told,
        "texts": {name: items.hashes for name, items in of.items()},
        "model": view.weights(),
        "start": start,
    }
    return replace(gate, threshold=threshold, about=about, hold=hold)


def _untuned(site: Site, centroids: Tensor, target: int, kind: str) -> Gate:
    if kind == "nearest":
        return Gate.nearest(site, centroids, target)
    others = [c for c in range(len(centroids)) if c != target]
    direction = centroids[target] - centroids[others].mean(0)
    return Gate.cosine(site, direction, 0.0) if kind == "cosine" else Gate.projection(site, direction, 0.0)


def _threshold(values: Tensor, mine: Tensor) -> tuple[float, float] | None:
    """Threshold and Youden's J, in the widest gap where several are as good; None where all values are the same."""
    at = values.double().unique()
    if len(at) < 2:
        return None
    cuts = (at[1:] + at[:-1]) / 2
    above = values.double()[None] > cuts[:, None]
    told = (above & mine).sum(1) / mine.sum() - (above & ~mine).sum(1) / (~mine).sum()
    best = told >= told.max() - 1e-12
    widest = torch.where(best, at[1:] - at[:-1], torch.zeros_like(cuts)).argmax()
    return float(cuts[widest]), float(told[widest])


def _require_classes(items: Items, name: str, labels: Sequence[str], target: str) -> None:
    counts = Counter(items.labels)
    if target not in counts:
        raise GateError(f"target={target!r} is no label of {name}; it has {', '.join(map(repr, sorted(counts)))}.")
    if len(counts) < 2:
        raise GateError(f"{name}: all items are {target!r}; give items of other labels too, which it is told from.")
    for label, count in counts.items():
        if name == "tune" and label not in labels:
            raise GateError(f"tune: the label {label!r} is not in train, which has {', '.join(map(repr, labels))}.")
        if count < FEWEST:
            raise GateError(
                f"{name}: {count} item{'s' if count > 1 else ''} of label {label!r}; a centroid and a threshold need at"
                f" least {FEWEST} of each. Give more, or leave the label out."
            )


def require_apart(
    one: Sequence[str], other: Sequence[str], items: Items, first: str, second: str, error: type[Exception]
) -> None:
    """Refuses sets of items that share some, by their text."""
    known = set(other)
    if both := [i for i, text in enumerate(one) if text in known]:
        raise error(
            f"{first}[{both[0]}]={items.prompts[both[0]]!r:.120} is in {second} too, and {len(both) - 1} more; what was"
            " fitted on an item is not judged by it. Split the items first."
        )


fitting[:] = [_fit]
