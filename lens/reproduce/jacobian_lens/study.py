"""The Jacobian lens (Gurnee et al. 2026): bridge entities of two-hop questions, read and edited, controls beside.

python -m lens reproduce jacobian-lens --preset quick
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...arguments import FilePath
from ...data.texts import TEXTS
from ...engine.model import Model
from ...results.record import record_of
from ..common import Steps, Tables, digest_of, read_tables
from ..errors import ReproduceError
from ..study import Asked, Reproduction, Study, figures_of
from . import steps
from .bench import Plan, questions
from .claims import CLAIMS
from .verdicts import best_layers, verdicts

NAME, VERSION = "jacobian-lens", 2
TABLES = ("ranks", "edits", "halves")
PRESETS = {
    "tiny": Plan(texts=2, length=24, skip=8, items=6, edited=4, draws=3),
    "quick": Plan(texts=6, length=40, skip=8, items=32, edited=24),
    "full": Plan(),
}


def measure(asked: Asked, *, items: Any = None) -> Reproduction:
    """The lens of the bridges' tokens, their places, and edits at the layer that the other half chose.

    Data: the texts that the lens is fitted on: "own", the package's everyday texts, or a text file, a text a line.
    `items`: questions in the place of the package's own, by half ("select", "report").

    Raises: ReproduceError: a file without texts, a model without questions of one-token bridges.
    """
    plan, model, folder, seed = asked.plan, asked.model, asked.folder, asked.seed
    texts = _texts(asked.data)
    chosen = questions(model, plan, items)
    tokens = sorted({q.bridge for q in chosen})
    view = Model.of(model)
    record = record_of(model, view, "jacobian lens study", {})
    config = {
        "version": VERSION,
        "preset": asdict(plan),
        "seed": seed,
        "texts": digest_of(texts),
        "questions": digest_of([q.ids for q in chosen]),
        "model": record["model"]["hash"],
    }
    kept, tables = Steps(folder, config), Tables(folder, TABLES, asked.say)
    fitted: list[Any] = []

    def lens() -> Any:
        """Fitted, or read from its sums, where a table asks for it."""
        if not fitted:
            asked.say(f"a lens of {len(tokens)} tokens")
            fitted.append(steps.fitted(model, texts, tokens, plan, folder, asked.progress))
        return fitted[0]

    tables.kept(("halves",), "seed-0", lambda: steps.halves(lens()))
    (ranks,) = tables.kept(("ranks",), "seed-0", lambda: steps.ranks(model, chosen, lens(), seed, plan.draws))
    layer = best_layers(ranks)["lens"]
    tables.kept(("edits",), "seed-0", lambda: steps.edits(model, chosen, lens(), layer, seed, plan))
    made = judged(tables.joined(), seed)
    made.config, made.provenance = kept.config, record
    return made


def _texts(data: Any) -> list[str]:
    if data == "own":
        return list(TEXTS)
    try:
        texts = [line.strip() for line in Path(data).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ReproduceError(
            f"data={str(data)!r} cannot be read as a text file ({type(error).__name__}); give 'own', or a file with a"
            " text a line."
        ) from None
    if len(texts) < 2:
        raise ReproduceError(f"data={str(data)!r} holds {len(texts)} texts; expected two or more, a text a line.")
    return texts


def judged(tables: Mapping[str, Any], seed: int) -> Reproduction:
    """The claims of some tables."""
    table, numbers = verdicts(tables, seed)
    return Reproduction(table=table, numbers=numbers, tables=dict(tables), title=f"{numbers['candidates']} bridges")


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, judged anew from its tables."""
    return judged(read_tables(folder, TABLES, ()), seed)


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="Gurnee et al. 2026",
    question="Does an average Jacobian read, and carry, what a model thinks of on its way to an answer?",
    models="a language model that is given (smollm2 by default)",
    presets=PRESETS,
    plan=Plan,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "the plain logit lens, random directions at the same angles (several draws), another question's bridge, the "
        "lens of every second text; layers chosen on the other half; texts of the fit are none of the questions"
    ),
    model="smollm2",
    data=FilePath,
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
