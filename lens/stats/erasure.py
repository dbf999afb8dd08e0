"""Does an edit hide a memory or erase it? Every attack against its control, and one word for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pandas as pd

from ..arguments import Draws, Fraction, Numbers, Seed, Share, door
from . import fisher_exact, holm, proportion, sign_flip
from .means import EXACT_DIFFERENCE, difference_bounds
from .samples import Interval, StatisticsError, check_open_unit

#: the word where recall is not seen to fall: chance may explain what fell, or the items be too few; that nothing was
#: removed is not shown by that
NO_REMOVAL = "no removal shown"
WORDS = {
    NO_REMOVAL: (
        "recall after the edit is not seen to be below that before it, which is no proof that it left all as it was"
    ),
    "hides": "an attack brings back what the edit took away",
    "erases": "none of these attacks brings back what the edit took away",
    "partial": "none of these attacks brings back what the edit took away, but it left part",
    "undecided": "no attack is seen to bring it back, and too few items to exclude that one does or that part is left",
}


@door(StatisticsError)
@dataclass(frozen=True, eq=False)
class Attack:
    """Recall of the same items (a sequence recited, a picture copied) under one attack. `edited`: [n] in the edited
    model; `control`: [n] in a twin that never had them (`paired`), or [m] of items that nobody had.
    """

    edited: Annotated[Any, Numbers(1, truth=True)]
    control: Annotated[Any, Numbers(1, truth=True)]
    paired: bool = True


@dataclass(frozen=True, eq=False)
class Verdict:
    """`word`: a key of `WORDS`; `by`: the attacks that brought the memory back; `recited`: how many items before and
    after the edit; `table`: one line an attack; `margin`: a recovery, or a share left, below this counts as none;
    `details`: the results that it rests on; `left`: the share that the edit left, with its exact interval.
    """

    word: str
    by: tuple[str, ...]
    recited: tuple[int, int]
    table: pd.DataFrame
    margin: float
    details: dict[str, Any] = field(default_factory=dict, repr=False)
    left: Interval | None = None

    def __str__(self) -> str:
        by = f" by {', '.join(self.by)}" if self.by else ""
        if self.word == NO_REMOVAL and self.left is not None:
            return (
                f"{self.word}: {WORDS[self.word]}; share left at least {self.left.low:.2f} ({self.recited[0]} recalled"
                f" before, {self.recited[1]} after)"
            )
        bound = (
            f"; recovery above the control at most {self.table.high.max():.2f}"
            if self.word in ("erases", "partial", "undecided") and len(self.table)
            else ""
        )
        bound += f", share left at most {self.left.high:.2f}" if bound and self.left is not None else ""
        return (
            f"{self.word}{by}: {WORDS[self.word]}{bound} ({self.recited[0]} recalled before, {self.recited[1]} after,"
            f" {len(self.table)} attacks)"
        )


@door(StatisticsError)
def verdict(
    before: Annotated[Any, Numbers(1, truth=True)],
    after: Annotated[Any, Numbers(1, truth=True)],
    attacks: Mapping[str, Attack],
    *,
    alpha: Share = 0.05,
    margin: Fraction = 0.15,
    level: Share = 0.95,
    resamples: Draws = 10_000,
    seed: Seed = 0,
) -> Verdict:
    """One word for an edit, from which items were recalled before it, after it and under each attack. Attacks are
    judged on the items that the edit took away.

    "no removal shown" where recall after the edit is not seen to be below that before it (one-sided p above `alpha`;
    `Verdict.left` bounds how much the edit may have taken: fewer than five items cannot show a removal at .05). "hides"
    where an attack brings back more in the edited model than in its control (one-sided, Holm over attacks). "erases"
    where none does, the upper bound of every attack's recovery is below `margin`, and so is that of the share that the
    edit left; "partial" where the lower bound of the share left is above `margin`; else "undecided".

    All bounds are exact (Clopper-Pearson, `lens.stats.means.difference_bounds`) and monotone: a word never gets
    better when more comes back or more is left. At 95 %, where the true recovery or the true share left is `margin`,
    "erases" is said in at most 2.5 % of cases; so it needs at least 23 items that were taken away, none of which comes
    back, for .15.

    Args:
        before, after: [n] of truth values, the same items. attacks: name -> Attack.

    p-values: sign flips of the paired differences (exact, or Monte Carlo for many), Fisher's exact test where the
    control is of other items.

    Raises: StatisticsError: arrays that do not fit; nothing recalled before the edit, so that nothing can be forgotten.
    """
    before, after = (np.asarray(x).astype(bool) for x in (before, after))
    if before.shape != after.shape or before.ndim != 1:
        raise StatisticsError(
            f"before has shape {before.shape} and after {after.shape}; expected one truth value for each of the same"
            " items."
        )
    if not before.any():
        raise StatisticsError(
            "before: none of the items was recalled before the edit, so nothing can be hidden or erased; choose items"
            " that are."
        )
    taken = before & ~after
    removed = sign_flip(before.astype(float) - after, alternative="greater", resamples=resamples, seed=seed)
    names = [
        "attack",
        "recovered",
        "control",
        "difference",
        "low",
        "high",
        "interval_kind",
        "p",
        "p_kind",
        "n",
        "n_control",
    ]
    lines = (
        [{"attack": name, **_against(name, attack, taken, level, resamples, seed)} for name, attack in attacks.items()]
        if taken.any()
        else []
    )
    table = pd.DataFrame(lines, columns=names)
    table["holm"] = holm(table.p.to_numpy(dtype=float)) if lines else np.empty(0)
    back = tuple(table.attack[table.holm <= alpha])
    bounded = len(table) > 0 and bool((table.high < margin).all())
    left = proportion(int((before & after).sum()), int(before.sum()), level)
    seen = "partial" if left.low > margin else "erases" if left.high < margin else "undecided"
    word = NO_REMOVAL if float(removed) > alpha else "hides" if back else seen if bounded else "undecided"
    return Verdict(
        word, () if word == NO_REMOVAL else back, (int(before.sum()), int(after.sum())), table, margin, left=left
    )


def _against(name: str, attack: Attack, taken: np.ndarray, level: float, resamples: int, seed: int) -> dict[str, Any]:
    """How many of the items that the edit took away an attack brings back, beside its control."""
    ours, theirs = (np.asarray(x).astype(bool) for x in (attack.edited, attack.control))
    if (
        ours.shape != taken.shape
        or theirs.ndim != 1
        or (attack.paired and theirs.shape != ours.shape)
        or not len(theirs)
    ):
        raise StatisticsError(
            f"attack {name!r} has shapes {ours.shape} and {theirs.shape}; expected {taken.shape} and "
            f"{'the same' if attack.paired else 'at least one control item'}."
        )
    ours, theirs = ours[taken].astype(float), (theirs[taken] if attack.paired else theirs).astype(float)
    n = len(ours)
    if attack.paired:
        p = sign_flip(ours - theirs, alternative="greater", resamples=resamples, seed=seed)
    else:
        p = fisher_exact(
            [[ours.sum(), n - ours.sum()], [theirs.sum(), len(theirs) - theirs.sum()]], alternative="greater"
        )
    tail = (1 - check_open_unit(level, "level")) / 2
    if attack.paired:
        low, high = difference_bounds(int((ours > theirs).sum()), int((ours < theirs).sum()), n, tail=tail)
    else:
        low, high = difference_bounds(int(ours.sum()), int(theirs.sum()), n, len(theirs), tail=tail)
    return {
        "recovered": ours.mean(),
        "control": theirs.mean(),
        "difference": ours.mean() - theirs.mean(),
        "low": float(low),
        "high": float(high),
        "interval_kind": EXACT_DIFFERENCE,
        "p": float(p),
        "p_kind": p.kind,
        "n": n,
        "n_control": len(theirs),
    }
