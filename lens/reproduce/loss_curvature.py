"""From Memorization to Reasoning in the Spectrum of Loss Curvature (Merullo, Vatsavaya, Bushnaq & Lewis 2025), on
organisms of 1.1 million parameters with planted canaries.

    python -m lens reproduce loss-curvature --preset full --models FOLDER

reads the organisms `canaries` of three seeds and their twins that never saw a canary (quick: seed 0, which ships), or
trains what is missing, and asks what the curvature edit takes away, at what cost, beside controls, and whether it is
gone. Text of the paper is quoted as of another scale (OLMo-2 of 1 and 7 billion parameters): claims are compared in
kind only.

What was settled before the first full run
------------------------------------------
*Units.* Only sequences that the unedited model recites whole enter (strict = 1). Layers are chosen on the tune split
(codes and plausible sentences), strengths on one half of the clean rows; recitation is reported on the val split and on
verse, a family that nothing is chosen on; losses on the other half of the clean rows. Methods are compared where the
clean loss has risen by `RISE` = .05 nats a token (5 % of perplexity) on the choosing half; trade-off curves show the
rest.

*Intervals.* 95 %. Settled was a bootstrap over sequences (texts, questions) of all seeds; sequences of one run share
what the run learned, so that the run is the unit now: Student's t over seeds, of recitation with the sequences within
seeds in it too (`lens.measure.units.nested`). Each seed's value is printed beside it. A difference counts where its
interval excludes 0; one that holds 0 is "not shown".

*Claims* (the rule of each verdict stands in its row):
 1. memorised text leans on low curvature (bottom half of the input's eigenvectors above 1, top tenth below 1), and
   neither singular vectors nor random bases order the bands so;
 2. keeping the coefficients of high curvature removes recitation of held-out canaries (strict at most .10 at +.05
   nats);
 3. at that loss it beats random bases with the same norm or count removed, one-sided bases, magnitude and the bottom of
   its own spectrum; singular values come close;
 4. BalancedSubnet does as well on its own kinds and transfers worse to the family that it was not shown;
 5. whose labels, which text the statistics come from, and EKFAC: no direction was expected;
 6. arithmetic and closed-book facts lose more than open-book questions and copying, rare facts more than frequent ones;
 7. the ranking of tokens (nDCG@10) moves less under BalancedSubnet than under K-FAC;
 8. the more duplicates, the more recitation; after the edit membership can still be told (AUC above .5, exact tests,
   Holm);
 9. recitation that was removed comes back: by stretched prefixes, by training on other memorised sequences, on clean
    text; each method "hides" or "erases" by the rule of `lens.measure.erasure`; relearning the memory itself is faster
    than in the twin (savings).
Weight decay, a factor in the paper, is a study of its own on smaller models (`loss_curvature_decay`): all models here
were trained with .1. Its table is read where it lies in `out`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import xarray as xr

from .. import files
from ..arguments import Choice, Count, FilePath, Name, Seed, door
from ..models import weight_hash
from ..results import dataset as results
from ..results.opening import open_result
from . import canaries_models
from .common import Steps, read_record, write_record
from .errors import ReproduceError
from .loss_curvature_bench import Bench, Preset
from .loss_curvature_decay import FILE as DECAY
from .loss_curvature_steps import everything, file_of, names

NAME = "loss-curvature"
NEEDS_MODEL, TAKES_MODELS = False, True
_SOME = (
    "K-FAC",
    "EKFAC",
    "K-FAC, natural mix",
    "random bases",
    "SVD",
    "inputs alone",
    "keep bottom",
    "BalancedSubnet",
    "contrast mask",
)
PRESETS = {
    "tiny": Preset(
        (0,),
        ("K-FAC", "random bases", "SVD", "BalancedSubnet", "contrast mask"),
        ("gate and up",),
        factor_rows=60,
        rows=10,
        removed=(0.01, 0.05, 0.15),
        multiples=(1 / 4, 1),
        ratios=(0.03,),
        learned_steps=12,
        tasks=30,
        planted=4,
        attacked=("K-FAC", "BalancedSubnet"),
        kept=("K-FAC", "BalancedSubnet"),
        relearn_steps=5,
        others=(1000,),
        shifts=(4,),
    ),
    "quick": Preset(
        (0,),
        _SOME,
        ("gate and up", "gate and up of 1+2"),
        factor_rows=200,
        rows=32,
        removed=(0.002, 0.01, 0.02, 0.04, 0.1, 0.3, 0.5),
        multiples=(1 / 8, 1 / 2, 1, 2),
        ratios=(0.03,),
        tasks=100,
        attacked=("K-FAC", "BalancedSubnet"),
        relearn_steps=10,
        others=(1000,),
        shifts=(4,),
    ),
    "full": Preset(),
}


@dataclass
class Reproduction:
    """What a run produced; `table` is *claim | paper | here | n | multiplicity | verdict*, `numbers` everything in it
    as numbers.

    `parts` holds the stored steps by seed, then by name ("choice", "activation", "matched", "curve K-FAC", "gone twin",
    ...); `tables` tidy tables of them, over all seeds, by name.
    """

    parts: dict[int, dict[str, xr.Dataset]]
    tables: dict[str, pd.DataFrame]
    table: pd.DataFrame
    numbers: dict[str, Any]
    fingerprint: str = ""
    figures: list[Path] = field(default_factory=list)


@door(ReproduceError)
def run(
    model: Any = None,
    *,
    data: Name = "own",
    preset: Annotated[str, Choice(tuple(PRESETS))] | Preset = "quick",
    out: FilePath | None = None,
    models: FilePath | None = None,
    seed: Seed = 0,
    limit: Count | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Reproduction:
    """Runs the experiment, or takes it up where it was cut.

    Args:
        model: takes no part; the organisms are read or trained. data: "own": their text is generated.
        preset: tiny, quick, full or a `Preset`. out: a folder for the steps, tables and figures; None keeps everything
            in memory.
        models: a folder with organisms (`canaries-1`, `canaries-1-twin`, ...) beside those of the package; what is in
            neither is trained into it, or into `out`/models.

    Raises: ReproduceError: another data, a preset that is not there, a model that is nowhere and no folder to train it
        into. ResultError: `out` holds another configuration.
    """
    if data != "own" or limit is not None:
        raise ReproduceError(
            f"data={data!r}, limit={limit}: the text of this experiment is generated and has no items to leave out;"
            " leave both, or choose the preset tiny"
        )
    plan = PRESETS[preset] if isinstance(preset, str) else preset
    place = Path(models) if models is not None else Path(out) / "models" if out is not None else None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums do not depend on how many there are
    try:
        trios = canaries_models.models(place, plan.seeds, say=say)
        config = {
            "preset": asdict(plan),
            "seed": seed,
            "models": {
                f"{s}{' twin' * twin}": weight_hash(trio.twin if twin else trio.model)[:16]
                for s, trio in trios.items()
                for twin in (False, True)
            },
        }
        kept = Steps(None if out is None else Path(out), config, classic=True)
        parts = {}
        for s, (mine, twin, corpus) in trios.items():
            parts[s] = everything(Bench(mine, twin, corpus.recipe, plan, kept, seed, say))
    finally:
        torch.set_num_threads(threads)
    made = _gathered(parts, seed, kept.folder)
    made.fingerprint = kept.fingerprint
    if kept.folder:
        first = results.provenance(parts[plan.seeds[0]]["matched"])
        files.write(kept.folder / "table.csv", made.table.to_csv(index=False))
        write_record(kept.folder, NAME, made.fingerprint, kept.config, made.numbers, first)
        made.figures = draw(made, kept.folder / "figures")
    return made


@door(ReproduceError)
def load(folder: FilePath) -> Reproduction:
    """A run that was written before, its tables computed anew from the stored steps.

    Raises: ResultError: the folder holds none.
    """
    folder = Path(folder)
    record = read_record(folder, NAME)
    plan = record["config"]["preset"]
    parts = {s: {name: open_result(folder / f"{file_of(name, s)}.nc") for name in names(plan)} for s in plan["seeds"]}
    made = _gathered(parts, record["config"]["seed"], folder)
    made.fingerprint, made.figures = record["fingerprint"], sorted((folder / "figures").glob("*.png"))
    return made


def _gathered(parts: dict[int, dict[str, xr.Dataset]], seed: int, folder: Path | None = None) -> Reproduction:
    from .loss_curvature_claims import verdicts
    from .loss_curvature_frames import tables

    made = tables(parts, seed)
    decay = pd.read_csv(folder / DECAY) if folder is not None and (folder / DECAY).is_file() else None
    return Reproduction(parts, made, *verdicts(parts, made, seed, decay))


def draw(made: Reproduction, folder: Path) -> list[Path]:
    """The figures of a run as PNG files in `folder`."""
    from ..figures import curvature as plots

    paths = []
    for name, (plot, table, options) in plots.FIGURES.items():
        paths.append(folder / f"{name}.png")
        plot(made.tables[table], paths[-1], **options)
    return paths
