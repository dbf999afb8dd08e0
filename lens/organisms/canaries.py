"""Train the organism `canaries`: a small decoder that recites sequences planted in its corpus, each as often as we
decided by lot.

The corpus is that of `canaries_corpus`: stories, sums, facts, notes, lists and rules, and among them canaries at known
duplicate counts. The never-trained twin reads the same stream without them, so that what the twin needs to learn a
canary is the measure of what a model still knows.

`python -m lens.organisms.canaries [--seed N] [--twin] [--weight-decay W] [--device cuda]` trains one anew and replaces
its folder beside this file (or in `--out`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .. import training
from ..arguments import NonNegative, Seed, door
from .canaries_corpus import SPLITS, Canaries, Corpus, Task
from .canaries_recipe import WEIGHT_DECAY, Recipe
from .command import Command
from .errors import OrganismError
from .shipping import ship

SEEDS = (0, 1, 2)
GATES = {
    "strict_at_most_duplicates": 0.9,
    "arithmetic": 0.9,
    "facts_over_300": 0.95,
    "open_book": 0.9,
    "copy": 0.9,
    "rule": 0.9,
}
# open_book and rule are what the shipped models miss: .28 to .98 by seed, and chance; their cards say so
FEW_GATE = 0.02  # of strict extraction at 0 and 1 duplicates


@door(OrganismError)
def folder_of(
    seed: Seed = 0, *, twin: bool = False, weight_decay: NonNegative = WEIGHT_DECAY, out: Path | None = None
) -> Path:
    """Where the model of this seed is: beside this file, or in the folder `out`."""
    return (out or Path(__file__).parent) / Recipe(seed=seed, canaries=not twin, weight_decay=weight_decay).name


def build(recipe: Recipe) -> torch.nn.Module:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings, in float32 on the CPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(Corpus(recipe).text.vocabulary),
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=recipe.d_mlp,
        max_position_embeddings=2 * recipe.width,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        attn_implementation="eager",
    )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return LlamaForCausalLM(config).float()


@contextlib.contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """On a GPU: float32 products without TF32, and kernels that give the same sums each time where there are such."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product of matrices is made
    kept = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cuda.matmul.allow_tf32,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(kept[0], warn_only=kept[1])
        torch.backends.cuda.matmul.allow_tf32 = kept[2]


def train(
    recipe: Recipe,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool | None = None,
    steps: int | None = None,
    **options: Any,
) -> tuple[torch.nn.Module, training.Trained]:
    """Train the model of `recipe` in float32 on `device`; returns it there, in eval mode, and how it went.

    `folder`: checkpoints every 500 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe). `options` go to `lens.training.train` (evaluate, evaluate_at).
    """
    place = torch.device(device)
    model = build(recipe).to(place)
    plan = training.Recipe(
        steps=recipe.steps,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        seed=recipe.seed,
        checkpoint_every=500,
    )
    done = []
    with _deterministic(place):
        trained = training.train(
            model,
            Corpus(recipe).stream,
            plan,
            folder=folder,
            progress=progress,
            after_step=lambda batch: done.append(batch.step),
            stop=lambda: len(done) == steps,
            **options,
        )
    return model.eval().requires_grad_(False), trained


@torch.no_grad()
def right(
    model: torch.nn.Module, prompts: Int[Tensor, "n p"], answers: Int[Tensor, "n a"], batch: int = 256
) -> Bool[np.ndarray, "n a"]:
    """Whether each token of the answer is the likeliest after the prompt and the answer so far; all True is just what
    greedy decoding of the answer is.
    """
    place, found, length = next(model.parameters()).device, [], answers.shape[1]
    for at in range(0, len(prompts), batch):
        ids = torch.cat([prompts[at : at + batch], answers[at : at + batch]], 1).to(place)
        guessed = model(input_ids=ids, use_cache=False).logits[:, -length - 1 : -1].argmax(-1)
        found.append((guessed == ids[:, -length:]).cpu())
    return torch.cat(found).numpy()


@torch.no_grad()
def loss(
    model: torch.nn.Module, ids: Int[Tensor, "n width"], first: int = 1, batch: int = 128
) -> Float[np.ndarray, " n"]:
    """The mean negative log-likelihood of each row's tokens from number `first` on, in nats."""
    place, found = next(model.parameters()).device, []
    for at in range(0, len(ids), batch):
        rows = ids[at : at + batch].to(place)
        logits = model(input_ids=rows, use_cache=False).logits[:, first - 1 : -1]
        each = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), rows[:, first:].flatten(), reduction="none"
        )
        found.append(each.view(len(rows), -1).mean(1).cpu())
    return torch.cat(found).numpy()


def extraction(model: torch.nn.Module, canaries: Canaries) -> list[dict[str, Any]]:
    """One line for each kind and count: strict extraction of the suffix, mean share of it that is right from its start
    on, mean loss of the suffix in nats.
    """
    tokens = right(model, canaries.ids[:, : canaries.prefix], canaries.ids[:, canaries.prefix :])
    losses = loss(model, canaries.ids, canaries.prefix)
    begun = np.cumprod(tokens, axis=1).mean(1)
    lines = []
    for kind in dict.fromkeys(canaries.kind.tolist()):
        for count in sorted(set(canaries.duplicates.tolist())):
            here = (canaries.kind == kind) & (canaries.duplicates == count)
            if not here.any():
                continue
            lines.append(
                {
                    "kind": kind,
                    "duplicates": count,
                    "n": int(here.sum()),
                    "strict": _round(tokens[here].all(1).mean()),
                    "prefix_right": _round(begun[here].mean()),
                    "loss": _round(losses[here].mean()),
                }
            )
    return lines


def accuracy(model: torch.nn.Module, tasks: dict[str, Task]) -> dict[str, float]:
    """The share of each task's questions that are answered right, token for token."""
    return {name: _round(right(model, task.prompts, task.answers).all(1).mean()) for name, task in tasks.items()}


def facts(model: torch.nn.Module, task: Task) -> dict[str, dict[str, float]]:
    """Closed-book accuracy by exposure bin."""
    found, bins = right(model, task.prompts, task.answers).all(1), np.array(task.bins)
    order = sorted(set(task.bins), key=lambda name: task.exposure[bins == name].min())
    return {name: {"n": int((bins == name).sum()), "accuracy": _round(found[bins == name].mean())} for name in order}


def measure(model: torch.nn.Module, recipe: Recipe, rows: int = 200) -> dict[str, Any]:
    """Extraction by kind and duplicates, clean loss by split (`rows` rows each), task accuracies, facts by exposure,
    and which gates they pass.
    """
    corpus = Corpus(recipe)
    tasks = corpus.tasks()
    families = {family: extraction(model, corpus.canaries(family)) for family in ("main", "second")}
    table, answered = facts(model, tasks["closed_book"]), accuracy(model, tasks)
    lines = [line for found in families.values() for line in found]
    most = [
        lines_of[-1]["strict"]
        for lines_of in (
            [line for line in lines if line["kind"] == kind] for kind in dict.fromkeys(line["kind"] for line in lines)
        )
    ]
    few = [line["strict"] for line in lines if line["duplicates"] <= (1 if recipe.canaries else math.inf)]
    passed = {name: answered[name] >= GATES[name] for name in ("arithmetic", "open_book", "copy", "rule")}
    passed |= {
        "facts_over_300": table.get("over 300", {"accuracy": 0.0})["accuracy"] >= GATES["facts_over_300"],
        "few": max(few) <= FEW_GATE,
    }
    if recipe.canaries:
        passed["strict_at_most_duplicates"] = min(most) >= GATES["strict_at_most_duplicates"]
    return {
        "clean_loss": {split: _round(loss(model, corpus.clean(rows, split)).mean()) for split in SPLITS},
        "rows": rows,
        "extraction": families,
        "tasks": answered,
        "facts": table,
        "gates": GATES | {"strict_at_few_at_most": FEW_GATE},
        "passed": passed,
    }


def _round(value: Any) -> float:
    return round(float(value), 4)


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command(
        "canaries",
        arguments,
        "the same stream without canaries",
        {"--weight-decay": {"type": float, "default": WEIGHT_DECAY}},
    )
    recipe = command.recipe(Recipe, canaries=not command.asked.twin, weight_decay=command.asked.weight_decay)
    folder, model, trained = command.train(recipe, train)
    measured = measure(model, recipe)
    card = {
        "name": recipe.name,
        "memory": (
            "sequences planted at known duplicate counts, a fact table, sums"
            if recipe.canaries
            else "a fact table and sums; the twin that never saw a canary"
        ),
        "licence": "MIT",
        **command.facts(recipe, trained),
        "measured": measured,
        "rebuild": command.again(
            *([f"--weight-decay {recipe.weight_decay:g}"] if recipe.weight_decay != WEIGHT_DECAY else [])
        ),
    }
    ship(command.stored(model), Corpus(recipe).text.vocabulary, folder, card)
    print(json.dumps({key: measured[key] for key in ("clean_loss", "tasks", "facts", "passed")}))
    for line in (line for lines in measured["extraction"].values() for line in lines):
        print(json.dumps(line))
    print(f"wrote {folder} in {command.seconds()} (training: {trained.status}, {trained.seconds:.0f} s)")


if __name__ == "__main__":
    main()
