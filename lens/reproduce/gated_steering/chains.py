"""What is computed of the organism `reasoner`: chains under thought vectors and their rivals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

import lens

from ...organisms import reasoner
from ...organisms.reasoner import Reasoner
from ...organisms.reasoner.suite import BAR, ELSE, HMM, WAIT
from ...vectors import ThoughtTypes, thought_edit, thought_lengths, thought_rivals, thought_segments, thought_vector
from .bench import Preset

#: As words say it: `hmm` is not on the list.
WORDS = ThoughtTypes(BAR, {"reflection": [WAIT], "transition": [ELSE]})
#: Every word that opens a thought.
ALL_WORDS = ThoughtTypes(BAR, {"reflection": [WAIT, HMM], "transition": [ELSE]})
LONGEST = 150
CHAINS = [
    *("model", "seed", "split", "arm", "size", "layer", "item"),
    *("tokens", "right", "finished", "reflections", "repairs", "idle", "wrong", "steps"),
]


class Thinker:
    """One organism `reasoner`, its problems, and the thought vectors of its own chains on the part "fit"."""

    def __init__(self, model: Any, recipe: reasoner.Recipe, plan: Preset, seed: int):
        self.model, self.suite, self.plan, self.seed = model, Reasoner(recipe), plan, seed
        self.name = "useful" if recipe.useful else "idle"
        self.problems: dict[str, list[tuple[int, ...]]] = {
            split: self.suite.problems(split, plan.chains) for split in reasoner.SPLITS
        }
        self.vectors = self._vectors()

    def ids(self, split: str) -> list[torch.Tensor]:
        """The prompts of a part."""
        return [torch.tensor(self.suite.ids(list(self.suite.prompt(numbers)))) for numbers in self.problems[split]]

    def _vectors(self) -> dict[str, Any]:
        """Directions to execution: of the true types, of the words' types, of shuffled true types, by name."""
        prompts = self.ids("fit")
        texts = lens.generate(
            self.model, prompts, temperature=1.0, max_new_tokens=LONGEST, seed=self.seed, progress=False
        )
        table = thought_segments(self.model, prompts, texts, WORDS)
        true = [self.chain(words).segments[0].kind for words in table.words]
        mixed, follows = np.array(true), (table.segment > 0).to_numpy()
        mixed[follows] = np.random.default_rng(self.seed).permutation(mixed[follows])
        labels = {"true types": true, "words": None, "shuffled types": mixed.tolist()}
        away = ["reflection", "transition"]
        return {
            name: thought_vector(self.model, prompts, texts, WORDS, labels=of, away=away) for name, of in labels.items()
        }

    def chain(self, text: str) -> reasoner.Chain:
        """What a written text says."""
        return reasoner.read(text.split(), self.suite.recipe.modulus)

    def asked(self, split: str, arms: dict[str, dict[str, Any]], of: dict[str, tuple[str, float, int]]) -> pd.DataFrame:
        """One line an arm and problem of a part; `of`: by arm its name in the table, its size and layer."""
        problems = self.problems[split]

        def right(number: int, text: Any) -> bool:
            ended = text.reason == "end" and self.chain(str(text)).said == self.suite.answer(problems[number])
            return bool(ended)

        ds = thought_lengths(
            self.model,
            self.ids(split),
            right,
            arms,
            WORDS,
            max_new_tokens=LONGEST,
            temperature=1.0,
            seed=self.seed + 1,
            progress=False,
        )
        lines = []
        for a, arm in enumerate(ds.arm.values):
            for i in range(len(problems)):
                chain = self.chain(str(ds.text.values[a, i]))
                steps = chain.count("execution") + chain.count("transition")
                lines.append(
                    (
                        self.name,
                        self.seed,
                        split,
                        *of[str(arm)],
                        i,
                        float(ds.tokens[a, i]),
                        bool(ds.right[a, i]),
                        bool(ds.finished[a, i]),
                        chain.count("reflection"),
                        chain.repairs,
                        chain.idle,
                        chain.wrong,
                        steps,
                    )
                )
        return pd.DataFrame(lines, columns=CHAINS)

    def edit(self, vector: str, layer: int, size: float, **more: Any) -> Any:
        """The edit of a vector at separators."""
        return thought_edit(self.model, self.vectors[vector], layer, WORDS, strength=size, **more)


def best(chosen: pd.DataFrame) -> tuple[int, float]:
    """Layer and size at which accuracy gained plus the share of tokens saved is largest on the part "choose"."""
    none = chosen[chosen.arm == "none"]
    of = chosen[chosen.arm == "vector"].groupby(["layer", "size"])[["right", "tokens"]].mean()
    gain = of.right - none.right.mean() + 1 - of.tokens / none.tokens.mean()
    layer, size = gain.idxmax()
    return int(layer), float(size)


def chains(thinker: Thinker, say: Callable[[str], None]) -> pd.DataFrame:
    """Layer and size on "choose" by the vector of true types; then every arm on "report"."""
    plan = thinker.plan
    tried = {f"{layer} {size}": (layer, size) for layer in plan.layers for size in plan.sizes}
    arms: dict[str, Any] = {"none": {}}
    arms |= {name: {"edits": [thinker.edit("true types", *at)]} for name, at in tried.items()}
    chosen = thinker.asked(
        "choose", arms, {"none": ("none", 0.0, -1)} | {n: ("vector", s, l) for n, (l, s) in tried.items()}
    )
    layer, size = best(chosen)
    say(f"reasoner {thinker.name} {thinker.seed}: layer {layer}, size {size:g}, of {len(tried)} tried")
    report, of = arms_of(thinker, layer, size, cap=max(2, int(chosen[chosen.arm == "none"].tokens.median())))
    return pd.concat([chosen, thinker.asked("report", report, of)], ignore_index=True)


def arms_of(
    thinker: Thinker, layer: int, size: float, cap: int
) -> tuple[dict[str, Any], dict[str, tuple[str, float, int]]]:
    """The arms on "report", and what tables call them; `cap`: tokens at most of those that are cut. Shuffled types have
    a vector as long as the true one, so that it is its direction alone that differs.
    """
    edit = thinker.edit("true types", layer, size)
    rivals = thought_rivals(thinker.model, edit, WORDS, seed=thinker.seed)
    arms = {name: rivals[name] for name in ("none", "vector", "everywhere", "random direction", "keyword ban")}
    of = {name: (name, size if name in ("vector", "everywhere", "random direction") else 0.0, layer) for name in arms}
    arms["ban of all words"] = thought_rivals(thinker.model, edit, ALL_WORDS, seed=thinker.seed)["keyword ban"]
    of["ban of all words"] = ("ban of all words", 0.0, -1)
    shuffled = thinker.edit("shuffled types", layer, 1.0)
    alike = float(thinker.edit("true types", layer, 1.0).value.norm() / shuffled.value.norm())
    for name, own in (
        ("words", thinker.edit("words", layer, size)),
        ("shuffled types", replace(shuffled, scale=size * alike)),
    ):
        arms[name], of[name] = {"edits": [own]}, (name, size, layer)
    for other in thinker.plan.sizes:
        if other != size:
            key = f"vector {other:g}"
            arms[key], of[key] = {"edits": [thinker.edit("true types", layer, other)]}, ("vector", other, layer)
    for penalty in thinker.plan.penalties:
        key = f"length penalty {penalty:g}"
        arms[key] = thought_rivals(thinker.model, edit, ALL_WORDS, penalty=penalty)["length penalty"]
        of[key] = ("length penalty", penalty, -1)
    cut = {"max_new_tokens": cap}
    arms |= {"none, capped": cut, "vector, capped": {**arms["vector"], **cut}}
    of |= {"none, capped": ("none, capped", 0.0, -1), "vector, capped": ("vector, capped", size, layer)}
    return arms, of
