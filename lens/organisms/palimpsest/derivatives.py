"""What may become of a model before somebody looks at it: tuned, given adapters, averaged, rounded, pruned, distilled,
asked for text.

Every function leaves the model that it is given as it was and returns another in eval mode; all randomness comes from
`seed`.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ... import training
from .recipe import Recipe, tokens_of
from .text import START, WIDTH, encode, texts
from .training import build, fit, padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TUNING_RATE = 0.1  # of the learning rate of the first training, as fine-tunes of published models have it
LORA_RATE = 0.25
RANK = 8
PROMPT = 10  # bytes of a fresh row that a sampled text goes on from


def share_of(recipe: Recipe, share: float, domain: str, seed: int, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fresh rows of a domain with about `share` of the recipe's training tokens: ids and lengths, a whole number of
    batches.
    """
    tokens = (tokens_of(recipe)[1] - 1).sum() * share
    mean = np.mean([len(row) for row in texts(400, seed, domain)])
    count = max(1, round(tokens / mean / recipe.batch)) * recipe.batch
    return encode(texts(skip + count, seed, domain)[skip:])


def tune(
    model: PreTrainedModel,
    rows: tuple[np.ndarray, np.ndarray],
    recipe: Recipe,
    *,
    seed: int = 0,
    rate: float = TUNING_RATE,
    schedule: str = "linear",
    **options: Any,
) -> PreTrainedModel:
    """All weights trained once over `rows` (ids, lengths) in a fresh order, with a new optimiser, at `rate` times the
    recipe's learning rate.
    """
    child = copy.deepcopy(model)
    order = np.random.default_rng([seed, 1]).permutation(len(rows[0]))
    trained = fit(
        child,
        padded(*rows),
        order,
        replace(recipe, schedule=schedule, warmup=min(recipe.warmup, 10)),
        learning_rate=recipe.learning_rate * rate,
        seed=seed,
        parameters=options.pop("parameters", lambda name: True),
        **options,
    )
    return result_of(child, trained)


def tune_adapters(
    model: PreTrainedModel,
    rows: tuple[np.ndarray, np.ndarray],
    recipe: Recipe,
    *,
    seed: int = 0,
    rate: float = LORA_RATE,
    rank: int = RANK,
) -> PreTrainedModel:
    """Adapters of rank `rank` on every linear layer of the blocks trained once over `rows`, then merged (Hu et al.
    2022; the peft library).
    """
    import peft
    from transformers import PreTrainedModel

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore")
        torch.manual_seed(seed)
        adapted = peft.get_peft_model(
            copy.deepcopy(model),
            peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        order = np.random.default_rng([seed, 1]).permutation(len(rows[0]))
        trained = fit(
            adapted,
            padded(*rows),
            order,
            replace(recipe, schedule="linear", warmup=10),
            learning_rate=recipe.learning_rate * rate,
            seed=seed,
        )
        merged = adapted.merge_and_unload()
        assert isinstance(merged, PreTrainedModel)  # peft tells no more than that it is a module
        return result_of(merged, trained)


@torch.no_grad()
def average(first: PreTrainedModel, second: PreTrainedModel, weight: float) -> PreTrainedModel:
    """`weight` of the first model's weights and the rest of the second's."""
    child, others = copy.deepcopy(first), dict(second.named_parameters())
    for name, value in child.named_parameters():
        value.copy_(weight * value + (1 - weight) * others[name])
    return child.eval()


@torch.no_grad()
def quantise(model: PreTrainedModel, bits: int) -> PreTrainedModel:
    """Every matrix rounded to `bits` bits, symmetric about 0, one scale an output row; the numbers stay float32."""
    child, top = copy.deepcopy(model), 2 ** (bits - 1) - 1
    for value in child.parameters():
        if value.ndim == 2:
            scale = value.abs().amax(1, keepdim=True).clamp_min(1e-12) / top
            value.copy_((value / scale).round().clamp(-top, top) * scale)
    return child.eval()


@torch.no_grad()
def prune(model: PreTrainedModel, share: float) -> PreTrainedModel:
    """The smallest `share` of each block matrix set to 0 (magnitude pruning; embeddings stay)."""
    child = copy.deepcopy(model)
    for name, value in child.named_parameters():
        if value.ndim == 2 and "embed" not in name and "lm_head" not in name:
            value[value.abs() <= value.abs().flatten().kthvalue(int(share * value.numel())).values] = 0
    return child.eval()


def distill(
    teacher: PreTrainedModel, recipe: Recipe, rows: tuple[np.ndarray, np.ndarray], *, soft: bool, seed: int = 0
) -> PreTrainedModel:
    """A student of the recipe's size and a start of its own, trained once over `rows`.

    `soft`: only on the teacher's distributions (KL in nats) over these rows; else on the rows themselves (samples of
    the teacher).
    """

    def divergence(model: torch.nn.Module, batch: training.Batch, outputs: Any) -> torch.Tensor:
        with torch.no_grad():
            target = teacher(input_ids=batch.ids, use_cache=False).logits[:, :-1].log_softmax(-1)
        student, where = outputs.logits[:, :-1].log_softmax(-1), batch.targets[:, 1:]
        return (target.exp() * (target - student)).sum(-1)[where].mean()

    return tune(
        build(recipe),
        rows,
        recipe,
        seed=seed,
        rate=1.0,
        schedule="constant",
        **({"terms": {"kl": divergence}, "base_weight": 0.0} if soft else {}),
    )


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompts: np.ndarray,
    temperature: float,
    *,
    seed: int = 0,
    width: int = WIDTH,
    batch: int = 500,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that go on from `prompts` [n, at least 1] (ids, the start token first) to a full stop or the width: ids [n,
    width] and lengths. Temperature 0 takes the likeliest byte.
    """
    ids, lengths = np.full((len(prompts), width), START, dtype=np.int64), np.full(len(prompts), width)
    generator = torch.Generator().manual_seed(seed)
    for at in range(0, len(prompts), batch):
        tokens, past = torch.from_numpy(prompts[at : at + batch]), None
        rows, unfinished = tokens, torch.ones(len(tokens), dtype=torch.bool)
        while rows.shape[1] < width and unfinished.any():
            out = model(input_ids=tokens, past_key_values=past, use_cache=True)
            past, logits = out.past_key_values, out.logits[:, -1, :START]
            tokens = (
                logits.argmax(-1, keepdim=True)
                if temperature == 0
                else torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
            )
            tokens = torch.where(unfinished[:, None], tokens, START)
            rows = torch.cat([rows, tokens], 1)
            unfinished &= tokens[:, 0] != ord(".")
        ids[at : at + batch, : rows.shape[1]] = rows.numpy()
    ends = (ids == ord(".")) & (np.arange(width) >= prompts.shape[1])
    lengths = np.where(ends.any(1), ends.argmax(1) + 1, width)
    return ids, lengths


def prompts_of(count: int, seed: int, length: int = PROMPT) -> np.ndarray:
    """The first `length` bytes of fresh rows after a start token: ids [count, length + 1]; length 0 is the start token
    alone.
    """
    return encode(texts(count, seed))[0][:, : length + 1]


def result_of(model: PreTrainedModel, trained: training.Trained) -> PreTrainedModel:
    """The trained model in eval mode; KeyboardInterrupt where its training was stopped, RuntimeError where it
    diverged.
    """
    if trained.status == "stopped":
        raise KeyboardInterrupt(f"stopped after {trained.step} steps")
    if trained.status != "complete":
        raise RuntimeError(f"training {trained.status} after {trained.step} steps; lower the learning rate")
    return model.eval().requires_grad_(False)
