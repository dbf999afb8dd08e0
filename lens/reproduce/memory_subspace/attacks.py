"""Is a deleted picture gone? Every attack on an edit, each beside the twin that never saw the pictures, and what the
edited model can still do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ... import diffusion
from ...organisms.cards import images as cards_images
from ...organisms.cards.corpus import Pairs, paraphrase, partial
from ...stats import bootstrap
from ..common import columns
from .bench import GUIDANCE, NEW, REPORTED, SHOWN, Bench
from .steps import edit_at

#: Shares of the denoising steps that are run from the noised training picture. Embedding optimisation: updates and
#: copies of a picture for each.
SHARES, UPDATES, COPIES = (0.9, 0.75), 50, 8
#: Relearning: updates, pictures for each, and the looks.
RELEARN, PICTURES, LOOKS = 60, 12, (0, 5, 15, 30, 60)
#: What stands for an edit where the twin is asked.
TWIN = ("twin",)
FIELDS = ("colour", "shape", "row", "column")


def attacks(
    bench: Bench,
    name: str,
    dose: float,
    first: int,
    *,
    updates: int = UPDATES,
    relearn: int = RELEARN,
    most: int | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One edit, located on one reported set, under every attack: by attack and caption how often the picture came back
    ("edited"), came in the never-trained twin ("twin"), and how often it was copied before and after; and relearning by
    step.

    An attack's value is the best of its variants, in the model and the twin alike. "embeddings (never trained)" is the
    published control: pictures that no model saw, attacked in the edited model; "unedited" is what the attack does in
    the model before the edit.
    """
    every = bench.copied("code-many")
    targets = every.take(every.set == REPORTED[0])
    targets = targets if most is None else targets.take(np.arange(min(most, len(targets))))
    others = every.take(np.isin(every.set, REPORTED[1:]))
    before = bench.copies(bench.pictures(targets.captions), targets)
    twin = bench.kept(
        ("twin attacked", updates, len(targets)), lambda: _tried(bench, bench.twin, targets, updates, TWIN)
    )
    edit = edit_at(bench, name, targets.captions, dose, first)
    if edit is None or not len(targets):
        return pd.DataFrame(), pd.DataFrame()
    with edit.applied(bench.pipeline.unet):
        after = bench.copies(bench.pictures(targets.captions), targets)
        under = (name, dose, first)
        found = _tried(bench, bench.pipeline, targets, updates, under)
        never = bench.pairs.of("code-never").take(np.arange(len(targets)))
        control = _embeddings(bench, bench.pipeline, never, updates, under)
        looks = sorted({0, relearn, *(at for at in LOOKS if at < relearn)})
        trained = diffusion.relearn(
            bench.pipeline,
            (others.images, others.captions),
            (targets.images, targets.captions),
            twin=bench.twin,
            steps=relearn,
            at=looks,
            batch=PICTURES,
            learning_rate=3e-3,
            modules="both",
            seed=bench.seed,
            seeds=SHOWN,
            denoising_steps=bench.steps,
            guidance=GUIDANCE,
            progress=False,
            measure=lambda images: bench.threshold().of(bench.likeness(images, targets)),
        )
    value = trained.value.mean("seed")
    found["relearning on others"] = value.sel(model="edited").max("step").values
    twins = {**twin, "relearning on others": value.sel(model="twin").max("step").values}
    parts = []
    for attack, edited in found.items():
        shares = {"edited": edited, "twin": twins[attack], "before": before, "after": after}
        parts.append(pd.DataFrame({"attack": attack, "caption": targets.captions, **shares}))
    shares = {"edited": control, "twin": np.nan, "before": 0.0, "after": np.nan}
    parts.append(pd.DataFrame({"attack": "embeddings (never trained)", "caption": never.captions, **shares}))
    about = {"method": name, "dose": dose, "seed": bench.seed}
    curve = [
        {"model": str(model), "step": int(step), "caption": caption, "copy": float(copy)}
        for model in value.model.values
        for step in value.step.values
        for caption, copy in zip(targets.captions, value.sel(model=model, step=step).values)
    ]
    return pd.concat(parts, ignore_index=True).assign(**about), pd.DataFrame(curve).assign(**about)


def _tried(
    bench: Bench, pipeline: diffusion.Pipeline, of: Pairs, updates: int, under: tuple[Any, ...]
) -> dict[str, np.ndarray]:
    """Attacks that train nothing: the share of seeds that give a copy, by caption, for the best of each attack's
    variants; `under`: which edit is in force, or `TWIN`.
    """

    def copy(captions, **options):
        return bench.copies(bench.pictures(captions, pipeline=pipeline, **options), of)

    parts = [[partial(caption, keep) for caption in of.captions] for keep in ("code", "first", "second", "rest")]
    latents = pipeline.encode(of.images)
    return {
        "new seeds": copy(of.captions, seeds=NEW),
        "other words": copy([paraphrase(caption) for caption in of.captions]),
        "part of the caption": np.max([copy(captions) for captions in parts], axis=0),
        "embeddings": _embeddings(bench, pipeline, of, updates, under),
        "noised picture": np.max([copy(of.captions, start=(latents, share)) for share in SHARES], axis=0),
    }


def _embeddings(
    bench: Bench, pipeline: diffusion.Pipeline, of: Pairs, updates: int, under: tuple[Any, ...]
) -> np.ndarray:
    """Embeddings optimised towards the pictures, starting from the captions' own."""
    embeddings = _optimised(bench, pipeline, of, updates, under)
    return bench.copies(bench.pictures(pipeline=pipeline, embeddings=embeddings), of)


def _optimised(bench: Bench, pipeline: diffusion.Pipeline, of: Pairs, updates: int, under: tuple[Any, ...]) -> Tensor:
    """The embeddings, optimised once under each edit."""
    how = {"steps": updates, "batch": COPIES, "seed": bench.seed, "progress": False}
    return bench.kept(
        ("optimised", *under, updates, *of.captions),
        lambda: diffusion.optimise_embeddings(pipeline, of.images, start=of.captions, **how).final,
    )


# -- what is left -----------------------------------------------------------------------------------------------------


def labels(of: Pairs) -> dict[str, np.ndarray]:
    """What captions say, as the classifier is asked; digits have no foreground."""
    return {field: np.array([-1 if fore is None else getattr(fore, field) for fore in of.fore]) for field in FIELDS} | {
        "digit": of.digit
    }


def _drawn(fores: Sequence[Any], rng: np.random.Generator) -> Tensor:
    """Cards with these foregrounds on fresh backgrounds."""
    return torch.stack(
        [cards_images.draw(fore, back) for fore, back in zip(fores, cards_images.background(rng, len(fores)))]
    )


def _classifier(bench: Bench, fresh: int) -> diffusion.Classifier:
    """A classifier of what captions say, trained on cards drawn for it and on the digits of the pool."""
    rng, every = np.random.default_rng([bench.seed, 0xC1A5]), cards_images.foregrounds()
    fores = [every[i] for i in rng.integers(len(every), size=fresh)]
    cards = _drawn(fores, rng)
    digits = bench.pairs.of("digit-pool")
    digits = digits.take(np.arange(min(fresh, len(digits))))
    told = {field: np.array([getattr(fore, field) for fore in fores] + [-1] * len(digits)) for field in FIELDS} | {
        "digit": np.concatenate([np.full(fresh, -1), digits.digit])
    }
    return diffusion.train_classifier(
        torch.cat([cards, digits.images]), told, seed=bench.seed, epochs=6, progress=False
    )


def utility(
    bench: Bench, edits: Mapping[str, tuple[float, int] | None], pictures: int = 300
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the model can still do under each edit, located on one reported set: attributes of held-out captions that
    are right, spread of the pictures, held-out denoising error by bin.

    The ceiling is the classifier's accuracy on held-out pictures. The Frechet distance is to as many fresh cards of the
    same captions (`pictures`: 1,000 or more for a small bias); its floor is that of pictures of one source.
    """
    real = bench.pairs.take(np.isin(bench.pairs.cell, ("held-out", "digit-held-out")))
    classifier = _classifier(bench, 20 * min(pictures, 300))
    asked = bench.pairs.of("held-out")
    asked = asked.take(np.arange(min(pictures, len(asked))))
    seeds = tuple(range(40, 40 + max(1, round(pictures / len(asked)))))
    located = bench.copied("code-many", REPORTED[0])
    ceiling = classifier.accuracy(real.images, labels(real))
    rng = np.random.default_rng([bench.seed, 0xF1D])

    def by_caption(images):
        return classifier.features(images).reshape(len(asked), len(seeds), -1)

    features, others = (by_caption(_drawn([fore for fore in asked.fore for _ in seeds], rng)) for _ in range(2))
    floor = diffusion.frechet_floor(features, others, seed=bench.seed).estimate
    lines, errors = [], []
    for name, how in edits.items():
        edit = None if how is None else edit_at(bench, name, located.captions, *how)
        if how is not None and edit is None:
            continue
        with nullcontext() if edit is None else edit.applied(bench.pipeline.unet):
            images = bench.pictures(asked.captions, seeds=seeds)
            loss = bench.errors(1)
        right = classifier.accuracy(images, labels(asked)).right.sel(attribute=list(FIELDS))
        told = bootstrap(right.mean(("attribute", "seed")).values, seed=bench.seed)
        made = by_caption(images.flatten(0, 1))
        near = diffusion.frechet_interval(features, made, seed=bench.seed)
        shape = diffusion.precision_recall(features[:, 0], made[:, 0], seed=bench.seed)
        lines.append(
            {
                "method": name,
                **columns("accuracy", told, "accuracy_"),
                "ceiling": float(ceiling.accuracy.sel(attribute=list(FIELDS)).mean()),
                **{field: float(right.sel(attribute=field).mean()) for field in FIELDS},
                **columns("frechet", near, "frechet_"),
                "frechet_floor": floor,
                "precision": float(shape.value[0]),
                "recall": float(shape.value[1]),
                "pictures": int(np.prod(images.shape[:2])),
                "captions": len(asked),
            }
        )
        errors += [
            {"method": name, "bin": k, "error": float(value), "before": float(start)}
            for k, (value, start) in enumerate(zip(loss.mean(0), bench.before(1).mean(0)))
        ]
    return pd.DataFrame(lines).assign(seed=bench.seed), pd.DataFrame(errors).assign(seed=bench.seed)


# -- pictures to look at ----------------------------------------------------------------------------------------------


def grid(bench: Bench, name: str, dose: float, first: int, count: int = 8, updates: int = UPDATES) -> pd.DataFrame:
    """Pictures of one edit, as bytes of 16 x 16 x 3: the training picture, before, after, after with the embedding
    optimised, and the twin attacked alike.
    """
    located = bench.copied("code-many", REPORTED[0])
    targets = located.take(np.arange(min(count, len(located))))
    edit = edit_at(bench, name, located.captions, dose, first)
    if edit is None:
        return pd.DataFrame()

    def attacked(pipeline, under):
        found = _optimised(bench, pipeline, located, updates, under)[: len(targets)]
        return bench.pictures(pipeline=pipeline, seeds=SHOWN[:1], embeddings=found)

    shown = {"training": targets.images[:, None], "before": bench.pictures(targets.captions, seeds=SHOWN[:1])}
    with edit.applied(bench.pipeline.unet):
        shown["after"] = bench.pictures(targets.captions, seeds=SHOWN[:1])
        shown["attacked"] = attacked(bench.pipeline, (name, dose, first))
    shown["twin attacked"] = attacked(bench.twin, TWIN)
    parts = []
    for column, images in shown.items():
        like, pixels = bench.likeness(images, targets)[:, 0].astype(float), [encoded(image) for image in images[:, 0]]
        about = {"method": name, "column": column, "caption": targets.captions}
        parts.append(pd.DataFrame(about | {"likeness": like, "pixels": pixels}))
    return pd.concat(parts, ignore_index=True).assign(seed=bench.seed)


def encoded(image: Any) -> bytes:
    """A picture [3, h, w] from -1 to 1 as bytes, height x width x 3."""
    return np.clip((np.asarray(image).transpose(1, 2, 0) + 1) * 127.5, 0, 255).round().astype(np.uint8).tobytes()


def decoded(data: bytes, size: int = cards_images.SIZE) -> np.ndarray:
    """The picture back: numbers from 0 to 255, [size, size, 3]."""
    return np.frombuffer(data, np.uint8).reshape(size, size, 3)
