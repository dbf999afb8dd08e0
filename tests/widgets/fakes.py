"""A model and computations whose answers are known, so that the views are tested without weights."""

from __future__ import annotations

import json
import threading
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import xarray as xr

from lens.prompts import EncodedPair, Pair, PromptError
from widgets.base import last_inputs
from widgets.base.examples import ExampleView

SCRIPT = "<script>alert(1)</script>"
Cell = namedtuple("Cell", "clean corrupted edited")

PAIR = Pair(
    "When John and Mary went to the shops, John gave the bottle to",
    corrupted="When John and Mary went to the shops, Mary gave the bottle to",
    answer=" Mary",
    foil=" John",
)


def without_last_inputs(tmp_path_factory, monkeypatch):
    """No last input is known, and those of this test lie in a folder of their own, which is returned."""
    folder = tmp_path_factory.mktemp("inputs")
    monkeypatch.setattr(ExampleView, "_last_inputs", {})
    monkeypatch.setattr(last_inputs, "place", lambda view: folder / f"{view}.json")
    return folder


class FakeModel:
    """What a view reads from a bridge: its configuration."""

    def __init__(self, layers: int = 6, heads: int = 4, name: str = "tiny") -> None:
        self.cfg = SimpleNamespace(model_name=name, n_layers=layers, n_heads=heads, device="cpu")

    def parameters(self):
        return iter(())


def words(text: str) -> list[str]:
    """One token a word, the space in front of it kept."""
    return [word if i == 0 else " " + word for i, word in enumerate(text.split(" "))]


def encode(model, pair: Pair) -> EncodedPair:
    clean, corrupted = words(pair.clean), words(pair.corrupted)
    if len(clean) != len(corrupted):
        raise PromptError(
            f"corrupted: the prompts have {len(clean)} and {len(corrupted)} tokens\n  clean      {clean}\n  corrupted "
            f" {corrupted}"
        )
    return SimpleNamespace(clean_tokens=tuple(clean), corrupted_tokens=tuple(corrupted))


def truth(layers: int, columns: int) -> np.ndarray:
    """The effect of every cell of the fake sweep, in metric units: 4 in its strongest cell, negative in one column."""
    layer, column = np.mgrid[0:layers, 0:columns]
    effect = 4 * np.exp(-((layer / layers - 0.6) ** 2) * 12 - ((column - 0.7 * columns) / (0.12 * columns + 1)) ** 2)
    return np.where(column == 2, -1.5 * layer / layers, effect)


def dataset(
    model,
    pair: Pair,
    site: str,
    over,
    *,
    metric: str,
    direction: str,
    done=None,
    status: str = "complete",
    effects=None,
) -> xr.Dataset:
    """A Dataset in the form of `lens.patch`; layers not in `done` are NaN."""
    column, layers = over[1], model.cfg.n_layers
    tokens = words(pair.clean), words(pair.corrupted)
    columns = model.cfg.n_heads if column == "head" else len(tokens[0])
    effect = (truth(layers, columns) if effects is None else effects).copy()
    if done is not None:
        effect[[layer for layer in range(layers) if layer not in done]] = np.nan
    _clean, corrupted = (2.5, -1.5) if direction == "denoise" else (-1.5, 2.5)
    call = {"site": site, "over": list(over), "metric": metric, "direction": direction, "method": "exact"}
    coords = {"layer": range(layers), column: range(columns)}
    if column == "position":
        coords |= {"token_clean": ("position", list(tokens[0])), "token_corrupted": ("position", list(tokens[1]))}
    attrs = {
        "mnemoscope": json.dumps(
            {
                "schema": 1,
                "kind": "patch",
                "status": status,
                "model": {"name": model.cfg.model_name},
                "call": call,
                "seconds": 0.5,
                "pairs": [{"clean": pair.clean, "corrupted": pair.corrupted, "answer": pair.answer, "foil": pair.foil}],
            }
        )
    }
    dims = ("layer", column)
    return xr.Dataset(
        {
            "value": (dims, effect + corrupted),
            "effect": (dims, effect),
            "normalized": (dims, effect / 4),
            "clean": 2.5,
            "corrupted": -1.5,
        },
        coords,
        attrs,
    )


class FakePatch:
    """Stands in for `lens.patch`: layers from the last to the first; `gate`, when given, is waited for before every
    layer.
    """

    def __init__(self, gate: threading.Semaphore | None = None, error: Exception | None = None, effects=None) -> None:
        self.gate, self.error, self.effects, self.calls = gate, error, effects, []

    def __call__(
        self,
        model,
        pair,
        site="resid_pre",
        over=("layer", "position"),
        *,
        metric="logit_diff",
        direction="denoise",
        method="exact",
        progress=None,
        stop=None,
        on_part=None,
    ):
        encode(model, pair)
        self.calls.append((pair, site, over, metric, direction, method))

        def build(done, status):
            return dataset(
                model,
                pair,
                site,
                over,
                metric=metric,
                direction=direction,
                done=done,
                status=status,
                effects=self.effects,
            )

        done: list[int] = []
        for layer in reversed(range(model.cfg.n_layers)):
            while self.gate is not None and not self.gate.acquire(timeout=0.02):
                if stop():
                    return build(done, "partial")
            if stop():
                return build(done, "partial")
            if self.error is not None and len(done) == 2:
                raise self.error
            done.append(layer)
            on_part(build(done, "partial"))
        return build(done, "complete")


def explain(model, pair, site, layer, position=None, head=None, *, direction="denoise", metric="logit_diff", k=10):
    """Stands in for `lens.patching.explain_cell`."""

    def ranked(first):
        return [(first, 0.5), (" shop", 0.2), (SCRIPT, 0.1), ("\n", 0.05), *[(f" t{i}", 0.01) for i in range(k - 4)]]

    column = position if position is not None else head
    return Cell(ranked(pair.answer), ranked(pair.foil or " other"), ranked(f" edit{layer}.{column}"))


def attention(model, text: str) -> xr.Dataset:
    """Causal patterns in which head h of layer l looks `(l + h) % 3` tokens back with 0.8 and at the first token with
    the rest.
    """
    tokens = words(text)
    n, shape = len(tokens), (model.cfg.n_layers, model.cfg.n_heads)
    pattern = np.zeros((*shape, n, n), dtype=np.float32)
    for layer in range(shape[0]):
        for head in range(shape[1]):
            for query in range(n):
                pattern[layer, head, query, max(0, query - (layer + head) % 3)] += 0.8
                pattern[layer, head, query, 0] += 0.2
    return xr.Dataset(
        {"pattern": (("layer", "head", "query", "key"), pattern)},
        {
            "layer": range(shape[0]),
            "head": range(shape[1]),
            "query": range(n),
            "key": range(n),
            "token": ("query", tokens),
        },
    )
