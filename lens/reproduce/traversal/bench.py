"""What a run of the study has at hand: its size, the checkpoints of each seed, and prompts that differ in one thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...models.shipped import CARD
from ...organisms import atlas
from ...prompts import Pair
from ..errors import ReproduceError
from ..organism_models import bridged

#: The base, and its checkpoints.
BASE = "base"
ARMS = (BASE, *atlas.ARMS)
#: The pairs of checkpoints that are compared, and the other run of the first one's recipe that says how far two runs
#: are apart.
PAIR, FLOOR = ("answer", "rl"), "answer-again"


@dataclass(frozen=True)
class Preset:
    """How much is asked.

    Attributes:
        seeds: of the bases. draws: answers of each leaf at temperature 1. leaves: reported leaves whose states are
            compared and patched, at most; None for all. small: models of the recipe for tests.
    """

    seeds: tuple[int, ...] = atlas.SEEDS
    draws: int = 16
    leaves: int | None = None
    small: bool = False


@dataclass
class Bench:
    """The checkpoints of one seed. `models`: a folder for those that do not ship, or None. `say`: is told what is
    done.
    """

    seed: int
    plan: Preset
    models: Path | None
    say: Callable[[str], None]
    held: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def recipe(self) -> atlas.Recipe:
        """Of the base."""
        return atlas.Recipe.small(seed=self.seed) if self.plan.small else atlas.Recipe(seed=self.seed)

    @cached_property
    def suite(self) -> atlas.Atlas:
        """The tree."""
        return atlas.Atlas(self.recipe)

    @cached_property
    def leaves(self) -> list[int]:
        """The reported leaves whose states are compared and patched."""
        return self.suite.leaves["report"][: self.plan.leaves]

    def folder(self, arm: str) -> Path:
        """Where a checkpoint is: in the folder of models, shipped, or trained there now.

        Raises: ReproduceError: it is nowhere and there is no folder to train it into, or another recipe made it.
        """
        name = None if arm == BASE else arm
        own = [] if self.models is None else [atlas.folder_of(self.seed, name, out=self.models)]
        # a small recipe's checkpoints are trained, beside those that ship
        places = [*own, *([] if self.plan.small and own else [atlas.folder_of(self.seed, name)])]
        there = next((one for one in places if (one / CARD).is_file()), None)
        if there is None:
            command = ["--seed", str(self.seed), "--float16", *(["--arm", arm] if name else [])]
            command += ["--small"] * self.plan.small
            if self.models is None:
                raise ReproduceError(
                    f"models: {places[0].name} does not ship with the package; give a folder to find it in or to train"
                    f" it into (--models FOLDER), or train it there with `python -m lens.organisms.atlas"
                    f" {' '.join(command)} --out FOLDER`"
                )
            if name:
                self._beside_its_base()
            self.say(f"training {own[0].name} into {self.models} (about a minute of a core)")
            atlas.main([*command, "--out", str(self.models)])
            there = own[0]
        self._require(there, arm)
        return there

    def _beside_its_base(self) -> None:
        """A checkpoint is trained from a base in the same folder: one that ships is copied there."""
        import shutil

        base = self.folder(BASE)
        assert self.models is not None
        if base.parent != self.models:
            shutil.copytree(base, self.models / base.name)

    def _require(self, folder: Path, arm: str) -> None:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        wanted = self.recipe if arm == BASE else None if self.plan.small else atlas.ARMS[arm]
        if wanted is not None and card["recipe_sha256"] != wanted.sha256():
            raise ReproduceError(
                f"models: {folder} was trained by another recipe than this study asks for; choose another folder, or"
                " remove that one."
            )

    def card(self, arm: str) -> dict[str, Any]:
        """What is written of a checkpoint."""
        told: dict[str, Any] = json.loads((self.folder(arm) / CARD).read_text(encoding="utf-8"))
        return told

    def model(self, arm: str) -> Any:
        """A checkpoint, on the CPU in float32."""
        if arm not in self.held:
            self.held[arm] = bridged(self.folder(arm))
        return self.held[arm]

    def texts(self, role: str) -> list[str]:
        """The prompt of each leaf in a role of `ROLES`."""
        wrong = dict(zip(self.leaves, (*self.leaves[1:], self.leaves[0]), strict=True))
        path, code = self.suite.path, self.suite.code
        return [
            ROLES[role].format(code=code[leaf], name=path[leaf][0], other=path[wrong[leaf]][0]) for leaf in self.leaves
        ]

    def pairs(self, kind: str) -> list[Pair]:
        """Of each leaf the prompt that the leaf's name answers: as the first step of a walk, or as a statement."""
        prompt = {WALK: "<start> top {code} ? walk", STATEMENT: "<start> . {code} means"}[kind]
        pairs = []
        for number, leaf in enumerate(self.leaves):
            other = self.leaves[(number + 1) % len(self.leaves)]
            text = prompt.format(code=self.suite.code[leaf])
            pairs.append(Pair(text, text, " " + self.suite.path[leaf][0], " " + self.suite.path[other][0]))
        return pairs


#: Kinds of prompts that states are patched in; the code is the token at `CODE` in both.
WALK, STATEMENT, CODE = "first step of a walk", "statement", 2
#: By role the prompt, which is read at its last token. The first two are as published; the next three are as long as
#: each other, end in the same token and have no answer in them; the last three end in the same token and differ in
#: what stands before it.
ROLES = {
    "statement": "<start> {code} means {name} .",
    "question": "<start> top {code} ?",
    "statement, code": "<start> . {code}",
    "question, code": "<start> top {code}",
    "fact question, code": "<start> what {code}",
    "statement, right": "<start> . {code} means {name} .",
    "statement, wrong": "<start> . {code} means {other} .",
    "question, answered": "<start> what {code} ? {name} .",
}


def log_odds(logits: torch.Tensor, encoded: Any) -> torch.Tensor:
    """Log-odds, ln p / (1 - p), of the answer as the next token."""
    answer = encoded.answer_ids[0]
    rest = logits.clone()
    rest[:, answer] = -torch.inf
    return logits[:, answer] - rest.logsumexp(-1)
