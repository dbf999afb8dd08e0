"""The paper's own models and transcripts: what would be asked of them, what that takes, and asking it where they can be
reached.
"""

from __future__ import annotations

import gc
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ...models import load
from ...provenance import ProvenanceError, QueryResult, Reference, from_pythia, query
from ..common import columns, shown, table_of

HUB = "https://huggingface.co"
SHARDS = 21
#: rows of the deduplicated Pile that were read in the first epoch: about 98,700 steps of 1,024
EPOCH = 98_700 * 1024


@dataclass(frozen=True)
class Asked:
    """One query: a suspect, a reference that was trained in another order, the data set whose order is asked about, and
    what the paper reports.
    """

    suspect: str
    reference: str
    data: str
    billions: float
    paper: str
    related: bool = True


DEDUPED = "EleutherAI/pile-deduped-pythia-preshuffled"
QUERIES = (
    Asked("EleutherAI/pythia-1.4b-deduped", "EleutherAI/pythia-1.4b", DEDUPED, 1.4, "p at most about 1e-8"),
    Asked(
        "EleutherAI/pythia-6.9b-deduped",
        "EleutherAI/pythia-6.9b",
        DEDUPED,
        6.9,
        "rho -.0779, published p 2.3e-134 on 100,000 rows",
    ),
    Asked(
        "EleutherAI/pythia-2.8b-deduped",
        "EleutherAI/pythia-2.8b",
        DEDUPED,
        2.8,
        "reported to have been trained on the data with duplicates (a secondary source)",
        related=False,
    ),
    Asked("EleutherAI/gpt-j-6b", "EleutherAI/pythia-6.9b", DEDUPED, 6.0, "an independent model", related=False),
)


def shards(data: str) -> list[str]:
    """The addresses of a pre-shuffled corpus."""
    return [f"{HUB}/datasets/{data}/resolve/main/document-{i:05d}-of-{SHARDS - 1:05d}.bin" for i in range(SHARDS)]


def needs(rows: int = 20_000) -> str:
    """What the paper's preset takes, in words. `billions` is the suspect's size and stands for its reference's where
    that is no suspect itself.
    """
    sizes = {a.reference: a.billions for a in reversed(QUERIES)} | {a.suspect: a.billions for a in QUERIES}
    models = sorted(sizes.items())
    largest, pair = max(sizes.values()), max(sizes[a.suspect] + sizes[a.reference] for a in QUERIES)
    return (
        f"models {', '.join(name for name, _ in models)}; the order of {DEDUPED} ({rows:,} random rows by HTTP ranges,"
        f" {rows * 4098 / 1e6:.0f} MB of 600 GB); {2 * pair * 1.25:.0f} GB of memory for the largest suspect and its"
        " reference side by side in bfloat16, with a copy of their query, key and value matrices;"
        f" {sum(sizes.values()) * 2:.0f} GB of downloads or more, and about"
        f" {2 * largest * 1e9 * rows * 2048 / 4e14 / 3600:.1f} hours of one large GPU for {rows:,} rows under it"
    )


def unreachable(timeout: float = 10.0) -> str:
    """Why the hub cannot be used, or an empty text."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    for address in (f"{HUB}/{QUERIES[0].suspect}/resolve/main/config.json", shards(DEDUPED)[0]):
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=timeout).close()
        except (urllib.error.URLError, OSError, ValueError) as error:
            return f"{address} cannot be reached ({error})"
    return ""


def run(
    out: Path | None, *, rows: int = 20_000, seed: int = 0, say: Callable[[str], None] = lambda line: None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask every query of `QUERIES` with `rows` random rows; returns the table of claims and the lines.

    Raises: ProvenanceError: models or corpus cannot be reached; the message says what is needed.
    """
    if why := unreachable():
        raise ProvenanceError(
            f"preset='paper': {why}. It needs {needs(rows)}. The presets quick and full train a family of their own and"
            " need nothing from outside"
        )
    claims, lines = [], []
    for asked in QUERIES:
        say(f"{asked.suspect} against {asked.reference}")
        found = _ask(asked, rows, seed, None if out is None else out / "scores")
        gc.collect()  # two models leave before the next two come
        p, about = float(found.p), {"suspect": asked.suspect, "reference": asked.reference, "n": found.n}
        lines.append(about | columns("rho", found.interval) | {"rho": found.rho, "p": p})
        claim = f"{asked.suspect} was trained in the order of {asked.data}"
        here = f"rho {shown(found.interval, 4, sign=True)}, guaranteed p {p:.2g}"
        words = ("holds", "not shown: p above .01") if asked.related else ("flagged", "not flagged")
        looks = f"alone, at .01; {len(QUERIES)} queries"
        claims.append((claim, asked.paper, here, found.n, words[0] if p <= 0.01 else words[1], looks))
    return table_of(claims), pd.DataFrame(lines)


def _ask(asked: Asked, rows: int, seed: int, store: Path | None) -> QueryResult:
    """One query, with both models in bfloat16; the corpus speaks the tokens of the reference, which is always one of
    Pythia's.
    """
    transcript = from_pythia(
        shards(asked.data), rows=rows, seed=seed, epoch_rows=EPOCH, tokenizer=asked.reference, name=asked.data
    )
    suspect, reference = (load(name, dtype="bfloat16") for name in (asked.suspect, asked.reference))
    return query(
        Reference(suspect, name=asked.suspect),
        transcript,
        reference=Reference(reference, shares_order=False, name=asked.reference),
        seed=seed,
        store=store,
        score_options={"window": 128},
    )
