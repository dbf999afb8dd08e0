"""What is measured of one model: depths, published scores, predictors, places, probes, edges; and of the sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

import lens

from ...engine.model import Model
from ...organisms import senses
from ...patching import pathways
from ...patching.depth import first_layers
from ...readout.probes import probe
from ...results import dataset as results
from .bench import Preset, Subject, items_of, last_logits, lists_of, odds_of
from .sentences import sentences

#: Tables of one model, in the order in which `measured` makes them.
OF_MODEL = ("gates", "items", "layers", "markers", "places", "probes", "edges")
OF_SENTENCES = ("sentences", "sentence_layers")


def measured(subject: Subject, plan: Preset, seed: int, progress: bool | None) -> tuple[pd.DataFrame, ...]:
    """The tables of one organism at one moment."""
    model, suite = subject.model(), subject.suite()
    items = items_of(model, suite, plan, seed)
    pairs = [item.pair() for item in items]
    parts = {word: part for part in ("choose", "report") for word in suite.words_of(part)}
    about = pd.DataFrame(
        {
            "seed": subject.seed,
            "moment": subject.moment,
            "item": np.arange(len(items)),
            "word": [item.word for item in items],
            "part": [parts[item.word] for item in items],
            "dose": [item.dose for item in items],
            "after": [item.after for item in items],
        }
    )
    depths = _whole(
        lens.depth(
            model,
            pairs,
            [[f"{senses_start(item)} {text}" for text in item.partners[1:]] for item in items],
            same=[[f"{senses_start(item)} {text}" for text in item.same] for item in items],
            cluster=about.word.tolist(),
            progress=progress,
        )
    )
    scores = lens.readout.alignment(model, pairs, lists_of(suite, items), draws=plan.draws, seed=seed)
    frame = about.join(_answers(model, suite, items)).join(_depths(depths))
    gates = pd.DataFrame(subject.gates())
    layers = _layers(about, depths, scores, lens.readout.logit_lens(model, pairs, positions="last"))
    return (
        gates,
        frame,
        layers,
        _markers(about, scores),
        _places(about, model, pairs, progress),
        _probes(about, model, items, seed) if plan.probes else pd.DataFrame(),
        edges(model, suite, one_a_word(items)[: plan.edges], subject),
    )


def senses_start(item: senses.Item) -> str:
    """The start token, as text."""
    return str(item.pair().clean).split()[0]


def _whole(ds: xr.Dataset) -> xr.Dataset:
    """Raises: KeyboardInterrupt: a result was stopped on the way, and is not to be kept."""
    if results.provenance(ds)["status"] != "complete":
        raise KeyboardInterrupt("stopped; run the same command again to go on")
    return ds


def _answers(model: Any, suite: senses.Suite, items: Sequence[senses.Item]) -> pd.DataFrame:
    """What each item is answered, and how sure the output is."""
    logits = last_logits(model, [torch.tensor([0, *suite.ids(item.text)]) for item in items])
    own, other = ([suite.index[getattr(item, name)] for item in items] for name in ("sense", "other"))
    top, at = logits.argmax(-1).tolist(), torch.arange(len(items))
    p = logits.log_softmax(-1)
    ordered = logits.topk(2).values
    said = ["right" if t == a else "wrong" if t == b else "neither" for t, a, b in zip(top, own, other)]
    return pd.DataFrame(
        {
            "answer": said,
            "margin": (logits[at, own] - logits[at, other]).numpy(),
            "lead": (ordered[:, 0] - ordered[:, 1]).numpy(),
            "entropy": -(p.exp() * p).sum(-1).numpy(),
        }
    )


def _depths(depths: xr.Dataset) -> pd.DataFrame:
    """Both depths of each item with a gap, whatever its null says, and the null's largest effect above layer 0."""
    read, write = first_layers(depths.effect.values, depths_near(depths)).T
    there = depths.status.values != "no gap"
    null = depths.null.values[:, 1:-1]
    largest = np.where(np.isfinite(null).any(1), np.nanmax(np.where(np.isfinite(null), null, -np.inf), 1), np.nan)
    return pd.DataFrame(
        {
            "status": depths.status.values,
            "reading": np.where(there, read, np.nan),
            "writing": np.where(there, write, np.nan),
            "gap": depths.gap.values,
            "null": largest,
            "null_whole": depths.null.values[:, 0],
        }
    )


def depths_near(depths: xr.Dataset) -> float:
    """The share of the whole change within which nothing changes any more."""
    near: float = results.provenance(depths)["call"]["near"]
    return near


def _layers(about: pd.DataFrame, depths: xr.Dataset, scores: xr.Dataset, seen: xr.Dataset) -> pd.DataFrame:
    """By item and layer: both effects, every score with what random lists have, and the logit lens's margin."""
    columns: dict[str, np.ndarray] = {name: depths.effect.sel(measure=name).values for name in ("reading", "writing")}
    for name in scores.score.values:
        columns[str(name)] = scores.value.sel(score=name).values
    for name in ("CAS", "contrast"):
        columns[f"{name}, random lists"] = scores.random.sel(score=name).values
    columns["logit lens"] = seen["logit_diff"].transpose("prompt", "layer").values
    n, width = columns["reading"].shape
    rows = about.loc[about.index.repeat(width)].reset_index(drop=True)
    return rows.assign(layer=np.tile(np.arange(width), n), **{name: of.ravel() for name, of in columns.items()})


def _markers(about: pd.DataFrame, scores: xr.Dataset) -> pd.DataFrame:
    """By item and marker its layer; one that is never reached is NaN."""
    marks = scores.settled.transpose("prompt", "marker")
    rows = about.loc[about.index.repeat(marks.sizes["marker"])].reset_index(drop=True)
    return rows.assign(marker=np.tile(marks.marker.values, len(about)), layer=marks.values.ravel())


def _places(about: pd.DataFrame, model: Any, pairs: Sequence[lens.Pair], progress: bool | None) -> pd.DataFrame:
    """By form, place and layer: the share of the change between both prompts that streams there carry."""
    ds = _whole(pathways(model, list(pairs), ["word", "cue"], progress=progress))
    wide = np.abs((ds.corrupted - ds.clean).values) >= 0.5
    rows = []
    for after in (False, True):
        mine = (about.after.to_numpy() == after) & wide
        for place in ds.place.values:
            share = ds.share.sel(place=place).values[mine]
            mean = share.mean(0) if len(share) else np.full(ds.sizes["layer"], np.nan)
            rows += [
                {"after": after, "place": str(place), "layer": layer, "share": float(value), "n": int(mine.sum())}
                for layer, value in enumerate(mean)
            ]
    return pd.DataFrame(rows).assign(seed=int(about.seed.iloc[0]), moment=about.moment.iloc[0])


def _probes(about: pd.DataFrame, model: Any, items: Sequence[senses.Item], seed: int) -> pd.DataFrame:
    """Is the cue's sense the weaker or the stronger of the word's? Probes at the word and the last token, by layer, of
    each item and its first partner; words are never on both sides.
    """
    pairs = [item.pair() for item in items]
    texts = [str(text) for pair in pairs for text in (pair.clean, pair.corrupted)]
    labels, words = ["weaker", "stronger"] * len(items), about.word.repeat(2).tolist()
    rows = []
    for place in ("word", "last"):
        at = [lens.Pair(text, text, " s1", " s2", spans={"word": word}) for text, word in zip(texts, words)]
        ds = probe(model, at, labels, position=place, units=words, folds=3, ridge=0.1, seed=seed)
        for layer in ds.layer.values:
            one = ds.sel(layer=layer)
            line = {name: float(one[name]) for name in ("accuracy", "low", "high", "control", "selectivity")}
            rows.append({"place": place, "layer": int(layer) + 1, **line, "n": int(one.n)})
    return pd.DataFrame(rows).assign(seed=int(about.seed.iloc[0]), moment=about.moment.iloc[0])


def one_a_word(items: Sequence[senses.Item]) -> list[senses.Item]:
    """The first item of each word, in their order: words are the units of intervals."""
    first: dict[str, senses.Item] = {}
    for item in items:
        first.setdefault(item.word, item)
    return list(first.values())


@torch.no_grad()
def edges(model: Any, suite: senses.Suite, items: Sequence[senses.Item], subject: Subject) -> pd.DataFrame:
    """The published support of the cue for the right sense, computed anew for every layer, beside an edge that knows
    its layer: the same change made in the residual stream from that layer on.

    Published: P(word | prompt) - P(word | prompt with one token replaced by a neutral one), where the layer only says
    which words and tokens are looked at.
    """
    rows, view = [], Model.of(model)
    neutral = f"n{suite.recipe.noise}"
    for number, item in enumerate(items):
        tokens = item.text.split()
        changed = " ".join([*tokens[: item.at - 1], neutral, *tokens[item.at :]])
        pair = item.pair()
        start = senses_start(item)
        ablated = lens.Pair(
            pair.clean,
            f"{start} {changed}",
            pair.answer,
            pair.foil,
            spans={"cue": item.cue},
            corrupted_spans={"cue": neutral},
        )
        of, right = _whole(pathways(model, [ablated], ["cue"], progress=False)), suite.index[item.sense]
        for layer in range(view.n_layers):
            both = torch.stack([torch.tensor([0, *suite.ids(text)]) for text in (item.text, changed)])
            first, second = last_logits(model, list(both)).softmax(-1)[:, right].tolist()
            rows.append(
                {
                    "seed": subject.seed,
                    "moment": subject.moment,
                    "item": number,
                    "word": item.word,
                    "layer": layer,
                    "published": first - second,
                    "patched": float(of.effect.values[0, 0, layer]),
                }
            )
    return pd.DataFrame(rows)


def of_sentences(model: Any, plan: Preset, progress: bool | None, say: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The language model's sentences: right or wrong in both orders of the answers, and where that is so the depths."""
    every = sentences(plan.sentences)
    if not every:
        return pd.DataFrame(), pd.DataFrame()
    odds = {name: odds_of(model, [getattr(s, name) for s in every]).numpy() for name in ("pair", "turned")}
    both = np.stack(list(odds.values()))
    said = np.select([(both > 0).all(0), (both < 0).all(0)], ["right", "wrong"], "by order")
    frame = pd.DataFrame(
        {
            "item": np.arange(len(every)),
            "word": [s.word for s in every],
            "cue": [s.cue for s in every],
            "answer": said,
            **odds,
            "reading": np.nan,
            "writing": np.nan,
            "gap": np.nan,
        }
    )
    say(
        f"sentences: {(said == 'right').sum()} right and {(said == 'wrong').sum()} wrong in both orders of {len(every)}"
    )
    layers = pd.DataFrame({"item": [], "layer": [], "reading": [], "writing": []})
    if not enough(frame):
        return frame, layers
    # as many wrong ones as there are, then right ones
    order = np.concatenate([np.flatnonzero(said == which) for which in ("wrong", "right")])[: plan.depths]
    ds = _whole(lens.depth(model, [every[i].pair for i in order], cluster=None, progress=progress))
    found = _depths(ds)
    for name in ("reading", "writing", "gap"):
        frame.loc[order, name] = found[name].to_numpy()
    width = ds.sizes["layer"]
    layers = pd.DataFrame(
        {
            "item": np.repeat(order, width),
            "layer": np.tile(np.arange(width), len(order)),
            **{name: ds.effect.sel(measure=name).values.ravel() for name in ("reading", "writing")},
        }
    )
    return frame, layers


#: Sentences that have to be right, and wrong, for anything to be said of a language model.
LEAST: Mapping[str, int] = {"right": 30, "wrong": 15}


def enough(frame: pd.DataFrame) -> bool:
    """Whether enough sentences are right and wrong."""
    return all((frame.answer == which).sum() >= least for which, least in LEAST.items())
