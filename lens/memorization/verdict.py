"""Does an edit hide a memory or erase it? Every attack against its control, and one word for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..measure.statistics import bootstrap_comparison, fisher_exact, holm, proportion, sign_flip
from ..training import Recipe
from .attacks import stretch
from .damage import edited
from .errors import MemorizationError
from .extraction import extract
from .relearning import RECIPE, relearning, savings
from .sequences import Sequences

WORDS = {
    "keeps": "the edit leaves the recitation as it is",
    "hides": "an attack brings back what the edit took away",
    "erases": "none of these attacks brings back what the edit took away",
    "partial": "none of these attacks brings back what the edit took away, but it left part",
    "undecided": "no attack is seen to bring it back, and too few sequences to exclude it",
}


@dataclass(frozen=True, eq=False)
class Attack:
    """Recitation of the same sequences under one attack. `edited`: [n] in the edited model; `control`: [n] in a twin that never had them (`paired`), or [m] of
    sequences that nobody had."""

    edited: np.ndarray
    control: np.ndarray
    paired: bool = True


@dataclass(frozen=True, eq=False)
class Verdict:
    """`word`: a key of `WORDS`; `by`: the attacks that brought the memory back; `recited`: how many sequences before and after the edit; `table`: one line an attack;
    `margin`: a recovery
    below this share counts as none; `details`: the results that it rests on."""

    word: str
    by: tuple[str, ...]
    recited: tuple[int, int]
    table: pd.DataFrame
    margin: float
    details: dict[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        by = f" by {', '.join(self.by)}" if self.by else ""
        bound = f"; recovery above the control at most {self.table.high.max():.2f}" if self.word in ("erases", "partial", "undecided") and len(self.table) else ""
        return f"{self.word}{by}: {WORDS[self.word]}{bound} ({self.recited[0]} recited before, {self.recited[1]} after, {len(self.table)} attacks)"


def verdict(before: np.ndarray, after: np.ndarray, attacks: Mapping[str, Attack], *, alpha: float = 0.05, margin: float = 0.15, level: float = 0.95, resamples: int = 10_000,
            seed: int = 0) -> Verdict:  # fmt: skip
    """One word for an edit, from which sequences were recited before it, after it and under each attack. Attacks are judged on the sequences that the edit took away.

    "keeps" where recitation after the edit is not below that before it. "hides" where an attack brings back more in the edited model than in its control (one-sided,
    Holm over attacks).
    "erases" where none does, the upper bound of every attack's recovery is below `margin`, and so is the share that the edit left; "partial" where it left more; else
    "undecided".

    Args:
        before, after: [n] of truth values, the same sequences. attacks: name -> Attack.

    p-values: sign flips of the paired differences (exact, or Monte Carlo for many), Fisher's exact test where the control is of other sequences.

    Raises: MemorizationError: arrays that do not fit; nothing recited before the edit, so that nothing can be forgotten.
    """
    before, after = (np.asarray(x).astype(bool) for x in (before, after))
    if before.shape != after.shape or before.ndim != 1:
        raise MemorizationError(f"before has shape {before.shape} and after {after.shape}; expected one truth value for each of the same sequences.")
    if not before.any():
        raise MemorizationError("before: none of the sequences was recited before the edit, so nothing can be hidden or erased; choose sequences that are.")
    taken = before & ~after
    removed = sign_flip(before.astype(float) - after, alternative="greater", resamples=resamples, seed=seed)
    names = ["attack", "recovered", "control", "difference", "low", "high", "p", "p_kind", "n", "n_control"]
    lines = [{"attack": name, **_against(name, attack, taken, level, resamples, seed)} for name, attack in attacks.items()] if taken.any() else []
    table = pd.DataFrame(lines, columns=names)
    table["holm"] = holm(table.p.to_numpy(dtype=float)) if lines else np.empty(0)
    back = tuple(table.attack[table.holm <= alpha])
    bounded = len(table) > 0 and bool((table.high < margin).all())
    left = (before & after).sum() / before.sum()
    word = "keeps" if float(removed) > alpha else "hides" if back else "undecided" if not bounded else "erases" if left <= margin else "partial"
    return Verdict(word, () if word == "keeps" else back, (int(before.sum()), int(after.sum())), table, margin)


def _against(name: str, attack: Attack, taken: np.ndarray, level: float, resamples: int, seed: int) -> dict[str, Any]:
    """How many of the sequences that the edit took away an attack brings back, beside its control."""
    ours, theirs = (np.asarray(x).astype(bool) for x in (attack.edited, attack.control))
    if ours.shape != taken.shape or theirs.ndim != 1 or (attack.paired and theirs.shape != ours.shape) or not len(theirs):
        raise MemorizationError(f"attack {name!r} has shapes {ours.shape} and {theirs.shape}; expected {taken.shape} and "
                                f"{'the same' if attack.paired else 'at least one control sequence'}.")
    ours, theirs = ours[taken].astype(float), (theirs[taken] if attack.paired else theirs).astype(float)
    n = len(ours)
    if attack.paired:
        p = sign_flip(ours - theirs, alternative="greater", resamples=resamples, seed=seed)
    else:
        p = fisher_exact([[ours.sum(), n - ours.sum()], [theirs.sum(), len(theirs) - theirs.sum()]], alternative="greater")
    found = bootstrap_comparison(ours, theirs, statistic="difference", paired=attack.paired, level=level, seed=seed) if min(n, len(theirs)) > 1 else None
    if found is None or found.low == found.high:
        # where all or none recite, resampling sees no spread: the exact bounds of the share itself say more
        exact = proportion(int(ours.sum()), n, level)
        low, high = exact.low - theirs.mean(), exact.high - theirs.mean()
    else:
        low, high = found.low, found.high
    return {"recovered": ours.mean(), "control": theirs.mean(), "difference": ours.mean() - theirs.mean(), "low": low, "high": high, "p": float(p), "p_kind": p.kind, "n": n,
            "n_control": len(theirs)}  # fmt: skip


def is_it_gone(model: Any, edit: Any, target: Sequences, *, others: Sequences | None = None, clean: Any = None, twin: Any = None, foils: Sequences | None = None,
               paraphrases: Mapping[str, Sequence[Sequence[int]]] | None = None, ks: Sequence[int] = (1, 8), recipe: Recipe = RECIPE,
               at: Sequence[int] | None = None, measure: str = "loose", noise: Sequence[float] = (0.1,), folder: str | Path | None = None,
               seed: int = 0, margin: float = 0.15, progress: bool | None = None) -> Verdict:  # fmt: skip
    """Put an edit through every attack and say whether it hides or erases: prefixes stretched, worn and paraphrased; training on other memorised items and on clean text.

    Args:
        edit: see `damage.edited`. target: memorised sequences that it was to remove; those that the unedited model does not recite are left out.
        others: other memorised sequences, of which the first k, for each of `ks`, are trained on; they may be any that are disjoint from the target. clean: clean rows
            [n, length].
        twin: a model that never had the target: the paired control. foils: sequences that no model had: the control where there is no twin. One of them is needed.
        measure: "strict" or "loose". recipe, at, folder: of the relearning.

    Returns: the verdict; its `details` hold `before`, `after`, `stretch`, `stretch control`, `relearning` and, with a twin, `savings`.

    Raises: MemorizationError: no control, nothing recited, sets that overlap.
    """
    if twin is None and foils is None:
        raise MemorizationError("twin and foils are None: an attack needs a control; give a model that never had the target, or sequences that no model had.")
    if twin is None and paraphrases:
        raise MemorizationError("paraphrases of the target have no control among foils; give a twin that never had the target, or leave them out.")
    if measure not in ("strict", "loose"):
        raise MemorizationError(f"measure={measure!r}; expected 'strict' or 'loose'.")
    before = extract(model, target, progress=progress)
    if not before[measure].values.any():
        raise MemorizationError("target: the unedited model recites none of it, so there is nothing to hide or erase; choose sequences that it recites (see extract).")
    known = before[measure].values
    target, before = target.subset(known), before.isel(sequence=np.flatnonzero(known))
    paraphrases = {name: [p for p, k in zip(of, known) if k] for name, of in (paraphrases or {}).items()}
    options = {"noise": noise, "seed": seed, "progress": progress}
    with edited(model, edit) as now:
        after, stretched = extract(now, target, progress=progress), stretch(now, target, paraphrases=paraphrases, **options)
        control = None if twin is not None else stretch(now, foils, **options)
    control = stretch(twin, target, paraphrases=paraphrases, **options) if twin is not None else control
    details: dict[str, Any] = {"before": before, "after": after, "stretch": stretched, "stretch control": control}
    attacks = {}
    for name, chosen in (("stretched prefixes", [v for v in stretched.variant.values if v.startswith(("longer", "shift", "shorter", "left"))]),
                         ("worn prefixes", [v for v in stretched.variant.values if v.startswith("noise")]), ("paraphrased prefixes", list(paraphrases))):  # fmt: skip
        shared = [v for v in chosen if v in control.variant.values]
        if shared:
            best = lambda ds: ds[measure].sel(variant=shared).any("variant").values
            attacks[name] = Attack(best(stretched), best(control), twin is not None)
    arms: dict[str, Any] = {} if others is None else {f"{k} others": others.subset(np.arange(k)) for k in sorted({min(k, len(others)) for k in ks})}
    arms |= {} if clean is None else {"clean text": clean}
    if arms:
        details["relearning"] = trained = relearning(model, target, arms, edit=edit, twin=twin, foils=foils, recipe=recipe, at=at, folder=folder, progress=progress)
        inside = trained.set.values == "target"
        for name in arms:
            # the most that any look found, in the model and in its control alike
            most = lambda kind, of, name=name: np.nan_to_num(trained[measure].sel(model=kind, on=name).values[:, of]).max(0) == 1
            attacks[f"training on {name}"] = Attack(most("edited", inside), most("twin", inside) if twin is not None else most("edited", ~inside), twin is not None)
        if twin is not None:
            details["savings"] = savings(trained, measure=measure, seed=seed)
    found = verdict(before[measure].values, after[measure].values, attacks, margin=margin, seed=seed)
    return replace(found, details=details)
