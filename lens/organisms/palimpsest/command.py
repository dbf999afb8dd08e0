"""`python -m lens.organisms.palimpsest`: train the models that ship and replace their folders, or a family."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .entries import PRESETS
from .family import Family
from .shipped import ship_all


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
    parser.add_argument("--preset", default="quick", choices=PRESETS)
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
    family = Family(
        asked.preset,
        asked.out or Path("build/palimpsest") / f"own-{asked.preset}" / "family",
        say=lambda line: print(line, flush=True),
    )
    if asked.family is None:
        ship_all(family)
        return
    wanted = tuple(asked.family.split(","))
    family.make_all(lambda name: wanted == ("all",) or name.startswith(wanted))
