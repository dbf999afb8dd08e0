"""The edits that the memory-subspace study compares: one family a method, from weak to strong, over the organism
`canaries`.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from ... import memorization as mem
from ... import subspace
from ...organisms.canaries.corpus import PREFIX, SUFFIX
from ...subspace.attribution import integrated_gradients, zero_out
from ..canaries_models import Trio

#: Second layers of the feed-forward blocks, where Chavhan et al. 2024 prune; and every layer of them.
SECOND, ALL = "*.mlp.down_proj", "mlp"


#: the options of a method, its doses, and its edits by dose
Setting = Mapping[str, Any]
Doses = Sequence[float]
Edits = dict[float, Any]
Make = Callable[["Bench", mem.Sequences, Setting, Doses], Edits]


@dataclass(frozen=True)
class Method:
    """One way to find or take out memory. `make`: (bench, memorised, setting, doses) -> edits by dose; `settings`:
    among which the tune split chooses.
    """

    title: str
    make: Make
    doses: tuple[float, ...]
    settings: tuple[Setting, ...] = ({},)


class Bench:
    """One model of the study with everything that is asked of it: its recited canaries by split, unseen sequences of
    the same kinds, and clean text.

    `rows`: clean rows that doses are chosen on, and as many others that damage is reported on. `most`: recited canaries
    of a split at most. `hurry`: a share of the training steps of the methods that learn, for trials.
    """

    def __init__(self, seed: int, trio: Trio, rows: int = 48, most: int | None = None, hurry: float = 1.0):
        self.seed, self.rows, self.most, self.hurry = seed, rows, most, hurry
        self.model, self.twin, self.corpus = trio
        self._scores: dict[tuple, Any] = {}

    @cached_property
    def main(self) -> tuple[mem.Sequences, np.ndarray, np.ndarray]:
        """The canaries of the main family, whether the unedited model recites each without a fault, and their
        splits.
        """
        planted = self.corpus.canaries()
        names = tuple(f"{kind} {count} x, {i}" for i, (kind, count) in enumerate(zip(planted.kind, planted.duplicates)))
        every = mem.Sequences.of(planted, names=names)
        return every, mem.extract(self.model, every, progress=False).strict.values, planted.split

    def recited(self, split: str) -> mem.Sequences:
        """The canaries of "tune" or "val" that the unedited model recites: only they enter an edit."""
        every, strict, splits = self.main
        return self._some(every.subset(strict & (splits == split)))

    @cached_property
    def tune(self) -> mem.Sequences:
        """The recited canaries that edits are located and chosen on."""
        return self.recited("tune")

    @cached_property
    def val(self) -> mem.Sequences:
        """The recited canaries that results are reported on."""
        return self.recited("val")

    @cached_property
    def verse(self) -> mem.Sequences:
        """The recited canaries of the second family, which nothing is tuned or located on."""
        planted = self.corpus.canaries("second")
        names = tuple(f"verse {count} x, {i}" for i, count in enumerate(planted.duplicates))
        every = mem.Sequences.of(planted, names=names)
        return self._some(every.subset(mem.extract(self.model, every, progress=False).strict.values))

    def _some(self, of: mem.Sequences) -> mem.Sequences:
        return of if self.most is None else spread(of, self.most)

    def unseen(self, kind: str, count: int, name: str = "") -> mem.Sequences:
        """Sequences of the generator of the canaries that no model read: exchangeable with those of 0 duplicates."""
        rng = random.Random(f"unseen {name} {kind} {self.seed}")
        make = getattr(self.corpus.text, kind)
        ids = np.array([self.corpus.encode(make(rng, PREFIX + SUFFIX)) for _ in range(count)])
        return mem.Sequences(ids, 1 + PREFIX, tuple(f"unseen {kind} {i}" for i in range(count)), kind)

    @cached_property
    def reference(self) -> mem.Sequences:
        """What memorised sequences are contrasted with: unseen ones, as many of either kind."""
        return mem.Sequences.concat([self.unseen(kind, 32, "reference") for kind in ("code", "plausible")])

    @cached_property
    def clean(self) -> np.ndarray:
        """Clean rows for training, statistics and relearning, none of which is measured on."""
        return self.corpus.clean(64, "reference").numpy()

    @cached_property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """Held-out clean rows: those that doses are chosen on, and those that are reported on."""
        every = self.corpus.clean(2 * self.rows).numpy()
        return every[: self.rows], every[self.rows :]

    @cached_property
    def before(self) -> xr.Dataset:
        """The unedited model's performance on held-out text."""
        return mem.performance(self.model, self.held[0], copying=0, heads=False, progress=False)

    def stats(self, of: mem.Sequences, layers: str, part: str, **options: Any) -> subspace.Stats:
        """Statistics of the layers' inputs on sequences, computed once for the same question."""
        return self.kept(
            ("stats", of.sha256, layers, part, *options),
            lambda: subspace.statistics(self.model, layers, of, part=part, progress=False, **options),
        )

    def kept(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What was computed for this model under a key before."""
        if key not in self._scores:
            self._scores[key] = make()
        return self._scores[key]

    def steps(self, count: int) -> int:
        """A count of steps at the hurry of the preset, at least 2."""
        return max(2, round(self.hurry * count))

    def training(self, setting: Setting) -> dict[str, Any]:
        """The options of a method that learns, its steps at the hurry of the preset."""
        return {**setting, "steps": self.steps(setting["steps"]), "seed": self.seed, "progress": False}


def spread(of: mem.Sequences, most: int) -> mem.Sequences:
    """So many sequences at most, over all of them."""
    return of if len(of) <= most else of.subset(np.linspace(0, len(of) - 1, most).astype(int))


def strongest(scores: subspace.Scores, share: float) -> dict[str, np.ndarray]:
    """By layer, the neurons of largest score: this share of all."""
    cut = np.quantile(np.concatenate([v.numpy() for v in scores.values.values()]), 1 - share)
    return {name: np.flatnonzero(v.numpy() > cut) for name, v in scores.values.items()}


def _of(scores: subspace.Scores, doses: Doses) -> Edits:
    masks = {dose: scores.mask(dose) for dose in doses}
    return {dose: mask for dose, mask in masks.items() if mask.count}


def _stats(bench: Bench, of: mem.Sequences, setting: Setting) -> tuple[subspace.Stats, subspace.Stats]:
    """Of the sequences and of those that they are contrasted with."""
    own, other = (bench.stats(x, setting["layers"], setting["part"]) for x in (of, bench.reference))
    return own, other


def _contrast(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    return _of(subspace.contrast(bench.model, *_stats(bench, of, setting)), doses)


def _corrected(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    return _of(subspace.corrected(bench.model, *_stats(bench, of, setting), margin=setting["margin"]), doses)


def _wanda(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    return _of(subspace.wanda(bench.model, bench.stats(of, setting["layers"], setting["part"])), doses)


def _magnitude(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    return _of(subspace.magnitude(bench.model, setting["layers"]), doses)


def _random(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    return _of(subspace.score(bench.model, of, method="random", layers=setting["layers"], seed=bench.seed), doses)


def attribution(bench: Bench, of: mem.Sequences) -> subspace.Scores:
    """Integrated gradients along one path of all layers, once for a set."""

    def make():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the gap to completeness is in `about`
            return integrated_gradients(bench.model, of, together=True, steps=bench.steps(10), progress=False)

    return bench.kept(("integrated", of.sha256), make)


def _integrated(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    return _of(attribution(bench, of), doses)


def _zero_out(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    candidates, some = strongest(attribution(bench, of), setting["candidates"]), spread(of, setting["sequences"])
    scores = bench.kept(
        ("zero", of.sha256), lambda: zero_out(bench.model, some, candidates=candidates, rows=64, progress=False)
    )
    return _of(scores, [d for d in doses if d <= setting["candidates"]])


def _learned(method: str) -> Make:
    def make(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
        scores = bench.kept(
            (method, of.sha256, *setting.items()),
            lambda: subspace.score(bench.model, of, method=method, **bench.training(setting)),
        )
        return _of(scores, doses)

    return make


def _balanced(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    text, options = bench.clean[:, :65], bench.training(setting)
    return {dose: subspace.subnet(bench.model, of, text, ratio=dose, **options).mask(dose) for dose in doses}


def _ascent(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    text, options = bench.clean[:, :65], bench.training(setting)
    return {dose: subspace.gradient_ascent(bench.model, of, text, until=dose, **options) for dose in doses}


def _eigen(bench: Bench, of: mem.Sequences, setting: Setting, doses: Doses) -> Edits:
    other = mem.Sequences(bench.clean, 1) if setting["against"] == "clean" else bench.reference
    stats = [bench.stats(x, setting["layers"], "all", second_moment=True) for x in (of, other)]
    space = bench.kept(("eigen", of.sha256, *setting.items()), lambda: subspace.generalised(*stats, eps=setting["eps"]))
    return {dose: space.edit(bench.model, int(dose), projection=setting["projection"]) for dose in doses}


_SITES = ({"layers": SECOND, "part": "all"}, {"layers": SECOND, "part": "suffix"}, {"layers": ALL, "part": "suffix"})
_LAYERS = ({"layers": SECOND}, {"layers": ALL})
_EIGEN = {"layers": SECOND, "against": "unseen", "eps": 0.1}
_SETTINGS: Mapping[str, tuple[Setting, ...]] = {
    "contrast": _SITES[:1],
    "corrected": tuple({**site, "margin": margin} for site in _SITES[1:] for margin in (1.0, 3.0)),
    "wanda": _SITES[1:2],
    "magnitude": _LAYERS,
    "zero_out": ({"candidates": 0.08, "sequences": 6},),
    "slimming": ({"weight": 10.0, "steps": 80, "rate": 0.05},),
    "hard_concrete": ({"weight": 30.0, "steps": 100, "rate": 0.2},),
    "balanced_subnet": ({"rate": 0.1, "steps": 50, "batch": 8},),
    "gradient_ascent": ({"rate": 2e-4, "steps": 60, "batch": 8},),
    "eigen": tuple({**_EIGEN, "projection": projection} for projection in ("oblique", "orthogonal")),
    "random": _LAYERS,
}
#: name -> (title, edits by dose, doses)
_METHODS: Mapping[str, tuple[str, Make, tuple[float, ...]]] = {
    "contrast": ("contrast, as published", _contrast, (0.01, 0.02, 0.04, 0.08, 0.12)),
    "corrected": ("contrast, corrected", _corrected, (0.02, 0.04, 0.08, 0.12, 0.2, 0.3)),
    "wanda": ("Wanda, top", _wanda, (0.002, 0.004, 0.01, 0.02, 0.03)),
    "magnitude": ("magnitude, top", _magnitude, (0.0003, 0.001, 0.003, 0.01, 0.03)),
    "integrated_gradients": ("integrated gradients", _integrated, (0.0025, 0.005, 0.01, 0.02, 0.03)),
    "zero_out": ("zero-out", _zero_out, (0.0025, 0.005, 0.01, 0.02, 0.04)),
    "slimming": ("slimming", _learned("slimming"), (0.01, 0.02, 0.03, 0.05, 0.08)),
    "hard_concrete": ("hard concrete", _learned("hard_concrete"), (0.01, 0.02, 0.04, 0.06, 0.08, 0.12)),
    "balanced_subnet": ("BalancedSubnet", _balanced, (0.005, 0.012, 0.025, 0.04, 0.06)),
    "gradient_ascent": ("gradient ascent", _ascent, (0.5, 2.0, 4.0, 7.0, 12.0)),
    "eigen": ("generalised eigenvectors", _eigen, (1, 2, 4, 8, 32, 128)),
    "random": ("random weights", _random, (0.03, 0.06, 0.12, 0.18, 0.25)),
}
METHODS = {name: Method(*method, _SETTINGS.get(name, ({},))) for name, method in _METHODS.items()}
#: Methods whose edit is a mask, which has controls of equal density.
MASKS = tuple(name for name in METHODS if name not in ("gradient_ascent", "eigen"))
