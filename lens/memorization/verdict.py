"""Every attack of this family on one edit: does it hide the memory or erase it? The rule itself is
`lens.stats.erasure`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..arguments import Count, FilePath, Fraction, HFModel, Portion, Seed, Size, TokenRows, door
from ..engine.lengths import require_readable
from ..engine.sessions import of_one_model
from ..scoring.likelihood import plain
from ..stats.erasure import WORDS, Attack, Verdict, verdict
from ..training import Recipe, Rows
from .attacks import stretch
from .damage import edited
from .errors import MemorizationError, causal
from .extraction import extract
from .probing import rows_of
from .relearning import RECIPE, relearning, savings
from .sequences import Sequences

__all__ = ["WORDS", "Attack", "Verdict", "is_it_gone", "verdict"]


@door(MemorizationError)
@of_one_model(reads=False)
def is_it_gone(
    model: HFModel,
    edit: Any,
    target: Sequences,
    *,
    others: Sequences | None = None,
    clean: TokenRows | Rows | None = None,
    twin: HFModel | None = None,
    foils: Sequences | None = None,
    paraphrases: Mapping[str, Sequence[Sequence[int]]] | None = None,
    ks: Sequence[Count] = (1, 8),
    recipe: Recipe = RECIPE,
    at: Sequence[Size] | None = None,
    measure: Literal["strict", "loose"] = "loose",
    noise: Sequence[Portion] = (0.1,),
    folder: FilePath | None = None,
    seed: Seed = 0,
    margin: Fraction = 0.15,
    progress: bool | None = None,
) -> Verdict:
    """Put an edit through every attack and say whether it hides or erases: prefixes stretched, worn and paraphrased;
    training on other memorised items and on clean text.

    Args:
        edit: see `damage.edited`. target: memorised sequences that it was to remove; those that the unedited model does
            not recite are left out.
        others: other memorised sequences, of which the first k, for each of `ks`, are trained on; they may be any that
            are disjoint from the target. clean: clean rows [n, length].
        twin: a model that never had the target: the paired control. foils: sequences that no model had: the control
            where there is no twin. One of them is needed.
        measure: "strict" or "loose". recipe, at, folder: of the relearning.

    Returns: the verdict; its `details` hold `before`, `after`, `stretch`, `stretch control`, `relearning` and, with a
        twin, `savings`.

    Raises: MemorizationError: no control, nothing recited, sets that overlap.
    """
    if twin is None and foils is None:
        raise MemorizationError(
            "twin and foils are None: an attack needs a control; give a model that never had the target, or sequences"
            " that no model had."
        )
    if twin is None and paraphrases:
        raise MemorizationError(
            "paraphrases of the target have no control among foils; give a twin that never had the target, or leave"
            " them out."
        )
    if twin is not None:
        causal(twin, "twin")
    if clean is not None:
        ids = rows_of(clean, "clean").ids
        require_readable(plain(model), int(ids.max()), ids.shape[1], MemorizationError, "clean")
    before = extract(model, target, progress=progress)
    if not before[measure].values.any():
        raise MemorizationError(
            "target: the unedited model recites none of it, so there is nothing to hide or erase; choose sequences that"
            " it recites (see extract)."
        )
    recited = before[measure].values
    target, before = target.subset(recited), before.isel(sequence=np.flatnonzero(recited))
    paraphrases = {name: [p for p, k in zip(of, recited) if k] for name, of in (paraphrases or {}).items()}
    options = {"noise": noise, "seed": seed, "progress": progress}
    with edited(model, edit) as now:
        after = extract(now, target, progress=progress)
        stretched = stretch(now, target, paraphrases=paraphrases, **options)
        if twin is None:
            control = stretch(now, foils, **options)
    if twin is not None:
        control = stretch(twin, target, paraphrases=paraphrases, **options)
    details: dict[str, Any] = {"before": before, "after": after, "stretch": stretched, "stretch control": control}
    attacks = {}
    for name, chosen in (
        (
            "stretched prefixes",
            [v for v in stretched.variant.values if v.startswith(("longer", "shift", "shorter", "left"))],
        ),
        ("worn prefixes", [v for v in stretched.variant.values if v.startswith("noise")]),
        ("paraphrased prefixes", list(paraphrases)),
    ):
        shared = [v for v in chosen if v in control.variant.values]
        if shared:

            def best(ds):
                return ds[measure].sel(variant=shared).any("variant").values

            attacks[name] = Attack(best(stretched), best(control), twin is not None)
    arms: dict[str, Any] = (
        {}
        if others is None
        else {f"{k} others": others.subset(np.arange(k)) for k in sorted({min(k, len(others)) for k in ks})}
    )
    arms |= {} if clean is None else {"clean text": clean}
    if arms:
        details["relearning"] = trained = relearning(
            model,
            target,
            arms,
            edit=edit,
            twin=twin,
            foils=foils,
            recipe=recipe,
            at=at,
            folder=folder,
            progress=progress,
        )
        inside = trained.set.values == "target"
        for name in arms:
            # the most that any look found, in the model and in its control alike
            def most(kind, of, name=name):
                return np.nan_to_num(trained[measure].sel(model=kind, on=name).values[:, of]).max(0) == 1

            attacks[f"training on {name}"] = Attack(
                most("edited", inside),
                most("twin", inside) if twin is not None else most("edited", ~inside),
                twin is not None,
            )
        if twin is not None:
            details["savings"] = savings(trained, measure=measure, seed=seed)
    outcome = verdict(before[measure].values, after[measure].values, attacks, margin=margin, seed=seed)
    return replace(outcome, details=details)
