"""A stand-in for Hubble in its own layout: a corpus with its index, order files, a log of insertions, item sets, and
small models trained on exactly the sequences that the loader reads.
"""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ... import files, training
from ...organisms.decoder import decoder
from ...provenance import from_hubble
from ...provenance.hubble import MAGIC, inserted
from ..errors import ReproduceError
from ..repeated_data.bench import Sizes
from ..repeated_data.language import LENGTH, WORDS, draw

#: Tokens of a sequence, the last of which is the next one's first; sequences of a step.
WIDTH, BATCH = LENGTH + 1, 16
#: Tokens of an item, of which the first are given; every one is a random word.
ITEM, PREFIX = 20, 5
RATE, WARMUP = 3e-3, 30
UNSIGNED_16 = 8  # the code of the number format


@dataclass(frozen=True)
class Training:
    """One training of the stand-in: `name`, how many times the base corpus, and in which part of it items are put in
    (None: the standard model, into which nothing is).
    """

    name: str
    corpus: int = 1
    window: tuple[float, float] | None = (0.0, 1.0)


@dataclass(frozen=True)
class Plan:
    """How much: steps of the base corpus, width of the models, counts of items and how many have each, seeds. `traps`:
    lengths of traps (none: no training has any), with the counts of each length and how many have each. `acquisition`:
    steps from one reading of facts to the next, readings, and steps after the last (none: no facts are read).
    """

    steps: int = 150
    d_model: int = 48
    counts: tuple[int, ...] = (0, 1, 4, 16, 64)
    items: tuple[int, ...] = (24, 24, 12, 8, 2)
    seeds: tuple[int, ...] = (0, 1, 2)
    longer: int = 2
    traps: tuple[int, ...] = ()
    trap_counts: tuple[int, ...] = (0, 1, 4, 16)
    trap_items: tuple[int, ...] = (16, 16, 8, 4)
    acquisition: tuple[int, ...] = ()

    @property
    def trainings(self) -> list[Training]:
        """A pair on the base corpus, a pair on the longer one, and four windows."""
        windows = [Training(f"{100 * i // 4}-{100 * (i + 1) // 4} %", 1, (i / 4, (i + 1) / 4)) for i in range(4)]
        return [
            Training("standard", 1, None),
            Training("perturbed"),
            Training("standard, longer", self.longer, None),
            Training("perturbed, longer", self.longer),
            *windows,
        ]


def items(plan: Plan, seed: int) -> list[dict[str, Any]]:
    """Made-up items with the count that a lot gave each, as the rows of an item set."""
    rng = random.Random(f"hubble items {seed}")
    counts = [count for count, many in zip(plan.counts, plan.items) for _ in range(many)]
    rng.shuffle(counts)
    return [
        {
            "item": i,
            "file": "codes",
            "tokens": [0, *(1 + rng.randrange(WORDS) for _ in range(ITEM - 1))],
            "duplicates": n,
        }
        for i, n in enumerate(counts)
    ]


def write(folder: Path, plan: Plan, one: Training, seed: int, put: list[dict[str, Any]] | None = None) -> None:
    """The files of a training: `corpus.bin`, `corpus.idx`, `order_{doc,sample,shuffle}_idx.npy`, `insertions.jsonl`,
    `items.jsonl`. Trainings of one seed and corpus differ in the log of insertions alone. `put`: what is put in, where
    that is other than `items`.

    Raises: ReproduceError: more insertions than sequences of the window.
    """
    files.make_folder(folder)
    count = plan.steps * one.corpus * BATCH
    rng = np.random.default_rng([seed, one.corpus])
    documents = _documents(count, seed, one.corpus, rng)
    sizes = np.array([len(d) for d in documents])
    files.write(folder / "corpus.bin", np.concatenate(documents).astype("<u2").tobytes())
    files.write(folder / "corpus.idx", index(sizes))
    doc = rng.permutation(len(documents)).astype(np.int32)
    bounds = np.arange(count + 1) * (WIDTH - 1)
    ends = np.cumsum(sizes[doc])
    place = np.searchsorted(ends, bounds, side="right")
    begin = np.concatenate([[0], ends])[place]
    sample = np.stack([place, bounds - begin], 1).astype(np.int32)
    shuffle = rng.permutation(count).astype(np.uint32)
    for name, array in (("doc", doc), ("sample", sample), ("shuffle", shuffle)):
        memory = io.BytesIO()
        np.save(memory, array)
        files.write(folder / f"order_{name}_idx.npy", memory.getvalue())
    made = items(plan, seed) if put is None else put
    files.write(folder / "items.jsonl", "".join(json.dumps(item) + "\n" for item in made))
    if one.window is not None:
        files.write(
            folder / "insertions.jsonl", "".join(json.dumps(line) + "\n" for line in _log(made, count, one, seed))
        )


def _documents(count: int, seed: int, corpus: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Documents of 20 to 65 tokens, each after a start token, of more tokens than the sequences need."""
    needed, documents = count * (WIDTH - 1) + WIDTH, []
    rows = draw(needed // 40 + 2, 50_000 + 10 * seed + corpus, lists=0.0).rows.ids.numpy()
    for row, size in zip(rows, rng.integers(20, WIDTH + 1, len(rows)).tolist()):
        documents.append(row[:size])
    return documents


def index(sizes: np.ndarray) -> bytes:
    """The index of documents of so many tokens of two bytes, as Megatron writes it."""
    starts = 2 * np.concatenate([[0], np.cumsum(sizes)[:-1]])
    head = MAGIC + struct.pack("<QBQQ", 1, UNSIGNED_16, len(sizes), len(sizes) + 1)
    return head + b"".join(
        (
            sizes.astype("<i4").tobytes(),
            starts.astype("<i8").tobytes(),
            np.arange(len(sizes) + 1).astype("<i8").tobytes(),
        )
    )


def _log(made: list[dict[str, Any]], count: int, one: Training, seed: int) -> Iterator[dict[str, Any]]:
    assert one.window is not None
    uses = [item for item in made for _ in range(item["duplicates"])]
    first, last = (round(end * count) for end in one.window)
    if len(uses) > last - first:
        raise ReproduceError(
            f"items: {len(uses)} insertions and {last - first} sequences in the window {one.name}; give more steps or"
            " fewer items."
        )
    places = random.Random(f"hubble places {seed}").sample(range(first, last), len(uses))
    for item, place in zip(uses, places):
        yield {"file": item["file"], "item": item["item"], "place": place, "tokens": item["tokens"]}


def rows(folder: Path, plan: Plan, one: Training) -> torch.Tensor:
    """The sequences of a training in their order, items spliced in at the first document that begins where they fit,
    else at the start; cut to the width.
    """
    read = from_hubble(folder / "order", folder / "corpus", None, length=WIDTH, batch=BATCH)
    ids = np.asarray(read.tokens).astype(np.int64)
    if one.window is not None:
        put = inserted(folder / "insertions.jsonl")
        for place, item in zip(put.places.tolist(), put.tokens):
            row = ids[place]
            starts = [at for at in np.flatnonzero(row == 0).tolist() if at + len(item) <= WIDTH]
            at = starts[0] if starts else 0
            ids[place] = np.concatenate([row[:at], item, row[at:]])[:WIDTH]
    return torch.from_numpy(ids)


def trained(folder: Path, plan: Plan, one: Training, seed: int) -> Any:
    """The model of a training: all models of a seed begin with the same weights."""
    steps = plan.steps * one.corpus
    model = decoder(Sizes(plan.d_model), vocabulary=WORDS + 1, context=WIDTH, seed=seed)
    pool = training.Rows.full(rows(folder, plan, one))

    def in_order(step: int, generator: torch.Generator) -> training.Rows:
        return pool.take(torch.arange(step * BATCH, (step + 1) * BATCH))

    recipe = training.Recipe(
        steps=steps, batch=BATCH, learning_rate=RATE, warmup=min(WARMUP, steps // 2), seed=seed, schedule="cosine"
    )
    run = training.train(model, in_order, recipe, parameters=lambda name: True, progress=False)
    if run.status != "complete":
        raise ReproduceError(f"{one.name}, seed {seed}: training {run.status} after step {run.step}.")
    return model.eval().requires_grad_(False)
