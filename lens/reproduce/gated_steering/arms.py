"""The arms: what is done to the state at a prompt's colon, or to the logit of the refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...engine.edits import Edit
from ...engine.gate_reading import open_at
from ...engine.gates import Gate
from ...engine.sites import Site
from ...organisms.porter import PLANTED
from ...organisms.porter.suite import NO
from .bench import Bench, names_planted, routed

#: Of an arm the arguments of `Bench.says`, by its size and a part.
Arm = Callable[[float, str], dict[str, Any]]
ONCE = {"schedule": "first 1"}
#: Cosine of a state with a centroid from which on the published gate is open.
NEAR = 0.85
#: The arms, as tables name them.
PUBLISHED, ON_TEST, LAST = "published", "published, centroids of the test", "last position"
ALWAYS, ON_REFUSAL, GATED = "task, always", "task, gate on refusal", "task, gate on over-refusal"
GLOBAL, GLOBAL_GATED, REMOVAL = "global, always", "global, gate on over-refusal", "removal"
RANDOM, OTHER, RANDOM_GATE, BIAS = "random direction", "another task's direction", "random gate", "logit bias"
ARMS = (
    *(PUBLISHED, ON_TEST, LAST, ALWAYS, ON_REFUSAL, GATED, GLOBAL, GLOBAL_GATED),
    *(REMOVAL, RANDOM, OTHER, RANDOM_GATE, BIAS),
)


class Arms:
    """All arms of one organism; what is fitted is fitted on "fit" and, thresholds, on "choose", each once, where it is
    first asked for.
    """

    def __init__(self, bench: Bench):
        self.bench, self.layer = bench, bench.plan.layer
        self.site = Site("resid_post", layer=self.layer)
        self.at = replace(self.site, position=-1)

    @cached_property
    def push(self) -> dict[str, Tensor]:
        """By task the direction from its refused lists to its answered ones."""
        return {task: self._push(task) for task in PLANTED}

    @cached_property
    def all(self) -> Tensor:
        """The direction of all tasks' lists together."""
        return self._push(None)

    @cached_property
    def gates(self) -> dict[tuple[str, str], Gate]:
        """The gates by task ("all": one for all tasks) and kind."""
        own = {(task, kind): self._gate(task, kind) for task in PLANTED for kind in ("refusal", "over-refusal")}
        return own | {("all", "over-refusal"): self._gate(None, "over-refusal")}

    @cached_property
    def random(self) -> dict[str, Gate]:
        """By task a random gate that is open as often as the one on over-refusals."""
        return {task: self._equal_rate(task) for task in PLANTED}

    def _mean(self, split: str, at: list[int], layer: int) -> Tensor:
        return self.bench.states(split)[at, layer].mean(0)

    def _push(self, task: str | None) -> Tensor:
        """From the mean state of refused lists to that of answered ones."""
        done, over = self.bench.done("fit", task), self.bench.over("fit", task)
        return self._mean("fit", done, self.layer) - self._mean("fit", over, self.layer)

    def _gate(self, task: str | None, kind: str) -> Gate:
        """Opens at lists that are over-refused: told from answered ones ("refusal", on the direction that is pushed),
        or from answered ones and from real refusals by the nearest centroid ("over-refusal").
        """
        parts = []
        for split in ("fit", "choose"):
            of = {"over-refused": self.bench.over(split, task), "answered": self.bench.done(split, task)}
            if kind == "over-refusal":
                of["really refused"] = self.bench.real(split)
            asked = self.bench.parts[split]
            parts.append([{"text": asked[i].text, "label": label} for label, at in of.items() for i in at])
        form: Any = "projection" if kind == "refusal" else "nearest"
        fitted, chosen = parts
        return Gate.fit(self.bench.model, fitted, chosen, self.site, "over-refused", kind=form)

    def _equal_rate(self, task: str) -> Gate:
        """A gate on a random direction that opens at as many lists and real refusals of "choose"."""
        bench = self.bench
        at = [*bench.listed("choose", task), *bench.real("choose")]
        states = bench.states("choose")[at, self.layer]
        share = open_at(self.gates[task, "over-refusal"], states).float().mean()
        turned = torch.randn(states.shape[-1], generator=torch.Generator().manual_seed(bench.seed))
        turned /= turned.norm()
        return Gate.projection(self.site, turned, float((states @ turned).quantile(1 - share)))

    def of(self, name: str) -> Arm:
        """An arm by its name."""
        if name == BIAS:
            return lambda size, split: {"bias": {NO: -size}}
        if name in (PUBLISHED, ON_TEST, LAST):
            return self._toward(name)
        if name == REMOVAL:
            return self._removal
        task_of: dict[str, tuple[Callable[[str], Tensor], Callable[[str], Gate | None]]] = {
            ALWAYS: (self.push.__getitem__, lambda task: None),
            ON_REFUSAL: (self.push.__getitem__, lambda task: self.gates[task, "refusal"]),
            GATED: (self.push.__getitem__, lambda task: self.gates[task, "over-refusal"]),
            RANDOM: (self._turned, lambda task: None),
            OTHER: (lambda task: self.push[PLANTED[PLANTED.index(task) - 1]], lambda task: None),
            RANDOM_GATE: (self.push.__getitem__, self.random.__getitem__),
        }
        if name in task_of:
            return self._by_task(*task_of[name])
        gate = self.gates["all", "over-refusal"] if name == GLOBAL_GATED else None
        return lambda size, split: {"edits": [Edit(self.at, "add", self.all, scale=size, when=gate)], **ONCE}

    def _by_task(self, push: Callable[[str], Tensor], gate: Callable[[str], Gate | None]) -> Arm:
        def arm(size: float, split: str) -> dict[str, Any]:
            own = {task: [Edit(self.at, "add", push(task), scale=size, when=gate(task))] for task in PLANTED}
            tasks = [routed(one) for one in self.bench.parts[split]]
            return {"edits": [own[task] for task in tasks], **ONCE}

        return arm

    def _turned(self, task: str) -> Tensor:
        draw = torch.Generator().manual_seed(1000 + self.bench.seed + PLANTED.index(task))
        turned = torch.randn(len(self.push[task]), generator=draw)
        return turned / turned.norm() * self.push[task].norm()

    def _toward(self, name: str) -> Arm:
        """Towards the centroid of answered lists, from the prompt's own last state: at every token and step, behind
        this block and the next, as published; or at the prompt's last token alone, where size 1 is the centroid itself.
        A prompt that names no planted task is pushed where its own state is as near the centroid as published.
        """
        layers = (self.layer,) if name == LAST else (self.layer, self.layer + 1)

        def arm(size: float, split: str) -> dict[str, Any]:
            own, edits = self.bench.states(split), list[list[Edit]]()
            of = split if name == ON_TEST else "fit"
            goal = {(t, l): self._mean(of, self.bench.done(of, t), l) for t in PLANTED for l in layers}
            where = -1 if name == LAST else None
            for i, one in enumerate(self.bench.parts[split]):
                task = routed(one)
                alike = torch.cosine_similarity(own[i, self.layer], goal[task, self.layer], dim=0)
                pushed = names_planted(one) or alike >= NEAR
                edits.append(
                    [
                        Edit(Site("resid_post", layer=l, position=where), "add", goal[task, l] - own[i, l], scale=size)
                        for l in layers
                    ]
                    if pushed
                    else []
                )
            return {"edits": edits, **(ONCE if name == LAST else {})}

        return arm

    def _removal(self, size: float, split: str) -> dict[str, Any]:
        """The state's own part along the global direction is taken out (size 1)."""
        unit, own = self.all / self.all.norm(), self.bench.states(split)[:, self.layer]
        take = -(own @ unit)[:, None] * unit
        return {"edits": [[Edit(self.at, "add", row, scale=size)] for row in take], **ONCE}


def sizes(bench: Bench, name: str) -> tuple[float, ...]:
    """The sizes of an arm."""
    return bench.plan.biases if name == BIAS else bench.plan.strengths
