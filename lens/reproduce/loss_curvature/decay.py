"""Weight decay as a factor of the spectrum: small models of the organism `canaries`, trained with and without it, else
alike.

    python -m lens.reproduce.loss_curvature.decay --out notebooks/results/loss_curvature

The paper says that stronger decay sharpens the split between memorised and clean text over the bands. The models are of
80 thousand parameters, a minute of a core each: what is asked is the sign of the difference between decays, paired by
seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ... import curvature, files
from ...memorization import Sequences, extract
from ...organisms import canaries
from ...organisms.canaries.corpus import Corpus
from ...stats import Interval
from ..over_models import over_seeds

SEEDS, DECAYS = (0, 1, 2, 3, 4), (0.0, 0.1, 0.3)
FILE = "decay.csv"


def recipe(seed: int, decay: float, **changes) -> canaries.Recipe:
    """Many copies of few sequences, so that a small model recites them under any decay."""
    return canaries.Recipe.small(
        **{"seed": seed, "weight_decay": decay, "duplicates": (0, 128), "per_count": 24, "steps": 700} | changes
    )


def measured(seed: int, decay: float, rows: int = 60, **changes) -> dict[str, float]:
    """One model: how much more memorised than clean text uses the low than the high bands of its inputs' spectrum
    (`ordering`, mean over layers, with the random bases' beside it).
    """
    made = recipe(seed, decay, **changes)
    model, _ = canaries.train(made, progress=False)
    corpus = Corpus(made)
    planted = Sequences.of(corpus.canaries())
    strict = extract(model, planted, progress=False).strict.values.astype(bool)
    about = {
        "seed": seed,
        "decay": decay,
        "recited": int(strict.sum()),
        "planted": int((corpus.canaries().duplicates > 0).sum()),
        "clean_loss": float(canaries.loss(model, corpus.clean(rows)).mean()),
    }
    if strict.sum() < 2:
        return about | {"ordering": np.nan, "random": np.nan, "low_band": np.nan, "high_band": np.nan}
    known = planted.subset(strict)
    factors = curvature.factors(model, "mlp", corpus.clean(4 * rows, "reference").numpy(), seed=seed, progress=False)
    ds = curvature.activation_ratio(
        model,
        curvature.decompose(model, factors),
        known.ids,
        corpus.clean(rows).numpy()[:, : known.length],
        bases=("kfac", "random"),
        seed=seed,
        progress=False,
    )
    inputs = ds.sel(side="input").mean("layer")
    return about | {
        "ordering": float(inputs.ordering.sel(basis="kfac")),
        "random": float(inputs.ordering.sel(basis="random")),
        "low_band": float(inputs.ratio.sel(basis="kfac").isel(band=-1)),
        "high_band": float(inputs.ratio.sel(basis="kfac").isel(band=0)),
    }


def run(
    out: Path,
    seeds: Sequence[int] = SEEDS,
    decays: Sequence[float] = DECAYS,
    say: Callable[[str], None] = lambda line: None,
    **changes,
) -> pd.DataFrame:
    """A line for each seed and decay, written as it is made to `out`/decay.csv; lines that are there are not made
    again.
    """
    file = out / FILE
    lines = pd.read_csv(file).to_dict("records") if file.is_file() else []
    for seed in seeds:
        for decay in decays:
            if not any(line["seed"] == seed and line["decay"] == decay for line in lines):
                lines.append(measured(seed, decay, **changes))
                files.write(file, pd.DataFrame(lines).to_csv(index=False), parents=True)
                say(str(lines[-1]))
    return pd.DataFrame(lines)


def sharper(table: pd.DataFrame, low: float | None = None, high: float | None = None) -> Interval:
    """The log ratio of the ordering under the strongest decay over that without, over seeds (Student's t); above 0:
    decay sharpens the split.
    """
    wide = table.pivot(index="seed", columns="decay", values="ordering")
    low, high = wide.columns.min() if low is None else low, wide.columns.max() if high is None else high
    return over_seeds(np.log(wide[high] / wide[low]).dropna())


def main(arguments: list[str] | None = None) -> None:
    """Trains and measures, from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lens.reproduce.loss_curvature.decay",
        description="Weight decay as a factor of the spectrum, on small models that are trained for it.",
    )
    parser.add_argument("--out", type=Path, required=True, help=f"the folder in which {FILE} is written")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    asked = parser.parse_args(arguments)
    print(sharper(run(asked.out, asked.seeds, say=print)))


if __name__ == "__main__":
    main()
