"""Reinforcement learning of a language model: REINFORCE on answers that it draws itself, with a leave-one-out baseline,
a price for leaving the base, and rows of text to keep what it knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..arguments import Count, FilePath, Filled, HFModel, NonNegative, Positive, Seed, Size, Whole, door, shown
from ..engine.lengths import require_readable
from .batches import Batch, Sampler
from .copies import copy_of
from .divergence import precise
from .language import language_loss, logits_of, require_language_model
from .loop import Trained, train
from .recipe import Recipe, Rows, TrainingError, step_seed
from .sampling import sample

#: Of `Trained.losses`: the price for leaving the base, and the loss of the rows of text.
KL, REPLAY = "kl", "replay"


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model answered in one step.

    Attributes:
        index: ``[rows]``, which prompt each row answers; `samples` rows of one prompt follow each other.
        ids: ``[rows, new]``, the drawn tokens; live: those up to the stop, this one included.
    """

    index: Int[Tensor, " rows"]
    ids: Int[Tensor, "rows new"]
    live: Bool[Tensor, "rows new"]

    def texts(self) -> list[list[int]]:
        """The tokens of each row up to the stop, this one included."""
        return [ids[live].tolist() for ids, live in zip(self.ids, self.live, strict=True)]


#: Says of each answer what it is worth: ``[rows]``.
Reward = Callable[[Answers], Tensor]


@door(TrainingError)
def reinforce(
    model: HFModel,
    prompts: Annotated[Sequence[Sequence[int]], Filled()],
    reward: Reward,
    recipe: Recipe,
    *,
    stop: Size,
    longest: Count,
    samples: Annotated[int, Whole(2)] = 4,
    temperature: Positive = 1.0,
    kl: NonNegative = 0.01,
    base: HFModel | None = None,
    replay: Rows | Sampler | None = None,
    replay_rows: Count = 8,
    parameters: Any = None,
    evaluate: Callable[[int], Mapping[str, float]] | None = None,
    evaluate_at: Sequence[int] = (),
    folder: FilePath | None = None,
    progress: bool | None = None,
    halt: Callable[[], bool] | None = None,
) -> Trained:
    """Train a causal language model in place on the reward of answers that it draws: each step asks `recipe.batch` of
    the prompts, `samples` times each, and makes answers more likely by how much more they are worth than the others to
    the same prompt.

    The loss is the mean over answers of - (reward - mean reward of the prompt's other answers) ln p(answer) + `kl`
    times the sum over its tokens of KL(model || base) of the next token (the exact sum over the vocabulary at the
    tokens drawn), plus the cross-entropy of the rows of `replay`. Everything is computed without dropout, as it is
    drawn.

    Args:
        prompts: token ids, at least two each; of unlike lengths too. reward: of `Answers`, a number a row; what it
            draws comes from torch's own generator, and where it has a text `identity`, a checkpoint is of that.
        stop, longest, temperature: as `lens.training.sample`; probabilities are those at this temperature.
        base: what `kl` is measured from; None: the model as it is now.
        replay: rows of text, or a function (step, generator) that draws `replay_rows` of them; of given rows as many
            are drawn in each step.
        parameters, evaluate, evaluate_at, folder, progress: as `lens.training.train`; halt: its `stop`.

    Returns: as `lens.training.train`: of `losses`, ``lm`` is minus the mean reward, ``kl`` and ``replay`` the other
        terms.

    Raises: TrainingError: as `lens.training.train`; prompts that are too short, rewards that are not one finite number
        a row.

    Source: Williams 1992 (REINFORCE); Kool et al. 2019, equation 8 (leave one out).

    Cost: of a step, the drawing (`sample`), one forward and backward pass of all answers, one forward of the base where
        `kl` is not 0, and one pass of the replay.
    """
    lengths = [len(prompt) for prompt in prompts]
    if min(lengths) < 2:
        raise TrainingError(
            f"prompts[{lengths.index(min(lengths))}] has {min(lengths)} tokens; expected at least two, of which the"
            " first may be a start token."
        )
    core = getattr(model, "original_model", model)
    require_language_model(model, core)
    rows = Rows.of([(prompt[:-1], prompt[-1:]) for prompt in prompts])
    require_readable(core, int(rows.ids.max()), max(lengths) + longest, TrainingError, "prompts with longest")
    frozen = None
    if kl:
        frozen = _frozen(model) if base is None else getattr(base, "original_model", base)
    step = _Step(reward, frozen, samples, longest, stop, temperature, kl)
    terms: dict[str, Any] = {KL: step.price} if kl else {}
    if replay is not None:
        terms[REPLAY] = Replay(replay, replay_rows, recipe.seed)
        step.identity += f" {terms[REPLAY].identity}"
    return train(
        model,
        rows,
        recipe,
        terms=terms,
        parameters=parameters,
        objective=step,
        evaluate=evaluate,
        evaluate_at=evaluate_at,
        folder=folder,
        progress=progress,
        stop=halt,
    )


def _frozen(model: Any) -> torch.nn.Module:
    """A copy of the model as it is now, without dropout."""
    core = getattr(model, "original_model", model)
    mode = core.training
    core.eval()
    try:
        return copy_of(model).requires_grad_(False)
    finally:
        core.train(mode)


def leave_one_out(rewards: Float[Tensor, "prompts samples"]) -> Float[Tensor, "prompts samples"]:
    """By how much each answer is worth more than the mean of the others to its prompt."""
    samples = rewards.shape[1]
    return (rewards - rewards.mean(1, keepdim=True)) * samples / (samples - 1)


class _Step:
    """The objective of a step: its value is minus the mean reward, its gradient that of REINFORCE."""

    def __init__(self, reward: Reward, base: Any, samples: int, longest: int, stop: int, temperature: float, kl: float):
        self.reward, self.base, self.samples, self.longest = reward, base, samples, longest
        self.stop, self.temperature, self.kl = stop, temperature, kl
        self.away: Tensor | None = None
        what = getattr(reward, "__qualname__", type(reward).__qualname__)
        self.identity = f"{samples} {longest} {stop} {temperature} {kl} {what} {getattr(reward, 'identity', '')}"
        if base is not None:
            from ..models import weight_hash

            self.identity += f" {weight_hash(base)}"

    def __call__(self, model: torch.nn.Module, batch: Batch) -> Tensor:
        """Minus the mean reward of answers drawn now."""
        ids, live, starts = self._answers(model, batch)
        rewards = self._rewards(Answers(batch.index.repeat_interleave(self.samples), *_cut(ids, live, starts)))
        mode = model.training
        model.eval()
        try:
            inputs = ids[:, :-1]
            own = self._log_probs(model, inputs)
            counted = live[:, 1:]
            self.away = own.new_zeros(())
            if self.base is not None:
                with torch.no_grad():
                    theirs = self._log_probs(self.base, inputs)
                apart = (own.exp() * (own - theirs)).sum(-1)
                self.away = torch.where(counted, apart, 0.0).sum() / len(ids)
        finally:
            model.train(mode)
        said = own.gather(2, ids[:, 1:, None])[..., 0]
        gain = leave_one_out(rewards.view(-1, self.samples)).view(-1, 1).to(said)
        surrogate = -(gain * torch.where(counted, said, 0.0)).sum() / len(ids)
        return surrogate - surrogate.detach() - rewards.mean().to(said)

    def price(self, model: Any, batch: Batch, outputs: Any) -> Tensor:
        """The price for leaving the base, of the answers that were drawn just now."""
        assert self.away is not None
        return self.kl * self.away

    def _log_probs(self, model: Any, ids: Tensor) -> Tensor:
        logits = logits_of(model, model(input_ids=ids, use_cache=False))
        return (precise(logits) / self.temperature).log_softmax(-1)

    def _answers(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Prompts with their answers behind them, padded on the right, which tokens were drawn, where they start."""
        lengths = batch.lengths.repeat_interleave(self.samples)
        prompts = batch.ids.repeat_interleave(self.samples, 0)
        width = int(lengths.max()) + self.longest
        ids = torch.zeros(len(prompts), width, dtype=torch.long, device=prompts.device)
        ids[:, : prompts.shape[1]] = prompts
        live = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
        # rows of one length together: no padding stands before what is drawn
        for length in lengths.unique().tolist():
            of = (lengths == length).nonzero()[:, 0]
            new, counts = sample(
                model,
                prompts[of, :length],
                stop=self.stop,
                longest=self.longest,
                temperature=self.temperature,
            )
            at = slice(length, length + new.shape[1])
            ids[of, at] = torch.where(counts, new, 0).to(ids)
            live[of, at] = counts.to(live)
        last = int(live.any(0).nonzero().max()) + 1
        return ids[:, :last], live[:, :last], lengths

    def _rewards(self, answers: Answers) -> Tensor:
        given = self.reward(answers)
        fits = isinstance(given, Tensor) and given.shape == answers.index.shape
        if not fits or not bool(torch.isfinite(given.float()).all()):
            raise TrainingError(
                f"reward(answers) gave {shown(given)}; expected a tensor of {len(answers.index)} finite numbers, one"
                " an answer."
            )
        return given.float()


def _cut(ids: Tensor, live: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """The drawn tokens alone ``[rows, new]``, with which of them count, on the CPU."""
    new = int(live.sum(1).max())
    at = (starts[:, None] + torch.arange(new, device=starts.device)).clamp(max=ids.shape[1] - 1)
    counts = torch.arange(new, device=starts.device) < live.sum(1, keepdim=True)
    return torch.where(counts, ids.gather(1, at), 0).cpu(), counts.cpu()


class Replay:
    """A term of a training: the cross-entropy of so many rows of text, drawn for each step from the seed alone.

    `rows`: of which `count` are drawn, or a function (step, generator) that draws them.
    """

    @door(TrainingError)
    def __init__(self, rows: Rows | Sampler, count: Count = 8, seed: Seed = 0):
        self.rows, self.count, self.seed = rows, count, seed
        first = rows if isinstance(rows, Rows) else self._drawn(0)
        self.identity = f"{count} {hashlib.sha256(first.sha256().encode()).hexdigest()[:16]}"

    def _drawn(self, step: int) -> Rows:
        generator = torch.Generator().manual_seed(step_seed(self.seed + 1, step))
        if isinstance(self.rows, Rows):
            return self.rows.take(torch.randint(len(self.rows), (self.count,), generator=generator))
        rows = self.rows(step, generator)
        if not isinstance(rows, Rows):
            raise TrainingError(f"replay(step={step}) gave {shown(rows)}; expected Rows")
        return rows

    def __call__(self, model: torch.nn.Module, batch: Batch, outputs: Any) -> Tensor:
        """The cross-entropy of this step's rows."""
        rows, device = self._drawn(batch.step), batch.ids.device
        ids, targets, lengths = (value.to(device) for value in (rows.ids, rows.targets, rows.lengths))
        logits = logits_of(model, model(input_ids=ids, use_cache=False))
        index = torch.arange(len(rows))
        return language_loss(logits, Batch(index, ids, targets, lengths, batch.step, batch.steps))
