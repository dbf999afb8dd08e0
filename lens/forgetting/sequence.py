"""Sequential fine-tuning: one task after another by one method, every probe measured on the way, resumable to the same
losses.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
import warnings
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ..arguments import FilePath, ModelLike, Positive, Seed, Size, door
from ..engine.places import evaluating
from ..results import dataset as results
from ..results.record import Plainly, record_of
from ..stats.units import repeated
from ..training import LoRA, Recipe, Rows, Trained, train
from .data import ForgettingError, Probe, Stage, accuracy, anatomy
from .diary import Diary, hold
from .guide import Guide
from .methods import Method
from .methods import method as method_of
from .plans import Setup, trained_parameters


@dataclass
class Sequence:
    """A finished, stopped or diverged sequence.

    Attributes:
        result: `correct` [stage, step, probe, prompt] and `accuracy` [stage, step, probe] with their record; step 0 is
            the stage's start, its last step is measured after whatever the method does when a stage ends. Steps are
            counted within a stage.
        model: the plain model as it ended; after a divergence, in its last good state. watched: per name ``[stage,
            step, ...]``, NaN where it was not taken.
        losses: stage, step, lm and each term. status: "complete", "stopped" or "diverged". about: what went wrong, or
            "". notes: per stage, what the method said of itself.
    """

    result: xr.Dataset
    model: Any
    watched: dict[str, np.ndarray]
    losses: pd.DataFrame
    status: str
    about: str = ""
    notes: list[dict[str, Any]] = field(default_factory=list)


@door(ForgettingError)
def sequential(
    make_model: Callable[[], Any],
    stages: Seq[Stage],
    probes: Seq[Probe],
    method: str | Method = "plain",
    *,
    recipe: Recipe | Seq[Recipe],
    guides: Mapping[str, Guide] | None = None,
    lora: LoRA | None = None,
    evaluate_at: Seq[Size] = (),
    watch: Mapping[str, Callable[[Any], Any]] | None = None,
    old_rows: Rows | None = None,
    folder: FilePath | None = None,
    seed: Seed = 0,
    save_weights: bool = False,
    memory_mb: Positive = 2000,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Sequence:
    """Fine-tunes a fresh model on one stage after another, and measures what it can still do.

    Args:
        make_model: gives the start model anew at each call: a plain Hugging Face causal model, see `starting_from`.
        stages: the tasks in order. probes: what is measured; a stage's own prompts are added as a probe of kind "new".
        method: a name of `METHODS`, or `method(name, option=...)`.
        recipe: of every stage, or one a stage. The order of rows in stage j is drawn from (recipe.seed, seed, j), the
            same for every method on the same rows.
        guides: per stage name the vector that guides it, for methods that need one. lora: adapters instead of training
            all weights.
        evaluate_at: steps within each stage at which everything is measured, besides start and end.
        watch: functions of the plain model (with adapters inside, in eval mode), called whenever probes are measured;
            each returns an array of fixed shape.
        old_rows: rows of what the model could do before: replay and Fisher information draw on them.
        folder: where to keep checkpoints, measurements and the weights that each stage changed; the same call goes on
            where it was cut. save_weights: keep them of every stage.
        memory_mb: of a teacher's kept outputs. stop: asked while training; True ends with what is there.

    Raises: ForgettingError: stages, probes, guides or a method that cannot be used; a folder of another experiment.
        lens.locks.Busy: another sequence is at work in the folder. lens.FileError: it cannot be written to.
    """
    stages, probes = list(stages), list(probes)
    if isinstance(recipe, Recipe):
        recipe = [recipe] * len(stages)
    chosen, guides, watch = method_of(method), dict(guides or {}), dict(watch or {})
    probes = _every_probe(stages, probes, recipe, chosen, guides, old_rows)
    model = ModelLike().of(make_model(), "make_model()", ForgettingError)
    if hasattr(model, "original_model") or hasattr(model, "get_base_model"):
        raise ForgettingError(
            f"make_model returns a {type(model).__name__}; expected the plain Hugging Face model: use"
            " lens.forgetting.starting_from(name), or from_pretrained."
        )
    for name, guide in guides.items():
        guide.check(model, f"guides[{name!r}]")
    steps = sorted(
        {0, *(int(s) for s in evaluate_at if 0 < int(s) < max(r.steps for r in recipe)), *(r.steps for r in recipe)}
    )
    recipes = [
        {k: v for k, v in dataclasses.asdict(r).items() if k != "checkpoint_every"} for r in recipe
    ]  # how often is written decides nothing
    call = dict(
        method=chosen.name,
        options=dict(chosen.options),
        recipe=recipes,
        lora=None if lora is None else dataclasses.asdict(lora),
        stages=[{"name": s.name, "rows": len(s.rows.ids), "sha256": _digest(s.rows)} for s in stages],
        evaluate_at=steps,
        probes=[{"name": p.name, "kind": p.kind, "n": len(p.prompts), "sha256": _digest(p.prompts)} for p in probes],
        guides={n: g.described() | {"sha256": _digest(g.direction)} for n, g in sorted(guides.items())},
        watch=sorted(watch),
        old_rows=None if old_rows is None else _digest(old_rows),
    )
    view = anatomy(model)
    record = record_of(model, Plainly(model, view.dtype, view.device), "forgetting", call, seed=seed, store=folder)
    with hold(folder):
        diary = Diary(
            folder,
            {"model": record["model"]["hash"], "state": record["model"]["state"], "seed": seed, "call": record["call"]},
            save_weights,
        )
        run = _Training(
            make_model,
            model,
            tuple(stages),
            probes,
            chosen,
            guides,
            lora,
            watch,
            old_rows,
            diary,
            seed,
            memory_mb,
            progress,
            stop,
        )
        began = time.perf_counter()
        status, about = run.all(recipe, steps)
    return run.finished(steps, recipe, record | {"seconds": round(time.perf_counter() - began, 3)}, status, about)


@dataclass
class _Training:
    """A sequence under way: its model, and what was measured so far."""

    make_model: Callable[[], Any]
    model: Any
    stages: tuple[Stage, ...]
    probes: tuple[Probe, ...]
    method: Method
    guides: dict[str, Guide]
    lora: LoRA | None
    watch: dict[str, Callable[[Any], Any]]
    old_rows: Rows | None
    diary: Diary
    seed: int
    memory_mb: float
    progress: bool | None
    stop: Callable[[], bool] | None
    measurements: dict[tuple[int, int], dict[str, np.ndarray]] = field(default_factory=dict)
    losses: list[pd.DataFrame] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)

    def all(self, recipes: Seq[Recipe], steps: Seq[int]) -> tuple[str, str]:
        for number, (stage, recipe) in enumerate(zip(self.stages, recipes)):
            stored = self.diary.finished(number)
            if stored is not None:
                self.diary.load_weights(number, self.model)
                self.recall(number)
                self.losses.append(stored.losses)
                self.notes.append(stored.notes)
                continue
            trained, notes = self.stage(number, recipe, steps)
            self.losses.append(trained.losses.assign(stage=stage.name))
            self.notes.append(notes)
            if trained.status != "complete":
                what = f"stage {stage.name!r} {trained.status} at step {trained.step} of {recipe.steps}"
                if trained.status == "diverged":
                    what += "; the model is in its last good state. Lower the learning rate, or check the rows"
                return trained.status, what
            self.measure(number, recipe.steps, self.model)
            self.diary.finish(number, self.model, self.touched, self.losses[-1], notes)
        return "complete", ""

    def recall(self, number: int) -> None:
        """What is known of a stage: where the one before it ended, and what was written down."""
        if number:
            self.measurements[number, 0] = self.measurements[
                number - 1, max(s for j, s in self.measurements if j == number - 1)
            ]
        self.measurements |= {(number, step): m for step, m in self.diary.measurements(number).items()}

    def stage(self, number: int, recipe: Recipe, steps: Seq[int]) -> tuple[Trained, dict[str, Any]]:
        stage = self.stages[number]
        seed = int(np.random.SeedSequence([recipe.seed, self.seed, number]).generate_state(1)[0]) % 2**31
        self.touched = (
            self.lora.touched(self.model)
            if self.lora is not None
            else tuple(n for n, _ in self.model.named_parameters())
        )
        self.recall(number)
        if (number, 0) not in self.measurements:
            self.measure(number, 0, self.model)
        setup = Setup(
            self.model,
            self.make_model,
            number,
            stage,
            self.stages[:number],
            self.guides.get(stage.name),
            self.old_rows,
            self.touched,
            seed,
            dataclasses.replace(recipe, seed=seed),
            self.memory_mb,
        )
        plan = self.method.prepare(setup, self.method.options)
        flags = {n: p.requires_grad for n, p in self.model.named_parameters()}
        mode, wrapped = self.model.training, self.model
        if self.lora is not None:
            wrapped = self.lora.put_on(self.model, seed)
        try:
            trained = train(
                wrapped,
                plan.rows,
                dataclasses.replace(recipe, seed=seed),
                terms=plan.terms,
                parameters=list(trained_parameters(wrapped, self.touched, plan).values()),
                around=None if plan.around is None else plan.around(wrapped),
                evaluate=lambda step: self.measure(number, step, wrapped),
                evaluate_at=[s for s in steps if 0 < s < recipe.steps],
                folder=self.diary.training(number),
                progress=self.progress,
                stop=self.stop,
            )
        finally:
            if self.lora is not None:
                self.model = self.lora.merged(wrapped)
            # a fused optimiser changes weights without counting it, and weight_hash goes by the count
            torch.autograd.graph.increment_version(list(self.model.parameters()))
            for name, p in self.model.named_parameters():
                p.requires_grad_(flags[name])
            self.model.train(mode)
        if plan.finish is not None and trained.status == "complete":
            plan.finish(self.model)
        return trained, plan.notes | {"seconds": round(trained.seconds, 3)}

    def measure(self, number: int, step: int, model: Any) -> dict[str, float]:
        """Every probe and watched array, kept and written down; returns the accuracies."""
        from .data import core

        values: dict[str, np.ndarray] = {f"probe/{p.name}": accuracy(model, p) for p in self.probes}
        with evaluating(model), torch.no_grad():
            for name, of in self.watch.items():
                value = of(core(model))
                values[f"watch/{name}"] = np.array(
                    value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else value, dtype=np.float32
                )  # a copy: weights go on changing
        self.measurements[number, step] = values
        self.diary.note(number, step, values)
        return {p.name: float(values[f"probe/{p.name}"].mean()) for p in self.probes}

    def finished(
        self, steps: Seq[int], recipes: Seq[Recipe], record: dict[str, Any], status: str, about: str
    ) -> Sequence:
        longest = max(len(p.prompts) for p in self.probes)
        correct = np.full((len(self.stages), len(steps), len(self.probes), longest), np.nan, np.float32)
        watched: dict[str, np.ndarray] = {}
        for (number, step), values in self.measurements.items():
            if step not in steps:
                continue
            for k, p in enumerate(self.probes):
                correct[number, steps.index(step), k, : len(p.prompts)] = values[f"probe/{p.name}"]
            for name in self.watch:
                value = values[f"watch/{name}"]
                whole = watched.setdefault(
                    name, np.full((len(self.stages), len(steps), *value.shape), np.nan, np.float32)
                )
                if value.shape != whole.shape[2:]:
                    raise ForgettingError(
                        f"watch[{name!r}] returned shape {value.shape}, and before {whole.shape[2:]}; it must keep one"
                        " shape."
                    )
                whole[number, steps.index(step)] = value
        sizes = np.array([len(p.prompts) for p in self.probes])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = np.nanmean(correct, -1)
        dims = ("stage", "step", "probe", "prompt")
        ds = xr.Dataset(
            {
                "accuracy": (dims[:3], mean, {"units": "share of prompts"}),
                "correct": (dims, correct),
                "n": ("probe", sizes),
                "last_step": ("stage", [r.steps for r in recipes]),
            },
            coords={
                "stage": [s.name for s in self.stages],
                "step": list(steps),
                "probe": [p.name for p in self.probes],
                "kind": ("probe", [p.kind for p in self.probes]),
            },
        )
        equal = repeated([len(ids), *ids, *answer] for p in self.probes for ids, answer in p.prompts)
        if equal is not None:
            labels = iter(equal)
            ds = ds.assign_coords(
                duplicate=(
                    ("probe", "prompt"),
                    [[next(labels) if i < size else "" for i in range(ds.sizes["prompt"])] for size in sizes],
                )
            )
        record |= {
            "status": "complete" if status == "complete" else "partial",
            "outcome": status,
            "about": about,
            "notes": [{k: v for k, v in n.items() if not k.endswith("seconds")} for n in self.notes],
        }
        losses = pd.concat(self.losses, ignore_index=True) if self.losses else pd.DataFrame()
        if len(losses):
            losses = losses[["stage", *(c for c in losses.columns if c != "stage")]]
        return Sequence(results.stamp(ds, record), self.model, watched, losses, status, about, self.notes)


def _every_probe(stages, probes, recipes, chosen: Method, guides, old_rows) -> tuple[Probe, ...]:
    """The probes, and those of the stages' own prompts. Raises: ForgettingError: what a sequence cannot be run with."""
    if not stages:
        raise ForgettingError("stages=[]: give at least one lens.forgetting.Stage.")
    if len(recipes) != len(stages):
        raise ForgettingError(
            f"recipe holds {len(recipes)} recipes for {len(stages)} stages; give one for all, or one each."
        )
    names = [s.name for s in stages]
    every = (*probes, *(Probe(s.name, "new", s.prompts) for s in stages if s.prompts))
    for what, of in (("stages", names), ("probes", [p.name for p in every])):
        if twice := [n for n in of if of.count(n) > 1]:
            raise ForgettingError(f"{what}: the name {twice[0]!r} is given twice; a stage's own prompts bear its name.")
    if not every:
        raise ForgettingError("probes=[]: nothing would be measured; give probes, or stages with prompts.")
    if unknown := [n for n in guides if n not in names]:
        raise ForgettingError(f"guides: {unknown[0]!r} is no stage; they are {', '.join(names)}.")
    if "guide" in chosen.needs and (absent := [n for n in names if n not in guides]):
        raise ForgettingError(
            f"guides lacks {absent[0]!r}; method {chosen.name!r} needs a lens.forgetting.Guide for every stage."
        )
    if "old_rows" in chosen.needs and (old_rows is None or len(old_rows.ids) == 0):
        raise ForgettingError(
            f"old_rows is {'None' if old_rows is None else 'empty'}; method {chosen.name!r} draws on rows of what the"
            " model could do before."
        )
    return every


def _digest(value: Any) -> str:
    """SHA-256 over tensors or plain numbers, to tell whether a folder belongs to the same experiment."""
    digest = hashlib.sha256()
    if isinstance(value, Rows):
        digest.update(value.sha256().encode())
    elif isinstance(value, torch.Tensor):
        digest.update(value.cpu().contiguous().numpy().tobytes())
    else:
        digest.update(repr(value).encode())
    return digest.hexdigest()[:16]
