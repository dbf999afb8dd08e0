"""Activation patching."""

from __future__ import annotations

import dataclasses

import lens
from lens import patching

from . import Subject
from .common import model, pair, pairs, patched, worded

MODULES = ("lens.patching",)
RESULTS = ("CellView", "Agreement", "last_partial")


def _spanned():
    return dataclasses.replace(pair(), corrupted_spans={"subject": "w30"})


def subjects():
    quiet = dict(progress=False)
    yield Subject(
        "patch", patching.patch, lambda: dict(model=model(), pairs=pair(), over=("layer",), layers=[1], **quiet)
    )
    yield Subject(
        "patch_between",
        patching.patch_between,
        lambda: dict(
            into=model(), source=model(1), prompts=pairs(2), twin=model(2), layers=[1], positions=[2], **quiet
        ),
    )
    yield Subject(
        "path_patch",
        patching.path_patch,
        lambda: dict(model=model(), pairs=pair(), receiver=lens.Site("resid_post", 1), senders=[(0, 1)], **quiet),
    )
    yield Subject(
        "causal_trace",
        patching.causal_trace,
        lambda: dict(model=model(), pairs=pair(), samples=1, layers=[1], positions=["last"], **quiet),
    )
    yield Subject(
        "explain_cell",
        patching.explain_cell,
        lambda: dict(model=model(), pair=pair(), site="resid_pre", layer=1, position="last", k=2),
    )
    yield Subject(
        "depth",
        patching.depth,
        lambda: dict(model=model(), items=pairs(2), partners=[["w1 w2 w60 w4"], []], resamples=50, **quiet),
    )
    yield Subject(
        "pathways", patching.pathways, lambda: dict(model=model(), items=[_spanned()], places=["subject"], **quiet)
    )
    yield Subject(
        "commitment",
        patching.commitment,
        lambda: dict(
            depths=lens.depth(model(), pairs(3), gap=1e-6, **quiet),
            scores=lens.readout.alignment(model(), pairs(3), [[["w1", "w10"], ["w30", "w31"]]] * 3, draws=2),
            resamples=50,
        ),
    )
    yield Subject("summary", patching.summary, lambda: dict(ds=patched(), resamples=50, flips=20))
    yield Subject("agreement", patching.agreement, lambda: dict(exact=patched(), estimate=patched(), resamples=50))
    yield Subject("shuffled_pairs", patching.shuffled_pairs, lambda: dict(model=model(), pairs=pairs()))
    yield Subject(
        "random_prompts",
        patching.random_prompts,
        lambda: dict(model=worded(), pairs=[lens.Pair("alpha beta", "alpha gamma", " delta", " epsilon")]),
    )
