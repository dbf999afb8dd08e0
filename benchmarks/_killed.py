"""Work that is killed: in a process of its own, each kind with a folder that it goes on with, and a digest of every
bit of its result.

`work` runs a kind to its end. `look` says what a folder holds without going on: None where it says itself that it is
unfinished, else the digest of what it calls complete.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

import lens
from lens import scoring
from lens.training import Recipe, Rows, train
from tests.models import word_tokenizer


def digest_of(parts: Iterable[Any]) -> str:
    """SHA-256 over arrays, tensors, tables and bytes, bit by bit."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = part.detach().contiguous().flatten().view(torch.uint8).numpy()
        if hasattr(part, "to_csv"):
            part = part.to_csv(index=False, float_format="%r").encode()
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}".encode())
            part = np.ascontiguousarray(part).tobytes()
        digest.update(part)
    return digest.hexdigest()


def _random(layers: int, width: int = 64) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=128,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    model.tokenizer = word_tokenizer()
    return model


class Sweep:
    """Activation patching of many prompts with a store."""

    def __init__(self, small: bool):
        draw = np.random.default_rng(0).integers(1, 97, (6 if small else 150, 12))

        def text(row):
            return " ".join(f"w{t}" for t in row)

        self.pairs = [
            lens.Pair(
                text(row),
                corrupted=text([*row[:3], 1 + row[3] % 96, *row[4:]]),
                answer=f" w{a}",
                foil=f" w{1 + a % 96}",
            )
            for row, a in zip(draw[:, :-1], draw[:, -1])
        ]
        self.model = _random(4 if small else 12)

    def work(self, folder: Path) -> str:
        return self._digest(lens.patch(self.model, self.pairs, store=str(folder / "sweep.zarr"), progress=False))

    def look(self, folder: Path) -> str | None:
        held = lens.open(str(folder / "sweep.zarr")) if (folder / "sweep.zarr").exists() else None
        return None if held is None or lens.record(held)["status"] != "complete" else self._digest(held)

    def _digest(self, result: Any) -> str:
        return digest_of(
            [lens.record(result)["status"].encode(), *(result[name].values for name in ("effect", "value"))]
        )


class Scoring:
    """Scores of many rows with a store."""

    def __init__(self, small: bool):
        self.rows, self.model = (
            np.random.default_rng(0).integers(1, 97, (4000 if small else 20_000, 100)),
            _random(1 if small else 2, 32),
        )

    def work(self, folder: Path) -> str | None:
        return self._digest(
            scoring.score(self.model, self.rows, store=folder / "scores", batch_tokens=4096, progress=False)
        )

    def look(self, folder: Path) -> str | None:
        return self._digest(
            scoring.score(
                self.model, self.rows, store=folder / "scores", batch_tokens=4096, progress=False, stop=lambda: True
            )
        )

    def _digest(self, scores: Any) -> str | None:
        return (
            digest_of([scores.row_id, scores.offsets, scores.logprob]) if scores.about["status"] == "complete" else None
        )


class Training:
    """Training with checkpoints."""

    def __init__(self, small: bool):
        ids = torch.from_numpy(np.random.default_rng(0).integers(1, 97, (64, 24)))
        self.rows = Rows(ids, torch.arange(24).expand(ids.shape) >= 1, torch.full((64,), 24))
        self.recipe, self.layers = (
            Recipe(steps=40 if small else 400, batch=16, learning_rate=1e-3, checkpoint_every=5),
            (2 if small else 4),
        )

    def _run(self, folder: Path, **options: Any) -> str | None:
        model = _random(self.layers)
        trained = train(
            model,
            self.rows,
            self.recipe,
            parameters=lambda name: True,
            folder=folder / "training",
            progress=False,
            **options,
        )
        return digest_of([*model.parameters(), trained.losses, trained.order]) if trained.status == "complete" else None

    def work(self, folder: Path) -> str | None:
        return self._run(folder)

    def look(self, folder: Path) -> str | None:
        return self._run(folder, stop=lambda: True)


class Reproduction:
    """A published experiment run again, preset tiny: a family of models is trained, tables are made, claims judged."""

    def __init__(self, small: bool):
        from lens.reproduce.palimpsest import study as palimpsest

        self.paper, self.preset = palimpsest, palimpsest.PRESETS["tiny"]
        if small:
            from dataclasses import replace

            self.preset = replace(self.preset, derivatives=("tune-25", "int4"), arms=("linear",), arm_seeds=1)

    def work(self, folder: Path) -> str:
        made = self.paper.run(preset=self.preset, out=folder / "run", resamples=999, progress=False)
        return self._digest(made, folder)

    def look(self, folder: Path) -> str | None:
        if not (folder / "run" / "reproduction.json").exists():
            return None
        return self._digest(self.paper.load(folder / "run"), folder)

    def _digest(self, made: Any, folder: Path) -> str:
        stored = sorted(
            path
            for path in (folder / "run").rglob("*")
            if path.suffix == ".safetensors" and path.name != "optimizer.safetensors" and ".part" not in str(path)
        )
        # by tensor: the order of a file's metadata is no more than that of a hash table
        weights = (value for path in stored for _, value in sorted(load_file(path).items()))
        return digest_of(
            [made.fingerprint.encode(), made.table, *(made.tables[name] for name in sorted(made.tables)), *weights]
        )


KINDS: dict[str, Callable[[bool], Any]] = {
    "sweep": Sweep,
    "scoring": Scoring,
    "training": Training,
    "reproduction": Reproduction,
}


def run(kind: str, what: str, folder: str, small: bool, answers: Any) -> None:
    """The whole of a process: says through a connection that it is ready, then the answer, or what was raised."""
    os.environ.update(TQDM_DISABLE="1", TRANSFORMERS_VERBOSITY="error")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr
    try:
        job = KINDS[kind](small)
        answers.send(("ready", None))
        answers.send(("done", getattr(job, what)(Path(folder))))
    except BaseException as error:
        traceback.print_exc()
        answers.send(("failed", f"{type(error).__name__}: {error}"))
