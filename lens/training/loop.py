"""The loop itself: one step after another of AdamW on rows whose order is known before it starts."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import FilePath, HFModel, door, shown
from ..engine.autograd import require_autograd
from ..engine.recompute import checkpointing
from ..engine.sessions import of_one_model
from ..engine.stopping import says_stop
from ..models.fused import fused_layers
from ..notices import warn
from ..progress import hidden
from .batches import Batch, Sampler, fitting
from .checkpoints import Checkpoints
from .interruption import between_steps
from .language import language_loss, logits_of, require_language_model
from .parameters import parameters_to_train, require_trained_here
from .recipe import Recipe, Rows, TrainingError, order_of, step_seed

SNAPSHOTS = 50  # steps between the copies in memory that a diverged run goes back to (each checkpoint is one too)


Term = Callable[[torch.nn.Module, Batch, Any], "Tensor | None"]
Objective = Callable[[torch.nn.Module, Batch], Tensor]


@dataclass(eq=False)
class Trained:
    """How a training run went. The model itself was changed in place.

    `status`: "complete", "stopped" (resumable where there is a folder) or "diverged" (the weights are those after
    `step` steps, the last that were copied or saved and with which the next loss and gradient were finite). `losses`:
    one line a step with `step` (from 0), `lm`, each term, `total`, `learning_rate`, `gradient_norm` (before clipping).
    `order` [steps, batch]: the row numbers of each step. `evaluations`: one line an evaluation, `step` counting
    finished steps. `seconds`: of this call.
    """

    status: str
    step: int
    losses: pd.DataFrame
    order: Int[Tensor, "steps batch"]
    evaluations: pd.DataFrame
    seconds: float


@door(TrainingError)
@of_one_model(reads=False)
def train(
    model: HFModel,
    rows: Rows | Sampler,
    recipe: Recipe,
    *,
    terms: Mapping[str, Term] | None = None,
    parameters: Iterable[str | torch.nn.Parameter] | Callable[[str], bool] | None = None,
    base_weight: float = 1.0,
    around: Callable[[Batch], contextlib.AbstractContextManager] | None = None,
    after_step: Callable[[Batch], None] | None = None,
    evaluate: Callable[[int], Mapping[str, float]] | None = None,
    evaluate_at: Sequence[int] = (),
    folder: FilePath | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    objective: Objective | None = None,
) -> Trained:
    """Train a Hugging Face causal language model in place: next-token cross-entropy (nats, mean over the tokens that
    count) plus terms.

    Args:
        model: a plain model or one with peft adapters. `lens.load` gives its parameters no gradients: name what to
            train.
        rows: the data, or a function (step, generator) -> Rows that draws each step's `recipe.batch` rows anew; it must
            use no other randomness.
        terms: further losses by name, each called with (model, batch, the forward's outputs) and added as it is; None
            counts as 0.
        parameters: names, parameters or a test of a name; all others stand still. None: those that ask for gradients
            (with peft: the adapters).
        base_weight: weight of the cross-entropy; at 0 it is only logged.
        around: a context around each training forward (an intervention, hooks that keep what a term reads).
        after_step: called after each step of the optimiser. Nothing that it keeps is in a checkpoint.
        evaluate: called in eval mode, without gradients, with the number of finished steps, at each of `evaluate_at` (0
            to `recipe.steps`).
        folder: checkpoints (the last two; safetensors and JSON). The same call goes on where it ended, with the losses
            that it would have had.
        objective: `f(model, batch)` -> the loss of a batch, for a model that is no language model (a denoiser); it
            stands where the cross-entropy does, in the log too ("lm"), and what it draws comes from torch's own
            generator, seeded anew for each step. Its name and, where it has one, its text `identity` (what data it
            holds) are what a checkpoint is of. Terms then get None for the forward's outputs.
        stop: asked before each step. It and Ctrl-C (acted on after the step; a second one ends at once) leave a model
            after whole steps, and a checkpoint.

    Raises TrainingError for nothing to train, a wrong argument, and a folder that holds another run (recipe, rows,
    losses or starting weights); lens.locks.Busy where another run is at work in the folder; lens.FileError where a
    checkpoint cannot be written.
    """
    require_autograd(TrainingError, "training", model)
    inner: Any = getattr(model, "original_model", model)
    require_trained_here(inner)
    terms = dict(terms or {})
    if clash := {"lm", "total", "step", "learning_rate", "gradient_norm"} & set(terms):
        raise TrainingError(
            f"terms has the name {sorted(clash)[0]!r}, which a column of the losses has; choose another"
        )
    if wrong := [at for at in evaluate_at if not 0 <= at <= recipe.steps]:
        raise TrainingError(f"evaluate_at={wrong[0]}; expected numbers of finished steps from 0 to {recipe.steps}")
    if len(evaluate_at) and evaluate is None:
        raise TrainingError("evaluate_at is given without evaluate; give the function (finished steps) -> numbers")
    if around is not None and checkpointing(model):
        raise TrainingError(
            "around: what it puts in force covers the forward alone, and gradient checkpointing computes blocks again"
            " in the backward pass; call model.gradient_checkpointing_disable(), or leave around out"
        )
    core = getattr(model, "original_model", model)
    if isinstance(core, torch.nn.Module) and any(fused_layers(core)):
        raise TrainingError(
            "model is inside a bridge that runs copies of parts of its fused layers: a step would change the copies and"
            " not the model's own weights. Train the plain model (lens.forgetting.starting_from(name), or"
            " from_pretrained), and wrap it afterwards"
        )
    if objective is None:
        require_language_model(model, core)
        if isinstance(rows, Rows):
            fitting(core, rows)
    chosen = parameters_to_train(model, parameters)
    run = _Training(
        model, rows, recipe, terms, chosen, base_weight, around, after_step, evaluate, frozenset(evaluate_at), objective
    )
    with torch.enable_grad():  # also where the caller has switched gradients off around itself
        return run.go(Checkpoints(Path(folder)) if folder is not None else None, progress, stop)


def _number(what: str, value: Any) -> Tensor:
    """What a person's function gave. Raises TrainingError: it is no loss."""
    if not isinstance(value, Tensor) or value.ndim:
        raise TrainingError(f"{what} gave {shown(value)}; expected a loss, a tensor without axes")
    return value


@dataclass(eq=False)
class _Training:
    model: torch.nn.Module
    rows: Rows | Sampler
    recipe: Recipe
    terms: dict[str, Term]
    chosen: dict[str, torch.nn.Parameter]
    base_weight: float
    around: Any
    after_step: Any
    evaluate: Any
    evaluate_at: frozenset[int]
    objective: Objective | None = None
    losses: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        r = self.recipe
        fused = all(
            value.device.type in ("cpu", "cuda") and value.is_floating_point() for value in self.chosen.values()
        )
        self.optimizer = torch.optim.AdamW(
            self.chosen.values(), lr=r.learning_rate, weight_decay=r.weight_decay, betas=r.betas, fused=fused
        )
        self.order = (
            order_of(r, len(self.rows))
            if isinstance(self.rows, Rows)
            else torch.arange(r.steps * r.batch).reshape(r.steps, r.batch)
        )
        self.device = next(iter(self.chosen.values())).device

    def batch(self, step: int) -> Batch:
        index = self.order[step]
        if isinstance(self.rows, Rows):
            rows = self.rows.take(index)
        else:
            rows = self.rows(step, torch.Generator().manual_seed(step_seed(self.recipe.seed, step)))
            if not isinstance(rows, Rows):
                raise TrainingError(f"rows(step={step}) gave {shown(rows)}; expected Rows")
            if self.objective is None:
                fitting(getattr(self.model, "original_model", self.model), rows)
            if len(rows) != len(index):
                raise TrainingError(f"rows(step={step}) gave {len(rows)} rows; expected recipe.batch={len(index)}")
        ids, targets, lengths = (value.to(self.device) for value in (rows.ids, rows.targets, rows.lengths))
        return Batch(index, ids, targets, lengths, step, self.recipe.steps)

    def go(self, checkpoints: Checkpoints | None, progress: bool | None, stop) -> Trained:
        began, flags, mode, step, status = (
            time.monotonic(),
            {id(v): v.requires_grad for v in self.model.parameters()},
            self.model.training,
            0,
            "complete",
        )
        finished = 0
        with contextlib.ExitStack() as stack:
            stack.callback(self._leave, flags, mode)
            stack.enter_context(torch.random.fork_rng())
            if checkpoints is not None:
                stack.enter_context(checkpoints.hold())
                finished = checkpoints.resume(self, self.identity())
            chosen = {id(value) for value in self.chosen.values()}
            for value in self.model.parameters():
                value.requires_grad_(id(value) in chosen)
            self.model.train()
            bar = stack.enter_context(
                tqdm(
                    total=self.recipe.steps,
                    initial=finished,
                    desc="training",
                    unit="step",
                    delay=2.0,
                    leave=False,
                    disable=hidden(progress),
                )
            )
            interrupted = stack.enter_context(between_steps())
            good, saved = self.copy(finished), None
            if finished == 0:
                self.look(0)
            for step in range(finished, self.recipe.steps):
                if interrupted() or says_stop(stop):
                    status = "stopped"
                    break
                newer = self.copy(step) if (saved == step or step - good[0] >= SNAPSHOTS) and self.finite() else None
                if not self.step(step):
                    status = "diverged"
                    break
                good, finished = newer or good, step + 1
                bar.update()
                self.look(finished)
                every = self.recipe.checkpoint_every
                if (
                    checkpoints is not None
                    and every
                    and finished % every == 0
                    and finished < self.recipe.steps
                    and checkpoints.save(self, finished)
                ):
                    saved = finished
            what = "a weight is not finite"
            if status == "diverged":
                what = f"loss {self.losses[-1]['total']}, gradient norm {self.losses[-1]['gradient_norm']}"
                # finite, but the next loss was not: resumed from here, it would never be
                if checkpoints is not None and saved == finished:
                    checkpoints.remove(finished)
            elif not self.finite():
                status = "diverged"
            if status == "diverged":
                finished = good[0]
                self.restore(good)
                warn(
                    f"training diverged at step {step} ({what}): the weights are those after {finished} steps; lower"
                    " the learning rate or raise warmup"
                )
            elif checkpoints is not None:
                checkpoints.save(self, finished)
        names = ["step", "lm", *self.terms, "total", "learning_rate", "gradient_norm"]
        evaluations = (
            pd.DataFrame(self.evaluations) if self.evaluations else pd.DataFrame({"step": pd.Series(dtype=int)})
        )
        return Trained(
            status,
            finished,
            pd.DataFrame(self.losses, columns=names),
            self.order,
            evaluations,
            time.monotonic() - began,
        )

    def step(self, step: int) -> bool:
        """One step; False, with the weights untouched, where a loss or the gradient is not finite."""
        torch.manual_seed(step_seed(self.recipe.seed, step))
        batch, rate = self.batch(step), self.recipe.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        around = self.around(batch) if self.around is not None else contextlib.nullcontext()
        if not hasattr(around, "__enter__"):
            raise TrainingError(f"around(batch) gave {shown(around)}; expected a context manager")
        with around:
            outputs = None
            if self.objective is not None:
                lm = _number("objective", self.objective(self.model, batch))
            else:
                outputs = self.model(input_ids=batch.ids, use_cache=False)
                lm = language_loss(logits_of(self.model, outputs), batch)
        total = self.base_weight * lm if self.base_weight else lm.new_zeros(())
        line: dict[str, float] = {"step": step, "lm": lm.item()}
        for name, term in self.terms.items():
            value = term(self.model, batch, outputs)
            value = value if value is None else _number(f"terms[{name!r}]", value)
            line[name] = math.nan if value is None else value.item()
            total = total if value is None else total + value
        line |= {"total": total.item(), "learning_rate": rate, "gradient_norm": math.nan}
        self.losses.append(line)
        if not (math.isfinite(line["total"]) and math.isfinite(line["lm"])):
            return False
        if not total.requires_grad:
            raise TrainingError(
                f"step {step}: the loss depends on no trained parameter; give base_weight above 0 or a term that does"
            )
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(self.chosen.values()), self.recipe.clip or math.inf)
        line["gradient_norm"] = norm.item()
        if not math.isfinite(line["gradient_norm"]):
            return False
        self.optimizer.step()
        for value in (
            self.chosen.values()
        ):  # the fused kernel writes without saying so, and hashes of weights are kept until told
            torch.autograd.graph.increment_version(value)
        if self.after_step is not None:
            self.after_step(batch)
        return True

    def look(self, finished: int) -> None:
        """Evaluate where it was asked for, without a trace in the training."""
        if finished not in self.evaluate_at or self.evaluate is None:
            return
        self.model.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng():
                numbers = self.evaluate(finished)
                if not isinstance(numbers, Mapping):
                    raise TrainingError(
                        f"evaluate(finished={finished}) gave {shown(numbers)}; expected a dictionary: name -> number"
                    )
                self.evaluations.append({"step": finished, **numbers})
        finally:
            self.model.train()

    def finite(self) -> bool:
        """Whether every trained weight is a finite number."""
        return all(bool(torch.isfinite(value).all()) for value in self.chosen.values())

    def copy(self, step: int) -> tuple[int, dict[str, Tensor]]:
        """The weights after `step` steps."""
        return step, {name: value.detach().clone() for name, value in self.chosen.items()}

    @torch.no_grad()
    def restore(self, good: tuple[int, dict[str, Tensor]]) -> None:
        for name, value in self.chosen.items():
            value.copy_(good[1][name])

    def _leave(self, flags: dict[int, bool], mode: bool) -> None:
        for value in self.model.parameters():
            value.requires_grad_(flags[id(value)])
            value.grad = None
        self.model.train(mode)

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with for its run to be this one."""
        from ..models import weight_hash

        first = (
            self.rows
            if isinstance(self.rows, Rows)
            else self.rows(0, torch.Generator().manual_seed(step_seed(self.recipe.seed, 0)))
        )
        if not isinstance(first, Rows):
            raise TrainingError(f"rows(step=0) gave {shown(first)}; expected Rows")
        what = self.objective
        other = (
            {}
            if what is None
            else {
                "objective": " ".join(
                    [
                        getattr(what, "__module__", ""),
                        getattr(what, "__qualname__", type(what).__qualname__),
                        str(getattr(what, "identity", "")),
                    ]
                )
            }
        )
        return other | {
            "recipe": self.recipe.sha256(),
            "rows": f"{'rows' if isinstance(self.rows, Rows) else 'drawn'} {first.sha256()}",
            "losses": [self.base_weight, *self.terms],
            "evaluations": sorted(self.evaluate_at),
            "parameters": {name: list(value.shape) for name, value in self.chosen.items()},
            "starting weights": weight_hash(self.model),
        }
