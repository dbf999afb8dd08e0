"""From two named sets of text to a curve of edits: what is asked, the edit of any strength, and its points, each
computed once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import xarray as xr

from lens import curvature, memorization, subspace
from lens.curvature.edit import Deficient
from lens.curvature.eigen import deficiency
from lens.engine.linear import linears
from lens.engine.stopping import Stopped
from lens.results import dataset as results
from widgets._subspace_sets import FOUND, Sides, stacked
from widgets._view import describe_model, finite
from widgets.errors import ViewError

CURVATURE = "curvature"
_LABELS = {
    "contrast": "contrast of activations, as published",
    "corrected": "contrast with a margin of 3 standard errors",
    CURVATURE: "loss curvature (K-FAC), mass kept",
    "wanda": "weight × activation (Wanda)",
    "magnitude": "weight alone",
    "activation": "neurons by activation",
    "integrated_gradients": "neurons by integrated gradients",
    "zero_out": "neurons by zeroing each",
    "slimming": "neurons by slimming",
    "hard_concrete": "neurons by hard concrete gates",
    "subnet": "learned mask (Subnet)",
    "balanced_subnet": "learned mask with clean text (BalancedSubnet)",
    "random": "random weights",
}
#: name -> what the list says; whatever `lens.subspace` offers, and the curvature edit.
METHODS = {
    name: _LABELS.get(name, name.replace("_", " "))
    for name in sorted((*subspace.METHODS, CURVATURE), key=[*_LABELS, *subspace.METHODS].index)
}
#: Methods that are trained for one sparsity and so anew for each point.
EACH_POINT = ("subnet", "balanced_subnet")
OF_STATISTICS = ("contrast", "corrected", "wanda", "activation")
SPARSITIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
MASSES = (0.99, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
PERFORMANCE = {"copying": 0, "heads": False}
MEASURES = ("strict", "loose", "lev", "exact_prefix", "nll")


def name_of(model: Any) -> dict[str, Any]:
    """Name, shape, device and dtype of a plain model or a bridge, for a view's header."""
    if hasattr(model, "cfg"):
        return describe_model(model)
    config, weight = getattr(model, "config", None), next(iter(model.parameters()))
    layers = int(getattr(config, "num_hidden_layers", 0) or 0)
    name, dtype = (
        str(getattr(config, "name_or_path", "") or type(model).__name__),
        str(weight.dtype).removeprefix("torch."),
    )
    return {
        "name": name,
        "layers": layers,
        "dtype": dtype,
        "text": " · ".join([name, f"{layers} layers", str(weight.device), dtype]),
    }


# --- the question


@dataclass(frozen=True)
class Question:
    """What the fields ask for; `strengths`: shares of weights that go, or for the curvature edit of mass that stays,
    from weak to strong.
    """

    memorised: str
    reference: str
    method: str
    seed: int
    strengths: tuple[float, ...] = ()

    def key(self) -> tuple:
        """What decides a point besides its strength."""
        return (self.memorised, self.reference, self.method, self.seed)

    @property
    def kind(self) -> str:
        return "kept" if self.method == CURVATURE else "sparsity"

    def fields(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "strengths"}


def strengths_of(text: str, kind: str) -> tuple[float, ...]:
    """The numbers of a field such as "0.01, 0.02", each once, from weak to strong. Raises ViewError."""
    what = "shares of the weights to set to 0" if kind == "sparsity" else "shares of the curvature mass to keep"
    try:
        values = {float(part) for part in text.replace(";", ",").split(",") if part.strip()}
    except ValueError:
        raise ViewError(
            f"points: {text!r} is no list of numbers; expected {what}, such as {', '.join(map(str, (0.01, 0.05)))}"
        ) from None
    if not values or not all(0 < v < 1 for v in values) or len(values) > 40:
        raise ViewError(f"points: {text!r}; expected 1 to 40 {what}, each above 0 and below 1")
    return tuple(sorted(values, reverse=kind == "kept"))


# --- the edit of any strength


@dataclass
class Made:
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

    def edit(self, strength: float, stop: Callable[[], bool] | None = None) -> Made:
        q, never = self.question, lambda: False
        self.prepare(stop or never)
        if q.method == CURVATURE:
            edit = curvature.keep(self._decomposition, strength, deficient=self.deficient)
            like = curvature.control(self._decomposition, "random", edit, match="norm", seed=q.seed)
            return Made(
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
        return Made(
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


# --- one point of the curve


@dataclass
class Point:
    """A model under one edit: the values of every sequence and text, and its rows of the table by set of sequences."""

    line: xr.Dataset
    table: dict[str, dict[str, Any]]
    probes: np.ndarray | None = None
    shares: dict[str, float] = field(default_factory=dict)
    share: float = 0.0


def measured(
    model: Any, edit: Any, sides: Sides, base: xr.Dataset | None, level: float, seed: int
) -> tuple[Point, xr.Dataset]:
    """The point under an edit (None: as it is), and `performance`; the same values as `lens.memorization.tradeoff`
    gives, one edit at a time.
    """
    with memorization.edited(model, edit) as now:
        parts = [
            memorization.extract(now, of, progress=False).assign_coords(set=("sequence", np.full(len(of), name)))
            for name, of in sides.sets.items()
        ]
        probes = (
            memorization.extract(now, sides.probes, progress=False).generated.values
            if sides.probes is not None
            else None
        )
        after = (
            memorization.performance(now, sides.clean, progress=False, **PERFORMANCE)
            if edit is not None or base is None
            else base
        )
    base = after if base is None else base
    cost = memorization.compared(base, after)
    own = xr.concat(
        [part.drop_vars("sequence") for part in parts],
        "sequence",
        data_vars="all",
        coords="minimal",
        compat="override",
        combine_attrs="drop",
    )
    line = xr.merge([own, cost[["nll_after", "ndcg", "tokens"]].rename(nll_after="nll_text")], combine_attrs="drop")
    recited = memorization.summary(line, by="set", variables=MEASURES, level=level, seed=seed).to_dataframe()
    paid_for = memorization.damage_summary(cost, level=level, seed=seed).to_dataframe()
    loss, ndcg = (paid_for.iloc[i] for i in (0, 2))
    paid = {
        "loss": loss.after,
        "rise": loss.change,
        "rise_low": loss.low,
        "rise_high": loss.high,
        "texts": int(loss.n),
        "ndcg": ndcg.after,
    }
    bounds = [f"{m}{end}" for m in MEASURES for end in ("", "_low", "_high")]
    table = {
        name: (
            {"n": int(recited.loc[name, "n"])}
            | {k: finite(recited.loc[name, k]) for k in bounds}
            | {k: finite(v) for k, v in paid.items()}
        )
        for name in sides.sets
    }
    return Point(line, table, probes), after


@dataclass
class Run:
    """A question, and the points that were computed for it so far."""

    question: Question
    sides: Sides
    locator: Locator
    number: int = 0
    unedited: Point | None = None
    base: xr.Dataset | None = None
    points: dict[float, tuple[Point, Point]] = field(default_factory=dict)
    failed: dict[float, str] = field(default_factory=dict)
    dataset: Any = None
    status: str = "running"
    seconds: float = 0.0
    hashes: tuple[str, str] = ("", "")

    @property
    def whole(self) -> Point:
        """The unedited model's point. Raises ViewError while it is being read."""
        if self.unedited is None:
            raise ViewError("unedited: the model is still being read; wait until its point is there")
        return self.unedited

    def complete(self) -> bool:
        return self.unedited is not None and all(s in self.points or s in self.failed for s in self.question.strengths)

    def there(self) -> int:
        """How many of the points that were asked for are there."""
        return sum(strength in self.points for strength in self.question.strengths)

    def strengths(self) -> list[float]:
        """Those that are there, weak to strong."""
        return sorted(self.points, reverse=self.question.kind == "kept")

    def at(self, index: int) -> float | None:
        """The strength of a place on the slider; None: unedited."""
        there = self.strengths()
        return there[min(index, len(there)) - 1] if index > 0 and there else None

    def lines(self) -> Iterator[tuple[str, str, float, Point]]:
        if self.unedited is not None:
            yield "unedited", "unedited", np.nan, self.unedited
        for strength in self.strengths():
            for line, point in zip(("edit", "control"), self.points[strength]):
                yield f"{'' if line == 'edit' else 'control '}{strength:g}", line, strength, point

    def joined(self, layers: Any) -> xr.Dataset | None:
        """All points as one result over `edit`, in the form of `lens.memorization.tradeoff`, with the coordinates
        `line`, `strength` and `share`.
        """
        every = list(self.lines())
        if not every:
            return None
        ds = xr.concat(
            [point.line for *_, point in every],
            "edit",
            data_vars="all",
            coords="minimal",
            compat="override",
            combine_attrs="drop",
        )
        ds = ds.assign_coords(
            edit=[name for name, *_ in every],
            line=("edit", [line for _, line, *_ in every]),
            strength=("edit", [s for *_, s, _ in every]),
            share=("edit", [point.share for *_, point in every]),
        )
        ds["gold"], ds["tokens"] = ds.gold.isel(edit=0), ds.tokens.isel(edit=0)
        ds["clean_loss"] = ("edit", [point.table[FOUND]["loss"] for *_, point in every])
        assert self.base is not None  # it comes with the unedited point
        record = results.provenance(self.base)
        q = self.question
        call = {
            "question": {**q.fields(), "strengths": list(q.strengths)},
            "layers": layers if isinstance(layers, str) else list(layers),
            "control": self.locator.control_text,
            "sets": {name: of.about() for name, of in self.sides.sets.items()},
            "failed": {f"{k:g}": v for k, v in self.failed.items()},
        }
        return results.stamp(
            ds,
            record
            | {
                "kind": "trade-off",
                "call": call,
                "seed": q.seed,
                "status": "complete" if self.complete() else "partial",
            },
        )


def trace(
    model: Any,
    run: Run,
    level: float,
    stop: Callable[[], bool],
    on_point: Callable[[], None],
    begins: Callable[[str], None],
) -> None:
    """Compute the points that are missing, weak to strong, each with its control; one that cannot be made is noted and
    left out.

    Ends early where `stop` says so. Raises what the first point raised, where none could be made.
    """
    q, error = run.question, None
    try:
        if run.unedited is None:
            begins("Reading the unedited model …")
            run.unedited, run.base = measured(model, None, run.sides, None, level, q.seed)
            on_point()
        begins("Factors and eigenvectors …" if q.method == CURVATURE else "Scores of the weights …")
        run.locator.prepare(stop, begins)
        for strength in q.strengths:
            if strength in run.points:
                continue
            if stop():
                return
            try:
                made = run.locator.edit(strength, stop)
                pair = [
                    measured(model, edit, run.sides, run.base, level, q.seed)[0] for edit in (made.edit, made.control)
                ]
            except (subspace.SubspaceError, curvature.CurvatureError) as raised:
                run.failed[strength], error = str(raised), error or raised
                continue
            pair[0].shares, pair[0].share, pair[1].share = made.shares, made.share, made.share
            run.points[strength] = (pair[0], pair[1])
            run.failed.pop(strength, None)
            on_point()
    except Stopped:
        return
    if not run.points and error is not None:
        raise error


def grid_of(model: Any, names: Sequence[str]) -> dict[str, Any]:
    """Names of linear layers as a grid of matrices by blocks: `matrices`, `blocks` and, for each cell, the name or
    "".
    """
    found = linears(model, list(names))
    place = {
        name: (one.layer, name.split(f".{one.layer}.", 1)[-1] if one.layer is not None else name)
        for name, one in found.items()
    }
    matrices, blocks = (
        list(dict.fromkeys(m for _, m in place.values())),
        sorted({b for b, _ in place.values()}, key=lambda b: -1 if b is None else b),
    )
    at = {v: k for k, v in place.items()}
    short = [m.rsplit(".", 1)[-1] for m in matrices]
    return {
        "matrices": short if len(set(short)) == len(short) else matrices,
        "blocks": ["–" if b is None else b for b in blocks],
        "names": [[at.get((b, m), "") for b in blocks] for m in matrices],
    }
