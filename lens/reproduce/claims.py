"""Claims as data: what a paper claims, its value and where that stands, by which rule it is judged, and which measured
effect the verdict follows. How an effect is estimated stands in a study's `verdicts`; how rows are shown in `report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..stats import Interval
from .common import ALONE
from .errors import ReproduceError


@dataclass(frozen=True)
class Claim:
    """One claim, as data; words in braces are filled in for each method, kind or model that it is judged for.

    `says`: the claim. `paper`: the value that the paper has for it, or that it has none. `rule`: when it holds, where
    that is not the rule of all claims of the study. `null`: what the effect is where the claim is not so, or the
    word in braces that says it. `source`: where the paper's value stands, where that is not the source of all.
    `margin`: of a claim that there is no difference, the bounds between which the interval of the first effect has to
    lie; either may be infinite.
    """

    says: str
    paper: str
    rule: str = ""
    null: float | str = 0.0
    source: str = ""
    margin: tuple[float, float] | None = None

    def within(self, low: float, high: float) -> bool:
        """Whether an interval lies between the bounds of the margin."""
        return self.margin is not None and self.margin[0] < low and high < self.margin[1]


class Row(NamedTuple):
    """A claim as it was judged: the cells of its row in the table, its key, the names of its effects among the
    numbers, and what these are where the claim is not so.
    """

    claim: str
    paper: str
    here: str
    n: Any
    verdict: str
    multiplicity: str
    key: str
    effects: tuple[str, ...]
    null: float


@dataclass(frozen=True)
class Claims:
    """The claims of a study by key.

    `source`: where the papers' values stand. `rule`: of claims that name none. `estimator`: how an effect and its
    interval are computed, in a sentence; the code is the study's `verdicts`.
    """

    source: str
    rule: str
    estimator: str
    claims: Mapping[str, Claim] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Claim:
        """A claim. Raises ReproduceError: no such key."""
        if key not in self.claims:
            raise ReproduceError(f"claim: {key!r} is not one of {', '.join(self.claims)}.")
        return self.claims[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.claims)

    def __len__(self) -> int:
        return len(self.claims)


class Rows(list[Row]):
    """The rows of a table of claims, as they are judged, and the `numbers` that they speak of."""

    def __init__(self, claims: Claims):
        super().__init__()
        self.claims = claims
        self.numbers: dict[str, Any] = {}

    def put(self, name: str, interval: Interval) -> Interval:
        """An estimate and its bounds among the numbers, where `effect` reads them."""
        for end, value in (("", interval.estimate), ("_low", interval.low), ("_high", interval.high)):
            self.numbers[name + end] = float(value)
        return interval

    def add(
        self,
        key: str,
        here: str,
        n: Any,
        verdict: str,
        multiplicity: str = ALONE,
        *,
        effects: str | tuple[str, ...] = (),
        **names: Any,
    ) -> None:
        """A claim with what was measured for it.

        Args:
            here: what was measured, in words. n: units. verdict: the word. multiplicity: what it is corrected for.
            effects: where the effects stand among the numbers, as `effect` reads them; the first is the one that the
                verdict follows.
            names: what stands for the words in braces.
        """
        claim = self.claims[key]
        text = claim.says + (f" Rule: {claim.rule}" if claim.rule else "")
        named = (effects,) if isinstance(effects, str) else effects
        paper = claim.paper.format(**names)
        null = float(names[claim.null] if isinstance(claim.null, str) else claim.null)
        self.append(Row(text.format(**names), paper, here, n, verdict, multiplicity, key, named, null))


class Effect(NamedTuple):
    """An estimate with the bounds of its interval, by name."""

    name: str
    estimate: float
    low: float
    high: float


def effect(numbers: Mapping[str, Any], name: str) -> list[Effect]:
    """The effect of that name among the numbers of a run, or all of a group ("arms/*"); none where there is no number,
    or no interval.

    It stands there as {"estimate", "low", "high"}, as three numbers, or under names that end in `_low` and `_high`.
    """
    group, _, one = name.partition("/")
    if one:
        within = numbers.get(group) or {}
        return [
            each._replace(name=str(key)) for key in within if one in ("*", key) for each in effect(within, str(key))
        ]
    value = numbers.get(name)
    if isinstance(value, Mapping):
        bounds: Any = [value.get(key) for key in ("estimate", "low", "high")]
        bounds[0] = value.get("log_ratio") if bounds[0] is None else bounds[0]
    elif isinstance(value, (list, tuple)) and f"{name}_low" not in numbers:
        bounds = value
    else:
        names = (f"{name}_mean", f"{name}_held_out", f"{name}_shared", name)
        estimate = next((numbers[key] for key in names if key in numbers), None)
        bounds = [estimate, numbers.get(f"{name}_low"), numbers.get(f"{name}_high")]
    if len(bounds) != 3 or any(not isinstance(b, (int, float)) or b != b for b in bounds):
        return []
    return [Effect(name, *(float(b) for b in bounds))]
