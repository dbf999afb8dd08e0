"""Attacks on a random pipeline: against naive loops and finite differences, in company as alone, with nothing of the
model changed; and what is refused.
"""

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch.nn import functional as F

from lens.diffusion import (
    DiffusionError,
    attack,
    denoise,
    embeddings,
    noised,
    noisy_start,
    optimise_embeddings,
    prompts,
)
from lens.diffusion.verdict import Attack, attack_of, recalled, verdict
from lens.engine.stopping import Stopped
from lens.stats.samples import StatisticsError
from lens.subspace.masks import Mask

QUICK = {"steps": 3, "batch": 2}
FEW = {"seeds": (0, 1), "denoising_steps": 2}


def pairs(corpus, cell, n=3):
    found = corpus.pairs.of(cell).take(range(n))
    return found.images, found.captions


def redness(images):
    return images[:, :, 0].mean((2, 3))


def test_many_pictures_follow_a_naive_loop_over_each(tiny, corpus):
    images, captions = pairs(corpus, "code-many")
    found = optimise_embeddings(tiny, images, start=captions, steps=4, batch=3, seed=5, at=(0, 2), learning_rate=0.05)
    assert (
        sorted(found.states) == [0, 2, 4]
        and found.loss.shape == (3, 4)
        and found.final.shape == tiny.embed(captions).shape
    )
    assert torch.equal(found.states[0], tiny.embed(captions))
    a = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    for number, picture in enumerate(images):
        stream = torch.Generator().manual_seed(embeddings._seed_of(picture, 5))
        y = tiny.embed([captions[number]])[0].clone().requires_grad_(True)
        adam = torch.optim.Adam([y], lr=0.05)
        for step in range(4):
            t, noise = embeddings.draws(tiny, stream, 3)
            x = [a[t[i]].sqrt() * F.pixel_unshuffle(picture, 2) + (1 - a[t[i]]).sqrt() * noise[i] for i in range(3)]
            loss = sum(F.mse_loss(tiny.unet(x[i][None], t[i], y[None]).sample[0], noise[i]) for i in range(3)) / 3
            adam.zero_grad()
            loss.backward(inputs=[y])
            adam.step()
            assert float(found.loss[number, step]) == pytest.approx(float(loss.detach()), abs=2e-5)
        assert torch.allclose(found.final[number], y.detach(), atol=2e-3)


def test_first_step_goes_against_finite_differences(tiny, corpus):
    for part in (tiny.unet, tiny.text_encoder):
        part.double()
    images, captions = pairs(corpus, "code-many", 1)
    found = optimise_embeddings(tiny, images, start=captions, steps=1, batch=2, learning_rate=1e-3)
    moved = (found.final - tiny.embed(captions))[0]
    t, noise = embeddings.draws(tiny, torch.Generator().manual_seed(embeddings._seed_of(images[0], 0)), 2)
    x = noised(tiny, tiny.encode(images)[[0, 0]], noise.double(), t)

    def loss(y):
        with torch.no_grad():
            return float(F.mse_loss(tiny.unet(x, t, y.expand(2, -1, -1)).sample, noise.double()))

    start, slopes = tiny.embed(captions), {}
    for place in [(i, j) for i in range(start.shape[1]) for j in range(0, start.shape[2], 8)]:
        step = torch.zeros_like(start)
        step[0][place] = 1e-4
        slopes[place] = (loss(start + step) - loss(start - step)) / 2e-4
    steep = sorted(slopes, key=lambda p: -abs(slopes[p]))[:10]
    # Adam's first step is the rate against the gradient's sign
    assert (
        all(float(moved[p]) == pytest.approx(-1e-3 * np.sign(slopes[p]), rel=0.05) for p in steep)
        and min(abs(slopes[p]) for p in steep) > 1e-6
    )


def test_alone_in_company_and_in_groups_are_the_same(tiny, corpus):
    images, captions = pairs(corpus, "code-many")
    call = {"steps": 5, "batch": 2, "seed": 1, "learning_rate": 0.01}
    together = optimise_embeddings(tiny, images, start=captions, **call)
    groups = optimise_embeddings(tiny, images, start=captions, rows=4, **call)
    alone = [optimise_embeddings(tiny, images[[i]], start=[captions[i]], **call) for i in (2, 0)]
    assert torch.allclose(together.final, groups.final, atol=1e-4)
    assert torch.allclose(together.final[[2, 0]], torch.cat([one.final for one in alone]), atol=1e-4)
    again = optimise_embeddings(tiny, images, start=captions, **call)
    assert torch.equal(together.final, again.final) and torch.equal(together.loss, again.loss)
    other = optimise_embeddings(tiny, images, start=captions, **call | {"seed": 2})
    assert not torch.equal(together.loss, other.loss)


def test_the_loss_falls_on_noise_that_was_not_seen_and_the_model_stands_still(tiny, corpus):
    images, _ = pairs(corpus, "code-many", 2)
    before = tiny.hash
    found = optimise_embeddings(tiny, images, start="empty", steps=25, batch=4, at=(0,))
    clean = tiny.encode(images)

    def held_out(states):
        t, noise = embeddings.draws(tiny, torch.Generator().manual_seed(99), 100)
        with torch.no_grad():
            return [
                float(
                    F.mse_loss(tiny.unet(noised(tiny, clean[[i] * 100], noise, t), t, states[[i] * 100]).sample, noise)
                )
                for i in range(2)
            ]

    assert all(after < start - 0.01 for start, after in zip(held_out(found.states[0]), held_out(found.final)))
    tiny.unet.__dict__.pop("_mnemoscope_hash", None)
    assert tiny.hash == before and all(p.grad is None and not p.requires_grad for p in tiny.unet.parameters())


def test_a_mask_in_force_is_attacked_and_kept(tiny, corpus):
    images, captions = pairs(corpus, "code-many", 2)
    free, before = optimise_embeddings(tiny, images, start=captions, **QUICK), tiny.hash
    name, layer = next(iter(tiny.layers.items()))
    mask = Mask.of({name: torch.ones(layer.weight.shape, dtype=torch.bool)})
    with mask.applied(tiny.unet):
        cut = optimise_embeddings(tiny, images, start=captions, **QUICK)
        assert not layer.weight.any() and cut.model == tiny.hash != free.model
    assert not torch.equal(cut.loss, free.loss) and tiny.hash == before


def test_starts(tiny, corpus):
    images, _ = pairs(corpus, "code-many", 2)
    random = [
        optimise_embeddings(tiny, images, start="random", at=(0,), seed=seed, **QUICK).states[0] for seed in (0, 0, 1)
    ]
    empty = tiny.embed([""])
    assert (
        torch.equal(random[0], random[1])
        and not torch.equal(random[0], random[2])
        and not torch.equal(random[0][0], random[0][1])
    )
    assert float(random[0].std()) == pytest.approx(float(empty.std()), rel=0.1)
    assert torch.equal(optimise_embeddings(tiny, images, at=(0,), **QUICK).states[0], empty.expand(2, -1, -1))


def test_attack_measures_both_sets_as_denoising_does(tiny, corpus):
    targets, control = pairs(corpus, "code-many"), pairs(corpus, "code-never", 2)
    found = attack(tiny, targets, control, measure=redness, at=(0, 3), **QUICK, **FEW)
    assert (
        dict(found.value.sizes) == {"step": 2, "caption": 5, "seed": 2}
        and found.loss.shape == (5, 3)
        and list(found.set.values) == ["target"] * 3 + ["control"] * 2
    )
    captions = [*targets[1], *control[1]]
    assert list(found.prompt.values) == captions
    assert np.allclose(
        found.value.sel(step=0), redness(denoise(tiny, captions, seeds=(0, 1), steps=2).images), atol=1e-5
    )
    own = optimise_embeddings(tiny, torch.cat([targets[0], control[0]]), start=captions, **QUICK).final
    assert np.allclose(
        found.value.sel(step=3), redness(denoise(tiny, embeddings=own, seeds=(0, 1), steps=2).images), atol=1e-5
    )
    assert "pictures" in found.attrs["mnemoscope"]


def test_noisy_start_keeps_more_of_the_picture_the_later_it_starts(tiny, corpus):
    targets, control = pairs(corpus, "code-many"), pairs(corpus, "code-never", 2)
    pictures = torch.cat([targets[0], control[0]])

    def nearness(images):
        return -(images - pictures[:, None]).square().mean((2, 3, 4))

    found = noisy_start(tiny, targets, control, measure=nearness, shares=(0.1, 0.9), seeds=(0, 1), denoising_steps=10)
    assert (found.value.sel(share=0.1) > found.value.sel(share=0.9)).all()
    direct = denoise(tiny, [*targets[1], *control[1]], seeds=(0, 1), steps=10, start=(tiny.encode(pictures), 0.9))
    assert np.allclose(found.value.sel(share=0.9), nearness(direct.images), atol=1e-5)


def test_prompts_said_otherwise(tiny, corpus):
    captions = pairs(corpus, "code-many")[1]
    said = {"as trained": captions, "backwards": [" ".join(c.split()[::-1]) for c in captions]}
    found = prompts(tiny, said, measure=redness, **FEW)
    assert (
        dict(found.value.sizes) == {"variant": 2, "caption": 3, "seed": 2}
        and found.prompt.sel(variant="backwards").values[1] == said["backwards"][1]
    )
    assert np.allclose(
        found.value.sel(variant="backwards"),
        redness(denoise(tiny, said["backwards"], seeds=(0, 1), steps=2).images),
        atol=1e-6,
    )
    with pytest.raises(DiffusionError, match=r"variants has .*the same number"):
        prompts(tiny, {"a": captions, "b": captions[:2]}, measure=redness)


def test_what_embedding_attacks_refuse(tiny, corpus):
    images, captions = pairs(corpus, "code-many")
    with pytest.raises(DiffusionError, match=r"images has shape \(3, 3, 8, 8\).*resize"):
        optimise_embeddings(tiny, images[:, :, :8, :8])
    with pytest.raises(DiffusionError, match="mode 'L'"):
        optimise_embeddings(tiny, [Image.new("L", (16, 16))])
    with pytest.raises(DiffusionError, match="start holds 2 captions for 3 pictures"):
        optimise_embeddings(tiny, images, start=captions[:2])
    with pytest.raises(DiffusionError, match="start='middle'"):
        optimise_embeddings(tiny, images, start="middle")
    for wrong in (
        {"steps": 0},
        {"batch": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"at": (51,)},
        {"rows": 0},
    ):
        with pytest.raises(
            DiffusionError,
            match=(
                "finished steps from 0 to steps=50"
                if "at" in wrong
                else f"{next(iter(wrong))}={next(iter(wrong.values()))} does not fit; expected"
            ),
        ):
            optimise_embeddings(tiny, images, **wrong)
    with pytest.raises(DiffusionError, match=r"learning_rate=1e\+30.*not finite at step 1 of 3"):
        optimise_embeddings(tiny, images, learning_rate=1e30, **QUICK)
    calls = []
    with pytest.raises(Stopped, match="2 of 3 steps"):
        optimise_embeddings(tiny, images, stop=lambda: calls.append(0) or len(calls) > 2, **QUICK)
    tiny.scheduler.register_to_config(prediction_type="v_prediction")
    with pytest.raises(DiffusionError, match="v_prediction"):
        optimise_embeddings(tiny, images)


def test_what_measured_attacks_refuse(tiny, corpus):
    targets, control = pairs(corpus, "code-many"), pairs(corpus, "code-never")
    for run in (attack, noisy_start):
        with pytest.raises(DiffusionError, match="targets has 3 pictures and 2 captions"):
            run(tiny, (targets[0], targets[1][:2]), control, measure=redness)
        with pytest.raises(DiffusionError, match="control=<Tensor .* expected 2 values"):
            run(tiny, targets, control[0], measure=redness)
        with pytest.raises(DiffusionError, match="targets and control share 1 captions"):
            run(tiny, targets, (control[0], [*control[1][:2], targets[1][0]]), measure=redness)
        with pytest.raises(DiffusionError, match="targets and control share 3 pictures"):
            run(tiny, targets, (targets[0], control[1]), measure=redness)
    with pytest.raises(DiffusionError, match=r"measure gave numbers of shape \(6,\).*\(6, 2\)"):
        noisy_start(tiny, targets, control, measure=lambda images: redness(images)[:, 0], **FEW)
    with pytest.raises(DiffusionError, match="12 of them not finite"):
        noisy_start(tiny, targets, control, measure=lambda images: redness(images) * float("nan"), **FEW)
    with pytest.raises(DiffusionError, match="shares is empty"):
        noisy_start(tiny, targets, control, measure=redness, shares=())
    with pytest.raises(DiffusionError, match="share of 0.0"):
        noisy_start(tiny, targets, control, measure=redness, shares=(0.0,), **FEW)


# -- the word ----------------------------------------------------------------------------------------------------------


def test_recalled_is_half_of_the_seeds_at_any_look():
    values = xr.DataArray(
        np.array([[[0, 0], [1, 0], [0, 0]], [[1, 1], [0, 0], [0, 0]], [[np.nan] * 2] * 3]),
        dims=("step", "caption", "seed"),
    )
    assert recalled(values).tolist() == [True, True, False] and recalled(values, least=0.6).tolist() == [
        True,
        False,
        False,
    ]
    assert recalled(values.transpose("seed", "caption", "step")).tolist() == [True, True, False] and recalled(
        values.isel(step=1, seed=0)
    ).tolist() == [True, False, False]
    assert recalled([0.5, 0.49, True]).tolist() == [True, False, True]
    for wrong, text in (
        (values.isel(step=[2]), "no look is whole"),
        (np.array([-0.2, 0.9]), "from -0.2 to 0.9.*threshold"),
        (np.zeros((2, 2)), "expected 'caption'"),
        (values.isel(caption=[]), "expected 'caption'"),
    ):
        with pytest.raises(DiffusionError, match=text):
            recalled(wrong)


def test_one_word_from_tables():
    rng = np.random.default_rng(0)

    def coin(share, n=40):
        return xr.DataArray(rng.random((3, n, 4)) < share, dims=("step", "caption", "seed"))

    before, after, twin = coin(1.0), coin(0.0), coin(0.0)
    back = coin(0.9)
    found = verdict(
        before,
        after,
        {
            "prompts": attack_of(after, twin),
            "embeddings": attack_of(back, coin(0.0, 9), paired=False),
            "relearning": attack_of(back, back),
        },
    )
    assert (found.word, found.by, found.recited) == ("hides", ("embeddings",), (40, 0)) and list(
        found.table.n_control
    ) == [40, 9, 40]
    assert (
        verdict(before, after, {"prompts": attack_of(after, twin)}).word
        == "erases"
        == verdict(np.ones(40), np.zeros(40), {"prompts": attack_of(after, twin)}).word
    )
    assert verdict(before, after, {"prompts": attack_of(after, twin)}, margin=0.01).word == "undecided"
    assert verdict(before, before, {"prompts": attack_of(before, twin)}).word == "no removal shown"
    with pytest.raises(StatisticsError, match="none of the items was recalled"):
        verdict(after, after, {})
    with pytest.raises(StatisticsError, match="attack 'short'"):
        verdict(before, after, {"short": Attack(np.zeros(3, bool), np.zeros(3, bool))})


def test_attacks_of_a_measured_table(tiny, corpus):
    found = attack(
        tiny,
        pairs(corpus, "code-many"),
        pairs(corpus, "code-never", 2),
        measure=lambda images: redness(images) > 0,
        at=(0, 3),
        **QUICK,
        **FEW,
    )
    made = attack_of(
        found.value.isel(caption=found.set == "target"), found.value.isel(caption=found.set == "control"), paired=False
    )
    share = found.value.mean("seed").max("step").values >= 0.5
    assert (
        made.edited.tolist() == share[:3].tolist() and made.control.tolist() == share[3:].tolist() and not made.paired
    )
