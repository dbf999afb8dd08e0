"""From which layer on can the context no longer change the answer, and from which is the answer written?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..arguments import Draws, HFModel, Positive, Seed, Share, door, shown
from ..arguments.kinds import is_sequence
from ..engine.metrics import METRICS
from ..engine.sessions import of_one_model
from ..prompts import EncodedPair, Pair, encode_all
from ..results import dataset as results
from ..results.record import record_of
from ..stats.effects import clusters
from ..stats.intervals import bootstrap
from ..stats.means import MISSING
from ..stats.units import unit_means
from .depth_values import MEASURES, DepthCells, DepthValues
from .exact import chosen_pairs, remember
from .grid import PatchError, patchable
from .summary import GUESS, fields

DETERMINED, NO_GAP, HARM, MISSED = "determined", "no gap", "null outside", "not computed"


@door(PatchError)
@of_one_model
def depth(
    model: HFModel,
    items: Pair | Sequence[Pair],
    partners: Any = None,
    *,
    same: Any = None,
    near: Share = 0.1,
    gap: Positive = 0.5,
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """The layer from which on another context no longer changes the answer (reading), and the first at which the last
    token's stream carries it (writing).

    With ``m`` the log-odds of answer and foil: ``E(l)`` is the change of ``m`` when from layer ``l`` on the streams of
    all tokens but the last are a partner's (reading), or when the last token's stream at ``l`` alone is (writing), over
    the change when the whole prompt is. Reading falls from 1 to 0 and writing rises from 0 to 1: at layer 0 and behind
    the last block they do so by construction, so that a depth there says no more than that none was found between.

    Args:
        items: pairs with a foil, both of one token; ``corrupted`` is a partner, as long as ``clean`` and with the same
            last token, after which the foil is right.
        partners: for each item, a list of further such prompts (text, or pairs whose ``clean`` is taken).
        same: for each item, a list of prompts of another context with the same answer: the null. Items for which ``E``
            of reading leaves ``near`` with them, at a layer above 0, are not determined.
        near: depth of reading: the first layer from which on ``|E| <= near``; of writing: the first with ``E >= 1 -
            near``.
        gap: an item whose partners change ``m`` by less (in nats, their mean) is left out and counted.
        level, resamples, seed: of the intervals. cluster: what counts as one, as in `lens.summary`.
        memory_mb, progress, stop: as `lens.patch`; stopped, items that are not computed have no depth.

    Returns: over ``prompt``, ``measure`` ("reading", "writing") and ``layer`` (0 to ``n_layers``, behind the last
        block): ``effect`` (E, a ratio of means over partners), ``null`` (with ``same``: the largest over these of
        ``|E|`` in reading), ``value`` (m under each edit, by ``partner`` too);
        over ``prompt``: ``depth`` by ``measure`` (NaN where not determined), ``depth_by_partner``,
        ``status`` ("determined", "no gap", "null outside", "not computed"), ``clean`` (m) and ``gap``. Over
        ``measure``, over units (``n``): ``mean`` of the depths with ``low``, ``high``, ``interval_kind``, their
        quartiles (``q25``, ``median``, ``q75``) and ``at_end``, the share behind the last block. `lens.summary` takes
        the curve.

    Raises:
        PatchError: partners that fit no item: their number, last token, or answer. PromptError: one of another length.
            MetricError: an item without a foil, or with answers of several tokens.

    Source: after the commitment layer of Distributional Semantics Tracing (arXiv 2510.06107), made causal.

    Cost: a run of each prompt (its beginning shared) and, for each partner and layer, two suffixes of one token.

    >>> ds = lens.depth(model, pairs, partners)               # doctest: +SKIP
    """
    began = time.perf_counter()
    _, chosen = chosen_pairs(items)
    others, alike = _prompts(chosen, partners, "partners"), _prompts(chosen, same, "same")
    view = patchable(model)
    if view.reads_ahead:
        raise PatchError(
            "model: its tokens read later ones too, so that no layer is the last at which a token reads others; give a"
            " causal decoder."
        )
    encoded = [
        encode_all(model, [pair, *(dataclasses.replace(pair, corrupted=t, spans={}, corrupted_spans={}) for t in more)])
        for pair, more in zip(chosen, ([*a, *b] for a, b in zip(others, alike)))
    ]
    for i, of in enumerate(encoded):
        METRICS["logit_diff"].sequences(of[0])
        _require_end(of, f"items[{i}]")
    counts = [1 + len(of) for of in others]
    call: dict[str, Any] = dict(metric="logit_diff", unit="nats", near=near, gap=gap)
    call |= {"partners": [list(map(_shown, of)) for of in others], "same": [list(map(_shown, of)) for of in alike]}
    record = record_of(model, view, "depth", call, chosen, seed=seed, state=view.state)
    values = DepthCells(view, encoded, counts, memory_mb).run(progress, stop)
    ds = _labelled(values, chosen, counts, near, gap)
    units, note = clusters(cluster, len(chosen), fields(ds, record), GUESS)
    ds = ds.assign(_intervals(ds, units, level, resamples, seed))
    ds.attrs.clear()
    about = {"level": level, "resamples": resamples, "units": note}
    seconds = round(time.perf_counter() - began, 4)
    return remember(results.stamp(ds, {**record, "status": values.status, "seconds": seconds, "statistics": about}))


def first_layers(effect: np.ndarray, near: float) -> np.ndarray:
    """Depths ``[..., measure]`` of curves ``[..., measure, layer]``, NaN where a curve is."""
    small = np.abs(effect[..., 0, :]) <= near
    # from which on it stays there
    held = np.flip(np.logical_and.accumulate(np.flip(small, -1), -1), -1)
    large = effect[..., 1, :] >= 1 - near
    found = np.stack([held.argmax(-1), large.argmax(-1)], -1).astype(float)
    found[~np.stack([held.any(-1), large.any(-1)], -1)] = np.nan
    return found


def _labelled(values: DepthValues, pairs: Sequence[Pair], counts: Sequence[int], near: float, gap: float) -> xr.Dataset:
    most = max(counts)
    mine = np.arange(values.other.shape[1]) < np.array(counts)[:, None]
    change = values.clean[:, None] - values.other
    moved = values.clean[:, None, None, None] - values.value
    share = mine / np.array(counts)[:, None]
    # partners that an item does not have are NaN, and count for nothing
    width = (np.where(mine, change, 0.0) * share).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = (np.where(mine[..., None, None], moved, 0.0) * share[..., None, None]).sum(1) / width[:, None, None]
        each = np.where((change >= gap)[..., None, None], moved / change[..., None, None], np.nan)[:, :most]
        null = np.where(mine[..., None], np.nan, np.abs(moved[:, :, 0]) / width[:, None, None])
    has_null = (~mine & np.isfinite(values.other)).any(1)
    null = np.where(has_null[:, None], np.where(np.isnan(null), -np.inf, null).max(1), np.nan)
    n_layers = effect.shape[-1] - 1
    computed, wide = np.isfinite(values.clean), width >= gap
    harmed = has_null & (null[:, 1:n_layers] > near).any(1)
    status = np.select([~computed, ~wide, harmed], [MISSED, NO_GAP, HARM], DETERMINED)
    found = np.where((status == DETERMINED)[:, None], first_layers(effect, near), np.nan)
    by_partner = first_layers(each, near)
    return xr.Dataset(
        {
            "effect": (("prompt", "measure", "layer"), effect),
            "null": (("prompt", "layer"), null),
            "depth": (("prompt", "measure"), found, {"units": "layer"}),
            "depth_by_partner": (("prompt", "partner", "measure"), by_partner, {"units": "layer"}),
            "status": ("prompt", status.astype(str)),
            "value": (("prompt", "partner", "measure", "layer"), values.value[:, :most], {"units": "nats"}),
            "clean": ("prompt", values.clean, {"units": "nats"}),
            "gap": ("prompt", width, {"units": "nats"}),
        },
        {
            "prompt": np.arange(len(pairs)),
            "measure": list(MEASURES),
            "layer": np.arange(n_layers + 1),
            "partner": np.arange(most),
            "label": ("prompt", np.array([pair.label for pair in pairs], dtype=str)),
        },
    )


def _intervals(
    ds: xr.Dataset, units: np.ndarray | None, level: float, resamples: int, seed: int
) -> dict[str, tuple[Any, ...]]:
    """Of the depths over items, by measure; units of several items are averaged first."""
    found = ds["depth"].values
    end = float(ds["layer"].values[-1])
    counted = np.isfinite(found).all(1)
    x = found[counted]
    ends = (x == end).astype(float)
    if units is not None and len(x):
        x, ends = (unit_means(of, units[counted])[0] for of in (x, ends))
    missing = np.full(2, np.nan)
    out: dict[str, Any] = dict.fromkeys(("mean", "low", "high", "q25", "median", "q75", "at_end"), missing)
    kind = np.full(2, MISSING)
    if len(x):
        out["mean"] = x.mean(0)
        out["q25"], out["median"], out["q75"] = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
        out["at_end"] = ends.mean(0)
    if len(x) >= 2:
        interval = bootstrap(x, level=level, resamples=resamples, seed=seed, bounds=(0.0, end))
        out |= {"low": interval.low, "high": interval.high}
        kind = np.broadcast_to(np.asarray(interval.kind, str), 2)
    made: dict[str, tuple[Any, ...]] = {name: ("measure", np.asarray(value, float)) for name, value in out.items()}
    return made | {"n": ((), len(x)), "interval_kind": ("measure", kind.astype(str))}


def _prompts(pairs: Sequence[Pair], given: Any, name: str) -> list[list[Any]]:
    """Further prompts of each item.

    Raises:
        PatchError: as many lists as items are expected; a prompt that is none; one whose pair has the wrong answer.
    """
    if given is None:
        return [[] for _ in pairs]
    if not is_sequence(given) or len(given) != len(pairs):
        had = f"{len(given)} entries" if is_sequence(given) else shown(given)
        raise PatchError(f"{name}={had} for {len(pairs)} items; give one list of prompts for each item.")
    out = []
    for i, (pair, of) in enumerate(zip(pairs, given)):
        if not is_sequence(of):
            raise PatchError(f"{name}[{i}]={shown(of)} is no list of prompts; give a list, empty where there is none.")
        prompts = []
        for j, one in enumerate(of):
            where = f"{name}[{i}][{j}]"
            if isinstance(one, Pair):
                if (one.answer == pair.answer) != (name == "same"):
                    expected = "the item's own" if name == "same" else "another than the item's"
                    raise PatchError(
                        f"{where} has the answer {one.answer!r}, and the item {pair.answer!r}; expected {expected}."
                        f" Take another prompt, or put this one into {'partners' if name == 'same' else 'same'}."
                    )
                one = one.clean
            if isinstance(one, str) != isinstance(pair.clean, str) or not isinstance(one, str | type(pair.clean)):
                raise PatchError(
                    f"{where}={shown(one)} is no prompt like its item's; give {type(pair.clean).__name__}, or a"
                    " lens.Pair whose clean prompt is taken."
                )
            prompts.append(one)
        out.append(prompts)
    return out


def _require_end(of: Sequence[EncodedPair], where: str) -> None:
    for e in of:
        if e.clean_ids[-1] != e.corrupted_ids[-1]:
            raise PatchError(
                f"{where}: {e.pair.clean!r} ends with {e.clean_tokens[-1]!r} and {e.pair.corrupted!r} with"
                f" {e.corrupted_tokens[-1]!r}; the last token is where the answer is written: give prompts that end"
                " alike."
            )


def _shown(prompt: Any) -> Any:
    return prompt if isinstance(prompt, str) else prompt.as_record()
