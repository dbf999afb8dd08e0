"""Training the same recipe from several seeds, here or on workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..arguments import FilePath, door
from ..cluster import ClusterError, Workers, run_jobs


@door(ClusterError)
def train_all(
    train: Callable[..., Any],
    recipes: Sequence[Any],
    *,
    folder: FilePath | None = None,
    backend: Any = "local",
    workers: Workers = 2,
    **options: Any,
) -> list[Any]:
    """What ``train(recipe, **options)`` gives for each recipe, in their order: of an organism, the model and how its
    training went.

    Args:
        train: an organism's, such as `lens.organisms.symbols.training.train`.
        recipes: alike but for the seed, or not.
        folder: checkpoints of each go to a folder there by the recipe's name, from which the same call goes on; workers
            on several machines must share it.
        backend, workers: as `lens.patch`. Weights are equal to the bit to those trained here on one thread.

    Raises: ClusterError: a recipe whose training workers die of. Whatever `train` raises.
    """
    jobs = []
    for number, recipe in enumerate(recipes):
        own = {} if folder is None else {"folder": Path(folder) / f"{number}-{getattr(recipe, 'name', 'recipe')}"}
        jobs.append((f"it trained {getattr(recipe, 'name', recipe)}", partial(train, recipe, **own, **options)))
    made = dict(run_jobs(jobs, backend, workers))
    return [made[number] for number in range(len(jobs))]
