"""Items by label over the layers as numbers: centroids, the gate, how often it opens, answers with and without it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from lens import Edit, Gate, Model, Site, generate, vectors
from lens.engine.gate_fitting import activations, read_items
from lens.engine.gate_reading import readings
from lens.prompts import prompt_ids
from lens.results.dataset import provenance, stamp
from lens.stats import proportion
from lens.tokens import token_strings, tokenizer_of
from widgets.base.text import finite
from widgets.errors import ViewError
from widgets.trajectory_view.items import ORDINARY, Items

SITE = "resid_post"
KINDS = ("nearest", "cosine", "projection")
#: When the edit is looked at, in words, and the schedule of it.
ACTS = {"first": "first 1", "each": None}
#: At which tokens the random gate opens as often, the run's edit acting so.
RIVALS_AT: dict[str, Any] = {"first": "last", "each": "all"}
#: Tokens that are written at most.
NEW_TOKENS = 12
#: Arms in their order: the model as it is, the gated edit, and what the gate and the direction have to beat.
ARMS = ("none", "gated", "always", "random gate", "random direction")
#: Parts of a run: their names and what there is once one is done.
PARTS = {"distance": "trajectories", "fired": "gate", "answer": "answers"}


@dataclass
class Run:
    """A run: what is asked, and its answer so far.

    Attributes: gate, edit: those of the run; None: not (any more) at hand. youden, reliability: of the gate on `tune`,
        of the direction between halves of `train`.
    """

    number: int
    target: str
    toward: str
    kind: str
    layer: int
    strength: float
    acts: str
    dataset: xr.Dataset | None = None
    status: str = "running"
    seconds: float = 0.0
    gate: Any = None
    edit: Any = None
    about: dict[str, Any] = field(default_factory=dict)

    def layers_done(self) -> list[int]:
        """Nothing comes layer by layer."""
        return []

    def complete(self) -> bool:
        """Whether the answers, which come last, are there."""
        return self.dataset is not None and "answer" in self.dataset


def computed(
    run: Run, model: Any, items: Items, stop: Callable[[], bool], on_part: Callable[[Any], None]
) -> xr.Dataset | None:
    """Trajectories, the gate with its rates, and every arm's answers, part by part; None where nothing is there yet.

    Raises: what `lens.vectors.trajectories`, `lens.Gate.fit`, `lens.vectors.fire_rates` and `lens.generate` raise.
    """
    if stop():
        return None
    train, asked = items.splits["train"], items.asked()
    ds = vectors.trajectories(model, train, asked)
    if not 0 <= run.layer < ds.sizes["layer"]:
        raise ViewError(f"layer: {run.layer} is none; the model has 0 to {ds.sizes['layer'] - 1}")
    ds = ds.assign_coords(text=("item", [row["text"] for row in asked]))
    on_part(ds)
    if stop():
        return ds
    fit_gate(run, model, items)
    rates = vectors.fire_rates(model, run.gate, asked)
    ds = ds.merge(_renamed(rates), compat="no_conflicts", combine_attrs="override")
    on_part(ds)
    if stop():
        return ds
    said = answers(run, model, items, stop)
    if said is not None:
        ds = ds.merge(said, compat="no_conflicts", combine_attrs="override")
    record = provenance(ds)
    asked_for = {name: getattr(run, name) for name in ("target", "toward", "kind", "layer", "strength", "acts")}
    record["call"] |= asked_for | {"gate": repr(run.gate), "new_tokens": NEW_TOKENS, "stop": items.stop}
    return stamp(ds, record | {"status": "partial" if said is None else "complete"})


def fit_gate(run: Run, model: Any, items: Items) -> None:
    """The gate, and the edit behind it: from the mean of `target` to that of `toward`."""
    site = Site(SITE, layer=run.layer)
    run.gate = Gate.fit(model, items.splits["train"], items.splits["tune"], site, run.target, kind=run.kind)  # type: ignore[arg-type]
    push = vectors.contrast(model, items.texts(run.toward), items.texts(run.target), layer=run.layer)
    at = Site(SITE, layer=run.layer, position=-1)
    run.edit = Edit(at, "add", push.direction, scale=run.strength, when=run.gate)
    run.about = {
        "threshold": finite(run.gate.threshold),
        "youden": finite(run.gate.about["youden"]),
        "reliability": None if (known := push.about["reliability"]) is None else finite(known),
    }


def _renamed(rates: xr.Dataset) -> xr.Dataset:
    """Rates under names of their own, by `fires_on`."""
    names = {"mean": "fired", "low": "fired_low", "high": "fired_high", "n": "fired_n", "tokens": "fired_tokens"}
    by_item = rates[["open", "reading"]].drop_vars("label_of_text").rename(text="item")
    return rates[[*names]].rename(names | {"label": "fires_on"}).merge(by_item).drop_attrs()


def answers(run: Run, model: Any, items: Items, stop: Callable[[], bool]) -> xr.Dataset | None:
    """What every arm answers to every item, and by label how many answers it changes and how many are right."""
    asked = items.asked()
    texts = [row["text"] for row in asked]
    edits = {"none": (), **vectors.gate_rivals(model, run.edit, asked, at=RIVALS_AT[run.acts])}
    told = []
    for arm in ARMS:
        if stop():
            return None
        told.append([str(one) for one in writing(model, texts, edits[arm], run, items.stop)])
    said = np.array(told)
    known = np.array(["answer" in row for row in asked])
    right = np.array(
        [[known[i] and _right(one, asked[i].get("answer", "")) for i, one in enumerate(arm)] for arm in said]
    )
    labels = [row.get("label", ORDINARY) for row in asked]
    names = list(dict.fromkeys(labels))
    mine = np.array([[label == name for label in labels] for name in names])
    ds = xr.Dataset(
        {"answer": (("arm", "item"), said)},
        {"arm": list(ARMS), "fires_on": names},
    )
    for name, holds, of in (("changed", said != said[0], mine), ("right", right, mine & known)):
        n = of.sum(1)
        counts = (holds[:, None] & of).sum(-1)
        share = proportion(np.where(n > 0, counts, np.nan), np.maximum(n, 1))
        for end, value in (("", share.estimate), ("_low", share.low), ("_high", share.high)):
            ds[name + end] = (("arm", "fires_on"), np.asarray(value, float))
        ds[f"{name}_n"] = ("fires_on", n)
    return ds


def _right(said: str, answer: str | None) -> bool:
    """Whether what was said begins with the answer, word for word."""
    words = (answer or "").split()
    return bool(words) and said.split()[: len(words)] == words


def writing(model: Any, texts: Any, edits: Any, run: Run, stop: str, **more: Any) -> Any:
    """Texts written greedily under edits that are looked at when the run says so."""
    with warnings.catch_warnings():  # how often a gate opened is in the picture
        warnings.simplefilter("ignore")
        return generate(
            model,
            texts,
            edits,
            max_new_tokens=NEW_TOKENS,
            stop=stop or (),
            schedule=ACTS[run.acts] if edits else None,  # type: ignore[arg-type]
            progress=False,
            **more,
        )


def written(run: Run, model: Any, text: str, stop: str) -> dict[str, Any]:
    """One text with and without the gated edit: what is written, and what the gate read at every token of both."""
    view, site = Model.of(model), run.gate.site
    ids = prompt_ids(model, text, "auto", "text").tolist()
    first = len(ids) - 1
    made: dict[str, Any] = {"threshold": run.about["threshold"], "prompt": len(ids)}
    [[states]] = activations(view, model, read_items([text], "text", ViewError, ""), [site], "auto", "text", ViewError)
    before = [finite(v) for v in readings(run.gate, states)[:first]]
    looked = range(first, first + 1) if run.acts == "first" else range(first, 10**9)
    for name, edits in (("plain", ()), ("gated", (run.edit,))):
        said = writing(model, text, list(edits), run, stop, capture=site)
        opened = set(said.fired.get(0, ()))
        held = said.activations[site].float()
        for i in range(len(held)):
            if first + i in opened:  # what is kept has the edit in it; a gate at this site reads the state before it
                held[i] -= run.edit.scale * run.edit.value.to(held)
        values = [finite(v) for v in readings(run.gate, held)] if len(held) else []
        every = [*ids, *said.ids]
        made[name] = {
            "text": str(said).strip(),
            "reason": said.reason,
            "tokens": [str(token) for token in token_strings(tokenizer_of(model), every)],
            "reading": [*before, *values, *[None] * (len(every) - first - len(values))],
            "open": [i in opened for i in range(len(every))],
            "looked": [bool(edits) and i in looked and i < first + len(values) for i in range(len(every))],
        }
    return made


def ways(ds: xr.Dataset, item: int) -> dict[str, Any]:
    """One item over the layers: its place, and the two nearest centroids."""
    here = ds.isel(item=item)
    return {
        "place": here["place"].values.astype(float).round(5).tolist(),
        "nearest": here["nearest"].values.astype(int).tolist(),
        "margin": here["margin"].values.astype(float).round(5).tolist(),
    }


def payload(run: Run, items: Items) -> dict[str, Any]:
    """The `picture` trait: labels and tables as JSON, numbers by layer and item as float32 buffers, row-major."""
    ds = run.dataset
    assert ds is not None
    labels = [str(label) for label in ds.label.values]
    made: dict[str, Any] = {
        "run": run.number,
        "target": run.target,
        "toward": run.toward,
        "kind": run.kind,
        "layer": run.layer,
        "strength": run.strength,
        "acts": run.acts,
        "layers": ds.sizes["layer"],
        "labels": labels,
        "held": items.held,
        "fitted_on": len(items.splits["train"]),
        "items": [
            {"text": str(t), "label": str(l)} for t, l in zip(ds.text.values, ds.label_of_item.values, strict=True)
        ],
        "n": int(ds["n"]),
        "own": [[finite(ds[name].values[i]) for name in ("own", "low", "high", "shuffled", "share", "share_between")]
                for i in range(ds.sizes["layer"])],
        **{name: _bytes(ds[name].values) for name in ("place", "centroid", "nearest", "margin")},
    }  # fmt: skip
    if "fired" in ds:
        made["gate"] = run.about | {"site": f"{SITE} {run.layer}"}
        made["rates"] = [_rate(ds, i) for i in range(ds.sizes["fires_on"])]
    return made


def _bytes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def _rate(ds: xr.Dataset, i: int) -> dict[str, Any]:
    """Of one label how often the gate opens, and what each arm changes and answers right."""
    here = ds.isel(fires_on=i)
    row: dict[str, Any] = {
        "label": str(here["fires_on"].values),
        "n": int(here["fired_n"]),
        "fired": [finite(here[name]) for name in ("fired", "fired_low", "fired_high")],
        "tokens": finite(here["fired_tokens"]),
    }
    if "answer" in ds:
        for name in ("changed", "right"):
            row[name] = [
                [finite(here[name + end].values[k]) for end in ("", "_low", "_high")] for k in range(len(ARMS))
            ]
    return row


def rates_of(picture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of rates; none before there is a gate."""
    return list(picture.get("rates") or [])
