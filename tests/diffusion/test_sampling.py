"""Denoising in batches against one caption and one seed at a time, with DDIM written out from its formula."""

from contextlib import contextmanager

import pytest
import torch
from diffusers import DDPMScheduler

from lens.diffusion import DiffusionError, denoise, noise, noised, predicted
from lens.diffusion.sampling import timesteps
from lens.engine.stopping import Stopped
from tests.diffusion import naive

CAPTIONS, SEEDS, STEPS = ["red circle upper left", "digit seven", ""], (4, 11), 4
CLOSE = {"atol": 5e-4, "rtol": 0}  # the first step divides rounding errors by sqrt(4e-5)


def close(found, expected):
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("guidance", [1, 3.0, pytest.param(1.5, marks=pytest.mark.long)])
def test_batches_are_one_caption_and_one_seed_at_a_time(tiny, guidance):
    expected = [[naive.denoise(tiny, caption, seed, STEPS, guidance) for seed in SEEDS] for caption in CAPTIONS]
    for batch in (1, 4, 96):
        samples = denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, guidance=guidance, batch=batch)
        assert (
            samples.images.shape == (3, 2, 3, 16, 16)
            and samples.seeds == SEEDS
            and samples.timesteps.tolist() == [999, 749, 499, 249]
        )
        assert samples.difference.shape == (3, 2, 0 if guidance == 1 else STEPS)
        for found, differences, row in zip(samples.images, samples.difference, expected, strict=True):
            for image, difference, (picture, norms, _) in zip(found, differences, row, strict=True):
                close(image, picture)
                torch.testing.assert_close(difference, torch.tensor(norms), rtol=1e-3, atol=1e-4)
    assert float(samples.images.std()) > 0.1
    if guidance > 1:
        # the empty caption is nothing told, so that guidance has no part in it
        assert float(samples.difference[2].max()) < 1e-4 < float(samples.difference[:2].min())


def test_a_picture_noised_to_a_step_is_denoised_from_there(tiny, corpus):
    clean = tiny.encode(corpus.pairs.images[:3])
    for share, steps in ((1.0, 4), (0.01, 1), (0.7, 3)):
        samples = denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, start=(clean, share), batch=4)
        assert samples.timesteps.tolist() == [999, 749, 499, 249][4 - steps :] and samples.difference.shape == (
            3,
            2,
            steps,
        )
        for caption, picture, row in zip(CAPTIONS, clean, samples.images, strict=True):
            for seed, image in zip(SEEDS, row, strict=True):
                close(image, naive.denoise(tiny, caption, seed, STEPS, 3.0, start=picture, share=share)[0])
    for share in (0, 1.5, float("nan")):
        with pytest.raises(DiffusionError, match=r"share of|start\[1\]="):
            denoise(tiny, CAPTIONS, steps=STEPS, start=(clean, share))
    for wrong in (clean[:2], clean[:, :3], clean * float("inf")):
        with pytest.raises(DiffusionError, match="start has latents of shape.*one for each caption"):
            denoise(tiny, CAPTIONS, steps=STEPS, start=(wrong, 0.5))


def test_only_the_first_steps_are_those_of_a_whole_run(tiny):
    whole = denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS)
    latents = []
    part = denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, only=2, each=lambda step: latents.append(step.latents))
    assert part.timesteps.tolist() == [999, 749] and len(latents) == 2
    close(part.difference, whole.difference[..., :2])
    for number, (caption, seed) in enumerate((c, s) for c in CAPTIONS for s in SEEDS):
        picture, _, after = naive.denoise(tiny, caption, seed, STEPS, 3.0, only=2)
        close(part.images.flatten(0, 1)[number], picture)
        for step in range(2):
            close(latents[step][number], after[step])
    assert torch.equal(denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, only=4).images, whole.images)
    without = denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, decode=False)
    assert without.images.shape == (3, 2, 3, 0, 0) and torch.equal(without.difference, whole.difference)


def test_the_same_seed_gives_the_same_picture_and_the_callers_randomness_is_left_alone(tiny):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = (denoise(tiny, CAPTIONS, seeds=seeds, steps=STEPS).images for seeds in (SEEDS, SEEDS, (11, 12)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, two)
    close(one[:, 1], other[:, 0])
    assert float((one[:, 0] - other[:, 1]).abs().max()) > 0.1
    assert torch.equal(noise(tiny, [3])[0], torch.randn(12, 8, 8, generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(*noise(tiny, [3, 4]))


def test_with_a_scheduler_that_adds_noise_too_a_picture_depends_on_its_caption_and_seed_alone(tiny):
    tiny.scheduler = DDPMScheduler.from_config(tiny.scheduler.config)
    whole = denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, guidance=1)
    for caption, row in zip(CAPTIONS, whole.images, strict=True):
        for seed, image in zip(SEEDS, row, strict=True):
            # as diffusers' pipelines do it: one generator, its first numbers are the starting noise
            generator = torch.Generator().manual_seed(seed)
            x = torch.randn(1, 12, 8, 8, generator=generator)
            ran = DDPMScheduler.from_config(tiny.scheduler.config)
            ran.set_timesteps(STEPS)
            with torch.no_grad():
                for t in ran.timesteps:
                    x = ran.step(
                        tiny.unet(x, t, naive.states_of(tiny, caption)).sample, t, x, generator=generator
                    ).prev_sample
            close(image, naive.picture(x[0]))
    assert torch.equal(denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, guidance=1).images, whole.images)


def test_a_watcher_is_around_each_call_and_is_told_whose_rows_they_are(tiny):
    told, inside = [], []

    @contextmanager
    def watch(step):
        inside.append(step)
        yield
        inside.pop()

    def see(module, args, kwargs):
        (step,) = inside
        told.append((step.number, step.timestep, step.captions.tolist(), step.seeds.tolist(), step.guided))
        x, states = args[0], kwargs["encoder_hidden_states"]
        assert torch.equal(x, torch.cat([step.latents] * 2))
        for at, caption in enumerate(
            ["", "", *(CAPTIONS[i] for i in step.captions)]
            if len(step.captions) == 2
            else ["", *(CAPTIONS[i] for i in step.captions)]
        ):
            close(states[at], naive.states_of(tiny, caption)[0])

    handle = tiny.unet.register_forward_pre_hook(see, with_kwargs=True)
    denoise(tiny, CAPTIONS[:2], seeds=(7, 8, 9), steps=2, batch=2, watch=watch)
    handle.remove()
    rows = [([0, 0], [0, 1]), ([0, 1], [2, 0]), ([1, 1], [1, 2])]
    assert told == [(number, t, *row, True) for row in rows for number, t in ((0, 999), (1, 499))] and not inside


def test_latents_that_are_not_finite_are_an_error_that_names_the_step(tiny):
    calls = []

    def broken(module, args, out):
        calls.append(1)
        if len(calls) == 6:
            out.sample[-1, 0, 0, 0] = float("nan")

    handle = tiny.unet.register_forward_hook(broken)
    with pytest.raises(
        DiffusionError, match=r"not finite after step 1 \(of 0 to 3; timestep 749; captions 1 to 1\).*float32"
    ):
        denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, batch=2)
    handle.remove()
    assert naive.hooks(tiny.unet) == 0
    with torch.no_grad():
        tiny.unet.conv_in.weight[0] = float("nan")
    with pytest.raises(DiffusionError, match="not finite after step 0"):
        denoise(tiny, CAPTIONS, steps=STEPS, guidance=1)


def test_it_stops_when_told_to(tiny):
    asked = []
    with pytest.raises(Stopped, match="after 2 of 6 pictures"):
        denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS, batch=2, stop=lambda: asked.append(1) or len(asked) == 6)
    assert len(asked) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": ()}, "at least one seed"),
        ({"batch": 0}, "batch=0"),
        ({"steps": 0}, "steps=0 does not fit; expected a whole number of at least 1"),
        ({"steps": 1001}, "steps=1001"),
        ({"steps": True}, "steps=True"),
        ({"guidance": 0.5}, "guidance=0.5"),
        ({"guidance": float("nan")}, "guidance=nan"),
        ({"guidance": float("inf")}, "guidance=inf"),
        ({"only": 0}, "only=0 does not fit; expected a whole number of at least 1"),
        ({"only": 4}, "only=4; expected 1 to 3"),
        ({"only": -1}, "only=-1"),
        ({"embeddings": torch.zeros(1, 8, 32)}, "give one of the two"),
        ({"captions": None}, "give one of the two"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tiny, change, message):
    with pytest.raises(DiffusionError, match=message):
        denoise(tiny, **{"captions": ["digit one"], "steps": 3} | change)


def test_states_of_the_text_encoder_stand_in_for_captions(tiny):
    states = tiny.embed(CAPTIONS)
    assert torch.equal(
        denoise(tiny, embeddings=states, seeds=SEEDS, steps=STEPS).images,
        denoise(tiny, CAPTIONS, seeds=SEEDS, steps=STEPS).images,
    )
    moved = states[:1] + torch.randn(1, 8, 32, generator=torch.Generator().manual_seed(0))
    close(
        denoise(tiny, embeddings=moved, seeds=[2], steps=STEPS).images[0, 0],
        naive.denoise(tiny, "", 2, STEPS, 3.0, states=moved[0])[0],
    )
    for wrong in (states[..., :16], states[0], states * float("nan")):
        with pytest.raises(
            DiffusionError,
            match=r"expected finite states \[caption, length, 32\]|embeddings=.*with axes \[caption length d\]",
        ):
            denoise(tiny, embeddings=wrong, steps=STEPS)


def test_noising_is_the_schedules_and_gradients_go_through_a_prediction(tiny):
    clean, added, t = torch.randn(3, 12, 8, 8), torch.randn(3, 12, 8, 8), torch.tensor([0, 500, 999])
    a = naive.alphas()[t].float()[:, None, None, None]
    torch.testing.assert_close(
        noised(tiny, clean, added, t), a**0.5 * clean + (1 - a) ** 0.5 * added, atol=1e-5, rtol=0
    )
    states = tiny.embed(CAPTIONS).requires_grad_(True)
    out = predicted(tiny, clean, t, states)
    for row, x, step, caption in zip(out, clean, t, CAPTIONS, strict=True):
        close(row, tiny.unet(x[None], step, naive.states_of(tiny, caption)).sample[0])
    out.square().mean().backward()
    assert float(states.grad.abs().max()) > 0
    assert timesteps(tiny, 25).tolist() == naive.timesteps(25) and len(naive.timesteps(25)) == 25
