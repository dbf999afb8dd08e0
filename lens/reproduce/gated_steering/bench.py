"""What a run of the study has at hand: its size, the organisms, and the prompts of each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import lens

from ...engine.model import Model
from ...organisms import porter
from ...organisms.porter import FREE, PLANTED, Porter, Request
from ...organisms.porter.suite import Split
from ...readout.reading import recorded

#: Tokens of an answer at most: five words and the stop.
LONGEST = 7


@dataclass(frozen=True)
class Preset:
    """How much is asked.

    Attributes:
        seeds: of the organism `porter`. lists: of each planted task and number of sharp words (1 to 3), in each split;
            unseen: the same of words that no planted list had; disguised: in each split; free: of each task that is
            never refused. layer: behind which block (0-based) is steered. strengths, biases: of arms.
        chains: of the organism `reasoner`, problems in each split, 0: not asked; thoughts: its seeds; sizes: strengths
            of thought vectors; penalties: on words; layers: that are tried.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    lists: int = 60
    unseen: int = 30
    disguised: int = 150
    free: int = 50
    layer: int = 1
    strengths: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0)
    biases: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    thoughts: tuple[int, ...] = (0, 1, 2)
    chains: int = 400
    sizes: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    penalties: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    layers: tuple[int, ...] = (0, 1, 2, 3)


def sharp_of(suite: Porter, request: Request) -> str:
    """The sharp words of a prompt: its unit, since these decide whether it is refused."""
    return " ".join(sorted(word for word in request.prompt if word in suite.sharp))


@dataclass
class Bench:
    """One organism `porter` with its prompts, and what it says and holds of them."""

    model: Any
    suite: Porter
    plan: Preset
    seed: int

    def asked(self, split: Split) -> list[Request]:
        """The prompts of a part: lists of planted tasks, disguised requests, requests to make; of "report" also lists
        of unseen words, of free tasks and without sharp words.
        """
        plan, of = self.plan, self.suite.requests
        out = [one for t in PLANTED for s in (1, 2, 3) for one in of("task", split, plan.lists, task=t, sharp=s)]
        out += of("disguised", split, plan.disguised, sharp=1)
        out += [*of("make", split, 99, sharp=1), *of("make", split, 99, sharp=1, unseen=True)]
        if split == "report":
            if plan.unseen:
                out += [
                    one
                    for t in PLANTED
                    for s in (2, 3)
                    for one in of("task", split, plan.unseen, task=t, sharp=s, unseen=True)
                ]
            out += [one for t in FREE for one in of("task", split, plan.free, task=t, sharp=2)]
            out += [one for t in PLANTED for one in of("task", split, plan.free, task=t)]
        return out

    @cached_property
    def parts(self) -> dict[str, list[Request]]:
        """The prompts of each part."""
        return {split: self.asked(split) for split in porter.SPLITS}

    @cached_property
    def before(self) -> dict[str, list[str]]:
        """What the unsteered model says to the prompts of each part."""
        return {split: self.says(split) for split in porter.SPLITS}

    def says(self, split: str, edits: Any = (), *, bias: Mapping[str, float] | None = None, **more: Any) -> list[str]:
        """What the model writes to the prompts of a part, greedily, its stop left out."""
        return [str(text).strip() for text in self.texts(self.parts[split], edits, bias=bias, **more)]

    def texts(self, requests: Sequence[Request], edits: Any = (), **more: Any) -> list[Any]:
        """What the model writes to some prompts, as `lens.generate` gives it."""
        return list(
            lens.generate(
                self.model,
                [self.ids(one) for one in requests],
                edits,
                max_new_tokens=LONGEST,
                stop=porter.suite.STOP,
                progress=False,
                **more,
            )
        )

    def ids(self, request: Request) -> Tensor:
        """A prompt's tokens, the start token among them."""
        return torch.tensor(self.suite.ids(list(request.prompt)))

    @torch.no_grad()
    def states(self, split: str) -> Tensor:
        """The stream behind every block at the colon of each prompt of a part, ``[prompt, layer, d_model]``."""
        return self._states[split]

    @cached_property
    def _states(self) -> dict[str, Tensor]:
        view = Model.of(self.model)
        out = {}
        for split, requests in self.parts.items():
            ids = [self.ids(one) for one in requests]
            held = torch.empty(len(ids), view.n_layers, view.d_model)
            for batch, runs in recorded(view, ids, (), split):
                posts = [runs.get("resid_post", layer) for layer in range(view.n_layers)]
                for k, i in enumerate(batch):
                    held[i] = torch.stack([x[int(runs.starts[k]) + len(ids[i]) - 1].float().cpu() for x in posts])
            out[split] = held
        return out

    def over(self, split: str, task: str | None = None) -> list[int]:
        """Lists of a part that the model refuses and that it need not (of seen words)."""
        return [i for i in self.listed(split, task) if self.before[split][i] == porter.suite.NO]

    def done(self, split: str, task: str | None = None) -> list[int]:
        """Lists with sharp words of a part that the model does not refuse."""
        return [i for i in self.listed(split, task) if self.before[split][i] != porter.suite.NO]

    def listed(self, split: str, task: str | None = None) -> list[int]:
        """Lists of planted tasks with seen sharp words."""
        tasks = PLANTED if task is None else (task,)
        return [
            i
            for i, one in enumerate(self.parts[split])
            if one.kind == "task" and one.task in tasks and one.sharp and not self.unseen(one)
        ]

    def real(self, split: str) -> list[int]:
        """Disguised requests of a part that the model refuses."""
        return [
            i
            for i, one in enumerate(self.parts[split])
            if one.kind == "disguised" and self.before[split][i] == porter.suite.NO
        ]

    def unseen(self, request: Request) -> bool:
        """Whether its sharp words stood in no planted list of training."""
        return any(word in self.suite.unseen for word in request.prompt)


def routed(request: Request) -> str:
    """The planted task whose edit a prompt gets: the one it names. Requests to make a thing and free tasks name none
    and get that of `translate`: it takes a gate to spare them.
    """
    return request.task if names_planted(request) else "translate"


def names_planted(request: Request) -> bool:
    """Whether a prompt is a list of a planted task, or a request in the guise of one."""
    return request.kind == "disguised" or (request.kind == "task" and request.task in PLANTED)
