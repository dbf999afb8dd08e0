"""What attention lenses are trained on: short texts, and what the model has at the last token of each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import (
    Filled,
    HFModel,
    Layers,
    Positive,
    Seed,
    Token,
    Whole,
    door,
    shown,
)
from ..engine.memory import budget
from ..engine.model import Model
from ..engine.pieces import run_bytes
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..models import weight_hash
from ..progress import hidden
from ..prompts import load_pairs, start_token
from ..readout.reading import layers_with
from ..tokens import tokenize, tokenizer_of
from .bridge import last_tokens
from .items import InjectionError, load_items


@door(InjectionError)
def lens_texts(
    n: Annotated[int, Whole(3)] = 800,
    seed: Seed = 0,
    *,
    data: Annotated[Sequence[Literal["facts", "ioi", "multihop"]], Filled()] = ("facts", "ioi", "multihop"),
) -> tuple[list[str], list[str]]:
    """Short texts to train a lens on, and the relation or template of each: prompts of the shipped data and random
    beginnings of them.

    Half of the texts are whole prompts, half end after a random word. No text is there twice.

    Args:
        n: how many; all there are where that is fewer.
        data: of "facts", "ioi", "multihop" (both prompts of the shipped multi-hop items).

    Raises: InjectionError for unknown data or too small an ``n``.
    """
    rng = np.random.default_rng(seed)
    labels: dict[str, str] = {}
    for name in data:
        if name == "multihop":
            for item in load_items("own"):
                labels |= {str(text): f"multihop {item.group}" for text in (item.prompt, item.explicit)}
        else:
            # a label is set, group, number of the template and subject: facts-country-capital-0-Greece
            for pair in load_pairs(name):
                labels[str(pair.clean)] = re.split(r"-\d+", pair.label)[0].replace("-", " ", 1)
    sources = list(labels)
    texts: dict[str, str] = {}
    for i in rng.permutation(len(sources)):
        words = sources[i].split(" ")
        cut = len(words) if rng.random() < 0.5 or len(words) < 3 else int(rng.integers(2, len(words)))
        texts.setdefault(" ".join(words[:cut]), labels[sources[i]])
        if len(texts) == n:
            break
    return list(texts), list(texts.values())


@dataclasses.dataclass(frozen=True, eq=False)
class LensData:
    """What lenses are trained on, of every text's last token: head outputs by layer, the final residual stream, and the
    text's group.

    ``z``: ``{layer: [n, n_heads, d_head]}``; ``final``: ``[n, d_model]``; ``groups``: numbers, ``[n]``; ``grouped``:
        whether the caller gave them.
    """

    decoder: Model
    model_hash: str
    z: Mapping[int, Tensor]
    final: Float[Tensor, "n d_model"]
    groups: np.ndarray
    grouped: bool
    start: Any


@door(InjectionError)
@of_one_model(reads=False)
@torch.no_grad()
def collect(
    model: HFModel,
    texts: Annotated[Sequence[str], Filled()],
    layers: Layers = None,
    *,
    groups: Sequence[str] | None = None,
    start: Token | None = "auto",
    memory_mb: Positive | None = None,
    progress: bool | None = None,
) -> LensData:
    """Runs every text once and keeps what lenses of these layers need. Memory kept: n x (layers x n_heads x d_head +
    d_model) numbers.

    Args: ``groups``: one label a text; texts of one group lie on one side of the train/held-out split. Texts that
        repeat are taken once.

    Raises: InjectionError: no text, text that is empty or has no token, groups of another number.
    """
    decoder, tokenizer = Model.of(model), tokenizer_of(model)
    if blank := [t for t in texts if not t.strip()]:
        raise InjectionError(
            f"texts holds {shown(blank[0])}; expected a list of texts that are not empty (lens_texts() gives one)."
        )
    if groups is not None and len(groups) != len(texts):
        raise InjectionError(f"groups has {len(groups)} entries for {len(texts)} texts; give one a text, or None.")
    labels = dict(zip(texts, texts if groups is None else groups))
    lead = start_token(model, start)
    ids = [torch.tensor(([] if lead is None else [lead]) + tokenize(tokenizer, t), dtype=torch.long) for t in labels]
    if empty := [t for t, i in zip(labels, ids) if len(i) == 0]:
        raise InjectionError(f"texts holds {empty[0]!r}, which has no token; leave it out.")
    chosen = layers_with(decoder, layers)
    z: dict[int, list[Tensor]] = {l: [] for l in chosen}
    most = budget(decoder, memory_mb).runs
    final: list[Tensor] = []
    with tqdm(total=len(ids), desc="texts", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        first = 0
        while first < len(ids):
            last, used = first, 0.0
            while last < len(ids) and (last == first or used + run_bytes(decoder, len(ids[last]), ("z",)) < most):
                used += run_bytes(decoder, len(ids[last]), ("z",))
                last += 1
            runs = Runs.record(decoder, ids[first:last], ("z",))
            at = last_tokens(runs)
            for l in chosen:
                z[l].append(runs.get("z", l)[at].float())
            final.append(runs.final[at])
            bar.update(last - first)
            first = last
    return LensData(
        decoder,
        weight_hash(model),
        {l: torch.cat(v) for l, v in z.items()},
        torch.cat(final),
        np.unique(list(labels.values()), return_inverse=True)[1],
        groups is not None,
        start,
    )
