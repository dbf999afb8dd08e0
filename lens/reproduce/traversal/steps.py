"""What is computed of one seed: what checkpoints answer and know, how alike their states are, what states do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

import lens

from ...engine.model import Model
from ...organisms import atlas
from ...readout.reading import read_prompt, recorded
from ...stats.similarity import LEAST, halves, rows_of
from .bench import ARMS, BASE, CODE, FLOOR, PAIR, ROLES, STATEMENT, WALK, Bench, log_odds

#: Of likeness: what is told leaf by leaf.
MEASURES = ("cosine", "centred_cosine")
#: Pairs of checkpoints whose states are compared leaf by leaf.
COMPARED = ((BASE, "rl"), (BASE, "answer"), PAIR, (PAIR[0], FLOOR), ("rl", "rl-again"))


def behaviour(bench: Bench) -> pd.DataFrame:
    """What each checkpoint answers, leaf by leaf, after each look: at the last one asked anew, before it as its card's
    table has it.
    """
    parts = []
    for arm in ARMS:
        model = bench.model(arm)
        looks = [bench.folder(arm) / "looks.csv"] if arm != BASE else []
        steps = 0 if arm == BASE else int(bench.card(arm)["recipe"]["steps"])
        told = [pd.read_csv(file) for file in looks]
        earlier = [table[table.updates < steps].assign(draws=16) for table in told]
        now = [
            atlas.outcomes(model, bench.suite, bench.suite.leaves[part], draws=bench.plan.draws).assign(
                part=part, updates=steps, draws=bench.plan.draws
            )
            for part in ("tuned", "report")
        ]
        parts.append(pd.concat([*earlier, *now]).assign(arm=arm, seed=bench.seed))
        bench.say(f"seed {bench.seed}: {arm} asked")
    table = pd.concat(parts, ignore_index=True)
    flags = ["free", "free_walks", "direct", "filler", "forced", "path"]
    return table.astype(dict.fromkeys(flags, "int8"))


def knowledge(bench: Bench) -> pd.DataFrame:
    """The share of single edges and codes that each checkpoint has right, and the gates of the base."""
    rows = [
        (bench.seed, arm, "known", kind, value, np.nan, np.nan)
        for arm in ARMS
        for kind, value in atlas.known(bench.model(arm), bench.suite).items()
    ]
    rows += [
        (bench.seed, BASE, "gate", name, one["value"], one.get("least", np.nan), one.get("most", np.nan))
        for name, one in bench.card(BASE)["gates"].items()
    ]
    return pd.DataFrame(rows, columns=["seed", "arm", "what", "kind", "value", "least", "most"])


@torch.no_grad()
def _states(bench: Bench, arm: str, role: str) -> dict[int, np.ndarray]:
    """By layer the state behind it at each prompt's last token."""
    view: Any = Model.of(bench.model(arm))
    ids = [read_prompt(bench.model(arm), text).ids for text in bench.texts(role)]
    out: dict[int, list[torch.Tensor]] = {layer: [] for layer in range(view.n_layers)}
    for batch, runs in recorded(view, ids, (), "states"):
        at = [runs.starts[n] + len(ids[i]) - 1 for n, i in enumerate(batch)]
        for layer, states in out.items():
            states.append(runs.get("resid_post", layer)[at].float())
    return {layer: torch.cat(states).double().numpy() for layer, states in out.items()}


def states(bench: Bench, seed: int) -> pd.DataFrame:
    """By pair of checkpoints, role, layer and leaf how alike the two states are: raw and centred cosine."""
    arms = dict.fromkeys(arm for pair in COMPARED for arm in pair)
    read = {(arm, role): _states(bench, arm, role) for arm in arms for role in ROLES}
    half = halves(len(bench.leaves), None, seed)
    frames = []
    for one, other in COMPARED:
        for role in ROLES:
            for layer, x in read[one, role].items():
                y = read[other, role][layer]
                for measure in MEASURES:
                    if measure != "cosine" and len(x) < LEAST:
                        continue
                    values = rows_of(measure, x, y, half)
                    frame = pd.DataFrame({"leaf": bench.leaves, "value": values})
                    frames.append(frame.assign(one=one, other=other, role=role, layer=layer, measure=measure))
    bench.say(f"seed {bench.seed}: states of {len(bench.leaves)} leaves in {len(ROLES)} roles")
    return pd.concat(frames, ignore_index=True).assign(seed=bench.seed)


def likeness(bench: Bench, seed: int, progress: bool | None) -> pd.DataFrame:
    """By role, measure and layer how alike the two checkpoints are, beside two runs of the first one's recipe."""
    one, other = (bench.model(arm) for arm in PAIR)
    frames = []
    for role in ROLES:
        ds = lens.compare(
            one, other, bench.texts(role), floor=bench.model(FLOOR), positions="last", seed=seed, progress=progress
        )
        table = ds.isel(position=0, drop=True) if "position" in ds.dims else ds
        columns = ["mean", "low", "high", "unrelated", "floor", "beyond", "beyond_low", "beyond_high", "p_holm"]
        frame = table[[*columns, "n"]].to_dataframe().reset_index()
        frames.append(frame[["metric", "layer", *columns, "n"]].assign(role=role))
    bench.say(f"seed {bench.seed}: {PAIR[1]} beside {PAIR[0]}, floor {FLOOR}")
    return pd.concat(frames, ignore_index=True).assign(seed=bench.seed)


def patches(bench: Bench, seed: int, progress: bool | None) -> pd.DataFrame:
    """By kind of prompt, metric, layer and leaf what the code's state of the one checkpoint does in the other, and what
    the copies do that should do less.
    """
    into, source, twin = (bench.model(arm) for arm in (*PAIR, FLOOR))
    frames = []
    for kind, metric in ((WALK, log_odds), (STATEMENT, log_odds), (STATEMENT, "logprob")):
        for forward in (True, False):
            ds = lens.patch_between(
                *((into, source) if forward else (source, into)),
                bench.pairs(kind),
                twin=twin if forward else bench.model("rl-again"),
                metric=metric,
                positions=[CODE],
                seed=seed,
                progress=progress,
            )
            effects = {"source": ds.effect} | {
                str(name): ds.control_effect.sel(control=name) for name in ds.control.values
            }
            for copy, effect in effects.items():
                values = effect.isel(position=0).transpose("prompt", "layer").values
                for number, leaf in enumerate(bench.leaves):
                    frames += [
                        {
                            "kind": kind,
                            "metric": metric if isinstance(metric, str) else "log_odds",
                            "direction": " into ".join(PAIR[::-1] if forward else PAIR),
                            "copy": copy,
                            "layer": int(layer),
                            "leaf": leaf,
                            "effect": float(values[number, i]),
                            "before": float(ds["into"].values[number]),
                        }
                        for i, layer in enumerate(ds.layer.values)
                    ]
    bench.say(f"seed {bench.seed}: states of codes patched")
    return pd.DataFrame(frames).assign(seed=bench.seed)
