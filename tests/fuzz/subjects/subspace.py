"""The memory subspace."""

from __future__ import annotations

import functools

import numpy as np
import torch

from lens import subspace
from lens.subspace import control, data, eigen, learned, localisation, masks, planted, replacement, scores

from . import Subject
from .common import enter, ids, model

MODULES = ("lens.subspace",)
DOWN = "model.layers.0.mlp.down_proj"
UP = "model.layers.1.mlp.up_proj"


def mem():
    return ids(4, 8, seed=1)


def ref():
    return ids(4, 8, seed=2)


@functools.cache
def stats(seed: int = 1):
    return subspace.statistics(
        model(), [DOWN], ids(24, 10, seed=seed), second_moment=True, each=True, absolute=True, progress=False
    )


@functools.cache
def weights():
    return subspace.magnitude(model(), [DOWN])


@functools.cache
def mask():
    return weights().mask(0.1)


@functools.cache
def filters(seed: int = 1):
    return subspace.generalised(stats(seed), stats(2), eps=0.1)


def edit():
    return filters().edit(model(), 2)


def undone(undo):
    undo.undo()


def subjects():
    one, quiet = dict(layers=[DOWN]), dict(progress=False)

    def tokens(seed=1):
        return subspace.tokens_of(ids(4, 8, seed=seed), "data")

    yield Subject("Tokens", data.Tokens, lambda: dict(ids=mem(), lengths=torch.full((4,), 8), prefix=1))
    yield Subject("Tokens.take", tokens().take, lambda: dict(index=[0, 2]))
    yield Subject("Tokens.rows", tokens().rows, dict)
    yield Subject("Tokens.sha256", tokens().sha256, dict)
    yield Subject(
        "tokens_of", subspace.tokens_of, lambda: dict(data=mem(), argument="data", prefix=2), leave=("argument",)
    )
    yield Subject("overlaps", subspace.overlaps, lambda: dict(a=tokens(), b=tokens(2)))
    yield Subject("refuse_overlap", subspace.refuse_overlap, lambda: dict(a=tokens(), b=tokens(2)))
    yield Subject("output_layers", subspace.output_layers, lambda: dict(model=model(), layers=[DOWN]))

    yield Subject("statistics", subspace.statistics, lambda: dict(model=model(), data=mem(), **one, **quiet))
    made = stats()
    yield Subject(
        "Stats",
        subspace.Stats,
        lambda: dict(
            source=made.source,
            sums=made.sums,
            rows=made.rows,
            items=made.items,
            model=made.model,
            moment=made.moment,
            each=made.each,
            each_rows=made.each_rows,
        ),
    )
    yield Subject("Stats.mean", made.mean, lambda: dict(name=DOWN))
    yield Subject("Stats.norm", made.norm, lambda: dict(name=DOWN))
    yield Subject("Stats.item_moments", made.item_moments, lambda: dict(name=DOWN))
    yield Subject("Stats.items_of", made.items_of, lambda: dict(name=DOWN))
    yield Subject("Stats.second_moment", made.second_moment, lambda: dict(name=DOWN))
    yield Subject("Stats.take", made.take, lambda: dict(items=[0, 2]))

    yield Subject(
        "Mask",
        masks.Mask,
        lambda: dict(layers=mask().layers, shapes=mask().shapes, model=mask().model, about={"method": "given"}),
    )
    yield Subject("Mask.of", masks.Mask.of, lambda: dict(chosen={"a": torch.eye(3, dtype=torch.bool)}))
    yield Subject("Mask.of_columns", masks.Mask.of_columns, lambda: dict(columns={"a": [1]}, shapes={"a": (3, 4)}))
    yield Subject("Mask.densities", mask().densities, dict)
    yield Subject("Mask.csr", mask().csr, lambda: dict(name=DOWN))
    yield Subject("Mask.dense", mask().dense, lambda: dict(name=DOWN))
    yield Subject("Mask.columns", mask().columns, lambda: dict(name=DOWN))
    yield Subject("Mask.only", mask().only, lambda: dict(layers=[DOWN]))
    yield Subject("Mask.iou", mask().iou, lambda: dict(other=mask()))
    yield Subject("Mask.iou_by_layer", mask().iou_by_layer, lambda: dict(other=mask()))
    yield Subject("Mask.weights", mask().weights, lambda: dict(model=model()))
    yield Subject("Mask.apply", mask().apply, lambda: dict(model=model()), use=undone)
    yield Subject("Mask.applied", mask().applied, lambda: dict(model=model()), use=enter)
    yield Subject("Mask.save", mask().save, lambda: dict(path="mask.npz"))
    yield Subject("Mask.load", masks.Mask.load, lambda: dict(path=mask().save("kept.npz")))
    yield Subject("random_like", subspace.random_like, lambda: dict(mask=mask(), seed=0))
    yield Subject("chance_iou", subspace.chance_iou, lambda: dict(density=0.1))
    yield Subject("Replacement", replacement.Replacement, lambda: dict(new=edit().new, model=edit().model, about={}))
    yield Subject("Replacement.change", edit().change, lambda: dict(model=model()))
    yield Subject("Replacement.apply", edit().apply, lambda: dict(model=model()), use=undone)
    yield Subject("Replacement.applied", edit().applied, lambda: dict(model=model()), use=enter)

    yield Subject(
        "Scores",
        scores.Scores,
        lambda: (
            {
                name: getattr(weights(), name)
                for name in ("values", "kind", "method", "shapes", "model", "per", "positive", "about")
            }
            | {"allowed": {DOWN: torch.ones(weights().shapes[DOWN][1], dtype=torch.bool)}}
        ),
    )
    yield Subject("Scores.neurons", weights().neurons, dict)
    yield Subject("Scores.known", weights().known, dict)
    yield Subject("Scores.mask", weights().mask, lambda: dict(sparsity=0.1))
    yield Subject("magnitude", subspace.magnitude, lambda: dict(model=model(), **one))
    yield Subject("random", subspace.random, lambda: dict(model=model(), **one))
    yield Subject("wanda", subspace.wanda, lambda: dict(model=model(), stats=stats()))
    yield Subject("contrast", subspace.contrast, lambda: dict(model=model(), mem=stats(), ref=stats(2)))
    yield Subject("corrected", subspace.corrected, lambda: dict(model=model(), mem=stats(), ref=stats(2)))
    yield Subject("column_z", subspace.column_z, lambda: dict(mem=stats(), ref=stats(2)))
    yield Subject("activation", subspace.activation, lambda: dict(model=model(), stats=stats()))

    yield Subject(
        "integrated_gradients",
        subspace.integrated_gradients,
        lambda: dict(model=model(), sequences=ids(1), steps=2, **one, **quiet),
    )
    yield Subject(
        "zero_out",
        subspace.zero_out,
        lambda: dict(model=model(), sequences=ids(1), candidates={DOWN: [0, 3]}, **one, **quiet),
    )
    yield Subject("slimming", learned.slimming, lambda: dict(model=model(), sequences=ids(1), steps=2, **one, **quiet))
    yield Subject(
        "hard_concrete", learned.hard_concrete, lambda: dict(model=model(), sequences=ids(1), steps=2, **one, **quiet)
    )
    yield Subject(
        "subnet",
        subspace.subnet,
        lambda: dict(model=model(), memorised=ids(1, seed=1), clean=ids(1, seed=2), steps=2, **one, **quiet),
    )
    yield Subject(
        "gradient_ascent",
        subspace.gradient_ascent,
        lambda: dict(model=model(), memorised=ids(1, seed=1), clean=ids(1, seed=2), steps=2, **one, **quiet),
    )
    yield Subject(
        "inject", planted.inject, lambda: dict(model=model(), sequence_ids=ids(1)[0], threshold=100.0, **one, **quiet)
    )
    yield Subject(
        "Planted",
        planted.Planted,
        lambda: dict(model=model(), neurons={DOWN: np.arange(3)}, sequence=tokens(), loss=0.1, before=2.0, steps=3),
    )
    yield Subject(
        "recall_at_k",
        planted.recall_at_k,
        lambda: dict(scores={DOWN: np.arange(48.0)}, planted={DOWN: [3, 4]}, k=(0.1,)),
    )

    yield Subject(
        "score", localisation.score, lambda: dict(model=model(), memorised=mem(), reference=ref(), **one, **quiet)
    )
    yield Subject(
        "locate",
        localisation.locate,
        lambda: dict(model=model(), memorised=mem(), reference=ref(), sparsity=0.1, **one, **quiet),
    )
    yield Subject(
        "specificity",
        control.specificity,
        lambda: dict(
            model=model(),
            memorised=mem(),
            other=ids(4, 8, seed=3),
            reference=ref(),
            sets=2,
            sparsity=0.1,
            resamples=19,
            **one,
            **quiet,
        ),
    )
    yield Subject(
        "label_permutation",
        control.label_permutation,
        lambda: dict(similarity=np.ones((4, 4)), first=np.array([True, True, False, False]), resamples=19),
    )
    made_of = filters()
    yield Subject(
        "Subspace",
        eigen.Subspace,
        lambda: {
            name: getattr(made_of, name) for name in ("values", "vectors", "patterns", "sources", "model", "about")
        },
    )
    yield Subject("Subspace.basis", made_of.basis, lambda: dict(name=DOWN, k=2))
    yield Subject("Subspace.projector", made_of.projector, lambda: dict(name=DOWN, k=2))
    yield Subject("Subspace.edit", made_of.edit, lambda: dict(model=model(), k=2))
    yield Subject("generalised", eigen.generalised, lambda: dict(mem=stats(), ref=stats(2), eps=0.1))
    yield Subject("principal_angles", eigen.principal_angles, lambda: dict(a=made_of, b=filters(3), k=2, draws=2))
