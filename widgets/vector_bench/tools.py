"""What the vector bench asks of `lens.vectors`, and the vectors that it keeps."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from lens import Edit, Runs, Site, tokens, vectors
from lens.engine.model import Model
from widgets.base.text import finite
from widgets.vector_bench.work import OWN, SHARES, Ask, HeadSearch, listed

MOST_VECTORS = 64  # kept, with their decoding
# the bench shows the outputs that share a first token among the notes on the pairs; by module, since a thread must not
# change the filters around a call
warnings.filterwarnings("ignore", message=".*share their first token", module=r"widgets\.vector_bench\.tools")


@dataclass
class BaseRuns:
    """Some prompts with their answers appended, run once without any edit: what every vector is tried on."""

    prompts: Sequence[Any]
    runs: Runs
    lengths: list[int]


@dataclass
class Reading:
    """What some prompts are answered with: whether the whole answer is the greedy choice, and the most likely next
    token, by prompt.
    """

    correct: np.ndarray
    top: list[str]
    prob: np.ndarray


class Tools:
    """`lens.vectors` behind the few questions that the bench asks."""

    def names(self) -> list[str]:
        return list(vectors.task_names())

    def templates(self) -> list[str]:
        return list(vectors.TEMPLATES)

    def load(self, name: str, seed: int = 0) -> Any:
        return vectors.load_task(name, seed=seed, shares=SHARES)

    def shared(self, model: Any, task: Any, ask: Ask) -> dict[Any, list[str]]:
        return task.shared_first_tokens(model, ask.template)

    def own(self, pairs: Sequence[tuple[str, str]], seed: int) -> Any:
        return vectors.Task.from_pairs(pairs, name=OWN, seed=seed, shares=SHARES)

    def means(self, model: Any, task: Any, ask: Ask, stop: Callable[[], bool]) -> Any:
        """Raises Stopped: `stop`, asked between batches of prompts, said so."""
        prompts = vectors.build(
            model, task, "icl", n=ask.mean_prompts, shots=ask.shots, split="train", template=ask.template, seed=ask.seed
        )
        return vectors.mean_activations(model, prompts, known=True, task=task.name, progress=False, stop=stop)

    def effects(
        self,
        model: Any,
        task: Any,
        ask: Ask,
        means: Any,
        stop: Callable[[], bool],
        on_part: Callable[[xr.Dataset], None],
    ) -> xr.Dataset:
        return vectors.head_effects(
            model,
            task,
            means=means,
            trials=ask.trials,
            shots=ask.shots,
            split="train",
            template=ask.template,
            seed=ask.seed,
            progress=False,
            stop=stop,
            on_part=on_part,
        )

    def vector(self, model: Any, task: Any, means: Any, heads: Sequence[tuple[int, int]]) -> Any:
        return vectors.extract(model, task, heads=list(heads), means=means)

    def summary(self, effects: xr.Dataset) -> xr.Dataset:
        return vectors.summary(effects)

    def random(self, vector: Any, seed: int) -> Any:
        return vectors.random_like(vector, seed=seed)

    def average(self, means: Any) -> Any:
        return vectors.layer_average(means)

    def decode(self, model: Any, vector: Any, k: int = 10) -> list[tuple[str, float]]:
        return vector.decode(model, k=k)

    def prepare(self, model: Any, task: Any, ask: Ask, n: int) -> BaseRuns:
        """Zero-shot prompts of the validation split, run once."""
        prompts = vectors.build(
            model, task, "zero_shot", n=min(n, len(task.valid)), split="valid", template=ask.template, seed=ask.seed
        )
        whole = [
            torch.cat([torch.as_tensor(p.ids).cpu(), torch.tensor(p.answer_ids[:-1], dtype=torch.long)])
            for p in prompts
        ]
        return BaseRuns(prompts, Runs.record(Model.of(model), whole, keep=()), [len(p.ids) for p in prompts])

    @torch.no_grad()
    def read(
        self, model: Any, prepared: BaseRuns, vector: Any = None, layer: int = 0, strength: float = 1.0
    ) -> Reading:
        """The prompts with the vector added after a layer at their last token; None adds nothing. One walk for all of
        them.
        """
        engine, runs, prompts = Model.of(model), prepared.runs, prepared.prompts
        reads = [range(n - 1, n - 1 + len(p.answer_ids)) for n, p in zip(prepared.lengths, prompts, strict=True)]
        if vector is None:
            resid = torch.cat(
                [runs.final[runs.starts[i] + r.start : runs.starts[i] + r.stop] for i, r in enumerate(reads)]
            )
        else:
            site = Site("resid_post", layer=layer)
            rows = [
                (
                    i,
                    [
                        Edit(
                            Site("resid_post", layer=layer, position=n - 1), "add", vector.at_site(site), scale=strength
                        )
                    ],
                )
                for i, n in enumerate(prepared.lengths)
            ]
            resid = engine.run(runs, rows, [list(r) for r in reads]).resid
        logits = engine.unembed(resid).float()
        first = np.cumsum([0, *(len(r) for r in reads)])
        highest, best = logits.max(-1)
        wanted = logits[
            torch.arange(len(logits)), torch.tensor([t for p in prompts for t in p.answer_ids], device=logits.device)
        ]
        right = (wanted == highest).cpu().numpy()
        correct = np.array([right[a:b].all() for a, b in itertools.pairwise(first)])
        at = torch.as_tensor(first[:-1], device=logits.device)
        return Reading(
            correct,
            list(tokens.token_strings(tokens.tokenizer_of(model), best[at].tolist())),
            (wanted[at] - logits[at].logsumexp(-1)).exp().cpu().numpy(),
        )

    def complete(
        self, model: Any, prompt: Any, vector: Any, layer: int, strength: float, count: int, stop: Callable[[], bool]
    ) -> str:
        extra = {} if vector is None else {"vector": vector, "layer": layer, "strength": strength}
        return str(vectors.generate(model, prompt, max_new_tokens=count, stop=stop, **extra))

    def test(
        self, model: Any, task: Any, named: Mapping[str, Any], layer: int, strength: float, ask: Ask
    ) -> xr.Dataset:
        return vectors.evaluate(
            model,
            task,
            dict(named),
            layers=[layer],
            strengths=[strength],
            conditions=("zero_shot",),
            split="test",
            template=ask.template,
            seed=ask.seed,
            progress=False,
        )


class Vectors:
    """The vectors of the heads that were last chosen, each made once, with its decoding. `model_of` gives a side's
    model.
    """

    def __init__(self, tools: Tools, model_of: Callable[[str], Any]) -> None:
        self._tools, self._model_of = tools, model_of
        self._held: dict[tuple, dict[str, Any]] = {}

    def _kept(self, run: HeadSearch, heads: tuple) -> dict[str, Any]:
        key = (id(run), heads)
        if key not in self._held:
            if len(self._held) >= MOST_VECTORS:
                del self._held[next(iter(self._held))]
            self._held[key] = {}
        return self._held[key]

    def of(self, run: HeadSearch, side: str, heads: tuple) -> Any:
        """The `lens.vectors.Vector` of some heads in one model, from the means of a run."""
        kept = self._kept(run, heads)
        if side not in kept:
            kept[side] = self._tools.vector(self._model_of(side), run.task, run.means[side], heads)
        return kept[side]

    def about(self, run: HeadSearch, heads: tuple) -> dict[str, Any]:
        """The vector's decoding, and its cosine with the one that the same heads give in the other model."""
        kept, vector = self._kept(run, heads), self.of(run, "before", heads)
        if "decoded" not in kept:
            kept["decoded"] = listed(self._tools.decode(self._model_of("before"), vector))
        if "after" in run.means and "cosine" not in kept:
            kept["cosine"] = finite(vector.cosine(self.of(run, "after", heads)))
        return kept
