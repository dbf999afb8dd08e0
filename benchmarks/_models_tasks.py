"""The columns of tasks: the effect of every head, and vectors, on prompts of single words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lens

from ._models_additions import PROMPT, START, added, answer_logprob, direction
from ._models_cells import CLEAN, CORRUPTED, Case, Ours, Part, Values, text
from ._models_naive import Change, Naive
from ._models_readouts import head_parts


class Shots:
    """A task of single words, its prompts, and what the reference makes of them."""

    def __init__(self) -> None:
        pairs = [(f"w{20 + i}", f"w{40 + (7 * i) % 20}") for i in range(20)]
        self.task = lens.vectors.Task.from_pairs(pairs, name="words")
        self.options = dict(template="bare", start=START)

    def prompts(self, case: Case) -> list[Any]:
        """Prompts with demonstrations."""
        return lens.vectors.build(case.model, self.task, "icl", n=3, shots=2, split="valid", **self.options)

    @cached_property
    def texts(self) -> list[Tensor]:
        """The tokens of the same prompts, put together here."""
        draw = np.random.default_rng([0, 0])
        questions, pool = self.task.numbers("valid"), np.asarray(self.task.train)
        asked = np.concatenate([draw.permutation(len(questions)) for _ in range(-(-3 // len(questions)))])[:3]
        made = []
        for q in (questions[i] for i in asked):
            shown = draw.choice(pool[pool != q], 2, replace=False)
            draw.permutation(2)
            words = [w for i in shown for w in self.task.pairs[i]] + [self.task.pairs[q][0]]
            made.append(torch.tensor([START, *(int(w[1:]) for w in words)]))
        return made

    def means(self, naive: Naive) -> tuple[dict[int, Tensor], Tensor]:
        """Mean over the prompts, at their last token: of z by layer, and of the stream after each layer."""
        layers = naive.where.having("z", naive.n_layers)
        z = {l: torch.stack([naive.read(t, [("z", l)])[0][-1].double() for t in self.texts]).mean(0) for l in layers}
        posts = [("resid_post", l) for l in range(naive.n_layers)]
        resid = [torch.stack(naive.read(t, posts))[:, -1].double() for t in self.texts]
        return z, torch.stack(resid).mean(0)


def head_effects(case: Case) -> list[Part]:
    """Each head's output replaced by its mean over informative prompts; exactly, and from gradients."""
    shots = Shots()
    if not (layers := case.having("z")):
        return [Part("exact", lambda c: _effects(c, shots, "exact", []), None, case.where.reason("z", 0))]
    made = [
        Part("means", lambda c: _means(c, shots, layers), lambda c, n: _meant(n, shots)),
        Part("exact", lambda c: _effects(c, shots, "exact", layers), lambda c, n: _mediated(c, n, shots, layers)),
        Part("atp", lambda c: _effects(c, shots, "atp", layers), lambda c, n: _estimated(c, n, shots, layers)),
    ]
    return made


def _means(case: Case, shots: Shots, layers: Sequence[int]) -> Ours:
    means = lens.vectors.mean_activations(case.model, shots.prompts(case))
    return Ours({"z": means.z[list(layers)], "resid": means.resid})


def _meant(naive: Naive, shots: Shots) -> Values:
    z, resid = shots.means(naive)
    return {"z": (torch.stack(list(z.values())), None), "resid": (resid, None)}


def _effects(case: Case, shots: Shots, method: str, layers: Sequence[int]) -> Ours:
    means = lens.vectors.mean_activations(case.model, shots.prompts(case))
    ds = lens.vectors.head_effects(
        case.model,
        shots.task,
        means=means,
        trials=2,
        shots=2,
        method=method,
        metric="logprob",
        progress=False,
        **shots.options,
    )
    case.notes["trials"] = [(t, y) for t, y in zip(lens.record(ds)["texts"], ds.y.values)]
    effect = ds.effect.sel(layer=list(layers)).transpose("prompt", "layer", "head")
    return Ours({"effect": effect.values, "base": ds.base.values}, ds)


def _trials(case: Case) -> list[tuple[Tensor, int]]:
    """Tokens and answers of the prompts that were edited, by their texts in the record."""
    return [
        (torch.tensor([START, *(int(w[1:]) for w in of.split())]), int(str(y)[1:])) for of, y in case.notes["trials"]
    ]


def _mediated(case: Case, naive: Naive, shots: Shots, layers: Sequence[int]) -> Values:
    z, _ = shots.means(naive)
    effects, bases = [], []
    for ids, answer in _trials(case):
        base = answer_logprob(naive, ids, [answer])[0]
        bases.append(base)
        of = [
            [answer_logprob(naive, ids, [answer], [_head(l, h, z, ids)])[0] - base for h in range(len(z[l]))]
            for l in layers
        ]
        effects.append(torch.tensor(of))
    scale = float(torch.stack(effects).abs().max())
    return {"effect": (torch.stack(effects), scale), "base": (torch.stack(bases), scale)}


def _head(layer: int, head: int, z: dict[int, Tensor], ids: Tensor) -> Change:
    def put(x: Tensor) -> Tensor:
        new = x.clone()
        new[:, len(ids) - 1, head] = z[layer][head].to(x)
        return new

    return "z", layer, put


def _estimated(case: Case, naive: Naive, shots: Shots, layers: Sequence[int]) -> Values:
    z, _ = shots.means(naive)
    effects, bases = [], []
    for ids, answer in _trials(case):
        places = [("z", l) for l in layers]
        own = naive.read(ids, places)
        grads = naive.gradients(ids, places, lambda x: x[-1].float().log_softmax(-1)[answer])
        bases.append(answer_logprob(naive, ids, [answer])[0])
        gaps = [(z[l] - o[-1].double()) * g[-1].double() for l, o, g in zip(layers, own, grads)]
        effects.append(torch.stack([gap.sum(-1) for gap in gaps]))
    scale = float(torch.stack(effects).abs().max())
    return {"effect": (torch.stack(effects), scale), "base": (torch.stack(bases), scale)}


def vectors(case: Case) -> list[Part]:
    """A vector from heads, what it does to a task at every layer, and a direction from two sets of texts."""
    shots = Shots()
    made = [Part("contrast", _contrast, lambda c, n: _contrasted(n))]
    if not (layers := case.having("z")):
        return [*made, Part("extract", lambda c: _extract(c, shots, [(0, 0)]), None, case.where.reason("z", 0))]
    heads = [(layers[0], 1), (layers[-1], 2)]
    return [
        *made,
        Part("extract", lambda c: _extract(c, shots, heads), lambda c, n: {"direction": (_sum(n, shots, heads), None)}),
        Part("evaluate", lambda c: _evaluate(c, shots), lambda c, n: _evaluated(n, shots)),
    ]


def _extract(case: Case, shots: Shots, heads: Sequence[tuple[int, int]]) -> Ours:
    means = lens.vectors.mean_activations(case.model, shots.prompts(case))
    vector = lens.vectors.extract(case.model, shots.task, heads=heads, means=means)
    return Ours({"direction": vector.direction})


def _sum(naive: Naive, shots: Shots, heads: Sequence[tuple[int, int]]) -> Tensor:
    z, _ = shots.means(naive)
    return sum(head_parts(naive, l, z[l].to(naive.model.dtype))[0][h] for l, h in heads)


def _evaluate(case: Case, shots: Shots) -> Ours:
    vector = lens.vectors.Vector(direction(), name="drawn")
    ds = lens.vectors.evaluate(
        case.model, shots.task, {"drawn": vector}, strengths=(1.0, 2.0), n=2, progress=False, **shots.options
    )
    own = {k: ds[k].isel(condition=0, vector=0).transpose("item", "layer", "strength").values for k in ("logprob",)}
    return Ours(own | {"base": ds.base_logprob.isel(condition=0).values}, ds)


def _evaluated(naive: Naive, shots: Shots) -> Values:
    draw, questions = np.random.default_rng([0, 0]), shots.task.numbers("test")
    values, bases = [], []
    for i in draw.permutation(len(questions))[:2]:
        x, y = shots.task.pairs[questions[i]]
        ids, answer = torch.tensor([START, int(x[1:])]), [int(y[1:])]
        bases.append(answer_logprob(naive, ids, answer).sum())
        at = [len(ids) - 1]
        values.append(
            torch.stack([
                torch.stack([
                    answer_logprob(naive, ids, answer, [("resid_post", l, added(direction(), at, s))]).sum()
                    for s in (1.0, 2.0)
                ])
                for l in range(naive.n_layers)
            ])
        )  # fmt: skip
    scale = float((torch.stack(values) - torch.stack(bases)[:, None, None]).abs().max())
    return {"logprob": (torch.stack(values), scale), "base": (torch.stack(bases), scale)}


_SETS = ([CLEAN, CORRUPTED[:6]], [CORRUPTED, CLEAN[3:], CLEAN[1:5]])


def _contrast(case: Case) -> Ours:
    first, second = ([text(ids) for ids in some] for some in _SETS)
    return Ours({"vectors": lens.vectors.contrast(case.model, first, second, start=START).vectors})


def _contrasted(naive: Naive) -> Values:
    posts = [("resid_post", l) for l in range(naive.n_layers)]
    means = [
        torch.stack(
            [torch.stack(naive.read(torch.cat([PROMPT[:1], ids]), posts))[:, -1].double() for ids in some]
        ).mean(0)
        for some in _SETS
    ]
    return {"vectors": (means[0] - means[1], None)}
