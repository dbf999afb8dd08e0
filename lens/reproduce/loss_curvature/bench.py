"""One organism `canaries` with its twin as the loss-curvature experiment sees it: its sequences and rows in the parts
that they are for, and every edit by a method and a strength.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
import xarray as xr

from ... import curvature, subspace
from ...curvature.controls import Kind, Match
from ...curvature.eigen import By
from ...curvature.passes import Fisher
from ...engine.linear import linears
from ...memorization import Sequences, edited, extract
from ...organisms import canaries as organism
from ...organisms.canaries.corpus import Corpus
from ...results import dataset as results
from ..common import Steps

#: edits on the curvature: name -> (whose labels, over which text, how pairs are weighed)
CURVATURE: dict[str, tuple[Fisher, str, By]] = {
    "K-FAC": ("true", "clean", "kfac"),
    "K-FAC, text's labels": ("empirical", "clean", "kfac"),
    "EKFAC": ("true", "clean", "ekfac"),
    "K-FAC, natural mix": ("true", "mix", "kfac"),
}
#: controls: name -> (kind, what is equal to the K-FAC edit in every layer, whose layers)
CONTROLS: dict[str, tuple[Kind, Match, str]] = {
    "random bases": ("random", "norm", "K-FAC"),
    "random bases, equal count": ("random", "count", "K-FAC"),
    "SVD": ("svd", "norm", "SVD"),
    "inputs alone": ("a", "norm", "K-FAC"),
    "gradients alone": ("g", "norm", "K-FAC"),
    "keep bottom": ("bottom", "norm", "K-FAC"),
    "magnitude": ("magnitude", "norm", "K-FAC"),
}
#: methods that are shown memorised sequences (of the tune split)
SHOWN = ("BalancedSubnet", "gradient ascent", "contrast mask")
METHODS = (*CURVATURE, *CONTROLS, *SHOWN)
#: candidate layers, chosen among on the tune split
CANDIDATES = {
    "gate and up": ["*.gate_proj", "*.up_proj"],
    **{
        f"gate and up of {'+'.join(b)}": [f"*.[{b}].mlp.{p}" for p in ("gate_proj", "up_proj")]
        for b in ("3", "01", "12", "23")
    },
    "gate, up and down of 1+2": ["*.[12].mlp.*"],
}
#: rise of the clean loss (nats a token) at which methods are compared, and others that are shown
RISE, RISES = 0.05, (0.02, 0.05, 0.1)
#: strengths between which a matched edit is looked for: share of the mass, of the weights, of the way to the new
#: weights
_RANGE = {"curvature": (1e-5, 0.9), "mask": (5e-4, 0.5), "way": (0.05, 2.0)}
_START = {"curvature": 0.03, "mask": 0.02, "way": 0.7}
_TRIES = 8
#: steps of gradient ascent whose way to the new weights is gone in part where methods are matched
_ASCENT = 20


@dataclass(frozen=True)
class Preset:
    """How much is run. `rows`: of clean text, in each half; `removed`: shares of curvature mass that go, of K-FAC's
    curve; `multiples`: of the matched strength, of the other curves; `ratios`, `ascent`: shares and steps for which
    BalancedSubnet and gradient ascent are learned anew; `kept`, `attacked`: methods whose damage is measured, that are
    relearned; `planted`: sequences of each kind and count, of those that are counted by duplicates; `others`: k of the
    relearning.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[str, ...] = METHODS
    candidates: tuple[str, ...] = tuple(CANDIDATES)
    factor_rows: int = 300
    rows: int = 48
    removed: tuple[float, ...] = (0.0005, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
    multiples: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 3)
    ratios: tuple[float, ...] = (0.01, 0.02, 0.03, 0.045, 0.06)
    ascent: tuple[int, ...] = (8, 14, 18, 20, 22, 25)
    learned_steps: int = 40
    tasks: int = 200
    planted: int = 16
    attacked: tuple[str, ...] = ("K-FAC", "SVD", "BalancedSubnet", "contrast mask")
    kept: tuple[str, ...] = ("K-FAC", "SVD", "random bases", "BalancedSubnet")
    relearn_steps: int = 25
    relearn_rate: float = 3e-4
    others: tuple[int, ...] = (8, 1000)
    shifts: tuple[int, ...] = (4, 8)


@dataclass
class Bench:
    """A model, its twin and its corpus; steps are kept under `seed-<s>/`. `draw`: the seed of everything that is drawn
    here.
    """

    model: Any
    twin: Any
    recipe: organism.Recipe
    plan: Preset
    steps: Steps
    draw: int = 0
    say: Callable[[str], None] = lambda line: None
    held: dict[str, Any] = field(default_factory=dict)

    def kept(self, name: str, make: Callable[[], xr.Dataset], **more: Any) -> xr.Dataset:
        """A step of this model."""

        def told() -> xr.Dataset:
            self.say(f"seed {self.recipe.seed}: {name}")
            return make()

        return self.steps.kept(file_of(name, self.recipe.seed), told, **more)

    def stamped(self, ds: xr.Dataset, kind: str, like: xr.Dataset, **call: Any) -> xr.Dataset:
        """A Dataset made here, with the model and the versions of another's record."""
        record = {k: v for k, v in results.provenance(like).items() if k in ("model", "versions", "schema")}
        return results.stamp(ds, record | {"kind": kind, "status": "complete", "seed": self.draw, "call": call})

    # -- what there is ------------------------------------------------------------------------------------------------

    @cached_property
    def corpus(self) -> Corpus:
        """What the organism was trained on."""
        return Corpus(self.recipe)

    @cached_property
    def families(self) -> dict[str, Sequences]:
        """The canaries of both families, all of them."""
        return {name: Sequences.of(self.corpus.canaries(name)) for name in ("main", "second")}

    @cached_property
    def known(self) -> dict[str, np.ndarray]:
        """Which planted sequences the unedited model recites whole: only these enter the evaluation of edits."""
        return {name: extract(self.model, of, progress=False).strict.values for name, of in self.families.items()}

    @cached_property
    def sets(self) -> dict[str, Sequences]:
        """Recited sequences: "tune" and "val" (halves of codes and plausible ones) and "verse", the family that nothing
        is chosen on.
        """
        split = self.corpus.canaries("main").split
        main = {name: self.families["main"].subset(self.known["main"] & (split == name)) for name in ("tune", "val")}
        return main | {"verse": self.families["second"].subset(self.known["second"])}

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Clean rows by purpose: "choose" and "report" (unseen), "factors" and "training" (of another unseen part),
        "mix" (of the training stream, canaries in it).
        """
        n, m = self.plan.rows, self.plan.factor_rows
        unseen, other = (self.corpus.clean(k, split).numpy() for k, split in ((2 * n, "held"), (m + 400, "reference")))
        numbers = np.random.default_rng(self.draw).choice(self.corpus.rows_in_stream, m, replace=False)
        return {
            "choose": unseen[:n],
            "report": unseen[n:],
            "factors": other[:m],
            "training": other[m:],
            "mix": np.array([self.corpus.spliced(int(i)) for i in numbers]),
        }

    def loss(self, edit: Any = None, rows: str = "choose") -> float:
        """Mean loss (nats a token) on clean rows under an edit."""
        with edited(self.model, edit) as now:
            return float(organism.loss(now, torch.from_numpy(self.rows[rows])).mean())

    @cached_property
    def base(self) -> float:
        """The unedited model's loss on clean text, in nats a token."""
        return self.loss()

    # -- edits --------------------------------------------------------------------------------------------------------

    def decomposition(self, fisher: Fisher = "true", text: str = "clean") -> curvature.Decomposition:
        """The spectrum of every MLP layer; over clean rows with the model's labels, second moments too."""
        key = f"decomposition {fisher} {text}"
        if key not in self.held:
            rows = self.rows["mix" if text == "mix" else "factors"]
            made = curvature.decompose(
                self.model, curvature.factors(self.model, "mlp", rows, fisher=fisher, seed=self.draw, progress=False)
            )
            if key == "decomposition true clean" and "EKFAC" in self.plan.methods:
                made = curvature.second_moments(self.model, made, rows, seed=self.draw, progress=False)
            self.held[key] = made
        return self.held[key]

    def layers(self, of: str) -> list[str]:
        """The layers that the tune split chose for K-FAC or SVD; see `loss_curvature_steps.choice`."""
        return CANDIDATES[self.held["layers"][of]]

    def keep(self, method: str, removed: float, layers: Sequence[str]) -> curvature.Edit:
        """The edit of a method that takes out a share `removed` of the layers' curvature mass."""
        fisher, text, by = CURVATURE[method]
        return curvature.keep(self.decomposition(fisher, text).select(layers), 1 - removed, by=by)

    def control(self, kind: Kind, match: Match, removed: float, layers: Sequence[str]) -> curvature.Edit:
        """The control edit of a kind, matched to K-FAC's at the same share."""
        like = self.keep("K-FAC", removed, layers)
        return curvature.control(self.decomposition().select(layers), kind, like, match=match, seed=self.draw)

    def scores(self, method: str, ratio: float = 0.03) -> subspace.Scores:
        """Weight scores of a mask, found on the tune split: nothing of val or verse is shown."""
        key = f"scores {method} {ratio}" if method == "BalancedSubnet" else f"scores {method}"
        if key not in self.held:
            if method == "BalancedSubnet":
                steps = self.plan.learned_steps
                self.held[key] = self._learned(subspace.subnet, ratio=ratio, steps=steps, rate=1.0)
            else:
                of, against = (
                    subspace.statistics(self.model, "mlp", rows, progress=False)
                    for rows in (self.sets["tune"], self.rows["training"][:100])
                )
                self.held[key] = subspace.contrast(self.model, of, against)
        return self.held[key]

    def ascended(self, steps: int) -> subspace.Replacement:
        """The weights after gradient ascent on what is recited, with clean text as a counterweight."""
        return self._learned(subspace.gradient_ascent, steps=steps, rate=3e-4)

    def _learned(self, learn: Callable[..., Any], **how: Any) -> Any:
        """What is learned on the tune split, with clean text as a counterweight."""
        tune, clean = self.sets["tune"], self.rows["training"][:160]
        return learn(self.model, tune, clean, "mlp", batch=8, seed=self.draw, progress=False, **how)

    def edit(self, method: str, strength: float, layers: Sequence[str] | None = None) -> Any:
        """The edit of a method. Strength: the share of curvature mass that goes (in the K-FAC edit that a control is
        like), the share of weights, or of the way up.
        """
        if method in CURVATURE:
            return self.keep(method, strength, layers or self.layers("K-FAC"))
        if method in CONTROLS:
            kind, match, own = CONTROLS[method]
            return self.control(kind, match, strength, layers or self.layers(own))
        if method == "gradient ascent":
            if "ascended" not in self.held:
                self.held["ascended"] = self.ascended(_ASCENT)
            whole = self.held["ascended"]
            old = {name: linear.weight.detach() for name, linear in linears(self.model, "mlp").items()}
            return subspace.Replacement(
                {n: old[n] + strength * (w - old[n]) for n, w in whole.new.items()},
                whole.model,
                {"method": "gradient ascent, part of the way"},
            )
        return self.scores(method).mask(strength, per="layer")

    def points(self, method: str, matched: float) -> Iterator[tuple[float, Callable[[], Any]]]:
        """Strengths of a method's trade-off curve, about the one that is matched, with what makes the edit; what is
        learned is learned anew for each.
        """
        if method == "BalancedSubnet":
            yield from ((r, lambda r=r: self.scores(method, r).mask(r, per="layer")) for r in self.plan.ratios)
        elif method == "gradient ascent":
            yield from ((float(n), lambda n=n: self.ascended(n)) for n in self.plan.ascent)
        else:
            low, high = _RANGE[kind_of(method)]
            multiples = [m * matched for m in self.plan.multiples if low <= m * matched <= high]
            for s in self.plan.removed if method == "K-FAC" else multiples:
                yield s, partial(self.edit, method, s)

    def matched(self, make: Callable[[float], Any], kind: str, rise: float = RISE) -> tuple[float, float]:
        """The strength at which the clean loss on the choosing half has risen by `rise` (to within 3 %), and the rise
        there; the end of the range where it never has so much.

        The loss is taken for a power of the strength between the two strengths that bracket it.
        """
        (low, high), seen = _RANGE[kind], {}

        def over(s: float) -> bool:
            seen[s] = self.loss(make(s)) - self.base
            return seen[s] > rise

        a = b = s = _START[kind]
        up = not over(s)
        while (up and a < high and not over(b := min(high, 4 * b))) or (
            not up and b > low and over(a := max(low, a / 4))
        ):
            a, b = (b, b) if up else (a, a)
        if (up and seen[b] <= rise) or (not up and seen[a] > rise):
            return (b, seen[b]) if up else (a, seen[a])
        for _ in range(_TRIES):
            x, y = math.log(max(seen[a], 1e-4)), math.log(seen[b])
            share = min(0.85, max(0.15, (math.log(rise) - x) / (y - x))) if y > x else 0.5
            s = math.exp(math.log(a) + share * math.log(b / a))
            a, b = (a, s) if over(s) else (s, b)
            if abs(seen[s] - rise) <= 0.03 * rise:
                return s, seen[s]
        return a, seen[a]


def file_of(name: str, seed: int) -> str:
    """Where a step is kept, without its suffix."""
    return f"seed-{seed}/{name.replace(', ', '-').replace(' ', '_').replace(chr(39), '')}"


def kind_of(method: str) -> str:
    """Which strength a method has."""
    return "curvature" if method in (*CURVATURE, *CONTROLS) else "way" if method == "gradient ascent" else "mask"
