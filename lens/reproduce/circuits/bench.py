"""What a run of the study has at hand: its size, the models, and pairs that each stand for one scene."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

import lens

from ...circuits import Graph
from ...circuits.faithfulness import SIZES
from ...prompts import Pair, encode_all
from ...results import dataset as results

#: How each method asks ``lens.edges``; EAP-IG by inputs first, whose circuit the controls are of.
METHODS: Mapping[str, Mapping[str, Any]] = {
    "EAP-IG": {"method": "inputs"},
    "EAP": {"method": "inputs", "steps": 1},
    "GIM": {"method": "gim"},
    "EAP-IG by activations": {"method": "activations"},
}
FIRST, EXACT = "EAP-IG", "exact"


@dataclass(frozen=True)
class Preset:
    """How much is asked.

    Attributes:
        pairs, held_out: scenes of indirect objects that edges are found on and that circuits are judged on. methods: of
            ``METHODS``, on the language model. steps: of the integrated ones. sizes: of circuits, as shares of all
            edges. draws: random circuits of each size, and of the circuit that the controls are of. checked: of the
            largest edges of each method, and of the rest, whose exact effects are taken. share: the size of the circuit
            that is set beside its controls. resamples: of pairs, for its edge set. wired, induction: pairs of the
            organisms. small: methods on them.
    """

    pairs: int = 32
    held_out: int = 32
    methods: tuple[str, ...] = tuple(METHODS)
    steps: int = 5
    sizes: tuple[float, ...] = SIZES
    draws: int = 5
    checked: int = 60
    share: float = 0.05
    resamples: int = 200
    wired: int = 60
    induction: int = 24
    small: tuple[str, ...] = tuple(METHODS)


@dataclass
class Bench:
    """Attributes: model: that is asked about indirect objects. plan, seed: of the run. kept: keeps steps, see
    `common.Steps.kept`. say: is told what is done.
    """

    model: Any
    plan: Preset
    kept: Callable[..., Any]
    seed: int
    say: Callable[[str], None]
    found_on: list[Pair]
    held_out: list[Pair]
    progress: bool | None = None
    held: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def wired(self) -> tuple[Any, list[Pair]]:
        """The organism whose edges are known, and its pairs."""
        from ...organisms import wired

        return lens.load("organism:wired", device="cpu"), wired.pairs(wired.Recipe(), self.plan.wired, seed=self.seed)

    @cached_property
    def induction(self) -> tuple[Any, list[Pair]]:
        """The trained organism, and pairs of the same kinds in its own words."""
        from ...organisms import wired
        from ...organisms.induction.recipe import Recipe

        vocab = Recipe().vocab
        drawn = wired.Recipe(vocab=vocab, context=Recipe().longest + 2, d_head=vocab)
        return lens.load("organism:induction", device="cpu"), wired.pairs(drawn, self.plan.induction, seed=self.seed)

    def edges(self, which: str, method: str) -> Any:
        """The scores of a method, held in memory: of the language model's pairs, or of an organism's."""
        name = f"{which} {method}"
        if name not in self.held:
            model, pairs = {"ioi": (self.model, self.found_on)}.get(which) or getattr(self, which)
            self.held[name] = self.scores(model, pairs, method)
            self.say(f"edges of {name}: {len(pairs)} pairs")
        return self.held[name]

    def scores(self, model: Any, pairs: list[Pair], method: str, **more: Any) -> Any:
        """The scores of a method on some pairs, or the exact effects.

        Raises: KeyboardInterrupt: they were stopped on the way, and are not to be kept.
        """
        options = dict(METHODS.get(method, {"method": EXACT}))
        if method.startswith("EAP-IG"):
            options["steps"] = self.plan.steps
        found = lens.edges(model, pairs, check=0, seed=self.seed, progress=self.progress, **(options | more))
        if results.provenance(found)["status"] != "complete":
            raise KeyboardInterrupt(f"stopped in {method}; run the same command again to go on")
        return found


def found_on(model: Any, n: int) -> list[Pair]:
    """Pairs that edges are found on, each of a scene of its own, and none the only one of its number of tokens:
    counterfactuals are exchanged among them.
    """
    every = scenes("select")
    lengths = [len(e.clean_ids) for e in encode_all(model, every)]
    chosen, rest = list(range(len(every)))[:n], list(range(len(every)))[n:]
    while single := [i for i in chosen if sum(lengths[j] == lengths[i] for j in chosen) == 1]:
        chosen = [i for i in chosen if i not in single]
        more = [i for i in rest if lengths[i] in {lengths[j] for j in chosen}][: len(single)]
        chosen, rest = [*chosen, *more], [i for i in rest if i not in more]
    return [every[i] for i in chosen]


def held_out(n: int) -> list[Pair]:
    """Those that circuits are judged on: other names, other scenes."""
    return scenes("report")[:n]


def scenes(split: str) -> list[Pair]:
    """Pairs of indirect objects, one of each couple of names and place, spread over the sentences.

    Both word orders of a scene are one unit: the first of them is taken.
    """
    found: dict[str, Pair] = {}
    for pair in lens.load_pairs("ioi", split=split, limit=1000):
        found.setdefault(re.sub("abba|baba", "", pair.label), pair)
    return list(found.values())


def truth(graph: Graph) -> np.ndarray:
    """Of the wired organism: which edges tell the tokens, and NaN for those that only tell positions, which are alike
    in two prompts of one length; 0 for the rest and NaN where there is no edge, ``[reader, writer]``.
    """
    from ...organisms import wired

    listed = wired.edges()
    known = np.where(graph.exists, 0.0, np.nan)
    known[graph.mask(listed["positions"])] = np.nan
    known[graph.mask(listed["tokens"])] = 1.0
    return known
