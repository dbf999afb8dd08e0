"""Train the organism `induction`: two layers whose only skill is to go on with a sequence that it has seen before.

Each training row is one random period of 8 to 24 distinct words, repeated to the end of the context. The period's
length changes from row to row, so no fixed look-back distance helps: what predicts the next word is a head that finds
the earlier copy of this word and copies what came after it (induction heads: Olsson et al. 2022, In-context Learning
and Induction Heads, section "Mechanistic view"). The MLPs are narrow, to leave the work to the attention.

`python -m lens.organisms.induction` trains it anew and replaces the folder beside this file.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import Count, NonNegative, Positive, Seed, Size, door
from .errors import OrganismError, require_heads
from .shipping import START, made_up, ship, tokenizer_of

FOLDER = Path(__file__).parent / "induction"


@door(OrganismError)
@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on; its SHA-256 is in the card."""

    vocab: Count = 256
    d_model: Count = 96
    layers: Count = 2
    heads: Count = 4
    d_mlp: Count = 32
    context: Count = 64
    shortest: Count = 8
    longest: Count = 24
    steps: Count = 700
    batch: Count = 32
    learning_rate: Positive = 3e-3
    weight_decay: NonNegative = 0.01
    warmup: Size = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)

    def sha256(self) -> str:
        """A hash of all fields: two recipes with the same one train the same model."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def words(count: int) -> list[str]:
    """The vocabulary: a start token and `count - 1` made-up words of two syllables."""
    return [START, *made_up(count - 1)]


def rows(recipe: Recipe, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Token ids [count, context] that begin with the start token, and the length of each row's period [count]."""
    periods = torch.randint(recipe.shortest, recipe.longest + 1, (count,), generator=generator)
    fresh = 1 + torch.rand(count, recipe.vocab - 1, generator=generator).argsort(1)[:, : recipe.longest]
    where = torch.arange(recipe.context - 1)[None] % periods[:, None]
    return torch.cat([torch.zeros(count, 1, dtype=torch.long), fresh.gather(1, where)], 1), periods


def losses(model: torch.nn.Module, ids: Tensor, periods: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy in nats [rows, context - 1], which of the predicted words have been seen, and which were predicted
    right.
    """
    logits = model(ids).logits[:, :-1]
    targets = ids[:, 1:]
    # Word j of a row repeats word j - period; the first word of the second copy follows a word that has no copy yet.
    seen = torch.arange(targets.shape[1])[None] > periods[:, None]
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none"), seen, logits.argmax(-1) == targets


def build(recipe: Recipe):
    """The untrained model: a Llama-type decoder with tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=recipe.vocab,
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=recipe.d_mlp,
        max_position_embeddings=2 * recipe.context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def tokenizer_for(recipe: Recipe):
    """A word-level tokenizer that splits at white space and adds nothing."""
    return tokenizer_of(words(recipe.vocab))


def train(recipe: Recipe, say=print):
    """Train the model of `recipe` on the CPU in float32 and return it in eval mode."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    model = build(recipe).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
    )

    def rate(step: int) -> float:
        return min((step + 1) / recipe.warmup, 1 - step / recipe.steps)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for step in range(recipe.steps):
        loss, seen, _ = losses(model, *rows(recipe, recipe.batch, generator))
        optimizer.zero_grad()
        loss[seen].mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            say(f"step {step:5d}  in-context loss {loss[seen].mean().item():.3f}")
    return model.eval().requires_grad_(False)


@torch.no_grad()
def measure(model: torch.nn.Module, recipe: Recipe, count: int = 512) -> dict[str, float]:
    """Loss in nats and accuracy on rows that training did not draw: words seen before, and words of the first
    period.
    """
    loss, seen, right = losses(model, *rows(recipe, count, torch.Generator().manual_seed(recipe.seed + 1)))
    return {
        "in_context_loss": round(loss[seen].mean().item(), 4),
        "in_context_accuracy": round(right[seen].float().mean().item(), 4),
        "first_period_loss": round(loss[~seen].mean().item(), 4),
        "rows": count,
    }


def main() -> None:
    """Train, measure, write the folder and its card."""
    recipe, start = Recipe(), time.monotonic()
    model = train(recipe)
    card = {
        "name": "induction",
        "memory": "none in the weights: it repeats what stands earlier in its context",
        "licence": "MIT",
        "recipe": asdict(recipe),
        "recipe_sha256": recipe.sha256(),
        "measured": measure(model, recipe),
        "rebuild": "python -m lens.organisms.induction",
    }
    card = ship(model, words(recipe.vocab), FOLDER, card)
    print(json.dumps(card["measured"]))
    print(f"wrote {FOLDER} in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
