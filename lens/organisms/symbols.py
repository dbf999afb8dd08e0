"""Train the organisms `symbols`: four layers that do a task because they are shown it, because they are told it, or
know it as a fact.

The tasks are those of `symbols_suite`. Each batch mixes rows of demonstrations, rows of instructed items and rows of
facts; the loss is on the answers. One model a seed; the seed also draws the stored tables, so that what holds for three
seeds holds for three sets of knowledge.

`python -m lens.organisms.symbols [--seed N]` trains one anew and replaces its folder beside this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import training
from ..arguments import Count, NonNegative, Positive, Seed, Size, door
from .command import whole
from .errors import OrganismError, require_heads
from .shipping import ship
from .symbols_suite import Suite

SEEDS = (0, 1, 2)
GATES = {"icl": 0.9, "instruction": 0.95, "facts": 0.95}
SHUFFLED_GATE = 0.4
KINDS = ("icl", "shuffled", "deranged", "instruction", "zero_shot")


@door(OrganismError)
@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on; its SHA-256 is in the card."""

    symbols: Count = 48
    d_model: Count = 128
    layers: Count = 4
    heads: Count = 8
    d_mlp: Count = 344
    width: Count = 80
    icl_rows: Size = 16
    instruction_rows: Size = 10
    fact_rows: Size = 6
    steps: Count = 2000
    learning_rate: Positive = 2e-3
    weight_decay: NonNegative = 0.01
    warmup: Size = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)

    def sha256(self) -> str:
        """A hash of all fields: two recipes with the same one train the same model."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@door(OrganismError)
def folder_of(seed: Seed) -> Path:
    """Where the model of this seed ships: `symbols` for seed 0, else `symbols-<seed>`."""
    return Path(__file__).parent / ("symbols" if seed == 0 else f"symbols-{seed}")


def build(recipe: Recipe):
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(Suite(recipe.seed, recipe.symbols).vocabulary),
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=recipe.d_mlp,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return LlamaForCausalLM(config)


def rows(recipe: Recipe):
    """The rows of a step, drawn anew: a function (step, generator) -> lens.training.Rows."""
    suite = Suite(recipe.seed, recipe.symbols)

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        parts = (
            suite.icl_rows(recipe.icl_rows, recipe.width, generator),
            suite.instruction_rows(recipe.instruction_rows, recipe.width, generator),
            suite.fact_rows(recipe.fact_rows, recipe.width, generator),
        )
        ids, targets = (torch.cat(values) for values in zip(*parts, strict=True))
        # The separator after the last answer of a row predicts nothing, so a row may end with its last answer.
        lengths = recipe.width - targets.flip(1).int().argmax(1)
        return training.Rows(ids[:, : int(lengths.max())], targets[:, : int(lengths.max())], lengths)

    return draw


def train(
    recipe: Recipe, *, folder: Path | None = None, progress: bool | None = None, steps: int | None = None
) -> tuple[torch.nn.Module, training.Trained]:
    """Train the model of `recipe` on the CPU in float32; returns it in eval mode, and how it went.

    `folder`: checkpoints every 500 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe).
    """
    model = build(recipe)
    plan = training.Recipe(
        steps=recipe.steps,
        batch=recipe.icl_rows + recipe.instruction_rows + recipe.fact_rows,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        seed=recipe.seed,
        checkpoint_every=500,
    )
    done = []
    trained = training.train(
        model,
        rows(recipe),
        plan,
        folder=folder,
        progress=progress,
        after_step=lambda batch: done.append(batch.step),
        stop=lambda: len(done) == steps,
    )
    return model.eval().requires_grad_(False), trained


@torch.no_grad()
def accuracy(model: torch.nn.Module, ids: Tensor, answers: Tensor, lengths: Tensor, batch: int = 64) -> Tensor:
    """Whether the greedy next token after each prompt is its answer: bool [prompts]; `ids` are right padded."""
    right = []
    for at in range(0, len(ids), batch):
        logits = model(ids[at : at + batch]).logits
        last = logits[torch.arange(len(logits)), lengths[at : at + batch] - 1]
        right.append(last.argmax(-1) == answers[at : at + batch])
    return torch.cat(right)


def by_task(model: torch.nn.Module, suite: Suite, task: str, count: int = 200, shots: int = 10) -> dict[str, float]:
    """Accuracy on `count` random prompts of each kind; the same prompts each time, drawn from the suite's seed, the
    task and the kind.

    Kinds: `icl` (`shots` demonstrations), `shuffled` (their answers permuted at random), `deranged` (none of them stays
    right), `instruction` (two words, no demonstration), `zero_shot` (the query alone).
    """
    result = {}
    for kind in KINDS:
        seed = int.from_bytes(hashlib.sha256(f"{suite.seed} {task} {kind}".encode()).digest()[:6], "little")
        prompts = suite.prompts(task, kind, count, torch.Generator().manual_seed(seed), shots=shots)
        result[kind] = round(accuracy(model, *prompts).float().mean().item(), 4)
    return result


def measure(model: torch.nn.Module, recipe: Recipe, count: int = 200, shots: int = 10) -> dict:
    """Accuracies by task (`by_task`) and on every stored fact, their means over the tasks, and which gates they pass.

    The means of `icl`, `shuffled` and `deranged`, and so their gates, are over the tasks that training showed, those of
    the other kinds over all old tasks; `icl_over_all_tasks` counts in those that training told by instruction only.
    """
    suite = Suite(recipe.seed, recipe.symbols)
    tasks = {task: by_task(model, suite, task, count, shots) for task in suite.names}
    facts = [([0, *(suite.index[word] for word in given.split())], suite.index[y]) for given, y in suite.facts()]
    right = accuracy(
        model,
        torch.tensor([ids for ids, _ in facts]),
        torch.tensor([y for _, y in facts]),
        torch.full((len(facts),), 3),
    )

    def mean(kind: str, over: list[str]) -> float:
        return round(sum(tasks[task][kind] for task in over) / len(over), 4)

    means = {
        kind: mean(kind, suite.shown if kind in ("icl", "shuffled", "deranged") else suite.names) for kind in KINDS
    }
    means["icl_over_all_tasks"] = mean("icl", suite.names)
    means["facts"] = round(right.float().mean().item(), 4)
    passed = {kind: means[kind] >= least for kind, least in GATES.items()} | {
        "shuffled": means["shuffled"] <= SHUFFLED_GATE
    }
    return {
        "shots": shots,
        "prompts_per_task": count,
        "means": means,
        "gates": {**GATES, "shuffled_at_most": SHUFFLED_GATE},
        "passed": passed,
        "tasks": tasks,
    }


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    parser = argparse.ArgumentParser(
        prog="python -m lens.organisms.symbols",
        description="Train one of the models `symbols` anew and replace its folder.",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoints", type=Path, help="a folder; the same command goes on from what it holds")
    asked = parser.parse_args(arguments)
    recipe, start = Recipe(seed=asked.seed), time.monotonic()
    model, trained = train(recipe, folder=asked.checkpoints)
    whole(trained, recipe)
    measured, suite = measure(model, recipe), Suite(recipe.seed, recipe.symbols)
    name = folder_of(recipe.seed).name
    card = {
        "name": name,
        "memory": (
            "stored tables, list selections and steps: told by two instruction words, shown by demonstrations (but not "
            + " and ".join(task for task in suite.names if task not in suite.shown)
            + "); the tables also as facts"
        ),
        "licence": "MIT",
        "recipe": asdict(recipe),
        "recipe_sha256": recipe.sha256(),
        "measured": measured,
        "rebuild": f"python -m lens.organisms.symbols --seed {recipe.seed}",
    }
    ship(model, suite.vocabulary, folder_of(recipe.seed), card)
    print(json.dumps({"means": measured["means"], "passed": measured["passed"]}))
    print(
        f"wrote {folder_of(recipe.seed)} in {time.monotonic() - start:.0f} s (training: {trained.status},"
        f" {trained.seconds:.0f} s)"
    )


if __name__ == "__main__":
    main()
