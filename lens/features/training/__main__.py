"""`python -m lens.features.training`: trains a small dictionary, part by part, and writes it when all are done."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ... import files
from ...models import load
from ..errors import FeatureError
from ..formats.own import save
from .fitting import fit
from .recipe import Recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the same command goes on where it was cut."""
    parser = argparse.ArgumentParser(prog="python -m lens.features.training", description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--folder", type=Path, required=True, help="where tokens and the state of the training lie")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the dictionary; it must not be there")
    parser.add_argument(
        "--attention",
        help="implementation of attention: sdpa writes faster; eager (default) is right for every model",
    )
    parser.add_argument("--now", type=int, help="parts of this run at most (default: all that are left)")
    for field in fields(Recipe):
        kind = type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    asked = parser.parse_args(arguments)
    try:
        return _train(asked)
    except KeyboardInterrupt:
        print("stopped; the same command goes on behind the last part that is whole", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


def _train(asked: argparse.Namespace) -> int:
    if files.expanded(asked.out).exists():
        raise FeatureError(f"out={str(asked.out)!r} is there already; give a folder that is not.")
    if asked.now is not None and asked.now < 1:
        raise FeatureError(f"now={asked.now}: expected at least one part; leave it out for all.")
    recipe = Recipe(**{field.name: getattr(asked, field.name) for field in fields(Recipe)})

    def told(part: int, of: dict[str, float]) -> None:
        print(
            f"part {part + 1} of {recipe.parts}: {of['tokens']:.0f} tokens in {of['seconds']:.0f} s"
            f" ({of['tokens'] / of['seconds']:.0f} a second), explained variance {of['explained_variance']:.3f},"
            f" {of['silent']:.0f} silent features, {of['outliers']:.1%} of tokens left out as outliers",
            flush=True,
        )

    model = load(asked.model, attn_implementation=asked.attention)
    sae = fit(model, asked.folder, recipe, parts=asked.now, on_part=told)
    if sae is None:
        print("parts are left: run the same command again")
        return 0
    again = " ".join(f"--{f.name.replace('_', '-')} {getattr(recipe, f.name)}" for f in fields(Recipe))
    attention = f"--attention {asked.attention} " if asked.attention else ""
    command = f"python -m lens.features.training --model {asked.model} {attention}{again}"
    where = save(sae, asked.out, card=sae.about | {"command": command, "texts": "sampled from the model itself"})
    print(f"{where}: {sum(p.stat().st_size for p in where.iterdir()) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
