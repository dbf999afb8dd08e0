"""How many pictures bring back what an edit took away, and do they bring it back sooner than they teach it to the twin
that never saw it? MemoRa's table (2025, arXiv 2510.03263) with the controls that it lacks, and how it is judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from torch import Tensor

from ... import diffusion
from ...organisms.cards.corpus import Pairs
from ...stats import Interval
from ...stats.units import Nested
from ..claims import Rows
from ..common import clear_of, matching, shown
from ..over_models import over_seeds
from . import tables as frames
from .bench import GUIDANCE, REPORTED, SHOWN, TUNE, Bench
from .steps import edit_at

#: Pictures that are trained on, by source; the last are of nothing that was memorised.
SOURCES = {
    "own": "other memorised pictures",
    "original": "the original model's",
    "interpolated": "interpolated",
    "unrelated": "unrelated pictures",
}
#: At so many pictures the claim is judged; a share of the copies counts as recovered from here on.
JUDGED, HALF = 3, 0.5
#: Pairs between which is interpolated, and points of each: 33 pictures, as published. Pictures of a step.
PAIRS, POINTS, BATCH = 3, 11, 4


def images(
    bench: Bench, name: str, dose: float, first: int, counts: Sequence[int], rest: Sequence[int], steps: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One edit, located on one reported set: relearning on k pictures, and what it brings back of the captions that the
    edit took away, in the edited model and in the twin alike.

    Args:
        counts: numbers of the user's own pictures, memorised ones of other sets; rest: of every other source, see
            `SOURCES`. steps: of each relearning.

    Returns: one line a source and number of pictures, see `lens.diffusion.images_to_recover`; and the share of the
        seeds that give a copy at the end, by caption. Empty where the edit took nothing away.
    """
    every = bench.copied("code-many")
    located, own = every.take(every.set == REPORTED[0]), _others(bench)
    edit = edit_at(bench, name, located.captions, dose, first)
    if edit is None or not len(located):
        return pd.DataFrame(), pd.DataFrame()
    written = bench.pictures(own.captions, seeds=SHOWN[:1])[:, 0]
    with edit.applied(bench.pipeline.unet):
        taken = located.take(bench.copies(bench.pictures(located.captions), located) < HALF)
        if not len(taken):
            return pd.DataFrame(), pd.DataFrame()
        sources = _sources(bench, own, written, max((*counts, *rest)))
        lines, ends = _recovered(bench, taken, sources, counts, rest, steps)
    about = {"method": name, "dose": dose, "steps": steps, "seed": bench.seed}
    return lines.assign(**about), ends.assign(**about)


def _others(bench: Bench) -> Pairs:
    """Memorised pictures of the sets that nothing was located on, the reported ones first."""
    parts = [np.flatnonzero((bench.pairs.cell == "code-many") & (bench.pairs.set == s)) for s in (*REPORTED[1:], TUNE)]
    return bench.pairs.take(np.concatenate(parts))


def _sources(bench: Bench, own: Pairs, written: Tensor, most: int) -> dict[str, tuple[Tensor, list[str]]]:
    """Pictures and captions by source; to be asked with the edit in force, which interpolates."""
    pairs = (written[: 2 * PAIRS], list(own.captions[: 2 * PAIRS]))
    between, said = diffusion.interpolated(
        bench.pipeline, pairs, points=POINTS, steps=bench.steps, guidance=GUIDANCE, seed=SHOWN[0]
    )
    order = apart(len(said) // POINTS, POINTS)
    unrelated = bench.pairs.of("held-out")
    unrelated = unrelated.take(np.arange(len(unrelated) - most, len(unrelated)))
    return {
        "own": (own.images, list(own.captions)),
        "original": (written, list(own.captions)),
        "interpolated": (between[order], [said[i] for i in order]),
        "unrelated": (unrelated.images, list(unrelated.captions)),
    }


def apart(pairs: int, points: int) -> list[int]:
    """Numbers of interpolated pictures, so that few of them are of different pairs and far from both ends."""
    outwards = sorted(range(points), key=lambda at: abs(2 * at - (points - 1)))
    return [pair * points + at for at in outwards for pair in range(pairs)]


def _recovered(
    bench: Bench,
    taken: Pairs,
    sources: dict[str, tuple[Tensor, list[str]]],
    counts: Sequence[int],
    rest: Sequence[int],
    steps: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    ends: list[pd.DataFrame] = []

    def part(source: str, k: int, relearned: xr.Dataset) -> None:
        last = relearned.value.isel(step=-1).mean("seed")
        shares = {str(model): last.sel(model=model).values for model in last.model.values}
        ends.append(pd.DataFrame({"source": source, "k": k, "caption": taken.captions, **shares}))

    def measured(made: Tensor) -> np.ndarray:
        return bench.threshold().of(bench.likeness(made, taken)).astype(float)

    own = {"own": sources["own"]}
    lines = [
        diffusion.images_to_recover(
            bench.pipeline,
            some,
            (taken.images, taken.captions),
            measure=measured,
            twin=bench.twin,
            counts=asked,
            threshold=HALF,
            seed=bench.seed,
            on_part=part,
            steps=steps,
            at=(0, round(steps / 3), steps),
            batch=BATCH,
            learning_rate=3e-3,
            modules="both",
            seeds=SHOWN,
            denoising_steps=bench.steps,
            guidance=GUIDANCE,
            progress=False,
        )
        for some, asked in ((own, counts), ({k: v for k, v in sources.items() if k not in own}, rest))
    ]
    return pd.concat(lines, ignore_index=True), pd.concat(ends, ignore_index=True)


# -- the claim --------------------------------------------------------------------------------------------------------


def judge(rows: Rows, lines: pd.DataFrame, ends: pd.DataFrame) -> None:
    """Whether a few pictures of a source save steps over the twin, a row a method and source; beside it what is back
    after equal steps in the twin, and with unrelated pictures.
    """
    for method in dict.fromkeys(lines.method):
        back = matching(ends, method=method, k=JUDGED)
        for source in [name for name in SOURCES if name != "unrelated"]:
            of = matching(lines, method=method, source=source, k=JUDGED)
            if not len(of):
                continue
            name, steps, saved = f"images_{method}_{source}", int(of.steps.max()), saving(of)
            rows.put(name, saved)
            twin = rows.put(f"{name}_over_twin", _apart(matching(back, source=source), "edited", "twin"))
            other = rows.put(f"{name}_over_unrelated", _over_unrelated(back, source))
            share = matching(back, source=source)[["edited", "twin"]].mean()
            rows.add(
                "images",
                f"half is back after {_reached(of, 'edited')} steps, in the twin after {_reached(of, 'twin')}: saves"
                f" {_told(saved, 0)}; back after {steps} steps {share.edited:.2f}, in the twin {share.twin:.2f} (more:"
                f" {_told(twin)}); more than by unrelated pictures: {_told(other)}",
                f"{of.seed.nunique()} models, {int(of.n.sum())} captions that the edit took away",
                _word(of, saved, steps),
                effects=(name, f"{name}_over_twin", f"{name}_over_unrelated"),
                method=frames.title(method),
                source=SOURCES[source],
                count=JUDGED,
            )


def saving(of: pd.DataFrame) -> Interval:
    """Steps saved over the twin: of one model its interval over captions, of several Student's t over them."""
    if len(of) > 1:
        return over_seeds(of.savings)
    one = of.iloc[0]
    return Interval(float(one.savings), float(one.low), float(one.high), 0.95, int(one.n), str(one.interval_kind))


def unknown(of: pd.DataFrame) -> pd.Series:
    """Of which models neither the edited one nor the twin is at the threshold in the end: what is saved is unknown."""
    return of.censored.fillna("").str.split(", ").map(set) == {"edited", "twin"}


def _word(of: pd.DataFrame, saved: Interval, steps: int) -> str:
    if unknown(of).all():
        return f"not shown: neither has half back in {steps} steps, so that 'erased' stays"
    if not np.isfinite(saved.low):
        return "not judged: no interval"
    note = f"; unknown in {int(unknown(of).sum())} of {len(of)} models, counted as 0" if unknown(of).any() else ""
    return clear_of(saved) + note + (" (over captions of one model)" if len(of) == 1 else "")


def _reached(of: pd.DataFrame, model: str) -> str:
    """Steps to the threshold by model; of one that is not there at the end, more than the last."""
    late = of.censored.fillna("").str.split(", ").map(set).map(lambda names: model in names)
    return ", ".join(f"{'more than ' * is_late}{value:.0f}" for value, is_late in zip(of[model], late))


def _apart(table: pd.DataFrame, one: str, other: str) -> Interval:
    """The mean difference of two columns, paired by caption within models."""
    found = frames.within_models({int(s): part[one] - part[other] for s, part in table.groupby("seed")})
    return _interval(found)


def _over_unrelated(back: pd.DataFrame, source: str) -> Interval:
    wide = back.pivot_table(index=["seed", "caption"], columns="source", values="edited")
    if not {source, "unrelated"} <= set(wide):
        return Interval(np.nan, np.nan, np.nan, 0.95, 0, "not measured")
    return _apart(wide.reset_index().dropna(subset=[source, "unrelated"]), source, "unrelated")


def _interval(found: Nested | None) -> Interval:
    return Interval(np.nan, np.nan, np.nan, 0.95, 0, "not measured") if found is None else found.interval


def _told(interval: Interval, digits: int = 2) -> str:
    return shown(interval, digits, sign=True) if np.isfinite(interval.estimate) else "not measured"


def by_source(ends: pd.DataFrame) -> pd.DataFrame:
    """One line a method, source, number of pictures and model ("edited", "twin"): the share of the taken captions'
    seeds that give a copy again, as `tables.means`.
    """
    long = ends.melt(
        ["method", "source", "k", "caption", "seed"], ["edited", "twin"], var_name="model", value_name="copy"
    )
    return frames.means(long, ("method", "source", "k", "model"), "copy", (0.0, 1.0))
