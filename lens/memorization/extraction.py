"""How much of its sequences a model recites: greedy continuations of their prefixes, judged token by token; and a
search for text that it recites.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr

from ..arguments import Count, Filled, Fraction, HFModel, Seed, Share, Size, TokenRows, door, unfit
from ..engine.sessions import of_one_model
from .distances import leading, levenshtein, rouge_l
from .errors import Holds, MemorizationError, stamp, token_rows, whole
from .reading import Reader
from .sequences import Sequences
from .tables import summary

#: A recitation counts as loosely right where at least this share of it needs no edit. Merullo et al. 2025.
LOOSE = 0.75
MEASURES: tuple[str, ...] = ("strict", "loose", "lev", "exact_prefix", "rouge_l", "nll")


Extracted = Annotated[Any, Holds("extract", MEASURES)]


@door(MemorizationError)
@of_one_model(reads=False)
def extract(
    model: HFModel,
    sequences: Sequences,
    *,
    batch: Count = 64,
    max_new: Count | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Let the model continue each prefix greedily and compare with the suffix.

    Args:
        model: a plain Hugging Face causal model or a bridge, with an edit of its weights in force or not.
        batch: sequences that are written at once. max_new: tokens of the suffix to ask for; None: all. An end token
            ends nothing.

    Returns: over `sequence`: `strict` (no token differs), `loose` (1 - distance / length of at least 0.75), `lev`
        (token Levenshtein distance over the length), `exact_prefix` (tokens right from the start), `rouge_l`, `nll`
        (nats a token of the suffix, read after its prefix), `hits` (share of the suffix that is the most likely token
        when read); over `sequence, token`: `generated`, `gold` (ids). Coordinates `name`, `kind`, and `duplicates`
        where known.

    Raises: MemorizationError: tokens that the model does not have, rows beyond its context, a max_new beyond the
        suffix.

    Source: Carlini et al. 2021 and 2023 (extractable); Merullo et al. 2025, section 4 and appendix (strict, loose,
        average Levenshtein).
    """
    return _extract(Reader(model), model, sequences, batch, max_new, progress)


def _extract(
    reader: Reader,
    model: Any,
    sequences: Sequences,
    batch: int = 64,
    max_new: int | None = None,
    progress: bool | None = None,
    kind: str = "extraction",
    call: dict | None = None,
) -> xr.Dataset:
    count = sequences.suffix if max_new is None else whole(max_new, "max_new", 1)
    if count > sequences.suffix:
        raise MemorizationError(
            f"max_new={count}; the suffix has {sequences.suffix} tokens, and what comes after them has nothing to be"
            " compared with."
        )
    gold = sequences.suffixes[:, :count]
    values = judge(
        gold, *reader.recite(list(sequences.prefixes), gold, batch=whole(batch, "batch", 1), progress=progress)
    )
    written = values.pop("generated")
    ds = xr.Dataset(
        {
            **{name: ("sequence", value) for name, value in values.items()},
            "generated": (("sequence", "token"), written),
            "gold": (("sequence", "token"), gold),
        },
        {"sequence": np.arange(len(sequences)), **sequences.coords()},
    )
    ds["nll"].attrs["units"], ds["exact_prefix"].attrs["units"] = "nats per token", "tokens"
    return stamp(ds, model, reader.model, kind, {"sequences": sequences.about(), "max_new": count, **(call or {})})


def judge(gold: np.ndarray, generated: np.ndarray, logprob: np.ndarray, hits: np.ndarray) -> dict[str, np.ndarray]:
    """One value a sequence for each measure, from what `Reader.recite` gives."""
    size = gold.shape[1]
    distance, exact = levenshtein(generated, gold), leading(generated, gold)
    return {
        "strict": exact == size,
        "loose": 1 - distance / size >= LOOSE,
        "lev": distance / size,
        "exact_prefix": exact,
        "rouge_l": rouge_l(generated, gold),
        "nll": -logprob.astype(np.float64).mean(1),
        "hits": hits.mean(1),
        "generated": generated,
    }


@door(MemorizationError)
def extraction_summary(
    result: Extracted | Annotated[Sequence[Extracted], Filled()],
    by: Any = "duplicates",
    *,
    level: Share = 0.95,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
) -> xr.Dataset:
    """Recitation by group, such as the number of duplicates: `strict` and `loose` with Clopper-Pearson, the others with
    measured intervals; `mean` and `p` of `strict`. See `summary`, also for `cluster`.
    """
    return summary(result, by, variables=MEASURES, level=level, seed=seed, cluster=cluster)


@door(MemorizationError)
@of_one_model(reads=False)
def find_recited(
    model: HFModel,
    rows: TokenRows,
    prefix: Count,
    suffix: Count,
    *,
    stride: Count | None = None,
    start: Size | None = None,
    least: Fraction = 1.0,
    distinct: Size = 16,
    shared: Fraction = 0.2,
    names: Sequence[str] | None = None,
    progress: bool | None = None,
) -> tuple[Sequences | None, pd.DataFrame]:
    """Look for text that the model recites: windows of the rows of whose suffix every token is the most likely one,
    read after the window's prefix alone.

    Args:
        rows: token ids of texts, of any lengths. stride: tokens between windows (default: the suffix). start: a token
            before each window, counted as one of the prefix.
        least: share of the suffix that must be the most likely token; below 1 for a model that recites nothing whole.
            distinct: different tokens that a window must have at least (so that mere repetition does not count).
        shared: windows whose sets of 5-token runs overlap more than this (Jaccard) with those of one already taken are
            left out, so that one text counts once.

    Returns: the recited windows (None where there are none), and a table with one line a window of enough distinct
        tokens: `row`, `at`, `hits` (share of the suffix), `recited`, `taken`.

    Source: Merullo et al. 2025 (teacher-forced windows); Chang et al. 2024, Do Localization Methods Actually Localize
        Memorized Data in LLMs? (distinct tokens, 5-gram Jaccard).
    """
    whole(suffix, "suffix", 1)
    lead = [] if start is None else [whole(start, "start", 0)]
    inside = whole(prefix, "prefix", 1 + len(lead)) - len(lead) + suffix
    step = suffix if stride is None else whole(stride, "stride", 1)
    rows = token_rows(rows)
    if names is not None and len(names) != len(rows):
        raise MemorizationError(unfit("names", names, f"a name for each of the {len(rows)} rows"))
    windows = [
        (r, a, np.array([*lead, *row[a : a + inside]], np.int64))
        for r, row in enumerate(rows)
        for a in range(0, len(row) - inside + 1, step)
    ]
    windows = [w for w in windows if len(set(w[2].tolist())) >= min(distinct, inside)]
    if not windows:
        raise MemorizationError(
            f"rows hold no window of {inside} tokens with {distinct} distinct ones; give longer texts, or lower prefix,"
            " suffix or distinct."
        )
    reader = Reader(model)
    if start is not None and start >= reader.vocabulary:
        raise MemorizationError(unfit("start", start, f"one of the model's {reader.vocabulary} tokens"))
    reader.check([w[2] for w in windows], "rows")
    read = reader.read([w[2] for w in windows], [suffix] * len(windows), progress=progress)
    hits = np.array([(top[:, 0] == w[2][prefix:]).mean() for (_, top), w in zip(read, windows)])
    choice: list[int] = []
    grams = [{tuple(w[2][a : a + 5].tolist()) for a in range(len(w[2]) - 4)} for w in windows]
    for i in np.flatnonzero(hits >= least).tolist():
        if all(len(grams[i] & grams[j]) <= shared * len(grams[i] | grams[j]) for j in choice):
            choice.append(i)
    table = pd.DataFrame(
        {
            "row": [w[0] for w in windows],
            "at": [w[1] for w in windows],
            "hits": hits,
            "recited": hits >= least,
            "taken": np.isin(np.arange(len(windows)), choice),
        }
    )

    def called(w):
        return f"{w[0] if names is None else names[w[0]]}:{w[1]}"

    recited = (
        Sequences(
            np.stack([windows[i][2] for i in choice]), prefix, tuple(called(windows[i]) for i in choice), "natural"
        )
        if choice
        else None
    )
    return recited, table
