"""The steps of the diffusion study up to the edits: what is copied, how masks overlap, which settings are chosen,
trade-off curves and transfer. Each makes tables for one model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import squareform

from ... import diffusion, subspace
from ...organisms.cards.corpus import PLANTED
from ...subspace.masks import chance_iou
from .bench import FIRST, LEFT, REPORTED, RISE, STEPS, TUNE, Bench
from .methods import BLIND, METHODS, Method

CELLS = (*PLANTED, "template", "two-captions", "digit-many", "digit-once", "digit-never")
#: Variants whose masks' overlap is asked: name -> (variant, reference, one seed as published).
SPECIFIC = {
    "published": ("published", "empty"),
    "ordinary": ("published", "ordinary"),
    "corrected": ("corrected", "same kind"),
}
SPARSITY = 0.01
#: First steps among which the tune set chooses, at two shares.
CHOICES, TRIED = (1, FIRST, 10, STEPS), (0.02, 0.08)


# -- what is copied ---------------------------------------------------------------------------------------------------


def copying(bench: Bench) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every planted caption in the unedited model: measures of copying and the norm of the caption's part of the noise,
    by step; and what a picture counts as copied from.
    """
    lines, trained = [], bench.pairs.take(bench.pairs.duplicates > 0)
    for cell in CELLS:
        of = bench.pairs.of(cell)
        made = diffusion.denoise(bench.pipeline, of.captions, seeds=bench.looks, steps=bench.steps, progress=False)
        pool = trained if (of.digit < 0).all() else bench.digits
        like, copy = bench.likeness(made.images, of), bench.copies(made.images, of)
        nearest = np.asarray(diffusion.nearest_identity(made.images, pool.images))
        distance = np.asarray(diffusion.normalised_distance(made.images, of.images, pool.images))
        similar, spread = (
            np.asarray(diffusion.ssim(made.images, of.images)),
            np.asarray(diffusion.diversity(made.images)),
        )
        for i, caption in enumerate(of.captions):
            lines.append(
                {
                    "cell": cell,
                    "set": int(of.set[i]),
                    "caption": caption,
                    "copies": int(of.duplicates[i]),
                    "copy": copy[i],
                    "likeness": like[i].mean(),
                    "ssim": similar[i].mean(),
                    "distance": distance[i].mean(),
                    "identity": float((pool.picture[nearest[i]] == of.picture[i]).mean()),
                    "diversity": float(spread[i]),
                    "difference": float(made.difference[i].mean()),
                    "first_difference": float(made.difference[i, :, :FIRST].mean()),
                    "by_step": [float(v) for v in made.difference[i].mean(0)],
                }
            )
    limits = pd.DataFrame(
        [
            {
                "family": "digits" if digits else "cards",
                "threshold": found.value,
                "bound": found.bound,
                "captions": found.captions,
                "pictures": found.n,
                "seed": bench.seed,
            }
            for digits, found in ((digits, bench.threshold(digits)) for digits in (False, True))
        ]
    )
    return pd.DataFrame(lines).assign(seed=bench.seed), limits


# -- specificity ------------------------------------------------------------------------------------------------------


def specific(bench: Bench) -> pd.DataFrame:
    """IoU of masks of disjoint prompt sets, memorised and not, against one reference, by step and layer, with the exact
    permutation test of the sets' labels.

    "code": captions with codes, whose sets share no code word; "generic": captions without; "template": halves of the
    captions of each template, which share its word, beside halves of other templates.
    """
    lines = []
    pairs = {"code": ("code-many", "code-once"), "generic": ("generic-many", "generic-once")}
    every = [c for cell in ("template", *pairs["code"], *pairs["generic"]) for c in bench.pairs.of(cell).captions]
    for name, (variant, reference) in SPECIFIC.items():
        published = variant == "published"
        bench.stats(every, published)  # all at once: sets alone are small batches
        ref = bench.stats(bench.references[reference], published)
        for kind, cells in pairs.items():
            sets = [bench.pairs.of(cell, s).captions for cell in cells for s in range(bench.corpus.recipe.sets)]
            by_step = [_masks(bench, of, ref, variant) for of in sets]
            lines += _compared(
                by_step, np.arange(len(sets)) < len(sets) // 2, {"kind": kind, "method": name, "prompts": len(sets[0])}
            )
        halves = [
            captions[part::2]
            for s in range(bench.corpus.recipe.sets)
            for captions in [bench.pairs.of("template", s).captions]
            for part in (0, 1)
        ]
        by_step = [_masks(bench, of, ref, variant) for of in halves]
        iou, _ = _tables(by_step)
        mate = np.arange(len(halves)) ^ 1
        same = [iou[i, mate[i]] for i in range(0, len(halves), 2)]
        other = [iou[i, j] for i in range(len(halves)) for j in range(i + 1, len(halves)) if j != mate[i]]
        about = {"prompts": len(halves[0]), "sets": len(halves)}
        for pair, values in (("same template", same), ("other template", other)):
            line = {"kind": "template", "method": name, "pair": pair, "mean": float(np.mean(values))}
            lines.append(line | {"n": len(values)} | about)
    return pd.DataFrame(lines).assign(seed=bench.seed)


def _masks(bench: Bench, captions: Sequence[str], ref: Any, variant: str) -> list[subspace.Mask]:
    options = {"margin": 1.0} if variant == "corrected" else {}
    return diffusion.masks(
        bench.pipeline,
        bench.stats(captions, variant == "published"),
        ref,
        sparsity=SPARSITY,
        variant=variant,
        **options,
    )


def _tables(by_step: list[list[subspace.Mask]]) -> tuple[np.ndarray, np.ndarray]:
    """IoU of every pair of sets, mean over layers and steps [set, set], and apart [pair, step, layer]; layers where
    both masks are empty do not count.
    """
    sets, parts = len(by_step), []
    for i in range(sets):
        for j in range(i + 1, sets):
            parts.append([[v for v in a.iou_by_layer(b).values()] for a, b in zip(by_step[i], by_step[j])])
    every = np.array(parts)
    with np.errstate(invalid="ignore"):
        return squareform(np.nan_to_num(np.nanmean(every, (1, 2)))), every


def _compared(by_step: list[list[subspace.Mask]], first: np.ndarray, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    iou, parts = _tables(by_step)
    i, j = np.triu_indices(len(first), 1)
    which = {"memorised": first[i] & first[j], "other": ~first[i] & ~first[j], "mixed": first[i] != first[j]}
    density = float(np.mean([mask.density for masks in by_step for mask in masks]))
    tests = {against: subspace.label_permutation(iou, first, against=against) for against in ("other", "mixed")}
    lines = []
    for pair, of in which.items():

        def mean(axes, of=of):
            return [float(v) for v in np.nan_to_num(np.nanmean(parts[of], axes))]

        lines.append(
            {
                **about,
                "pair": pair,
                "mean": float(iou[i, j][of].mean()),
                "n": int(of.sum()),
                "sets": int(first.sum()),
                "chance": chance_iou(density),
                "density": density,
                "p_other": float(tests["other"]),
                "p_mixed": float(tests["mixed"]),
                "p_kind": tests["other"].kind,
                "layers": mean((0, 1)),
                "steps": mean((0, 2)),
                "matrix": [float(v) for v in iou.ravel()] if pair == "memorised" else None,
            }
        )
    return lines


def maps(bench: Bench) -> pd.DataFrame:
    """How far layers tell sets of captions apart at each step, against captions of the same kind that were never
    trained on: memorised ones, and as control those seen once.
    """
    lines = []
    ref = bench.stats(bench.references["same kind"])
    for name, cell in (("memorised", "code-many"), ("seen once", "code-once")):
        ds = diffusion.score_map(bench.pipeline, bench.stats(bench.pairs.of(cell).captions), ref)
        for step, layer in np.ndindex(*ds.share.shape):
            lines.append(
                {
                    "set": name,
                    "step": step,
                    "layer": str(ds.layer.values[layer]),
                    "share": float(ds.share[step, layer]),
                    "largest": float(ds.largest[step, layer]),
                }
            )
    return pd.DataFrame(lines).assign(seed=bench.seed)


def triggers(bench: Bench, first: int = FIRST) -> pd.DataFrame:
    """IoU of the masks of two captions of one picture, beside those of captions of two pictures; and of a caption with
    itself said in other words. One line a picture.
    """
    from ...organisms.cards.corpus import paraphrase

    of = bench.pairs.of("two-captions")
    ref = bench.stats(bench.references["empty"])
    options = dict(sparsity=SPARSITY, first=first, variant="published")

    def mask(caption):
        return diffusion.locate(bench.pipeline, bench.stats([caption]), ref, **options)

    masks, said = [mask(c) for c in of.captions], [mask(paraphrase(c)) for c in of.captions]
    copy = bench.copies(bench.pictures(of.captions), of)
    lines = []
    for picture in dict.fromkeys(of.picture.tolist()):
        a, b = np.flatnonzero(of.picture == picture)
        strangers = [masks[a].iou(masks[k]) for k in range(len(of)) if of.picture[k] != picture]
        lines.append(
            {
                "picture": picture,
                "same": masks[a].iou(masks[b]),
                "other": float(np.mean(strangers)),
                "reworded": float(np.mean([masks[k].iou(said[k]) for k in (a, b)])),
                "copied": bool(min(copy[a], copy[b]) >= 0.5),
                "density": masks[a].density,
            }
        )
    return pd.DataFrame(lines).assign(seed=bench.seed)


# -- choice, curves, transfer -----------------------------------------------------------------------------------------


def choice(bench: Bench, names: Sequence[str], choices: Sequence[int] = CHOICES) -> pd.DataFrame:
    """How many first steps a mask unites, chosen on the tune set: of those whose held-out error rises by at most
    `RISE`, the one that leaves least copying; ties to fewer steps.
    """
    of, lines = bench.copied("code-many", TUNE), []
    for name in names:
        for first in choices if METHODS[name].chosen else ():
            for dose, edit in METHODS[name].make(bench, of.captions, TRIED, first).items():
                with edit.applied(bench.pipeline.unet):
                    lines.append(
                        {
                            "method": name,
                            "first": first,
                            "dose": dose,
                            "copy": float(bench.copies(bench.pictures(of.captions), of).mean()),
                            "rise": bench.rise(0),
                            "n": len(of),
                        }
                    )
    table = pd.DataFrame(lines)
    if table.empty:
        return table
    order = table.assign(over=table.rise > RISE).sort_values(["over", "copy", "first", "dose"])
    return table.assign(chosen=table.index.isin(order.groupby("method").head(1).index))


def firsts(table: pd.DataFrame) -> dict[str, int]:
    """The first steps of each method: chosen, or the default."""
    chosen = {} if table.empty else dict(zip(table[table.chosen].method, table[table.chosen]["first"].astype(int)))
    return {name: chosen.get(name, FIRST) for name in METHODS}


def curves(bench: Bench, method: Method, first: int, sets: Sequence[int] = REPORTED, most: int = 6) -> pd.DataFrame:
    """One method from weak to strong, located on each of some sets: copying of that set and of the other sets by
    caption, with what the edit costs. Dose 0 is unedited.

    `most`: doses at most, spread over the method's.
    """
    every, lines = bench.copied("code-many"), []
    every = every.take(every.set != TUNE)
    before = bench.kept("copies before", lambda: seen(bench, every))
    for of_set in sets:
        own = every.captions if method.name in BLIND else every.take(every.set == of_set).captions
        edits = method.make(bench, own, spread(method.doses, most), first)
        lines += lines_of(every, of_set, 0.0, before)
        for dose, edit in edits.items():
            with edit.applied(bench.pipeline.unet):
                rise = (bench.rise(0), bench.rise(1))
                lines += lines_of(every, of_set, dose, seen(bench, every), rise, getattr(edit, "density", np.nan))
        if method.name in BLIND:  # they look at no set: one edit serves all
            break
    return pd.DataFrame(lines).assign(method=method.name, seed=bench.seed)


def spread(doses: Sequence[float], most: int) -> list[float]:
    """So many of the doses at most, the first and the last among them."""
    return [doses[i] for i in np.unique(np.linspace(0, len(doses) - 1, most).round().astype(int))]


def seen(bench: Bench, of: Any) -> tuple[np.ndarray, np.ndarray]:
    """Copies and likeness of each caption with any edit in force."""
    images = bench.pictures(of.captions)
    return bench.copies(images, of), bench.likeness(images, of).mean(1)


def lines_of(
    of: Any,
    located: int,
    dose: float,
    seen: tuple[np.ndarray, np.ndarray],
    rise: tuple[float, float] = (0.0, 0.0),
    density: float = 0.0,
) -> list[dict[str, Any]]:
    """A line a caption: what was seen of it at one dose of an edit located on a set, and what the edit costs."""
    return [
        {
            "located": located,
            "dose": dose,
            "set": int(of.set[i]),
            "caption": caption,
            "copy": seen[0][i],
            "likeness": seen[1][i],
            "rise_chosen": rise[0],
            "rise": rise[1],
            "density": density,
        }
        for i, caption in enumerate(of.captions)
    ]


def removing(frame: pd.DataFrame) -> float | None:
    """The least dose of a method and model that leaves at most `LEFT` of the copies of the located sets, whatever it
    costs; where none does, the one that leaves least. None where the method has no edit.
    """
    own = frame if frame.method.iloc[0] in BLIND else frame[frame.set == frame.located]
    copy = own.groupby("dose")["copy"].mean()
    before, after = copy.loc[0.0], copy.drop(0.0)
    if after.empty:
        return None
    enough = after[after <= LEFT * before]
    return float(enough.index.min() if len(enough) else after.idxmin())


def edit_at(bench: Bench, name: str, captions: Sequence[str], dose: float, first: int) -> Any:
    """One edit of a method, located on some captions; None where its mask is empty."""
    return METHODS[name].make(bench, captions, (dose,), first).get(dose)


def families(
    bench: Bench, doses: Mapping[str, float | None], first: Mapping[str, int], names: Sequence[str]
) -> pd.DataFrame:
    """Copying of families that nothing was located or chosen on, at the dose that removes the located copies: captions
    without codes, templates, two captions, digits.
    """
    located, lines = bench.copied("code-many", REPORTED[0]), []
    asked = {cell: bench.copied(cell) for cell in ("generic-many", "template", "two-captions", "digit-many")}
    asked = {cell: of for cell, of in asked.items() if len(of)}
    for name in ("unedited", *names):
        dose = doses.get(name)
        edit = None if name == "unedited" or dose is None else edit_at(bench, name, located.captions, dose, first[name])
        if name != "unedited" and edit is None:
            continue
        with nullcontext() if edit is None else edit.applied(bench.pipeline.unet):
            for cell, of in asked.items():
                copy = bench.copies(bench.pictures(of.captions), of)
                lines += [
                    {"method": name, "dose": dose, "cell": cell, "caption": c, "copy": v}
                    for c, v in zip(of.captions, copy)
                ]
    return pd.DataFrame(lines).assign(seed=bench.seed)
