"""SmolLM2 in the memory-subspace study: how much well-known text it recites (too little to edit), and planted sequences
cut out of a copy as a demonstration.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ... import memorization as mem
from ... import subspace
from ...engine.linear import linears
from ...memorization.known_texts import KNOWN
from ...memorization.probing import rows_of
from ...memorization.reading import Reader
from ...scoring.likelihood import plain
from ...stats import proportion
from ...tokens import tokenize, tokenizer_of
from ...training import Recipe, train
from ..errors import ReproduceError

PREFIX, SUFFIXES, STRIDE = 24, (4, 8, 12), 6
#: The demonstration: made-up passages, the blocks whose feed-forward weights are trained, and how many tokens of a
#: passage are given.
BLOCKS, GIVEN = (10, 14, 18), 12
PASSAGES = (
    (
        "Old Maru keeps nine copper lanterns behind the ferry house, one for each brother who rowed north and never"
        " wrote home again, and she oils their hinges every second Thursday."
    ),
    (
        "The inspector of clocks in Velden wears two odd gloves, green for the hours and grey for the minutes, and"
        " nobody has dared to ask him what he wears for seconds."
    ),
    (
        "Before the flood the bakers of Tarn stacked their loaves on the church wall, and the gulls that came for the"
        " crumbs learned to ring the smallest bell with their beaks."
    ),
    (
        "Seven maps of the salt mine hang in the barber's shop at Quill, and each of them shows a different door where"
        " the blind pony is said to have found daylight."
    ),
    (
        "When Ysolde sold the orchard she kept one plum tree in a barrel on the roof, where it bore blue fruit that"
        " tasted of smoke and of somebody else's birthday."
    ),
    (
        "The third night watchman of Harrow Dock counts the moored barges in Latin, forgets the number on purpose, and"
        " writes down the price of rope in its place."
    ),
    (
        "A tin box under the stairs holds my uncle's collection of bus tickets, sorted by the weather of the day, with"
        " a pressed violet between the fog and the hail."
    ),
    (
        "Every spring the mayor of Lower Pell is weighed against a sack of walnuts, and whatever the nuts are short of"
        " him the council must spend on violins."
    ),
)


def recitation(model: Any, suffixes: Sequence[int] = SUFFIXES, stride: int = STRIDE) -> pd.DataFrame:
    """Windows of the well-known texts, a start token in front and 24 tokens given: of how many the next tokens are all
    right (greedy), by text and number of tokens.

    A greedy continuation has them all right exactly where each is the likeliest after the true ones, so one reading
    serves every length.
    """
    tokenizer, start = tokenizer_of(model), 0
    windows, names = [], []
    for name, (_, text) in KNOWN.items():
        ids = tokenize(tokenizer, text)
        for at in range(0, len(ids) - PREFIX - max(suffixes) + 1, stride):
            windows.append([start, *ids[at : at + PREFIX + max(suffixes)]])
            names.append(name)
    if not windows:
        raise ReproduceError("recitation: no text is long enough for a window; lower PREFIX or the suffixes")
    rows = np.array(windows)
    reader = Reader(model)
    reader.check(list(rows), "windows")
    hits = (
        np.stack([top[:, 0] for _, top in reader.read(list(rows), [max(suffixes)] * len(rows), progress=False)])
        == rows[:, 1 + PREFIX :]
    )
    right = np.cumprod(hits, axis=1).sum(1)
    lines = []
    for text in ["all", *dict.fromkeys(names)]:
        inside = np.array([text in ("all", n) for n in names])
        for length in suffixes:
            share = proportion(int((right[inside] >= length).sum()), int(inside.sum()))
            lines.append(
                {
                    "text": text,
                    "suffix": length,
                    "recited": int((right[inside] >= length).sum()),
                    "n": int(inside.sum()),
                    "share": share.estimate,
                    "low": share.low,
                    "high": share.high,
                    "token_accuracy": float(hits[inside].mean()),
                    "most": int(right[inside].max()),
                }
            )
    return pd.DataFrame(lines)


def demonstration(
    model: Any, doses: Sequence[float] = (0.005, 0.01, 0.04), steps: int = 50, texts: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Made-up passages trained into the feed-forward weights of three blocks of a copy, and cut out again with the
    corrected and the published contrast.

    Returns lines by method and dose: strict and loose recitation of the passages, mean loss of well-known text (nats a
    token), density. A demonstration: one copy, eight passages, memory in known layers.
    """
    clone, tokenizer = copy.deepcopy(plain(model)), tokenizer_of(model)
    rows = [[0, *tokenize(tokenizer, text)] for text in PASSAGES]
    size = min(map(len, rows))
    sequences = mem.Sequences(np.array([row[:size] for row in rows]), 1 + GIVEN, kind="planted")
    patterns = [f"model.layers.{block}.mlp.*" for block in BLOCKS]
    names = {f"{name}.weight" for name in linears(clone, patterns)}

    def weights(name):
        return name in names

    train(
        clone,
        rows_of(sequences),
        Recipe(steps=steps, batch=len(rows), learning_rate=4e-4, weight_decay=0.0, schedule="constant", seed=seed),
        parameters=weights,
        progress=False,
    )
    clone.eval().requires_grad_(False)
    known = [[0, *tokenize(tokenizer, text)][:size] for _, text in KNOWN.values()]
    known = [row for row in known if len(row) == size]
    held, reference = np.array(known[:texts]), mem.Sequences(np.array(known[texts:]), 1 + GIVEN, kind="known")

    def stats(of):
        return subspace.statistics(
            clone, [f"model.layers.{block}.mlp.down_proj" for block in BLOCKS], of, part="suffix", progress=False
        )

    mine, theirs = stats(sequences), stats(reference)
    scores = {
        "corrected": subspace.corrected(clone, mine, theirs, margin=1.0),
        "contrast": subspace.contrast(clone, mine, theirs),
    }
    before = mem.performance(clone, held, copying=0, heads=False, progress=False)
    lines = [
        _line("unplanted", 0.0, 0.0, model, sequences, held),
        _line("planted", 0.0, 0.0, clone, sequences, held, before),
    ]
    for method, score in scores.items():
        for dose in doses:
            mask = score.mask(dose)
            if mask.count:
                with mask.applied(clone):
                    lines.append(_line(method, dose, mask.density, clone, sequences, held))
    return pd.DataFrame(lines)


def _line(
    method: str,
    dose: float,
    density: float,
    model: nn.Module,
    sequences: mem.Sequences,
    held: np.ndarray,
    cost: Any = None,
) -> dict[str, Any]:
    ds = mem.extract(model, sequences, progress=False)
    cost = mem.performance(model, held, copying=0, heads=False, progress=False) if cost is None else cost
    strict = proportion(int(ds.strict.sum()), len(sequences))
    return {
        "method": method,
        "dose": dose,
        "density": density,
        "strict": strict.estimate,
        "low": strict.low,
        "high": strict.high,
        "loose": float(ds.loose.mean()),
        "lev": float(ds.lev.mean()),
        "loss": float(cost.nll.sum() / cost.tokens.sum()),
        "n": len(sequences),
        "texts": len(held),
        "length": sequences.length,
    }
