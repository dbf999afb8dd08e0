"""Texts on their way through a model, a few at a time: what a dictionary reads and what stands where it writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..engine.features import flat
from ..engine.live import read_place
from ..engine.model import Model
from ..engine.runs import Runs
from ..prompts.start import prompt_ids
from .dictionary import Dictionary
from .errors import FeatureError

#: Tokens that go through the model together.
TOGETHER = 512


@dataclass(frozen=True)
class Text:
    """A text that has gone through the model.

    Attributes:
        number: its place among those given. ids: its tokens. first: the first that the dictionary was trained on.
        read: what the dictionary reads from there on, ``[n, d_in]``. written: what stands where it writes, ``[n,
            d_out]``. runs, place: the unedited runs that it is of, and its place there.
    """

    number: int
    ids: Int[Tensor, " tokens"]
    first: int
    read: Float[Tensor, "n d_in"]
    written: Float[Tensor, "n d_out"]
    runs: Runs
    place: int


def rows_of(
    model: Any, view: Model, texts: Iterable[Any], sae: Dictionary, length: int
) -> Iterator[tuple[int, Int[Tensor, " tokens"]]]:
    """The first tokens of each text, with the start that the dictionary's training had; texts too short for it are
    passed over.

    Raises:
        FeatureError: no text at all, or one text in the place of a list. PromptError: a text that is none.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise FeatureError(f"texts={texts!r:.60} is no list of texts; give several, as text or token ids.")
    most = min(length, view.max_length or length)
    for number, text in enumerate(texts):
        ids = prompt_ids(model, text, None if sae.starts is False else "auto", f"texts[{number}]")[:most]
        if len(ids) > sae.skip_tokens:
            yield number, ids


def through(model: Any, view: Model, texts: Iterable[Any], sae: Dictionary, length: int) -> Iterator[Text]:
    """Each text's activations, so many texts at a time as make a batch; nothing is kept of those that are done.

    Raises:
        FeatureError: no text is long enough; another model's dictionary.
    """
    sae.require(view)
    waiting: list[tuple[int, Tensor]] = []
    some = False
    for row in rows_of(model, view, texts, sae, length):
        some = True
        waiting.append(row)
        if sum(len(ids) for _, ids in waiting) >= TOGETHER:
            yield from _of(view, waiting, sae)
            waiting = []
    if not some:
        raise FeatureError(
            f"texts: none has more than the {sae.skip_tokens} tokens that the dictionary leaves out; give longer ones."
        )
    if waiting:
        yield from _of(view, waiting, sae)


@torch.no_grad()
def _of(view: Model, rows: Sequence[tuple[int, Tensor]], sae: Dictionary) -> Iterator[Text]:
    (name, layer), norm = read_place(view.anatomy, sae)
    writes = sae.writes
    runs = view.record([ids.to(view.device) for _, ids in rows], tuple({name, writes.site} - {"embed"}))
    read, written = runs._get(name, layer), runs._get(writes.site, 0 if writes.site == "embed" else writes.layer)
    for place, (number, ids) in enumerate(rows):
        at = slice(runs.starts[place] + sae.skip_tokens, runs.starts[place] + len(ids))
        yield Text(
            number, ids, sae.skip_tokens, flat(norm(read[at]), sae.reads), flat(written[at], writes), runs, place
        )
