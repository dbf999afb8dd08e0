"""The vectors that the reproduction of Function Vectors compares on a task, and what is measured with them: each step
is a Dataset, kept under the seed and the task by `common.Steps`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ... import vectors
from ...results import dataset as results
from ...tokens import token_strings, tokenizer_of
from ...vectors import Task, VectorError
from .bench import Bench, of_task
from .draws import RANDOM, is_draw, light, light_sweep, random_draws
from .heads import INSTRUCTION, OWN, UNIVERSAL, against_hooks, answers, effects, mean_effects, means

#: the vectors that stand beside those of head sets
AVERAGE, OTHER, DISTRIBUTED = "layer average", "another task's", "each head at its layer"
#: tokens that are written after a natural sentence, as published
TOKENS = 5

#: by vector, the layer and the strength that validation chose, and the accuracy there
Cells = Mapping[str, Mapping[str, float]]


def make_vectors(
    bench: Bench, task: Task, sets: Mapping[str, Mapping[str, Sequence[tuple[int, int]]]], other: Task
) -> dict[str, Any]:
    """The vectors that are compared on a task, in the order of the tables. `other` is the task whose vector is the
    control; random directions have the norm of the published recipe's vector, and every task and seed has its own draws
    of them.
    """

    def take(t: Task, heads: str, source: str = "demonstrations") -> vectors.Vector:
        return vectors.extract(bench.model, t, heads=list(sets[t.name][heads]), means=means(bench, t, source))

    compared = {UNIVERSAL: take(task, UNIVERSAL), OWN: take(task, OWN)}
    if task.instruction:
        compared[INSTRUCTION] = take(task, INSTRUCTION, "instruction")
    compared |= {AVERAGE: vectors.layer_average(means(bench, task)), **random_draws(bench, compared[UNIVERSAL])}
    if other.name != task.name:
        compared[OTHER] = take(other, UNIVERSAL)
    return compared


@of_task("sweep", light=light_sweep)
def sweep(bench: Bench, task: Task, compared: Mapping[str, Any]) -> xr.Dataset:
    """Every vector at every layer and strength, zero-shot, on the validation questions."""
    return bench.evaluate(task, compared, "valid", layers=bench.layers, strengths=bench.plan.strengths)


def chosen_cells(swept: xr.Dataset) -> dict[str, dict[str, float]]:
    """By vector, the layer and strength with the highest accuracy in a sweep; ties go to the higher mean
    log-probability of the answer.
    """
    cells = {}
    for name in map(str, swept.vector.values):
        at = swept.sel(vector=name, condition="zero_shot")
        right = at.correct.astype(float).mean("item")
        best = (right + 1e-6 * at.mean_logprob.clip(-1e4, 0)).argmax(("layer", "strength"))
        cells[name] = {
            "layer": int(at.layer[best["layer"]]),
            "strength": float(at.strength[best["strength"]]),
            "accuracy": float(right.isel(best)),
        }
    return cells


def only(cell: Mapping[str, float]) -> dict[str, list]:
    """A cell as the layers and strengths of a grid."""
    return {"layers": [int(cell["layer"])], "strengths": [float(cell["strength"])]}


def test(bench: Bench, task: Task, compared: Mapping[str, Any], chosen: Cells) -> None:
    """Every vector on the test questions, zero-shot and with shuffled labels, at the layers and strengths that the
    validation chose and at a third of the depth.
    """
    third = bench.layers[int(np.argmin([abs(l - bench.decoder.n_layers / 3) for l in bench.layers]))]
    cells = [c for name, c in chosen.items() if name != RANDOM]
    layers = sorted({int(c["layer"]) for c in cells} | {third})
    strengths = sorted({float(c["strength"]) for c in cells})

    def tested(draws: bool, **cells: Any) -> xr.Dataset:
        some = {n: v for n, v in compared.items() if is_draw(n) == draws}
        return bench.evaluate(task, some, "test", "zero_shot", "shuffled", shots=bench.plan.shots, **cells)

    bench.kept(f"{task.name}/test_random", lambda: tested(True, **only(chosen[RANDOM])), light=light)
    bench.kept(f"{task.name}/test", lambda: tested(False, layers=layers, strengths=strengths), light=light)


@of_task("written")
def written(bench: Bench, task: Task, compared: Mapping[str, Any], chosen: Cells) -> xr.Dataset:
    """The published recipe's vector and random ones in natural sentences, at the layer and strength chosen zero-shot:
    whether the answer is in the first tokens that the model writes there.
    """
    at, most = chosen[UNIVERSAL], bench.plan.written_items or bench.plan.text_items
    return vectors.written(
        bench.model,
        task,
        {UNIVERSAL: compared[UNIVERSAL], RANDOM: [v for name, v in compared.items() if is_draw(name)]},
        layer=int(at["layer"]),
        strength=float(at["strength"]),
        tokens=TOKENS,
        n=bench.n(task, "test", most, len(task.texts)),
        seed=bench.seed,
        start=bench.start,
        progress=bench.progress,
    )


@of_task("text", light=light)
def text(bench: Bench, task: Task, compared: Mapping[str, Any], chosen: Cells) -> xr.Dataset:
    """... and whether the answer comes next."""
    n = bench.n(task, "test", bench.plan.text_items, len(task.texts))
    return bench.evaluate(task, _with_draws(compared), "test", "text", n=n, **only(chosen[UNIVERSAL]))


@of_task("shots")
def shots(bench: Bench, task: Task, compared: Mapping[str, Any], chosen: Cells) -> xr.Dataset:
    """Accuracy by the number of demonstrations, with the published recipe's vector and without it, at the cell chosen
    without any; test questions.

    ``correct`` shots x item, ``base_correct`` the same without a vector.
    """
    counts, n = list(bench.plan.shot_counts), bench.n(task, "test", bench.plan.shot_items or bench.plan.items)
    mine = {UNIVERSAL: compared[UNIVERSAL]}
    parts = [bench.evaluate(task, mine, "test", "icl", shots=k, n=n, **only(chosen[UNIVERSAL])) for k in counts]
    records = [results.provenance(p) for p in parts]
    first = {"layer": 0, "strength": 0, "condition": 0, "vector": 0}
    cut = [light(p)[["correct", "base_correct"]].isel(first) for p in parts]
    complete = all(r["status"] == "complete" for r in records)
    return results.stamp(
        xr.concat(cut, xr.IndexVariable("shots", counts)),
        records[0]
        | {
            "kind": "shot curve",
            "status": "complete" if complete else "partial",
            "seconds": round(sum(r["seconds"] for r in records), 4),
            "call": records[0]["call"] | {"shots": counts, "prompts": [r["call"]["prompts"] for r in records]},
        },
    )


def distributed(bench: Bench, task: Task, compared: Mapping[str, Any]) -> None:
    """Each head's part added at its own layer's attention output instead of the sum at one layer; the strength is
    chosen on the validation questions.
    """

    def spread(split: str, strengths: Sequence[float]) -> xr.Dataset:
        mine = {UNIVERSAL: compared[UNIVERSAL]}
        return bench.evaluate(task, mine, split, strengths=strengths, distributed=True)

    swept = bench.kept(
        f"{task.name}/distributed_valid", lambda: spread("valid", bench.plan.strengths), light=light_sweep
    )
    strength = chosen_cells(swept)[UNIVERSAL]["strength"]
    bench.kept(f"{task.name}/distributed_test", lambda: spread("test", [strength]), light=light)


@of_task("curve", light=lambda ds: light(ds)[["correct"]].isel(layer=0, strength=0, condition=0))
def curve(bench: Bench, task: Task, tasks: Sequence[Task], chosen: Cells) -> xr.Dataset:
    """Vectors of ever more heads, in the order of the other tasks' mean effect, beside as many heads drawn at random;
    test questions, at the cell of the usual number.
    """
    return vectors.head_count_curve(
        bench.model,
        task,
        mean_effects(bench, [t for t in tasks if t.name != task.name] or tasks),
        bench.plan.counts,
        means=means(bench, task),
        split="test",
        n=bench.n(task, "test"),
        **only(chosen[UNIVERSAL]),
        **bench.walk,
    )


@of_task("portability", light=lambda ds: light(ds).isel(layer=0, strength=0, condition=0))
def ported(bench: Bench, task: Task, compared: Mapping[str, Any], chosen: Cells) -> xr.Dataset:
    """The published recipe's vector and random ones where the question has another form, at the cell chosen in the
    vector's own form; test questions, zero-shot.
    """
    at, walk = chosen[UNIVERSAL], {k: v for k, v in bench.walk.items() if k != "template"}
    return vectors.portability(
        bench.model,
        task,
        _with_draws(compared),
        bench.plan.templates,
        int(at["layer"]),
        strength=float(at["strength"]),
        split="test",
        n=bench.n(task, "test"),
        **walk,
    )


def _with_draws(compared: Mapping[str, Any]) -> dict[str, Any]:
    """The published recipe's vector and the draws of its random control."""
    return {n: v for n, v in compared.items() if n == UNIVERSAL or is_draw(n)}


@of_task("sources")
def sources(bench: Bench, task: Task, compared: Mapping[str, Any]) -> xr.Dataset:
    """The vector from demonstrations against the one from the instruction text: their cosine, and that of the two
    means' contributions of the same heads.
    """
    own = compared[OWN]
    same = vectors.extract(bench.model, task, heads=list(own.heads), means=means(bench, task, "instruction"))
    cosines = {"cosine": float(own.cosine(compared[INSTRUCTION])), "cosine_same_heads": float(own.cosine(same))}
    return bench.stamped(xr.Dataset(cosines), "vector sources", task=task.name)


@of_task("vocabulary")
def vocabulary(bench: Bench, task: Task, compared: Mapping[str, Any], k: int = 10) -> xr.Dataset:
    """The tokens that a vector reads as, and which of them begin an answer of the task; the random vectors beside
    it.
    """
    splits = (bench.prompts(task, "zero_shot", split=split) for split in ("train", "valid", "test"))
    starts = {p.answer_ids[0] for prompts in splits for p in prompts}
    words = set(token_strings(tokenizer_of(bench.model), sorted(starts)))
    rows = {n: v.decode(bench.model, k) for n, v in _with_draws(compared).items()}
    token, prob = ([[row[i] for row in rows[n]] for n in rows] for i in (0, 1))
    axes = ("vector", "place")
    ds = xr.Dataset(
        {"prob": (axes, np.array(prob, float)), "answer": (axes, [[t in words for t in row] for row in token])},
        coords={"vector": list(rows), "place": range(k), "token": (axes, token)},
    )
    return bench.stamped(ds, "vector vocabulary", task=task.name)


def need_tasks(known: Mapping[str, float], usable: float) -> list[str]:
    """Names of tasks that are answered often enough.

    Raises: VectorError: none is.
    """
    names = [n for n, a in known.items() if a >= usable]
    if not names:
        raise VectorError(
            f"tasks: none is answered in {100 * usable:.0f} % of the cases after demonstrations (best:"
            f" {max(known, key=lambda t: known[t])}, {100 * max(known.values()):.0f} %); give other tasks with data=,"
            " or a model that knows these."
        )
    return names


# -- the order of a run ------------------------------------------------------------------------------------------------


def first_part(bench: Bench, task: Task) -> None:
    """What a task gives by itself: answers, means and effects from both sources, estimates, the check against hooks."""
    answers(bench, task)
    effects(bench, task)
    for method in bench.plan.methods:
        effects(bench, task, method)
    if task.instruction:
        effects(bench, task, source="instruction")
    against_hooks(bench, task)


def second_part(bench: Bench, task: Task, tasks: Sequence[Task], sets: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """What needs the other tasks' heads: vectors, sweep, choice, report, controls; the vector of the next task in the
    list is a control. Returns all steps of the task by name.
    """
    other = tasks[([t.name for t in tasks].index(task.name) + 1) % len(tasks)]
    compared = make_vectors(bench, task, sets, other)
    chosen = chosen_cells(sweep(bench, task, compared))
    test(bench, task, compared, chosen)
    distributed(bench, task, compared)
    if task.texts:
        written(bench, task, compared, chosen)
        text(bench, task, compared, chosen)
    shots(bench, task, compared, chosen)
    curve(bench, task, tasks, chosen)
    ported(bench, task, compared, chosen)
    if task.instruction:
        sources(bench, task, compared)
    vocabulary(bench, task, compared)
    prefix = f"seed-{bench.seed}/{task.name}/"
    return {name.removeprefix(prefix): ds for name, ds in bench.steps.held.items() if name.startswith(prefix)}
