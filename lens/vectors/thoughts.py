"""Thoughts: the pieces of a reasoning by type, the direction between types, and the edit that acts between pieces.

Source: SEAL (arXiv 2504.07986): chains are cut at blank lines, a piece is a reflection, a transition or execution by
its words, and the mean state of the separators before execution less that of the others is added at separators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..arguments import Draws, Filled, HFModel, Index, Name, NonNegative, Number, Seed, Token, door, shown
from ..engine.edits import Edit
from ..engine.gates import Gate
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import Site, indices
from ..models import weight_hash
from ..readout.reading import recorded
from ..tokens import tokenizer_of
from .errors import VectorError
from .generation import prompt_ids
from .vector import LayerVectors, Vector, require_width

#: Words of SEAL's two types, a list of our own after its "wait" and "alternatively"; its third type is all the rest.
WORDS: Mapping[str, tuple[str, ...]] = {
    "reflection": ("wait", "verify", "make sure", "hold on", "think again", "hmm"),
    "transition": ("alternatively", "think differently", "another way", "another approach", "another method"),
}
#: Of a type, separators before its pieces at least: of fewer a mean has no spread to speak of.
FEWEST = 5
#: What is added to a logit so that its token is never chosen.
BAN = -1e4


@door(VectorError)
@dataclass(frozen=True)
class ThoughtTypes:
    """How a reasoning is cut into pieces, and what a piece is called.

    Args:
        separator: what stands between two pieces; a token that holds it ends one.
        types: of each type its words; the first type with a word in the piece is its own.
        rest: the type of all other pieces.
        where: a word counts at the "start" of a piece, as a word "anywhere", or as a "substring" (as published: "let's
            correctly" then holds "correct").

    Raises: VectorError: a type without words, one twice, an empty separator.
    """

    separator: Name = "\n\n"
    types: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(WORDS))
    rest: Name = "execution"
    where: Literal["start", "anywhere", "substring"] = "start"

    def __post_init__(self) -> None:
        if not self.types or self.rest in self.types:
            raise VectorError(
                f"types={shown(dict(self.types))}, rest={self.rest!r}; give one type or more with words, and another"
                " name for the rest."
            )
        for name, words in self.types.items():
            if isinstance(words, str) or not words or not all(isinstance(w, str) and w.strip() for w in words):
                raise VectorError(f"types[{name!r}]={shown(words)}; give a list of words, at least one.")

    @property
    def names(self) -> list[str]:
        """Every type, the rest first."""
        return [self.rest, *self.types]

    @door(VectorError)
    def of(self, piece: str) -> str:
        """The type of a piece of text."""
        text = " ".join(piece.casefold().split())
        padded = f" {''.join(c if c.isalnum() or c in chr(39) else ' ' for c in text)} "
        padded = " ".join(padded.split()).join("  ")
        for name, words in self.types.items():
            for word in words:
                plain = " ".join(word.casefold().split())
                if (
                    plain in text
                    if self.where == "substring"
                    else f" {plain} " in padded
                    if self.where == "anywhere"
                    else padded.startswith(f" {plain} ")
                ):
                    return name
        return self.rest

    @door(VectorError)
    def separators(self, model: HFModel) -> list[int]:
        """The ids of all tokens that hold the separator. Raises: VectorError: there is none. Cost: a look at every
        token of the vocabulary.
        """
        found = [i for i, text in enumerate(_vocabulary(model)) if self.separator in text]
        if not found:
            raise VectorError(
                f"separator={self.separator!r} is in no token of this model's vocabulary; give one that a token holds."
            )
        return found

    @door(VectorError)
    def keywords(self, model: HFModel) -> list[int]:
        """The ids of the tokens that are a word of a type, in any case and with or without a space before; of a word of
        several tokens its first. Cost: a look at every token of the vocabulary.
        """
        words = {" ".join(word.casefold().split()) for of in self.types.values() for word in of}
        tokens = [text.strip().casefold() for text in _vocabulary(model)]
        whole = [i for i, text in enumerate(tokens) if text in words]
        tokenizer = tokenizer_of(model)
        for word in sorted(words - set(tokens)):
            for said in (f" {word}", word.capitalize()):
                ids = tokenizer.encode(said, add_special_tokens=False)
                whole += [i for i in ids[:1] if i != tokenizer.unk_token_id]
        return sorted(set(whole))


def _vocabulary(model: Any) -> list[str]:
    tokenizer = tokenizer_of(model)
    size = getattr(model, "original_model", model).get_output_embeddings().weight.shape[0]
    return list(tokenizer.batch_decode([[i] for i in range(min(size, len(tokenizer)))]))


@door(VectorError)
def thought_segments(
    model: HFModel,
    prompts: Annotated[Sequence[Any], Filled()],
    texts: Annotated[Sequence[Any], Filled()],
    types: ThoughtTypes | None = None,
    *,
    start: Token | None = "auto",
) -> pd.DataFrame:
    """The pieces of written texts, by type.

    Args:
        prompts: as given to `lens.generate`. texts: what it wrote, in the same order (or new text, or new ids).
        types: how they are cut and called; None: between blank lines, by the words of `ThoughtTypes`.

    Returns: one line a piece: ``text``, the number of its text; ``segment``, its own there; ``type``; ``begin`` and
        ``end``, its first token's position in prompt and text together and that behind its last, separators left out;
        ``before``, the position of the separator (or the prompt's last token) that it follows; ``words``.

    Raises: VectorError: another number of texts than of prompts.
    """
    types = types or ThoughtTypes()
    lines: list[tuple[Any, ...]] = []
    for number, (lead, ids) in enumerate(_whole(model, prompts, texts, start)):
        lines += [(number, k, *piece) for k, piece in enumerate(_pieces(model, ids, lead, types))]
    return pd.DataFrame(lines, columns=["text", "segment", "type", "begin", "end", "before", "words"])


def _whole(model: Any, prompts: Sequence[Any], texts: Sequence[Any], start: Any) -> list[tuple[int, Tensor]]:
    """Of each text the length of its prompt, and both as ids."""
    if len(prompts) != len(texts):
        raise VectorError(f"texts holds {len(texts)} for {len(prompts)} prompts; give one for each.")
    out = []
    for i, (prompt, text) in enumerate(zip(prompts, texts)):
        lead = prompt_ids(model, prompt, start, f"prompts[{i}]").cpu()
        given = getattr(text, "ids", text)
        new = prompt_ids(model, given, None, f"texts[{i}]").cpu() if len(given) else torch.zeros(0, dtype=torch.long)
        out.append((len(lead), torch.cat([lead, new.to(lead)])))
    return out


def _pieces(model: Any, ids: Tensor, lead: int, types: ThoughtTypes) -> list[tuple[str, int, int, int, str]]:
    tokenizer = tokenizer_of(model)
    cut = [i for i in range(lead, len(ids)) if types.separator in tokenizer.decode([int(ids[i])])]
    out, before = [], lead - 1
    for end in (*cut, len(ids)):
        begin = before + 1
        words = str(tokenizer.decode(ids[begin:end].tolist(), skip_special_tokens=True)).strip() if end > begin else ""
        if words:
            out.append((types.of(words), begin, end, before, words))
        before = end
    return out


@door(VectorError)
@of_one_model(reads=False)
def thought_vector(
    model: HFModel,
    prompts: Annotated[Sequence[Any], Filled()],
    texts: Annotated[Sequence[Any], Filled()],
    types: ThoughtTypes | None = None,
    *,
    toward: Name | None = None,
    away: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    layer: Index | None = None,
    splits: Draws = 20,
    seed: Seed = 0,
    start: Token | None = "auto",
    name: str = "thoughts",
) -> LayerVectors | Vector:
    """The direction from the separators before some types of thought to those before another, at every layer's output.

    Args:
        prompts, texts, types: as of `thought_segments`.
        toward: the type whose separators' mean is taken; None: the rest's ("execution"). away: those from which;
            None: all others.
        labels: a type for each line of `thought_segments`, in place of what words say: by a judge, by sampling again,
            or shuffled as a control.
        layer: None for all layers (LayerVectors); a number for that layer's Vector.
        splits: how often the texts are halved at random, with `seed`, to measure reliability (see `contrast`).

    Returns: directions ``[n_layers, d_model]``, with `about` holding how many separators each type has. The first piece
        of a text follows no separator and is left out.

    Raises: VectorError: a type that no piece has, or fewer than five; labels of another number.

    Source: SEAL (arXiv 2504.07986), with texts as units. Cost: a run of every text.
    """
    types = types or ThoughtTypes()
    decoder = Model.of(model)
    chosen = None if layer is None else indices(layer, decoder.n_layers, "layer")[0]
    table = thought_segments(model, prompts, texts, types, start=start)
    if labels is not None:
        if len(labels) != len(table):
            raise VectorError(
                f"labels holds {len(labels)} for {len(table)} pieces; give one for each line of thought_segments."
            )
        table = table.assign(type=list(labels))
    table = table[table.segment > 0]
    toward = types.rest if toward is None else toward
    others = [one for one in dict.fromkeys(table.type) if one != toward] if away is None else list(away)
    counts = Counter(table.type)
    for one in (toward, *(others if away is not None else ())):
        if counts[one] < FEWEST:
            raise VectorError(
                f"{counts[one]} separators stand before pieces of type {one!r} (there are {dict(counts)}); a mean needs"
                f" at least {FEWEST}. Write more texts, or choose other types."
            )
    if sum(counts[one] for one in others) < FEWEST:
        raise VectorError(
            f"away={others}: fewer than {FEWEST} pieces are of these types ({dict(counts)}); give others."
        )
    table = table[table.type.isin([toward, *others])]
    sums, sizes = _sums(model, decoder, _whole(model, prompts, texts, start), table, toward)
    reliability = _reliability(sums, sizes, int(splits), seed)
    about = {
        "toward": toward,
        "away": others,
        "separators": {one: counts[one] for one in (toward, *others)},
        "texts": int((sizes.sum(1) > 0).sum()),
        "separator": types.separator,
        "splits": int(splits),
        "seed": int(seed),
    }
    every = LayerVectors(_difference(sums, sizes), name, weight_hash(model), "thoughts", about, reliability)
    return every if chosen is None else every.at(chosen)


@torch.no_grad()
def _sums(
    model: Any, decoder: Model, whole: Sequence[tuple[int, Tensor]], table: pd.DataFrame, toward: str
) -> tuple[Tensor, Tensor]:
    """Of each text the sum of its separators' states, ``[text, 2, n_layers, d_model]`` (toward, away), and how many."""
    sums = torch.zeros(len(whole), 2, decoder.n_layers, decoder.d_model)
    sizes = torch.zeros(len(whole), 2)
    used = sorted(set(table.text))
    for batch, runs in recorded(decoder, [whole[i][1] for i in used], (), "thoughts"):
        posts = [runs.get("resid_post", layer) for layer in range(decoder.n_layers)]
        for k, i in enumerate(batch):
            of = table[table.text == used[i]]
            for side in (0, 1):
                at = of[(of.type == toward) == (side == 0)].before.to_numpy() + int(runs.starts[k])
                sizes[used[i], side] = len(at)
                if len(at):
                    sums[used[i], side] = torch.stack([x[torch.as_tensor(at)].float().sum(0) for x in posts]).cpu()
    return sums, sizes


def _difference(sums: Tensor, sizes: Tensor) -> Tensor:
    means = sums.sum(0) / sizes.sum(0).clamp(min=1)[:, None, None]
    return means[0] - means[1]


def _reliability(sums: Tensor, sizes: Tensor, splits: int, seed: int) -> Tensor:
    """The mean cosine between the directions of two halves of the texts; NaN where a half lacks a side."""
    draw, n, cosines = np.random.default_rng(seed), len(sums), []
    for _ in range(splits):
        order = torch.as_tensor(draw.permutation(n))
        halves = (order[: n // 2], order[n // 2 :])
        if all(bool((sizes[half].sum(0) > 0).all()) for half in halves):
            first, second = (_difference(sums[half], sizes[half]) for half in halves)
            cosines.append(torch.cosine_similarity(first, second, dim=-1))
    return torch.stack(cosines).mean(0) if cosines else torch.full((sums.shape[2],), float("nan"))


@door(VectorError)
def thought_edit(
    model: HFModel,
    vector: Vector | LayerVectors,
    layer: Index,
    types: ThoughtTypes | None = None,
    *,
    strength: float = 1.0,
    everywhere: bool = False,
) -> Edit:
    """The edit that adds a vector behind a layer at separators as they come, for `lens.generate(..., schedule=...)`.

    Args: everywhere: at every new token, not at separators alone.

    Raises: VectorError: a vector of another width; a separator that no token holds.

    Source: SEAL (arXiv 2504.07986), which acts at layer 20 of 28 with strength 1.
    """
    types = types or ThoughtTypes()
    decoder = Model.of(model)
    require_width(decoder, vector)
    at = indices(layer, decoder.n_layers, "layer")[0]
    scale = float(Number().of(strength, "strength", VectorError, "for example 1, 0.5 or -1"))
    when = None if everywhere else Gate.token(types.separators(model))
    return Edit(Site("resid_post", layer=at, position=-1), "add", vector, scale=scale, when=when)


@door(VectorError)
def thought_rivals(
    model: HFModel, edit: Edit, types: ThoughtTypes | None = None, *, penalty: NonNegative = 2.0, seed: Seed = 0
) -> dict[str, dict[str, Any]]:
    """The arms that a thought edit has to beat, by name, each the arguments of `lens.generate` that make it.

    Args:
        edit: of `thought_edit`. penalty: by how much the logits of the types' words are lowered in "length penalty";
            give several to trace accuracy against length, see `thought_lengths`.

    Returns: "none"; "vector", the edit itself; "everywhere", without its gate; "random direction", another vector of
        equal norm behind the same gate; "keyword ban", the words' tokens never chosen; "length penalty", the words'
        tokens lowered.

    Raises: VectorError: an edit whose value is no vector; words that no token is.
    """
    types = types or ThoughtTypes()
    value = edit.value
    if not isinstance(value, Tensor) or value.ndim != 1:
        raise VectorError("edit: its value is no vector [width], which could be turned at random; give one.")
    words = types.keywords(model)
    if not words:
        raise VectorError(
            f"types={shown(dict(types.types))}: no token of this model is one of their words; give others."
        )
    turned = torch.randn(len(value), generator=torch.Generator().manual_seed(seed))
    turned = (turned / turned.norm() * value.float().norm().cpu()).to(value)
    return {
        "none": {},
        "vector": {"edits": [edit]},
        "everywhere": {"edits": [replace(edit, when=None)]},
        "random direction": {"edits": [replace(edit, value=turned)]},
        "keyword ban": {"bias": dict.fromkeys(words, BAN)},
        "length penalty": {"bias": dict.fromkeys(words, -float(penalty))},
    }
