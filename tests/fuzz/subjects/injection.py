"""Memory injection."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import torch
import xarray as xr

import lens
from lens import injection

from . import Subject
from .common import SPOKEN, model, said

MODULES = ("lens.injection",)
RESULTS = ("EncodedItem", "Distribution")

QUIET = dict(progress=False)
DIMS = ("item", "layer", "head")


@functools.cache
def items() -> list[injection.Item]:
    return [
        injection.Item(f"w1 w2 w{i}", f"w3 w{i}", f"w{i + 20}", f" w{i + 40}", subject=f"w{i}", label=str(i))
        for i in range(5, 13)
    ]


@functools.cache
def texts() -> list[str]:
    draw = np.random.default_rng(0)
    return [" ".join(f"w{i}" for i in draw.integers(1, 96, size=4)) for _ in range(24)]


@functools.cache
def memory() -> injection.Memory:
    return injection.encode(model(), "w25")


@functools.cache
def swept() -> xr.Dataset:
    return injection.sweep(model(), items(), strengths=[1, 2], controls=["shuffled"], **QUIET)


@functools.cache
def summarised() -> xr.Dataset:
    return injection.summary(swept(), resamples=50)


@functools.cache
def read() -> xr.Dataset:
    return injection.bridge_reading(model(), items(), full=False, **QUIET)


@functools.cache
def trained() -> injection.AttentionLens:
    return injection.AttentionLens.train(model(), texts(), 1, steps=1, **QUIET)


@functools.cache
def saved() -> str:
    trained().save("saved.safetensors")
    return "saved.safetensors"


def effect() -> xr.DataArray:
    draw = np.random.default_rng(0)
    return xr.DataArray(draw.normal(size=(8, 3, 4)), dims=DIMS)


def subjects():
    warnings.simplefilter("ignore")
    lens_of, two = injection.AttentionLens, items()[:2]
    fitting = dict(model=model(), texts=texts(), layer=1, steps=1, **QUIET)
    fields = dict(prompt="a b", explicit="b c", memory="m", answer=" d", subject="b", label="l", group="g")
    yield Subject("Item", injection.Item, lambda: dict(fields))
    yield Subject(
        "Item.chat",
        injection.Item.chat,
        lambda: dict(
            messages=said("w1", "w2"),
            explicit=said("w3"),
            memory="w20",
            answer="w40",
            subject="w2",
            continued=False,
            template=SPOKEN,
            date="2025-02-03",
            label="a",
            group="b",
        ),
    )
    yield Subject("Item.prompted", items()[0].prompted, lambda: dict(memory="w20", stop=""))
    yield Subject("encode_items", injection.encode_items, lambda: dict(model=model(), items=two))
    yield Subject("load_items", injection.load_items, lambda: dict(name="own", limit=2))
    yield Subject(
        "Memory",
        injection.Memory,
        lambda: dict(vectors=torch.ones(3, 4), text="m", encoder="activation", heads=(1,), ids=(3,)),
    )
    yield Subject("Memory.at_site", memory().at_site, lambda: dict(site=lens.Site("attn_out", 1)))
    yield Subject("encode", injection.encode, lambda: dict(model=model(), memory="w25"))
    yield Subject("encode_all", injection.encode_all, lambda: dict(model=model(), memories=["w25", [3, 4]]))
    yield Subject("edits", injection.edits, lambda: dict(memory=memory(), layers=[1]))
    yield Subject(
        "places", injection.places, lambda: dict(model=model(), prompt="w1 w2", positions="subject", subject="w2")
    )
    yield Subject(
        "next_tokens",
        injection.next_tokens,
        lambda: dict(model=model(), prompt="w1 w2", memory=memory(), layers=[1], answer=" w3", k=2),
    )
    yield Subject(
        "generate",
        injection.generate,
        lambda: dict(model=model(), prompt="w1 w2", memory=memory(), layers=[1], max_new_tokens=2),
    )
    yield Subject("score", injection.score, lambda: dict(model=model(), items=two))
    yield Subject("sweep", injection.sweep, lambda: dict(model=model(), items=two, strengths=[1], layers=[1], **QUIET))
    yield Subject(
        "damage",
        injection.damage,
        lambda: dict(model=model(), items=two, prompts=["w1 w2"], texts=["w3 w4"], layers=[1], strengths=[1]),
    )
    yield Subject("log_ratio", injection.log_ratio, lambda: dict(ds=swept()))
    yield Subject("percent_change", injection.percent_change, lambda: dict(ds=swept()))
    yield Subject("trimmed_mean", injection.trimmed_mean, lambda: dict(x=np.arange(12.0).reshape(6, 2)))
    yield Subject("summary", injection.summary, lambda: dict(ds=swept(), resamples=50))
    yield Subject("held_out", injection.held_out, lambda: dict(ds=swept(), splits=3))
    yield Subject("best", injection.best, lambda: dict(summary_ds=summarised()))
    yield Subject(
        "predicts",
        injection.predicts,
        lambda: dict(maps={"m": effect() + 1}, effect=effect(), splits=2, resamples=100, permutations=99),
    )
    yield Subject(
        "bridge_reading", injection.bridge_reading, lambda: dict(model=model(), items=two, layers=[1], **QUIET)
    )
    yield Subject("from_explicit", injection.from_explicit, lambda: dict(model=model(), items=two, layers=[1], **QUIET))
    yield Subject("over_items", injection.over_items, lambda: dict(ds=read(), resamples=50, flips=20))
    yield Subject("AttentionLens", lens_of, lambda: dict(model=model(), layer=1))
    yield Subject("AttentionLens.read", trained().read, lambda: dict(z_last=torch.ones(1, 4, 8)))
    yield Subject("AttentionLens.train", lens_of.train, lambda: dict(fitting))
    yield Subject("AttentionLens.save", trained().save, lambda: dict(path="lens.safetensors"))
    yield Subject("AttentionLens.load", lens_of.load, lambda: dict(path=saved(), model=model()))
    yield Subject("lens_texts", injection.lens_texts, lambda: dict(n=5))
    yield Subject(
        "train_lenses", injection.train_lenses, lambda: dict(model=model(), layers=[1], texts=texts(), steps=1, **QUIET)
    )
    yield Subject(
        "lens_reading", injection.lens_reading, lambda: dict(model=model(), items=two, lenses=trained(), **QUIET)
    )
