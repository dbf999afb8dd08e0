"""Recognition, recall and retention: does the model prefer what it saw, can it go on with it, and how fast is that lost in further training?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..measure.likelihood import plain
from ..measure.statistics import binomial_test, holm, proportion
from ..training import Recipe
from .errors import MemorizationError, stamped
from .exposure import losses
from .extraction import _extract
from .probing import curve, recitation, refuse_held, rows_of
from .reading import Reader
from .sequences import Sequences, disjoint


def recognition(model: Any, seen: Sequences, foils: Sequences | Mapping[str, Sequences], *, part: str = "whole") -> xr.Dataset:
    """Whether the model finds each seen sequence likelier than a foil paired with it: lower loss.

    Args:
        foils: for each seen sequence, in order, one that was not seen; several kinds of them by name (another sequence, a paraphrase, `scrambled` ...).
        part: the loss of the "whole" sequence from its second token on, or of the "suffix" after its prefix.

    Returns: over `foil, sequence`: `recognised`, `foil_loss`; over `sequence`: `loss`, nats a token. Chance is 0.5 where a coin decided which of a pair was seen.

    Raises: MemorizationError: foils that are not as many as the seen, or that equal their partner.

    Source: Orhan 2023, Recognition, recall, and retention of few-shot memories in large language models.
    """
    named = {"foil": foils} if isinstance(foils, Sequences) else dict(foils)
    for name, of in named.items():
        if len(of) != len(seen):
            raise MemorizationError(f"foils {name!r} has {len(of)} sequences; expected one for each of the {len(seen)} seen, in their order.")
        if same := [seen.names[i] for i in range(len(seen)) if np.array_equal(seen.ids[i], of.ids[i])]:
            raise MemorizationError(f"foils {name!r} overlap with the seen: {', '.join(same[:8])} equal their partners.")
    own = losses(model, seen, part)
    other = np.stack([losses(model, of, part) for of in named.values()]) if named else np.empty((0, len(seen)))
    ds = xr.Dataset({"recognised": (("foil", "sequence"), own < other), "foil_loss": (("foil", "sequence"), other), "loss": ("sequence", own)},
                    {"foil": list(named), "sequence": np.arange(len(seen)), **seen.coords()})
    return stamped(ds, model, plain(model), "recognition", {"seen": seen.about(), "foils": {n: f.about() for n, f in named.items()}, "part": part})


def recognition_summary(result: xr.Dataset, *, level: float = 0.95) -> pd.DataFrame:
    """One line a kind of foil: share recognised with its Clopper-Pearson interval, and the exact binomial p against 0.5, one-sided, Holm over kinds."""
    lines = []
    for foil in result.foil.values:
        right = result.recognised.sel(foil=foil).values
        rate = proportion(int(right.sum()), len(right), level)
        lines.append({"foil": str(foil), "recognised": rate.estimate, "low": rate.low, "high": rate.high, "n": len(right), "chance": 0.5,
                      "p": float(binomial_test(int(right.sum()), len(right), 0.5, alternative="greater"))})  # fmt: skip
    return pd.DataFrame(lines).assign(holm=lambda t: holm(t.p.to_numpy()), p_kind="exact")


def scrambled(sequences: Sequences, how: str = "shuffled", *, seed: int = 0) -> Sequences:
    """Foils made of the sequences: the suffix in another order ("shuffled"), random tokens that occur in the set in its place ("random"), or the next sequence's suffix
    ("swapped").

    Raises MemorizationError: an unknown way; one sequence, for "swapped".
    """
    rng, ids = np.random.default_rng(seed), sequences.ids.copy()
    tail = ids[:, sequences.prefix:]
    if how == "shuffled":
        tail[:] = rng.permuted(tail, axis=1)
    elif how == "random":
        tail[:] = rng.choice(np.unique(sequences.ids), tail.shape)
    elif how == "swapped" and len(sequences) > 1:
        tail[:] = np.roll(tail, 1, 0)
    else:
        raise MemorizationError(f"how={how!r} of {len(sequences)} sequences; expected 'shuffled', 'random', or 'swapped' (of at least two).")
    return Sequences(ids, sequences.prefix, tuple(f"{n} {how}" for n in sequences.names), sequences.kind)


def recall(model: Any, sequences: Sequences, *, given: int | None = None, batch: int = 64) -> xr.Dataset:
    """As `extract` with the first half of each sequence given (or `given` tokens), the rest recited; Orhan 2023 judges by ROUGE: `rouge_l`."""
    return _extract(Reader(model), model, sequences.cut(sequences.length // 2 if given is None else given), batch, kind="recall")


def retention(model: Any, sequences: Sequences, rows: Any, recipe: Recipe, *, foils: Sequences | None = None, at: Sequence[int] | None = None, texts: Any = None,
              parameters: Any = None, folder: str | Path | None = None, progress: bool | None = None) -> xr.Dataset:  # fmt: skip
    """How recitation and recognition go down while a copy of the model is trained on other text. The model itself is left as it is.

    Args:
        rows: the other text: ids [n, length], Sequences or Rows; must not hold the sequences. recipe: of the training.
        foils: one unseen partner for each sequence, for recognition, and the control of recitation. at: finished steps to look at (default 0, 1, 2, 5, 10, ...).
        texts: held-out rows [n, length], whose loss is measured along. folder: checkpoints, from which the same call goes on.

    Returns: over `step, sequence`: `strict`, `loose`, `lev`, `exact_prefix`, `nll`; with foils `recognised` (suffix loss below the partner's) and `foil_strict`,
        `foil_nll`; with texts
        `clean_loss` over `step, text`. The training's `status`.

    Raises: MemorizationError: rows that hold a sequence, sets that overlap. TrainingError.

    Source: Orhan 2023 (retention by updates of continued training).
    """
    data = rows_of(rows)
    refuse_held(sequences, data, "rows")
    every = {"": sequences} | ({"foil_": foils} if foils is not None else {})
    if foils is not None:
        disjoint(sequences=sequences, foils=foils)
        if len(foils) != len(sequences):
            raise MemorizationError(f"foils has {len(foils)} sequences; expected one for each of {len(sequences)}, in their order.")
    probes = {lead: recitation(of) for lead, of in every.items()}
    clean = None if texts is None else [np.asarray(t, np.int64) for t in texts]

    def probe(made: Any) -> dict[str, np.ndarray]:
        values = {lead + name: value for lead, p in probes.items() for name, value in p(made).items() if not lead or name in ("strict", "nll")}
        if clean is not None:
            values["clean_loss"] = np.array([-read[0].mean() for read in Reader(made).read(clean, [len(t) - 1 for t in clean], progress=False)])
        return values

    found = curve(model, data, recipe, probe, at, parameters=parameters, folder=folder, progress=progress)
    values = {name: (("step", "text" if name == "clean_loss" else "sequence"), value) for name, value in found.values.items()}
    ds = xr.Dataset(values, {"step": found.steps, "sequence": np.arange(len(sequences)), **sequences.coords()}).assign(status=found.trained.status)
    if foils is not None:
        ds["recognised"] = ds["nll"] < ds["foil_nll"]
    call = {"sequences": sequences.about(), "rows": data.sha256(), "recipe": recipe.sha256(),
            "foils": foils.about() if foils is not None else None, "at": ds.step.values.tolist()}  # fmt: skip
    return stamped(ds, model, plain(model), "retention", call, recipe.seed)
