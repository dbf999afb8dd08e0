"""The same sweeps by other libraries, each in the fastest way that its own documentation describes.

A peer patches clean activations into the corrupted run and returns logit(answer) - logit(foil) at the last token, as
`[layer, position]` ("resid": the stream before each block) or `[layer, head]` ("heads": z of a head at all positions).
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Ids = Int[Tensor, "1 position"]


@dataclass(frozen=True)
class Task:
    """One pair as token ids, and the two answers' token ids."""

    clean: Ids
    corrupted: Ids
    answer: int
    foil: int

    def score(self, logits: Float[Tensor, "rows position vocab"]) -> Float[Tensor, " rows"]:
        return logits[:, -1, self.answer] - logits[:, -1, self.foil]


class TransformerLens:
    """`transformer_lens.patching`: one full forward pass a cell."""

    title, package, kinds, caches = "TransformerLens", "transformer_lens", ("resid", "heads"), True

    def __init__(self, hf: Any, tokenizer: Any):
        from lens.models import wrap

        self.model = wrap(
            hf, tokenizer, "benchmark"
        )  # boots a TransformerBridge as its documentation says, nothing folded

    def cache(self, task: Task, kind: str):
        return self.model.run_with_cache(task.clean)[1]

    def sweep(self, task: Task, kind: str, cache: Any) -> Tensor:
        from transformer_lens import patching

        run = {"resid": patching.get_act_patch_resid_pre, "heads": patching.get_act_patch_attn_head_out_all_pos}[kind]
        return run(self.model, task.corrupted, cache, lambda logits: task.score(logits)[0])


class NNsight:
    """nnsight: one trace a layer, one invoke a position or head; a trace runs its invokes as one batch."""

    title, package, kinds, caches = "nnsight", "nnsight", ("resid", "heads"), True

    def __init__(self, hf: Any, tokenizer: Any):
        from nnsight import LanguageModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 0.8 announces another name for this class; 0.8.1 documents both
            self.model = LanguageModel(hf, tokenizer=tokenizer)
        self.n_heads, self.n_layers = hf.config.num_attention_heads, hf.config.num_hidden_layers

    def cache(self, task: Task, kind: str) -> list[Tensor]:
        model, n_layers, resid = self.model, self.n_layers, kind == "resid"
        with model.trace(task.clean):
            kept = list().save()
            for layer in range(n_layers):
                kept.append(
                    model.model.layers[layer].input if resid else model.model.layers[layer].self_attn.o_proj.input
                )
        return [x.detach().clone() for x in kept]

    def sweep(self, task: Task, kind: str, cache: list[Tensor]) -> Tensor:
        return (self._resid if kind == "resid" else self._heads)(task, cache)

    def _resid(self, task: Task, cache: list[Tensor]) -> Tensor:
        model, length, rows = self.model, task.corrupted.shape[1], []
        for layer, clean in enumerate(cache):
            with model.trace() as tracer:
                scores = list().save()
                for position in range(length):
                    with tracer.invoke(task.corrupted):
                        model.model.layers[layer].input[:, position] = clean[:, position]
                        logits = model.lm_head.output
                        scores.append(logits[0, -1, task.answer] - logits[0, -1, task.foil])
            rows.append(torch.stack([torch.as_tensor(s) for s in scores]))
        return torch.stack(rows)

    def _heads(self, task: Task, cache: list[Tensor]) -> Tensor:
        model, n_heads, rows = self.model, self.n_heads, []
        width = cache[0].shape[-1] // n_heads
        for layer, clean in enumerate(cache):
            with model.trace() as tracer:
                scores = list().save()
                for head in range(n_heads):
                    with tracer.invoke(task.corrupted):
                        a, b = head * width, (head + 1) * width
                        model.model.layers[layer].self_attn.o_proj.input[:, :, a:b] = clean[:, :, a:b]
                        logits = model.lm_head.output
                        scores.append(logits[0, -1, task.answer] - logits[0, -1, task.foil])
            rows.append(torch.stack([torch.as_tensor(s) for s in scores]))
        return torch.stack(rows)


class Pyvene:
    """pyvene: one call a layer, its positions as rows of one batch; the clean run is made again in every call."""

    title, package, kinds, caches = "pyvene", "pyvene", ("resid",), False

    def __init__(self, hf: Any, tokenizer: Any):
        import pyvene

        def at(layer):
            return pyvene.IntervenableConfig(
                [pyvene.RepresentationConfig(layer, "block_input", "pos", 1)],
                intervention_types=pyvene.VanillaIntervention,
            )

        self.models = [pyvene.IntervenableModel(at(layer), model=hf) for layer in range(hf.config.num_hidden_layers)]

    def cache(self, task: Task, kind: str) -> None:
        return None

    def sweep(self, task: Task, kind: str, cache: None) -> Tensor:
        length = task.corrupted.shape[1]
        base, source = ({"input_ids": ids.repeat(length, 1)} for ids in (task.corrupted, task.clean))
        where = [[[position] for position in range(length)]]
        return torch.stack(
            [task.score(model(base, [source], {"sources->base": (where, where)})[1].logits) for model in self.models]
        )


PEERS = {"tl": TransformerLens, "nnsight": NNsight, "pyvene": Pyvene}


def installed(name: str) -> bool:
    return importlib.util.find_spec(PEERS[name].package) is not None
