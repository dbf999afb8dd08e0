"""Recognition, recall and retention: does the model prefer what it saw, can it go on with it, and how fast is that lost
in further training?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from ..arguments import Count, FilePath, HFModel, Seed, Share, Size, TokenRows, door, unfit
from ..engine.sessions import of_one_model
from ..scoring.likelihood import plain
from ..stats import binomial_test, holm, sign_flip
from ..stats.units import unit_means
from ..training import Recipe
from .errors import Holds, MemorizationError, stamp, token_rows
from .exposure import losses
from .extraction import _extract
from .probing import Parameters, curve, recitation, refuse_held, rows_of
from .reading import Reader
from .sequences import Sequences, disjoint, names_of
from .tables import as_summary, over, units_of, with_mean

#: what decides which of a pair was seen, and what a foil is then worth
COIN = "a coin chose which of each pair was seen"


@door(MemorizationError)
@of_one_model(reads=False)
def recognition(
    model: HFModel,
    seen: Sequences,
    foils: Sequences | Mapping[str, Sequences],
    *,
    part: Literal["suffix", "whole"] = "whole",
) -> xr.Dataset:
    """Whether the model finds each seen sequence likelier than a foil paired with it: lower loss.

    Args:
        foils: for each seen sequence, in order, one that was not seen; several kinds of them by name (another sequence,
            a paraphrase, `scrambled` ...).
        part: the loss of the "whole" sequence from its second token on, or of the "suffix" after its prefix.

    Returns: over `foil, sequence`: `recognised`, `foil_loss`; over `foil`: `doubt`, why chance is not 0.5 for it (""
        where nothing shows it); over `sequence`: `loss`, nats a token. Chance is 0.5 if a coin decided which of a pair
        was seen: foils that were made of the sequences (`scrambled`) are told from them by what is likely as text,
        without any memory.

    Raises: MemorizationError: foils that are not as many as the seen, or that equal their partner.

    Source: Orhan 2023, Recognition, recall, and retention of few-shot memories in large language models.
    """
    kinds = {"foil": foils} if isinstance(foils, Sequences) else dict(foils)
    for name, of in kinds.items():
        if len(of) != len(seen):
            raise MemorizationError(
                f"foils {name!r} has {len(of)} sequences; expected one for each of the {len(seen)} seen, in their"
                " order."
            )
        if same := [n for n, a, b in zip(names_of(seen), seen.ids, of.ids) if np.array_equal(a, b)]:
            raise MemorizationError(
                f"foils {name!r} overlap with the seen: {', '.join(same[:8])} equal their partners."
            )
    own = losses(model, seen, part, "seen")
    other = np.stack([losses(model, of, part, "foils") for of in kinds.values()]) if kinds else np.empty((0, len(seen)))
    ds = xr.Dataset(
        {
            "recognised": (("foil", "sequence"), own < other),
            "foil_loss": (("foil", "sequence"), other),
            "loss": ("sequence", own),
            "doubt": ("foil", np.array([told_apart(seen, of) for of in kinds.values()], dtype=str)),
        },
        {"foil": list(kinds), "sequence": np.arange(len(seen)), **seen.coords()},
    )
    return stamp(
        ds,
        model,
        plain(model),
        "recognition",
        {"seen": seen.about(), "foils": {n: f.about() for n, f in kinds.items()}, "part": part},
    )


@door(MemorizationError)
def recognition_summary(
    result: Annotated[Any, Holds("recognition", ("recognised",), ("foil", "sequence"))],
    *,
    level: Share = 0.95,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | Mapping[str, Any] | None = "auto",
) -> xr.Dataset:
    """Over `foil` (the kinds of them): share recognised (also as `mean`) with its Clopper-Pearson interval, and the
    binomial p against 0.5, one-sided, with `holm` over kinds.

    `p_kind` says what p is worth: exact if a coin chose which of each pair was seen; approximate, without a `chance`,
    for foils that are told from the sequences without any memory, and why. Those count in Holm's family, and have no
    `holm` of their own.

    `cluster`: "auto": sequences that are equal or share a coordinate named scene, entity, memory, duplicate or seed are
    one unit; None: each; a coordinate; or a label for each sequence. Where units are of several sequences their shares
    are averaged: the interval is that of a mean, and p is of sign flips of whole units (all of them, or Monte Carlo),
    which is right too
    where one coin was thrown for all pairs of a unit. `n`: units; `units`: in words, what counted as one.

    Raises: MemorizationError: a cluster that is not there. StatisticsError: labels that do not fit.
    """
    lines = []
    units, notes = units_of(result, cluster, {"sequence": "sequences"})
    of = units["sequence"]
    for foil in result.foil.values:
        right = result.recognised.sel(foil=foil).values.astype(bool)
        rate = over(right, of, level, seed)
        if of is None:
            p, kind = float(binomial_test(int(right.sum()), len(right), 0.5, alternative="greater")), f"exact if {COIN}"
        else:
            # as a column: the coin makes signs symmetric, however skewed what is recognised may look
            test = sign_flip(unit_means(2.0 * right - 1, of)[0][:, None], alternative="greater", seed=seed)
            p, kind = float(test.p[0]), f"{test.kind} if {COIN}, or which pairs of each unit were"
        doubt = str(result.doubt.sel(foil=foil).item()) if "doubt" in result else ""
        lines.append(
            {
                "foil": str(foil),
                "recognised": rate.estimate,
                "low": rate.low,
                "high": rate.high,
                "n": int(rate.n),
                "chance": np.nan if doubt else 0.5,
                "p": p,
                "p_kind": f"approximate: {doubt}" if doubt else kind,
                "interval_kind": str(rate.kind),
                "units": notes["sequence"],
            }
        )
    table = pd.DataFrame(lines)
    sound = ~table.p_kind.str.startswith("approximate").to_numpy()
    table.insert(7, "holm", np.where(sound, holm(np.where(sound, table.p.to_numpy(), 1.0)), np.nan))
    table = with_mean(table, "recognised")
    return as_summary(table, {"foil": table.pop("foil")}, result, level=level, seed=seed)


def told_apart(seen: Sequences, foils: Sequences, level: float = 1e-3) -> str:
    """Why pairs of seen and foil can be told apart without any memory, in a few words; "" where nothing shows it.

    Foils that were made of the sequences are named by what made them. Others are looked at by two cheap features, each
    a sign test over pairs (both together at `level`): how many of a sequence's neighbouring tokens are neighbours in
    the other pairs' sequences too, and how many different tokens it has. If a coin chose which of a pair was seen,
    neither can go one way.
    """
    if foils.made:
        return f"foils were made of the sequences ({foils.made}), and text is told from such without memory"
    if len(foils) > 1 and {row.tobytes() for row in foils.suffixes} == {row.tobytes() for row in seen.suffixes}:
        return "foils have the sequences' own suffixes, swapped, and text is told from such without memory"
    if (np.sort(foils.ids, axis=1) == np.sort(seen.ids, axis=1)).all():
        return "foils have the sequences' own tokens in another order, and text is told from such without memory"
    grams = [[set(zip(row[:-1].tolist(), row[1:].tolist())) for row in of.ids] for of in (seen, foils)]
    pairs = [a | b for a, b in zip(*grams)]
    count: dict[tuple[int, int], int] = {}
    for pair in pairs:
        for gram in pair:
            count[gram] = count.get(gram, 0) + 1
    shared = np.array(
        [[sum(count[g] > 1 for g in gram) / len(gram) for gram in of] for of in grams]
    )  # its own pair counts once
    distinct = np.array([[len(set(row.tolist())) for row in of.ids] for of in (seen, foils)])
    for what, (ours, theirs) in (
        ("neighbouring tokens that other sequences have too", shared),
        ("different tokens", distinct),
    ):
        more, less = int((ours > theirs).sum()), int((ours < theirs).sum())
        if more + less and 2 * float(binomial_test(more, more + less)) <= level:
            return (
                f"foils are told from the sequences by {what} ({max(more, less)} of {more + less} pairs one way),"
                " without memory"
            )
    return ""


@door(MemorizationError)
def scrambled(
    sequences: Sequences, how: Literal["shuffled", "random", "swapped"] = "shuffled", *, seed: Seed = 0
) -> Sequences:
    """Foils made of the sequences: the suffix in another order ("shuffled"), random tokens that occur in the set in its
    place ("random"), or the next sequence's suffix ("swapped"). Text is told from them without any memory:
    `recognition_summary` calls their p approximate.

    Raises MemorizationError: an unknown way; one sequence, for "swapped".
    """
    rng, ids = np.random.default_rng(seed), sequences.ids.copy()
    tail = ids[:, sequences.prefix :]
    if how == "shuffled":
        tail[:] = rng.permuted(tail, axis=1)
    elif how == "random":
        tail[:] = rng.choice(np.unique(sequences.ids), tail.shape)
    elif how == "swapped" and len(sequences) > 1:
        tail[:] = np.roll(tail, 1, 0)
    else:
        raise MemorizationError(
            f"how={how!r} of {len(sequences)} sequences; expected 'shuffled', 'random', or 'swapped' (of at least two)."
        )
    return Sequences(
        ids, sequences.prefix, tuple(f"{n} {how}" for n in sequences.names), sequences.kind, made=f"scrambled, {how}"
    )


@door(MemorizationError)
@of_one_model(reads=False)
def recall(model: HFModel, sequences: Sequences, *, given: Count | None = None, batch: Count = 64) -> xr.Dataset:
    """As `extract` with the first half of each sequence given (or `given` tokens), the rest recited; Orhan 2023 judges
    by ROUGE: `rouge_l`.
    """
    if given is not None and given >= sequences.length:
        raise MemorizationError(unfit("given", given, f"fewer than the {sequences.length} tokens of a sequence"))
    return _extract(
        Reader(model), model, sequences.cut(sequences.length // 2 if given is None else given), batch, kind="recall"
    )


@door(MemorizationError)
def retention(
    model: HFModel,
    sequences: Sequences,
    rows: Any,
    recipe: Recipe,
    *,
    foils: Sequences | None = None,
    at: Sequence[Size] | None = None,
    texts: TokenRows | None = None,
    parameters: Parameters = None,
    folder: FilePath | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """How recitation and recognition go down while a copy of the model is trained on other text. The model itself is
    left as it is.

    Args:
        rows: the other text: ids [n, length], Sequences or Rows; must not hold the sequences. recipe: of the training.
        foils: one unseen partner for each sequence, for recognition, and the control of recitation. at: finished steps
            to look at (default 0, 1, 2, 5, 10, ...).
        texts: held-out rows [n, length], whose loss is measured along. folder: checkpoints, from which the same call
            goes on.

    Returns: over `step, sequence`: `strict`, `loose`, `lev`, `exact_prefix`, `nll`; with foils `recognised` (suffix
        loss below the partner's) and `foil_strict`, `foil_nll`; with texts `clean_loss` over `step, text`. The
        training's `status`.

    Raises: MemorizationError: rows that hold a sequence, sets that overlap. TrainingError.

    Source: Orhan 2023 (retention by updates of continued training).
    """
    data = rows_of(rows)
    refuse_held(sequences, data, "rows")
    every = {"": sequences} | ({"foil_": foils} if foils is not None else {})
    if foils is not None:
        disjoint(sequences=sequences, foils=foils)
        if len(foils) != len(sequences):
            raise MemorizationError(
                f"foils has {len(foils)} sequences; expected one for each of {len(sequences)}, in their order."
            )
    probes = {lead: recitation(of) for lead, of in every.items()}
    clean = None if texts is None else token_rows(texts)

    if clean is not None:
        if not clean or min(map(len, clean)) < 2:
            raise MemorizationError(unfit("texts", texts, "at least one row, each of at least 2 tokens"))
        Reader(model).check(clean, "texts")

    def probe(copy: Any) -> dict[str, np.ndarray]:
        values = {
            lead + name: value
            for lead, p in probes.items()
            for name, value in p(copy).items()
            if not lead or name in ("strict", "nll")
        }
        if clean is not None:
            values["clean_loss"] = np.array(
                [-read[0].mean() for read in Reader(copy).read(clean, [len(t) - 1 for t in clean], progress=False)]
            )
        return values

    history = curve(model, data, recipe, probe, at, parameters=parameters, folder=folder, progress=progress)
    values = {
        name: (("step", "text" if name == "clean_loss" else "sequence"), value)
        for name, value in history.values.items()
    }
    ds = xr.Dataset(
        values, {"step": history.steps, "sequence": np.arange(len(sequences)), **sequences.coords()}
    ).assign(status=history.trained.status)
    if foils is not None:
        ds["recognised"] = ds["nll"] < ds["foil_nll"]
    call = {
        "sequences": sequences.about(),
        "rows": data.sha256(),
        "recipe": recipe.sha256(),
        "foils": foils.about() if foils is not None else None,
        "at": ds.step.values.tolist(),
    }
    return stamp(ds, model, plain(model), "retention", call, recipe.seed)
