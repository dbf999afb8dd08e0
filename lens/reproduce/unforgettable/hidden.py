"""Is the ability gone, or only not shown? Probes, the old vector, a little relearning, demonstrations, old states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ... import training
from ...engine.sites import Site
from ...forgetting import Probe, recover, recovered
from ...organisms.verdicts import UNTAUGHT, WORDINGS
from ...organisms.verdicts.measures import answers
from ...organisms.verdicts.tasks import BY_NAME, NAMES
from ...patching.between import patch_between
from ...prompts import Pair
from ...readout.probes import linear_probe
from .bench import Bench, of_items
from .spread import states_at

#: The layer of a probe that reads the mean of the words' embeddings: what stands in the question itself.
WORDS = -1
RIDGE = 0.1


def probes(bench: Bench, task: str, model: Any, name: str) -> pd.DataFrame:
    """Linear probes of the right answer at the last token, layer by layer, on unseen items asked in every wording.

    Splits: "item": questions, with the deciding symbol as the control task's type; "symbol": deciding symbols, so that
    a probe cannot look its answer up. None for a task that no one symbol decides.
    """
    if BY_NAME[task].decides is None:
        return pd.DataFrame()
    items = [(item, wording) for wording in WORDINGS for item in bench.parts(task).held]
    prompts = [bench.suite.prompt(item, wording) for item, wording in items]
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        words = np.stack([table[torch.tensor(ids)].mean(0).float().cpu().numpy() for ids in prompts])
    x = np.concatenate([words[None], states_at(model, prompts)])
    labels = [item.answer for item, _ in items]
    symbols = [item.deciding for item, _ in items]
    lines = []
    for split in ("item", "symbol"):
        how: dict[str, Any] = {"types": symbols} if split == "item" else {"units": symbols}
        found = linear_probe(x, labels, ridge=RIDGE, seed=bench.seed, **how)
        for number in range(len(x)):
            at = found.isel(layer=number)
            line = {name: float(at[name]) for name in ("accuracy", "low", "high", "control", "selectivity", "majority")}
            line |= {"selectivity_low": float(at.selectivity_low), "selectivity_high": float(at.selectivity_high)}
            lines.append({"layer": number - 1, "split": split, **line, "n": int(at.n), "classes": len(set(labels))})
    return pd.DataFrame(lines).assign(seed=bench.seed, task=task, model=name)


@dataclass(frozen=True)
class Means:
    """A task's vector: by layer the mean state at the last token of its questions minus that of all tasks'."""

    vectors: Tensor

    def at_site(self, site: Site) -> Tensor:
        """The vector of the site's layer."""
        return self.vectors[int(site.layer or 0)]


def task_vector(bench: Bench, model: Any, task: str, form: str, shots: int = 0) -> Means:
    """The vector of a task from the items that are trained on; `shots`: demonstrations in front of each question."""
    # those of the model before are the same for every task and kind of answers
    key = (form, shots) if model is bench.model else None
    means = bench.means.get(key) if key else None
    if means is None:
        means = {}
        for name in NAMES:
            items = bench.parts(name).forget[:48]
            prompts = [bench.suite.prompt(item, form, items[:shots]) for item in items[shots:]]
            means[name] = states_at(model, prompts).mean(1)
    if key:
        bench.means[key] = means
    return Means(torch.from_numpy(means[task] - np.mean(list(means.values()), 0)))


def vectors(bench: Bench, task: str, model: Any, name: str, form: str) -> pd.DataFrame:
    """What the task's old vector gives back of the unseen items, put in, and the new one, taken away; at the layer that
    the other half chose, beside random vectors of equal length.
    """
    items = bench.parts(task).held
    probe = Probe(f"{task} {bench.seed}", "instruction", of_items(bench.suite, items, form))
    old, new = (task_vector(bench, m, task, form) for m in (bench.model, model))
    demonstrated = task_vector(bench, model, task, form, bench.plan.demonstrations)
    before = answers(bench.model, bench.suite, items, form).greedy
    tables = []
    for of, vector in (("old", old), ("shown", demonstrated)):
        ds = recover(model, probe, vector, new if of == "old" else None, randoms=bench.plan.randoms, seed=bench.seed)
        table = recovered(ds, before, seed=bench.seed)
        tables.append(table.replace({"condition": {"old": of, "random": f"random of {of}"}}))
    return pd.concat(tables, ignore_index=True).assign(seed=bench.seed, task=task, labels=name, form=form)


def relearned(bench: Bench, task: str, model: Any, name: str, form: str) -> pd.DataFrame:
    """Accuracy on unseen items while the forgotten model, and the twin that was never taught, train on few right items;
    and what demonstrations give the two and the model before.
    """
    parts, plan, lines = bench.parts(task), bench.plan, []
    few, shown = parts.forget[: plan.few], parts.forget[: plan.demonstrations]
    # of a task that it was taught the twin is no control
    untaught = bench.twin is not None and task in UNTAUGHT
    arms = {"forgotten": model} | ({"twin": bench.twin} if untaught else {})
    for arm, start in arms.items():
        for step, value in _curve(bench, start, few, parts.held, form):
            lines.append((arm, "few right items", step, value))
    for arm, start in {"before": bench.model, **arms}.items():
        for count, before in ((0, []), (len(shown), shown)):
            lines.append((arm, "demonstrations", count, bench.accuracy(start, parts.held, form, before)))
    table = pd.DataFrame(lines, columns=["arm", "by", "step", "accuracy"])
    return table.assign(seed=bench.seed, task=task, labels=name, form=form, n=len(parts.held))


def _curve(bench: Bench, start: Any, few: Sequence[Any], held: Sequence[Any], form: str) -> list[tuple[int, float]]:
    plan, model = bench.plan, training.copies.copy_of(start)
    out: list[tuple[int, float]] = []

    def look(step: int) -> dict[str, float]:
        out.append((step, bench.accuracy(model, held, form)))
        return {"held": out[-1][1]}

    training.train(
        model,
        training.Rows.of(of_items(bench.suite, few, form)),
        training.Recipe(
            steps=plan.relearn, batch=len(few), learning_rate=plan.rate, weight_decay=0.0, schedule="constant"
        ),
        parameters=lambda name: True,
        evaluate=look,
        evaluate_at=list(range(0, plan.relearn + 1, plan.every)),
        progress=False,
    )
    return out


def layers(bench: Bench, task: str, model: Any, name: str, form: str) -> pd.DataFrame:
    """Unseen items right, of a task's answer against the next one, with the state at the last token copied from the
    model before, layer by layer; and with another question's state, or as far a step at random.
    """
    words, items = BY_NAME[task].answers, bench.parts(task).held
    prompts = []
    for item in items:
        text = bench.suite.vocabulary[0] + " " + " ".join([*bench.suite.prefix(task, form), *item.words, ":"])
        foil = words[(words.index(item.answer) + 1) % len(words)]
        prompts.append(Pair(text, corrupted=text, answer=f" {item.answer}", foil=f" {foil}"))
    ds = patch_between(
        model, bench.model, prompts, controls=("random",), positions="last", seed=bench.seed, progress=False
    ).squeeze("position", drop=True)
    into, source = (float((ds[of] > 0).mean()) for of in ("into", "source"))
    lines = []
    for layer in ds.layer.values:
        at = ds.sel(layer=layer)
        random = at.into + at.control_effect.sel(control="random")
        lines.append((int(layer), into, source, float((at.value > 0).mean()), float((random > 0).mean()), len(items)))
    table = pd.DataFrame(lines, columns=["layer", "into", "source", "copied", "random", "n"])
    return table.assign(seed=bench.seed, task=task, labels=name, form=form)
