"""One cell of the table: what the package gives for one model and one method, against the plain reference."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import lens

from ._models_naive import Naive
from ._models_variants import VOCABULARY, Variant

#: Token i is the word `w<i>`. The prompts are longer than every window, and differ in their third token.
CLEAN = torch.tensor([3, 17, 5, 60, 80, 41, 2, 33, 12, 7])
CORRUPTED = torch.tensor([3, 17, 9, 60, 80, 41, 2, 33, 12, 7])
DIFFERENT, ANSWER, FOIL = 2, 11, 23
#: Largest difference in float32, as a share of the largest effect; in bfloat16, over the plain run's own distance.
EXACT, HALF = 1e-4, 2.0
#: An effect below this share of the spread of the logits says too little.
WEAK = 1e-3
#: What may be said of a part, the worst last.
SAID = ("none", "exact", "refused", "failed", "wrong", "raw")
#: An error that says of a thing that it is not there names it, and says so.
_NAMES = re.compile(r"attention|\bheads?\b|pattern|site|side by side|MLP|experts?|keys|projection", re.IGNORECASE)
_NOT = re.compile(r"\b(no|not|none|without|nothing|lacks?)\b", re.IGNORECASE)
#: How a path was called before it had a name of its own.
_ENGINES = {"fast": "walk", "stock": "layers", "hooks": "hooks"}

#: name -> values, and what counts as their largest effect (None: the largest of them).
Values = Mapping[str, tuple[Any, float | None]]


def text(ids: Iterable[int]) -> str:
    """The prompt of some tokens."""
    return " ".join(f"w{int(i)}" for i in ids)


def word_tokenizer() -> Any:
    """A tokenizer whose token i is the word `w<i>`; token 0 ends a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w0", unk_token="w0", pad_token="w0")


def path_of(result: Any) -> tuple[str | None, str]:
    """Which path served a result, by its record, and why not a faster one; None where the record does not say."""
    if result is None:
        return None, ""
    record = lens.record(result)
    if isinstance(path := record.get("engine"), Mapping):
        return path.get("name"), path.get("why") or ""
    return _ENGINES.get(record.get("engine")), ""


class Ours(NamedTuple):
    """What the package gave: values by name, and by which path."""

    values: Mapping[str, Any]
    result: Any = None


class Distances(NamedTuple):
    """From float32, of ours and of the plain run, value by value; and the largest effect."""

    ours: np.ndarray
    plain: np.ndarray
    effect: float


class Part(NamedTuple):
    """A part of a cell.

    Attributes:
        name: what is asked. ours, naive: the same numbers by the package and by the reference.
        lacking: why the thing does not exist here; then an error of the package that says so is right, a number wrong.
        unsure: either is right, if the numbers are.
    """

    name: str
    ours: Callable[[Case], Ours]
    naive: Callable[[Case, Naive], Values] | None
    lacking: str | None = None
    unsure: bool = False


@dataclass
class Case:
    """A variant with the model that the package gets, and the references, each made when it is first asked for."""

    variant: Variant
    seed: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def model(self) -> Any:
        """What the package is given; never the reference's own model."""
        made = self.variant.build(seed=self.seed)
        if self.variant.form == "bridge":
            return lens.models.wrap(made, word_tokenizer(), f"tiny-{self.variant.row}")
        made.tokenizer = word_tokenizer()
        return made

    @cached_property
    def naive(self) -> Naive:
        """The plain copy in the variant's own type."""
        return Naive(self.variant, seed=self.seed)

    @cached_property
    def exact(self) -> Naive:
        """The plain copy in float32."""
        return self.naive if self.variant.dtype == torch.float32 else Naive(self.variant, torch.float32, self.seed)

    @property
    def where(self) -> Any:
        """The places of the variant."""
        return self.variant.where

    @property
    def layers(self) -> range:
        """All layers."""
        return range(self.naive.n_layers)

    def having(self, site: str) -> list[int]:
        """Layers that have a site."""
        return self.where.having(site, self.naive.n_layers)

    @cached_property
    def pair(self) -> Any:
        """The pair whose prompts differ in one token, which it names."""
        return lens.Pair(
            text(CLEAN),
            corrupted=text(CORRUPTED),
            answer=f" w{ANSWER}",
            foil=f" w{FOIL}",
            spans={"subject": f"w{int(CLEAN[DIFFERENT])}"},
        )


@dataclass
class Judged:
    """A part that was judged.

    Attributes:
        said: "exact", "none" (does not exist, and the error says so), "refused", "wrong", "raw" (an error that is not
            the package's) or "failed" (the reference did not hold).
        gap: the largest difference as a share of the largest effect; half: in bfloat16, our distance from float32 over
            the plain run's. distances: these two, by name of the values.
        effect: the largest effect, the smallest of several; weak: it is next to none.
        path: which served. why: the reason or the error.
    """

    name: str
    said: str
    gap: float | None = None
    half: float | None = None
    effect: float | None = None
    path: str | None = None
    why: str = ""
    weak: bool = False
    distances: Mapping[str, Distances] = field(default_factory=dict)
    seconds: float = 0.0


def judged(cases: Sequence[Case], part: Part) -> Judged:
    """Runs a part both ways on each draw of a variant and compares; what is worst of them counts.

    In bfloat16 distances are taken over all values of all draws: those of a few numbers are a matter of chance.
    """
    began = time.perf_counter()
    made = [_judged(case, part) for case in cases]
    worst = max(made, key=lambda one: SAID.index(one.said))
    if worst.said in ("exact", "wrong") and all(one.distances for one in made):
        worst.half = _ratio([one.distances for one in made], jumps=bool(cases[0].having("router")))
        worst.said = "exact" if worst.half <= HALF else "wrong"
    worst.seconds = time.perf_counter() - began
    return worst


def _ratio(draws: Sequence[Mapping[str, Distances]], *, jumps: bool) -> float:
    """Our distance from float32 over that of the plain run; values of one name in units of their mean effect.

    jumps: a token whose experts tie within rounding is sent elsewhere, and its values jump: then medians are compared.
    """
    both: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for key in draws[0]:
        unit = np.mean([draw[key].effect for draw in draws])
        for side, values in zip(both, ("ours", "plain")):
            side.append(np.concatenate([getattr(draw[key], values).ravel() for draw in draws]) / unit)
    if jumps:
        ours, plain = (np.median(np.concatenate(side)) for side in both)
    else:  # names count alike, however many values they have
        ours, plain = (np.sqrt(sum(np.mean(x**2) for x in side)) for side in both)
    return float(ours / max(plain, 1e-12))


def _judged(case: Case, part: Part) -> Judged:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            ours = part.ours(case)
        except Exception as error:
            return _failed(part, error)
    said = " ".join(str(w.message) for w in caught if "forward with hooks" in str(w.message))
    path, why = path_of(ours.result)
    if part.lacking is not None:
        return Judged(part.name, "wrong", path=path, why=f"numbers, though there is none: {part.lacking}")
    try:
        want = _values(part.naive(case, case.naive))
        truth = want if case.exact is case.naive else _values(part.naive(case, case.exact))
    except Exception as error:
        return Judged(part.name, "failed", path=path, why=f"reference: {type(error).__name__}: {error}")
    return _compared(part.name, ours.values, want, truth, path, why or said)


def _failed(part: Part, error: Exception) -> Judged:
    why = " ".join(str(error).split())
    if not isinstance(error, lens.Error):
        return Judged(part.name, "raw", why=f"{type(error).__module__}.{type(error).__name__}: {why}")
    # a refusal of the whole model says nothing of the thing that is not there
    if (part.lacking is not None or part.unsure) and _NAMES.search(why) and _NOT.search(why):
        return Judged(part.name, "none", why=f"{part.lacking or 'refused'} ({why})")
    return Judged(part.name, "refused", why=f"{type(error).__name__}: {why}")


def array(value: Any) -> np.ndarray:
    """Numbers as float64."""
    if isinstance(value, Tensor):
        value = value.detach().double().cpu().numpy()
    return np.asarray(value, np.float64)


def _values(values: Values) -> dict[str, tuple[np.ndarray, float | None]]:
    """Values as numbers."""
    return {name: (array(value), None if scale is None else float(scale)) for name, (value, scale) in values.items()}


def _compared(name: str, ours: Mapping[str, Any], want: Any, truth: Any, path: str | None, why: str) -> Judged:
    if set(ours) != set(want):
        return Judged(name, "wrong", path=path, why=f"values {sorted(ours)}, the reference has {sorted(want)}")
    gap, worst, distances, effects = 0.0, "", {}, []
    for key, (value, effect) in want.items():
        own, best = array(ours[key]), truth[key][0]
        if own.shape != value.shape:
            return Judged(name, "wrong", path=path, why=f"{key} has the shape {own.shape}, not {value.shape}")
        if (np.isnan(own) != np.isnan(value)).any():
            return Judged(name, "wrong", path=path, why=f"{key} has NaN in {int(np.isnan(own).sum())} other places")
        effects += [] if effect is None else [effect]
        scale = max(_largest(value) if effect is None else effect, 1e-12)
        if (off := _largest(own - value) / scale) >= gap:
            gap, worst = off, key
        if truth is not want:
            distances[key] = Distances(*(np.abs(np.nan_to_num(of - best)) for of in (own, value)), scale)
    right = bool(distances) or gap <= EXACT
    made = Judged(name, "exact" if right else "wrong", None if distances else gap, path=path, distances=distances)
    made.effect = min(effects, default=None)
    made.why, made.weak = why if right else f"{worst}; {why}", bool(effects) and min(effects) < WEAK
    return made


def _largest(difference: np.ndarray) -> float:
    if not difference.size or np.isnan(difference).all():
        return 0.0
    return float(np.nanmax(np.abs(difference))) if not np.isinf(difference).any() else float("inf")
