"""Memorization: recitation, exposure, damage, attacks and verdicts."""

from __future__ import annotations

import functools

import numpy as np
import torch

from lens import memorization, training
from lens.subspace import Mask

from . import Subject
from .common import enter, ids
from .common import model as shared

MODULES = ("lens.memorization",)
#: What only functions make.
RESULTS = ("Overlap", "Verdict")
DOWN = "model.layers.1.mlp.down_proj"


def model():
    return shared(13)


def sequences(seed: int = 1, n: int = 3, kind: str = "verse"):
    return memorization.Sequences(ids(n, 8, seed=seed), prefix=4, kind=kind, duplicates=[0, 1, 2, 1][:n])


@functools.cache
def planted():
    """Sequences that the model does recite: what it goes on with."""
    found = memorization.extract(model(), sequences(), progress=False)
    return memorization.Sequences(np.concatenate([sequences().prefixes, found.generated.values], 1), prefix=4)


def mask():
    chosen = torch.zeros(32, 64, dtype=torch.bool)
    size = dict(model().named_modules())[DOWN].weight.shape
    chosen = torch.zeros(size, dtype=torch.bool)
    chosen[0, :3] = True
    return Mask.of({DOWN: chosen})


def recipe():
    return training.Recipe(1, 2, 1e-3)


@functools.cache
def extracted():
    return memorization.extract(model(), sequences(), progress=False)


@functools.cache
def measured(edited: bool = False):
    with memorization.edited(model(), mask() if edited else None) as now:
        return memorization.performance(now, ids(3, 8, seed=4), copying=0, heads=False, progress=False)


@functools.cache
def curves():
    quiet = dict(copying=0, heads=False, progress=False)
    return memorization.tradeoff(model(), {"a": mask()}, sequences(), ids(3, 8, seed=4), **quiet)


@functools.cache
def relearned():
    on = {"others": sequences(5)}
    return memorization.relearning(
        model(), sequences(), on, edit=mask(), twin=shared(14), recipe=recipe(), progress=False
    )


def subjects():
    m, quiet = memorization, dict(progress=False)
    seen, one = sequences(), dict(model=model(), sequences=sequences())
    yield Subject("Sequences", m.Sequences, lambda: dict(ids=ids(3, 8), prefix=4))
    yield Subject("Sequences.of", m.Sequences.of, lambda: dict(planted=sequences()))
    yield Subject(
        "Sequences.of_texts",
        m.Sequences.of_texts,
        lambda: dict(model=model(), texts=["w1 w2 w3 w4", "w5 w6 w7 w8"], prefix=2, suffix=2),
    )
    yield Subject("Sequences.concat", m.Sequences.concat, lambda: dict(parts=[sequences(), sequences(2)]))
    yield Subject("Sequences.subset", seen.subset, lambda: dict(index=[0, 1]))
    yield Subject("Sequences.cut", seen.cut, lambda: dict(prefix=3))
    yield Subject("Sequences.overlap", seen.overlap, lambda: dict(other=sequences(2)))
    yield Subject("Sequences.coords", seen.coords, lambda: dict(dim="sequence"))
    yield Subject("Sequences.about", seen.about, dict)
    yield Subject("disjoint", m.disjoint, lambda: {"*sets": [sequences(), sequences(2)]})
    yield Subject("levenshtein", m.levenshtein, lambda: dict(a=np.ones((2, 3), int), b=np.ones((2, 4), int)))
    yield Subject("rouge_l", m.rouge_l, lambda: dict(a=np.ones((2, 3), int), b=np.ones((2, 4), int)))
    yield Subject("ndcg", m.ndcg, lambda: dict(base=np.arange(6).reshape(2, 3), other=np.arange(6).reshape(2, 3)))

    yield Subject("variants", m.variants, lambda: dict(sequences=sequences(), left=ids(3, 4)))
    yield Subject("stretch", m.stretch, lambda: one | dict(shifts=[1], paraphrases={"p": [[1, 2]] * 3}, **quiet))
    yield Subject("extract", m.extract, lambda: one | quiet)
    yield Subject("extraction_summary", m.extraction_summary, lambda: dict(result=extracted()))
    yield Subject(
        "find_recited",
        m.find_recited,
        lambda: dict(
            model=model(), rows=ids(2, 12), prefix=4, suffix=4, least=0.0, distinct=1, names=["a", "b"], **quiet
        ),
    )
    items = [{"tokens": [1 + i, 2, 3, 4], "duplicates": i} for i in range(3)]
    yield Subject(
        "hubble_items", m.hubble_items, lambda: dict(source=items, model=None, prefix=1, suffix=2, kind="code", each=2)
    )
    yield Subject("gain_over_twin", m.gain_over_twin, lambda: one | dict(twin=shared(14)))
    yield Subject("recall", m.recall, lambda: dict(one))
    yield Subject("recognition", m.recognition, lambda: dict(model=model(), seen=sequences(), foils=sequences(2)))
    recognised = m.recognition(model(), sequences(), sequences(2))
    yield Subject("recognition_summary", m.recognition_summary, lambda: dict(result=recognised))
    yield Subject("scrambled", m.scrambled, lambda: dict(sequences=sequences()))
    yield Subject(
        "retention",
        m.retention,
        lambda: (
            one | dict(rows=ids(4, 8, seed=7), recipe=recipe(), foils=sequences(2), texts=ids(2, 8, seed=8), **quiet)
        ),
    )
    yield Subject("exposure", m.exposure, lambda: dict(model=model(), canaries=sequences(), foils=sequences(2)))
    exposed = m.exposure(model(), sequences(), sequences(2))
    yield Subject("exposure_summary", m.exposure_summary, lambda: dict(result=exposed))
    yield Subject(
        "by_duplicates", m.by_duplicates, lambda: one | dict(duplicates=[0, 1, 1], reference=shared(14), resamples=19)
    )
    yield Subject("membership_scores", m.membership_scores, lambda: one | dict(texts=["a", "b", "c"]))
    yield Subject("losses", m.losses, lambda: dict(one), leave=("name",))  # it says what the sequences are called
    yield Subject("summary", m.summary, lambda: dict(result=extracted(), variables=["lev"]))
    yield Subject("pool", m.pool, lambda: dict(runs=[extracted(), extracted()]))

    yield Subject(
        "performance",
        m.performance,
        lambda: dict(model=model(), texts=ids(2, 8), tasks={"t": [([1, 2], [3])]}, copying=2, heads=False, **quiet),
    )
    yield Subject("prefix_matching", m.prefix_matching, lambda: dict(model=model(), rows=ids(2, 8), sequences=2))
    yield Subject("edited", m.edited, lambda: dict(model=model(), edit=mask()), use=enter)
    yield Subject("compared", m.compared, lambda: dict(before=measured(), after=measured(True)))
    yield Subject(
        "damage",
        m.damage,
        lambda: dict(model=model(), edit=mask(), texts=ids(3, 8, seed=4), before=measured(), heads=False),
    )
    costs = m.compared(measured(), measured(True))
    yield Subject("damage_summary", m.damage_summary, lambda: dict(result=costs))
    yield Subject(
        "tradeoff",
        m.tradeoff,
        lambda: dict(
            model=model(),
            edits={"a": mask()},
            sets={"val": sequences()},
            texts=ids(3, 8, seed=4),
            before=measured(),
            copying=0,
            heads=False,
            **quiet,
        ),
    )
    yield Subject("tradeoff_summary", m.tradeoff_summary, lambda: dict(result=curves()))
    yield Subject("matched", m.matched, lambda: dict(curves={"a": curves()}, rise=0.1))
    yield Subject(
        "relearning",
        m.relearning,
        lambda: dict(
            model=model(),
            target=sequences(),
            on={"others": sequences(5)},
            edit=mask(),
            recipe=recipe(),
            at=[1],
            **quiet,
        ),
    )
    yield Subject("relearning_summary", m.relearning_summary, lambda: dict(result=relearned()))
    yield Subject("savings", m.savings, lambda: dict(result=relearned()))
    hits = np.array([True, True, False])
    yield Subject("Attack", m.Attack, lambda: dict(edited=hits, control=hits))
    yield Subject(
        "verdict",
        m.verdict,
        lambda: dict(before=hits, after=~hits, attacks={"a": m.Attack(hits, ~hits)}, resamples=50),
    )
    yield Subject(
        "is_it_gone",
        m.is_it_gone,
        lambda: dict(
            model=model(),
            edit=mask(),
            target=planted(),
            twin=shared(14),
            others=sequences(5),
            clean=ids(2, 8, seed=9),
            ks=[1],
            recipe=recipe(),
            at=[1],
            **quiet,
        ),
    )
