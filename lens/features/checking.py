"""Whether a dictionary is what it says, of this model and at this place: sparsity, variance explained, loss recovered,
on held-out texts, beside a random dictionary of equal shape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from .. import stats
from ..arguments import Count, HFModel, Positive, Seed, Share, door
from ..engine.edits import Edit
from ..engine.features import Tap, unflat
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import Site
from ..notices import warn
from ..results.dataset import Result, stamp
from ..results.record import record_of
from .build import AnyDictionary, random_like
from .corpus import Text, through
from .dictionary import Dictionary
from .errors import FeatureError

#: What is measured: the unit of each.
MEASURES = {
    "l0": "features",
    "explained_variance": "1",
    "explained_variance_about_zero": "1",
    "loss_recovered_zero": "1",
    "loss_recovered_mean": "1",
    "loss": "nats",
    "loss_spliced": "nats",
    "loss_added": "nats",
    "loss_zero": "nats",
    "loss_mean": "nats",
    "near_threshold": "1",
    "dead_share": "1",
}
#: How near to its threshold, relative to it, an activation counts as one that rounding may switch.
NEAR = 1e-3
#: A ratio of L0 to the one that was published beyond which the place or the scale is almost surely wrong.
FAR = 2.0


@door(FeatureError)
@of_one_model
def check(
    model: HFModel,
    sae: AnyDictionary,
    texts: Sequence[Any],
    *,
    length: Count = 128,
    l0: Positive | None = None,
    level: Share = 0.95,
    seed: Seed = 0,
) -> Result:
    """How well a dictionary does on texts that it was not trained on, beside a random one of equal shape.

    Args:
        sae: of `load`. texts: held-out ones, as text or token ids; what counts as one in the intervals.
        length: tokens of each text that are read.
        l0: what its makers say, to be compared with; None: as the name of its folder says, if it does.
        level: of the intervals. seed: of the random dictionary and of the intervals' draws.

    Returns:
        Over ``dictionary`` (given, random) and ``measure``: ``mean``, ``low``, ``high``, ``n`` (texts),
        ``interval_kind``. ``explained_variance`` is about the mean, ``explained_variance_about_zero`` the older form;
        ``loss_recovered_zero`` and ``_mean`` say what is put in the activation's place for the loss that counts as 0;
        the loss of ``loss_spliced`` is of what the dictionary makes of the activation, without the error, and
        ``loss_added`` what it has more than ``loss``, text by text.
        ``near_threshold`` is the share of active features within 0.1% of the threshold of a JumpReLU: so many may be
        off where the model or the dictionary runs in another precision (NaN for rules that have none).
        ``l0_by_reading`` is the L0 at each other place and normalisation that the file could have meant.

    Raises:
        FeatureError: another model's dictionary; no text that is long enough.

    Warns where the L0 is further than a factor of two from what was published: then the tap, the norm's gain, the scale
    or the start token is almost surely another.

    Cost: a forward and five edited ones a text.

    Source: L0, explained variance and loss recovered as in Karvonen et al. 2025 (SAEBench), section 3.
    """
    view = Model.of(model)
    both = {"given": sae, "random": random_like(sae, seed)}
    seen = list(through(model, view, texts, sae, int(length)))
    mean = torch.cat([t.written for t in seen]).double().mean(0)
    table = {name: _measured(view, one, seen, mean, float(level), int(seed)) for name, one in both.items()}
    readings = _readings(model, view, sae, texts, int(length))
    published = l0 if l0 is not None else _said(sae)
    own = table["given"]["l0"][0]
    if published is not None and not 1 / FAR <= own / published <= FAR:
        near = min(readings, key=lambda name: abs(np.log(max(readings[name], 1e-9) / published)))
        warn(
            f"{sae.name}: L0 is {own:.1f} where {published:g} was published; the tap, the norm's gain, the scale or the"
            f" start token is another. Nearest: {near}, L0 {readings[near]:.1f}."
        )
    ds = xr.Dataset(
        {
            name: (("dictionary", "measure"), [[table[d][m][i] for m in MEASURES] for d in both])
            for i, name in enumerate(("mean", "low", "high", "n", "interval_kind"))
        }
        | {"l0_by_reading": ("reading", list(readings.values()))},
        {"dictionary": list(both), "measure": list(MEASURES), "reading": list(readings)},
    )
    call = dict(sae.digest(), length=int(length), level=float(level), texts=len(seen), l0=published)
    return stamp(
        ds, record_of(model, view, "features check", call, seed=int(seed), status="complete", state=view.state)
    )


def _said(sae: Dictionary) -> float | None:
    """The L0 that a folder's name says."""
    found = re.search(r"(?:average_)?l0_(\d+)", str(sae.about.get("folder", "")).lower())
    return float(found[1]) if found else None


def _measured(
    view: Model, sae: Dictionary, seen: Sequence[Text], mean: Tensor, level: float, seed: int
) -> dict[str, tuple[float, float, float, int, str]]:
    """Every measure with its interval over texts."""
    rows: dict[str, list[float]] = {}
    alive = torch.zeros(sae.n_features, dtype=torch.bool)
    for text in seen:
        h = sae.pre(text.read)
        f, near = sae.rule(h), sae.rule.near(h)
        made = sae.reconstruct(f, text.read)
        alive |= (f != 0).any(0).cpu()
        y, error = text.written.double(), text.written.double() - made.double()
        losses = _losses(view, sae, text, made, mean)
        n = len(y)
        for name, value in {
            "tokens": n,
            "active": float((f != 0).sum()),
            "near": float("nan") if near is None else float(((near <= NEAR) & (f != 0)).sum()),
            "error": float(error.square().sum()),
            "about_mean": float((y - mean.to(y)).square().sum()),
            "about_zero": float(y.square().sum()),
            **losses,
        }.items():
            rows.setdefault(name, []).append(value)
    of = {name: np.array(values, float) for name, values in rows.items()}

    def ratio(top: np.ndarray, bottom: np.ndarray, turned: bool = False) -> tuple[float, float, float, int, str]:
        found = stats.bootstrap_comparison(top, bottom, statistic="ratio", level=level, seed=seed)
        estimate, low, high = (float(x) for x in (found.estimate, found.low, found.high))
        if turned:
            estimate, low, high = 1 - estimate, 1 - high, 1 - low
        return estimate, low, high, int(found.n), str(found.kind)

    out = {
        "l0": ratio(of["active"], of["tokens"]),
        "explained_variance": ratio(of["error"], of["about_mean"], True),
        "explained_variance_about_zero": ratio(of["error"], of["about_zero"], True),
    }
    for ablation in ("zero", "mean"):
        gap = of[f"loss_{ablation}"] - of["loss"]
        out[f"loss_recovered_{ablation}"] = ratio(of[f"loss_{ablation}"] - of["loss_spliced"], gap)
    for name in ("loss", "loss_spliced", "loss_zero", "loss_mean"):
        out[name] = ratio(of[name], of["scored"])
    out["loss_added"] = ratio(of["loss_spliced"] - of["loss"], of["scored"])
    some = of["active"].sum() > 0 and np.isfinite(of["near"]).all()
    none = (np.nan, np.nan, np.nan, len(seen), "none: no threshold, or nothing active")
    out["near_threshold"] = ratio(of["near"], of["active"]) if some else none
    dead = float((~alive).float().mean())
    out["dead_share"] = (dead, np.nan, np.nan, len(seen), "none: of all texts together")
    return out


def _losses(view: Model, sae: Dictionary, text: Text, made: Tensor, mean: Tensor) -> dict[str, float]:
    """The summed loss of the tokens that the dictionary's are before, unedited and under three replacements."""
    tap, n = sae.writes, len(text.ids)
    at = tuple(range(text.first, n))
    site = Site(tap.site, None if tap.site == "embed" else tap.layer, head=tap.head, position=at)
    base = text.runs
    width = base._get(tap.site, 0 if tap.site == "embed" else tap.layer).shape[1:]
    whole = with_all_heads(tap)

    def put(x: Tensor) -> Tensor:
        return x[:, None] if tap.head is not None else unflat(x, whole, width)

    edits = [
        Edit(site, "replace", put(made.float())),
        Edit(site, "zero"),
        Edit(site, "replace", put(mean.float().expand(len(at), -1).to(made))),
    ]
    reads: list[list[int]] = [list(at) if i == text.place else [0] for i in range(len(base))]
    ends = view.run(base, [(text.place, [edit]) for edit in edits], reads)
    start = base.starts[text.place]
    streams = [base.final[start + text.first : start + n], *ends.resid.split(len(at))]
    target = text.ids[text.first + 1 :].to(view.device)
    losses = []
    for stream in streams:
        logits = view.unembed(stream[: len(target)]).float()
        losses.append(float(torch.nn.functional.cross_entropy(logits, target, reduction="sum")))
    return dict(zip(("loss", "loss_spliced", "loss_zero", "loss_mean"), losses), scored=float(len(target)))


def with_all_heads(tap: Tap) -> Tap:
    """The same place with all its heads."""
    return Tap(tap.site, tap.layer, None, tap.gain)


def _written(tap: Tap) -> Tap:
    """A place that can be written to, for one that is read in a trial."""
    return Tap("mlp_out", tap.layer) if tap.site == "mlp_in" else tap


def _readings(model: Any, view: Model, sae: Dictionary, texts: Sequence[Any], length: int) -> dict[str, float]:
    """The L0 of each way in which the file could be meant: other places of its layer, other normalisations."""
    tap, ways = sae.reads, {"as the file says": sae}
    if sae.normalisation in ("none", "scale"):
        ways["every token at length sqrt(d_in)"] = sae.at(tap, normalisation="token")
        ways["layer norm of the input"] = sae.at(tap, normalisation="layer_norm")
    if not sae.transcodes and sae.d_in == sae.d_out:
        centre = sae.decoder_bias if sae.centre is None else None
        ways["b_dec not taken from the input" if centre is None else "b_dec taken from the input"] = sae.at(
            tap, centre=centre
        )
    if tap.head is None and sae.d_in == view.d_model:
        for site in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "mlp_in"):
            if site != "mlp_in" and not view.has(site, tap.layer):
                continue
            for gain in (True, False) if site == "mlp_in" else (True,):
                other = Tap(site, tap.layer, gain=gain)
                if other != tap:
                    ways[str(other)] = sae.at(other, sae.writes if sae.transcodes else _written(other))
    if view.has("z", tap.layer) and tap.site != "z" and sae.d_in == view.heads("z") * view.d_head:
        ways[str(Tap("z", tap.layer))] = sae.at(Tap("z", tap.layer), sae.writes if sae.transcodes else None)
    few = list(texts)[:4]
    out = {}
    for name, one in ways.items():
        active = tokens = 0
        for text in through(model, view, few, one, length):
            active += int((one.values(text.read) != 0).sum())
            tokens += len(text.read)
        out[name] = active / tokens
    return out
