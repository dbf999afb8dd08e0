"""Does a little training on other memorised pictures bring the deleted ones back, and sooner than in a twin that never
saw them?
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional as F

from .. import training
from ..arguments import Count, Draws, FilePath, Positive, Seed, Share, Size, Whole, door, unfit
from ..engine.sessions import of_one_model
from ..engine.wrappers import idle_projections
from ..stats.crossings import crossing_difference
from .arguments import Guidance, Seeds
from .embeddings import ATTACKS
from .errors import DiffusionError
from .measures import Measure, values_of
from .pairs import Pairs, digest, pairs_of, refuse_shared
from .pipeline import Pipeline
from .record import stamp
from .sampling import denoise, noised, predicted
from .schedules import require_noise

#: Linear layers of a transformer block by what they belong to, as diffusers names them.
MODULES = {"attention": ("to_q", "to_k", "to_v", "to_out.0"), "feed-forward": ("ff.net.0.proj", "ff.net.2")}
#: Finished steps at which is measured by default, as far as the training goes.
STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
#: Steps between checkpoints, where there is a folder.
CHECKPOINT = 25


@door(DiffusionError)
@of_one_model(reads=False)
def relearn(
    pipeline: Pipeline,
    others: Pairs,
    targets: Pairs,
    *,
    measure: Measure,
    twin: Pipeline | None = None,
    rank: Annotated[int, Whole(1, 2**12)] = 4,
    modules: Literal["attention", "feed-forward", "both"] = "attention",
    steps: Draws = 100,
    at: Sequence[Size] | None = None,
    learning_rate: Positive = 1e-3,
    batch: Count = 4,
    seed: Seed = 0,
    seeds: Seeds = (0, 1, 2, 3),
    denoising_steps: Count = 25,
    guidance: Guidance = 3.0,
    folder: FilePath | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """Train low-rank adapters in a copy of the pipeline on other memorised pictures, and measure on the way what the
    targets' captions bring back.

    Only adapters are trained: an edit in force is in the copy's weights and stays there, and the given pipelines are
        left bit-equal.

    Args:
        others: memorised pictures and captions to train on. targets: those that are measured; the pictures serve to
            refuse an overlap with `others`.
        measure: called with the images of the targets' captions at each look, in the model and in the twin alike.
        twin: a pipeline that never saw the targets (same recipe without them), trained and measured alongside: the
            control of `savings`.
        rank: of the adapters, which start as no change. modules: which linear layers of the transformer blocks get one:
            "attention", "feed-forward" or "both".
        at: finished steps at which is measured; 0 and the last always are. learning_rate: constant; AdamW without
            weight decay.
        folder: checkpoints every 25 steps, one folder for each model; the same call (the same measure too) goes on
            where it ended.

    The paper's pictures come from the unedited model by inversion and interpolation, and its automatic variant mixes
    the predictions with and without adapters; here the training pictures themselves are given, and the mixing is left
    out.

    Returns: over `model` ("edited", "twin"), `step, caption, seed`: `value` (NaN where a stopped run was not looked
        at); over `model`: `status`; over `model, update`: `loss`.

    Raises: DiffusionError: pictures or captions that cannot be used, sets that overlap, a wrong number, a loss or
        latents that are not finite (the step is named). TrainingError: a folder of another run.

    Source: MemoRa (2025, arXiv 2510.03263), low-rank relearning; the never-trained twin is this project's control.
    """
    known, (pictures, captions) = pairs_of(pipeline, others, "others"), pairs_of(pipeline, targets, "targets")
    refuse_shared(known, (pictures, captions), "others", "targets")
    names = sum(MODULES.values(), ()) if modules == "both" else MODULES[modules]
    looks = sorted({0, int(steps), *((s for s in STEPS if s <= steps) if at is None else map(int, at))})
    if looks[-1] > steps:
        raise DiffusionError(f"at={list(at or ())[:8]}; expected numbers of finished steps from 0 to steps={steps}.")
    try:
        recipe = training.Recipe(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            weight_decay=0.0,
            schedule="constant",
            seed=seed,
            checkpoint_every=CHECKPOINT,
        )
    except training.TrainingError as error:
        raise DiffusionError(str(error)) from None
    arms = {"edited": pipeline} | ({} if twin is None else {"twin": twin})
    values, loss = (
        np.full((len(arms), len(looks), len(captions), len(seeds)), np.nan),
        np.full((len(arms), steps), np.nan),
    )
    status = ["not started"] * len(arms)
    call = {
        "others": digest(known[0]),
        "targets": captions,
        "seeds": list(map(int, seeds)),
        "denoising_steps": denoising_steps,
        "guidance": guidance,
    }
    for number, (name, source) in enumerate(arms.items()):
        require_noise(source, ATTACKS)
        adapted = _adapted(source, rank, names, seed)

        def look(finished: int, adapted: Pipeline = adapted, name: str = name) -> dict[str, float]:
            try:
                samples = denoise(
                    adapted, captions, seeds=seeds, steps=denoising_steps, guidance=guidance, progress=False
                )
            except DiffusionError as error:
                raise DiffusionError(
                    f"learning_rate={learning_rate}: after {finished} steps of relearning ({name}): {error}"
                ) from None
            return {f"{c}|{s}": float(v) for (c, s), v in np.ndenumerate(values_of(measure, samples.images))}

        objective = _Noise(adapted, *known, json.dumps(call))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "training diverged")
            trained = training.train(
                adapted.unet,
                objective.rows,
                recipe,
                parameters=lambda name: ".lora_" in name,
                evaluate=look,
                evaluate_at=looks,
                objective=objective,
                folder=None if folder is None else Path(folder) / name,
                progress=progress,
                stop=stop,
            )
        if trained.status == "diverged":
            raise DiffusionError(
                f"learning_rate={learning_rate}: relearning ({name}) diverged at step"
                f" {int(trained.losses.step.iloc[-1])} of {steps}; lower it."
            )
        status[number] = trained.status
        loss[number, : len(trained.losses)] = trained.losses["lm"]
        for _, line in trained.evaluations.iterrows():
            values[number, looks.index(int(line["step"]))] = [
                [line[f"{c}|{s}"] for s in range(len(seeds))] for c in range(len(captions))
            ]
        if trained.status != "complete":
            break
    ds = xr.Dataset(
        {
            "value": (("model", "step", "caption", "seed"), values),
            "status": ("model", status),
            "loss": (("model", "update"), loss),
        },
        {
            "model": list(arms),
            "step": looks,
            "caption": np.arange(len(captions)),
            "prompt": ("caption", captions),
            "seed": list(map(int, seeds)),
            "update": np.arange(steps),
        },
    )
    call |= {
        "rank": rank,
        "modules": modules,
        "steps": steps,
        "learning_rate": learning_rate,
        "batch": batch,
        "captions": known[1],
    }
    return stamp(
        ds, pipeline, "picture relearning", call, seed, "complete" if set(status) == {"complete"} else "partial"
    )


def _adapted(pipeline: Pipeline, rank: int, modules: Sequence[str], seed: int) -> Pipeline:
    """A copy of the pipeline with adapters in its U-Net that start as no change; an edit in force is in its weights."""
    from peft import LoraConfig, inject_adapter_in_model

    copy = pipeline.copy()
    if any(isinstance(getattr(module, "base_layer", None), nn.Module) for module in copy.unet.modules()):
        raise DiffusionError(
            f"pipeline: the U-Net of {pipeline.name} has adapters already; merge them into its weights (fuse_lora, then"
            " unload_lora_weights) or take them out first."
        )
    ends = tuple(f".{module}" for module in modules)
    layers = {
        name: module
        for name, module in copy.unet.named_modules()
        if isinstance(module, nn.Linear) and ".transformer_blocks." in f".{name}" and name.endswith(ends)
    }
    blocks, idle = list(layers), idle_projections(copy.unet)
    if any(id(module) in idle for module in layers.values()):
        raise DiffusionError(
            f"pipeline: projections in the attention of {pipeline.name} do not run (fused by fuse_qkv_projections), so"
            " that adapters on them would change nothing; call unfuse_qkv_projections() first."
        )
    if not blocks:
        raise DiffusionError(
            f"pipeline: the U-Net of {pipeline.name} has no linear layer named {', '.join(modules)} in a transformer"
            " block, so that no adapter can be put in."
        )
    with torch.random.fork_rng():
        torch.manual_seed(int(seed))
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=blocks), copy.unet)
    return copy


class _Noise:
    """The loss of a batch: mean squared error of the predicted noise on the pictures, at a step drawn for each; text
    states stand still.
    """

    def __init__(self, pipeline: Pipeline, pictures: Tensor, captions: Sequence[str], about: str):
        self.rows = training.Rows.full(pipeline.tokens(captions))
        self.pipeline, self.clean, self.states = pipeline, pipeline.encode(pictures), pipeline.embed(captions)
        # other pictures, targets or ways to sample are another run
        self.identity = f"{hashlib.sha256(about.encode()).hexdigest()[:16]}"

    def __call__(self, unet: nn.Module, batch: training.Batch) -> Tensor:
        at = batch.index.to(self.clean.device)
        clean = self.clean[at]
        t = torch.randint(self.pipeline.scheduler.config.num_train_timesteps, (len(clean),)).to(clean.device)
        added = torch.randn(clean.shape).to(clean)
        return F.mse_loss(
            predicted(self.pipeline, noised(self.pipeline, clean, added, t), t, self.states[at]).float(), added.float()
        )


@door(DiffusionError)
def savings(result: xr.Dataset, threshold: float = 0.5, *, level: Share = 0.95, seed: Seed = 0) -> pd.DataFrame:
    """Steps that the edited model needs less than its twin to bring the mean value over the targets to `threshold`.

    Steps are interpolated between looks. A model that is not there at the end counts with the last step, and `censored`
    names it: where the twin is censored the savings are at least so many, where the edited model is they are at most so
    many, where both are they are unknown. Interval: from the intervals of the means over captions at each look
    (`lens.stats.crossings`).

    Returns: one line: `start` (the edited model's mean before any training; at the threshold already, it needs 0
        steps), `edited` and `twin` (steps), `savings`, `low`, `high` (NaN where none can be had), `interval_kind`,
        `censored`, `n`.

    Raises: DiffusionError: a result without a twin, or of a run that was stopped.

    Source: Ebbinghaus 1885 (savings).
    """
    if missing := [name for name in ("model", "step", "value", "status") if name not in result.variables]:
        raise DiffusionError(unfit("result", f"a dataset without {', '.join(missing)}", "what `relearn` returned"))
    if "twin" not in result.model.values:
        raise DiffusionError(
            "result has no twin; savings are against a model that never saw the targets: relearn(..., twin=...)."
        )
    ours, theirs = (result.value.sel(model=kind).mean("seed").values for kind in ("edited", "twin"))
    if np.isnan(ours).any() or np.isnan(theirs).any():
        raise DiffusionError(
            f"result has looks that were not taken (status {', '.join(map(str, result.status.values))}); let the run go"
            " on to its end."
        )
    steps, n = result.step.values, ours.shape[1]
    late = [kind for kind, v in (("edited", ours), ("twin", theirs)) if v.mean(1).max() < threshold]
    difference = crossing_difference(ours, theirs, steps, threshold, level, seed)
    return pd.DataFrame([{"start": float(ours[0].mean()), **difference, "censored": ", ".join(late), "n": n}])
