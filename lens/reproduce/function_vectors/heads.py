"""What a task gives by itself in the reproduction of Function Vectors: answers without an edit, mean activations, the
effect of every head, exact and estimated; and the sets of strongest heads.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from ... import vectors
from ...engine.edited import edited
from ...engine.edits import Edit
from ...engine.model import Model
from ...engine.sites import Site
from ...readout.answers import read_answers
from ...results import dataset as results
from ...vectors import Means, Task
from ...vectors.mediation import TRIALS_SEED
from .bench import Bench, of_task
from .draws import unlabelled

#: vectors of three sets of heads; the first is the published recipe, with heads that the evaluated task had no part in
#: choosing
UNIVERSAL, OWN, INSTRUCTION = "universal heads", "own heads", "from instruction"


@of_task("answers")
def answers(bench: Bench, task: Task) -> xr.Dataset:
    """What the model answers without any edit, on the test questions: with demonstrations, with their labels shuffled,
    with neither, with the instruction.

    ``correct`` (the whole answer) and ``first`` (its first token), condition x item.
    """
    kinds = ["icl", "shuffled", "zero_shot"] + (["instruction"] if task.instruction else [])
    scores = []
    for kind in kinds:
        prompts = bench.prompts(task, kind, n=bench.n(task, "test"))
        scores.append(read_answers(bench.decoder, [p.ids for p in prompts], [p.answer_ids for p in prompts]))
    by, axes = np.stack(scores), ("condition", "item")
    ds = xr.Dataset(
        {"correct": (axes, by[..., 3] == 1), "first": (axes, by[..., 2] == 0)},
        coords={"condition": kinds, "item": range(by.shape[1])},
    )
    form = {"shots": bench.plan.shots, "template": bench.plan.template, "split": "test"}
    return bench.stamped(ds, "task answers", task=task.name, **form)


def means(bench: Bench, task: Task, source: str = "demonstrations") -> Means:
    """Mean activations at the last token, from demonstrations (validation questions) or from the instruction text, of
    the prompts that the model answers where there are any.
    """

    def make() -> xr.Dataset:
        form = {"shots": bench.plan.shots, "template": bench.plan.template, "seed": bench.seed, "start": bench.start}
        with warnings.catch_warnings():  # that it answers none of the instruction's prompts stands in the record
            warnings.filterwarnings("ignore", message="the model answers none")
            mean = vectors.task_means(bench.model, task, source=source, n=bench.plan.mean_prompts, **form)
        ds = xr.Dataset(
            {
                "z": (("layer", "head", "channel"), mean.z.float().cpu().numpy()),
                "resid": (("layer", "d_model"), mean.resid.float().cpu().numpy()),
            }
        )
        about = {name: getattr(mean, name) for name in ("n", "asked", "known", "filtered")}
        return bench.stamped(ds, "task means", task=task.name, source=source, **about)

    return read_means(bench.kept(f"{task.name}/means_{source}", make))


def read_means(ds: xr.Dataset) -> Means:
    """Means from a stored step."""
    call = results.provenance(ds)["call"]
    about = (call[name] for name in ("n", "source", "task", "asked", "known", "filtered"))
    return Means(torch.tensor(ds.z.values), torch.tensor(ds.resid.values), *about)


def effects(bench: Bench, task: Task, method: str = "exact", source: str = "demonstrations") -> xr.Dataset:
    """The indirect effect of every head on prompts with shuffled labels, exact or estimated."""
    plan, exact = bench.plan, method == "exact" and source == "demonstrations"
    trials = plan.trials if exact else plan.instruction_trials if method == "exact" else plan.methods[method]
    name = f"effects_{source}" if method == "exact" else f"effects_{method.replace('*', '_star')}"

    def make() -> xr.Dataset:
        options = {"shots": plan.shots, "source": source, "method": method, "metric": "prob", **bench.walk}
        with warnings.catch_warnings():  # how many outputs share a first token stands in the record
            warnings.filterwarnings("ignore", message=".*share their first token")
            return vectors.head_effects(bench.model, task, means=means(bench, task, source), trials=trials, **options)

    def light(ds: xr.Dataset) -> xr.Dataset:
        """The tables read the means over prompts; of the exact effects every prompt's stay."""
        if exact:
            return unlabelled(ds[["effect", "base"]])
        return ds[["effect"]].mean("prompt", keep_attrs=True).expand_dims("prompt")

    return bench.kept(f"{task.name}/{name}", make, light=light)


@of_task("against_hooks")
def against_hooks(bench: Bench, task: Task) -> xr.Dataset:
    """Exact effects from the walk beside those of plain hooked forwards, one a head: on the first prompts, for heads
    drawn at random and the strongest.
    """
    exact, mean = effects(bench, task), means(bench, task)
    flat = exact.effect.mean("prompt").transpose("layer", "head").values
    rng, n_heads = np.random.default_rng(bench.seed), flat.shape[1]
    drawn = np.concatenate([[flat.argmax()], rng.permutation(flat.size)[: bench.plan.naive_heads - 1]])
    prompts = bench.prompts(task, "shuffled", n=bench.plan.trials, split="valid", seed=bench.seed + TRIALS_SEED)
    cells, walk, hooked = [], [], []
    for p, prompt in enumerate(prompts[:2]):
        ids, first = prompt.ids[None].to(bench.decoder.device), prompt.answer_ids[0]
        base = _probability(bench.decoder, ids, first)
        for l, h in (divmod(int(cell), n_heads) for cell in drawn):
            site = Site("z", layer=l, head=h, position=ids.shape[1] - 1)
            with edited(bench.model, Edit(site, "replace", mean.z[l, h])):
                hooked.append(_probability(bench.decoder, ids, first) - base)
            walk.append(float(exact.effect.isel(prompt=p).sel(layer=l, head=h)))
            cells.append((p, l, h))
    places = dict(zip(("prompt", "layer", "head"), zip(*cells)))
    ds = xr.Dataset(
        {"walk": ("cell", walk), "hooked": ("cell", hooked)}, {name: ("cell", list(at)) for name, at in places.items()}
    )
    return bench.stamped(ds, "head effects against hooks", task=task.name)


@torch.no_grad()
def _probability(decoder: Model, ids: torch.Tensor, token: int) -> float:
    return float(decoder.hf(input_ids=ids, use_cache=False).logits[0, -1].float().softmax(-1)[token])


def head_sets(bench: Bench, tasks: Sequence[Task]) -> dict[str, dict[str, list[tuple[int, int]]]]:
    """By task: its own strongest heads, those from instruction text, and the universal set of all other tasks."""
    k, exact = bench.plan.heads, {t.name: effects(bench, t) for t in tasks}
    sets = {}
    for t in tasks:
        others = {n: ds for n, ds in exact.items() if n != t.name} or exact
        sets[t.name] = {UNIVERSAL: vectors.universal(others, k), OWN: vectors.top_heads(exact[t.name], k)}
        if t.instruction:
            sets[t.name][INSTRUCTION] = vectors.top_heads(effects(bench, t, source="instruction"), k)
    return sets


def mean_effects(bench: Bench, tasks: Sequence[Task]) -> xr.Dataset:
    """The effect of every head averaged over tasks, each counting the same."""
    planes = [effects(bench, t).effect.mean("prompt") for t in tasks]
    ds = xr.Dataset({"effect": sum(planes) / len(planes)}).expand_dims("prompt")
    return bench.stamped(ds, "head effects", task=[t.name for t in tasks])
