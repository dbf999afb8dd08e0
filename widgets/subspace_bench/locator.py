"""From two sets of text to an edit of any strength."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from lens import curvature, subspace
from lens.curvature.edit import Deficient
from lens.curvature.eigen import deficiency
from lens.engine.linear import linears
from lens.engine.stopping import Stopped
from widgets.base.sets import Sides, stacked
from widgets.subspace_bench.question import CURVATURE, Question

#: Methods that are trained for one sparsity and so anew for each point.
EACH_POINT = ("subnet", "balanced_subnet")
OF_STATISTICS = ("contrast", "corrected", "wanda", "activation")


@dataclass
class SizedEdit:
    """An edit, its control of equal size, and the share of each layer's weights (or coefficients) that it takes."""

    edit: Any
    control: Any
    shares: dict[str, float]
    share: float


class Locator:
    """From the two sets to an edit of any strength: statistics, scores and the decomposition are made once, and found
    again in `folder`.
    """

    def __init__(
        self,
        model: Callable[[], Any],
        question: Question,
        sides: Sides,
        *,
        layers: Any,
        folder: Any,
        options: Mapping[str, Any],
        deficient: Deficient,
        decomposition: Any = None,
    ):
        self._model, self.question, self.sides, self.layers, self.folder = model, question, sides, layers, folder
        self.options, self.deficient, self._decomposition = dict(options), deficient, decomposition
        self._scores: subspace.Scores | None = None
        self._own = decomposition is None
        self._columns = False
        self.notes: list[str] = []

    def forget(self) -> None:
        """Give up scores and eigenvectors, which are as large as the weights; they are made again, or read from the
        folder, when they are wanted.
        """
        self._scores, self._decomposition = None, None if self._own else self._decomposition

    def prepare(self, stop: Callable[[], bool], says: Callable[[str], None] = lambda text: None) -> None:
        """Everything that a point does not have to do again; `says` is told how far it is. Raises Stopped, and what
        `lens.subspace` and `lens.curvature` raise.
        """
        q, mem, ref = self.question, self.sides.found, self.sides.reference
        if q.method == CURVATURE:
            if self._decomposition is None:
                self._refuse_few_tokens()
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    factors = curvature.factors(
                        self._model(),
                        self.layers,
                        stacked(ref),
                        seed=q.seed,
                        folder=self.folder,
                        progress=False,
                        stop=stop,
                    )
                self._decomposition = self._decomposed(factors, stop, says)
                short = [layer for layer in self._decomposition.values() if layer.deficient]
                self.notes = [
                    *dict.fromkeys(str(w.message) for w in caught if w.category is UserWarning),
                    *(["factors: " + deficiency(short)] if short else []),
                ]
        elif q.method not in EACH_POINT and self._scores is None:
            options = self.options | ({} if q.method in (*OF_STATISTICS, "magnitude", "random") else {"stop": stop})
            if q.method in OF_STATISTICS:  # once here, where it can be stopped; `score` then reads it back
                found = subspace.output_layers(self._model(), self.layers) if q.method == "activation" else self.layers
                for tokens in (mem, ref) if q.method in ("contrast", "corrected") else (mem,):
                    subspace.statistics(
                        self._model(),
                        found,
                        subspace.tokens_of(tokens, "text"),
                        self.folder,
                        absolute=q.method == "activation",
                        progress=False,
                        stop=stop,
                    )
            self._scores = subspace.score(
                self._model(),
                mem,
                ref,
                method=q.method,
                layers=self.layers,
                folder=self.folder,
                seed=q.seed,
                progress=False,
                **options,
            )
            self._columns = self._scores.kind == "neuron"

    def _refuse_few_tokens(self) -> None:
        """What `curvature.keep` would refuse is known before the long pass over the texts. Raises CurvatureError."""
        tokens = sum(len(row) - 1 for row in self.sides.reference)
        sizes = {name: max(linear.weight.shape) for name, linear in linears(self._model(), self.layers).items()}
        widest = max(sizes, key=sizes.__getitem__)
        if self.deficient == "refuse" and tokens < sizes[widest]:
            raise curvature.CurvatureError(
                f"reference: factors over the {tokens:,} tokens of {len(self.sides.reference)} texts have rank"
                f" {tokens:,} at most, and {widest} has {sizes[widest]:,} dimensions: directions that no token reached"
                f" would have curvature mass 0 for want of data. Give text of at least {sizes[widest]:,} tokens, better"
                " ten times as many. Or choose: deficient='drop' removes what lies there, deficient='keep' leaves it"
                " as it is."
            )

    def _decomposed(
        self, factors: curvature.Factors, stop: Callable[[], bool], says: Callable[[str], None]
    ) -> curvature.Decomposition:
        """As `curvature.decompose`, but layers that share an input at a time, so that a person can stop it. Raises
        Stopped.
        """
        layers: dict[str, Any] = {}
        for _, group in groupby(factors.layers, key=lambda name: id(factors.a[name])):
            if stop():
                raise Stopped("eigenvectors: stopped; those that are there are found again in the folder.")
            says(f"Eigenvectors, {len(layers)} of {len(factors.layers)} layers …")
            names = list(group)
            part = replace(
                factors,
                a={name: factors.a[name] for name in names},
                g={name: factors.g[name] for name in names},
                tokens={name: factors.tokens[name] for name in names},
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # said once, of all layers
                layers |= curvature.decompose(self._model(), part, folder=self.folder)
        return curvature.Decomposition(layers, factors.fisher, factors.model, factors.record)

    def edit(self, strength: float, stop: Callable[[], bool] | None = None) -> SizedEdit:
        q, never = self.question, lambda: False
        self.prepare(stop or never)
        if q.method == CURVATURE:
            edit = curvature.keep(self._decomposition, strength, deficient=self.deficient)
            like = curvature.control(self._decomposition, "random", edit, match="norm", seed=q.seed)
            return SizedEdit(
                edit, like, {name: 1 - edit.counts[name] / edit.sizes[name] for name in edit.new}, 1 - edit.kept
            )
        if q.method in EACH_POINT:
            mask = subspace.locate(
                self._model(),
                self.sides.found,
                self.sides.reference,
                method=q.method,
                sparsity=strength,
                layers=self.layers,
                seed=q.seed,
                progress=False,
                stop=stop or never,
                **self.options,
            )
        else:
            assert self._scores is not None  # prepared above
            mask = self._scores.mask(strength)
        return SizedEdit(
            mask,
            subspace.random_like(mask, q.seed, "columns" if self._columns else "rows"),
            mask.densities(),
            mask.density,
        )

    @property
    def control_text(self) -> str:
        if self.question.method == CURVATURE:
            return "random bases, equal norm removed"
        return "random neurons, as many" if self._columns else "random weights, equal density"
