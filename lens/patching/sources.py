"""What a patch puts in: the other run of a pair, another model's, another pair's, a mean, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..arguments import shown
from ..engine.copying import part_of
from ..engine.edits import Edit
from ..engine.metrics import Metric
from ..engine.model import Model
from ..engine.pieces import run_bytes
from ..engine.runs import Runs
from ..engine.sites import HEADED, Site
from ..engine.sweep import MakeRuns, paired
from ..prompts import EncodedPair
from .grid import Grid, PatchError
from .means import Means

#: What takes the place of an activation where nothing of the pair's other prompt does.
ABLATIONS = ("zero", "mean", "resample")
SOURCES = ("pair", *ABLATIONS)


def kind_of(source: Any) -> str:
    """One of `SOURCES`; a tensor or runs are means that are given.

    Raises:
        PatchError: something else.
    """
    if isinstance(source, str) and source in SOURCES:
        return source
    if isinstance(source, Tensor | Runs):
        return "mean"
    raise PatchError(
        f"source={shown(source)} is not known; expected one of {', '.join(SOURCES)}, a tensor of means, or the Runs of"
        " which the means are taken."
    )


@dataclass
class Origin:
    """Where the edits of a grid come from, and the unedited runs that they need.

    Attributes:
        model: the view of the model that is edited. encoded: the pairs. edited: the prompt whose run is edited.
        source: the other run's prompt is that of `other`, or of the same model. kind: one of `SOURCES`.
        means: of a mean. partners: of resampling, for each pair the other one whose run is copied.
        donors: these runs, of the prompts whose unedited runs were made last.
    """

    model: Model
    encoded: Sequence[EncodedPair]
    edited: Literal["clean", "corrupted"]
    keep: tuple[str, ...]
    kind: str = "pair"
    other: Model | None = None
    means: Means | None = None
    partners: list[int] | None = None
    _base: Runs | None = field(default=None, init=False, repr=False)
    donors: Runs | None = field(default=None, init=False, repr=False)

    def ids(self, prompt: int, edited: bool) -> Tensor:
        """Token ids of the prompt that is edited, or of the other one."""
        e = self.encoded[prompt]
        ids: Tensor = e.clean_ids if (self.edited == "clean") == edited else e.corrupted_ids
        return ids

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of the prompts that are edited."""
        return [len(self.ids(i, True)) for i in range(len(self.encoded))]

    @cached_property
    def source_lengths(self) -> list[int]:
        """Tokens of the others."""
        return [len(self.ids(i, False)) for i in range(len(self.encoded))]

    @property
    def of_pairs(self) -> bool:
        """Whether all is as of pairs that align token by token, in one model."""
        return self.kind == "pair" and self.other is None and self.lengths == self.source_lengths

    def runs(self) -> MakeRuns:
        """What makes the unedited runs of some pairs: see `lens.engine.sweep.MakeRuns`."""
        ids = [(self.ids(i, True), self.ids(i, False)) for i in range(len(self.encoded))]
        return paired(self.model, ids, self.keep) if self.of_pairs else self._apart

    def _apart(self, batch: Sequence[int], tails: Sequence[Tensor]) -> tuple[Runs, Runs]:
        other = self.other or self.model

        def put(view: Model, edited: bool, keep: tuple[str, ...]) -> Runs:
            return view.record([torch.cat([self.ids(i, edited), t.cpu()]) for i, t in zip(batch, tails)], keep)

        self._base = put(self.model, True, self.keep)
        source = put(other, False, self.keep if self.kind == "pair" else ())
        if self.partners is not None:
            self.donors = self.model.record([self.ids(self.partners[i], True) for i in batch], self.keep)
        return self._base, source

    def bytes_of(self, metric: Metric) -> Callable[[int], int] | None:
        """Memory of one pair's unedited runs; None where it is that of two of one length."""
        if self.of_pairs:
            return None
        other, lengths, others = self.other or self.model, self.lengths, self.source_lengths

        def size(i: int) -> int:
            total = 0
            for answer in metric.sequences(self.encoded[i]):
                more = max(0, len(answer) - 1)
                total += run_bytes(self.model, lengths[i] + more, self.keep)
                total += run_bytes(other, others[i] + more, self.keep)
            donor = 0 if self.partners is None else run_bytes(self.model, lengths[self.partners[i]], self.keep)
            return total + donor

        return size

    def cells(self, grid: Grid) -> Callable[[int, Runs, int], Any]:
        """The cells of a pair, given the runs that are copied from."""

        def of(prompt: int, source: Runs, k: int) -> Any:
            if self.kind == "pair":
                return grid.cells(prompt, source[k])
            return grid.cells(prompt, None, self._edit(prompt, k))

        return of

    def _edit(self, prompt: int, k: int) -> Callable[[Site, tuple[int, ...]], Edit]:
        if self.kind == "zero":
            return lambda site, taken: Edit(site, "zero")
        if self.kind == "resample":
            donors: Any = self.donors
            donor = donors[k]
            return lambda site, taken: Edit(
                site, "resample", donor, source_position=None if taken == site.position else taken
            )
        means: Any = self.means
        own = means.without(self._base, k, self.lengths[prompt]) if means.leaves_out else means.of_all

        def mean(site: Site, taken: tuple[int, ...]) -> Edit:
            value = own(site.layer or 0)
            value = value[list(taken)] if means.by_position else value[None]
            named = part_of(value, Edit(site, "zero"))
            return Edit(site, "mean", named if means.by_position or named.shape != value.shape else value[0])

        return mean

    def record(self) -> dict[str, Any]:
        """What a record says of it, beside what the call was given."""
        said: dict[str, Any] = {}
        if self.partners is not None:
            said["partners"] = self.partners
        if self.means is not None:
            said["mean"] = self.means.record()
        return said


def partners_of(
    lengths: Sequence[int],
    fits: Callable[[int, int], bool],
    seed: int,
    why: str,
    asked: str = "source='resample': pairs",
) -> list[int]:
    """For each pair another one, drawn with a seed among those that fit it; ``asked`` begins the error.

    Raises:
        PatchError: a pair that none fits.
    """
    rng, drawn = np.random.default_rng(seed), []
    for i in range(len(lengths)):
        choice = [j for j in range(len(lengths)) if j != i and fits(i, j)]
        if not choice:
            raise PatchError(
                f"{asked}[{i}] ({lengths[i]} tokens) has no partner among the {len(lengths)} {asked.split()[-1]} of the"
                f" call {why}"
            )
        drawn.append(choice[int(rng.integers(len(choice)))])
    return drawn


def require_equal_width(model: Model, other: Model, site: str, argument: str = "source_model") -> None:
    """Raises PatchError where a site of another model is not as wide as this one's; the message has both numbers."""
    names = {
        "neuron": ("d_mlp",),
        "router": ("n_experts",),
        "expert": ("n_experts", "d_model"),
        "pattern": ("n_heads",),
    }
    wanted = names.get(site, ("d_model",))
    if site in HEADED and site != "pattern":
        wanted = ("n_heads" if HEADED[site] == "query" else "n_kv_heads", "d_head")
    for name in wanted:
        ours, theirs = getattr(model, name), getattr(other, name)
        if ours != theirs:
            raise PatchError(
                f"{argument}: its {name} is {theirs}, this model's {ours}, so that site {site!r} does not fit; give a"
                " model of equal width."
            )


def require_same_tokens(
    encoded: Sequence[EncodedPair],
    others: Sequence[EncodedPair],
    argument: str = "source_model",
    prompts: str = "pairs[{i}].{side}",
) -> None:
    """Raises PatchError where another model's tokenizer reads a pair in other tokens; the message shows them."""
    for i, (ours, theirs) in enumerate(zip(encoded, others, strict=True)):
        for name in ("clean_ids", "corrupted_ids", "answer_ids", "foil_ids"):
            a, b = (None if (x := getattr(e, name)) is None else list(map(int, x)) for e in (ours, theirs))
            if a != b:
                read = prompts.format(i=i, side=name.removesuffix("_ids"))
                raise PatchError(
                    f"{argument}: its tokenizer reads {read} as {b}, this model's as {a}; positions and answers would"
                    " not be the same. Give a model with the same tokenizer."
                )
