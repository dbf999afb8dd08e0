"""Which of two lists of words a state leans to, by layer: published scores, and one without their faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..arguments import Count, HFModel, Seed, door, shown
from ..arguments.kinds import is_sequence
from ..engine.memory import budget
from ..engine.model import Model
from ..engine.pieces import batches_of, run_bytes
from ..engine.sessions import of_one_model
from ..results import dataset as results
from ..tokens import token_strings, tokenize, tokenizer_of
from .reading import Prompt, Reading, ReadoutError, read_prompts, record

SCORES = ("DSS", "DSS as coded", "CAS", "CAS as coded", "contrast")
#: Marker -> the score that it is read off.
MARKERS = {
    "DSS onset": "DSS",
    "DSS inversion": "DSS",
    "DSS commitment": "DSS",
    "DSS as coded commitment": "DSS as coded",
    "CAS inversion": "CAS",
    "CAS commitment": "CAS",
    "CAS as coded inversion": "CAS as coded",
    "CAS as coded commitment": "CAS as coded",
    "contrast commitment": "contrast",
}
#: Published thresholds: of DSS onset and inversion, of CAS inversion and commitment, and layers in a row of the last.
ONSET, INVERSION, CAS_INVERSION, CAS_COMMITMENT, IN_A_ROW = 0.6, 0.5, 0.8, 0.5, 3
#: Ids around a word's own among which random words are drawn; of a byte-pair vocabulary they are about as frequent.
NEARBY = 2000


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def alignment(
    model: HFModel,
    prompts: Prompt | Sequence[Prompt],
    words: Any,
    *,
    pieces: Literal["mean"] | None = None,
    draws: Count = 20,
    seed: Seed = 0,
) -> xr.Dataset:
    """How far the last token's state leans to one of two lists of words, after each layer, and the layers at which the
    published markers of commitment say that it is settled.

    Args:
        prompts: text or pairs, whose ``clean`` is read.
        words: for each prompt two lists of words: those of the context's reading, and those of the other one.
        pieces: what is done with a word of several tokens: refused (None), or the mean of their embeddings.
        draws: random lists of equal length, of tokens near each word in the vocabulary.

    Returns: over ``prompt``, ``score`` and ``layer`` (0 to ``n_layers``, behind the last block) ``value``:

        - "DSS" (Distributional Semantics Strength, as stated): the sum of ``|correlation|`` between the states of
          successive words of a list, over that sum of both lists; a word's state is that of its first place in the
          prompt, else of the word by itself. NaN with lists of one word.
        - "DSS as coded": the same of the first prompt's lists, whatever the prompt is: the authors' guide sets two
          pathways by hand for all of its prompts. No file of theirs computes either.
        - "CAS" (Contextual Alignment Score, as stated): the sum over the first list of ``|cos|`` of state and
          embedding, over that sum of both lists.
        - "CAS as coded": the same, of the words in lower case and without the space before them, which are other
          tokens (the mean of their embeddings where they are several).
        - "contrast": the repaired one: mean cosine to the unembeddings of the first list less that to the other's,
          behind the final norm: signed, and whatever the lists' lengths. Its marker is the last change of sign.

        ``random`` (mean of the same score with random lists, of CAS and contrast) and ``z``; ``share``, what CAS is by
        the lists' lengths alone; over ``marker`` ``settled``, its layer, NaN where it is never reached; ``respelled``,
        how many words are another token as coded.

    Raises: ReadoutError: lists that are none, empty, or one inside the other; a word of several tokens.

    Source: arXiv 2510.06107 (abstract) and its authors' guide, thresholds .6 and .5 of DSS, .8 and .5 of CAS; the code
        of github.com/gagan3012/ltr. At the last layer CAS is a reading of the answer's logits, and "inversion" of CAS
        begins below .8 where half of the words are on each side by chance.
    """
    single, readings = read_prompts(model, prompts)
    lists = [words] if single else words
    if not is_sequence(lists) or len(lists) != len(readings):
        raise ReadoutError(f"words={shown(words)}; expected two lists of words for each of {len(readings)} prompts.")
    view, tokenizer = Model.of(model), tokenizer_of(model)
    chosen = [_Lists.of(tokenizer, of, i, pieces) for i, of in enumerate(lists)]
    last, named = _states(view, readings, [[*of.ids, *chosen[0].ids] for of in chosen])
    generator = torch.Generator().manual_seed(seed)
    # what a state is compared with: rows of the table that words are read with, and of the one that they are written by
    read, written = view.embeddings(), view.unembedding()
    shape = len(readings), len(SCORES), view.n_layers + 1
    value, random, spread = (np.full(shape, np.nan) for _ in range(3))
    for i, (state, of) in enumerate(zip(last, chosen)):
        normed = torch.stack([view.norm(h[None])[0] for h in state]) if view.norm is not None else state
        ours = len(of.ids)
        value[i, 0], value[i, 1] = _pathways(named[i][:ours], of.sizes), _pathways(named[i][ours:], chosen[0].sizes)
        for kind, at, table, spelled in (
            ("CAS", state, read, of.ids),
            ("CAS as coded", state, read, of.coded),
            ("contrast", normed, written, of.ids),
        ):
            k = SCORES.index(kind)
            value[i, k] = _score(kind, _cosines(at.float(), _rows(table, spelled)), of.sizes)
            if kind != "CAS as coded":
                drawn = torch.stack([nearby(ids[0], len(table), draws, generator) for ids in of.ids], -1)
                rows = table[drawn.to(table.device)].float()
                each = np.stack([_score(kind, _cosines(at.float(), row), of.sizes) for row in rows])
                random[i, k], spread[i, k] = each.mean(0), each.std(0, ddof=1) if draws > 1 else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (value - random) / spread
    marks = np.stack([settled(of) for of in value])
    dims = ("prompt", "score", "layer")
    ds = xr.Dataset(
        {
            "value": (dims, value),
            "random": (dims, random),
            "z": (dims, z),
            "share": ("prompt", np.array([of.sizes[0] / sum(of.sizes) for of in chosen])),
            "settled": (("prompt", "marker"), marks, {"units": "layer"}),
            "respelled": ("prompt", np.array([of.respelled for of in chosen])),
        },
        {
            "prompt": np.arange(len(readings)),
            "score": list(SCORES),
            "layer": np.arange(view.n_layers + 1),
            "marker": list(MARKERS),
            "label": ("prompt", np.array([r.label for r in readings], dtype=str)),
        },
    )
    call = {"words": [[list(a), list(b)] for a, b in lists], "pieces": pieces, "draws": draws, "seed": seed}
    return results.stamp(
        ds.isel(prompt=0, drop=True) if single else ds, record(model, view, "alignment", call, readings)
    )


def settled(value: np.ndarray) -> np.ndarray:
    """The layers of `MARKERS`, of scores ``[score, layer]``."""
    dss, coded, *cas, contrast = list(value)
    out = [_first(dss < ONSET), _first(dss < INVERSION), _lowest(dss), _lowest(coded)]
    for one in cas:
        below = np.asarray(one < CAS_COMMITMENT)
        row = np.lib.stride_tricks.sliding_window_view(below, min(IN_A_ROW, len(below))).all(-1)
        out += [_first(one < CAS_INVERSION), _first(row)]
    changes = np.flatnonzero(np.diff(np.sign(contrast)) != 0)
    return np.array([*out, float(changes[-1] + 1) if len(changes) else 0.0])


def _lowest(score: np.ndarray) -> float:
    return np.nan if np.isnan(score).all() else float(np.nanargmin(score))


def _first(there: Any) -> float:
    there = np.asarray(there)
    return float(there.argmax()) if there.any() else np.nan


@dataclass(frozen=True)
class _Lists:
    """Two lists of words, one after the other. Attributes: ids: the tokens of each, as text has it; coded: as the code
    looks it up. sizes: of the lists.
    """

    ids: list[list[int]]
    coded: list[list[int]]
    sizes: tuple[int, int]

    @property
    def respelled(self) -> int:
        return sum(a != b for a, b in zip(self.ids, self.coded))

    @classmethod
    def of(cls, tokenizer: Any, given: Any, number: int, pieces: str | None) -> _Lists:
        name = f"words[{number}]"
        if not is_sequence(given) or len(given) != 2 or not all(is_sequence(one) for one in given):
            raise ReadoutError(f"{name}={shown(given)}; expected two lists of words, of the context and of the other.")
        for one in given:
            if not len(one) or not all(isinstance(word, str) and word.strip() for word in one):
                raise ReadoutError(f"{name}={shown(given)}: a list is empty or holds what is no word; give text.")
        first, other = ({word.strip() for word in one} for one in given)
        if first <= other or other <= first:
            raise ReadoutError(f"{name}: one list is inside the other, so that no state could lean to it alone.")
        ids, coded = [], []
        for word in (*given[0], *given[1]):
            spelled = tokenize(tokenizer, f" {word.strip()}")
            if len(spelled) > 1 and pieces is None:
                raise ReadoutError(
                    f"{name}: {word!r} is {len(spelled)} tokens, {list(token_strings(tokenizer, spelled))}, of which"
                    " the first would decide; take a word of one token, or pieces='mean'."
                )
            ids.append(spelled)
            coded.append(tokenize(tokenizer, word.strip().lower()) or spelled)
        return cls(ids, coded, (len(given[0]), len(given[1])))


def _states(
    view: Model, readings: Sequence[Reading], words: Sequence[Sequence[Sequence[int]]]
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Of each prompt the last token's streams ``[layer, d_model]``, and those of some words, by their tokens."""
    alone: dict[tuple[int, ...], int] = {}
    for reading, of in zip(readings, words):
        for ids in of:
            if _place(reading, ids) is None:
                alone.setdefault(tuple(ids), len(readings) + len(alone))
    texts = [*(reading.ids for reading in readings), *(torch.tensor(ids) for ids in alone)]
    states: list[Any] = [None] * len(texts)
    wanted: list[list[int]] = [[len(text) - 1] for text in texts]
    for i, (reading, of) in enumerate(zip(readings, words)):
        wanted[i] += [at for ids in of if (at := _place(reading, ids)) is not None]
    for batch in batches_of([run_bytes(view, len(text), ()) for text in texts], budget(view).runs):
        runs = view.record([texts[i].to(view.device) for i in batch], keep=())
        for k, i in enumerate(batch):
            at = torch.tensor(wanted[i], device=view.device) + runs.starts[k]
            states[i] = torch.stack([x[at] for x in runs.resid])
    last = [states[i][:, 0] for i in range(len(readings))]
    named = []
    for i, (reading, of) in enumerate(zip(readings, words)):
        there = iter(range(1, len(wanted[i])))
        named.append(
            [
                states[alone[tuple(ids)]][:, 0] if _place(reading, ids) is None else states[i][:, next(there)]
                for ids in of
            ]
        )
    return last, named


def _place(reading: Reading, ids: Sequence[int]) -> int | None:
    """The last token of a word's first place in a prompt."""
    text, n = reading.ids.tolist(), len(ids)
    return next((k + n - 1 for k in range(len(text) - n + 1) if text[k : k + n] == list(ids)), None)


def _pathways(states: Sequence[Tensor], sizes: tuple[int, int]) -> np.ndarray:
    """DSS by layer, of the words' states ``[layer, d_model]``."""
    sums = []
    for of in (states[: sizes[0]], states[sizes[0] :]):
        if len(of) < 2:
            return np.full(len(states[0]), np.nan)
        x = torch.stack(list(of)).float()
        x = x - x.mean(-1, keepdim=True)
        sums.append((torch.nn.functional.cosine_similarity(x[1:], x[:-1], dim=-1)).abs().sum(0))
    share: np.ndarray = (sums[0] / (sums[0] + sums[1])).cpu().numpy()
    return share


def _rows(table: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
    return torch.stack([table[torch.tensor(list(one), device=table.device)].float().mean(0) for one in ids])


def _cosines(states: Tensor, rows: Tensor) -> Tensor:
    """``[layer, word]``."""
    return torch.nn.functional.cosine_similarity(states[:, None], rows.to(states.device)[None], dim=-1)


def _score(kind: str, cosines: Tensor, sizes: tuple[int, int]) -> np.ndarray:
    own, other = cosines[:, : sizes[0]], cosines[:, sizes[0] :]
    if kind == "contrast":
        return np.asarray((own.mean(-1) - other.mean(-1)).cpu())
    return np.asarray((own.abs().sum(-1) / cosines.abs().sum(-1)).cpu())


def nearby(token: int, size: int, draws: int, generator: torch.Generator) -> Tensor:
    """Tokens near one in the vocabulary, ``[draw]``."""
    low, high = max(0, token - NEARBY), min(size, token + NEARBY + 1)
    return torch.randint(low, high, (draws,), generator=generator)
