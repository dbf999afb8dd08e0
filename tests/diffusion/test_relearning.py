"""Relearning on random pipelines: adapters alone are trained, the given pipelines stay as they are, a killed run goes
on to the same numbers; savings in closed form.
"""

import numpy as np
import pytest
import torch
import xarray as xr
from torch.nn import functional as F

from lens import training
from lens.diffusion import DiffusionError, Pipeline, denoise, optimise_embeddings, relearning
from lens.diffusion.relearning import relearn, savings
from lens.organisms import cards
from lens.subspace.masks import Mask

from .conftest import pipeline_of
from .test_stable_diffusion import parts_in

FEW = {"seeds": (0, 1), "denoising_steps": 2, "steps": 6, "at": (0, 3), "batch": 2, "learning_rate": 1e-2}


def pairs(corpus, n=3, of_set=0):
    found = corpus.pairs.of("code-many", of_set).take(range(n))
    return found.images, found.captions


def redness(images):
    return images[:, :, 0].mean((2, 3))


def whole_hash(pipeline):
    pipeline.unet.__dict__.pop("_mnemoscope_hash", None)
    return pipeline.hash


@pytest.mark.long
def test_pipelines_stay_and_the_first_look_is_the_model_itself(tiny, corpus):
    twin = pipeline_of(cards.Recipe.small(seed=4))
    others, targets, before = pairs(corpus, of_set=0), pairs(corpus, 2, of_set=1), [whole_hash(p) for p in (tiny, twin)]
    found = relearn(tiny, others, targets, measure=redness, twin=twin, **FEW)
    assert [whole_hash(p) for p in (tiny, twin)] == before and not [
        name for name, _ in tiny.unet.named_parameters() if "lora" in name
    ]
    assert (
        dict(found.value.sizes) == {"model": 2, "step": 3, "caption": 2, "seed": 2}
        and list(found.step.values) == [0, 3, 6]
        and set(found.status.values) == {"complete"}
    )
    for kind, pipeline in (("edited", tiny), ("twin", twin)):
        assert np.allclose(
            found.value.sel(model=kind, step=0),
            redness(denoise(pipeline, targets[1], seeds=(0, 1), steps=2).images),
            atol=1e-5,
        )
        assert not np.allclose(found.value.sel(model=kind, step=0), found.value.sel(model=kind, step=6), atol=1e-4)
    assert not found.loss.isnull().any() and list(found.prompt.values) == list(targets[1])
    again = relearn(tiny, others, targets, measure=redness, **FEW)
    edited = found.sel(model=["edited"])
    assert edited.value.equals(again.value) and edited.loss.equals(again.loss)
    assert not edited.value.equals(relearn(tiny, others, targets, measure=redness, **FEW | {"seed": 1}).value)


@pytest.mark.parametrize(
    "modules, names",
    [
        ("attention", ("to_q", "to_k", "to_v", "to_out.0")),
        ("feed-forward", ("ff.net.0.proj", "ff.net.2")),
        ("both", ("to_q", "ff.net.2")),
    ],
)
def test_adapters_alone_are_trained_and_a_mask_is_not_trained_away(tiny, corpus, monkeypatch, modules, names):
    trained = {}
    train = training.train
    monkeypatch.setattr(
        training, "train", lambda unet, *rest, **options: trained.update(unet=unet) or train(unet, *rest, **options)
    )
    name, layer = next(iter(tiny.layers.items()))
    mask, before = (
        Mask.of({name: torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5}),
        whole_hash(tiny),
    )
    with mask.applied(tiny.unet):
        cut = {key: value.clone() for key, value in tiny.unet.state_dict().items()}
        relearn(
            tiny, pairs(corpus), pairs(corpus, 2, 1), measure=redness, modules=modules, **FEW | {"steps": 2, "at": ()}
        )
    assert whole_hash(tiny) == before
    now = trained["unet"].state_dict()
    bases = {key.replace(".base_layer.", "."): value for key, value in now.items() if ".lora_" not in key}
    assert bases.keys() == cut.keys() and all(torch.equal(value, cut[key]) for key, value in bases.items())
    assert not bases[f"{name}.weight"][mask.dense(name)].any()
    adapters = {key: value for key, value in now.items() if ".lora_B." in key}
    assert all(any(f".{n}.lora_B" in key for key in adapters) for n in names) and all(
        ".transformer_blocks." in key and value.any() for key, value in adapters.items()
    )
    assert all(value.shape[1] == 4 for value in adapters.values()) and ("feed-forward" == modules) == (
        not any("to_q" in key for key in adapters)
    )


def test_training_lowers_the_error_on_what_it_is_trained_on(tiny, corpus):
    found = relearn(
        tiny, pairs(corpus), pairs(corpus, 2, 1), measure=redness, modules="both", **FEW | {"steps": 40, "at": ()}
    )
    assert float(found.loss[0, -15:].mean()) < float(found.loss[0, :15].mean()) - 0.01


def test_the_loss_is_the_plain_one(tiny, corpus):
    images, captions = pairs(corpus)
    made = relearning._adapted(tiny, 4, relearning.MODULES["attention"], 0)
    starts = [
        {
            name: value
            for name, value in relearning._adapted(tiny, 4, ("to_q",), seed).unet.named_parameters()
            if ".lora_A." in name
        }
        for seed in (0, 0, 1)
    ]
    assert (
        all(
            torch.equal(value, starts[1][name]) and not torch.equal(value, starts[2][name])
            for name, value in starts[0].items()
        )
        and starts[0]
    )
    objective = relearning._Noise(made, images, captions, "")
    index = torch.tensor([2, 0])
    torch.manual_seed(7)
    loss = objective(
        made.unet,
        training.Batch(
            index, objective.rows.ids[index], objective.rows.targets[index], objective.rows.lengths[index], 0, 1
        ),
    )
    torch.manual_seed(7)
    t, noise = torch.randint(1000, (2,)), torch.randn(2, 12, 8, 8)
    a = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    each = [
        F.mse_loss(
            tiny.unet(
                (a[t[i]].sqrt() * F.pixel_unshuffle(images[n], 2) + (1 - a[t[i]]).sqrt() * noise[i])[None],
                t[i],
                tiny.embed([captions[n]]),
            ).sample[0],
            noise[i],
        )
        for i, n in enumerate(index)
    ]
    assert float(loss.detach()) == pytest.approx(float(sum(each)) / 2, abs=1e-5)


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_numbers(tiny, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(relearning, "CHECKPOINT", 2)
    call = FEW | {"at": (0, 1, 3, 5)}
    whole, looks = relearn(tiny, pairs(corpus), pairs(corpus, 2, 1), measure=redness, **call), []

    def dies(images):
        looks.append(0)
        if len(looks) == 4:
            raise MemoryError
        return redness(images)

    with pytest.raises(MemoryError):
        relearn(tiny, pairs(corpus), pairs(corpus, 2, 1), measure=dies, folder=tmp_path, **call)
    later = []
    found = relearn(
        tiny,
        pairs(corpus),
        pairs(corpus, 2, 1),
        measure=lambda images: later.append(0) or redness(images),
        folder=tmp_path,
        **call,
    )
    assert found.value.equals(whole.value) and found.loss.equals(whole.loss) and len(later) == 2
    # a folder of other pictures or targets is not gone on with
    with pytest.raises(training.TrainingError, match="another objective"):
        relearn(tiny, pairs(corpus), pairs(corpus, 1, 1), measure=redness, folder=tmp_path, **call)
    images, captions = pairs(corpus)
    with pytest.raises(training.TrainingError, match="another objective"):
        relearn(tiny, (-images, captions), pairs(corpus, 2, 1), measure=redness, folder=tmp_path, **call)


@pytest.mark.long
def test_a_stopped_run_is_partial(tiny, corpus):
    asked = []
    found = relearn(
        tiny,
        pairs(corpus),
        pairs(corpus, 2, 1),
        measure=redness,
        twin=tiny,
        stop=lambda: asked.append(0) or len(asked) > 4,
        **FEW,
    )
    assert (
        list(found.status.values) == ["stopped", "not started"]
        and not found.value[0, :2].isnull().any()
        and found.value[0, 2].isnull().all()
        and found.value[1].isnull().all()
    )
    with pytest.raises(DiffusionError, match="stopped, not started"):
        savings(found)


def test_what_is_refused(tiny, corpus):
    others, targets = pairs(corpus), pairs(corpus, 2, 1)
    call = {"measure": redness, **FEW}
    with pytest.raises(DiffusionError, match="others and targets share 2 captions"):
        relearn(tiny, others, (others[0][:2], others[1][:2]), **call)
    with pytest.raises(DiffusionError, match="others and targets share 1 pictures, in targets with the captions"):
        relearn(tiny, others, (torch.cat([targets[0][:1], others[0][:1]]), targets[1]), **call)
    with pytest.raises(DiffusionError, match=r"others\[0\] has shape \(3, 3, 8, 8\)"):
        relearn(tiny, (others[0][..., :8, :8], others[1]), targets, **call)
    with pytest.raises(DiffusionError, match="targets has 2 pictures and 1 captions"):
        relearn(tiny, others, (targets[0], targets[1][:1]), **call)
    for wrong, text in (
        ({"modules": "text"}, "modules='text'"),
        ({"rank": 0}, "rank=0"),
        ({"at": (7,)}, r"at=\[7\]"),
        ({"steps": 0, "at": ()}, "steps=0"),
        ({"batch": 0}, "batch=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
    ):
        with pytest.raises(DiffusionError, match=text):
            relearn(tiny, others, targets, **call | wrong)
    with pytest.raises(DiffusionError, match=r"learning_rate=1e\+30.*(diverged at step|after \d steps of relearning)"):
        relearn(tiny, others, targets, **call | {"learning_rate": 1e30})
    with pytest.raises(DiffusionError, match="measure gave numbers of shape"):
        relearn(tiny, others, targets, **call | {"measure": lambda images: np.zeros(3)})


def table(edited, twin, steps=(0, 10, 20, 40)):
    values = np.stack([edited, twin]).astype(float)[..., None]
    return xr.Dataset(
        {"value": (("model", "step", "caption", "seed"), values), "status": ("model", ["complete"] * 2)},
        {"model": ["edited", "twin"], "step": list(steps), "caption": np.arange(values.shape[2]), "seed": [0]},
    )


def test_savings_in_closed_form():
    ones = np.ones(6)
    found = savings(table(np.outer([0, 0.4, 0.8, 1], ones), np.outer([0, 0, 0, 1], ones)), 0.6).iloc[0]
    # 0.4 to 0.8 crosses 0.6 halfway between 10 and 20; 0 to 1 crosses it at 20 + 0.6 * 20
    assert (found.edited, found.twin, found.savings, found.censored, found.n, found.start) == (15, 32, 17, "", 6, 0)
    # captions that are all alike say nothing of others: no interval, where resampling gave one without width
    assert np.isnan([found.low, found.high]).all() and "equal" in found.interval_kind
    late = savings(table(np.outer([0.7, 0.8, 0.9, 1], ones), np.outer([0, 0, 0.1, 0.2], ones)), 0.6).iloc[0]
    assert late.edited == 0 and late.twin == 40 and late.censored == "twin" and late.start == pytest.approx(0.7)
    assert savings(table(np.zeros((4, 6)), np.zeros((4, 6)))).censored[0] == "edited, twin"
    mixed = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0], [1] * 6])
    spread = savings(table(mixed, np.roll(np.zeros((4, 6)), 1)), 0.5).iloc[0]
    assert (
        spread.low < spread.savings == 30 < spread.high and savings(table(mixed[:, :1], mixed[:, :1])).low[0] == -40
    )  # one caption: its exact bounds are almost everything
    with pytest.raises(DiffusionError, match="no twin"):
        savings(table(mixed, mixed).isel(model=[0]))


def test_stable_diffusion_is_attacked_and_relearned_through_the_same_code(tmp_path):
    pipeline = Pipeline.of(parts_in(tmp_path, small=True))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = optimise_embeddings(pipeline, images[:2], start=["a cat", "a hat"], steps=2, batch=2)
    assert (
        found.final.shape == (2, 20, 16)
        and found.loss.shape == (2, 2)
        and not torch.equal(found.final, pipeline.embed(["a cat", "a hat"]))
    )
    result = relearn(
        pipeline,
        (images[:2], ["a cat", "a hat"]),
        (images[2:], ["the mat"]),
        measure=redness,
        modules="both",
        **FEW | {"steps": 2, "at": ()},
    )
    assert not result.value.isnull().any() and not result.value.isel(step=0).equals(result.value.isel(step=1))
