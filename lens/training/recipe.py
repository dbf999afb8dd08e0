"""What a training run is decided by: its rows, its recipe and, from the seed alone, the order of the rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..arguments import Count, Filled, Fraction, NonNegative, Positive, Seed, Size, door, unfit
from ..errors import Error

#: Rows that the steps of one recipe may see together: their order is held in memory.
MOST_ROWS = 10**10


class TrainingError(Error, ValueError):
    """A training run that cannot be started or resumed; the message says what is wrong and what to do next."""


@door(TrainingError)
@dataclass(frozen=True, eq=False)
class Rows:
    """Token rows to train on, padded on the right, with the tokens that count towards the loss.

    `ids` [n, length]; `targets` [n, length]: True where this token is to be predicted (from the tokens before it), so
    never at position 0; `lengths` [n]: tokens of each row before the padding.
    """

    ids: Int[Tensor, "n length"]
    targets: Bool[Tensor, "n length"]
    lengths: Int[Tensor, " n"]

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.ids.shape != self.targets.shape or self.lengths.shape != self.ids.shape[:1]:
            shapes = (
                f"ids {list(self.ids.shape)}, targets {list(self.targets.shape)} and lengths {list(self.lengths.shape)}"
            )
            raise TrainingError(f"{shapes} do not fit; expected [n, length] twice and [n]")
        if not len(self.ids):
            raise TrainingError("ids has no row; give at least one")
        if not 0 <= int(self.lengths.min()) <= int(self.lengths.max()) <= self.ids.shape[1]:
            raise TrainingError(
                f"lengths has {int(self.lengths.min())} to {int(self.lengths.max())}; expected numbers of tokens from 0"
                f" to {self.ids.shape[1]}, the length of ids"
            )
        if self.targets[:, :1].any():
            raise TrainingError(
                "targets is True at position 0, which nothing comes before; put a start token in front of the row"
            )
        if (self.targets & (torch.arange(self.ids.shape[1], device=self.ids.device) >= self.lengths[:, None])).any():
            raise TrainingError(
                "targets is True in the padding of a row; a token that counts must lie before the row's length"
            )
        empty = (~self.targets.any(1)).nonzero().flatten().tolist()
        if empty:
            raise TrainingError(
                f"row {empty[0]} has no token that counts ({len(empty)} such rows); every row needs a target"
            )

    @classmethod
    @door(TrainingError)
    def of(cls, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], pad: Size = 0) -> Rows:
        """Rows of (prompt ids, answer ids): each row is the prompt and then the answer, and the answer's tokens
        count.
        """
        if not len(sequences):
            raise TrainingError("sequences is empty; give at least one (prompt ids, answer ids)")
        for number, (prompt, answer) in enumerate(sequences):
            if not len(prompt) or not len(answer):
                raise TrainingError(
                    f"sequences[{number}] has a prompt of {len(prompt)} and an answer of {len(answer)} tokens; both"
                    " need at least one"
                )
        lengths = torch.tensor([len(prompt) + len(answer) for prompt, answer in sequences])
        width = int(lengths.max())
        ids = torch.tensor(
            [
                [*map(int, prompt), *map(int, answer), *[pad] * (width - len(prompt) - len(answer))]
                for prompt, answer in sequences
            ]
        )
        where = torch.arange(width)
        starts = torch.tensor([len(prompt) for prompt, _ in sequences])
        return cls(ids, (where >= starts[:, None]) & (where < lengths[:, None]), lengths)

    @classmethod
    @door(TrainingError)
    def full(cls, ids: Int[Tensor, "n width"]) -> Rows:
        """Rows of one length, of which every token after the first counts."""
        targets = torch.ones_like(ids, dtype=torch.bool)
        targets[:, :1] = False
        return cls(ids, targets, torch.full((len(ids),), ids.shape[1]))

    @classmethod
    @door(TrainingError)
    def joined(cls, parts: Annotated[Sequence[Rows], Filled()]) -> Rows:
        """Rows of several sets under each other, padded to the longest."""
        width = max(part.ids.shape[1] for part in parts)

        def wider(values: Tensor, fill: int | bool) -> Tensor:
            return torch.nn.functional.pad(values, (0, width - values.shape[1]), value=fill)

        return cls(
            torch.cat([wider(part.ids, 0) for part in parts]),
            torch.cat([wider(part.targets, False) for part in parts]),
            torch.cat([part.lengths for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def last_input(self) -> Int[Tensor, " n"]:
        """Position of each row's last input token: the one whose logits predict the first token that counts."""
        return self.targets.int().argmax(1) - 1

    @door(TrainingError)
    def take(self, index: Int[Tensor, " b"] | Sequence[int]) -> Rows:
        """The rows of these numbers, cut to the longest of them."""
        index = torch.as_tensor(index, dtype=torch.long)
        if not len(index) or not -len(self) <= int(index.min()) <= int(index.max()) < len(self):
            raise TrainingError(
                unfit("index", index.tolist(), f"numbers of rows from 0 to {len(self) - 1}, at least one")
            )
        lengths = self.lengths[index]
        width = int(lengths.max())
        return Rows(self.ids[index, :width], self.targets[index, :width], lengths)

    def sha256(self) -> str:
        """The hash of everything that a loss can depend on: shapes, ids, targets and lengths."""
        digest = hashlib.sha256(f"{tuple(self.ids.shape)}".encode())
        for value in (self.ids.long(), self.targets, self.lengths.long()):
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@door(TrainingError)
@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on beside the rows and the start: AdamW, its rate over the steps, the seed.

    `learning_rate` is the highest rate, reached after `warmup` steps and then lowered by `schedule` ("cosine" or
    "linear", to 0 at the end; "constant"; "plateau": constant, then linear to 0 over the last quarter). `clip`: largest
    gradient norm (0: no clipping). `weight_decay` acts on every trained parameter. `checkpoint_every`: steps between
    checkpoints, where there is a folder (0: at the end only).
    """

    steps: Count
    batch: Count
    learning_rate: Positive
    weight_decay: NonNegative = 0.01
    warmup: Size = 0
    schedule: Literal["cosine", "linear", "constant", "plateau"] = "cosine"
    clip: NonNegative = 1.0
    betas: tuple[Fraction, Fraction] = (0.9, 0.98)
    seed: Seed = 0
    checkpoint_every: Size = 0

    def __post_init__(self) -> None:
        if max(self.betas) >= 1:
            raise TrainingError(unfit("betas", self.betas, "two numbers from 0, both below 1"))
        if self.steps * self.batch > MOST_ROWS:
            raise TrainingError(
                f"steps={self.steps} of batch={self.batch} rows are {self.steps * self.batch} rows; expected at most"
                f" {MOST_ROWS} together"
            )

    def sha256(self) -> str:
        """The hash of the fields that decide the weights (not `checkpoint_every`)."""
        fields = {name: value for name, value in asdict(self).items() if name != "checkpoint_every"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @door(TrainingError)
    def rate(self, step: Size) -> float:
        """The learning rate of step `step`, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        past = step / self.steps
        return (
            self.learning_rate
            * rise
            * {
                "cosine": 0.5 * (1 + math.cos(math.pi * past)),
                "linear": 1 - past,
                "constant": 1.0,
                "plateau": min(1.0, 4 * (1 - past)),
            }[self.schedule]
        )


@door(TrainingError)
def order_of(recipe: Recipe, count: Count) -> Int[Tensor, "steps batch"]:
    """Which of `count` rows each step sees: one permutation after another, all drawn from the seed before training."""
    generator = torch.Generator().manual_seed(recipe.seed)
    needed = recipe.steps * recipe.batch
    epochs = [torch.randperm(count, generator=generator) for _ in range(math.ceil(needed / count))]
    return torch.cat(epochs)[:needed].reshape(recipe.steps, recipe.batch)


def step_seed(seed: int, step: int) -> int:
    """The seed of everything random in one step (fresh rows, dropout): a hash, so that a resumed run draws the same."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:8], "little") >> 1
