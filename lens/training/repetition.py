"""Repeated data: a budget of training rows of which a share is a small subset, seen again and again, in the place of
rows that would have been new; and grids of such trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from ..arguments import Count, Filled, Fraction, Seed, door
from .batches import Sampler
from .recipe import MOST_ROWS, Rows, TrainingError

Order = Literal["mixed", "first", "last"]


@door(TrainingError)
@dataclass(frozen=True)
class Repetition:
    """Which rows of a pool a training of `budget` rows sees: most once, and those of a subset `repeats` times each.

    `budget`: rows of the whole training (steps times batch). `share`: of the budget that is spent on the subset, from 0
    and below 1. `order`: repeats "mixed" with the rest, all "first" or all "last"; which then come in random order.
    `seed`: of the order. The pool's first `unique` rows are seen once, the `subset` rows after them again and again:
    plans of one budget and share have the same unique part. One repeat is a training on new rows alone.

    >>> Repetition(16_000, repeats=100).subset
    80

    Raises TrainingError: a share that leaves no new row, or is no whole number of rows; repeats that do not divide
    those rows. Source: Hernandez et al. 2022, Scaling Laws and Interpretability of Learning from Repeated Data (share,
    repeats).
    """

    budget: Count
    repeats: Count = 1
    share: Fraction = 0.5
    order: Order = "mixed"
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.budget > MOST_ROWS:
            raise TrainingError(f"budget={self.budget}; expected at most {MOST_ROWS} rows")
        rows = self.share * self.budget
        if self.share == 1:
            raise TrainingError(
                "share=1 leaves no row that is seen once, so nothing to compare repeats with; expected a share from 0"
                " and below 1"
            )
        if abs(rows - round(rows)) > 1e-6:
            raise TrainingError(
                f"share={self.share} of budget={self.budget} is {rows:g} rows; expected a whole number of rows: change"
                " the budget or the share"
            )
        if self.repeated % self.repeats or (self.repeats > 1 and not self.repeated):
            near = [r for r in range(1, self.repeated + 1) if not self.repeated % r]
            below, above = (pick([r for r in near if side(r)], default=None) for pick, side in self._sides())
            close = " or ".join(str(r) for r in (below, above) if r is not None)
            raise TrainingError(
                f"repeats={self.repeats} is no whole number of the {self.repeated} rows that share={self.share} of"
                f" budget={self.budget} gives to repeats; expected a divisor of {self.repeated}"
                + (f", such as {close}" if close else ": give a share above 0")
            )

    def _sides(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        return (max, lambda r: r < self.repeats), (min, lambda r: r > self.repeats)

    @property
    def repeated(self) -> int:
        """Rows of the budget that are of the subset, every copy counted."""
        return round(self.share * self.budget)

    @property
    def unique(self) -> int:
        """Rows that are seen once, those of the subset not counted."""
        return self.budget - self.repeated

    @property
    def subset(self) -> int:
        """Different rows of the subset."""
        return self.repeated // self.repeats

    @property
    def rows(self) -> int:
        """Different rows that are seen, which the pool must have."""
        return self.unique + self.subset

    def alone(self) -> Repetition:
        """The plan of the unique part alone: what is left when the subset is left out. Beside it, repeats do harm or
        are merely rows not seen.
        """
        return replace(self, budget=self.unique, repeats=1, share=0.0, order="mixed")

    def numbers(self) -> Int[Tensor, " budget"]:
        """The rows of the pool, by number, in the order in which they are seen; the seed alone decides it."""
        generator = torch.Generator().manual_seed(self.seed)
        again = self.unique + torch.arange(self.repeated) % max(1, self.subset)
        once = torch.arange(self.unique)
        if self.order == "mixed":
            return torch.cat([once, again])[torch.randperm(self.budget, generator=generator)]
        parts = [part[torch.randperm(len(part), generator=generator)] for part in (once, again)]
        return torch.cat(parts if self.order == "last" else parts[::-1])

    @door(TrainingError)
    def sampler(self, pool: Rows, batch: Count, held: Rows | None = None) -> Sampler:
        """What `lens.training.train` takes as its rows: `batch` rows a step, of the plan's order.

        Args:
            pool: at least `rows` rows. held: rows that the model is tested on.

        Raises TrainingError: a budget that is no whole number of batches, a pool that is too small, a row of the subset
            that is elsewhere in the pool or in `held` (it would be repeated more often than it says, or be known by
            heart when it is tested). Cost: a hash of every row, once.
        """
        if self.budget % batch:
            raise TrainingError(
                f"batch={batch} does not divide budget={self.budget} rows into whole steps; expected a divisor"
            )
        if len(pool) < self.rows:
            raise TrainingError(
                f"pool has {len(pool)} rows; this plan sees {self.rows} different ones ({self.unique} once and"
                f" {self.subset} of the subset)"
            )
        self._require_apart(pool, held)
        numbers = self.numbers().reshape(-1, batch)

        def rows(step: int, generator: torch.Generator) -> Rows:
            return pool.take(numbers[step])

        return rows

    def _require_apart(self, pool: Rows, held: Rows | None) -> None:
        subset = {row: self.unique + i for i, row in enumerate(_contents(pool, self.unique, self.rows))}
        others = {"the pool's unique part": _contents(pool, 0, self.unique)}
        others |= {"held": _contents(held, 0, len(held))} if held is not None else {}
        if len(subset) < self.subset:
            raise TrainingError(
                f"pool: {self.subset - len(subset)} of the {self.subset} rows of the subset are copies of others of it;"
                " give different rows"
            )
        for name, rows in others.items() if self.repeats > 1 or held is not None else ():
            for number, row in enumerate(rows):
                if row in subset:
                    raise TrainingError(
                        f"pool: row {subset[row]}, of the subset that is repeated, is also row {number} of {name}; take"
                        " it out of one of them"
                    )


def _contents(rows: Rows, start: int, end: int) -> list[bytes]:
    """The tokens of some rows, as bytes."""
    ids, lengths = rows.ids[start:end].cpu().numpy(), rows.lengths[start:end].tolist()
    return [row[:length].tobytes() for row, length in zip(ids, lengths)]


@dataclass(frozen=True)
class Cell:
    """One training of a grid: `size` as it was given, `repeats`, `seed`, and its `plan`."""

    size: Any
    repeats: int
    seed: int
    plan: Repetition


@door(TrainingError)
def repetition_grid(
    budget: Count,
    *,
    repeats: Annotated[Sequence[Count], Filled()],
    sizes: Annotated[Sequence[Any], Filled()],
    seeds: Annotated[Sequence[Seed], Filled()],
    share: Fraction = 0.5,
    order: Order = "mixed",
) -> list[Cell]:
    """Every training of a grid of repeats by size by seed at one budget, sizes outermost and repeats innermost.

    `sizes`: of models, in whatever way the caller's own function reads them. Cells of one seed share their unique rows,
    so that arms are compared within a seed. Raises TrainingError, before anything is trained: a count of repeats that
    is no whole number of the budget's share, something that is named twice.
    """
    for name, values in (("repeats", repeats), ("sizes", sizes), ("seeds", seeds)):
        texts = [str(value) for value in values]
        if twice := [value for value in texts if texts.count(value) > 1]:
            raise TrainingError(f"{name} has {twice[0]} twice; expected each once")
    plans = {(r, s): Repetition(budget, r, share, order, s) for s in seeds for r in repeats}
    return [Cell(size, r, s, plans[r, s]) for size in sizes for s in seeds for r in repeats]
