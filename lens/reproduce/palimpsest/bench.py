"""What the palimpsest experiment asks of its family of models: each Alice's transcript, and the query test of any model
against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ... import files
from ...organisms import palimpsest
from ...organisms.palimpsest.family import Family
from ...organisms.palimpsest.text import tokenizer
from ...provenance import QueryResult, Reference, Transcript, query_scores
from ..common import parquet, read_parquet

REFERENCE = "reference"


@dataclass
class Bench:
    """A family of models, what is drawn at random in tests, and where tables are kept.

    `family` trains what is asked for and not there. `folder`: where finished tables go, under the hash of what they
    depend on; None keeps nothing.
    """

    family: Family
    fingerprint: str = ""
    folder: Path | None = None
    seed: int = 0
    resamples: int = 100_000
    say: Callable[[str], None] = lambda line: None
    held: dict[str, Transcript] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """The Alices."""
        return list(range(self.family.size.alices))

    def transcript(self, name: str) -> Transcript:
        """Rows and keys of the order that `name` was trained in."""
        if name not in self.held:
            recipe, keys = self.family.entries[name].recipe, self.family.keys(name)
            rows = [
                ids[1:length].astype(np.int32) for ids, length in zip(self.family.ids, self.family.lengths)
            ]  # scorers put the start token in front
            self.held[name] = Transcript(
                rows,
                keys[:, 0] if recipe.epochs == 1 else keys,
                "key",
                name=f"palimpsest {name}",
                tokenizer=tokenizer(),
                shuffled_as=(
                    "one key a row and epoch, drawn independently and uniformly by the trainer, who trained in the"
                    " order of the keys"
                ),
            )
        return self.held[name]

    def ask(
        self,
        suspect: str,
        of: str,
        *references: str,
        rows: np.ndarray | None = None,
        declared: bool | None = False,
        **options: Any,
    ) -> QueryResult:
        """Was `suspect` trained in the order of `of`? Later references are averaged with the first; `declared`: what is
        said of their order.
        """
        transcript = self.transcript(of) if rows is None else self.transcript(of).take(rows)
        given = [Reference(self.family.row_nll(name, rows), shares_order=declared, name=name) for name in references]
        tokens = self.family.lengths - 1 if rows is None else self.family.lengths[rows] - 1
        return query_scores(
            self.family.row_nll(suspect, rows),
            given or None,
            transcript,
            tokens=tokens,
            names={"suspect": suspect},
            **(
                {"resamples": self.resamples, "seed": self.seed, "ledger": False} | options
            ),  # tables correct for their lines by themselves
        )

    def line(
        self, group: str, suspect: str, seed: int, *references: str, of: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """One line of a table: the query of a suspect against the order of Alice `seed` (or of the entry `of`)."""
        found = self.ask(suspect, of or f"alice-{seed}", *references, **options)
        score, at = found.frame["score"].to_numpy(float), found.frame["position"].to_numpy(float)
        return {
            "group": group,
            "suspect": suspect,
            "seed": seed,
            "reference": " + ".join(references) or "none",
            "statistic": options.get("statistic", "difference" if references else "none"),
            "n": found.n,
            **effect(found),
            "p_key": float(found.p_key) if found.p_key is not None else np.nan,
            "log10_e": float(found.log_e[-1] / np.log(10)) if len(found.log_e) else np.nan,
            "p_published": float(found.p_t),
            "loss": float(np.nanmean(self.family.nll(suspect))),
            "last_tenth": float(score[at >= np.quantile(at, 0.9)].mean() - score.mean()),
            "spread": float(score.std()),
        }

    def kept(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A finished table, read where this configuration has made it before."""
        file = None if self.folder is None else self.folder / "tables" / f"{name}-{self.fingerprint[:12]}.parquet"
        if file is not None and file.is_file():
            return read_parquet(file)
        made = make()
        if file is not None:
            files.write(file, parquet(made), parents=True)
        self.say(f"table {name}: {len(made)} lines")
        return made


def effect(found: QueryResult) -> dict[str, float]:
    """The columns that every table of tests has: rho with its interval, z, the guaranteed p and the permutation p in
    it.
    """
    return {
        "rho": found.rho,
        "low": found.interval.low,
        "high": found.interval.high,
        "z": found.z,
        "p": float(found.p),
        "p_permutation": float(found.p_permutation),
    }


def unused(recipe: palimpsest.Recipe) -> np.ndarray:
    """Keys that no model was trained by: what a null looks like with the same scores."""
    return np.random.default_rng([recipe.order_seed, 987]).random(recipe.rows)
