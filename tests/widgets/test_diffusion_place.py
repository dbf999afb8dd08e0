"""The place where the diffusion bench cuts, without a browser: statistics once for each place, masks of its layers,
what follows it, and what is refused.
"""

import numpy as np
import pytest
import torch
import traitlets
from torch import nn

import lens
from lens import diffusion, subspace
from lens.diffusion import DiffusionError, activations
from tests.diffusion.conftest import pipeline_of
from tests.widgets.test_diffusion_bench import (
    FRESH,
    KNOWN,
    OTHERS,
    RECIPE,
    STEPS,
    ask,
    bench,
    counted,  # noqa: F401 - a fixture
    drawn,
    weights,
)
from widgets.diffusion_bench.question import SPARSITIES

CROSS, LAYERS = "cross-attention", ("*.attn2.to_k", "*.attn2.to_v")


def located(pipeline, **options):
    """Statistics and mask of the keys and values, in plain calls."""
    how = {"layers": LAYERS, "seeds": (0, 1), "steps": STEPS, "guidance": 3.0}
    found, against = (diffusion.statistics(pipeline, captions, **how) for captions in (KNOWN.captions, OTHERS))
    return (
        found,
        against,
        diffusion.locate(pipeline, found, against, **({"sparsity": 0.1, "first": 2, "variant": "published"} | options)),
    )


class Plain(nn.Module):
    """A linear layer of another kind, as a quantised one is."""

    def __init__(self, linear):
        super().__init__()
        self.weight = linear.weight

    def forward(self, x):
        return nn.functional.linear(x, self.weight)


def without_cross_attention():
    pipeline = pipeline_of(RECIPE)
    for module in pipeline.unet.modules():
        if getattr(module, "attn2", None) is not None:
            module.attn2.to_k, module.attn2.to_v = Plain(module.attn2.to_k), Plain(module.attn2.to_v)
    return pipeline


def test_a_place_has_statistics_once_and_masks_of_its_layers(counted):  # noqa: F811
    pipeline = pipeline_of(RECIPE)
    view, before = ask(bench(pipeline)), weights(pipeline)
    assert (
        view.place == "feed-forward"
        and counted == {"draw": 4, "statistics": 2}
        and f"{len(pipeline.layers)} feed-forward layers" in view.model_info["text"]
    )
    first = view.mask()
    ask(view, "move", place=CROSS)
    assert counted == {"draw": 4, "statistics": 2} and view.edit["key"]["place"] == "feed-forward", (
        "a place without statistics waits for the button"
    )
    ask(view)
    assert view.status == "complete", view.error
    assert counted == {"draw": 6, "statistics": 4}, "neither the unedited pictures nor the threshold are drawn again"
    found, against, mask = located(pipeline)
    counted["statistics"] = 4  # those of this test
    there = pipeline.named(LAYERS)
    assert view.mask().iou(mask) == 1 and set(view.mask().shapes) == set(there) and not set(first.shapes) & set(there)
    with mask.applied(pipeline.unet):
        np.testing.assert_allclose(view.result.value.sel(state="after").values, drawn(pipeline)[1], atol=1e-5)
    control = subspace.random_like(mask, 0)
    with control.applied(pipeline.unet):
        np.testing.assert_allclose(view.result.value.sel(state="random").values, drawn(pipeline)[1], atol=1e-5)
    assert control.densities() == mask.densities() and view.edit["layers"] == pytest.approx(
        list(mask.densities().values())
    )
    assert (
        view.score_map.equals(diffusion.score_map(pipeline, found, against))
        and view.scores["layers"] == list(there)
        and view.scores["place"] == CROSS
    )
    assert (
        view.scores["short"][:2] == ["down 0.0 k", "down 0.0 v"]
        and f"{len(there)} cross-attention layers" in view.model_info["text"]
        and view.edit["text"].startswith("cross-attention, published")
    )
    assert (
        lens.record(view.result)["call"]["place"] == CROSS
        and torch.equal(weights(pipeline), before)
        and view.edit["hashes"] == [pipeline.hash] * 2
    )

    kept = dict(counted)
    for place, expected in (("feed-forward", first), (CROSS, mask)):
        ask(view, "move", place=place)
        assert (
            view.status == "complete"
            and counted == kept
            and view.mask().iou(expected) == 1
            and view.edit["key"]["place"] == place
        )
    ask(view, "move", sparsity=0.4)
    assert (
        view.status == "complete"
        and counted == {"draw": kept["draw"] + 2, "statistics": 4}
        and view.mask().iou(located(pipeline, sparsity=0.4)[2]) == 1
    )
    assert torch.equal(weights(pipeline), before)


@pytest.mark.long
def test_statistics_on_disk_are_apart_and_found_again(tmp_path, monkeypatch):
    runs, kept = [], activations.denoise
    monkeypatch.setattr(activations, "denoise", lambda *a, **k: runs.append(1) or kept(*a, **k))
    view = ask(bench(folder=tmp_path))
    ask(view, place=CROSS)
    assert (
        view.status == "complete"
        and len(runs) == 4
        and len([*tmp_path.iterdir()]) == 2 * len({*KNOWN.captions, *OTHERS})
    )
    again = ask(bench(folder=tmp_path, place=CROSS))
    assert again.status == "complete" and len(runs) == 4 and again.mask().iou(view.mask()) == 1
    ask(again, place="feed-forward")
    assert again.status == "complete" and len(runs) == 4


@pytest.mark.long
def test_the_edit_in_force_the_attack_and_the_files_are_of_the_place(tmp_path):
    pipeline = pipeline_of(RECIPE)
    view, before = ask(bench(pipeline, place=CROSS, sparsity=0.6)), weights(pipeline)
    ask(view, "attack", updates=2)
    assert view.status == "complete", view.error
    mask = located(pipeline, sparsity=0.6)[2]
    with mask.applied(pipeline.unet):
        captions = list(KNOWN.captions + FRESH.captions[:4])
        states = diffusion.optimise_embeddings(
            pipeline, torch.cat([KNOWN.images, FRESH.images[:4]]), start=captions, steps=2, seed=0
        ).final[:4]
        np.testing.assert_allclose(
            view.result.value.sel(state="attacked").values, drawn(pipeline, KNOWN, embeddings=states)[1], atol=1e-4
        )
    named = {name: p.detach().clone() for name, p in pipeline.unet.named_parameters()}
    view.put(wait=True)
    moved = {name for name, p in pipeline.unet.named_parameters() if not torch.equal(p, named[name])}
    assert (
        moved == {f"{name}.weight" for name, chosen in mask.layers.items() if len(chosen)}
        and CROSS in view.force["what"]
    )
    view.undo(wait=True)
    assert view.wait(60) and view.force["same"] and torch.equal(weights(pipeline), before)
    for name in ("measures.zarr", "mask.npz"):
        view.save(tmp_path / name)
    assert (
        subspace.Mask.load(tmp_path / "mask.npz").iou(mask) == 1
        and lens.record(lens.open(tmp_path / "measures.zarr"))["call"]["place"] == CROSS
    )
    text = view._static()
    assert (
        f"{len(pipeline.named(LAYERS))} cross-attention layers" in text
        and "down 0.0 k" in text
        and "one value" in text
        and "feed-forward" not in text
    )


@pytest.mark.long
def test_keys_and_values_read_the_same_at_every_layer_and_step():
    """What the view says of them, and why its slider of first steps is off there."""
    view = ask(bench(place=CROSS, first=1))
    one = view.mask()
    ask(view, "move", first=STEPS)
    assert (
        view.mask().iou(one) == 1
        and np.ptp(view.score_map.largest.values) < 1e-4 * view.score_map.largest.values.max()
        and view.model_info["places"][CROSS]["alike"]
    )


# --- what is refused


@pytest.mark.parametrize("place", ["magic", "", None])
def test_a_place_that_is_not_known(place):
    with pytest.raises(
        ValueError,
        match=(
            "place=None does not fit; expected text"
            if place is None
            else "place=.* is not one of feed-forward, cross-attention; give one"
        ),
    ):
        bench(place=place)
    view = bench()
    with pytest.raises(traitlets.TraitError):
        view.place = place
    assert ask(view, "move", place=place).place == "feed-forward"


def test_a_pipeline_without_cross_attention_says_so():
    pipeline = without_cross_attention()
    with pytest.raises(
        DiffusionError, match=r"place='cross-attention': cards has no such layers .*attn2.to_k.*another place"
    ):
        bench(pipeline, place=CROSS)
    view = ask(bench(pipeline))
    assert view.status == "complete" and [name for name, _ in view.places] == ["feed-forward"]
    view.place = CROSS
    ask(view)
    assert view.status == "error" and "no such layers" in view.error["text"]
    ask(view, place="feed-forward")
    assert view.status == "complete" and view.error == {}


def test_sets_that_overlap_are_refused_at_every_place():
    view = ask(bench(reference={"shared": [KNOWN.captions[1], *OTHERS]}, place=CROSS))
    assert view.status == "error" and KNOWN.captions[1] in view.error["text"] and view.before == {}


def test_the_doses_of_both_places_are_offered():
    assert (
        {0.002, 0.08, 0.4, 0.6} <= set(SPARSITIES)
        and list(SPARSITIES) == sorted(SPARSITIES)
        and bench().sparsities == list(SPARSITIES)
    )
    assert bench().places == [
        ["feed-forward", "feed-forward, second layers"],
        [CROSS, "cross-attention, keys and values"],
    ]
