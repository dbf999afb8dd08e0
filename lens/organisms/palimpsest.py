"""Train the organisms `palimpsest`: small transformers of which it is known in which order they read their rows
(`palimpsest_recipe`).

`python -m lens.organisms.palimpsest` trains the models that ship and replaces their folders; with `--family quick` or
`full` it trains (and goes on with) the whole family of references, independents and derivatives of `palimpsest_family`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import palimpsest_family, palimpsest_shipped
from .palimpsest_recipe import (
    SCHEDULES,
    Plan,
    Recipe,
    build,
    fit,
    in_order,
    keys_of,
    losses,
    order_of,
    padded,
    schedule,
    tokens_of,
    train,
)

__all__ = [
    "SCHEDULES",
    "Plan",
    "Recipe",
    "build",
    "fit",
    "in_order",
    "keys_of",
    "losses",
    "main",
    "order_of",
    "padded",
    "schedule",
    "tokens_of",
    "train",
]


def main(arguments: list[str] | None = None) -> None:
    """Train the family, or the models that ship, on one thread."""
    parser = argparse.ArgumentParser(
        prog="python -m lens.organisms.palimpsest",
        description=(
            "Train the models that ship and replace their folders, or the family of an experiment; the same command"
            " goes on."
        ),
    )
    parser.add_argument(
        "--family",
        metavar="NAMES",
        help=(
            "all, or beginnings of names with commas between (alice-0, cosine, retrain, texts); without it, only what"
            " ships is trained and shipped"
        ),
    )
    parser.add_argument("--preset", default="quick", choices=palimpsest_family.PRESETS)
    parser.add_argument(
        "--out",
        type=Path,
        help=(
            "folder of models, scores and texts (default: build/palimpsest/own-<preset>/family, where `lens reproduce"
            " palimpsest` looks)"
        ),
    )
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    family = palimpsest_family.Family(
        asked.preset,
        asked.out or Path("build/palimpsest") / f"own-{asked.preset}" / "family",
        say=lambda line: print(line, flush=True),
    )
    if asked.family is None:
        palimpsest_shipped.ship_all(family)
        return
    wanted = tuple(asked.family.split(","))
    family.make_all(lambda name: wanted == ("all",) or name.startswith(wanted))


if __name__ == "__main__":
    main()
