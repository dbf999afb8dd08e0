"""What a run of the study has at hand: its size, the models by seed and moment, and their items with a null of their
own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import lens

from ...engine.model import Model
from ...organisms import senses
from ...organisms.gates import read_card
from ...prompts import encode_all
from ..organism_models import bridged

#: Words of a list for the published scores: the sense's name and its cues.
Lists = list[list[list[str]]]


@dataclass(frozen=True)
class Preset:
    """How much is asked.

    Attributes:
        seeds: of the organisms. items: of each model, with so many `partners` each, and `same` prompts of the same
            reading. draws: random lists of words. probes: whether probes are fitted. edges: items whose published edges
            are computed anew at each layer. sentences: of the language model that are asked (0: none, None: all);
            depths: of those that are right or wrong in both orders, whose depth is measured. resamples: of intervals.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    items: int = 600
    partners: int = 5
    same: int = 3
    draws: int = 20
    probes: bool = True
    edges: int = 8
    sentences: int | None = None
    depths: int = 80
    resamples: int = 2000


@dataclass(frozen=True)
class Subject:
    """One organism at one moment: the folder of its model and its card."""

    seed: int
    moment: str
    folder: Path

    @property
    def card(self) -> dict[str, Any]:
        """What stands beside its weights."""
        card: dict[str, Any] = json.loads((self.folder / "card.json").read_text(encoding="utf-8"))
        return card

    @property
    def part(self) -> str:
        """What the parts of its tables are called."""
        return f"seed-{self.seed}-{self.moment}"

    def suite(self) -> senses.Suite:
        """Its words."""
        return senses.Suite(senses.Recipe(**self.card["recipe"]))

    def model(self) -> Any:
        """The model, loaded."""
        return bridged(self.folder)

    def gates(self) -> list[dict[str, Any]]:
        """A line for each gate of its card."""
        about = {"seed": self.seed, "moment": self.moment, "steps": self.card["steps"]}
        return [{**about, **dataclasses.asdict(gate), "holds": gate.holds} for gate in read_card(self.card)]


def subjects(seed: int, folder: Path) -> list[Subject]:
    """Both moments of a seed, given the folder of its end."""
    places = {"middle": folder.with_name(f"{folder.name}-middle"), "end": folder}
    return [Subject(seed, moment, places[moment]) for moment in senses.MOMENTS]


def items_of(model: Any, suite: senses.Suite, plan: Preset, seed: int) -> list[senses.Item]:
    """The items, whose `same` prompts have the cues that say their sense about as strongly.

    Of all cues that the word has met for the sense, those whose log-odds are nearest to the item's: two cues of unequal
    strength would differ before anything is patched.
    """
    every = suite.items(plan.items, partners=plan.partners, same=suite.recipe.cues, seed=seed)
    texts = [text for item in every for text in (item.text, *item.same)]
    senses_of = [item for item in every for _ in (item.text, *item.same)]
    ids = torch.tensor([[0, *suite.ids(text)] for text in texts])
    own, other = (torch.tensor([suite.index[getattr(i, name)] for i in senses_of]) for name in ("sense", "other"))
    logits = last_logits(model, list(ids))
    odds = iter((logits.gather(1, own[:, None]) - logits.gather(1, other[:, None]))[:, 0].tolist())
    chosen = []
    for item in every:
        clean, alike = next(odds), [next(odds) for _ in item.same]
        nearest = sorted(range(len(alike)), key=lambda k: abs(alike[k] - clean))[: plan.same]
        chosen.append(dataclasses.replace(item, same=tuple(item.same[k] for k in nearest)))
    return chosen


@torch.no_grad()
def last_logits(model: Any, ids: Sequence[torch.Tensor], batch: int = 64) -> torch.Tensor:
    """Logits behind the last token of each prompt, ``[prompt, d_vocab]``."""
    view, out = Model.of(model), []
    for start in range(0, len(ids), batch):
        runs = view.record([one.to(view.device) for one in ids[start : start + batch]], ())
        last = torch.tensor([at + n - 1 for at, n in zip(runs.starts, runs.lengths)], device=view.device)
        out.append(view.unembed(runs.final[last]).float().cpu())
    return torch.cat(out)


def lists_of(suite: senses.Suite, items: Sequence[senses.Item]) -> Lists:
    """For each item the words of its own sense and those of the other one."""
    named = {sense: [sense, *cues] for sense, cues in zip(suite.senses, suite.cues)}
    return [[named[item.sense], named[item.other]] for item in items]


def odds_of(model: Any, pairs: Sequence[lens.Pair]) -> torch.Tensor:
    """Log-odds of answer and foil behind each pair's clean prompt."""
    encoded = encode_all(model, list(pairs))
    logits = last_logits(model, [e.clean_ids for e in encoded], 16)
    own, other = (torch.tensor([getattr(e, name)[0] for e in encoded]) for name in ("answer_ids", "foil_ids"))
    return (logits.gather(1, own[:, None]) - logits.gather(1, other[:, None]))[:, 0]
