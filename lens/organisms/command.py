"""What the commands share that train an organism anew: their options, the training, and what the card says of both."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..models.shipped import weights_of
from ..training import Trained
from .training import Trainable


class Command:
    """`python -m lens.organisms.<name>`, as it was asked (`asked`).

    `twin`: what `--twin` trains. `more`: further options, as for `add_argument`. Ends the program where `--small` has
    no `--out`.
    """

    def __init__(self, name: str, arguments: list[str] | None, twin: str, more: Mapping[str, Mapping[str, Any]]):
        self.organism, self.program, self.start = name, f"python -m lens.organisms.{name}", time.monotonic()
        parser = argparse.ArgumentParser(
            prog=self.program, description=f"Train one of the models `{name}` anew and replace its folder."
        )
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--twin", action="store_true", help=f"the never-trained twin: {twin}")
        for option, settings in more.items():
            parser.add_argument(option, **settings)
        parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
        parser.add_argument(
            "--out", type=Path, help="the folder in which the model's folder is made (default: the organism's weights)"
        )
        parser.add_argument("--checkpoints", type=Path, help="a folder; the same command goes on from what it holds")
        parser.add_argument(
            "--small", action="store_true", help="a recipe of under a minute, to try the command; needs --out"
        )
        parser.add_argument(
            "--float16",
            action="store_true",
            help="round the trained weights to float16, in which they are then stored and measured",
        )
        self.asked = parser.parse_args(arguments)
        if self.asked.small and self.asked.out is None:
            parser.error("--small writes no model that ships; give --out")

    def recipe(self, kind: Any, **fields: Any) -> Any:
        """The recipe of the class `kind` that was asked for."""
        fields["seed"] = self.asked.seed
        return kind.small(**fields) if self.asked.small else kind(**fields)

    def train(self, recipe: Any, train: Callable[..., tuple[Trainable, Trained]]) -> tuple[Path, Trainable, Trained]:
        """The model's folder (not made yet), the trained model, rounded where that was asked, and how it went. Ends the
        program where training did not end.
        """
        folder = (self.asked.out or weights_of(self.organism)) / recipe.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        model, trained = train(recipe, device=self.asked.device, folder=self.asked.checkpoints)
        require_complete(trained, recipe)
        return folder, model.half().float() if self.asked.float16 else model, trained

    def stored(self, model: Trainable) -> Trainable:
        """The model as its file holds it."""
        return (model.half() if self.asked.float16 else model).cpu()

    def facts(self, recipe: Any, trained: Trained) -> dict[str, Any]:
        """What a card says of the recipe and the training."""
        place = torch.device(self.asked.device)
        return {
            "recipe": asdict(recipe),
            "recipe_sha256": recipe.sha256(),
            "device": torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
            "torch": torch.__version__,
            "training": {
                "seconds": round(trained.seconds, 1),
                "loss_of_last_100_steps": round(float(trained.losses["lm"].tail(100).mean()), 4),
            },
        }

    def card(self, recipe: Any, trained: Trained, memory: str, *again: str, **more: Any) -> dict[str, Any]:
        """The card of a model that ships: what it remembers, `facts`, what is `more` known of it, and `again`."""
        about = {"name": recipe.name, "memory": memory, "licence": "MIT"}
        return {**about, **self.facts(recipe, trained), **more, "rebuild": self.again(*again)}

    def again(self, *more: str) -> str:
        """The command that makes the same model; `more`: further options, as they are written."""
        asked = self.asked
        return " ".join(
            [
                self.program,
                *([f"--seed {asked.seed}"] if asked.seed else []),
                *(["--twin"] if asked.twin else []),
                *(["--small"] if asked.small else []),
                *more,
                *(["--float16"] if asked.float16 else []),
            ]
        )

    def seconds(self) -> str:
        """How long the command took."""
        return f"{time.monotonic() - self.start:.0f} s"


def require_complete(trained: Trained, recipe: Any) -> None:
    """Ends the program where training stopped early: such a model does not ship."""
    if trained.status != "complete":
        raise SystemExit(f"training {trained.status} after {trained.step} of {recipe.steps} steps: nothing was written")
