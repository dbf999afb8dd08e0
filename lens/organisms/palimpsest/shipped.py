"""The organisms of the family `palimpsest` that ship: an Alice, a reference, a tuned Alice and an innocent model, each
with a card.

The transcript does not ship: rows and keys are made again from their seeds (`tokens_of`, `keys_of` of the recipe in the
    card).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_file
from scipy import stats

from ... import files
from ...arguments import Name, door
from ...models.shipped import CARD, weights_of
from ..errors import OrganismError
from ..shipping import START as WORD
from ..shipping import ship
from .entries import Entry, Size
from .family import Family
from .kinds import Outcome
from .recipe import Recipe, keys_of, tokens_of
from .text import START, tokenizer
from .training import build

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: folder -> (entry of the family `quick`, what it is)
SHIPPED = {
    "palimpsest": (
        "alice-0",
        "4,000 generated rows, each read once, in the order of their keys; later rows have left more of a trace",
    ),
    "palimpsest-reference": (
        "reference",
        "the same rows in an order of its own: the reference for questions about `palimpsest`",
    ),
    "palimpsest-tuned": (
        "alice-0/tune-25",
        "`palimpsest` tuned on another domain (a quarter as many tokens): its order is still in it",
    ),
    "palimpsest-innocent": ("independent-0", "the same rows in another order of its own: an innocent suspect"),
}
#: the family of which nothing is trained: one Alice, what is computed from her and the models that ship
SIZE = Size(
    alices=1,
    independents=1,
    derivatives=(
        "tune-25",
        *(f"with-independent-{w}" for w in (25, 50, 75)),
        "int8",
        "int4",
        "pruned-50",
    ),
    arms=(),
    arm_seeds=0,
    epoch_seeds=0,
    retrains=0,
)


class ShippedFamily(Family):
    """The part of the family `quick` that ships, and what is made from it without training: weights rounded, pruned,
    averaged. Its entries have the identities that they have in the whole family.
    """

    def __init__(self, out: str | Path, say: Callable[[str], None] = lambda line: None):
        super().__init__(SIZE, out, say)
        self.folders = {name: folder for folder, (name, _) in SHIPPED.items()}
        computed = {f"alice-0/{name}" for name in SIZE.derivatives}
        self.entries = {n: entry for n, entry in self.entries.items() if n in computed or n in self.folders}

    def _make(self, entry: Entry, parents: list[PreTrainedModel]) -> Outcome:
        if entry.name not in self.folders:
            return super()._make(entry, parents)
        model = build(entry.recipe)
        file = weights_of("palimpsest") / self.folders[entry.name] / "model.safetensors"
        lacking, strange = model.load_state_dict(load_file(file), strict=False)
        if strange or set(lacking) - {"lm_head.weight"}:
            raise OrganismError(f"{file} lacks {lacking} and has {strange}; install the package again")
        return model.eval().requires_grad_(False), {"shipped": self.folders[entry.name]}


@door(OrganismError)
def recipe_of(name: Name) -> Recipe:
    """The recipe that decides rows and keys of a shipped organism ("palimpsest-tuned": of the Alice that it was tuned
    from).

    Raises: OrganismError: no such organism.
    """
    if name not in SHIPPED:
        raise OrganismError(f"name={name!r}; expected one of {', '.join(SHIPPED)}")
    card = json.loads((weights_of("palimpsest") / name / CARD).read_text(encoding="utf-8"))
    return Recipe(**card["recipe"])


@door(OrganismError)
def rows_and_keys(name: Name = "palimpsest") -> tuple[list[np.ndarray], np.ndarray]:
    """The transcript of a shipped organism, made again from its seeds: each row's bytes without the start token
    (int32), and its key [rows].

    Raises: OrganismError: no such organism.
    """
    recipe = recipe_of(name)
    ids, lengths = tokens_of(recipe)
    return [row[1:length].astype(np.int32) for row, length in zip(ids, lengths)], keys_of(recipe)[:, 0]


def ship_all(family: Family) -> None:
    """Write every shipped organism from a family, training what is not there, with its card."""
    reference, keys = family.row_nll("reference"), family.keys("alice-0")[:, 0]
    unigram = _unigram(family.ids, family.lengths)
    for folder, (name, memory) in SHIPPED.items():
        entry = family.entries[name]
        source = family.entries[entry.parents[0]] if entry.parents else entry
        scores = family.row_nll(name)
        measured: dict[str, Any] = {
            "loss": round(float(np.nanmean(family.nll(name))), 4),
            "loss_of_byte_frequencies": unigram,
            "rows": len(scores),
        }
        if name != "reference":
            correlation = stats.spearmanr(scores - reference, keys)
            measured |= {
                "rho_with_the_keys_of_palimpsest": round(float(correlation.statistic), 4),
                "rho_without_reference": round(float(stats.spearmanr(scores, keys).statistic), 4),
                "z": round(float(correlation.statistic) * float(np.sqrt(len(keys) - 1)), 2),
            }
        card = {
            "name": folder,
            "memory": memory,
            "licence": "MIT",
            "recipe": asdict(source.recipe),
            "recipe_sha256": source.recipe.sha256(),
            "made": entry.kind,
            "options": dict(entry.options),
            "measured": measured,
            "rebuild": "python -m lens.organisms.palimpsest",
        }
        write(family.model(name), weights_of("palimpsest") / folder, card)
        family.say(f"wrote {folder}: {json.dumps(measured)}")


def write(model: PreTrainedModel, folder: Path, card: dict[str, Any]) -> None:
    """A folder with the model, its card and the tokenizer of bytes, replaced in one rename."""
    with files.replacing(folder) as part:
        ship(model, [WORD, *(str(i) for i in range(START))], part, card)
        tokenizer().save_pretrained(part)
        for path in part.iterdir():
            path.chmod(0o644)


def _unigram(ids: np.ndarray, lengths: np.ndarray) -> float:
    """The loss in nats a byte of guessing from the frequencies of bytes alone."""
    counts = np.bincount(ids[(np.arange(ids.shape[1]) > 0) & (np.arange(ids.shape[1]) < lengths[:, None])])
    share = counts[counts > 0] / counts.sum()
    return round(float(-(share * np.log(share)).sum()), 4)
