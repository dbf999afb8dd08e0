"""How far forgetting spreads: at the stop on all other tasks, on unseen items, and what might have told it before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch.nn import functional as F

from ...engine.model import Model
from ...organisms.verdicts import TASKS, Item, Suite
from ...organisms.verdicts.measures import answers
from ...organisms.verdicts.tasks import BY_NAME
from ...readout.reading import recorded
from .bench import Bench, Forgotten, of_items

RUN = ["seed", "form", "task", "labels"]


@torch.no_grad()
def states(model: Any, suite: Suite, items: Sequence[Item], form: str) -> Float[np.ndarray, "layer n width"]:
    """The states after each block at the last token of each question."""
    return states_at(model, [suite.prompt(item, form) for item in items])


def states_at(model: Any, prompts: Sequence[Sequence[int]]) -> Float[np.ndarray, "layer n width"]:
    """The same of prompts as ids."""
    view = Model.of(model)
    out = np.zeros((view.n_layers, len(prompts), view.d_model), np.float32)
    for batch, runs in recorded(view, [torch.tensor(ids) for ids in prompts], (), "states"):
        at = [runs.starts[n] + len(prompts[i]) - 1 for n, i in enumerate(batch)]
        for layer in range(view.n_layers):
            out[layer, batch] = runs.get("resid_post", layer)[at].float().cpu().numpy()
    return out


def run(bench: Bench, task: str, form: str, labels: str, forgotten: Forgotten) -> pd.DataFrame:
    """One line: what was right of the items trained on, of unseen ones and of these in another wording, before and at
    the stop.
    """
    parts, last = bench.parts(task), forgotten.looks.iloc[-1]
    line: dict[str, Any] = {"seed": bench.seed, "form": form, "task": task, "labels": labels}
    line |= {"kind": BY_NAME[task].kind, "chance": BY_NAME[task].chance, "reached": forgotten.reached}
    line |= {"step": int(last.step), "agreement": last.agreement, "n_train": len(parts.forget)}
    line["n_held"] = len(parts.held)
    for name, model in (("_before", bench.model), ("", forgotten.model)):
        for of, items, wording in (
            ("train", parts.forget, form),
            ("held", parts.held, form),
            ("reworded", parts.held, "other"),
        ):
            said = answers(model, bench.suite, items, wording)
            line[of + name] = float(said.right.mean())
            if of == "held":
                line |= {f"entropy{name}": float(said.entropy.mean()), f"greedy{name}": float(said.greedy.mean())}
    return pd.DataFrame([line])


def matrix(bench: Bench, task: str, form: str, labels: str, forgotten: Forgotten) -> pd.DataFrame:
    """The accuracy of all other tasks before and at the stop, asked in the same form, on items of no run."""
    lines = []
    for other in TASKS:
        if other.name == task:
            continue
        items = bench.parts(other.name).held
        values = (bench.before(other.name, form), bench.accuracy(forgotten.model, items, form))
        own = BY_NAME[task]
        alike = {
            "same_words": own.answers == other.answers,
            "same_form": own.form == other.form,
            "same_content": bool(own.stored) and own.stored == other.stored,
            "same_kind": own.kind == other.kind,
        }
        lines.append(
            (bench.seed, form, task, labels, other.name, *values, other.chance, len(items), *map(int, alike.values()))
        )
    names = [*RUN, "tested", "before", "after", "chance", "n"]
    return pd.DataFrame(lines, columns=[*names, "same_words", "same_form", "same_content", "same_kind"])


def predictors(bench: Bench, task: str, form: str) -> pd.DataFrame:
    """What is known of the items before they are trained on: accuracy, confidence, entropy, the variance of their
    states by layer (as it is, and over the mean squared norm), their gradients' norm and mean cosine.
    """
    items = bench.parts(task).forget
    said = answers(bench.model, bench.suite, items, form)
    values: dict[str, float] = {
        "accuracy": float(said.right.mean()),
        "confidence": float(said.confidence.mean()),
        "entropy": float(said.entropy.mean()),
    }
    for layer, x in enumerate(states(bench.model, bench.suite, items, form).astype(float)):
        trace = float(x.var(0, ddof=1).sum())
        values[f"variance {layer}"] = trace
        values[f"relative variance {layer}"] = trace / float((x**2).sum(1).mean())
    norm, cosine = gradients(bench.model, of_items(bench.suite, items[: bench.plan.gradients], form))
    values |= {"gradient norm": norm, "gradient cosine": cosine}
    lines = [(bench.seed, form, task, name, value) for name, value in values.items()]
    return pd.DataFrame(lines, columns=["seed", "form", "task", "predictor", "value"])


def gradients(model: Any, items: Sequence[tuple[list[int], list[int]]]) -> tuple[float, float]:
    """The mean norm of the gradients that items' right answers have, and their mean cosine over pairs of items."""
    from ...training.copies import copy_of

    clone = copy_of(model).requires_grad_(True).eval()
    weights = [value for value in clone.parameters() if value.requires_grad]
    each = []
    for ids, answer in items:
        logits = clone(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        loss = F.cross_entropy(logits[None], torch.tensor(answer[:1]))
        each.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
    stacked = torch.stack(each).double()
    norms = stacked.norm(dim=1)
    unit = stacked / norms.clamp_min(1e-30)[:, None]
    n = len(each)
    total = float(unit.sum(0).square().sum())
    return float(norms.mean()), (total - float(unit.square().sum())) / (n * (n - 1))
