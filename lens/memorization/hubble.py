"""Hubble's items, put into a training so many times, and what they gained over the model that never saw them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import xarray as xr

from .. import records
from ..arguments import Count, HFModel, Name, Seed, Size, door
from ..engine.sessions import of_one_model
from ..notices import warn
from ..scoring.causal import plain
from ..tokens import tokenize, tokenizer_of
from .errors import MemorizationError, stamp
from .exposure import Part, _scores
from .sequences import Sequences

#: Columns of an item: its text, or its tokens; how often it was put in.
TEXT, TOKENS, DUPLICATES = "text", "tokens", "duplicates"


@door(MemorizationError)
def hubble_items(
    source: Any,
    model: Any = None,
    *,
    prefix: Count,
    suffix: Count,
    kind: Name | None = None,
    each: Count | None = None,
    seed: Seed = 0,
    start: Size | None = None,
) -> Sequences:
    """Items of one of Hubble's sets, with how often each was put into the training: its `duplicates`.

    Args:
        source: rows with `duplicates` and `text` or `tokens` (ids): a file (.jsonl, .json, .csv, .parquet), a frame, a
            `datasets.Dataset` or mappings; the splits "train" and "test" (0 times) one after the other.
        model: whose tokenizer reads texts; not needed for tokens.
        prefix, suffix: the first tokens of an item, given and to be recited; `start`: a token before them, one of the
            prefix. Shorter items are left out, and so are different items that begin with the same prefix + suffix
            tokens: training read those as often as all of these items together, which is no count of one of them. An
            item that is listed twice with one count is taken once. A warning says how many were left out.
        kind: of all, or the name of the column that says it (as "file"); None: "item".
        each: so many items of each count (and kind) at most, drawn with `seed`.

    Raises: MemorizationError: a column that is missing, an item in several forms (the same text under two counts), none
        that is long enough, or none that begins as no other does.

    Source: Wei et al. 2025, Hubble (counts 0, 1, 4, 16, 64, 256, drawn at random).
    """
    lead = [] if start is None else [start]
    size, rows = prefix + suffix, list(records.rows(source, MemorizationError, (DUPLICATES,)))
    if not rows:
        raise MemorizationError("source has no row; give the items of a set.")
    known: dict[tuple[int, ...], tuple[int, str, str]] = {}
    for number, row in enumerate(rows):
        one, count = (*lead, *_ids(row, model, number)), _count(row[DUPLICATES], number)
        about = str(row[kind]) if kind is not None and kind in row else kind or "item"
        before = known.setdefault(one, (count, about, str(row.get("item", number))))[0]
        if before != count:
            raise MemorizationError(
                f"source has one item with duplicates {before} and {count}; expected each item in one form, with the"
                " count that it was put in."
            )
    long = [one for one in known if len(one) >= size]
    if not long:
        raise MemorizationError(
            f"source: none of {len(rows)} items has prefix + suffix = {size} tokens; lower prefix or suffix."
        )
    alike = Counter(one[:size] for one in known)
    chosen = [one for one in long if alike[one[:size]] == 1]
    if len(chosen) < len(long):
        told = f"source: {len(long) - len(chosen)} of {len(long)} items begin with the same {size} tokens as another"
        if not chosen:
            raise MemorizationError(f"{told}; expected some that do not. Raise prefix or suffix.")
        warn(f"{told} and are left out: how often training read those is no count of one item.")
    ids = [one[:size] for one in chosen]
    counts, kinds, names = map(list, zip(*(known[one] for one in chosen)))
    if len(set(names)) < len(names):
        names = [f"{name}, row {i}" for i, name in enumerate(names)]
    whole = Sequences(np.array(ids), prefix, names, np.array(kinds), np.array(counts))
    if each is None:
        return whole
    order = np.random.default_rng(seed).permutation(len(whole))
    taken: dict[tuple[str, int], list[int]] = {}
    for i in order.tolist():
        cell = taken.setdefault((str(whole.kind[i]), int(counts[i])), [])
        if len(cell) < each:
            cell.append(i)
    return whole.subset(sorted(i for cell in taken.values() for i in cell))


def _ids(row: records.Row, model: Any, number: int) -> list[int]:
    if row.get(TOKENS) is not None:
        ids = row[TOKENS]
        try:
            return [int(i) for i in ids]
        except (TypeError, ValueError):
            raise MemorizationError(f"source, row {number}: tokens={str(ids)[:40]}; expected token ids.") from None
    if row.get(TEXT) is None:
        raise MemorizationError(f"source, row {number} has neither {TEXT!r} nor {TOKENS!r}; give one of them.")
    if model is None:
        raise MemorizationError("model is None, and source has texts; give the model whose tokenizer reads them.")
    return list(tokenize(tokenizer_of(model), str(row[TEXT])))


def _count(value: Any, number: int) -> int:
    try:
        count = int(value)
        if count < 0 or count != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise MemorizationError(
            f"source, row {number}: duplicates={value!r}; expected how often it was put in, a whole number from 0."
        ) from None
    return count


@door(MemorizationError)
@of_one_model(reads=False)
def gain_over_twin(model: HFModel, twin: HFModel, sequences: Sequences, *, part: Part = "suffix") -> xr.Dataset:
    """How much likelier each sequence is to a model than to its twin, which was trained alike and never saw it.

    Args:
        model: that may have seen them. twin: the standard model, of the same tokenizer. part: score the "suffix" after
            its prefix, or the "whole" sequence.

    Returns: over `sequence`: `gain` (nats a token: the twin's loss less the model's), `nll`, `nll_twin`; coordinates
        `name`, `kind`, and `duplicates` where known. `summary(result)` has means by count, `by_duplicates(model,
        sequences, reference=twin)` the AUC of each count against what was never put in.

    Raises: MemorizationError: models of different vocabularies, rows beyond a context.

    Source: Wei et al. 2025, Hubble (pairs of a standard and a perturbed model); the difference on one text takes out
        how easy it is to guess.
    """
    sizes = [int(plain(one).config.vocab_size) for one in (model, twin)]
    if sizes[0] != sizes[1]:
        raise MemorizationError(
            f"twin has {sizes[1]} tokens and model {sizes[0]}; expected the standard model of the same tokenizer."
        )
    own, other = (_scores(one, sequences, part).nll() for one in (model, twin))
    ds = xr.Dataset(
        {"gain": ("sequence", other - own), "nll": ("sequence", own), "nll_twin": ("sequence", other)},
        {"sequence": np.arange(len(sequences)), **sequences.coords()},
    )
    for value in ds.data_vars.values():
        value.attrs["units"] = "nats per token"
    return stamp(ds, model, plain(model), "gain_over_twin", {"sequences": sequences.about(), "part": part})
