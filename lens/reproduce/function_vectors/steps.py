"""What the reproduction of Function Vectors computes for one task: each step is a Dataset, kept under the seed and the
task by `common.Steps`.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from ...results.record import record_of
from ...tokens import token_strings, tokenizer_of
from ...vectors import Means, Task, VectorError
from ...vectors.mediation import TRIALS_SEED
from ..common import Steps

#: the vectors that are compared, in the order of the tables; the first is the published recipe, with heads that the
#: evaluated task had no part in choosing
UNIVERSAL, OWN, INSTRUCTION, AVERAGE, RANDOM, OTHER = (
    "universal heads",
    "own heads",
    "from instruction",
    "layer average",
    "random vector",
    "another task's",
)
DISTRIBUTED = "each head at its layer"
SOURCES = ("demonstrations", "instruction")
#: tokens that are written after a natural sentence, as published
TOKENS = 5


@dataclass(frozen=True)
class Preset:
    """How much of everything.

    `tasks` None takes all of the data; those that the model answers after demonstrations in at least `usable` of the
    cases (validation questions) go on. `methods` are estimates of the effects, with the number of prompts of each
    (equal to `trials`, or else their agreement with the exact effects is refused); `draws` is how many random vectors
    of equal norm stand for that control, which is their mean. `items` limits the questions of a split, `text_items` the
    natural sentences, `written_items` those that are continued, `shot_items` the questions of the curve over
    `shot_counts` demonstrations.
    """

    tasks: tuple[str, ...] | None = None
    usable: float = 0.5
    seeds: int = 1
    shots: int = 10
    mean_prompts: int = 100
    trials: int = 25
    heads: int = 10
    instruction_trials: int = 25
    methods: Mapping[str, int] = field(default_factory=lambda: {"atp": 25, "atp*": 25, "ig": 25})
    counts: tuple[int, ...] = (1, 2, 5, 10, 20, 40)
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0)
    every: int = 1
    items: int | None = None
    text_items: int | None = None
    written_items: int | None = None
    shot_items: int | None = None
    shot_counts: tuple[int, ...] = (0, 1, 2, 5, 10)
    draws: int = 5
    template: str = "qa"
    templates: tuple[str, ...] = ("qa", "question", "input", "arrow", "table", "say")
    naive_heads: int = 24
    composition: bool = True


@dataclass
class Bench:
    """One seed of a run: the model, the plan and where steps are kept."""

    model: Any
    plan: Preset
    steps: Steps
    seed: int
    start: Any = "auto"
    memory_mb: float = 500
    progress: bool | None = None
    say: Callable[[str], None] = lambda line: None
    decoder: Model = field(init=False)

    def __post_init__(self) -> None:
        self.decoder = Model.of(self.model)

    @property
    def layers(self) -> list[int]:
        """Layers at whose output vectors are tried."""
        return list(range(0, self.decoder.n_layers, self.plan.every))

    @property
    def walk(self) -> dict[str, Any]:
        """Arguments that every grid takes."""
        return {
            "template": self.plan.template,
            "seed": self.seed,
            "start": self.start,
            "memory_mb": self.memory_mb,
            "progress": self.progress,
        }

    def n(self, task: Task, split: str, most: int | None = None, each: int = 1) -> int | None:
        """How many questions of a split: all, or at most the plan's (`most`), none of them twice."""
        most = most or self.plan.items
        return None if most is None else min(most, len(task.numbers(split)) * each)

    def kept(self, task: str, name: str, make: Callable[[], xr.Dataset], **more: Any) -> xr.Dataset:
        """A step of a task; of the texts of its prompts the record keeps a digest, since task, seed and form make them
        anew.
        """
        return self.steps.kept(f"seed-{self.seed}/{task}/{name}", lambda: _digested(make()), **more)

    def stamped(self, ds: xr.Dataset, kind: str, **call: Any) -> xr.Dataset:
        """A Dataset made here, with its record."""
        return results.stamp(ds, record_of(self.model, self.decoder, kind, call, seed=self.seed, status="complete"))

    def prompts(self, task: Task, kind: str, **more: Any) -> list:
        """Prompts of a task in the plan's form."""
        return vectors.build(
            self.model,
            task,
            kind,
            **(
                {"shots": self.plan.shots, "template": self.plan.template, "seed": self.seed, "start": self.start}
                | more
            ),
        )


# -- one task by itself ------------------------------------------------------------------------------------------------


def answers(bench: Bench, task: Task) -> xr.Dataset:
    """What the model answers without any edit, on the test questions: with demonstrations, with their labels shuffled,
    with neither, with the instruction.

    ``correct`` (the whole answer) and ``first`` (its first token), condition x item.
    """

    def make() -> xr.Dataset:
        kinds = ["icl", "shuffled", "zero_shot"] + (["instruction"] if task.instruction else [])
        scores = []
        for kind in kinds:
            prompts = bench.prompts(task, kind, n=bench.n(task, "test"))
            scores.append(read_answers(bench.decoder, [p.ids for p in prompts], [p.answer_ids for p in prompts]))
        by = np.stack(scores)
        return bench.stamped(
            xr.Dataset(
                {
                    "correct": (("condition", "item"), by[..., 3] == 1),
                    "first": (("condition", "item"), by[..., 2] == 0),
                },
                coords={"condition": kinds, "item": range(by.shape[1])},
            ),
            "task answers",
            task=task.name,
            shots=bench.plan.shots,
            template=bench.plan.template,
            split="test",
        )

    return bench.kept(task.name, "answers", make)


def means(bench: Bench, task: Task, source: str = "demonstrations") -> Means:
    """Mean activations at the last token, from demonstrations (validation questions) or from the instruction text, of
    the prompts that the model answers where there are any.
    """

    def make() -> xr.Dataset:
        plan = bench.plan
        with warnings.catch_warnings():  # that it answers none of the instruction's prompts stands in the record
            warnings.filterwarnings("ignore", message="the model answers none")
            made = vectors.task_means(
                bench.model,
                task,
                source=source,
                n=plan.mean_prompts,
                shots=plan.shots,
                template=plan.template,
                seed=bench.seed,
                start=bench.start,
            )
        return bench.stamped(
            xr.Dataset(
                {
                    "z": (("layer", "head", "channel"), made.z.float().cpu().numpy()),
                    "resid": (("layer", "d_model"), made.resid.float().cpu().numpy()),
                }
            ),
            "task means",
            task=task.name,
            source=source,
            n=made.n,
            asked=made.asked,
            known=made.known,
            filtered=made.filtered,
        )

    return read_means(bench.kept(task.name, f"means_{source}", make))


def read_means(ds: xr.Dataset) -> Means:
    """Means from a stored step."""
    call = results.provenance(ds)["call"]
    return Means(
        torch.tensor(ds.z.values),
        torch.tensor(ds.resid.values),
        call["n"],
        call["source"],
        call["task"],
        call["asked"],
        call["known"],
        call["filtered"],
    )


def effects(bench: Bench, task: Task, method: str = "exact", source: str = "demonstrations") -> xr.Dataset:
    """The indirect effect of every head on prompts with shuffled labels, exact or estimated."""
    plan = bench.plan
    trials = (
        plan.methods[method]
        if method != "exact"
        else plan.trials
        if source == "demonstrations"
        else plan.instruction_trials
    )
    name = f"effects_{source}" if method == "exact" else f"effects_{method.replace('*', '_star')}"

    def make() -> xr.Dataset:
        with warnings.catch_warnings():  # how many outputs share a first token stands in the record
            warnings.filterwarnings("ignore", message=".*share their first token")
            return vectors.head_effects(
                bench.model,
                task,
                means=means(bench, task, source),
                trials=trials,
                shots=plan.shots,
                source=source,
                method=method,
                metric="prob",
                **bench.walk,
            )

    exact = method == "exact" and source == "demonstrations"

    # the tables read the means over prompts; of the exact effects every prompt's stay
    def light(ds):
        return (
            _unlabelled(ds[["effect", "base"]])
            if exact
            else ds[["effect"]].mean("prompt", keep_attrs=True).expand_dims("prompt")
        )

    return bench.kept(task.name, name, make, light=light)


def against_hooks(bench: Bench, task: Task) -> xr.Dataset:
    """Exact effects from the walk beside those of plain hooked forwards, one a head: on the first prompts, for heads
    drawn at random and the strongest.
    """

    def make() -> xr.Dataset:
        exact, mean = effects(bench, task), means(bench, task)
        flat = exact.effect.mean("prompt").transpose("layer", "head").values
        rng, n_heads = np.random.default_rng(bench.seed), flat.shape[1]
        drawn = np.concatenate([[flat.argmax()], rng.permutation(flat.size)[: bench.plan.naive_heads - 1]])
        rows = []
        prompts = bench.prompts(task, "shuffled", n=bench.plan.trials, split="valid", seed=bench.seed + TRIALS_SEED)
        for p in range(min(2, len(prompts))):
            ids, first = prompts[p].ids[None].to(bench.decoder.device), prompts[p].answer_ids[0]
            base = _probability(bench.decoder, ids, first)
            for cell in drawn:
                l, h = divmod(int(cell), n_heads)
                with edited(
                    bench.model, Edit(Site("z", layer=l, head=h, position=ids.shape[1] - 1), "replace", mean.z[l, h])
                ):
                    rows.append(
                        (
                            p,
                            l,
                            h,
                            float(exact.effect.isel(prompt=p).sel(layer=l, head=h)),
                            _probability(bench.decoder, ids, first) - base,
                        )
                    )
        p, l, h, walk, hooked = map(np.array, zip(*rows))
        return bench.stamped(
            xr.Dataset(
                {"walk": ("cell", walk), "hooked": ("cell", hooked)},
                coords={"prompt": ("cell", p), "layer": ("cell", l), "head": ("cell", h)},
            ),
            "head effects against hooks",
            task=task.name,
        )

    return bench.kept(task.name, "against_hooks", make)


@torch.no_grad()
def _probability(decoder: Model, ids: torch.Tensor, token: int) -> float:
    return float(decoder.hf(input_ids=ids, use_cache=False).logits[0, -1].float().softmax(-1)[token])


# -- vectors, with what other tasks give
# ----------------------------------------------------------------------------------


def head_sets(bench: Bench, tasks: Sequence[Task]) -> dict[str, dict[str, list[tuple[int, int]]]]:
    """By task: its own strongest heads, those from instruction text, and the universal set of all other tasks."""
    k, exact = bench.plan.heads, {t.name: effects(bench, t) for t in tasks}
    made = {}
    for t in tasks:
        others = {n: ds for n, ds in exact.items() if n != t.name} or exact
        made[t.name] = {UNIVERSAL: vectors.universal(others, k), OWN: vectors.top_heads(exact[t.name], k)}
        if t.instruction:
            made[t.name][INSTRUCTION] = vectors.top_heads(effects(bench, t, source="instruction"), k)
    return made


def make_vectors(
    bench: Bench, task: Task, sets: Mapping[str, Mapping[str, Sequence[tuple[int, int]]]], other: Task
) -> dict[str, Any]:
    """The vectors that are compared on a task. `other` is the task whose vector is the control; random directions have
    the norm of the published recipe's vector, and every task and seed has its own draws of them.
    """
    mine, demos = sets[task.name], means(bench, task)

    def take(t, heads, m):
        return vectors.extract(bench.model, t, heads=list(heads), means=m)

    made = {UNIVERSAL: take(task, mine[UNIVERSAL], demos), OWN: take(task, mine[OWN], demos)}
    if task.instruction:
        made[INSTRUCTION] = take(task, mine[INSTRUCTION], means(bench, task, "instruction"))
    made[AVERAGE] = vectors.layer_average(demos)
    made |= random_draws(bench, made[UNIVERSAL])
    if other.name != task.name:
        made[OTHER] = take(other, sets[other.name][UNIVERSAL], means(bench, other))
    return made


def random_draws(bench: Bench, vector: vectors.Vector) -> dict[str, vectors.Vector]:
    """The draws of the random control for a vector, by name."""
    return {f"{RANDOM} {d + 1}": vectors.random_like(vector, 1000 * bench.seed + d) for d in range(bench.plan.draws)}


def is_draw(name: Any) -> bool:
    """Whether a vector is one of the draws of the random control."""
    return str(name).startswith(f"{RANDOM} ")


def averaged(ds: xr.Dataset) -> xr.Dataset:
    """The draws of the random control put together: one vector with their mean in place of the first of them."""
    names = list(map(str, ds["vector"].values))
    draws = [n for n in names if is_draw(n)]
    if not draws:
        return ds
    of_vectors = [v for v in ds.data_vars if "vector" in ds[v].dims]
    mean = ds[of_vectors].sel(vector=draws).astype("float32").mean("vector").expand_dims(vector=[RANDOM])
    order = list(dict.fromkeys(RANDOM if is_draw(n) else n for n in names))
    rest = ds[of_vectors].sel(vector=[n for n in names if n not in draws])
    put = (
        xr.concat([rest, mean], "vector", coords="minimal", compat="override").sel(vector=order)
        if rest.sizes["vector"]
        else mean
    )
    return put.transpose(*[d for d in ds.dims if d in put.dims]).assign(
        {v: ds[v] for v in ds.data_vars if v not in of_vectors}
    )


def sweep(bench: Bench, task: Task, made: Mapping[str, Any]) -> xr.Dataset:
    """Every vector at every layer and strength, zero-shot, on the validation questions."""
    return bench.kept(
        task.name,
        "sweep",
        lambda: vectors.evaluate(
            bench.model,
            task,
            made,
            layers=bench.layers,
            strengths=bench.plan.strengths,
            conditions=("zero_shot",),
            split="valid",
            n=bench.n(task, "valid"),
            **bench.walk,
        ),
        light=swept_lightly,
    )


def chosen_cells(swept: xr.Dataset) -> dict[str, dict[str, float]]:
    """By vector, the layer and strength with the highest accuracy in a sweep; ties go to the higher mean
    log-probability of the answer.
    """
    made = {}
    for name in map(str, swept.vector.values):
        at = swept.sel(vector=name, condition="zero_shot")
        right = at.correct.astype(float).mean("item")
        best = (right + 1e-6 * at.mean_logprob.clip(-1e4, 0)).argmax(("layer", "strength"))
        made[name] = {
            "layer": int(at.layer[best["layer"]]),
            "strength": float(at.strength[best["strength"]]),
            "accuracy": float(right.isel(best)),
        }
    return made


def test(bench: Bench, task: Task, made: Mapping[str, Any], chosen: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
    """Every vector on the test questions, zero-shot and with shuffled labels, at the layers and strengths that the
    validation chose and at a third of the depth.
    """
    third = bench.layers[int(np.argmin([abs(l - bench.decoder.n_layers / 3) for l in bench.layers]))]
    cells = [c for name, c in chosen.items() if name != RANDOM]
    layers = sorted({int(c["layer"]) for c in cells} | {third})
    strengths = sorted({float(c["strength"]) for c in cells})

    def call(of, layers, strengths):
        return vectors.evaluate(
            bench.model,
            task,
            of,
            layers=layers,
            strengths=strengths,
            conditions=("zero_shot", "shuffled"),
            shots=bench.plan.shots,
            split="test",
            n=bench.n(task, "test"),
            **bench.walk,
        )

    at = chosen[RANDOM]
    bench.kept(
        task.name,
        "test_random",
        lambda: call({n: v for n, v in made.items() if is_draw(n)}, [int(at["layer"])], [float(at["strength"])]),
        light=_light,
    )
    return bench.kept(
        task.name,
        "test",
        lambda: call({n: v for n, v in made.items() if not is_draw(n)}, layers, strengths),
        light=_light,
    )


def texts(bench: Bench, task: Task, made: Mapping[str, Any], chosen: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
    """The published recipe's vector and random ones in natural sentences, at the layer and strength chosen zero-shot:
    whether the answer comes next, and (step `written`) whether it is in the first tokens that the model writes there.
    """
    at, plan = chosen[UNIVERSAL], bench.plan

    def n(most):
        return bench.n(task, "test", most, len(task.texts))

    bench.kept(
        task.name,
        "written",
        lambda: vectors.written(
            bench.model,
            task,
            {UNIVERSAL: made[UNIVERSAL], RANDOM: [v for name, v in made.items() if is_draw(name)]},
            layer=int(at["layer"]),
            strength=float(at["strength"]),
            tokens=TOKENS,
            n=n(plan.written_items or plan.text_items),
            seed=bench.seed,
            start=bench.start,
            progress=bench.progress,
        ),
    )
    return bench.kept(
        task.name,
        "text",
        lambda: vectors.evaluate(
            bench.model,
            task,
            _with_draws(made),
            layers=[int(at["layer"])],
            strengths=[float(at["strength"])],
            conditions=("text",),
            split="test",
            n=n(plan.text_items),
            **bench.walk,
        ),
        light=_light,
    )


def shots(bench: Bench, task: Task, made: Mapping[str, Any], chosen: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
    """Accuracy by the number of demonstrations, with the published recipe's vector and without it, at the cell chosen
    without any; test questions.

    ``correct`` shots x item, ``base_correct`` the same without a vector.
    """
    at, plan = chosen[UNIVERSAL], bench.plan

    def make() -> xr.Dataset:
        parts = [
            vectors.evaluate(
                bench.model,
                task,
                {UNIVERSAL: made[UNIVERSAL]},
                layers=[int(at["layer"])],
                strengths=[float(at["strength"])],
                conditions=("icl",),
                shots=k,
                split="test",
                n=bench.n(task, "test", plan.shot_items or plan.items),
                **bench.walk,
            )
            for k in plan.shot_counts
        ]
        records = [results.provenance(p) for p in parts]

        def cut(ds):
            return _light(ds)[["correct", "base_correct"]].isel(layer=0, strength=0, condition=0, vector=0)

        whole = xr.concat([cut(p) for p in parts], xr.IndexVariable("shots", list(plan.shot_counts)))
        done = all(r["status"] == "complete" for r in records)
        return results.stamp(
            whole,
            records[0]
            | {
                "kind": "shot curve",
                "status": "complete" if done else "partial",
                "seconds": round(sum(r["seconds"] for r in records), 4),
                "call": (
                    records[0]["call"]
                    | {
                        "shots": list(plan.shot_counts),
                        "prompts": [r["call"]["prompts"] for r in records],
                    }
                ),
            },
        )

    return bench.kept(task.name, "shots", make)


def distributed(bench: Bench, task: Task, made: Mapping[str, Any]) -> xr.Dataset:
    """Each head's part added at its own layer's attention output instead of the sum at one layer; the strength is
    chosen on the validation questions.
    """

    def call(split, strengths):
        return vectors.evaluate(
            bench.model,
            task,
            {UNIVERSAL: made[UNIVERSAL]},
            strengths=strengths,
            conditions=("zero_shot",),
            split=split,
            n=bench.n(task, split),
            distributed=True,
            **bench.walk,
        )

    valid = bench.kept(task.name, "distributed_valid", lambda: call("valid", bench.plan.strengths), light=swept_lightly)
    strength = chosen_cells(valid)[UNIVERSAL]["strength"]
    return bench.kept(task.name, "distributed_test", lambda: call("test", [strength]), light=_light)


def curve(bench: Bench, task: Task, tasks: Sequence[Task], chosen: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
    """Vectors of ever more heads, in the order of the other tasks' mean effect, beside as many heads drawn at random;
    test questions, at the cell of the usual number.
    """
    at = chosen[UNIVERSAL]

    def cut(ds):
        return _light(ds)[["correct"]].isel(layer=0, strength=0, condition=0)

    return bench.kept(
        task.name,
        "curve",
        lambda: vectors.head_count_curve(
            bench.model,
            task,
            mean_effects(bench, [t for t in tasks if t.name != task.name] or tasks),
            bench.plan.counts,
            means=means(bench, task),
            layers=[int(at["layer"])],
            strengths=[float(at["strength"])],
            split="test",
            n=bench.n(task, "test"),
            **bench.walk,
        ),
        light=cut,
    )


def mean_effects(bench: Bench, tasks: Sequence[Task]) -> xr.Dataset:
    """The effect of every head averaged over tasks, each counting the same."""
    planes = [effects(bench, t).effect.mean("prompt") for t in tasks]
    return bench.stamped(
        xr.Dataset({"effect": sum(planes) / len(planes)}).expand_dims("prompt"),
        "head effects",
        task=[t.name for t in tasks],
    )


def ported(bench: Bench, task: Task, made: Mapping[str, Any], chosen: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
    """The published recipe's vector and random ones where the question has another form, at the cell chosen in the
    vector's own form; test questions, zero-shot.
    """
    at, walk = chosen[UNIVERSAL], {k: v for k, v in bench.walk.items() if k != "template"}

    def cut(ds):
        return _light(ds).isel(layer=0, strength=0, condition=0)

    return bench.kept(
        task.name,
        "portability",
        lambda: vectors.portability(
            bench.model,
            task,
            _with_draws(made),
            bench.plan.templates,
            int(at["layer"]),
            strength=float(at["strength"]),
            split="test",
            n=bench.n(task, "test"),
            **walk,
        ),
        light=cut,
    )


def _with_draws(made: Mapping[str, Any]) -> dict[str, Any]:
    """The published recipe's vector and the draws of its random control."""
    return {n: v for n, v in made.items() if n == UNIVERSAL or is_draw(n)}


def _light(ds: xr.Dataset) -> xr.Dataset:
    """What the tables need: whether answers are right; of several random vectors their mean."""
    put = _unlabelled(
        (averaged if "vector" in ds.dims else lambda ds: ds)(ds[[v for v in ("correct", "base_correct") if v in ds]])
    )

    def whole(v):
        return not v.isnull().any() and bool((v == v.round()).all())

    return put.assign({n: v.astype("int8") for n, v in put.data_vars.items() if whole(v)})


def _unlabelled(ds: xr.Dataset) -> xr.Dataset:
    """Without the labels that task, split and seed give anew."""
    return ds.drop_vars([c for c in ("x", "y", "tokens", "answer_tokens", "fixed_points") if c in ds.coords or c in ds])


def swept_lightly(ds: xr.Dataset) -> xr.Dataset:
    """Of a sweep over many cells: whether answers are right, and the mean log-probability of the answer."""
    return _light(ds).assign(mean_logprob=averaged(ds[["logprob"]].mean("item")).logprob)


def _digested(ds: xr.Dataset) -> xr.Dataset:
    """With a digest in place of the prompts' texts in the record."""
    record = results.provenance(ds)

    def digest(texts):
        return "sha256 " + hashlib.sha256(json.dumps(texts).encode()).hexdigest()

    short = {"texts": digest(record["texts"])} if "texts" in record else {}
    if "prompts" in record.get("call", {}):
        short["call"] = record["call"] | {"prompts": digest(record["call"]["prompts"])}
    return results.stamp(ds, record | short)


def sources(bench: Bench, task: Task, made: Mapping[str, Any]) -> xr.Dataset:
    """The vector from demonstrations against the one from the instruction text: their cosine, and that of the two
    means' contributions of the same heads.
    """

    def make() -> xr.Dataset:
        same = vectors.extract(bench.model, task, heads=list(made[OWN].heads), means=means(bench, task, "instruction"))
        return bench.stamped(
            xr.Dataset(
                {
                    "cosine": float(made[OWN].cosine(made[INSTRUCTION])),
                    "cosine_same_heads": float(made[OWN].cosine(same)),
                }
            ),
            "vector sources",
            task=task.name,
        )

    return bench.kept(task.name, "sources", make)


def vocabulary(bench: Bench, task: Task, made: Mapping[str, Any], k: int = 10) -> xr.Dataset:
    """The tokens that a vector reads as, and which of them begin an answer of the task; the random vectors beside
    it.
    """

    def make() -> xr.Dataset:
        starts = {
            p.answer_ids[0]
            for split in ("train", "valid", "test")
            for p in bench.prompts(task, "zero_shot", split=split)
        }
        words = set(token_strings(tokenizer_of(bench.model), sorted(starts)))
        rows = {n: v.decode(bench.model, k) for n, v in _with_draws(made).items()}
        token, prob = ([[row[i] for row in rows[n]] for n in rows] for i in (0, 1))
        return bench.stamped(
            xr.Dataset(
                {
                    "prob": (("vector", "place"), np.array(prob, float)),
                    "answer": (("vector", "place"), [[t in words for t in row] for row in token]),
                },
                coords={"vector": list(rows), "place": range(k), "token": (("vector", "place"), token)},
            ),
            "vector vocabulary",
            task=task.name,
        )

    return bench.kept(task.name, "vocabulary", make)


def another(tasks: Sequence[Task], task: Task) -> Task:
    """The task whose vector is the control: the next in the list."""
    names = [t.name for t in tasks]
    return tasks[(names.index(task.name) + 1) % len(tasks)]


def need_tasks(found: Mapping[str, float], usable: float) -> list[str]:
    """Names of tasks that are answered often enough.

    Raises: VectorError: none is.
    """
    names = [n for n, a in found.items() if a >= usable]
    if not names:
        raise VectorError(
            f"tasks: none is answered in {100 * usable:.0f} % of the cases after demonstrations (best:"
            f" {max(found, key=lambda t: found[t])}, {100 * max(found.values()):.0f} %); give other tasks with data=,"
            " or a model that knows these."
        )
    return names


# -- the order of a run
# ---------------------------------------------------------------------------------------------------


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
    """What needs the other tasks' heads: vectors, sweep, choice, report, controls. Returns all steps of the task by
    name.
    """
    made = make_vectors(bench, task, sets, another(tasks, task))
    chosen = chosen_cells(sweep(bench, task, made))
    test(bench, task, made, chosen)
    distributed(bench, task, made)
    if task.texts:
        texts(bench, task, made, chosen)
    shots(bench, task, made, chosen)
    curve(bench, task, tasks, chosen)
    ported(bench, task, made, chosen)
    if task.instruction:
        sources(bench, task, made)
    vocabulary(bench, task, made)
    prefix = f"seed-{bench.seed}/{task.name}/"
    return {name.removeprefix(prefix): ds for name, ds in bench.steps.held.items() if name.startswith(prefix)}
